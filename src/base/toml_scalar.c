/* SPDX-License-Identifier: MIT */
/*
 * toml_scalar.c - reads the TOML values that are one bare word: booleans, integers, floats, dates
 * and times. Runs on the caller's thread; whatever locale the program has set does not matter.
 */
#include "base/toml_scan.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

/* The word being read, from its first character to behind its last. */
struct word {
	const char *start;
	const char *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool word_character(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
	       c == '-' || c == '_' || c == '.' || c == ':';
}

static struct word take_word(struct toml_scan *scan)
{
	const char *start = scan->p;

	while (scan->p < scan->end && word_character(*scan->p))
		scan->p++;
	return (struct word){ start, scan->p };
}

static bool word_is(struct word word, const char *text)
{
	size_t length = (size_t)(word.end - word.start);

	return length == strlen(text) && memcmp(word.start, text, length) == 0;
}

/* ---- numbers ---- */

/* For a sentence: long words are cut. */
#define SHOWN(word) \
	((word).end - (word).start > 40 ? 40 : (int)((word).end - (word).start)), (word).start

static bool digit_of_base(char c, int base)
{
	if (base == 16)
		return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
	return c >= '0' && c < '0' + base;
}

/*
 * One or more digits of the base with single underscores between them, appended to the scratch
 * buffer without those. Moves *at behind them.
 */
static int take_digits(struct toml_scan *scan, struct word word, const char **at, int base)
{
	const char *start = *at;
	const char *p = start;

	while (p < word.end && (digit_of_base(*p, base) || *p == '_')) {
		if (*p == '_' &&
		    (p == start || p[-1] == '_' || p + 1 == word.end || !digit_of_base(p[1], base)))
			return pc__toml_fail(
				scan, p,
				"'_' in a number stands between two digits, in '%.*s' it "
				"does not",
				SHOWN(word));
		if (*p != '_')
			pc__buf_append(&scan->scratch, p, 1);
		p++;
	}
	if (p == start)
		return pc__toml_fail(scan, p, "expected a digit here in the number '%.*s'",
				     SHOWN(word));
	*at = p;
	return 0;
}

static int check_end(struct toml_scan *scan, struct word word, const char *at)
{
	if (at == word.end)
		return 0;
	return pc__toml_fail(scan, at, "'%c' does not belong in the number '%.*s'", *at,
			     SHOWN(word));
}

static int check_leading_zero(struct toml_scan *scan, struct word word, const char *digits)
{
	if (digits[0] != '0' || digits + 1 >= word.end ||
	    !(is_digit(digits[1]) || digits[1] == '_'))
		return 0;
	return pc__toml_fail(scan, digits,
			     "a decimal number has no leading zero, '%.*s' has one (octal is 0o17)",
			     SHOWN(word));
}

static int finish_integer(struct toml_scan *scan, struct word word, int base,
			  struct pc__toml_value *value)
{
	if (scan->scratch.failed)
		return pc_error_oom(scan->err);
	errno = 0;
	value->kind = PC__TOML_INTEGER;
	value->integer = strtoll(scan->scratch.data, NULL, base);
	if (errno == ERANGE)
		return pc__toml_fail(scan, word.start,
				     "%.*s does not fit in 64 bits; integers are "
				     "-9223372036854775808 to 9223372036854775807",
				     SHOWN(word));
	return 0;
}

static int scan_based_integer(struct toml_scan *scan, struct word word, int base,
			      struct pc__toml_value *value)
{
	const char *at = word.start + 2;
	int rc = take_digits(scan, word, &at, base);

	if (!rc)
		rc = check_end(scan, word, at);
	return rc ? rc : finish_integer(scan, word, base, value);
}

static int finish_float(struct toml_scan *scan, struct word word, struct pc__toml_value *value)
{
	if (scan->scratch.failed)
		return pc_error_oom(scan->err);

	/* The decimal point is a point, whatever the program's locale says. */
	locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);

	if (!c_locale)
		return pc_error_oom(scan->err);
	value->kind = PC__TOML_FLOAT;
	value->real = strtod_l(scan->scratch.data, NULL, c_locale);
	freelocale(c_locale);
	if (isinf(value->real))
		return pc__toml_fail(
			scan, word.start,
			"%.*s is too large for a 64-bit float; write inf if that is meant",
			SHOWN(word));
	return 0;
}

/* [sign] digits, then for a float: ['.' digits] [e [sign] digits]. */
static int scan_decimal(struct toml_scan *scan, struct word word, const char *at,
			struct pc__toml_value *value)
{
	bool is_float = false;
	int rc = check_leading_zero(scan, word, at);

	if (!rc)
		rc = take_digits(scan, word, &at, 10);
	if (!rc && at < word.end && *at == '.') {
		is_float = true;
		pc__buf_append(&scan->scratch, at++, 1);
		rc = take_digits(scan, word, &at, 10);
	}
	if (!rc && at < word.end && (*at == 'e' || *at == 'E')) {
		is_float = true;
		pc__buf_append(&scan->scratch, at++, 1);
		if (at < word.end && (*at == '+' || *at == '-'))
			pc__buf_append(&scan->scratch, at++, 1);
		rc = take_digits(scan, word, &at, 10);
	}
	if (!rc)
		rc = check_end(scan, word, at);
	if (rc)
		return rc;
	return is_float ? finish_float(scan, word, value) : finish_integer(scan, word, 10, value);
}

static int scan_number(struct toml_scan *scan, struct word word, struct pc__toml_value *value)
{
	bool is_signed = *word.start == '+' || *word.start == '-';
	struct word digits = { word.start + is_signed, word.end };
	static const char letters[] = "xob";
	static const int bases[] = { 16, 8, 2 };
	const char *letter;

	if (word_is(digits, "inf") || word_is(digits, "nan")) {
		double magnitude = *digits.start == 'i' ? INFINITY : NAN;

		value->kind = PC__TOML_FLOAT;
		value->real = *word.start == '-' ? -magnitude : magnitude;
		return 0;
	}
	scan->scratch.length = 0;
	if (digits.end - digits.start >= 2 && digits.start[0] == '0' &&
	    (letter = memchr(letters, digits.start[1], sizeof(letters) - 1))) {
		if (is_signed)
			return pc__toml_fail(
				scan, word.start,
				"a number with the prefix 0%c has no sign, '%.*s' has one", *letter,
				SHOWN(word));
		return scan_based_integer(scan, word, bases[letter - letters], value);
	}
	if (is_signed)
		pc__buf_append(&scan->scratch, word.start, 1);
	return scan_decimal(scan, word, digits.start, value);
}

/* ---- dates and times (RFC 3339) ---- */

/* Reads exactly `count` digits; false, with *at where it was, when they are not there. */
static bool take_count(const char **at, const char *end, int count, int *ret_number)
{
	int number = 0;

	if (end - *at < count)
		return false;
	for (int i = 0; i < count; i++) {
		if (!is_digit((*at)[i]))
			return false;
		number = number * 10 + ((*at)[i] - '0');
	}
	*at += count;
	*ret_number = number;
	return true;
}

static bool take_char(const char **at, const char *end, char c)
{
	if (*at == end || **at != c)
		return false;
	(*at)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

static int scan_date(struct toml_scan *scan, struct word word, const char **at,
		     struct pc__toml_datetime *when)
{
	const char *start = *at;

	if (!take_count(at, word.end, 4, &when->year) || !take_char(at, word.end, '-') ||
	    !take_count(at, word.end, 2, &when->month) || !take_char(at, word.end, '-') ||
	    !take_count(at, word.end, 2, &when->day))
		return pc__toml_fail(scan, start,
				     "'%.*s' is not a date; dates look like 1979-05-27",
				     SHOWN(word));
	if (when->month < 1 || when->month > 12)
		return pc__toml_fail(scan, start + 5, "there is no month %02d; months are 01 to 12",
				     when->month);
	if (when->day < 1 || when->day > days_in_month(when->year, when->month))
		return pc__toml_fail(
			scan, start + 8, "%04d-%02d has no day %02d; days are 01 to %d", when->year,
			when->month, when->day, days_in_month(when->year, when->month));
	return 0;
}

/* The digits behind the seconds' point; those finer than a nanosecond are dropped. */
static bool take_fraction(const char **at, const char *end, int *ret_nanosecond)
{
	const char *start = *at;
	int nanosecond = 0;
	int scale = 100000000;

	for (; *at < end && is_digit(**at); (*at)++, scale /= 10)
		nanosecond += (**at - '0') * scale;
	*ret_nanosecond = nanosecond;
	return *at > start;
}

static int scan_time(struct toml_scan *scan, struct word word, const char **at,
		     struct pc__toml_datetime *when)
{
	const char *start = *at;

	if (!take_count(at, word.end, 2, &when->hour) || !take_char(at, word.end, ':') ||
	    !take_count(at, word.end, 2, &when->minute) || !take_char(at, word.end, ':') ||
	    !take_count(at, word.end, 2, &when->second))
		return pc__toml_fail(scan, start, "'%.*s' has no time of day like 07:32:00",
				     SHOWN(word));
	if (take_char(at, word.end, '.') && !take_fraction(at, word.end, &when->nanosecond))
		return pc__toml_fail(scan, *at, "expected a digit behind the point in '%.*s'",
				     SHOWN(word));
	if (when->hour > 23)
		return pc__toml_fail(scan, start, "there is no hour %d; hours are 00 to 23",
				     when->hour);
	if (when->minute > 59)
		return pc__toml_fail(scan, start + 3, "there is no minute %d; minutes are 00 to 59",
				     when->minute);
	if (when->second > 60)
		return pc__toml_fail(
			scan, start + 6,
			"there is no second %d; seconds are 00 to 59, or 60 for a leap "
			"second",
			when->second);
	return 0;
}

static int scan_offset(struct toml_scan *scan, struct word word, const char **at,
		       struct pc__toml_datetime *when)
{
	const char *start = *at;
	int hours, minutes;

	if (**at == 'Z' || **at == 'z') {
		(*at)++;
		return 0;
	}
	(*at)++;
	if ((*start != '+' && *start != '-') || !take_count(at, word.end, 2, &hours) ||
	    !take_char(at, word.end, ':') || !take_count(at, word.end, 2, &minutes) || hours > 23 ||
	    minutes > 59)
		return pc__toml_fail(
			scan, start,
			"expected an offset from Z or -23:59 to +23:59 behind the time "
			"in '%.*s'",
			SHOWN(word));
	when->offset_minutes = (*start == '-' ? -1 : 1) * (hours * 60 + minutes);
	return 0;
}

/*
 * A date and a time may be parted by a space, which no other word contains. It is one only when a
 * digit follows, so that a comment or another line break may follow a date.
 */
static struct word join_time(struct toml_scan *scan, struct word word)
{
	if (word.end - word.start == 10 && scan->end - scan->p >= 2 && scan->p[0] == ' ' &&
	    is_digit(scan->p[1])) {
		scan->p++;
		word.end = take_word(scan).end;
	}
	return word;
}

static int scan_datetime(struct toml_scan *scan, struct word word, struct pc__toml_value *value)
{
	struct pc__toml_datetime *when = &value->datetime;
	const char *at = word.start;
	int rc = 0;

	value->kind = PC__TOML_LOCAL_TIME;
	if (word.start[2] != ':') {
		word = join_time(scan, word);
		value->kind = PC__TOML_LOCAL_DATE;
		rc = scan_date(scan, word, &at, when);
		if (!rc && at < word.end) {
			if (*at != 'T' && *at != 't' && *at != ' ')
				return pc__toml_fail(scan, at,
						     "'%c' does not belong behind a date; a time "
						     "follows after T or one space",
						     *at);
			at++;
			value->kind = PC__TOML_LOCAL_DATETIME;
		}
	}
	if (!rc && value->kind != PC__TOML_LOCAL_DATE)
		rc = scan_time(scan, word, &at, when);
	if (!rc && at < word.end && value->kind == PC__TOML_LOCAL_DATETIME) {
		value->kind = PC__TOML_OFFSET_DATETIME;
		rc = scan_offset(scan, word, &at, when);
	}
	if (!rc && at < word.end)
		rc = pc__toml_fail(scan, at, "'%c' does not belong in the date or time '%.*s'", *at,
				   SHOWN(word));
	return rc;
}

/* Four digits and '-', or two and ':': no number begins like that. */
static bool looks_like_datetime(struct word word)
{
	const char *at = word.start;
	int number;

	if (take_count(&at, word.end, 4, &number))
		return at < word.end && *at == '-';
	return take_count(&at, word.end, 2, &number) && at < word.end && *at == ':';
}

int pc__toml_scan_scalar(struct toml_scan *scan, struct pc__toml_value *value)
{
	struct word word = take_word(scan);
	char found[32];

	if (word.start == word.end)
		return pc__toml_fail(scan, word.start, "expected a value, found %s",
				     pc__toml_found(scan, found));
	if (word_is(word, "true") || word_is(word, "false")) {
		value->kind = PC__TOML_BOOLEAN;
		value->boolean = *word.start == 't';
		return 0;
	}
	if (looks_like_datetime(word))
		return scan_datetime(scan, word, value);

	const char *first = word.start + (*word.start == '+' || *word.start == '-');

	if (word_is((struct word){ first, word.end }, "inf") ||
	    word_is((struct word){ first, word.end }, "nan") ||
	    (first < word.end && (is_digit(*first) || *first == '_' || *first == '.')))
		return scan_number(scan, word, value);
	return pc__toml_fail(
		scan, word.start,
		"'%.*s' is not a value; strings stand in quotes, booleans are true and "
		"false",
		SHOWN(word));
}
