/* SPDX-License-Identifier: MIT */
/*
 * schema_error.c - says what is wrong with a value or a key: where it stands, what it is, and what
 * would be right. It knows no setting by name. Runs wherever configuration or catalog are loaded.
 */
#include "config/schema.h"

#include <inttypes.h>
#include <stdio.h>

int pc__setting_error(const struct pc__reading *reading, struct pc_error *err, const char *fmt, ...)
{
	char key[160], what[PC_ERROR_MESSAGE_MAX];
	va_list args;

	snprintf(key, sizeof(key), "%s%s%s", reading->scope, reading->row ? "." : "",
		 reading->row ? reading->row->key : "");
	key[pc__utf8_cut(key, strlen(key))] = '\0';
	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (reading->doc) {
		pc__toml_error(err, reading->doc, reading->source.pos, "%s: %s", key, what);
	} else if (reading->source.name) {
		bool flag = reading->source.kind == PC_SOURCE_FLAG;

		pc_error_set(err, PC_E_INVALID_CONFIG, "%s: %s: %s", reading->source.name, key,
			     what);
		pc_error_detail(err, flag ? "flag" : "variable", "%s", reading->source.name);
	} else {
		pc_error_set(err, PC_E_INVALID_CONFIG, "%s: the default is of no use here: %s", key,
			     what);
	}
	pc_error_detail(err, "key", "%s", key);
	return PC_E_INVALID_CONFIG;
}

/* A '?' for each character that does not show and each byte that is not UTF-8: what is quoted may
 * be what somebody wants a terminal or a log to obey. */
static void picture_unseen(char *text)
{
	size_t left = strlen(text), step;
	uint32_t scalar;
	char *out = text;

	for (; left > 0; text += step, left -= step) {
		bool shows;

		step = pc__utf8_next(text, left, &scalar);
		shows = step > 0 && !pc__is_unseen(scalar);
		step = step ? step : 1;
		if (shows)
			out = (char *)memmove(out, text, step) + step;
		else
			*out++ = '?';
	}
	*out = '\0';
}

const char *pc__quoted(const char *text, char out[PC__QUOTED_MAX])
{
	size_t length = strlen(text);

	if (length <= PC__QUOTED_MAX - 3)
		snprintf(out, PC__QUOTED_MAX, "\"%s\"", text);
	else
		snprintf(out, PC__QUOTED_MAX, "\"%.*s...\"",
			 (int)pc__utf8_cut(text, PC__QUOTED_MAX - 6), text);
	picture_unseen(out);
	return out;
}

int pc__setting_wrong_kind(const struct pc__reading *reading, const struct pc__toml_value *value,
			   const char *expected, struct pc_error *err)
{
	enum pc__toml_kind kind = pc__toml_kind(value);
	const char *name = pc__toml_kind_name(kind);
	const char *article = strchr("aeiou", name[0]) ? "an" : "a";
	char shown[PC__QUOTED_MAX] = "this";
	int64_t integer;
	double number;
	bool boolean;

	if (kind == PC__TOML_STRING)
		pc__quoted(pc__toml_string(value, NULL), shown);
	else if (pc__toml_integer(value, &integer) == 0)
		snprintf(shown, sizeof(shown), "%" PRId64, integer);
	else if (pc__toml_float(value, &number) == 0)
		snprintf(shown, sizeof(shown), "%g", number);
	else if (pc__toml_boolean(value, &boolean) == 0)
		snprintf(shown, sizeof(shown), "%s", boolean ? "true" : "false");
	return pc__setting_error(reading, err, "%s is %s %s; %s is expected", shown, article, name,
				 expected);
}

/* What a row wants, with article: the end of "30 is an integer; ... is expected". */
static void print_expected(const struct pc__setting *row, struct pc__buf *out)
{
	switch (row->kind) {
	case PC__SETTING_STRING:
		pc__buf_puts(out, "a string");
		break;
	case PC__SETTING_WORD:
	case PC__SETTING_BOOLEAN:
		pc__setting_print_range(row, out);
		break;
	case PC__SETTING_PATH:
		pc__buf_puts(out, "a path in quotes");
		break;
	case PC__SETTING_STRING_LIST:
		pc__buf_puts(out, "an array of strings like [\"a\", \"b\"]");
		break;
	case PC__SETTING_PATH_LIST:
		pc__buf_puts(out, "an array of paths like [\"a\", \"b\"]");
		break;
	case PC__SETTING_STRING_TABLE:
		pc__buf_puts(out, "a table of strings like { NAME = \"value\" }");
		break;
	case PC__SETTING_INTEGER:
		if (row->unit && row->unit[0])
			pc__buf_printf(out, "an integer number of %s", row->unit);
		else
			pc__buf_puts(out, "an integer");
		break;
	case PC__SETTING_SECONDS:
	case PC__SETTING_TTL:
		pc__buf_puts(out, "an integer number of seconds or a duration like \"90s\"");
		break;
	case PC__SETTING_SIZE:
		pc__buf_puts(out, "an integer number of bytes or a size like \"32MiB\"");
		break;
	}
}

/* Ends a message with a text made in a buffer; the message survives a failed allocation. */
static int error_with(const struct pc__reading *reading, struct pc_error *err, const char *what,
		      struct pc__buf *tail)
{
	pc_auto(pc_free) char *text = pc__buf_steal(tail);

	if (!text)
		return pc_error_oom(err);
	return pc__setting_error(reading, err, "%s%s", what, text);
}

int pc__setting_misfit(const struct pc__reading *reading, const struct pc__toml_value *value,
		       struct pc_error *err)
{
	struct pc__buf expected = PC__BUF_INIT;

	print_expected(reading->row, &expected);

	pc_auto(pc_free) char *text = pc__buf_steal(&expected);

	if (!text)
		return pc_error_oom(err);
	return pc__setting_wrong_kind(reading, value, text, err);
}

int pc__setting_unreadable(const struct pc__reading *reading, const char *text,
			   struct pc_error *err)
{
	struct pc__buf tail = PC__BUF_INIT;
	char shown[PC__QUOTED_MAX], what[PC__QUOTED_MAX + 40];

	print_expected(reading->row, &tail);
	pc__buf_puts(&tail, " is expected");
	snprintf(what, sizeof(what), "%s is not understood; ", pc__quoted(text, shown));
	return error_with(reading, err, what, &tail);
}

int pc__setting_out_of_range(const struct pc__reading *reading, const char *shown,
			     struct pc_error *err)
{
	struct pc__buf tail = PC__BUF_INIT;
	char what[PC__QUOTED_MAX + 40];

	pc__setting_print_range(reading->row, &tail);
	snprintf(what, sizeof(what), "%s is out of range; use ", shown);
	return error_with(reading, err, what, &tail);
}

int pc__setting_unknown(const struct pc__reading *reading, const char *key,
			const struct pc__setting *rows, size_t count, const char *section,
			struct pc_error *err)
{
	const struct pc__setting named = { .key = key };
	struct pc__reading unknown = *reading;
	struct pc__nearest nearest = PC__NEAREST_INIT(key);
	struct pc__buf all = PC__BUF_INIT;

	unknown.row = &named;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].section, section) != 0)
			continue;
		pc__nearest_offer(&nearest, rows[i].key);
		pc__buf_printf(&all, "%s%s", all.length ? ", " : "", rows[i].key);
	}
	if (nearest.best) {
		pc__buf_fini(&all);
		return pc__setting_error(&unknown, err, "unknown key; did you mean \"%s\"?",
					 nearest.best);
	}
	return error_with(&unknown, err, "unknown key; known here: ", &all);
}
