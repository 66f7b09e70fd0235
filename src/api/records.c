/* SPDX-License-Identifier: MIT */
/*
 * records.c - the tables of what the control API shows and the heartbeat says: workers, models,
 * devices, counters, and all of them together.
 */
#include "api/field.h"

static const char *const status_names[] = {
#define X(name, number, wire) [number] = (wire),
	PC_WORKER_STATUS_LIST(X)
#undef X
};
static const struct pc__api_words status_words = { status_names, PC_ARRAY_LEN(status_names) };

static const char *const state_names[] = {
#define X(name, number, wire) [number] = (wire),
	PC_MODEL_STATE_LIST(X)
#undef X
};
static const struct pc__api_words state_words = { state_names, PC_ARRAY_LEN(state_names) };

const char *pc_model_state_name(enum pc_model_state state)
{
	size_t number = (size_t)state;

	return number < PC_ARRAY_LEN(state_names) ? state_names[number] : "unknown";
}

static const char *const capability_names[] = {
#define X(name, number, wire) [number] = (wire),
	PC_CAPABILITY_LIST(X)
#undef X
};
static const struct pc__api_words capability_words = { capability_names,
						       PC_ARRAY_LEN(capability_names) };

/* A part of an answer; only whole answers are read by themselves and have a size. */
#define PART(name_, struct_, fields_) \
	{ \
		.name = (name_), .size = sizeof(struct struct_), .fields = (fields_), \
		.field_count = PC_ARRAY_LEN(fields_), .text_max = PC_API_ANSWER_MAX \
	}

/* ---- workers ---- */

/* clang-format off */
static const struct pc__api_field exit_fields[] = {
	PC__API_ROW_BOOL(pc_exit_record, known, false),
	PC__API_ROW_OPTIONAL_NUMBER(pc_exit_record, code, 0, 255, -1),
	PC__API_ROW_OPTIONAL_NUMBER(pc_exit_record, signal, 1, 255, 0),
	PC__API_ROW_NUMBER(pc_exit_record, wall_ms, 0, INT64_MAX),
	PC__API_ROW_TEXT(pc_exit_record, reason, 0, PC_API_TEXT_MAX),
};
static const struct pc__api_type exit_type = PART("an exit", pc_exit_record, exit_fields);

static const struct pc__api_field worker_fields[] = {
	PC__API_ROW_TEXT(pc_worker_record, worker_id, 1, PC_API_WORKER_MAX),
	PC__API_ROW_TEXT(pc_worker_record, model_id, 0, PC_API_MODEL_MAX),
	PC__API_ROW_TEXT(pc_worker_record, model_ref, 0, PC_API_TEXT_MAX),
	PC__API_ROW_TEXT(pc_worker_record, backend, 0, PC_API_BACKEND_MAX),
	PC__API_ROW_TEXT(pc_worker_record, device, 0, PC_API_DEVICE_MAX),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_record, gpu_id, 0, PC_API_GPU_MAX, -1),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_record, port, 1, 65535, 0),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_record, socket, 1, PC_API_TEXT_MAX),
	PC__API_ROW_WORD(pc_worker_record, status, &status_words),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_record, pid, 1, INT32_MAX, 0),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_record, start_ticks, 1, INT64_MAX, 0),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_record, boot_id, 1, 64),
	PC__API_ROW_NUMBER(pc_worker_record, spawned_wall_ms, 0, INT64_MAX),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_record, updated_wall_ms, 1, INT64_MAX, 0),
	PC__API_ROW_NUMBER(pc_worker_record, reserved_bytes, 0, INT64_MAX),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_record, measured_bytes, 1, INT64_MAX, 0),
	PC__API_ROW_NUMBER(pc_worker_record, slots, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_worker_record, leases, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_worker_record, served, 0, INT64_MAX),
	PC__API_ROW_NUMBER(pc_worker_record, idle_ms, 0, INT64_MAX),
	PC__API_ROW_BOOL(pc_worker_record, draining, false),
	PC__API_ROW_OPTIONAL_OBJECT(pc_worker_record, last_exit, &exit_type),
};
const struct pc__api_type pc__table_pc_worker_record =
	PART("a worker", pc_worker_record, worker_fields);

static const struct pc__api_field spawned_fields[] = {
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_response, worker_id, 1, PC_API_WORKER_MAX),
	PC__API_ROW_TEXT(pc_worker_spawn_response, status, 1, 32),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_response, model_id, 0, PC_API_MODEL_MAX),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_response, backend, 0, PC_API_BACKEND_MAX),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_response, device, 0, PC_API_DEVICE_MAX),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_spawn_response, gpu_id, 0, PC_API_GPU_MAX, -1),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_spawn_response, port, 1, 65535, 0),
};
const struct pc__api_type pc__table_pc_worker_spawn_response =
	PART("the answer to a start", pc_worker_spawn_response, spawned_fields);

static const struct pc__api_field worker_list_fields[] = {
	PC__API_ROW_LIST(pc_worker_list, workers, worker_count, &pc__table_pc_worker_record,
			 PC_API_LIST_MAX),
};
const struct pc__api_type pc__table_pc_worker_list =
	PART("a list of workers", pc_worker_list, worker_list_fields);

/* ---- models and devices ---- */

static const struct pc__api_field model_fields[] = {
	PC__API_ROW_TEXT(pc_model_record, id, 1, PC_API_MODEL_MAX),
	PC__API_ROW_TEXT(pc_model_record, name, 0, PC_API_TEXT_MAX),
	PC__API_ROW_WORD(pc_model_record, state, &state_words),
	PC__API_ROW_WORD(pc_model_record, capability, &capability_words),
	PC__API_ROW_TEXT(pc_model_record, backend, 1, PC_API_BACKEND_MAX),
	PC__API_ROW_TEXT(pc_model_record, model_ref, 0, PC_API_TEXT_MAX),
	{ PC__API_AT(pc_model_record, aliases), .kind = PC__API_TEXTS, .high = 1024,
	  .text_high = PC_API_MODEL_MAX, .beside = offsetof(struct pc_model_record, alias_count) },
	PC__API_ROW_NUMBER(pc_model_record, memory_bytes, 0, INT64_MAX),
	PC__API_ROW_NUMBER(pc_model_record, slots, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_model_record, workers, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_model_record, spawning, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_model_record, leases, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_model_record, waiting, 0, UINT32_MAX),
	PC__API_ROW_NUMBER(pc_model_record, failures_in_row, 0, UINT32_MAX),
};
static const struct pc__api_type model_type = PART("a model", pc_model_record, model_fields);

static const struct pc__api_field model_list_fields[] = {
	PC__API_ROW_LIST(pc_model_list, models, model_count, &model_type, PC_API_LIST_MAX),
};
const struct pc__api_type pc__table_pc_model_list =
	PART("a list of models", pc_model_list, model_list_fields);

static const struct pc__api_field device_fields[] = {
	PC__API_ROW_TEXT(pc_device_record, device, 1, PC_API_DEVICE_MAX),
	PC__API_ROW_NUMBER(pc_device_record, total_bytes, 0, INT64_MAX),
	PC__API_ROW_NUMBER(pc_device_record, budget_bytes, 0, INT64_MAX),
	PC__API_ROW_NUMBER(pc_device_record, reserved_bytes, 0, INT64_MAX),
};
static const struct pc__api_type device_type = PART("a device", pc_device_record, device_fields);

/* ---- all of it ---- */

static const struct pc__api_field counter_fields[] = {
#define X(name, help) PC__API_ROW_NUMBER(pc_pool_counters, name, 0, INT64_MAX),
	PC_POOL_COUNTER_LIST(X)
#undef X
};
static const struct pc__api_type counters_type =
	PART("the counters", pc_pool_counters, counter_fields);

static const struct pc__api_field state_fields[] = {
	PC__API_ROW_TEXT(pc_pool_status_response, pool_id, 1, PC_API_POOL_MAX),
	PC__API_ROW_TEXT(pc_pool_status_response, version, 1, 64),
	PC__API_ROW_NUMBER(pc_pool_status_response, started_wall_ms, 0, INT64_MAX),
	PC__API_ROW_NUMBER(pc_pool_status_response, uptime_secs, 0, INT64_MAX),
	PC__API_ROW_LIST(pc_pool_status_response, devices, device_count, &device_type, 1024),
	PC__API_ROW_LIST(pc_pool_status_response, models, model_count, &model_type,
			 PC_API_LIST_MAX),
	PC__API_ROW_LIST(pc_pool_status_response, workers, worker_count,
			 &pc__table_pc_worker_record, PC_API_LIST_MAX),
	PC__API_ROW_OBJECT(pc_pool_status_response, counters, &counters_type),
};
const struct pc__api_type pc__table_pc_pool_status_response =
	PART("a pool's state", pc_pool_status_response, state_fields);

static const struct pc__api_field heartbeat_fields[] = {
	PC__API_ROW_TEXT(pc_heartbeat, pool_id, 1, PC_API_POOL_MAX),
	PC__API_ROW_NUMBER(pc_heartbeat, timestamp, 0, INT64_MAX),
	PC__API_ROW_TEXT(pc_heartbeat, version, 1, 64),
	PC__API_ROW_OBJECT(pc_heartbeat, state, &pc__table_pc_pool_status_response),
};
const struct pc__api_type pc__table_pc_heartbeat =
	PART("a heartbeat", pc_heartbeat, heartbeat_fields);
/* clang-format on */

PC__API_FUNCTIONS(pc_worker_record)
PC__API_FUNCTIONS(pc_worker_spawn_response)
PC__API_FUNCTIONS(pc_worker_list)
PC__API_FUNCTIONS(pc_model_list)
PC__API_FUNCTIONS(pc_pool_status_response)
PC__API_FUNCTIONS(pc_heartbeat)
