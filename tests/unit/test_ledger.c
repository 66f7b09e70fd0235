/* SPDX-License-Identifier: MIT */
/* Unit tests of src/memory/ledger.c: accounts, refusals, true-up, and threads against a shadow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/memory.h>

#include "tests/unit/fail_alloc.h"

static struct pc_ledger *ledger_with(uint64_t total, uint64_t budget)
{
	struct pc_ledger *ledger;

	assert_int_equal(pc_ledger_create(&ledger, NULL), 0);
	assert_int_equal(pc_ledger_add_device(ledger, "cpu", total, budget, NULL), 0);
	return ledger;
}

static uint64_t reserved_of(const struct pc_ledger *ledger, unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(ledger, device, &account);
	return account.reserved_bytes;
}

static void devices_are_added_and_found(void **state)
{
	struct pc_ledger *ledger = ledger_with(1000, 800);
	struct pc_device_account account;

	(void)state;
	assert_int_equal(pc_ledger_add_device(ledger, "gpu0", UINT64_MAX, UINT64_MAX, NULL), 1);
	assert_int_equal(pc_ledger_add_device(ledger, "gpu-with-15-byt", 0, 0, NULL), 2);
	assert_int_equal(pc_ledger_device_count(ledger), 3);
	assert_int_equal(pc_ledger_find(ledger, "cpu"), 0);
	assert_int_equal(pc_ledger_find(ledger, "gpu0"), 1);
	assert_int_equal(pc_ledger_find(ledger, "gpu"), -1);
	assert_int_equal(pc_ledger_find(ledger, ""), -1);
	assert_int_equal(pc_ledger_find(ledger, NULL), -1);
	pc_ledger_account(ledger, 0, &account);
	assert_string_equal(account.name, "cpu");
	assert_true(account.total_bytes == 1000 && account.budget_bytes == 800);
	assert_true(account.reserved_bytes == 0);
	pc_ledger_account(ledger, 2, &account);
	assert_string_equal(account.name, "gpu-with-15-byt");
	pc_ledger_destroy(ledger);
	pc_ledger_destroy(NULL);
}

static void expect_refusal(struct pc_ledger *ledger, const char *name, uint64_t total,
			   uint64_t budget, int code, const char *message)
{
	struct pc_error err = PC_ERROR_INIT;
	unsigned count = pc_ledger_device_count(ledger);

	assert_int_equal(pc_ledger_add_device(ledger, name, total, budget, &err), code);
	assert_int_equal(err.code, code);
	assert_string_equal(err.message, message);
	assert_int_equal(pc_ledger_device_count(ledger), count);
}

static void wrong_devices_are_refused(void **state)
{
	struct pc_ledger *ledger = ledger_with(1000, 800);
	char name[PC_DEVICE_NAME_MAX];

	(void)state;
	expect_refusal(ledger, "", 1, 1, PC_E_INVALID_ARGUMENT,
		       "device name '': it must have 1 to 15 bytes");
	expect_refusal(ledger, NULL, 1, 1, PC_E_INVALID_ARGUMENT,
		       "device name '': it must have 1 to 15 bytes");
	expect_refusal(ledger, "sixteen-bytes-xx", 1, 1, PC_E_INVALID_ARGUMENT,
		       "device name 'sixteen-bytes-xx': it must have 1 to 15 bytes");
	expect_refusal(ledger, "gpu0", 10, 11, PC_E_INVALID_ARGUMENT,
		       "device 'gpu0': the budget of 11 bytes is more than the 10 bytes it has");
	expect_refusal(ledger, "cpu", 10, 10, PC_E_ALREADY_EXISTS,
		       "device 'cpu' is in the ledger already");
	for (int i = 1; i < PC_DEVICE_MAX; i++) {
		snprintf(name, sizeof(name), "gpu%d", i - 1);
		assert_int_equal(pc_ledger_add_device(ledger, name, 10, 10, NULL), i);
	}
	expect_refusal(ledger, "gpu31", 10, 10, PC_E_INVALID_ARGUMENT,
		       "device 'gpu31': the ledger holds at most 32 devices");
	pc_ledger_destroy(ledger);
}

static void reservations_end_at_the_budget(void **state)
{
	struct pc_ledger *ledger = ledger_with(1000, 800);

	(void)state;
	assert_false(pc_ledger_reserve(ledger, 0, 801));
	assert_false(pc_ledger_reserve(ledger, 0, UINT64_MAX));
	assert_true(pc_ledger_reserve(ledger, 0, 800));
	assert_true(pc_ledger_reserve(ledger, 0, 0));
	assert_false(pc_ledger_reserve(ledger, 0, 1));
	assert_false(pc_ledger_reserve(ledger, 0, UINT64_MAX));
	pc_ledger_release(ledger, 0, 1);
	assert_true(pc_ledger_reserve(ledger, 0, 1));
	pc_ledger_release(ledger, 0, 800);
	assert_true(reserved_of(ledger, 0) == 0);
	pc_ledger_destroy(ledger);
}

static void the_whole_range_of_bytes_is_counted(void **state)
{
	struct pc_ledger *ledger = ledger_with(UINT64_MAX, UINT64_MAX);

	(void)state;
	assert_true(pc_ledger_reserve(ledger, 0, UINT64_MAX - 1));
	assert_false(pc_ledger_reserve(ledger, 0, 2));
	assert_true(pc_ledger_reserve(ledger, 0, 1));
	assert_false(pc_ledger_reserve(ledger, 0, 1));
	pc_ledger_release(ledger, 0, UINT64_MAX);
	assert_true(reserved_of(ledger, 0) == 0);
	pc_ledger_destroy(ledger);
}

static void devices_do_not_share_budgets(void **state)
{
	struct pc_ledger *ledger = ledger_with(100, 100);

	(void)state;
	assert_int_equal(pc_ledger_add_device(ledger, "gpu0", 50, 40, NULL), 1);
	assert_true(pc_ledger_reserve(ledger, 0, 100));
	assert_true(pc_ledger_reserve(ledger, 1, 40));
	assert_false(pc_ledger_reserve(ledger, 1, 1));
	pc_ledger_release(ledger, 0, 100);
	assert_true(reserved_of(ledger, 1) == 40);
	pc_ledger_destroy(ledger);
}

static void true_up_always_counts_what_is_used(void **state)
{
	struct pc_ledger *ledger = ledger_with(1000, 800);

	(void)state;
	assert_true(pc_ledger_reserve(ledger, 0, 300));
	assert_true(pc_ledger_reserve(ledger, 0, 200));
	assert_true(pc_ledger_true_up(ledger, 0, 300, 250));
	assert_true(reserved_of(ledger, 0) == 450);
	assert_true(pc_ledger_true_up(ledger, 0, 250, 600));
	assert_true(reserved_of(ledger, 0) == 800);
	assert_false(pc_ledger_true_up(ledger, 0, 600, 601));
	assert_true(reserved_of(ledger, 0) == 801);
	assert_false(pc_ledger_reserve(ledger, 0, 0));
	assert_true(pc_ledger_true_up(ledger, 0, 601, 0));
	pc_ledger_release(ledger, 0, 200);
	assert_true(reserved_of(ledger, 0) == 0);
	pc_ledger_destroy(ledger);
}

static void a_lowered_budget_keeps_reservations_and_refuses_more(void **state)
{
	struct pc_ledger *ledger = ledger_with(1000, 800);
	struct pc_device_account account;

	(void)state;
	assert_true(pc_ledger_reserve(ledger, 0, 700));
	pc_ledger_set_budget(ledger, 0, 500);
	pc_ledger_account(ledger, 0, &account);
	assert_true(account.budget_bytes == 500 && account.reserved_bytes == 700);
	assert_false(pc_ledger_reserve(ledger, 0, 1));
	pc_ledger_release(ledger, 0, 300);
	assert_true(pc_ledger_reserve(ledger, 0, 100));
	assert_false(pc_ledger_reserve(ledger, 0, 1));
	pc_ledger_set_budget(ledger, 0, 501);
	assert_true(pc_ledger_reserve(ledger, 0, 1));
	pc_ledger_release(ledger, 0, 501);
	pc_ledger_destroy(ledger);
}

static void creation_reports_a_failed_allocation(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_ledger *ledger = NULL;

	(void)state;
	fail_alloc_begin(1);
	assert_int_equal(pc_ledger_create(&ledger, &err), PC_E_OUT_OF_MEMORY);
	fail_alloc_end();
	assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
	assert_null(ledger);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 100000, STRESS_BUDGET = 1000 };

struct stress {
	struct pc_ledger *ledger;
	/*
	 * What the threads hold by their own count: raised after a reservation, lowered before its
	 * release, so that it never exceeds what the ledger must have counted.
	 */
	_Atomic uint64_t shadow;
	atomic_uint over_budget, torn, granted;
	atomic_bool done;
};

static unsigned next_random(unsigned *seed)
{
	/* Numerical Recipes' linear congruential generator; the low bits are the poor ones. */
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void check_account(struct stress *stress)
{
	struct pc_device_account account;

	pc_ledger_account(stress->ledger, 0, &account);
	if (account.reserved_bytes > account.budget_bytes)
		atomic_fetch_add(&stress->torn, 1);
}

static void *reserve_and_release(void *arg)
{
	struct stress *stress = arg;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();
	uint64_t held[8] = { 0 };

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t *slot = &held[next_random(&seed) % PC_ARRAY_LEN(held)];
		uint64_t bytes = 1 + next_random(&seed) % 200;

		if (*slot) {
			atomic_fetch_sub(&stress->shadow, *slot);
			pc_ledger_release(stress->ledger, 0, *slot);
			*slot = 0;
		} else if (pc_ledger_reserve(stress->ledger, 0, bytes)) {
			if (atomic_fetch_add(&stress->shadow, bytes) + bytes > STRESS_BUDGET)
				atomic_fetch_add(&stress->over_budget, 1);
			atomic_fetch_add(&stress->granted, 1);
			*slot = bytes;
		}
		check_account(stress);
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(held); i++) {
		atomic_fetch_sub(&stress->shadow, held[i]);
		pc_ledger_release(stress->ledger, 0, held[i]);
	}
	return NULL;
}

static void threads_never_pass_the_budget(void **state)
{
	struct stress stress = { .ledger = ledger_with(STRESS_BUDGET, STRESS_BUDGET) };
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reserve_and_release, &stress),
				 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&stress.over_budget), 0);
	assert_int_equal(atomic_load(&stress.torn), 0);
	assert_true(atomic_load(&stress.granted) > 0);
	assert_true(reserved_of(stress.ledger, 0) == 0);
	pc_ledger_destroy(stress.ledger);
}

/*
 * One thread raises the budget, fills it, empties it and lowers it, in that order: never is more
 * reserved than budgeted. A snapshot that reads its two words carelessly shows it nevertheless.
 */
static void *raise_fill_empty_lower(void *arg)
{
	struct stress *stress = arg;

	for (int round = 0; round < 2 * ROUNDS; round++) {
		pc_ledger_set_budget(stress->ledger, 0, 900);
		if (!pc_ledger_reserve(stress->ledger, 0, 850))
			atomic_fetch_add(&stress->over_budget, 1);
		pc_ledger_release(stress->ledger, 0, 850);
		pc_ledger_set_budget(stress->ledger, 0, 100);
	}
	atomic_store(&stress->done, true);
	return NULL;
}

static void *watch(void *arg)
{
	struct stress *stress = arg;

	while (!atomic_load(&stress->done))
		check_account(stress);
	return NULL;
}

static void snapshots_do_not_tear(void **state)
{
	struct stress stress = { .ledger = ledger_with(STRESS_BUDGET, 100) };
	pthread_t writer, reader;

	(void)state;
	assert_int_equal(pthread_create(&reader, NULL, watch, &stress), 0);
	assert_int_equal(pthread_create(&writer, NULL, raise_fill_empty_lower, &stress), 0);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	assert_int_equal(atomic_load(&stress.over_budget), 0);
	assert_int_equal(atomic_load(&stress.torn), 0);
	pc_ledger_destroy(stress.ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_are_added_and_found),
		cmocka_unit_test(wrong_devices_are_refused),
		cmocka_unit_test(reservations_end_at_the_budget),
		cmocka_unit_test(the_whole_range_of_bytes_is_counted),
		cmocka_unit_test(devices_do_not_share_budgets),
		cmocka_unit_test(true_up_always_counts_what_is_used),
		cmocka_unit_test(a_lowered_budget_keeps_reservations_and_refuses_more),
		cmocka_unit_test(creation_reports_a_failed_allocation),
		cmocka_unit_test(threads_never_pass_the_budget),
		cmocka_unit_test(snapshots_do_not_tear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
