/* SPDX-License-Identifier: MIT */
/*
 * explain.c - the sentences of refusals: what was asked, what was free, who holds the rest.
 *
 * It only reads. The sentences are for people; the same facts stand in the details for machines.
 */
#include <assert.h>
#include <stdio.h>

#include "base/text.h"
#include "sched/brain.h"

enum { HOLDERS_SHOWN = 3 };

/* "'a' (2 workers, 4 GiB), 'b' (1 worker, 1 GiB) and 3 more", or "" when nobody holds anything. */
static void name_holders(const struct pc_sched *sched, unsigned device, char *out, size_t size)
{
	const struct pc__set *holders = &sched->devices[device].holders;
	const struct pc_link *link = holders->first;
	size_t length = 0;
	char amount[32];

	out[0] = '\0';
	for (unsigned i = 0; i < HOLDERS_SHOWN && link && length < size; i++) {
		const struct holding *holding = pc__container_of(link, struct holding, by_size);

		length += (size_t)snprintf(out + length, size - length, "%s'%s' (%u worker%s, %s)",
					   i ? ", " : "", holding->model->spec.key,
					   holding->workers, holding->workers == 1 ? "" : "s",
					   pc_format_size(holding->bytes, amount));
		link = pc__set_next(link);
	}
	if (link && length < size)
		snprintf(out + length, size - length, " and %u more",
			 pc__set_count(holders) - HOLDERS_SHOWN);
	out[pc__utf8_cut(out, strlen(out))] = '\0'; /* long keys */
}

struct memory_facts {
	struct pc_device_account account;
	uint64_t needed_bytes;
	uint64_t free_bytes;
	char holders[PC_ERROR_MESSAGE_MAX / 2]; /* so that the sentence has room for the rest */
};

static void gather(const struct pc_sched *sched, unsigned device, uint64_t needed_bytes,
		   struct memory_facts *facts)
{
	facts->needed_bytes = needed_bytes;
	pc_ledger_account(sched->ledger, device, &facts->account);
	facts->free_bytes = facts->account.budget_bytes > facts->account.reserved_bytes
				    ? facts->account.budget_bytes - facts->account.reserved_bytes
				    : 0;
	name_holders(sched, device, facts->holders, sizeof(facts->holders));
}

/* "1.2 GiB on cpu: 300 MiB of 8 GiB budget free; held by 'a' (2 workers, 4 GiB)" */
static void describe(const struct memory_facts *facts, char *out, size_t size)
{
	char needed[32], unreserved[32], budget[32];

	snprintf(out, size, "%s on %s: %s of %s budget free%s%s",
		 pc_format_size(facts->needed_bytes, needed), facts->account.name,
		 pc_format_size(facts->free_bytes, unreserved),
		 pc_format_size(facts->account.budget_bytes, budget),
		 facts->holders[0] ? "; held by " : "", facts->holders);
}

static void detail_memory(const struct memory_facts *facts, struct pc_error *err)
{
	pc_error_detail(err, "needed_bytes", "%llu", (unsigned long long)facts->needed_bytes);
	pc_error_detail(err, "free_bytes", "%llu", (unsigned long long)facts->free_bytes);
	pc_error_detail(err, "budget_bytes", "%llu",
			(unsigned long long)facts->account.budget_bytes);
	pc_error_detail(err, "device", "%s", facts->account.name);
	pc_error_detail(err, "holders", "%s", facts->holders);
}

void pc__explain_device(const struct pc_sched_model *model, unsigned device, uint64_t needed_bytes,
			struct pc_error *err)
{
	struct memory_facts facts;
	char what[PC_ERROR_MESSAGE_MAX];

	gather(model->sched, device, needed_bytes, &facts);
	describe(&facts, what, sizeof(what));
	pc_error_set(err, PC_E_INSUFFICIENT_MEMORY, "model '%s' needs %s", model->spec.key, what);
	pc_error_detail(err, "model", "%s", model->spec.key);
	detail_memory(&facts, err);
}

void pc__explain_memory(const struct pc_sched_model *model, struct pc_error *err)
{
	pc__explain_device(model, pc__best_device(model), model->need_bytes, err);
}

/* ---- timeouts ---- */

/* "worker 7 has been loading for 29 s", or what comes before, or "". */
static void describe_loading(const struct pc_sched_model *model, char *out, size_t size)
{
	const struct pc_sched_worker *worker = pc__first_in_state(model, WORKER_SPAWNING);
	char age[32];

	out[0] = '\0';
	if (!worker)
		return;
	snprintf(out, size, "worker %llu has been %s for %s", (unsigned long long)worker->id,
		 worker->launched ? "loading" : "in preparation",
		 pc_format_duration(model->sched->now_ns - worker->spawned_ns, age));
}

void pc__explain_timeout(const struct pc_ticket *ticket, struct pc_error *err)
{
	const struct pc_sched_model *model = ticket->model;
	uint32_t ready = model->in_state[WORKER_READY];
	uint32_t ahead = pc__count_ahead(model, ticket);
	uint64_t waited_ns = ticket->brain.deadline_ns - ticket->brain.submitted_ns;
	const char *key = model->spec.key;
	char waited[32], loading[96];

	pc_format_duration(waited_ns, waited);
	describe_loading(model, loading, sizeof(loading));
	if (ready > 0) {
		pc_error_set(err, PC_E_TIMEOUT,
			     "timed out after %s acquiring a worker for '%s': %u of %u workers "
			     "busy, %u request%s ahead%s%s",
			     waited, key, ready, pc__live_workers(model), ahead,
			     ahead == 1 ? "" : "s", loading[0] ? ", " : "", loading);
	} else if (loading[0]) {
		pc_error_set(err, PC_E_TIMEOUT,
			     "timed out after %s acquiring a worker for '%s': %s", waited, key,
			     loading);
	} else if (pc__is_backing_off(model)) {
		pc_error_set(err, PC_E_TIMEOUT,
			     "timed out after %s acquiring a worker for '%s': in back-off after: "
			     "%s",
			     waited, key, model->failure->message);
	} else {
		struct memory_facts facts;
		char what[PC_ERROR_MESSAGE_MAX];

		gather(model->sched, pc__best_device(model), model->need_bytes, &facts);
		describe(&facts, what, sizeof(what));
		pc_error_set(err, PC_E_TIMEOUT,
			     "timed out after %s acquiring a worker for '%s': no worker fits: "
			     "needs %s",
			     waited, key, what);
		detail_memory(&facts, err);
	}
	pc_error_detail(err, "model", "%s", key);
	pc_error_detail(err, "waited_ms", "%llu", (unsigned long long)(waited_ns / PC_NS_PER_MS));
	pc_error_detail(err, "requests_ahead", "%u", ahead);
	pc_error_detail(err, "workers_busy", "%u", ready);
	pc_error_detail(err, "workers_loading", "%u", model->in_state[WORKER_SPAWNING]);
}

/* ---- the others ---- */

static void detail_retry(struct pc_error *err, uint64_t after_ns)
{
	uint64_t seconds = after_ns / PC_NS_PER_SEC + (after_ns % PC_NS_PER_SEC != 0);

	if (seconds < 1)
		seconds = 1;
	pc_error_detail(err, "retry_after_secs", "%llu", (unsigned long long)seconds);
}

void pc__explain_queue_full(const struct pc_sched_model *model, struct pc_error *err)
{
	uint32_t waiting = model->waiting, live = pc__live_workers(model);
	uint64_t slots = (uint64_t)(live ? live : 1) * model->spec.slots;

	assert(slots > 0 && waiting > 0); /* a spec without slots or queue is refused */

	/* When half of the queue has been served at the pace of late; a minute at most. */
	uint64_t after_ns = model->lease_mean_ns / slots < UINT64_MAX / waiting
				    ? model->lease_mean_ns / slots * waiting / 2
				    : 60 * PC_NS_PER_SEC;

	pc_error_set(err, PC_E_QUEUE_FULL,
		     "the queue of '%s' is full: %u of %u requests wait for %u worker%s",
		     model->spec.key, waiting, model->spec.queue_capacity, live,
		     live == 1 ? "" : "s");
	pc_error_detail(err, "model", "%s", model->spec.key);
	pc_error_detail(err, "waiting", "%u", waiting);
	pc_error_detail(err, "capacity", "%u", model->spec.queue_capacity);
	detail_retry(err, after_ns < 60 * PC_NS_PER_SEC ? after_ns : 60 * PC_NS_PER_SEC);
}

void pc__explain_backoff(const struct pc_sched_model *model, struct pc_error *err)
{
	uint64_t left_ns = model->retry_ns - model->sched->now_ns;
	char left[32];

	pc_error_set(err, PC_E_MODEL_BACKOFF,
		     "model '%s' failed %u time%s in a row and is tried again in %s; last: %s",
		     model->spec.key, model->failures_in_row,
		     model->failures_in_row == 1 ? "" : "s", pc_format_duration(left_ns, left),
		     model->failure->message);
	pc_error_detail(err, "model", "%s", model->spec.key);
	pc_error_detail(err, "failures_in_row", "%u", model->failures_in_row);
	pc_error_detail(err, "cause", "%s", pc_error_name(model->failure->code));
	detail_retry(err, left_ns);
}

void pc__explain_load_failure(const struct pc_sched_model *model, struct pc_error *err)
{
	*err = *model->failure;
	/* Whoever ended without a word while it loaded could not be started. */
	if (err->code == PC_E_WORKER_FAILED)
		err->code = PC_E_SPAWN_FAILED;
	pc_error_prefix(err, "loading '%s'", model->spec.key);
	pc_error_detail(err, "model", "%s", model->spec.key);
	detail_retry(err, model->retry_ns - model->sched->now_ns);
}

void pc__explain_overdue(const struct pc_sched_worker *worker, struct pc_error *err)
{
	const struct pc_sched_model_spec *spec = &worker->model->spec;
	char limit[32];

	pc_error_set(err, PC_E_SPAWN_FAILED, "worker %llu was not %s within %s",
		     (unsigned long long)worker->id, worker->launched ? "ready" : "launched",
		     pc_format_duration(worker->launched ? spec->start_timeout_ns
							 : spec->prepare_timeout_ns,
					limit));
	pc_error_detail(err, "worker_id", "%llu", (unsigned long long)worker->id);
}

void pc__explain_shutdown(const struct pc_sched_model *model, struct pc_error *err)
{
	pc_error_set(err, PC_E_SHUTTING_DOWN,
		     "the pool is shutting down and takes no request for '%s'", model->spec.key);
	pc_error_detail(err, "model", "%s", model->spec.key);
}

void pc__explain_retired(const struct pc_sched_model *model, struct pc_error *err)
{
	pc_error_set(err, PC_E_MODEL_NOT_FOUND, "the model '%s' is not served any more",
		     model->spec.key);
	pc_error_detail(err, "model", "%s", model->spec.key);
}
