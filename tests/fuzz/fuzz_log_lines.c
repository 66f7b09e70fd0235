/* SPDX-License-Identifier: MIT */
/*
 * fuzz_log_lines.c - bytes of a worker's log pipe, cut anywhere, into its logbook. The first two
 * bytes choose how they are cut. Lines must be the same however that is, bounded, UTF-8 without NUL
 * or newline, and as many as were written; the book keeps the last of them.
 */
#include <string.h>

#include "base/text.h"
#include "daemon/logbook.h"
#include "tests/fuzz/fuzz.h"

/* What came through the callback, each with its NUL, and its hash. */
struct lines {
	size_t count;
	uint64_t hash;
	char last[LOGBOOK_LINES][LOGBOOK_LINE_MAX + 1];
};

static void check_line(const char *text)
{
	size_t length = strlen(text);

	check(length <= LOGBOOK_LINE_MAX);
	check(!strchr(text, '\n'));
	check(pc__utf8_valid_prefix(text, length) == length);
}

static void note_line(void *ctx, const char *text)
{
	struct lines *lines = ctx;

	check_line(text);
	strcpy(lines->last[lines->count++ % LOGBOOK_LINES], text);
	lines->hash = lines->hash * 31 + pc__hash_text(text);
}

struct reading {
	const struct lines *lines;
	size_t at;
};

/* The book holds what the callback was told, in that order. */
static void compare_line(void *ctx, const char *text)
{
	struct reading *reading = ctx;

	check_line(text);
	check(strcmp(reading->lines->last[reading->at++ % LOGBOOK_LINES], text) == 0);
}

static void write_book(struct lines *lines, const char *data, size_t size, size_t first,
		       size_t step)
{
	struct logbook *book = logbook_create();
	size_t at = 0, piece = first < size ? first : size;

	check(book);
	lines->count = 0;
	lines->hash = 0;
	while (at < size) {
		logbook_write(book, data + at, piece, note_line, lines);
		at += piece;
		piece = size - at < step ? size - at : step;
	}
	logbook_finish(book, note_line, lines);
	logbook_finish(book, note_line, lines);

	size_t wanted = lines->count % (LOGBOOK_LINES + 2);
	size_t kept = lines->count < LOGBOOK_LINES ? lines->count : LOGBOOK_LINES;
	struct reading reading = { lines, lines->count - (wanted < kept ? wanted : kept) };
	char tail[64];

	logbook_read(book, wanted, compare_line, &reading);
	check(reading.at == lines->count);
	logbook_last(book, tail, sizeof(tail));
	check_line(tail);
	check(strlen(tail) < sizeof(tail));
	logbook_unref(book);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct lines whole, cut;
	const char *data = (const char *)bytes + 2;
	size_t newlines = 0;

	if (size < 2)
		return 0;
	size -= 2;
	write_book(&whole, data, size, size, size);
	write_book(&cut, data, size, bytes[0], 1 + bytes[1] * 5u);
	check(whole.count == cut.count && whole.hash == cut.hash);
	for (size_t i = 0; i < size; i++)
		newlines += data[i] == '\n';
	check(whole.count == newlines + (size > 0 && data[size - 1] != '\n'));
	return 0;
}
