/* SPDX-License-Identifier: MIT */
/* Unit tests of daemon/roster.c: who is found, who has departed, who is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/logbook.h"
#include "daemon/roster.h"

static struct worker *add(struct roster *roster, uint64_t id)
{
	struct worker *worker = pc_calloc(1, sizeof(*worker));

	worker->id = id;
	worker->log = logbook_create();
	snprintf(worker->info.worker_id, sizeof(worker->info.worker_id), "w-test-%llu",
		 (unsigned long long)id);
	roster_add(roster, worker);
	return worker;
}

static const char *name(uint64_t id)
{
	static char text[64];

	snprintf(text, sizeof(text), "w-test-%llu", (unsigned long long)id);
	return text;
}

static void sum_ids(void *ctx, struct worker *worker)
{
	*(uint64_t *)ctx += worker->id;
}

static void workers_are_found_by_number_and_name(void **state)
{
	struct roster roster = { .departed = NULL };
	uint64_t sum = 0;

	(void)state;
	/* Several share a bucket. */
	for (uint64_t id = 1; id <= 3 * ROSTER_BUCKETS; id++)
		add(&roster, id);
	for (uint64_t id = 1; id <= 3 * ROSTER_BUCKETS; id++) {
		assert_int_equal(roster_find(&roster, id)->id, id);
		assert_ptr_equal(roster_find_named(&roster, name(id)), roster_find(&roster, id));
	}
	assert_null(roster_find(&roster, 0));
	assert_null(roster_find(&roster, 3 * ROSTER_BUCKETS + 1));
	assert_null(roster_find_named(&roster, "w-test-"));
	assert_int_equal(roster_count(&roster), 3 * ROSTER_BUCKETS);
	roster_each(&roster, sum_ids, &sum);
	assert_int_equal(sum, (uint64_t)3 * ROSTER_BUCKETS * (3 * ROSTER_BUCKETS + 1) / 2);
	roster_fini(&roster);
}

static void the_departed_are_remembered_for_a_while(void **state)
{
	struct roster roster = { .departed = NULL };
	struct worker *old = add(&roster, 1);

	(void)state;
	for (uint64_t id = 2; id <= ROSTER_DEPARTED_MAX + 1; id++)
		roster_depart(&roster, add(&roster, id));
	/* It lived longest, so it is remembered longest: departure counts, not birth. */
	roster_depart(&roster, old);
	assert_true(old->departed);
	assert_null(roster_find(&roster, 1));
	assert_ptr_equal(roster_find_named(&roster, name(1)), old);
	assert_null(roster_find_named(&roster, name(2)));
	assert_non_null(roster_find_named(&roster, name(3)));
	assert_int_equal(roster_count(&roster), 0);
	roster_fini(&roster);
}

static void one_departs_from_the_middle_of_a_bucket(void **state)
{
	struct roster roster = { .departed = NULL };

	(void)state;
	add(&roster, 5);
	add(&roster, 5 + ROSTER_BUCKETS);
	add(&roster, 5 + 2 * ROSTER_BUCKETS);
	roster_depart(&roster, roster_find(&roster, 5 + ROSTER_BUCKETS));
	assert_null(roster_find(&roster, 5 + ROSTER_BUCKETS));
	assert_non_null(roster_find(&roster, 5));
	assert_non_null(roster_find(&roster, 5 + 2 * ROSTER_BUCKETS));
	assert_int_equal(roster_count(&roster), 2);
	roster_fini(&roster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_are_found_by_number_and_name),
		cmocka_unit_test(the_departed_are_remembered_for_a_while),
		cmocka_unit_test(one_departs_from_the_middle_of_a_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
