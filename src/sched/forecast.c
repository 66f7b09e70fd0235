/* SPDX-License-Identifier: MIT */
/*
 * forecast.c - what would become of a request that came now, for people who ask before they send
 * it. It asks the same predicates that decide (queue.c, device.h) and changes nothing; the
 * simulator holds every forecast against what then happens.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "sched/brain.h"
#include "sched/device.h"

/* ---- who would make room ---- */

/* What settle_room would do for a cold model that joined the line now. */
struct plan {
	bool fits;		    /* it would be spawned at once */
	bool coming;		    /* enough is on its way already */
	uint32_t victim_count;	    /* idle workers that would have to go; 0: that is no help */
	const char *victim_keys[3]; /* the models of the first of them */
};

/* Behind all who wait for their first worker; what is promised to those who grow does not bind. */
static const struct place behind_cold = { COLD, UINT64_MAX };

static bool fits_somewhere(const struct pc_sched_model *model, struct place place)
{
	for (unsigned d = 0; d < model->sched->device_count; d++) {
		if (pc__is_allowed(model, d) &&
		    pc__free_for(model->sched, d, place) >= model->need_bytes)
			return true;
	}
	return false;
}

static void plan_eviction(struct pc_sched *sched, const uint64_t lacking[PC_DEVICE_MAX],
			  struct plan *plan)
{
	enum victim_kind kind = sched->settings.max_wait_ns > 0 ? VICTIM_RESIDENT : VICTIM_ANY;
	struct pc__victims victims = pc__choose_victims(sched, kind, lacking);

	plan->victim_count = victims.count;
	for (const struct pc_sched_worker *worker = victims.list; worker;
	     worker = worker->next_victim) {
		victims.count--;
		if (victims.count < PC_ARRAY_LEN(plan->victim_keys))
			plan->victim_keys[victims.count] = worker->model->spec.key;
	}
}

static struct plan plan_room(struct pc_sched_model *model)
{
	struct pc_sched *sched = model->sched;
	struct plan plan = { .coming = model->room_is_coming };
	struct place place = behind_cold;
	uint64_t lacking[PC_DEVICE_MAX];

	if (pc__linked(&model->by_want) && pc__is_asked_for(model)) {
		/* What could be done for it has been done. */
		if (model->line_mask == model->spec.device_mask)
			return plan;
		/* An operator has chosen among its devices, which binds no request: see stand. */
		place = pc__place_of(model);
	}
	plan = (struct plan){ .fits = fits_somewhere(model, place) };
	for (unsigned d = 0; d < sched->device_count; d++) {
		bool may = pc__is_allowed(model, d) && pc__budget_of(sched, d) >= model->need_bytes;

		lacking[d] = may ? pc__less(model->need_bytes, pc__coming_for(sched, d, place)) : 0;
		plan.coming |= may && lacking[d] == 0 && !plan.fits;
	}
	if (!plan.fits && !plan.coming)
		plan_eviction(sched, lacking, &plan);
	return plan;
}

/* ---- sentences ---- */

PC_PRINTF(2, 3)
static void say(struct pc_sched_forecast *forecast, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(forecast->text, sizeof(forecast->text), fmt, args);
	va_end(args);
	forecast->text[pc__utf8_cut(forecast->text, strlen(forecast->text))] = '\0';
}

static void foresee_refusal(struct pc_sched_forecast *forecast)
{
	forecast->kind = PC_FORECAST_REFUSED;
	say(forecast, "refused: %s", forecast->err.message);
}

static void foresee_queue(const struct pc_sched_model *model, struct pc_sched_forecast *forecast)
{
	uint32_t loading = model->in_state[WORKER_SPAWNING], ready = model->in_state[WORKER_READY];

	forecast->kind = PC_FORECAST_QUEUED;
	say(forecast, "waits behind %u request%s for a worker of '%s': %u ready, %u loading",
	    forecast->ahead, forecast->ahead == 1 ? "" : "s", model->spec.key, ready, loading);
}

static void foresee_backoff(const struct pc_sched_model *model, struct pc_sched_forecast *forecast)
{
	char left[32];

	forecast->kind = PC_FORECAST_WAITS;
	say(forecast, "waits %s, for '%s' failed to load and is tried again then; last: %s",
	    pc_format_duration(model->retry_ns - model->sched->now_ns, left), model->spec.key,
	    model->failure->message);
}

/* "'a', 'b' and 2 more" */
static void name_victims(const struct plan *plan, char *out, size_t size)
{
	enum { KEY_SHOWN = 80 };
	size_t length = 0;
	uint32_t named = 0;

	out[0] = '\0';
	while (named < plan->victim_count && named < PC_ARRAY_LEN(plan->victim_keys)) {
		const char *key = plan->victim_keys[named];
		size_t key_length;

		assert(key); /* as many are listed as were counted */
		key_length = strlen(key);
		if (key_length > KEY_SHOWN)
			key_length = pc__utf8_cut(key, KEY_SHOWN);
		length += (size_t)snprintf(out + length, size - length, "%s'%.*s'",
					   named++ ? ", " : "", (int)key_length, key);
	}
	if (named < plan->victim_count)
		snprintf(out + length, size - length, " and %u more", plan->victim_count - named);
}

static void foresee_loading(struct pc_sched_model *model, struct pc_sched_forecast *forecast)
{
	struct plan plan = plan_room(model);
	char needed[32], victims[300];

	pc_format_size(model->need_bytes, needed);
	forecast->evicted = plan.victim_count;
	forecast->kind = PC_FORECAST_LOADED;
	if (plan.fits) {
		say(forecast, "'%s' is loaded into %s of free memory", model->spec.key, needed);
	} else if (plan.coming) {
		say(forecast, "'%s' is loaded as soon as workers that are stopping have left %s",
		    model->spec.key, needed);
	} else if (plan.victim_count > 0) {
		name_victims(&plan, victims, sizeof(victims));
		say(forecast, "'%s' is loaded after %u idle worker%s: %s", model->spec.key,
		    plan.victim_count, plan.victim_count == 1 ? " has gone" : "s have gone",
		    victims);
	} else {
		struct pc_error why = PC_ERROR_INIT;

		pc__explain_memory(model, &why);
		forecast->kind = PC_FORECAST_WAITS;
		say(forecast, "waits for memory: %s", why.message);
	}
}

static void foresee(struct pc_sched_model *model, const struct pc_ticket *ticket,
		    struct pc_sched_forecast *forecast)
{
	if (model->free.first && !model->sched->draining &&
	    ticket->brain.deadline_ns > model->sched->now_ns) {
		forecast->kind = PC_FORECAST_GRANTED;
		say(forecast, "gets a free slot of '%s' at once", model->spec.key);
		return;
	}
	if (pc__refuse(model, ticket, &forecast->err)) {
		foresee_refusal(forecast);
		return;
	}
	forecast->ahead = pc__count_ahead(model, ticket);
	if (pc__live_workers(model) > 0)
		foresee_queue(model, forecast);
	else if (pc__is_backing_off(model))
		foresee_backoff(model, forecast);
	else
		foresee_loading(model, forecast);
}

void pc_sched_explain(struct pc_sched *sched, uint64_t now_ns, const struct pc_ticket *ticket,
		      struct pc_sched_forecast *ret_forecast)
{
	struct pc_ticket probe = { .model = ticket->model,
				   .priority = ticket->priority,
				   .deadline_ns = ticket->deadline_ns };

	if (now_ns > sched->now_ns)
		sched->now_ns = now_ns;
	*ret_forecast = (struct pc_sched_forecast){ .kind = PC_FORECAST_REFUSED };
	if (!ticket->model) {
		pc_error_set(&ret_forecast->err, PC_E_INVALID_ARGUMENT,
			     "a request must name its model");
		foresee_refusal(ret_forecast);
		return;
	}
	pc__stamp(sched, &probe);
	assert(!sched->inside && "an action asked for a forecast");
	sched->inside = true; /* look must not call back either */
	sched->event++;
	pc__let_settle(sched);
	foresee(ticket->model, &probe, ret_forecast);
	sched->inside = false;
}
