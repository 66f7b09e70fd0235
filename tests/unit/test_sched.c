/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the brain's rules. A scripted body writes down every action as a line; a scenario
 * tells events and compares the lines. Times are seconds of a clock that only the script moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poolcore/memory.h>
#include <poolcore/sched.h>

#include "base/text.h"
#include "tests/unit/fail_alloc.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define SEC PC_NS_PER_SEC

/* ---- the scripted body ---- */

enum { TICKETS = 64, WORKERS = 16 };

static struct body {
	struct pc_ledger *ledger;
	struct pc_sched *sched;
	uint64_t now_ns;
	uint64_t next_ns; /* what the last event returned */
	char log[16384];
	struct pc_error last_error;
	struct pc_ticket tickets[TICKETS];
	struct pc_worker_use uses[WORKERS]; /* of self-service workers, by id */
	uint64_t taken; /* a worker that somebody takes just before it is recalled */
} body;

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	size_t length = strlen(body.log);
	va_list args;

	va_start(args, fmt);
	vsnprintf(body.log + length, sizeof(body.log) - length, fmt, args);
	va_end(args);
}

static void on_spawn(void *ctx, const struct pc_spawn_order *order)
{
	(void)ctx;
	note("spawn %llu '%s' on %u\n", (unsigned long long)order->worker_id, order->model_key,
	     order->device);
}

static void on_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	static const char *const reasons[] = { "idle",	   "evicted",  "requested", "failed",
					       "overdue",  "pressure", "recycled",  "shutdown",
					       "replaced", "retired" };

	(void)ctx;
	note("stop %llu %s%s\n", (unsigned long long)worker_id, reasons[why],
	     force ? " force" : "");
}

static void on_grant(void *ctx, struct pc_ticket *ticket, uint64_t worker_id)
{
	(void)ctx;
	note("grant t%d %llu\n", (int)(ticket - body.tickets), (unsigned long long)worker_id);
}

static void on_reject(void *ctx, struct pc_ticket *ticket, const struct pc_error *err)
{
	(void)ctx;
	note("reject t%d %s\n", (int)(ticket - body.tickets), pc_error_name(err->code));
	body.last_error = *err;
}

static void on_look(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use)
{
	(void)ctx;
	*ret_use = body.uses[worker_id];
	if (wanted && ret_use->leases > 0)
		note("want %llu\n", (unsigned long long)worker_id);
}

static bool on_recall(void *ctx, uint64_t worker_id)
{
	bool refused = body.uses[worker_id].leases > 0 || body.taken == worker_id;

	(void)ctx;
	note("recall %llu%s\n", (unsigned long long)worker_id, refused ? ", no" : "");
	return !refused;
}

static void on_resume(void *ctx, uint64_t worker_id)
{
	(void)ctx;
	note("resume %llu\n", (unsigned long long)worker_id);
}

static const struct pc_sched_driver driver = {
	.spawn = on_spawn,
	.stop = on_stop,
	.grant = on_grant,
	.reject = on_reject,
	.look = on_look,
	.recall = on_recall,
	.resume = on_resume,
};

#define expect(text) \
	do { \
		assert_string_equal(body.log, text); \
		body.log[0] = '\0'; \
	} while (0)

/* ---- events, short ---- */

static void submit_with(int ticket, struct pc_sched_model *model, enum pc_priority priority,
			uint64_t timeout_ns, uint64_t affinity)
{
	struct pc_ticket *t = &body.tickets[ticket];

	memset(t, 0, sizeof(*t));
	t->model = model;
	t->priority = priority;
	t->deadline_ns = timeout_ns ? body.now_ns + timeout_ns : 0;
	t->affinity = affinity;
	body.next_ns = pc_sched_submit(body.sched, body.now_ns, t);
}

static void submit(int ticket, struct pc_sched_model *model)
{
	submit_with(ticket, model, PC_PRIORITY_INTERACTIVE, 0, 0);
}

static void release(int ticket)
{
	body.next_ns = pc_sched_release(body.sched, body.now_ns, &body.tickets[ticket],
					PC_OUTCOME_OK);
}

static void cancel(int ticket)
{
	body.next_ns = pc_sched_cancel(body.sched, body.now_ns, &body.tickets[ticket]);
}

static void ready(uint64_t worker)
{
	body.next_ns = pc_sched_worker_ready(body.sched, body.now_ns, worker, 0);
}

static void gone(uint64_t worker)
{
	body.next_ns = pc_sched_worker_gone(body.sched, body.now_ns, worker, NULL);
}

static void failed(uint64_t worker, int code, const char *text)
{
	struct pc_error cause = PC_ERROR_INIT;

	pc_error_set(&cause, code, "%s", text);
	body.next_ns = pc_sched_worker_failed(body.sched, body.now_ns, worker, &cause);
}

/* Lets time pass, ticking whenever the brain asked for it. */
static void pass(uint64_t ns)
{
	uint64_t until_ns = body.now_ns + ns;

	while (body.next_ns <= until_ns) {
		if (body.next_ns > body.now_ns)
			body.now_ns = body.next_ns;
		body.next_ns = pc_sched_tick(body.sched, body.now_ns);
		assert_true(body.next_ns > body.now_ns);
	}
	body.now_ns = until_ns;
}

/* ---- set-up ---- */

static struct pc_sched_model_spec spec_of(const char *key, uint64_t memory_bytes)
{
	return (struct pc_sched_model_spec){
		.key = key,
		.device_mask = 1,
		.memory_bytes = memory_bytes,
		.slots = 1,
		.max_workers = 1,
		.cold_start_workers = 1,
		.queue_capacity = 64,
		.idle_ttl_ns = PC_IDLE_TTL_DEFAULT,
		.start_timeout_ns = 120 * SEC,
	};
}

static struct pc_sched_model *add(const struct pc_sched_model_spec *spec)
{
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_sched_add_model(body.sched, spec, &model, &err), 0);
	return model;
}

static struct pc_sched_model *add_simple(const char *key, uint64_t memory_bytes)
{
	struct pc_sched_model_spec spec = spec_of(key, memory_bytes);

	return add(&spec);
}

static uint64_t reserved(unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(body.ledger, device, &account);
	return account.reserved_bytes;
}

static int setup(void **state)
{
	struct pc_sched_settings settings;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(&body, 0, sizeof(body));
	body.now_ns = 1000 * SEC;
	body.next_ns = PC_TIME_NEVER;
	pc_sched_settings_init(&settings);
	assert_int_equal(pc_ledger_create(&body.ledger, &err), 0);
	assert_int_equal(pc_ledger_add_device(body.ledger, "cpu", 10 * GIB, 8 * GIB, &err), 0);
	assert_int_equal(pc_ledger_add_device(body.ledger, "gpu0", 4 * GIB, 4 * GIB, &err), 1);
	return pc_sched_create(&settings, &driver, NULL, body.ledger, &body.sched, &err);
}

static int teardown(void **state)
{
	(void)state;
	pc_sched_destroy(body.sched);
	assert_int_equal(reserved(0), 0);
	assert_int_equal(reserved(1), 0);
	pc_ledger_destroy(body.ledger);
	return 0;
}

#define scenario(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- rules 1, 2: lazy, cold start ---- */

static void nothing_is_loaded_before_a_request(void **state)
{
	(void)state;
	add_simple("a", GIB);
	pass(3600 * SEC);
	expect("");
	assert_int_equal(pc_sched_next_deadline(body.sched), PC_TIME_NEVER);
}

static void one_request_loads_waits_and_is_granted(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	expect("spawn 1 'a' on 0\n");
	assert_int_equal(reserved(0), GIB);
	ready(1);
	expect("grant t0 1\n");
	submit(1, a);
	expect("");
	release(0);
	expect("grant t1 1\n");
	release(1);
	submit(2, a);
	expect("grant t2 1\n");
	release(2);
}

static void thirty_two_first_requests_make_one_cold_start(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_counters counters;

	(void)state;
	spec.slots = 4;

	struct pc_sched_model *a = add(&spec);

	for (int i = 0; i < 32; i++)
		submit(i, a);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect("grant t0 1\ngrant t1 1\ngrant t2 1\ngrant t3 1\n");
	for (int i = 0; i < 32; i++)
		release(i);
	pc_sched_get_counters(body.sched, &counters);
	assert_int_equal(counters.cold_starts, 1);
	assert_int_equal(counters.spawned, 1);
	assert_int_equal(counters.granted, 32);
	assert_int_equal(counters.rejected, 0);
}

/* ---- rules 3, 4: growth and reservations ---- */

static void a_waiting_request_grows_the_model_one_at_a_time(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = 3;

	struct pc_sched_model *a = add(&spec);

	for (int i = 0; i < 5; i++)
		submit(i, a);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect("grant t0 1\nspawn 2 'a' on 0\n");
	ready(2);
	expect("grant t1 2\nspawn 3 'a' on 0\n");
	ready(3);
	expect("grant t2 3\n");
	for (int i = 0; i < 5; i++)
		release(i);
	expect("grant t3 1\ngrant t4 2\n");
}

static void further_warm_workers_start_where_they_fit(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);

	(void)state;
	spec.max_workers = 0;
	spec.cold_start_workers = 4;
	submit(0, add(&spec));
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\n");
	assert_int_equal(reserved(0), 6 * GIB);
	cancel(0);
}

static void the_emptiest_device_that_fits_is_chosen(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 2 * GIB);

	(void)state;
	spec.device_mask = 3;
	spec.max_workers = 0;
	spec.cold_start_workers = 6;
	submit(0, add(&spec));
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\nspawn 3 'a' on 0\nspawn 4 'a' on 1\n"
	       "spawn 5 'a' on 0\nspawn 6 'a' on 1\n");
	cancel(0);
}

static void a_reservation_returns_when_the_worker_is_gone_and_not_before(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	failed(1, PC_E_MODEL_FILE_MISSING, "there is no file /models/a.gguf");
	expect("spawn 1 'a' on 0\nstop 1 failed\nreject t0 MODEL_FILE_MISSING\n");
	assert_string_equal(body.last_error.message,
			    "loading 'a': there is no file /models/a.gguf");
	assert_int_equal(reserved(0), GIB);
	gone(1);
	assert_int_equal(reserved(0), 0);
	gone(1); /* a repeated report is ignored */
	ready(1);
	expect("");
}

static void what_a_worker_measures_replaces_its_reservation(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	body.next_ns = pc_sched_worker_ready(body.sched, body.now_ns, 1, 3 * GIB);
	assert_int_equal(reserved(0), 3 * GIB);
	release(0);
	gone(1);
	assert_int_equal(reserved(0), 0);
}

/* ---- rule 5: memory ---- */

static void nobody_measures_more_than_the_device_has(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	pc_sched_worker_ready(body.sched, body.now_ns, 1, UINT64_MAX);
	assert_int_equal(reserved(0), 10 * GIB);
	release(0);
	expect("spawn 1 'a' on 0\ngrant t0 1\nstop 1 pressure\n");
	gone(1);
	assert_int_equal(reserved(0), 0);
}

static void a_model_that_can_never_fit_is_refused_at_once(void **state)
{
	(void)state;
	submit(0, add_simple("giant", 9 * GIB));
	expect("reject t0 INSUFFICIENT_MEMORY\n");
	assert_string_equal(body.last_error.message,
			    "model 'giant' needs 9 GiB on cpu: 8 GiB of 8 GiB budget free");
	assert_string_equal(pc_error_detail_get(&body.last_error, "needed_bytes"), "9663676416");
	assert_string_equal(pc_error_detail_get(&body.last_error, "free_bytes"), "8589934592");
	assert_string_equal(pc_error_detail_get(&body.last_error, "budget_bytes"), "8589934592");
	assert_string_equal(pc_error_detail_get(&body.last_error, "device"), "cpu");
}

static void what_does_not_fit_now_waits_and_says_who_holds_the_rest(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 2 * GIB);
	struct pc_sched_model *c = add_simple("c", 3 * GIB / 2);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	submit(2, c);
	expect("spawn 1 'a' on 0\nspawn 2 'b' on 0\ngrant t0 1\ngrant t1 2\n");
	pass(30 * SEC);
	expect("reject t2 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'c': no worker fits: "
			    "needs 1.5 GiB on cpu: 1 GiB of 8 GiB budget free; held by "
			    "'a' (1 worker, 5 GiB), 'b' (1 worker, 2 GiB)");
	assert_string_equal(pc_error_detail_get(&body.last_error, "holders"),
			    "'a' (1 worker, 5 GiB), 'b' (1 worker, 2 GiB)");
	release(0);
	release(1);
}

static void room_is_made_by_the_least_recently_used_idle_worker(void **state)
{
	struct pc_sched_model *a = add_simple("a", 3 * GIB), *b = add_simple("b", 3 * GIB);
	struct pc_sched_model *c = add_simple("c", 4 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	pass(6 * SEC);
	release(1);
	pass(SEC);
	release(0);
	body.log[0] = '\0';
	submit(2, c);
	expect("stop 2 evicted\n");
	assert_int_equal(reserved(0), 6 * GIB);
	gone(2);
	expect("spawn 3 'c' on 0\n");
	ready(3);
	release(2);
}

static void a_young_worker_is_spared_until_somebody_waited_long(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 5 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	body.log[0] = '\0';
	submit(1, b);
	expect("");
	pass(4 * SEC);
	expect("");
	pass(2 * SEC);
	expect("stop 1 evicted\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void a_leased_or_pinned_worker_is_never_evicted(void **state)
{
	struct pc_sched_model_spec pinned = spec_of("pinned", 4 * GIB);

	(void)state;
	pinned.pinned = true;

	struct pc_sched_model *p = add(&pinned), *a = add_simple("a", 4 * GIB);
	struct pc_sched_model *b = add_simple("b", 4 * GIB);

	submit(0, p);
	submit(1, a);
	ready(1);
	ready(2);
	release(0);
	pass(20 * SEC);
	body.log[0] = '\0';
	submit(2, b);
	pass(30 * SEC);
	expect("reject t2 TIMEOUT\n");
	release(1);
}

static void no_more_is_evicted_than_is_needed(void **state)
{
	struct pc_sched_model *small = add_simple("small", GIB), *mid = add_simple("mid", 2 * GIB);
	struct pc_sched_model *large = add_simple("large", 4 * GIB);
	struct pc_sched_model *next = add_simple("next", 5 * GIB);

	(void)state;
	submit(0, small);
	submit(1, mid);
	submit(2, large);
	for (int i = 0; i < 3; i++) {
		ready((uint64_t)i + 1);
		release(i);
	}
	pass(6 * SEC);
	body.log[0] = '\0';
	submit(3, next); /* 1 GiB is free: large alone makes room, the older two may stay */
	expect("stop 3 evicted\n");
	cancel(3);
}

static void what_an_idle_worker_has_grown_by_is_room_too(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB), *b = add_simple("b", 8 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	body.next_ns = pc_sched_worker_changed(body.sched, body.now_ns, 1, 3 * GIB);
	pass(6 * SEC);
	body.log[0] = '\0';
	submit(1, b); /* 5 GiB are free */
	expect("stop 1 evicted\n");
	cancel(1);
}

static void a_floor_keeps_the_most_recently_used(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model *a, *b = add_simple("b", 7 * GIB), *c = add_simple("c", 8 * GIB);

	(void)state;
	spec.min_workers = 1;
	spec.max_workers = 2;
	spec.idle_ttl_ns = PC_TIME_NEVER;
	a = add(&spec);
	submit(0, a);
	submit(1, a);
	ready(1);
	ready(2);
	pass(6 * SEC);
	release(1);
	pass(SEC);
	release(0);
	body.log[0] = '\0';
	submit(2, c); /* both would have to go */
	expect("");
	cancel(2);
	submit(3, b);
	expect("stop 2 evicted\n");
	cancel(3);
	gone(2);
	expect("");
}

static void room_made_for_one_is_not_taken_by_another(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);

	(void)state;
	spec.max_workers = 2;

	struct pc_sched_model *a = add(&spec), *b = add_simple("b", 3 * GIB);
	struct pc_sched_model *c = add_simple("c", 4 * GIB);

	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	release(1);
	pass(6 * SEC);
	submit(2, a); /* wants a second worker, and came before c */
	body.log[0] = '\0';
	submit(3, c);
	expect("stop 2 evicted\n");
	gone(2);
	expect("spawn 3 'c' on 0\n");
	cancel(3);
	release(0);
	release(2);
}

static void the_small_overtake_the_large_for_a_while_only(void **state)
{
	struct pc_sched_model *busy = add_simple("busy", 5 * GIB);
	struct pc_sched_model *large = add_simple("large", 4 * GIB);
	struct pc_sched_model *small = add_simple("small", GIB), *tiny = add_simple("tiny", GIB);

	(void)state;
	submit(0, busy);
	ready(1);
	submit_with(1, large, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	submit_with(2, small, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	expect("spawn 1 'busy' on 0\ngrant t0 1\nspawn 2 'small' on 0\n");
	pass(10 * SEC);
	submit_with(3, tiny, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	expect(""); /* what is free is kept for the large one */
	pass(11 * SEC);
	expect("spawn 3 'tiny' on 0\n"); /* which did not help */
	release(0);
	expect("stop 1 evicted\n");
	gone(1);
	expect("spawn 4 'large' on 0\n");
	for (int i = 1; i <= 3; i++)
		cancel(i);
}

/* ---- rule 6: the queue ---- */

static void the_earliest_deadline_goes_first_and_interactive_before_batch(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	submit_with(1, a, PC_PRIORITY_BATCH, 0, 0);
	submit_with(2, a, PC_PRIORITY_INTERACTIVE, 20 * SEC, 0);
	submit_with(3, a, PC_PRIORITY_INTERACTIVE, 5 * SEC, 0);
	submit_with(4, a, PC_PRIORITY_INTERACTIVE, 20 * SEC, 0);
	ready(1);
	for (int i = 0; i < 5; i++) {
		static const int order[] = { 3, 2, 4, 0, 1 };

		release(order[i]);
	}
	expect("spawn 1 'a' on 0\ngrant t3 1\ngrant t2 1\ngrant t4 1\ngrant t0 1\ngrant t1 1\n");
}

static void an_aged_batch_request_goes_before_a_new_interactive_one(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	ready(1);
	submit_with(1, a, PC_PRIORITY_BATCH, 600 * SEC, 0);
	pass(59 * SEC);
	submit(2, a);
	pass(2 * SEC);
	submit(3, a);
	release(0);
	release(2);
	release(1);
	release(3);
	expect("spawn 1 'a' on 0\ngrant t0 1\ngrant t2 1\ngrant t1 1\ngrant t3 1\n");
}

static void a_full_queue_refuses_and_says_when_to_come_back(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.queue_capacity = 2;

	struct pc_sched_model *a = add(&spec);

	for (int i = 0; i < 3; i++)
		submit(i, a);
	expect("spawn 1 'a' on 0\nreject t2 QUEUE_FULL\n");
	assert_string_equal(body.last_error.message,
			    "the queue of 'a' is full: 2 of 2 requests wait for 1 worker");
	assert_string_equal(pc_error_detail_get(&body.last_error, "retry_after_secs"), "1");
	cancel(0);
	cancel(1);
}

static void a_cancelled_request_leaves_its_place_to_the_next(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	submit(1, a);
	cancel(0);
	ready(1);
	expect("spawn 1 'a' on 0\ngrant t1 1\n");
	submit(0, a); /* a ticket may be used again */
	release(1);
	release(0);
	expect("grant t0 1\n");
}

/* ---- rule 7: choice ---- */

static void the_most_recently_used_of_the_least_loaded_is_chosen(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.slots = 2;
	spec.max_workers = 2;
	spec.cold_start_workers = 2;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	ready(2);
	submit(1, a); /* 2 has fewer leases */
	release(0);
	release(1); /* 2 was used last */
	submit(2, a);
	submit(3, a); /* 1 has fewer leases */
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\ngrant t0 1\ngrant t1 2\ngrant t2 2\n"
	       "grant t3 1\n");
	release(2);
	release(3);
}

static void a_conversation_returns_to_its_worker(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = 2;
	spec.cold_start_workers = 2;

	struct pc_sched_model *a = add(&spec);

	submit_with(0, a, PC_PRIORITY_INTERACTIVE, 0, 77);
	ready(1);
	ready(2);
	submit(1, a);
	release(0);
	release(1); /* 2 was used last */
	submit_with(2, a, PC_PRIORITY_INTERACTIVE, 0, 77);
	submit_with(3, a, PC_PRIORITY_INTERACTIVE, 0, 77); /* 1 is full */
	expect("spawn 1 'a' on 0\nspawn 2 'a' on 0\ngrant t0 1\ngrant t1 2\ngrant t2 1\n"
	       "grant t3 2\n");
	release(2);
	release(3);
}

/* ---- rule 8: cooldown ---- */

static void idle_workers_go_one_per_interval_down_to_the_minimum(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = 3;
	spec.cold_start_workers = 3;
	spec.min_workers = 1;
	submit(0, add(&spec));
	for (uint64_t id = 1; id <= 3; id++)
		ready(id);
	release(0);
	body.log[0] = '\0';
	pass(60 * SEC);
	expect("stop 2 idle\n"); /* never used, so before 1 */
	gone(2);
	pass(60 * SEC);
	expect("stop 3 idle\n");
	gone(3);
	pass(600 * SEC);
	expect("");
	assert_int_equal(reserved(0), GIB);
}

static void a_model_in_use_does_not_cool_down(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	ready(1);
	body.log[0] = '\0';
	pass(600 * SEC);
	expect("");
	release(0);
	pass(59 * SEC);
	submit(0, a);
	release(0);
	body.log[0] = '\0';
	pass(59 * SEC);
	expect("");
	pass(61 * SEC);
	expect("stop 1 idle\n");
	gone(1);
	pass(600 * SEC);
	assert_int_equal(body.next_ns, PC_TIME_NEVER);
}

static void a_ttl_of_zero_stops_after_the_last_lease(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.idle_ttl_ns = 0;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	submit(1, a);
	ready(1);
	release(0);
	release(1);
	expect("spawn 1 'a' on 0\ngrant t0 1\ngrant t1 1\nstop 1 idle\n");
}

/* ---- rule 9: failure ---- */

static void a_failed_load_backs_off_and_then_tries_again(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	struct pc_sched_model_view view;

	(void)state;
	submit(0, a);
	failed(1, PC_E_SPAWN_FAILED, "exit code 1");
	gone(1);
	expect("spawn 1 'a' on 0\nstop 1 failed\nreject t0 SPAWN_FAILED\n");
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 1);
	assert_in_range(view.backoff_until_ns - body.now_ns, SEC * 3 / 4, SEC);
	submit(1, a);
	expect("");
	pass(SEC);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	release(1);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 0);
}

static void a_request_that_ends_in_back_off_is_told_the_cause(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	failed(1, PC_E_SPAWN_FAILED, "exit code 1");
	gone(1);
	body.log[0] = '\0';
	submit_with(1, a, PC_PRIORITY_INTERACTIVE, SEC / 2, 0);
	pass(SEC / 2);
	expect("reject t1 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 500 ms acquiring a worker for 'a': in back-off "
			    "after: exit code 1");
}

/* Makes the next load fail, waiting out the back-off before it. */
static void fail_once(struct pc_sched_model *model, uint64_t worker)
{
	submit_with(0, model, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	pass(60 * SEC);
	failed(worker, PC_E_SPAWN_FAILED, "exit code 1");
	gone(worker);
	body.log[0] = '\0';
}

static void five_failures_open_the_breaker_and_a_probe_closes_it(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	struct pc_sched_model_view view;

	(void)state;
	for (uint64_t worker = 1; worker <= 5; worker++)
		fail_once(a, worker);
	submit(0, a);
	expect("reject t0 MODEL_BACKOFF\n");
	assert_memory_equal(body.last_error.message,
			    "model 'a' failed 5 times in a row and is tried again in 1", 56);
	assert_non_null(strstr(body.last_error.message, "; last: exit code 1"));
	assert_string_equal(pc_error_detail_get(&body.last_error, "cause"), "SPAWN_FAILED");
	pass(16 * SEC);
	submit(0, a); /* the probe; a second request waits for the same one */
	submit(1, a);
	expect("spawn 6 'a' on 0\n");
	ready(6);
	release(0);
	release(1);
	expect("grant t0 6\ngrant t1 6\n");
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 0);
}

/* Makes the next load of two workers fail. */
static void fail_two(struct pc_sched_model *model, uint64_t worker)
{
	submit_with(0, model, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	pass(60 * SEC);
	failed(worker, PC_E_SPAWN_FAILED, "exit code 1");
	failed(worker + 1, PC_E_SPAWN_FAILED, "exit code 1");
	gone(worker);
	gone(worker + 1);
	body.log[0] = '\0';
}

static void the_probe_is_one_worker_however_many_a_cold_start_has(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.cold_start_workers = spec.max_workers = 2;

	struct pc_sched_model *a = add(&spec);

	for (uint64_t worker = 1; worker <= 5; worker += 2)
		fail_two(a, worker);
	pass(60 * SEC);
	submit(0, a);
	expect("spawn 7 'a' on 0\n");
	ready(7);
	submit(1, a); /* growth is a probe too until somebody was answered */
	expect("grant t0 7\nspawn 8 'a' on 0\n");
	release(0);
	release(1);
	expect("grant t1 7\n");
}

static void growth_that_fails_backs_off_though_another_worker_answers(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model_view view;

	(void)state;
	spec.max_workers = 2;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	pass(SEC);
	for (uint64_t worker = 2; worker <= 4; worker++) {
		submit_with(1, a, PC_PRIORITY_INTERACTIVE, 600 * SEC, 0);
		pass(60 * SEC - 1);
		failed(worker, PC_E_SPAWN_FAILED, "exit code 1");
		gone(worker);
		release(0); /* worker 1 is well, and says nothing about the next load */
		release(1);
		submit(0, a);
		pc_sched_get_model(a, &view);
		assert_int_equal(view.failures_in_row, worker - 1);
	}
	assert_in_range(view.backoff_until_ns - body.now_ns, 3 * SEC, 4 * SEC);
	submit_with(1, a, PC_PRIORITY_INTERACTIVE, 600 * SEC, 0);
	pass(4 * SEC);
	ready(5);
	release(1);
	release(0);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.failures_in_row, 0); /* worker 5 has loaded since, and answered */
}

static void a_worker_that_dies_is_not_granted_again(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.slots = 2;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	gone(1);
	assert_int_equal(reserved(0), 0);
	submit(1, a);
	expect("spawn 1 'a' on 0\ngrant t0 1\n");
	body.next_ns = pc_sched_release(body.sched, body.now_ns, &body.tickets[0], PC_OUTCOME_LOST);
	pass(SEC);
	expect("spawn 2 'a' on 0\n");
	ready(2);
	expect("grant t1 2\n");
	release(1);
}

/* ---- rule 10: deadlines ---- */

static void a_timeout_says_how_many_are_busy_and_ahead(void **state)
{
	struct pc_sched_model_spec spec = spec_of("x", GIB);

	(void)state;
	spec.max_workers = 2;
	spec.cold_start_workers = 2;

	struct pc_sched_model *x = add(&spec);

	submit(0, x);
	submit(1, x);
	ready(1);
	ready(2);
	for (int i = 2; i < 16; i++)
		submit_with(i, x, PC_PRIORITY_INTERACTIVE, 40 * SEC, 0);
	submit_with(16, x, PC_PRIORITY_BATCH, 30 * SEC, 0);
	body.log[0] = '\0';
	pass(30 * SEC);
	expect("reject t16 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'x': 2 of 2 workers "
			    "busy, 14 requests ahead");
	assert_string_equal(pc_error_detail_get(&body.last_error, "requests_ahead"), "14");
	for (int i = 0; i < 16; i++)
		release(i);
}

static void a_timeout_while_loading_says_so(void **state)
{
	(void)state;
	submit(0, add_simple("x", GIB));
	pass(30 * SEC);
	expect("spawn 1 'x' on 0\nreject t0 TIMEOUT\n");
	assert_string_equal(body.last_error.message,
			    "timed out after 30 s acquiring a worker for 'x': worker 1 has been "
			    "loading for 30 s");
}

static void a_worker_that_never_gets_ready_is_given_up(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit_with(0, a, PC_PRIORITY_INTERACTIVE, 500 * SEC, 0);
	pass(120 * SEC);
	expect("spawn 1 'a' on 0\nstop 1 overdue\nreject t0 SPAWN_FAILED\n");
	assert_string_equal(body.last_error.message,
			    "loading 'a': worker 1 was not ready within 2 min");
	ready(1); /* too late */
	expect("");
	gone(1);
	assert_int_equal(reserved(0), 0);
}

static void a_deadline_that_has_passed_is_refused(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	memset(&body.tickets[0], 0, sizeof(body.tickets[0]));
	body.tickets[0].model = a;
	body.tickets[0].deadline_ns = body.now_ns - 1;
	pc_sched_submit(body.sched, body.now_ns, &body.tickets[0]);
	expect("reject t0 TIMEOUT\n");
}

/* ---- rule 11: pressure ---- */

static void a_lowered_limit_stops_idle_workers(void **state)
{
	struct pc_sched_model *a = add_simple("a", 3 * GIB), *b = add_simple("b", 3 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	release(0);
	body.log[0] = '\0';
	pc_sched_limit_changed(body.sched, body.now_ns, 0, 2 * GIB);
	expect("stop 1 pressure\n");
	gone(1);
	release(1); /* leased ones follow when they are idle */
	expect("stop 2 pressure\n");
	gone(2);
	submit(0, a);
	expect("reject t0 INSUFFICIENT_MEMORY\n");
	pc_sched_limit_changed(body.sched, body.now_ns, 99, GIB); /* no such device: ignored */
}

static void a_limit_that_becomes_too_low_refuses_who_waits_for_it(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model_spec spec = spec_of("c", 4 * GIB);
	struct pc_sched_model *c;

	(void)state;
	spec.device_mask = 3;
	c = add(&spec);
	submit(0, a);
	ready(1);
	submit(1, c);
	ready(2);
	expect("spawn 1 'a' on 0\ngrant t0 1\nspawn 2 'c' on 1\ngrant t1 2\n");
	submit(2, b);
	expect("");
	pc_sched_limit_changed(body.sched, body.now_ns, 0, 3 * GIB);
	expect("reject t2 INSUFFICIENT_MEMORY\n");
	release(0);
	expect("stop 1 pressure\n");
	gone(1);
	release(1);
}

static void an_estimate_that_changes_takes_back_what_was_promised(void **state)
{
	struct pc_sched_model *a = add_simple("a", 5 * GIB), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model *c = add_simple("c", 3 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	pass(6 * SEC);
	body.log[0] = '\0';
	submit(1, b);
	expect("stop 1 evicted\n");
	pc_sched_set_estimate(b, 9 * GIB); /* more than there is */
	submit(2, c);
	expect("reject t1 INSUFFICIENT_MEMORY\nspawn 2 'c' on 0\n");
	gone(1);
	cancel(2);
}

static void what_grows_does_not_become_impatient_while_all_is_tight(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 4 * GIB);
	struct pc_sched_model *a, *b = add_simple("b", 4 * GIB);

	(void)state;
	spec.max_workers = 2;
	a = add(&spec);
	submit(0, a);
	ready(1);
	submit(1, b);
	ready(2);
	release(1);
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	expect("spawn 1 'a' on 0\ngrant t0 1\nspawn 2 'b' on 0\ngrant t1 2\nstop 2 pressure\n");
	gone(2);
	submit(3, b);
	ready(3);
	release(3);
	expect("spawn 3 'b' on 0\ngrant t3 3\n");
	submit_with(2, a, PC_PRIORITY_INTERACTIVE, 100 * SEC, 0);
	pass(20 * SEC);
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, false);
	pass(9 * SEC);
	expect("");
	pass(2 * SEC);
	expect("stop 3 evicted\n");
	gone(3);
	expect("spawn 4 'a' on 0\n");
	cancel(2);
	release(0);
}

/* ---- rule 12: shutdown ---- */

static void a_drain_finishes_what_it_has_and_refuses_the_rest(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB), *b = add_simple("b", GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	submit(2, a);
	release(1);
	body.log[0] = '\0';
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + 5 * SEC);
	expect("stop 2 shutdown\n");
	submit(3, a);
	expect("reject t3 SHUTTING_DOWN\n");
	release(0);
	expect("grant t2 1\n");
	assert_false(pc_sched_is_drained(body.sched));
	release(2);
	expect("stop 1 shutdown\n");
	gone(1);
	gone(2);
	assert_true(pc_sched_is_drained(body.sched));
}

static void a_drain_stops_what_loads_for_a_request_that_gave_up(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit_with(0, a, PC_PRIORITY_INTERACTIVE, 2 * SEC, 0);
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + 5 * SEC);
	expect("spawn 1 'a' on 0\n");
	pass(2 * SEC);
	expect("reject t0 TIMEOUT\nstop 1 shutdown\n");
	gone(1);
	assert_true(pc_sched_is_drained(body.sched));
}

static void a_drain_that_is_over_rejects_and_forces(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	submit(0, a);
	ready(1);
	submit(1, a);
	body.log[0] = '\0';
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + 5 * SEC);
	expect("");
	pass(5 * SEC);
	expect("reject t1 SHUTTING_DOWN\nstop 1 shutdown force\n");
	gone(1);
	assert_false(pc_sched_is_drained(body.sched)); /* t0 is still out */
	body.next_ns = pc_sched_release(body.sched, body.now_ns, &body.tickets[0], PC_OUTCOME_LOST);
	assert_true(pc_sched_is_drained(body.sched));
}

/* ---- the operator ---- */

static void an_operator_loads_and_stops(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, a, &id, &err), 0);
	assert_int_equal(id, 1);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, a, &id, &err), 0);
	assert_int_equal(id, 1);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	submit(0, a);
	expect("grant t0 1\n");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, false, &err), 0);
	expect(""); /* it drains */
	release(0);
	expect("stop 1 requested\n");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, &err), 0);
	expect("stop 1 requested force\n");
	gone(1);
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, &err),
			 PC_E_WORKER_NOT_FOUND);
	assert_string_equal(err.message, "there is no worker 1");
}

static void a_load_that_does_not_fit_says_so(void **state)
{
	struct pc_sched_model *a = add_simple("a", 6 * GIB), *b = add_simple("b", 6 * GIB);
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	submit(0, a);
	ready(1);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, b, &id, &err),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(err.message, "model 'b' needs 6 GiB on cpu: 2 GiB of 8 GiB budget "
					 "free; held by 'a' (1 worker, 6 GiB)");
	release(0);
	pass(6 * SEC);
	body.log[0] = '\0';
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, b, &id, &err), 0);
	assert_int_equal(id, 0); /* room is being made */
	expect("stop 1 evicted\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
}

static int load_on(struct pc_sched_model *model, uint32_t mask, uint64_t *ret_id,
		   struct pc_error *ret_err)
{
	pc_error_clear(ret_err);
	*ret_id = 99;
	return pc_sched_load_on(body.sched, body.now_ns, model, mask, ret_id, ret_err);
}

/* Device 0 has 8 GiB and is the emptiest; device 1 has 4. */
static void a_load_is_where_it_was_wanted_or_refused(void **state)
{
	struct pc_sched_model *cpu_only = add_simple("c", GIB), *a, *big;
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);
	struct pc_error err;
	uint64_t id;

	(void)state;
	spec.device_mask = 3;
	a = add(&spec);
	spec = spec_of("big", 5 * GIB);
	spec.device_mask = 3;
	big = add(&spec);
	assert_int_equal(load_on(cpu_only, 2, &id, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "device_mask 0x2 names no device that 'c' may live on");
	assert_int_equal(load_on(a, 2, &id, &err), 0);
	assert_int_equal(id, 1);
	expect("spawn 1 'a' on 1\n");
	assert_int_equal(load_on(a, 3, &id, &err), 0);
	assert_int_equal(id, 1);
	assert_int_equal(load_on(a, 1, &id, &err), PC_E_ALREADY_EXISTS);
	assert_string_equal(err.message, "'a' has a worker already, on another device");
	assert_int_equal(id, 99);
	/* It would fit on the other one. */
	assert_int_equal(load_on(big, 2, &id, &err), PC_E_INSUFFICIENT_MEMORY);
	assert_non_null(strstr(err.message, "'big' needs 5 GiB on gpu0"));
	expect("");
	/* The choice is over with its load. */
	submit(0, big);
	expect("spawn 2 'big' on 0\n");
	cancel(0);
}

static void room_is_made_where_it_was_wanted(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);
	struct pc_sched_model *a, *b;
	struct pc_error err;
	uint64_t id;

	(void)state;
	spec.device_mask = 3;
	a = add(&spec);
	spec.key = "b";
	b = add(&spec);
	assert_int_equal(load_on(a, 2, &id, &err), 0);
	ready(1);
	pass(6 * SEC);
	body.log[0] = '\0';
	assert_int_equal(load_on(b, 2, &id, &err), 0);
	assert_int_equal(id, 0);
	expect("stop 1 evicted\n");
	gone(1);
	expect("spawn 2 'b' on 1\n");
}

/* Whoever waits is not kept from the room that there is. */
static void a_request_frees_a_load_from_its_device(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 3 * GIB);
	struct pc_sched_model *a, *b;
	struct pc_error err;
	uint64_t id;

	(void)state;
	spec.device_mask = 3;
	a = add(&spec);
	spec.key = "b";
	b = add(&spec);
	assert_int_equal(load_on(a, 2, &id, &err), 0);
	ready(1);
	pass(6 * SEC);
	body.log[0] = '\0';
	assert_int_equal(load_on(b, 2, &id, &err), 0);
	submit(0, b);
	pass(SEC / 4); /* when the line is looked at again */
	expect("stop 1 evicted\nspawn 2 'b' on 0\n");
	ready(2);
	expect("grant t0 2\n");
	release(0);
}

static void a_load_does_not_choose_for_those_who_wait(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", 7 * GIB);
	struct pc_sched_model *a, *b;
	struct pc_error err;
	uint64_t id;

	(void)state;
	a = add(&spec);
	spec = spec_of("b", 4 * GIB);
	spec.device_mask = 3;
	b = add(&spec);
	submit(0, a);
	ready(1);
	assert_int_equal(load_on(b, 2, &id, &err), 0);
	ready(2);
	submit(1, b);
	body.log[0] = '\0';
	spec.key = "d";
	a = add(&spec);
	submit(2, a);
	expect("");
	assert_int_equal(load_on(a, 2, &id, &err), PC_E_CONFLICT);
	assert_string_equal(err.message, "requests wait for 'd' already, and get a worker on the "
					 "first device with room");
	assert_int_equal(load_on(a, 3, &id, &err), PC_E_INSUFFICIENT_MEMORY);
	cancel(2);
	release(1);
	release(0);
}

/* ---- arguments ---- */

static void refused(const struct pc_sched_model_spec *spec, int code, const char *message)
{
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_sched_add_model(body.sched, spec, &model, &err), code);
	assert_int_equal(err.code, code);
	assert_string_equal(err.message, message);
	assert_null(model);
}

static void a_wrong_spec_is_refused_by_field(void **state)
{
	struct pc_sched_model_spec spec;
	char long_key[300];

	(void)state;
	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = '\0';
	spec = spec_of(NULL, GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key has 1 to 255 bytes, this one has 0");
	spec = spec_of("", GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key has 1 to 255 bytes, this one has 0");
	spec = spec_of(long_key, GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key has 1 to 255 bytes, this one has 299");
	spec = spec_of("a\xff", GIB);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"key: a model's key is UTF-8, byte 2 of this one is not");
	spec = spec_of("a", 0);
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"memory_bytes of 'a' is 0: what a worker needs must be said, it is not guessed");
	spec = spec_of("a", GIB);
	spec.device_mask = 4;
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"device_mask of 'a': 0x4 must name some of the 2 devices, and no others");
	spec = spec_of("a", GIB);
	spec.slots = 65;
	refused(&spec, PC_E_INVALID_ARGUMENT, "slots of 'a' must be 1 to 64, not 65");
	spec = spec_of("a", GIB);
	spec.min_workers = 2;
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"max_workers of 'a' is 1, less than its min_workers of 2");
	spec = spec_of("a", GIB);
	spec.cold_start_workers = 0;
	refused(&spec, PC_E_INVALID_ARGUMENT, "cold_start_workers of 'a' must be at least 1");
	spec = spec_of("a", GIB);
	spec.queue_capacity = 0;
	refused(&spec, PC_E_INVALID_ARGUMENT, "queue_capacity of 'a' must be at least 1");
	spec = spec_of("a", GIB);
	spec.start_timeout_ns = 0;
	refused(&spec, PC_E_INVALID_ARGUMENT, "start_timeout_ns of 'a' must be more than 0");
	spec = spec_of("a", 2048);
	spec.recycle_bytes = 1024;
	refused(&spec, PC_E_INVALID_ARGUMENT,
		"recycle_bytes of 'a' is 1024, less than the 2048 of its memory_bytes: no worker "
		"would last");
	spec = spec_of("a", GIB);
	add(&spec);
	refused(&spec, PC_E_ALREADY_EXISTS, "the model 'a' is registered already");
}

static void a_wrong_driver_or_setting_is_refused(void **state)
{
	struct pc_sched_driver lame = driver;
	struct pc_sched_settings settings;
	struct pc_sched *sched = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	pc_sched_settings_init(&settings);
	lame.stop = NULL;
	assert_int_equal(pc_sched_create(&settings, &lame, NULL, body.ledger, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a brain needs a driver with all four actions");
	pc_error_clear(&err);
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, NULL, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a brain needs a ledger");
	pc_error_clear(&err);
	assert_int_equal(pc_sched_create(NULL, &driver, NULL, body.ledger, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a brain needs settings and a place for the result");
	pc_error_clear(&err);
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, body.ledger, NULL, &err),
			 PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	settings.backoff_min_ns = 61 * SEC;
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, body.ledger, &sched, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "backoff_min_ns must be more than 0 and at most backoff_max_ns");
	assert_null(sched);
	pc_sched_destroy(NULL);
}

static void a_request_without_a_model_is_rejected(void **state)
{
	(void)state;
	submit(0, NULL);
	expect("reject t0 INVALID_ARGUMENT\n");
}

static void models_are_found_by_key(void **state)
{
	static const char *const keys[] = { "a", "b", "org/name", "\xc3\xa4" };
	struct pc_sched_model *models[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		models[i] = add_simple(keys[i], GIB);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(pc_sched_find_model(body.sched, keys[i]), models[i]);
	assert_null(pc_sched_find_model(body.sched, "A"));
	assert_null(pc_sched_find_model(body.sched, ""));
}

static void no_function_takes_nothing_for_a_model(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_add_model(body.sched, NULL, &model, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a model needs a spec and a place for its handle");
	assert_int_equal(pc_sched_add_model(body.sched, &spec, NULL, NULL), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_sched_load(body.sched, body.now_ns, NULL, &id, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a load needs a model and a place for the worker's id");
	assert_null(pc_sched_find_model(body.sched, NULL));
	expect("");
}

/* ---- views ---- */

static void see_worker(void *ctx, const struct pc_sched_worker_view *view)
{
	(void)ctx;
	note("%llu %s %s %u/%u%s\n", (unsigned long long)view->worker_id, view->model_key,
	     pc_worker_status_name(view->status), view->leases, view->slots,
	     view->draining ? " draining" : "");
}

static void views_show_the_state_of_every_worker(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_worker_view view;

	(void)state;
	spec.max_workers = 5;
	spec.cold_start_workers = 5;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	for (uint64_t id = 1; id <= 4; id++)
		ready(id);
	submit(1, a);
	submit(2, a);
	release(2);
	pc_sched_stop_worker(body.sched, body.now_ns, 1, false, NULL);
	failed(2, PC_E_WORKER_FAILED, "it broke");
	body.log[0] = '\0';
	pc_sched_each_worker(body.sched, see_worker, NULL);
	expect("1 a busy 1/1 draining\n2 a stopping 0/1\n3 a idle 0/1\n4 a busy 1/1\n"
	       "5 a spawning 0/1\n");
	assert_true(pc_sched_get_worker(body.sched, 3, &view));
	assert_int_equal(view.served, 1);
	assert_int_equal(view.last_used_ns, body.now_ns);
	assert_false(pc_sched_get_worker(body.sched, 6, &view));
	release(0);
	release(1);
}

static void see_model(void *ctx, const struct pc_sched_model_view *view)
{
	(void)ctx;
	note("%s %u workers %u spawning %u waiting\n", view->key, view->workers, view->spawning,
	     view->waiting);
}

static void models_are_shown_in_the_order_of_registration(void **state)
{
	struct pc_sched_model *b = add_simple("b", GIB);

	(void)state;
	add_simple("a", GIB);
	submit(0, b);
	body.log[0] = '\0';
	pc_sched_each_model(body.sched, see_model, NULL);
	expect("b 1 workers 1 spawning 1 waiting\na 0 workers 0 spawning 0 waiting\n");
	cancel(0);
}

/* ---- allocation ---- */

static void create_and_add(unsigned nth, bool *ret_done)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_settings settings;
	struct pc_sched *sched = NULL;
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	pc_sched_settings_init(&settings);
	fail_alloc_begin_once(nth);

	int rc = pc_sched_create(&settings, &driver, NULL, body.ledger, &sched, &err);

	if (rc == 0)
		rc = pc_sched_add_model(sched, &spec, &model, &err);
	*ret_done = rc == 0;
	assert_true(rc == 0 || (rc == PC_E_OUT_OF_MEMORY && err.code == PC_E_OUT_OF_MEMORY));
	assert_true(rc == 0 || !sched || !pc_sched_find_model(sched, "a"));
	pc_sched_destroy(sched);
	fail_alloc_end();
	assert_int_equal(fail_alloc_live(), 0);
}

static void every_allocation_may_fail_at_birth(void **state)
{
	bool done = false;
	unsigned nth = 0;

	(void)state;
	while (!done)
		create_and_add(++nth, &done);
	assert_int_equal(nth, 6); /* brain, affinities, key, model, its places in line */
}

static void a_spawn_that_cannot_be_recorded_is_made_up_for(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);

	(void)state;
	for (unsigned nth = 1; nth <= 2; nth++) { /* the model's cause, the worker */
		fail_alloc_begin_once(nth);
		submit(0, a);
		fail_alloc_end();
		expect("");
		assert_int_equal(reserved(0), 0);
		cancel(0);
	}
	fail_alloc_begin_once(1);
	submit(0, a);
	fail_alloc_end();
	expect("");
	pass(SEC / 4);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect("grant t0 1\n");
	release(0);
}

static void two_brains_share_a_ledger(void **state)
{
	struct pc_sched_model_spec spec = spec_of("other", 6 * GIB);
	struct pc_sched_settings settings;
	struct pc_sched *other = NULL;
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	pc_sched_settings_init(&settings);
	assert_int_equal(pc_sched_create(&settings, &driver, NULL, body.ledger, &other, &err), 0);
	assert_int_equal(pc_sched_add_model(other, &spec, &model, &err), 0);
	assert_int_equal(pc_sched_load(other, body.now_ns, model, &id, &err), 0);
	expect("spawn 1 'other' on 0\n");
	submit(0, add_simple("a", 3 * GIB));
	expect("");
	pc_sched_destroy(other); /* its reservation comes back without an event here */
	pass(SEC);
	expect("spawn 1 'a' on 0\n");
	cancel(0);
}

/* ---- self-service ---- */

static struct pc_sched_model *add_self(const char *key, uint64_t memory_bytes, uint32_t max_workers)
{
	struct pc_sched_model_spec spec = spec_of(key, memory_bytes);

	spec.self_service = true;
	spec.max_workers = max_workers;
	return add(&spec);
}

static void changed(uint64_t worker, uint64_t bytes)
{
	body.next_ns = pc_sched_worker_changed(body.sched, body.now_ns, worker, bytes);
}

static void served(int ticket)
{
	body.next_ns = pc_sched_served(body.sched, body.now_ns, &body.tickets[ticket]);
}

/* A client's lease of its worker begins, or ends with an answer. */
static void lend(uint64_t worker)
{
	body.uses[worker].leases++;
	body.uses[worker].last_used_ns = body.now_ns;
}

static void give_back(uint64_t worker)
{
	body.uses[worker].leases--;
	body.uses[worker].served++;
	body.uses[worker].last_used_ns = body.now_ns;
}

static void a_body_that_hands_out_slots_needs_all_three_questions(void **state)
{
	struct pc_sched_driver blind = driver;
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_settings settings;
	struct pc_sched *sched = NULL;
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	blind.resume = NULL;
	pc_sched_settings_init(&settings);
	assert_int_equal(pc_sched_create(&settings, &blind, NULL, body.ledger, &sched, &err), 0);
	assert_int_equal(pc_sched_add_model(sched, &spec, &model, &err), 0);
	spec.key = "b";
	spec.self_service = true;
	assert_int_equal(pc_sched_add_model(sched, &spec, &model, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "self_service of 'b': the driver lacks look, recall or resume");
	pc_error_clear(&err);
	spec.max_workers = PC_SELF_SERVICE_WORKERS_MAX + 1;
	assert_int_equal(pc_sched_add_model(body.sched, &spec, &model, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "max_workers of 'b' must be 1 to 64, not 65, for self_service");
	pc_sched_destroy(sched);
}

static void the_brain_keeps_the_queue_and_the_body_the_slots(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 1);
	struct pc_sched_model_view view;
	struct pc_sched_counters counters;

	(void)state;
	assert_null(pc_sched_first_waiting(a));
	submit_with(0, a, PC_PRIORITY_BATCH, 0, 0);
	submit(1, a);
	expect("spawn 1 'a' on 0\n");
	ready(1);
	expect(""); /* nothing is granted */
	assert_ptr_equal(pc_sched_first_waiting(a), &body.tickets[1]);
	lend(1);
	served(1);
	assert_ptr_equal(pc_sched_first_waiting(a), &body.tickets[0]);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.leases, 1);
	assert_int_equal(view.waiting, 1);
	cancel(0);
	assert_null(pc_sched_first_waiting(a));
	pc_sched_get_counters(body.sched, &counters);
	assert_int_equal(counters.granted, 1);
	expect("");
}

static void a_model_grows_only_by_what_its_body_cannot_serve(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 2);

	(void)state;
	submit(0, a);
	ready(1);
	expect("spawn 1 'a' on 0\n"); /* and no second one for the request on its way */
	lend(1);
	served(0);
	submit(1, a);
	expect("spawn 2 'a' on 0\n");
	gone(2); /* it dies; the model backs off */
	cancel(1);
}

static void who_was_about_to_be_served_and_was_not_is_looked_at_again(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 2);

	(void)state;
	submit(0, a);
	ready(1);
	expect("spawn 1 'a' on 0\n");
	lend(1); /* by somebody else */
	pass(SEC / 4);
	expect("spawn 2 'a' on 0\n");
	cancel(0);
}

static void a_leased_worker_is_wanted_and_told_about_when_it_idles(void **state)
{
	struct pc_sched_model *a = add_self("a", 6 * GIB, 1), *b = add_simple("b", 6 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	lend(1);
	served(0);
	pass(10 * SEC);
	expect("spawn 1 'a' on 0\n");
	submit(1, b);
	expect("want 1\n");
	give_back(1);
	changed(1, 0);
	expect("recall 1\nstop 1 evicted\n");
	gone(1);
	expect("spawn 2 'b' on 0\n");
	cancel(1);
}

static void what_is_recalled_in_vain_is_resumed(void **state)
{
	struct pc_sched_model *a = add_self("a", 3 * GIB, 1), *b = add_self("b", 3 * GIB, 1);
	struct pc_sched_model *c = add_simple("c", 8 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	served(0);
	served(1);
	pass(10 * SEC);
	expect("spawn 1 'a' on 0\nspawn 2 'b' on 0\n");
	body.taken = 1; /* between the look and the recall; the later one is recalled first */
	submit(2, c);
	expect("recall 2\nrecall 1, no\nresume 2\n");
	cancel(2);
}

static void nobody_is_evicted_whom_somebody_is_about_to_lease(void **state)
{
	struct pc_sched_model *a = add_self("a", 6 * GIB, 1), *b = add_simple("b", 6 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	pass(10 * SEC);
	submit(1, b);
	expect("spawn 1 'a' on 0\n");
	cancel(0); /* and now nobody is */
	expect("recall 1\nstop 1 evicted\n");
	cancel(1);
}

static void a_time_after_the_event_is_no_long_idleness(void **state)
{
	struct pc_sched_model *a = add_self("a", GIB, 1);

	(void)state;
	submit(0, a);
	ready(1);
	served(0);
	pass(60 * SEC - 1);
	body.uses[1].served = 1;
	body.uses[1].last_used_ns = body.now_ns + 5 * SEC;
	expect("spawn 1 'a' on 0\n");
	pass(2 * 60 * SEC); /* two maintenances: none, and 55 s after that use */
	expect("");
	pass(60 * SEC);
	expect("recall 1\nstop 1 idle\n");
}

static void a_leased_worker_that_is_stopped_is_not_waited_for(void **state)
{
	struct pc_sched_model *a = add_self("a", 4 * GIB, 1), *b = add_simple("b", 4 * GIB);
	struct pc_sched_model *c = add_simple("c", 6 * GIB);

	(void)state;
	submit(0, a);
	submit(1, b);
	ready(1);
	ready(2);
	lend(1);
	served(0);
	release(1);
	pass(10 * SEC);
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, false, NULL), 0);
	body.log[0] = '\0';
	submit(2, c); /* 4 GiB idle are not enough, and when the others come back nobody knows */
	expect("");
	assert_int_equal(pc_sched_stop_worker(body.sched, body.now_ns, 1, true, NULL), 0);
	expect("stop 1 requested force\nstop 2 evicted\n"); /* now they are on their way */
	cancel(2);
}

/* ---- recycling, growth ---- */

static void a_worker_is_recycled_after_its_requests_one_at_a_time(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_counters counters;

	(void)state;
	spec.max_workers = spec.cold_start_workers = 2;
	spec.recycle_requests = 1;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	submit(1, a);
	ready(1);
	ready(2);
	body.log[0] = '\0';
	release(0);
	expect("stop 1 recycled\n");
	release(1);
	expect(""); /* it is due, and serves as long as the other one is leaving */
	submit(2, a);
	expect("grant t2 2\n");
	gone(1);
	expect(""); /* it goes when its lease is over */
	release(2);
	expect("stop 2 recycled\n");
	pc_sched_get_counters(body.sched, &counters);
	assert_int_equal(counters.recycled, 2);
}

static void a_worker_that_grew_is_recycled_and_the_next_begins_small(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.recycle_bytes = 2 * GIB;

	struct pc_sched_model *a = add(&spec);

	submit(0, a);
	ready(1);
	changed(1, 2 * GIB);
	assert_int_equal(reserved(0), 2 * GIB);
	changed(1, GIB); /* it never shrinks */
	assert_int_equal(reserved(0), 2 * GIB);
	expect("spawn 1 'a' on 0\ngrant t0 1\n");
	changed(1, 3 * GIB);
	expect("");
	release(0);
	expect("stop 1 recycled\n");
	gone(1);
	submit(0, a);
	expect("spawn 2 'a' on 0\n");
	assert_int_equal(reserved(0), GIB);
	cancel(0);
}

static void the_growth_of_an_idle_worker_counts_when_room_is_made(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB), *b = add_simple("b", 6 * GIB);

	(void)state;
	submit(0, a);
	ready(1);
	release(0);
	changed(1, 3 * GIB);
	pass(10 * SEC);
	body.log[0] = '\0';
	submit(1, b);
	expect("stop 1 evicted\n");
	cancel(1);
	changed(99, GIB); /* nobody has ever heard of it */
}

/* ---- pressure ---- */

static void a_tight_device_loses_one_idle_worker_a_call_and_nothing_grows(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.max_workers = spec.cold_start_workers = 3;

	struct pc_sched_model *a = add(&spec), *b = add_simple("b", GIB);

	submit(0, a);
	ready(1);
	ready(2);
	ready(3);
	body.log[0] = '\0';
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	expect("stop 2 pressure\n");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	expect("stop 3 pressure\n");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	submit(1, a); /* has a worker, which is busy */
	expect("");
	submit(2, b); /* has none */
	expect("spawn 4 'b' on 0\n");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 7, true); /* no such device */
	expect("");
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, false);
	expect("spawn 5 'a' on 0\n");
	cancel(1);
	cancel(2);
	release(0);
}

static void a_first_worker_rather_goes_where_memory_is_not_tight(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);

	(void)state;
	spec.device_mask = 3;
	body.next_ns = pc_sched_pressure(body.sched, body.now_ns, 0, true);
	submit(0, add(&spec)); /* 8 GiB are free on 0, 4 on 1 */
	expect("spawn 1 'a' on 1\n");
	cancel(0);
}

/* ---- adoption, estimates ---- */

static int adopt(struct pc_sched_model *model, unsigned device, uint64_t bytes, uint64_t *ret_id)
{
	pc_error_clear(&body.last_error);
	return pc_sched_adopt(body.sched, body.now_ns, model, device, bytes, true, ret_id,
			      &body.last_error);
}

static void a_worker_that_is_there_is_adopted_and_serves(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_next_worker_id(body.sched), 1);
	assert_int_equal(adopt(a, 0, 3 * GIB, &id), 0);
	assert_int_equal(id, 1);
	assert_int_equal(pc_sched_next_worker_id(body.sched), 2);
	assert_int_equal(reserved(0), 3 * GIB);
	submit(0, a);
	expect("grant t0 1\n");
	release(0);
}

static void a_worker_that_is_taken_in_is_ready_when_its_body_says_so(void **state)
{
	struct pc_sched_model_spec spec = spec_of("a", GIB);
	struct pc_sched_model_view view;
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	(void)state;
	spec.max_workers = 8;
	spec.self_service = true;

	struct pc_sched_model *a = add(&spec);

	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, true, &id, &err),
			 PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, false, &id, &err), 0);
	assert_int_equal(id, 1);
	pc_sched_get_model(a, &view);
	assert_int_equal(view.spawning, 1);
	submit(0, a); /* waits for it, instead of for another */
	expect("");
	ready(1);
	served(0);
	expect("");
}

/* What a daemon finds that was killed while a worker loaded. */
static void a_worker_that_is_taken_in_while_it_loads_is_waited_for(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 0;

	(void)state;
	assert_int_equal(pc_sched_adopt(body.sched, body.now_ns, a, 0, GIB, false, &id, NULL), 0);
	assert_int_equal(reserved(0), GIB);
	submit(0, a);
	expect("");
	ready(1);
	expect("grant t0 1\n");
	release(0);
}

static void an_adoption_that_cannot_be_is_refused_with_the_reason(void **state)
{
	struct pc_sched_model *a = add_simple("a", GIB);
	uint64_t id = 77;

	(void)state;
	assert_int_equal(pc_sched_adopt(body.sched, 0, NULL, 0, GIB, true, &id, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt(a, 0, GIB, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt(a, 1, GIB, &id), PC_E_INVALID_ARGUMENT);
	assert_int_equal(adopt(a, 0, 0, &id), PC_E_INVALID_ARGUMENT);
	for (unsigned nth = 1; nth <= 2; nth++) { /* the model's cause, the worker */
		fail_alloc_begin_once(nth);
		assert_int_equal(adopt(a, 0, GIB, &id), PC_E_OUT_OF_MEMORY);
		fail_alloc_end();
	}
	assert_int_equal(adopt(a, 0, 9 * GIB, &id), PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(body.last_error.message,
			    "model 'a' needs 9 GiB on cpu: 8 GiB of 8 GiB budget free");
	assert_int_equal(id, 77);
	assert_int_equal(reserved(0), 0);
	assert_int_equal(adopt(a, 0, GIB, &id), 0);
	assert_int_equal(adopt(a, 0, GIB, &id), PC_E_NO_WORKERS);
	assert_string_equal(body.last_error.message,
			    "'a' has all of the 1 workers that it may have");
	body.next_ns = pc_sched_drain(body.sched, body.now_ns, body.now_ns + SEC);
	assert_int_equal(adopt(a, 0, GIB, &id), PC_E_SHUTTING_DOWN);
	expect("stop 1 shutdown\n");
}

static void an_estimate_is_what_the_next_worker_needs(void **state)
{
	struct pc_sched_model *a = add_simple("a", 9 * GIB);

	(void)state;
	pc_sched_set_estimate(a, 2 * GIB);
	pc_sched_set_estimate(a, 0); /* says nothing */
	submit(0, a);
	expect("spawn 1 'a' on 0\n");
	assert_int_equal(reserved(0), 2 * GIB);
	cancel(0);
}

/* ---- forecasts ---- */

static struct pc_sched_forecast foresee(struct pc_sched_model *model)
{
	struct pc_ticket probe = { .model = model };
	struct pc_sched_forecast forecast;

	pc_sched_explain(body.sched, body.now_ns, &probe, &forecast);
	return forecast;
}

#define foreseen(model, expected_kind, expected_text) \
	do { \
		struct pc_sched_forecast forecast_ = foresee(model); \
		assert_int_equal(forecast_.kind, expected_kind); \
		assert_string_equal(forecast_.text, expected_text); \
	} while (0)

static void a_forecast_says_what_would_become_of_a_request(void **state)
{
	struct pc_sched_model *a = add_simple("a", 6 * GIB), *b = add_simple("b", 6 * GIB);
	struct pc_sched_model *huge = add_simple("huge", 9 * GIB);

	(void)state;
	foreseen(NULL, PC_FORECAST_REFUSED, "refused: a request must name its model");
	foreseen(huge, PC_FORECAST_REFUSED,
		 "refused: model 'huge' needs 9 GiB on cpu: 8 GiB of 8 GiB budget free");
	foreseen(a, PC_FORECAST_LOADED, "'a' is loaded into 6 GiB of free memory");
	submit(0, a);
	foreseen(a, PC_FORECAST_QUEUED,
		 "waits behind 1 request for a worker of 'a': 0 ready, 1 loading");
	foreseen(b, PC_FORECAST_WAITS,
		 "waits for memory: model 'b' needs 6 GiB on cpu: 2 GiB of 8 GiB budget free; held "
		 "by 'a' (1 worker, 6 GiB)");
	ready(1);
	release(0);
	foreseen(a, PC_FORECAST_GRANTED, "gets a free slot of 'a' at once");
	foreseen(b, PC_FORECAST_WAITS, /* 'a' is too young to go */
		 "waits for memory: model 'b' needs 6 GiB on cpu: 2 GiB of 8 GiB budget free; held "
		 "by 'a' (1 worker, 6 GiB)");
	pass(10 * SEC);
	foreseen(b, PC_FORECAST_LOADED, "'b' is loaded after 1 idle worker has gone: 'a'");
	assert_int_equal(foresee(b).evicted, 1);
	body.log[0] = '\0';
	submit(1, b);
	expect("stop 1 evicted\n");
	foreseen(b, PC_FORECAST_LOADED,
		 "'b' is loaded as soon as workers that are stopping have left 6 GiB");
	cancel(1);
	gone(1);
	submit(1, a);
	failed(2, PC_E_MODEL_FILE_MISSING, "the file is gone");
	gone(2);
	assert_int_equal(foresee(a).kind, PC_FORECAST_WAITS);
	assert_non_null(strstr(foresee(a).text, "is tried again then; last: the file is gone"));
}

static void long_keys_are_cut_between_characters(void **state)
{
	char key[256] = "k"; /* one byte, then two a character: 80 bytes end inside of one */

	(void)state;
	for (size_t i = 0; i < 127; i++)
		memcpy(key + 1 + 2 * i, "\xc3\xa4", 3);

	struct pc_sched_model *a = add_simple(key, 6 * GIB), *b = add_simple("b", 6 * GIB);

	submit(0, a);
	ready(1);
	release(0);
	pass(10 * SEC);

	struct pc_sched_forecast forecast = foresee(b);

	assert_int_equal(forecast.evicted, 1);
	assert_int_equal(pc__utf8_valid_prefix(forecast.text, strlen(forecast.text)),
			 strlen(forecast.text));
	assert_true(strlen(forecast.text) < 200);
	body.log[0] = '\0';
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(nothing_is_loaded_before_a_request),
		scenario(one_request_loads_waits_and_is_granted),
		scenario(thirty_two_first_requests_make_one_cold_start),
		scenario(a_waiting_request_grows_the_model_one_at_a_time),
		scenario(further_warm_workers_start_where_they_fit),
		scenario(the_emptiest_device_that_fits_is_chosen),
		scenario(a_reservation_returns_when_the_worker_is_gone_and_not_before),
		scenario(what_a_worker_measures_replaces_its_reservation),
		scenario(nobody_measures_more_than_the_device_has),
		scenario(a_model_that_can_never_fit_is_refused_at_once),
		scenario(what_does_not_fit_now_waits_and_says_who_holds_the_rest),
		scenario(room_is_made_by_the_least_recently_used_idle_worker),
		scenario(a_young_worker_is_spared_until_somebody_waited_long),
		scenario(a_leased_or_pinned_worker_is_never_evicted),
		scenario(no_more_is_evicted_than_is_needed),
		scenario(what_an_idle_worker_has_grown_by_is_room_too),
		scenario(a_floor_keeps_the_most_recently_used),
		scenario(room_made_for_one_is_not_taken_by_another),
		scenario(the_small_overtake_the_large_for_a_while_only),
		scenario(the_earliest_deadline_goes_first_and_interactive_before_batch),
		scenario(an_aged_batch_request_goes_before_a_new_interactive_one),
		scenario(a_full_queue_refuses_and_says_when_to_come_back),
		scenario(a_cancelled_request_leaves_its_place_to_the_next),
		scenario(the_most_recently_used_of_the_least_loaded_is_chosen),
		scenario(a_conversation_returns_to_its_worker),
		scenario(idle_workers_go_one_per_interval_down_to_the_minimum),
		scenario(a_model_in_use_does_not_cool_down),
		scenario(a_ttl_of_zero_stops_after_the_last_lease),
		scenario(a_failed_load_backs_off_and_then_tries_again),
		scenario(a_request_that_ends_in_back_off_is_told_the_cause),
		scenario(five_failures_open_the_breaker_and_a_probe_closes_it),
		scenario(the_probe_is_one_worker_however_many_a_cold_start_has),
		scenario(growth_that_fails_backs_off_though_another_worker_answers),
		scenario(a_worker_that_dies_is_not_granted_again),
		scenario(a_timeout_says_how_many_are_busy_and_ahead),
		scenario(a_timeout_while_loading_says_so),
		scenario(a_worker_that_never_gets_ready_is_given_up),
		scenario(a_deadline_that_has_passed_is_refused),
		scenario(a_lowered_limit_stops_idle_workers),
		scenario(a_limit_that_becomes_too_low_refuses_who_waits_for_it),
		scenario(an_estimate_that_changes_takes_back_what_was_promised),
		scenario(what_grows_does_not_become_impatient_while_all_is_tight),
		scenario(a_drain_finishes_what_it_has_and_refuses_the_rest),
		scenario(a_drain_stops_what_loads_for_a_request_that_gave_up),
		scenario(a_drain_that_is_over_rejects_and_forces),
		scenario(an_operator_loads_and_stops),
		scenario(a_load_that_does_not_fit_says_so),
		scenario(a_load_is_where_it_was_wanted_or_refused),
		scenario(room_is_made_where_it_was_wanted),
		scenario(a_request_frees_a_load_from_its_device),
		scenario(a_load_does_not_choose_for_those_who_wait),
		scenario(a_wrong_spec_is_refused_by_field),
		scenario(a_wrong_driver_or_setting_is_refused),
		scenario(a_request_without_a_model_is_rejected),
		scenario(models_are_found_by_key),
		scenario(no_function_takes_nothing_for_a_model),
		scenario(views_show_the_state_of_every_worker),
		scenario(models_are_shown_in_the_order_of_registration),
		scenario(every_allocation_may_fail_at_birth),
		scenario(a_spawn_that_cannot_be_recorded_is_made_up_for),
		scenario(two_brains_share_a_ledger),
		scenario(a_body_that_hands_out_slots_needs_all_three_questions),
		scenario(the_brain_keeps_the_queue_and_the_body_the_slots),
		scenario(a_model_grows_only_by_what_its_body_cannot_serve),
		scenario(who_was_about_to_be_served_and_was_not_is_looked_at_again),
		scenario(a_leased_worker_is_wanted_and_told_about_when_it_idles),
		scenario(what_is_recalled_in_vain_is_resumed),
		scenario(nobody_is_evicted_whom_somebody_is_about_to_lease),
		scenario(a_time_after_the_event_is_no_long_idleness),
		scenario(a_leased_worker_that_is_stopped_is_not_waited_for),
		scenario(a_worker_is_recycled_after_its_requests_one_at_a_time),
		scenario(a_worker_that_grew_is_recycled_and_the_next_begins_small),
		scenario(the_growth_of_an_idle_worker_counts_when_room_is_made),
		scenario(a_tight_device_loses_one_idle_worker_a_call_and_nothing_grows),
		scenario(a_first_worker_rather_goes_where_memory_is_not_tight),
		scenario(a_worker_that_is_there_is_adopted_and_serves),
		scenario(a_worker_that_is_taken_in_while_it_loads_is_waited_for),
		scenario(a_worker_that_is_taken_in_is_ready_when_its_body_says_so),
		scenario(an_adoption_that_cannot_be_is_refused_with_the_reason),
		scenario(an_estimate_is_what_the_next_worker_needs),
		scenario(a_forecast_says_what_would_become_of_a_request),
		scenario(long_keys_are_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
