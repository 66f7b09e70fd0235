/* SPDX-License-Identifier: MIT */
/*
 * json_member.h - finds top-level string and boolean members of a JSON object in passing, without
 * building a tree: the gateway must know "model" and "stream" of a 10 MB body without stopping its
 * loop.
 */
#ifndef HTTP_JSON_MEMBER_H
#define HTTP_JSON_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_MEMBER_VALUE_MAX 512

enum json_scan_state {
	JSON_SCAN_MORE,	   /* well-formed so far, not finished */
	JSON_SCAN_DONE,	   /* a complete top-level object */
	JSON_SCAN_INVALID, /* not a JSON object; error_offset says where */
};

/*
 * A resumable scanner: feed it the body's pieces in order. It checks the structure (brackets,
 * strings with their escapes, separators, literals, numbers, nesting up to 512), not UTF-8. The
 * first "model" wins; a second "model" is INVALID, because two readers could disagree about it.
 */
struct json_scanner {
	enum json_scan_state state;
	uint64_t offset; /* bytes consumed */
	uint64_t error_offset;
	const char *error; /* a static sentence */
	bool has_model;
	bool model_is_string;
	char model[JSON_MEMBER_VALUE_MAX]; /* unescaped, NUL-terminated */
	bool has_stream;
	bool stream;
	/* The scanner's own. */
	struct {
		uint32_t depth;
		uint32_t mode;
		uint32_t member;
		uint32_t aux;
		uint32_t key_length;
		uint32_t value_length;
		char key[16];
		uint64_t nesting[8]; /* a bit per level: object or array */
	} own;
};

void json_scanner_init(struct json_scanner *scanner);
/* Returns the state after `length` bytes. Further calls after INVALID change nothing. */
enum json_scan_state json_scanner_feed(struct json_scanner *scanner, const char *data,
				       size_t length);
/* The body has ended: MORE becomes INVALID. */
enum json_scan_state json_scanner_end(struct json_scanner *scanner);

#endif
