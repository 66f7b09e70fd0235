/* SPDX-License-Identifier: MIT */
/*
 * output.c - what rbees-pool writes: text of others without its control characters, tables, sizes,
 * durations, JSON. Whether the writing succeeded is asked once, at the end (main.c).
 */
#include <poolcore/text.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/cli.h"

/* ---- text ---- */

/* How many bytes at `text` make up a control character, 0 for none. C1 is U+0080 to U+009F, two
 * bytes in UTF-8. */
static size_t control_length(const char *text, size_t length, enum text_form form)
{
	unsigned char c = (unsigned char)text[0];

	if (form == TEXT_LINES && (c == '\n' || c == '\t'))
		return 0;
	if (c < 0x20 || c == 0x7f)
		return 1;
	if (c == 0xc2 && length > 1 && (unsigned char)text[1] < 0xa0)
		return 2;
	return 0;
}

/* Unicode has pictures of the old control characters from U+2400 on (DEL's is U+2421); the others
 * get the replacement character, U+FFFD. */
static void put_picture(FILE *out, unsigned char c)
{
	if (c == 0xc2)
		fputs("\xef\xbf\xbd", out);
	else
		fprintf(out, "\xe2\x90%c", 0x80 + (c == 0x7f ? 0x21 : c));
}

void put_text(FILE *out, const char *text, size_t length, enum text_form form)
{
	size_t written = 0;

	for (size_t i = 0; form != TEXT_RAW && i < length;) {
		size_t control = control_length(text + i, length - i, form);

		if (control > 0) {
			fwrite(text + written, 1, i - written, out);
			put_picture(out, (unsigned char)text[i]);
			written = i + control;
		}
		i += control ? control : 1;
	}
	fwrite(text + written, 1, length - written, out);
}

void say(FILE *out, const char *fmt, ...)
{
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put_text(out, text, strlen(text), TEXT_LINES);
}

const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* ---- JSON ---- */

/* jansson escapes the control characters of ASCII, but neither DEL nor C1. */
static enum exit_code dump(const struct cli *cli, const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags);

	if (!text) {
		say(stderr, "rbees-pool: %s\n", pc_error_text(PC_E_OUT_OF_MEMORY));
		return EXIT_FAILED;
	}
	put_text(stdout, text, strlen(text), cli->terminal ? TEXT_LINES : TEXT_RAW);
	putchar('\n');
	free(text);
	return EXIT_OK;
}

enum exit_code print_json(const struct cli *cli, const json_t *value)
{
	return dump(cli, value, JSON_INDENT(2));
}

enum exit_code print_json_line(const struct cli *cli, const json_t *value)
{
	return dump(cli, value, JSON_COMPACT);
}

/* ---- tables ---- */

/* How many columns of a terminal a text takes. Ideographs take two, combining marks none; a picture
 * stands for each control character, and what the C library does not know counts as one. */
static size_t width_of(const char *text)
{
	mbstate_t state = { 0 };
	size_t length = strlen(text), width = 0;

	while (length > 0) {
		wchar_t character;
		size_t taken = mbrtowc(&character, text, length, &state);
		int columns = 1;

		if (taken == 0 || taken > length) {
			taken = 1;
			memset(&state, 0, sizeof(state));
		} else if (wcwidth(character) >= 0) {
			columns = wcwidth(character);
		}
		width += (size_t)columns;
		text += taken;
		length -= taken;
	}
	return width;
}

void table_init(struct table *table, const char *const *headings, size_t columns)
{
	*table = (struct table){ .headings = headings, .columns = columns };
}

static bool grow(struct table *table)
{
	size_t capacity = table->capacity ? table->capacity * 2 : 64;
	char **cells = pc_realloc(table->cells, capacity * sizeof(*cells));

	if (!cells)
		return false;
	table->cells = cells;
	table->capacity = capacity;
	return true;
}

void table_cell(struct table *table, const char *fmt, ...)
{
	char text[512], *copy;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	copy = pc_strndup(text, pc_utf8_valid_prefix(text, strlen(text)));
	if (copy && (table->count < table->capacity || grow(table))) {
		table->cells[table->count++] = copy;
	} else {
		pc_free(copy);
		table->failed = true;
	}
}

static void print_row(const char *const *cells, const size_t *widths, size_t columns)
{
	for (size_t i = 0; i < columns; i++) {
		/* No padding behind the last one, so that lines do not wrap for nothing. */
		size_t pad = i + 1 < columns ? widths[i] - width_of(cells[i]) + 2 : 0;

		put_text(stdout, cells[i], strlen(cells[i]), TEXT_CELL);
		printf("%*s", (int)pad, "");
	}
	putchar('\n');
}

static void print_rows(const struct table *table, const struct cli *cli)
{
	const char *const *cells = (const char *const *)table->cells;
	size_t widths[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t column = 0; column < table->columns; column++) {
		widths[column] = width_of(table->headings[column]);
		for (size_t i = column; i < table->count; i += table->columns) {
			size_t width = width_of(cells[i]);

			if (width > widths[column])
				widths[column] = width;
		}
	}
	fputs(cli->color ? "\033[1m" : "", stdout);
	print_row(table->headings, widths, table->columns);
	fputs(cli->color ? "\033[0m" : "", stdout);
	for (size_t i = 0; i < table->count; i += table->columns)
		print_row(cells + i, widths, table->columns);
}

enum exit_code table_print(struct table *table, const struct cli *cli, const char *empty)
{
	bool failed = table->failed;

	/* A table that lacks cells would tell lies. */
	if (failed)
		say(stderr, "rbees-pool: %s\n", pc_error_text(PC_E_OUT_OF_MEMORY));
	else if (table->count == 0)
		say(stdout, "%s\n", empty);
	else
		print_rows(table, cli);
	for (size_t i = 0; i < table->count; i++)
		pc_free(table->cells[i]);
	pc_free(table->cells);
	return failed ? EXIT_FAILED : EXIT_OK;
}

const char *human_bytes(json_int_t bytes, char out[32])
{
	return pc_format_size(bytes > 0 ? (uint64_t)bytes : 0, out);
}

const char *human_ms(json_int_t ms, char out[32])
{
	/* Below a millisecond nothing was measured; "0 us" would promise more. */
	if (ms > 0)
		return pc_format_duration((uint64_t)ms * 1000000, out);
	snprintf(out, 32, "0 s");
	return out;
}
