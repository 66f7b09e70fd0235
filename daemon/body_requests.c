/* SPDX-License-Identifier: MIT */
/*
 * body_requests.c - a request's way through the body: submitted, granted or rejected, released or
 * withdrawn. What the brain decides comes into the inbox of the request's loop, which delivers it
 * here. Any loop's thread.
 */
#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>

#include <assert.h>

#include "daemon/body_inner.h"
#include "daemon/loop.h"

int body_refuse_absent_device(const struct model *model, struct pc_error *err)
{
	const char *device = model->entry->device[0] ? model->entry->device
						     : model->backend->device;

	pc_error_set(err, PC_E_NO_WORKERS,
		     "model '%s' is to run on '%s', and this machine has no such device",
		     model->entry->id, device);
	pc_error_detail(err, "device", "%s", device);
	return PC_E_NO_WORKERS;
}

void body_submit(struct daemon *daemon, struct lease *lease, struct model *model)
{
	struct body *body = daemon->body;

	lease->ticket.model = model->sched;
	lease->state = LEASE_WAITING;
	pc_error_clear(&lease->error);
	body_lock(body);
	if (model->sched) {
		body->next_tick_ns = pc_sched_submit(body->sched, pc_clock_now_ns(),
						     &lease->ticket);
	} else {
		lease->state = LEASE_REJECTED;
		body_refuse_absent_device(model, &lease->error);
		body_deliver_locked(lease);
	}
	body_unlock_from(body, lease->loop);
}

void body_release(struct daemon *daemon, struct lease *lease, enum pc_outcome outcome)
{
	struct body *body = daemon->body;

	assert(lease->state == LEASE_GRANTED);
	body_lock(body);
	lease->state = LEASE_NONE;
	body->next_tick_ns = pc_sched_release(body->sched, pc_clock_now_ns(), &lease->ticket,
					      outcome);
	body_unlock_from(body, lease->loop);
}

static void take_from_inbox_locked(struct lease *lease)
{
	struct loop *loop = lease->loop;
	struct lease *before = NULL;

	for (struct lease *at = loop->inbox_head; at; before = at, at = at->next) {
		if (at != lease)
			continue;
		if (before)
			before->next = lease->next;
		else
			loop->inbox_head = lease->next;
		if (loop->inbox_tail == lease)
			loop->inbox_tail = before;
		return;
	}
}

static void take_from_reports_locked(struct body *body, struct lease *lease)
{
	/* It lives: a worker that goes answers all of them. */
	struct lease **at = &roster_find(&body->roster, lease->worker_id)->reports;

	while (*at != lease)
		at = &(*at)->next;
	*at = lease->next;
}

void body_withdraw(struct daemon *daemon, struct lease *lease)
{
	struct body *body = daemon->body;
	uint64_t now = pc_clock_now_ns();

	body_lock(body);
	switch (lease->state) {
	case LEASE_WAITING:
		body->next_tick_ns = pc_sched_cancel(body->sched, now, &lease->ticket);
		break;
	case LEASE_GRANTED:
		take_from_inbox_locked(lease);
		body->next_tick_ns = pc_sched_release(body->sched, now, &lease->ticket,
						      PC_OUTCOME_CANCELLED);
		break;
	case LEASE_REPORTING:
		take_from_reports_locked(body, lease);
		break;
	case LEASE_REJECTED:
	case LEASE_HEARD:
		take_from_inbox_locked(lease);
		break;
	case LEASE_NONE:
		break;
	}
	lease->state = LEASE_NONE;
	body_unlock_from(body, lease->loop);
}

void body_worker_lost(struct daemon *daemon, const struct lease *lease, bool nobody_listens,
		      const struct pc_error *cause)
{
	struct body *body = daemon->body;
	pid_t pid;

	body_lock(body);

	const struct worker *worker = roster_find(&body->roster, lease->worker_id);

	pid = worker ? worker->info.pid : 0;
	body_unlock_quietly(body);
	if (pid == 0 || !(nobody_listens || pc_process_is_ending(pid)))
		return;
	body_lock(body);
	body->next_tick_ns = pc_sched_worker_failed(body->sched, pc_clock_now_ns(),
						    lease->worker_id, cause);
	body_unlock_from(body, lease->loop);
}

/* Belongs to loop.h, and stands here because the inbox is under the body's lock. */
void loop_deliver(struct loop *loop)
{
	struct body *body = loop->daemon->body;

	if (loop->delivering)
		return; /* an outcome's handler caused this; the loop below goes on */
	loop->delivering = true;
	for (;;) {
		body_lock(body);

		struct lease *lease = loop->inbox_head;

		if (lease) {
			loop->inbox_head = lease->next;
			if (!loop->inbox_head)
				loop->inbox_tail = NULL;
		}
		body_unlock_quietly(body);
		if (!lease)
			break;
		lease->on_outcome(lease);
	}
	loop->delivering = false;
}
