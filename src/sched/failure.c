/* SPDX-License-Identifier: MIT */
/*
 * failure.c - what a model's failures do to it (rule 9): it backs off, in the end its breaker
 * opens, and whoever waits is told. Which worker failed, and what becomes of it, is worker.c's.
 * Runs inside event functions only.
 */
#include "sched/brain.h"

/* A worker that was there before the failure says nothing about the next load. */
void pc__note_answer(const struct pc_sched_worker *worker)
{
	if (worker->ready_ns >= worker->model->failed_ns)
		worker->model->failures_in_row = 0;
}

/* splitmix64 (Steele, Lea, Flood 2014): the jitter needs a seed, not a cipher. */
static uint64_t next_random(struct pc_sched *sched)
{
	uint64_t z = sched->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Rule 9: doubling from the minimum to the maximum, up to a quarter shorter by chance. */
static uint64_t backoff_ns(struct pc_sched *sched, uint32_t failures)
{
	const struct pc_sched_settings *settings = &sched->settings;
	uint64_t delay_ns = settings->backoff_min_ns;

	for (uint32_t i = 1; i < failures && delay_ns < settings->backoff_max_ns; i++)
		delay_ns = pc_time_add(delay_ns, delay_ns);
	if (delay_ns > settings->backoff_max_ns)
		delay_ns = settings->backoff_max_ns;
	return delay_ns - next_random(sched) % (delay_ns / 4 + 1);
}

void pc__back_off(struct pc_sched_model *model, const struct pc_error *cause)
{
	struct pc_sched *sched = model->sched;

	sched->counters.failed_workers++;
	if (model->failures_in_row < UINT32_MAX)
		model->failures_in_row++;
	model->failed_ns = sched->now_ns;
	model->retry_ns = pc_time_add(sched->now_ns, backoff_ns(sched, model->failures_in_row));
	model->load_asked = false;
	pc__set_remove(&sched->retries, &model->by_retry);
	pc__set_insert(&sched->retries, &model->by_retry, model->retry_ns, model->by_order.key);
	if (cause && cause->code) {
		*model->failure = *cause;
	} else {
		pc_error_clear(model->failure);
		pc_error_set(model->failure, PC_E_WORKER_FAILED, "the worker ended without a word");
	}
}

void pc__tell_waiting(struct pc_sched_model *model, bool while_loading)
{
	struct pc_error err = PC_ERROR_INIT;

	if (model->waiting == 0 || pc__live_workers(model) > 0)
		return;
	if (while_loading)
		pc__explain_load_failure(model, &err);
	else if (pc__is_breaker_open(model))
		pc__explain_backoff(model, &err);
	else
		return; /* nothing of theirs was lost; the next worker serves them */
	pc__reject_waiting(model, &err);
}
