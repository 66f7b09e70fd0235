/* SPDX-License-Identifier: MIT */
/*
 * cgroup.h - the memory limits of the control groups that this process lives in. Inside this room
 * only.
 */
#ifndef MEMORY_CGROUP_H
#define MEMORY_CGROUP_H

#include <poolcore/memory.h>

/*
 * Lowers total_bytes, available_bytes and limited_by of `facts` to what the control groups allow.
 * Without control groups it changes nothing; what cannot be read or understood counts as no limit.
 */
void pc__cgroup_apply(const char *root, struct pc_memory_facts *facts);

#endif
