/* SPDX-License-Identifier: MIT */
/*
 * control.c - the control plane: /health, /metrics, /v2 and the lists of /v1. Off the hot path;
 * JSON is read and written with jansson. Runs on the request's loop.
 */
#include <poolcore/catalog.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/gpus.h"
#include "daemon/logbook.h"
#include "daemon/loop.h"
#include "daemon/render.h"
#include "daemon/request.h"
#include "daemon/routes.h"
#include "http/api_error.h"

static const struct http_field json_fields[] = {
	{ "Content-Type", "application/json" },
	{ NULL, NULL },
};

static void respond_error(struct request *request, const struct pc_error *err)
{
	api_respond_error(request->exchange, err);
}

/* Takes the reference; NULL means that it could not be allocated. */
static void respond_json(struct request *request, int status, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	struct pc_error err = PC_ERROR_INIT;

	json_decref(value);
	if (!text) {
		pc_error_oom(&err);
		respond_error(request, &err);
		return;
	}
	http_respond(request->exchange, status, json_fields, text, strlen(text));
	free(text);
}

/* ---- what is ---- */

void control_root(struct request *request, const char *argument)
{
	json_t *list = json_array();
	size_t count;
	const struct route *table = routes(&count);

	(void)argument;
	for (size_t i = 0; list && i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "method", table[i].method,
						      "path", table[i].pattern, "summary",
						      table[i].summary));
	respond_json(request, 200,
		     json_pack("{s:s, s:o}", "name", "pool-managerd", "routes", list));
}

void control_health(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_health(request->daemon));
}

void control_metrics(struct request *request, const char *argument)
{
	static const struct http_field fields[] = {
		{ "Content-Type", "text/plain; version=0.0.4; charset=utf-8" },
		{ NULL, NULL },
	};
	pc_auto(pc_free) char *text = render_metrics(request->daemon);
	struct pc_error err = PC_ERROR_INIT;

	(void)argument;
	if (text) {
		http_respond(request->exchange, 200, fields, text, strlen(text));
	} else {
		pc_error_oom(&err);
		respond_error(request, &err);
	}
}

void control_state(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_state(request->daemon));
}

void control_gpus(struct request *request, const char *argument)
{
	struct gpus *gpus = request->daemon->gpus;
	pc_auto(pc_free) char *text = gpus_text(gpus);
	struct pc_error err = PC_ERROR_INIT;

	(void)argument;
	/* Who asks once will ask again. */
	gpus_look(gpus);
	if (text) {
		http_respond(request->exchange, 200, json_fields, text, strlen(text));
	} else {
		pc_error_oom(&err);
		respond_error(request, &err);
	}
}

void control_models(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_models(request->daemon));
}

void control_v1_models(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_v1_models(request->daemon));
}

void control_v1_model(struct request *request, const char *argument)
{
	const struct pc_model_entry *entry;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_catalog_get(request->daemon->catalog, argument, &entry, &err))
		respond_error(request, &err);
	else
		respond_json(request, 200, render_v1_model(request->daemon, entry));
}

void control_workers(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_workers(request->daemon));
}

static void respond_worker(struct request *request, int status, const char *worker_id)
{
	struct worker_snapshot worker;
	struct pc_error err = PC_ERROR_INIT;

	if (body_snapshot_worker(request->daemon, worker_id, &worker, &err))
		respond_error(request, &err);
	else
		respond_json(request, status, render_worker(&worker));
}

void control_worker(struct request *request, const char *argument)
{
	respond_worker(request, 200, argument);
}

static void append_line(void *ctx, const char *text)
{
	json_array_append_new(ctx, json_string(text));
}

/* "lines=N" of the query; 100 without one, and never more than are kept. */
static size_t wanted_lines(const struct http_exchange *exchange)
{
	struct http_slice query = http_query(exchange);
	unsigned count = 100;
	char text[32];

	snprintf(text, sizeof(text), "%.*s", (int)(query.length > 24 ? 24 : query.length),
		 query.length ? query.data : "");
	sscanf(text, "lines=%u", &count);
	return count < LOGBOOK_LINES ? count : LOGBOOK_LINES;
}

void control_worker_logs(struct request *request, const char *argument)
{
	struct pc_error err = PC_ERROR_INIT;
	struct logbook *log;
	json_t *lines;

	if (body_worker_log(request->daemon, argument, &log, &err)) {
		respond_error(request, &err);
		return;
	}
	lines = json_array();
	logbook_read(log, wanted_lines(request->exchange), append_line, lines);
	logbook_unref(log);
	respond_json(request, 200, json_pack("{s:s, s:o}", "worker_id", argument, "lines", lines));
}

/* ---- what is to be done ---- */

enum field_kind { FIELD_STRING, FIELD_BOOL, FIELD_NUMBER };

/* What a body of the control plane may say; each route takes some of it. */
struct order {
	const char *model; /* strings are the body's */
	const char *model_ref;
	const char *worker_id;
	const char *spawn_token;
	const char *uri;
	int64_t port; /* numbers are -1 when they were not given */
	int64_t vram_bytes;
	bool force;
};

struct field {
	const char *name;
	enum field_kind kind;
	bool required;
	int64_t low, high; /* of a number */
	size_t offset;	   /* in struct order */
};

#define FIELD(member) offsetof(struct order, member)

static const struct field start_fields[] = {
	{ "model", FIELD_STRING, false, 0, 0, FIELD(model) },
	{ "model_ref", FIELD_STRING, false, 0, 0, FIELD(model_ref) },
	{ "port", FIELD_NUMBER, false, 1, 65535, FIELD(port) },
};

static const struct field stop_fields[] = {
	{ "worker_id", FIELD_STRING, true, 0, 0, FIELD(worker_id) },
	{ "force", FIELD_BOOL, false, 0, 0, FIELD(force) },
};

static const struct field ready_fields[] = {
	{ "worker_id", FIELD_STRING, true, 0, 0, FIELD(worker_id) },
	{ "spawn_token", FIELD_STRING, true, 0, 0, FIELD(spawn_token) },
	{ "model_ref", FIELD_STRING, false, 0, 0, FIELD(model_ref) },
	{ "vram_bytes", FIELD_NUMBER, false, 0, INT64_MAX, FIELD(vram_bytes) },
	{ "uri", FIELD_STRING, false, 0, 0, FIELD(uri) },
};

static int read_field(const struct field *field, const json_t *value, struct order *order,
		      struct pc_error *err)
{
	char *member = (char *)order + field->offset;
	int64_t number = json_integer_value(value);

	switch (field->kind) {
	case FIELD_STRING:
		if (!json_is_string(value))
			return pc_error_set(err, PC_E_INVALID_REQUEST, "'%s' must be a string",
					    field->name);
		*(const char **)member = json_string_value(value);
		return 0;
	case FIELD_BOOL:
		if (!json_is_boolean(value))
			return pc_error_set(err, PC_E_INVALID_REQUEST, "'%s' must be true or false",
					    field->name);
		*(bool *)member = json_is_true(value);
		return 0;
	case FIELD_NUMBER:
		if (!json_is_integer(value) || number < field->low || number > field->high)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "'%s' must be a whole number from %" PRId64
					    " to %" PRId64,
					    field->name, field->low, field->high);
		*(int64_t *)member = number;
		return 0;
	}
	return PC_E_INTERNAL;
}

static int read_member(const struct field *fields, size_t count, const char *name,
		       const json_t *value, struct order *order, struct pc_error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(fields[i].name, name) == 0)
			return read_field(&fields[i], value, order, err);
	}
	return pc_error_set(err, PC_E_INVALID_REQUEST, "'%.64s' is not a field of this request",
			    name);
}

/* Reads the body into `ret_order`, whose strings live as long as *ret_body; freed by the caller,
 * also after an error. */
static int read_order(const struct request *request, const struct field *fields, size_t count,
		      struct order *ret_order, json_t **ret_body, struct pc_error *err)
{
	json_error_t where;
	const char *name;
	json_t *value;

	*ret_order = (struct order){ .port = -1, .vram_bytes = -1 };
	*ret_body = json_loadb(request->body ? request->body : "", request->body_length,
			       JSON_REJECT_DUPLICATES, &where);
	if (!*ret_body)
		return pc_error_set(err, PC_E_INVALID_JSON, "line %d, column %d: %s", where.line,
				    where.column, where.text);
	if (!json_is_object(*ret_body))
		return pc_error_set(err, PC_E_INVALID_REQUEST, "the body must be a JSON object");
	json_object_foreach(*ret_body, name, value)
	{
		int rc = read_member(fields, count, name, value, ret_order, err);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < count; i++) {
		if (fields[i].required && !json_object_get(*ret_body, fields[i].name))
			return pc_error_set(err, PC_E_INVALID_REQUEST, "'%s' is missing",
					    fields[i].name);
	}
	return 0;
}

/* Says at once that a port is taken; somebody may still take it before the worker does. */
static int check_port(const struct model *model, int64_t port, struct pc_error *err)
{
	if (!pc_command_uses(model->backend, "port"))
		return pc_error_set(
			err, PC_E_INVALID_REQUEST,
			"backend '%s' does not listen on a port: its command has no {port}",
			model->backend->name);
	return pc_port_check((uint16_t)port, err);
}

static int start_worker(struct request *request, const struct order *order, char *ret_id,
			struct pc_error *err)
{
	const char *name = order->model ? order->model : order->model_ref;
	const struct pc_model_entry *entry;
	struct model *model;
	int rc;

	if (!name)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "name the model as 'model' (an id or alias) or 'model_ref'");
	rc = pc_catalog_get(request->daemon->catalog, name, &entry, err);
	if (rc)
		return rc;
	model = body_model(request->daemon, entry);
	if (order->port > 0)
		rc = check_port(model, order->port, err);
	if (rc)
		return rc;
	return body_start_worker(request->daemon, model,
				 order->port > 0 ? (uint16_t)order->port : 0, ret_id, err);
}

void control_worker_start(struct request *request, const char *argument)
{
	struct pc_error err = PC_ERROR_INIT;
	char worker_id[PC_WORKER_ID_MAX];
	struct order order;
	json_t *body;
	int rc = read_order(request, start_fields, PC_ARRAY_LEN(start_fields), &order, &body, &err);

	(void)argument;
	if (!rc)
		rc = start_worker(request, &order, worker_id, &err);
	if (rc)
		respond_error(request, &err);
	else if (worker_id[0])
		respond_worker(request, 202, worker_id);
	else
		respond_json(request, 202,
			     json_pack("{s:n, s:s}", "worker_id", "status", "making room"));
	json_decref(body);
}

void control_worker_stop(struct request *request, const char *argument)
{
	struct pc_error err = PC_ERROR_INIT;
	struct order order;
	json_t *body;
	int rc = read_order(request, stop_fields, PC_ARRAY_LEN(stop_fields), &order, &body, &err);

	(void)argument;
	if (!rc)
		rc = body_stop_worker(request->daemon, order.worker_id, order.force, &err);
	if (rc)
		respond_error(request, &err);
	else
		respond_worker(request, 202, order.worker_id);
	json_decref(body);
}

static void on_report_heard(struct lease *lease)
{
	struct request *request = (struct request *)((char *)lease -
						     offsetof(struct request, lease));
	enum lease_state state = lease->state;

	request->queued = false;
	lease->state = LEASE_NONE;
	if (state == LEASE_HEARD)
		http_respond(request->exchange, 204, NULL, NULL, 0);
	else
		respond_error(request, &lease->error);
}

void control_closed(struct request *request)
{
	if (request->queued)
		body_withdraw(request->daemon, &request->lease);
}

void control_worker_ready(struct request *request, const char *argument)
{
	request->lease.loop = request->loop;
	request->lease.on_outcome = on_report_heard;

	struct pc_error err = PC_ERROR_INIT;
	struct order order;
	json_t *body;
	int rc = read_order(request, ready_fields, PC_ARRAY_LEN(ready_fields), &order, &body, &err);

	(void)argument;
	if (!rc)
		rc = body_report_ready(request->daemon, &request->lease, order.worker_id,
				       order.spawn_token,
				       order.vram_bytes > 0 ? (uint64_t)order.vram_bytes : 0, &err);
	if (rc > 0)
		request->queued = true; /* on_report_heard answers */
	else if (rc)
		respond_error(request, &err);
	else
		http_respond(request->exchange, 204, NULL, NULL, 0);
	json_decref(body);
}
