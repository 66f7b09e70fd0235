/* SPDX-License-Identifier: MIT */
/*
 * registry.c - the registry's front: checks what callers hand in and passes it to the backend. It
 * stores nothing and locks nothing. Any thread.
 */
#include "registry/backend.h"

#include <string.h>

/* ---- shared answers ---- */

int pc__registry_exists(struct pc_error *err, const char *worker_id)
{
	pc_error_set(err, PC_E_ALREADY_EXISTS, "worker '%s' is registered already", worker_id);
	pc_error_detail(err, "worker_id", "%s", worker_id);
	return PC_E_ALREADY_EXISTS;
}

int pc__registry_not_found(struct pc_error *err, const char *worker_id)
{
	pc_error_set(err, PC_E_WORKER_NOT_FOUND, "no worker '%s' is registered", worker_id);
	pc_error_detail(err, "worker_id", "%s", worker_id);
	return PC_E_WORKER_NOT_FOUND;
}

int pc__registry_check_change(struct pc_error *err, enum pc_worker_status stored,
			      const struct pc_worker_info *worker)
{
	if (worker->status == stored || pc_worker_status_may_become(stored, worker->status))
		return 0;
	pc_error_set(err, PC_E_INVALID_ARGUMENT, "worker '%s' is %s and cannot become %s",
		     worker->worker_id, pc_worker_status_name(stored),
		     pc_worker_status_name(worker->status));
	pc_error_detail(err, "worker_id", "%s", worker->worker_id);
	return PC_E_INVALID_ARGUMENT;
}

/* ---- checks ---- */

static const struct {
	const char *name;
	size_t offset, size;
} strings[] = {
#define X(member) \
	{ \
#member, offsetof(struct pc_worker_info, member), \
			sizeof(((struct pc_worker_info *)NULL)->member) \
	}
	X(worker_id), X(backend), X(model_ref),	  X(model_id),	       X(device),
	X(socket),    X(boot_id), X(spawn_token), X(last_exit.reason),
#undef X
};

/* A string that fills its array to the end was cut by whoever put it there. */
static int check_worker(const struct pc_registry *registry, const struct pc_worker_info *worker,
			struct pc_error *err)
{
	if (!registry || !worker)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a registry and a worker are needed");
	for (size_t i = 0; i < PC_ARRAY_LEN(strings); i++) {
		const char *text = (const char *)worker + strings[i].offset;

		if (!memchr(text, '\0', strings[i].size))
			return pc_error_set(err, PC_E_INVALID_ARGUMENT,
					    "%s is longer than %zu bytes", strings[i].name,
					    strings[i].size - 1);
	}
	if (!worker->worker_id[0])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "worker_id is empty");
	/* A number without a name could be stored and never be read again. */
	if (pc_worker_status_from_name(pc_worker_status_name(worker->status)) !=
	    (int)worker->status)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "worker '%s': %d is no status",
				    worker->worker_id, (int)worker->status);
	return 0;
}

static int check_id(const struct pc_registry *registry, const char *worker_id, struct pc_error *err)
{
	if (!registry || !worker_id || !worker_id[0])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a registry and a worker_id are needed");
	return 0;
}

/* ---- the interface ---- */

void pc_registry_close(struct pc_registry *registry)
{
	if (registry)
		registry->ops->close(registry);
}

int pc_registry_register(struct pc_registry *registry, const struct pc_worker_info *worker,
			 struct pc_error *err)
{
	int rc = check_worker(registry, worker, err);

	return rc ? rc : registry->ops->insert(registry, worker, err);
}

int pc_registry_update(struct pc_registry *registry, const struct pc_worker_info *worker,
		       struct pc_error *err)
{
	int rc = check_worker(registry, worker, err);

	return rc ? rc : registry->ops->update(registry, worker, err);
}

int pc_registry_unregister(struct pc_registry *registry, const char *worker_id,
			   struct pc_error *err)
{
	int rc = check_id(registry, worker_id, err);

	return rc ? rc : registry->ops->remove(registry, worker_id, err);
}

int pc_registry_get(struct pc_registry *registry, const char *worker_id,
		    struct pc_worker_info *ret_worker, struct pc_error *err)
{
	int rc = check_id(registry, worker_id, err);

	return rc ? rc : registry->ops->get(registry, worker_id, ret_worker, err);
}

int pc_registry_list(struct pc_registry *registry, struct pc_worker_info **ret_workers,
		     size_t *ret_count, struct pc_error *err)
{
	if (!registry || !ret_workers || !ret_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a registry and two results are needed");
	return registry->ops->list(registry, ret_workers, ret_count, err);
}
