/* SPDX-License-Identifier: MIT */
/*
 * main.c - rbees-pool: the table of commands, the table of options, help, complaints, and the last
 * word about the exit code. Each command has its own file or shares one with its nearest kin.
 */
#include <poolcore/text.h>
#include <poolcore/version.h>

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define ANY_NUMBER 4096

struct command {
	const char *name; /* one word or two */
	const char *arguments;
	int least, most; /* how many arguments */
	bool offline;	 /* it needs no connection */
	enum exit_code (*run)(struct cli *cli, int argc, char **argv);
	const char *help;
};

/* clang-format off */
static const struct command commands[] = {
	{ "status",       "",              0, 0, false, command_status,       "what the pool holds: devices, models, requests" },
	{ "ps",           "",              0, 0, false, command_ps,           "the workers that are there" },
	{ "run",          "MODEL [PROMPT]", 1, ANY_NUMBER, false, command_run, "ask a model, stream its answer; PROMPT '-' or none reads standard input" },
	{ "models list",  "",              0, 0, false, command_models_list,  "the models of the catalog" },
	{ "models catalog", "",            0, 0, true,  command_models_catalog, "the models of the catalog's files, whatever a daemon has loaded" },
	{ "models register", "FILE",       1, 1, true,  command_models_register, "add a model to the catalog, with what its GGUF file says of it" },
	{ "models delete", "MODEL",        1, 1, true,  command_models_delete, "take a model out of the catalog, with --file its file too" },
	{ "models du",    "",              0, 0, true,  command_models_du,    "the disk space that the models' files take, and what else is in the cache" },
	{ "models info",  "MODEL",         1, 1, true,  command_models_info,  "what a model's GGUF file says, and the memory that a worker would take" },
	{ "models verify", "MODEL",        1, 1, true,  command_models_verify, "whether a model's file has the size and the SHA-256 of the catalog" },
	{ "gpu list",     "",              0, 0, false, command_gpu_list,     "the GPUs of the daemon's machine, or of this one without a daemon" },
	{ "worker list",  "",              0, 0, false, command_ps,           "the same as ps" },
	{ "worker start", "MODEL",         1, 1, false, command_worker_start, "load a model before a request asks for it" },
	{ "worker stop",  "WORKER",        1, 1, false, command_worker_stop,  "stop a worker when what runs on it has ended" },
	{ "worker logs",  "WORKER",        1, 1, false, command_worker_logs,  "the last lines that a worker wrote, also of one that is gone" },
	{ "worker deaths", "[MODEL]",      0, 1, false, command_worker_deaths, "how the last workers ended, also those of an earlier daemon" },
	{ "config show",  "",              0, 0, true,  command_config_show,  "the settings in effect and where they come from" },
	{ "config check", "",              0, 0, true,  command_config_check, "whether settings and catalog are valid and the models' files there" },
	{ "reload",       "",              0, 0, false, command_reload,       "have the daemon read its settings and catalogs again" },
	{ "version",      "",              0, 0, false, command_version,      "the versions of this program and of the daemon" },
};

static const struct option_row {
	const char *name;
	const char *argument; /* NULL: a flag */
	const char *command;  /* the only ones that take it, with ", " between them; NULL: all */
	const char *help;
} option_rows[OPTION_COUNT] = {
	[OPTION_URL]         = { "url",         "URL",  NULL, "the daemon: http://127.0.0.1:9200 or unix:/path (also RBEES_POOL_URL)" },
	[OPTION_CONFIG]      = { "config",      "FILE", NULL, "read the daemon's address and the catalog from its settings" },
	[OPTION_JSON]        = { "json",        NULL,   NULL, "print what the daemon says, for programs" },
	[OPTION_NO_COLOR]    = { "no-color",    NULL,   NULL, "never colour the output (also NO_COLOR)" },
	[OPTION_TIMEOUT]     = { "timeout",     "SECS", NULL, "give up when the daemon says nothing for so long (30, but of run: 0, never)" },
	[OPTION_HELP]        = { "help",        NULL,   NULL, "print this help; after a command, the command's" },
	[OPTION_VERSION]     = { "version",     NULL,   NULL, "print the version of this program" },
	[OPTION_MAX_TOKENS]  = { "max-tokens",  "N",    "run", "end the answer after this many tokens" },
	[OPTION_TEMPERATURE] = { "temperature", "T",    "run", "0 to 2; 0 always takes the likeliest word" },
	[OPTION_SEED]        = { "seed",        "N",    "run", "0 to 4294967295: the same seed gives the same answer" },
	[OPTION_SYSTEM]      = { "system",      "TEXT", "run", "instructions that stand before the prompt" },
	[OPTION_FORCE]       = { "force",       NULL,   "worker stop", "stop it at once" },
	[OPTION_CONTEXT]     = { "context",     "N",    "models info, models register", "a context of N tokens, not the catalog's or the model's own" },
	[OPTION_SLOTS]       = { "slots",       "N",    "models info, models register", "N slots, 1 to 64, not the catalog's or 1" },
	[OPTION_RECORD]      = { "record",      NULL,   "models verify", "write size and SHA-256 into the catalog where it has none" },
	[OPTION_REHASH]      = { "rehash",      NULL,   "models verify", "read the file even if it has not changed since it was read last" },
	[OPTION_ID]          = { "id",          "ID",   "models register", "what requests call it, not the file's name" },
	[OPTION_NAME]        = { "name",        "NAME", "models register", "its name for people, not the one in the file" },
	[OPTION_CAPABILITY]  = { "capability",  "WORD", "models register", "what it does, not what its architecture suggests" },
	[OPTION_BACKEND]     = { "backend",     "NAME", "models register", "the backend that runs it, not pool-worker" },
	[OPTION_DEVICE]      = { "device",      "NAME", "models register", "whose memory it takes: auto, cpu, gpu0 ..." },
	[OPTION_MEMORY_MB]   = { "memory-mb",   "N",    "models register", "the MiB that a worker takes, not the estimate" },
	[OPTION_CATALOG]     = { "catalog",     "FILE", "models register", "which of the catalog's files it is added to, not the first" },
	[OPTION_FILE]        = { "file",        NULL,   "models delete", "delete the model's file too, unless another model has it" },
	[OPTION_DRY_RUN]     = { "dry-run",     NULL,   "models register, models delete, worker start", "say what would be done, and do nothing" },
	[OPTION_EFFECTIVE]   = { "effective",   NULL,   "config show", "what the daemon has in force, with secrets left out" },
};
/* clang-format on */

/* ---- help ---- */

/* NULL stands for the options that every command takes. */
static bool belongs(const struct option_row *row, const char *command)
{
	const char *names = row->command;

	if (!names || !command)
		return names == command;
	for (size_t length; (length = strcspn(names, ",")) > 0;) {
		if (strlen(command) == length && strncmp(names, command, length) == 0)
			return true;
		names += length + strspn(names + length, ", ");
	}
	return false;
}

static void print_options(const char *command)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		char left[40];

		if (!belongs(row, command))
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		printf("  %-20s %s\n", left, row->help);
	}
}

static bool has_options(const char *command)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (belongs(&option_rows[i], command))
			return true;
	}
	return false;
}

static void print_help(void)
{
	fputs("Usage: rbees-pool [OPTION]... COMMAND [ARGUMENT]...\n"
	      "Operates a pool of AI models kept by pool-managerd.\n\nCommands:\n",
	      stdout);
	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++) {
		char left[40];

		snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].arguments);
		printf("  %-22s %s\n", left, commands[i].help);
	}
	fputs("\nOptions, before or after the command:\n", stdout);
	print_options(NULL);
	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++) {
		if (!has_options(commands[i].name))
			continue;
		printf("\nOptions of %s:\n", commands[i].name);
		print_options(commands[i].name);
	}
	fputs("\nExit status: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 not found,\n"
	      "5 not enough memory, 6 timed out, 130 interrupted.\n",
	      stdout);
}

static void print_command_help(const struct command *command)
{
	bool options = has_options(command->name);

	printf("Usage: rbees-pool %s%s%s%s\n%s.\n", command->name, options ? " [OPTION]..." : "",
	       command->arguments[0] ? " " : "", command->arguments, command->help);
	if (options)
		putchar('\n');
	print_options(command->name);
}

/* ---- complaints ---- */

enum exit_code usage_error(const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	say(stderr, "rbees-pool: %s\nTry 'rbees-pool --help'.\n", text);
	return EXIT_USAGE;
}

bool whole_number(const char *text, long long low, long long high, long long *ret_number)
{
	long long number;
	char *end;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < low || number > high)
		return false;
	*ret_number = number;
	return true;
}

enum exit_code integer_option(const struct cli *cli, enum option_id id, const char *name,
			      long long low, long long high, long long *number)
{
	const char *text = cli->options[id];

	if (!text || whole_number(text, low, high, number))
		return EXIT_OK;
	return usage_error("%s takes a whole number from %lld to %lld, not '%s'", name, low, high,
			   text);
}

enum exit_code number_option(const struct cli *cli, enum option_id id, const char *name,
			     uint32_t most, uint32_t *number)
{
	long long wide = *number;
	enum exit_code status = integer_option(cli, id, name, 1, most, &wide);

	*number = (uint32_t)wide;
	return status;
}

static enum exit_code exit_code_of(int code)
{
	switch (code) {
	case PC_OK:
		return EXIT_OK;
	case PC_E_INVALID_CONFIG:
		return EXIT_USAGE;
	case PC_E_NOT_FOUND:
	case PC_E_MODEL_NOT_FOUND:
	case PC_E_WORKER_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case PC_E_INSUFFICIENT_MEMORY:
		return EXIT_NO_MEMORY;
	case PC_E_TIMEOUT:
		return EXIT_TIMED_OUT;
	default:
		return EXIT_FAILED;
	}
}

static json_t *error_body(const struct pc_error *err)
{
	json_t *details = json_object();

	for (unsigned i = 0; details && i < err->detail_count; i++)
		json_object_set_new(details, err->details[i].key,
				    json_string(err->details[i].value));
	return json_pack("{s:{s:s, s:s, s:o}}", "error", "code", pc_error_name(err->code),
			 "message", err->message, "details", details);
}

enum exit_code report(const struct cli *cli, const struct pc_error *err)
{
	/* NULL too when a path in the message is not UTF-8: then the sentence has to do. */
	json_t *body = cli->json ? error_body(err) : NULL;
	char *text = body ? json_dumps(body, JSON_INDENT(2)) : NULL;

	if (text) {
		put_text(stderr, text, strlen(text), TEXT_LINES);
		fputc('\n', stderr);
	} else if (cli->unreachable) {
		say(stderr, "rbees-pool: %s\n", err->message);
	} else {
		say(stderr, "rbees-pool: %s (%s)\n", err->message, pc_error_name(err->code));
		if (err->code == PC_E_UNAUTHORIZED)
			say(stderr, "Set RBEES_POOL_TOKEN, or name with --config the settings that "
				    "have its file.\n");
	}
	free(text);
	json_decref(body);
	/* The daemon knows SEND_FAILED too, from its own dealings with workers. */
	return cli->unreachable ? EXIT_UNREACHABLE : exit_code_of(err->code);
}

/* ---- version ---- */

enum exit_code command_version(struct cli *cli, int argc, char **argv)
{
	enum exit_code status = EXIT_OK;
	json_t *health = NULL;
	const char *daemon;

	(void)argc;
	(void)argv;
	/* A daemon that is not there is no failure here. */
	api_get(cli, "/health", &health, NULL);
	daemon = json_string_value(json_object_get(health, "version"));
	if (cli->json) {
		json_t *versions = json_pack("{s:s, s:s, s:s?}", "rbees-pool", PC_VERSION,
					     "libpoolcore", pc_version(), "pool-managerd", daemon);

		status = print_json(cli, versions);
		json_decref(versions);
	} else {
		say(stdout, "rbees-pool %s (libpoolcore %s)\npool-managerd %s\n", PC_VERSION,
		    pc_version(), daemon ? daemon : "does not answer");
	}
	json_decref(health);
	return status;
}

/* ---- from words to a command ---- */

/* getopt's own messages would name the program by its path. */
static enum exit_code option_error(int argc, char **argv, int letter)
{
	const char *given = optind > 0 && optind <= argc ? argv[optind - 1] : "";

	if (letter == ':')
		return usage_error("%s needs a value", given);
	return usage_error("unknown option '%s'; write '--' before words that begin with a dash",
			   given);
}

/* Options may stand anywhere, until "--". What is left of argv begins at optind. */
static int parse_options(struct cli *cli, int argc, char **argv)
{
	struct option longs[OPTION_COUNT + 1] = { 0 };
	int letter;

	for (int i = 0; i < OPTION_COUNT; i++)
		longs[i] = (struct option){ option_rows[i].name,
					    option_rows[i].argument ? required_argument
								    : no_argument,
					    NULL, 256 + i };
	while ((letter = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		int id = letter - 256;

		if (id < 0)
			return option_error(argc, argv, letter);
		cli->options[id] = optarg ? optarg : option_rows[id].name;
	}
	return 0;
}

/* How many words of argv are the command's name; 0: it is another one. */
static int match(const struct command *command, int argc, char **argv)
{
	size_t first = strcspn(command->name, " ");

	if (argc < 1 || strlen(argv[0]) != first || strncmp(command->name, argv[0], first) != 0)
		return 0;
	if (command->name[first] == '\0')
		return 1;
	return argc > 1 && strcmp(command->name + first + 1, argv[1]) == 0 ? 2 : 0;
}

/* "stop", which "worker stop" may be meant by: names the commands whose second word it is. */
static void find_second_word(const char *word, char *text, size_t size)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++) {
		const char *space = strchr(commands[i].name, ' ');
		size_t at = strlen(text);

		if (space && strcmp(space + 1, word) == 0)
			snprintf(text + at, size - at, "%s'%s'", at ? " or " : "",
				 commands[i].name);
	}
}

/* "worker" alone, or with a word that it does not know: says which words it knows. */
static enum exit_code unknown_command(int argc, char **argv)
{
	const char *names[PC_ARRAY_LEN(commands)], *near;
	size_t length = strlen(argv[0]);
	char known[256] = "", whole[256] = "";

	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++) {
		size_t at = strlen(known);

		names[i] = commands[i].name;
		if (strncmp(names[i], argv[0], length) == 0 && names[i][length] == ' ')
			snprintf(known + at, sizeof(known) - at, "%s%s", at ? ", " : "",
				 names[i] + length + 1);
	}
	if (known[0] && argc > 1)
		return usage_error("%s knows %s, not '%s'", argv[0], known, argv[1]);
	if (known[0])
		return usage_error("%s: say what: %s", argv[0], known);
	find_second_word(argv[0], whole, sizeof(whole));
	if (whole[0])
		return usage_error("there is no command '%s'; is it %s?", argv[0], whole);
	near = pc_nearest_name(argv[0], names, PC_ARRAY_LEN(names));
	return usage_error("there is no command '%s'%s%s%s", argv[0], near ? "; is it '" : "",
			   near ? near : "", near ? "'?" : "");
}

static enum exit_code check_arguments(const struct cli *cli, const struct command *command,
				      int argc, char **argv)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];

		if (cli->options[i] && !belongs(row, NULL) && !belongs(row, command->name))
			return usage_error("--%s belongs to %s, not to %s", row->name, row->command,
					   command->name);
	}
	if (argc < command->least)
		return usage_error("%s: an argument is missing: %s %s", command->name,
				   command->name, command->arguments);
	if (argc > command->most)
		return usage_error("%s: '%s' is one argument too many", command->name,
				   argv[command->most]);
	return EXIT_OK;
}

static enum exit_code run_command(struct cli *cli, const struct command *command, int argc,
				  char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status;

	if (cli->options[OPTION_HELP]) {
		print_command_help(command);
		return EXIT_OK;
	}
	status = check_arguments(cli, command, argc, argv);
	if (status)
		return status;
	/* Who only wants to know what would happen may have no daemon. */
	if (!command->offline && !cli->options[OPTION_DRY_RUN] && api_open(cli, &err))
		status = report(cli, &err);
	else
		status = command->run(cli, argc, argv);
	api_close(cli);
	return status;
}

static enum exit_code dispatch(struct cli *cli, int argc, char **argv)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(commands); i++) {
		int words = match(&commands[i], argc, argv);

		if (words)
			return run_command(cli, &commands[i], argc - words, argv + words);
	}
	if (cli->options[OPTION_HELP])
		print_help();
	else if (cli->options[OPTION_VERSION])
		printf("rbees-pool %s\n", pc_version());
	else if (argc == 0)
		return usage_error("say what to do");
	else
		return unknown_command(argc, argv);
	return EXIT_OK;
}

/* ---- the end ---- */

/* Whether nobody reads standard output any more: poll(2) tells it of pipes and sockets. */
static bool reader_left(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

/* What could not be written is a failure, unless the reader left: then it has read enough. */
static enum exit_code finish(enum exit_code status)
{
	bool failed = fflush(stdout) != 0;

	if ((failed || ferror(stdout)) && !reader_left()) {
		say(stderr, "rbees-pool: the output could not be written\n");
		return EXIT_FAILED;
	}
	return status;
}

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

int main(int argc, char **argv)
{
	struct cli cli = { .json = false };
	const char *terminal = getenv("TERM");
	int status;

	/* All text is UTF-8, whatever the user's locale; only widths ask the C library. */
	setlocale(LC_CTYPE, "C.UTF-8");
	/* A reader that leaves shows as an error of the write, for TLS connections too. Ctrl-C ends
	 * the program as it ends every other: the daemon cancels a request whose client is gone. */
	signal(SIGPIPE, SIG_IGN);
	status = parse_options(&cli, argc, argv);
	if (status)
		return status;
	cli.json = cli.options[OPTION_JSON];
	cli.terminal = isatty(STDOUT_FILENO);
	cli.color = cli.terminal && !cli.options[OPTION_NO_COLOR] && !is_set("NO_COLOR") &&
		    !(terminal && strcmp(terminal, "dumb") == 0);
	return finish(dispatch(&cli, argc - optind, argv + optind));
}
