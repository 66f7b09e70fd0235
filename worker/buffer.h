/* SPDX-License-Identifier: MIT */
/*
 * buffer.h - bytes that grow: request bodies, answers on their way, JSON being written. A failed
 * allocation is remembered (`failed`) and every later call does nothing, so that a writer checks
 * once, at its end. One owner at a time.
 */
#ifndef WORKER_BUFFER_H
#define WORKER_BUFFER_H

#include <poolcore/base.h>

struct buffer {
	char *data;
	size_t length;
	size_t capacity;
	bool failed;
};

void buffer_put(struct buffer *buffer, const void *data, size_t length);
void buffer_puts(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *fmt, ...) PC_PRINTF(2, 3);
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void buffer_put_json(struct buffer *buffer, const char *text, size_t length);
void buffer_puts_json(struct buffer *buffer, const char *text);
/* Base64 of RFC 4648 section 4, padded. */
void buffer_put_base64(struct buffer *buffer, const void *data, size_t length);

/* Empties it and keeps its memory. */
void buffer_clear(struct buffer *buffer);
void buffer_fini(struct buffer *buffer);
void buffer_swap(struct buffer *a, struct buffer *b);

#endif
