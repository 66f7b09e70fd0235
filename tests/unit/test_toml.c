/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of base/toml.h: what callers see of a document, its places and its errors, limits and
 * memory. What the language accepts is in tests/toml/valid, what it refuses in
 * test_toml_invalid.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/toml.h"
#include "tests/unit/fail_alloc.h"

static struct pc__toml_doc *read_text(const char *text)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__toml_doc *doc = NULL;

	if (pc__toml_parse("test.toml", text, strlen(text), &doc, &err))
		fail_msg("refused: %s", err.message);
	assert_non_null(doc);
	return doc;
}

static const struct pc__toml_value *get(const struct pc__toml_doc *doc, const char *key)
{
	const struct pc__toml_value *value = pc__toml_get(pc__toml_root(doc), key);

	assert_non_null(value);
	return value;
}

static void assert_pos(struct pc__toml_pos pos, unsigned line, unsigned column)
{
	assert_int_equal(pos.line, line);
	assert_int_equal(pos.column, column);
}

/* ---- reading ---- */

static void scalars(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text("text = \"a\\u0000b\"\n"
								       "number = -42\n"
								       "share = 0.5\n"
								       "on = true\n");
	size_t length;
	int64_t integer;
	double real;
	bool boolean;

	(void)state;
	assert_string_equal(pc__toml_name(doc), "test.toml");
	assert_memory_equal(pc__toml_string(get(doc, "text"), &length), "a\0b", 4);
	assert_int_equal(length, 3);
	assert_int_equal(pc__toml_integer(get(doc, "number"), &integer), 0);
	assert_int_equal(integer, -42);
	assert_int_equal(pc__toml_float(get(doc, "share"), &real), 0);
	assert_true(real == 0.5);
	assert_int_equal(pc__toml_boolean(get(doc, "on"), &boolean), 0);
	assert_true(boolean);
}

static void wrong_kinds_and_absence(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text("a = 1\nb = 'x'\n");
	const struct pc__toml_value *a = get(doc, "a"), *b = get(doc, "b");
	struct pc__toml_datetime when;
	size_t length = 7;
	int64_t integer = 7;
	double real = 7;
	bool boolean = true;

	(void)state;
	assert_null(pc__toml_get(pc__toml_root(doc), "c"));
	assert_null(pc__toml_get(a, "c"));
	assert_null(pc__toml_get(NULL, "c"));
	assert_null(pc__toml_string(a, &length));
	assert_null(pc__toml_string(NULL, NULL));
	assert_int_equal(pc__toml_integer(b, &integer), -1);
	assert_int_equal(pc__toml_integer(NULL, &integer), -1);
	assert_int_equal(pc__toml_float(a, &real), -1); /* an integer is not taken for a float */
	assert_int_equal(pc__toml_boolean(a, &boolean), -1);
	assert_int_equal(pc__toml_datetime(a, &when), -1);
	assert_int_equal(pc__toml_table_size(a), 0);
	assert_null(pc__toml_table_entry(a, 0));
	assert_null(pc__toml_table_entry(pc__toml_root(doc), 2));
	assert_int_equal(pc__toml_array_length(pc__toml_root(doc)), 0);
	assert_null(pc__toml_array_item(a, 0));
	assert_pos(pc__toml_pos(NULL), 0, 0);
	/* Outputs are written on success only. */
	assert_int_equal(length, 7);
	assert_int_equal(integer, 7);
	assert_true(real == 7 && boolean);
}

static void integers_at_their_ends(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} cases[] = {
		{ "a = 9223372036854775807", INT64_MAX },
		{ "a = -9223372036854775808", INT64_MIN },
		{ "a = 0x7fffffffffffffff", INT64_MAX },
		{ "a = 0o777777777777777777777", INT64_MAX },
		{ "a = 0b0", 0 },
		{ "a = 0xDEAD_beef", 0xdeadbeef },
		{ "a = 0x00_00", 0 },
		{ "a = +1_000", 1000 },
		{ "a = -0", 0 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(cases[i].text);
		int64_t value;

		assert_int_equal(pc__toml_integer(get(doc, "a"), &value), 0);
		assert_true(value == cases[i].value);
	}
}

static void floats(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(
		"a = [inf, -inf, nan, -nan, 1e3, -0.0, 1_0.0_1e+0_2, 5e-324, 1e-999]");
	static const double values[] = {
		INFINITY, -INFINITY, NAN, NAN, 1000, -0.0, 1001, 5e-324, 0
	};
	const struct pc__toml_value *a = get(doc, "a");

	(void)state;
	assert_int_equal(pc__toml_array_length(a), PC_ARRAY_LEN(values));
	for (size_t i = 0; i < PC_ARRAY_LEN(values); i++) {
		double value;

		assert_int_equal(pc__toml_float(pc__toml_array_item(a, i), &value), 0);
		assert_int_equal(isnan(value), isnan(values[i]));
		if (!isnan(value))
			assert_true(value == values[i]);
		if (i == 5)
			assert_true(signbit(value));
	}
}

/* A program that has set its user's locale reads the same numbers. */
static void floats_in_another_locale(void **state)
{
	static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" };
	double value;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++) {
		if (setlocale(LC_NUMERIC, names[i]))
			break;
	}

	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text("a = 2.5");

	setlocale(LC_NUMERIC, "C");
	assert_int_equal(pc__toml_float(get(doc, "a"), &value), 0);
	assert_true(value == 2.5);
}

static void datetimes(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(
		"a = 1979-05-27T00:32:00.123456789123-07:30\n"
		"b = 2000-02-29 23:59:60\n"
		"c = 0000-12-31\n"
		"d = 07:32:00.5\n"
		"e = 1979-05-27t07:32:00z\n");
	struct pc__toml_datetime when;

	(void)state;
	assert_int_equal(pc__toml_kind(get(doc, "a")), PC__TOML_OFFSET_DATETIME);
	assert_int_equal(pc__toml_datetime(get(doc, "a"), &when), 0);
	assert_int_equal(when.year, 1979);
	assert_int_equal(when.month, 5);
	assert_int_equal(when.day, 27);
	assert_int_equal(when.hour, 0);
	assert_int_equal(when.minute, 32);
	assert_int_equal(when.second, 0);
	assert_int_equal(when.nanosecond, 123456789);
	assert_int_equal(when.offset_minutes, -450);

	assert_int_equal(pc__toml_kind(get(doc, "b")), PC__TOML_LOCAL_DATETIME);
	assert_int_equal(pc__toml_datetime(get(doc, "b"), &when), 0);
	assert_int_equal(when.day, 29);
	assert_int_equal(when.second, 60);
	assert_int_equal(when.offset_minutes, 0);

	assert_int_equal(pc__toml_kind(get(doc, "c")), PC__TOML_LOCAL_DATE);
	assert_int_equal(pc__toml_datetime(get(doc, "c"), &when), 0);
	assert_int_equal(when.year, 0);
	assert_int_equal(when.hour, 0);

	assert_int_equal(pc__toml_kind(get(doc, "d")), PC__TOML_LOCAL_TIME);
	assert_int_equal(pc__toml_datetime(get(doc, "d"), &when), 0);
	assert_int_equal(when.nanosecond, 500000000);
	assert_int_equal(when.year, 0);

	assert_int_equal(pc__toml_kind(get(doc, "e")), PC__TOML_OFFSET_DATETIME);
}

/* ---- places ---- */

static void entries_in_order_with_places(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(
		"# comment\n"
		"z = 1\n"
		"  a = [\n"
		"\t2, 3]\n"
		"\"\xc3\xa9\xc3\xa9\" = 'x'\n");
	const struct pc__toml_value *root = pc__toml_root(doc);
	const struct pc__toml_entry *entry;

	(void)state;
	assert_int_equal(pc__toml_table_size(root), 3);
	assert_pos(pc__toml_pos(root), 1, 1);

	entry = pc__toml_table_entry(root, 0);
	assert_string_equal(entry->key, "z");
	assert_pos(entry->pos, 2, 1);
	assert_pos(pc__toml_pos(entry->value), 2, 5);

	entry = pc__toml_table_entry(root, 1);
	assert_string_equal(entry->key, "a");
	assert_pos(entry->pos, 3, 3);
	assert_pos(pc__toml_pos(entry->value), 3, 7);
	assert_pos(pc__toml_pos(pc__toml_array_item(entry->value, 0)), 4, 2);
	assert_pos(pc__toml_pos(pc__toml_array_item(entry->value, 1)), 4, 5);

	/* Columns count characters: two of two bytes each, in quotes, stand before " = ". */
	entry = pc__toml_table_entry(root, 2);
	assert_int_equal(entry->key_length, 4);
	assert_pos(entry->pos, 5, 1);
	assert_pos(pc__toml_pos(entry->value), 5, 8);
}

static void places_of_tables(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text("[a.b]\n"
								       "x.y = 1\n"
								       "\n"
								       "[a]\n"
								       "[[m]]\n"
								       "[[m]]\n"
								       "i = { j.k = 1 }\n");
	const struct pc__toml_value *m = get(doc, "m");
	const struct pc__toml_entry *a = pc__toml_find(pc__toml_root(doc), "a", 1);

	(void)state;
	/* First named on line 1, defined on line 4. */
	assert_pos(a->pos, 1, 2);
	assert_pos(pc__toml_pos(a->value), 4, 2);
	assert_pos(pc__toml_pos(pc__toml_get(a->value, "b")), 1, 4);
	assert_pos(pc__toml_pos(m), 5, 3);
	assert_int_equal(pc__toml_array_length(m), 2);
	assert_pos(pc__toml_pos(pc__toml_array_item(m, 0)), 5, 3);
	assert_pos(pc__toml_pos(pc__toml_array_item(m, 1)), 6, 3);

	const struct pc__toml_value *i = pc__toml_get(pc__toml_array_item(m, 1), "i");

	assert_pos(pc__toml_pos(i), 7, 5);
	assert_pos(pc__toml_pos(pc__toml_get(i, "j")), 7, 7);
}

static void places_after_crlf_and_bom(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(
		"\xef\xbb\xbf"
		"a = 1\r\nb = \"\"\"\r\nx\r\ny\"\"\"\r\n  c = 2\r\n");

	(void)state;
	assert_pos(pc__toml_pos(get(doc, "a")), 1, 5);
	assert_string_equal(pc__toml_string(get(doc, "b"), NULL), "x\ny");
	assert_pos(pc__toml_pos(get(doc, "c")), 5, 7);
}

/* ---- big documents ---- */

static void many_keys_are_found(void **state)
{
	enum { KEYS = 5000 };
	struct pc__buf text = PC__BUF_INIT;
	char key[32];

	(void)state;
	for (int i = 0; i < KEYS; i++)
		pc__buf_printf(&text, "key-%d = %d\n", i, i);
	assert_false(text.failed);

	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(text.data);

	for (int i = 0; i < KEYS; i++) {
		int64_t value;

		snprintf(key, sizeof(key), "key-%d", i);
		assert_int_equal(pc__toml_integer(get(doc, key), &value), 0);
		assert_int_equal(value, i);
		assert_string_equal(pc__toml_table_entry(pc__toml_root(doc), (size_t)i)->key, key);
	}
	assert_null(pc__toml_get(pc__toml_root(doc), "key-5000"));

	/* A duplicate is seen among many as among few. */
	struct pc_error err = PC_ERROR_INIT;
	struct pc__toml_doc *none = NULL;

	pc__buf_puts(&text, "key-77 = 0\n");
	assert_int_equal(pc__toml_parse("t", text.data, text.length, &none, &err),
			 PC_E_INVALID_CONFIG);
	assert_string_equal(err.message, "t:5001:1: 'key-77' is defined already, as an integer on "
					 "line 78; every key is defined once");
	assert_null(none);
	pc__buf_fini(&text);
}

/* Columns of a long line are counted once, not anew for each value. */
static void one_long_line(void **state)
{
	enum { ITEMS = 200000 };
	struct pc__buf text = PC__BUF_INIT;

	(void)state;
	pc__buf_puts(&text, "a=[");
	for (int i = 0; i < ITEMS; i++)
		pc__buf_puts(&text, "1,");
	pc__buf_puts(&text, "]");

	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text(text.data);
	const struct pc__toml_value *a = get(doc, "a");

	assert_int_equal(pc__toml_array_length(a), ITEMS);
	assert_pos(pc__toml_pos(pc__toml_array_item(a, ITEMS - 1)), 1, 4 + 2 * (ITEMS - 1));
	pc__buf_fini(&text);
}

static int parse_repeated(const char *before, const char *unit, int count, const char *after,
			  struct pc_error *err)
{
	struct pc__buf text = PC__BUF_INIT;
	struct pc__toml_doc *doc = NULL;

	pc__buf_puts(&text, before);
	for (int i = 0; i < count; i++)
		pc__buf_puts(&text, unit);
	pc__buf_puts(&text, after);
	assert_false(text.failed);

	int rc = pc__toml_parse("deep.toml", text.data, text.length, &doc, err);

	pc__toml_destroy(doc);
	pc__buf_fini(&text);
	return rc;
}

static void depth_is_bounded(void **state)
{
	static const struct {
		const char *before, *unit, *after;
	} cases[] = {
		{ "a = ", "[", "" }, { "", "a={", "" },	    { "", "a.", "a = 1" },
		{ "[", "a.", "a]" }, { "[[", "a.", "a]]" }, { "a=[", "{a.b=[", "" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(parse_repeated(cases[i].before, cases[i].unit, 100000,
						cases[i].after, &err),
				 PC_E_INVALID_CONFIG);
		assert_non_null(strstr(err.message, "nested too deeply; 128 levels are allowed"));
	}
	assert_int_equal(parse_repeated("", "a.", PC__TOML_MAX_DEPTH - 1, "a = 1", NULL), 0);
	assert_int_equal(parse_repeated("", "a.", PC__TOML_MAX_DEPTH, "a = 1", NULL),
			 PC_E_INVALID_CONFIG);
}

static void size_is_bounded(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(parse_repeated("#", "x", (int)PC__TOML_MAX_BYTES - 1, "", NULL), 0);
	assert_int_equal(parse_repeated("#", "x", (int)PC__TOML_MAX_BYTES, "", &err),
			 PC_E_INVALID_CONFIG);
	assert_string_equal(err.message, "deep.toml:1:1: the document has 16777217 bytes, 16777216 "
					 "are allowed");
}

/* ---- errors ---- */

static void errors_name_the_place(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__toml_doc *doc = NULL;
	static const char text[] = "ok = 1\n\xc3\xa4 = 2\n";

	(void)state;
	assert_int_equal(pc__toml_parse("/etc/p.toml", text, sizeof(text) - 1, &doc, &err),
			 PC_E_INVALID_CONFIG);
	assert_int_equal(err.code, PC_E_INVALID_CONFIG);
	assert_string_equal(err.message,
			    "/etc/p.toml:2:1: expected a key, found '\xc3\xa4' (U+00E4); a key "
			    "without quotes has letters A to Z, digits, '_' and '-' only");
	assert_string_equal(pc_error_detail_get(&err, "file"), "/etc/p.toml");
	assert_string_equal(pc_error_detail_get(&err, "line"), "2");
	assert_string_equal(pc_error_detail_get(&err, "column"), "1");
	assert_null(doc);
	/* Nobody has to care. */
	assert_int_equal(pc__toml_parse("p", text, sizeof(text) - 1, &doc, NULL),
			 PC_E_INVALID_CONFIG);
}

static void errors_show_keys_safely(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__toml_doc *doc = NULL;
	static const char text[] = "\"\\u001b[2J\" = 1\n\"\\u001b[2J\" = 2\n";

	(void)state;
	assert_int_equal(pc__toml_parse("t", text, sizeof(text) - 1, &doc, &err),
			 PC_E_INVALID_CONFIG);
	assert_non_null(strstr(err.message, "'\\u001B[2J' is defined already"));
	pc_error_clear(&err);
	assert_int_equal(parse_repeated("'\xc2\x9b", "", 0, "'", &err), PC_E_INVALID_CONFIG);
	assert_non_null(strstr(err.message, "behind the key '\\u009B'"));
	pc_error_clear(&err);
	assert_int_equal(parse_repeated("a = \xc2\x9b", "", 0, "2J", &err), PC_E_INVALID_CONFIG);
	assert_non_null(strstr(err.message, "expected a value, found U+009B"));
	pc_error_clear(&err);
	assert_int_equal(parse_repeated("\"", "\xe2\x82\xac", 1000, "\"", &err),
			 PC_E_INVALID_CONFIG);
	assert_non_null(strstr(err.message, "\xe2\x82\xac...'"));
	assert_int_equal(pc__utf8_valid_prefix(err.message, strlen(err.message)),
			 strlen(err.message));
}

static void callers_report_places_too(void **state)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = read_text("[pool]\nqueue = 'x'\n");
	const struct pc__toml_value *queue = pc__toml_get(get(doc, "pool"), "queue");
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc__toml_error(&err, doc, pc__toml_pos(queue), "queue is a %s",
					pc__toml_kind_name(pc__toml_kind(queue))),
			 PC_E_INVALID_CONFIG);
	assert_string_equal(err.message, "test.toml:2:9: queue is a string");
	assert_string_equal(pc_error_detail_get(&err, "line"), "2");
	/* The first error wins, its details too. */
	pc__toml_error(&err, doc, pc__toml_pos(pc__toml_root(doc)), "later");
	assert_string_equal(err.message, "test.toml:2:9: queue is a string");
	assert_string_equal(pc_error_detail_get(&err, "line"), "2");
	assert_int_equal(pc__toml_error(NULL, doc, pc__toml_pos(queue), "x"), PC_E_INVALID_CONFIG);
}

static void kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(pc__toml_kind_name(PC__TOML_STRING), "string");
	assert_string_equal(pc__toml_kind_name(PC__TOML_LOCAL_DATE), "local date");
	assert_string_equal(pc__toml_kind_name(PC__TOML_TABLE), "table");
}

/* ---- files and memory ---- */

static void files(void **state)
{
	char path[] = "/tmp/poolcore-toml-XXXXXX";
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = NULL;
	struct pc_error err = PC_ERROR_INIT;
	char start[128];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a = 1\nb = ", 10), 10);
	assert_int_equal(pc__toml_read_file(path, &doc, &err), PC_E_INVALID_CONFIG);
	snprintf(start, sizeof(start), "%s:2:5: expected a value, found the end of the file", path);
	assert_string_equal(err.message, start);

	assert_int_equal(write(fd, "2\n", 2), 2);
	assert_int_equal(pc__toml_read_file(path, &doc, NULL), 0);
	assert_string_equal(pc__toml_name(doc), path);
	assert_non_null(get(doc, "b"));
	pc__toml_destroy(pc_steal(&doc));

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pc__toml_read_file(path, &doc, NULL), 0);
	assert_int_equal(pc__toml_table_size(pc__toml_root(doc)), 0);
	close(fd);
	unlink(path);
}

static void files_that_cannot_be_read(void **state)
{
	struct pc__toml_doc *doc = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc__toml_read_file("/nonexistent/p.toml", &doc, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(err.message,
			    "cannot open '/nonexistent/p.toml': No such file or directory");
	pc_error_clear(&err);
	assert_int_equal(pc__toml_read_file("/tmp", &doc, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, EISDIR);
	assert_string_equal(err.message, "cannot read '/tmp': Is a directory");
	assert_null(doc);
}

/* Uses everything that allocates: chunks, vectors, an index, the scratch buffer. */
static const char everything[] = "[a.b]\n"
				 "c.d = \"x\\ty\"\n"
				 "n = [1, 2.5, 0x1f, 07:32:00, '', \"\"\"\nz\"\"\", [[]]]\n"
				 "[[t]]\n"
				 "k1=1\nk2=1\nk3=1\nk4=1\nk5=1\nk6=1\nk7=1\nk8=1\nk9=1\nk10=1\n"
				 "[[t]]\n"
				 "i = { x.y = 1, 'q' = {} }\n";

static void every_allocation_may_fail(void **state)
{
	struct pc__buf text = PC__BUF_INIT;
	unsigned nth = 0;

	(void)state;
	for (int i = 0; i < 40; i++)
		pc__buf_printf(&text, "[s%d]\n%s", i, "x = \"a string that takes room\"\n");
	pc__buf_puts(&text, everything);
	assert_false(text.failed);
	do {
		struct pc_error err = PC_ERROR_INIT;
		struct pc__toml_doc *doc = NULL;

		fail_alloc_begin_once(++nth);

		int rc = pc__toml_parse("t", text.data, text.length, &doc, &err);

		assert_int_equal(rc, fail_alloc.refused ? PC_E_OUT_OF_MEMORY : 0);
		assert_int_equal(err.code, rc);
		assert_true(fail_alloc.refused == (doc == NULL));
		pc__toml_destroy(doc);
		fail_alloc_end();
		assert_int_equal(fail_alloc_live(), 0);
	} while (fail_alloc.refused);
	assert_true(nth > 6);
	pc__buf_fini(&text);
}

static void destroying_nothing(void **state)
{
	(void)state;
	pc__toml_destroy(NULL);
}

static void assert_span(const char *text, const struct pc__toml_value *value, const char *part)
{
	struct pc__toml_span span = pc__toml_span(value);

	assert_true(span.begin < span.end && span.end <= strlen(text));
	assert_int_equal(span.end - span.begin, strlen(part));
	assert_memory_equal(text + span.begin, part, strlen(part));
}

static void values_remember_how_they_were_written(void **state)
{
	static const char text[] = "\xef\xbb\xbf# h\xc3\xa4\r\n"
				   "a = \"x\\u00e4\"  # one\r\n"
				   "b = [ 1, # two\n  { c = 0x1F } ] # three\n"
				   "d.e = '''\n'''\n"
				   "  [ f . g ]  # four\n"
				   "h = 1979-05-27 07:32:00\n"
				   "[[m]] # five\n"
				   "[[ m ]]\n"
				   "n = -1.5";
	struct pc_error err = PC_ERROR_INIT;
	struct pc__toml_doc *doc = NULL;
	const struct pc__toml_value *root, *b, *f, *m;

	(void)state;
	if (pc__toml_parse("t", text, sizeof(text) - 1, &doc, &err))
		fail_msg("%s", err.message);
	root = pc__toml_root(doc);
	b = pc__toml_get(root, "b");
	f = pc__toml_get(root, "f");
	m = pc__toml_get(root, "m");
	assert_span(text, pc__toml_get(root, "a"), "\"x\\u00e4\"");
	assert_span(text, b, "[ 1, # two\n  { c = 0x1F } ]");
	assert_span(text, pc__toml_array_item(b, 1), "{ c = 0x1F }");
	assert_span(text, pc__toml_get(pc__toml_array_item(b, 1), "c"), "0x1F");
	assert_span(text, pc__toml_get(pc__toml_get(root, "d"), "e"), "'''\n'''");
	assert_span(text, pc__toml_get(f, "g"), "[ f . g ]");
	assert_span(text, pc__toml_get(pc__toml_get(f, "g"), "h"), "1979-05-27 07:32:00");
	assert_span(text, pc__toml_array_item(m, 0), "[[m]]");
	assert_span(text, pc__toml_array_item(m, 1), "[[ m ]]");
	assert_span(text, pc__toml_get(pc__toml_array_item(m, 1), "n"), "-1.5");
	assert_int_equal(pc__toml_span(root).end, 0);
	assert_int_equal(pc__toml_span(f).end, 0);
	assert_int_equal(pc__toml_span(m).end, 0);
	assert_int_equal(pc__toml_span(pc__toml_get(root, "d")).end, 0);
	assert_int_equal(pc__toml_span(NULL).end, 0);
	pc__toml_destroy(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars),
		cmocka_unit_test(wrong_kinds_and_absence),
		cmocka_unit_test(integers_at_their_ends),
		cmocka_unit_test(floats),
		cmocka_unit_test(floats_in_another_locale),
		cmocka_unit_test(datetimes),
		cmocka_unit_test(entries_in_order_with_places),
		cmocka_unit_test(places_of_tables),
		cmocka_unit_test(places_after_crlf_and_bom),
		cmocka_unit_test(many_keys_are_found),
		cmocka_unit_test(one_long_line),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(size_is_bounded),
		cmocka_unit_test(errors_name_the_place),
		cmocka_unit_test(errors_show_keys_safely),
		cmocka_unit_test(callers_report_places_too),
		cmocka_unit_test(kinds_have_names),
		cmocka_unit_test(files),
		cmocka_unit_test(files_that_cannot_be_read),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(destroying_nothing),
		cmocka_unit_test(values_remember_how_they_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
