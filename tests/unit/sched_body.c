/* SPDX-License-Identifier: MIT */
/* sched_body.c - the scripted body of sched_body.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sched_body.h"

struct sched_body body;

void note(const char *fmt, ...)
{
	size_t length = strlen(body.log);
	va_list args;

	va_start(args, fmt);
	vsnprintf(body.log + length, sizeof(body.log) - length, fmt, args);
	va_end(args);
}

/* ---- actions ---- */

static void on_spawn(void *ctx, const struct pc_spawn_order *order)
{
	(void)ctx;
	note("spawn %llu '%s' on %u\n", (unsigned long long)order->worker_id, order->model_key,
	     order->device);
	body.order_owner = order->model_owner;
	body.order_slots = order->slots;
}

static void on_stop(void *ctx, uint64_t worker_id, enum pc_stop_reason why, bool force)
{
	(void)ctx;
	note("stop %llu %s%s\n", (unsigned long long)worker_id, pc_stop_reason_text(why),
	     force ? ", by force" : "");
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

const struct pc_sched_driver driver = {
	.spawn = on_spawn,
	.stop = on_stop,
	.grant = on_grant,
	.reject = on_reject,
	.look = on_look,
	.recall = on_recall,
	.resume = on_resume,
};

/* ---- events ---- */

void submit_with(int ticket, struct pc_sched_model *model, enum pc_priority priority,
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

void submit(int ticket, struct pc_sched_model *model)
{
	submit_with(ticket, model, PC_PRIORITY_INTERACTIVE, 0, 0);
}

void release(int ticket)
{
	body.next_ns = pc_sched_release(body.sched, body.now_ns, &body.tickets[ticket],
					PC_OUTCOME_OK);
}

void cancel(int ticket)
{
	body.next_ns = pc_sched_cancel(body.sched, body.now_ns, &body.tickets[ticket]);
}

void served(int ticket)
{
	body.next_ns = pc_sched_served(body.sched, body.now_ns, &body.tickets[ticket]);
}

void ready(uint64_t worker)
{
	body.next_ns = pc_sched_worker_ready(body.sched, body.now_ns, worker, 0);
}

void changed(uint64_t worker, uint64_t bytes)
{
	body.next_ns = pc_sched_worker_changed(body.sched, body.now_ns, worker, bytes);
}

void failed(uint64_t worker, int code, const char *text)
{
	struct pc_error cause = PC_ERROR_INIT;

	pc_error_set(&cause, code, "%s", text);
	body.next_ns = pc_sched_worker_failed(body.sched, body.now_ns, worker, &cause);
}

void launched(uint64_t worker)
{
	body.next_ns = pc_sched_worker_launched(body.sched, body.now_ns, worker);
}

void gone(uint64_t worker)
{
	body.next_ns = pc_sched_worker_gone(body.sched, body.now_ns, worker, NULL);
}

void update(struct pc_sched_model *model, const struct pc_sched_model_spec *spec, bool relaunch)
{
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_sched_check_model(body.sched, spec, &err), 0);
	assert_int_equal(
		pc_sched_update_model(body.sched, body.now_ns, model, spec, relaunch, &err), 0);
}

void retire(struct pc_sched_model *model)
{
	pc_sched_retire_model(body.sched, body.now_ns, model);
}

void pass(uint64_t ns)
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

/* ---- models ---- */

struct pc_sched_model_spec spec_of(const char *key, uint64_t memory_bytes)
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

struct pc_sched_model_spec owned_spec_of(const char *key, uint64_t memory_bytes)
{
	struct pc_sched_model_spec spec = spec_of(key, memory_bytes);

	spec.owner = "first";
	spec.slots = 2;
	return spec;
}

struct pc_sched_model *add(const struct pc_sched_model_spec *spec)
{
	struct pc_sched_model *model = NULL;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_sched_add_model(body.sched, spec, &model, &err), 0);
	return model;
}

struct pc_sched_model *add_simple(const char *key, uint64_t memory_bytes)
{
	struct pc_sched_model_spec spec = spec_of(key, memory_bytes);

	return add(&spec);
}

struct pc_sched_model *serve_one(const struct pc_sched_model_spec *spec, bool leased)
{
	struct pc_sched_model *model = add(spec);

	submit(0, model);
	ready(1);
	if (!leased)
		release(0);
	body.log[0] = '\0';
	return model;
}

struct pc_sched_model_view view_of(const struct pc_sched_model *model)
{
	struct pc_sched_model_view view;

	pc_sched_get_model(model, &view);
	return view;
}

uint64_t reserved(unsigned device)
{
	struct pc_device_account account;

	pc_ledger_account(body.ledger, device, &account);
	return account.reserved_bytes;
}

/* ---- set-up ---- */

int sched_body_setup(void **state)
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

int sched_body_teardown(void **state)
{
	(void)state;
	pc_sched_destroy(body.sched);
	assert_int_equal(reserved(0), 0);
	assert_int_equal(reserved(1), 0);
	pc_ledger_destroy(body.ledger);
	return 0;
}
