/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of pool-stub and of the daemon's side of it, while both live: real stubs with small
 * workers in shell. What is left of a life when one of the two dies is test_life.c.
 *
 *	test_stub POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/clock.h>

#include <sys/prctl.h>
#include <sys/resource.h>

#include "fail_alloc.h"
#include "lifecycle/report.h"
#include "stub_fixture.h"

/* ---- exits ---- */

static void exits(void **state)
{
	static const struct {
		const char *script;
		int code;
		int signal;
		const char *reason;
		const char *tail;
	} cases[] = {
		{ "exit 0", 0, 0, "exited with status 0", "" },
		{ "echo why; exit 3", 3, 0, "exited with status 3", "why\n" },
		{ "printf 'a\\nb' >&2; exit 255", 255, 0, "exited with status 255", "a\nb" },
		{ "kill -TERM $$", -1, SIGTERM, "killed by SIGTERM", "" },
		{ "kill -KILL $$", -1, SIGKILL, "killed by SIGKILL", "" },
		{ "kill -SEGV $$", -1, SIGSEGV, "killed by SIGSEGV", "" },
		{ "kill -40 $$", -1, 40, "killed by signal 40", "" },
		{ "printf 'a\\0b'", 0, 0, "exited with status 0", "a?b" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		int64_t before = pc_clock_wall_ms();
		struct watched *w = start(cases[i].script);

		settle(w);
		assert_true(w->end.exit.known);
		assert_int_equal(w->end.exit.code, cases[i].code);
		assert_int_equal(w->end.exit.signal, cases[i].signal);
		assert_string_equal(w->end.exit.reason, cases[i].reason);
		assert_string_equal(w->end.log_tail, cases[i].tail);
		assert_true(w->end.exit.wall_ms >= before);
		assert_true(w->end.exit.wall_ms <= pc_clock_wall_ms());
		assert_int_equal(w->end.spawn_errno, 0);
		assert_false(w->end.oom_killed);
		assert_int_equal(w->started, 1);
		assert_int_equal(w->end.worker_pid, w->pid);
		forget(w);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits),
	};

	if (argc != 2) {
		fputs("usage: test_stub POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, folder_setup, remove_folder);
}
