/* SPDX-License-Identifier: MIT */
/* worker.c - rbees-pool worker start|stop|logs. */
#include <poolcore/api.h>
#include <poolcore/catalog.h>
#include <poolcore/gpu.h>
#include <poolcore/lifecycle.h>
#include <poolcore/text.h>

#include "cli/cli.h"

static enum exit_code print_worker(const struct cli *cli, const json_t *answer)
{
	const char *worker_id = json_string_value(json_object_get(answer, "worker_id"));

	if (cli->json)
		return print_json(cli, answer);
	/* There is no worker yet while others are stopped to make room for it. */
	say(stdout, "%s%s%s\n", worker_id ? worker_id : "", worker_id ? " " : "",
	    text_of(answer, "status"));
	return EXIT_OK;
}

/* Posts and takes over the body; `rc` and `err` are those of writing it. */
static enum exit_code post(struct cli *cli, const char *path, int rc, char *body,
			   struct pc_error *err)
{
	enum exit_code status;
	json_t *answer = NULL;

	if (rc == PC_E_INVALID_REQUEST)
		return usage_error("%s", err->message);
	if (!rc)
		rc = api_post(cli, path, body, &answer, err);
	pc_free(body);
	if (rc)
		return report(cli, err);
	status = print_worker(cli, answer);
	json_decref(answer);
	return status;
}

/* ---- start --dry-run ---- */

static enum exit_code tell_plan(const struct cli *cli, const struct pc_spawn_plan *plan)
{
	char needed[32], left[32];
	enum exit_code status;
	json_t *answer;

	if (!cli->json) {
		say(stdout, "%s could be started on %s by %s (%s): %s of %s that are free\n",
		    plan->entry->id, plan->device, plan->backend->name, plan->program,
		    pc_format_size(plan->memory_bytes, needed),
		    pc_format_size(plan->free_bytes, left));
		say(stdout, "%s: %s\n", plan->file.path,
		    plan->file.sha256[0] ? "its SHA-256 is the catalog's"
					 : "there, with no SHA-256 to compare");
		return EXIT_OK;
	}
	answer = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:b}", "model", plan->entry->id,
			   "device", plan->device, "backend", plan->backend->name, "program",
			   plan->program, "memory_bytes", (json_int_t)plan->memory_bytes,
			   "free_bytes", (json_int_t)plan->free_bytes, "path", plan->file.path,
			   "verified", plan->file.sha256[0] != '\0');
	status = print_json(cli, answer);
	json_decref(answer);
	return status;
}

/* What this machine has and nobody uses now; what a daemon has promised to others it alone
 * knows. */
static int plan_start(const struct cli *cli, const struct pc_catalog *catalog, const char *model,
		      struct pc_spawn_plan *ret_plan, struct pc_error *err)
{
	pc_auto(pc_free) char *folder = record_folder(cli);
	const struct pc_spawn_request request = { .model = model };
	struct pc_spawn_means means = { .config = cli->settings,
					.catalog = catalog,
					.verify = { .record_dir = folder } };
	struct pc_gpu_inventory *gpus;
	int rc = folder ? pc_gpu_inventory_open(NULL, NULL, &gpus, err) : pc_error_oom(err);

	if (rc)
		return rc;
	means.gpus = gpus;
	rc = pc_spawn_validate(&request, &means, ret_plan, err);
	pc_gpu_inventory_close(gpus);
	return rc;
}

static enum exit_code rehearse_start(struct cli *cli, const char *model)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog = NULL;
	struct pc_spawn_plan plan;
	enum exit_code status;
	int rc;

	rc = load_catalog(cli, &catalog, &err);
	if (rc == 0)
		rc = plan_start(cli, catalog, model, &plan, &err);
	status = rc ? report(cli, &err) : tell_plan(cli, &plan);
	if (rc == 0)
		pc_spawn_plan_fini(&plan);
	pc_catalog_free(catalog);
	return status;
}

enum exit_code command_worker_start(struct cli *cli, int argc, char **argv)
{
	struct pc_worker_spawn_request request = PC_WORKER_SPAWN_REQUEST_INIT;
	struct pc_error err = PC_ERROR_INIT;
	char *body = NULL;
	int rc;

	(void)argc;
	if (cli->options[OPTION_DRY_RUN])
		return rehearse_start(cli, argv[0]);
	request.model = argv[0];
	rc = pc_worker_spawn_request_write(&request, &body, &err);
	return post(cli, "/v2/workers/start", rc, body, &err);
}

enum exit_code command_worker_stop(struct cli *cli, int argc, char **argv)
{
	const struct pc_worker_stop_request request = {
		.worker_id = argv[0],
		.force = cli->options[OPTION_FORCE] != NULL,
	};
	struct pc_error err = PC_ERROR_INIT;
	char *body = NULL;
	int rc = pc_worker_stop_request_write(&request, &body, &err);

	(void)argc;
	return post(cli, "/v2/workers/stop", rc, body, &err);
}

static void print_lines(const struct cli *cli, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
	{
		if (json_is_string(line))
			put_text(stdout, json_string_value(line), json_string_length(line),
				 cli->terminal ? TEXT_LINES : TEXT_RAW);
		putchar('\n');
	}
}

enum exit_code command_worker_logs(struct cli *cli, int argc, char **argv)
{
	pc_auto(pc_free) char *path = api_path("/v2/workers/", argv[0], "/logs?lines=500");
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status = EXIT_OK;
	json_t *answer = NULL;

	(void)argc;
	if (!path) {
		pc_error_oom(&err);
		return report(cli, &err);
	}
	if (api_get(cli, path, &answer, &err))
		return report(cli, &err);
	if (cli->json)
		status = print_json(cli, answer);
	else
		print_lines(cli, json_object_get(answer, "lines"));
	json_decref(answer);
	return status;
}
