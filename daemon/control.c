/* SPDX-License-Identifier: MIT */
/*
 * control.c - the control plane: /health, /metrics, /v2 and the lists of /v1. Off the hot path;
 * JSON is read and written with jansson. Runs on the request's loop.
 */
#include <poolcore/catalog.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
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
	(void)argument;
	respond_json(request, 200, render_gpus(request->daemon));
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

static void respond_no_worker(struct request *request, const char *worker_id)
{
	struct pc_error err = PC_ERROR_INIT;

	pc_error_set(&err, PC_E_WORKER_NOT_FOUND, "there is no worker '%.64s'; see GET /v2/workers",
		     worker_id);
	respond_error(request, &err);
}

void control_worker(struct request *request, const char *argument)
{
	json_t *value = render_worker(request->daemon, argument);

	if (value)
		respond_json(request, 200, value);
	else
		respond_no_worker(request, argument);
}

static void append_line(void *ctx, const char *text)
{
	/* Logs are bytes; what is not UTF-8 is shown by its length only. */
	json_t *line = json_string(text);

	json_array_append_new(
		ctx, line ? line : json_sprintf("(%zu bytes that are not UTF-8)", strlen(text)));
}

void control_worker_logs(struct request *request, const char *argument)
{
	struct http_slice query = http_query(request->exchange);
	struct logbook *log = body_worker_log(request->daemon, argument);
	unsigned count = 100;
	char text[32];
	json_t *lines;

	if (!log) {
		respond_no_worker(request, argument);
		return;
	}
	snprintf(text, sizeof(text), "%.*s", (int)(query.length > 24 ? 24 : query.length),
		 query.length ? query.data : "");
	if (sscanf(text, "lines=%u", &count) == 1 && count > LOGBOOK_LINES)
		count = LOGBOOK_LINES;
	lines = json_array();
	if (lines)
		logbook_read(log, count, append_line, lines);
	logbook_unref(log);
	respond_json(request, 200, json_pack("{s:s, s:o}", "worker_id", argument, "lines", lines));
}

/* ---- what is to be done ---- */

enum field_kind { FIELD_STRING, FIELD_BOOL, FIELD_INTEGER };

/* A member of a request's body. */
struct field {
	const char *name;
	enum field_kind kind;
	bool required;
	json_t *value; /* borrowed from the body */
};

static bool kind_fits(const struct field *field, const json_t *value)
{
	switch (field->kind) {
	case FIELD_STRING:
		return json_is_string(value);
	case FIELD_BOOL:
		return json_is_boolean(value);
	case FIELD_INTEGER:
		return json_is_integer(value);
	}
	return false;
}

static const char *kind_text(enum field_kind kind)
{
	static const char *const texts[] = { "a string", "true or false", "an integer" };

	return texts[kind];
}

static int read_member(struct field *fields, size_t count, const char *name, json_t *value,
		       struct pc_error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(fields[i].name, name) != 0)
			continue;
		if (!kind_fits(&fields[i], value))
			return pc_error_set(err, PC_E_INVALID_REQUEST, "'%s' must be %s", name,
					    kind_text(fields[i].kind));
		fields[i].value = value;
		return 0;
	}
	return pc_error_set(err, PC_E_INVALID_REQUEST, "'%.64s' is not a field of this request",
			    name);
}

/* Reads the body into `fields`; the caller frees *ret_body, also after an error. */
static int read_body(const struct request *request, struct field *fields, size_t count,
		     json_t **ret_body, struct pc_error *err)
{
	json_error_t where;
	const char *name;
	json_t *value;

	*ret_body = json_loadb(request->body ? request->body : "", request->body_length,
			       JSON_REJECT_DUPLICATES, &where);
	if (!*ret_body)
		return pc_error_set(err, PC_E_INVALID_JSON, "line %d, column %d: %s", where.line,
				    where.column, where.text);
	if (!json_is_object(*ret_body))
		return pc_error_set(err, PC_E_INVALID_REQUEST, "the body must be a JSON object");
	json_object_foreach(*ret_body, name, value)
	{
		int rc = read_member(fields, count, name, value, err);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < count; i++) {
		if (fields[i].required && !fields[i].value)
			return pc_error_set(err, PC_E_INVALID_REQUEST, "'%s' is missing; it is %s",
					    fields[i].name, kind_text(fields[i].kind));
	}
	return 0;
}

/* Says at once that a port is taken; somebody may still take it before the worker does. */
static int check_port(const struct model *model, json_int_t port, struct pc_error *err)
{
	if (port < 1 || port > 65535)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "'port' must be 1 to 65535");
	if (!pc_command_uses(model->backend, "port"))
		return pc_error_set(
			err, PC_E_INVALID_REQUEST,
			"backend '%s' does not listen on a port: its command has no {port}",
			model->backend->name);
	return pc_port_check((uint16_t)port, err);
}

static int start_worker(struct request *request, const struct field *fields, char *ret_id,
			struct pc_error *err)
{
	const char *name = json_string_value(fields[0].value ? fields[0].value : fields[1].value);
	json_int_t port = fields[2].value ? json_integer_value(fields[2].value) : 0;
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
	if (fields[2].value)
		rc = check_port(model, port, err);
	if (rc)
		return rc;
	return body_start_worker(request->daemon, model, (uint16_t)port, ret_id, err);
}

void control_worker_start(struct request *request, const char *argument)
{
	struct field fields[] = {
		{ "model", FIELD_STRING, false, NULL },
		{ "model_ref", FIELD_STRING, false, NULL },
		{ "port", FIELD_INTEGER, false, NULL },
	};
	struct pc_error err = PC_ERROR_INIT;
	char worker_id[PC_WORKER_ID_MAX];
	json_t *body = NULL;
	int rc = read_body(request, fields, PC_ARRAY_LEN(fields), &body, &err);

	(void)argument;
	if (!rc)
		rc = start_worker(request, fields, worker_id, &err);
	if (rc)
		respond_error(request, &err);
	else if (worker_id[0])
		respond_json(request, 202, render_worker(request->daemon, worker_id));
	else
		respond_json(request, 202,
			     json_pack("{s:n, s:s}", "worker_id", "status", "making room"));
	json_decref(body);
}

void control_worker_stop(struct request *request, const char *argument)
{
	struct field fields[] = {
		{ "worker_id", FIELD_STRING, true, NULL },
		{ "force", FIELD_BOOL, false, NULL },
	};
	struct pc_error err = PC_ERROR_INIT;
	json_t *body = NULL;
	int rc = read_body(request, fields, PC_ARRAY_LEN(fields), &body, &err);
	const char *worker_id = json_string_value(fields[0].value);

	(void)argument;
	if (!rc)
		rc = body_stop_worker(request->daemon, worker_id, json_is_true(fields[1].value),
				      &err);
	if (rc)
		respond_error(request, &err);
	else
		respond_json(request, 202, render_worker(request->daemon, worker_id));
	json_decref(body);
}

void control_worker_ready(struct request *request, const char *argument)
{
	struct field fields[] = {
		{ "worker_id", FIELD_STRING, true, NULL },
		{ "spawn_token", FIELD_STRING, true, NULL },
		{ "model_ref", FIELD_STRING, false, NULL },
		{ "vram_bytes", FIELD_INTEGER, false, NULL },
		{ "uri", FIELD_STRING, false, NULL },
	};
	struct pc_error err = PC_ERROR_INIT;
	json_t *body = NULL;
	int rc = read_body(request, fields, PC_ARRAY_LEN(fields), &body, &err);
	json_int_t bytes = json_integer_value(fields[3].value);

	(void)argument;
	if (!rc)
		rc = body_report_ready(request->daemon, json_string_value(fields[0].value),
				       json_string_value(fields[1].value),
				       bytes > 0 ? (uint64_t)bytes : 0, &err);
	if (rc)
		respond_error(request, &err);
	else
		http_respond(request->exchange, 204, NULL, NULL, 0);
	json_decref(body);
}
