/* SPDX-License-Identifier: MIT */
/*
 * pressure.c - how much of the time tasks stand still for want of memory: the kernel's pressure
 * stall information of the machine and of the control groups above us. A reading, not a trigger: it
 * waits for nothing and keeps nothing between calls. It does not allocate. Any thread.
 *
 * A file holds two lines, and more may come:
 *
 *	some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459
 *	full avg10=0.00 avg60=0.00 avg300=0.13 total=11761459
 *
 * Source: Linux Documentation/accounting/psi.rst. The groups of version 1 have no such files.
 */
#include <poolcore/memory.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "memory/cgroup.h"
#include "memory/procfs.h"

static const struct {
	const char *word;
	size_t offset; /* of the struct pc_memory_stall */
} kinds[] = {
	{ "some", offsetof(struct pc_memory_pressure, some) },
	{ "full", offsetof(struct pc_memory_pressure, full) },
};

static struct pc_memory_stall *stall_of(struct pc_memory_pressure *pressure, size_t kind)
{
	return (struct pc_memory_stall *)(void *)((char *)pressure + kinds[kind].offset);
}

struct reading {
	struct pc_memory_pressure best;
	int rc; /* of the first file that failed */
	struct pc_error *err;
};

/* "12.34" is 1234. The kernel writes two places, and nothing over 100.00. Cuts the text. */
static bool percent(char *text, uint32_t *ret_bp)
{
	char *point = strchr(text, '.');
	uint64_t whole, hundredths;

	if (!point)
		return false;
	*point++ = '\0';
	if (strlen(point) != 2 || !pc__number(text, &whole) || !pc__number(point, &hundredths) ||
	    whole > 100 || whole * 100 + hundredths > 10000)
		return false;
	*ret_bp = (uint32_t)(whole * 100 + hundredths);
	return true;
}

/* What stands behind "some" or "full". Words that a later kernel adds are passed over. */
static bool parse_stall(char *text, struct pc_memory_stall *stall)
{
	bool has_average = false, has_total = false;
	char *rest;

	for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (strncmp(word, "avg10=", 6) == 0)
			has_average = percent(word + 6, &stall->avg10_bp);
		else if (strncmp(word, "total=", 6) == 0)
			has_total = pc__number(word + 6, &stall->total_us);
	}
	return has_average && has_total;
}

static int not_understood(struct pc_error *err, const char *root, const char *path,
			  const char *word)
{
	pc_error_set(err, PC_E_IO, "%s%s: no line '%s avg10=N.NN ... total=N'", root, path, word);
	pc_error_detail(err, "file", "%s%s", root, path);
	pc_error_detail(err, "key", "%s", word);
	return PC_E_IO;
}

/* `ret_empty`: there is nothing in it. It may be masked with /dev/null, or it is of a kernel
 * started with psi=0, where reading fails (EOPNOTSUPP). */
static int read_lines(const char *root, const char *path, struct pc__lines *lines,
		      struct pc_memory_pressure *file, bool *ret_empty, struct pc_error *err)
{
	bool found[PC_ARRAY_LEN(kinds)] = { false };

	*ret_empty = true;
	for (char *line; (line = pc__lines_next(lines));) {
		size_t length = strcspn(line, " ");

		*ret_empty = false;
		for (size_t i = 0; i < PC_ARRAY_LEN(kinds); i++) {
			if (line[length] == ' ' && length == strlen(kinds[i].word) &&
			    memcmp(line, kinds[i].word, length) == 0)
				found[i] = parse_stall(line + length + 1, stall_of(file, i));
		}
	}
	if (lines->overlong) /* one line without an end, which was skipped */
		*ret_empty = false;
	for (size_t i = 0; i < PC_ARRAY_LEN(kinds) && !*ret_empty; i++) {
		if (!found[i])
			return not_understood(err, root, path, kinds[i].word);
	}
	return 0;
}

/* Files that are not there or not for us are the ordinary case; a lack of ours is to be told. */
static bool is_our_lack(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

static void read_file(struct reading *reading, const char *root, const char *path)
{
	struct pc_memory_pressure file = { .available = true };
	/* A second failure must not add its details to the first. */
	struct pc_error *err = reading->rc ? NULL : reading->err;
	struct pc__lines lines;
	bool empty;
	int rc = pc__lines_open(&lines, root, path);

	if (is_our_lack(rc) && !reading->rc)
		reading->rc = pc__file_failed(err, -rc, root, path);
	if (rc)
		return;
	rc = read_lines(root, path, &lines, &file, &empty, err);
	pc__lines_close(&lines);
	if (rc && !reading->rc)
		reading->rc = rc;
	if (rc || empty)
		return;
	reading->best.available = true;
	for (size_t i = 0; i < PC_ARRAY_LEN(kinds); i++) {
		struct pc_memory_stall *best = stall_of(&reading->best, i);
		struct pc_memory_stall *stall = stall_of(&file, i);

		if (best->file[0] && stall->avg10_bp <= best->avg10_bp)
			continue;
		*best = *stall;
		pc__path_copy(best->file, sizeof(best->file), path);
	}
}

static void read_group(void *ctx, const char *root, const char *dir,
		       enum pc__cgroup_version version)
{
	char path[2 * PATH_MAX];

	if (version != PC__CGROUP_V2)
		return;
	snprintf(path, sizeof(path), "%s/memory.pressure", dir);
	read_file(ctx, root, path);
}

int pc_memory_pressure_read(const char *root, struct pc_memory_pressure *ret_pressure,
			    struct pc_error *err)
{
	struct reading reading = { .err = err };

	if (!ret_pressure)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a result is needed");
	root = root ? root : "";
	pc__cgroup_walk(root, read_group, &reading);
	read_file(&reading, root, "/proc/pressure/memory");
	if (reading.rc)
		return reading.rc;
	*ret_pressure = reading.best;
	return 0;
}
