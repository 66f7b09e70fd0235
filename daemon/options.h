/* SPDX-License-Identifier: MIT */
/* options.h - pool-managerd's command line. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <poolcore/config.h>
#include <poolcore/error.h>

#include <stdio.h>

#define OVERRIDES_MAX 64

struct options {
	const char *config; /* NULL: none was given */
	bool check;
	bool help;
	bool version;
	struct pc_setting_override overrides[OVERRIDES_MAX];
	size_t override_count;
	char *keys[OVERRIDES_MAX]; /* what --set allocated */
};

/*
 * Reads argv into *options, which begins as zeros and is freed with options_fini whatever is
 * returned; its strings point into argv. Errors: INVALID_ARGUMENT, a sentence for the user, and
 * OUT_OF_MEMORY.
 */
int options_parse(int argc, char **argv, struct options *options, struct pc_error *err);
void options_fini(struct options *options);
void options_print_help(FILE *out);

#endif
