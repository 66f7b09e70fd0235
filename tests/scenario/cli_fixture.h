/* SPDX-License-Identifier: MIT */
/*
 * cli_fixture.h - runs the real rbees-pool and keeps what it says: at once with run_cli, or step by
 * step where a test must act while it runs. And transcripts of many commands, compared with golden
 * files; UPDATE=1 in the environment rewrites those.
 */
#ifndef TESTS_SCENARIO_CLI_FIXTURE_H
#define TESTS_SCENARIO_CLI_FIXTURE_H

#include <jansson.h>
#include <stdio.h>
#include <sys/types.h>

#include "scenario/daemon_fixture.h"

enum { ARGUMENTS_MAX = 24 };

/* What a command gets. Its standard output is a file, unless `out_fd` says otherwise. */
struct call {
	const char *url;     /* RBEES_POOL_URL; NULL: the rig's daemon */
	const char *input;   /* standard input; NULL: empty */
	size_t input_length; /* 0: strlen */
	int in_fd;	     /* 0: a file with the input */
	int out_fd;	     /* 0: a file */
	int err_fd;	     /* 0: a file */
	const char *env[8];  /* further "KEY=VALUE" */
	const char *args[ARGUMENTS_MAX];
};

struct cli_result {
	int status; /* or 128 + signal */
	char *out;  /* of a file only */
	char *err;
};

struct cli_child {
	pid_t pid;
	int pidfd;
	char *out_path;
	char *err_path;
};

struct cli_child cli_start(struct rig *rig, const struct call *call);
/* Waits for its end, within the test's deadline. */
struct cli_result cli_finish(struct cli_child *child);
struct cli_result cli_call(struct rig *rig, const struct call *call);
void cli_result_free(struct cli_result *result);

/* RUN(&rig, "status", "--json"): a result. */
#define RUN(rig, ...) cli_call((rig), &(struct call){ .args = { __VA_ARGS__ } })

/* Kills what a failed test left running: a cmocka teardown. */
int cli_free_all(void **state);

/* ---- transcripts ---- */

struct transcript {
	struct rig *rig;
	char *text;
	size_t length;
	FILE *out;
};

void transcript_begin(struct transcript *transcript, struct rig *rig);
/* Runs and writes down the command, what it said and its exit code. */
void transcript_add(struct transcript *transcript, const struct call *call);
/* Compares with golden/NAME.txt. What differs from run to run stands as a word in capitals, and
 * padding as two spaces. */
void transcript_end(struct transcript *transcript, const char *name);

#define NOTE(transcript, ...) \
	transcript_add((transcript), &(struct call){ .args = { __VA_ARGS__ } })

#endif
