/* SPDX-License-Identifier: MIT */
/*
 * toml.h - reads TOML 1.0.0 (https://toml.io/en/v1.0.0), the whole language and nothing beyond it,
 * into an immutable tree that remembers where everything stood. Inside the library only.
 *
 * A document owns every value, key and string reached from it; pc__toml_destroy frees them all at
 * once. A document is never changed after it was read, so any number of threads may read it.
 *
 *	struct pc__toml_doc *doc;
 *	int rc = pc__toml_read_file("pool.toml", &doc, err);
 *	...
 *	const struct pc__toml_value *pool = pc__toml_get(pc__toml_root(doc), "pool");
 *	const struct pc__toml_value *id = pc__toml_get(pool, "pool_id");
 *	const char *text = pc__toml_string(id, NULL);
 *
 *	if (id && !text)
 *		return pc__toml_error(err, doc, pc__toml_pos(id), "a string is expected");
 */
#ifndef BASE_TOML_H
#define BASE_TOML_H

#include <poolcore/error.h>

/* A longer document is refused. A guess (a catalog row takes about 300 bytes); change freely. */
#define PC__TOML_MAX_BYTES ((size_t)16 << 20)

/* Arrays, inline tables and dotted keys nested deeper than this are refused, so that neither the
 * reader nor a caller that walks the tree runs out of stack. A guess; change freely. */
#define PC__TOML_MAX_DEPTH 128

struct pc__buf;
struct pc__toml_doc;
struct pc__toml_value;

enum pc__toml_kind {
	PC__TOML_STRING,
	PC__TOML_INTEGER,
	PC__TOML_FLOAT,
	PC__TOML_BOOLEAN,
	PC__TOML_OFFSET_DATETIME, /* 1979-05-27T07:32:00-08:00 */
	PC__TOML_LOCAL_DATETIME,  /* 1979-05-27T07:32:00 */
	PC__TOML_LOCAL_DATE,	  /* 1979-05-27 */
	PC__TOML_LOCAL_TIME,	  /* 07:32:00 */
	PC__TOML_ARRAY,
	PC__TOML_TABLE,
};

/* Where something begins: both count from 1, the column in Unicode characters. */
struct pc__toml_pos {
	unsigned line;
	unsigned column;
};

/* Bytes of the text that was read: the first, and the one behind the last. */
struct pc__toml_span {
	size_t begin;
	size_t end;
};

/* A key and its value, in the order of the document. */
struct pc__toml_entry {
	const char *key; /* UTF-8, NUL-terminated; key_length counts a NUL within */
	size_t key_length;
	struct pc__toml_pos pos; /* of the key; of a table named in several places, the first */
	const struct pc__toml_value *value;
};

/* The fields that a kind does not have are zero. */
struct pc__toml_datetime {
	int year, month, day;
	int hour, minute, second; /* second 60 is a leap second */
	int nanosecond;		  /* finer digits are cut off, as the specification allows */
	int offset_minutes;	  /* east of UTC; zero unless PC__TOML_OFFSET_DATETIME */
};

/*
 * Reads `length` bytes of text, which need not be NUL-terminated and may be freed afterwards.
 * `name` (copied) is what messages call the document. On failure: INVALID_CONFIG with the message
 * "NAME:LINE:COLUMN: what is wrong, what would be right" and the details file, line and column;
 * or OUT_OF_MEMORY.
 */
int pc__toml_parse(const char *name, const char *text, size_t length, struct pc__toml_doc **ret_doc,
		   struct pc_error *err);

/* The same from a file; IO with the errno when it cannot be read. Blocks. */
int pc__toml_read_file(const char *path, struct pc__toml_doc **ret_doc, struct pc_error *err);

/* The text alone, appended to `text`: for who needs both. IO, OUT_OF_MEMORY; of a document that is
 * too long, no more than its reader needs to refuse it. */
int pc__toml_read_text(const char *path, struct pc__buf *text, struct pc_error *err);

void pc__toml_destroy(struct pc__toml_doc *doc);
PC_DEFINE_AUTO(struct pc__toml_doc, pc__toml_destroy)

const char *pc__toml_name(const struct pc__toml_doc *doc);

/* The top-level table; never NULL. */
const struct pc__toml_value *pc__toml_root(const struct pc__toml_doc *doc);

/*
 * The accessors below accept NULL, which stands for "absent", and any kind of value: what is not
 * of the kind that they ask for is answered with NULL, 0 or -1. So absence and a wrong kind are
 * told apart by the caller, once, with the value at hand.
 */

enum pc__toml_kind pc__toml_kind(const struct pc__toml_value *value); /* not NULL */
/* "string", "integer", "offset date-time", "table" ... for sentences. */
const char *pc__toml_kind_name(enum pc__toml_kind kind);
struct pc__toml_pos pc__toml_pos(const struct pc__toml_value *value); /* {0, 0} for NULL */
/*
 * What a value was written as, without the white space and comments around it; of a table with a
 * header, the header. {0, 0} for what stands nowhere in one piece: the root, tables that are only
 * named on the way, and the array that [[...]] makes.
 */
struct pc__toml_span pc__toml_span(const struct pc__toml_value *value);

/* Tables. Entries are numbered in the order of the document. */
size_t pc__toml_table_size(const struct pc__toml_value *table);
const struct pc__toml_entry *pc__toml_table_entry(const struct pc__toml_value *table, size_t index);
const struct pc__toml_entry *pc__toml_find(const struct pc__toml_value *table, const char *key,
					   size_t key_length);
/* The value of a NUL-terminated key; NULL when there is none. */
const struct pc__toml_value *pc__toml_get(const struct pc__toml_value *table, const char *key);

/* Arrays, arrays of tables among them. */
size_t pc__toml_array_length(const struct pc__toml_value *array);
const struct pc__toml_value *pc__toml_array_item(const struct pc__toml_value *array, size_t index);

/*
 * UTF-8 and NUL-terminated. A string may also hold NULs ("\u0000"): who passes it on as a C string
 * compares its strlen with *ret_length (NULL when not wanted) first.
 */
const char *pc__toml_string(const struct pc__toml_value *value, size_t *ret_length);

int pc__toml_integer(const struct pc__toml_value *value, int64_t *ret_integer);
int pc__toml_float(const struct pc__toml_value *value, double *ret_float); /* floats only */
int pc__toml_boolean(const struct pc__toml_value *value, bool *ret_boolean);
/* For each of the four kinds of date and time. */
int pc__toml_datetime(const struct pc__toml_value *value, struct pc__toml_datetime *ret_datetime);

/*
 * Sets INVALID_CONFIG about a place in the document, in the form of the reader's own messages and
 * with the same details, and returns it: for what is valid TOML and still wrong.
 */
int pc__toml_error(struct pc_error *err, const struct pc__toml_doc *doc, struct pc__toml_pos pos,
		   const char *fmt, ...) PC_PRINTF(4, 5);

#endif
