/* SPDX-License-Identifier: MIT */
/*
 * schema.h - settings as rows of a table. One row says what a key is called, what it may hold,
 * where it is stored and what it means; reading, range checks, messages, printing and the reference
 * manual follow from it. Configuration and catalog are tables of such rows. Inside the library
 * only.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <poolcore/config.h>

#include "base/text.h"
#include "base/toml.h"
#include "config/string_list.h"

/* What a key holds; behind each, the type of the member it is stored in. */
enum pc__setting_kind {
	PC__SETTING_STRING,	  /* char *; min and max are bytes, max 0: any length */
	PC__SETTING_WORD,	  /* char *; one of `words` */
	PC__SETTING_PATH,	  /* char *; absolute afterwards; "" where min is 0 */
	PC__SETTING_STRING_LIST,  /* struct pc_string_list; min and max count the items */
	PC__SETTING_PATH_LIST,	  /* struct pc_string_list */
	PC__SETTING_STRING_TABLE, /* struct pc_string_list of "KEY=value" */
	PC__SETTING_INTEGER,	  /* uint64_t */
	PC__SETTING_SECONDS,	  /* uint64_t; an integer, or a duration of whole seconds */
	PC__SETTING_SIZE,	  /* uint64_t; bytes as an integer, or "32MiB" */
	PC__SETTING_TTL,	  /* int64_t, milliseconds; any negative duration becomes -1 */
	PC__SETTING_BOOLEAN,	  /* bool */
};

/* Who set a value. Line and column are those of a file, else 0. */
struct pc__source {
	enum pc_setting_source kind;
	struct pc__toml_pos pos;
	char *name; /* the variable or the flag as it was typed; NULL otherwise */
};

struct pc__setting;

/* One value on its way in: what messages call it and where relative paths begin. */
struct pc__reading {
	const struct pc__setting *row;
	const char *scope; /* in front of the key: "pool", "backends.llama-server", "model" */
	const struct pc__toml_doc *doc; /* the document it stands in, or NULL */
	struct pc__source source;
	const char *folder;
};

struct pc__setting {
	const char *section; /* "pool" */
	const char *key;     /* "pool_id" */
	enum pc__setting_kind kind;
	size_t offset; /* of the member */
	uint64_t min, max;
	const char *fallback;	  /* as an environment variable would say it; NULL: none */
	char *(*compute)(void);	  /* makes the default instead (pc_free; NULL: no memory);
				     `fallback` then describes it in the manual */
	const char *const *words; /* ends with NULL */
	const char *unit;	  /* "minutes"; "" when it has none */
	bool required;
	bool secret; /* it may hold one: see pc_config_each */
	enum pc_setting_effect effect;
	/* Checks one string (of a list, each), and may replace it by the form that is stored. */
	int (*refine)(const struct pc__reading *reading, void *object, char **text,
		      struct pc_error *err);
	/* Writes what refine took apart. */
	void (*print)(const void *object, struct pc__buf *out);
	const char *description; /* one sentence, without its full stop */
};

/*
 * Reads a value into its member and frees what was there. On an error nothing has changed:
 * INVALID_CONFIG in the form of pc__setting_error, or OUT_OF_MEMORY.
 */
int pc__setting_read_toml(const struct pc__reading *reading, const struct pc__toml_value *value,
			  void *object, struct pc_error *err);
/* The same from the text of a variable, a flag or a default; lists are separated by commas. */
int pc__setting_read_text(const struct pc__reading *reading, const char *text, void *object,
			  struct pc_error *err);

/* A size member (PC__SETTING_SIZE) alone, for keys that are not in any table. */
int pc__setting_size_of(const struct pc__reading *reading, const struct pc__toml_value *value,
			const char *text, uint64_t min, uint64_t max, uint64_t *ret_bytes,
			struct pc_error *err);

/* The row of that key in rows[count], or NULL. `section` NULL matches every section. */
const struct pc__setting *pc__setting_find(const struct pc__setting *rows, size_t count,
					   const char *section, const char *key);

/* ---- what is wrong (schema_error.c) ---- */

/*
 * INVALID_CONFIG, "FILE:LINE:COLUMN: scope.key: ..." or "VARIABLE: scope.key: ...", with the
 * details file, line, column (or variable, flag) and key. A reading without a row speaks about the
 * scope itself.
 */
int pc__setting_error(const struct pc__reading *reading, struct pc_error *err, const char *fmt, ...)
	PC_PRINTF(3, 4);

/* Quotes text for a sentence: cut where it is long, control characters as '?'. Returns out. */
#define PC__QUOTED_MAX 80
const char *pc__quoted(const char *text, char out[PC__QUOTED_MAX]);

/* "unknown key" with the nearest known one, or with all of them. reading->row is not used. */
int pc__setting_unknown(const struct pc__reading *reading, const char *key,
			const struct pc__setting *rows, size_t count, const char *section,
			struct pc_error *err);

/* "a string, 30 is an integer": the wrong kind of TOML value where `expected` belongs. */
int pc__setting_wrong_kind(const struct pc__reading *reading, const struct pc__toml_value *value,
			   const char *expected, struct pc_error *err);
/* The same where what belongs there is reading->row's kind. */
int pc__setting_misfit(const struct pc__reading *reading, const struct pc__toml_value *value,
		       struct pc_error *err);
/* "TEXT is not understood; ... is expected": it does not read as the row's kind. */
int pc__setting_unreadable(const struct pc__reading *reading, const char *text,
			   struct pc_error *err);
/* "SHOWN is out of range; use ...": what the row accepts. */
int pc__setting_out_of_range(const struct pc__reading *reading, const char *shown,
			     struct pc_error *err);

/* ---- comparing (compare.c) ---- */

bool pc__setting_equal(const struct pc__setting *row, const void *a, const void *b);
/* Copies one member and frees what was there; OUT_OF_MEMORY changes nothing. */
int pc__setting_copy(const struct pc__setting *row, const void *from, void *to,
		     struct pc_error *err);
/* The strongest difference in any of the rows. */
enum pc_difference pc__settings_compare(const struct pc__setting *rows, size_t count, const void *a,
					const void *b);

/*
 * Appends the rows' values with effect PC_EFFECT_WORKERS, so that two objects are written alike
 * exactly when pc__settings_compare finds no PC_DIFFERENCE_LAUNCH.
 */
void pc__settings_put_launch(const struct pc__setting *rows, size_t count, const void *object,
			     struct pc__buf *out);
/* The same of a backend. */
void pc__backend_put_launch(const struct pc_backend_config *backend, struct pc__buf *out);

/* Frees every member that the rows own and leaves them empty. */
void pc__settings_fini(const struct pc__setting *rows, size_t count, void *object);

/* ---- writing (schema_print.c) ---- */

/* A TOML basic string, with its quotes. */
void pc__print_toml_string(struct pc__buf *out, const char *text);
/* A key, quoted if it must be. */
void pc__print_toml_key(struct pc__buf *out, const char *key);
/* A size in the largest binary unit that keeps it exact, in quotes: "32MiB". */
void pc__print_toml_size(struct pc__buf *out, uint64_t bytes);
/* The value of a row as TOML reads it again. */
void pc__setting_print(const struct pc__setting *row, const void *object, struct pc__buf *out);
/* The same as JSON; `hide` leaves secrets out. */
void pc__setting_print_json(const struct pc__setting *row, const void *object, bool hide,
			    struct pc__buf *out);
/* What a row accepts: "1 to 86400 seconds". */
void pc__setting_print_range(const struct pc__setting *row, struct pc__buf *out);
/* One entry of the manual in man(7) macros. `variable` may be NULL. */
void pc__setting_print_manual(const struct pc__setting *row, const char *variable,
			      struct pc__buf *out);
void pc__print_manual_text(struct pc__buf *out, const char *text);
/* Writes the buffer and checks it: OUT_OF_MEMORY, IO. */
int pc__print_to(struct pc__buf *out, FILE *file, struct pc_error *err);

/* ---- checks that several tables share ---- */

/* "auto", "cpu", "gpu0" ...; `auto_too` says whether "auto" is one. */
bool pc__is_device(const char *text, bool auto_too);
/* Letters, digits and `extra`, beginning with a letter or digit, at most `max` bytes. */
bool pc__is_name(const char *text, const char *extra, size_t max);
int pc__refine_device(const struct pc__reading *reading, void *object, char **text,
		      struct pc_error *err);

#endif
