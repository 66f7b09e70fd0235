/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/memory/judge.c: a table of readings, limits, the judgement before, and what is
 * said; and the properties that hold for all of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <poolcore/memory.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define GROUP "/sys/fs/cgroup/x/memory.pressure"
#define MACHINE "/proc/pressure/memory"

#define CALM PC_MEMORY_CALM
#define TIGHT PC_MEMORY_TIGHT

static struct pc_memory_facts facts_make(uint64_t total, uint64_t available)
{
	return (struct pc_memory_facts){
		.total_bytes = total,
		.available_bytes = available,
		.physical_bytes = total,
		.limited_by = "MemTotal",
	};
}

static struct pc_memory_pressure pressure_make(bool available, uint32_t some_bp, uint32_t full_bp)
{
	return (struct pc_memory_pressure){
		.available = available,
		.some = { .avg10_bp = some_bp, .file = GROUP },
		.full = { .avg10_bp = full_bp, .file = MACHINE },
	};
}

/* A machine of 16 GiB. */
static const struct {
	const char *name;
	uint64_t available;
	bool has_pressure;
	uint32_t some, full;
	struct pc_memory_limits limits;
	enum pc_memory_state before, after;
	const char *why;
} rows[] = {
	/* clang-format off */
	{ "all is well", 4 * GIB, true, 50, 0, { GIB, 2000, 500 }, CALM, CALM,
	  "available 4 GiB, reserve 1 GiB, some avg10 0.50 %, full avg10 0.00 %" },
	{ "no pressure information", 4 * GIB, false, 9999, 9999, { GIB, 2000, 500 }, CALM, CALM,
	  "available 4 GiB, reserve 1 GiB" },
	{ "under the reserve", 300 * MIB, true, 0, 0, { GIB, 2000, 500 }, CALM, TIGHT,
	  "available 300 MiB is under the reserve of 1 GiB" },
	{ "nothing is left", 0, false, 0, 0, { GIB, 2000, 500 }, CALM, TIGHT,
	  "available 0 bytes is under the reserve of 1 GiB" },
	{ "exactly the reserve", GIB, true, 0, 0, { GIB, 2000, 500 }, CALM, CALM,
	  "available 1 GiB, reserve 1 GiB, some avg10 0.00 %, full avg10 0.00 %" },
	{ "one byte less", 1023, true, 0, 0, { 1024, 2000, 500 }, CALM, TIGHT,
	  "available 1023 bytes is under the reserve of 1 KiB" },
	{ "no reserve is asked for", 0, true, 0, 0, { 0, 2000, 500 }, CALM, CALM,
	  "available 0 bytes, reserve 0 bytes, some avg10 0.00 %, full avg10 0.00 %" },
	{ "some are stalled", 4 * GIB, true, 4200, 0, { GIB, 2000, 500 }, CALM, TIGHT,
	  "some avg10 42.00 % in " GROUP " is over 20 %" },
	{ "exactly the bounds", 4 * GIB, true, 2000, 500, { GIB, 2000, 500 }, CALM, CALM,
	  "available 4 GiB, reserve 1 GiB, some avg10 20.00 %, full avg10 5.00 %" },
	{ "a hundredth more", 4 * GIB, true, 2001, 0, { GIB, 2000, 500 }, CALM, TIGHT,
	  "some avg10 20.01 % in " GROUP " is over 20 %" },
	{ "all are stalled", 4 * GIB, true, 0, 501, { GIB, 2000, 500 }, CALM, TIGHT,
	  "full avg10 5.01 % in " MACHINE " is over 5 %" },
	{ "a bound with a fraction", 4 * GIB, true, 1300, 0, { GIB, 1250, 500 }, CALM, TIGHT,
	  "some avg10 13.00 % in " GROUP " is over 12.50 %" },
	{ "a bound under one percent", 4 * GIB, true, 0, 6, { GIB, 2000, 5 }, CALM, TIGHT,
	  "full avg10 0.06 % in " MACHINE " is over 0.05 %" },
	{ "bounds of 0 are not looked at", 4 * GIB, true, 9999, 9999, { GIB, 0, 0 }, CALM, CALM,
	  "available 4 GiB, reserve 1 GiB, some avg10 99.99 %, full avg10 99.99 %" },
	{ "everything at once", 300 * MIB, true, 4200, 700, { GIB, 2000, 500 }, CALM, TIGHT,
	  "available 300 MiB is under the reserve of 1 GiB and some avg10 42.00 % in " GROUP
	  " is over 20 % and full avg10 7.00 % in " MACHINE " is over 5 %" },

	{ "a little better is not enough", GIB + 256 * MIB - 1, true, 0, 0, { GIB, 2000, 500 },
	  TIGHT, TIGHT, "available 1.2 GiB is not back at 1.3 GiB yet (the reserve is 1 GiB)" },
	{ "clearly better is", GIB + 256 * MIB, true, 0, 0, { GIB, 2000, 500 }, TIGHT, CALM,
	  "available 1.3 GiB, reserve 1 GiB, some avg10 0.00 %, full avg10 0.00 %" },
	{ "it gets worse again", 300 * MIB, true, 0, 0, { GIB, 2000, 500 }, TIGHT, TIGHT,
	  "available 300 MiB is under the reserve of 1 GiB" },
	{ "the average is falling", 4 * GIB, true, 1500, 0, { GIB, 2000, 500 }, TIGHT, TIGHT,
	  "some avg10 15.00 % in " GROUP " is not back at 10 % yet (the bound is 20 %)" },
	{ "the averages have fallen", 4 * GIB, true, 1000, 250, { GIB, 2000, 500 }, TIGHT, CALM,
	  "available 4 GiB, reserve 1 GiB, some avg10 10.00 %, full avg10 2.50 %" },
	{ "one of them has not", 4 * GIB, true, 1000, 251, { GIB, 2000, 500 }, TIGHT, TIGHT,
	  "full avg10 2.51 % in " MACHINE " is not back at 2.50 % yet (the bound is 5 %)" },
	{ "one is worse, the others get better", GIB, true, 4200, 300, { GIB, 2000, 500 }, TIGHT,
	  TIGHT, "available 1 GiB is not back at 1.3 GiB yet (the reserve is 1 GiB) and some avg10 "
	  "42.00 % in " GROUP " is over 20 % and full avg10 3.00 % in " MACHINE
	  " is not back at 2.50 % yet (the bound is 5 %)" },
	{ "pressure cannot be read any more", 4 * GIB, false, 9999, 9999, { GIB, 2000, 500 }, TIGHT,
	  CALM, "available 4 GiB, reserve 1 GiB" },
	{ "a way back from a large reserve", 15 * GIB + 512 * MIB, true, 0, 0,
	  { 15 * GIB, 2000, 500 }, TIGHT, CALM,
	  "available 15.5 GiB, reserve 15 GiB, some avg10 0.00 %, full avg10 0.00 %" },
	{ "which has its margin too", 15 * GIB + 256 * MIB, false, 0, 0, { 15 * GIB, 2000, 500 },
	  TIGHT, TIGHT, "available 15.3 GiB is not back at 15.5 GiB yet (the reserve is 15 GiB)" },
	{ "whichever margin is smaller", 14 * GIB, false, 0, 0, { 12 * GIB, 0, 0 }, TIGHT, CALM,
	  "available 14 GiB, reserve 12 GiB" },
	{ "a reserve of everything", 16 * GIB, false, 0, 0, { 16 * GIB, 0, 0 }, TIGHT, CALM,
	  "available 16 GiB, reserve 16 GiB" },
	{ "a reserve that cannot be kept", 16 * GIB, false, 0, 0, { UINT64_MAX, 0, 0 }, TIGHT,
	  TIGHT, "available 16 GiB is under the reserve of 16384 PiB" },
	/* clang-format on */
};

static void readings_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_memory_facts facts = facts_make(16 * GIB, rows[i].available);
		struct pc_memory_pressure pressure = pressure_make(rows[i].has_pressure,
								   rows[i].some, rows[i].full);
		char why[PC_MEMORY_WHY_MAX];
		enum pc_memory_state after = pc_memory_judge(&facts, &pressure, &rows[i].limits,
							     rows[i].before, why);

		if (after != rows[i].after || strcmp(why, rows[i].why) != 0)
			fail_msg("%s: %d, \"%s\"", rows[i].name, after, why);
		assert_int_equal(
			pc_memory_judge(&facts, &pressure, &rows[i].limits, rows[i].before, NULL),
			after);
		/* None is the same as not available. */
		if (!rows[i].has_pressure)
			assert_int_equal(pc_memory_judge(&facts, NULL, &rows[i].limits,
							 rows[i].before, NULL),
					 after);
	}
}

/* Whoever is judged calm after tight would be calm anyway: hysteresis only ever holds back. */
static void tight_is_never_left_too_early(void **state)
{
	static const uint64_t sizes[] = {
		0,	 1,	  2,	    1023,     1024,	      GIB - 1,	  GIB,
		GIB + 1, 5 * GIB, 16 * GIB, 17 * GIB, UINT64_MAX / 2, UINT64_MAX,
	};
	unsigned held = 0;

	(void)state;
	for (size_t a = 0; a < PC_ARRAY_LEN(sizes); a++) {
		for (size_t t = a; t < PC_ARRAY_LEN(sizes); t++) {
			for (size_t r = 0; r < PC_ARRAY_LEN(sizes); r++) {
				struct pc_memory_facts facts = facts_make(sizes[t], sizes[a]);
				struct pc_memory_limits limits = { .reserve_bytes = sizes[r] };
				enum pc_memory_state from_calm, from_tight;

				from_calm = pc_memory_judge(&facts, NULL, &limits, CALM, NULL);
				from_tight = pc_memory_judge(&facts, NULL, &limits, TIGHT, NULL);
				assert_true(from_tight >= from_calm);
				held += from_tight > from_calm;
				/* With all of it available there is always a way back. */
				if (a == t && sizes[r] <= sizes[t])
					assert_int_equal(from_tight, CALM);
			}
		}
	}
	assert_in_range(held, 1, 1000);
}

static void the_longest_sentence_fits(void **state)
{
	struct pc_memory_facts facts = facts_make(UINT64_MAX, UINT64_MAX / 1000 * 999);
	struct pc_memory_pressure pressure = pressure_make(true, UINT32_MAX - 2, UINT32_MAX - 2);
	struct pc_memory_limits limits = { UINT64_MAX / 1000 * 998, UINT32_MAX - 1,
					   UINT32_MAX - 1 };
	char why[PC_MEMORY_WHY_MAX];

	(void)state;
	memset(pressure.some.file, 's', sizeof(pressure.some.file) - 1);
	memset(pressure.full.file, 'f', sizeof(pressure.full.file) - 1);
	assert_int_equal(pc_memory_judge(&facts, &pressure, &limits, TIGHT, why), TIGHT);
	assert_string_equal(why + strlen(why) - strlen("(the bound is 42949672.94 %)"),
			    "(the bound is 42949672.94 %)");
	assert_non_null(strstr(why, "available "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readings_are_judged),
		cmocka_unit_test(tight_is_never_left_too_early),
		cmocka_unit_test(the_longest_sentence_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
