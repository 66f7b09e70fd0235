/* SPDX-License-Identifier: MIT */
/*
 * json_member.c - checks the structure of a JSON object as its bytes come and picks up "model" and
 * "stream" on the way. It builds nothing, allocates nothing and does not check UTF-8. Pure
 * functions on the caller's structure; any thread.
 *
 * A state machine with one byte of input per step, except inside strings, which make up nearly all
 * of a large body: there scan_plain skips 16 bytes at a time. All state is in the structure, so
 * that the body may be cut anywhere.
 *
 * The surrogate note. "\ud83d" without its second half is a JSON string that cannot be Unicode.
 * JavaScript writes such strings, and some workers accept them, so they pass; in the model's name
 * and in keys they become U+FFFD, which names no model.
 */
#include "http/json_member.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define NESTING_MAX 512 /* bits in own.nesting */

enum mode {
	AT_START,	 /* the object's brace */
	AT_KEY_OR_CLOSE, /* after { */
	AT_KEY,		 /* after , in an object */
	AT_COLON,
	AT_VALUE,
	AT_VALUE_OR_CLOSE, /* after [ */
	AT_COMMA_OR_CLOSE, /* after a value */
	IN_STRING,
	IN_ESCAPE, /* after a backslash */
	IN_HEX_1,  /* the four digits of \u */
	IN_HEX_2,
	IN_HEX_3,
	IN_HEX_4,
	IN_LITERAL,
	NUMBER_MINUS, /* after - : a digit is due */
	NUMBER_ZERO,  /* after a leading 0: no further digit */
	NUMBER_INTEGER,
	NUMBER_POINT, /* after . : a digit is due */
	NUMBER_FRACTION,
	NUMBER_E, /* after e: a sign or digit is due */
	NUMBER_SIGN,
	NUMBER_EXPONENT,
	AT_END, /* after the object: white space only */
};

/* own.member: which top-level member is being read, and about the string that is being read. */
enum {
	MEMBER_NONE = 0,
	MEMBER_MODEL = 1,
	MEMBER_STREAM = 2,
	MEMBER_MASK = 3,
	STRING_IS_KEY = 4,
	STRING_IS_KEPT = 8,
	STREAM_SEEN = 16,
};

/* own.aux in a string: the code unit of the escape in the low half, a first surrogate that waits
 * for its second in the high half. In a literal: its row, and in the second byte the place. */

enum step { STEP_TAKEN, STEP_AGAIN, STEP_BAD };

static const char *const literals[] = { "true", "false", "null" };

static enum step bad(struct json_scanner *scanner, const char *error)
{
	scanner->error = error;
	return STEP_BAD;
}

static enum step go(struct json_scanner *scanner, enum mode mode)
{
	scanner->own.mode = mode;
	return STEP_TAKEN;
}

static bool is_space(unsigned char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* ---- nesting ---- */

static bool in_object(const struct json_scanner *scanner)
{
	uint32_t level = scanner->own.depth - 1;

	return scanner->own.nesting[level / 64] >> (level % 64) & 1;
}

static enum step open_level(struct json_scanner *scanner, bool object)
{
	uint32_t level = scanner->own.depth;
	uint64_t bit = UINT64_C(1) << (level % 64);

	if (level == NESTING_MAX)
		return bad(scanner, "objects and arrays are nested more than 512 deep");
	if (object)
		scanner->own.nesting[level / 64] |= bit;
	else
		scanner->own.nesting[level / 64] &= ~bit;
	scanner->own.depth++;
	return go(scanner, object ? AT_KEY_OR_CLOSE : AT_VALUE_OR_CLOSE);
}

static enum step close_level(struct json_scanner *scanner, unsigned char c)
{
	if (in_object(scanner) != (c == '}'))
		return bad(scanner, c == '}' ? "an array is closed with a brace"
					     : "an object is closed with a bracket");
	if (--scanner->own.depth == 0) {
		scanner->state = JSON_SCAN_DONE;
		return go(scanner, AT_END);
	}
	return go(scanner, AT_COMMA_OR_CLOSE);
}

/* ---- strings ---- */

/* The length of the longest prefix without a quote, a backslash or a control character. */
static size_t scan_plain(const char *text, size_t length)
{
	size_t i = 0;

#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');
	const __m128i control = _mm_set1_epi8(0x1f);

	for (; length - i >= 16; i += 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
		__m128i hits = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote),
					    _mm_cmpeq_epi8(bytes, backslash));

		hits = _mm_or_si128(hits, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));

		int mask = _mm_movemask_epi8(hits);

		if (mask)
			return i + (size_t)__builtin_ctz((unsigned)mask);
	}
#else
	/* Eight bytes at once: a byte of (x - 1) & ~x has its high bit where x is 0 (or above the
	 * first such byte, which does no harm: the loop below finds the place). */
	const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;

	for (; length - i >= 8; i += 8) {
		uint64_t bytes, quote, backslash;

		memcpy(&bytes, text + i, sizeof(bytes));
		quote = bytes ^ ones * '"';
		backslash = bytes ^ ones * '\\';
		if ((((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
		     ((bytes - ones * 0x20) & ~bytes)) &
		    highs)
			break;
	}
#endif
	while (i < length && text[i] != '"' && text[i] != '\\' && (unsigned char)text[i] >= ' ')
		i++;
	return i;
}

/* Keeps a piece of a top-level key or of the model's name. False when the name is too long. */
static bool keep(struct json_scanner *scanner, const char *text, size_t length)
{
	size_t room;

	if (scanner->own.member & STRING_IS_KEY) {
		room = sizeof(scanner->own.key) - scanner->own.key_length;
		/* One that does not fit is none of ours; it stays full. */
		if (length > room)
			length = room;
		memcpy(scanner->own.key + scanner->own.key_length, text, length);
		scanner->own.key_length += (uint32_t)length;
		return true;
	}
	room = sizeof(scanner->model) - 1 - scanner->own.value_length;
	if (length > room || memchr(text, '\0', length)) {
		scanner->error = length > room ? "the model's name is longer than 511 bytes"
					       : "the model's name has a NUL in it";
		return false;
	}
	memcpy(scanner->model + scanner->own.value_length, text, length);
	scanner->own.value_length += (uint32_t)length;
	return true;
}

static bool keep_scalar(struct json_scanner *scanner, uint32_t scalar)
{
	char out[4];

	if (scalar < 0x80) {
		out[0] = (char)scalar;
		return keep(scanner, out, 1);
	}
	if (scalar < 0x800) {
		out[0] = (char)(0xc0 | scalar >> 6);
		out[1] = (char)(0x80 | (scalar & 0x3f));
		return keep(scanner, out, 2);
	}
	if (scalar < 0x10000) {
		out[0] = (char)(0xe0 | scalar >> 12);
		out[1] = (char)(0x80 | (scalar >> 6 & 0x3f));
		out[2] = (char)(0x80 | (scalar & 0x3f));
		return keep(scanner, out, 3);
	}
	out[0] = (char)(0xf0 | scalar >> 18);
	out[1] = (char)(0x80 | (scalar >> 12 & 0x3f));
	out[2] = (char)(0x80 | (scalar >> 6 & 0x3f));
	out[3] = (char)(0x80 | (scalar & 0x3f));
	return keep(scanner, out, 4);
}

/* A first surrogate that waited is followed by something else than its second. */
static bool keep_lone(struct json_scanner *scanner)
{
	bool lone = scanner->own.aux >> 16 != 0;

	scanner->own.aux = 0;
	return !lone || keep_scalar(scanner, 0xfffd);
}

static bool keep_unit(struct json_scanner *scanner, uint32_t unit)
{
	uint32_t first = scanner->own.aux >> 16;

	if (first && unit >= 0xdc00 && unit <= 0xdfff) {
		scanner->own.aux = 0;
		return keep_scalar(scanner, 0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00));
	}
	if (!keep_lone(scanner))
		return false;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		scanner->own.aux = unit << 16;
		return true;
	}
	return keep_scalar(scanner, unit >= 0xdc00 && unit <= 0xdfff ? 0xfffd : unit);
}

static enum step begin_string(struct json_scanner *scanner, bool key, bool kept)
{
	scanner->own.member &= ~(uint32_t)(STRING_IS_KEY | STRING_IS_KEPT);
	if (key)
		scanner->own.member |= STRING_IS_KEY;
	if (kept)
		scanner->own.member |= STRING_IS_KEPT;
	scanner->own.aux = 0;
	return go(scanner, IN_STRING);
}

static bool key_is(const struct json_scanner *scanner, const char *name)
{
	return scanner->own.key_length == strlen(name) &&
	       memcmp(scanner->own.key, name, strlen(name)) == 0;
}

/* A top-level key has ended: is its value one that we look for? */
static enum step end_key(struct json_scanner *scanner)
{
	if (key_is(scanner, "model")) {
		if (scanner->has_model)
			return bad(scanner, "\"model\" is there twice");
		scanner->has_model = true;
		scanner->own.member |= MEMBER_MODEL;
	} else if (key_is(scanner, "stream")) {
		if (scanner->own.member & STREAM_SEEN)
			return bad(scanner, "\"stream\" is there twice");
		scanner->own.member |= MEMBER_STREAM | STREAM_SEEN;
	}
	return go(scanner, AT_COLON);
}

static enum step end_string(struct json_scanner *scanner)
{
	uint32_t member = scanner->own.member;

	if ((member & STRING_IS_KEPT) && !keep_lone(scanner))
		return STEP_BAD;
	if (member & STRING_IS_KEY)
		return member & STRING_IS_KEPT ? end_key(scanner) : go(scanner, AT_COLON);
	if (member & STRING_IS_KEPT) {
		scanner->model[scanner->own.value_length] = '\0';
		scanner->model_is_string = true;
	}
	return go(scanner, AT_COMMA_OR_CLOSE);
}

/* As much of a string as there is; returns the number of bytes, fewer only on a fault. */
static size_t take_string(struct json_scanner *scanner, const char *text, size_t length)
{
	size_t plain = scan_plain(text, length);

	if (plain && (scanner->own.member & STRING_IS_KEPT)) {
		if (!keep_lone(scanner))
			return 0;
		/* The first byte that finds no room is at fault, however the input is cut. */
		if (!keep(scanner, text, plain))
			return sizeof(scanner->model) - 1 - scanner->own.value_length;
	}
	if (plain == length)
		return length;
	if (text[plain] == '\\') {
		scanner->own.mode = IN_ESCAPE;
		return plain + 1;
	}
	if (text[plain] != '"') {
		scanner->error = "a control character in a string must be escaped";
		return plain;
	}
	return end_string(scanner) == STEP_BAD ? plain : plain + 1;
}

static enum step step_escape(struct json_scanner *scanner, unsigned char c)
{
	/* clang-format off */
	static const unsigned char meaning[256] = {
		['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n',
		['r'] = '\r', ['t'] = '\t',
	};
	/* clang-format on */

	if (c == 'u') {
		scanner->own.aux &= 0xffff0000;
		return go(scanner, IN_HEX_1);
	}
	if (!meaning[c])
		return bad(scanner, "an unknown escape in a string");
	scanner->own.mode = IN_STRING;
	if ((scanner->own.member & STRING_IS_KEPT) && !keep_unit(scanner, meaning[c]))
		return STEP_BAD;
	return STEP_TAKEN;
}

static enum step step_hex(struct json_scanner *scanner, unsigned char c)
{
	unsigned char lower = c | 0x20;
	uint32_t unit = scanner->own.aux & 0xffff;

	if (c >= '0' && c <= '9')
		unit = unit << 4 | (uint32_t)(c - '0');
	else if (lower >= 'a' && lower <= 'f')
		unit = unit << 4 | (uint32_t)(lower - 'a' + 10);
	else
		return bad(scanner, "\\u must be followed by four hexadecimal digits");
	scanner->own.aux = (scanner->own.aux & 0xffff0000) | unit;
	if (scanner->own.mode != IN_HEX_4)
		return go(scanner, scanner->own.mode + 1);
	scanner->own.mode = IN_STRING;
	if ((scanner->own.member & STRING_IS_KEPT) && !keep_unit(scanner, unit))
		return STEP_BAD;
	return STEP_TAKEN;
}

/* ---- values ---- */

static enum step step_literal(struct json_scanner *scanner, unsigned char c)
{
	uint32_t row = scanner->own.aux & 0xff, place = scanner->own.aux >> 8;

	if ((unsigned char)literals[row][place] != c)
		return bad(scanner, "a word that is not true, false or null");
	scanner->own.aux = row | (place + 1) << 8;
	if (literals[row][place + 1])
		return STEP_TAKEN;
	if (scanner->own.depth == 1 && (scanner->own.member & MEMBER_MASK) == MEMBER_STREAM &&
	    row < 2) {
		scanner->has_stream = true;
		scanner->stream = row == 0;
	}
	return go(scanner, AT_COMMA_OR_CLOSE);
}

static enum step begin_literal(struct json_scanner *scanner, uint32_t row)
{
	scanner->own.aux = row | 1 << 8;
	return go(scanner, IN_LITERAL);
}

static enum step step_value(struct json_scanner *scanner, unsigned char c)
{
	bool kept = scanner->own.depth == 1 && (scanner->own.member & MEMBER_MASK) == MEMBER_MODEL;

	switch (c) {
	case '"':
		return begin_string(scanner, false, kept);
	case '{':
		return open_level(scanner, true);
	case '[':
		return open_level(scanner, false);
	case 't':
		return begin_literal(scanner, 0);
	case 'f':
		return begin_literal(scanner, 1);
	case 'n':
		return begin_literal(scanner, 2);
	case '-':
		return go(scanner, NUMBER_MINUS);
	case '0':
		return go(scanner, NUMBER_ZERO);
	default:
		if (c >= '1' && c <= '9')
			return go(scanner, NUMBER_INTEGER);
		return bad(scanner, "a value is missing or begins with a wrong character");
	}
}

static enum step step_key(struct json_scanner *scanner, unsigned char c)
{
	if (c != '"')
		return bad(scanner, "a member's name in quotes is missing");
	if (scanner->own.depth == 1) {
		scanner->own.member &= ~(uint32_t)MEMBER_MASK;
		scanner->own.key_length = 0;
	}
	return begin_string(scanner, true, scanner->own.depth == 1);
}

/* RFC 8259 6, digit by digit; what ends a number is looked at again as what follows a value. */
static enum step step_number(struct json_scanner *scanner, unsigned char c)
{
	enum mode mode = scanner->own.mode;
	bool digit = c >= '0' && c <= '9';
	bool e = c == 'e' || c == 'E';

	switch (mode) {
	case NUMBER_MINUS:
		if (digit)
			return go(scanner, c == '0' ? NUMBER_ZERO : NUMBER_INTEGER);
		break;
	case NUMBER_ZERO:
	case NUMBER_INTEGER:
		if (digit && mode == NUMBER_INTEGER)
			return STEP_TAKEN;
		if (digit)
			break;
		if (c == '.' || e)
			return go(scanner, e ? NUMBER_E : NUMBER_POINT);
		scanner->own.mode = AT_COMMA_OR_CLOSE;
		return STEP_AGAIN;
	case NUMBER_POINT:
		if (digit)
			return go(scanner, NUMBER_FRACTION);
		break;
	case NUMBER_FRACTION:
		if (digit)
			return STEP_TAKEN;
		if (e)
			return go(scanner, NUMBER_E);
		scanner->own.mode = AT_COMMA_OR_CLOSE;
		return STEP_AGAIN;
	case NUMBER_E:
		if (c == '+' || c == '-')
			return go(scanner, NUMBER_SIGN);
		if (digit)
			return go(scanner, NUMBER_EXPONENT);
		break;
	case NUMBER_SIGN:
		if (digit)
			return go(scanner, NUMBER_EXPONENT);
		break;
	default: /* NUMBER_EXPONENT */
		if (digit)
			return STEP_TAKEN;
		scanner->own.mode = AT_COMMA_OR_CLOSE;
		return STEP_AGAIN;
	}
	return bad(scanner, "a number is not written as JSON wants it");
}

static enum step step_comma_or_close(struct json_scanner *scanner, unsigned char c)
{
	if (c == ',')
		return go(scanner, in_object(scanner) ? AT_KEY : AT_VALUE);
	if (c == '}' || c == ']')
		return close_level(scanner, c);
	return bad(scanner, "a comma or a closing bracket is missing after a value");
}

static enum step step(struct json_scanner *scanner, unsigned char c)
{
	enum mode mode = scanner->own.mode;

	if (is_space(c) && (mode <= AT_COMMA_OR_CLOSE || mode == AT_END))
		return STEP_TAKEN;
	switch (mode) {
	case AT_START:
		return c == '{' ? open_level(scanner, true)
				: bad(scanner, "the text does not begin with an object");
	case AT_KEY_OR_CLOSE:
		return c == '}' ? close_level(scanner, c) : step_key(scanner, c);
	case AT_KEY:
		return step_key(scanner, c);
	case AT_COLON:
		return c == ':' ? go(scanner, AT_VALUE)
				: bad(scanner, "a colon is missing after a member's name");
	case AT_VALUE:
		return step_value(scanner, c);
	case AT_VALUE_OR_CLOSE:
		return c == ']' ? close_level(scanner, c) : step_value(scanner, c);
	case AT_COMMA_OR_CLOSE:
		return step_comma_or_close(scanner, c);
	case IN_ESCAPE:
		return step_escape(scanner, c);
	case IN_HEX_1:
	case IN_HEX_2:
	case IN_HEX_3:
	case IN_HEX_4:
		return step_hex(scanner, c);
	case IN_LITERAL:
		return step_literal(scanner, c);
	case AT_END:
		return bad(scanner, "something follows the object");
	default:
		return step_number(scanner, c);
	}
}

/* ---- the interface ---- */

void json_scanner_init(struct json_scanner *scanner)
{
	memset(scanner, 0, sizeof(*scanner));
	scanner->state = JSON_SCAN_MORE;
}

static enum json_scan_state fail(struct json_scanner *scanner)
{
	scanner->error_offset = scanner->offset;
	return scanner->state = JSON_SCAN_INVALID;
}

enum json_scan_state json_scanner_feed(struct json_scanner *scanner, const char *data,
				       size_t length)
{
	uint64_t before = scanner->offset;
	size_t i = 0;

	while (i < length && scanner->state != JSON_SCAN_INVALID) {
		if (scanner->own.mode == IN_STRING) {
			i += take_string(scanner, data + i, length - i);
			scanner->offset = before + i;
			if (scanner->error)
				return fail(scanner);
			continue;
		}

		/* Long numbers and lists of them: an embedding request's tokens. */
		if (scanner->own.mode == NUMBER_INTEGER || scanner->own.mode == NUMBER_FRACTION) {
			while (i < length && data[i] >= '0' && data[i] <= '9')
				i++;
			if (i == length)
				break;
		}

		enum step result = step(scanner, (unsigned char)data[i]);

		if (result == STEP_BAD) {
			scanner->offset = before + i;
			return fail(scanner);
		}
		i += result == STEP_TAKEN;
	}
	if (scanner->state != JSON_SCAN_INVALID)
		scanner->offset = before + i;
	return scanner->state;
}

enum json_scan_state json_scanner_end(struct json_scanner *scanner)
{
	if (scanner->state != JSON_SCAN_MORE)
		return scanner->state;
	scanner->error = "the text ends before its object does";
	return fail(scanner);
}
