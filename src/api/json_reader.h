/* SPDX-License-Identifier: MIT */
/*
 * json_reader.h - JSON (RFC 8259) pulled out of a text piece by piece, without a tree. Every error
 * says where: line and column for what is not JSON, a path for what is not what was wanted. Inside
 * src/api only.
 */
#ifndef API_JSON_READER_H
#define API_JSON_READER_H

#include <poolcore/error.h>

/* Where in a document we are: a member or an element of what is `up`. The root is NULL. */
struct pc__json_place {
	const struct pc__json_place *up;
	const char *key; /* NULL: an element of a list */
	size_t index;
};

#define PC__PLACE_MAX 160

/* "workers[3].port"; a long one loses its end. Returns `out`. */
const char *pc__place_text(const struct pc__json_place *place, char out[PC__PLACE_MAX]);

/* Strings are decoded where they stand, which never makes them longer, so that they live as long as
 * `text` does. */
struct pc__json_reader {
	char *text;
	const char *original; /* the same before anything was decoded: lines are counted in it */
	size_t length;
	size_t at;
	unsigned depth;
	struct pc_error *err;
};

enum pc__json_kind {
	PC__JSON_OBJECT,
	PC__JSON_LIST,
	PC__JSON_STRING,
	PC__JSON_NUMBER,
	PC__JSON_BOOL,
	PC__JSON_NULL,
	PC__JSON_NOTHING, /* no value begins here */
};

/* What the next value is, by its first character. */
enum pc__json_kind pc__json_peek(struct pc__json_reader *reader);

/* Into an object or list whose kind was seen: `first` is what pc__json_more wants. */
int pc__json_enter(struct pc__json_reader *reader, bool *first);
/* Whether another member or element follows; false when the bracket `close` was read. */
int pc__json_more(struct pc__json_reader *reader, char close, bool *first, bool *ret_more);
/* A member's name, and its colon. */
int pc__json_key(struct pc__json_reader *reader, const struct pc__json_place *place,
		 const char **ret_key);
int pc__json_string(struct pc__json_reader *reader, const struct pc__json_place *place,
		    const char **ret_text, size_t *ret_length);
int pc__json_bool(struct pc__json_reader *reader, bool *ret_value);
int pc__json_null(struct pc__json_reader *reader);

/* A number as it is written, and whether it is one that int64_t holds and nothing else would. */
struct pc__json_number {
	const char *text; /* not NUL-terminated */
	size_t length;
	bool exact;
	int64_t value;
};
int pc__json_number(struct pc__json_reader *reader, struct pc__json_number *ret_number);

/* Any value, checked and forgotten. */
int pc__json_skip(struct pc__json_reader *reader, const struct pc__json_place *place);
/* Nothing but blanks may be left. */
int pc__json_end(struct pc__json_reader *reader);

#endif
