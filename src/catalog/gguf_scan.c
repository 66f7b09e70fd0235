/* SPDX-License-Identifier: MIT */
/*
 * gguf_scan.c - the bytes of a GGUF header, by pread through one window. It allocates nothing, and
 * no number of the file is used before it is known to fit into what is left of the file; so the
 * work is bounded by the header's size. What keys mean is gguf_keys.c's. Runs on the caller's
 * thread.
 */
#include "catalog/gguf_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Arrays in arrays; the specification sets no limit, and no known file has any. */
#define DEPTH_MAX 4

static const struct {
	const char *name;
	uint8_t bytes; /* the least that one takes */
	bool is_integer, is_signed;
} kinds[GGUF_KINDS] = {
	[GGUF_U8] = { "a u8", 1, true, false },
	[GGUF_I8] = { "an i8", 1, true, true },
	[GGUF_U16] = { "a u16", 2, true, false },
	[GGUF_I16] = { "an i16", 2, true, true },
	[GGUF_U32] = { "a u32", 4, true, false },
	[GGUF_I32] = { "an i32", 4, true, true },
	[GGUF_F32] = { "an f32", 4, false, false },
	[GGUF_BOOL] = { "a bool", 1, false, false },
	[GGUF_STRING] = { "a string", 8, false, false },
	[GGUF_ARRAY] = { "an array", 12, false, false },
	[GGUF_U64] = { "a u64", 8, true, false },
	[GGUF_I64] = { "an i64", 8, true, true },
	[GGUF_F64] = { "an f64", 8, false, false },
};

int pc__gguf_fail(struct gguf_scan *scan, uint64_t at, const char *fmt, ...)
{
	char sentence[PC_ERROR_MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	pc_error_set(scan->err, PC_E_MODEL_FILE_INVALID, "byte %" PRIu64 ": %s", at, sentence);
	pc_error_detail(scan->err, "byte", "%" PRIu64, at);
	return PC_E_MODEL_FILE_INVALID;
}

/* ---- bytes ---- */

/* How many bytes the header may still have. */
static uint64_t rest(const struct gguf_scan *scan)
{
	uint64_t end = scan->file_bytes < PC__GGUF_HEADER_MAX ? scan->file_bytes
							      : PC__GGUF_HEADER_MAX;

	return scan->at < end ? end - scan->at : 0;
}

static int need(struct gguf_scan *scan, uint64_t bytes, const char *what)
{
	if (bytes <= rest(scan))
		return 0;
	if (bytes <= scan->file_bytes - scan->at)
		return pc__gguf_fail(scan, scan->at,
				     "%s leads the header past %" PRIu64
				     " MiB, the most that is read",
				     what, PC__GGUF_HEADER_MAX >> 20);
	return pc__gguf_fail(scan, scan->at,
			     "%s takes %" PRIu64 " bytes and the file ends after %" PRIu64
			     "; it is damaged, or was not copied whole",
			     what, bytes, scan->file_bytes - scan->at);
}

/* Moves the window to the next byte. The file may have become shorter meanwhile. */
static int fill(struct gguf_scan *scan)
{
	ssize_t got;

	do {
		got = pread(scan->fd, scan->window, sizeof(scan->window), (off_t)scan->at);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return pc_error_sys(scan->err, PC_E_IO, errno, "cannot read at byte %" PRIu64,
				    scan->at);
	if (got == 0)
		return pc__gguf_fail(scan, scan->at,
				     "the file ended here while it was read; it is being changed");
	scan->window_at = scan->at;
	scan->window_bytes = (size_t)got;
	return 0;
}

static int take(struct gguf_scan *scan, void *out, size_t bytes, const char *what)
{
	unsigned char *to = out;
	int rc = need(scan, bytes, what);

	while (rc == 0 && bytes > 0) {
		uint64_t behind = scan->at - scan->window_at;
		size_t part;

		if (scan->at < scan->window_at || behind >= scan->window_bytes) {
			rc = fill(scan);
			continue;
		}
		part = scan->window_bytes - (size_t)behind;
		part = part < bytes ? part : bytes;
		to = mempcpy(to, scan->window + behind, part);
		scan->at += part;
		bytes -= part;
	}
	return rc;
}

int pc__gguf_skip(struct gguf_scan *scan, uint64_t bytes, const char *what)
{
	int rc = need(scan, bytes, what);

	if (rc == 0)
		scan->at += bytes;
	return rc;
}

/* ---- numbers and strings ---- */

/* A little-endian number of 1 to 8 bytes. */
static int number(struct gguf_scan *scan, const char *what, size_t bytes, uint64_t *ret_number)
{
	unsigned char raw[8];
	uint64_t value = 0;
	int rc = take(scan, raw, bytes, what);

	if (rc)
		return rc;
	while (bytes > 0)
		value = value << 8 | raw[--bytes];
	*ret_number = value;
	return 0;
}

int pc__gguf_u32(struct gguf_scan *scan, const char *what, uint32_t *ret_number)
{
	uint64_t value;
	int rc = number(scan, what, 4, &value);

	if (rc == 0)
		*ret_number = (uint32_t)value;
	return rc;
}

int pc__gguf_u64(struct gguf_scan *scan, const char *what, uint64_t *ret_number)
{
	return number(scan, what, 8, ret_number);
}

int pc__gguf_count(struct gguf_scan *scan, const char *what, uint64_t least_bytes,
		   uint64_t *ret_count)
{
	uint64_t at = scan->at, count;
	int rc = number(scan, what, 8, &count);

	if (rc)
		return rc;
	if (count > rest(scan) / least_bytes)
		return pc__gguf_fail(scan, at,
				     "%s is %" PRIu64 " and at most %" PRIu64
				     " fit into what is left of the file; it is damaged",
				     what, count, rest(scan) / least_bytes);
	*ret_count = count;
	return 0;
}

int pc__gguf_string(struct gguf_scan *scan, const char *what, uint64_t max, char *out, size_t size,
		    uint64_t *ret_length)
{
	uint64_t at = scan->at, length;
	size_t kept;
	int rc = number(scan, what, 8, &length);

	if (rc)
		return rc;
	if (length > max)
		return pc__gguf_fail(scan, at,
				     "%s has %" PRIu64 " bytes; at most %" PRIu64 " are allowed",
				     what, length, max);
	rc = need(scan, length, what);
	if (rc)
		return rc;
	kept = length < size ? (size_t)length : size - 1;
	rc = take(scan, out, kept, what);
	if (rc)
		return rc;
	out[kept] = '\0';
	scan->at += length - kept;
	if (ret_length)
		*ret_length = length;
	return 0;
}

/* ---- values ---- */

int pc__gguf_kind(struct gguf_scan *scan, enum gguf_kind *ret_kind)
{
	uint64_t at = scan->at;
	uint32_t kind;
	int rc = pc__gguf_u32(scan, "a value's type", &kind);

	if (rc)
		return rc;
	if (kind >= GGUF_KINDS)
		return pc__gguf_fail(scan, at,
				     "%u is no type of a value; the known ones are 0 to %d", kind,
				     GGUF_KINDS - 1);
	*ret_kind = (enum gguf_kind)kind;
	return 0;
}

const char *pc__gguf_kind_name(enum gguf_kind kind)
{
	return kinds[kind].name;
}

int pc__gguf_array(struct gguf_scan *scan, enum gguf_kind *ret_kind, uint64_t *ret_count)
{
	int rc = pc__gguf_kind(scan, ret_kind);

	return rc ? rc
		  : pc__gguf_count(scan, "the number of an array's items", kinds[*ret_kind].bytes,
				   ret_count);
}

int pc__gguf_integer(struct gguf_scan *scan, enum gguf_kind kind, const char *key,
		     uint32_t *ret_number)
{
	uint64_t at = scan->at, value, limit = UINT32_MAX;
	unsigned bits = kinds[kind].bytes * 8u;
	int rc;

	if (!kinds[kind].is_integer)
		return pc__gguf_fail(scan, at, "%s is %s; an integer belongs there", key,
				     kinds[kind].name);
	rc = number(scan, key, kinds[kind].bytes, &value);
	if (rc)
		return rc;
	if (kinds[kind].is_signed && (value >> (bits - 1)) & 1)
		return pc__gguf_fail(scan, at, "%s is negative; it counts something", key);
	if (value > limit)
		return pc__gguf_fail(scan, at,
				     "%s is %" PRIu64 "; at most %" PRIu64 " is plausible", key,
				     value, limit);
	*ret_number = (uint32_t)value;
	return 0;
}

static int skip_value(struct gguf_scan *scan, enum gguf_kind kind, unsigned depth);

static int skip_items(struct gguf_scan *scan, enum gguf_kind kind, uint64_t count, unsigned depth)
{
	int rc = 0;

	/* The count was checked against the file: no overflow. */
	if (kind != GGUF_STRING && kind != GGUF_ARRAY)
		return pc__gguf_skip(scan, count * kinds[kind].bytes, "an array");
	for (uint64_t i = 0; rc == 0 && i < count; i++)
		rc = skip_value(scan, kind, depth);
	return rc;
}

static int skip_value(struct gguf_scan *scan, enum gguf_kind kind, unsigned depth)
{
	uint64_t at = scan->at, count = 0;
	enum gguf_kind inner = kind;
	char nothing[1];
	int rc;

	if (kind == GGUF_STRING)
		return pc__gguf_string(scan, "a string", UINT64_MAX, nothing, 1, NULL);
	if (kind != GGUF_ARRAY)
		return pc__gguf_skip(scan, kinds[kind].bytes, kinds[kind].name);
	if (depth >= DEPTH_MAX)
		return pc__gguf_fail(scan, at, "arrays are nested more than %d deep", DEPTH_MAX);
	rc = pc__gguf_array(scan, &inner, &count);
	return rc ? rc : skip_items(scan, inner, count, depth + 1);
}

int pc__gguf_skip_value(struct gguf_scan *scan, enum gguf_kind kind)
{
	return skip_value(scan, kind, 0);
}
