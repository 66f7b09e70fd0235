/* SPDX-License-Identifier: MIT */
/* Unit tests of daemon/failpoint.c: who dies where, each time in a child, for the variable is read
 * once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/failpoint.h"

/* Passes every place once and one of them three times; the exit status says how far it came. */
static void pass_all(void)
{
	FAILPOINT(spawn_before_record);
	FAILPOINT(ready_after_record);
	FAILPOINT(ready_after_record);
	FAILPOINT(ready_after_record);
	FAILPOINT(recover_before_sweep);
	_exit(77);
}

/* What becomes of a process with this choice: its exit status, or 128 + the signal. */
static int fate(const char *choice)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (choice)
			setenv("POOL_FAILPOINT", choice, 1);
		else
			unsetenv("POOL_FAILPOINT");
		close(STDERR_FILENO);
		pass_all();
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void nobody_dies_unasked(void **state)
{
	(void)state;
	assert_int_equal(fate(NULL), 77);
	assert_int_equal(fate(""), 77);
	assert_int_equal(fate("stop_before_signal"), 77);
}

static void the_chosen_passing_kills(void **state)
{
	(void)state;
	assert_int_equal(fate("spawn_before_record"), 128 + SIGKILL);
	assert_int_equal(fate("spawn_before_record:1"), 128 + SIGKILL);
	assert_int_equal(fate("spawn_before_record:2"), 77);
	assert_int_equal(fate("ready_after_record:3"), 128 + SIGKILL);
	assert_int_equal(fate("ready_after_record:4"), 77);
	assert_int_equal(fate("recover_before_sweep"), 128 + SIGKILL);
}

static void a_misspelling_is_refused(void **state)
{
	static const char *const wrong[] = { "spawn_before",
					     "spawn_before_records",
					     "nowhere",
					     ":",
					     ":1",
					     "spawn_before_record:",
					     "spawn_before_record:0",
					     "spawn_before_record:x",
					     "spawn_before_record:1x" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(fate(wrong[i]), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_dies_unasked),
		cmocka_unit_test(the_chosen_passing_kills),
		cmocka_unit_test(a_misspelling_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
