/* SPDX-License-Identifier: MIT */
/*
 * validate.c - whether a worker could be spawned, and if not, what stands in the way. It looks and
 * takes nothing: what it found may be otherwise a moment later, so whoever spawns still reserves,
 * binds and checks. Runs on a thread that may block.
 */
#include <poolcore/catalog.h>
#include <poolcore/gpu.h>
#include <poolcore/lifecycle.h>
#include <poolcore/memory.h>
#include <poolcore/model_ref.h>
#include <poolcore/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/schema.h"

/* Of a worker's id: PC_WORKER_ID_MAX of the registry, which stands beside this room. */
#define WORKER_ID_BYTES 47
/* Ports below are the system's: /proc/sys/net/ipv4/ip_unprivileged_port_start. */
#define PORT_FIRST 1024
#define PORT_LAST 65535

struct check {
	const struct pc_spawn_request *request;
	const struct pc_spawn_means *means;
	struct pc_spawn_plan plan;
	struct pc_error *err;
};

/* ---- names ---- */

static int check_worker_id(const struct check *check)
{
	const char *id = check->request->worker_id;
	char shown[PC__QUOTED_MAX];

	if (!id || pc__is_name(id, "._-", WORKER_ID_BYTES))
		return 0;
	return pc_error_set(check->err, PC_E_INVALID_ARGUMENT,
			    "%s is no id of a worker; one has letters, digits, '.', '_' and '-', "
			    "begins with a letter or digit and has at most %d bytes",
			    pc__quoted(id, shown), WORKER_ID_BYTES);
}

static int check_model_name(const char *name, struct pc_error *err)
{
	struct pc_model_ref ref;

	if (name && (strncmp(name, "hf:", 3) == 0 || strncmp(name, "file:", 5) == 0))
		return pc_model_ref_parse(name, &ref, err);
	return pc_model_id_check(name, err);
}

static int check_device_name(const struct check *check)
{
	const char *device = check->request->device;
	char shown[PC__QUOTED_MAX];

	if (!device || pc__is_device(device, true))
		return 0;
	return pc_error_set(check->err, PC_E_INVALID_ARGUMENT,
			    "%s is no device; use \"auto\", \"cpu\", \"gpu0\", \"gpu1\" ...",
			    pc__quoted(device, shown));
}

static int check_names(struct check *check)
{
	int rc = check_worker_id(check);

	if (rc == 0)
		rc = check_model_name(check->request->model, check->err);
	return rc ? rc : check_device_name(check);
}

/* ---- the backend and its program ---- */

static int find_backend(struct check *check)
{
	const struct pc_config *config = check->means->config;
	const char *name = check->request->backend ? check->request->backend
						   : check->plan.entry->backend;
	char shown[PC__QUOTED_MAX], known[256] = "";

	check->plan.backend = pc_config_backend(config, name);
	if (check->plan.backend)
		return 0;
	for (size_t i = 0; i < config->backend_count; i++) {
		size_t at = strlen(known);

		snprintf(known + at, sizeof(known) - at, "%s%s", at ? ", " : "",
			 config->backends[i].name);
	}
	return pc_error_set(check->err, PC_E_NOT_FOUND,
			    "there is no backend %s; the configuration has %s",
			    pc__quoted(name, shown), known);
}

static int find_program(struct check *check)
{
	const struct pc_backend_config *backend = check->plan.backend;
	int rc = pc_program_find(backend->command.items[0], &check->plan.program, check->err);

	if (rc) {
		pc_error_prefix(check->err, "backend \"%s\"", backend->name);
		pc_error_detail(check->err, "backend", "%s", backend->name);
	}
	return rc;
}

/* Expands the command with what is known and stand-ins for what is not yet. */
static int check_command(struct check *check)
{
	const struct pc_model_entry *entry = check->plan.entry;
	const struct pc_launch_values values = {
		.model_path = entry->path,
		.model_id = entry->id,
		.worker_id = check->request->worker_id ? check->request->worker_id : "w-0-0",
		.port = check->request->port ? (uint16_t)check->request->port : PORT_LAST,
		.socket = "/socket",
		.gpu_id = -1,
		.gpu_uuid = "",
		.slots = entry->slots,
		.context_tokens = entry->context_tokens,
		.capability = pc_capability_name(entry->capability),
		.spawn_token = "0",
		.ready_url = "http://localhost/",
	};
	struct pc_string_list argv, env;
	int rc = pc_command_build(check->plan.backend, &values, &argv, &env, check->err);

	if (rc)
		return rc;
	pc_string_list_free(&argv);
	pc_string_list_free(&env);
	return 0;
}

/* ---- the port ---- */

static int check_port(struct check *check)
{
	const struct pc_backend_config *backend = check->plan.backend;
	uint32_t port = check->request->port;

	if (port == 0)
		return 0;
	if (port < PORT_FIRST || port > PORT_LAST)
		return pc_error_set(check->err, PC_E_INVALID_ARGUMENT,
				    "%" PRIu32
				    " is no port for a worker; use one from %d to %d, or "
				    "none, and a free one is chosen",
				    port, PORT_FIRST, PORT_LAST);
	if (!pc_command_uses(backend, "port"))
		return pc_error_set(check->err, PC_E_INVALID_ARGUMENT,
				    "the backend \"%s\" has no {port} in its command, so that its "
				    "workers listen on a socket; leave the port %" PRIu32 " out",
				    backend->name, port);
	return pc_port_check((uint16_t)port, check->err);
}

/* ---- the device ---- */

/* What is free on a device, of what. */
struct room {
	uint64_t total_bytes; /* the budget, where there is a ledger */
	uint64_t reserved_bytes;
	uint64_t free_bytes;
};

static const struct pc_gpu *gpu_of(const struct check *check, const char *device)
{
	const struct pc_gpu *gpus;
	size_t count = check->means->gpus ? pc_gpu_inventory_list(check->means->gpus, &gpus) : 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(gpus[i].device, device) == 0)
			return &gpus[i];
	}
	return NULL;
}

static bool is_there(const struct check *check, const char *device)
{
	const struct pc_ledger *ledger = check->means->ledger;

	if (ledger && pc_ledger_find(ledger, device) < 0)
		return false;
	if (strcmp(device, "cpu") == 0)
		return true;
	return check->means->gpus ? gpu_of(check, device) != NULL : ledger != NULL;
}

static int room_on(const struct check *check, const char *device, struct room *ret_room)
{
	const struct pc_ledger *ledger = check->means->ledger;
	const struct pc_gpu *gpu = gpu_of(check, device);
	struct pc_device_account account;
	struct pc_memory_facts facts;
	int rc;

	*ret_room = (struct room){ .total_bytes = 0 };
	if (ledger) {
		pc_ledger_account(ledger, (unsigned)pc_ledger_find(ledger, device), &account);
		ret_room->total_bytes = account.budget_bytes;
		ret_room->reserved_bytes = account.reserved_bytes;
		if (account.budget_bytes > account.reserved_bytes)
			ret_room->free_bytes = account.budget_bytes - account.reserved_bytes;
		return 0;
	}
	if (gpu) {
		ret_room->total_bytes = gpu->vram_total_bytes;
		ret_room->free_bytes = gpu->vram_free_bytes;
		return 0;
	}
	rc = pc_memory_facts_read(NULL, &facts, check->err);
	if (rc)
		return rc;
	ret_room->total_bytes = facts.total_bytes;
	ret_room->free_bytes = facts.available_bytes;
	return 0;
}

static bool is_usable(const struct check *check, const char *device)
{
	const struct pc_gpu *gpu = gpu_of(check, device);

	return is_there(check, device) && !(gpu && gpu->error[0]);
}

/* "auto": the GPU with most room, or the CPU where there is none that could be used. */
static int choose_device(const struct check *check, char out[PC_DEVICE_NAME_MAX])
{
	char name[PC_DEVICE_NAME_MAX];
	struct room room;
	uint64_t most = 0;

	snprintf(out, PC_DEVICE_NAME_MAX, "cpu");
	for (unsigned i = 0; i < PC_GPU_MAX; i++) {
		int rc;

		snprintf(name, sizeof(name), "gpu%u", i);
		if (!is_usable(check, name))
			continue;
		rc = room_on(check, name, &room);
		if (rc)
			return rc;
		if (strcmp(out, "cpu") != 0 && room.free_bytes <= most)
			continue;
		most = room.free_bytes;
		memcpy(out, name, sizeof(name));
	}
	return 0;
}

static int no_device(const struct check *check, const char *device)
{
	char known[256] = "", name[PC_DEVICE_NAME_MAX] = "cpu";

	for (unsigned i = 0; i <= PC_GPU_MAX; i++) {
		size_t at = strlen(known);

		if (is_there(check, name))
			snprintf(known + at, sizeof(known) - at, "%s%s", at ? ", " : "", name);
		snprintf(name, sizeof(name), "gpu%u", i);
	}
	pc_error_set(
		check->err, PC_E_NOT_FOUND,
		"model \"%s\" is to run on %s, which this machine does not have; it has %s%s%s",
		check->plan.entry->id, device, known, check->means->gpus ? ": " : "",
		check->means->gpus ? pc_gpu_inventory_note(check->means->gpus) : "");
	pc_error_detail(check->err, "device", "%s", device);
	return PC_E_NOT_FOUND;
}

static int check_gpu(const struct check *check)
{
	const char *device = check->plan.device;
	const struct pc_gpu *gpu = gpu_of(check, device);

	if (!gpu || is_usable(check, device))
		return 0;
	pc_error_set(check->err, PC_E_SPAWN_FAILED,
		     "%s (%s) cannot be used: %s; choose another device", device, gpu->name,
		     gpu->error);
	pc_error_detail(check->err, "device", "%s", device);
	return PC_E_SPAWN_FAILED;
}

static int find_device(struct check *check)
{
	const char *device = check->request->device;

	if (!device)
		device = check->plan.entry->device[0] ? check->plan.entry->device
						      : check->plan.backend->device;
	if (strcmp(device, "auto") == 0)
		return choose_device(check, check->plan.device);
	if (!is_there(check, device))
		return no_device(check, device);
	snprintf(check->plan.device, sizeof(check->plan.device), "%s", device);
	return check_gpu(check);
}

/* ---- the memory ---- */

static int no_room(const struct check *check, const struct room *room)
{
	const struct pc_spawn_plan *plan = &check->plan;
	char needed[32], total[32], reserved[32], free_[32];

	pc_format_size(plan->memory_bytes, needed);
	pc_format_size(room->total_bytes, total);
	pc_format_size(room->reserved_bytes, reserved);
	pc_format_size(room->free_bytes, free_);
	if (plan->memory_bytes > room->total_bytes)
		pc_error_set(check->err, PC_E_INSUFFICIENT_MEMORY,
			     "a worker of model \"%s\" takes %s, and %s has %s in all, so that it "
			     "never fits; choose another device or a smaller model",
			     plan->entry->id, needed, plan->device, total);
	else if (check->means->ledger)
		pc_error_set(check->err, PC_E_INSUFFICIENT_MEMORY,
			     "a worker of model \"%s\" takes %s; of the %s that may be used of %s, "
			     "%s are reserved and %s are free: stop a worker there, or choose "
			     "another device",
			     plan->entry->id, needed, total, plan->device, reserved, free_);
	else
		pc_error_set(check->err, PC_E_INSUFFICIENT_MEMORY,
			     "a worker of model \"%s\" takes %s; of the %s of %s, %s are free: end "
			     "what uses the rest, or choose another device",
			     plan->entry->id, needed, total, plan->device, free_);
	pc_error_detail(check->err, "device", "%s", plan->device);
	pc_error_detail(check->err, "needed_bytes", "%" PRIu64, plan->memory_bytes);
	pc_error_detail(check->err, "free_bytes", "%" PRIu64, room->free_bytes);
	if (check->means->ledger) {
		pc_error_detail(check->err, "budget_bytes", "%" PRIu64, room->total_bytes);
		pc_error_detail(check->err, "reserved_bytes", "%" PRIu64, room->reserved_bytes);
	}
	return PC_E_INSUFFICIENT_MEMORY;
}

static int check_memory(struct check *check)
{
	struct room room;
	int rc;

	check->plan.memory_bytes = check->plan.entry->memory_bytes;
	check->plan.free_bytes = UINT64_MAX;
	if (check->request->memory_reserved)
		return 0;
	rc = room_on(check, check->plan.device, &room);
	if (rc)
		return rc;
	check->plan.free_bytes = room.free_bytes;
	return check->plan.memory_bytes > room.free_bytes ? no_room(check, &room) : 0;
}

/* ---- the whole ---- */

static int find_model(struct check *check)
{
	return pc_catalog_get(check->means->catalog, check->request->model, &check->plan.entry,
			      check->err);
}

static int open_file(struct check *check)
{
	return pc_model_file_open(check->plan.entry, &check->means->verify, &check->plan.file,
				  check->err);
}

/* The order in which they are said: what costs nothing first, reading the file last. */
static int (*const steps[])(struct check *check) = {
	check_names, find_model,   find_backend, check_port, check_command,
	find_device, check_memory, find_program, open_file,
};

int pc_spawn_validate(const struct pc_spawn_request *request, const struct pc_spawn_means *means,
		      struct pc_spawn_plan *ret_plan, struct pc_error *err)
{
	struct check check = {
		.request = request, .means = means, .plan = { .file = { .fd = -1 } }, .err = err
	};
	int rc = 0;

	if (!request || !means || !means->config || !means->catalog || !ret_plan)
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"a request, a configuration, a catalog and a place for the plan "
			"are needed");
	for (size_t i = 0; rc == 0 && i < PC_ARRAY_LEN(steps); i++)
		rc = steps[i](&check);
	if (rc) {
		pc_spawn_plan_fini(&check.plan);
		return rc;
	}
	*ret_plan = check.plan;
	return 0;
}

void pc_spawn_plan_fini(struct pc_spawn_plan *plan)
{
	if (!plan)
		return;
	pc_model_file_close(&plan->file);
	pc_free(pc_steal(&plan->program));
}
