/* SPDX-License-Identifier: MIT */
/*
 * options.c - one table of options: getopt_long's own, the ranges and --help derive from it.
 */
#include "options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER, OPTION_CAPABILITY, OPTION_LOG_FORMAT };

struct option_row {
	const char *name;
	const char *value; /* NULL for flags */
	enum option_kind kind;
	size_t offset;
	uint32_t min, max;
	const char *help;
};

/* clang-format off */
#define AT(member) offsetof(struct options, member)
static const struct option_row rows[] = {
	{ "model", "PATH", OPTION_TEXT, AT(model), 0, 0, "the model file to load (required)" },
	{ "model-id", "ID", OPTION_TEXT, AT(model_id), 0, 0,
	  "the name that /v1/models shows (the file's name)" },
	{ "engine", "NAME", OPTION_TEXT, AT(engine), 0, 0,
	  "the engine plug-in, or its path (llama)" },
	{ "socket", "PATH", OPTION_TEXT, AT(socket), 0, 0, "serve on a Unix socket" },
	{ "port", "N", OPTION_NUMBER, AT(port), 0, 65535,
	  "serve on 127.0.0.1:N; 0 lets the kernel choose" },
	{ "slots", "N", OPTION_NUMBER, AT(slots), 1, 64, "requests that run at once (1)" },
	{ "context-tokens", "N", OPTION_NUMBER, AT(context_tokens), 0, 1u << 24,
	  "context of each slot; 0: the model's own, 4096 at most (0)" },
	{ "capability", "NAME", OPTION_CAPABILITY, AT(capability), 0, 0,
	  "text_to_text or text_embedding (text_to_text)" },
	{ "threads", "N", OPTION_NUMBER, AT(threads), 0, 1024,
	  "compute threads of each slot; 0: the engine decides (0)" },
	{ "ready-url", "URL", OPTION_TEXT, AT(ready_url), 0, 0,
	  "where to POST that the model is loaded:\n"
	  "http://127.0.0.1:PORT/PATH or unix:/SOCKET:/PATH" },
	{ "worker-id", "ID", OPTION_TEXT, AT(worker_id), 0, 0, "our id in that message" },
	{ "log-format", "FORMAT", OPTION_LOG_FORMAT, AT(log_json), 0, 0, "human or json (human)" },
	{ "help", NULL, OPTION_FLAG, AT(help), 0, 0, "print this and exit" },
	{ "version", NULL, OPTION_FLAG, AT(version), 0, 0, "print the version and exit" },
};
/* clang-format on */

#define COLUMN 26

void options_print_help(FILE *file)
{
	fputs("Usage: pool-worker --model PATH (--socket PATH | --port N) [OPTION]...\n"
	      "Loads one model and serves it over HTTP in OpenAI's form.\n\n",
	      file);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		const struct option_row *row = &rows[i];
		const char *line = row->help;
		int width = fprintf(file, "  --%s%s%s", row->name, row->value ? " " : "",
				    row->value ? row->value : "");

		for (;; width = 0) {
			int length = (int)strcspn(line, "\n");

			fprintf(file, "%*s%.*s\n", width < COLUMN ? COLUMN - width : 1, "", length,
				line);
			if (line[length] == '\0')
				break;
			line += length + 1;
		}
	}
	fputs("\nEnvironment:\n"
	      "  POOL_WORKER_SPAWN_TOKEN  sent with the readiness message; never an argument,\n"
	      "                           because arguments are public\n"
	      "  POOLCORE_ENGINE_PATH     further folders of engine plug-ins, colon-separated\n"
	      "\nExit status: 0 after a clean stop, 1 when it could not start or load (the last log\n"
	      "line says why), 2 for a bad command line, 128 + N when a second signal N cut the\n"
	      "stop short.\n",
	      file);
}

static int take_number(const struct option_row *row, const char *text, uint32_t *ret_number,
		       struct pc_error *err)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || number < row->min || number > row->max)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "--%s must be a whole number from %u to %u, not '%s'",
				    row->name, row->min, row->max, text);
	*ret_number = (uint32_t)number;
	return 0;
}

static int take_capability(const char *text, enum pc_capability *ret_capability,
			   struct pc_error *err)
{
	int capability = pc_capability_from_name(text);

	if (capability != PC_CAPABILITY_TEXT_TO_TEXT && capability != PC_CAPABILITY_TEXT_EMBEDDING)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "--capability must be text_to_text or text_embedding, not '%s'",
				    text);
	*ret_capability = (enum pc_capability)capability;
	return 0;
}

static int take_option(const struct option_row *row, const char *text, struct options *options,
		       struct pc_error *err)
{
	void *member = (char *)options + row->offset;

	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)member = true;
		return 0;
	case OPTION_TEXT:
		if (text[0] == '\0')
			return pc_error_set(err, PC_E_INVALID_ARGUMENT, "--%s must not be empty",
					    row->name);
		*(const char **)member = text;
		return 0;
	case OPTION_NUMBER:
		options->has_port |= row->offset == AT(port);
		return take_number(row, text, member, err);
	case OPTION_CAPABILITY:
		return take_capability(text, member, err);
	case OPTION_LOG_FORMAT:
		if (strcmp(text, "human") != 0 && strcmp(text, "json") != 0)
			return pc_error_set(err, PC_E_INVALID_ARGUMENT,
					    "--log-format must be human or json, not '%s'", text);
		*(bool *)member = strcmp(text, "json") == 0;
		return 0;
	}
	return 0;
}

static int check_whole(const struct options *options, struct pc_error *err)
{
	if (!options->model)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "--model PATH is required");
	if (options->has_port == (options->socket != NULL))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s of --socket PATH and --port N",
				    options->socket ? "give only one" : "give one");
	if (options->ready_url && !options->worker_id)
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"--ready-url needs --worker-id, or nobody could tell who is ready");
	return 0;
}

int options_parse(int argc, char **argv, struct options *options, struct pc_error *err)
{
	struct option table[PC_ARRAY_LEN(rows) + 1] = { 0 };
	int index, got;

	*options = (struct options){
		.engine = "llama",
		.slots = 1,
		.capability = PC_CAPABILITY_TEXT_TO_TEXT,
	};
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		table[i].name = rows[i].name;
		table[i].has_arg = rows[i].value ? required_argument : no_argument;
	}
	/* A leading ':' tells a missing value from an unknown option, and keeps getopt silent. */
	optind = 0;
	while ((got = getopt_long(argc, argv, ":", table, &index)) != -1) {
		if (got == ':')
			return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s needs a value",
					    argv[optind - 1]);
		if (got != 0)
			return pc_error_set(err, PC_E_INVALID_ARGUMENT, "unknown option '%s'",
					    argv[optind - 1]);
		if (take_option(&rows[index], optarg, options, err) != 0)
			return err->code;
	}
	if (options->help || options->version)
		return 0;
	if (optind < argc)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "unexpected argument '%s'",
				    argv[optind]);
	return check_whole(options, err);
}
