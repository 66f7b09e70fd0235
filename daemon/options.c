/* SPDX-License-Identifier: MIT */
/*
 * options.c - one table of options: getopt_long's two, the settings that they override and --help
 * derive from it. What a value may be is the settings' affair.
 */
#include "daemon/options.h"

#include <poolcore/base.h>

#include <getopt.h>
#include <string.h>

struct option_row {
	const char *flag; /* with its dashes */
	char letter;
	const char *argument; /* NULL: none */
	const char *key;      /* the setting it overrides, or NULL */
	const char *help;
};

/* clang-format off */
static const struct option_row rows[] = {
	{ "--config", 'c', "FILE", NULL, "read the settings from FILE" },
	{ "--check", 'k', NULL, NULL, "check the configuration and the catalog, then exit" },
	{ "--listen", 'l', "ADDRESS", "http.listen",
	  "serve on ADDRESS: 127.0.0.1:9200, unix:/path" },
	{ "--state-dir", 'd', "DIR", "pool.state_dir", "keep registry and sockets in DIR" },
	{ "--log-level", 'L', "LEVEL", "log.level", "debug, info, warn or error" },
	{ "--log-format", 'F', "FORMAT", "log.format", "human or json" },
	{ "--set", 's', "KEY=VALUE", NULL,
	  "override any setting: --set pool.request_timeout_secs=60" },
	{ "--help", 'h', NULL, NULL, "print this help" },
	{ "--version", 'V', NULL, NULL, "print the version" },
};
/* clang-format on */

void options_print_help(FILE *out)
{
	fputs("Usage: pool-managerd [--config FILE] [OPTION]...\n"
	      "Keeps AI models warm behind an OpenAI-compatible gateway.\n\n",
	      out);
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		const struct option_row *row = &rows[i];
		char left[40];

		snprintf(left, sizeof(left), "%s%s%s", row->flag, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		fprintf(out, "  -%c, %-22s  %s\n", row->letter, left, row->help);
	}
	fputs("\nExit status: 0 after a clean stop, 1 when it could not run, 2 for a wrong option\n"
	      "or configuration, 3 after a stop that left a worker behind which cannot be killed.\n"
	      "SIGTERM and SIGINT drain and stop, a second one kills; SIGHUP reads\n"
	      "the configuration again.\n",
	      out);
}

/* `name` is what an error calls it: the option as it was typed. */
static int add_override(struct options *options, const char *name, const char *key,
			const char *value, struct pc_error *err)
{
	if (options->override_count == OVERRIDES_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "more than %d settings are overridden; write them into a file "
				    "for --config",
				    OVERRIDES_MAX);
	options->overrides[options->override_count++] = (struct pc_setting_override){
		.key = key,
		.value = value,
		.name = name,
		.source = PC_SOURCE_FLAG,
	};
	return 0;
}

static int add_set(struct options *options, const char *argument, struct pc_error *err)
{
	const char *equals = strchr(argument, '=');
	size_t at = options->override_count;
	int rc;

	if (!equals || equals == argument)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "--set takes KEY=VALUE, like pool.request_timeout_secs=60, not "
				    "'%s'",
				    argument);
	rc = add_override(options, "--set", NULL, equals + 1, err);
	if (rc)
		return rc;
	options->keys[at] = pc_strndup(argument, (size_t)(equals - argument));
	if (!options->keys[at])
		return pc_error_oom(err);
	options->overrides[at].key = options->keys[at];
	return 0;
}

static int take_option(struct options *options, const struct option_row *row, struct pc_error *err)
{
	if (row->key)
		return add_override(options, row->flag, row->key, optarg, err);
	switch (row->letter) {
	case 'c':
		options->config = optarg;
		break;
	case 'k':
		options->check = true;
		break;
	case 's':
		return add_set(options, optarg, err);
	case 'h':
		options->help = true;
		break;
	case 'V':
		options->version = true;
		break;
	}
	return 0;
}

static const struct option_row *find_row(int letter)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		if (rows[i].letter == letter)
			return &rows[i];
	}
	return NULL;
}

/* What getopt_long did not understand. Of letters in one word, optopt says which one it was. */
static int option_error(char **argv, int letter, struct pc_error *err)
{
	const char *word = argv[optind - 1];
	const struct option_row *row = find_row(optopt);

	if (letter == ':' && row)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s needs a value: %s %s",
				    row->flag, row->flag, row->argument);
	if (row)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%s takes no value", row->flag);
	if (optopt)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "unknown option '-%c'", optopt);
	return pc_error_set(err, PC_E_INVALID_ARGUMENT, "unknown option '%s'", word);
}

int options_parse(int argc, char **argv, struct options *options, struct pc_error *err)
{
	struct option longs[PC_ARRAY_LEN(rows) + 1] = { 0 };
	char shorts[2 * PC_ARRAY_LEN(rows) + 2] = ":"; /* no messages of getopt's own */
	size_t at = 1;
	int letter, rc = 0;

	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		const struct option_row *row = &rows[i];

		longs[i] = (struct option){ row->flag + 2,
					    row->argument ? required_argument : no_argument, NULL,
					    row->letter };
		shorts[at++] = row->letter;
		if (row->argument)
			shorts[at++] = ':';
	}
	optind = 0; /* GNU: begin anew */
	while (!rc && (letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct option_row *row = find_row(letter);

		rc = row ? take_option(options, row, err) : option_error(argv, letter, err);
	}
	if (!rc && optind < argc)
		rc = pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"unexpected argument '%s'; a configuration is named with --config",
			argv[optind]);
	return rc;
}

void options_fini(struct options *options)
{
	for (size_t i = 0; i < OVERRIDES_MAX; i++)
		pc_free(options->keys[i]);
}
