/* SPDX-License-Identifier: MIT */
/* Unit tests of src/lifecycle/procfs.c with real processes: identity, ends and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/lifecycle.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/procfs.h"

/* What the shells write; of one at a time. */
static int output[2];

static int open_output(void **state)
{
	(void)state;
	return pipe(output);
}

static int close_output(void **state)
{
	(void)state;
	return close(output[0]) | close(output[1]);
}

/* A shell that leads a session of its own, as a worker's stub does. It dies with us. */
static pid_t start(const char *script)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		dup2(output[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(126);
	}
	return pid;
}

/* Waits for "up"; the 20 s only turn a hang into a failure. */
static void await_line(void)
{
	struct pollfd watch = { .fd = output[0], .events = POLLIN };
	char text[4];

	assert_int_equal(poll(&watch, 1, 20000), 1);
	assert_int_equal(read(output[0], text, sizeof(text)), 3);
}

static void finish(pid_t pid)
{
	kill(-pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- identity ---- */

static void boot_id(void **state)
{
	(void)state;
	assert_int_equal(strlen(pc_boot_id()), 36);
	assert_ptr_equal(pc_boot_id(), pc_boot_id());
}

static void stat_texts(void **state)
{
	static const char good[] = "7 (a) Z 9 (b) S 1 7 8 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 "
				   "18446744073709551615 5 6";
	static const char longer[] =
		"7 (a) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 "
		"31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52\n";
	struct pc__proc_stat stat;

	(void)state;
	assert_int_equal(pc__proc_stat_parse(good, &stat), 0);
	assert_int_equal(stat.state, 'S');
	assert_int_equal(stat.parent, 1);
	assert_int_equal(stat.group, 7);
	assert_int_equal(stat.session, 8);
	assert_true(stat.start_ticks == UINT64_MAX);
	assert_true(stat.env_start == 0);
	assert_int_equal(pc__proc_stat_parse(longer, &stat), 0);
	assert_true(stat.start_ticks == 22);
	assert_true(stat.env_start == 50);
	assert_true(stat.env_end == 51);
	assert_int_equal(pc__proc_stat_parse("", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_parse("7 (a) S 1 2", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_parse("7 (a) S 1 2 3 4 5", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_parse("7 a S 1 2 3 4 5", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_read(INT_MAX, &stat), -ESRCH);
}

/* Without a descriptor /proc cannot be read, and nobody is taken for dead because of that. */
static void unknown_is_not_ending(void **state)
{
	struct rlimit limit, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_false(pc_process_is_ending(getpid()));
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	bool ending = pc_process_is_ending(getpid());

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_false(ending);

	pid_t pid = start("exit 0");
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(pc_process_is_ending(pid)); /* a zombie */
	finish(pid);
	assert_true(pc_process_is_ending(pid));
}

/* ---- memory ---- */

/* A variable of 8 MB in the shell, and another in its child. */
static void memory_counts_children(void **state)
{
	static const char fill[] = "x=$(head -c 8000000 /dev/zero | tr '\\0' x); ";
	char script[512];
	uint64_t alone, both;

	(void)state;
	/* The colon keeps the shell from becoming the sleep. */
	snprintf(script, sizeof(script), "%s echo up; sleep 1000; :", fill);

	pid_t pid = start(script);

	await_line();
	alone = pc_process_memory(pid);
	assert_true(alone >= 8000000);
	finish(pid);

	snprintf(script, sizeof(script), "%s (%s echo up; sleep 1000; :) & wait", fill, fill);
	pid = start(script);
	await_line();
	both = pc_process_memory(pid);
	if (access("/proc/thread-self/children", R_OK) == 0)
		assert_true(both >= 16000000);
	finish(pid);

	assert_int_equal(pc_process_memory(pid), 0);
	assert_int_equal(pc_process_memory(0), 0);
	assert_int_equal(pc_process_memory(-5), 0);
	assert_true(pc_process_memory(getpid()) > 0);
}

/* Another boot, another start time, a number that nobody has: all of them are somebody else. */
static void only_the_one_that_is_meant_is_opened(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__proc_stat stat;
	int pidfd = -1;

	(void)state;
	assert_int_equal(pc__proc_stat_read(getpid(), &stat), 0);
	assert_int_equal(pc_process_open(getpid(), stat.start_ticks, pc_boot_id(), &pidfd, NULL),
			 0);
	assert_true(pidfd >= 0);
	close(pidfd);
	pidfd = -1;
	assert_int_equal(
		pc_process_open(getpid(), stat.start_ticks + 1, pc_boot_id(), &pidfd, &err),
		PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "is another one"));
	pc_error_clear(&err);
	assert_int_equal(pc_process_open(getpid(), stat.start_ticks, "other", &pidfd, &err),
			 PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "before the machine was"));
	assert_int_equal(pc_process_open(INT32_MAX, 1, pc_boot_id(), &pidfd, NULL), PC_E_NOT_FOUND);
	assert_int_equal(pc_process_open(0, 1, pc_boot_id(), &pidfd, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_process_open(-1, 1, pc_boot_id(), &pidfd, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pidfd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boot_id),
		cmocka_unit_test(stat_texts),
		cmocka_unit_test(unknown_is_not_ending),
		cmocka_unit_test(memory_counts_children),
		cmocka_unit_test(only_the_one_that_is_meant_is_opened),
	};

	return cmocka_run_group_tests(tests, open_output, close_output);
}
