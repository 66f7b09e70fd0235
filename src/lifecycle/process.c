/* SPDX-License-Identifier: MIT */
/*
 * process.c - spawns worker processes, signals them, learns how they ended, and finds again those
 * of an earlier daemon. It decides nothing (when to stop, how long to wait) and watches nothing:
 * the caller's loop polls the descriptors. A `struct pc_process` belongs to one thread at a time;
 * different ones may be used from different threads.
 *
 * Linux only: pidfds (5.3; waiting on them 5.4, non-blocking 5.10) and glibc 2.36.
 *
 * Note: who is meant by a number
 *
 * A process id is a number that somebody else gets when its holder is gone. The kernel keeps it
 * taken while any process uses it as its id, its group's or its session's; and a process keeps its
 * id until its parent has reaped it. From this follows:
 *
 * - After posix_spawn the child is ours and not reaped, dead or alive, until pc_process_reap does
 *   it. So pidfd_open(pid) and /proc/PID/stat right after the spawn mean our child. (A program that
 *   ignores SIGCHLD gives this up; the spawn then fails with a text that says so, or loses an
 *   exit.)
 * - A pidfd means one process for ever. Signals through it cannot reach a stranger.
 * - The worker leads its own session and group, so the group's number is its own. kill(-pid) is
 *   safe as long as the leader is not reaped, also when it is dead: a zombie holds the number. That
 *   matters, because a leader that crashed may leave children behind which hold the GPU.
 *   pc_process_reap therefore kills the rest of the group while the number is still held.
 * - Since Linux 6.9 pidfd_send_signal(PIDFD_SIGNAL_PROCESS_GROUP) signals the group through the
 *   leader's pidfd: exact at any time, even after the leader was reaped. It is tried first; what is
 *   above is for older kernels.
 * - An adopted process is somebody else's child (init's), who reaps it at any moment. On older
 *   kernels its group is signalled by number only while its pidfd says that it runs. Between that
 *   look and kill(2) it would have to end, be reaped, lose its whole group, and the numbers would
 *   have to go once around to a new group leader: a few instructions against millions of forks.
 *
 * XXX A worker's child that makes a session of its own leaves the group, and nothing here reaches
 * it. A subreaper stub between us and the worker will.
 */
#include "lifecycle/process.h"

#include <poolcore/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/exit_text.h"
#include "lifecycle/procfs.h"

/* <linux/pidfd.h> of Linux 6.9; older headers lack it. */
#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1U << 2)
#endif

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- spawn ---- */

static int spawn_error(struct pc_error *err, const char *program, int failure)
{
	pc_error_sys(err, PC_E_SPAWN_FAILED, failure, "cannot start '%s'%s", program,
		     pc__spawn_hint(program, failure));
	pc_error_detail(err, "program", "%s", program);
	return PC_E_SPAWN_FAILED;
}

/*
 * The child's descriptors 0, 1 and 2 are made by file actions that run one after the other, so the
 * pipe's write end must not be one of them: a daemon that was started with those closed would get
 * it there. Only the read end is non-blocking; a worker's printf must not fail when we are slow.
 */
static int log_pipe_open(int ret_ends[2])
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return errno;
	if (ends[1] <= STDERR_FILENO) {
		int moved = fcntl(ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		int failure = errno;

		close(ends[1]);
		if (moved < 0) {
			close(ends[0]);
			return failure;
		}
		ends[1] = moved;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	memcpy(ret_ends, ends, sizeof(ends));
	return 0;
}

/* What the child does between its birth and exec, in this order. All of our descriptors are
 * close-on-exec; the last action covers those of libraries that are less careful. */
static int fill_actions(posix_spawn_file_actions_t *actions, int output_fd)
{
	int failure = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY,
						       0);

	if (!failure)
		failure = posix_spawn_file_actions_adddup2(actions, output_fd, STDOUT_FILENO);
	if (!failure)
		failure = posix_spawn_file_actions_adddup2(actions, output_fd, STDERR_FILENO);
	if (!failure)
		failure = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
	return failure;
}

/* Ignored signals (SIGPIPE, for every network daemon) and the mask would survive exec. */
static int fill_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);

	int failure = posix_spawnattr_setflags(
		attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);

	if (!failure)
		failure = posix_spawnattr_setsigdefault(attributes, &all);
	if (!failure)
		failure = posix_spawnattr_setsigmask(attributes, &none);
	return failure;
}

/* Returns errno; glibc reports a failed exec here too, so that nothing is left behind by one. */
static int spawn(pid_t *ret_pid, const char *program, char *const argv[], char *const env[],
		 int output_fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int failure = posix_spawn_file_actions_init(&actions);

	if (failure)
		return failure;
	failure = posix_spawnattr_init(&attributes);
	if (!failure) {
		failure = fill_actions(&actions, output_fd);
		if (!failure)
			failure = fill_attributes(&attributes);
		if (!failure)
			failure = posix_spawn(ret_pid, program, &actions, &attributes, argv, env);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return failure;
}

/* Takes hold of the new child: its pidfd and its start time. Returns errno. */
static int take_hold(struct pc_process *process)
{
	struct pc__proc_stat stat;

	process->pidfd = pidfd_open(process->pid, PIDFD_NONBLOCK);
	if (process->pidfd < 0)
		return errno;

	int rc = pc__proc_stat_read(process->pid, &stat);

	process->start_ticks = rc ? 0 : stat.start_ticks;
	return -rc;
}

/* Ends a child that could not be taken hold of (no descriptor left). The one place that waits, for
 * a process that was just killed. */
static void abandon(struct pc_process *process)
{
	kill(-process->pid, SIGKILL);
	while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pc_process_close(process);
}

int pc_process_spawn(const char *program, char *const argv[], char *const env[],
		     struct pc_process *ret_process, struct pc_error *err)
{
	struct pc_process process = { .pid = 0, .pidfd = -1, .log_fd = -1 };
	int ends[2] = { -1, -1 };

	if (!program || !argv || !argv[0] || !env || !ret_process)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a program, its arguments and an environment are needed");

	int failure = log_pipe_open(ends);

	if (failure)
		return pc_error_sys(err, PC_E_SPAWN_FAILED, failure,
				    "cannot start '%s': no pipe for its output", program);
	process.log_fd = ends[0];
	failure = spawn(&process.pid, program, argv, env, ends[1]);
	close(ends[1]);
	if (failure) {
		pc_process_close(&process);
		return spawn_error(err, program, failure);
	}
	failure = take_hold(&process);
	if (failure) {
		abandon(&process);
		return pc_error_sys(err, PC_E_SPAWN_FAILED, failure,
				    "started '%s' but cannot watch it%s, so it was killed", program,
				    failure == ESRCH ? " (is SIGCHLD ignored?)" : "");
	}
	*ret_process = process;
	return 0;
}

/* ---- adopt ---- */

/*
 * The order proves the identity. Say the pidfd means X, and the start time read afterwards is that
 * of W, the recorded worker. Were X another process, X would have held the number when the pidfd
 * was opened and W would have got it after that; but W was recorded before. So X is W.
 */
int pc_process_open(pid_t pid, uint64_t start_ticks, const char *recorded_boot_id,
		    struct pc_process *ret_process, struct pc_error *err)
{
	struct pc__proc_stat stat;

	if (pid <= 0 || !recorded_boot_id || !ret_process)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a process id above 0 and a boot id are needed");
	if (!recorded_boot_id[0] || strcmp(recorded_boot_id, pc_boot_id()) != 0)
		return pc_error_set(
			err, PC_E_NOT_FOUND,
			"process %d was started before the machine was: boot %s, now %s", pid,
			recorded_boot_id, pc_boot_id());

	int pidfd = pidfd_open(pid, PIDFD_NONBLOCK);

	if (pidfd < 0)
		return pc_error_sys(err,
				    errno == ESRCH || errno == EINVAL ? PC_E_NOT_FOUND : PC_E_IO,
				    errno, "cannot open process %d", pid);

	int rc = pc__proc_stat_read(pid, &stat);

	if (rc) {
		close(pidfd);
		return pc_error_sys(err, rc == -ESRCH ? PC_E_NOT_FOUND : PC_E_IO, -rc,
				    "cannot read the start time of process %d", pid);
	}
	if (stat.start_ticks != start_ticks) {
		close(pidfd);
		return pc_error_set(
			err, PC_E_NOT_FOUND,
			"process %d is another one: started at tick %llu, recorded %llu", pid,
			(unsigned long long)stat.start_ticks, (unsigned long long)start_ticks);
	}
	*ret_process = (struct pc_process){
		.pid = pid,
		.pidfd = pidfd,
		.log_fd = -1,
		.start_ticks = start_ticks,
	};
	return 0;
}

/* ---- signal and reap ---- */

/* Whether the process behind the pidfd has ended, reaped or not. */
static bool pidfd_ended(int pidfd)
{
	struct pollfd watch = { .fd = pidfd, .events = POLLIN };

	return poll(&watch, 1, 0) == 1;
}

int pc__process_signal_by_number(const struct pc_process *process, int signal)
{
	siginfo_t info = { .si_pid = 0 };
	bool number_held = waitid(P_PIDFD, (id_t)process->pidfd, &info,
				  WEXITED | WNOHANG | WNOWAIT) == 0;

	if (!number_held && (errno != ECHILD || pidfd_ended(process->pidfd)))
		return -ESRCH;
	return kill(-process->pid, signal) ? -errno : 0;
}

/* 0 or a negative errno. */
static int signal_group(const struct pc_process *process, int signal)
{
	if (pidfd_send_signal(process->pidfd, signal, NULL, PIDFD_SIGNAL_PROCESS_GROUP) == 0)
		return 0;
	/* EINVAL: a flag that this kernel does not know, or no such signal, which comes again. */
	return errno == EINVAL ? pc__process_signal_by_number(process, signal) : -errno;
}

int pc_process_signal(const struct pc_process *process, int signal, struct pc_error *err)
{
	/* 1 and 0 would mean everybody, and ourselves. */
	if (!process || process->pid <= 1 || process->pidfd < 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "an open process is needed");

	int rc = signal_group(process, signal);

	switch (rc) {
	case 0:
		return 0;
	case -ESRCH:
		return pc_error_set(err, PC_E_NOT_FOUND, "process %d has ended", process->pid);
	case -EINVAL:
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%d is no signal", signal);
	default:
		return pc_error_sys(err, PC_E_IO, -rc, "cannot send signal %d to process %d",
				    signal, process->pid);
	}
}

bool pc_process_reap(struct pc_process *process, struct pc_worker_exit *ret_exit)
{
	struct pc_worker_exit how = { .code = -1 };
	siginfo_t info = { .si_pid = 0 };

	if (process->pidfd < 0)
		return false;

	bool is_child = waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) ==
			0;

	if (is_child ? info.si_pid == 0 : !pidfd_ended(process->pidfd))
		return false;
	signal_group(process, SIGKILL); /* see the note; ESRCH is the usual answer */
	how.wall_ms = pc_clock_wall_ms();
	if (is_child && waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) == 0) {
		how.known = true;
		pc__exit_describe(&info, &how);
	} else {
		snprintf(how.reason, sizeof(how.reason), "ended; its status went to its parent");
	}
	*ret_exit = how;
	return true;
}

void pc_process_close(struct pc_process *process)
{
	close_fd(&process->pidfd);
	close_fd(&process->log_fd);
}
