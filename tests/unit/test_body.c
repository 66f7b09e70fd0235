/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of daemon/body.c and daemon/snapshot.c: the daemon's lock around the brain, without
 * loops that run and without processes. The test plays the supervisor and the gateway, on one
 * thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/config.h>
#include <poolcore/memory.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/logbook.h"
#include "daemon/loop.h"
#include "tests/unit/fail_alloc.h"

#define MB (UINT64_C(1) << 20)

static char dir[] = "/tmp/test-body-XXXXXX";
static struct generation *generation;
static struct daemon pool;
static struct loop loops[1];

static void write_file(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);

	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int load_files(void **state)
{
	struct pc_config *config = NULL;
	struct pc_catalog *catalog = NULL;
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(dir));
	write_file("pool.toml", "[pool]\nrequest_timeout_secs = 30\nstate_dir = \"s\"\n");
	write_file("catalog.toml", "[[model]]\nid = \"a\"\nfile = \"a.gguf\"\n"
				   "capability = \"text_to_text\"\nbackend = \"pool-worker\"\n"
				   "est_memory_allocation_mb = 10\nslots = 2\n"
				   "[[model]]\nid = \"far\"\nfile = \"a.gguf\"\n"
				   "capability = \"text_to_text\"\nbackend = \"pool-worker\"\n"
				   "est_memory_allocation_mb = 10\ndevice = \"gpu7\"\n"
				   "[[model]]\nid = \"any\"\nfile = \"a.gguf\"\n"
				   "capability = \"text_to_text\"\nbackend = \"pool-worker\"\n"
				   "est_memory_allocation_mb = 10\ndevice = \"auto\"\n");
	snprintf(path, sizeof(path), "%s/pool.toml", dir);
	assert_int_equal(pc_config_load(path, NULL, 0, &config, NULL), 0);
	assert_int_equal(pc_catalog_load(config, &catalog, NULL), 0);
	assert_int_equal(generation_create(config, catalog, &generation, NULL), 0);
	return 0;
}

static int free_files(void **state)
{
	char path[128];

	(void)state;
	generation_unref(generation);
	assert_int_equal(generation_count(), 0);
	snprintf(path, sizeof(path), "%s/pool.toml", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/catalog.toml", dir);
	unlink(path);
	return rmdir(dir);
}

static void ignore_wake(uv_async_t *wake)
{
	(void)wake;
}

static int set_up_with(const char *const *gpus)
{
	memset(loops, 0, sizeof(loops));
	pool = (struct daemon){ .generation = generation, .loops = loops, .loop_count = 1 };
	snprintf(pool.instance, sizeof(pool.instance), "test");
	assert_int_equal(pc_ledger_create(&pool.ledger, NULL), 0);
	assert_int_equal(pc_ledger_add_device(pool.ledger, "cpu", 100 * MB, 80 * MB, NULL), 0);
	for (; *gpus; gpus++)
		assert_true(pc_ledger_add_device(pool.ledger, *gpus, 50 * MB, 40 * MB, NULL) > 0);
	assert_int_equal(uv_loop_init(&loops[0].uv), 0);
	assert_int_equal(uv_async_init(&loops[0].uv, &loops[0].wake, ignore_wake), 0);
	loops[0].daemon = &pool;
	assert_int_equal(body_create(&pool, &pool.body, NULL), 0);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with((const char *const[]){ NULL });
}

static int set_up_gpus(void **state)
{
	(void)state;
	return set_up_with((const char *const[]){ "gpu0", "gpu2", NULL });
}

static int tear_down(void **state)
{
	(void)state;
	body_destroy(pool.body);
	pc_ledger_destroy(pool.ledger);
	uv_close((uv_handle_t *)&loops[0].wake, NULL);
	uv_run(&loops[0].uv, UV_RUN_DEFAULT);
	return uv_loop_close(&loops[0].uv);
}

/* ---- the gateway's part ---- */

struct asker {
	struct lease lease;
	enum lease_state heard;
	unsigned times;
};

static void hear(struct lease *lease)
{
	struct asker *asker = (struct asker *)lease;

	asker->heard = lease->state;
	asker->times++;
}

static void ask(struct asker *asker, const char *model)
{
	*asker = (struct asker){ .lease = { .loop = &loops[0], .on_outcome = hear } };
	body_submit(&pool, &asker->lease, generation_find(generation, model));
}

/* ---- the supervisor's part ---- */

static struct worker *take_spawn(void)
{
	struct worker_orders orders;
	struct worker *worker = body_next_order(&pool, &orders);

	assert_non_null(worker);
	assert_true(orders.spawn);
	assert_false(orders.stop);
	return worker;
}

static void assert_no_order(void)
{
	struct worker_orders orders;

	assert_null(body_next_order(&pool, &orders));
}

static uint64_t reserved(void)
{
	struct pc_device_account account;

	pc_ledger_account(pool.ledger, 0, &account);
	return account.reserved_bytes;
}

static struct worker *serve(const char *socket)
{
	struct worker *worker = take_spawn();
	struct http_target target = { .port = 0 };

	snprintf(target.socket, sizeof(target.socket), "%s", socket);
	body_worker_addressed(&pool, worker, &target, "secret");
	body_worker_ready(&pool, worker, 0);
	return worker;
}

/* Stopped and gone; a death without a stop would be a failure, with its back-off. */
static void leave(struct worker *worker)
{
	struct worker_orders orders;

	body_stop_worker(&pool, worker->info.worker_id, true, NULL);
	while (body_next_order(&pool, &orders))
		assert_false(orders.spawn);
	body_worker_gone(&pool, worker, NULL, NULL);
}

/* ---- the tests ---- */

static void a_request_is_granted_where_its_worker_listens(void **state)
{
	struct asker asker;
	struct worker *worker;

	(void)state;
	ask(&asker, "a");
	loop_deliver(&loops[0]);
	assert_int_equal(asker.times, 0);
	assert_int_equal(reserved(), 10 * MB);
	worker = serve("/tmp/x.sock");
	assert_no_order();
	loop_deliver(&loops[0]);
	assert_int_equal(asker.times, 1);
	assert_int_equal(asker.heard, LEASE_GRANTED);
	assert_string_equal(asker.lease.target.socket, "/tmp/x.sock");
	body_release(&pool, &asker.lease, PC_OUTCOME_OK);
	leave(worker);
	assert_int_equal(reserved(), 0);
}

static void a_request_is_told_when_its_worker_cannot_start(void **state)
{
	struct asker asker;
	struct pc_error cause = PC_ERROR_INIT;

	(void)state;
	pc_error_set(&cause, PC_E_MODEL_FILE_MISSING, "no a.gguf");
	ask(&asker, "a");
	body_worker_gone(&pool, take_spawn(), NULL, &cause);
	loop_deliver(&loops[0]);
	assert_int_equal(asker.heard, LEASE_REJECTED);
	assert_int_equal(asker.lease.error.code, PC_E_MODEL_FILE_MISSING);
	assert_non_null(strstr(asker.lease.error.message, "no a.gguf"));
	assert_int_equal(reserved(), 0);
}

static void a_device_that_is_not_there_is_named(void **state)
{
	struct asker asker;
	char id[PC_WORKER_ID_MAX];
	struct pc_error err = PC_ERROR_INIT;
	struct model *far = generation_find(generation, "far");

	(void)state;
	ask(&asker, "far");
	loop_deliver(&loops[0]);
	assert_int_equal(asker.heard, LEASE_REJECTED);
	assert_int_equal(asker.lease.error.code, PC_E_NO_WORKERS);
	assert_non_null(strstr(asker.lease.error.message, "gpu7"));
	assert_int_equal(body_start_worker(&pool, far, -1, 0, id, &err), PC_E_NO_WORKERS);
	assert_no_order();
}

static void a_withdrawn_request_hears_nothing(void **state)
{
	struct asker waiting, granted, rejected, stays;
	struct pc_error cause = PC_ERROR_INIT;
	struct worker *worker;

	(void)state;
	/* While it waits. */
	ask(&waiting, "a");
	ask(&granted, "a");
	ask(&stays, "a");
	body_withdraw(&pool, &waiting.lease);
	/* While its grant is on the way: the slot goes to nobody and is free again. */
	worker = serve("s");
	body_withdraw(&pool, &granted.lease);
	loop_deliver(&loops[0]);
	assert_int_equal(waiting.times + granted.times, 0);
	assert_int_equal(stays.heard, LEASE_GRANTED);
	body_release(&pool, &stays.lease, PC_OUTCOME_OK);
	leave(worker);
	/* While its rejection is on the way. */
	pc_error_set(&cause, PC_E_SPAWN_FAILED, "no");
	ask(&rejected, "a");
	body_worker_gone(&pool, take_spawn(), NULL, &cause);
	body_withdraw(&pool, &rejected.lease);
	loop_deliver(&loops[0]);
	assert_int_equal(rejected.times, 0);
	assert_int_equal(reserved(), 0);
}

/* A report, as the route of the control plane makes it. */
static int report(struct asker *reporter, const char *worker_id, const char *token)
{
	*reporter = (struct asker){ .lease = { .loop = &loops[0], .on_outcome = hear } };
	return body_report_ready(&pool, &reporter->lease, worker_id, token, 5, NULL);
}

static void only_the_right_token_makes_a_worker_ready(void **state)
{
	struct worker_orders orders;
	struct http_target target = { .socket = "s" };
	struct asker asker, reporter;
	struct worker *worker;

	(void)state;
	ask(&asker, "a");
	worker = take_spawn();
	/* Before it has a token, nobody can present it. */
	assert_int_equal(report(&reporter, "w-test-1", ""), PC_E_UNAUTHORIZED);
	body_worker_addressed(&pool, worker, &target, "secret");
	assert_int_equal(report(&reporter, "w-test-1", ""), PC_E_UNAUTHORIZED);
	assert_int_equal(report(&reporter, "w-test-1", "secre"), PC_E_UNAUTHORIZED);
	assert_int_equal(report(&reporter, "w-test-1", "secrets"), PC_E_UNAUTHORIZED);
	assert_int_equal(report(&reporter, "w-test-2", "secret"), PC_E_WORKER_NOT_FOUND);
	assert_no_order();
	assert_int_equal(report(&reporter, "w-test-1", "secret"), 1);
	assert_ptr_equal(body_next_order(&pool, &orders), worker);
	assert_true(orders.ready);
	assert_int_equal(orders.ready_bytes, 5);
	body_withdraw(&pool, &asker.lease);
	leave(worker);
	loop_deliver(&loops[0]);
	assert_int_equal(reporter.heard, LEASE_REJECTED);
	assert_int_equal(report(&reporter, "w-test-1", "secret"), PC_E_WORKER_NOT_FOUND);
}

/* Who reports hears an answer when the next daemon would know; until then it asks again. */
static void a_report_is_answered_when_it_is_recorded(void **state)
{
	struct asker asker, first, second, third;
	struct http_target target = { .socket = "s" };
	struct pc_error err = PC_ERROR_INIT;
	struct worker_orders orders;
	struct worker *worker;

	(void)state;
	ask(&asker, "a");
	worker = take_spawn();
	body_worker_addressed(&pool, worker, &target, "secret");
	assert_int_equal(report(&first, "w-test-1", "secret"), 1);
	assert_int_equal(report(&second, "w-test-1", "secret"), 1);
	assert_int_equal(report(&third, "w-test-1", "secret"), 1);
	assert_ptr_equal(body_next_order(&pool, &orders), worker);
	body_worker_ready(&pool, worker, 0);
	loop_deliver(&loops[0]);
	assert_int_equal(first.times + second.times + third.times, 0);
	/* A client that leaves is not told; the others are, of the failure first. */
	body_withdraw(&pool, &second.lease);
	pc_error_set(&err, PC_E_IO, "the disk is full");
	body_answer_reports(&pool, worker, &err);
	loop_deliver(&loops[0]);
	assert_int_equal(first.heard, LEASE_REJECTED);
	assert_int_equal(third.heard, LEASE_REJECTED);
	assert_int_equal(second.times, 0);
	assert_int_equal(report(&first, "w-test-1", "secret"), 1);
	assert_ptr_equal(body_next_order(&pool, &orders), worker);
	assert_true(orders.ready);
	body_answer_reports(&pool, worker, NULL);
	loop_deliver(&loops[0]);
	assert_int_equal(first.heard, LEASE_HEARD);
	assert_int_equal(report(&second, "w-test-1", "secret"), 0);
	assert_no_order();
	body_release(&pool, &asker.lease, PC_OUTCOME_OK);
	leave(worker);
}

/* By the record that an earlier daemon wrote. */
static void an_earlier_daemons_worker_serves_under_its_name(void **state)
{
	struct pc_worker_info info = { .worker_id = "w-old-17",
				       .device = "cpu",
				       .gpu_id = -1,
				       .socket = "/old.sock",
				       .status = PC_WORKER_READY,
				       .reserved_bytes = 12 * MB,
				       .measured_bytes = 14 * MB };
	struct model *model = generation_find(generation, "a");
	struct worker *worker, *second;
	struct pc_error err = PC_ERROR_INIT;
	char name[PC_WORKER_ID_MAX];
	struct asker asker, reporter;

	(void)state;
	assert_int_equal(body_adopt(&pool, model, &info, true, &worker, NULL), 0);
	assert_int_equal(reserved(), 14 * MB);
	ask(&asker, "a");
	loop_deliver(&loops[0]);
	assert_int_equal(asker.heard, LEASE_GRANTED);
	assert_string_equal(asker.lease.target.socket, "/old.sock");
	body_worker_name(&pool, asker.lease.worker_id, name);
	assert_string_equal(name, "w-old-17");
	body_release(&pool, &asker.lease, PC_OUTCOME_OK);
	/* What it has told the other daemon is known. */
	snprintf(worker->info.spawn_token, sizeof(worker->info.spawn_token), "secret");
	assert_int_equal(report(&reporter, "w-old-17", "secret"), 0);
	assert_no_order();
	/* More than there is room for is refused, and nothing stays. */
	snprintf(info.worker_id, sizeof(info.worker_id), "w-old-18");
	info.reserved_bytes = 70 * MB;
	assert_int_equal(body_adopt(&pool, model, &info, true, &second, &err), PC_E_NO_WORKERS);
	leave(worker);
	pc_error_clear(&err);
	info.reserved_bytes = 81 * MB;
	assert_int_equal(body_adopt(&pool, model, &info, true, &second, &err),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_int_equal(reserved(), 0);
	assert_int_equal(
		body_snapshot_worker(&pool, "w-old-18", &(struct worker_snapshot){ 0 }, NULL),
		PC_E_WORKER_NOT_FOUND);
}

static struct worker *adopt_leaving(const struct pc_worker_info *info, bool runs)
{
	struct pc_error err = PC_ERROR_INIT;
	struct worker *worker = NULL;

	if (body_adopt_leaving(&pool, info, PC_STOP_REPLACED, runs, &worker, &err))
		fail_msg("%s", err.message);
	return worker;
}

/* Whatever its record says, it is on the books until it is gone. */
static void an_earlier_daemons_worker_may_be_there_to_go(void **state)
{
	static const struct {
		const char *model_id, *device;
		uint64_t mb;
	} rows[] = {
		{ "a", "cpu", 70 },	/* with its model */
		{ "a", "cpu", 700 },	/* more than there is */
		{ "of-old", "cpu", 7 }, /* its model is not in the catalog any more */
		{ "of-old", "cpu", 7 }, /* again */
		{ "", "cpu", 7 },	/* somebody edited it */
		{ "\xff", "cpu", 7 },	/* as that */
		{ "of-old", "gpu7",
		  7000 }, /* there is no such device any more, and no such memory */
	};
	struct pc_worker_info info = { .gpu_id = -1, .status = PC_WORKER_READY };
	struct worker *workers[PC_ARRAY_LEN(rows)];
	struct worker_snapshot snapshot;
	struct worker_orders orders;
	uint64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		bool is_there = strcmp(rows[i].device, "cpu") == 0;

		snprintf(info.worker_id, sizeof(info.worker_id), "w-old-%zu", i);
		snprintf(info.model_id, sizeof(info.model_id), "%s", rows[i].model_id);
		snprintf(info.device, sizeof(info.device), "%s", rows[i].device);
		info.reserved_bytes = rows[i].mb * MB;
		workers[i] = adopt_leaving(&info, i % 2);
		sum += is_there ? info.reserved_bytes : 0;
		assert_int_equal(reserved(), sum);
		assert_int_equal(body_snapshot_worker(&pool, info.worker_id, &snapshot, NULL), 0);
		assert_int_equal(snapshot.status, PC_WORKER_STOPPING);
		assert_int_equal(snapshot.reserved_bytes, is_there ? info.reserved_bytes : 0);
		assert_int_equal(snapshot.slots, 1);
	}
	/* Those that run are told to stop. */
	for (size_t i = 1; i < PC_ARRAY_LEN(rows); i += 2) {
		assert_ptr_equal(body_next_order(&pool, &orders), workers[i]);
		assert_true(orders.stop && !orders.force && !orders.spawn);
		assert_int_equal(orders.reason, PC_STOP_REPLACED);
	}
	assert_no_order();
	body_worker_stuck(&pool, workers[1]);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++)
		body_worker_gone(&pool, workers[i], NULL, NULL);
	assert_int_equal(reserved(), 0);
}

static void no_memory_for_one_that_goes_is_an_error(void **state)
{
	const struct pc_worker_info info = { .worker_id = "w-old-1",
					     .model_id = "of-old",
					     .device = "cpu",
					     .gpu_id = -1,
					     .status = PC_WORKER_READY,
					     .reserved_bytes = MB };
	struct worker *worker = NULL;
	int rc;

	(void)state;
	for (unsigned nth = 1;; nth++) {
		fail_alloc_begin_once(nth);
		rc = body_adopt_leaving(&pool, &info, PC_STOP_RETIRED, true, &worker, NULL);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_null(worker);
		assert_int_equal(reserved(), 0);
	}
	assert_int_equal(rc, 0);
	leave(worker);
	assert_int_equal(reserved(), 0);
}

/* Told to end before the brain has settled who was taken in: whoever goes on is stopped, whoever was
 * to go has its order already, and one that cannot be ended is waited for no more. */
static void a_drain_may_come_before_the_first_tick(void **state)
{
	struct pc_worker_info info = { .device = "cpu", .gpu_id = -1, .slots = 2 };
	struct model *a = generation_find(generation, "a");
	struct worker *stays, *loads, *goes;
	struct worker_orders orders;

	(void)state;
	info.reserved_bytes = 14 * MB;
	snprintf(info.model_id, sizeof(info.model_id), "a");
	snprintf(info.worker_id, sizeof(info.worker_id), "w-old-1");
	assert_int_equal(body_adopt(&pool, a, &info, true, &stays, NULL), 0);
	snprintf(info.worker_id, sizeof(info.worker_id), "w-old-2");
	assert_int_equal(
		body_adopt(&pool, generation_find(generation, "any"), &info, false, &loads, NULL),
		0);
	snprintf(info.worker_id, sizeof(info.worker_id), "w-old-3");
	snprintf(info.model_id, sizeof(info.model_id), "of-old");
	goes = adopt_leaving(&info, true);

	body_drain(&pool, pc_clock_now_ns());
	body_tick(&pool);
	for (int i = 0; i < 3; i++) {
		assert_non_null(body_next_order(&pool, &orders));
		assert_true(orders.stop && orders.force && !orders.spawn);
	}
	assert_no_order();
	assert_false(body_is_drained(&pool));
	body_worker_gone(&pool, stays, NULL, NULL);
	body_worker_gone(&pool, loads, NULL, NULL);
	assert_int_equal(reserved(), 14 * MB);
	assert_false(body_is_drained(&pool));
	body_worker_stuck(&pool, goes);
	assert_true(body_is_drained(&pool));
	assert_int_equal(reserved(), 14 * MB);
	body_worker_gone(&pool, goes, NULL, NULL);
	assert_true(body_is_drained(&pool));
	assert_int_equal(reserved(), 0);
}

static void a_measurement_only_grows_the_reservation(void **state)
{
	struct asker asker;
	struct worker *worker;
	struct worker_snapshot snapshot;

	(void)state;
	ask(&asker, "a");
	worker = take_spawn();
	body_worker_ready(&pool, worker, 3 * MB);
	assert_int_equal(reserved(), 10 * MB);
	body_withdraw(&pool, &asker.lease);
	leave(worker);
	ask(&asker, "a");
	worker = take_spawn();
	/* A lie is cut at what the device has. */
	body_worker_ready(&pool, worker, UINT64_MAX);
	assert_int_equal(reserved(), 100 * MB);
	assert_int_equal(body_snapshot_worker(&pool, "w-test-2", &snapshot, NULL), 0);
	assert_int_equal(snapshot.info.measured_bytes, 100 * MB);
	body_withdraw(&pool, &asker.lease);
	leave(worker);
	assert_int_equal(reserved(), 0);
}

static void an_operator_starts_on_a_port_once(void **state)
{
	struct model *model = generation_find(generation, "a");
	char id[PC_WORKER_ID_MAX];
	struct worker *worker;

	(void)state;
	assert_int_equal(body_start_worker(&pool, model, -1, 4711, id, NULL), 0);
	assert_string_equal(id, "w-test-1");
	worker = take_spawn();
	assert_int_equal(worker->port, 4711);
	assert_int_equal(body_start_worker(&pool, model, -1, 0, id, NULL), 0);
	assert_string_equal(id, "w-test-1");
	assert_int_equal(body_start_worker(&pool, model, -1, 4712, id, NULL), PC_E_ALREADY_EXISTS);
	assert_no_order();
	leave(worker);
}

static void refused_gpu(const char *name, int gpu_id, const char *message)
{
	struct model *model = generation_find(generation, name);
	struct pc_error err = PC_ERROR_INIT;
	char id[PC_WORKER_ID_MAX];

	assert_int_equal(body_start_worker(&pool, model, gpu_id, 0, id, &err),
			 PC_E_INVALID_REQUEST);
	assert_string_equal(err.message, message);
	assert_string_equal(pc_error_detail_get(&err, "param"), "gpu_id");
	assert_no_order();
}

static void an_operator_chooses_the_gpu(void **state)
{
	struct model *model = generation_find(generation, "any");
	struct pc_error err = PC_ERROR_INIT;
	char id[PC_WORKER_ID_MAX];
	struct worker *worker;

	(void)state;
	refused_gpu("any", 1, "there is no gpu1; this machine has cpu, gpu0, gpu2");
	refused_gpu("a", 0, "model 'a' may run on cpu, not on gpu0");
	assert_int_equal(body_start_worker(&pool, model, 2, 0, id, NULL), 0);
	worker = take_spawn();
	assert_int_equal(worker->info.gpu_id, 2);
	assert_string_equal(worker->info.device, "gpu2");
	assert_int_equal(body_start_worker(&pool, model, 2, 0, id, NULL), 0);
	assert_int_equal(body_start_worker(&pool, model, 0, 0, id, &err), PC_E_ALREADY_EXISTS);
	leave(worker);
	assert_int_equal(body_start_worker(&pool, model, 0, 0, id, NULL), 0);
	worker = take_spawn();
	assert_int_equal(worker->info.gpu_id, 0);
	leave(worker);
}

static void a_stop_is_ordered_and_shown(void **state)
{
	struct worker_orders orders;
	struct worker_snapshot snapshot;
	struct pc_worker_info info;
	struct asker asker;
	struct worker *worker;

	(void)state;
	ask(&asker, "a");
	worker = serve("s");
	loop_deliver(&loops[0]);
	body_release(&pool, &asker.lease, PC_OUTCOME_OK);
	assert_int_equal(body_stop_worker(&pool, "w-test-1", false, NULL), 0);
	assert_ptr_equal(body_next_order(&pool, &orders), worker);
	assert_true(orders.stop);
	assert_int_equal(orders.reason, PC_STOP_REQUESTED);
	/* What the supervisor still had under way does not take the status back. */
	body_worker_status(&pool, worker, PC_WORKER_READY);
	body_worker_copy(&pool, worker, &info);
	assert_int_equal(info.status, PC_WORKER_STOPPING);
	assert_int_equal(body_snapshot_worker(&pool, "w-test-1", &snapshot, NULL), 0);
	assert_int_equal(snapshot.status, PC_WORKER_STOPPING);
	leave(worker);
	assert_int_equal(body_stop_worker(&pool, "w-test-1", false, NULL), PC_E_WORKER_NOT_FOUND);
	assert_int_equal(body_snapshot_worker(&pool, "w-test-1", &snapshot, NULL), 0);
	assert_int_equal(snapshot.status, PC_WORKER_STOPPED);
}

static void a_lost_worker_is_not_asked_again(void **state)
{
	struct worker_orders orders;
	struct pc_error cause = PC_ERROR_INIT;
	struct asker first, second;
	struct worker *worker;

	(void)state;
	pc_error_set(&cause, PC_E_WORKER_FAILED, "it broke off");
	ask(&first, "a");
	worker = take_spawn();
	/* A process that lives: this very one. Nothing is known against the worker. */
	body_worker_started(&pool, worker, getpid(), 1);
	body_worker_ready(&pool, worker, 0);
	loop_deliver(&loops[0]);
	body_worker_lost(&pool, &first.lease, false, &cause);
	assert_no_order();
	/* Nobody listens: it is given up, and a second request waits for another one. */
	body_worker_lost(&pool, &first.lease, true, &cause);
	ask(&second, "a");
	loop_deliver(&loops[0]);
	assert_int_equal(second.times, 0);
	assert_ptr_equal(body_next_order(&pool, &orders), worker);
	assert_true(orders.stop);
	body_release(&pool, &first.lease, PC_OUTCOME_LOST);
	body_withdraw(&pool, &second.lease);
	leave(worker);
	assert_int_equal(reserved(), 0);
}

static void a_drain_ends_when_the_last_worker_is_gone(void **state)
{
	struct worker_orders orders;
	struct asker asker, late;
	struct worker *worker;

	(void)state;
	ask(&asker, "a");
	worker = serve("s");
	loop_deliver(&loops[0]);
	assert_false(body_is_drained(&pool));
	body_drain(&pool, pc_clock_now_ns() + PC_NS_PER_SEC);
	ask(&late, "a");
	loop_deliver(&loops[0]);
	assert_int_equal(late.heard, LEASE_REJECTED);
	assert_int_equal(late.lease.error.code, PC_E_SHUTTING_DOWN);
	assert_no_order();
	body_release(&pool, &asker.lease, PC_OUTCOME_OK);
	assert_ptr_equal(body_next_order(&pool, &orders), worker);
	assert_true(orders.stop);
	assert_false(body_is_drained(&pool));
	leave(worker);
	assert_true(body_is_drained(&pool));
}

static void snapshots_are_copies(void **state)
{
	struct model *model = generation_find(generation, "a");
	struct worker_snapshot *workers;
	struct model_snapshot *models;
	struct worker *worker = NULL;
	char id[PC_WORKER_ID_MAX];
	size_t count;

	(void)state;
	for (int i = 0; i < 12; i++) {
		if (worker)
			leave(worker);
		assert_int_equal(body_start_worker(&pool, model, -1, 0, id, NULL), 0);
		worker = take_spawn();
	}
	assert_int_equal(body_snapshot_workers(&pool, &workers, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(workers[0].info.worker_id, "w-test-12");
	pc_free(workers);
	assert_int_equal(body_snapshot_models(&pool, generation, &models, NULL), 0);
	assert_string_equal(models[0].model->entry->id, "a");
	assert_int_equal(models[0].view.spawning, 1);
	assert_null(models[1].model->sched);
	pc_free(models);
	leave(worker);
}

/* Also those of earlier daemons, whose ids say nothing of their age. */
static void workers_are_listed_by_age(void **state)
{
	static const struct {
		const char *id;
		int64_t spawned_wall_ms;
	} rows[] = { { "w-b-9", 200 }, { "w-c-10", 100 }, { "w-a-10", 200 }, { "w-d-1", 150 } };
	static const char *const wanted[] = { "w-c-10", "w-d-1", "w-b-9", "w-a-10" };
	struct worker *workers[PC_ARRAY_LEN(rows)];
	struct worker_snapshot *list;
	size_t count;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_worker_info info = { .model_id = "a",
					       .device = "cpu",
					       .gpu_id = -1,
					       .reserved_bytes = MB,
					       .spawned_wall_ms = rows[i].spawned_wall_ms };

		snprintf(info.worker_id, sizeof(info.worker_id), "%s", rows[i].id);
		workers[i] = adopt_leaving(&info, false);
	}
	assert_int_equal(body_snapshot_workers(&pool, &list, &count, NULL), 0);
	assert_int_equal(count, PC_ARRAY_LEN(wanted));
	for (size_t i = 0; i < count; i++)
		assert_string_equal(list[i].info.worker_id, wanted[i]);
	pc_free(list);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++)
		leave(workers[i]);
}

/* ---- the allocation that fails ---- */

static void no_memory_for_a_worker_is_no_worker(void **state)
{
	struct asker asker;

	(void)state;
	for (unsigned n = 1;; n++) {
		fail_alloc_begin(n);
		ask(&asker, "a");

		bool all_tried = fail_alloc_end();

		loop_deliver(&loops[0]);
		if (all_tried) {
			body_withdraw(&pool, &asker.lease);
			leave(take_spawn());
			assert_true(n > 1);
			break;
		}
		/* Whichever allocation it was: no order, no memory held, and an answer or a place
		 * in the queue. */
		assert_no_order();
		assert_int_equal(reserved(), 0);
		if (asker.times == 0)
			body_withdraw(&pool, &asker.lease);
		else
			assert_int_equal(asker.lease.error.code, PC_E_OUT_OF_MEMORY);
		tear_down(NULL);
		set_up(NULL);
	}
}

#define BODY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BODY_TEST(a_request_is_granted_where_its_worker_listens),
		BODY_TEST(a_request_is_told_when_its_worker_cannot_start),
		BODY_TEST(a_device_that_is_not_there_is_named),
		BODY_TEST(a_withdrawn_request_hears_nothing),
		BODY_TEST(only_the_right_token_makes_a_worker_ready),
		BODY_TEST(a_report_is_answered_when_it_is_recorded),
		BODY_TEST(an_earlier_daemons_worker_serves_under_its_name),
		BODY_TEST(an_earlier_daemons_worker_may_be_there_to_go),
		BODY_TEST(no_memory_for_one_that_goes_is_an_error),
		BODY_TEST(a_drain_may_come_before_the_first_tick),
		BODY_TEST(a_measurement_only_grows_the_reservation),
		BODY_TEST(an_operator_starts_on_a_port_once),
		cmocka_unit_test_setup_teardown(an_operator_chooses_the_gpu, set_up_gpus,
						tear_down),
		BODY_TEST(a_stop_is_ordered_and_shown),
		BODY_TEST(a_lost_worker_is_not_asked_again),
		BODY_TEST(a_drain_ends_when_the_last_worker_is_gone),
		BODY_TEST(snapshots_are_copies),
		BODY_TEST(workers_are_listed_by_age),
		BODY_TEST(no_memory_for_a_worker_is_no_worker),
	};

	return cmocka_run_group_tests(tests, load_files, free_files);
}
