/* SPDX-License-Identifier: MIT */
/*
 * text.h - a growing buffer in which heads are put together. A failed allocation is remembered, so
 * that a writer checks once at its end. Inside http/ only.
 */
#ifndef HTTP_TEXT_H
#define HTTP_TEXT_H

#include <string.h>

#include "http/http.h"

struct http__text {
	char *data;
	size_t length;
	size_t capacity;
	bool failed;
};

static inline bool http__text_grow(struct http__text *text, size_t more)
{
	size_t capacity = text->capacity ? text->capacity * 2 : 1024;
	char *data;

	if (text->failed)
		return false;
	while (capacity - text->length < more)
		capacity *= 2;
	data = pc_realloc(text->data, capacity);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->capacity = capacity;
	return true;
}

static inline void http__text_append(struct http__text *text, const char *data, size_t length)
{
	if (text->capacity - text->length < length && !http__text_grow(text, length))
		return;
	/* Of a failed buffer there is nothing to write to. */
	if (text->failed || length == 0)
		return;
	memcpy(text->data + text->length, data, length);
	text->length += length;
}

static inline void http__text_puts(struct http__text *text, const char *string)
{
	http__text_append(text, string, strlen(string));
}

static inline void http__text_number(struct http__text *text, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	http__text_append(text, digits + at, sizeof(digits) - at);
}

/*
 * "name: value" and CR LF. A control character becomes a space, so that no value, wherever it comes
 * from, can end the header and begin another (response splitting).
 */
static inline void http__text_header(struct http__text *text, struct http_slice name,
				     struct http_slice value)
{
	size_t start = text->length;

	http__text_append(text, name.data, name.length);
	http__text_append(text, ": ", 2);
	http__text_append(text, value.data, value.length);
	for (size_t i = start; !text->failed && i < text->length; i++) {
		if ((unsigned char)text->data[i] < ' ' && text->data[i] != '\t')
			text->data[i] = ' ';
	}
	http__text_append(text, "\r\n", 2);
}

static inline struct http_slice http__slice(const char *string)
{
	return (struct http_slice){ string, strlen(string) };
}

/* The same of a literal, for tables. */
#define HTTP__SLICE(literal) \
	{ \
		(literal), sizeof(literal) - 1 \
	}

/* Whether a header's name is one of a table's. */
static inline bool http__slice_in(struct http_slice name, const struct http_slice *table,
				  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (name.length == table[i].length &&
		    strncasecmp(name.data, table[i].data, name.length) == 0)
			return true;
	}
	return false;
}

#endif
