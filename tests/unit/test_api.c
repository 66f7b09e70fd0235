/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/api: each type member by member against a text that was written by hand, every
 * way to be refused, and errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/api.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fail_alloc.h"

#define PARSE(type, text, value, err) type##_parse(text, strlen(text), value, err)

/* Writes the value and compares. */
#define assert_writes(type, value, expected) \
	do { \
		pc_auto(pc_free) char *written = NULL; \
		struct pc_error problem = PC_ERROR_INIT; \
\
		if (type##_write(value, &written, &problem)) \
			fail_msg("%s", problem.message); \
		assert_string_equal(written, expected); \
	} while (0)

#define assert_reads(type, text, value) \
	do { \
		struct pc_error problem = PC_ERROR_INIT; \
\
		if (PARSE(type, text, value, &problem)) \
			fail_msg("%s", problem.message); \
	} while (0)

/* ---- requests ---- */

static void spawn_request(void **state)
{
	static const char whole[] = "{\"model_ref\":\"file:/m.gguf\",\"backend\":\"llama-server\","
				    "\"gpu_id\":0,\"port\":8080}";
	struct pc_worker_spawn_request request, given = PC_WORKER_SPAWN_REQUEST_INIT;

	(void)state;
	assert_reads(pc_worker_spawn_request, " { \"model\" : \"tiny\\u00e9\\n\" } ", &request);
	assert_string_equal(request.model, "tiny\xc3\xa9\n");
	assert_null(request.model_ref);
	assert_null(request.backend);
	assert_int_equal(request.gpu_id, -1);
	assert_int_equal(request.port, 0);
	assert_writes(pc_worker_spawn_request, &request, "{\"model\":\"tiny\xc3\xa9\\n\"}");
	pc_worker_spawn_request_free(&request);
	assert_null(request.model);
	assert_int_equal(request.gpu_id, -1);

	assert_reads(pc_worker_spawn_request, whole, &request);
	assert_null(request.model);
	assert_string_equal(request.model_ref, "file:/m.gguf");
	assert_string_equal(request.backend, "llama-server");
	assert_int_equal(request.gpu_id, 0);
	assert_int_equal(request.port, 8080);
	assert_writes(pc_worker_spawn_request, &request, whole);
	pc_worker_spawn_request_free(&request);

	/* null is "not given"; what is given keeps its neighbours' order. */
	assert_reads(pc_worker_spawn_request, "{\"port\":null,\"model\":\"m\",\"gpu_id\":null}",
		     &request);
	assert_int_equal(request.port, 0);
	assert_int_equal(request.gpu_id, -1);
	pc_worker_spawn_request_free(&request);

	given.model = "m";
	assert_writes(pc_worker_spawn_request, &given, "{\"model\":\"m\"}");
	pc_worker_spawn_request_free(NULL);
}

static void stop_request(void **state)
{
	struct pc_worker_stop_request request;

	(void)state;
	assert_reads(pc_worker_stop_request, "{\"worker_id\":\"w-1\"}", &request);
	assert_string_equal(request.worker_id, "w-1");
	assert_false(request.force);
	assert_writes(pc_worker_stop_request, &request, "{\"worker_id\":\"w-1\",\"force\":false}");
	pc_worker_stop_request_free(&request);
	assert_reads(pc_worker_stop_request, "{\"force\":true,\"worker_id\":\"w-1\"}", &request);
	assert_true(request.force);
	pc_worker_stop_request_free(&request);
}

static void ready_report(void **state)
{
	static const char whole[] = "{\"worker_id\":\"w-1\",\"model_ref\":\"file:/m\","
				    "\"vram_bytes\":9223372036854775807,\"uri\":\"http://h:1\","
				    "\"spawn_token\":\"secret\"}";
	struct pc_worker_ready_report report;

	(void)state;
	assert_reads(pc_worker_ready_report, whole, &report);
	assert_string_equal(report.worker_id, "w-1");
	assert_string_equal(report.model_ref, "file:/m");
	assert_true(report.vram_bytes == INT64_MAX);
	assert_string_equal(report.uri, "http://h:1");
	assert_string_equal(report.spawn_token, "secret");
	assert_writes(pc_worker_ready_report, &report, whole);
	pc_worker_ready_report_free(&report);

	assert_reads(pc_worker_ready_report, "{\"worker_id\":\"w\",\"spawn_token\":\"\"}", &report);
	assert_true(report.vram_bytes == 0);
	assert_null(report.uri);
	assert_string_equal(report.spawn_token, "");
	pc_worker_ready_report_free(&report);
}

/* ---- answers ---- */

#define WORKER_TEXT \
	"{\"worker_id\":\"w-ab-7\",\"model_id\":\"tiny\",\"model_ref\":\"file:/t\"," \
	"\"backend\":\"stub\",\"device\":\"gpu1\",\"gpu_id\":1,\"port\":9000,\"socket\":\"/s\"," \
	"\"status\":\"idle\",\"pid\":4711,\"start_ticks\":123456,\"boot_id\":\"b-1\"," \
	"\"spawned_wall_ms\":1000,\"updated_wall_ms\":2000,\"reserved_bytes\":3000," \
	"\"measured_bytes\":4000,\"slots\":4,\"leases\":2,\"served\":99,\"idle_ms\":5," \
	"\"draining\":true,\"last_exit\":{\"known\":true,\"code\":3,\"signal\":null," \
	"\"wall_ms\":7,\"reason\":\"exited with status 3\"}}"

#define BARE_WORKER_TEXT \
	"{\"worker_id\":\"w\",\"model_id\":\"m\",\"model_ref\":\"r\",\"backend\":\"b\"," \
	"\"device\":\"cpu\",\"gpu_id\":null,\"port\":null,\"socket\":null," \
	"\"status\":\"spawning\",\"pid\":null,\"start_ticks\":null,\"boot_id\":null," \
	"\"spawned_wall_ms\":0,\"updated_wall_ms\":null,\"reserved_bytes\":0," \
	"\"measured_bytes\":null,\"slots\":1,\"leases\":0,\"served\":0,\"idle_ms\":0," \
	"\"draining\":false,\"last_exit\":null}"

static void assert_worker(const struct pc_worker_record *worker)
{
	assert_string_equal(worker->worker_id, "w-ab-7");
	assert_string_equal(worker->model_id, "tiny");
	assert_string_equal(worker->model_ref, "file:/t");
	assert_string_equal(worker->backend, "stub");
	assert_string_equal(worker->device, "gpu1");
	assert_int_equal(worker->gpu_id, 1);
	assert_int_equal(worker->port, 9000);
	assert_string_equal(worker->socket, "/s");
	assert_int_equal(worker->status, PC_WORKER_IDLE);
	assert_int_equal(worker->pid, 4711);
	assert_int_equal(worker->start_ticks, 123456);
	assert_string_equal(worker->boot_id, "b-1");
	assert_int_equal(worker->spawned_wall_ms, 1000);
	assert_int_equal(worker->updated_wall_ms, 2000);
	assert_int_equal(worker->reserved_bytes, 3000);
	assert_int_equal(worker->measured_bytes, 4000);
	assert_int_equal(worker->slots, 4);
	assert_int_equal(worker->leases, 2);
	assert_int_equal(worker->served, 99);
	assert_int_equal(worker->idle_ms, 5);
	assert_true(worker->draining);
	assert_true(worker->has_last_exit);
	assert_true(worker->last_exit.known);
	assert_int_equal(worker->last_exit.code, 3);
	assert_int_equal(worker->last_exit.signal, 0);
	assert_int_equal(worker->last_exit.wall_ms, 7);
	assert_string_equal(worker->last_exit.reason, "exited with status 3");
}

static void worker_record(void **state)
{
	const struct pc_worker_record bare = {
		.worker_id = "w",
		.model_id = "m",
		.model_ref = "r",
		.backend = "b",
		.device = "cpu",
		.gpu_id = -1,
		.slots = 1,
	};
	struct pc_worker_record worker;

	(void)state;
	assert_reads(pc_worker_record, WORKER_TEXT, &worker);
	assert_worker(&worker);
	assert_writes(pc_worker_record, &worker, WORKER_TEXT);
	pc_worker_record_free(&worker);
	assert_writes(pc_worker_record, &bare, BARE_WORKER_TEXT);
	assert_reads(pc_worker_record, BARE_WORKER_TEXT, &worker);
	assert_int_equal(worker.gpu_id, -1);
	assert_int_equal(worker.pid, 0);
	assert_null(worker.socket);
	assert_false(worker.has_last_exit);
	assert_int_equal(worker.last_exit.code, -1);
	pc_worker_record_free(&worker);
}

/* Whoever starts a worker reads as much of its record as it needs. */
static void spawn_response(void **state)
{
	struct pc_worker_spawn_response response = PC_WORKER_SPAWN_RESPONSE_INIT;

	(void)state;
	response.status = PC_STATUS_MAKING_ROOM;
	assert_writes(pc_worker_spawn_response, &response,
		      "{\"worker_id\":null,\"status\":\"making room\",\"model_id\":null,"
		      "\"backend\":null,\"device\":null,\"gpu_id\":null,\"port\":null}");
	assert_reads(pc_worker_spawn_response, "{\"worker_id\":null,\"status\":\"making room\"}",
		     &response);
	assert_null(response.worker_id);
	assert_int_equal(response.gpu_id, -1);
	pc_worker_spawn_response_free(&response);

	assert_reads(pc_worker_spawn_response, WORKER_TEXT, &response);
	assert_string_equal(response.worker_id, "w-ab-7");
	assert_string_equal(response.status, "idle");
	assert_string_equal(response.model_id, "tiny");
	assert_string_equal(response.backend, "stub");
	assert_string_equal(response.device, "gpu1");
	assert_int_equal(response.gpu_id, 1);
	assert_int_equal(response.port, 9000);
	pc_worker_spawn_response_free(&response);
}

#define MODEL_TEXT \
	"{\"id\":\"org/m\",\"name\":\"M\",\"state\":\"backoff\",\"capability\":\"vision\"," \
	"\"backend\":\"b\",\"model_ref\":\"r\",\"aliases\":[\"a\",\"b\"]," \
	"\"memory_bytes\":1,\"slots\":2,\"workers\":3,\"spawning\":4,\"leases\":5," \
	"\"waiting\":6,\"failures_in_row\":7}"
#define COUNTERS_TEXT \
	"{\"submitted\":1,\"granted\":2,\"rejected\":3,\"cancelled\":4,\"timeouts\":5," \
	"\"queue_full\":6,\"cold_starts\":7,\"spawned\":8,\"evicted\":9,\"failed_workers\":10}"
#define STATE_TEXT \
	"{\"pool_id\":\"p\",\"version\":\"0.1\",\"started_wall_ms\":11,\"uptime_secs\":12," \
	"\"devices\":[{\"device\":\"cpu\",\"total_bytes\":13,\"budget_bytes\":14," \
	"\"reserved_bytes\":15}],\"models\":[" MODEL_TEXT "],\"workers\":[" BARE_WORKER_TEXT \
	"," WORKER_TEXT "],\"counters\":" COUNTERS_TEXT "}"

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(pc_model_state_name(PC_MODEL_UNAVAILABLE), "unavailable");
	assert_string_equal(pc_model_state_name(PC_MODEL_UNLOADED), "unloaded");
	assert_string_equal(pc_model_state_name((enum pc_model_state)6), "unknown");
}

static void assert_model(const struct pc_model_record *model)
{
	assert_string_equal(model->id, "org/m");
	assert_string_equal(model->name, "M");
	assert_int_equal(model->state, PC_MODEL_BACKOFF);
	assert_int_equal(model->capability, PC_CAPABILITY_VISION);
	assert_string_equal(model->backend, "b");
	assert_string_equal(model->model_ref, "r");
	assert_int_equal(model->alias_count, 2);
	assert_string_equal(model->aliases[1], "b");
	assert_int_equal(model->memory_bytes, 1);
	assert_int_equal(model->slots, 2);
	assert_int_equal(model->workers, 3);
	assert_int_equal(model->spawning, 4);
	assert_int_equal(model->leases, 5);
	assert_int_equal(model->waiting, 6);
	assert_int_equal(model->failures_in_row, 7);
}

static void assert_state(const struct pc_pool_status_response *pool)
{
	const struct pc_pool_counters *counters = &pool->counters;

	assert_string_equal(pool->pool_id, "p");
	assert_string_equal(pool->version, "0.1");
	assert_int_equal(pool->started_wall_ms, 11);
	assert_int_equal(pool->uptime_secs, 12);
	assert_int_equal(pool->device_count, 1);
	assert_string_equal(pool->devices[0].device, "cpu");
	assert_int_equal(pool->devices[0].total_bytes, 13);
	assert_int_equal(pool->devices[0].budget_bytes, 14);
	assert_int_equal(pool->devices[0].reserved_bytes, 15);
	assert_int_equal(pool->model_count, 1);
	assert_model(&pool->models[0]);
	assert_int_equal(pool->worker_count, 2);
	assert_worker(&pool->workers[1]);
	assert_int_equal(counters->submitted, 1);
	assert_int_equal(counters->granted, 2);
	assert_int_equal(counters->rejected, 3);
	assert_int_equal(counters->cancelled, 4);
	assert_int_equal(counters->timeouts, 5);
	assert_int_equal(counters->queue_full, 6);
	assert_int_equal(counters->cold_starts, 7);
	assert_int_equal(counters->spawned, 8);
	assert_int_equal(counters->evicted, 9);
	assert_int_equal(counters->failed_workers, 10);
}

static void pool_state(void **state)
{
	struct pc_pool_status_response pool;

	(void)state;
	assert_reads(pc_pool_status_response, STATE_TEXT, &pool);
	assert_state(&pool);
	assert_writes(pc_pool_status_response, &pool, STATE_TEXT);
	pc_pool_status_response_free(&pool);
}

static void lists(void **state)
{
	static const char workers_text[] = "{\"workers\":[" WORKER_TEXT "]}";
	static const char models_text[] = "{\"models\":[" MODEL_TEXT "]}";
	struct pc_worker_list workers;
	struct pc_model_list models;

	(void)state;
	assert_reads(pc_worker_list, workers_text, &workers);
	assert_int_equal(workers.worker_count, 1);
	assert_worker(&workers.workers[0]);
	assert_writes(pc_worker_list, &workers, workers_text);
	pc_worker_list_free(&workers);
	assert_int_equal(workers.worker_count, 0);
	assert_writes(pc_worker_list, &workers, "{\"workers\":[]}");

	assert_reads(pc_model_list, models_text, &models);
	assert_model(&models.models[0]);
	assert_writes(pc_model_list, &models, models_text);
	pc_model_list_free(&models);
}

static void heartbeat(void **state)
{
	static const char text[] = "{\"pool_id\":\"p\",\"timestamp\":1700000000000,"
				   "\"version\":\"0.1\",\"state\":" STATE_TEXT "}";
	struct pc_heartbeat beat;

	(void)state;
	assert_reads(pc_heartbeat, text, &beat);
	assert_string_equal(beat.pool_id, "p");
	assert_true(beat.timestamp == INT64_C(1700000000000));
	assert_string_equal(beat.version, "0.1");
	assert_state(&beat.state);
	assert_writes(pc_heartbeat, &beat, text);
	pc_heartbeat_free(&beat);
}

/* A newer peer says more, somewhere and of any kind. */
static void answers_may_say_more(void **state)
{
	static const char text[] =
		"{\"new\":{\"a\":[1,2.5e3,{\"b\":null}],\"c\":\"\\ud83d\\ude00\"},\"workers\":[],"
		"\"more\":[[],{}],\"number\":99999999999999999999,\"flag\":true}";
	struct pc_worker_list workers;

	(void)state;
	assert_reads(pc_worker_list, text, &workers);
	assert_int_equal(workers.worker_count, 0);
	pc_worker_list_free(&workers);
}

/* ---- refusals ---- */

struct refusal {
	int (*parse)(const char *text, size_t length, struct pc_error *err);
	const char *text;
	int code;
	const char *param; /* NULL: none is named */
	const char *message;
};

#define PARSER(type) \
	static int parse_##type(const char *text, size_t length, struct pc_error *err) \
	{ \
		struct type value; \
		int rc = type##_parse(text, length, &value, err); \
\
		if (!rc) \
			type##_free(&value); \
		return rc; \
	}
PARSER(pc_worker_spawn_request)
PARSER(pc_worker_stop_request)
PARSER(pc_worker_list)
PARSER(pc_pool_status_response)
PARSER(pc_api_error)

/* clang-format off */
static const struct refusal refusals[] = {
	{ parse_pc_worker_spawn_request, "", PC_E_INVALID_JSON, NULL,
	  "line 1, column 1: expected a value, but the text ends" },
	{ parse_pc_worker_spawn_request, "[1, 2]", PC_E_INVALID_REQUEST, NULL,
	  "a start request must be a JSON object" },
	{ parse_pc_worker_spawn_request, "\xef\xbb\xbf{}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 1: expected a value" },
	{ parse_pc_worker_spawn_request, "{\n \"model\" \"m\"}", PC_E_INVALID_JSON, NULL,
	  "line 2, column 10: expected ':'" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 14: expected a field's name in quotes" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\" \"port\":1}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 14: expected ',' or '}'" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\"}x", PC_E_INVALID_JSON, NULL,
	  "line 1, column 14: something follows the end of the value" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m", PC_E_INVALID_JSON, NULL,
	  "line 1, column 12: the text ends within a string" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"a\nb\"}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 12: a control character in a string; write it as \\u00xx" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"\\x\"}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 11: a backslash before what needs none" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"\\u12g4\"}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 11: \\u takes four hexadecimal digits" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"\\ud83d!\"}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 11: half of a surrogate pair" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"\\ude00\"}", PC_E_INVALID_JSON, NULL,
	  "line 1, column 11: half of a surrogate pair" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"\xff\"}", PC_E_INVALID_JSON, NULL,
	  "byte 10 is not UTF-8" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"a\\u0000b\"}", PC_E_INVALID_REQUEST,
	  "model", "'model' has a NUL in its text" },
	{ parse_pc_worker_spawn_request, "{\"model\":tru}", PC_E_INVALID_REQUEST, "model",
	  "'model' must be a string of 1 to 160 bytes in UTF-8, not a boolean" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"\"}", PC_E_INVALID_REQUEST, "model",
	  "'model' must be a string of 1 to 160 bytes in UTF-8, not 0" },
	{ parse_pc_worker_spawn_request, "{}", PC_E_INVALID_REQUEST, "model",
	  "name the model as 'model' (an id or alias) or 'model_ref'" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"model_ref\":\"r\"}",
	  PC_E_INVALID_REQUEST, "model",
	  "name the model once, as 'model' (an id or alias) or 'model_ref'" },
	{ parse_pc_worker_spawn_request, "{\"modle\":\"m\"}", PC_E_INVALID_REQUEST, "modle",
	  "'modle' is not a field of this request; did you mean 'model'?" },
	{ parse_pc_worker_spawn_request, "{\"temperature\":1}", PC_E_INVALID_REQUEST,
	  "temperature",
	  "'temperature' is not a field of this request, which has model, model_ref, backend, "
	  "gpu_id, port" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"model\":\"m\"}",
	  PC_E_INVALID_REQUEST, "model", "'model' stands there twice" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"port\":0}", PC_E_INVALID_REQUEST,
	  "port", "'port' must be a whole number from 1 to 65535, not 0" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"port\":65536}",
	  PC_E_INVALID_REQUEST, "port", "'port' must be a whole number from 1 to 65535, not 65536" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"port\":80.0}", PC_E_INVALID_REQUEST,
	  "port", "'port' must be a whole number from 1 to 65535, not 80.0" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"port\":1e3}", PC_E_INVALID_REQUEST,
	  "port", "'port' must be a whole number from 1 to 65535, not 1e3" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"port\":\"80\"}",
	  PC_E_INVALID_REQUEST, "port",
	  "'port' must be a whole number from 1 to 65535, not a string" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"port\":080}", PC_E_INVALID_JSON,
	  NULL, "line 1, column 21: expected a number, in JSON's form" },
	{ parse_pc_worker_spawn_request, "{\"model\":\"m\",\"gpu_id\":-1}", PC_E_INVALID_REQUEST,
	  "gpu_id", "'gpu_id' must be a whole number from 0 to 1023, not -1" },
	{ parse_pc_worker_stop_request, "{\"force\":true}", PC_E_INVALID_REQUEST, "worker_id",
	  "'worker_id' is missing" },
	{ parse_pc_worker_stop_request, "{\"worker_id\":\"w\",\"force\":1}", PC_E_INVALID_REQUEST,
	  "force", "'force' must be true or false, not a number" },
	{ parse_pc_worker_stop_request, "{\"worker_id\":null}", PC_E_INVALID_REQUEST, "worker_id",
	  "'worker_id' must be a string of 1 to 47 bytes in UTF-8, not null" },
	{ parse_pc_worker_list, "{\"workers\":[" BARE_WORKER_TEXT "," BARE_WORKER_TEXT ","
	  BARE_WORKER_TEXT ",{\"port\":9223372036854775808}]}", PC_E_INVALID_REQUEST,
	  "workers[3].port",
	  "'workers[3].port' must be a whole number from 1 to 65535, not 9223372036854775808" },
	{ parse_pc_worker_list, "{\"workers\":[{\"last_exit\":{\"known\":true,\"wall_ms\":0.5}}]}",
	  PC_E_INVALID_REQUEST, "workers[0].last_exit.wall_ms",
	  "'workers[0].last_exit.wall_ms' must be a whole number from 0 to 9223372036854775807, "
	  "not 0.5" },
	{ parse_pc_worker_list, "{\"workers\":[{\"status\":\"asleep\"}]}", PC_E_INVALID_REQUEST,
	  "workers[0].status",
	  "'workers[0].status' must be one of \"spawning\", \"ready\", \"busy\", \"idle\", "
	  "\"stopping\", \"stopped\", not \"asleep\"" },
	{ parse_pc_worker_list, "{\"workers\":[7]}", PC_E_INVALID_REQUEST, "workers[0]",
	  "'workers[0]' must be an object" },
	{ parse_pc_worker_list, "{\"workers\":{}}", PC_E_INVALID_REQUEST, "workers",
	  "'workers' must be a list of at most 1048576 objects, not an object" },
	{ parse_pc_worker_list, "{\"workers\":[],\"workers\":[]}", PC_E_INVALID_REQUEST,
	  "workers", "'workers' stands there twice" },
	{ parse_pc_pool_status_response, "{\"models\":[{\"aliases\":[\"a\",7]}]}",
	  PC_E_INVALID_REQUEST, "models[0].aliases[1]",
	  "'models[0].aliases[1]' must be a string, not a number" },
	{ parse_pc_api_error, "{\"error\":{\"code\":\"X\",\"message\":\"m\","
	  "\"details\":{\"a\":\"1\",\"a\":\"2\"}}}", PC_E_INVALID_REQUEST, "error.details.a",
	  "'error.details.a' stands there twice" },
	{ parse_pc_api_error, "{\"error\":{\"code\":\"X\",\"message\":\"m\","
	  "\"details\":{\"a\":1}}}", PC_E_INVALID_REQUEST, "error.details.a",
	  "'error.details.a' must be a string, not a number" },
	{ parse_pc_api_error, "{\"error\":{\"code\":\"X\"}}", PC_E_INVALID_REQUEST,
	  "error.message", "'error.message' is missing" },
};
/* clang-format on */

static void everything_wrong_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(refusals); i++) {
		const struct refusal *refusal = &refusals[i];
		struct pc_error err = PC_ERROR_INIT;
		const char *param;

		assert_int_equal(refusal->parse(refusal->text, strlen(refusal->text), &err),
				 refusal->code);
		assert_string_equal(err.message, refusal->message);
		assert_int_equal(err.code, refusal->code);
		param = pc_error_detail_get(&err, "param");
		assert_true(!param == !refusal->param);
		if (param)
			assert_string_equal(param, refusal->param);
	}
}

static void a_raw_nul_is_no_json(void **state)
{
	static const char text[] = "{\"model\":\"a\0b\"}", behind[] = "{\"model\":\"a\"}\0";
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(parse_pc_worker_spawn_request(text, sizeof(text) - 1, &err),
			 PC_E_INVALID_JSON);
	pc_error_clear(&err);
	assert_int_equal(parse_pc_worker_spawn_request(behind, sizeof(behind) - 1, &err),
			 PC_E_INVALID_JSON);
}

/* The output is not touched, and a text needs no end. */
static void an_error_writes_nothing(void **state)
{
	static const char text[] = { '{', '"', 'm', 'o', 'd', 'e', 'l', '"', ':', '"', 'm', '"' };
	struct pc_worker_spawn_request request = { .model = text, .port = 7 };
	char *written = NULL;

	(void)state;
	assert_int_equal(pc_worker_spawn_request_parse(text, sizeof(text), &request, NULL),
			 PC_E_INVALID_JSON);
	assert_ptr_equal(request.model, text);
	assert_int_equal(request.port, 7);
	request.model = "";
	assert_int_equal(pc_worker_spawn_request_write(&request, &written, NULL),
			 PC_E_INVALID_REQUEST);
	assert_null(written);
}

/* ---- limits ---- */

static void depth_is_limited(void **state)
{
	char text[2 * PC_API_DEPTH_MAX + 64];

	(void)state;
	/* The root has one bracket. */
	for (int more = 0; more <= 1; more++) {
		struct pc_error err = PC_ERROR_INIT;
		int depth = PC_API_DEPTH_MAX - 1 + more, rc;

		snprintf(text, sizeof(text), "{\"workers\":[],\"x\":%.*s%.*s}", depth,
			 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", depth,
			 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
		rc = parse_pc_worker_list(text, strlen(text), &err);
		assert_int_equal(rc, more ? PC_E_INVALID_JSON : 0);
		if (more)
			assert_non_null(strstr(err.message, "more than 32 brackets"));
	}
}

static void size_is_limited(void **state)
{
	char *text = malloc(PC_API_REQUEST_MAX + 1);
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', PC_API_REQUEST_MAX + 1);
	memcpy(text, "{\"worker_id\":\"w\"}", 17);
	assert_int_equal(parse_pc_worker_stop_request(text, PC_API_REQUEST_MAX, &err), 0);
	assert_int_equal(parse_pc_worker_stop_request(text, PC_API_REQUEST_MAX + 1, &err),
			 PC_E_PAYLOAD_TOO_LARGE);
	assert_string_equal(pc_error_detail_get(&err, "limit_bytes"), "65536");
	free(text);
}

static void lists_are_limited(void **state)
{
	char text[8192] = "{\"error\":{\"code\":\"X\",\"message\":\"m\",\"details\":{";

	(void)state;
	for (int i = 0; i <= PC_ERROR_DETAILS_MAX; i++) {
		size_t length = strlen(text);
		struct pc_error err = PC_ERROR_INIT;
		char whole[8300];

		snprintf(text + length, sizeof(text) - length, "%s\"k%d\":\"v\"", i ? "," : "", i);
		snprintf(whole, sizeof(whole), "%s}}}", text);
		assert_int_equal(parse_pc_api_error(whole, strlen(whole), &err),
				 i < PC_ERROR_DETAILS_MAX ? 0 : PC_E_INVALID_REQUEST);
	}
}

/* A name in a map is a text as its value is: what was read can be written again. */
static void names_in_maps_are_limited(void **state)
{
	static const char head[] = "{\"error\":{\"code\":\"X\",\"message\":\"m\",\"details\":{\"";
	static const char tail[] = "\":\"v\"}}}";
	size_t size = sizeof(head) + sizeof(tail) + PC_API_TEXT_MAX + 1;
	char *text = malloc(size);

	(void)state;
	assert_non_null(text);
	for (size_t more = 0; more < 2; more++) {
		struct pc_error err = PC_ERROR_INIT;

		snprintf(text, size, "%s%0*d%s", head, (int)(PC_API_TEXT_MAX + more), 0, tail);
		assert_int_equal(parse_pc_api_error(text, strlen(text), &err),
				 more ? PC_E_INVALID_REQUEST : 0);
		if (more)
			assert_non_null(strstr(err.message, "has 16385 bytes; at most are 16384"));
	}
	free(text);
}

/* What may not be read may not be written either. */
static void values_are_checked_before_they_are_written(void **state)
{
	struct pc_worker_record worker = {
		.worker_id = "w",
		.model_id = "m",
		.model_ref = "r",
		.backend = "b",
		.device = "cpu",
		.gpu_id = -1,
	};
	struct pc_worker_list list = { .workers = &worker, .worker_count = 1 };
	struct pc_error err = PC_ERROR_INIT;
	char *text;

	(void)state;
	assert_int_equal(pc_worker_list_validate(&list, &err), 0);
	worker.reserved_bytes = UINT64_C(1) << 63;
	assert_int_equal(pc_worker_list_write(&list, &text, &err), PC_E_INVALID_REQUEST);
	assert_string_equal(pc_error_detail_get(&err, "param"), "workers[0].reserved_bytes");
	worker.reserved_bytes = 0;
	pc_error_clear(&err);
	worker.device = NULL;
	assert_int_equal(pc_worker_list_validate(&list, &err), PC_E_INVALID_REQUEST);
	assert_string_equal(pc_error_detail_get(&err, "param"), "workers[0].device");
	worker.device = "cpu\xff";
	pc_error_clear(&err);
	assert_int_equal(pc_worker_list_validate(&list, &err), PC_E_INVALID_REQUEST);
	worker.device = "cpu";
	worker.status = (enum pc_worker_status)6;
	pc_error_clear(&err);
	assert_int_equal(pc_worker_list_validate(&list, &err), PC_E_INVALID_REQUEST);
	assert_string_equal(pc_error_detail_get(&err, "param"), "workers[0].status");
	pc_error_clear(&err);
	assert_int_equal(pc_worker_list_validate(NULL, &err), PC_E_INVALID_ARGUMENT);
	list.workers = NULL;
	pc_error_clear(&err);
	assert_int_equal(pc_worker_list_validate(&list, &err), PC_E_INVALID_REQUEST);
}

/* ---- errors ---- */

#define ERROR_TEXT \
	"{\"error\":{\"message\":\"the prompt has 812 tokens\"," \
	"\"type\":\"invalid_request_error\",\"param\":\"messages\"," \
	"\"code\":\"CONTEXT_EXCEEDED\",\"details\":{\"prompt_tokens\":\"812\"}," \
	"\"correlation_id\":\"id-1\",\"http_status\":400,\"retriable\":false}}"

static void errors_travel(void **state)
{
	struct pc_api_detail details[PC_ERROR_DETAILS_MAX];
	struct pc_error sent = PC_ERROR_INIT, received = PC_ERROR_INIT;
	struct pc_api_error value;

	(void)state;
	pc_error_set(&sent, PC_E_CONTEXT_EXCEEDED, "the prompt has 812 tokens");
	pc_error_detail(&sent, "prompt_tokens", "812");
	pc_error_detail(&sent, "param", "messages");
	pc_api_error_of(&sent, "id-1", NULL, details, &value);
	assert_writes(pc_api_error, &value, ERROR_TEXT);

	assert_reads(pc_api_error, ERROR_TEXT, &value);
	assert_string_equal(value.code, "CONTEXT_EXCEEDED");
	assert_string_equal(value.type, "invalid_request_error");
	assert_string_equal(value.correlation_id, "id-1");
	assert_int_equal(value.http_status, 400);
	assert_false(value.retriable);
	assert_int_equal(pc_api_error_take(&value, &received), PC_E_CONTEXT_EXCEEDED);
	pc_api_error_free(&value);
	assert_string_equal(received.message, sent.message);
	assert_string_equal(pc_error_detail_get(&received, "prompt_tokens"), "812");
	assert_string_equal(pc_error_detail_get(&received, "param"), "messages");
}

/* One that is not set is INTERNAL; one of an older peer gets what its code says. */
static void errors_are_completed(void **state)
{
	struct pc_api_detail details[PC_ERROR_DETAILS_MAX];
	struct pc_error unset = PC_ERROR_INIT, received;
	struct pc_api_error value;

	(void)state;
	pc_api_error_of(&unset, NULL, "p", details, &value);
	assert_string_equal(value.code, "INTERNAL");
	assert_string_equal(value.message, "an internal error");
	assert_string_equal(value.param, "p");
	assert_int_equal(value.http_status, 500);

	assert_reads(pc_api_error, "{\"error\":{\"code\":\"QUEUE_FULL\",\"message\":\"full\"}}",
		     &value);
	assert_int_equal(value.http_status, 503);
	assert_true(value.retriable);
	assert_null(value.type);
	pc_api_error_free(&value);

	assert_reads(pc_api_error,
		     "{\"error\":{\"code\":\"OF_TOMORROW\",\"message\":\"new\","
		     "\"http_status\":418,\"retriable\":true}}",
		     &value);
	assert_int_equal(value.http_status, 418);
	assert_true(value.retriable);
	assert_int_equal(pc_api_error_take(&value, &received), PC_E_INTERNAL);
	assert_string_equal(received.message, "new");
	pc_api_error_free(&value);
}

static void types_of_errors(void **state)
{
	(void)state;
	assert_string_equal(pc_api_error_type(PC_E_INVALID_JSON), "invalid_request_error");
	assert_string_equal(pc_api_error_type(PC_E_MODEL_NOT_FOUND), "invalid_request_error");
	assert_string_equal(pc_api_error_type(PC_E_UNAUTHORIZED), "authentication_error");
	assert_string_equal(pc_api_error_type(PC_E_TOO_MANY_REQUESTS), "rate_limit_error");
	assert_string_equal(pc_api_error_type(PC_E_QUEUE_FULL), "server_error");
	assert_string_equal(pc_api_error_type(PC_E_TIMEOUT), "server_error");
}

/* An error must be reportable when memory has run out. */
static void errors_are_formatted_without_memory(void **state)
{
	struct pc_api_detail details[PC_ERROR_DETAILS_MAX];
	struct pc_error err = PC_ERROR_INIT;
	struct pc_api_error value;
	char buf[1024];
	size_t length;

	(void)state;
	pc_error_oom(&err);
	fail_alloc_begin(1);
	pc_api_error_of(&err, "id", NULL, details, &value);
	length = pc_api_error_format(&value, buf, sizeof(buf));
	assert_true(fail_alloc_end());
	assert_int_equal(length, strlen(buf));
	assert_non_null(strstr(buf, "\"code\":\"OUT_OF_MEMORY\""));
}

/* A message of another process may be longer than any of ours. */
static void long_errors_are_cut(void **state)
{
	static char message[4000];
	struct pc_api_error value = { .code = "IO", .message = message };
	char buf[400];

	(void)state;
	for (size_t i = 0; i + 3 < sizeof(message); i += 3)
		memcpy(message + i, "\xe2\x82\xac", 3);

	size_t length = pc_api_error_format(&value, buf, sizeof(buf));
	struct pc_api_error again;

	assert_true(length > 390);
	assert_reads(pc_api_error, buf, &again);
	assert_memory_equal(again.message, message, strlen(again.message));
	pc_api_error_free(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spawn_request),
		cmocka_unit_test(stop_request),
		cmocka_unit_test(ready_report),
		cmocka_unit_test(worker_record),
		cmocka_unit_test(spawn_response),
		cmocka_unit_test(pool_state),
		cmocka_unit_test(lists),
		cmocka_unit_test(states_have_names),
		cmocka_unit_test(heartbeat),
		cmocka_unit_test(answers_may_say_more),
		cmocka_unit_test(everything_wrong_is_named),
		cmocka_unit_test(a_raw_nul_is_no_json),
		cmocka_unit_test(an_error_writes_nothing),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(size_is_limited),
		cmocka_unit_test(lists_are_limited),
		cmocka_unit_test(names_in_maps_are_limited),
		cmocka_unit_test(values_are_checked_before_they_are_written),
		cmocka_unit_test(errors_travel),
		cmocka_unit_test(errors_are_completed),
		cmocka_unit_test(types_of_errors),
		cmocka_unit_test(errors_are_formatted_without_memory),
		cmocka_unit_test(long_errors_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
