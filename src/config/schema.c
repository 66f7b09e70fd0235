/* SPDX-License-Identifier: MIT */
/*
 * schema.c - reads one value as its row of a settings table says. What is wrong with one is said by
 * schema_error.c. It knows no setting by name. Runs wherever configuration or catalog are loaded.
 */
#include "config/schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/path.h"

/* ---- strings ---- */

static bool is_path(const struct pc__setting *row)
{
	return row->kind == PC__SETTING_PATH || row->kind == PC__SETTING_PATH_LIST;
}

static bool is_list(const struct pc__setting *row)
{
	return row->kind == PC__SETTING_STRING_LIST || row->kind == PC__SETTING_PATH_LIST ||
	       row->kind == PC__SETTING_STRING_TABLE;
}

static bool is_word(const char *const *words, const char *text)
{
	for (; *words; words++) {
		if (strcmp(*words, text) == 0)
			return true;
	}
	return false;
}

static int check_length(const struct pc__reading *reading, const char *text, struct pc_error *err)
{
	const struct pc__setting *row = reading->row;
	size_t length = strlen(text);

	if (row->min && length == 0)
		return pc__setting_error(reading, err, "it is empty; a value is needed here");
	if (row->max && (length < row->min || length > row->max))
		return pc__setting_error(
			reading, err, "it is %zu bytes long; use %" PRIu64 " to %" PRIu64 " bytes",
			length, row->min, row->max);
	return 0;
}

static int absolute(const struct pc__reading *reading, const char *text, char **ret_path,
		    struct pc_error *err)
{
	struct pc_error why = PC_ERROR_INIT;
	char shown[PC__QUOTED_MAX];
	int rc = pc__path_absolute(text, reading->folder, ret_path, &why);

	if (rc == PC_E_OUT_OF_MEMORY)
		return pc_error_oom(err);
	if (rc)
		return pc__setting_error(reading, err, "%s: %s", pc__quoted(text, shown),
					 why.message);
	return 0;
}

/* Makes the stored form of one string (of a list, of each): checked, absolute if it is a path. */
static int take_string(const struct pc__reading *reading, const char *text, size_t length,
		       void *object, char **ret_string, struct pc_error *err)
{
	const struct pc__setting *row = reading->row;
	pc_auto(pc_free) char *string = NULL;
	int rc = 0;

	if (strlen(text) != length)
		return pc__setting_error(reading, err,
					 "it holds a NUL character, which no "
					 "setting may");
	if (pc__utf8_valid_prefix(text, length) != length)
		return pc__setting_error(reading, err, "it is not valid UTF-8");
	if (!is_list(row))
		rc = check_length(reading, text, err);
	if (rc)
		return rc;
	if (row->words && !is_word(row->words, text))
		return pc__setting_unreadable(reading, text, err);
	if (is_path(row) && (length > 0 || row->kind == PC__SETTING_PATH_LIST)) {
		if (length > 0)
			rc = absolute(reading, text, &string, err);
		else
			rc = pc__setting_error(reading, err, "a path in it is empty");
	} else {
		string = pc_strdup(text);
		rc = string ? 0 : pc_error_oom(err);
	}
	if (rc == 0 && row->refine)
		rc = row->refine(reading, object, &string, err);
	if (rc == 0)
		*ret_string = pc_steal(&string);
	return rc;
}

static int store_string(const struct pc__reading *reading, const char *text, size_t length,
			void *object, struct pc_error *err)
{
	char **member = (char **)((char *)object + reading->row->offset);
	char *string = NULL;
	int rc = take_string(reading, text, length, object, &string, err);

	if (rc)
		return rc;
	pc_free(*member);
	*member = string;
	return 0;
}

/* Puts a finished list in its place, or throws it away and passes `rc` on. */
static int store_list(const struct pc__reading *reading, struct pc_string_list *list, int rc,
		      void *object, struct pc_error *err)
{
	const struct pc__setting *row = reading->row;
	struct pc_string_list *member = (struct pc_string_list *)((char *)object + row->offset);

	if (rc == 0 && list->count < row->min)
		rc = pc__setting_error(reading, err, "it is empty; a value is needed here");
	if (rc == 0 && row->max && list->count > row->max)
		rc = pc__setting_error(reading, err, "it has %zu items; use %" PRIu64 " at most",
				       list->count, row->max);
	if (rc) {
		pc_string_list_free(list);
		return rc;
	}
	pc_string_list_free(member);
	*member = *list;
	return 0;
}

static int read_array(const struct pc__reading *reading, const struct pc__toml_value *value,
		      void *object, struct pc_error *err)
{
	struct pc__reading item_reading = *reading;
	struct pc_string_list list = { .count = 0 };
	size_t count = pc__toml_array_length(value);
	int rc = 0;

	if (pc__toml_kind(value) != PC__TOML_ARRAY)
		return pc__setting_misfit(reading, value, err);
	for (size_t i = 0; i < count && rc == 0; i++) {
		const struct pc__toml_value *item = pc__toml_array_item(value, i);
		size_t length;
		const char *text = pc__toml_string(item, &length);
		char *string = NULL;

		item_reading.source.pos = pc__toml_pos(item);
		if (!text)
			rc = pc__setting_wrong_kind(&item_reading, item, "a string", err);
		else
			rc = take_string(&item_reading, text, length, object, &string, err);
		if (rc == 0)
			rc = pc__list_push(&list, string, err);
	}
	return store_list(reading, &list, rc, object, err);
}

static int read_string_table(const struct pc__reading *reading, const struct pc__toml_value *value,
			     void *object, struct pc_error *err)
{
	struct pc__reading item_reading = *reading;
	struct pc_string_list list = { .count = 0 };
	size_t count = pc__toml_table_size(value);
	int rc = 0;

	if (pc__toml_kind(value) != PC__TOML_TABLE)
		return pc__setting_misfit(reading, value, err);
	for (size_t i = 0; i < count && rc == 0; i++) {
		const struct pc__toml_entry *entry = pc__toml_table_entry(value, i);
		size_t length;
		const char *text = pc__toml_string(entry->value, &length);
		struct pc__buf pair = PC__BUF_INIT;
		char *string = NULL;

		item_reading.source.pos = pc__toml_pos(entry->value);
		if (!text) {
			rc = pc__setting_wrong_kind(&item_reading, entry->value, "a string", err);
			break;
		}
		pc__buf_append(&pair, entry->key, entry->key_length);
		pc__buf_puts(&pair, "=");
		pc__buf_append(&pair, text, length);
		length = pair.length;

		pc_auto(pc_free) char *joined = pc__buf_steal(&pair);

		rc = joined ? take_string(&item_reading, joined, length, object, &string, err)
			    : pc_error_oom(err);
		if (rc == 0)
			rc = pc__list_push(&list, string, err);
	}
	return store_list(reading, &list, rc, object, err);
}

/* "a,b, c": an empty text is an empty list. */
static int read_comma_list(const struct pc__reading *reading, const char *text, void *object,
			   struct pc_error *err)
{
	struct pc_string_list list = { .count = 0 };
	int rc = 0;

	while (*text && rc == 0) {
		size_t length = strcspn(text, ","), first = strspn(text, " ");
		size_t last = length;
		char *string = NULL;

		if (first > length)
			first = length;
		while (last > first && text[last - 1] == ' ')
			last--;

		pc_auto(pc_free) char *item = pc_strndup(text + first, last - first);

		rc = item ? take_string(reading, item, strlen(item), object, &string, err)
			  : pc_error_oom(err);
		if (rc == 0)
			rc = pc__list_push(&list, string, err);
		text += length + (text[length] == ',');
	}
	return store_list(reading, &list, rc, object, err);
}

/* ---- numbers ---- */

static int store_number(const struct pc__reading *reading, int64_t value, const char *shown,
			void *object, struct pc_error *err)
{
	const struct pc__setting *row = reading->row;

	if (value < 0 || (uint64_t)value < row->min || (uint64_t)value > row->max)
		return pc__setting_out_of_range(reading, shown, err);
	*(uint64_t *)((char *)object + row->offset) = (uint64_t)value;
	return 0;
}

static int store_ttl(const struct pc__reading *reading, int64_t ms, const char *shown, void *object,
		     struct pc_error *err)
{
	const struct pc__setting *row = reading->row;

	if (ms > 0 && (uint64_t)ms > row->max)
		return pc__setting_out_of_range(reading, shown, err);
	*(int64_t *)((char *)object + row->offset) = ms < 0 ? -1 : ms;
	return 0;
}

/* The whole text as a decimal integer; digits beyond int64 saturate, which no range allows. */
static bool parse_integer(const char *text, int64_t *ret_integer)
{
	const char *digits = text + (text[0] == '-');

	if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
		return false;
	*ret_integer = strtoll(text, NULL, 10);
	return true;
}

/* A number of any kind but written as text: in quotes, in a variable, in a flag. */
static int read_number_text(const struct pc__reading *reading, const char *text, void *object,
			    struct pc_error *err)
{
	int64_t value;
	uint64_t bytes;
	char shown[PC__QUOTED_MAX];

	pc__quoted(text, shown);
	switch (reading->row->kind) {
	case PC__SETTING_INTEGER:
		if (!parse_integer(text, &value))
			return pc__setting_unreadable(reading, text, err);
		break;
	case PC__SETTING_SIZE:
		if (pc__parse_size(text, &bytes) == 0)
			value = (int64_t)bytes;
		else if (text[0] != '-' || !parse_integer(text, &value))
			return pc__setting_unreadable(reading, text, err);
		break;
	default:
		if (pc__parse_duration(text, &value))
			return pc__setting_unreadable(reading, text, err);
		if (reading->row->kind == PC__SETTING_TTL)
			return store_ttl(reading, value, shown, object, err);
		if (value % 1000 != 0)
			return pc__setting_error(reading, err,
						 "%s is not a whole number of seconds", shown);
		value /= 1000;
		break;
	}
	return store_number(reading, value, shown, object, err);
}

static int read_number(const struct pc__reading *reading, const struct pc__toml_value *value,
		       void *object, struct pc_error *err)
{
	size_t length;
	const char *text = pc__toml_string(value, &length);
	int64_t integer;
	char shown[PC__QUOTED_MAX];

	if (text && strlen(text) == length && reading->row->kind != PC__SETTING_INTEGER)
		return read_number_text(reading, text, object, err);
	if (pc__toml_integer(value, &integer))
		return pc__setting_misfit(reading, value, err);
	snprintf(shown, sizeof(shown), "%" PRId64, integer);
	if (reading->row->kind != PC__SETTING_TTL)
		return store_number(reading, integer, shown, object, err);
	if (integer > INT64_MAX / 1000)
		return pc__setting_out_of_range(reading, shown, err);
	return store_ttl(reading, integer < 0 ? -1 : integer * 1000, shown, object, err);
}

int pc__setting_size_of(const struct pc__reading *reading, const struct pc__toml_value *value,
			const char *text, uint64_t min, uint64_t max, uint64_t *ret_bytes,
			struct pc_error *err)
{
	struct pc__setting row = *reading->row;
	struct pc__reading alone = *reading;

	row.kind = PC__SETTING_SIZE;
	row.offset = 0;
	row.min = min;
	row.max = max;
	alone.row = &row;
	return value ? read_number(&alone, value, ret_bytes, err)
		     : read_number_text(&alone, text, ret_bytes, err);
}

/* ---- one value ---- */

int pc__setting_read_toml(const struct pc__reading *reading, const struct pc__toml_value *value,
			  void *object, struct pc_error *err)
{
	const struct pc__setting *row = reading->row;
	const char *text;
	size_t length;
	bool boolean;

	switch (row->kind) {
	case PC__SETTING_STRING:
	case PC__SETTING_WORD:
	case PC__SETTING_PATH:
		text = pc__toml_string(value, &length);
		if (!text)
			return pc__setting_misfit(reading, value, err);
		return store_string(reading, text, length, object, err);
	case PC__SETTING_STRING_LIST:
	case PC__SETTING_PATH_LIST:
		return read_array(reading, value, object, err);
	case PC__SETTING_STRING_TABLE:
		return read_string_table(reading, value, object, err);
	case PC__SETTING_BOOLEAN:
		if (pc__toml_boolean(value, &boolean))
			return pc__setting_misfit(reading, value, err);
		*(bool *)((char *)object + row->offset) = boolean;
		return 0;
	default:
		return read_number(reading, value, object, err);
	}
}

int pc__setting_read_text(const struct pc__reading *reading, const char *text, void *object,
			  struct pc_error *err)
{
	const struct pc__setting *row = reading->row;
	bool yes;

	switch (row->kind) {
	case PC__SETTING_STRING:
	case PC__SETTING_WORD:
	case PC__SETTING_PATH:
		return store_string(reading, text, strlen(text), object, err);
	case PC__SETTING_STRING_LIST:
	case PC__SETTING_PATH_LIST:
	case PC__SETTING_STRING_TABLE:
		return read_comma_list(reading, text, object, err);
	case PC__SETTING_BOOLEAN:
		yes = strcmp(text, "true") == 0;
		if (!yes && strcmp(text, "false") != 0)
			return pc__setting_unreadable(reading, text, err);
		*(bool *)((char *)object + row->offset) = yes;
		return 0;
	default:
		return read_number_text(reading, text, object, err);
	}
}

/* ---- tables of rows ---- */

const struct pc__setting *pc__setting_find(const struct pc__setting *rows, size_t count,
					   const char *section, const char *key)
{
	for (size_t i = 0; i < count; i++) {
		if ((!section || strcmp(rows[i].section, section) == 0) &&
		    strcmp(rows[i].key, key) == 0)
			return &rows[i];
	}
	return NULL;
}

void pc__settings_fini(const struct pc__setting *rows, size_t count, void *object)
{
	for (size_t i = 0; i < count; i++) {
		void *member = (char *)object + rows[i].offset;

		switch (rows[i].kind) {
		case PC__SETTING_STRING:
		case PC__SETTING_WORD:
		case PC__SETTING_PATH:
			pc_free(*(char **)member);
			*(char **)member = NULL;
			break;
		case PC__SETTING_STRING_LIST:
		case PC__SETTING_PATH_LIST:
		case PC__SETTING_STRING_TABLE:
			pc_string_list_free(member);
			break;
		default:
			break;
		}
	}
}

/* ---- names, devices ---- */

bool pc__is_name(const char *text, const char *extra, size_t max)
{
	static const char alnum[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t length = strlen(text);

	if (length == 0 || length > max || !strchr(alnum, text[0]))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!strchr(alnum, text[i]) && !strchr(extra, text[i]))
			return false;
	}
	return true;
}

bool pc__is_device(const char *text, bool auto_too)
{
	size_t digits;

	if (strcmp(text, "cpu") == 0)
		return true;
	if (strcmp(text, "auto") == 0)
		return auto_too;
	if (strncmp(text, "gpu", 3) != 0)
		return false;
	digits = strspn(text + 3, "0123456789");
	return digits >= 1 && digits <= 3 && text[3 + digits] == '\0' &&
	       (digits == 1 || text[3] != '0');
}

int pc__refine_device(const struct pc__reading *reading, void *object, char **text,
		      struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	(void)object;
	if ((*text)[0] == '\0' || pc__is_device(*text, true))
		return 0; /* whether "" is allowed is said by the row's min */
	return pc__setting_error(reading, err,
				 "%s is no device; use \"auto\", \"cpu\", \"gpu0\", \"gpu1\" ...",
				 pc__quoted(*text, shown));
}
