/* SPDX-License-Identifier: MIT */
/*
 * json_reader.c - see json_reader.h. It knows no fields: src/api/read.c asks for what its tables
 * want. The caller has seen that the text is UTF-8. Pure functions on the reader, any thread.
 *
 * jansson is not used here. It refuses 2^63, a NUL and a name that stands twice while it parses,
 * and can then say the line, but not that it was workers[3].port; and its tree is allocated beside
 * our door, so that no test could refuse those allocations. The tests ask jansson whether it
 * agrees about what JSON is.
 */
#include "api/json_reader.h"

#include <poolcore/api.h>

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* ---- places ---- */

const char *pc__place_text(const struct pc__json_place *place, char out[PC__PLACE_MAX])
{
	size_t length, cut;

	out[0] = '\0';
	if (!place)
		return out;
	pc__place_text(place->up, out);
	length = strlen(out);
	if (place->key)
		snprintf(out + length, PC__PLACE_MAX - length, "%s%s", length ? "." : "",
			 place->key);
	else
		snprintf(out + length, PC__PLACE_MAX - length, "[%zu]", place->index);
	cut = pc__utf8_valid_prefix(out, strlen(out));
	out[cut] = '\0';
	return out;
}

/* ---- complaints ---- */

static int not_json(struct pc__json_reader *reader, size_t at, const char *what)
{
	unsigned line = 1, column = 1;

	for (size_t i = 0; i < at && i < reader->length; i++) {
		column++;
		if (reader->original[i] == '\n') {
			line++;
			column = 1;
		}
	}
	pc_error_set(reader->err, PC_E_INVALID_JSON, "line %u, column %u: %s", line, column, what);
	pc_error_detail(reader->err, "line", "%u", line);
	pc_error_detail(reader->err, "column", "%u", column);
	return PC_E_INVALID_JSON;
}

static int unexpected(struct pc__json_reader *reader, const char *expected)
{
	char what[96];

	snprintf(what, sizeof(what), "expected %s%s", expected,
		 reader->at < reader->length ? "" : ", but the text ends");
	return not_json(reader, reader->at, what);
}

/* ---- small steps ---- */

/* The text has a NUL behind its end, which no token contains. */
static char here(const struct pc__json_reader *reader)
{
	return reader->text[reader->at];
}

static void skip_blanks(struct pc__json_reader *reader)
{
	while (here(reader) == ' ' || here(reader) == '\n' || here(reader) == '\t' ||
	       here(reader) == '\r')
		reader->at++;
}

static bool take(struct pc__json_reader *reader, char c)
{
	skip_blanks(reader);
	if (here(reader) != c || reader->at == reader->length)
		return false;
	reader->at++;
	return true;
}

enum pc__json_kind pc__json_peek(struct pc__json_reader *reader)
{
	skip_blanks(reader);
	switch (here(reader)) {
	case '{':
		return PC__JSON_OBJECT;
	case '[':
		return PC__JSON_LIST;
	case '"':
		return PC__JSON_STRING;
	case 't':
	case 'f':
		return PC__JSON_BOOL;
	case 'n':
		return PC__JSON_NULL;
	case '-':
		return PC__JSON_NUMBER;
	default:
		return here(reader) >= '0' && here(reader) <= '9' ? PC__JSON_NUMBER
								  : PC__JSON_NOTHING;
	}
}

static bool take_word(struct pc__json_reader *reader, const char *word)
{
	size_t length = strlen(word);

	if (reader->length - reader->at < length ||
	    memcmp(reader->text + reader->at, word, length) != 0)
		return false;
	reader->at += length;
	return true;
}

int pc__json_bool(struct pc__json_reader *reader, bool *ret_value)
{
	bool value = take_word(reader, "true");

	if (!value && !take_word(reader, "false"))
		return unexpected(reader, "true or false");
	*ret_value = value;
	return 0;
}

int pc__json_null(struct pc__json_reader *reader)
{
	return take_word(reader, "null") ? 0 : unexpected(reader, "null");
}

/* ---- brackets ---- */

int pc__json_enter(struct pc__json_reader *reader, bool *first)
{
	*first = true;
	if (reader->depth == PC_API_DEPTH_MAX) {
		char what[64];

		snprintf(what, sizeof(what), "more than %d brackets within each other",
			 PC_API_DEPTH_MAX);
		return not_json(reader, reader->at, what);
	}
	reader->depth++;
	reader->at++;
	return 0;
}

int pc__json_more(struct pc__json_reader *reader, char close, bool *first, bool *ret_more)
{
	bool was_first = *first;

	*first = false;
	if (take(reader, close)) {
		reader->depth--;
		*ret_more = false;
		return 0;
	}
	if (!was_first && !take(reader, ','))
		return unexpected(reader, close == '}' ? "',' or '}'" : "',' or ']'");
	*ret_more = true;
	return 0;
}

/* ---- numbers ---- */

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* The length of the number that begins at `text`, 0 when none does. */
static size_t scan_number(const char *text, bool *ret_whole)
{
	const char *p = text + (text[0] == '-');
	size_t count = digits(p);

	*ret_whole = true;
	if (count == 0 || (count > 1 && p[0] == '0'))
		return 0;
	p += count;
	if (*p == '.') {
		*ret_whole = false;
		count = digits(++p);
		if (count == 0)
			return 0;
		p += count;
	}
	if (*p == 'e' || *p == 'E') {
		*ret_whole = false;
		p++;
		p += *p == '+' || *p == '-';
		count = digits(p);
		if (count == 0)
			return 0;
		p += count;
	}
	return (size_t)(p - text);
}

static bool to_int64(const char *text, size_t length, int64_t *ret_value)
{
	bool negative = text[0] == '-';
	int64_t value = 0;

	for (size_t i = negative; i < length; i++) {
		int digit = text[i] - '0';

		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, negative ? -digit : digit, &value))
			return false;
	}
	*ret_value = value;
	return true;
}

int pc__json_number(struct pc__json_reader *reader, struct pc__json_number *ret_number)
{
	struct pc__json_number number = { .text = reader->text + reader->at };

	number.length = scan_number(number.text, &number.exact);
	if (number.length == 0)
		return unexpected(reader, "a number, in JSON's form");
	if (number.exact)
		number.exact = to_int64(number.text, number.length, &number.value);
	reader->at += number.length;
	*ret_number = number;
	return 0;
}

/* ---- strings ---- */

/* Four hexadecimal digits; -1 when they are not there. */
static int32_t hex4(const char *text, size_t left)
{
	int32_t value = 0;

	for (size_t i = 0; i < 4; i++) {
		const char *all = "0123456789abcdef";
		const char *digit = NULL;

		if (i < left && text[i])
			digit = strchr(all,
				       text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
		if (!digit)
			return -1;
		value = value * 16 + (int32_t)(digit - all);
	}
	return value;
}

/* \uXXXX, or two of them that are one character; `reader->at` is behind the 'u'. */
static int take_unicode(struct pc__json_reader *reader, char **out)
{
	size_t began = reader->at - 2, length;
	const char *text = reader->text + reader->at;
	size_t left = reader->length - reader->at;
	int32_t value = hex4(text, left), low;

	if (value < 0)
		return not_json(reader, began, "\\u takes four hexadecimal digits");
	reader->at += 4;
	if (value >= 0xd800 && value < 0xdc00) {
		low = left > 6 && text[4] == '\\' && text[5] == 'u' ? hex4(text + 6, left - 6) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return not_json(reader, began, "half of a surrogate pair");
		reader->at += 6;
		value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
	}
	length = pc__utf8_encode((uint32_t)value, *out);
	if (length == 0)
		return not_json(reader, began, "half of a surrogate pair");
	*out += length;
	return 0;
}

/* What follows a backslash; `reader->at` is on it. */
static int take_escape(struct pc__json_reader *reader, char **out)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	char c = here(reader);
	const char *found = c ? strchr(letters, c) : NULL;

	if (c == 'u') {
		reader->at++;
		return take_unicode(reader, out);
	}
	if (!found)
		return not_json(reader, reader->at - 1, "a backslash before what needs none");
	*(*out)++ = meanings[found - letters];
	reader->at++;
	return 0;
}

static int refuse_nul(struct pc__json_reader *reader, const struct pc__json_place *place)
{
	char where[PC__PLACE_MAX];

	pc__place_text(place, where);
	pc_error_set(reader->err, PC_E_INVALID_REQUEST, "'%s' has a NUL in its text", where);
	pc_error_detail(reader->err, "param", "%s", where);
	return PC_E_INVALID_REQUEST;
}

int pc__json_string(struct pc__json_reader *reader, const struct pc__json_place *place,
		    const char **ret_text, size_t *ret_length)
{
	char *begin = reader->text + ++reader->at, *out = begin;

	for (;;) {
		/* The quote is overwritten by the NUL below, never before it was read. */
		unsigned char c = (unsigned char)here(reader);
		int rc = 0;

		if (reader->at == reader->length)
			return not_json(reader, reader->at, "the text ends within a string");
		if (c < 0x20)
			return not_json(reader, reader->at,
					"a control character in a string; write it as \\u00xx");
		reader->at++;
		if (c == '"')
			break;
		if (c == '\\')
			rc = take_escape(reader, &out);
		else
			*out++ = (char)c;
		if (rc)
			return rc;
	}
	if (memchr(begin, '\0', (size_t)(out - begin)))
		return refuse_nul(reader, place);
	*out = '\0';
	*ret_text = begin;
	*ret_length = (size_t)(out - begin);
	return 0;
}

int pc__json_key(struct pc__json_reader *reader, const struct pc__json_place *place,
		 const char **ret_key)
{
	size_t length;
	int rc;

	if (pc__json_peek(reader) != PC__JSON_STRING)
		return unexpected(reader, "a field's name in quotes");
	rc = pc__json_string(reader, place, ret_key, &length);
	if (!rc && !take(reader, ':'))
		rc = unexpected(reader, "':'");
	return rc;
}

/* ---- what nobody wants ---- */

static int skip_members(struct pc__json_reader *reader, const struct pc__json_place *place,
			bool is_object)
{
	bool first, more;
	int rc = pc__json_enter(reader, &first);

	while (!rc) {
		const char *key;

		rc = pc__json_more(reader, is_object ? '}' : ']', &first, &more);
		if (rc || !more)
			break;
		if (is_object)
			rc = pc__json_key(reader, place, &key);
		if (!rc)
			rc = pc__json_skip(reader, place);
	}
	return rc;
}

int pc__json_skip(struct pc__json_reader *reader, const struct pc__json_place *place)
{
	struct pc__json_number number;
	const char *text;
	size_t length;
	bool value;

	switch (pc__json_peek(reader)) {
	case PC__JSON_OBJECT:
		return skip_members(reader, place, true);
	case PC__JSON_LIST:
		return skip_members(reader, place, false);
	case PC__JSON_STRING:
		return pc__json_string(reader, place, &text, &length);
	case PC__JSON_NUMBER:
		return pc__json_number(reader, &number);
	case PC__JSON_BOOL:
		return pc__json_bool(reader, &value);
	case PC__JSON_NULL:
		return pc__json_null(reader);
	case PC__JSON_NOTHING:
		break;
	}
	return unexpected(reader, "a value");
}

int pc__json_end(struct pc__json_reader *reader)
{
	skip_blanks(reader);
	return reader->at == reader->length
		       ? 0
		       : not_json(reader, reader->at, "something follows the end of the value");
}
