/* SPDX-License-Identifier: MIT */
/* head_buffer.c - the memory of a head, see head_buffer.h. It does not read what the head says. */
#include "http/head_buffer.h"

#include <string.h>

/* A usual head with its slices; what is larger is not kept between messages. */
#define KEEP_BYTES 4096

static bool reserve(struct http__head_buffer *buffer, size_t capacity)
{
	char *text;

	if (capacity <= buffer->capacity)
		return true;
	/* Room for some slices, so that most heads need one allocation. */
	capacity = capacity < KEEP_BYTES / 4 ? KEEP_BYTES / 2 : capacity + KEEP_BYTES / 4;
	if (capacity < buffer->capacity * 2)
		capacity = buffer->capacity * 2;
	text = pc_realloc(buffer->text, capacity);
	if (!text)
		return false;
	buffer->text = text;
	buffer->capacity = capacity;
	return true;
}

enum http__head_progress http__head_buffer_take(struct http__head_buffer *buffer, const char *data,
						size_t length, size_t limit, size_t *ret_used)
{
	size_t before = buffer->length;
	ssize_t end;

	/* One byte past the limit tells a head that is too long from one that just fits. */
	if (length > limit + 1 - before)
		length = limit + 1 - before;
	if (!reserve(buffer, before + length))
		return HEAD_NO_MEMORY;
	memcpy(buffer->text + before, data, length);
	buffer->length = before + length;
	end = http__head_end(buffer->text, buffer->length, &buffer->scan);
	if (end < 0)
		return HEAD_BARE_LF;
	if (end > 0)
		buffer->length = (size_t)end;
	if (buffer->length > limit)
		return HEAD_TOO_LONG;
	*ret_used = buffer->length - before;
	return end > 0 ? HEAD_WHOLE : HEAD_MORE;
}

bool http__head_buffer_keep(struct http__head_buffer *buffer, const struct http_header *from,
			    struct http__head *head)
{
	const size_t align = _Alignof(struct http_header);
	size_t at = (buffer->length + align - 1) / align * align;
	uintptr_t old = (uintptr_t)buffer->text;
	struct http_header *to;

	if (!reserve(buffer, at + head->header_count * sizeof(*to)))
		return false;
	to = (struct http_header *)(void *)(buffer->text + at);
	for (size_t i = 0; i < head->header_count; i++) {
		to[i].name.data = buffer->text + ((uintptr_t)from[i].name.data - old);
		to[i].name.length = from[i].name.length;
		to[i].value.data = buffer->text + ((uintptr_t)from[i].value.data - old);
		to[i].value.length = from[i].value.length;
	}
	if (head->method.data) {
		head->method.data = buffer->text + ((uintptr_t)head->method.data - old);
		head->path.data = buffer->text + ((uintptr_t)head->path.data - old);
		head->query.data = buffer->text + ((uintptr_t)head->query.data - old);
	}
	buffer->headers = to;
	return true;
}

void http__head_buffer_reset(struct http__head_buffer *buffer)
{
	buffer->length = 0;
	buffer->scan = (struct http__head_scan){ 0 };
	buffer->headers = NULL;
	if (buffer->capacity > KEEP_BYTES)
		http__head_buffer_fini(buffer);
}

void http__head_buffer_fini(struct http__head_buffer *buffer)
{
	pc_free(buffer->text);
	*buffer = (struct http__head_buffer){ .text = NULL };
}
