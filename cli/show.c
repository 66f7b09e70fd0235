/* SPDX-License-Identifier: MIT */
/* show.c - the commands that only look: status, ps, models. */
#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* ---- status ---- */

static void print_devices(const struct cli *cli, const json_t *devices)
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
	table_print(&table, cli, "no devices");
}

enum exit_code command_status(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	const json_t *models, *workers, *counters, *model;
	json_int_t waiting = 0, leases = 0;
	json_t *state = NULL;
	char uptime[32];
	size_t i;

	if (argc > 1)
		return usage_error(argv[0], "it takes no argument ", argv[1]);
	if (api_get(cli, "/v2/state", &state, &err))
		return report(cli, &err);
	if (cli->json) {
		enum exit_code status = print_json(state);

		json_decref(state);
		return status;
	}
	models = json_object_get(state, "models");
	workers = json_object_get(state, "workers");
	counters = json_object_get(state, "counters");
	json_array_foreach(models, i, model)
	{
		waiting += number_of(model, "waiting");
		leases += number_of(model, "leases");
	}
	printf("pool %s, version %s, up %s\n", text_of(state, "pool_id"), text_of(state, "version"),
	       human_ms(number_of(state, "uptime_secs") * 1000, uptime));
	printf("%zu models, %zu workers; %lld requests running, %lld waiting; %lld served, %lld "
	       "refused\n\n",
	       json_array_size(models), json_array_size(workers), (long long)leases,
	       (long long)waiting, (long long)number_of(counters, "granted"),
	       (long long)number_of(counters, "rejected"));
	print_devices(cli, json_object_get(state, "devices"));
	json_decref(state);
	return EXIT_OK;
}

/* ---- ps ---- */

enum exit_code command_ps(struct cli *cli, int argc, char **argv)
{
	static const char *const headings[] = { "WORKER", "MODEL",  "STATUS", "DEVICE", "MEMORY",
						"SLOTS",  "SERVED", "IDLE",   "PID" };
	struct pc_error err = PC_ERROR_INIT;
	json_t *answer = NULL;
	const json_t *worker;
	struct table table;
	enum exit_code status;
	size_t i;

	if (argc > 1)
		return usage_error(argv[0], "it takes no argument ", argv[1]);
	if (api_get(cli, "/v2/workers", &answer, &err))
		return report(cli, &err);
	if (cli->json) {
		status = print_json(answer);
		json_decref(answer);
		return status;
	}
	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(json_object_get(answer, "workers"), i, worker)
	{
		char memory[32], idle[32];
		bool draining = json_is_true(json_object_get(worker, "draining"));

		table_cell(&table, "%s", text_of(worker, "worker_id"));
		table_cell(&table, "%s", text_of(worker, "model_id"));
		table_cell(&table, "%s%s", text_of(worker, "status"),
			   draining ? " (draining)" : "");
		table_cell(&table, "%s", text_of(worker, "device"));
		table_cell(&table, "%s", human_bytes(number_of(worker, "reserved_bytes"), memory));
		table_cell(&table, "%lld/%lld", (long long)number_of(worker, "leases"),
			   (long long)number_of(worker, "slots"));
		table_cell(&table, "%lld", (long long)number_of(worker, "served"));
		table_cell(&table, "%s", human_ms(number_of(worker, "idle_ms"), idle));
		table_cell(&table, "%lld", (long long)number_of(worker, "pid"));
	}
	status = table_print(&table, cli,
			     "no workers; one starts when a request asks for its model");
	json_decref(answer);
	return status;
}

/* ---- models ---- */

static void add_model_row(struct table *table, const char *id, const char *state,
			  const char *capability, json_int_t memory_bytes, json_int_t workers,
			  const char *backend)
{
	char memory[32];

	table_cell(table, "%s", id);
	table_cell(table, "%s", state);
	table_cell(table, "%s", capability);
	table_cell(table, "%s", human_bytes(memory_bytes, memory));
	table_cell(table, "%lld", (long long)workers);
	table_cell(table, "%s", backend);
}

static const char *const model_headings[] = { "MODEL",	"STATE",   "CAPABILITY",
					      "MEMORY", "WORKERS", "BACKEND" };

static enum exit_code print_models(struct cli *cli, const json_t *answer)
{
	struct table table;
	const json_t *model;
	size_t i;

	table_init(&table, model_headings, PC_ARRAY_LEN(model_headings));
	json_array_foreach(json_object_get(answer, "models"), i, model)
		add_model_row(&table, text_of(model, "id"), text_of(model, "state"),
			      text_of(model, "capability"), number_of(model, "memory_bytes"),
			      number_of(model, "workers"), text_of(model, "backend"));
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

static int list_models(struct cli *cli, json_t **ret_answer, struct pc_error *err)
{
	struct pc_catalog *catalog;
	int rc = api_get(cli, "/v2/models", ret_answer, err);

	if (rc != PC_E_SEND_FAILED || !cli->settings)
		return rc;
	pc_error_clear(err);
	rc = pc_catalog_load(cli->settings, &catalog, err);
	if (rc)
		return rc;
	*ret_answer = models_of_catalog(catalog);
	pc_catalog_free(catalog);
	return *ret_answer ? 0 : pc_error_oom(err);
}

enum exit_code command_models(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	json_t *answer = NULL;
	enum exit_code status;

	if (argc < 2)
		return usage_error(argv[0], "say what: list", "");
	if (strcmp(argv[1], "list") != 0)
		return usage_error(argv[0], "it knows 'list', not ", argv[1]);
	if (argc > 2)
		return usage_error("models list", "it takes no argument ", argv[2]);
	if (list_models(cli, &answer, &err))
		return report(cli, &err);
	status = cli->json ? print_json(answer) : print_models(cli, answer);
	json_decref(answer);
	return status;
}
