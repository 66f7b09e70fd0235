/* SPDX-License-Identifier: MIT */
/* identity.c - opens a process only if it is the one that is meant. Any thread. */
#include <poolcore/lifecycle.h>

#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "lifecycle/procfs.h"

/*
 * The order proves the identity. Say the pidfd means X, and the start time read afterwards is that
 * of W, the recorded process. Were X another process, X would have held the number when the pidfd
 * was opened and W would have got it after that; but W was recorded before. So X is W.
 */
int pc_process_open(pid_t pid, uint64_t start_ticks, const char *boot_id, int *ret_pidfd,
		    struct pc_error *err)
{
	struct pc__proc_stat stat;
	int pidfd, rc;

	if (pid <= 0 || !boot_id || !ret_pidfd)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a process id above 0 and a boot id are needed");
	if (!boot_id[0] || strcmp(boot_id, pc_boot_id()) != 0)
		return pc_error_set(
			err, PC_E_NOT_FOUND,
			"process %d was started before the machine was: boot %s, now %s", pid,
			boot_id, pc_boot_id());
	pidfd = pidfd_open(pid, PIDFD_NONBLOCK);
	if (pidfd < 0)
		return pc_error_sys(err,
				    errno == ESRCH || errno == EINVAL ? PC_E_NOT_FOUND : PC_E_IO,
				    errno, "cannot open process %d", pid);
	rc = pc__proc_stat_read(pid, &stat);
	if (rc == 0 && stat.start_ticks == start_ticks) {
		*ret_pidfd = pidfd;
		return 0;
	}
	close(pidfd);
	if (rc)
		return pc_error_sys(err, rc == -ESRCH ? PC_E_NOT_FOUND : PC_E_IO, -rc,
				    "cannot read the start time of process %d", pid);
	return pc_error_set(err, PC_E_NOT_FOUND,
			    "process %d is another one: started at tick %llu, recorded %llu", pid,
			    (unsigned long long)stat.start_ticks, (unsigned long long)start_ticks);
}
