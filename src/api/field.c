/* SPDX-License-Identifier: MIT */
/*
 * field.c - members of a value by their rows: where they are, what they are when there is nothing,
 * and how one that is wrong is complained about. Pure functions, any thread.
 */
#include "api/field.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- members ---- */

void *pc__api_member(const struct pc__api_field *field, const void *value)
{
	return (char *)(uintptr_t)value + field->offset;
}

size_t *pc__api_count(const struct pc__api_field *field, const void *value)
{
	return (size_t *)(void *)((char *)(uintptr_t)value + field->beside);
}

size_t pc__api_element_size(const struct pc__api_field *field)
{
	switch (field->kind) {
	case PC__API_TEXTS:
		return sizeof(char *);
	case PC__API_MAP:
		return sizeof(struct pc_api_detail);
	default:
		return field->type->size;
	}
}

/* A member of 8 bytes without a sign may hold more than an int64_t; the others never do. */
bool pc__api_load_number(const struct pc__api_field *field, const void *value, int64_t *ret_number)
{
	const void *member = pc__api_member(field, value);
	uint64_t bits = 0;

	/* The low bytes come first on the machines that this is for; see the assertion below. */
	memcpy(&bits, member, field->size);
	if (field->is_signed && field->size < sizeof(bits)) {
		unsigned shift = 64 - 8 * (unsigned)field->size;

		*ret_number = (int64_t)(bits << shift) >> shift;
		return true;
	}
	if (!field->is_signed && bits > INT64_MAX)
		return false;
	*ret_number = (int64_t)bits;
	return true;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "load and store need a big-endian twin");

void pc__api_store_number(const struct pc__api_field *field, void *value, int64_t number)
{
	memcpy(pc__api_member(field, value), &number, field->size);
}

bool pc__api_is_none(const struct pc__api_field *field, const void *value)
{
	int64_t number;

	if (!field->optional)
		return false;
	switch (field->kind) {
	case PC__API_TEXT:
		return !*(const char **)pc__api_member(field, value);
	case PC__API_BOOL:
		return false;
	case PC__API_NUMBER:
		return pc__api_load_number(field, value, &number) && number == field->none;
	case PC__API_OBJECT:
		return !*(const bool *)((const char *)value + field->beside);
	default:
		return *pc__api_count(field, value) == 0;
	}
}

/* ---- nothing ---- */

void pc__api_init(const struct pc__api_type *type, void *value)
{
	memset(value, 0, type->size);
	for (size_t i = 0; i < type->field_count; i++) {
		const struct pc__api_field *field = &type->fields[i];

		if (field->kind == PC__API_NUMBER && field->optional)
			pc__api_store_number(field, value, field->none);
		else if (field->kind == PC__API_OBJECT)
			pc__api_init(field->type, pc__api_member(field, value));
	}
}

static void free_list(const struct pc__api_field *field, void *value)
{
	char *items = *(char **)pc__api_member(field, value);

	if (field->kind == PC__API_LIST) {
		for (size_t i = 0; i < *pc__api_count(field, value); i++)
			pc__api_fini(field->type, items + i * field->type->size);
	}
	pc_free(items);
}

void pc__api_fini(const struct pc__api_type *type, void *value)
{
	for (size_t i = 0; i < type->field_count; i++) {
		const struct pc__api_field *field = &type->fields[i];

		switch (field->kind) {
		case PC__API_OBJECT:
			pc__api_fini(field->type, pc__api_member(field, value));
			break;
		case PC__API_LIST:
		case PC__API_TEXTS:
		case PC__API_MAP:
			free_list(field, value);
			break;
		default:
			break;
		}
	}
}

/* ---- complaints ---- */

int pc__api_complain(const struct pc__json_place *place, struct pc_error *err, const char *fmt, ...)
{
	char where[PC__PLACE_MAX], what[PC_ERROR_MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	pc__place_text(place, where);
	pc_error_set(err, PC_E_INVALID_REQUEST, "'%s' %s", where, what);
	pc_error_detail(err, "param", "%s", where);
	return PC_E_INVALID_REQUEST;
}

static void say_words(const struct pc__api_words *words, char *out, size_t size)
{
	size_t length = (size_t)snprintf(out, size, "one of");

	for (size_t i = 0; i < words->count && length < size; i++)
		length += (size_t)snprintf(out + length, size - length, "%s \"%s\"", i ? "," : "",
					   words->words[i]);
}

/* What would be right. */
static void say_wanted(const struct pc__api_field *field, char *out, size_t size)
{
	switch (field->kind) {
	case PC__API_TEXT:
		snprintf(out, size, "a string of %" PRId64 " to %" PRId64 " bytes in UTF-8",
			 field->low, field->high);
		break;
	case PC__API_BOOL:
		snprintf(out, size, "true or false");
		break;
	case PC__API_NUMBER:
		snprintf(out, size, "a whole number from %" PRId64 " to %" PRId64, field->low,
			 field->high);
		break;
	case PC__API_WORD:
		say_words(field->words, out, size);
		break;
	case PC__API_OBJECT:
		snprintf(out, size, "an object");
		break;
	case PC__API_LIST:
		snprintf(out, size, "a list of at most %" PRId64 " objects", field->high);
		break;
	case PC__API_TEXTS:
		snprintf(out, size,
			 "a list of at most %" PRId64 " strings of up to %" PRId64
			 " bytes in UTF-8",
			 field->high, field->text_high);
		break;
	case PC__API_MAP:
		snprintf(out, size,
			 "an object of at most %" PRId64 " strings of up to %" PRId64
			 " bytes in UTF-8",
			 field->high, field->text_high);
		break;
	}
}

int pc__api_refuse(const struct pc__api_field *field, const struct pc__json_place *place,
		   const char *found, struct pc_error *err)
{
	char wanted[320];

	say_wanted(field, wanted, sizeof(wanted));
	return pc__api_complain(place, err, "must be %s%s%s", wanted, found ? ", not " : "",
				found ? found : "");
}
