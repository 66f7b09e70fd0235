/* SPDX-License-Identifier: MIT */
/* Unit tests of base/text.h: UTF-8, buffers, sizes, durations, edit distance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tests/unit/fail_alloc.h"

/* ---- UTF-8 ---- */

static void well_formed_prefixes(void **state)
{
	static const struct {
		const char *text;
		size_t valid;
	} cases[] = {
		{ "", 0 },
		{ "abc", 3 },
		{ "\x7f", 1 },
		{ "\x80", 0 },
		{ "\xbf", 0 },
		{ "\xc0\x80", 0 }, /* overlong NUL */
		{ "\xc1\xbf", 0 },
		{ "\xc2\x80", 2 },
		{ "\xdf\xbf", 2 },
		{ "\xc3", 0 },
		{ "\xc3(", 0 },
		{ "\xe0\x9f\xbf", 0 }, /* overlong */
		{ "\xe0\xa0\x80", 3 },
		{ "\xed\x9f\xbf", 3 },
		{ "\xed\xa0\x80", 0 }, /* a surrogate */
		{ "\xee\x80\x80", 3 },
		{ "\xef\xbf\xbf", 3 },
		{ "\xe2\x82", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 }, /* overlong */
		{ "\xf0\x90\x80\x80", 4 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "\xf4\x90\x80\x80", 0 }, /* past U+10FFFF */
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xf0\x9f\x98", 0 },
		{ "ab\xff", 2 },
		{ "\xe2\x82\xac\xe2\x82", 3 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++)
		assert_int_equal(pc__utf8_valid_prefix(cases[i].text, strlen(cases[i].text)),
				 cases[i].valid);
	assert_int_equal(pc__utf8_valid_prefix("a\0b", 3), 3);
}

static void cuts_between_characters(void **state)
{
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	static const size_t cut[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10 };

	(void)state;
	for (size_t length = 0; length < PC_ARRAY_LEN(cut); length++)
		assert_int_equal(pc__utf8_cut(text, length), cut[length]);
}

static void repairs_what_is_no_text(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "a\xc3\xa9", "a\xc3\xa9" },
		{ "\xff", "?" },
		{ "a\xff\xfe"
		  "b\xff",
		  "a??b?" },
		{ "\xe2\x82", "??" },
		{ "\xc3\xa9\xed\xa0\x80z", "\xc3\xa9???z" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		char text[16];

		snprintf(text, sizeof(text), "%s", cases[i][0]);
		pc__utf8_repair(text);
		assert_string_equal(text, cases[i][1]);
	}
}

static void encodes_every_scalar(void **state)
{
	char out[4];

	(void)state;
	for (uint32_t scalar = 0; scalar < 0x110100; scalar++) {
		bool surrogate = scalar >= 0xd800 && scalar <= 0xdfff;
		size_t length = pc__utf8_encode(scalar, out);

		if (surrogate || scalar > 0x10ffff)
			assert_int_equal(length, 0);
		else if (pc__utf8_valid_prefix(out, length) != length || length == 0)
			fail_msg("U+%04X", scalar);
	}
	assert_int_equal(pc__utf8_encode(0x20ac, out), 3);
	assert_memory_equal(out, "\xe2\x82\xac", 3);
	assert_int_equal(pc__utf8_encode(UINT32_MAX, out), 0);
}

/* ---- buffers ---- */

static void buffers_grow(void **state)
{
	struct pc__buf buf = PC__BUF_INIT;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		pc__buf_printf(&buf, "%d,", i);
		assert_int_equal(buf.data[buf.length], '\0');
	}
	pc__buf_puts(&buf, "end");
	pc__buf_append(&buf, "\0!", 2);
	assert_false(buf.failed);
	assert_int_equal(buf.length, 10 * 2 + 90 * 3 + 900 * 4 + 3 + 2);
	assert_memory_equal(buf.data, "0,1,2,", 6);
	assert_memory_equal(buf.data + buf.length - 5, "end\0!", 6);
	pc__buf_fini(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.length, 0);
}

static void buffers_give_their_text_away(void **state)
{
	struct pc__buf buf = PC__BUF_INIT;
	char *text = pc__buf_steal(&buf);

	(void)state;
	assert_string_equal(text, "");
	pc_free(text);
	pc__buf_puts(&buf, "x");
	text = pc__buf_steal(&buf);
	assert_string_equal(text, "x");
	pc_free(text);
	assert_null(buf.data);
}

static void hashes_are_those_of_the_draft(void **state)
{
	(void)state;
	assert_true(pc__hash_text("") == UINT64_C(0xcbf29ce484222325));
	assert_true(pc__hash_text("a") == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(pc__hash_text("foobar") == UINT64_C(0x85944171f73967e8));
}

static void buffers_remember_a_failure(void **state)
{
	unsigned nth = 0;

	(void)state;
	do {
		struct pc__buf buf = PC__BUF_INIT;

		fail_alloc_begin_once(++nth);
		for (int i = 0; i < 100; i++)
			pc__buf_puts(&buf, "0123456789");
		pc__buf_printf(&buf, "%s", "tail");
		assert_true(buf.failed == fail_alloc.refused);

		char *text = pc__buf_steal(&buf);

		assert_true((text == NULL) == fail_alloc.refused);
		if (text)
			assert_string_equal(text + 1000, "tail");
		pc_free(text);
		fail_alloc_end();
		assert_int_equal(fail_alloc_live(), 0);
	} while (fail_alloc.refused);
	assert_true(nth > 3);
}

static void buffers_refuse_what_cannot_be(void **state)
{
	struct pc__buf buf = PC__BUF_INIT;

	(void)state;
	pc__buf_puts(&buf, "x");
	pc__buf_append(&buf, "y", SIZE_MAX); /* never read: there is no such room */
	assert_true(buf.failed);
	pc__buf_puts(&buf, "z");
	assert_null(pc__buf_steal(&buf));
	assert_null(buf.data);
}

/* ---- sizes and durations ---- */

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "512", 512 },
		{ "17B", 17 },
		{ "1kB", 1000 },
		{ "1KB", 1000 },
		{ "1KiB", 1024 },
		{ "32MiB", UINT64_C(32) << 20 },
		{ "20GB", UINT64_C(20000000000) },
		{ "1.5GiB", UINT64_C(3) << 29 },
		{ "0.001kB", 1 },
		{ "2TB", UINT64_C(2000000000000) },
		{ "2TiB", UINT64_C(2) << 40 },
		{ "9223372036854775807", INT64_MAX },
		{ "8388607TiB", UINT64_C(8388607) << 40 },
	};
	static const char *const bad[] = {
		"",	  "MiB",	"-1",
		"+1",	  " 1",		"1 ",
		"1 MiB",  "1mib",	"1M",
		"1Mi",	  "1GiBs",	".5GiB",
		"1.GiB",  "1.2.3",	"0.3B",
		"0.3KiB", "1e3",	"9223372036854775808",
		"0x10",	  "8388608TiB", "99999999999999999999999999",
		"1,5GiB",
	};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(good); i++) {
		assert_int_equal(pc__parse_size(good[i].text, &bytes), 0);
		assert_true(bytes == good[i].bytes);
	}
	bytes = 7;
	for (size_t i = 0; i < PC_ARRAY_LEN(bad); i++) {
		if (!pc__parse_size(bad[i], &bytes))
			fail_msg("accepted '%s'", bad[i]);
	}
	assert_true(bytes == 7);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{ "0", 0 },	    { "90", 90000 },   { "90s", 90000 },    { "250ms", 250 },
		{ "5m", 300000 },   { "1h", 3600000 }, { "2d", 172800000 }, { "-1", -1000 },
		{ "-5m", -300000 }, { "1.5", 1500 },   { "0.25s", 250 },    { "1.5h", 5400000 },
		{ "-0", 0 },
	};
	static const char *const bad[] = { "",
					   "-",
					   "s",
					   "5 m",
					   "5M",
					   "5min",
					   "--5",
					   "+5",
					   "0.5ms",
					   "1w",
					   "5us",
					   "1h30m",
					   "9223372036854775807",
					   "-9223372036854775808" };
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(good); i++) {
		assert_int_equal(pc__parse_duration(good[i].text, &ms), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(bad); i++) {
		if (!pc__parse_duration(bad[i], &ms))
			fail_msg("accepted '%s'", bad[i]);
	}
}

static void sizes_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 bytes" },
		{ 1, "1 byte" },
		{ 1023, "1023 bytes" },
		{ 1024, "1 KiB" },
		{ 1536, "1.5 KiB" },
		{ (1 << 20) - 1, "1 MiB" },
		{ UINT64_C(300) << 20, "300 MiB" },
		{ UINT64_C(3) << 29, "1.5 GiB" },
		{ UINT64_C(5) << 40, "5 TiB" },
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++)
		assert_string_equal(pc_format_size(cases[i].bytes, out), cases[i].text);
}

static void durations_for_people(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0 us" },
		{ 1500, "1.5 us" },
		{ 250000000, "250 ms" },
		{ 1234567, "1.2 ms" },
		{ UINT64_C(1500000000), "1.5 s" },
		{ UINT64_C(5000000000), "5 s" },
		{ UINT64_C(119000000000), "119 s" },
		{ UINT64_C(120000000000), "2 min" },
		{ UINT64_C(5400000000000), "90 min" },
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++)
		assert_string_equal(pc_format_duration(cases[i].ns, out), cases[i].text);
}

/* ---- edit distance ---- */

static void edit_distances(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} cases[] = {
		{ "", "", 0 },
		{ "", "abc", 3 },
		{ "slots", "slots", 0 },
		{ "slot", "slots", 1 },
		{ "solts", "slots", 1 }, /* neighbours swapped */
		{ "kitten", "sitting", 3 },
		{ "ca", "abc", 3 }, /* optimal string alignment; unrestricted would say 2 */
		{ "max_worker", "min_workers", 3 },
	};
	char sixty_three[64], sixty_four[65];

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		assert_int_equal(pc__edit_distance(cases[i].a, cases[i].b), cases[i].distance);
		assert_int_equal(pc__edit_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
	memset(sixty_three, 'a', 63);
	sixty_three[63] = '\0';
	memset(sixty_four, 'a', 64);
	sixty_four[64] = '\0';
	assert_int_equal(pc__edit_distance(sixty_three, "a"), 62);
	assert_int_equal(pc__edit_distance(sixty_three, sixty_three), 0);
	assert_true(pc__edit_distance(sixty_four, sixty_four) == UINT_MAX);
	assert_true(pc__edit_distance("a", sixty_four) == UINT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed_prefixes),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(repairs_what_is_no_text),
		cmocka_unit_test(encodes_every_scalar),
		cmocka_unit_test(buffers_grow),
		cmocka_unit_test(buffers_give_their_text_away),
		cmocka_unit_test(hashes_are_those_of_the_draft),
		cmocka_unit_test(buffers_remember_a_failure),
		cmocka_unit_test(buffers_refuse_what_cannot_be),
		cmocka_unit_test(sizes),
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes_for_people),
		cmocka_unit_test(durations_for_people),
		cmocka_unit_test(edit_distances),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
