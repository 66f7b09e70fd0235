/* SPDX-License-Identifier: MIT */
/* worker.c - rbees-pool worker start|stop|logs. */
#include <string.h>

#include "cli/cli.h"

/* Posts and takes over `body`; NULL stands for arguments that JSON cannot carry. */
static enum exit_code post(struct cli *cli, const char *path, json_t *body)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status = EXIT_OK;
	json_t *answer = NULL;
	const char *worker_id;
	int rc;

	if (!body)
		return usage_error("names are UTF-8 text");
	rc = api_post(cli, path, body, &answer, &err);
	json_decref(body);
	if (rc)
		return report(cli, &err);
	worker_id = json_string_value(json_object_get(answer, "worker_id"));
	if (cli->json)
		status = print_json(cli, answer);
	else
		/* There is no worker yet while others are stopped to make room for it. */
		say(stdout, "%s%s%s\n", worker_id ? worker_id : "", worker_id ? " " : "",
		    text_of(answer, "status"));
	json_decref(answer);
	return status;
}

enum exit_code command_worker_start(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	return post(cli, "/v2/workers/start", json_pack("{s:s}", "model", argv[0]));
}

enum exit_code command_worker_stop(struct cli *cli, int argc, char **argv)
{
	(void)argc;
	return post(cli, "/v2/workers/stop",
		    json_pack("{s:s, s:b}", "worker_id", argv[0], "force",
			      cli->options[OPTION_FORCE] != NULL));
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
