/* SPDX-License-Identifier: MIT */
/*
 * decoder.h - takes a message's body out of its framing: by Content-Length, chunked, or until the
 * connection closes. A thin coat over llhttp. Inside http/ only; the thread of its connection.
 */
#ifndef HTTP_DECODER_H
#define HTTP_DECODER_H

#include <llhttp.h>

#include "http/head.h"

/* A piece of the body. Returns false to stop decoding: the connection is to be closed. */
typedef bool (*http__decoder_body_fn)(void *ctx, const char *data, size_t length);

/* Where in the trailers the next byte stands; after the last one the message is complete. */
enum http__trailers {
	TRAILERS_NONE, /* not there yet */
	TRAILERS_LINE, /* at a line's begin */
	TRAILERS_NAME,
	TRAILERS_VALUE,
	TRAILERS_LF, /* a line's CR has come */
	TRAILERS_LAST_LF,
};

struct http__decoder {
	llhttp_t parser;
	http__decoder_body_fn on_body;
	void *ctx;
	const struct http__head *head; /* while the head is fed */
	enum http__trailers trailers;
	size_t overhead_bytes; /* framing since the last byte of body */
	bool no_body;	       /* the answer to HEAD */
	bool agrees;
	bool complete;
	bool stopped; /* by on_body */
};

/*
 * Starts with a head that head.c has accepted, of `length` bytes, and lets llhttp read it too.
 * Afterwards `complete` tells whether the message has no body. Errors: INVALID_REQUEST or
 * RECV_FAILED when llhttp refuses the head or frames it in another way; UNSUPPORTED for a method
 * that llhttp does not know.
 */
int http__decoder_start_request(struct http__decoder *decoder, const struct http__head *head,
				const char *text, size_t length, http__decoder_body_fn on_body,
				void *ctx, struct pc_error *err);
int http__decoder_start_response(struct http__decoder *decoder, const struct http__head *head,
				 const char *text, size_t length, bool no_body,
				 http__decoder_body_fn on_body, void *ctx, struct pc_error *err);

/*
 * Decodes up to `length` bytes, and tells how many belonged to this message: fewer than `length`
 * only when it is complete, was stopped or is broken. Errors: INVALID_REQUEST or RECV_FAILED for
 * faulty chunks.
 */
int http__decoder_feed(struct http__decoder *decoder, const char *data, size_t length,
		       size_t *ret_used, struct pc_error *err);

/* The connection has ended; true when that completes the message. */
bool http__decoder_eof(struct http__decoder *decoder);

#endif
