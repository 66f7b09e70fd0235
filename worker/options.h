/* SPDX-License-Identifier: MIT */
/*
 * options.h - pool-worker's command line.
 */
#ifndef WORKER_OPTIONS_H
#define WORKER_OPTIONS_H

#include <poolcore/error.h>
#include <poolcore/types.h>

#include <stdio.h>

struct options {
	const char *model;
	const char *model_id; /* NULL: made from the model's file name */
	const char *engine;
	const char *socket;
	uint32_t port;
	bool has_port;
	uint32_t slots;
	uint32_t context_tokens;
	enum pc_capability capability;
	uint32_t threads;
	const char *ready_url;
	const char *worker_id;
	bool log_json;
	bool help;
	bool version;
};

/* Reads argv; strings of the result point into it. Errors: INVALID_ARGUMENT, a sentence for the
 * user. With --help or --version nothing else is checked. */
int options_parse(int argc, char **argv, struct options *options, struct pc_error *err);
void options_print_help(FILE *file);

#endif
