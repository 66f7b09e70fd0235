/* SPDX-License-Identifier: MIT */
/*
 * main.c - pool-stub: the parent of one worker, which stays when the daemon goes. One thread, one
 * loop over four descriptors: signals, the worker's output, the pipe that exec closes, and the FIFO
 * while it is full. It decides nothing: it starts the worker, forwards what the daemon orders,
 * keeps the log, and writes down the end.
 *
 *	claim --taken--> running --worker exits--> sweeping --no child left--> status written, exit
 *	  |                                            ^
 *	  lost: exit, no worker                        everything below is killed, as often as
 *	                                               somebody of it dies: its children are ours then
 *
 * Signals: TERM goes to the worker's group, with CONT, so that a stopped one hears it; USR1:
 * another daemon reads; USR2: kill everything now. All others are blocked from birth
 * (pc_stub_spawn), so that neither a terminal nor a broken pipe ends the stub, and with it the
 * worker.
 */
#include "stub/stub.h"

#include <poolcore/lifecycle.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lifecycle/exit_text.h"
#include "lifecycle/procfs.h"

struct stub {
	struct options options;
	struct launch launch;
	struct launch_failure launch_failure; /* sys_errno 0: none */
	struct pc__life_status status;
	struct oom oom;
	int dir_fd, signal_fd;
	bool kill_ordered;
	bool is_our_kill; /* when it was ordered, the worker was not dying already */
	bool worker_reaped;
	bool all_reaped; /* no child is left */
	struct log log;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- the worker's pipes ---- */

/* Reads at most `max` bytes of output, and hands them on while there is room in the FIFO. */
static void pump(struct stub *stub, size_t max)
{
	char data[16 * 1024];

	while (max > 0 && stub->launch.output_fd >= 0) {
		ssize_t got = read(stub->launch.output_fd, data, sizeof(data));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			close_fd(&stub->launch.output_fd);
			return;
		}
		log_append(&stub->log, data, (size_t)got);
		log_flush(&stub->log);
		max -= (size_t)got < max ? (size_t)got : max;
	}
}

/* The program runs, or could not be started. */
static void look_at_exec(struct stub *stub)
{
	struct launch_failure failure;
	ssize_t got;

	if (stub->launch.exec_fd < 0)
		return;
	got = read(stub->launch.exec_fd, &failure, sizeof(failure));
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got == (ssize_t)sizeof(failure))
		stub->launch_failure = failure;
	else
		log_started(&stub->log, stub->launch.pid,
			    (uint64_t)stub->status.worker_start_ticks);
	close_fd(&stub->launch.exec_fd);
}

/* ---- children ---- */

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void worker_exited(struct stub *stub, const siginfo_t *info)
{
	struct pc_worker_exit how = { .code = -1 };

	look_at_exec(stub);
	stub->worker_reaped = true;
	pc__exit_describe(info, &how);
	stub->status.ended = 1;
	stub->status.wall_ms = wall_ms();
	stub->status.code = how.code;
	stub->status.signal = how.signal;
	memcpy(stub->status.reason, how.reason, sizeof(stub->status.reason));
}

/* Takes note of what children did. Orphans that came to us are reaped, and else left alone while
 * the worker lives: it may have meant them to stay. */
static void reap(struct stub *stub)
{
	for (;;) {
		siginfo_t info = { .si_pid = 0 };

		if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG)) {
			stub->all_reaped = errno == ECHILD;
			break;
		}
		if (info.si_pid == 0)
			break;
		if (info.si_pid != stub->launch.pid)
			continue;
		if (info.si_code == CLD_STOPPED)
			log_stopped(&stub->log, info.si_status);
		else if (info.si_code == CLD_CONTINUED)
			log_stopped(&stub->log, 0);
		else if (info.si_code != CLD_TRAPPED)
			worker_exited(stub, &info);
	}
	if ((stub->worker_reaped || stub->kill_ordered) && !stub->all_reaped)
		below_kill(&stub->options);
}

/* ---- signals ---- */

/* The group has the worker's number, which nobody else gets before we have reaped the worker. */
static void terminate(const struct stub *stub)
{
	if (stub->worker_reaped)
		return;
	kill(-stub->launch.pid, SIGTERM);
	kill(-stub->launch.pid, SIGCONT);
}

/*
 * A worker that the kernel kills for want of memory breaks its connections before its parent can
 * learn of it, so that the daemon may give it up, and have it killed, while it dies.
 */
static void kill_all(struct stub *stub)
{
	if (!stub->kill_ordered)
		stub->is_our_kill = !stub->worker_reaped && !pc_process_is_ending(stub->launch.pid);
	stub->kill_ordered = true;
	below_kill(&stub->options);
}

static void take_signals(struct stub *stub)
{
	struct signalfd_siginfo info;

	while (read(stub->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(stub);
			break;
		case SIGTERM:
			terminate(stub);
			break;
		case SIGUSR1:
			log_replay(&stub->log);
			break;
		case SIGUSR2:
			kill_all(stub);
			break;
		default:
			break;
		}
	}
}

/* All are blocked; these are for the descriptor. */
static int open_signals(void)
{
	static const int wanted[] = { SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2 };
	sigset_t all, set;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&set);
	for (size_t i = 0; i < PC_ARRAY_LEN(wanted); i++)
		sigaddset(&set, wanted[i]);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the loop ---- */

enum watch { WATCH_SIGNALS, WATCH_EXEC, WATCH_OUTPUT, WATCH_FIFO, WATCHES };

static void run(struct stub *stub)
{
	while (!stub->worker_reaped || !stub->all_reaped) {
		/* The FIFO is watched while it is full. Who reads no longer is noticed by the next
		 * write: poll would say so again and again. */
		bool is_full = log_flush(&stub->log);
		struct pollfd watches[WATCHES] = {
			[WATCH_SIGNALS] = { .fd = stub->signal_fd, .events = POLLIN },
			[WATCH_EXEC] = { .fd = stub->launch.exec_fd, .events = POLLIN },
			[WATCH_OUTPUT] = { .fd = stub->launch.output_fd, .events = POLLIN },
			[WATCH_FIFO] = { .fd = is_full ? stub->log.fifo : -1, .events = POLLOUT },
		};

		if (poll(watches, WATCHES, -1) < 0)
			continue; /* EINTR, after a SIGSTOP */
		if (watches[WATCH_EXEC].revents)
			look_at_exec(stub);
		if (watches[WATCH_OUTPUT].revents)
			pump(stub, LOG_RING_BYTES);
		if (watches[WATCH_SIGNALS].revents)
			take_signals(stub);
	}
}

/* ---- the end ---- */

/* Adds to the reason what the kernel's counter tells. */
static void explain_memory(struct stub *stub)
{
	struct pc__life_status *status = &stub->status;
	size_t length = strlen(status->reason), room = sizeof(status->reason) - length;
	bool is_killed = status->signal == SIGKILL && !stub->is_our_kill;

	if (!oom_happened(&stub->oom))
		return;
	status->oom_killed = stub->oom.is_own;
	if (stub->oom.is_own)
		snprintf(status->reason + length, room, "%s",
			 is_killed ? ", out of memory"
				   : "; one of its processes was killed, out of memory");
	else if (is_killed)
		snprintf(status->reason + length, room,
			 ", perhaps out of memory: the kernel killed a process in %.60s",
			 stub->oom.path);
}

/* Writes the end; how we end ourselves. */
static int finish(struct stub *stub)
{
	struct pc__life_status *status = &stub->status;
	bool is_written;

	/* All that wrote are dead. Should somebody from outside hold the pipe, it does not hold us:
	 * the bound is a guess. */
	pump(stub, (size_t)1 << 20);
	if (stub->launch_failure.sys_errno) {
		status->spawn_errno = stub->launch_failure.sys_errno;
		launch_describe(&stub->options, &stub->launch_failure, status->reason,
				sizeof(status->reason));
	} else {
		explain_memory(stub);
	}
	status->tail_length = (int64_t)log_tail(&stub->log, status->tail, sizeof(status->tail));
	is_written = record_write(stub->dir_fd, &stub->options, status, &stub->log);
	if (!is_written) {
		/* A full disk may have room for less. */
		status->tail_length = 0;
		is_written = record_write(stub->dir_fd, &stub->options, status, &stub->log);
	}
	log_flush(&stub->log);
	return is_written ? PC__STUB_DONE : PC__STUB_FAILED;
}

/* ---- the start ---- */

static void start_worker(struct stub *stub)
{
	struct pc__proc_stat stat;
	int failure = launch_start(&stub->options, &stub->launch);

	if (failure) {
		stub->status.ended = 1;
		stub->status.code = 127;
		stub->status.wall_ms = wall_ms();
		stub->launch_failure.sys_errno = failure;
		stub->worker_reaped = stub->all_reaped = true;
		return;
	}
	stub->status.worker_pid = stub->launch.pid;
	if (pc__proc_stat_read(stub->launch.pid, &stat) == 0)
		stub->status.worker_start_ticks = (int64_t)stat.start_ticks;
	record_write(stub->dir_fd, &stub->options, &stub->status, &stub->log);
}

/* Cannot happen to one that pc_stub_spawn has started, but for want of memory. */
static int broken(const char *what)
{
	perror(what);
	return PC__STUB_FAILED;
}

/* A large thing, and only one. */
static struct stub stub = {
	.launch = { .output_fd = -1, .exec_fd = -1 },
};

int main(int argc, char **argv)
{
	int status;

	if (!options_parse(argc, argv, &stub.options, &status))
		return status;
	stub.signal_fd = open_signals();
	if (stub.signal_fd < 0)
		return broken("pool-stub: signalfd");
	setsid(); /* fails when we are a leader already, as we usually are */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return broken("pool-stub: prctl");
	stub.dir_fd = open(stub.options.life_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (stub.dir_fd < 0)
		return broken(stub.options.life_dir);
	log_init(&stub.log, stub.dir_fd, stub.options.worker_id);
	oom_init(&stub.oom, stub.options.cgroup);
	status = record_claim(stub.dir_fd, &stub.options, &stub.status, &stub.log);
	if (status) {
		log_flush(&stub.log);
		return status;
	}
	start_worker(&stub);
	run(&stub);
	return finish(&stub);
}
