/* SPDX-License-Identifier: MIT */
/* worker.c - rbees-pool worker list|start|stop|logs. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static enum exit_code show_worker(const struct cli *cli, json_t *answer)
{
	enum exit_code status = EXIT_OK;

	if (cli->json)
		status = print_json(answer);
	else
		printf("%s %s\n", json_string_value(json_object_get(answer, "worker_id")),
		       json_string_value(json_object_get(answer, "status")));
	json_decref(answer);
	return status;
}

/* Posts and takes over `body`. */
static enum exit_code post(struct cli *cli, const char *path, json_t *body)
{
	struct pc_error err = PC_ERROR_INIT;
	json_t *answer = NULL;
	int rc = body ? api_post(cli, path, body, &answer, &err) : pc_error_oom(&err);

	json_decref(body);
	return rc ? report(cli, &err) : show_worker(cli, answer);
}

static enum exit_code worker_start(struct cli *cli, int argc, char **argv)
{
	if (argc != 1)
		return usage_error("worker start", "name one model", "");
	return post(cli, "/v2/workers/start", json_pack("{s:s}", "model", argv[0]));
}

static enum exit_code worker_stop(struct cli *cli, int argc, char **argv)
{
	bool force = argc > 0 && strcmp(argv[0], "--force") == 0;

	argc -= force;
	argv += force;
	if (argc != 1)
		return usage_error("worker stop",
				   "name one worker, as ps shows it: worker stop "
				   "[--force] WORKER",
				   "");
	return post(cli, "/v2/workers/stop",
		    json_pack("{s:s, s:b}", "worker_id", argv[0], "force", force));
}

static enum exit_code worker_logs(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status = EXIT_OK;
	json_t *answer = NULL;
	const json_t *line;
	char path[256];
	size_t i;

	if (argc != 1)
		return usage_error("worker logs", "name one worker, as ps shows it", "");
	/* Worker ids are made of letters, digits and dashes; anything else is not one. */
	if (strspn(argv[0], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
		    strlen(argv[0]) ||
	    strlen(argv[0]) > 64) {
		pc_error_set(&err, PC_E_WORKER_NOT_FOUND, "there is no worker '%s'", argv[0]);
		return report(cli, &err);
	}
	snprintf(path, sizeof(path), "/v2/workers/%s/logs?lines=500", argv[0]);
	if (api_get(cli, path, &answer, &err))
		return report(cli, &err);
	if (cli->json) {
		status = print_json(answer);
	} else {
		json_array_foreach(json_object_get(answer, "lines"), i, line)
			puts(json_string_value(line));
	}
	json_decref(answer);
	return status;
}

enum exit_code command_worker(struct cli *cli, int argc, char **argv)
{
	static const struct {
		const char *name;
		enum exit_code (*run)(struct cli *cli, int argc, char **argv);
	} verbs[] = {
		{ "start", worker_start },
		{ "stop", worker_stop },
		{ "logs", worker_logs },
	};

	if (argc < 2)
		return usage_error(argv[0], "say what: list, start, stop or logs", "");
	if (strcmp(argv[1], "list") == 0) {
		if (argc > 2)
			return usage_error("worker list", "it takes no argument ", argv[2]);
		return command_ps(cli, 1, argv);
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(verbs); i++) {
		if (strcmp(verbs[i].name, argv[1]) == 0)
			return verbs[i].run(cli, argc - 2, argv + 2);
	}
	return usage_error(argv[0], "it knows list, start, stop and logs, not ", argv[1]);
}
