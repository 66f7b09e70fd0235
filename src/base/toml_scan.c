/* SPDX-License-Identifier: MIT */
/*
 * toml_scan.c - reads the words of TOML that are made of characters: white space, comments, keys
 * and the four kinds of strings; and checks the characters of the whole document first. Numbers
 * and dates are toml_scalar.c's, the grammar is toml.c's. Runs on the caller's thread.
 */
#include "base/toml_scan.h"

#include <stdio.h>

/* ---- errors and positions ---- */

struct pc__toml_pos pc__toml_scan_pos(struct toml_scan *scan, const char *at)
{
	if (at < scan->mark) {
		scan->mark = scan->line_start;
		scan->mark_column = 1;
	}
	for (; scan->mark < at; scan->mark++) {
		/* A continuation byte is not a character of its own. */
		if (((unsigned char)*scan->mark & 0xc0) != 0x80)
			scan->mark_column++;
	}
	return (struct pc__toml_pos){ scan->line, scan->mark_column };
}

int pc__toml_fail(struct toml_scan *scan, const char *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pc__toml_verror(scan->err, scan->doc, pc__toml_scan_pos(scan, at), fmt, args);
	va_end(args);
	return PC_E_INVALID_CONFIG;
}

int pc__toml_fail_pos(struct toml_scan *scan, struct pc__toml_pos pos, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pc__toml_verror(scan->err, scan->doc, pos, fmt, args);
	va_end(args);
	return PC_E_INVALID_CONFIG;
}

static size_t character_length(const char *p, const char *end)
{
	size_t length = 1;

	while (p + length < end && ((unsigned char)p[length] & 0xc0) == 0x80)
		length++;
	return length;
}

/* The scalar value of a well-formed sequence. */
static uint32_t decode(const char *p, size_t length)
{
	uint32_t scalar = (unsigned char)p[0] & (length == 1 ? 0x7f : 0xff >> (length + 1));

	for (size_t i = 1; i < length; i++)
		scalar = scalar << 6 | ((unsigned char)p[i] & 0x3f);
	return scalar;
}

/* Terminals obey these, U+0080 to U+009F too; a message shows them by number. */
static bool is_control(const char *p, size_t length)
{
	unsigned char c = (unsigned char)p[0];

	return c < 0x20 || c == 0x7f || (c == 0xc2 && length == 2 && (unsigned char)p[1] < 0xa0);
}

const char *pc__toml_found(const struct toml_scan *scan, char out[32])
{
	if (scan->p == scan->end)
		return "the end of the file";
	if (*scan->p == '\n' || *scan->p == '\r')
		return "a line break";
	if (*scan->p == '\t')
		return "a tab";

	size_t length = character_length(scan->p, scan->end);
	uint32_t scalar = decode(scan->p, length);

	/* The number too beyond ASCII, where characters look alike or like nothing. */
	if (length == 1)
		snprintf(out, 32, "'%c'", *scan->p);
	else if (is_control(scan->p, length))
		snprintf(out, 32, "U+%04X", scalar);
	else
		snprintf(out, 32, "'%.*s' (U+%04X)", (int)length, scan->p, scalar);
	return out;
}

const char *pc__toml_shown(const struct toml_key *key, char out[80])
{
	enum { ROOM = 64 };
	size_t length = 0;

	for (size_t i = 0; i < key->length;) {
		const char *p = key->text + i;
		size_t step = character_length(p, key->text + key->length);
		bool escaped = is_control(p, step);

		if (length + (escaped ? 6 : step) > ROOM) {
			length += (size_t)snprintf(out + length, 80 - length, "...");
			break;
		}
		if (escaped)
			length += (size_t)snprintf(out + length, 80 - length, "\\u%04X",
						   decode(p, step));
		else
			length += (size_t)snprintf(out + length, 80 - length, "%.*s", (int)step, p);
		i += step;
	}
	out[length] = '\0';
	return out;
}

/* ---- the whole document ---- */

static bool forbidden(const struct toml_scan *scan, const char *at)
{
	unsigned char c = (unsigned char)*at;

	if (c == '\r')
		return at + 1 == scan->end || at[1] != '\n';
	return (c < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
}

/*
 * What the specification forbids everywhere, outside strings, inside them and in comments: bytes
 * that are not UTF-8, control characters, and a CR without its LF. (The prose of 1.0.0 can be read
 * as if multi-line strings might hold a bare CR; its grammar does not have one.)
 */
static int check_characters(struct toml_scan *scan)
{
	const char *start = scan->p;
	size_t length = (size_t)(scan->end - start);
	const char *valid_end = start + pc__utf8_valid_prefix(start, length);
	int rc = 0;

	for (; scan->p < valid_end; scan->p++) {
		unsigned char c = (unsigned char)*scan->p;

		if (c >= 0x20 && c != 0x7f)
			continue;
		if (forbidden(scan, scan->p))
			break;
		if (c == '\n') {
			scan->line++;
			scan->line_start = scan->mark = scan->p + 1;
			scan->mark_column = 1;
		}
	}
	if (scan->p < valid_end && *scan->p == '\r')
		rc = pc__toml_fail(
			scan, scan->p,
			"a carriage return without a line feed; lines end in LF or CRLF");
	else if (scan->p < valid_end)
		rc = pc__toml_fail(scan, scan->p,
				   "control character U+%04X; write it as an escape, \"\\u%04X\"",
				   (unsigned char)*scan->p, (unsigned char)*scan->p);
	else if (valid_end < scan->end)
		rc = pc__toml_fail(
			scan, scan->p,
			"byte 0x%02X is not UTF-8; a TOML document must be UTF-8 throughout",
			(unsigned char)*scan->p);
	scan->p = scan->line_start = scan->mark = start;
	scan->line = scan->mark_column = 1;
	return rc;
}

int pc__toml_scan_init(struct toml_scan *scan, struct pc__toml_doc *doc, const char *text,
		       size_t length, struct pc_error *err)
{
	static const char bom[] = "\xef\xbb\xbf";
	bool has_bom = length >= 3 && memcmp(text, bom, 3) == 0;
	const char *start = has_bom ? text + 3 : text;

	*scan = (struct toml_scan){
		.text = text,
		.p = start,
		.end = text + length,
		.line = 1,
		.line_start = start,
		.mark = start,
		.mark_column = 1,
		.doc = doc,
		.scratch = PC__BUF_INIT,
		.err = err,
	};
	if (length > PC__TOML_MAX_BYTES)
		return pc__toml_fail(scan, start, "the document has %zu bytes, %zu are allowed",
				     length, PC__TOML_MAX_BYTES);
	if (length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
		return pc__toml_fail(scan, start, "the document is UTF-16; it must be UTF-8");
	return check_characters(scan);
}

void pc__toml_scan_fini(struct toml_scan *scan)
{
	pc__buf_fini(&scan->scratch);
}

/* ---- white space ---- */

void pc__toml_skip_space(struct toml_scan *scan)
{
	while (scan->p < scan->end && (*scan->p == ' ' || *scan->p == '\t'))
		scan->p++;
}

void pc__toml_skip_comment(struct toml_scan *scan)
{
	if (scan->p == scan->end || *scan->p != '#')
		return;

	const char *stop = memchr(scan->p, '\n', (size_t)(scan->end - scan->p));

	scan->p = stop ? stop : scan->end;
	if (stop && stop[-1] == '\r')
		scan->p--;
}

bool pc__toml_skip_newline(struct toml_scan *scan)
{
	if (scan->p == scan->end || (*scan->p != '\n' && *scan->p != '\r'))
		return false;
	scan->p += *scan->p == '\r' ? 2 : 1;
	scan->line++;
	scan->line_start = scan->mark = scan->p;
	scan->mark_column = 1;
	return true;
}

/* ---- strings ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The digits of \uXXXX or \UXXXXXXXX; scan->p stands on the letter. */
static int scan_unicode_escape(struct toml_scan *scan)
{
	const char *backslash = scan->p - 1;
	int digits = *scan->p++ == 'u' ? 4 : 8;
	uint32_t scalar = 0;
	char utf8[4];

	for (int i = 0; i < digits; i++, scan->p++) {
		int digit = scan->p < scan->end ? hex_digit(*scan->p) : -1;

		if (digit < 0)
			return pc__toml_fail(scan, backslash,
					     "\\%c needs %d hexadecimal digits, found %d",
					     backslash[1], digits, i);
		scalar = scalar << 4 | (uint32_t)digit;
	}

	size_t length = pc__utf8_encode(scalar, utf8);

	if (!length)
		return pc__toml_fail(scan, backslash,
				     "U+%04X is not a Unicode scalar value; those are U+0000 to "
				     "U+D7FF and U+E000 to U+10FFFF",
				     scalar);
	pc__buf_append(&scan->scratch, utf8, length);
	return 0;
}

/* scan->p stands behind the backslash. */
static int scan_escape(struct toml_scan *scan)
{
	static const char names[] = "btnfr\"\\";
	static const char values[] = "\b\t\n\f\r\"\\";
	const char *name;
	char found[32];

	if (scan->p == scan->end)
		return 0; /* the caller finds the string unclosed */
	if (*scan->p == 'u' || *scan->p == 'U')
		return scan_unicode_escape(scan);
	name = memchr(names, *scan->p, sizeof(names) - 1);
	if (!name)
		return pc__toml_fail(
			scan, scan->p - 1,
			"no escape begins with a backslash and %s; there are \\b \\t \\n "
			"\\f \\r \\\" \\\\ \\uXXXX \\UXXXXXXXX, and 'single quotes' take a "
			"backslash as it is",
			pc__toml_found(scan, found));
	pc__buf_append(&scan->scratch, &values[name - names], 1);
	scan->p++;
	return 0;
}

/* Takes what stands for itself up to a quote, a line break or, where it escapes, a backslash. */
static void scan_run(struct toml_scan *scan, char quote)
{
	const char *start = scan->p;

	while (scan->p < scan->end && *scan->p != quote && *scan->p != '\n' && *scan->p != '\r' &&
	       (*scan->p != '\\' || quote == '\''))
		scan->p++;
	pc__buf_append(&scan->scratch, start, (size_t)(scan->p - start));
}

static int scan_single_line(struct toml_scan *scan, char quote)
{
	const char *open = scan->p++;
	int rc;

	for (;;) {
		scan_run(scan, quote);
		if (scan->p == scan->end || *scan->p == '\n' || *scan->p == '\r')
			return pc__toml_fail(
				scan, open,
				"the string is not closed on its line; close it with %c, "
				"or use %c%c%c for several lines",
				quote, quote, quote, quote);
		if (*scan->p++ == quote)
			return 0;
		rc = scan_escape(scan);
		if (rc)
			return rc;
	}
}

/* A backslash at the end of a line: it, the line break and all white space behind it are dropped.
 * False when this backslash is none of those. */
static bool skip_line_ending_backslash(struct toml_scan *scan)
{
	const char *backslash = scan->p++;

	pc__toml_skip_space(scan);
	if (!pc__toml_skip_newline(scan)) {
		scan->p = backslash;
		return false;
	}
	do
		pc__toml_skip_space(scan);
	while (pc__toml_skip_newline(scan));
	return true;
}

/*
 * Three or more quotes close the string; up to two of them belong to its text, so that """"a""""
 * is "a" within quotes. Fewer are text.
 */
static bool scan_quotes(struct toml_scan *scan, char quote)
{
	size_t count = 0;

	while (count < 5 && scan->p + count < scan->end && scan->p[count] == quote)
		count++;
	pc__buf_append(&scan->scratch, scan->p, count < 3 ? count : count - 3);
	scan->p += count;
	return count >= 3;
}

static int scan_multi_line(struct toml_scan *scan, char quote)
{
	struct pc__toml_pos open = pc__toml_scan_pos(scan, scan->p);
	int rc;

	scan->p += 3;
	pc__toml_skip_newline(scan);
	for (;;) {
		scan_run(scan, quote);
		if (scan->p == scan->end)
			return pc__toml_fail_pos(scan, open,
						 "the string is not closed; close it with %c%c%c",
						 quote, quote, quote);
		if (*scan->p == quote) {
			if (scan_quotes(scan, quote))
				return 0;
		} else if (pc__toml_skip_newline(scan)) {
			/* Whichever line end the file has, the text has the platform's. */
			pc__buf_append(&scan->scratch, "\n", 1);
		} else if (!skip_line_ending_backslash(scan)) {
			scan->p++;
			rc = scan_escape(scan);
			if (rc)
				return rc;
		}
	}
}

static bool at_triple_quote(const struct toml_scan *scan)
{
	return scan->end - scan->p >= 3 && scan->p[1] == scan->p[0] && scan->p[2] == scan->p[0];
}

int pc__toml_scan_string(struct toml_scan *scan, struct toml_string *ret_string)
{
	char quote = *scan->p;
	int rc;

	scan->scratch.length = 0;
	rc = at_triple_quote(scan) ? scan_multi_line(scan, quote) : scan_single_line(scan, quote);
	if (rc)
		return rc;
	if (scan->scratch.failed)
		return pc_error_oom(scan->err);
	ret_string->length = scan->scratch.length;
	ret_string->text = pc__toml_copy(scan->doc, scan->scratch.data, scan->scratch.length);
	return ret_string->text ? 0 : pc_error_oom(scan->err);
}

/* ---- keys ---- */

static bool bare_key_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

int pc__toml_scan_key(struct toml_scan *scan, struct toml_key *ret_key)
{
	const char *start = scan->p;
	struct pc__toml_pos pos = pc__toml_scan_pos(scan, start);
	char found[32];

	if (start < scan->end && (*start == '"' || *start == '\'')) {
		struct toml_string text;
		int rc;

		if (at_triple_quote(scan))
			return pc__toml_fail(
				scan, start,
				"a key cannot be a multi-line string; use \"...\" or '...'");
		rc = pc__toml_scan_string(scan, &text);
		if (rc)
			return rc;
		*ret_key = (struct toml_key){ text.text, text.length, pos };
		return 0;
	}
	while (scan->p < scan->end && bare_key_character(*scan->p))
		scan->p++;
	if (scan->p == start)
		return pc__toml_fail(
			scan, start,
			"expected a key, found %s; a key without quotes has letters A to "
			"Z, digits, '_' and '-' only",
			pc__toml_found(scan, found));

	const char *text = pc__toml_copy(scan->doc, start, (size_t)(scan->p - start));

	if (!text)
		return pc_error_oom(scan->err);
	*ret_key = (struct toml_key){ text, (size_t)(scan->p - start), pos };
	return 0;
}
