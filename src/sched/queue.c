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
 *
 * The lane note. For most tickets the deadline is what they are due by, and a second set in order
 * of deadlines would only repeat the first one, at a cache miss per level: with 100,000 waiting
 * that was half of the time of an event. So a model's tickets wait in three lanes: interactive and
 * batch ones in the order of their deadlines, which is also the order of their turns; and in the
 * third lane, by turn, those whose deadline is later than their patience, which alone need a second
 * place, by deadline. Turns and deadlines are those of the firsts, and only the earliest deadline
 * of each model is known to the brain as a whole.
 */
#include "sched/brain.h"

static uint64_t patience_ns(const struct pc_ticket *ticket,
			    const struct pc_sched_settings *settings)
{
	return pc_time_add(ticket->brain.submitted_ns, settings->request_timeout_ns);
}

static enum lane lane_of(const struct pc_ticket *ticket, const struct pc_sched_settings *settings)
{
	if (ticket->brain.deadline_ns > patience_ns(ticket, settings))
		return LANE_PATIENT;
	return ticket->priority == PC_PRIORITY_BATCH ? LANE_BATCH : LANE_INTERACTIVE;
}

static uint64_t due_ns(const struct pc_ticket *ticket, const struct pc_sched_settings *settings)
{
	uint64_t patience = patience_ns(ticket, settings);
	uint64_t due = ticket->brain.deadline_ns < patience ? ticket->brain.deadline_ns : patience;

	return ticket->priority == PC_PRIORITY_BATCH ? pc_time_add(due, settings->batch_ageing_ns)
						     : due;
}

/* By how much the turns of a lane are later than its keys. */
static uint64_t lag_ns(enum lane lane, const struct pc_sched_settings *settings)
{
	return lane == LANE_BATCH ? settings->batch_ageing_ns : 0;
}

struct pc_ticket *pc__first_waiting(const struct pc_sched_model *model)
{
	const struct pc_link *first = NULL;
	uint64_t first_due_ns = PC_TIME_NEVER;

	for (enum lane lane = 0; lane < LANES; lane++) {
		const struct pc_link *link = model->lanes[lane].first;

		if (!link)
			continue;

		uint64_t due = pc_time_add(link->key, lag_ns(lane, &model->sched->settings));

		if (!first || due < first_due_ns ||
		    (due == first_due_ns && link->tie < first->tie)) {
			first = link;
			first_due_ns = due;
		}
	}
	return first ? pc__container_of(first, struct pc_ticket, brain.queue_place) : NULL;
}

/* The brain as a whole knows the earliest deadline of each model that is waited for. */
static void note_deadline(struct pc_sched_model *model)
{
	const struct pc__set *by_deadline[] = { &model->lanes[LANE_INTERACTIVE],
						&model->lanes[LANE_BATCH], &model->patient };
	uint64_t earliest_ns = PC_TIME_NEVER;

	for (size_t i = 0; i < PC_ARRAY_LEN(by_deadline); i++) {
		const struct pc_link *link = by_deadline[i]->first;

		if (link && link->key < earliest_ns)
			earliest_ns = link->key;
	}
	pc__set_place(&model->sched->deadlines, &model->by_deadline, model->waiting > 0,
		      earliest_ns, model->by_order.key);
}

static void enqueue(struct pc_sched_model *model, struct pc_ticket *ticket)
{
	const struct pc_sched_settings *settings = &model->sched->settings;
	enum lane lane = lane_of(ticket, settings);
	uint64_t deadline_ns = ticket->brain.deadline_ns;
	uint64_t sequence = ++model->sched->last_sequence;

	ticket->brain.state = TICKET_WAITING;
	pc__set_insert(&model->lanes[lane], &ticket->brain.queue_place,
		       lane == LANE_PATIENT ? due_ns(ticket, settings) : deadline_ns, sequence);
	if (lane == LANE_PATIENT)
		pc__set_insert(&model->patient, &ticket->brain.deadline_place, deadline_ns,
			       sequence);
	model->waiting++;
	note_deadline(model);
	if (model->waiting == 1)
		pc__note_waiting(model);
}

void pc__withdraw(struct pc_ticket *ticket)
{
	struct pc_sched_model *model = ticket->model;
	struct pc_sched *sched = model->sched;

	assert(ticket->brain.state == TICKET_WAITING);
	ticket->brain.state = TICKET_OVER;
	pc__set_remove(&model->lanes[lane_of(ticket, &sched->settings)],
		       &ticket->brain.queue_place);
	pc__set_remove(&model->patient, &ticket->brain.deadline_place);
	model->waiting--;
	note_deadline(model);
	/* Where the body hands out slots, a worker may be idle that was kept for those who
	 * waited. */
	if (model->spec.self_service && model->waiting == 0) {
		pc__note_waiting(model);
		sched->room_changed |= sched->wanting.first || sched->pressed;
	}
}

/* ---- rejecting ---- */

void pc__reject(struct pc_sched *sched, struct pc_ticket *ticket, const struct pc_error *err)
{
	assert(ticket->brain.state == TICKET_OVER); /* I2 */
	sched->counters.rejected++;
	sched->driver.reject(sched->driver_ctx, ticket, err);
}

static void time_out(struct pc_ticket *ticket)
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
	while (model->waiting > 0 && model->free.first) {
		struct pc_ticket *ticket = pc__first_waiting(model);

		if (ticket->brain.deadline_ns <= model->sched->now_ns) {
			time_out(ticket);
			continue;
		}
		pc__withdraw(ticket);
		grant(model, ticket);
	}
	assert(model->waiting == 0 || !model->free.first); /* I4 */
}

/* ---- admission ---- */

int pc__refuse(const struct pc_sched_model *model, const struct pc_ticket *ticket,
	       struct pc_error *err)
{
	const struct pc_sched *sched = model->sched;

	if (sched->draining) {
		pc__explain_shutdown(model, err);
	} else if (model->retired) {
		pc__explain_retired(model, err);
	} else if (ticket->brain.deadline_ns <= sched->now_ns) {
		pc_error_set(err, PC_E_TIMEOUT,
			     "the deadline had passed when the request for '%s' came",
			     model->spec.key);
	} else if (pc__live_workers(model) == 0 && pc__is_breaker_open(model)) {
		pc__explain_backoff(model, err);
	} else if (pc__live_workers(model) == 0 && !pc__could_ever_fit(model)) {
		pc__explain_memory(model, err);
	} else if (model->waiting >= model->spec.queue_capacity) {
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

/* How many links of a set are before (key, tie). */
static uint32_t count_before(const struct pc__set *set, uint64_t key, uint64_t tie)
{
	const struct pc_link *behind = pc__set_at_least(set, key, tie);

	return behind ? pc__set_rank(behind) : pc__set_count(set);
}

uint32_t pc__count_ahead(const struct pc_sched_model *model, const struct pc_ticket *ticket)
{
	const struct pc_sched_settings *settings = &model->sched->settings;
	bool waits = ticket->brain.state == TICKET_WAITING;
	uint64_t tie = waits ? ticket->brain.queue_place.tie : UINT64_MAX;
	uint64_t due = due_ns(ticket, settings);
	uint32_t ahead = 0;

	for (enum lane lane = 0; lane < LANES; lane++) {
		uint64_t lag = lag_ns(lane, settings);

		/* Nobody of a lane that lags that far behind is due as soon. */
		if (due >= lag)
			ahead += count_before(&model->lanes[lane], due - lag, tie);
	}
	return ahead;
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

void pc__expire_waiting(struct pc_sched_model *model)
{
	const uint64_t now_ns = model->sched->now_ns;

	for (enum lane lane = 0; lane < LANES; lane++) {
		bool patient = lane == LANE_PATIENT;
		const struct pc__set *set = patient ? &model->patient : &model->lanes[lane];

		while (set->first && set->first->key <= now_ns)
			time_out(patient ? pc__container_of(set->first, struct pc_ticket,
							    brain.deadline_place)
					 : pc__container_of(set->first, struct pc_ticket,
							    brain.queue_place));
	}
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
	while (model->waiting > 0) {
		struct pc_ticket *ticket = pc__first_waiting(model);

		pc__withdraw(ticket);
		pc__reject(model->sched, ticket, err);
	}
	pc__review_need(model);
}
