/* SPDX-License-Identifier: MIT */
/* test_tally.c - how the last workers ended: order, bound, and what the registry remembers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "daemon/tally.h"
#include "fail_alloc.h"

static char seen[PC_DEPARTED_MAX + 1][PC_WORKER_ID_MAX];
static size_t seen_count;

static void note(void *ctx, const struct pc_departed_worker *departed)
{
	(void)ctx;
	memcpy(seen[seen_count++], departed->worker_id, sizeof(seen[0]));
}

static size_t list(struct tally *tally, const char *model_id)
{
	seen_count = 0;
	tally_each(tally, model_id, note, NULL);
	return seen_count;
}

static struct pc_worker_info worker(unsigned number, const char *model_id)
{
	struct pc_worker_info info = { .backend = "b", .device = "cpu", .gpu_id = -1 };

	snprintf(info.worker_id, sizeof(info.worker_id), "w-%u", number);
	snprintf(info.model_id, sizeof(info.model_id), "%s", model_id);
	snprintf(info.model_ref, sizeof(info.model_ref), "file:/m");
	info.status = PC_WORKER_SPAWNING;
	return info;
}

static const struct pc_worker_exit killed = {
	.known = true, .code = -1, .signal = 9, .wall_ms = 77, .reason = "killed by SIGKILL"
};

static void the_last_comes_first_and_the_first_is_forgotten(void **state)
{
	struct pc_registry *registry;
	struct tally *tally;

	(void)state;
	assert_int_equal(pc_registry_open_memory(&registry, NULL), 0);
	assert_int_equal(tally_create(registry, &tally, NULL), 0);
	assert_int_equal(list(tally, NULL), 0);
	for (unsigned i = 0; i < PC_DEPARTED_MAX + 3; i++) {
		struct pc_worker_info info = worker(i, i % 2 ? "odd" : "even");

		tally_add(tally, &info, &killed);
	}
	assert_int_equal(list(tally, NULL), PC_DEPARTED_MAX);
	assert_string_equal(seen[0], "w-258");
	assert_string_equal(seen[PC_DEPARTED_MAX - 1], "w-3");
	assert_int_equal(list(tally, "odd"), PC_DEPARTED_MAX / 2);
	assert_string_equal(seen[0], "w-257");
	assert_int_equal(list(tally, "none"), 0);
	tally_destroy(tally);
	pc_registry_close(registry);
}

static void it_begins_with_what_the_registry_remembers(void **state)
{
	struct pc_registry *registry;
	struct tally *tally;

	(void)state;
	assert_int_equal(pc_registry_open_memory(&registry, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct pc_worker_info info = worker(i, "m");

		assert_int_equal(pc_registry_register(registry, &info, NULL), 0);
		assert_int_equal(pc_registry_end(registry, info.worker_id, &killed, NULL), 0);
	}
	for (unsigned n = 1;; n++) {
		int rc;

		fail_alloc_begin(n);
		rc = tally_create(registry, &tally, NULL);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	}
	assert_int_equal(list(tally, NULL), 3);
	assert_string_equal(seen[0], "w-2");
	assert_string_equal(seen[2], "w-0");
	tally_destroy(tally);
	tally_destroy(NULL);
	pc_registry_close(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_comes_first_and_the_first_is_forgotten),
		cmocka_unit_test(it_begins_with_what_the_registry_remembers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
