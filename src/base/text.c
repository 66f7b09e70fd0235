/* SPDX-License-Identifier: MIT */
/*
 * text.c - UTF-8, hashes, growing buffers, sizes and durations as people write them. Pure
 * functions, any thread; nothing here knows a locale.
 */
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- UTF-8 ---- */

/* Length of the well-formed sequence at text[0..length), or 0. */
static size_t utf8_sequence(const unsigned char *text, size_t length)
{
	unsigned char lead = text[0];
	size_t need;
	unsigned char low = 0x80, high = 0xbf; /* range of the second byte */

	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf) {
		need = 2;
	} else if (lead >= 0xe0 && lead <= 0xef) {
		need = 3;
		if (lead == 0xe0)
			low = 0xa0; /* shorter forms exist */
		if (lead == 0xed)
			high = 0x9f; /* surrogates */
	} else if (lead >= 0xf0 && lead <= 0xf4) {
		need = 4;
		if (lead == 0xf0)
			low = 0x90;
		if (lead == 0xf4)
			high = 0x8f; /* past U+10FFFF */
	} else {
		return 0;
	}
	if (length < need || text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++) {
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	}
	return need;
}

size_t pc__utf8_valid_prefix(const char *text, size_t length)
{
	size_t done = 0;

	while (done < length) {
		size_t step = utf8_sequence((const unsigned char *)text + done, length - done);

		if (!step)
			break;
		done += step;
	}
	return done;
}

size_t pc__utf8_next(const char *text, size_t length, uint32_t *ret_scalar)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t count = length ? utf8_sequence(bytes, length) : 0;
	uint32_t scalar;

	if (count == 0)
		return 0;
	scalar = count > 1 ? bytes[0] & (0x7fu >> count) : bytes[0];
	for (size_t i = 1; i < count; i++)
		scalar = scalar << 6 | (bytes[i] & 0x3f);
	*ret_scalar = scalar;
	return count;
}

bool pc__is_unseen(uint32_t scalar)
{
	static const struct {
		uint32_t first, last;
	} unseen[] = {
		{ 0x0000, 0x001f }, { 0x007f, 0x009f }, { 0x00ad, 0x00ad },   { 0x061c, 0x061c },
		{ 0x180e, 0x180e }, { 0x200b, 0x200f }, { 0x2028, 0x202e },   { 0x2060, 0x206f },
		{ 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(unseen); i++) {
		if (scalar >= unseen[i].first && scalar <= unseen[i].last)
			return true;
	}
	return false;
}

size_t pc__utf8_cut(const char *text, size_t length)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t start = length;

	/* Find the lead byte of the last sequence; at most three continuation bytes follow one. */
	while (start > 0 && length - start < 4) {
		start--;
		if ((bytes[start] & 0xc0) == 0x80)
			continue;
		if (bytes[start] < 0xc0 || utf8_sequence(bytes + start, length - start))
			return length;
		return start;
	}
	return length;
}

void pc__utf8_repair(char *text)
{
	size_t length = strlen(text), done = 0;

	while ((done += pc__utf8_valid_prefix(text + done, length - done)) < length)
		text[done] = '?';
}

size_t pc__utf8_encode(uint32_t scalar, char out[4])
{
	if (scalar < 0x80) {
		out[0] = (char)scalar;
		return 1;
	}
	if (scalar < 0x800) {
		out[0] = (char)(0xc0 | scalar >> 6);
		out[1] = (char)(0x80 | (scalar & 0x3f));
		return 2;
	}
	if (scalar < 0x10000) {
		if (scalar >= 0xd800 && scalar <= 0xdfff)
			return 0;
		out[0] = (char)(0xe0 | scalar >> 12);
		out[1] = (char)(0x80 | (scalar >> 6 & 0x3f));
		out[2] = (char)(0x80 | (scalar & 0x3f));
		return 3;
	}
	if (scalar > 0x10ffff)
		return 0;
	out[0] = (char)(0xf0 | scalar >> 18);
	out[1] = (char)(0x80 | (scalar >> 12 & 0x3f));
	out[2] = (char)(0x80 | (scalar >> 6 & 0x3f));
	out[3] = (char)(0x80 | (scalar & 0x3f));
	return 4;
}

/* ---- hashing ---- */

uint64_t pc__hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* ---- buffers ---- */

static bool buf_reserve(struct pc__buf *buf, size_t more)
{
	size_t need, capacity = buf->capacity ? buf->capacity : 64;

	if (buf->failed)
		return false;
	if (__builtin_add_overflow(buf->length, more, &need) || need == SIZE_MAX)
		goto fail;
	need++; /* the terminating NUL */
	if (buf->data && need <= buf->capacity)
		return true;
	while (capacity < need)
		capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;

	char *data = pc_realloc(buf->data, capacity);

	if (!data)
		goto fail;
	buf->data = data;
	buf->capacity = capacity;
	return true;
fail:
	buf->failed = true;
	return false;
}

void pc__buf_append(struct pc__buf *buf, const void *data, size_t length)
{
	if (!buf_reserve(buf, length))
		return;
	if (length)
		memcpy(buf->data + buf->length, data, length);
	buf->length += length;
	buf->data[buf->length] = '\0';
}

void pc__buf_puts(struct pc__buf *buf, const char *text)
{
	pc__buf_append(buf, text, strlen(text));
}

void pc__buf_printf(struct pc__buf *buf, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int length = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (length < 0 || !buf_reserve(buf, (size_t)length)) {
		buf->failed = true;
		return;
	}
	va_start(args, fmt);
	vsnprintf(buf->data + buf->length, (size_t)length + 1, fmt, args);
	va_end(args);
	buf->length += (size_t)length;
}

void pc__buf_fini(struct pc__buf *buf)
{
	pc_free(buf->data);
	*buf = (struct pc__buf)PC__BUF_INIT;
}

char *pc__buf_steal(struct pc__buf *buf)
{
	if (!buf->failed && !buf->data)
		pc__buf_append(buf, "", 0);

	char *text = buf->failed ? NULL : pc_steal(&buf->data);

	pc__buf_fini(buf);
	return text;
}

/* ---- sizes and durations ---- */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 },
	{ "B", 1 },
	{ "kB", UINT64_C(1000) },
	{ "KB", UINT64_C(1000) },
	{ "MB", UINT64_C(1000000) },
	{ "GB", UINT64_C(1000000000) },
	{ "TB", UINT64_C(1000000000000) },
	{ "KiB", UINT64_C(1) << 10 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "TiB", UINT64_C(1) << 40 },
};

/* Factors are milliseconds. */
static const struct unit duration_units[] = {
	{ "", 1000 },	{ "ms", 1 },	  { "s", 1000 },
	{ "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
};

/*
 * digits ['.' digits] unit, without signs, spaces or exponents. The fraction is carried as an exact
 * ratio: 1.5GiB is 15 GiB / 10, and "0.3B" is refused because it is not whole.
 */
static int parse_scaled(const char *text, const struct unit *units, size_t unit_count,
			uint64_t *ret_value)
{
	unsigned __int128 digits = 0, divisor = 1, value;
	const char *p = text;
	int count = 0;

	for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
		if (*p == '.') {
			if (divisor != 1 || count == 0 || !(p[1] >= '0' && p[1] <= '9'))
				return -1;
			divisor = 10;
			p++;
			digits = digits * 10 + (unsigned)(*p - '0');
		} else {
			digits = digits * 10 + (unsigned)(*p - '0');
			if (divisor != 1)
				divisor *= 10;
		}
		if (++count > 20)
			return -1;
	}
	if (count == 0)
		return -1;
	for (size_t i = 0; i < unit_count; i++) {
		if (strcmp(p, units[i].name) != 0)
			continue;
		value = digits * units[i].factor;
		if (value % divisor != 0 || value / divisor > INT64_MAX)
			return -1;
		*ret_value = (uint64_t)(value / divisor);
		return 0;
	}
	return -1;
}

int pc__parse_size(const char *text, uint64_t *ret_bytes)
{
	return parse_scaled(text, size_units, PC_ARRAY_LEN(size_units), ret_bytes);
}

int pc__parse_duration(const char *text, int64_t *ret_ms)
{
	bool negative = text[0] == '-';
	uint64_t ms;

	if (parse_scaled(text + negative, duration_units, PC_ARRAY_LEN(duration_units), &ms))
		return -1;
	*ret_ms = negative ? -(int64_t)ms : (int64_t)ms;
	return 0;
}

/* "3" or "3.4": one decimal, dropped when it is zero. */
static void format_tenths(char *out, size_t size, double value, const char *unit)
{
	double tenths = floor(value * 10 + 0.5);

	if (fmod(tenths, 10) == 0)
		snprintf(out, size, "%.0f %s", tenths / 10, unit);
	else
		snprintf(out, size, "%.1f %s", tenths / 10, unit);
}

const char *pc_format_size(uint64_t bytes, char out[32])
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(out, 32, "%u %s", (unsigned)bytes, bytes == 1 ? "byte" : "bytes");
		return out;
	}
	/* 1023.95 and more would be printed as 1024. */
	for (value /= 1024; value >= 1023.95 && unit + 1 < PC_ARRAY_LEN(names); unit++)
		value /= 1024;
	format_tenths(out, 32, value, names[unit]);
	return out;
}

const char *pc_format_duration(uint64_t ns, char out[32])
{
	double ms = (double)ns / 1e6;

	/* 999.95 and more would be printed as 1000. */
	if (ns < 999950)
		format_tenths(out, 32, (double)ns / 1e3, "us");
	else if (ms < 999.95)
		format_tenths(out, 32, ms, "ms");
	else if (ms < 119950)
		format_tenths(out, 32, ms / 1e3, "s");
	else
		format_tenths(out, 32, ms / 60e3, "min");
	return out;
}

unsigned pc__edit_distance(const char *a, const char *b)
{
	enum { MAX = 63 };
	unsigned row[3][MAX + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > MAX || lb > MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);

			if (before[j] + 1 < best)
				best = before[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    earlier[j - 2] + 1 < best)
				best = earlier[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[la % 3][lb];
}
