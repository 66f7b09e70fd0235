/* SPDX-License-Identifier: MIT */
/*
 * cgroup.c - makes and removes the workers' control groups. It moves no process (the stub's child
 * goes there by itself) and sets no limit: those of the folder above bind. See cgroups(7), and
 * Documentation/admin-guide/cgroup-v2.rst of the kernel: a group of v2 that has processes of its
 * own cannot hand controllers on, so pool.cgroup must be a folder without any.
 */
#include "daemon/cgroup.h"

#include <poolcore/log.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cgroup_path(const char *parent, const char *worker_id, char ret_path[PATH_MAX])
{
	int length = parent[0] ? snprintf(ret_path, PATH_MAX, "%s/%s", parent, worker_id) : 0;

	if (length <= 0 || length >= PATH_MAX)
		ret_path[0] = '\0';
}

static bool has_file(const char *parent, const char *name)
{
	char path[PATH_MAX];

	cgroup_path(parent, name, path);
	return faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0;
}

/* Without it workers have groups all the same, but their deaths for want of memory go unnamed. */
static void hand_memory_on(const char *parent)
{
	static const char enable[] = "+memory";
	char path[PATH_MAX];
	int fd;

	cgroup_path(parent, "cgroup.subtree_control", path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* v1 */
	if (write(fd, enable, sizeof(enable) - 1) < 0)
		pc_log(PC_LOG_WARN, "cgroup", PC_FIELDS({ "cgroup", parent }),
		       "its memory controller cannot be handed on (%s); use a folder that is "
		       "delegated and has no process of its own",
		       strerror(errno));
	close(fd);
}

/* A group with processes cannot be removed: those of workers that live stay. */
static void remove_empty_ones(const char *parent)
{
	DIR *dir = opendir(parent);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "w-", 2) == 0)
			cgroup_remove(parent, entry->d_name);
	}
	if (dir)
		closedir(dir);
}

int cgroup_open(const char *parent, struct pc_error *err)
{
	if (!parent[0])
		return 0;
	if (!has_file(parent, "cgroup.procs"))
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "pool.cgroup: %s is no folder of a cgroup file system", parent);
	if (faccessat(AT_FDCWD, parent, W_OK, AT_EACCESS))
		return pc_error_sys(err, PC_E_INVALID_CONFIG, errno,
				    "pool.cgroup: no group can be made in %s", parent);
	hand_memory_on(parent);
	remove_empty_ones(parent);
	return 0;
}

int cgroup_create(const char *parent, const char *worker_id, struct pc_error *err)
{
	char path[PATH_MAX];

	cgroup_path(parent, worker_id, path);
	if (path[0] && mkdir(path, 0755) && errno != EEXIST)
		return pc_error_sys(err, PC_E_IO, errno, "cannot make the control group %s", path);
	return 0;
}

void cgroup_remove(const char *parent, const char *worker_id)
{
	char path[PATH_MAX];

	cgroup_path(parent, worker_id, path);
	if (path[0])
		rmdir(path);
}
