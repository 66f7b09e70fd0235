/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what the commands of rbees-pool share: the options, the exit codes, the way to the daemon
 * and the way to the terminal. One thread; nothing here is re-entered.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <poolcore/error.h>

#include <jansson.h>
#include <stdio.h>

/* The exit codes are part of the interface: scripts test them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_UNREACHABLE = 3,
	EXIT_NOT_FOUND = 4,
	EXIT_NO_MEMORY = 5,
	EXIT_TIMED_OUT = 6,
	/* 130 is the shell's word for a program that SIGINT ended. */
};

/* Rows of the option table in main.c. */
enum option_id {
	OPTION_URL,
	OPTION_CONFIG,
	OPTION_JSON,
	OPTION_NO_COLOR,
	OPTION_TIMEOUT,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_MAX_TOKENS,
	OPTION_TEMPERATURE,
	OPTION_SEED,
	OPTION_SYSTEM,
	OPTION_FORCE,
	OPTION_CONTEXT,
	OPTION_SLOTS,
	OPTION_RECORD,
	OPTION_REHASH,
	OPTION_ID,
	OPTION_NAME,
	OPTION_CAPABILITY,
	OPTION_BACKEND,
	OPTION_DEVICE,
	OPTION_MEMORY_MB,
	OPTION_CATALOG,
	OPTION_FILE,
	OPTION_DRY_RUN,
	OPTION_EFFECTIVE,
	OPTION_COUNT,
};

struct pc_catalog;
struct pc_config;
struct pc_gguf_info;
struct pc_model_entry;

struct cli {
	const char *options[OPTION_COUNT]; /* the value; a flag's own name; NULL: not given */
	bool json;
	bool terminal; /* standard output is one */
	bool color;    /* it takes colours and nobody forbade them */

	char *base;		    /* where the daemon is: "http://127.0.0.1:9200", resolved */
	char *socket;		    /* its Unix socket, or NULL */
	char *token;		    /* or NULL */
	long silence_secs;	    /* the daemon may say nothing for so long; 0: for ever */
	struct pc_config *settings; /* of --config, or NULL */
	bool unreachable;	    /* the last request found no daemon */
};

/* ---- complaints (main.c) ---- */

/* Prints the error to standard error ("rbees-pool: ...", or as JSON with --json); returns its exit
 * code. */
enum exit_code report(const struct cli *cli, const struct pc_error *err);
/* "rbees-pool: SENTENCE", and where to read on. */
enum exit_code usage_error(const char *fmt, ...) PC_PRINTF(1, 2);

/* ---- the daemon (api.c) ---- */

/* Prepares the connection's settings from options, environment and configuration. */
int api_open(struct cli *cli, struct pc_error *err);
void api_close(struct cli *cli);

/*
 * One request with a JSON answer. An answer that is an error becomes `err` with the daemon's code,
 * message and details; when there is no daemon, cli->unreachable says so. *ret_answer is a new
 * reference.
 */
int api_get(struct cli *cli, const char *path, json_t **ret_answer, struct pc_error *err);
int api_post(struct cli *cli, const char *path, const char *body, json_t **ret_answer,
	     struct pc_error *err);

/*
 * Posts and reads an event stream: `event` gets each event's data as parsed JSON, until "[DONE]".
 * It returns false to break off. An error event becomes `err`.
 */
int api_stream(struct cli *cli, const char *path, const json_t *body,
	       bool (*event)(void *ctx, const json_t *data), void *ctx, struct pc_error *err);

/* A path with `name` as one segment of it, whatever it contains; pc_free it. NULL: out of memory.
 */
char *api_path(const char *before, const char *name, const char *after);

/* ---- the catalog (models.c) ---- */

/* Of a model that does not say which: the catalog's default. */
#define BACKEND_DEFAULT "pool-worker"

/* Of a model's context and slots; the catalog's limits. */
#define CONTEXT_MAX (1 << 24)
#define SLOTS_MAX 64

/* Loads the settings, which stay with the cli, and the catalog. */
int load_catalog(struct cli *cli, struct pc_catalog **ret_catalog, struct pc_error *err);
/* The same, and the model of that name; the entry belongs to the catalog. */
int find_model(struct cli *cli, const char *name, struct pc_catalog **ret_catalog,
	       const struct pc_model_entry **ret_entry, struct pc_error *err);
/* Whether a change that ended with `rc` is to be made anew, for somebody else has saved the catalog
 * meanwhile; forgets the error then. `*tries` begins as 0. */
bool save_again(int rc, unsigned *tries, struct pc_error *err);
/* Whether the text is a whole number within these bounds. */
bool whole_number(const char *text, long long low, long long high, long long *ret_number);
/* A whole number of an option, or what it is without. `name` is how the option is written. */
enum exit_code integer_option(const struct cli *cli, enum option_id id, const char *name,
			      long long low, long long high, long long *number);
/* The same from 1 on. */
enum exit_code number_option(const struct cli *cli, enum option_id id, const char *name,
			     uint32_t most, uint32_t *number);

/* The context of a slot when nobody says how long it is: how much of the model's own the backend
 * takes. 0: not known. */
uint32_t usual_context(const char *backend, const struct pc_gguf_info *info);

/* Where it is written down which files were hashed; pc_free it. NULL: out of memory. */
char *record_folder(const struct cli *cli);

/* ---- the terminal (output.c) ---- */

/*
 * What others wrote (models, workers, the daemon) may contain control characters, and a terminal
 * obeys them: they could hide text, change the title or type for the user. So a terminal is shown
 * pictures of them. A file or a pipe gets the bytes as they are, because its reader wants those.
 */
enum text_form {
	TEXT_RAW,   /* as it is */
	TEXT_LINES, /* line ends and tabs stay, other control characters are pictured */
	TEXT_CELL,  /* all are pictured: one line stays one line */
};

void put_text(FILE *out, const char *text, size_t length, enum text_form form);
/* Formats and writes in the form TEXT_LINES, cut after about a page. */
void say(FILE *out, const char *fmt, ...) PC_PRINTF(2, 3);
/* A string member for people: "-" when it is missing or null. */
const char *text_of(const json_t *object, const char *key);
json_int_t number_of(const json_t *object, const char *key);
/* Prints a JSON value: indented, or as one line. */
enum exit_code print_json(const struct cli *cli, const json_t *value);
enum exit_code print_json_line(const struct cli *cli, const json_t *value);

#define TABLE_COLUMNS_MAX 12

/* A table that is as wide as its contents: rows of strings under a heading. */
struct table {
	const char *const *headings;
	size_t columns;
	char **cells;
	size_t count;
	size_t capacity;
	bool failed; /* out of memory */
};

void table_init(struct table *table, const char *const *headings, size_t columns);
/* Adds a cell after the last one; the table copies it. */
void table_cell(struct table *table, const char *fmt, ...) PC_PRINTF(2, 3);
/* Prints and frees; `empty` is said when there is no row. EXIT_FAILED when memory ran out. */
enum exit_code table_print(struct table *table, const struct cli *cli, const char *empty);

/* "1.5 GiB" and "3 min" for people. */
const char *human_bytes(json_int_t bytes, char out[32]);
const char *human_ms(json_int_t ms, char out[32]);

/* ---- the commands: they get the arguments behind their name, as many as the table allows ---- */

enum exit_code command_status(struct cli *cli, int argc, char **argv);
enum exit_code command_worker_deaths(struct cli *cli, int argc, char **argv);
enum exit_code command_ps(struct cli *cli, int argc, char **argv);
enum exit_code command_models_list(struct cli *cli, int argc, char **argv);
enum exit_code command_models_catalog(struct cli *cli, int argc, char **argv);
enum exit_code command_models_register(struct cli *cli, int argc, char **argv);
enum exit_code command_models_delete(struct cli *cli, int argc, char **argv);
enum exit_code command_models_du(struct cli *cli, int argc, char **argv);
enum exit_code command_models_info(struct cli *cli, int argc, char **argv);
enum exit_code command_models_verify(struct cli *cli, int argc, char **argv);
enum exit_code command_gpu_list(struct cli *cli, int argc, char **argv);
enum exit_code command_worker_start(struct cli *cli, int argc, char **argv);
enum exit_code command_worker_stop(struct cli *cli, int argc, char **argv);
enum exit_code command_worker_logs(struct cli *cli, int argc, char **argv);
enum exit_code command_run(struct cli *cli, int argc, char **argv);
enum exit_code command_config_show(struct cli *cli, int argc, char **argv);
enum exit_code command_config_check(struct cli *cli, int argc, char **argv);
enum exit_code command_reload(struct cli *cli, int argc, char **argv);
enum exit_code command_version(struct cli *cli, int argc, char **argv);

#endif
