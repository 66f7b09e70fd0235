/* SPDX-License-Identifier: MIT */
/* run.c - rbees-pool run MODEL [PROMPT]: one chat completion, streamed to the terminal as it comes.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* As long as the daemon takes by default. */
#define PROMPT_MAX (16u << 20)

struct run_options {
	const char *system;
	json_int_t max_tokens; /* -1: the model's own */
	json_int_t seed;       /* -1: none */
	double temperature;    /* negative: the worker's default */
};

static int parse_number(const char *text, double low, double high, double *ret_value)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	/* Written so that NaN is refused too. */
	if (errno || end == text || *end || !(value >= low && value <= high))
		return -1;
	*ret_value = value;
	return 0;
}

static int parse_run_options(struct run_options *options, int argc, char **argv)
{
	enum { MAX_TOKENS = 1, TEMPERATURE, SEED, SYSTEM };
	static const struct option longs[] = {
		{ "max-tokens", required_argument, NULL, MAX_TOKENS },
		{ "temperature", required_argument, NULL, TEMPERATURE },
		{ "seed", required_argument, NULL, SEED },
		{ "system", required_argument, NULL, SYSTEM },
		{ NULL, 0, NULL, 0 },
	};
	double value;
	int letter;

	optind = 0; /* getopt has run over the global options; 0 makes glibc's start anew */
	while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (letter) {
		case MAX_TOKENS:
			if (parse_number(optarg, 1, 1e9, &value))
				return usage_error("run",
						   "--max-tokens takes a whole number from 1, not ",
						   optarg);
			options->max_tokens = (json_int_t)value;
			break;
		case TEMPERATURE:
			if (parse_number(optarg, 0, 2, &options->temperature))
				return usage_error("run", "--temperature takes 0 to 2, not ",
						   optarg);
			break;
		case SEED:
			if (parse_number(optarg, 0, 4294967295.0, &value))
				return usage_error("run", "--seed takes 0 to 4294967295, not ",
						   optarg);
			options->seed = (json_int_t)value;
			break;
		case SYSTEM:
			options->system = optarg;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	return 0;
}

/* The rest of the arguments joined by spaces, or standard input. Freed by the caller; NULL after a
 * complaint. */
static char *read_prompt(int argc, char **argv)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (argc == 0 || (argc == 1 && strcmp(argv[0], "-") == 0)) {
		char buffer[4096];
		size_t got, total = 0;

		if (isatty(STDIN_FILENO))
			fputs("Type the prompt, then Ctrl-D:\n", stderr);
		while ((got = fread(buffer, 1, sizeof(buffer), stdin)) > 0 &&
		       (total += got) <= PROMPT_MAX)
			fwrite(buffer, 1, got, out);
	}
	for (int i = 0; i < argc && strcmp(argv[0], "-") != 0; i++)
		fprintf(out, "%s%s", i ? " " : "", argv[i]);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static json_t *make_body(const struct run_options *options, const char *model, const char *prompt)
{
	json_t *messages = json_array();
	json_t *body;

	if (options->system)
		json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system", "content",
							  options->system));
	json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", prompt));
	body = json_pack("{s:s, s:o, s:b}", "model", model, "messages", messages, "stream", 1);
	if (body && options->max_tokens >= 0)
		json_object_set_new(body, "max_tokens", json_integer(options->max_tokens));
	if (body && options->seed >= 0)
		json_object_set_new(body, "seed", json_integer(options->seed));
	if (body && options->temperature >= 0)
		json_object_set_new(body, "temperature", json_real(options->temperature));
	return body;
}

static bool print_chunk(void *ctx, const json_t *data)
{
	const struct cli *cli = ctx;
	const json_t *choice = json_array_get(json_object_get(data, "choices"), 0);
	const char *text = json_string_value(
		json_object_get(json_object_get(choice, "delta"), "content"));

	if (cli->json) {
		json_dumpf(data, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (text) {
		fputs(text, stdout);
	}
	/* A reader that is gone (a closed pipe) ends the request. */
	return fflush(stdout) == 0;
}

enum exit_code command_run(struct cli *cli, int argc, char **argv)
{
	struct run_options options = { .max_tokens = -1, .seed = -1, .temperature = -1 };
	struct pc_error err = PC_ERROR_INIT;
	json_t *body;
	char *prompt;
	int rc = parse_run_options(&options, argc, argv);

	if (rc)
		return (enum exit_code)rc;
	argc -= optind;
	argv += optind;
	if (argc < 1)
		return usage_error("run", "name a model; 'rbees-pool models list' shows them", "");
	prompt = read_prompt(argc - 1, argv + 1);
	body = prompt ? make_body(&options, argv[0], prompt) : NULL;
	free(prompt);
	if (!body)
		return usage_error("run", "the prompt must be UTF-8 text", "");
	rc = api_stream(cli, "/v1/chat/completions", body, print_chunk, cli, &err);
	json_decref(body);
	if (!cli->json)
		putchar('\n');
	return rc ? report(cli, &err) : EXIT_OK;
}
