/* SPDX-License-Identifier: MIT */
/*
 * head.h - the strict reader of a message's head. Inside http/ only. Pure functions, any thread.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include <sys/types.h>

#include "http/http.h"

/* What a head says; the slices point into the text that was read. */
struct http__head {
	struct http_slice method; /* requests */
	struct http_slice path;
	struct http_slice query;
	int status;	/* responses */
	unsigned minor; /* the x of HTTP/1.x: 0 or 1 */
	size_t header_count;
	bool has_length;
	uint64_t content_length; /* 0 without has_length */
	bool chunked;
	bool keep_alive; /* by version and Connection */
	bool expect_continue;
};

/* How far a search for the end of a head has come. */
struct http__head_scan {
	size_t line_start;
	size_t scanned;
};

/*
 * Looks for the empty line that ends a head in the `length` bytes that have come so far, and goes
 * on where the call before left off. Returns the head's length with the empty line, 0 when more is
 * needed, -1 when a line ends in LF without CR.
 */
ssize_t http__head_end(const char *text, size_t length, struct http__head_scan *scan);

/*
 * Reads a complete head, as http__head_end measured it. `headers` has HTTP_HEADERS_MAX places.
 * Errors: INVALID_REQUEST; HEADERS_TOO_LARGE for too many headers; UNSUPPORTED for CONNECT. A
 * detail `line` counts from 1.
 */
int http__request_head_read(const char *text, size_t length, struct http_header *headers,
			    struct http__head *ret_head, struct pc_error *err);
/* The same for a response. Errors: RECV_FAILED. */
int http__response_head_read(const char *text, size_t length, struct http_header *headers,
			     struct http__head *ret_head, struct pc_error *err);

/* Whether it may stand in a request line: visible ASCII without '#', and not empty. */
bool http__target_valid(struct http_slice target);
/* Whether it may stand in a header's name, and in its value. */
bool http__is_name_char(char c);
bool http__is_value_char(char c);
/* 1 to 64 of [a-zA-Z0-9-]. */
bool http__correlation_id_valid(struct http_slice id);

#endif
