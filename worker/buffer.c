/* SPDX-License-Identifier: MIT */
/*
 * buffer.c - growing bytes and the little JSON that is written into them. No parsing, no I/O. Runs
 * on whatever thread owns the buffer.
 */
#include "buffer.h"

#include <poolcore/text.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 256

/* Room for `more` bytes and a NUL, which no one counts. */
static bool reserve(struct buffer *buffer, size_t more)
{
	size_t capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;

	if (buffer->failed || more > SIZE_MAX / 4 - buffer->length) {
		buffer->failed = true;
		return false;
	}
	while (capacity - buffer->length <= more)
		capacity *= 2;
	if (capacity == buffer->capacity)
		return true;

	char *data = pc_realloc(buffer->data, capacity);

	if (!data) {
		buffer->failed = true;
		return false;
	}
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

void buffer_put(struct buffer *buffer, const void *data, size_t length)
{
	if (!reserve(buffer, length))
		return;
	if (length > 0)
		memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

void buffer_puts(struct buffer *buffer, const char *text)
{
	buffer_put(buffer, text, strlen(text));
}

void buffer_printf(struct buffer *buffer, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int length = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (length < 0 || !reserve(buffer, (size_t)length))
		return;
	va_start(args, fmt);
	vsnprintf(buffer->data + buffer->length, (size_t)length + 1, fmt, args);
	va_end(args);
	buffer->length += (size_t)length;
}

/* Bytes that may stand in a JSON string as they are. */
static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

static void put_escape(struct buffer *buffer, unsigned char c)
{
	static const char letters[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
					['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\' };

	if (c < sizeof(letters) && letters[c])
		buffer_put(buffer, (const char[]){ '\\', letters[c] }, 2);
	else
		buffer_printf(buffer, "\\u%04x", c);
}

void buffer_put_json(struct buffer *buffer, const char *text, size_t length)
{
	buffer_puts(buffer, "\"");
	while (length > 0) {
		size_t valid = pc_utf8_valid_prefix(text, length), used = 0;

		while (used < valid) {
			size_t run = used;

			while (run < valid && is_plain((unsigned char)text[run]))
				run++;
			buffer_put(buffer, text + used, run - used);
			used = run;
			if (used < valid)
				put_escape(buffer, (unsigned char)text[used++]);
		}
		if (valid < length) {
			buffer_puts(buffer, "\xef\xbf\xbd");
			valid++;
		}
		text += valid;
		length -= valid;
	}
	buffer_puts(buffer, "\"");
}

void buffer_puts_json(struct buffer *buffer, const char *text)
{
	buffer_put_json(buffer, text, strlen(text));
}

void buffer_put_base64(struct buffer *buffer, const void *data, size_t length)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = data;

	if (!reserve(buffer, (length + 2) / 3 * 4))
		return;

	char *out = buffer->data + buffer->length;

	for (; length > 0; in += 3) {
		size_t group = length < 3 ? length : 3;
		uint32_t bits = (uint32_t)in[0] << 16 | (group > 1 ? (uint32_t)in[1] << 8 : 0) |
				(group > 2 ? in[2] : 0);

		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = group > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = group > 2 ? digits[bits & 63] : '=';
		length -= group;
	}
	*out = '\0';
	buffer->length = (size_t)(out - buffer->data);
}

void buffer_clear(struct buffer *buffer)
{
	buffer->length = 0;
	buffer->failed = false;
}

void buffer_fini(struct buffer *buffer)
{
	pc_free(buffer->data);
	*buffer = (struct buffer){ .data = NULL };
}

void buffer_swap(struct buffer *a, struct buffer *b)
{
	struct buffer held = *a;

	*a = *b;
	*b = held;
}
