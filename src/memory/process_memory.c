/* SPDX-License-Identifier: MIT */
/*
 * process_memory.c - how much memory one process holds, of the four kinds that /proc/PID/status
 * tells apart (proc_pid_status(5)). One reading of one process: the children of a worker are
 * src/lifecycle's. It does not allocate. Any thread.
 */
#include <poolcore/memory.h>

#include <stdio.h>

#include "memory/procfs.h"

static const struct {
	const char *key;
	size_t offset;
} fields[] = {
	{ "RssAnon", offsetof(struct pc_memory_process, rss_anon_bytes) },
	{ "RssFile", offsetof(struct pc_memory_process, rss_file_bytes) },
	{ "RssShmem", offsetof(struct pc_memory_process, rss_shmem_bytes) },
	{ "VmSwap", offsetof(struct pc_memory_process, swap_bytes) },
};

/* A program may call itself "RssAnon: 1 kB", but its name stands behind "Name:" on one line: the
 * kernel escapes its newlines. */
static void read_line(const char *line, struct pc_memory_process *process,
		      bool found[PC_ARRAY_LEN(fields)])
{
	for (size_t i = 0; i < PC_ARRAY_LEN(fields); i++)
		found[i] |= pc__kib_line(line, fields[i].key,
					 (uint64_t *)(void *)((char *)process + fields[i].offset));
}

int pc_memory_process_read(const char *root, pid_t pid, struct pc_memory_process *ret_process,
			   struct pc_error *err)
{
	struct pc_memory_process process = { .rss_anon_bytes = 0 };
	bool found[PC_ARRAY_LEN(fields)] = { false };
	char path[64] = "/proc/self/status";
	struct pc__lines lines;
	int rc;

	if (pid < 0 || !ret_process)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a process id (0: our own) and a result are needed");
	root = root ? root : "";
	if (pid)
		snprintf(path, sizeof(path), "/proc/%lld/status", (long long)pid);
	rc = pc__lines_open(&lines, root, path);
	if (rc)
		return pc__file_failed(err, -rc, root, path);
	for (const char *line; (line = pc__lines_next(&lines));)
		read_line(line, &process, found);
	pc__lines_close(&lines);
	if (lines.failure)
		return pc__file_failed(err, -lines.failure, root, path);
	for (size_t i = 0; i < PC_ARRAY_LEN(fields); i++) {
		if (!found[i])
			return pc__kib_missing(err, root, path, fields[i].key);
	}
	*ret_process = process;
	return 0;
}
