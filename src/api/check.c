/* SPDX-License-Identifier: MIT */
/*
 * check.c - whether a value may be written, by its table: the same limits that a reader has. Pure
 * functions, any thread.
 */
#include "api/field.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static int check_object(const struct pc__api_type *type, const void *value,
			const struct pc__json_place *place, struct pc_error *err);

static bool is_text(const char *text, int64_t low, int64_t high)
{
	size_t length = text ? strlen(text) : 0;

	return text && length >= (size_t)low && length <= (size_t)high &&
	       pc__utf8_valid_prefix(text, length) == length;
}

static bool is_number(const struct pc__api_field *field, const void *value)
{
	int64_t number;

	return pc__api_load_number(field, value, &number) && number >= field->low &&
	       number <= field->high;
}

static bool is_word(const struct pc__api_field *field, const void *value)
{
	int64_t number;

	return pc__api_load_number(field, value, &number) && number >= 0 &&
	       (size_t)number < field->words->count;
}

/* ---- lists and maps ---- */

static int check_map(const struct pc__api_field *field, const struct pc_api_detail *items,
		     size_t count, const struct pc__json_place *place, struct pc_error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct pc__json_place below = { .up = place, .index = i };

		if (!is_text(items[i].key, 0, field->text_high) ||
		    !is_text(items[i].value, 0, field->text_high))
			return pc__api_complain(&below, err, "must be two strings in UTF-8");
		for (size_t other = 0; other < i; other++) {
			if (strcmp(items[other].key, items[i].key) == 0)
				return pc__api_complain(&below, err, "has the key of another");
		}
	}
	return 0;
}

static int check_elements(const struct pc__api_field *field, const void *value,
			  const struct pc__json_place *place, struct pc_error *err)
{
	const char *items = *(char *const *)pc__api_member(field, value);
	size_t count = *pc__api_count(field, value);
	int rc = 0;

	if (count > (size_t)field->high || (count && !items))
		return pc__api_refuse(field, place, NULL, err);
	if (field->kind == PC__API_MAP)
		return check_map(field, (const struct pc_api_detail *)(const void *)items, count,
				 place, err);
	for (size_t i = 0; i < count && !rc; i++) {
		struct pc__json_place below = { .up = place, .index = i };
		const void *item = items + i * pc__api_element_size(field);

		if (field->kind == PC__API_LIST)
			rc = check_object(field->type, item, &below, err);
		else if (!is_text(*(const char *const *)item, 0, field->text_high))
			rc = pc__api_complain(
				&below, err, "must be a string of up to %" PRId64 " bytes in UTF-8",
				field->text_high);
	}
	return rc;
}

/* ---- objects ---- */

static int check_field(const struct pc__api_field *field, const void *value,
		       const struct pc__json_place *place, struct pc_error *err)
{
	const void *member = pc__api_member(field, value);
	bool fits = true;

	switch (field->kind) {
	case PC__API_TEXT:
		fits = is_text(*(const char *const *)member, field->low, field->high);
		break;
	case PC__API_BOOL:
		break;
	case PC__API_NUMBER:
		fits = is_number(field, value);
		break;
	case PC__API_WORD:
		fits = is_word(field, value);
		break;
	case PC__API_OBJECT:
		return check_object(field->type, member, place, err);
	case PC__API_LIST:
	case PC__API_TEXTS:
	case PC__API_MAP:
		return check_elements(field, value, place, err);
	}
	return fits ? 0 : pc__api_refuse(field, place, NULL, err);
}

static int check_object(const struct pc__api_type *type, const void *value,
			const struct pc__json_place *place, struct pc_error *err)
{
	for (size_t i = 0; i < type->field_count; i++) {
		const struct pc__api_field *field = &type->fields[i];
		struct pc__json_place below = { .up = place, .key = field->name };
		int rc = pc__api_is_none(field, value) ? 0 : check_field(field, value, &below, err);

		if (rc)
			return rc;
	}
	return type->check ? type->check(value, place, err) : 0;
}

int pc__api_validate(const struct pc__api_type *type, const void *value, struct pc_error *err)
{
	if (!value)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "there is no %s", type->name);
	return check_object(type, value, NULL, err);
}
