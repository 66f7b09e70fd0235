/* SPDX-License-Identifier: MIT */
/*
 * run.c - rbees-pool run MODEL [PROMPT]: one chat completion, streamed to the terminal as it comes.
 */
#include <poolcore/text.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* As long as the daemon takes by default. */
#define PROMPT_MAX (16u << 20)

/* ---- the request ---- */

/* A member from an option that was given. */
static enum exit_code add_integer(const struct cli *cli, json_t *body, const char *name,
				  enum option_id id, const char *option, long long low,
				  long long high)
{
	long long value = 0;
	enum exit_code status = integer_option(cli, id, option, low, high, &value);

	if (status == EXIT_OK && cli->options[id])
		json_object_set_new(body, name, json_integer(value));
	return status;
}

static enum exit_code add_temperature(json_t *body, const char *text)
{
	double value;
	char *end;

	if (!text)
		return EXIT_OK;
	value = strtod(text, &end);
	/* Written so that NaN is refused too. */
	if (end == text || *end || !(value >= 0 && value <= 2))
		return usage_error("--temperature takes a number from 0 to 2, not '%s'", text);
	json_object_set_new(body, "temperature", json_real(value));
	return EXIT_OK;
}

/* Appends a message; false when it is not UTF-8, or holds a NUL, which no worker takes. */
static bool add_message(json_t *messages, const char *role, const char *text, size_t length)
{
	return !memchr(text, '\0', length) &&
	       json_array_append_new(messages, json_pack("{s:s, s:o}", "role", role, "content",
							 json_stringn(text, length))) == 0;
}

static json_t *make_messages(const char *system, const char *prompt, size_t length)
{
	json_t *messages = json_array();

	if ((!system || add_message(messages, "system", system, strlen(system))) &&
	    add_message(messages, "user", prompt, length))
		return messages;
	json_decref(messages);
	return NULL;
}

static enum exit_code make_body(const struct cli *cli, const char *model, const char *prompt,
				size_t length, json_t **ret_body)
{
	json_t *messages = make_messages(cli->options[OPTION_SYSTEM], prompt, length);
	json_t *body = json_pack("{s:s, s:b, s:o}", "model", model, "stream", 1, "messages",
				 messages);
	enum exit_code status;

	if (!body)
		return usage_error("run: model, prompt and --system must be UTF-8 text without "
				   "NUL bytes");
	status = add_integer(cli, body, "max_tokens", OPTION_MAX_TOKENS, "--max-tokens", 1,
			     1000000000);
	if (!status)
		status = add_integer(cli, body, "seed", OPTION_SEED, "--seed", 0, 4294967295);
	if (!status)
		status = add_temperature(body, cli->options[OPTION_TEMPERATURE]);
	if (status)
		json_decref(body);
	else
		*ret_body = body;
	return status;
}

/* ---- the prompt ---- */

static enum exit_code read_input(FILE *out)
{
	char buffer[16384];
	size_t got, total = 0;

	if (isatty(STDIN_FILENO))
		say(stderr, "Type the prompt, then Ctrl-D:\n");
	while ((got = fread(buffer, 1, sizeof(buffer), stdin)) > 0) {
		total += got;
		if (total > PROMPT_MAX)
			return usage_error("run: the prompt is longer than %u bytes", PROMPT_MAX);
		fwrite(buffer, 1, got, out);
	}
	if (ferror(stdin)) {
		say(stderr, "rbees-pool: cannot read standard input: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* The arguments joined by spaces, or standard input; free(3) the text. */
static enum exit_code read_prompt(int argc, char **argv, char **ret_text, size_t *ret_length)
{
	bool input = argc == 0 || (argc == 1 && strcmp(argv[0], "-") == 0);
	enum exit_code status = EXIT_OK;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (out && input)
		status = read_input(out);
	for (int i = 0; out && !input && i < argc; i++)
		fprintf(out, "%s%s", i ? " " : "", argv[i]);
	if (!out || ferror(out) | fclose(out)) {
		say(stderr, "rbees-pool: %s\n", pc_error_text(PC_E_OUT_OF_MEMORY));
		status = EXIT_FAILED;
	}
	if (status) {
		free(text);
		return status;
	}
	/* The line end that echo(1) and editors leave behind is not meant. */
	if (input && length > 0 && text[length - 1] == '\n')
		length--;
	*ret_text = text;
	*ret_length = length;
	return EXIT_OK;
}

/* ---- the answer ---- */

struct answer {
	const struct cli *cli;
	bool note; /* the waiting note stands on the terminal */
	char last; /* last character written, 0: none yet */
};

/* A model that is not loaded takes its time; a person should see that something is under way. */
static void put_note(struct answer *answer, const char *model)
{
	if (!answer->cli->color || !isatty(STDERR_FILENO))
		return;
	fputs("\033[2m", stderr);
	say(stderr, "waiting for %s…", model);
	fputs("\033[0m", stderr);
	answer->note = true;
}

static void clear_note(struct answer *answer)
{
	if (answer->note)
		fputs("\r\033[K", stderr);
	answer->note = false;
}

static bool on_event(void *ctx, const json_t *data)
{
	struct answer *answer = ctx;
	const json_t *choice = json_array_get(json_object_get(data, "choices"), 0);
	const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
	size_t length = json_string_length(content);

	if (answer->cli->json) {
		clear_note(answer);
		print_json_line(answer->cli, data);
	} else if (length > 0) {
		const char *text = json_string_value(content);

		clear_note(answer);
		put_text(stdout, text, length, answer->cli->terminal ? TEXT_LINES : TEXT_RAW);
		answer->last = text[length - 1];
	}
	/* A reader that is gone (a closed pipe) ends the request. */
	return fflush(stdout) == 0;
}

enum exit_code command_run(struct cli *cli, int argc, char **argv)
{
	struct answer answer = { .cli = cli };
	struct pc_error err = PC_ERROR_INIT;
	json_t *body = NULL;
	size_t length = 0;
	char *prompt = NULL;
	enum exit_code status = read_prompt(argc - 1, argv + 1, &prompt, &length);
	int rc;

	if (!status)
		status = make_body(cli, argv[0], prompt, length, &body);
	free(prompt);
	if (status)
		return status;
	put_note(&answer, argv[0]);
	rc = api_stream(cli, "/v1/chat/completions", body, on_event, &answer, &err);
	json_decref(body);
	clear_note(&answer);
	/* What was written is ended properly, also before a complaint. */
	if (answer.last && answer.last != '\n')
		putchar('\n');
	fflush(stdout);
	return rc ? report(cli, &err) : EXIT_OK;
}
