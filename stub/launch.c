/* SPDX-License-Identifier: MIT */
/*
 * launch.c - starts the worker's process. What it does between fork and exec is in child(), in the
 * order in which it must be done; what goes wrong there comes back through a pipe that exec closes.
 */
#include "stub/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lifecycle/exit_text.h"

/* Raised, so that the kernel takes a worker before the daemon and us. 0 to 1000; a guess. */
#define OOM_SCORE_ADJ "500"

enum launch_step { STEP_EXEC, STEP_CGROUP, STEP_OUTPUT };

/* Writes a short text into an existing file; 0 or errno. */
static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int failure;

	if (fd < 0)
		return errno;
	failure = write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
	return failure;
}

/* No core: a model's memory would fill the disk. Soft limits, which a worker may raise. */
static void set_limits(const struct options *options)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) == 0) {
		limit.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &limit);
	}
	if (options->open_files && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = options->open_files < limit.rlim_max ? options->open_files
								      : limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* "0" is whoever writes it. */
static int join_cgroup(const char *cgroup)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup) >= (int)sizeof(path))
		return ENAMETOOLONG;
	return write_text(path, "0");
}

/* Signals that were ignored when we were started, and our mask, would survive exec. */
static void reset_signals(void)
{
	sigset_t none;

	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void give_up(int exec_fd, enum launch_step what, int failure)
{
	struct launch_failure report = { .what = what, .sys_errno = failure };

	/* Where it cannot be told, 127 says it, as in a shell. */
	while (write(exec_fd, &report, sizeof(report)) < 0 && errno == EINTR)
		;
	_exit(127);
}

static _Noreturn void child(const struct options *options, pid_t stub, int output_fd, int exec_fd)
{
	int failure;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It may have died before that; then no signal comes. */
	if (getppid() != stub)
		_exit(127);
	set_limits(options);
	write_text("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
	failure = options->cgroup ? join_cgroup(options->cgroup) : 0;
	if (failure)
		give_up(exec_fd, STEP_CGROUP, failure);
	if (dup2(output_fd, STDOUT_FILENO) < 0 || dup2(output_fd, STDERR_FILENO) < 0)
		give_up(exec_fd, STEP_OUTPUT, errno);
	reset_signals();
	execve(options->program, options->argv, environ);
	give_up(exec_fd, STEP_EXEC, errno);
}

static void close_both(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

/* Only our ends do not block; a worker's printf must not fail when we are slow. 0 or errno. */
static int open_pipes(int output[2], int exec[2])
{
	if (pipe2(output, O_CLOEXEC))
		return errno;
	if (pipe2(exec, O_CLOEXEC)) {
		int failure = errno;

		close_both(output);
		return failure;
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	fcntl(exec[0], F_SETFL, O_NONBLOCK);
	return 0;
}

int launch_start(const struct options *options, struct launch *ret_launch)
{
	int output[2] = { -1, -1 }, exec[2] = { -1, -1 };
	pid_t stub = getpid();
	int failure = open_pipes(output, exec);

	if (failure)
		return failure;

	pid_t pid = fork();

	if (pid == 0)
		child(options, stub, output[1], exec[1]);
	failure = pid < 0 ? errno : 0;
	close(output[1]);
	close(exec[1]);
	if (failure) {
		close(output[0]);
		close(exec[0]);
		return failure;
	}
	/* Here as well, so that the group exists when we first signal it. */
	setpgid(pid, pid);
	*ret_launch = (struct launch){ .pid = pid, .output_fd = output[0], .exec_fd = exec[0] };
	return 0;
}

void launch_describe(const struct options *options, const struct launch_failure *failure,
		     char *reason, size_t size)
{
	const char *text = strerror(failure->sys_errno);

	switch ((enum launch_step)failure->what) {
	case STEP_CGROUP:
		snprintf(reason, size, "cannot join the control group '%s': %s", options->cgroup,
			 text);
		return;
	case STEP_OUTPUT:
		snprintf(reason, size, "cannot set up the output of '%s': %s", options->program,
			 text);
		return;
	case STEP_EXEC:
		break;
	}
	snprintf(reason, size, "cannot start '%s'%s: %s", options->program,
		 pc__spawn_hint(options->program, failure->sys_errno), text);
}
