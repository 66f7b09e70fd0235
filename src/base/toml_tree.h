/* SPDX-License-Identifier: MIT */
/*
 * toml_tree.h - what a TOML document is made of while it is being read. Between the files of the
 * reader only; everybody else sees toml.h.
 */
#ifndef BASE_TOML_TREE_H
#define BASE_TOML_TREE_H

#include "base/toml.h"

#include <stdarg.h>

/* How a table came to be decides who may still add to it; see toml.c. */
enum toml_origin {
	TOML_IMPLICIT, /* named on the way by a header: a and b of [a.b.c] */
	TOML_HEADER,   /* [a], an element of [[a]], and the root */
	TOML_DOTTED,   /* named on the way by a dotted key: a of a.b = 1 */
	TOML_INLINE,   /* { ... }, complete at its brace */
};

struct toml_string {
	const char *text;
	size_t length;
};

struct toml_array {
	struct pc__toml_value **items;
	size_t length;
	size_t capacity;
	bool of_tables; /* made by [[a]], so that another [[a]] may append to it */
};

/* Entries stay in order; beyond a handful, an open-addressing index finds them by hash. */
struct toml_table {
	struct pc__toml_entry *entries;
	size_t size;
	size_t capacity;
	uint32_t *slots; /* entry number + 1, or 0; a power of two, at most half of them used */
	size_t slot_count;
	enum toml_origin origin;
};

struct pc__toml_value {
	enum pc__toml_kind kind;
	unsigned depth; /* 0 for the root */
	struct pc__toml_pos pos;
	struct pc__toml_span span;
	union {
		struct toml_string string;
		int64_t integer;
		double real;
		bool boolean;
		struct pc__toml_datetime datetime;
		struct toml_array array;
		struct toml_table table;
	};
};

struct toml_chunk;

struct pc__toml_doc {
	char *name;
	struct pc__toml_value *root;
	struct toml_chunk *chunks; /* everything reached from the root lives in these */
};

/* NULL when memory runs out; what an earlier step allocated goes with the document. */
struct pc__toml_doc *pc__toml_create(const char *name);
void *pc__toml_alloc(struct pc__toml_doc *doc, size_t size);
struct pc__toml_value *pc__toml_new(struct pc__toml_doc *doc, enum pc__toml_kind kind,
				    struct pc__toml_pos pos, unsigned depth);

/* A copy of the text in the document, with a NUL behind it. */
char *pc__toml_copy(struct pc__toml_doc *doc, const char *text, size_t length);

/* 0, or -1 when memory runs out. The key must not be in the table yet. */
int pc__toml_array_add(struct pc__toml_doc *doc, struct pc__toml_value *array,
		       struct pc__toml_value *item);
int pc__toml_table_add(struct pc__toml_doc *doc, struct pc__toml_value *table,
		       const struct pc__toml_entry *entry);

/* pc__toml_error for those who have a va_list. */
int pc__toml_verror(struct pc_error *err, const struct pc__toml_doc *doc, struct pc__toml_pos pos,
		    const char *fmt, va_list args);

#endif
