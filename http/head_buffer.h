/* SPDX-License-Identifier: MIT */
/*
 * head_buffer.h - gathers a head from the pieces in which it comes and keeps it, with its headers'
 * slices behind it in the same memory, as long as the message lasts. Inside http/ only.
 */
#ifndef HTTP_HEAD_BUFFER_H
#define HTTP_HEAD_BUFFER_H

#include "http/head.h"

struct http__head_buffer {
	char *text;
	size_t length;
	size_t capacity;
	struct http__head_scan scan;
	const struct http_header *headers;
};

enum http__head_progress {
	HEAD_MORE,
	HEAD_WHOLE,
	HEAD_BARE_LF,
	HEAD_TOO_LONG,
	HEAD_NO_MEMORY,
};

/*
 * Takes what belongs to the head, of at most `limit` bytes, from the `length` bytes at `data`, and
 * tells how many these were. After anything but MORE and WHOLE the buffer's content is of no use.
 */
enum http__head_progress http__head_buffer_take(struct http__head_buffer *buffer, const char *data,
						size_t length, size_t limit, size_t *ret_used);
/*
 * Puts `from`, the slices that were read from the text, behind it. The text may move; the slices in
 * `head` are moved along. False when memory is out.
 */
bool http__head_buffer_keep(struct http__head_buffer *buffer, const struct http_header *from,
			    struct http__head *head);
/* Empties it for the next head and gives unusually much memory back. */
void http__head_buffer_reset(struct http__head_buffer *buffer);
void http__head_buffer_fini(struct http__head_buffer *buffer);

#endif
