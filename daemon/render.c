/* SPDX-License-Identifier: MIT */
/*
 * render.c - snapshots of the daemon as JSON and as Prometheus' text. Reads, never changes. Any
 * loop's thread, and never under the body's lock.
 */
#include "daemon/render.h"

#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/memory.h>
#include <poolcore/version.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"

/* ---- small ways to fill an object; a failed allocation leaves the member out ---- */

static void put(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

static void put_text(json_t *object, const char *key, const char *text)
{
	put(object, key, json_string(text));
}

/* An empty text is null: "there is none". */
static void put_text_or_null(json_t *object, const char *key, const char *text)
{
	put(object, key, text[0] ? json_string(text) : json_null());
}

static void put_number(json_t *object, const char *key, uint64_t value)
{
	put(object, key, json_integer((json_int_t)value));
}

static void put_number_or_null(json_t *object, const char *key, bool known, int64_t value)
{
	put(object, key, known ? json_integer((json_int_t)value) : json_null());
}

/* ---- workers ---- */

static json_t *exit_value(const struct pc_worker_exit *exit)
{
	json_t *object;

	if (!exit->reason[0])
		return json_null();
	object = json_object();
	put_number_or_null(object, "code", exit->known && !exit->signal, exit->code);
	put_number_or_null(object, "signal", exit->signal != 0, exit->signal);
	put_number(object, "wall_ms", (uint64_t)exit->wall_ms);
	put_text(object, "reason", exit->reason);
	return object;
}

json_t *render_worker(const struct worker_snapshot *worker)
{
	const struct pc_worker_info *info = &worker->info;
	json_t *object = json_object();

	put_text(object, "worker_id", info->worker_id);
	put_text(object, "model_id", info->model_id);
	put_text(object, "model_ref", info->model_ref);
	put_text(object, "backend", info->backend);
	put_text(object, "device", info->device);
	put_number_or_null(object, "gpu_id", info->gpu_id >= 0, info->gpu_id);
	put_number_or_null(object, "port", info->port != 0, info->port);
	put_text_or_null(object, "socket", info->socket);
	put_text(object, "status", pc_worker_status_name(worker->status));
	put_number_or_null(object, "pid", info->pid != 0, info->pid);
	put_number(object, "spawned_wall_ms", (uint64_t)info->spawned_wall_ms);
	put_number(object, "reserved_bytes", worker->reserved_bytes);
	put_number_or_null(object, "measured_bytes", info->measured_bytes != 0,
			   (int64_t)info->measured_bytes);
	put_number(object, "slots", worker->slots);
	put_number(object, "leases", worker->leases);
	put_number(object, "served", worker->served);
	put_number(object, "idle_ms", worker->idle_ns / PC_NS_PER_MS);
	put(object, "draining", json_boolean(worker->draining));
	put(object, "last_exit", exit_value(&info->last_exit));
	return object;
}

static json_t *worker_list(struct daemon *daemon)
{
	pc_auto(pc_free) struct worker_snapshot *workers = NULL;
	json_t *list;
	size_t count;

	if (body_snapshot_workers(daemon, &workers, &count, NULL))
		return NULL;
	list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, render_worker(&workers[i]));
	return list;
}

json_t *render_workers(struct daemon *daemon)
{
	return json_pack("{s:o}", "workers", worker_list(daemon));
}

/* ---- models ---- */

/* One word for a model, in the order in which a user cares. */
static const char *model_state(const struct model_snapshot *snapshot)
{
	const struct pc_sched_model_view *view = &snapshot->view;

	if (!snapshot->model->sched)
		return "unavailable";
	if (view->workers > view->spawning)
		return "loaded";
	if (view->spawning)
		return "loading";
	if (view->backoff_until_ns > pc_clock_now_ns())
		return "backoff";
	return view->stopping ? "unloading" : "unloaded";
}

static json_t *alias_list(const struct pc_model_entry *entry)
{
	json_t *list = json_array();

	for (size_t i = 0; i < entry->alias_count; i++)
		json_array_append_new(list, json_string(entry->aliases[i]));
	return list;
}

static json_t *model_value(const struct model_snapshot *snapshot)
{
	const struct pc_model_entry *entry = snapshot->model->entry;
	const struct pc_sched_model_view *view = &snapshot->view;
	json_t *object = json_object();

	put_text(object, "id", entry->id);
	put_text(object, "name", entry->name);
	put_text(object, "state", model_state(snapshot));
	put_text(object, "capability", pc_capability_name(entry->capability));
	put_text(object, "backend", entry->backend);
	put_text(object, "model_ref", entry->model_ref);
	put(object, "aliases", alias_list(entry));
	put_number(object, "memory_bytes", entry->memory_bytes);
	put_number(object, "slots", entry->slots);
	put_number(object, "workers", view->workers);
	put_number(object, "spawning", view->spawning);
	put_number(object, "leases", view->leases);
	put_number(object, "waiting", view->waiting);
	put_number(object, "failures_in_row", view->failures_in_row);
	return object;
}

/* The first four are OpenAI's; clients ignore the rest. */
static json_t *v1_model_value(const struct daemon *daemon, const struct model_snapshot *snapshot)
{
	const struct pc_model_entry *entry = snapshot->model->entry;
	json_t *object = json_object();

	put_text(object, "id", entry->id);
	put_text(object, "object", "model");
	put_number(object, "created", (uint64_t)daemon->started_wall_ms / 1000);
	put_text(object, "owned_by", daemon->config->pool_id);
	put_text(object, "capability", pc_capability_name(entry->capability));
	put_text(object, "state", model_state(snapshot));
	return object;
}

static json_t *model_list(struct daemon *daemon, bool v1)
{
	pc_auto(pc_free) struct model_snapshot *models = NULL;
	json_t *list;
	size_t count;

	if (body_snapshot_models(daemon, &models, &count, NULL))
		return NULL;
	list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, v1 ? v1_model_value(daemon, &models[i])
					       : model_value(&models[i]));
	return list;
}

json_t *render_models(struct daemon *daemon)
{
	return json_pack("{s:o}", "models", model_list(daemon, false));
}

json_t *render_v1_models(struct daemon *daemon)
{
	return json_pack("{s:s, s:o}", "object", "list", "data", model_list(daemon, true));
}

json_t *render_v1_model(struct daemon *daemon, const struct pc_model_entry *entry)
{
	struct model_snapshot snapshot;

	body_snapshot_model(daemon, body_model(daemon, entry), &snapshot);
	return v1_model_value(daemon, &snapshot);
}

/* ---- devices ---- */

static json_t *device_list(struct daemon *daemon)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger); i++) {
		struct pc_device_account account;
		json_t *object = json_object();

		pc_ledger_account(daemon->ledger, i, &account);
		put_text(object, "device", account.name);
		put_number(object, "total_bytes", account.total_bytes);
		put_number(object, "budget_bytes", account.budget_bytes);
		put_number(object, "reserved_bytes", account.reserved_bytes);
		json_array_append_new(list, object);
	}
	return list;
}

/* ---- the whole ---- */

/* One table for the counters' names in JSON and in the metrics. */
struct counter {
	const char *name;
	const char *help;
	size_t offset;
};

#define COUNTER(member, text) \
	{ \
#member, text, offsetof(struct pc_sched_counters, member) \
	}

static const struct counter counters[] = {
	COUNTER(submitted, "Requests that asked for a worker."),
	COUNTER(granted, "Requests that got a slot."),
	COUNTER(rejected, "Requests that were refused, timeouts and full queues among them."),
	COUNTER(cancelled, "Requests whose client left while they waited."),
	COUNTER(timeouts, "Requests whose deadline passed while they waited."),
	COUNTER(queue_full, "Requests refused because the model's queue was full."),
	COUNTER(cold_starts, "Models loaded because a request asked and no worker was there."),
	COUNTER(spawned, "Workers spawned."),
	COUNTER(evicted, "Workers evicted to make room."),
	COUNTER(failed_workers, "Workers that failed to load or died."),
};

static uint64_t counter_value(const struct pc_sched_counters *values, const struct counter *counter)
{
	return *(const uint64_t *)((const char *)values + counter->offset);
}

static json_t *counters_value(struct daemon *daemon)
{
	struct pc_sched_counters values;
	json_t *object = json_object();

	body_counters(daemon, &values);
	for (size_t i = 0; i < PC_ARRAY_LEN(counters); i++)
		put_number(object, counters[i].name, counter_value(&values, &counters[i]));
	return object;
}

static uint64_t uptime_secs(const struct daemon *daemon)
{
	return (pc_clock_now_ns() - daemon->started_ns) / PC_NS_PER_SEC;
}

json_t *render_health(struct daemon *daemon)
{
	json_t *object = json_object();

	put_text(object, "status", "ok");
	put_text(object, "pool_id", daemon->config->pool_id);
	put_text(object, "version", PC_VERSION);
	put_number(object, "uptime_secs", uptime_secs(daemon));
	return object;
}

json_t *render_state(struct daemon *daemon)
{
	json_t *object = json_object();

	put_text(object, "pool_id", daemon->config->pool_id);
	put_text(object, "version", PC_VERSION);
	put_number(object, "started_wall_ms", (uint64_t)daemon->started_wall_ms);
	put_number(object, "uptime_secs", uptime_secs(daemon));
	put(object, "devices", device_list(daemon));
	put(object, "models", model_list(daemon, false));
	put(object, "workers", worker_list(daemon));
	put(object, "counters", counters_value(daemon));
	return object;
}

/* ---- metrics ---- */

static int write_workers(struct daemon *daemon, FILE *out)
{
	pc_auto(pc_free) struct worker_snapshot *workers = NULL;
	unsigned by_status[PC_WORKER_STOPPED + 1] = { 0 };
	size_t count;

	if (body_snapshot_workers(daemon, &workers, &count, NULL))
		return -1;
	for (size_t i = 0; i < count; i++)
		by_status[workers[i].status]++;
	fputs("# HELP pool_workers Workers by status.\n# TYPE pool_workers gauge\n", out);
	for (int status = 0; status <= PC_WORKER_STOPPED; status++)
		fprintf(out, "pool_workers{status=\"%s\"} %u\n",
			pc_worker_status_name((enum pc_worker_status)status), by_status[status]);
	return 0;
}

static void write_counters(struct daemon *daemon, FILE *out)
{
	struct pc_sched_counters values;

	body_counters(daemon, &values);
	for (size_t i = 0; i < PC_ARRAY_LEN(counters); i++) {
		const char *name = counters[i].name;

		fprintf(out,
			"# HELP pool_%s_total %s\n# TYPE pool_%s_total counter\n"
			"pool_%s_total %" PRIu64 "\n",
			name, counters[i].help, name, name, counter_value(&values, &counters[i]));
	}
}

static void write_devices(struct daemon *daemon, FILE *out)
{
	fputs("# HELP pool_device_bytes Memory per device.\n# TYPE pool_device_bytes gauge\n", out);
	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger); i++) {
		struct pc_device_account account;

		pc_ledger_account(daemon->ledger, i, &account);

		const struct {
			const char *kind;
			uint64_t bytes;
		} rows[] = { { "total", account.total_bytes },
			     { "budget", account.budget_bytes },
			     { "reserved", account.reserved_bytes } };

		for (size_t row = 0; row < PC_ARRAY_LEN(rows); row++)
			fprintf(out, "pool_device_bytes{device=\"%s\",kind=\"%s\"} %" PRIu64 "\n",
				account.name, rows[row].kind, rows[row].bytes);
	}
}

char *render_metrics(struct daemon *daemon)
{
	char *buffer = NULL, *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&buffer, &size);
	int rc;

	if (!out)
		return NULL;
	write_counters(daemon, out);
	write_devices(daemon, out);
	rc = write_workers(daemon, out);
	if (fclose(out) == 0 && rc == 0)
		text = pc_strdup(buffer);
	free(buffer);
	return text;
}
