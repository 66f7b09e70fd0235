/* SPDX-License-Identifier: MIT */
/* Unit tests of poolcore/clock.h: the seam, and sums that do not wrap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/clock.h>

static uint64_t fake_now(void *ctx)
{
	return *(uint64_t *)ctx;
}

static void the_system_clock_never_goes_back(void **state)
{
	uint64_t before = pc_clock_now_ns();

	(void)state;
	assert_true(before > 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = pc_clock_now_ns();

		assert_true(now >= before);
		before = now;
	}
	/* 2020-01-01; a wall clock that is further back is not set. */
	assert_true(pc_clock_wall_ms() > INT64_C(1577836800000));
}

static void a_test_moves_time(void **state)
{
	uint64_t now = 5 * PC_NS_PER_SEC;

	(void)state;
	pc_clock_set_source(fake_now, &now);
	assert_true(pc_clock_now_ns() == 5 * PC_NS_PER_SEC);

	int64_t wall = pc_clock_wall_ms();

	assert_int_equal(pc_clock_wall_ms(), wall); /* it stands until it is moved */
	now += 3600 * PC_NS_PER_SEC;
	assert_true(pc_clock_now_ns() == 3605 * PC_NS_PER_SEC);
	assert_int_equal(pc_clock_wall_ms() - wall, 3600 * 1000);
	pc_clock_set_source(NULL, NULL);
	assert_true(pc_clock_now_ns() != now);
}

static void sums_stop_at_never(void **state)
{
	(void)state;
	assert_true(pc_time_add(2, 3) == 5);
	assert_true(pc_time_add(PC_TIME_NEVER - 1, 1) == PC_TIME_NEVER);
	assert_true(pc_time_add(PC_TIME_NEVER - 1, 2) == PC_TIME_NEVER);
	assert_true(pc_time_add(PC_TIME_NEVER, 0) == PC_TIME_NEVER);
	assert_true(pc_time_add(PC_TIME_NEVER, PC_TIME_NEVER) == PC_TIME_NEVER);
	assert_true(pc_time_add(0, PC_TIME_NEVER) == PC_TIME_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_system_clock_never_goes_back),
		cmocka_unit_test(a_test_moves_time),
		cmocka_unit_test(sums_stop_at_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
