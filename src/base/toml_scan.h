/* SPDX-License-Identifier: MIT */
/*
 * toml_scan.h - the words of TOML: white space, comments, keys, strings, numbers, dates. Between
 * the files of the reader only.
 */
#ifndef BASE_TOML_SCAN_H
#define BASE_TOML_SCAN_H

#include "base/text.h"
#include "base/toml_tree.h"

/*
 * Where the reader is. pc__toml_scan_init has checked the whole text, so that from then on it is
 * well-formed UTF-8 in which the only control characters are tab, LF, and CR before LF.
 */
struct toml_scan {
	const char *text; /* its first byte, which a byte order mark may be part of */
	const char *p;
	const char *end;
	unsigned line;
	const char *line_start;
	/* The column was counted up to here already; a long line is not counted anew each time. */
	const char *mark;
	unsigned mark_column;
	struct pc__toml_doc *doc;
	struct pc__buf scratch; /* a string or number without what is not part of it */
	struct pc_error *err;
};

struct toml_key {
	const char *text; /* in the document's memory */
	size_t length;
	struct pc__toml_pos pos;
};

/* Checks the text and stands before its first character, past a byte order mark. */
int pc__toml_scan_init(struct toml_scan *scan, struct pc__toml_doc *doc, const char *text,
		       size_t length, struct pc_error *err);
void pc__toml_scan_fini(struct toml_scan *scan);

/* The position of a character on the present line. */
struct pc__toml_pos pc__toml_scan_pos(struct toml_scan *scan, const char *at);

/* Refuses the document because of the character at `at` on the present line. */
int pc__toml_fail(struct toml_scan *scan, const char *at, const char *fmt, ...) PC_PRINTF(3, 4);
int pc__toml_fail_pos(struct toml_scan *scan, struct pc__toml_pos pos, const char *fmt, ...)
	PC_PRINTF(3, 4);

/* What stands at scan->p, for a sentence: "'x'", "'é' (U+00E9)", "a line break". */
const char *pc__toml_found(const struct toml_scan *scan, char out[32]);
/* The key for a sentence, escaped and shortened where it must be. */
const char *pc__toml_shown(const struct toml_key *key, char out[80]);

void pc__toml_skip_space(struct toml_scan *scan); /* tabs and spaces */
void pc__toml_skip_comment(struct toml_scan *scan);
bool pc__toml_skip_newline(struct toml_scan *scan); /* false when there is none */

/* One bare or quoted key. */
int pc__toml_scan_key(struct toml_scan *scan, struct toml_key *ret_key);
/* A string in any of the four notations, from its first quote. */
int pc__toml_scan_string(struct toml_scan *scan, struct toml_string *ret_string);
/* A boolean, number or date: sets the kind of `value` and what belongs to it. */
int pc__toml_scan_scalar(struct toml_scan *scan, struct pc__toml_value *value);

#endif
