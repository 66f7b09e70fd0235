/* SPDX-License-Identifier: MIT */
/*
 * main.c - rbees-pool: global options, the table of commands, help. Each command has its own file
 * or shares one with its nearest kin.
 */
#include <poolcore/config.h>
#include <poolcore/version.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

struct command {
	const char *name;
	enum exit_code (*run)(struct cli *cli, int argc, char **argv);
	const char *usage;
	const char *help;
};

/* clang-format off */
static const struct command commands[] = {
	{ "status",  command_status,  "status",                  "what the pool holds: devices, models, requests" },
	{ "ps",      command_ps,      "ps",                      "the workers that are there" },
	{ "run",     command_run,     "run MODEL [PROMPT]",      "ask a model, stream its answer; PROMPT '-' or none reads standard input" },
	{ "models",  command_models,  "models list",             "the models of the catalog" },
	{ "worker",  command_worker,  "worker list|start|stop|logs", "the workers, one by one" },
	{ "version", command_version, "version",                 "the versions of this program and of the daemon" },
};
/* clang-format on */

static void print_help(FILE *out)
{
	fputs("Usage: rbees-pool [OPTION]... COMMAND [ARGUMENT]...\n"
	      "Operates a pool of AI models kept by pool-managerd.\n\nCommands:\n",
	      out);
	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++)
		fprintf(out, "  %-28s %s\n", commands[i].usage, commands[i].help);
	fputs("\nOptions:\n"
	      "  --url URL       the daemon: http://127.0.0.1:9200 or unix:/path (also RBEES_POOL_URL)\n"
	      "  --config FILE   read the daemon's address and the catalog from its settings\n"
	      "  --json          print what the daemon says, for programs\n"
	      "  --no-color      never colour the output (also NO_COLOR)\n"
	      "  --help, --version\n"
	      "\nExit status: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 not found,\n"
	      "5 not enough memory, 6 timed out, 130 interrupted.\n",
	      out);
}

enum exit_code usage_error(const char *command, const char *sentence, const char *word)
{
	fprintf(stderr, "rbees-pool%s%s: %s%s\nTry 'rbees-pool --help'.\n", command ? " " : "",
		command ? command : "", sentence, word);
	return EXIT_USAGE;
}

/* Returns -1 to go on. */
static int parse_options(struct cli *cli, int argc, char **argv)
{
	enum { URL = 1, CONFIG, JSON, NO_COLOR, HELP, VERSION };
	static const struct option longs[] = {
		{ "url", required_argument, NULL, URL },
		{ "config", required_argument, NULL, CONFIG },
		{ "json", no_argument, NULL, JSON },
		{ "no-color", no_argument, NULL, NO_COLOR },
		{ "help", no_argument, NULL, HELP },
		{ "version", no_argument, NULL, VERSION },
		{ NULL, 0, NULL, 0 },
	};
	int letter;

	/* '+': stop at the command, whose options are its own. */
	while ((letter = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		switch (letter) {
		case URL:
			cli->url = optarg;
			break;
		case CONFIG:
			cli->config = optarg;
			break;
		case JSON:
			cli->json = true;
			break;
		case NO_COLOR:
			cli->color = false;
			break;
		case HELP:
			print_help(stdout);
			return EXIT_OK;
		case VERSION:
			printf("rbees-pool %s\n", pc_version());
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	}
	return -1;
}

/* --json is taken after the command too, because everybody writes it there. */
static int take_json(struct cli *cli, int argc, char **argv)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			cli->json = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

static enum exit_code run_command(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status;

	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, argv[0]) != 0)
			continue;
		if (api_open(cli, &err))
			status = report(cli, &err);
		else
			status = commands[i].run(cli, take_json(cli, argc, argv), argv);
		api_close(cli);
		return status;
	}
	return usage_error(NULL, "there is no command ", argv[0]);
}

enum exit_code exit_code_of(int code)
{
	switch (code) {
	case PC_OK:
		return EXIT_OK;
	case PC_E_SEND_FAILED:
		return EXIT_UNREACHABLE;
	case PC_E_NOT_FOUND:
	case PC_E_MODEL_NOT_FOUND:
	case PC_E_WORKER_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case PC_E_INSUFFICIENT_MEMORY:
		return EXIT_NO_MEMORY;
	case PC_E_TIMEOUT:
		return EXIT_TIMED_OUT;
	case PC_E_CANCELLED:
		return EXIT_INTERRUPTED;
	case PC_E_INVALID_CONFIG:
		return EXIT_USAGE;
	default:
		return EXIT_FAILED;
	}
}

static void report_json(const struct pc_error *err)
{
	json_t *details = json_object();
	json_t *body;

	for (unsigned i = 0; details && i < err->detail_count; i++)
		json_object_set_new(details, err->details[i].key,
				    json_string(err->details[i].value));
	body = json_pack("{s:{s:s, s:s, s:o}}", "error", "code", pc_error_name(err->code),
			 "message", err->message, "details", details);
	if (body)
		json_dumpf(body, stderr, JSON_INDENT(2));
	fputc('\n', stderr);
	json_decref(body);
}

enum exit_code report(const struct cli *cli, const struct pc_error *err)
{
	if (cli->json)
		report_json(err);
	else
		fprintf(stderr, "rbees-pool: %s (%s)\n", err->message, pc_error_name(err->code));
	return exit_code_of(err->code);
}

enum exit_code command_version(struct cli *cli, int argc, char **argv)
{
	json_t *health = NULL;
	const char *daemon;

	if (argc > 1)
		return usage_error(argv[0], "it takes no argument ", argv[1]);
	/* A daemon that is not there is no failure here. */
	api_get(cli, "/health", &health, NULL);
	daemon = json_string_value(json_object_get(health, "version"));
	if (cli->json)
		printf("{\"rbees-pool\": \"%s\", \"libpoolcore\": \"%s\", \"pool-managerd\": %s%s%s}\n",
		       PC_VERSION, pc_version(), daemon ? "\"" : "", daemon ? daemon : "null",
		       daemon ? "\"" : "");
	else
		printf("rbees-pool %s (libpoolcore %s)\npool-managerd %s\n", PC_VERSION,
		       pc_version(), daemon ? daemon : "does not answer");
	json_decref(health);
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	struct cli cli = { .url = NULL };
	int status;

	cli.color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	status = parse_options(&cli, argc, argv);
	if (status >= 0)
		return status;
	if (optind == argc) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	return run_command(&cli, argc - optind, argv + optind);
}
