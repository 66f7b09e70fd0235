/* SPDX-License-Identifier: MIT */
/* Unit tests of http/json_member.c: every cut, every fault, and jansson's judgement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <jansson.h>
#include <poolcore/base.h>

#include "http/json_member.h"

#include <stdlib.h>
#include <string.h>

struct row {
	const char *text;
	const char *model; /* NULL: none, or not a string */
	bool has_model;
	int stream; /* -1: none */
};

/* clang-format off */
static const struct row good[] = {
	{ "{}", NULL, false, -1 },
	{ " \t\r\n{ } \n", NULL, false, -1 },
	{ "{\"model\":\"tiny\"}", "tiny", true, -1 },
	{ "{ \"model\" : \"tiny\" , \"stream\" : true }", "tiny", true, 1 },
	{ "{\"stream\":false,\"model\":\"\"}", "", true, 0 },
	{ "{\"mod\\u0065l\":\"t\\u0069ny\"}", "tiny", true, -1 },
	{ "{\"\\u006Dode\\u006c\":\"x\"}", "x", true, -1 },
	{ "{\"model\":\"a\\\"b\\\\c\\/d\\n\\t\\b\\f\\r\"}", "a\"b\\c/d\n\t\b\f\r", true, -1 },
	{ "{\"model\":\"\\u00e9\\u20ac\\ud83d\\ude00\"}", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true, -1 },
	{ "{\"model\":\"\xc3\xa9\"}", "\xc3\xa9", true, -1 },
	{ "{\"model\":\"\\ud83dx\"}", "\xef\xbf\xbdx", true, -1 },
	{ "{\"model\":\"\\ude00\"}", "\xef\xbf\xbd", true, -1 },
	{ "{\"model\":\"\\ud83d\\ud83d\\ude00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80", true, -1 },
	{ "{\"model\":\"\\ud83d\\n\"}", "\xef\xbf\xbd\n", true, -1 },
	{ "{\"model\":\"\\ud83d\"}", "\xef\xbf\xbd", true, -1 },
	{ "{\"model\":null}", NULL, true, -1 },
	{ "{\"model\":7}", NULL, true, -1 },
	{ "{\"model\":{\"model\":\"x\"}}", NULL, true, -1 },
	{ "{\"model\":[\"x\"]}", NULL, true, -1 },
	{ "{\"a\":{\"model\":\"x\",\"stream\":true}}", NULL, false, -1 },
	{ "{\"a\":[{\"model\":\"x\"},{\"model\":\"y\"}],\"model\":\"z\"}", "z", true, -1 },
	{ "{\"model2\":\"x\",\"mode\":\"y\",\"Model\":\"z\",\"\":1}", NULL, false, -1 },
	{ "{\"model\\u0000\":\"x\"}", NULL, false, -1 },
	{ "{\"a-very-long-member-name-model\":\"x\"}", NULL, false, -1 },
	{ "{\"stream\":null}", NULL, false, -1 },
	{ "{\"stream\":1}", NULL, false, -1 },
	{ "{\"stream\":[true]}", NULL, false, -1 },
	{ "{\"stream\":\"true\"}", NULL, false, -1 },
	{ "{\"a\":[0,-0,1,-12,0.5,1.25e3,1E+2,2e-7,-0.0e0,1e00]}", NULL, false, -1 },
	{ "{\"a\":[true,false,null,[],{},[[]],\"\"]}", NULL, false, -1 },
	{ "{\"a\":1,\"a\":2}", NULL, false, -1 },
	{ "{\"a\":\"\\ud83d\"}", NULL, false, -1 },
	{ "{\"a\":\"0123456789abcdef0123456789abcde\\\"f\\u12aB\x7f\",\"model\":\"m\"}", "m", true, -1 },
};

static const struct {
	const char *text;
	uint64_t offset;
	const char *error;
} bad[] = {
	{ "", 0, "the text ends before its object does" },
	{ "[]", 0, "the text does not begin with an object" },
	{ "\"x\"", 0, "the text does not begin with an object" },
	{ "\xef\xbb\xbf{}", 0, "the text does not begin with an object" },
	{ "{", 1, "the text ends before its object does" },
	{ "{\"a\"", 4, "the text ends before its object does" },
	{ "{\"a\":1", 6, "the text ends before its object does" },
	{ "{}x", 2, "something follows the object" },
	{ "{}{}", 2, "something follows the object" },
	{ "{,}", 1, "a member's name in quotes is missing" },
	{ "{\"a\":1,}", 7, "a member's name in quotes is missing" },
	{ "{a:1}", 1, "a member's name in quotes is missing" },
	{ "{'a':1}", 1, "a member's name in quotes is missing" },
	{ "{\"a\" 1}", 5, "a colon is missing after a member's name" },
	{ "{\"a\":}", 5, "a value is missing or begins with a wrong character" },
	{ "{\"a\":,}", 5, "a value is missing or begins with a wrong character" },
	{ "{\"a\":[,]}", 6, "a value is missing or begins with a wrong character" },
	{ "{\"a\":[1,]}", 8, "a value is missing or begins with a wrong character" },
	{ "{\"a\":NaN}", 5, "a value is missing or begins with a wrong character" },
	{ "{\"a\":+1}", 5, "a value is missing or begins with a wrong character" },
	{ "{\"a\":.5}", 5, "a value is missing or begins with a wrong character" },
	{ "{\"a\":1 2}", 7, "a comma or a closing bracket is missing after a value" },
	{ "{\"a\":\"x\" \"y\"}", 9, "a comma or a closing bracket is missing after a value" },
	{ "{\"a\":[1}", 7, "an array is closed with a brace" },
	{ "{\"a\":{\"b\":1]}", 11, "an object is closed with a bracket" },
	{ "{\"a\":01}", 6, "a number is not written as JSON wants it" },
	{ "{\"a\":-}", 6, "a number is not written as JSON wants it" },
	{ "{\"a\":-a}", 6, "a number is not written as JSON wants it" },
	{ "{\"a\":1.}", 7, "a number is not written as JSON wants it" },
	{ "{\"a\":1.e5}", 7, "a number is not written as JSON wants it" },
	{ "{\"a\":1e}", 7, "a number is not written as JSON wants it" },
	{ "{\"a\":1e+}", 8, "a number is not written as JSON wants it" },
	{ "{\"a\":1x}", 6, "a comma or a closing bracket is missing after a value" },
	{ "{\"a\":truE}", 8, "a word that is not true, false or null" },
	{ "{\"a\":nul}", 8, "a word that is not true, false or null" },
	{ "{\"a\":truee}", 9, "a comma or a closing bracket is missing after a value" },
	{ "{\"a\":\"\n\"}", 6, "a control character in a string must be escaped" },
	{ "{\"a\":\"0123456789abcdef\x1f\"}", 22, "a control character in a string must be escaped" },
	{ "{\"a\":\"\\x\"}", 7, "an unknown escape in a string" },
	{ "{\"a\":\"\\U0041\"}", 7, "an unknown escape in a string" },
	{ "{\"a\":\"\\u00g0\"}", 10, "\\u must be followed by four hexadecimal digits" },
	{ "{\"model\":\"a\",\"model\":\"a\"}", 19, "\"model\" is there twice" },
	{ "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", 24, "\"model\" is there twice" },
	{ "{\"model\":1,\"model\":\"a\"}", 17, "\"model\" is there twice" },
	{ "{\"stream\":true,\"stream\":true}", 22, "\"stream\" is there twice" },
	{ "{\"stream\":1,\"stream\":true}", 19, "\"stream\" is there twice" },
	{ "{\"model\":\"a\\u0000b\"}", 16, "the model's name has a NUL in it" },
};
/* clang-format on */

/* Feeds text in pieces that end at `cut` and the end; 0 for one byte at a time. */
static void scan(struct json_scanner *scanner, const char *text, size_t length, size_t cut)
{
	json_scanner_init(scanner);
	if (cut == 0) {
		for (size_t i = 0; i < length; i++) {
			/* A copy of its own, so that ASan sees a read past the piece. */
			char *piece = malloc(1);

			*piece = text[i];
			json_scanner_feed(scanner, piece, 1);
			free(piece);
		}
	} else {
		json_scanner_feed(scanner, text, cut);
		json_scanner_feed(scanner, text + cut, length - cut);
	}
	json_scanner_end(scanner);
}

static void good_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(good); i++) {
		const struct row *row = &good[i];
		size_t length = strlen(row->text);

		for (size_t cut = 0; cut <= length; cut++) {
			struct json_scanner scanner;

			scan(&scanner, row->text, length, cut);
			if (scanner.state != JSON_SCAN_DONE)
				fail_msg("row %zu cut at %zu: %s at %d", i, cut, scanner.error,
					 (int)scanner.error_offset);
			assert_int_equal(scanner.offset, length);
			assert_int_equal(scanner.has_model, row->has_model);
			assert_int_equal(scanner.model_is_string, row->model != NULL);
			assert_string_equal(scanner.model, row->model ? row->model : "");
			assert_int_equal(scanner.has_stream, row->stream >= 0);
			assert_int_equal(scanner.stream, row->stream == 1);
		}
	}
}

static void bad_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(bad); i++) {
		size_t length = strlen(bad[i].text);

		for (size_t cut = 0; cut <= length; cut++) {
			struct json_scanner scanner;

			scan(&scanner, bad[i].text, length, cut);
			assert_int_equal(scanner.state, JSON_SCAN_INVALID);
			if (scanner.error_offset != bad[i].offset ||
			    strcmp(scanner.error, bad[i].error) != 0)
				fail_msg("row %zu cut at %zu: %s at %d", i, cut, scanner.error,
					 (int)scanner.error_offset);
			/* Nothing changes any more. */
			json_scanner_feed(&scanner, "{}", 2);
			assert_int_equal(scanner.error_offset, bad[i].offset);
		}
	}
}

static void limits(void **state)
{
	struct json_scanner scanner;
	char text[2048];
	size_t length = 0;

	(void)state;
	/* The longest name, and one byte more. */
	for (int extra = 0; extra <= 1; extra++) {
		length = (size_t)sprintf(text, "{\"model\":\"");
		memset(text + length, 'm', JSON_MEMBER_VALUE_MAX - 1 + extra);
		length += JSON_MEMBER_VALUE_MAX - 1 + extra;
		length += (size_t)sprintf(text + length, "\"}");
		for (size_t cut = 0; cut <= length; cut++) {
			scan(&scanner, text, length, cut);
			assert_int_equal(scanner.state, extra ? JSON_SCAN_INVALID : JSON_SCAN_DONE);
			if (!extra) {
				assert_int_equal(strlen(scanner.model), 511);
				continue;
			}
			/* The byte at fault is the same wherever the text is cut. */
			assert_string_equal(scanner.error,
					    "the model's name is longer than 511 bytes");
			assert_int_equal(scanner.error_offset, strlen("{\"model\":\"") + 511);
		}
	}
	/* The deepest nesting, and one level more. */
	for (int extra = 0; extra <= 1; extra++) {
		length = (size_t)sprintf(text, "{\"a\":");
		memset(text + length, '[', 511 + extra);
		memset(text + length + 511 + extra, ']', 511 + extra);
		length += 2 * (511 + (size_t)extra);
		text[length++] = '}';
		scan(&scanner, text, length, 0);
		assert_int_equal(scanner.state, extra ? JSON_SCAN_INVALID : JSON_SCAN_DONE);
		if (extra)
			assert_string_equal(scanner.error,
					    "objects and arrays are nested more than 512 deep");
	}
}

/* ---- against jansson ---- */

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)(seed ^ seed >> 15) * below) >> 32);
}

struct text {
	char data[8192];
	size_t length;
};

static void put(struct text *text, const char *piece)
{
	size_t length = strlen(piece);

	if (text->length + length >= sizeof(text->data))
		return;
	memcpy(text->data + text->length, piece, length);
	text->length += length;
}

static void put_string(struct text *text)
{
	static const char *const pieces[] = { "a",
					      "model",
					      "stream",
					      " ",
					      "\\\"",
					      "\\\\",
					      "\\n",
					      "\\u0041",
					      "\\ud83d\\ude00",
					      "\xc3\xa9",
					      "{",
					      "]",
					      "0123456789abcdef",
					      ",",
					      "\\u000a",
					      ":" };

	put(text, "\"");
	for (uint32_t i = draw(6); i; i--)
		put(text, pieces[draw(PC_ARRAY_LEN(pieces))]);
	put(text, "\"");
}

static void put_value(struct text *text, int depth);

static void put_object(struct text *text, int depth, bool top)
{
	static const char *const spaces[] = { "", " ", "\n", "\t ", "" };
	uint32_t count = draw(5);

	put(text, "{");
	for (uint32_t i = 0; i < count; i++) {
		char name[32];

		put(text, i ? "," : "");
		put(text, spaces[draw(5)]);
		snprintf(name, sizeof(name), "\"k%u\"", i);
		put(text, i == 1 && top ? "\"mod\\u0065l\"" : i == 2 && top ? "\"stream\"" : name);
		put(text, spaces[draw(5)]);
		put(text, ":");
		put(text, spaces[draw(5)]);
		put_value(text, depth + 1);
	}
	put(text, "}");
}

static void put_value(struct text *text, int depth)
{
	static const char *const scalars[] = { "0",    "-1",   "12.5", "1e5",	"-0.25E-3",
					       "true", "true", "null", "false", "\"tiny\"" };

	switch (draw(depth > 5 ? 4 : 7)) {
	case 0:
	case 1:
		put(text, scalars[draw(PC_ARRAY_LEN(scalars))]);
		break;
	case 2:
	case 3:
		put_string(text);
		break;
	case 4:
		put(text, "[");
		for (uint32_t i = draw(4); i; i--) {
			put_value(text, depth + 1);
			put(text, i > 1 ? "," : "");
		}
		put(text, "]");
		break;
	default:
		put_object(text, depth, false);
	}
}

/* Generated documents, whole and damaged: the scanner and jansson must say the same. */
static void jansson_agrees(void **state)
{
	static const char damage[] = "{}[]\",:\\0 \n\x01"
				     "e-tn";
	size_t valid = 0, invalid = 0;

	(void)state;
	for (seed = 1; valid + invalid < 20000;) {
		struct text text = { .length = 0 };
		struct json_scanner scanner;
		json_error_t error;
		json_t *root;

		put_object(&text, 0, true);
		for (uint32_t i = draw(3); i; i--)
			text.data[draw((uint32_t)text.length)] = damage[draw(sizeof(damage) - 1)];
		scan(&scanner, text.data, text.length,
		     draw(2) ? 0 : 1 + draw((uint32_t)text.length));
		root = json_loadb(text.data, text.length, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
				  &error);
		/* jansson takes an array as well, which a damaged object may have become. */
		if (root && !json_is_object(root)) {
			json_decref(root);
			root = NULL;
		}
		if ((root != NULL) != (scanner.state == JSON_SCAN_DONE)) {
			/* We refuse what names a member twice; jansson refuses a lone surrogate,
			 * broken UTF-8 and numbers past a double. */
			bool excused = scanner.state == JSON_SCAN_DONE
					       ? strstr(error.text, "Unicode") ||
							 strstr(error.text, "decode byte") ||
							 strstr(error.text, "overflow")
					       : strstr(scanner.error, "twice") ||
							 strstr(scanner.error, "NUL");

			if (!excused)
				fail_msg("%.*s\n%s / %s", (int)text.length, text.data,
					 scanner.error ? scanner.error : "fine", error.text);
		} else if (root) {
			json_t *model = json_object_get(root, "model");
			json_t *stream = json_object_get(root, "stream");

			assert_int_equal(scanner.has_model, model != NULL);
			assert_int_equal(scanner.model_is_string, json_is_string(model));
			if (json_is_string(model))
				assert_string_equal(scanner.model, json_string_value(model));
			assert_int_equal(scanner.has_stream, json_is_boolean(stream));
			if (json_is_boolean(stream))
				assert_int_equal(scanner.stream, json_is_true(stream));
		}
		valid += root != NULL;
		invalid += root == NULL;
		json_decref(root);
	}
	/* The damage must not drown the sound ones, nor the other way round. */
	assert_true(valid > 4000 && invalid > 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_texts),
		cmocka_unit_test(bad_texts),
		cmocka_unit_test(limits),
		cmocka_unit_test(jansson_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
