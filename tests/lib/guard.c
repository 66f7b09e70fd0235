/* SPDX-License-Identifier: MIT */
/*
 * guard.c - finds the daemons and stubs of a test by their command lines and ends them.
 *
 * Who is meant is looked at after the pidfd was opened, and signalled through it, so that a number
 * which changed hands meanwhile hits nobody. A stub is asked to kill what is below it and to note
 * that, which takes its worker along; a daemon first, because one that lives spawns further stubs.
 * A daemon that is killed between vfork and exec leaves a child with the daemon's command line,
 * which is a stub a moment later: so the list is read again until nobody is on it.
 */
#include "lib/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a stub may take to end its worker, before it is killed itself. Only one that is stuck
 * in the kernel takes as long; a guess. */
#define PATIENCE_MS 10000
/* A bound for a process that cannot be killed. */
#define ROUNDS_MAX 100

static char guarded[PATH_MAX];
static pid_t guarded_by; /* a forked child inherits the exit handler, not the duty */

/* ---- who is meant ---- */

enum kind { KIND_OTHER, KIND_STUB, KIND_DAEMON };

static enum kind kind_of(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *name = slash ? slash + 1 : argv0;

	if (strcmp(name, "pool-stub") == 0)
		return KIND_STUB;
	/* Also the one with fault points in it. */
	return strncmp(name, "pool-managerd", strlen("pool-managerd")) == 0 ? KIND_DAEMON
									    : KIND_OTHER;
}

/* The argument is `path` or below it, or an option with such a one behind "=". */
static bool names(const char *argument, const char *path)
{
	const char *equals = strchr(argument, '=');
	size_t length = strlen(path);

	if (argument[0] == '-' && equals)
		argument = equals + 1;
	return strncmp(argument, path, length) == 0 &&
	       (argument[length] == '/' || !argument[length]);
}

/* What the process is, if its command line names `path` or something below. A line that does not
 * fit is looked at as far as it does: stub and daemon both name it early. */
static enum kind look(pid_t pid, const char *path)
{
	char file[64], text[16384];
	size_t length = 0;
	ssize_t got;

	snprintf(file, sizeof(file), "/proc/%d/cmdline", pid);

	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return KIND_OTHER;
	while (length < sizeof(text) - 1 &&
	       (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)got;
	close(fd);
	text[length] = '\0';

	enum kind kind = kind_of(text);

	for (size_t at = 0; kind != KIND_OTHER && at < length; at += strlen(text + at) + 1) {
		if (names(text + at, path))
			return kind;
	}
	return KIND_OTHER;
}

/* ---- their end ---- */

static bool has_ended_within(int pidfd, int ms)
{
	struct pollfd watch = { .fd = pidfd, .events = POLLIN };
	int ready;

	do {
		ready = poll(&watch, 1, ms);
	} while (ready < 0 && errno == EINTR);
	return ready == 1;
}

static void end(enum kind kind, int pidfd)
{
	if (kind == KIND_STUB) {
		pidfd_send_signal(pidfd, SIGUSR2, NULL, 0);
		pidfd_send_signal(pidfd, SIGCONT, NULL, 0); /* a test may have stopped it */
		if (has_ended_within(pidfd, PATIENCE_MS))
			return;
	}
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	has_ended_within(pidfd, PATIENCE_MS);
}

/* True when the process was of this kind, and named `path`. */
static bool end_if_meant(pid_t pid, enum kind kind, const char *path)
{
	if (look(pid, path) != kind)
		return false;

	int pidfd = pidfd_open(pid, 0);
	bool is_meant = pidfd >= 0 && look(pid, path) == kind;

	if (is_meant)
		end(kind, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	return is_meant;
}

static unsigned end_all(enum kind kind, const char *path)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned count = 0;

	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (isdigit((unsigned char)entry->d_name[0]) && pid != getpid())
			count += end_if_meant(pid, kind, path);
	}
	if (proc)
		closedir(proc);
	return count;
}

void guard_sweep(const char *path)
{
	unsigned found = 1;

	for (unsigned round = 0; round < ROUNDS_MAX && found > 0; round++) {
		found = end_all(KIND_DAEMON, path);
		found += end_all(KIND_STUB, path);
	}
}

/* ---- the guard ---- */

static void sweep_at_exit(void)
{
	if (guarded_by == getpid())
		guard_sweep(guarded);
}

/* A pidfd of ourselves behind the standard descriptors, which may be closed; -1 with errno. */
static int open_self(void)
{
	int low = pidfd_open(getpid(), 0);
	int pidfd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int failure = errno;

	if (low >= 0)
		close(low);
	errno = failure;
	return pidfd;
}

/* Holds nothing of ours open, for who waits for the end of our output must not wait for this. */
static void watch(int pidfd)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	dup2(pidfd, STDERR_FILENO + 1);
	close_range(STDERR_FILENO + 2, ~0U, 0);
	has_ended_within(STDERR_FILENO + 1, -1);
	guard_sweep(guarded);
}

/* By a child that ends at once, so that the watcher is init's and no test that waits for all of its
 * children waits for it. */
static int watcher_start(void)
{
	int pidfd = open_self(), status = -1;
	pid_t middle = pidfd < 0 ? -1 : fork();

	if (middle == 0) {
		setsid(); /* before the watcher is born: what kills our group spares it at once */

		pid_t watcher = fork();

		if (watcher == 0)
			watch(pidfd);
		_exit(watcher < 0);
	}

	int failure = errno;

	if (pidfd >= 0)
		close(pidfd);
	errno = failure;
	if (middle < 0)
		return -1;
	while (waitpid(middle, &status, 0) < 0 && errno == EINTR)
		;
	errno = EAGAIN; /* what a fork fails with */
	return status == 0 ? 0 : -1;
}

int guard_start(const char *dir)
{
	if (snprintf(guarded, sizeof(guarded), "%s", dir) >= (int)sizeof(guarded)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (watcher_start())
		return -1;
	guarded_by = getpid();
	if (atexit(sweep_at_exit)) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}
