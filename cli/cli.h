/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what the commands of rbees-pool share: the global options, the exit codes, the way to the
 * daemon and the way to the terminal. One thread; nothing here is re-entered.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <poolcore/error.h>

#include <jansson.h>

/* The exit codes are part of the interface: scripts test them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_UNREACHABLE = 3,
	EXIT_NOT_FOUND = 4,
	EXIT_NO_MEMORY = 5,
	EXIT_TIMED_OUT = 6,
	EXIT_INTERRUPTED = 130,
};

struct pc_config;

struct cli {
	const char *url;    /* --url */
	const char *config; /* --config */
	bool json;
	bool color; /* the terminal takes it and nobody forbade it */

	char *base;		    /* where the daemon is: "http://127.0.0.1:9200", resolved */
	char *socket;		    /* its Unix socket, or NULL */
	char *token;		    /* or NULL */
	struct pc_config *settings; /* of --config, or NULL */
};

/* Which exit code tells a script about an error. */
enum exit_code exit_code_of(int code);
/* Prints the error to standard error ("rbees-pool: ...", or the JSON body with --json); returns its
 * exit code. */
enum exit_code report(const struct cli *cli, const struct pc_error *err);

/* ---- the daemon (api.c) ---- */

/* Prepares the connection's settings from options, environment and configuration. */
int api_open(struct cli *cli, struct pc_error *err);
void api_close(struct cli *cli);

/*
 * One request with a JSON answer. `body` may be NULL for GET. An answer that is an error becomes
 * `err` with the daemon's code, message and details; a daemon that does not answer becomes
 * SEND_FAILED, which report() turns into exit code 3. *ret_answer is a new reference.
 */
int api_get(struct cli *cli, const char *path, json_t **ret_answer, struct pc_error *err);
int api_post(struct cli *cli, const char *path, json_t *body, json_t **ret_answer,
	     struct pc_error *err);

/*
 * Posts and reads an event stream: `event` gets each event's data as parsed JSON, until "[DONE]".
 * It returns false to break off. An error event becomes `err`. CANCELLED when the user pressed
 * Ctrl-C.
 */
int api_stream(struct cli *cli, const char *path, json_t *body,
	       bool (*event)(void *ctx, const json_t *data), void *ctx, struct pc_error *err);

/* ---- the terminal (table.c) ---- */

#define TABLE_COLUMNS_MAX 12

/* A table that is as wide as its contents: rows of strings under a heading. */
struct table {
	const char *const *headings;
	size_t columns;
	char **cells;
	size_t rows;
	size_t capacity;
	bool failed;
};

void table_init(struct table *table, const char *const *headings, size_t columns);
/* Adds a cell after the last one; the table copies it. */
void table_cell(struct table *table, const char *fmt, ...) PC_PRINTF(2, 3);
/* Prints and frees; `empty` is said when there is no row. Returns EXIT_FAILED when memory ran out.
 */
enum exit_code table_print(struct table *table, const struct cli *cli, const char *empty);

/* "1.5 GiB" and "3 min ago" for people. */
const char *human_bytes(json_int_t bytes, char out[32]);
const char *human_ms(json_int_t ms, char out[32]);
/* Prints a JSON value, indented. */
enum exit_code print_json(const json_t *value);

/* ---- the commands; argv[0] is the command's own word ---- */

enum exit_code command_status(struct cli *cli, int argc, char **argv);
enum exit_code command_ps(struct cli *cli, int argc, char **argv);
enum exit_code command_models(struct cli *cli, int argc, char **argv);
enum exit_code command_worker(struct cli *cli, int argc, char **argv);
enum exit_code command_run(struct cli *cli, int argc, char **argv);
enum exit_code command_version(struct cli *cli, int argc, char **argv);
/* "rbees-pool COMMAND: SENTENCE WORD", and where to read on. */
enum exit_code usage_error(const char *command, const char *sentence, const char *word);

#endif
