/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of signals to pool-stub, of the end of everything below it, and of its own death.
 *
 *	test_stub_signals POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/ptrace.h>

#include "stub_fixture.h"

/* ---- signals ---- */

static void term_reaches_the_group(void **state)
{
	struct watched *w = start("trap 'echo parent' TERM; sh -c 'echo >$GATE; exec sleep 1000'; "
				  "echo child $?; exit 9");

	(void)state;
	await_gate();
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	assert_contains(w->log, "parent\n");
	assert_contains(w->log, "child 143\n");
	assert_int_equal(w->end.exit.code, 9);
	forget(w);
}

static void term_may_be_ignored(void **state)
{
	struct watched *w = start("trap 'echo caught' TERM; echo up; "
				  "while :; do sleep 1000 & wait; done");

	(void)state;
	await_log(w, "up\n");
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	await_log(w, "caught\n");
	assert_false(pc_stub_has_ended(&w->stub));
	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	assert_int_equal(w->end.exit.signal, SIGKILL);
	forget(w);
}

static void term_wakes_a_stopped_one(void **state)
{
	struct watched *w = start("trap 'echo woke; exit 5' TERM; kill -STOP $$; exit 1");

	(void)state;
	AWAIT(w, w->stopped);
	assert_int_equal(w->stop_signal, SIGSTOP);
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	assert_string_equal(w->log, "woke\n");
	assert_int_equal(w->end.exit.code, 5);
	forget(w);
}

static void a_stop_and_its_end_are_told(void **state)
{
	struct watched *w = start("kill -STOP $$; read x <$GO; exit 3");

	(void)state;
	AWAIT(w, w->stopped);
	assert_int_equal(w->continued, 0);
	assert_int_equal(kill(w->pid, SIGCONT), 0);
	AWAIT(w, w->continued);
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 3);
	forget(w);
}

/* Before the stub has reached main(): it was born with all signals blocked. */
static void term_that_comes_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct watched *w = start("read x <$GO");

		assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
		settle(w);
		assert_true(w->end.exit.known);
		assert_int_equal(w->end.exit.signal, SIGTERM);
		forget(w);
	}
}

/* Nothing that a terminal or a service manager sends to whole groups ends the stub. */
static void other_signals_do_not_end_it(void **state)
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1, SIGTSTP
	};
	struct watched *w = start("echo up; read x <$GO; exit 8");

	(void)state;
	await_log(w, "up\n");
	for (size_t i = 0; i < PC_ARRAY_LEN(signals); i++)
		assert_int_equal(kill(w->stub.pid, signals[i]), 0);
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 8);
	forget(w);
}

/* ---- everything below ---- */

/* One in a session of its own, whose parent has gone and which ignores what can be ignored. Its
 * number is the second word of the line. */
#define HERMIT \
	"sh -c 'setsid sh -c \"trap \\\"\\\" TERM HUP INT; echo hermit \\$\\$; sleep 1000; " \
	"sleep 1000\" & echo >$GATE; read x <$GO'; "

static pid_t hermit_of(struct watched *w)
{
	await_log(w, "hermit ");
	AWAIT(w, strchr(strstr(w->log, "hermit "), '\n'));
	return atoi(strstr(w->log, "hermit ") + strlen("hermit "));
}

static void orphans_become_the_stubs(void **state)
{
	struct watched *w = start(HERMIT "echo orphaned; sleep 1000");
	struct pc__proc_stat stat;

	(void)state;
	await_gate();

	pid_t hermit = hermit_of(w);

	let_go();
	await_log(w, "orphaned\n");
	assert_int_equal(pc__proc_stat_read(hermit, &stat), 0);
	assert_int_equal(stat.parent, w->stub.pid);
	assert_int_not_equal(stat.session, w->stub.pid);
	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	forget(w);
}

static void kill_reaches_every_session(void **state)
{
	struct watched *w = start("(" HERMIT ") & trap '' TERM; wait; sleep 1000");

	(void)state;
	await_gate();

	int hermit = open_process(hermit_of(w));

	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	/* The stub does not end before them. */
	assert_int_equal(poll(&(struct pollfd){ .fd = hermit, .events = POLLIN }, 1, 0), 1);
	close(hermit);
	assert_int_equal(w->end.exit.signal, SIGKILL);
	forget(w);
}

static void an_exit_takes_the_rest_with_it(void **state)
{
	struct watched *w = start("(" HERMIT ") & read x <$GO; exit 2");

	(void)state;
	await_gate();

	int hermit = open_process(hermit_of(w));

	let_go();
	let_go();
	settle(w);
	assert_int_equal(poll(&(struct pollfd){ .fd = hermit, .events = POLLIN }, 1, 0), 1);
	close(hermit);
	assert_int_equal(w->end.exit.code, 2);
	forget(w);
}

/* A helper that leaves while the worker lives is no concern of the worker's end. */
static void orphans_are_reaped(void **state)
{
	struct watched *w = start("sh -c 'sh -c \"read x <$GO\" & echo $! '; echo up; read x <$GO");
	struct pc__proc_stat stat;

	(void)state;
	await_log(w, "up\n");

	pid_t orphan = atoi(w->log);
	int pidfd = open_process(orphan);

	let_go();
	let_go();
	await_end(pidfd);
	close(pidfd);
	settle(w);
	assert_int_equal(pc__proc_stat_read(orphan, &stat), -ESRCH);
	forget(w);
}

/* ---- the stub is killed ---- */

/* The worker dies by its parent-death signal, and settle kills its children. */
static void a_killed_stub_leaves_nobody(void **state)
{
	struct watched *w = start("sh -c 'trap \"\" TERM HUP; echo child $$; sleep 1000; :' & "
				  "echo up; wait");

	(void)state;
	await_log(w, "up\n");
	await_log(w, "child ");
	AWAIT(w, strchr(strstr(w->log, "child "), '\n'));

	int child = open_process(atoi(strstr(w->log, "child ") + 6)), worker = open_process(w->pid);

	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	await_end(w->stub.pidfd);
	await_death(worker);
	/* It has lost its parents, and lives. */
	assert_int_equal(poll(&(struct pollfd){ .fd = child, .events = POLLIN }, 1, 0), 0);
	settle(w);
	await_death(child);
	assert_false(w->end.exit.known);
	assert_int_equal(w->end.exit.code, -1);
	assert_int_equal(w->end.exit.signal, 0);
	assert_int_equal(w->end.worker_pid, w->pid);
	assert_string_equal(w->end.exit.reason,
			    "died with its stub, which was killed by SIGKILL; nobody saw its exit");
	forget(w);
}

/* Killed at whatever moment of its start: no worker survives. */
static void a_stub_killed_early_leaves_nobody(void **state)
{
	(void)state;
	for (long spins = 0; spins < 2000000; spins = spins * 5 / 4 + 1000) {
		struct watched *w = start("while :; do sleep 1000; done");

		for (volatile long i = 0; i < spins; i++)
			;
		assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
		settle(w);
		assert_false(w->end.exit.known);
		await_nobody();
		forget(w);
	}
}

/* Waits for a stop of a traced process; the signal, with the event above it. */
static int await_stop(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSTOPPED(status));
	return status >> 8;
}

/* Becomes a traced stub, stopped. What it needs is in its environment and files. */
static _Noreturn void be_a_traced_stub(const char *worker_id)
{
	char *const argv[] = {
		"pool-stub", "--life-dir", folder, "--worker-id", (char *)worker_id, "--program",
		"/bin/sh",   "--",	   "sh",   "-c",	  "exit 0",	     NULL,
	};

	setenv(PC_STUB_TOKEN_VARIABLE, token, 1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(99);
	raise(SIGSTOP);
	execv(stub_program, argv);
	_exit(126);
}

/* Runs until its worker's process has been born, which is stopped then too; the worker's. */
static pid_t run_to_the_birth(pid_t stub)
{
	const uintptr_t options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	unsigned long worker = 0;
	int stop = 0;

	assert_int_equal(await_stop(stub), SIGSTOP);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, stub, NULL, options), 0);
	while (stop != (SIGTRAP | PTRACE_EVENT_FORK << 8)) {
		assert_int_equal(ptrace(PTRACE_CONT, stub, NULL, NULL), 0);
		stop = await_stop(stub);
	}
	assert_int_equal(ptrace(PTRACE_GETEVENTMSG, stub, NULL, &worker), 0);
	assert_int_equal(await_stop((pid_t)worker), SIGSTOP);
	return (pid_t)worker;
}

/* The stub dies before its child has asked to die with it: no signal will come, and the child must
 * see for itself that its parent is another. */
static void a_stub_killed_at_the_birth(void **state)
{
	struct watched *w = watched_create();
	pid_t stub, worker;
	int status;

	(void)state;
	assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
	stub = fork();
	assert_true(stub >= 0);
	if (stub == 0)
		be_a_traced_stub(w->id);
	worker = run_to_the_birth(stub);
	assert_int_equal(kill(stub, SIGKILL), 0);
	assert_int_equal(waitpid(stub, &status, 0), stub);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(ptrace(PTRACE_CONT, worker, NULL, NULL), 0);
	/* Not stopped at an exec. */
	assert_int_equal(waitpid(worker, &status, __WALL), worker);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 127);
	forget(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(term_reaches_the_group),
		cmocka_unit_test(term_may_be_ignored),
		cmocka_unit_test(term_wakes_a_stopped_one),
		cmocka_unit_test(a_stop_and_its_end_are_told),
		cmocka_unit_test(term_that_comes_at_once),
		cmocka_unit_test(other_signals_do_not_end_it),
		cmocka_unit_test(orphans_become_the_stubs),
		cmocka_unit_test(kill_reaches_every_session),
		cmocka_unit_test(an_exit_takes_the_rest_with_it),
		cmocka_unit_test(orphans_are_reaped),
		cmocka_unit_test(a_killed_stub_leaves_nobody),
		cmocka_unit_test(a_stub_killed_early_leaves_nobody),
		cmocka_unit_test(a_stub_killed_at_the_birth),
	};

	if (argc != 2) {
		fputs("usage: test_stub_signals POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
