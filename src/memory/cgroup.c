/* SPDX-License-Identifier: MIT */
/*
 * cgroup.c - finds the control groups above this process and lowers the memory facts to their
 * limits. It sets no limit, watches nothing, and allocates nothing. Any thread.
 *
 * /proc/self/cgroup names our group in each hierarchy, /proc/self/mountinfo says where a hierarchy
 * (or a part of it) is mounted; put together they give a directory. From there up to the mount
 * point every directory is a group that limits us. Machines have version 2 alone, version 1 alone,
 * or both ("hybrid": version 2 mounted without the memory controller, its directories then have no
 * memory files). All mounts that show our group are walked, and the smallest limit wins.
 *
 * Version 2: memory.max, and also memory.high. That is no hard limit: nobody is killed for passing
 * it. But every allocation beyond it is put to sleep and made to reclaim, so a model loaded there
 * does not become ready in any useful time. Who sets MemoryHigh= for a service means "not more than
 * this".
 *
 * Version 1: memory.limit_in_bytes, and hierarchical_memory_limit in memory.stat, which knows the
 * limits of ancestors that a container cannot see. "Unlimited" is a huge number (2^63 less a page)
 * that is never the smallest. Groups above one with memory.use_hierarchy 0 do not limit it.
 *
 * Used is what is charged less inactive_file, the page cache that goes first under pressure;
 * kubelet calls this difference the working set. In version 2, ancestors outside our cgroup
 * namespace stay hidden.
 *
 * Sources: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; cgroups(7),
 * cgroup_namespaces(7), proc(5) for the fields of mountinfo.
 */
#include "memory/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "memory/procfs.h"

/* The file names and keys in which the two versions differ. */
struct version {
	const char *limits[2];
	const char *usage;
	const char *stat_cache;
	const char *stat_limit;	 /* or NULL */
	const char *inheritance; /* or NULL */
};

enum { V1, V2, VERSIONS };

static const struct version versions[VERSIONS] = {
	[V1] = {
		.limits = { "memory.limit_in_bytes", NULL },
		.usage = "memory.usage_in_bytes",
		.stat_cache = "total_inactive_file",
		.stat_limit = "hierarchical_memory_limit",
		.inheritance = "memory.use_hierarchy",
	},
	[V2] = {
		.limits = { "memory.max", "memory.high" },
		.usage = "memory.current",
		.stat_cache = "inactive_file",
	},
};

/* One hierarchy that we are a member of. */
struct hierarchy {
	const struct version *version;
	bool member;
	bool shown;		  /* some mount shows our group */
	char group[PATH_MAX];	  /* our group, as /proc/self/cgroup spells it */
	char elsewhere[PATH_MAX]; /* a mount point that does not show it, or "" */
};

/* ---- one group ---- */

/* The number in the first line of dir/name; "max" and whatever else is no number give false. */
static bool file_number(const char *root, const char *dir, const char *name, uint64_t *ret_number)
{
	struct pc__lines lines;
	char path[2 * PATH_MAX];
	bool found = false;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (pc__lines_open(&lines, root, path))
		return false;

	const char *line = pc__lines_next(&lines);

	found = line && pc__number(line, ret_number);
	pc__lines_close(&lines);
	return found;
}

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

static void apply_group(const char *root, const char *dir, const struct version *version,
			struct pc_memory_facts *facts)
{
	uint64_t limit = UINT64_MAX, used = 0, cache = 0, number;

	for (size_t i = 0; i < PC_ARRAY_LEN(version->limits); i++) {
		if (version->limits[i] && file_number(root, dir, version->limits[i], &number) &&
		    number < limit)
			limit = number;
	}
	number = UINT64_MAX;
	stat_numbers(root, dir, version, &cache, &number);
	if (number < limit)
		limit = number;
	if (limit == UINT64_MAX)
		return;

	if (file_number(root, dir, version->usage, &used))
		used -= cache < used ? cache : used;

	uint64_t room = limit > used ? limit - used : 0;

	if (room < facts->available_bytes)
		facts->available_bytes = room;
	if (limit >= facts->total_bytes)
		return;
	facts->total_bytes = limit;

	if (dir[0] == '\0')
		dir = "/";

	size_t length = strlen(dir);

	if (length >= sizeof(facts->limited_by))
		length = pc__utf8_cut(dir, sizeof(facts->limited_by) - 1);
	memcpy(facts->limited_by, dir, length);
	facts->limited_by[length] = '\0';
}

/* ---- from a group up to its mount point ---- */

static bool has_parent_step(const char *path)
{
	for (const char *p = path; (p = strstr(p, "/..")); p += 3) {
		if (p[3] == '\0' || p[3] == '/')
			return true;
	}
	return false;
}

/*
 * The part of `group` below `mount_root`, "" when they are the same; NULL when the mount does not
 * show the group. A group outside our cgroup namespace is spelt with "/..": such a path must not
 * climb out of the mount point.
 */
static const char *below(const char *group, const char *mount_root)
{
	size_t length = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);

	if (strncmp(group, mount_root, length) != 0)
		return NULL;
	group += length;
	if ((group[0] != '\0' && group[0] != '/') || has_parent_step(group))
		return NULL;
	return strcmp(group, "/") == 0 ? "" : group;
}

/*
 * A group that was removed while we live in it has no directory; its ancestors still have theirs,
 * and still limit us.
 */
static void apply_upwards(const char *root, const char *mount_point, const char *group,
			  const struct version *version, struct pc_memory_facts *facts)
{
	char dir[2 * PATH_MAX];
	size_t top = strlen(mount_point);
	uint64_t inherits;

	snprintf(dir, sizeof(dir), "%s%s", mount_point, group);
	for (;;) {
		apply_group(root, dir, version, facts);
		if (strlen(dir) <= top)
			return;
		*strrchr(dir, '/') = '\0';
		if (version->inheritance &&
		    file_number(root, dir, version->inheritance, &inherits) && inherits == 0)
			return;
	}
}

/* ---- the two files ---- */

static bool list_has(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *p = list; *p; p += *p == ',') {
		size_t item = strcspn(p, ",");

		if (item == length && memcmp(p, word, length) == 0)
			return true;
		p += item;
	}
	return false;
}

/* Lines are ID:CONTROLLERS:PATH; version 2 is 0::PATH. The path may itself contain colons. */
static void find_groups(const char *root, struct hierarchy hierarchies[VERSIONS])
{
	struct pc__lines lines;

	if (pc__lines_open(&lines, root, "/proc/self/cgroup"))
		return;
	for (char *line; (line = pc__lines_next(&lines));) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group || group[1] != '/' || strlen(group + 1) >= PATH_MAX)
			continue;
		*controllers++ = '\0';
		*group++ = '\0';

		bool is_v2 = strcmp(line, "0") == 0 && controllers[0] == '\0';
		struct hierarchy *hierarchy = &hierarchies[is_v2 ? V2 : V1];

		if (hierarchy->member || (!is_v2 && !list_has(controllers, "memory")))
			continue;
		hierarchy->member = true;
		memcpy(hierarchy->group, group, strlen(group) + 1);
	}
	pc__lines_close(&lines);
}

/* mountinfo spells space, tab, newline and backslash as \040 \011 \012 \134. In place. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *p = text; *p; out++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
		    p[3] >= '0' && p[3] <= '7') {
			*out = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*out = *p++;
		}
	}
	*out = '\0';
}

struct mount {
	char *root;
	char *point;
	char *filesystem;
	char *options; /* of the file system, which name a version 1 hierarchy's controllers */
};

/* ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - FILESYSTEM SOURCE OPTIONS */
static bool parse_mount(char *line, struct mount *ret_mount)
{
	char *fields[5], *rest;
	char *tail = strstr(line, " - ");

	if (!tail)
		return false;
	*tail = '\0';
	for (size_t i = 0; i < PC_ARRAY_LEN(fields); i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &rest);
		if (!fields[i])
			return false;
	}
	ret_mount->root = fields[3];
	ret_mount->point = fields[4];
	ret_mount->filesystem = strtok_r(tail + 3, " ", &rest);
	if (!strtok_r(NULL, " ", &rest))
		return false;
	ret_mount->options = strtok_r(NULL, " ", &rest);
	if (!ret_mount->options || strlen(fields[4]) >= PATH_MAX)
		return false;
	unescape(ret_mount->root);
	unescape(ret_mount->point);
	if (strcmp(ret_mount->point, "/") == 0)
		ret_mount->point[0] = '\0';
	return true;
}

static void apply_mount(const char *root, const struct mount *mount, struct hierarchy *hierarchy,
			struct pc_memory_facts *facts)
{
	const char *group = below(hierarchy->group, mount->root);

	if (group) {
		hierarchy->shown = true;
		apply_upwards(root, mount->point, group, hierarchy->version, facts);
	} else if (hierarchy->elsewhere[0] == '\0') {
		memcpy(hierarchy->elsewhere, mount->point, strlen(mount->point) + 1);
	}
}

void pc__cgroup_apply(const char *root, struct pc_memory_facts *facts)
{
	struct hierarchy hierarchies[VERSIONS] = {
		[V1] = { .version = &versions[V1] }, [V2] = { .version = &versions[V2] }
	};
	struct pc__lines lines;
	struct mount mount;

	find_groups(root, hierarchies);
	if (pc__lines_open(&lines, root, "/proc/self/mountinfo"))
		return;
	for (char *line; (line = pc__lines_next(&lines));) {
		if (!parse_mount(line, &mount))
			continue;

		bool is_v2 = strcmp(mount.filesystem, "cgroup2") == 0;
		bool is_v1 = strcmp(mount.filesystem, "cgroup") == 0 &&
			     list_has(mount.options, "memory");

		if ((is_v1 || is_v2) && hierarchies[is_v2 ? V2 : V1].member)
			apply_mount(root, &mount, &hierarchies[is_v2 ? V2 : V1], facts);
	}
	pc__lines_close(&lines);

	/*
	 * Some containers show a part of the hierarchy that does not fit the name of our group.
	 * What is mounted there is then most likely the container's own group: rather a limit too
	 * many than too few.
	 */
	for (size_t i = 0; i < VERSIONS; i++) {
		struct hierarchy *hierarchy = &hierarchies[i];

		if (!hierarchy->shown && hierarchy->elsewhere[0] != '\0')
			apply_group(root, hierarchy->elsewhere, hierarchy->version, facts);
	}
}
