/* SPDX-License-Identifier: MIT */
/* worker.c - rbees-pool worker start|stop|logs. */
#include <poolcore/api.h>

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

enum exit_code command_worker_start(struct cli *cli, int argc, char **argv)
{
	struct pc_worker_spawn_request request = PC_WORKER_SPAWN_REQUEST_INIT;
	struct pc_error err = PC_ERROR_INIT;
	char *body = NULL;
	int rc;

	(void)argc;
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
