/* SPDX-License-Identifier: MIT */
/*
 * cgroup.h - a control group for each worker, below the folder that pool.cgroup names: so that the
 * kernel says of which worker's processes it killed one for want of memory, and that nothing of a
 * worker outlives it. cgroup v2, or v1's memory controller. Blocks as file systems do.
 */
#ifndef DAEMON_CGROUP_H
#define DAEMON_CGROUP_H

#include <poolcore/error.h>

#include <limits.h>

/* The folder of a worker's group; "" when `parent` is. */
void cgroup_path(const char *parent, const char *worker_id, char ret_path[PATH_MAX]);

/*
 * Hands the memory controller on to the groups below `parent` (v2), and removes the groups of
 * workers that are gone. Once, at the start. Errors: INVALID_CONFIG when it is no cgroup folder or
 * not ours to write.
 */
int cgroup_open(const char *parent, struct pc_error *err);
/* Makes the worker's group; one that is there will do. Errors: IO. Nothing when `parent` is "". */
int cgroup_create(const char *parent, const char *worker_id, struct pc_error *err);
/* Removes it, if it is empty; else the next start will. */
void cgroup_remove(const char *parent, const char *worker_id);

#endif
