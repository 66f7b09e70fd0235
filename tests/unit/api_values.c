/* SPDX-License-Identifier: MIT */
/* api_values.c - see api_values.h. Ends the process when memory is out. */
#include "tests/unit/api_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Longest strings of all fields of some objects. */
#define TEXTS_MAX (4 << 20)

void api_draw_init(struct api_draw *draw)
{
	*draw = (struct api_draw){ .texts = malloc(TEXTS_MAX), .size = TEXTS_MAX };
	if (!draw->texts)
		abort();
}

void api_draw_fini(struct api_draw *draw)
{
	free(draw->texts);
}

/* Sebastiano Vigna's SplitMix64. */
uint64_t api_draw_number(struct api_draw *draw)
{
	uint64_t z = draw->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static bool one_in(struct api_draw *draw, unsigned n)
{
	return api_draw_number(draw) % n == 0;
}

/* ---- drawing ---- */

/* Characters of every length, and all that JSON has an escape for. */
static const char *const characters[] = {
	"a",
	"Z",
	"0",
	"/",
	" ",
	"\"",
	"\\",
	"\b",
	"\f",
	"\n",
	"\r",
	"\t",
	"\x01",
	"\x1f",
	"\x7f",
	"\xc3\xa9",
	"{",
	"\xe2\x82\xac",
	"}",
	"\xf0\x9f\x98\x80",
	"\xef\xbf\xbf",
	"\xf4\x8f\xbf\xbf",
};

static const char *draw_text(struct api_draw *draw, int64_t low, int64_t high)
{
	int64_t limit = one_in(draw, 200) ? high : low + 12 < high ? low + 12 : high;
	int64_t wanted = low + (int64_t)(api_draw_number(draw) % (uint64_t)(limit - low + 1));
	char *text = draw->texts + draw->used;
	int64_t length = 0;

	if (one_in(draw, 20))
		wanted = limit;
	if (draw->used + (size_t)wanted + 1 > draw->size)
		abort();
	while (length < wanted) {
		const char *c = characters[api_draw_number(draw) % PC_ARRAY_LEN(characters)];

		if (length + (int64_t)strlen(c) > wanted)
			c = "x";
		memcpy(text + length, c, strlen(c));
		length += (int64_t)strlen(c);
	}
	text[length] = '\0';
	draw->used += (size_t)length + 1;
	return text;
}

static int64_t draw_in_range(struct api_draw *draw, int64_t low, int64_t high)
{
	uint64_t span = (uint64_t)high - (uint64_t)low;

	switch (api_draw_number(draw) % 4) {
	case 0:
		return low;
	case 1:
		return high;
	case 2:
		span = span < 100 ? span : 100;
		break;
	default:
		break;
	}
	return low + (int64_t)(span == UINT64_MAX ? api_draw_number(draw)
						  : api_draw_number(draw) % (span + 1));
}

static void draw_object(struct api_draw *draw, const struct pc__api_type *type, void *value);

static void draw_list(struct api_draw *draw, const struct pc__api_field *field, void *value)
{
	size_t count = one_in(draw, 50) ? 9 : api_draw_number(draw) % 4;
	size_t size = pc__api_element_size(field);
	char *items = pc_calloc(count ? count : 1, size);

	if (!items)
		abort();
	for (size_t i = 0; i < count; i++) {
		void *item = items + i * size;
		struct pc_api_detail *pair = item;

		if (field->kind == PC__API_LIST) {
			draw_object(draw, field->type, item);
		} else if (field->kind == PC__API_TEXTS) {
			*(const char **)item = draw_text(draw, 0, field->text_high);
		} else {
			char *key = (char *)(uintptr_t)draw_text(draw, 1, 20);

			key[0] = (char)('a' + i); /* no two are equal */
			pair->key = key;
			pair->value = draw_text(draw, 0, 100);
		}
	}
	*(void **)pc__api_member(field, value) = items;
	*pc__api_count(field, value) = count;
}

static void draw_field(struct api_draw *draw, const struct pc__api_field *field, void *value)
{
	void *member = pc__api_member(field, value);

	switch (field->kind) {
	case PC__API_TEXT:
		*(const char **)member = draw_text(draw, field->low, field->high);
		break;
	case PC__API_BOOL:
		*(bool *)member = one_in(draw, 2);
		break;
	case PC__API_NUMBER:
		pc__api_store_number(field, value, draw_in_range(draw, field->low, field->high));
		break;
	case PC__API_WORD:
		pc__api_store_number(field, value,
				     (int64_t)(api_draw_number(draw) % field->words->count));
		break;
	case PC__API_OBJECT:
		if (field->optional)
			*(bool *)((char *)value + field->beside) = true;
		draw_object(draw, field->type, member);
		break;
	case PC__API_LIST:
	case PC__API_TEXTS:
	case PC__API_MAP:
		draw_list(draw, field, value);
		break;
	}
}

static void draw_object(struct api_draw *draw, const struct pc__api_type *type, void *value)
{
	pc__api_init(type, value);
	for (size_t i = 0; i < type->field_count; i++) {
		if (!type->fields[i].optional || !one_in(draw, 3))
			draw_field(draw, &type->fields[i], value);
	}
}

void api_draw_value(struct api_draw *draw, uint64_t seed, const struct pc__api_type *type,
		    void *value)
{
	draw->state = seed;
	/* What no table can say (one of two fields, not both) is left to chance. */
	for (;;) {
		draw->used = 0;
		draw_object(draw, type, value);
		if (!pc__api_validate(type, value, NULL))
			return;
		pc__api_fini(type, value);
	}
}

/* ---- comparing ---- */

static bool texts_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool lists_equal(const struct pc__api_field *field, const void *a, const void *b)
{
	const char *left = *(char *const *)pc__api_member(field, a);
	const char *right = *(char *const *)pc__api_member(field, b);
	size_t count = *pc__api_count(field, a), size = pc__api_element_size(field);
	bool equal = count == *pc__api_count(field, b);

	for (size_t i = 0; equal && i < count; i++, left += size, right += size) {
		const struct pc_api_detail *pair = (const void *)left, *other = (const void *)right;

		if (field->kind == PC__API_LIST)
			equal = api_values_equal(field->type, left, right);
		else if (field->kind == PC__API_TEXTS)
			equal = texts_equal(*(char *const *)(const void *)left,
					    *(char *const *)(const void *)right);
		else
			equal = texts_equal(pair->key, other->key) &&
				texts_equal(pair->value, other->value);
	}
	return equal;
}

static bool fields_equal(const struct pc__api_field *field, const void *a, const void *b)
{
	const void *left = pc__api_member(field, a), *right = pc__api_member(field, b);

	switch (field->kind) {
	case PC__API_TEXT:
		return texts_equal(*(char *const *)left, *(char *const *)right);
	case PC__API_BOOL:
	case PC__API_NUMBER:
	case PC__API_WORD:
		return memcmp(left, right, field->size) == 0;
	case PC__API_OBJECT:
		return pc__api_is_none(field, a) == pc__api_is_none(field, b) &&
		       api_values_equal(field->type, left, right);
	case PC__API_LIST:
	case PC__API_TEXTS:
	case PC__API_MAP:
		break;
	}
	return lists_equal(field, a, b);
}

bool api_values_equal(const struct pc__api_type *type, const void *a, const void *b)
{
	for (size_t i = 0; i < type->field_count; i++) {
		if (!fields_equal(&type->fields[i], a, b))
			return false;
	}
	return true;
}

/* ---- there and back ---- */

/* A value that was read: it must be valid, and its text must give it again. */
static const char *write_and_read(const struct pc__api_type *type, const void *value)
{
	pc_auto(pc_free) char *text = NULL, *again = NULL;
	pc_auto(pc_free) void *memory = NULL;
	union api_value second;
	bool equal;

	if (pc__api_write(type, value, &text, NULL))
		return "what was read is not valid";
	if (pc__api_parse(type, text, strlen(text), &second, &memory, NULL))
		return "what was written is refused";
	equal = api_values_equal(type, value, &second);
	if (pc__api_write(type, &second, &again, NULL))
		again = NULL;
	pc__api_fini(type, &second);
	if (!equal)
		return "what was written gives another value";
	return again && strcmp(text, again) == 0 ? NULL : "the text is not canonical";
}

static const char *judge_refusal(int rc, const struct pc_error *err)
{
	bool known = rc == PC_E_INVALID_JSON || rc == PC_E_INVALID_REQUEST ||
		     rc == PC_E_PAYLOAD_TOO_LARGE;

	if (!known || err->code != rc || !err->message[0])
		return "a refusal without its reason";
	return pc__utf8_valid_prefix(err->message, strlen(err->message)) == strlen(err->message)
		       ? NULL
		       : "a reason that is not UTF-8";
}

const char *api_round_trip(const struct pc__api_type *type, const char *text, size_t length,
			   int *ret_code)
{
	struct pc_error err = PC_ERROR_INIT;
	pc_auto(pc_free) void *memory = NULL;
	union api_value value;
	const char *wrong;

	*ret_code = pc__api_parse(type, text, length, &value, &memory, &err);
	if (*ret_code)
		return judge_refusal(*ret_code, &err);
	wrong = write_and_read(type, &value);
	pc__api_fini(type, &value);
	return wrong;
}
