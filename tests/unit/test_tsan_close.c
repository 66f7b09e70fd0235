/* SPDX-License-Identifier: MIT */
/*
 * test_tsan_close.c - two threads have the same descriptor one after the other: a loop closes it,
 * then another thread is given the number and closes it too. Built with -Db_sanitize=thread only,
 * where the sanitizer reports a race, and the program exits with its code, unless it saw the
 * loop's close (tools/tsan-close.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

/*
 * The number that the loop's thread has closed, -1 before. Relaxed on both sides: a stronger order
 * would tell the sanitizer that the one thread came after the other, and there would be no race.
 */
static _Atomic int closed = -1;

/* Assertions belong to the main thread: what went wrong is the thread's result. */
static void *loop_main(void *unused)
{
	uv_loop_t loop;
	uv_pipe_t pipe;
	int ends[2];

	(void)unused;
	if (uv_loop_init(&loop) != 0 || uv_pipe_init(&loop, &pipe, 0) != 0)
		return "no loop";
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
	    uv_pipe_open(&pipe, ends[0]) != 0)
		return "no socket";
	uv_close((uv_handle_t *)&pipe, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	atomic_store_explicit(&closed, ends[0], memory_order_relaxed);
	close(ends[1]);
	return uv_loop_close(&loop) == 0 ? NULL : "the loop is not empty";
}

static void *other_main(void *unused)
{
	int number;

	(void)unused;
	while ((number = atomic_load_explicit(&closed, memory_order_relaxed)) < 0)
		sched_yield();
	/* The sanitizer does not watch fcntl, so this gives it no new owner for the number. */
	if (fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, number) != number)
		return "another number";
	close(number);
	return NULL;
}

static void a_descriptor_closed_by_a_loop_is_nobodys(void **state)
{
	void *(*const mains[])(void *) = { loop_main, other_main };
	pthread_t threads[2];

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, mains[i], NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		void *wrong;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		if (wrong)
			fail_msg("%s", (const char *)wrong);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_descriptor_closed_by_a_loop_is_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
