/* SPDX-License-Identifier: MIT */
/*
 * cgroup.c - finds the control groups above this process and shows each to a visitor. What is read
 * in them is the visitor's (limits.c, pressure.c). It allocates nothing. Any thread.
 *
 * /proc/self/cgroup names our group in each hierarchy, /proc/self/mountinfo says where a hierarchy
 * (or a part of it) is mounted; put together they give a directory. From there up to the mount
 * point every directory is a group that contains us. Machines have version 2 alone, version 1
 * alone, or both ("hybrid": version 2 mounted without the memory controller, its directories then
 * have no limits). All mounts that show our group are walked. Groups of version 1 above one with
 * memory.use_hierarchy 0 do not count its memory and are not shown.
 *
 * In version 2, ancestors outside our cgroup namespace stay hidden.
 *
 * Sources: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; cgroups(7),
 * cgroup_namespaces(7), proc(5) for the fields of mountinfo.
 */
#include "memory/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "memory/procfs.h"

/* One hierarchy that we are a member of. */
struct hierarchy {
	enum pc__cgroup_version version;
	bool member;
	bool shown;		  /* some mount shows our group */
	char group[PATH_MAX];	  /* our group, as /proc/self/cgroup spells it */
	char elsewhere[PATH_MAX]; /* a mount point that does not show it, or "" */
};

/* Who is shown the groups. */
struct walk {
	const char *root;
	pc__cgroup_visit visit;
	void *ctx;
};

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
 * and still contain us.
 */
static void visit_upwards(const struct walk *walk, const char *mount_point, const char *group,
			  enum pc__cgroup_version version)
{
	char dir[2 * PATH_MAX];
	size_t top = strlen(mount_point);
	uint64_t inherits;

	snprintf(dir, sizeof(dir), "%s%s", mount_point, group);
	for (;;) {
		walk->visit(walk->ctx, walk->root, dir, version);
		if (strlen(dir) <= top)
			return;
		*strrchr(dir, '/') = '\0';
		if (version == PC__CGROUP_V1 &&
		    pc__number_read(walk->root, dir, "memory.use_hierarchy", &inherits) &&
		    inherits == 0)
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
static void find_groups(const char *root, struct hierarchy hierarchies[PC__CGROUP_VERSIONS])
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
		struct hierarchy *hierarchy = &hierarchies[is_v2 ? PC__CGROUP_V2 : PC__CGROUP_V1];

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

static void visit_mount(const struct walk *walk, const struct mount *mount,
			struct hierarchy *hierarchy)
{
	const char *group = below(hierarchy->group, mount->root);

	if (group) {
		hierarchy->shown = true;
		visit_upwards(walk, mount->point, group, hierarchy->version);
	} else if (hierarchy->elsewhere[0] == '\0') {
		memcpy(hierarchy->elsewhere, mount->point, strlen(mount->point) + 1);
	}
}

void pc__cgroup_walk(const char *root, pc__cgroup_visit visit, void *ctx)
{
	struct hierarchy hierarchies[PC__CGROUP_VERSIONS] = {
		[PC__CGROUP_V1] = { .version = PC__CGROUP_V1 },
		[PC__CGROUP_V2] = { .version = PC__CGROUP_V2 },
	};
	const struct walk walk = { root, visit, ctx };
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
		struct hierarchy *hierarchy = &hierarchies[is_v2 ? PC__CGROUP_V2 : PC__CGROUP_V1];

		if ((is_v1 || is_v2) && hierarchy->member)
			visit_mount(&walk, &mount, hierarchy);
	}
	pc__lines_close(&lines);

	/*
	 * Some containers show a part of the hierarchy that does not fit the name of our group.
	 * What is mounted there is then most likely the container's own group: rather a limit too
	 * many than too few.
	 */
	for (size_t i = 0; i < PC__CGROUP_VERSIONS; i++) {
		const struct hierarchy *hierarchy = &hierarchies[i];

		if (!hierarchy->shown && hierarchy->elsewhere[0] != '\0')
			visit(ctx, root, hierarchy->elsewhere, hierarchy->version);
	}
}
