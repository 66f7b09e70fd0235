/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of tests/lib/guard.c: test programs that end in each way while a worker of theirs
 * runs. They are children of this one, with a life directory of their own.
 *
 *	test_guard POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/prctl.h>

#include "stub_fixture.h"

/* ---- a test program that ends ---- */

enum way { WAY_EXIT, WAY_KILLED, WAY_KILLED_WITH_ITS_GROUP };

/* What is unusual. */
enum oddity { ODD_NOTHING, ODD_STUB_IS_STOPPED, ODD_NO_STANDARD_INPUT };

/* Starts a worker under its guard, tells who the stub is, and waits to be let go, or killed. */
static _Noreturn void be_a_test(const char *dir, enum oddity oddity, int told, int go)
{
	struct watched *w = watched_create();
	char *argv[4], byte;
	struct pc_stub_spec spec = script_spec(w, argv, "echo $$ >$GATE; sleep 1000");

	spec.life_dir = dir;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* should this test fail, it waits for nobody */
	setpgid(0, 0);
	if (oddity == ODD_NO_STANDARD_INPUT)
		close(STDIN_FILENO);
	if (guard_start(dir) || pc_stub_claim(dir, w->id, NULL) ||
	    pc_stub_spawn(&spec, &w->stub, NULL) ||
	    write(told, &w->stub.pid, sizeof(w->stub.pid)) != sizeof(w->stub.pid) ||
	    read(go, &byte, 1) != 1)
		_exit(99);
	free(w);
	exit(7);
}

static pid_t read_worker(void)
{
	char said[32] = "";

	await_end(gate_fd);
	assert_true(read(gate_fd, said, sizeof(said) - 1) > 0);
	return atoi(said);
}

static bool is_gone(int pidfd)
{
	return poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 0) == 1;
}

static void end_test(pid_t test, enum way way, int go)
{
	int status;

	if (way == WAY_EXIT)
		assert_int_equal(write(go, "x", 1), 1);
	else
		assert_int_equal(kill(way == WAY_KILLED ? test : -test, SIGKILL), 0);
	assert_int_equal(waitpid(test, &status, 0), test);
	assert_int_equal(status, way == WAY_EXIT ? 7 << 8 : SIGKILL);
}

static void test_ends(enum way way, enum oddity oddity)
{
	const char *const files[] = { "worker-0.status", "worker-0.log", "" };
	static unsigned number;
	char dir[PATH_MAX + 16], path[2 * PATH_MAX];
	int told[2], go[2];
	pid_t test, stub_pid;

	/* Another one each time: the last one's watcher may be sweeping yet. */
	snprintf(dir, sizeof(dir), "%s/test-%u", folder, number++);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	test = fork();
	assert_true(test >= 0);
	if (test == 0)
		be_a_test(dir, oddity, told[1], go[0]);
	assert_int_equal(read(told[0], &stub_pid, sizeof(stub_pid)), sizeof(stub_pid));

	int worker = open_process(read_worker()), stub = open_process(stub_pid);

	if (oddity == ODD_STUB_IS_STOPPED)
		assert_int_equal(kill(stub_pid, SIGSTOP), 0);
	assert_false(is_gone(stub));
	end_test(test, way, go[1]);
	/* The exit waits for them; a killed one cannot, and its watcher comes after it. */
	if (way == WAY_EXIT)
		assert_true(is_gone(stub) && is_gone(worker));
	await_death(stub);
	await_death(worker);
	for (size_t i = 0; i < PC_ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		assert_int_equal(remove(path), 0);
	}
	for (int i = 0; i < 2; i++) {
		close(told[i]);
		close(go[i]);
	}
}

static void a_test_that_exits(void **state)
{
	(void)state;
	test_ends(WAY_EXIT, ODD_NOTHING);
	test_ends(WAY_EXIT, ODD_STUB_IS_STOPPED);
}

static void a_test_that_is_killed(void **state)
{
	(void)state;
	test_ends(WAY_KILLED, ODD_NOTHING);
	test_ends(WAY_KILLED, ODD_STUB_IS_STOPPED);
	/* Several times, for a watcher that does not wait may be just in time. */
	for (int i = 0; i < 5; i++)
		test_ends(WAY_KILLED, ODD_NO_STANDARD_INPUT);
	test_ends(WAY_KILLED_WITH_ITS_GROUP, ODD_NOTHING);
}

/* ---- a sweep ---- */

static void a_sweep_ends_workers(void **state)
{
	struct watched *w = start("trap '' TERM; echo >$GATE; sleep 1000");

	(void)state;
	await_gate();
	guard_sweep(folder);
	assert_true(pc_stub_has_ended(&w->stub));
	settle(w);
	assert_true(w->end.exit.known);
	assert_string_equal(w->end.exit.reason, "killed by SIGKILL");
	forget(w);
}

/* Neither of another directory, nor of one whose name begins so. */
static void a_sweep_spares_others(void **state)
{
	struct watched *w = start("read x <$GO; exit 3");
	char beginning[PATH_MAX];

	(void)state;
	snprintf(beginning, sizeof(beginning), "%.*s", (int)strlen(folder) - 1, folder);
	guard_sweep(beginning);
	guard_sweep(in_folder("other"));
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 3);
	forget(w);
}

/* A shell that reads until it is let go; what it is taken for is its name and its last argument. */
static pid_t start_named(const char *name, const char *argument)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		execle("/bin/sh", name, "-c", "echo >$GATE; read x <$GO; exit 4", argument, NULL,
		       fixture_env);
		_exit(126);
	}
	await_gate();
	return pid;
}

static void a_sweep_ends_daemons(void **state)
{
	static const struct {
		const char *name, *format;
		bool is_meant;
	} cases[] = {
		{ "/usr/bin/pool-managerd", "%s/pool.toml", true },
		{ "build/pool-managerd-faulty", "--config=%s/pool.toml", true },
		{ "pool-managerd", "/elsewhere%s/pool.toml", false },
		{ "pool-managerd", "%s", true },
		{ "pool-managerd", "%s-not", false },
		{ "less", "%s/pool.toml", false },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		char argument[2 * PATH_MAX];
		pid_t pid;
		int status;

		snprintf(argument, sizeof(argument), cases[i].format, folder);
		pid = start_named(cases[i].name, argument);
		guard_sweep(folder);
		if (!cases[i].is_meant)
			let_go();
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, cases[i].is_meant ? SIGKILL : 4 << 8);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_test_that_exits),	cmocka_unit_test(a_test_that_is_killed),
		cmocka_unit_test(a_sweep_ends_workers), cmocka_unit_test(a_sweep_spares_others),
		cmocka_unit_test(a_sweep_ends_daemons),
	};

	if (argc != 2) {
		fputs("usage: test_guard POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
