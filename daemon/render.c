/* SPDX-License-Identifier: MIT */
/*
 * render.c - snapshots of the daemon as the wire's types, and as Prometheus' text. Reads, never
 * changes. Any loop's thread, and never under the body's lock.
 */
#include "daemon/render.h"

#include <poolcore/api.h>
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/memory.h>
#include <poolcore/text.h>
#include <poolcore/version.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/tally.h"

/* An empty text is "there is none". */
static const char *text_or_none(const char *text)
{
	return text[0] ? text : NULL;
}

/* ---- workers ---- */

/* A reason may quote what a worker printed, or be cut within a character. */
static void keep_utf8(char *text)
{
	text[pc_utf8_valid_prefix(text, strlen(text))] = '\0';
}

/* The record borrows the snapshot's strings. */
static void fill_worker(struct worker_snapshot *worker, struct pc_worker_record *ret_record)
{
	struct pc_worker_info *info = &worker->info;
	const struct pc_worker_exit *exit = &info->last_exit;

	keep_utf8(info->last_exit.reason);
	*ret_record = (struct pc_worker_record){
		.worker_id = info->worker_id,
		.model_id = info->model_id,
		.model_ref = info->model_ref,
		.backend = info->backend,
		.device = info->device,
		.gpu_id = info->gpu_id,
		.port = info->port,
		.socket = text_or_none(info->socket),
		.status = worker->status,
		.pid = info->pid,
		.start_ticks = info->start_ticks,
		.boot_id = text_or_none(info->boot_id),
		.spawned_wall_ms = info->spawned_wall_ms,
		.updated_wall_ms = info->updated_wall_ms,
		.reserved_bytes = worker->reserved_bytes,
		.measured_bytes = info->measured_bytes,
		.slots = worker->slots,
		.leases = worker->leases,
		.served = worker->served,
		.idle_ms = worker->idle_ns / PC_NS_PER_MS,
		.draining = worker->draining,
		.has_last_exit = exit->reason[0] != '\0',
		.last_exit = {
			.known = exit->known,
			.code = exit->known && !exit->signal ? exit->code : -1,
			.signal = exit->signal,
			.wall_ms = exit->wall_ms,
			.reason = exit->reason,
		},
	};
}

int render_worker(struct worker_snapshot *worker, char **ret_text, struct pc_error *err)
{
	struct pc_worker_record record;

	fill_worker(worker, &record);
	return pc_worker_record_write(&record, ret_text, err);
}

/* All workers; the caller frees both arrays, in any order. */
static int take_workers(struct daemon *daemon, struct worker_snapshot **ret_snapshots,
			struct pc_worker_record **ret_records, size_t *ret_count,
			struct pc_error *err)
{
	pc_auto(pc_free) struct worker_snapshot *snapshots = NULL;
	struct pc_worker_record *records;
	size_t count;
	int rc = body_snapshot_workers(daemon, &snapshots, &count, err);

	if (rc)
		return rc;
	records = pc_calloc(count, sizeof(*records));
	if (!records)
		return pc_error_oom(err);
	for (size_t i = 0; i < count; i++)
		fill_worker(&snapshots[i], &records[i]);
	*ret_snapshots = pc_steal(&snapshots);
	*ret_records = records;
	*ret_count = count;
	return 0;
}

int render_workers(struct daemon *daemon, char **ret_text, struct pc_error *err)
{
	pc_auto(pc_free) struct worker_snapshot *snapshots = NULL;
	struct pc_worker_list list = { .memory = NULL };
	int rc = take_workers(daemon, &snapshots, &list.workers, &list.worker_count, err);

	if (!rc)
		rc = pc_worker_list_write(&list, ret_text, err);
	pc_free(list.workers);
	return rc;
}

/* ---- models ---- */

static enum pc_model_state model_state(const struct model_snapshot *snapshot)
{
	const struct pc_sched_model_view *view = &snapshot->view;

	if (!snapshot->model->sched)
		return PC_MODEL_UNAVAILABLE;
	if (view->workers > view->spawning)
		return PC_MODEL_LOADED;
	if (view->spawning)
		return PC_MODEL_LOADING;
	if (view->backoff_until_ns > pc_clock_now_ns())
		return PC_MODEL_BACKOFF;
	return view->stopping ? PC_MODEL_UNLOADING : PC_MODEL_UNLOADED;
}

/* The record borrows the catalog's strings. */
static void fill_model(const struct model_snapshot *snapshot, struct pc_model_record *ret_record)
{
	const struct pc_model_entry *entry = snapshot->model->entry;
	const struct pc_sched_model_view *view = &snapshot->view;

	*ret_record = (struct pc_model_record){
		.id = entry->id,
		.name = entry->name,
		.state = model_state(snapshot),
		.capability = entry->capability,
		.backend = entry->backend,
		.model_ref = entry->model_ref,
		.aliases = entry->aliases,
		.alias_count = entry->alias_count,
		.memory_bytes = entry->memory_bytes,
		.slots = entry->slots,
		.workers = view->workers,
		.spawning = view->spawning,
		.leases = view->leases,
		.waiting = view->waiting,
		.failures_in_row = view->failures_in_row,
	};
}

static int take_models(struct daemon *daemon, const struct generation *generation,
		       struct pc_model_record **ret_records, size_t *ret_count,
		       struct pc_error *err)
{
	pc_auto(pc_free) struct model_snapshot *snapshots = NULL;
	struct pc_model_record *records;
	size_t count = generation->model_count;
	int rc = body_snapshot_models(daemon, generation, &snapshots, err);

	if (rc)
		return rc;
	records = pc_calloc(count, sizeof(*records));
	if (!records)
		return pc_error_oom(err);
	for (size_t i = 0; i < count; i++)
		fill_model(&snapshots[i], &records[i]);
	*ret_records = records;
	*ret_count = count;
	return 0;
}

int render_models(struct daemon *daemon, char **ret_text, struct pc_error *err)
{
	struct generation *generation = body_generation(daemon);
	struct pc_model_list list = { .memory = NULL };
	int rc = take_models(daemon, generation, &list.models, &list.model_count, err);

	if (!rc)
		rc = pc_model_list_write(&list, ret_text, err);
	pc_free(list.models);
	generation_unref(generation);
	return rc;
}

/* ---- models, as OpenAI lists them ---- */

/* The first four are OpenAI's; clients ignore the rest. */
static json_t *v1_model_value(const struct daemon *daemon, const struct model_snapshot *snapshot)
{
	const struct pc_config *config = snapshot->model->generation->config;
	const struct pc_model_entry *entry = snapshot->model->entry;

	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "id", entry->id, "object", "model",
			 "created", (json_int_t)(daemon->started_wall_ms / 1000), "owned_by",
			 config->pool_id, "capability", pc_capability_name(entry->capability),
			 "state", pc_model_state_name(model_state(snapshot)));
}

static json_t *v1_model_list(struct daemon *daemon)
{
	struct generation *generation = body_generation(daemon);
	pc_auto(pc_free) struct model_snapshot *models = NULL;
	json_t *list = NULL;

	if (body_snapshot_models(daemon, generation, &models, NULL) == 0)
		list = json_array();
	for (size_t i = 0; list && i < generation->model_count; i++)
		json_array_append_new(list, v1_model_value(daemon, &models[i]));
	generation_unref(generation);
	return list;
}

json_t *render_v1_models(struct daemon *daemon)
{
	return json_pack("{s:s, s:o}", "object", "list", "data", v1_model_list(daemon));
}

json_t *render_v1_model(struct daemon *daemon, const struct model *model)
{
	struct model_snapshot snapshot;

	body_snapshot_model(daemon, model, &snapshot);
	return v1_model_value(daemon, &snapshot);
}

/* ---- those that are gone ---- */

/* As the library writes a worker's last_exit: null where there is none. */
static json_t *exit_value(const struct pc_worker_exit *exit)
{
	return json_pack("{s:b, s:o, s:o, s:s, s:I}", "known", exit->known, "code",
			 exit->code >= 0 ? json_integer(exit->code) : json_null(), "signal",
			 exit->signal ? json_integer(exit->signal) : json_null(), "reason",
			 exit->reason, "wall_ms", (json_int_t)exit->wall_ms);
}

static void add_departed(void *ctx, const struct pc_departed_worker *departed)
{
	json_array_append_new(
		ctx, json_pack("{s:s, s:s, s:s, s:s, s:I, s:o}", "worker_id", departed->worker_id,
			       "model_id", departed->model_id, "backend", departed->backend,
			       "device", departed->device, "wall_ms", (json_int_t)departed->wall_ms,
			       "exit", exit_value(&departed->exit)));
}

json_t *render_departed(struct daemon *daemon, const char *model_id)
{
	json_t *list = json_array();

	if (list)
		tally_each(daemon->tally, model_id, add_departed, list);
	return json_pack("{s:o}", "departed", list);
}

/* ---- settings ---- */

static void add_setting(void *ctx, const struct pc_setting_view *view)
{
	json_array_append_new(
		ctx,
		json_pack("{s:s, s:s, s:o, s:s, s:s?, s:o, s:s?, s:s}", "section", view->section,
			  "key", view->key, "value", json_loads(view->value, JSON_DECODE_ANY, NULL),
			  "source", pc_setting_source_name(view->source), "file", view->file,
			  "line", view->line ? json_integer((json_int_t)view->line) : json_null(),
			  "name", view->name, "takes_effect",
			  pc_setting_effect_name(view->effect)));
}

json_t *render_config(struct daemon *daemon)
{
	struct generation *generation = body_generation(daemon);
	json_t *list = json_array();
	json_t *object = NULL;

	if (pc_config_each(generation->config, true, add_setting, list, NULL) == 0)
		object = json_pack("{s:s?, s:i, s:O}", "config", generation->config->path,
				   "generations", (int)generation_count(), "settings", list);
	json_decref(list);
	generation_unref(generation);
	return object;
}

/* ---- the whole ---- */

/* Their names are the ledger's. */
static size_t take_devices(const struct daemon *daemon,
			   struct pc_device_account accounts[PC_DEVICE_MAX],
			   struct pc_device_record records[PC_DEVICE_MAX])
{
	unsigned count = pc_ledger_device_count(daemon->ledger);

	for (unsigned i = 0; i < count; i++) {
		struct pc_device_account *account = &accounts[i];

		pc_ledger_account(daemon->ledger, i, account);
		records[i] = (struct pc_device_record){ account->name, account->total_bytes,
							account->budget_bytes,
							account->reserved_bytes };
	}
	return count;
}

static void take_counters(struct daemon *daemon, struct pc_pool_counters *ret_counters)
{
	struct pc_sched_counters values;

	body_counters(daemon, &values);
#define X(name, help) ret_counters->name = values.name;
	PC_POOL_COUNTER_LIST(X)
#undef X
}

static uint64_t uptime_secs(const struct daemon *daemon)
{
	return (pc_clock_now_ns() - daemon->started_ns) / PC_NS_PER_SEC;
}

json_t *render_health(struct daemon *daemon)
{
	struct generation *generation = body_generation(daemon);
	json_t *health = json_pack("{s:s, s:s, s:s, s:I}", "status", "ok", "pool_id",
				   generation->config->pool_id, "version", PC_VERSION,
				   "uptime_secs", (json_int_t)uptime_secs(daemon));

	generation_unref(generation);
	return health;
}

int render_state(struct daemon *daemon, char **ret_text, struct pc_error *err)
{
	struct pc_device_account accounts[PC_DEVICE_MAX];
	struct pc_device_record devices[PC_DEVICE_MAX];
	pc_auto(pc_free) struct worker_snapshot *snapshots = NULL;
	struct generation *generation = body_generation(daemon);
	struct pc_pool_status_response state = {
		.pool_id = generation->config->pool_id,
		.version = PC_VERSION,
		.started_wall_ms = daemon->started_wall_ms,
		.uptime_secs = uptime_secs(daemon),
		.devices = devices,
	};
	int rc;

	state.device_count = take_devices(daemon, accounts, devices);
	take_counters(daemon, &state.counters);
	rc = take_models(daemon, generation, &state.models, &state.model_count, err);
	if (!rc)
		rc = take_workers(daemon, &snapshots, &state.workers, &state.worker_count, err);
	if (!rc)
		rc = pc_pool_status_response_write(&state, ret_text, err);
	pc_free(state.models);
	pc_free(state.workers);
	generation_unref(generation);
	return rc;
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
	struct pc_pool_counters values;

	take_counters(daemon, &values);
#define X(name, help) \
	fprintf(out, \
		"# HELP pool_%s_total %s\n# TYPE pool_%s_total counter\npool_%s_total %" PRIu64 \
		"\n", \
		#name, help, #name, #name, values.name);
	PC_POOL_COUNTER_LIST(X)
#undef X
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
