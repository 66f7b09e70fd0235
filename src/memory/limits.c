/* SPDX-License-Identifier: MIT */
/*
 * limits.c - lowers the memory facts to what the control groups above this process allow; the
 * smallest limit wins. It sets no limit, watches nothing, and allocates nothing. Any thread.
 *
 * Version 2: memory.max, and also memory.high. That is no hard limit: nobody is killed for passing
 * it. But every allocation beyond it is put to sleep and made to reclaim, so a model loaded there
 * does not become ready in any useful time. Who sets MemoryHigh= for a service means "not more than
 * this".
 *
 * Version 1: memory.limit_in_bytes, and hierarchical_memory_limit in memory.stat, which knows the
 * limits of ancestors that a container cannot see. "Unlimited" is a huge number (2^63 less a page)
 * that is never the smallest.
 *
 * Used is what is charged less inactive_file, the page cache that goes first under pressure;
 * kubelet calls this difference the working set.
 *
 * Sources: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
 */
#include "memory/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "memory/procfs.h"

/* The file names and keys in which the two versions differ. */
struct version {
	const char *limits[2];
	const char *usage;
	const char *stat_cache;
	const char *stat_limit; /* or NULL */
};

static const struct version versions[PC__CGROUP_VERSIONS] = {
	[PC__CGROUP_V1] = {
		.limits = { "memory.limit_in_bytes", NULL },
		.usage = "memory.usage_in_bytes",
		.stat_cache = "total_inactive_file",
		.stat_limit = "hierarchical_memory_limit",
	},
	[PC__CGROUP_V2] = {
		.limits = { "memory.max", "memory.high" },
		.usage = "memory.current",
		.stat_cache = "inactive_file",
	},
};

/* Reads the values of two keys ("key 123" lines) out of memory.stat; what is missing stays as it
 * is. */
static void stat_numbers(const char *root, const char *dir, const struct version *version,
			 uint64_t *cache, uint64_t *limit)
{
	struct pc__lines lines;
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	if (pc__lines_open(&lines, root, path))
		return;
	for (char *line; (line = pc__lines_next(&lines));) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		if (strcmp(line, version->stat_cache) == 0)
			pc__number(space + 1, cache);
		else if (version->stat_limit && strcmp(line, version->stat_limit) == 0)
			pc__number(space + 1, limit);
	}
	pc__lines_close(&lines);
}

static void apply_group(void *ctx, const char *root, const char *dir,
			enum pc__cgroup_version version_number)
{
	const struct version *version = &versions[version_number];
	struct pc_memory_facts *facts = ctx;
	uint64_t limit = UINT64_MAX, used = 0, cache = 0, number;

	for (size_t i = 0; i < PC_ARRAY_LEN(version->limits); i++) {
		if (version->limits[i] && pc__number_read(root, dir, version->limits[i], &number) &&
		    number < limit)
			limit = number;
	}
	number = UINT64_MAX;
	stat_numbers(root, dir, version, &cache, &number);
	if (number < limit)
		limit = number;
	if (limit == UINT64_MAX)
		return;

	if (pc__number_read(root, dir, version->usage, &used))
		used -= cache < used ? cache : used;

	uint64_t room = limit > used ? limit - used : 0;

	if (room < facts->available_bytes)
		facts->available_bytes = room;
	if (limit >= facts->total_bytes)
		return;
	facts->total_bytes = limit;
	pc__path_copy(facts->limited_by, sizeof(facts->limited_by), dir[0] ? dir : "/");
}

void pc__limits_apply(const char *root, struct pc_memory_facts *facts)
{
	pc__cgroup_walk(root, apply_group, facts);
}
