/* SPDX-License-Identifier: MIT */
/*
 * facts.c - how much memory this machine lets us have: /proc/meminfo, lowered by the control groups
 * above us (limits.c). A reading, not a watcher: it keeps nothing between calls. It does not
 * allocate. Any thread.
 */
#include <poolcore/memory.h>

#include "memory/cgroup.h"
#include "memory/procfs.h"

#define MEMINFO "/proc/meminfo"

static int read_meminfo(const char *root, struct pc_memory_facts *facts, struct pc_error *err)
{
	bool has_total = false, has_available = false;
	struct pc__lines lines;
	int ret = pc__lines_open(&lines, root, MEMINFO);

	if (ret)
		return pc__file_failed(err, -ret, root, MEMINFO);
	for (const char *line; (line = pc__lines_next(&lines));) {
		has_total |= pc__kib_line(line, "MemTotal", &facts->physical_bytes);
		has_available |= pc__kib_line(line, "MemAvailable", &facts->available_bytes);
	}
	pc__lines_close(&lines);
	if (!has_total || facts->physical_bytes == 0)
		return pc__kib_missing(err, root, MEMINFO, "MemTotal");
	/* Linux has it since 3.14; guessing it from other lines would promise too much. */
	if (!has_available)
		return pc__kib_missing(err, root, MEMINFO, "MemAvailable");
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
