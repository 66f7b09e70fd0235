/* SPDX-License-Identifier: MIT */
/* show.c - the commands that only look: status, ps, models list, gpu list. */
#include <poolcore/catalog.h>
#include <poolcore/config.h>
#include <poolcore/gpu.h>
#include <poolcore/model_ref.h>

#include <time.h>

#include "cli/cli.h"

/* ---- status ---- */

static enum exit_code print_devices(const struct cli *cli, const json_t *devices)
{
	static const char *const headings[] = { "DEVICE", "RESERVED", "BUDGET", "TOTAL" };
	struct table table;
	const json_t *device;
	size_t i;

	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(devices, i, device)
	{
		char reserved[32], budget[32], total[32];

		table_cell(&table, "%s", text_of(device, "device"));
		table_cell(&table, "%s",
			   human_bytes(number_of(device, "reserved_bytes"), reserved));
		table_cell(&table, "%s", human_bytes(number_of(device, "budget_bytes"), budget));
		table_cell(&table, "%s", human_bytes(number_of(device, "total_bytes"), total));
	}
	return table_print(&table, cli, "no devices");
}

static void print_state(const json_t *state)
{
	const json_t *models = json_object_get(state, "models");
	const json_t *counters = json_object_get(state, "counters");
	json_int_t waiting = 0, leases = 0;
	const json_t *model;
	char uptime[32];
	size_t i;

	json_array_foreach(models, i, model)
	{
		waiting += number_of(model, "waiting");
		leases += number_of(model, "leases");
	}
	say(stdout, "pool %s, version %s, up %s\n", text_of(state, "pool_id"),
	    text_of(state, "version"), human_ms(number_of(state, "uptime_secs") * 1000, uptime));
	say(stdout, "models: %zu, workers: %zu\n", json_array_size(models),
	    json_array_size(json_object_get(state, "workers")));
	say(stdout, "requests: %lld running, %lld waiting, %lld served, %lld refused\n\n",
	    (long long)leases, (long long)waiting, (long long)number_of(counters, "granted"),
	    (long long)number_of(counters, "rejected"));
}

/* Asks, and prints the answer as JSON or through `print`. */
static enum exit_code show(struct cli *cli, const char *path,
			   enum exit_code (*print)(const struct cli *cli, const json_t *answer))
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status;
	json_t *answer = NULL;

	if (api_get(cli, path, &answer, &err))
		return report(cli, &err);
	status = cli->json ? print_json(cli, answer) : print(cli, answer);
	json_decref(answer);
	return status;
}

static enum exit_code print_status(const struct cli *cli, const json_t *state)
{
	print_state(state);
	return print_devices(cli, json_object_get(state, "devices"));
}

enum exit_code command_status(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(cli, "/v2/state", print_status);
}

/* ---- ps ---- */

static void add_worker_row(struct table *table, const json_t *worker)
{
	bool draining = json_is_true(json_object_get(worker, "draining"));
	json_int_t idle_ms = number_of(worker, "idle_ms");
	char memory[32], idle[32];

	table_cell(table, "%s", text_of(worker, "worker_id"));
	table_cell(table, "%s", text_of(worker, "model_id"));
	table_cell(table, "%s%s", text_of(worker, "status"), draining ? " (draining)" : "");
	table_cell(table, "%s", text_of(worker, "device"));
	table_cell(table, "%s", human_bytes(number_of(worker, "reserved_bytes"), memory));
	table_cell(table, "%lld/%lld", (long long)number_of(worker, "leases"),
		   (long long)number_of(worker, "slots"));
	table_cell(table, "%lld", (long long)number_of(worker, "served"));
	table_cell(table, "%s", idle_ms ? human_ms(idle_ms, idle) : "-");
	table_cell(table, "%lld", (long long)number_of(worker, "pid"));
}

static enum exit_code print_workers(const struct cli *cli, const json_t *answer)
{
	static const char *const headings[] = { "WORKER", "MODEL",  "STATUS", "DEVICE", "MEMORY",
						"SLOTS",  "SERVED", "IDLE",   "PID" };
	struct table table;
	const json_t *worker;
	size_t i;

	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(json_object_get(answer, "workers"), i, worker)
		add_worker_row(&table, worker);
	return table_print(&table, cli, "no workers; one starts when a request asks for its model");
}

enum exit_code command_ps(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(cli, "/v2/workers", print_workers);
}

/* ---- worker deaths ---- */

static enum exit_code print_departed(const struct cli *cli, const json_t *answer,
				     const char *nothing)
{
	static const char *const headings[] = { "WHEN", "WORKER", "MODEL", "DEVICE", "HOW" };
	struct table table;
	const json_t *row;
	size_t i;

	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(json_object_get(answer, "departed"), i, row)
	{
		time_t seconds = (time_t)(number_of(row, "wall_ms") / 1000);
		struct tm local;
		char when[32];

		strftime(when, sizeof(when), "%F %T", localtime_r(&seconds, &local));
		table_cell(&table, "%s", when);
		table_cell(&table, "%s", text_of(row, "worker_id"));
		table_cell(&table, "%s", text_of(row, "model_id"));
		table_cell(&table, "%s", text_of(row, "device"));
		table_cell(&table, "%s", text_of(json_object_get(row, "exit"), "reason"));
	}
	return table_print(&table, cli, nothing);
}

static enum exit_code print_deaths(const struct cli *cli, const json_t *answer)
{
	return print_departed(cli, answer, "no worker has ended yet");
}

static enum exit_code print_deaths_of_model(const struct cli *cli, const json_t *answer)
{
	return print_departed(cli, answer, "no worker of this model is known to have ended");
}

enum exit_code command_worker_deaths(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	char path[256];

	/* An id needs no escapes in a query; what is none has no deaths to show. */
	if (argc && pc_model_id_check(argv[0], &err))
		return report(cli, &err);
	snprintf(path, sizeof(path), "/v2/departed%s%.160s", argc ? "?model=" : "",
		 argc ? argv[0] : "");
	return show(cli, path, argc ? print_deaths_of_model : print_deaths);
}

/* ---- models ---- */

static void add_model_row(struct table *table, const json_t *model)
{
	char memory[32];

	table_cell(table, "%s", text_of(model, "id"));
	table_cell(table, "%s", text_of(model, "state"));
	table_cell(table, "%s", text_of(model, "capability"));
	table_cell(table, "%s", human_bytes(number_of(model, "memory_bytes"), memory));
	table_cell(table, "%lld", (long long)number_of(model, "workers"));
	table_cell(table, "%s", text_of(model, "backend"));
}

static enum exit_code print_models(const struct cli *cli, const json_t *answer)
{
	static const char *const headings[] = { "MODEL",  "STATE",   "CAPABILITY",
						"MEMORY", "WORKERS", "BACKEND" };
	struct table table;
	const json_t *model;
	size_t i;

	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(json_object_get(answer, "models"), i, model)
		add_model_row(&table, model);
	return table_print(&table, cli, "the catalog is empty");
}

/* Without a daemon the catalog's files say what there is, though not what is loaded. */
static json_t *models_of_catalog(const struct pc_catalog *catalog)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < pc_catalog_count(catalog); i++) {
		const struct pc_model_entry *entry = pc_catalog_at(catalog, i);

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:i}", "id",
						entry->id, "name", entry->name, "state", "unknown",
						"capability", pc_capability_name(entry->capability),
						"backend", entry->backend, "model_ref",
						entry->model_ref, "memory_bytes",
						(json_int_t)entry->memory_bytes, "workers", 0));
	}
	return json_pack("{s:o}", "models", list);
}

static int read_catalog(const struct cli *cli, json_t **ret_answer, struct pc_error *err)
{
	struct pc_catalog *catalog;
	int rc = pc_catalog_load(cli->settings, &catalog, err);

	if (rc)
		return rc;
	*ret_answer = models_of_catalog(catalog);
	pc_catalog_free(catalog);
	return *ret_answer ? 0 : pc_error_oom(err);
}

enum exit_code command_models_list(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	json_t *answer = NULL;
	enum exit_code status;
	int rc = api_get(cli, "/v2/models", &answer, &err);

	(void)argc;
	(void)argv;
	if (rc && cli->unreachable && cli->settings) {
		say(stderr, "rbees-pool: no daemon answers; this is the catalog of %s\n",
		    cli->settings->path);
		cli->unreachable = false;
		pc_error_clear(&err);
		rc = read_catalog(cli, &answer, &err);
	}
	if (rc)
		return report(cli, &err);
	status = cli->json ? print_json(cli, answer) : print_models(cli, answer);
	json_decref(answer);
	return status;
}

enum exit_code command_models_catalog(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status;
	json_t *answer = NULL;

	(void)argc;
	(void)argv;
	if (pc_config_load(cli->options[OPTION_CONFIG], NULL, 0, &cli->settings, &err) ||
	    read_catalog(cli, &answer, &err))
		return report(cli, &err);
	status = cli->json ? print_json(cli, answer) : print_models(cli, answer);
	json_decref(answer);
	return status;
}

/* ---- GPUs ---- */

/* "-" for what the driver does not tell. */
static void add_known(struct table *table, const json_t *value, const char *unit)
{
	if (json_is_integer(value))
		table_cell(table, "%lld%s", (long long)json_integer_value(value), unit);
	else
		table_cell(table, "-");
}

/* "71.5 W" of milliwatts. */
static void add_power(struct table *table, const json_t *value)
{
	if (json_is_integer(value))
		table_cell(table, "%.1f W", (double)json_integer_value(value) / 1000);
	else
		table_cell(table, "-");
}

/* One that never told its memory has 0 bytes in all. */
static void add_gpu_memory(struct table *table, const json_t *gpu)
{
	json_int_t in_all = number_of(gpu, "vram_total_bytes");
	char used[32], total[32];

	if (in_all == 0) {
		table_cell(table, "-");
		table_cell(table, "-");
		return;
	}
	table_cell(table, "%s", human_bytes(number_of(gpu, "vram_used_bytes"), used));
	table_cell(table, "%s", human_bytes(in_all, total));
}

static void add_gpu_row(struct table *table, const json_t *gpu)
{
	const json_t *processes = json_object_get(gpu, "processes");

	table_cell(table, "%s", text_of(gpu, "device"));
	table_cell(table, "%s", text_of(gpu, "name"));
	add_gpu_memory(table, gpu);
	add_known(table, json_object_get(gpu, "utilisation_percent"), " %");
	add_known(table, json_object_get(gpu, "temperature_c"), " °C");
	add_power(table, json_object_get(gpu, "power_mw"));
	if (json_is_array(processes))
		table_cell(table, "%zu", json_array_size(processes));
	else
		table_cell(table, "-");
	table_cell(table, "%s", text_of(gpu, "pci_bus_id"));
	table_cell(table, "%s", json_is_string(json_object_get(gpu, "error")) ? "no" : "yes");
}

static void add_process_row(struct table *table, const json_t *gpu, const json_t *process)
{
	const json_t *vram = json_object_get(process, "vram_bytes");
	char bytes[32];

	table_cell(table, "%s", text_of(gpu, "device"));
	table_cell(table, "%lld", (long long)number_of(process, "pid"));
	table_cell(table, "%s",
		   json_is_integer(vram) ? human_bytes(json_integer_value(vram), bytes) : "-");
}

static enum exit_code print_gpu_processes(const struct cli *cli, const json_t *gpus)
{
	static const char *const headings[] = { "DEVICE", "PID", "USED" };
	const json_t *gpu, *process;
	struct table table;
	size_t i, k;

	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(gpus, i, gpu)
	{
		json_array_foreach(json_object_get(gpu, "processes"), k, process)
			add_process_row(&table, gpu, process);
	}
	if (table.count > 0)
		say(stdout, "\n");
	return table.count > 0 || table.failed ? table_print(&table, cli, "") : EXIT_OK;
}

static enum exit_code print_gpus(const struct cli *cli, const json_t *answer)
{
	static const char *const headings[] = {
		"DEVICE", "NAME",  "USED",	"TOTAL",   "LOAD",
		"HEAT",	  "POWER", "PROCESSES", "ADDRESS", "USABLE"
	};
	const json_t *gpus = json_object_get(answer, "gpus");
	struct table table;
	enum exit_code status;
	const json_t *gpu;
	size_t i;

	if (json_array_size(gpus) == 0) {
		say(stdout, "no GPU: %s\n", text_of(answer, "note"));
		return EXIT_OK;
	}
	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(gpus, i, gpu) add_gpu_row(&table, gpu);
	status = table_print(&table, cli, "");
	if (!status)
		status = print_gpu_processes(cli, gpus);
	if (!status)
		say(stdout, "\n%s\n", text_of(answer, "note"));
	return status;
}

static int read_inventory(json_t **ret_answer, struct pc_error *err)
{
	struct pc_gpu_inventory *inventory;
	pc_auto(pc_free) char *text = NULL;
	int rc = pc_gpu_inventory_open(NULL, NULL, &inventory, err);

	if (rc)
		return rc;
	rc = pc_gpu_inventory_json(inventory, &text, err);
	pc_gpu_inventory_close(inventory);
	if (rc)
		return rc;
	*ret_answer = json_loads(text, 0, NULL);
	return *ret_answer ? 0 : pc_error_oom(err);
}

enum exit_code command_gpu_list(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	json_t *answer = NULL;
	enum exit_code status;
	int rc = api_get(cli, "/v2/gpus", &answer, &err);

	(void)argc;
	(void)argv;
	if (rc && cli->unreachable) {
		say(stderr, "rbees-pool: no daemon answers; this is what this machine has\n");
		cli->unreachable = false;
		pc_error_clear(&err);
		rc = read_inventory(&answer, &err);
	}
	if (rc)
		return report(cli, &err);
	status = cli->json ? print_json(cli, answer) : print_gpus(cli, answer);
	json_decref(answer);
	return status;
}
