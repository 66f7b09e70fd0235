/* SPDX-License-Identifier: MIT */
/*
 * write.c - the canonical text of a value by its table, into a growing buffer or one of fixed size.
 * Any thread.
 */
#include "api/field.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct writer {
	struct pc__buf *grows; /* NULL: into `data` */
	char *data;
	size_t size;
	size_t length; /* what was written, or would have been */
};

static void put(struct writer *writer, const char *text, size_t length)
{
	if (writer->grows)
		pc__buf_append(writer->grows, text, length);
	else if (writer->length < writer->size && length <= writer->size - writer->length)
		memcpy(writer->data + writer->length, text, length);
	writer->length += length;
}

static void put_raw(struct writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

/* ---- strings ---- */

/* How many bytes from `text` need no escape; all of `length` in most strings. */
static size_t plain_prefix(const char *text, size_t length)
{
	size_t plain = 0;

	while (plain < length && (unsigned char)text[plain] >= 0x20 && text[plain] != '"' &&
	       text[plain] != '\\' && text[plain] != 0x7f)
		plain++;
	return plain;
}

static void put_escape(struct writer *writer, unsigned char c)
{
	char escape[8];

	if (c == '"' || c == '\\')
		put(writer, (const char[]){ '\\', (char)c }, 2);
	else if (c == '\n')
		put(writer, "\\n", 2);
	else
		put(writer, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", c));
}

/* Bytes that are not UTF-8 become U+FFFD: only errors may hold such. */
static void put_string(struct writer *writer, const char *text)
{
	size_t length = strlen(text), valid = pc__utf8_valid_prefix(text, length);

	put(writer, "\"", 1);
	for (size_t at = 0; at < length;) {
		size_t plain = plain_prefix(text + at, valid - at);

		put(writer, text + at, plain);
		at += plain;
		if (at < valid) {
			put_escape(writer, (unsigned char)text[at++]);
		} else if (at < length) {
			put_raw(writer, "\xef\xbf\xbd");
			at++;
			valid = at + pc__utf8_valid_prefix(text + at, length - at);
		}
	}
	put(writer, "\"", 1);
}

/* ---- values ---- */

static void put_object(struct writer *writer, const struct pc__api_type *type, const void *value);

static void put_number(struct writer *writer, const struct pc__api_field *field, const void *value)
{
	int64_t number = 0;
	char text[32];

	pc__api_load_number(field, value, &number);
	put(writer, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, number));
}

static void put_word(struct writer *writer, const struct pc__api_field *field, const void *value)
{
	int64_t number = 0;

	pc__api_load_number(field, value, &number);
	put_string(writer, field->words->words[number]);
}

static void put_map(struct writer *writer, const struct pc_api_detail *items, size_t count)
{
	put(writer, "{", 1);
	for (size_t i = 0; i < count; i++) {
		put_raw(writer, i ? "," : "");
		put_string(writer, items[i].key);
		put(writer, ":", 1);
		put_string(writer, items[i].value);
	}
	put(writer, "}", 1);
}

static void put_list(struct writer *writer, const struct pc__api_field *field, const void *value)
{
	const char *items = *(char *const *)pc__api_member(field, value);
	size_t count = *pc__api_count(field, value);

	put(writer, "[", 1);
	for (size_t i = 0; i < count; i++) {
		const void *item = items + i * pc__api_element_size(field);

		put_raw(writer, i ? "," : "");
		if (field->kind == PC__API_LIST)
			put_object(writer, field->type, item);
		else
			put_string(writer, *(const char *const *)item);
	}
	put(writer, "]", 1);
}

static void put_field(struct writer *writer, const struct pc__api_field *field, const void *value)
{
	const void *member = pc__api_member(field, value);

	switch (field->kind) {
	case PC__API_TEXT:
		put_string(writer, *(const char *const *)member);
		break;
	case PC__API_BOOL:
		put_raw(writer, *(const bool *)member ? "true" : "false");
		break;
	case PC__API_NUMBER:
		put_number(writer, field, value);
		break;
	case PC__API_WORD:
		put_word(writer, field, value);
		break;
	case PC__API_OBJECT:
		put_object(writer, field->type, member);
		break;
	case PC__API_MAP:
		put_map(writer, *(struct pc_api_detail *const *)member,
			*pc__api_count(field, value));
		break;
	case PC__API_LIST:
	case PC__API_TEXTS:
		put_list(writer, field, value);
		break;
	}
}

/* An empty list is a list; everything else that is not there is null. */
static bool is_null(const struct pc__api_field *field, const void *value)
{
	return field->kind < PC__API_LIST && pc__api_is_none(field, value);
}

static void put_object(struct writer *writer, const struct pc__api_type *type, const void *value)
{
	const char *before = "{";

	for (size_t i = 0; i < type->field_count; i++) {
		const struct pc__api_field *field = &type->fields[i];
		bool nothing = is_null(field, value);

		if (nothing && type->strict)
			continue;
		put_raw(writer, before);
		put(writer, "\"", 1);
		put_raw(writer, field->name);
		put(writer, "\":", 2);
		if (nothing)
			put_raw(writer, "null");
		else
			put_field(writer, field, value);
		before = ",";
	}
	put_raw(writer, before[0] == '{' ? "{}" : "}");
}

/* ---- the two doors ---- */

int pc__api_write(const struct pc__api_type *type, const void *value, char **ret_text,
		  struct pc_error *err)
{
	struct pc__buf buf = PC__BUF_INIT;
	struct writer writer = { .grows = &buf };
	char *text;
	int rc = pc__api_validate(type, value, err);

	if (rc)
		return rc;
	put_object(&writer, type, value);
	text = pc__buf_steal(&buf);
	if (!text)
		return pc_error_oom(err);
	if (writer.length > type->text_max) {
		pc_free(text);
		return pc_error_set(err, PC_E_PAYLOAD_TOO_LARGE, "%s of %zu bytes; at most are %zu",
				    type->name, writer.length, type->text_max);
	}
	*ret_text = text;
	return 0;
}

size_t pc__api_format(const struct pc__api_type *type, const void *value, char *buf, size_t size)
{
	struct writer writer = { .data = buf, .size = size ? size - 1 : 0 };

	put_object(&writer, type, value);
	if (size)
		buf[writer.length < size ? writer.length : 0] = '\0';
	return writer.length;
}
