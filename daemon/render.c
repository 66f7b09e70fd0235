/* SPDX-License-Identifier: MIT */
/*
 * render.c - snapshots of the daemon as JSON and as Prometheus' text. Reads, never changes. Any
 * loop's thread.
 *
 * The visitors run under the body's lock; they only build values in memory.
 */
#include "daemon/render.h"

#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/gpu.h>
#include <poolcore/memory.h>
#include <poolcore/version.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* ---- workers ---- */

/* The brain knows better than the record what a living worker does. */
static enum pc_worker_status status_of(const struct worker_view *view)
{
	const struct pc_worker_info *info = &view->worker->info;

	if (!view->known_to_brain || info->status == PC_WORKER_STOPPING)
		return info->status;
	return view->sched.status;
}

static json_t *exit_value(const struct pc_worker_exit *exit)
{
	if (!exit->reason[0])
		return json_null();
	return json_pack("{s:o, s:o, s:I, s:s}", "code",
			 exit->known && !exit->signal ? json_integer(exit->code) : json_null(),
			 "signal", exit->signal ? json_integer(exit->signal) : json_null(),
			 "wall_ms", (json_int_t)exit->wall_ms, "reason", exit->reason);
}

static json_t *worker_value(const struct worker_view *view)
{
	const struct pc_worker_info *info = &view->worker->info;
	const struct pc_sched_worker_view *sched = &view->sched;
	uint64_t now = pc_clock_now_ns();
	uint64_t last = sched->last_used_ns ? sched->last_used_ns : sched->ready_ns;
	uint64_t idle_ms = view->known_to_brain && !sched->leases && last && now > last
				   ? (now - last) / PC_NS_PER_MS
				   : 0;

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o,"
			 " s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:b, s:o}",
			 "worker_id", info->worker_id, "model_id", info->model_id, "model_ref",
			 info->model_ref, "backend", info->backend, "device", info->device,
			 "gpu_id", info->gpu_id < 0 ? json_null() : json_integer(info->gpu_id),
			 "port", info->port ? json_integer(info->port) : json_null(), "socket",
			 info->socket[0] ? json_string(info->socket) : json_null(), "status",
			 pc_worker_status_name(status_of(view)), "pid",
			 info->pid ? json_integer(info->pid) : json_null(), "spawned_wall_ms",
			 (json_int_t)info->spawned_wall_ms, "reserved_bytes",
			 integer(view->known_to_brain ? sched->reserved_bytes : 0),
			 "measured_bytes",
			 info->measured_bytes ? integer(info->measured_bytes) : json_null(),
			 "slots", (json_int_t)view->worker->order.slots, "leases",
			 (json_int_t)(view->known_to_brain ? sched->leases : 0), "served",
			 (json_int_t)(view->known_to_brain ? sched->served : 0), "idle_ms",
			 (json_int_t)idle_ms, "draining", view->known_to_brain && sched->draining,
			 "last_exit", exit_value(&info->last_exit));
}

static void append_worker(void *ctx, const struct worker_view *view)
{
	json_array_append_new(ctx, worker_value(view));
}

static json_t *worker_list(struct daemon *daemon)
{
	json_t *list = json_array();

	if (list)
		body_each_worker(daemon, false, append_worker, list);
	return list;
}

json_t *render_workers(struct daemon *daemon)
{
	return json_pack("{s:o}", "workers", worker_list(daemon));
}

struct worker_search {
	const char *worker_id;
	json_t *found;
};

static void match_worker(void *ctx, const struct worker_view *view)
{
	struct worker_search *search = ctx;

	if (!search->found && strcmp(view->worker->info.worker_id, search->worker_id) == 0)
		search->found = worker_value(view);
}

json_t *render_worker(struct daemon *daemon, const char *worker_id)
{
	struct worker_search search = { .worker_id = worker_id };

	body_each_worker(daemon, true, match_worker, &search);
	return search.found;
}

/* ---- models ---- */

/* One word for a model, in the order in which a user cares. */
static const char *model_state(const struct model *model, const struct pc_sched_model_view *view)
{
	if (!model->sched)
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

	for (size_t i = 0; list && i < entry->alias_count; i++)
		json_array_append_new(list, json_string(entry->aliases[i]));
	return list;
}

static void append_model(void *ctx, const struct model *model,
			 const struct pc_sched_model_view *view)
{
	const struct pc_model_entry *entry = model->entry;

	json_array_append_new(
		ctx,
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			  "id", entry->id, "name", entry->name, "state", model_state(model, view),
			  "capability", pc_capability_name(entry->capability), "backend",
			  entry->backend, "model_ref", entry->model_ref, "aliases",
			  alias_list(entry), "memory_bytes", (json_int_t)entry->memory_bytes,
			  "slots", (json_int_t)entry->slots, "workers", (json_int_t)view->workers,
			  "spawning", (json_int_t)view->spawning, "leases",
			  (json_int_t)view->leases, "waiting", (json_int_t)view->waiting,
			  "failures_in_row", (json_int_t)view->failures_in_row));
}

static json_t *model_list(struct daemon *daemon)
{
	json_t *list = json_array();

	if (list)
		body_each_model(daemon, append_model, list);
	return list;
}

json_t *render_models(struct daemon *daemon)
{
	return json_pack("{s:o}", "models", model_list(daemon));
}

static json_t *v1_model_value(const struct daemon *daemon, const struct model *model,
			      const struct pc_sched_model_view *view)
{
	const struct pc_model_entry *entry = model->entry;

	/* The first four are OpenAI's; clients ignore the rest. */
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "id", entry->id, "object", "model",
			 "created", (json_int_t)(daemon->started_wall_ms / 1000), "owned_by",
			 daemon->config->pool_id, "capability",
			 pc_capability_name(entry->capability), "state", model_state(model, view));
}

struct v1_list {
	struct daemon *daemon;
	json_t *list;
};

static void append_v1_model(void *ctx, const struct model *model,
			    const struct pc_sched_model_view *view)
{
	struct v1_list *v1 = ctx;

	json_array_append_new(v1->list, v1_model_value(v1->daemon, model, view));
}

json_t *render_v1_models(struct daemon *daemon)
{
	struct v1_list v1 = { daemon, json_array() };

	if (v1.list)
		body_each_model(daemon, append_v1_model, &v1);
	return json_pack("{s:s, s:o}", "object", "list", "data", v1.list);
}

json_t *render_v1_model(struct daemon *daemon, const struct pc_model_entry *entry)
{
	const struct model *model = body_model(daemon, entry);
	struct pc_sched_model_view view = { .key = entry->id };

	body_get_model_view(daemon, model, &view);
	return v1_model_value(daemon, model, &view);
}

/* ---- devices ---- */

static json_t *device_list(struct daemon *daemon)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && i < pc_ledger_device_count(daemon->ledger); i++) {
		struct pc_device_account account;

		pc_ledger_account(daemon->ledger, i, &account);
		json_array_append_new(
			list, json_pack("{s:s, s:I, s:I, s:I}", "device", account.name,
					"total_bytes", (json_int_t)account.total_bytes,
					"budget_bytes", (json_int_t)account.budget_bytes,
					"reserved_bytes", (json_int_t)account.reserved_bytes));
	}
	return list;
}

static json_t *unknown_or(int value)
{
	return value < 0 ? json_null() : json_integer(value);
}

json_t *render_gpus(struct daemon *daemon)
{
	const struct pc_gpu *gpus;
	size_t count = pc_gpu_inventory_list(daemon->gpus, &gpus);
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++) {
		json_array_append_new(
			list, json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "gpu_id",
					(int)gpus[i].index, "name", gpus[i].name, "uuid",
					gpus[i].uuid, "device", gpus[i].device, "vram_total_bytes",
					(json_int_t)gpus[i].vram_total_bytes, "vram_free_bytes",
					(json_int_t)gpus[i].vram_free_bytes, "vram_used_bytes",
					(json_int_t)gpus[i].vram_used_bytes, "temperature_c",
					unknown_or(gpus[i].temperature_c), "utilisation_percent",
					unknown_or(gpus[i].utilisation_percent)));
	}
	return json_pack("{s:o, s:s}", "gpus", list, "note", pc_gpu_inventory_note(daemon->gpus));
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
	for (size_t i = 0; object && i < PC_ARRAY_LEN(counters); i++)
		json_object_set_new(object, counters[i].name,
				    integer(counter_value(&values, &counters[i])));
	return object;
}

static uint64_t uptime_secs(const struct daemon *daemon)
{
	return (pc_clock_now_ns() - daemon->started_ns) / PC_NS_PER_SEC;
}

json_t *render_health(struct daemon *daemon)
{
	return json_pack("{s:s, s:s, s:s, s:I}", "status", "ok", "pool_id", daemon->config->pool_id,
			 "version", PC_VERSION, "uptime_secs", (json_int_t)uptime_secs(daemon));
}

json_t *render_state(struct daemon *daemon)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "pool_id",
			 daemon->config->pool_id, "version", PC_VERSION, "started_wall_ms",
			 (json_int_t)daemon->started_wall_ms, "uptime_secs",
			 (json_int_t)uptime_secs(daemon), "devices", device_list(daemon), "models",
			 model_list(daemon), "workers", worker_list(daemon), "counters",
			 counters_value(daemon));
}

/* ---- metrics ---- */

static void count_status(void *ctx, const struct worker_view *view)
{
	((unsigned *)ctx)[status_of(view)]++;
}

static void write_metrics(struct daemon *daemon, FILE *out)
{
	struct pc_sched_counters values;
	unsigned by_status[PC_WORKER_STOPPED + 1] = { 0 };

	body_counters(daemon, &values);
	for (size_t i = 0; i < PC_ARRAY_LEN(counters); i++) {
		fprintf(out,
			"# HELP pool_%s_total %s\n# TYPE pool_%s_total counter\npool_%s_total %llu\n",
			counters[i].name, counters[i].help, counters[i].name, counters[i].name,
			(unsigned long long)counter_value(&values, &counters[i]));
	}
	body_each_worker(daemon, false, count_status, by_status);
	fputs("# HELP pool_workers Workers by status.\n# TYPE pool_workers gauge\n", out);
	for (int status = 0; status <= PC_WORKER_STOPPED; status++)
		fprintf(out, "pool_workers{status=\"%s\"} %u\n", pc_worker_status_name(status),
			by_status[status]);
	fputs("# HELP pool_device_bytes Memory per device.\n# TYPE pool_device_bytes gauge\n", out);
	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger); i++) {
		struct pc_device_account account;

		pc_ledger_account(daemon->ledger, i, &account);
		fprintf(out,
			"pool_device_bytes{device=\"%s\",kind=\"total\"} %llu\n"
			"pool_device_bytes{device=\"%s\",kind=\"budget\"} %llu\n"
			"pool_device_bytes{device=\"%s\",kind=\"reserved\"} %llu\n",
			account.name, (unsigned long long)account.total_bytes, account.name,
			(unsigned long long)account.budget_bytes, account.name,
			(unsigned long long)account.reserved_bytes);
	}
}

char *render_metrics(struct daemon *daemon)
{
	char *buffer = NULL, *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&buffer, &size);

	if (!out)
		return NULL;
	write_metrics(daemon, out);
	if (fclose(out) == 0)
		text = pc_strdup(buffer);
	free(buffer);
	return text;
}
