/* SPDX-License-Identifier: MIT */
/* Unit tests of daemon/logbook.c: lines out of pieces, bounds, bytes that are no text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/logbook.h"

static char seen[1 << 16];

static void collect(void *ctx, const char *text)
{
	(void)ctx;
	strcat(seen, text);
	strcat(seen, "|");
}

static const char *lines(struct logbook *book, size_t count)
{
	seen[0] = '\0';
	logbook_read(book, count, collect, NULL);
	return seen;
}

static void write_text(struct logbook *book, const char *text)
{
	logbook_write(book, text, strlen(text), NULL, NULL);
}

static void pieces_become_lines(void **state)
{
	struct logbook *book = logbook_create();

	(void)state;
	write_text(book, "one\ntw");
	assert_string_equal(lines(book, 10), "one|");
	write_text(book, "o\n\nthree");
	assert_string_equal(lines(book, 10), "one|two||");
	logbook_finish(book, NULL, NULL);
	logbook_finish(book, NULL, NULL);
	assert_string_equal(lines(book, 10), "one|two||three|");
	assert_string_equal(lines(book, 2), "|three|");
	assert_string_equal(lines(book, 0), "");
	logbook_unref(book);
}

static void each_line_is_announced_once(void **state)
{
	struct logbook *book = logbook_create();

	(void)state;
	seen[0] = '\0';
	logbook_write(book, "a\nb\nc", 5, collect, NULL);
	assert_string_equal(seen, "a|b|");
	logbook_finish(book, collect, NULL);
	assert_string_equal(seen, "a|b|c|");
	logbook_unref(book);
}

static void only_the_last_lines_are_kept(void **state)
{
	struct logbook *book = logbook_create();
	char text[32], first[64], last[64];

	(void)state;
	for (int i = 0; i < 3 * LOGBOOK_LINES; i++) {
		snprintf(text, sizeof(text), "line %d\n", i);
		write_text(book, text);
	}
	snprintf(first, sizeof(first), "line %d|", 2 * LOGBOOK_LINES);
	snprintf(last, sizeof(last), "|line %d|", 3 * LOGBOOK_LINES - 1);
	lines(book, SIZE_MAX);
	assert_memory_equal(seen, first, strlen(first));
	assert_string_equal(seen + strlen(seen) - strlen(last), last);
	logbook_unref(book);
}

static void a_long_line_is_cut(void **state)
{
	struct logbook *book = logbook_create();
	char text[2 * LOGBOOK_LINE_MAX];

	(void)state;
	memset(text, 'x', sizeof(text));
	logbook_write(book, text, sizeof(text), NULL, NULL);
	write_text(book, "y\nnext\n");
	lines(book, 2);
	assert_int_equal(strchr(seen, '|') - seen, LOGBOOK_LINE_MAX);
	assert_string_equal(strchr(seen, '|'), "|next|");
	logbook_unref(book);
}

static void what_is_kept_is_text(void **state)
{
	struct logbook *book = logbook_create();

	(void)state;
	logbook_write(book, "a\xff\xfe\x00z\xc3\xa9\n", 8, NULL, NULL);
	assert_string_equal(lines(book, 1), "a???z\xc3\xa9|");
	/* A character that the line's bound cuts in two does not survive as a half. */
	for (int i = 0; i < LOGBOOK_LINE_MAX - 1; i++)
		write_text(book, "x");
	write_text(book, "\xc3\xa9\n");
	lines(book, 1);
	assert_int_equal(strlen(seen), LOGBOOK_LINE_MAX + 1);
	assert_int_equal(seen[LOGBOOK_LINE_MAX - 1], '?');
	logbook_unref(book);
}

static void the_last_words_are_not_empty(void **state)
{
	struct logbook *book = logbook_create();
	char last[8];

	(void)state;
	logbook_last(book, last, sizeof(last));
	assert_string_equal(last, "");
	write_text(book, "fatal error\n\n\n");
	logbook_last(book, last, sizeof(last));
	assert_string_equal(last, "fatal e");
	/* Cut between characters. */
	write_text(book, "abcde\xe2\x82\xac\n");
	logbook_last(book, last, sizeof(last));
	assert_string_equal(last, "abcde");
	write_text(book, "abcd\xe2\x82\xac\n");
	logbook_last(book, last, sizeof(last));
	assert_string_equal(last, "abcd\xe2\x82\xac");
	logbook_unref(book);
}

/* What a stub kept of the end is written if the pipe did not bring it. */
static void an_end_that_was_not_heard_is_written(void **state)
{
#define NOTE "[the end of the worker's output was not heard in time; it is:]|"
	static const char x70[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	static const struct {
		const char *pieces[3];
		const char *tail;
		const char *lines;
	} rows[] = {
		{ { "one\n", "two\n" }, "one\ntwo\n", "one|two|" },
		{ { "one\n", "tw", "o" }, "one\ntwo", "one|two|" },
		{ { "much before\none\n" }, "one\n", "much before|one|" },
		{ { "one\n" }, "one\ntwo\n", "one|" NOTE "one|two|" },
		{ { "one\n", "tw" }, "two\n", "one|tw|" NOTE "two|" },
		{ { "two\n" }, "one\ntwo\n", "two|" NOTE "one|two|" },
		{ { "" }, "\xff\xff\xff", NOTE "???|" },
		{ { "" }, "", "" },
		{ { "one\n" }, "", "one|" },
		{ { x70, x70, "end\n" }, "xxend\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct logbook *book = logbook_create();

		for (size_t p = 0; p < 3 && rows[i].pieces[p]; p++)
			write_text(book, rows[i].pieces[p]);
		logbook_write_tail(book, rows[i].tail, NULL, NULL);
		logbook_finish(book, NULL, NULL);
		if (rows[i].lines)
			assert_string_equal(lines(book, 10), rows[i].lines);
		else
			assert_null(strstr(lines(book, 10), NOTE));
		logbook_unref(book);
	}

	/* A stub's tail has '?' for NUL. */
	struct logbook *book = logbook_create();

	logbook_write(book, "a\0b\n", 4, NULL, NULL);
	logbook_write_tail(book, "a?b\n", NULL, NULL);
	assert_string_equal(lines(book, 10), "a?b|");
	logbook_unref(book);
}

static void a_reader_keeps_it_alive(void **state)
{
	struct logbook *book = logbook_create();
	struct logbook *reader = logbook_ref(book);

	(void)state;
	write_text(book, "words\n");
	logbook_unref(book);
	assert_string_equal(lines(reader, 1), "words|");
	logbook_unref(reader);
	logbook_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_become_lines),
		cmocka_unit_test(each_line_is_announced_once),
		cmocka_unit_test(only_the_last_lines_are_kept),
		cmocka_unit_test(a_long_line_is_cut),
		cmocka_unit_test(what_is_kept_is_text),
		cmocka_unit_test(the_last_words_are_not_empty),
		cmocka_unit_test(an_end_that_was_not_heard_is_written),
		cmocka_unit_test(a_reader_keeps_it_alive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
