/* SPDX-License-Identifier: MIT */
/*
 * How the work of each event function grows: links visited and questions asked, which do not depend
 * on the machine, in worlds of 100, 1,000 and 10,000 workers with ten times as many waiting
 * tickets. An event may cost a constant times the logarithm, once, and once more for each action
 * that it orders. The brain is compiled for this test with its steps counted (PC__COUNT_STEPS).
 */
#include <setjmp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poolcore/memory.h>
#include <poolcore/sched.h>

#define SEC PC_NS_PER_SEC

uint64_t pc__steps;

enum {
	WORKERS_MAX = 10000,
	TICKETS_MAX = 10 * WORKERS_MAX,
	MODELS_MAX = 2 * WORKERS_MAX,
	REPEATS = 40,
	EVICTIONS = 8, /* there are idle workers for so many */
	/* Of steps per level and action: about twice what the worst row needs. With self-service
	 * some events put as many as 8 models' bodies to the question. A walk takes thousands. */
	STEPS_PER_LEVEL = 25,
	STEPS_PER_LEVEL_SELF_SERVICE = 75,
};

static struct world {
	unsigned workers, tickets, models; /* as the shape has it */
	bool self_service;
	struct pc_ledger *ledger;
	struct pc_sched *sched;
	uint64_t now_ns;
	struct pc_sched_model *busy[MODELS_MAX], *idle[MODELS_MAX];
	struct pc_sched_model *cold, *large, *spare;
	struct pc_ticket waiting[TICKETS_MAX + WORKERS_MAX];
	unsigned waiting_count;
	struct pc_ticket *leased[WORKERS_MAX + 16];
	unsigned leased_count;
	uint64_t last_spawned, stopped[2];
	unsigned stops, evictions;
	uint64_t actions;
	uint64_t worst; /* steps per action of the row that is measured */
} world;

/* ---- the body: half of the models are in use, the others idle ---- */

static bool is_busy(uint64_t worker_id)
{
	return worker_id > world.workers / 2 && worker_id <= world.workers;
}

static void on_spawn(void *ctx, const struct pc_spawn_order *order)
{
	(void)ctx;
	world.actions++;
	world.last_spawned = order->worker_id;
}

static void on_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	(void)ctx, (void)why, (void)force;
	world.actions++;
	if (world.stops < 2)
		world.stopped[world.stops] = worker_id;
	world.stops++;
}

static void on_grant(void *ctx, struct pc_ticket *ticket, uint64_t worker_id)
{
	(void)ctx, (void)worker_id;
	world.actions++;
	world.leased[world.leased_count++] = ticket;
}

static void on_reject(void *ctx, struct pc_ticket *ticket, const struct pc_error *err)
{
	(void)ctx, (void)ticket, (void)err;
	world.actions++;
}

static void on_look(void *ctx, uint64_t worker_id, bool wanted, struct pc_worker_use *ret_use)
{
	(void)ctx, (void)wanted;
	pc__steps++;
	*ret_use = (struct pc_worker_use){ .leases = is_busy(worker_id) };
}

static bool on_recall(void *ctx, uint64_t worker_id)
{
	(void)ctx;
	return !is_busy(worker_id);
}

static void on_resume(void *ctx, uint64_t worker_id)
{
	(void)ctx, (void)worker_id;
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

/* ---- the world ---- */

static struct pc_sched_model_spec spec_of(const char *key, uint64_t bytes, uint32_t workers,
					  uint32_t max_workers)
{
	return (struct pc_sched_model_spec){
		.key = key,
		.device_mask = 3,
		.memory_bytes = bytes,
		.slots = 1,
		.max_workers = max_workers,
		.cold_start_workers = workers,
		.queue_capacity = UINT32_MAX,
		.idle_ttl_ns = 1000 * SEC,
		.start_timeout_ns = 1000000 * SEC,
		.prepare_timeout_ns = 1000000 * SEC,
		.self_service = world.self_service && bytes == 1,
	};
}

static struct pc_sched_model *add(const char *kind, unsigned number, uint64_t bytes,
				  uint32_t workers, uint32_t max_workers)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_sched_model *model = NULL;
	struct pc_sched_model_spec spec;
	char key[32];

	snprintf(key, sizeof(key), "%s-%u", kind, number);
	spec = spec_of(key, bytes, workers, max_workers);
	assert_int_equal(pc_sched_add_model(world.sched, &spec, &model, &err), 0);
	return model;
}

static void submit(struct pc_ticket *ticket, struct pc_sched_model *model, uint64_t deadline_ns)
{
	*ticket = (struct pc_ticket){ .model = model, .deadline_ns = deadline_ns };
	world.now_ns += 1000;
	pc_sched_submit(world.sched, world.now_ns, ticket);
}

static void end_lease(void)
{
	struct pc_ticket *ticket = world.leased[--world.leased_count];

	pc_sched_release(world.sched, world.now_ns, ticket, PC_OUTCOME_OK);
}

/* Workers 1 to n/2 idle and n/2 + 1 to n are leased; all that wait are for the latter's models. */
static void set_up(void)
{
	struct pc_sched_settings settings;
	struct pc_error err = PC_ERROR_INIT;
	unsigned each = world.workers / 2 / world.models, per_model = world.tickets / world.models;

	pc_sched_settings_init(&settings);
	settings.request_timeout_ns = settings.max_wait_ns = 1000000 * SEC;
	assert_int_equal(pc_ledger_create(&world.ledger, &err), 0);
	assert_int_equal(
		pc_ledger_add_device(world.ledger, "cpu", 2 * world.workers, world.workers, &err),
		0);
	assert_int_equal(pc_ledger_add_device(world.ledger, "gpu0", 1, 0, &err), 1);
	assert_int_equal(
		pc_sched_create(&settings, &driver, NULL, world.ledger, &world.sched, &err), 0);
	world.now_ns = 1000 * SEC;
	world.leased_count = world.waiting_count = 0;
	for (unsigned m = 0; m < world.models; m++) {
		struct pc_ticket *ticket = &world.waiting[m];

		world.idle[m] = add("idle", m, 1, each, each);
		submit(ticket, world.idle[m], 0);
		for (unsigned i = 0; i < each; i++)
			pc_sched_worker_ready(world.sched, world.now_ns, m * each + i + 1, 0);
		if (world.self_service)
			pc_sched_served(world.sched, world.now_ns, ticket);
		else
			end_lease();
	}
	for (unsigned m = 0; m < world.models; m++) {
		world.busy[m] = add("busy", m, 1, each, world.self_service ? 64 : 0);
		for (unsigned i = 0; i < per_model + (world.self_service ? 0 : each); i++)
			submit(&world.waiting[world.waiting_count++], world.busy[m], 0);
	}
	for (unsigned id = world.workers / 2 + 1; id <= world.workers; id++)
		pc_sched_worker_ready(world.sched, world.now_ns, id, 0);
	assert_int_equal(world.leased_count, world.self_service ? 0 : world.workers / 2);
	assert_int_equal(pc_sched_next_worker_id(world.sched), world.workers + 1);
	world.cold = add("cold", 0, 2, 1, 1);
	world.large = add("large", 0, 4 * world.workers, 1, 1);
	world.spare = add("spare", 0, 3, 1, 4);
	world.now_ns += 10 * SEC; /* residency */
	pc_sched_tick(world.sched, world.now_ns);
	/* Each worker that the body has leased since it was last looked at may cost one
	 * question. */
	pc_sched_explain(world.sched, world.now_ns, &(struct pc_ticket){ .model = world.cold },
			 &(struct pc_sched_forecast){ 0 });
}

static void tear_down(void)
{
	/* At its deadline everybody is told, at once. */
	pc_sched_drain(world.sched, world.now_ns, world.now_ns);
	while (world.leased_count > 0)
		end_lease();
	pc_sched_destroy(world.sched);
	pc_ledger_destroy(world.ledger);
}

/* ---- rows: each does its event once, and leaves the world about as it was ---- */

static void begin(void)
{
	pc__steps = 0;
	world.actions = 0;
}

static void end(void)
{
	uint64_t cost = pc__steps / (1 + world.actions);

	if (cost > world.worst)
		world.worst = cost;
}

#define measured(call) \
	do { \
		begin(); \
		(void)(call); \
		end(); \
	} while (0)

#define SCHED world.sched, world.now_ns

static unsigned chance(unsigned end)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(state >> 33) % end;
}

static struct pc_sched_model *some_busy(void)
{
	return world.busy[chance(world.models)];
}

static struct pc_sched_model *some_idle(void)
{
	return world.idle[chance(world.models)];
}

static uint64_t some_idle_worker(void)
{
	return 1 + chance(world.workers / 2);
}

static struct pc_ticket probe;

static void submits_and_waits(void)
{
	probe = (struct pc_ticket){ .model = some_busy(),
				    .deadline_ns = world.now_ns + chance(1000) * SEC + 1 };
	measured(pc_sched_submit(SCHED, &probe));
	pc_sched_cancel(SCHED, &probe);
}

static void cancels(void)
{
	submit(&probe, some_busy(), world.now_ns + 1000 * SEC);
	measured(pc_sched_cancel(SCHED, &probe));
}

static void submits_in_vain(void)
{
	probe = (struct pc_ticket){ .model = world.large };
	measured(pc_sched_submit(SCHED, &probe));
}

static void is_served(void)
{
	struct pc_ticket *ticket = pc_sched_first_waiting(some_busy());

	if (!world.self_service)
		return;
	measured(pc_sched_served(SCHED, ticket));
	submit(ticket, ticket->model, 0);
}

static void releases(void)
{
	unsigned nth = world.self_service ? 0 : chance(world.leased_count);
	struct pc_ticket *ticket = world.leased[nth];

	if (world.self_service)
		return;
	world.leased[nth] = world.leased[--world.leased_count];
	measured(pc_sched_release(SCHED, ticket, PC_OUTCOME_OK));
	submit(ticket, ticket->model, 0);
}

static void uses_an_idle_worker(void)
{
	if (world.self_service)
		return;
	probe = (struct pc_ticket){ .model = some_idle() };
	measured(pc_sched_submit(SCHED, &probe));
	world.leased_count--;
	measured(pc_sched_release(SCHED, &probe, PC_OUTCOME_OK));
}

/* Two at first, later as many as those that grow have left no room for. */
static void the_stopped_go(void)
{
	assert_in_range(world.stops, world.evictions == 1 ? 2 : 0, 2);
	for (unsigned i = 0, stops = world.stops; i < stops; i++)
		measured(pc_sched_worker_gone(SCHED, world.stopped[i], NULL));
}

/* The whole way of a model that others must make room for; afterwards some that grow have the
 * room. */
static void loads_by_eviction(void)
{
	uint64_t id;

	if (world.evictions++ >= EVICTIONS)
		return;
	probe = (struct pc_ticket){ .model = world.cold };
	world.stops = 0;
	measured(pc_sched_submit(SCHED, &probe));
	the_stopped_go();
	id = world.last_spawned;
	assert_true(id > world.workers);
	measured(pc_sched_worker_launched(SCHED, id));
	measured(pc_sched_worker_ready(SCHED, id, 0));
	world.leased_count--;
	measured(pc_sched_release(SCHED, &probe, PC_OUTCOME_OK));
	measured(pc_sched_stop_worker(SCHED, id, true, NULL));
	measured(pc_sched_worker_gone(SCHED, id, NULL));
}

static void fails_to_load(void)
{
	struct pc_error cause = PC_ERROR_INIT;
	uint64_t id = 0;

	if (world.evictions++ >= EVICTIONS)
		return;
	world.stops = 0;
	measured(pc_sched_load(SCHED, world.cold, &id, NULL));
	the_stopped_go();
	id = world.last_spawned;
	pc_error_set(&cause, PC_E_WORKER_FAILED, "broken");
	measured(pc_sched_worker_failed(SCHED, id, &cause));
	measured(pc_sched_worker_gone(SCHED, id, NULL));
	world.now_ns += 100 * SEC; /* the back-off ends */
	measured(pc_sched_tick(SCHED));
}

static void changes(void)
{
	measured(pc_sched_worker_changed(SCHED, some_idle_worker(), 0));
}

static void adopts_and_stops(void)
{
	struct pc_error err = PC_ERROR_INIT;
	uint64_t id = 0;

	measured(pc_sched_adopt(SCHED, world.spare, 0, 3, true, &id, &err));
	assert_int_equal(err.code, PC_E_INSUFFICIENT_MEMORY);
}

static void loads_on_a_device(void)
{
	uint64_t id = 0;

	if (world.evictions++ >= EVICTIONS)
		return;
	world.stops = 0;
	measured(pc_sched_load_on(SCHED, world.cold, 1, &id, NULL));
	the_stopped_go();
	id = world.last_spawned;
	measured(pc_sched_load_on(SCHED, world.cold, 2, &id, NULL)); /* it is elsewhere */
	measured(pc_sched_stop_worker(SCHED, id, true, NULL));
	measured(pc_sched_worker_gone(SCHED, id, NULL));
	measured(pc_sched_load_on(SCHED, some_busy(), 2, &id, NULL));
	measured(pc_sched_load_on(SCHED, some_busy(), 1, &id, NULL));
}

static void adopts_what_loads(void)
{
	struct pc_device_account account;
	uint64_t id = 0;

	if (world.evictions++ >= EVICTIONS)
		return;
	/* Room that those who wait for it have not been told of. */
	pc_ledger_account(world.ledger, 0, &account);
	pc_ledger_set_budget(world.ledger, 0, account.budget_bytes + 1);
	measured(pc_sched_adopt(SCHED, some_busy(), 0, 1, false, &id, NULL));
	assert_true(id > world.workers);
	measured(pc_sched_worker_ready(SCHED, id, 0));
}

/* A model in line gets another spec: its own workers are visited, nobody else's. */
static void is_updated(void)
{
	unsigned nth = chance(world.models), each = world.workers / 2 / world.models;
	uint32_t max_workers = world.self_service ? 64 : 0;
	char key[32];

	snprintf(key, sizeof(key), "busy-%u", nth);

	struct pc_sched_model_spec spec = spec_of(key, 1, each, max_workers);

	spec.device_mask = 1 + 2 * chance(2);
	begin();
	assert_int_equal(pc_sched_update_model(SCHED, world.busy[nth], &spec, false, NULL), 0);
	world.actions += each;
	end();
	snprintf(key, sizeof(key), "cold-0");
	spec = spec_of(key, 2 + chance(2), 1, 1);
	spec.min_workers = chance(2);
	spec.pinned = chance(2);
	measured(pc_sched_update_model(SCHED, world.cold, &spec, true, NULL));
}

static void is_retired(void)
{
	unsigned nth = world.evictions++, each = world.workers / 2 / world.models;

	if (nth >= EVICTIONS || nth >= world.models)
		return;
	begin();
	pc_sched_retire_model(SCHED, world.idle[nth]);
	world.actions += each;
	end();
	begin();
	pc_sched_retire_model(SCHED, world.busy[nth]);
	world.actions += each;
	end();
}

static void is_maintained_otherwise(void)
{
	measured(pc_sched_set_maintenance(SCHED, (1 + chance(100)) * SEC, 60 * SEC, NULL));
	measured(pc_sched_set_owner(some_busy(), NULL));
}

static void is_pressed(void)
{
	if (world.evictions++ >= EVICTIONS)
		return;
	measured(pc_sched_pressure(SCHED, 0, true));
	measured(pc_sched_pressure(SCHED, 0, false));
}

static void a_limit_changes(void)
{
	if (world.evictions++ >= EVICTIONS)
		return;
	measured(pc_sched_limit_changed(SCHED, 0, world.workers - world.evictions));
	measured(pc_sched_limit_changed(SCHED, 1, 1));
	measured(pc_sched_limit_changed(SCHED, 1, 0));
}

static void looks_again(void)
{
	world.now_ns += SEC / 4;
	measured(pc_sched_tick(SCHED));
}

static void times_out(void)
{
	submit(&probe, some_busy(), world.now_ns + 2000);
	world.now_ns += 3000;
	measured(pc_sched_tick(SCHED));
}

static void cools_down(void)
{
	if (world.evictions++ >= EVICTIONS)
		return;
	world.now_ns += 1001 * SEC;
	measured(pc_sched_tick(SCHED));
}

static void explains(void)
{
	struct pc_sched_forecast forecast;

	probe = (struct pc_ticket){ .model = world.cold };
	measured(pc_sched_explain(SCHED, &probe, &forecast));
	probe.model = some_busy();
	measured(pc_sched_explain(SCHED, &probe, &forecast));
	probe.model = world.large;
	measured(pc_sched_explain(SCHED, &probe, &forecast));
}

static void is_estimated(void)
{
	measured(pc_sched_set_estimate(some_busy(), 1 + chance(3)));
	measured(pc_sched_tick(SCHED));
}

static void is_viewed(void)
{
	struct pc_sched_worker_view worker;
	struct pc_sched_model_view model;

	measured(pc_sched_get_worker(world.sched, some_idle_worker(), &worker));
	measured(pc_sched_get_model(some_busy(), &model));
	measured(pc_sched_first_waiting(some_busy()));
	measured(pc_sched_next_deadline(world.sched));
	measured(pc_sched_find_model(world.sched, "idle-0"));
}

static void drains(void)
{
	/* Once in its life each worker that is there may be visited. */
	begin();
	pc_sched_drain(SCHED, world.now_ns + 100 * SEC);
	world.actions += world.evictions++ == 0 ? world.workers : 0;
	end();
}

static const struct row {
	const char *name;
	void (*happens)(void);
} rows[] = {
	{ "submit that waits", submits_and_waits },
	{ "cancel", cancels },
	{ "submit that is refused", submits_in_vain },
	{ "served", is_served },
	{ "release", releases },
	{ "submit that is granted", uses_an_idle_worker },
	{ "worker_changed", changes },
	{ "adopt", adopts_and_stops },
	{ "tick that looks again", looks_again },
	{ "tick with a timeout", times_out },
	{ "explain", explains },
	{ "views", is_viewed },
	{ "set_estimate", is_estimated },
	{ "submit that evicts, worker_gone, worker_ready, stop_worker", loads_by_eviction },
	{ "load, worker_failed", fails_to_load },
	{ "load_on", loads_on_a_device },
	{ "adopt of one that loads", adopts_what_loads },
	{ "update_model", is_updated },
	{ "retire_model", is_retired },
	{ "set_maintenance, set_owner", is_maintained_otherwise },
	{ "pressure", is_pressed },
	{ "limit_changed", a_limit_changes },
	{ "tick that cools down", cools_down },
	{ "drain", drains },
};

static unsigned levels(void)
{
	return 32 - (unsigned)__builtin_clz(world.workers + world.tickets);
}

/* Each row in a world of its own. */
static void measure(const struct row *row)
{
	unsigned limit = levels() *
			 (world.self_service ? STEPS_PER_LEVEL_SELF_SERVICE : STEPS_PER_LEVEL);

	set_up();
	world.worst = 0;
	world.evictions = 0;
	for (int i = 0; i < REPEATS; i++)
		row->happens();
	print_message("%6u workers, %6u tickets, %5u models%s: %4" PRIu64 " steps: %s\n",
		      world.workers, world.tickets, 2 * world.models,
		      world.self_service ? ", self-service" : "", world.worst, row->name);
	if (world.worst > limit)
		fail_msg("%s: more than %u steps an action", row->name, limit);
	tear_down();
}

static void every_event_is_logarithmic(unsigned workers, unsigned models, bool self_service)
{
	world.workers = workers;
	world.tickets = 10 * workers;
	world.models = models;
	world.self_service = self_service;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++)
		measure(&rows[i]);
}

static void with_two_models(void **state)
{
	(void)state;
	for (unsigned workers = 100; workers <= WORKERS_MAX; workers *= 10)
		every_event_is_logarithmic(workers, 1, false);
}

static void with_a_model_for_each_worker(void **state)
{
	(void)state;
	for (unsigned workers = 100; workers <= WORKERS_MAX; workers *= 10)
		every_event_is_logarithmic(workers, workers / 2, false);
}

static void with_slots_that_the_body_hands_out(void **state)
{
	(void)state;
	for (unsigned workers = 100; workers <= WORKERS_MAX; workers *= 10)
		every_event_is_logarithmic(workers, workers / 20, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_two_models),
		cmocka_unit_test(with_a_model_for_each_worker),
		cmocka_unit_test(with_slots_that_the_body_hands_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
