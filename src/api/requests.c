/* SPDX-License-Identifier: MIT */
/* requests.c - the tables of the control API's requests. No code but what no table can say. */
#include "api/field.h"

/* clang-format off */
static const struct pc__api_field spawn_fields[] = {
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_request, model, 1, PC_API_MODEL_MAX),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_request, model_ref, 1, PC_API_TEXT_MAX),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_spawn_request, backend, 1, PC_API_BACKEND_MAX),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_spawn_request, gpu_id, 0, PC_API_GPU_MAX, -1),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_spawn_request, port, 1, 65535, 0),
};

static const struct pc__api_field stop_fields[] = {
	PC__API_ROW_TEXT(pc_worker_stop_request, worker_id, 1, PC_API_WORKER_MAX),
	PC__API_ROW_BOOL(pc_worker_stop_request, force, true),
};

/* An empty token is that of a worker that was given none: it is refused as a wrong one is. */
static const struct pc__api_field ready_fields[] = {
	PC__API_ROW_TEXT(pc_worker_ready_report, worker_id, 1, PC_API_WORKER_MAX),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_ready_report, model_ref, 0, PC_API_TEXT_MAX),
	PC__API_ROW_OPTIONAL_NUMBER(pc_worker_ready_report, vram_bytes, 0, INT64_MAX, 0),
	PC__API_ROW_OPTIONAL_TEXT(pc_worker_ready_report, uri, 0, PC_API_TEXT_MAX),
	PC__API_ROW_TEXT(pc_worker_ready_report, spawn_token, 0, 128),
};
/* clang-format on */

static int names_one_model(const void *value, const struct pc__json_place *place,
			   struct pc_error *err)
{
	const struct pc_worker_spawn_request *request = value;

	(void)place;
	if (!request->model == !request->model_ref) {
		pc_error_set(err, PC_E_INVALID_REQUEST,
			     "name the model%s as 'model' (an id or alias) or 'model_ref'",
			     request->model ? " once," : "");
		pc_error_detail(err, "param", "model");
		return PC_E_INVALID_REQUEST;
	}
	return 0;
}

const struct pc__api_type pc__table_pc_worker_spawn_request = {
	.name = "a start request",
	.size = sizeof(struct pc_worker_spawn_request),
	.fields = spawn_fields,
	.field_count = PC_ARRAY_LEN(spawn_fields),
	.strict = true,
	.text_max = PC_API_REQUEST_MAX,
	.check = names_one_model,
};

const struct pc__api_type pc__table_pc_worker_stop_request = {
	.name = "a stop request",
	.size = sizeof(struct pc_worker_stop_request),
	.fields = stop_fields,
	.field_count = PC_ARRAY_LEN(stop_fields),
	.strict = true,
	.text_max = PC_API_REQUEST_MAX,
};

const struct pc__api_type pc__table_pc_worker_ready_report = {
	.name = "a readiness report",
	.size = sizeof(struct pc_worker_ready_report),
	.fields = ready_fields,
	.field_count = PC_ARRAY_LEN(ready_fields),
	.strict = true,
	.text_max = PC_API_REQUEST_MAX,
};

PC__API_FUNCTIONS(pc_worker_spawn_request)
PC__API_FUNCTIONS(pc_worker_stop_request)
PC__API_FUNCTIONS(pc_worker_ready_report)
