/* SPDX-License-Identifier: MIT */
/* procfs.h - what /proc says about a process. Inside the library only. */
#ifndef LIFECYCLE_PROCFS_H
#define LIFECYCLE_PROCFS_H

#include <poolcore/base.h>

#include <sys/types.h>

/* Some fields of /proc/PID/stat, see proc_pid_stat(5). */
struct pc__proc_stat {
	char state;	      /* field 3: R, S, D, T, Z ... */
	pid_t parent;	      /* field 4 */
	pid_t group;	      /* field 5 */
	pid_t session;	      /* field 6 */
	uint32_t flags;	      /* field 9: PF_... of the kernel */
	uint64_t cpu_ticks;   /* fields 14 and 15, same units as the next */
	uint64_t start_ticks; /* field 22: since boot, in units of sysconf(_SC_CLK_TCK) */
	/* Fields 50 and 51: where the environment was put at the exec; 0 while it was not yet, and
	 * for who may not know. */
	uint64_t env_start, env_end;
};

/* Reads the fields of a process; 0 or a negative errno (ESRCH when there is no such process). */
int pc__proc_stat_read(pid_t pid, struct pc__proc_stat *ret_stat);
/* The same from the text of the file; -EINVAL when it is not one. */
int pc__proc_stat_parse(const char *text, struct pc__proc_stat *ret_stat);

/* The inode of a pidfd where it tells one process from every other of this boot (Linux 6.9, see
 * pidfd_open(2)); 0 where all pidfds have the same. */
uint64_t pc__pidfd_inode(int pidfd);

#endif
