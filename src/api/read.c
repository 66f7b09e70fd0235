/* SPDX-License-Identifier: MIT */
/*
 * read.c - fills a value from JSON by its table. Each field is checked as it is read, so that a
 * complaint can quote what stands there. Any thread.
 */
#include "api/field.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* What a refusal shows of a number or word. */
#define SHOWN_MAX 48

static int read_object(struct pc__json_reader *reader, const struct pc__api_type *type,
		       const struct pc__json_place *place, void *value);

static const char *kind_name(enum pc__json_kind kind)
{
	static const char *const names[] = {
		[PC__JSON_OBJECT] = "an object", [PC__JSON_LIST] = "a list",
		[PC__JSON_STRING] = "a string",	 [PC__JSON_NUMBER] = "a number",
		[PC__JSON_BOOL] = "a boolean",	 [PC__JSON_NULL] = "null",
		[PC__JSON_NOTHING] = NULL,
	};

	return names[kind];
}

/* ---- single values ---- */

static int read_text(struct pc__json_reader *reader, const struct pc__api_field *field,
		     const struct pc__json_place *place, void *value)
{
	const char *text;
	size_t length;
	char shown[SHOWN_MAX];
	int rc = pc__json_string(reader, place, &text, &length);

	if (rc)
		return rc;
	if (length < (size_t)field->low || length > (size_t)field->high) {
		snprintf(shown, sizeof(shown), "%zu", length);
		return pc__api_refuse(field, place, shown, reader->err);
	}
	*(const char **)pc__api_member(field, value) = text;
	return 0;
}

static int read_number(struct pc__json_reader *reader, const struct pc__api_field *field,
		       const struct pc__json_place *place, void *value)
{
	struct pc__json_number number;
	char shown[SHOWN_MAX];
	int rc = pc__json_number(reader, &number);

	if (rc)
		return rc;
	if (!number.exact || number.value < field->low || number.value > field->high) {
		bool cut = number.length >= sizeof(shown) - 3;

		snprintf(shown, sizeof(shown), "%.*s%s",
			 (int)(cut ? sizeof(shown) - 4 : number.length), number.text,
			 cut ? "..." : "");
		return pc__api_refuse(field, place, shown, reader->err);
	}
	pc__api_store_number(field, value, number.value);
	return 0;
}

static int read_word(struct pc__json_reader *reader, const struct pc__api_field *field,
		     const struct pc__json_place *place, void *value)
{
	const char *text;
	size_t length;
	char shown[SHOWN_MAX + 2];
	int rc = pc__json_string(reader, place, &text, &length);

	if (rc)
		return rc;
	for (size_t i = 0; i < field->words->count; i++) {
		if (strcmp(text, field->words->words[i]) == 0) {
			pc__api_store_number(field, value, (int64_t)i);
			return 0;
		}
	}
	if (length > SHOWN_MAX - 1)
		length = pc__utf8_cut(text, SHOWN_MAX - 1);
	snprintf(shown, sizeof(shown), "\"%.*s\"", (int)length, text);
	return pc__api_refuse(field, place, shown, reader->err);
}

/* ---- lists and maps ---- */

/* Room for one more element; they are few at first and double. */
static int reserve_element(const struct pc__api_field *field, void *value, struct pc_error *err)
{
	void **items = pc__api_member(field, value);
	size_t count = *pc__api_count(field, value);
	void *more;

	if (count & (count - 1) || (count > 0 && count < 4))
		return 0; /* 0, 4, 8, 16...: it is full */
	more = pc_realloc(*items, (count ? 2 * count : 4) * pc__api_element_size(field));
	if (!more)
		return pc_error_oom(err);
	*items = more;
	return 0;
}

static int check_element_text(const struct pc__api_field *field, const struct pc__json_place *place,
			      size_t length, struct pc_error *err)
{
	if (length <= (size_t)field->text_high)
		return 0;
	return pc__api_complain(place, err, "has %zu bytes; at most are %lld", length,
				(long long)field->text_high);
}

static int read_element_text(struct pc__json_reader *reader, const struct pc__api_field *field,
			     const struct pc__json_place *place, const char **ret_text)
{
	enum pc__json_kind kind = pc__json_peek(reader);
	size_t length = 0;
	int rc;

	if (kind == PC__JSON_NOTHING)
		return pc__json_skip(reader, place); /* which complains */
	if (kind != PC__JSON_STRING)
		return pc__api_complain(place, reader->err, "must be a string, not %s",
					kind_name(kind));
	rc = pc__json_string(reader, place, ret_text, &length);
	return rc ? rc : check_element_text(field, place, length, reader->err);
}

static int read_pair(struct pc__json_reader *reader, const struct pc__api_field *field,
		     const struct pc__json_place *place, struct pc_api_detail *items, size_t count)
{
	struct pc_api_detail *pair = &items[count];
	struct pc__json_place below = { .up = place };
	int rc = pc__json_key(reader, place, &pair->key);

	if (rc)
		return rc;
	below.key = pair->key;
	rc = check_element_text(field, &below, strlen(pair->key), reader->err);
	if (rc)
		return rc;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(items[i].key, pair->key) == 0)
			return pc__api_complain(&below, reader->err, "stands there twice");
	}
	return read_element_text(reader, field, &below, &pair->value);
}

static int read_element(struct pc__json_reader *reader, const struct pc__api_field *field,
			const struct pc__json_place *place, void *value)
{
	size_t *count = pc__api_count(field, value), index = *count;
	struct pc__json_place below = { .up = place, .index = index };
	char *items;
	int rc;

	if (index == (size_t)field->high)
		return pc__api_refuse(field, place, "more", reader->err);
	rc = reserve_element(field, value, reader->err);
	if (rc)
		return rc;
	items = *(char **)pc__api_member(field, value);
	if (field->kind == PC__API_LIST) {
		/* It counts before it is read, so that what it gets is freed after an error. */
		void *element = items + index * field->type->size;

		pc__api_init(field->type, element);
		*count = index + 1;
		if (pc__json_peek(reader) != PC__JSON_OBJECT)
			return pc__api_complain(&below, reader->err, "must be an object");
		return read_object(reader, field->type, &below, element);
	}
	if (field->kind == PC__API_TEXTS)
		rc = read_element_text(reader, field, &below, &((const char **)items)[index]);
	else
		rc = read_pair(reader, field, place, (struct pc_api_detail *)(void *)items, index);
	*count += !rc;
	return rc;
}

static int read_elements(struct pc__json_reader *reader, const struct pc__api_field *field,
			 const struct pc__json_place *place, void *value)
{
	char close = field->kind == PC__API_MAP ? '}' : ']';
	bool first, more;
	int rc = pc__json_enter(reader, &first);

	while (!rc) {
		rc = pc__json_more(reader, close, &first, &more);
		if (rc || !more)
			break;
		rc = read_element(reader, field, place, value);
	}
	return rc;
}

/* ---- fields ---- */

static enum pc__json_kind wanted_kind(const struct pc__api_field *field)
{
	switch (field->kind) {
	case PC__API_TEXT:
	case PC__API_WORD:
		return PC__JSON_STRING;
	case PC__API_BOOL:
		return PC__JSON_BOOL;
	case PC__API_NUMBER:
		return PC__JSON_NUMBER;
	case PC__API_OBJECT:
	case PC__API_MAP:
		return PC__JSON_OBJECT;
	case PC__API_LIST:
	case PC__API_TEXTS:
		break;
	}
	return PC__JSON_LIST;
}

static int read_field(struct pc__json_reader *reader, const struct pc__api_field *field,
		      const struct pc__json_place *place, void *value)
{
	enum pc__json_kind kind = pc__json_peek(reader);

	if (kind == PC__JSON_NULL && field->optional)
		return pc__json_null(reader); /* it is none already */
	if (kind == PC__JSON_NOTHING)
		return pc__json_skip(reader, place); /* which complains */
	if (kind != wanted_kind(field))
		return pc__api_refuse(field, place, kind_name(kind), reader->err);
	switch (field->kind) {
	case PC__API_TEXT:
		return read_text(reader, field, place, value);
	case PC__API_BOOL:
		return pc__json_bool(reader, pc__api_member(field, value));
	case PC__API_NUMBER:
		return read_number(reader, field, place, value);
	case PC__API_WORD:
		return read_word(reader, field, place, value);
	case PC__API_OBJECT:
		if (field->optional)
			*(bool *)((char *)value + field->beside) = true;
		return read_object(reader, field->type, place, pc__api_member(field, value));
	case PC__API_LIST:
	case PC__API_TEXTS:
	case PC__API_MAP:
		break;
	}
	return read_elements(reader, field, place, value);
}

/* The field of that name; the count of fields when there is none. */
static size_t find_field(const struct pc__api_type *type, const char *name)
{
	size_t i = 0;

	while (i < type->field_count && strcmp(type->fields[i].name, name) != 0)
		i++;
	return i;
}

static int refuse_unknown(const struct pc__api_type *type, const struct pc__json_place *place,
			  struct pc_error *err)
{
	struct pc__nearest nearest = PC__NEAREST_INIT(place->key);
	char all[256] = "";

	for (size_t i = 0; i < type->field_count; i++) {
		size_t length = strlen(all);

		snprintf(all + length, sizeof(all) - length, "%s%s", i ? ", " : "",
			 type->fields[i].name);
		pc__nearest_offer(&nearest, type->fields[i].name);
	}
	if (nearest.best)
		return pc__api_complain(place, err,
					"is not a field of this request; did you mean '%s'?",
					nearest.best);
	return pc__api_complain(place, err, "is not a field of this request, which has %s", all);
}

static int read_member(struct pc__json_reader *reader, const struct pc__api_type *type,
		       const struct pc__json_place *place, void *value, uint64_t *seen)
{
	struct pc__json_place below = { .up = place };
	size_t index;
	int rc = pc__json_key(reader, place, &below.key);

	if (rc)
		return rc;
	index = find_field(type, below.key);
	if (index == type->field_count)
		return type->strict ? refuse_unknown(type, &below, reader->err)
				    : pc__json_skip(reader, &below);
	if (*seen >> index & 1)
		return pc__api_complain(&below, reader->err, "stands there twice");
	*seen |= UINT64_C(1) << index;
	return read_field(reader, &type->fields[index], &below, value);
}

static int refuse_missing(const struct pc__api_type *type, const struct pc__json_place *place,
			  uint64_t seen, struct pc_error *err)
{
	for (size_t i = 0; i < type->field_count; i++) {
		struct pc__json_place below = { .up = place, .key = type->fields[i].name };

		if (!type->fields[i].optional && !(seen >> i & 1))
			return pc__api_complain(&below, err, "is missing");
	}
	return 0;
}

/* The bracket was seen. */
static int read_object(struct pc__json_reader *reader, const struct pc__api_type *type,
		       const struct pc__json_place *place, void *value)
{
	uint64_t seen = 0;
	bool first, more;
	int rc = pc__json_enter(reader, &first);

	while (!rc) {
		rc = pc__json_more(reader, '}', &first, &more);
		if (rc || !more)
			break;
		rc = read_member(reader, type, place, value, &seen);
	}
	if (!rc)
		rc = refuse_missing(type, place, seen, reader->err);
	if (!rc && type->check)
		rc = type->check(value, place, reader->err);
	return rc;
}

static int read_root(struct pc__json_reader *reader, const struct pc__api_type *type, void *value)
{
	enum pc__json_kind kind = pc__json_peek(reader);
	int rc;

	if (kind == PC__JSON_OBJECT)
		rc = read_object(reader, type, NULL, value);
	else
		rc = pc__json_skip(reader, NULL); /* what is no JSON at all is told as such */
	if (!rc)
		rc = pc__json_end(reader);
	if (!rc && kind != PC__JSON_OBJECT)
		rc = pc_error_set(reader->err, PC_E_INVALID_REQUEST, "%s must be a JSON object",
				  type->name);
	return rc;
}

static int check_text(const struct pc__api_type *type, const char *text, size_t length,
		      struct pc_error *err)
{
	size_t valid;

	if (length > type->text_max) {
		pc_error_set(err, PC_E_PAYLOAD_TOO_LARGE, "%s of %zu bytes; at most are %zu",
			     type->name, length, type->text_max);
		pc_error_detail(err, "limit_bytes", "%zu", type->text_max);
		return PC_E_PAYLOAD_TOO_LARGE;
	}
	valid = pc__utf8_valid_prefix(text, length);
	if (valid == length)
		return 0;
	pc_error_set(err, PC_E_INVALID_JSON, "byte %zu is not UTF-8", valid);
	pc_error_detail(err, "offset", "%zu", valid);
	return PC_E_INVALID_JSON;
}

int pc__api_parse(const struct pc__api_type *type, const char *text, size_t length, void *value,
		  void **memory, struct pc_error *err)
{
	struct pc__json_reader reader = { .original = text, .length = length, .err = err };
	int rc = check_text(type, text, length, err);

	if (rc)
		return rc;
	reader.text = pc_malloc(length + 1);
	if (!reader.text)
		return pc_error_oom(err);
	if (length)
		memcpy(reader.text, text, length);
	reader.text[length] = '\0';
	pc__api_init(type, value);
	rc = read_root(&reader, type, value);
	if (rc) {
		pc__api_fini(type, value);
		pc_free(reader.text);
		return rc;
	}
	*memory = reader.text;
	return 0;
}
