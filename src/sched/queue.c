/* SPDX-License-Identifier: MIT */
/*
 * queue.c - tickets: who may wait, who is next, and which free slot the next one gets.
 *
 * It spawns nothing and stops nothing; place.c and worker.c do. Runs inside event functions only.
 *
 * The order note. One number says whose turn it is: a ticket is *due* at its deadline, though not
 * later than request_timeout after it came, and a batch ticket batch_ageing later than that. The
 * ticket that is due first goes first, ties in order of arrival. From this follow all promises of
 * rule 6 (invariant I5):
 *  - inside a class nobody is passed by one that came later and has no earlier deadline;
 *  - interactive goes before batch, until the batch ticket has waited batch_ageing longer
 *    (with a batch_ageing below request_timeout, an urgent batch ticket may go sooner);
 *  - nobody is passed for ever, because what is due later than a ticket cannot pass it, and all
 *    that comes request_timeout (and batch_ageing) after it is.
 */
#include "sched/brain.h"

static uint64_t due_ns(const struct pc_ticket *ticket, const struct pc_sched_settings *settings)
{
	uint64_t patience_ns = pc_time_add(ticket->brain.submitted_ns,
					   settings->request_timeout_ns);
	uint64_t due = ticket->brain.deadline_ns < patience_ns ? ticket->brain.deadline_ns
							       : patience_ns;

	return ticket->priority == PC_PRIORITY_BATCH ? pc_time_add(due, settings->batch_ageing_ns)
						     : due;
}

static void enqueue(struct pc_sched_model *model, struct pc_ticket *ticket)
{
	struct pc_sched *sched = model->sched;
	uint64_t sequence = ++sched->last_sequence;

	ticket->brain.state = TICKET_WAITING;
	pc__set_insert(&model->queue, &ticket->brain.queue_place, due_ns(ticket, &sched->settings),
		       sequence);
	pc__set_insert(&sched->deadlines, &ticket->brain.deadline_place, ticket->brain.deadline_ns,
		       sequence);
}

void pc__withdraw(struct pc_ticket *ticket)
{
	struct pc_sched_model *model = ticket->model;

	assert(ticket->brain.state == TICKET_WAITING);
	ticket->brain.state = TICKET_OVER;
	pc__set_remove(&model->queue, &ticket->brain.queue_place);
	pc__set_remove(&model->sched->deadlines, &ticket->brain.deadline_place);
	/* Where the body hands out slots, a worker may be idle that was kept for those who waited. */
	if (model->spec.self_service && !model->queue.first)
		model->sched->room_changed |= model->sched->wanting.first || model->sched->pressed;
}

/* ---- rejecting ---- */

void pc__reject(struct pc_sched *sched, struct pc_ticket *ticket, const struct pc_error *err)
{
	assert(ticket->brain.state == TICKET_OVER); /* I2 */
	sched->counters.rejected++;
	sched->driver.reject(sched->driver_ctx, ticket, err);
}

void pc__time_out(struct pc_ticket *ticket)
{
	struct pc_sched *sched = ticket->model->sched;
	struct pc_error err = PC_ERROR_INIT;

	pc__explain_timeout(ticket, &err);
	pc__withdraw(ticket);
	sched->counters.timeouts++;
	pc__reject(sched, ticket, &err);
}

/* ---- granting ---- */

static struct affinity_entry *affinity_entry(const struct pc_sched *sched,
					     const struct pc_ticket *ticket)
{
	/* Fibonacci hashing; the model's number, because its address would make runs differ. */
	uint64_t hash = (ticket->affinity ^ ticket->model->by_order.key << 32) *
			UINT64_C(0x9e3779b97f4a7c15);

	return &sched->affinity[hash >> 52];
}

_Static_assert(AFFINITY_ENTRIES == 1 << 12, "affinity_entry takes the 12 highest bits");

/* Rule 7. The model has a free slot. */
static struct pc_sched_worker *choose_worker(const struct pc_sched_model *model,
					     const struct pc_ticket *ticket)
{
	if (ticket->affinity) {
		const struct affinity_entry *entry = affinity_entry(model->sched, ticket);
		struct pc_sched_worker *worker = entry->key == ticket->affinity
							 ? pc__find_worker(model->sched,
									   entry->worker_id)
							 : NULL;

		if (worker && worker->model == model && pc__linked(&worker->free_place))
			return worker;
	}
	return pc__container_of(model->free.first, struct pc_sched_worker, free_place);
}

static void grant(struct pc_sched_model *model, struct pc_ticket *ticket)
{
	struct pc_sched *sched = model->sched;
	struct pc_sched_worker *worker = choose_worker(model, ticket);

	assert(worker->state == WORKER_READY && worker->leases < model->spec.slots); /* I3 */
	assert(ticket->brain.state == TICKET_OVER);				     /* I2 */
	if (ticket->affinity) {
		*affinity_entry(sched, ticket) = (struct affinity_entry){ ticket->affinity,
									  worker->id };
	}
	ticket->brain.state = TICKET_GRANTED;
	ticket->brain.worker = worker;
	ticket->brain.granted_ns = sched->now_ns;
	worker->leases++;
	worker->last_used_ns = sched->now_ns;
	worker->last_use = ++sched->uses;
	model->leases++;
	sched->leases++;
	sched->counters.granted++;
	pc__file_worker(worker);
	sched->driver.grant(sched->driver_ctx, ticket, worker->id);
}

void pc__dispatch(struct pc_sched_model *model)
{
	while (model->queue.first && model->free.first) {
		struct pc_ticket *ticket = pc__container_of(model->queue.first, struct pc_ticket,
							    brain.queue_place);

		if (ticket->brain.deadline_ns <= model->sched->now_ns) {
			pc__time_out(ticket);
			continue;
		}
		pc__withdraw(ticket);
		grant(model, ticket);
	}
	assert(!model->queue.first || !model->free.first); /* I4 */
}

/* ---- admission ---- */

int pc__refuse(const struct pc_sched_model *model, const struct pc_ticket *ticket,
	       struct pc_error *err)
{
	const struct pc_sched *sched = model->sched;

	if (sched->draining) {
		pc__explain_shutdown(model, err);
	} else if (ticket->brain.deadline_ns <= sched->now_ns) {
		pc_error_set(err, PC_E_TIMEOUT,
			     "the deadline had passed when the request for '%s' came",
			     model->spec.key);
	} else if (pc__live_workers(model) == 0 && pc__is_breaker_open(model)) {
		pc__explain_backoff(model, err);
	} else if (pc__live_workers(model) == 0 && !pc__could_ever_fit(model)) {
		pc__explain_memory(model, err);
	} else if (pc__waiting(model) >= model->spec.queue_capacity) {
		pc__explain_queue_full(model, err);
	}
	return err->code;
}

void pc__stamp(const struct pc_sched *sched, struct pc_ticket *ticket)
{
	ticket->brain.submitted_ns = sched->now_ns;
	ticket->brain.deadline_ns = ticket->deadline_ns
					    ? ticket->deadline_ns
					    : pc_time_add(sched->now_ns,
							  sched->settings.request_timeout_ns);
}

uint32_t pc__count_ahead(const struct pc_sched_model *model, const struct pc_ticket *ticket)
{
	const struct pc_link *behind = pc__set_at_least(
		&model->queue, due_ns(ticket, &model->sched->settings), UINT64_MAX);

	return behind ? pc__set_rank(behind) : pc__set_count(&model->queue);
}

void pc__admit(struct pc_sched_model *model, struct pc_ticket *ticket)
{
	struct pc_sched *sched = model->sched;

	pc__stamp(sched, ticket);
	/* The usual case first: a slot is free, so nobody waits (I4) and nobody is passed (I5). */
	if (model->free.first && !sched->draining && ticket->brain.deadline_ns > sched->now_ns) {
		grant(model, ticket);
		return;
	}

	struct pc_error err = PC_ERROR_INIT;

	if (pc__refuse(model, ticket, &err)) {
		sched->counters.timeouts += err.code == PC_E_TIMEOUT;
		sched->counters.queue_full += err.code == PC_E_QUEUE_FULL;
		pc__reject(sched, ticket, &err);
		return;
	}
	enqueue(model, ticket);
}

/* ---- endings ---- */

void pc__return_lease(struct pc_ticket *ticket, enum pc_outcome outcome)
{
	struct pc_sched_worker *worker = ticket->brain.worker;
	struct pc_sched_model *model = worker->model;
	struct pc_sched *sched = model->sched;
	uint64_t lasted_ns = sched->now_ns - ticket->brain.granted_ns;

	assert(ticket->brain.state == TICKET_GRANTED);	 /* I2 */
	assert(worker->leases > 0 && model->leases > 0); /* I3 */
	ticket->brain.state = TICKET_OVER;
	ticket->brain.worker = NULL;
	worker->leases--;
	worker->served++;
	worker->last_used_ns = sched->now_ns;
	worker->last_use = ++sched->uses;
	model->leases--;
	model->last_busy_ns = sched->now_ns;
	model->lease_mean_ns = model->lease_mean_ns - model->lease_mean_ns / 8 + lasted_ns / 8;
	sched->leases--;
	if (outcome == PC_OUTCOME_OK || outcome == PC_OUTCOME_ERROR)
		pc__note_answer(worker);
	if (worker->state == WORKER_GONE) {
		if (worker->leases == 0)
			pc_free(worker);
	} else if (worker->state == WORKER_DRAINING && worker->leases == 0) {
		pc__retire(worker, worker->stop_reason, false);
	} else {
		pc__file_worker(worker);
		pc__worker_changed(worker, 0);
	}
}

void pc__reject_waiting(struct pc_sched_model *model, const struct pc_error *err)
{
	while (model->queue.first) {
		struct pc_ticket *ticket = pc__container_of(model->queue.first, struct pc_ticket,
							    brain.queue_place);

		pc__withdraw(ticket);
		pc__reject(model->sched, ticket, err);
	}
	pc__review_need(model);
}
