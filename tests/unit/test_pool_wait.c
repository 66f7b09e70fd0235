/* SPDX-License-Identifier: MIT */
/* Tests of the in-process pool: waiting, its order and its ends; worker threads, tokens, done. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pool_fixture.h"

static struct gate gate;

static int close_gate(void **state)
{
	gate_close(&gate);
	return fixture_setup(state);
}

#define GATE_TEST(test) cmocka_unit_test_setup_teardown(test, close_gate, fixture_teardown)

/* One worker at most, which is the usual in these tests. */
static struct pc_model *single(struct pc_pool *pool, uint32_t slots)
{
	return model_make(pool, "m", &(struct pc_model_spec){ .slots = slots, .max_workers = 1 });
}

/* What runs is taken for long from now on: it goes to the workers' threads; or for short. */
static void make_runs(struct pc_model *model, uint64_t mean_ns)
{
	atomic_store(&atomic_load(&model->station)->usual_run_ns, mean_ns);
}

static void warm(struct pc_model *model)
{
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	pc_lease_release(&lease);
}

/* ---- deadlines ---- */

static void a_timeout_says_why(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	const struct pc_request_options soon = { .timeout_ms = 20 };
	struct pc_error err = PC_ERROR_INIT;
	struct work work = { .order = RUN_WELL };
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	assert_int_equal(pc_pool_call(model, &soon, work_run, &work, &err), PC_E_TIMEOUT);
	assert_string_equal(err.message, "timed out after 20 ms acquiring a worker for 'm': 1 of "
					 "1 workers busy, 0 requests ahead");
	make_runs(model, PC_NS_PER_SEC);
	assert_int_equal(pc_pool_call(model, &soon, work_run, &work, &err), PC_E_TIMEOUT);
	pc_error_clear(&err);
	assert_int_equal(pc_pool_submit(model, &soon, work_run, work_done, &work, &err), 0);
	AWAIT(work.dones == 1);
	assert_int_equal(work.err.code, PC_E_TIMEOUT);
	assert_int_equal(work.runs, 0);
	pc_lease_release(&lease);
	assert_int_equal(metrics_of(pool).total_timeouts, 3);
	assert_int_equal(metrics_of(pool).total_requests, 4);
	assert_int_equal(metrics_of(pool).total_errors, 0);
	pc_pool_destroy(pool);
}

static void a_timeout_while_loading_says_so(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct caller caller = { .options = { .timeout_ms = 60000 } };

	gate_close(&plans[0].load_gate);
	caller_start(&caller, model);
	AWAIT(plans[0].loading == 1 && metrics_of(pool).waiting == 1);
	pass_time(pool, 60000);
	assert_int_equal(caller_join(&caller), PC_E_TIMEOUT);
	assert_non_null(strstr(caller.err.message,
			       "timed out after 60 s acquiring a worker for 'm': worker 1 has been "
			       "loading for "));
	gate_open(&plans[0].load_gate);
	pc_pool_destroy(pool);
}

static void the_pools_timeout_is_for_the_wait_alone(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct caller runs = { .work.gate = &gate }, waits = { .work.order = RUN_WELL };

	warm(model);
	caller_start(&runs, model);
	AWAIT(runs.work.runs == 1);
	caller_start(&waits, model);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, 29000);
	assert_int_equal(metrics_of(pool).waiting, 1);
	pass_time(pool, 1001);
	assert_int_equal(caller_join(&waits), PC_E_TIMEOUT);
	gate_open(&gate);
	assert_int_equal(caller_join(&runs), 0);
	pc_pool_destroy(pool);
}

static void a_deadline_stops_a_run(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct caller caller = { .options = { .timeout_ms = 5 }, .work.order = RUN_ASKS };

	warm(model);
	caller_start(&caller, model);
	assert_int_equal(caller_join(&caller), PC_E_TIMEOUT);
	assert_string_equal(caller.err.message,
			    "the request for 'm' ran until its deadline and was stopped");
	assert_int_equal(metrics_of(pool).total_timeouts, 1);
	pc_pool_destroy(pool);
}

static void the_longest_timeouts_are_no_overflow(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	const uint64_t longest[] = { UINT64_MAX, PC_TIME_NEVER / PC_NS_PER_MS,
				     PC_TIME_NEVER / PC_NS_PER_MS + 1 };

	gate_close(&plans[0].load_gate);
	for (unsigned i = 0; i < 3; i++) {
		struct caller caller = { .options = { .timeout_ms = longest[i] } };

		caller_start(&caller, model);
		AWAIT(metrics_of(pool).waiting == 1);
		pass_time(pool, 1000);
		gate_open(&plans[0].load_gate);
		assert_int_equal(caller_join(&caller), 0);
		pc_pool_unload(model);
		gate_close(&plans[0].load_gate);
	}
	gate_open(&plans[0].load_gate);
	pc_pool_destroy(pool);
}

/* ---- the queue ---- */

static void a_full_queue_refuses(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = model_make(
		pool, "m", &(struct pc_model_spec){ .max_workers = 1, .queue_capacity = 2 });
	struct caller callers[2] = { 0 };
	struct work work = { .order = RUN_WELL };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	caller_start(&callers[0], model);
	caller_start(&callers[1], model);
	AWAIT(metrics_of(pool).waiting == 2);
	assert_int_equal(pc_pool_call(model, NULL, work_run, &work, &err), PC_E_QUEUE_FULL);
	assert_string_equal(err.message,
			    "the queue of 'm' is full: 2 of 2 requests wait for 1 worker");
	/* Accepted, and refused through `done`, before submit returns. */
	assert_int_equal(pc_pool_submit(model, NULL, work_run, work_done, &work, NULL), 0);
	assert_int_equal(work.dones, 1);
	assert_int_equal(work.err.code, PC_E_QUEUE_FULL);
	pc_lease_release(&lease);
	assert_int_equal(caller_join(&callers[0]), 0);
	assert_int_equal(caller_join(&callers[1]), 0);
	assert_int_equal(metrics_of(pool).total_errors, 2);
	pc_pool_destroy(pool);
}

/* Interactive before batch, and first come, first served inside a class. */
static void assert_order(struct pc_pool *pool, struct pc_model *model)
{
	struct work works[6];
	_Atomic unsigned turns = 0;
	const unsigned expected[] = { 3, 0, 4, 1, 5, 2 };
	struct pc_lease lease;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	memset(works, 0, sizeof(works));
	for (unsigned i = 0; i < 6; i++) {
		const struct pc_request_options options = {
			.priority = i % 2 ? PC_PRIORITY_INTERACTIVE : PC_PRIORITY_BATCH,
		};

		works[i].turn = &turns;
		assert_int_equal(
			pc_pool_submit(model, &options, work_run, work_done, &works[i], NULL), 0);
	}
	assert_int_equal(metrics_of(pool).waiting, 6);
	pc_lease_release(&lease);
	for (unsigned i = 0; i < 6; i++) {
		AWAIT(works[i].dones == 1);
		assert_int_equal(works[i].number, expected[i]);
		assert_false(pthread_equal(works[i].thread, pthread_self()));
	}
}

static void the_order_is_kept(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);

	assert_order(pool, single(pool, 1));
	pc_pool_destroy(pool);
}

static void the_first_in_line_is_handed_the_seat_when_it_is_due(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct caller caller = { .work.gate = &gate };
	struct pc_lease lease, other;

	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	make_runs(model, 0);
	caller_start(&caller, model);
	AWAIT(metrics_of(pool).waiting == 1);
	pass_time(pool, 1);
	/* It was passed for a millisecond: it is not for this thread to be faster. */
	pc_lease_release(&lease);
	assert_false(pc_lease_try_acquire(model, &other));
	AWAIT(caller.work.runs == 1);
	assert_true(pthread_equal(caller.work.thread, caller.thread));
	gate_open(&gate);
	assert_int_equal(caller_join(&caller), 0);
	pc_pool_destroy(pool);
}

static void nobody_sleeps_beside_a_free_seat(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 2);
	struct caller callers[8] = { 0 };
	struct pc_lease a, b;

	/* Both kinds of waiters, in turns. */
	for (unsigned round = 0; round < 50; round++) {
		assert_int_equal(pc_lease_acquire(model, NULL, &a, NULL), 0);
		assert_int_equal(pc_lease_acquire(model, NULL, &b, NULL), 0);
		for (unsigned i = 0; i < 8; i++) {
			make_runs(model, i % 2 ? 0 : PC_NS_PER_SEC);
			caller_start(&callers[i], model);
		}
		pc_lease_release(&a);
		pc_lease_release(&b);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(caller_join(&callers[i]), 0);
		assert_true(is_quiet(model));
	}
	pc_pool_destroy(pool);
}

static void long_runs_go_to_the_workers_threads(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 3);
	struct caller callers[9] = { 0 };
	struct pc_lease leases[3];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pc_lease_acquire(model, NULL, &leases[i], NULL), 0);
	make_runs(model, PC_NS_PER_SEC);
	for (unsigned i = 0; i < 9; i++)
		caller_start(&callers[i], model);
	AWAIT(metrics_of(pool).waiting == 9);
	for (unsigned i = 0; i < 3; i++)
		pc_lease_release(&leases[i]);
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(caller_join(&callers[i]), 0);
		assert_false(pthread_equal(callers[i].work.thread, callers[i].thread));
	}
	assert_true(is_quiet(model));
	pc_pool_destroy(pool);
}

/* ---- tokens ---- */

static void a_token_that_was_fired_refuses(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct pc_request_options options = { .timeout_ms = 0 };
	struct work work = { .order = RUN_WELL };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_lease lease;

	assert_int_equal(pc_cancel_create(&options.cancel, NULL), 0);
	assert_int_equal(pc_cancel_create(NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_false(pc_cancel_is_fired(options.cancel));
	pc_cancel_fire(options.cancel);
	pc_cancel_fire(options.cancel);
	pc_cancel_fire(NULL);
	assert_true(pc_cancel_is_fired(options.cancel));
	assert_int_equal(pc_pool_call(model, &options, work_run, &work, &err), PC_E_CANCELLED);
	assert_string_equal(err.message, "the request for 'm' was cancelled before it came");
	assert_int_equal(pc_lease_acquire(model, &options, &lease, NULL), PC_E_CANCELLED);
	assert_int_equal(pc_pool_submit(model, &options, work_run, work_done, &work, NULL),
			 PC_E_CANCELLED);
	assert_int_equal(work.runs + work.dones, 0);
	assert_int_equal(plans[0].loads, 0);
	assert_int_equal(metrics_of(pool).total_cancelled, 3);
	assert_int_equal(metrics_of(pool).total_requests, 3);
	pc_cancel_destroy(options.cancel);
	pc_cancel_destroy(NULL);
	pc_pool_destroy(pool);
}

static void a_token_ends_all_who_wait(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct caller callers[4] = { 0 };
	struct work work = { .order = RUN_WELL };
	struct pc_cancel *cancel;
	struct pc_lease lease;

	assert_int_equal(pc_cancel_create(&cancel, NULL), 0);
	assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		callers[i].options.cancel = cancel;
		make_runs(model, i % 2 ? 0 : PC_NS_PER_SEC);
		caller_start(&callers[i], model);
		AWAIT(metrics_of(pool).waiting == i + 1);
	}
	assert_int_equal(
		pc_pool_submit(model, &callers[0].options, work_run, work_done, &work, NULL), 0);
	pc_cancel_fire(cancel);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(caller_join(&callers[i]), PC_E_CANCELLED);
		assert_string_equal(callers[i].err.message,
				    "the request for 'm' was cancelled while it waited");
		assert_int_equal(callers[i].work.runs, 0);
	}
	AWAIT(work.dones == 1);
	assert_int_equal(work.err.code, PC_E_CANCELLED);
	assert_int_equal(metrics_of(pool).total_cancelled, 5);
	assert_int_equal(metrics_of(pool).waiting, 0);
	pc_lease_release(&lease);
	assert_true(is_quiet(model));
	pc_pool_destroy(pool);
	pc_cancel_destroy(cancel);
}

static void a_token_stops_who_runs(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 2);
	struct caller asks = { .work.order = RUN_ASKS }, waits = { .work.order = RUN_WAITS };
	struct pc_cancel *cancel;

	assert_int_equal(pc_cancel_create(&cancel, NULL), 0);
	asks.options.cancel = waits.options.cancel = cancel;
	warm(model);
	caller_start(&asks, model);
	AWAIT(asks.work.runs == 1);
	make_runs(model, PC_NS_PER_SEC);
	caller_start(&waits, model);
	AWAIT(waits.work.runs == 1);
	pc_cancel_fire(cancel);
	assert_int_equal(caller_join(&asks), PC_E_CANCELLED);
	assert_string_equal(asks.err.message, "the request for 'm' was cancelled while it ran");
	assert_int_equal(caller_join(&waits), PC_E_CANCELLED);
	assert_string_equal(waits.err.message, "the engine was asked to end it");
	assert_int_equal(plans[0].cancels, 2);
	assert_int_equal(metrics_of(pool).total_cancelled, 2);
	pc_pool_destroy(pool);
	pc_cancel_destroy(cancel);
}

struct firing {
	struct pc_cancel *cancel;
	struct gate *gate;
};

static void *fire(void *arg)
{
	struct firing *firing = arg;

	gate_pass(firing->gate);
	pc_cancel_fire(firing->cancel);
	return NULL;
}

/* A token that is fired while its calls come: each has one outcome, and nothing is left over. */
static void a_token_may_be_fired_at_any_moment(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);

	for (unsigned round = 0; round < 300; round++) {
		struct caller callers[2] = { 0 };
		struct work work = { .order = RUN_WELL };
		struct firing firing = { .gate = &gate };
		struct pc_lease lease = { .model = NULL };
		pthread_t thread;

		if (round % 2)
			assert_int_equal(pc_lease_acquire(model, NULL, &lease, NULL), 0);
		gate_close(&gate);
		assert_int_equal(pc_cancel_create(&firing.cancel, NULL), 0);
		assert_int_equal(pthread_create(&thread, NULL, fire, &firing), 0);
		AWAIT(gate.waiting == 1);
		callers[0].options.cancel = callers[1].options.cancel = firing.cancel;
		gate_open(&gate);
		caller_start(&callers[0], model);
		int rc = pc_pool_submit(model, &callers[0].options, work_run, work_done, &work,
					NULL);
		caller_start(&callers[1], model);
		if (lease.model)
			pc_lease_release(&lease);
		for (unsigned i = 0; i < 2; i++) {
			caller_join(&callers[i]);
			assert_true(callers[i].rc == 0 || callers[i].rc == PC_E_CANCELLED);
		}
		AWAIT(work.dones == (rc == 0));
		pthread_join(thread, NULL);
		pc_cancel_destroy(firing.cancel);
	}
	assert_int_equal(metrics_of(pool).waiting, 0);
	AWAIT(is_quiet(model));
	pc_pool_destroy(pool);
}

/* ---- done ---- */

struct chain {
	struct pc_model *model;
	struct work work;
	unsigned left;
	_Atomic bool ended;
};

static int run_link(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	return work_run(&((struct chain *)ctx)->work, run, err);
}

static void submit_next(void *ctx, const struct pc_error *err)
{
	struct chain *chain = ctx;

	assert_int_equal(err->code, 0);
	if (chain->left-- == 0) {
		chain->ended = true;
		return;
	}
	if (pc_pool_submit(chain->model, NULL, run_link, submit_next, chain, NULL))
		fault("a submit from done was refused");
}

static void done_may_submit_more(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct chain chain = { .model = single(pool, 1), .left = 100 };

	assert_int_equal(pc_pool_submit(chain.model, NULL, run_link, submit_next, &chain, NULL), 0);
	AWAIT(chain.ended);
	assert_int_equal(chain.work.runs, 101);
	pc_pool_destroy(pool);
}

static bool is_readable(const struct pc_completions *queue)
{
	struct pollfd fd = { .fd = pc_completions_fd(queue), .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

/* The context is the completion; what the run needs is beside it. */
struct posted {
	struct pc_completion completion; /* first: pc_completion_post takes the context */
	struct work work;
};

static int run_posted(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	return work_run(&((struct posted *)ctx)->work, run, err);
}

static void completions_come_through_a_descriptor(void **state)
{
	(void)state;
	struct pc_pool *pool = pool_make(1000, NULL);
	struct pc_model *model = single(pool, 1);
	struct posted posted[5] = { 0 };
	struct pc_completions *queue;
	unsigned seen = 0;

	assert_int_equal(pc_completions_create(NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_completions_create(&queue, NULL), 0);
	assert_false(is_readable(queue));
	assert_null(pc_completions_next(queue));
	for (unsigned i = 0; i < 5; i++) {
		posted[i].completion.queue = queue;
		posted[i].completion.user = &posted[i];
		posted[i].work.order = i == 4 ? RUN_FAILS : RUN_WELL;
		assert_int_equal(pc_pool_submit(model, NULL, run_posted, pc_completion_post,
						&posted[i].completion, NULL),
				 0);
	}
	while (seen < 5) {
		struct pollfd fd = { .fd = pc_completions_fd(queue), .events = POLLIN };
		struct pc_completion *next;

		assert_int_equal(poll(&fd, 1, -1), 1);
		next = pc_completions_next(queue);
		assert_ptr_equal(next->user, &posted[seen]);
		assert_int_equal(next->err.code, seen == 4 ? PC_E_MODEL_ERROR : 0);
		seen++;
	}
	assert_false(is_readable(queue));
	pc_completion_post(&posted[0].completion, &posted[0].completion.err);
	pc_completion_post(&posted[1].completion, &posted[1].completion.err);
	assert_ptr_equal(pc_completions_next(queue), &posted[0].completion);
	assert_true(is_readable(queue)); /* what is left keeps it so */
	assert_ptr_equal(pc_completions_next(queue), &posted[1].completion);
	assert_false(is_readable(queue));
	pc_pool_destroy(pool);
	pc_completions_destroy(queue);
	pc_completions_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GATE_TEST(a_timeout_says_why),
		GATE_TEST(a_timeout_while_loading_says_so),
		GATE_TEST(the_pools_timeout_is_for_the_wait_alone),
		GATE_TEST(a_deadline_stops_a_run),
		GATE_TEST(the_longest_timeouts_are_no_overflow),
		GATE_TEST(a_full_queue_refuses),
		GATE_TEST(the_order_is_kept),
		GATE_TEST(the_first_in_line_is_handed_the_seat_when_it_is_due),
		GATE_TEST(nobody_sleeps_beside_a_free_seat),
		GATE_TEST(long_runs_go_to_the_workers_threads),
		GATE_TEST(a_token_that_was_fired_refuses),
		GATE_TEST(a_token_ends_all_who_wait),
		GATE_TEST(a_token_stops_who_runs),
		GATE_TEST(a_token_may_be_fired_at_any_moment),
		GATE_TEST(done_may_submit_more),
		GATE_TEST(completions_come_through_a_descriptor),
	};

	return cmocka_run_group_tests_name("pool_wait", tests, NULL, NULL);
}
