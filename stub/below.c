/* SPDX-License-Identifier: MIT */
/*
 * below.c - kills what is below the stub. It is the subreaper of all that comes from the worker:
 * who loses its parent becomes the stub's child, whatever session it has made for itself.
 *
 * Only children are killed by number: nobody but we can reap them, and we do not meanwhile, so that
 * the number is theirs. Deeper ones are reached when their parents have died. The list is that of
 * all processes; /proc/PID/task/PID/children needs an option that kernels lack, this one's too.
 */
#include "stub/stub.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lifecycle/procfs.h"

/* All at once where the kernel can (Linux 5.14, cgroup v2), which also outruns one that forks. */
static void cgroup_kill(const char *cgroup)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/cgroup.kill", cgroup) >= (int)sizeof(path))
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) < 0) {
		/* It is removed, or of a threaded kind: the list below is left. */
	}
	close(fd);
}

void below_kill(const struct options *options)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	if (options->cgroup)
		cgroup_kill(options->cgroup);
	if (!proc)
		return;
	while ((entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		struct pc__proc_stat stat;

		if (pid > 1 && pc__proc_stat_read(pid, &stat) == 0 && stat.parent == getpid())
			kill(pid, SIGKILL);
	}
	closedir(proc);
}
