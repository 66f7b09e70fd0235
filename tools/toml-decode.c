/* SPDX-License-Identifier: MIT */
/*
 * toml-decode.c - reads TOML from standard input and writes it to standard output as the tagged
 * JSON of the toml-test suite (https://github.com/toml-lang/toml-test), which so holds the
 * library's reader against the specification. Exit 0, or 1 with the message on standard error.
 */
#include "base/text.h"
#include "base/toml.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void put_quoted(struct pc__buf *out, const char *text, size_t length)
{
	pc__buf_puts(out, "\"");
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\')
			pc__buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			pc__buf_printf(out, "\\u%04x", c);
		else
			pc__buf_append(out, &text[i], 1);
	}
	pc__buf_puts(out, "\"");
}

/* The shortest decimal that reads back as the same number. */
static void put_float(struct pc__buf *out, double number)
{
	char text[32];
	int digits = 1;

	if (isnan(number) || isinf(number)) {
		pc__buf_puts(out, isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
		return;
	}
	do
		snprintf(text, sizeof(text), "%.*g", digits, number);
	while (strtod(text, NULL) != number && digits++ < 17);
	pc__buf_puts(out, text);
}

static void put_date(struct pc__buf *out, const struct pc__toml_datetime *when)
{
	pc__buf_printf(out, "%04d-%02d-%02d", when->year, when->month, when->day);
}

static void put_time(struct pc__buf *out, const struct pc__toml_datetime *when)
{
	pc__buf_printf(out, "%02d:%02d:%02d", when->hour, when->minute, when->second);
	if (when->nanosecond % 1000000)
		pc__buf_printf(out, ".%09d", when->nanosecond);
	else if (when->nanosecond)
		pc__buf_printf(out, ".%03d", when->nanosecond / 1000000);
}

static void put_offset(struct pc__buf *out, int minutes)
{
	if (minutes)
		pc__buf_printf(out, "%c%02d:%02d", minutes < 0 ? '-' : '+', abs(minutes) / 60,
			       abs(minutes) % 60);
	else
		pc__buf_puts(out, "Z");
}

static void put_datetime(struct pc__buf *out, enum pc__toml_kind kind,
			 const struct pc__toml_datetime *when)
{
	if (kind != PC__TOML_LOCAL_TIME)
		put_date(out, when);
	if (kind == PC__TOML_OFFSET_DATETIME || kind == PC__TOML_LOCAL_DATETIME)
		pc__buf_puts(out, "T");
	if (kind != PC__TOML_LOCAL_DATE)
		put_time(out, when);
	if (kind == PC__TOML_OFFSET_DATETIME)
		put_offset(out, when->offset_minutes);
}

/* The suite's name for the kind of a scalar. */
static const char *tag(enum pc__toml_kind kind)
{
	switch (kind) {
	case PC__TOML_INTEGER:
		return "integer";
	case PC__TOML_FLOAT:
		return "float";
	case PC__TOML_BOOLEAN:
		return "bool";
	case PC__TOML_OFFSET_DATETIME:
		return "datetime";
	case PC__TOML_LOCAL_DATETIME:
		return "datetime-local";
	case PC__TOML_LOCAL_DATE:
		return "date-local";
	case PC__TOML_LOCAL_TIME:
		return "time-local";
	default:
		return "string";
	}
}

static void put_scalar(struct pc__buf *out, const struct pc__toml_value *value)
{
	enum pc__toml_kind kind = pc__toml_kind(value);
	struct pc__toml_datetime when;
	size_t length;
	int64_t integer;
	double number;
	bool boolean;

	pc__buf_printf(out, "{\"type\": \"%s\", \"value\": ", tag(kind));
	if (kind == PC__TOML_STRING) {
		const char *text = pc__toml_string(value, &length);

		put_quoted(out, text, length);
		pc__buf_puts(out, "}");
		return;
	}
	pc__buf_puts(out, "\"");
	if (!pc__toml_integer(value, &integer))
		pc__buf_printf(out, "%lld", (long long)integer);
	else if (!pc__toml_boolean(value, &boolean))
		pc__buf_puts(out, boolean ? "true" : "false");
	else if (!pc__toml_float(value, &number))
		put_float(out, number);
	else if (!pc__toml_datetime(value, &when))
		put_datetime(out, kind, &when);
	pc__buf_puts(out, "\"}");
}

static void put_line(struct pc__buf *out, unsigned depth)
{
	pc__buf_puts(out, "\n");
	for (unsigned i = 0; i < depth; i++)
		pc__buf_puts(out, "\t");
}

static void put_value(struct pc__buf *out, const struct pc__toml_value *value, unsigned depth);

static void put_table(struct pc__buf *out, const struct pc__toml_value *table, unsigned depth)
{
	size_t size = pc__toml_table_size(table);

	pc__buf_puts(out, "{");
	for (size_t i = 0; i < size; i++) {
		const struct pc__toml_entry *entry = pc__toml_table_entry(table, i);

		pc__buf_puts(out, i ? "," : "");
		put_line(out, depth + 1);
		put_quoted(out, entry->key, entry->key_length);
		pc__buf_puts(out, ": ");
		put_value(out, entry->value, depth + 1);
	}
	if (size)
		put_line(out, depth);
	pc__buf_puts(out, "}");
}

static void put_array(struct pc__buf *out, const struct pc__toml_value *array, unsigned depth)
{
	size_t length = pc__toml_array_length(array);

	pc__buf_puts(out, "[");
	for (size_t i = 0; i < length; i++) {
		pc__buf_puts(out, i ? "," : "");
		put_line(out, depth + 1);
		put_value(out, pc__toml_array_item(array, i), depth + 1);
	}
	if (length)
		put_line(out, depth);
	pc__buf_puts(out, "]");
}

/* The reader bounds the depth. */
static void put_value(struct pc__buf *out, const struct pc__toml_value *value, unsigned depth)
{
	switch (pc__toml_kind(value)) {
	case PC__TOML_TABLE:
		put_table(out, value, depth);
		break;
	case PC__TOML_ARRAY:
		put_array(out, value, depth);
		break;
	default:
		put_scalar(out, value);
		break;
	}
}

/* Not by opening /dev/stdin, which fails where standard input is a socket. */
static int read_input(struct pc__toml_doc **ret_doc, struct pc_error *err)
{
	struct pc__buf in = PC__BUF_INIT;
	char block[16384];
	size_t got;
	int rc;

	while (in.length <= PC__TOML_MAX_BYTES && (got = fread(block, 1, sizeof(block), stdin)) > 0)
		pc__buf_append(&in, block, got);
	if (in.failed)
		rc = pc_error_oom(err);
	else if (ferror(stdin))
		rc = pc_error_sys(err, PC_E_IO, errno, "cannot read standard input");
	else
		rc = pc__toml_parse("stdin", in.data ? in.data : "", in.length, ret_doc, err);
	pc__buf_fini(&in);
	return rc;
}

static int write_output(const struct pc__toml_doc *doc, struct pc_error *err)
{
	struct pc__buf out = PC__BUF_INIT;
	int rc = 0;

	put_value(&out, pc__toml_root(doc), 0);
	pc__buf_puts(&out, "\n");
	if (out.failed)
		rc = pc_error_oom(err);
	else if (fwrite(out.data, 1, out.length, stdout) != out.length || fflush(stdout))
		rc = pc_error_sys(err, PC_E_IO, errno, "cannot write standard output");
	pc__buf_fini(&out);
	return rc;
}

int main(void)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (read_input(&doc, &err) || write_output(doc, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
