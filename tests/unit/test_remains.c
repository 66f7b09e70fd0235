/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/lifecycle/remains.c: who is killed when a stub was killed, and who is spared.
 *
 *	test_remains POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/prctl.h>

#include "stub_fixture.h"

/* The number behind "child " in the log. */
static pid_t await_child(struct watched *w)
{
	await_log(w, "child ");
	AWAIT(w, strchr(strstr(w->log, "child "), '\n'));
	return atoi(strstr(w->log, "child ") + strlen("child "));
}

static void kill_stub(struct watched *w)
{
	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	settle(w);
	assert_false(w->end.exit.known);
}

/* Ends a child of ours; it was sent no KILL before, which would be heard first. */
static void end_spared(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* Somebody runs the worker's command by hand, to see what is wrong with it. */
static void one_of_another_session(void **state)
{
	struct watched *w = start("echo up; read x <$GO");
	char variable[128];
	char *const env[] = { variable, NULL };
	pid_t by_hand;

	(void)state;
	snprintf(variable, sizeof(variable), "%s=%s", PC_STUB_TOKEN_VARIABLE, token);
	await_log(w, "up\n");
	by_hand = fork();
	assert_true(by_hand >= 0);
	if (by_hand == 0) {
		execle("/bin/sh", "sh", "-c", "echo >\"$0\"; exec sleep 1000", in_folder("GATE"),
		       NULL, env);
		_exit(126);
	}
	await_gate();
	kill_stub(w);
	end_spared(by_hand);
	forget(w);
}

/* The session's number alone may be a stranger's. The test inherits him, to learn how he ends. */
static void one_without_the_token(void **state)
{
	struct watched *w;
	pid_t stranger;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	w = start("env -i sh -c 'echo child $$; exec sleep 1000' & wait");
	stranger = await_child(w);
	kill_stub(w);
	end_spared(stranger);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	forget(w);
}

/* For a moment of each exec it has no environment, and must not be taken for a stranger then. */
static void one_that_execs_for_ever(void **state)
{
	char script[3 * PATH_MAX];

	(void)state;
	snprintf(script, sizeof(script), "sh '%s' & echo child $!; wait",
		 write_file("loop", "exec /bin/sh \"$0\"\n"));
	for (int i = 0; i < 60; i++) {
		struct watched *w = start(script);
		int child = open_process(await_child(w));

		kill_stub(w);
		await_death(child);
		forget(w);
	}
	assert_int_equal(unlink(in_folder("loop")), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_of_another_session),
		cmocka_unit_test(one_without_the_token),
		cmocka_unit_test(one_that_execs_for_ever),
	};

	if (argc != 2) {
		fputs("usage: test_remains POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
