/* SPDX-License-Identifier: MIT */
/*
 * remains.c - finds what a worker left behind when its stub was killed: its children live on, and
 * nobody is their parent but init. They are known by the spawn token, a secret that only the stub
 * and what came from it have in their environment. Any thread; nothing is kept.
 *
 * Note: who is killed
 *
 * Somebody may have started the worker's command by hand with its environment, to see what is wrong
 * with it. So the token alone does not doom a process; it must also be of the stub's session. And
 * the session's number alone does not either: the stub is gone, and its number may be a stranger's.
 * Both are looked at after a pidfd was opened, and the signal goes through that: what was looked at
 * is what is killed.
 *
 * Note: in the middle of an exec
 *
 * Between the old program and the new one there is a moment (in load_elf_binary of Linux'
 * fs/binfmt_elf.c, while the new one's segments are mapped) in which a process has no environment
 * at all. One that was passed over then lived on as an orphan: seen once in a few hundred ends
 * under load, with a shell that was just becoming sleep(1). An empty environment is therefore no
 * answer, unless the kernel says that the program was started with an empty one; it is asked again.
 *
 * XXX A process that made a session of its own, or overwrote its environment to show a title in
 * ps(1), is not found here. With a control group of its own it still can be told; and a stub that
 * lives reaches both kinds, because it is their subreaper.
 */
#include "lifecycle/remains.h"

#include <poolcore/stub.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "lifecycle/life_file.h"
#include "lifecycle/procfs.h"

/* "\0NAME=token\0", as /proc/PID/environ has it behind another variable. */
struct needle {
	size_t length;
	char bytes[sizeof(PC_STUB_TOKEN_VARIABLE) + PC__LIFE_TOKEN_MAX + 3];
};

static struct needle needle_of(const char *token)
{
	struct needle needle = { .bytes = "" };
	int length = snprintf(needle.bytes + 1, sizeof(needle.bytes) - 1, "%s=%s",
			      PC_STUB_TOKEN_VARIABLE, token);

	needle.length = (size_t)length + 2; /* with both NULs */
	return needle;
}

enum carrying {
	CARRIES_NOT,
	CARRIES,
	CARRIES_PERHAPS, /* it cannot be seen just now */
};

/* What an environment means that was read as empty. */
static enum carrying judge_empty(pid_t pid)
{
	const uint32_t pf_kthread = 0x200000; /* include/linux/sched.h */
	struct pc__proc_stat stat;

	if (pc__proc_stat_read(pid, &stat) || stat.state == 'Z' || stat.state == 'X' ||
	    (stat.flags & pf_kthread))
		return CARRIES_NOT;
	return stat.env_end && stat.env_start == stat.env_end ? CARRIES_NOT : CARRIES_PERHAPS;
}

/* The text begins with a NUL of ours, so that the first variable looks like every other. A needle
 * that two reads cut in half is found because the end of one is kept for the next. */
static enum carrying look(pid_t pid, const struct needle *needle)
{
	char path[64], text[8192];
	size_t kept = 1;
	bool found = false, is_empty = true;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);

	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return CARRIES_NOT;
	text[0] = '\0';
	while (!found) {
		ssize_t got = read(fd, text + kept, sizeof(text) - kept);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		is_empty = false;
		kept += (size_t)got;
		found = memmem(text, kept, needle->bytes, needle->length) != NULL;
		if (kept >= needle->length) {
			memmove(text, text + kept - (needle->length - 1), needle->length - 1);
			kept = needle->length - 1;
		}
	}
	close(fd);
	if (found)
		return CARRIES;
	return is_empty ? judge_empty(pid) : CARRIES_NOT;
}

/*
 * Waits for an exec to be done, which has no event, or for the process to end, which has one. An
 * exec takes less than a millisecond of a processor and the rest of the time for which it waits for
 * one, or for a disk; the bound of 100 ms is a guess.
 */
static bool carries(pid_t pid, int pidfd, const struct needle *needle)
{
	struct pollfd watch = { .fd = pidfd, .events = POLLIN };
	enum carrying answer = look(pid, needle);

	for (int turn = 0; answer == CARRIES_PERHAPS && turn < 100; turn++) {
		if (poll(&watch, 1, 1) > 0)
			return false;
		answer = look(pid, needle);
	}
	return answer == CARRIES;
}

/* Calls `visit` for each process until it returns true; whether it did. Without /proc for none. */
static bool each_process(bool (*visit)(void *ctx, pid_t pid), void *ctx)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool done = false;

	if (!proc)
		return false;
	while (!done && (entry = readdir(proc))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			done = visit(ctx, (pid_t)strtol(entry->d_name, NULL, 10));
	}
	closedir(proc);
	return done;
}

struct search {
	struct needle needle;
	pid_t session;
	pid_t found;
	unsigned killed;
};

static bool find_one(void *ctx, pid_t pid)
{
	struct search *search = ctx;

	/* Before the pidfd only to pass over the thousands that are not meant. */
	if (look(pid, &search->needle) == CARRIES_NOT)
		return false;

	int pidfd = pidfd_open(pid, 0); /* -1: its end is no event then */

	if (carries(pid, pidfd, &search->needle))
		search->found = pid;
	if (pidfd >= 0)
		close(pidfd);
	return search->found != 0;
}

static bool kill_one(void *ctx, pid_t pid)
{
	struct search *search = ctx;
	struct pc__proc_stat stat;

	/* As there. */
	if (pc__proc_stat_read(pid, &stat) || stat.session != search->session)
		return false;

	int pidfd = pidfd_open(pid, 0);

	if (pidfd < 0)
		return false;
	if (pc__proc_stat_read(pid, &stat) == 0 && stat.session == search->session &&
	    carries(pid, pidfd, &search->needle) && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0)
		search->killed++;
	close(pidfd);
	return false;
}

pid_t pc__remains_find(const char *token)
{
	struct search search = { .needle = needle_of(token) };

	each_process(find_one, &search);
	return search.found;
}

unsigned pc__remains_kill(pid_t session, const char *token)
{
	struct search search = { .needle = needle_of(token), .session = session };
	unsigned before;

	/* Again while there is somebody: what forks while we read the list may be behind us. What
	 * was killed keeps its environment for a moment, so that most take two rounds. The bound is
	 * a guess, against one that cannot be killed. */
	for (unsigned round = 0; round < 16; round++) {
		before = search.killed;
		each_process(kill_one, &search);
		if (search.killed == before)
			break;
	}
	return search.killed;
}
