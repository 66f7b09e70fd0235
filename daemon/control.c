/* SPDX-License-Identifier: MIT */
/*
 * control.c - the control plane: /health, /metrics, /v2 and the lists of /v1. Off the hot path;
 * requests and records are the library's types (poolcore/api.h), small answers jansson's. Runs on
 * the request's loop.
 */
#include <poolcore/api.h>
#include <poolcore/catalog.h>
#include <poolcore/lifecycle.h>
#include <poolcore/log.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/generation.h"
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

/* Takes the text; `rc` and `err` are those of making it. */
static void respond_text(struct request *request, int status, int rc, char *text,
			 const struct pc_error *err)
{
	if (rc) {
		respond_error(request, err);
		return;
	}
	http_respond(request->exchange, status, json_fields, text, strlen(text));
	pc_free(text);
}

/* Answers with the daemon as one of the wire's types. */
static void respond_rendered(struct request *request,
			     int (*render)(struct daemon *daemon, char **ret_text,
					   struct pc_error *err))
{
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL;
	int rc = render(request->daemon, &text, &err);

	respond_text(request, 200, rc, text, &err);
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
	respond_rendered(request, render_state);
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
	respond_rendered(request, render_models);
}

void control_v1_models(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_v1_models(request->daemon));
}

void control_v1_model(struct request *request, const char *argument)
{
	struct generation *generation = body_generation(request->daemon);
	const struct pc_model_entry *entry;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_catalog_get(generation->catalog, argument, &entry, &err))
		respond_error(request, &err);
	else
		respond_json(request, 200,
			     render_v1_model(request->daemon, generation_model(generation, entry)));
	generation_unref(generation);
}

void control_config(struct request *request, const char *argument)
{
	(void)argument;
	respond_json(request, 200, render_config(request->daemon));
}

void control_workers(struct request *request, const char *argument)
{
	(void)argument;
	respond_rendered(request, render_workers);
}

static void respond_worker(struct request *request, int status, const char *worker_id)
{
	struct worker_snapshot worker;
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL;
	int rc = body_snapshot_worker(request->daemon, worker_id, &worker, &err);

	if (!rc)
		rc = render_worker(&worker, &text, &err);
	respond_text(request, status, rc, text, &err);
}

void control_worker(struct request *request, const char *argument)
{
	respond_worker(request, 200, argument);
}

/*
 * The last value of a name in the query ("model=org%2Fx&lines=3"), "" without one; false when it is
 * none: its escapes are malformed, or it does not fit.
 */
static bool query_value(const struct http_exchange *exchange, const char *name, char *out,
			size_t size)
{
	struct http_slice query = http_query(exchange);
	const char *at = query.length ? query.data : "", *end = at + query.length;
	size_t name_length = strlen(name);
	bool is_sound = true;

	out[0] = '\0';
	while (at < end) {
		const char *next = memchr(at, '&', (size_t)(end - at));
		size_t length = (size_t)((next ? next : end) - at);
		struct http_slice value = { at, length };

		at += length + 1;
		if (length <= name_length || value.data[name_length] != '=' ||
		    memcmp(value.data, name, name_length) != 0)
			continue;
		value.data += name_length + 1;
		value.length -= name_length + 1;
		is_sound = percent_decode(value, out, size);
	}
	return is_sound;
}

/* An alias is as good; what is in no catalog any more may still have had workers. */
static void resolve_alias(struct daemon *daemon, char *model_id, size_t size)
{
	struct generation *generation = body_generation(daemon);
	const struct pc_model_entry *entry = pc_catalog_find(generation->catalog, model_id);

	if (entry)
		snprintf(model_id, size, "%s", entry->id);
	generation_unref(generation);
}

void control_departed(struct request *request, const char *argument)
{
	struct pc_error err = PC_ERROR_INIT;
	char model_id[160];

	(void)argument;
	if (!query_value(request->exchange, "model", model_id, sizeof(model_id))) {
		pc_error_set(
			&err, PC_E_INVALID_REQUEST,
			"the query's 'model' is no name of a model: it is malformed, or longer "
			"than %zu bytes",
			sizeof(model_id) - 1);
		pc_error_detail(&err, "param", "model");
		respond_error(request, &err);
		return;
	}
	resolve_alias(request->daemon, model_id, sizeof(model_id));
	respond_json(request, 200, render_departed(request->daemon, model_id[0] ? model_id : NULL));
}

static void append_line(void *ctx, const char *text)
{
	json_array_append_new(ctx, json_string(text));
}

/* "lines=N" of the query; 100 without one, and never more than are kept. */
static int wanted_lines(const struct http_exchange *exchange, size_t *ret_count,
			struct pc_error *err)
{
	unsigned long long count = 100;
	char text[32], *end = text;
	bool is_sound = query_value(exchange, "lines", text, sizeof(text));

	if (is_sound && text[0])
		count = strtoull(text, &end, 10);
	if (!is_sound || *end || (text[0] && (text[0] < '0' || text[0] > '9'))) {
		pc_error_set(err, PC_E_INVALID_REQUEST,
			     "the query's 'lines' is no number of lines; write ?lines=100");
		pc_error_detail(err, "param", "lines");
		return PC_E_INVALID_REQUEST;
	}
	*ret_count = count < LOGBOOK_LINES ? (size_t)count : LOGBOOK_LINES;
	return 0;
}

void control_worker_logs(struct request *request, const char *argument)
{
	struct pc_error err = PC_ERROR_INIT;
	struct logbook *log;
	size_t count;
	json_t *lines;

	if (wanted_lines(request->exchange, &count, &err) ||
	    body_worker_log(request->daemon, argument, &log, &err)) {
		respond_error(request, &err);
		return;
	}
	lines = json_array();
	logbook_read(log, count, append_line, lines);
	logbook_unref(log);
	respond_json(request, 200, json_pack("{s:s, s:o}", "worker_id", argument, "lines", lines));
}

/* ---- what is to be done ---- */

static const char *body_of(const struct request *request)
{
	return request->body ? request->body : "";
}

/* Says at once that a port is taken; somebody may still take it before the worker does. */
static int check_port(const struct model *model, uint16_t port, struct pc_error *err)
{
	if (!port)
		return 0;
	if (!pc_command_uses(model->backend, "port"))
		return pc_error_set(
			err, PC_E_INVALID_REQUEST,
			"backend '%s' does not listen on a port: its command has no {port}",
			model->backend->name);
	return pc_port_check(port, err);
}

/* A model runs on the backend that its catalog names; who wants another one changes that. */
static int check_backend(const struct pc_model_entry *entry, const char *backend,
			 struct pc_error *err)
{
	if (!backend || strcmp(backend, entry->backend) == 0)
		return 0;
	pc_error_set(err, PC_E_INVALID_REQUEST, "model '%s' runs on backend '%s', not on '%s'",
		     entry->id, entry->backend, backend);
	pc_error_detail(err, "param", "backend");
	return PC_E_INVALID_REQUEST;
}

static int start_worker(struct daemon *daemon, const struct generation *generation,
			const struct pc_worker_spawn_request *order, char *ret_id,
			struct pc_error *err)
{
	const struct pc_model_entry *entry;
	struct model *model;
	int rc = pc_catalog_get(generation->catalog, order->model ? order->model : order->model_ref,
				&entry, err);

	if (!rc)
		rc = check_backend(entry, order->backend, err);
	if (rc)
		return rc;
	model = generation_model(generation, entry);
	rc = check_port(model, order->port, err);
	if (rc)
		return rc;
	return body_start_worker(daemon, model, order->gpu_id, order->port, ret_id, err);
}

static void respond_making_room(struct request *request)
{
	struct pc_worker_spawn_response answer = PC_WORKER_SPAWN_RESPONSE_INIT;
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL;
	int rc;

	answer.status = PC_STATUS_MAKING_ROOM;
	rc = pc_worker_spawn_response_write(&answer, &text, &err);
	respond_text(request, 202, rc, text, &err);
}

void control_worker_start(struct request *request, const char *argument)
{
	struct generation *generation = body_generation(request->daemon);
	struct pc_error err = PC_ERROR_INIT;
	char worker_id[PC_WORKER_ID_MAX];
	struct pc_worker_spawn_request order;
	int rc = pc_worker_spawn_request_parse(body_of(request), request->body_length, &order,
					       &err);

	(void)argument;
	if (!rc) {
		rc = start_worker(request->daemon, generation, &order, worker_id, &err);
		pc_worker_spawn_request_free(&order);
	}
	generation_unref(generation);
	if (rc)
		respond_error(request, &err);
	else if (worker_id[0])
		respond_worker(request, 202, worker_id);
	else
		respond_making_room(request);
}

void control_worker_stop(struct request *request, const char *argument)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_worker_stop_request order;

	(void)argument;
	if (pc_worker_stop_request_parse(body_of(request), request->body_length, &order, &err)) {
		respond_error(request, &err);
		return;
	}
	if (body_stop_worker(request->daemon, order.worker_id, order.force, &err))
		respond_error(request, &err);
	else
		respond_worker(request, 202, order.worker_id);
	pc_worker_stop_request_free(&order);
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
	struct pc_error err = PC_ERROR_INIT;
	struct pc_worker_ready_report report;
	int rc;

	(void)argument;
	if (pc_worker_ready_report_parse(body_of(request), request->body_length, &report, &err)) {
		respond_error(request, &err);
		return;
	}
	request->lease.loop = request->loop;
	request->lease.on_outcome = on_report_heard;
	rc = body_report_ready(request->daemon, &request->lease, report.worker_id,
			       report.spawn_token, report.vram_bytes, &err);
	if (rc > 0)
		request->queued = true; /* on_report_heard answers */
	else if (rc)
		respond_error(request, &err);
	else
		http_respond(request->exchange, 204, NULL, NULL, 0);
	pc_worker_ready_report_free(&report);
}
