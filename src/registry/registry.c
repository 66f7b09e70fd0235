/* SPDX-License-Identifier: MIT */
/*
 * registry.c - the registry's front: checks what callers hand in and passes it to the backend. It
 * stores nothing and locks nothing. Any thread.
 */
#include "registry/backend.h"

#include <poolcore/clock.h>

#include <string.h>

#include "base/text.h"

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

int pc__measured_not_found(struct pc_error *err, const struct pc__measured_key *key)
{
	pc_error_set(err, PC_E_NOT_FOUND,
		     "the memory of model '%s' was never measured with engine '%s' on %s",
		     key->model, key->engine, key->device);
	pc_error_detail(err, "key", "%s", key->model);
	pc_error_detail(err, "engine", "%s", key->engine);
	pc_error_detail(err, "device", "%s", key->device);
	return PC_E_NOT_FOUND;
}

void pc__measured_add(struct pc_measured_memory *measured, uint64_t bytes, int64_t wall_ms)
{
	if (bytes > measured->highest_bytes)
		measured->highest_bytes = bytes;
	measured->last_bytes = bytes;
	measured->last_wall_ms = wall_ms;
	if (measured->count < UINT64_MAX)
		measured->count++;
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
	X(socket),    X(boot_id), X(spawn_token), X(last_exit.reason), X(definition),
#undef X
};

/* A negative process id means all processes, or a group of them, to kill(2). */
static const struct {
	const char *name;
	size_t offset;
	int min;
} numbers[] = {
	{ "gpu_id", offsetof(struct pc_worker_info, gpu_id), -1 },
	{ "pid", offsetof(struct pc_worker_info, pid), 0 },
	{ "stub_pid", offsetof(struct pc_worker_info, stub_pid), 0 },
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
	for (size_t i = 0; i < PC_ARRAY_LEN(numbers); i++) {
		int number;

		memcpy(&number, (const char *)worker + numbers[i].offset, sizeof(number));
		if (number < numbers[i].min)
			return pc_error_set(err, PC_E_INVALID_ARGUMENT,
					    "worker '%s': %d is no %s; the least is %d",
					    worker->worker_id, number, numbers[i].name,
					    numbers[i].min);
	}
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

/* `size`: with its NUL. */
static int check_text(const char *name, const char *text, size_t size, struct pc_error *err)
{
	if (!text || !text[0])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s is empty", name);

	size_t length = strnlen(text, size);

	if (length == size)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s is longer than %zu bytes", name,
				    size - 1);

	size_t valid = pc__utf8_valid_prefix(text, length);

	return valid < length
		       ? pc_error_set(err, PC_E_INVALID_ARGUMENT,
				      "%s is not valid UTF-8 from its byte %zu on", name, valid + 1)
		       : 0;
}

static int check_measured_key(const struct pc_registry *registry,
			      const struct pc__measured_key *key, struct pc_error *err)
{
	int rc;

	if (!registry)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a registry is needed");
	if ((rc = check_text("the model key", key->model, PC_MEASURED_KEY_MAX, err)) ||
	    (rc = check_text("the engine", key->engine, PC_MEASURED_ENGINE_MAX, err)) ||
	    (rc = check_text("the device", key->device, PC_MEASURED_DEVICE_MAX, err)))
		return rc;
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

int pc_registry_end(struct pc_registry *registry, const char *worker_id,
		    const struct pc_worker_exit *exit, struct pc_error *err)
{
	struct pc_departed_worker departed = { .wall_ms = pc_clock_wall_ms() };
	int rc = check_id(registry, worker_id, err);
	size_t length;

	if (rc)
		return rc;
	if (!exit)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "how worker '%s' ended is needed",
				    worker_id);
	if (!memchr(exit->reason, '\0', sizeof(exit->reason)))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "exit.reason is longer than %zu bytes",
				    sizeof(exit->reason) - 1);
	/* No record has an id that does not fit. */
	length = strlen(worker_id);
	if (length >= sizeof(departed.worker_id))
		return pc__registry_not_found(err, worker_id);
	memcpy(departed.worker_id, worker_id, length + 1);
	departed.exit = *exit;
	return registry->ops->end(registry, &departed, err);
}

int pc_registry_list_departed(struct pc_registry *registry, const char *model_id,
			      struct pc_departed_worker **ret_departed, size_t *ret_count,
			      struct pc_error *err)
{
	if (!registry || !ret_departed || !ret_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a registry and two results are needed");
	return registry->ops->list_departed(registry, model_id, ret_departed, ret_count, err);
}

int pc_registry_remember_memory(struct pc_registry *registry, const char *key, const char *engine,
				const char *device, uint64_t bytes, struct pc_error *err)
{
	const struct pc__measured_key whose = { key, engine, device };
	int rc = check_measured_key(registry, &whose, err);

	if (rc)
		return rc;
	if (bytes == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "0 bytes is no measurement of model '%s'", key);
	return registry->ops->remember(registry, &whose, bytes, pc_clock_wall_ms(), err);
}

int pc_registry_recall_memory(struct pc_registry *registry, const char *key, const char *engine,
			      const char *device, struct pc_measured_memory *ret_measured,
			      struct pc_error *err)
{
	const struct pc__measured_key whose = { key, engine, device };
	int rc = check_measured_key(registry, &whose, err);

	if (!rc && !ret_measured)
		rc = pc_error_set(err, PC_E_INVALID_ARGUMENT, "a result is needed");
	return rc ? rc : registry->ops->recall(registry, &whose, ret_measured, err);
}
