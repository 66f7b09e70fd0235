/* SPDX-License-Identifier: MIT */
/*
 * The two programs of examples/ that run workers: spawn_worker, which is its own daemon, and
 * cli_spawn, which asks one. The programs' paths come from SPAWN_WORKER and CLI_SPAWN, which meson
 * sets; the rest is daemon_fixture.h's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

static struct proc *run(const char *variable, const char *one, const char *two, const char *three)
{
	const char *const argv[] = { getenv(variable), one, two, three, NULL };

	assert_non_null(argv[0]);
	return proc_start(argv, NULL);
}

/* Runs it to its end; it must have said the text. */
static void expect(const char *variable, const char *one, const char *two, const char *three,
		   int status, const char *text)
{
	struct proc *proc = run(variable, one, two, three);

	proc_wait_line(proc, text);
	assert_int_equal(proc_wait(proc), status);
	proc_free(proc);
}

static void expect_no_files(struct rig *rig, const char *folder)
{
	char *path;

	/* An empty folder can be removed, and no other one. */
	assert_true(asprintf(&path, "%s/%s", rig->dir, folder) > 0);
	assert_int_equal(rmdir(path), 0);
	free(path);
}

/* ---- spawn_worker ---- */

static void a_whole_life(void **state)
{
	struct rig rig;
	struct proc *proc;
	pid_t worker = 0;
	const char *line;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "tiny", "memory_bytes=16777216", "backend = \"port\"\nslots = 2");
	rig_write(&rig);

	/* Twice, with one registry: nothing of the first is in the way of the second. */
	for (int round = 0; round < 2; round++) {
		proc = run("SPAWN_WORKER", rig.config, "tiny", NULL);
		proc_wait_line(proc, " GPUs");
		proc_wait_line(proc, "'tiny' would take 16 MiB of cpu with ");
		proc_wait_line(proc, " starts on port ");
		line = proc_wait_line(proc,
				      " is ready: model tiny, backend port, device cpu, port ");
		assert_non_null(strstr(line, ", 2 slots"));
		line = strstr(line, "pid ");
		assert_non_null(line);
		worker = (pid_t)strtol(line + strlen("pid "), NULL, 10);
		assert_true(worker > 0);
		proc_wait_line(proc, " has ended: ");
		assert_int_equal(proc_wait(proc), 0);
		proc_free(proc);
		assert_int_equal(kill(worker, 0), -1);
	}
	expect_no_files(&rig, "state/workers");
	rig_fini(&rig);
}

static void what_stands_in_the_way(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "tiny", "memory_bytes=16777216", "backend = \"port\"");
	rig_model(&rig, "absent", NULL, "backend = \"port\"");
	rig_model(&rig, "called", "memory_bytes=16777216", "");
	rig_write(&rig);
	expect("SPAWN_WORKER", rig.config, "tony", NULL, 1, "MODEL_NOT_FOUND");
	expect("SPAWN_WORKER", rig.config, "absent", NULL, 1, "MODEL_FILE_MISSING");
	expect("SPAWN_WORKER", rig.config, "called", NULL, 1, "backend 'stub' does not listen on");
	expect("SPAWN_WORKER", rig.config, "tiny", "gpu7", 1, "NOT_FOUND");
	expect("SPAWN_WORKER", "/nowhere/pool.toml", "tiny", NULL, 1, "/nowhere/pool.toml");
	expect_no_files(&rig, "state/workers");
	rig_fini(&rig);
}

/* A worker that dies while it loads is told of, and nothing is left of it. */
static void a_worker_that_dies(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "broken", "fail=MODEL_ERROR:no", "backend = \"port\"");
	rig_write(&rig);
	expect("SPAWN_WORKER", rig.config, "broken", NULL, 1,
	       "SPAWN_FAILED: the worker ended before it was ready");
	expect_no_files(&rig, "state/workers");
	rig_fini(&rig);
}

/* ---- cli_spawn ---- */

static void a_daemon_is_asked(void **state)
{
	struct rig rig;
	struct proc *proc;
	char url[160];

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "tiny", "memory_bytes=16777216", "");
	rig_start(&rig);
	snprintf(url, sizeof(url), "http://%s", rig.address);

	proc = run("CLI_SPAWN", url, "tiny", NULL);
	proc_wait_line(proc, "{\"model\":\"tiny\"");
	proc_wait_line(proc, " of tiny is spawning on cpu");
	assert_int_equal(proc_wait(proc), 0);
	proc_free(proc);
	rig_wait_workers(&rig, 1);

	/* The daemon's own words, and what is wrong before it is asked. */
	expect("CLI_SPAWN", url, "tony", NULL, 1, "MODEL_NOT_FOUND");
	expect("CLI_SPAWN", url, "", NULL, 1, "INVALID_");
	assert_int_equal(rig_stop(&rig), 0);
	expect("CLI_SPAWN", url, "tiny", NULL, 1, "no daemon answers at http://");
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_whole_life, proc_free_all),
		cmocka_unit_test_teardown(what_stands_in_the_way, proc_free_all),
		cmocka_unit_test_teardown(a_worker_that_dies, proc_free_all),
		cmocka_unit_test_teardown(a_daemon_is_asked, proc_free_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
