/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - forecasts, held against what then happens. Whether a request is granted, refused (and
 * in which words) or waits (and behind how many) is foreseen exactly, always; what is loaded and
 * who is evicted for it, as long as nobody else is about to do such things in the same moment.
 */
#include <inttypes.h>
#include <string.h>

#include "sim.h"

/* The order note of queue.c, by its letter. */
static uint64_t due_ns(const struct world *world, const struct fake_ticket *ticket)
{
	const struct pc_sched_settings *settings = &world->script->settings;
	uint64_t due = ticket->submitted_ns + settings->request_timeout_ns;

	if (ticket->deadline_ns < due)
		due = ticket->deadline_ns;
	return due + (ticket->ticket.priority == PC_PRIORITY_BATCH ? settings->batch_ageing_ns : 0);
}

static uint32_t count_ahead(const struct world *world, const struct fake_ticket *ticket)
{
	uint32_t ahead = 0;

	for (unsigned i = 0; i < TICKETS_MAX; i++) {
		const struct fake_ticket *other = &world->tickets[i];

		ahead += other != ticket && other->state == T_WAITING &&
			 other->model == ticket->model &&
			 due_ns(world, other) <= due_ns(world, ticket);
	}
	return ahead;
}

/* Nobody else stands in line who might spawn or evict, and no device is over its budget. */
static bool is_alone(const struct world *world, unsigned model)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		const struct fake_model *other = &world->models[m];

		/* Who has workers may evict, when he has waited for long. */
		if (m != model && (other->waiting > 0 || other->load_asked) &&
		    sim_may_lack_a_worker(world, m) &&
		    (sim_live(other) == 0 ||
		     world->now_ns - other->asked_since_ns >= world->script->settings.max_wait_ns))
			return false;
	}
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (world->reserved[d] > world->budgets[d])
			return false;
	}
	return true;
}

void sim_foresee(struct world *world, const struct fake_ticket *ticket, struct oracle *oracle)
{
	struct pc_sched_forecast again;
	uint64_t now_ns = world->now_ns;

	*oracle = (struct oracle){ .asked = ticket->number % 2 == 0 };
	if (!oracle->asked)
		return;
	world->told_ns = now_ns;
	oracle->exact = is_alone(world, ticket->model);
	oracle->was_cold = sim_live(&world->models[ticket->model]) == 0;
	oracle->ahead = count_ahead(world, ticket);
	pc_sched_explain(world->sched, now_ns, &ticket->ticket, &oracle->forecast);
	pc_sched_explain(world->sched, now_ns, &ticket->ticket, &again);
	sim_check(world,
		  again.kind == oracle->forecast.kind && again.ahead == oracle->forecast.ahead &&
			  again.evicted == oracle->forecast.evicted &&
			  strcmp(again.text, oracle->forecast.text) == 0,
		  "forecast: asked twice it says two things");
	sim_check(world, again.text[0] != '\0', "forecast: it says nothing");
	world->no_barging = true; /* by the submission's own recalls, which nobody can foresee */
}

static void check_waits(struct world *world, const struct fake_ticket *ticket,
			const struct oracle *oracle)
{
	sim_check(world, ticket->state == T_WAITING && !ticket->rejected_with,
		  "forecast: submission %" PRIu64 " should wait", ticket->number);
	sim_check(world, oracle->forecast.ahead == oracle->ahead, "forecast: %u ahead, in truth %u",
		  oracle->forecast.ahead, oracle->ahead);
}

static void check_loading(struct world *world, const struct fake_ticket *ticket,
			  const struct oracle *oracle)
{
	const struct pc_sched_forecast *forecast = &oracle->forecast;
	bool into_free = strstr(forecast->text, "free memory");
	unsigned spawns = world->spawns[ticket->model];

	sim_check(world, oracle->was_cold, "forecast: a load, though workers are there");
	if (!oracle->exact)
		return;
	sim_check(world, world->evictions == forecast->evicted,
		  "forecast: %u workers to evict, in truth %u", forecast->evicted,
		  world->evictions);
	sim_check(world, into_free == (spawns > 0), "forecast: '%s', but %u were spawned",
		  forecast->text, spawns);
	world->coverage->foresaw_load += into_free;
	world->coverage->foresaw_eviction += forecast->evicted > 0;
	world->coverage->foresaw_coming += !into_free && forecast->evicted == 0;
}

void sim_check_forecast(struct world *world, const struct fake_ticket *ticket,
			const struct oracle *oracle)
{
	const struct pc_sched_forecast *forecast = &oracle->forecast;

	if (!oracle->asked)
		return;
	switch (forecast->kind) {
	case PC_FORECAST_GRANTED:
		sim_check(world, ticket->state == T_LEASED,
			  "forecast: submission %" PRIu64 " should be granted", ticket->number);
		world->coverage->foresaw_grant++;
		break;
	case PC_FORECAST_QUEUED:
		check_waits(world, ticket, oracle);
		sim_check(world, !oracle->was_cold, "forecast: queued, though no worker is there");
		world->coverage->foresaw_queue++;
		break;
	case PC_FORECAST_LOADED:
		check_waits(world, ticket, oracle);
		check_loading(world, ticket, oracle);
		break;
	case PC_FORECAST_WAITS:
		check_waits(world, ticket, oracle);
		sim_check(world, oracle->was_cold, "forecast: no worker, though one is there");
		sim_check(world,
			  !oracle->exact ||
				  (world->spawns[ticket->model] == 0 && world->evictions == 0),
			  "forecast: '%s', but something was done", forecast->text);
		world->coverage->foresaw_wait++;
		break;
	case PC_FORECAST_REFUSED:
		sim_check(world, ticket->rejected_with == forecast->err.code,
			  "forecast: submission %" PRIu64 " should be refused with %s, not %s",
			  ticket->number, pc_error_name(forecast->err.code),
			  pc_error_name(ticket->rejected_with));
		sim_check(world, strcmp(ticket->message, forecast->err.message) == 0,
			  "forecast: '%s', in truth '%s'", forecast->err.message, ticket->message);
		world->coverage->foresaw_refusal++;
		break;
	}
}

/* ---- what is kept for nobody ---- */

static bool wants_nothing(const struct world *world, unsigned m)
{
	const struct fake_model *model = &world->models[m];

	return model->waiting == 0 && !model->load_asked;
}

static bool is_sure_to_fit(const struct world *world, unsigned m)
{
	for (unsigned d = 0; d < world->script->device_count; d++) {
		if (sim_allows(world, m, d) &&
		    sim_free_bytes(world, d) >= world->models[m].need_bytes)
			return true;
	}
	return false;
}

void sim_check_nothing_is_kept(struct world *world)
{
	for (unsigned m = 0; m < world->script->model_count; m++) {
		if (!wants_nothing(world, m))
			return;
	}
	for (unsigned m = 0; m < world->script->model_count; m++) {
		const struct fake_model *model = &world->models[m];
		struct pc_ticket probe = { .model = model->handle };
		struct pc_sched_forecast forecast;

		if (model->retired || sim_live(model) > 0 ||
		    world->now_ns < model->maybe_spawn_after_ns || !is_sure_to_fit(world, m))
			continue;
		pc_sched_explain(world->sched, world->now_ns, &probe, &forecast);
		sim_check(world, world->draining || strstr(forecast.text, "free memory"),
			  "forecast: nobody wants memory, and yet '%s'", forecast.text);
	}
}
