/* SPDX-License-Identifier: MIT */
/*
 * cgroup.h - the control groups that this process lives in, and the limits of their memory. Inside
 * this room only.
 */
#ifndef MEMORY_CGROUP_H
#define MEMORY_CGROUP_H

#include <poolcore/memory.h>

enum pc__cgroup_version { PC__CGROUP_V1, PC__CGROUP_V2, PC__CGROUP_VERSIONS };

/* `dir` is the group's directory without `root` in front of it, "" when it is the root. */
typedef void (*pc__cgroup_visit)(void *ctx, const char *root, const char *dir,
				 enum pc__cgroup_version version);

/*
 * Shows every group that contains us: of each mount that has our own group, from that one upwards.
 * Directories that are not there are shown too. Without control groups nothing is; what cannot be
 * understood is passed over.
 */
void pc__cgroup_walk(const char *root, pc__cgroup_visit visit, void *ctx);

/*
 * Lowers total_bytes, available_bytes and limited_by of `facts` to what the control groups allow.
 * Without control groups it changes nothing; what cannot be read or understood counts as no limit.
 */
void pc__limits_apply(const char *root, struct pc_memory_facts *facts);

#endif
