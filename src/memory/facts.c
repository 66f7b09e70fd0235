/* SPDX-License-Identifier: MIT */
/*
 * facts.c - how much memory this machine lets us have: /proc/meminfo, lowered by the control groups
 * above us (limits.c). A reading, not a watcher: it keeps nothing between calls. It does not
 * allocate. Any thread.
 */
#include <poolcore/memory.h>

#include <string.h>

#include "memory/cgroup.h"
#include "memory/procfs.h"

/* If `line` is "KEY:   123 kB", its bytes. */
static bool meminfo_bytes(const char *line, const char *key, uint64_t *ret_bytes)
{
	size_t length = strlen(key);
	uint64_t kib;

	if (strncmp(line, key, length) != 0 || line[length] != ':')
		return false;
	line += length + 1;
	line += strspn(line, " \t");
	if (!pc__number(line, &kib) || kib > UINT64_MAX / 1024 || !strstr(line, " kB"))
		return false;
	*ret_bytes = kib * 1024;
	return true;
}

static int no_meminfo_line(struct pc_error *err, const char *root, const char *key)
{
	pc_error_set(err, PC_E_IO, "%s/proc/meminfo: no line '%s: N kB'", root, key);
	pc_error_detail(err, "file", "%s/proc/meminfo", root);
	pc_error_detail(err, "key", "%s", key);
	return PC_E_IO;
}

static int read_meminfo(const char *root, struct pc_memory_facts *facts, struct pc_error *err)
{
	bool has_total = false, has_available = false;
	struct pc__lines lines;
	int ret = pc__lines_open(&lines, root, "/proc/meminfo");

	if (ret)
		return pc_error_sys(err, PC_E_IO, -ret, "%s/proc/meminfo", root);
	for (const char *line; (line = pc__lines_next(&lines));) {
		has_total |= meminfo_bytes(line, "MemTotal", &facts->physical_bytes);
		has_available |= meminfo_bytes(line, "MemAvailable", &facts->available_bytes);
	}
	pc__lines_close(&lines);
	if (!has_total || facts->physical_bytes == 0)
		return no_meminfo_line(err, root, "MemTotal");
	/* Linux has it since 3.14; guessing it from other lines would promise too much. */
	if (!has_available)
		return no_meminfo_line(err, root, "MemAvailable");
	return 0;
}

int pc_memory_facts_read(const char *root, struct pc_memory_facts *ret_facts, struct pc_error *err)
{
	struct pc_memory_facts facts = { .limited_by = "MemTotal" };
	int ret;

	root = root ? root : "";
	ret = read_meminfo(root, &facts, err);
	if (ret)
		return ret;
	facts.total_bytes = facts.physical_bytes;
	if (facts.available_bytes > facts.total_bytes)
		facts.available_bytes = facts.total_bytes;
	pc__limits_apply(root, &facts);
	*ret_facts = facts;
	return 0;
}
