/* SPDX-License-Identifier: MIT */
/* table.c - what rbees-pool prints for people: tables, sizes, durations. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#include <poolcore/text.h>

/* How many columns of a terminal a text takes: its characters, as UTF-8 counts them. Wide ones are
 * not told apart. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void table_init(struct table *table, const char *const *headings, size_t columns)
{
	*table = (struct table){ .headings = headings, .columns = columns };
}

void table_cell(struct table *table, const char *fmt, ...)
{
	va_list args;
	char text[512];

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (table->rows == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 64;
		char **cells = pc_realloc(table->cells, capacity * sizeof(*cells));

		if (!cells) {
			table->failed = true;
			return;
		}
		table->cells = cells;
		table->capacity = capacity;
	}
	char *copy = pc_strdup(text);

	if (copy)
		table->cells[table->rows++] = copy;
	else
		table->failed = true;
}

static void print_row(const char *const *cells, const size_t *widths, size_t columns)
{
	for (size_t i = 0; i < columns; i++) {
		/* No padding behind the last one, so that lines do not wrap for nothing. */
		size_t pad = i + 1 < columns ? widths[i] - width_of(cells[i]) + 2 : 0;

		printf("%s%*s", cells[i], (int)pad, "");
	}
	putchar('\n');
}

enum exit_code table_print(struct table *table, const struct cli *cli, const char *empty)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 };
	size_t rows = table->rows / table->columns;
	bool failed = table->failed;

	for (size_t i = 0; i < table->columns; i++)
		widths[i] = width_of(table->headings[i]);
	for (size_t i = 0; i < rows * table->columns; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	if (rows == 0) {
		puts(empty);
	} else {
		fputs(cli->color ? "\033[1m" : "", stdout);
		print_row(table->headings, widths, table->columns);
		fputs(cli->color ? "\033[0m" : "", stdout);
	}
	for (size_t i = 0; i < rows; i++)
		print_row((const char *const *)table->cells + i * table->columns, widths,
			  table->columns);
	for (size_t i = 0; i < table->rows; i++)
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
	return pc_format_duration(ms > 0 ? (uint64_t)ms * 1000000 : 0, out);
}

enum exit_code print_json(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2)) || putchar('\n') == EOF) {
		fputs("rbees-pool: cannot write the answer\n", stderr);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}
