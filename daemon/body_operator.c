/* SPDX-License-Identifier: MIT */
/*
 * body_operator.c - what an operator asks of the body: to start a worker, on a chosen device, and
 * to stop one. Any thread.
 */
#include <poolcore/clock.h>
#include <poolcore/memory.h>

#include <stdio.h>
#include <string.h>

#include "daemon/body_inner.h"

static int start_worker_locked(struct body *body, struct model *model, uint32_t device_mask,
			       uint16_t port, char *ret_id, struct pc_error *err)
{
	uint64_t id;
	int rc = pc_sched_load_on(body->sched, pc_clock_now_ns(), model->sched, device_mask, &id,
				  err);
	struct worker *worker = rc || !id ? NULL : roster_find(&body->roster, id);

	body->next_tick_ns = pc_sched_next_deadline(body->sched);
	ret_id[0] = '\0';
	if (rc)
		return rc;
	if (!worker)
		return id ? pc_error_oom(err) : 0;
	memcpy(ret_id, worker->info.worker_id, sizeof(worker->info.worker_id));
	if (!port)
		return 0;
	if (!worker->orders.spawn) {
		pc_error_set(err, PC_E_ALREADY_EXISTS,
			     "worker %s of '%s' is there already, on a port of its own", ret_id,
			     model->entry->id);
		pc_error_detail(err, "worker_id", "%s", ret_id);
		return PC_E_ALREADY_EXISTS;
	}
	worker->port = port;
	return 0;
}

/* "cpu, gpu0": the names of these devices. */
static void name_devices(const struct daemon *daemon, uint32_t mask, char *out, size_t size)
{
	struct pc_device_account account;

	out[0] = '\0';
	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger); i++) {
		size_t length = strlen(out);

		if (!(mask >> i & 1))
			continue;
		pc_ledger_account(daemon->ledger, i, &account);
		snprintf(out + length, size - length, "%s%s", length ? ", " : "", account.name);
	}
}

/* The device of a GPU that was asked for; all of the model's when none was. */
static int choose_device(const struct daemon *daemon, const struct model *model, int gpu_id,
			 uint32_t *ret_mask, struct pc_error *err)
{
	uint32_t allowed = body_device_mask(daemon, model);
	char name[24], names[256];
	int index;

	*ret_mask = allowed;
	if (gpu_id < 0)
		return 0;
	snprintf(name, sizeof(name), "gpu%d", gpu_id);
	index = pc_ledger_find(daemon->ledger, name);
	*ret_mask = index < 0 ? 0 : allowed & 1u << index;
	if (*ret_mask)
		return 0;
	name_devices(daemon, index < 0 ? UINT32_MAX : allowed, names, sizeof(names));
	if (index < 0)
		pc_error_set(err, PC_E_INVALID_REQUEST, "there is no %s; this machine has %s", name,
			     names);
	else
		pc_error_set(err, PC_E_INVALID_REQUEST, "model '%s' may run on %s, not on %s",
			     model->entry->id, names, name);
	pc_error_detail(err, "param", "gpu_id");
	return PC_E_INVALID_REQUEST;
}

int body_start_worker(struct daemon *daemon, struct model *model, int gpu_id, uint16_t port,
		      char *ret_id, struct pc_error *err)
{
	struct body *body = daemon->body;
	uint32_t device_mask;
	int rc;

	if (!model->sched)
		return body_refuse_absent_device(model, err);
	rc = choose_device(daemon, model, gpu_id, &device_mask, err);
	if (rc)
		return rc;
	body_lock(body);
	rc = start_worker_locked(body, model, device_mask, port, ret_id, err);
	body_unlock(body);
	return rc;
}

int body_stop_worker(struct daemon *daemon, const char *worker_id, bool force, struct pc_error *err)
{
	struct body *body = daemon->body;
	int rc;

	body_lock(body);

	struct worker *worker = roster_find_named(&body->roster, worker_id);

	if (!worker || worker->departed) {
		rc = body_no_such_worker(worker_id, err);
	} else {
		rc = pc_sched_stop_worker(body->sched, pc_clock_now_ns(), worker->id, force, err);
		body->next_tick_ns = pc_sched_next_deadline(body->sched);
	}
	body_unlock(body);
	return rc;
}
