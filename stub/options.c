/* SPDX-License-Identifier: MIT */
/* options.c - reads the command line of pool-stub; pc_stub_spawn writes it. */
#include "stub/stub.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
	"Usage: pool-stub --life-dir DIR --worker-id ID --program PATH [OPTION]... -- ARGV0 "
	"[ARG]...\n"
	"Starts one worker, keeps the end of its log, and records how it ended. pool-managerd "
	"starts it.\n\n"
	"  --life-dir DIR    the directory with ID.claim and ID.log\n"
	"  --worker-id ID    the worker's id\n"
	"  --program PATH    the worker's program\n"
	"  --cgroup DIR      a control group of its own for the worker\n"
	"  --open-files N    how many descriptors the worker may have open\n"
	"  --model-fd        descriptor 3 is the model's, and the worker gets it\n"
	"  --help            print this\n"
	"  --version         print the version\n\n"
	"The environment must have " PC_STUB_TOKEN_VARIABLE ", by which the worker is known.\n";

enum choice {
	OPTION_LIFE_DIR,
	OPTION_WORKER_ID,
	OPTION_PROGRAM,
	OPTION_CGROUP,
	OPTION_OPEN_FILES,
	OPTION_MODEL_FD,
	OPTION_HELP,
	OPTION_VERSION
};

static const struct option long_options[] = {
	{ "life-dir", required_argument, NULL, OPTION_LIFE_DIR },
	{ "worker-id", required_argument, NULL, OPTION_WORKER_ID },
	{ "program", required_argument, NULL, OPTION_PROGRAM },
	{ "cgroup", required_argument, NULL, OPTION_CGROUP },
	{ "open-files", required_argument, NULL, OPTION_OPEN_FILES },
	{ "model-fd", no_argument, NULL, OPTION_MODEL_FD },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

static bool parse_count(const char *text, uint64_t *ret_count)
{
	char *end;

	errno = 0;
	*ret_count = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno;
}

static bool usage(const char *why, int *ret_status)
{
	if (why)
		fprintf(stderr, "pool-stub: %s\n", why);
	fputs("Try 'pool-stub --help'.\n", stderr);
	*ret_status = PC__STUB_USAGE;
	return false;
}

/* What is missing, or NULL. */
static const char *complaint(const struct options *options)
{
	if (!options->life_dir)
		return "--life-dir is missing";
	if (!pc__life_id_is_valid(options->worker_id))
		return "--worker-id is missing, or no worker id";
	if (!options->program)
		return "--program is missing";
	if (!options->argv[0])
		return "the worker's arguments are missing";
	if (!pc__life_token_is_valid(options->token))
		return PC_STUB_TOKEN_VARIABLE " is missing in the environment, or no token";
	return NULL;
}

bool options_parse(int argc, char **argv, struct options *ret_options, int *ret_status)
{
	struct options options = { .token = getenv(PC_STUB_TOKEN_VARIABLE) };
	int choice;

	while ((choice = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		switch (choice) {
		case OPTION_LIFE_DIR:
			options.life_dir = optarg;
			break;
		case OPTION_WORKER_ID:
			options.worker_id = optarg;
			break;
		case OPTION_PROGRAM:
			options.program = optarg;
			break;
		case OPTION_CGROUP:
			options.cgroup = optarg;
			break;
		case OPTION_OPEN_FILES:
			if (!parse_count(optarg, &options.open_files))
				return usage("--open-files takes a number", ret_status);
			break;
		case OPTION_MODEL_FD:
			options.has_model_fd = true;
			break;
		case OPTION_HELP:
			fputs(help, stdout);
			*ret_status = PC__STUB_DONE;
			return false;
		case OPTION_VERSION:
			puts("pool-stub " PC_VERSION);
			*ret_status = PC__STUB_DONE;
			return false;
		default:
			return usage(NULL, ret_status);
		}
	}
	options.argv = argv + optind;
	if (complaint(&options))
		return usage(complaint(&options), ret_status);
	*ret_options = options;
	return true;
}
