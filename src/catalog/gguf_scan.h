/* SPDX-License-Identifier: MIT */
/*
 * gguf_scan.h - walks through the bytes of a GGUF header: a window over an open file, and its
 * numbers, strings and values. Every step is checked against the end. Inside the catalog only.
 */
#ifndef CATALOG_GGUF_SCAN_H
#define CATALOG_GGUF_SCAN_H

#include <poolcore/error.h>

/* A longer header is refused: its strings are walked through one by one. A guess (the largest
 * vocabularies take about 20 MB); change freely. */
#define PC__GGUF_HEADER_MAX ((uint64_t)256 << 20)
/* The specification's, in bytes. */
#define PC__GGUF_KEY_MAX 65535

/* The types of metadata values. */
enum gguf_kind {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_KINDS,
};

struct gguf_scan {
	int fd;
	uint64_t file_bytes;
	uint64_t at; /* the next byte; never past the file's end */
	uint64_t window_at;
	size_t window_bytes;
	struct pc_error *err;
	unsigned char window[16384];
};

/* Refuses the file because of what begins at byte `at`. */
int pc__gguf_fail(struct gguf_scan *scan, uint64_t at, const char *fmt, ...) PC_PRINTF(3, 4);

/*
 * The steps; `what` is what is read, for "the file ends in WHAT". 0 or an error that was set; then
 * the scan is of no more use.
 */
int pc__gguf_skip(struct gguf_scan *scan, uint64_t bytes, const char *what);
int pc__gguf_u32(struct gguf_scan *scan, const char *what, uint32_t *ret_number);
int pc__gguf_u64(struct gguf_scan *scan, const char *what, uint64_t *ret_number);
/* A number of things that take `least_bytes` each at least: refused when they cannot fit. */
int pc__gguf_count(struct gguf_scan *scan, const char *what, uint64_t least_bytes,
		   uint64_t *ret_count);
/* A string of at most `max` bytes: what fits of it goes to out[size], NUL-terminated, and its whole
 * length to *ret_length (NULL when not wanted). */
int pc__gguf_string(struct gguf_scan *scan, const char *what, uint64_t max, char *out, size_t size,
		    uint64_t *ret_length);

/* The kind of a value, checked. */
int pc__gguf_kind(struct gguf_scan *scan, enum gguf_kind *ret_kind);
const char *pc__gguf_kind_name(enum gguf_kind kind);
/* The kind and the number of an array's items, checked against the rest of the file. */
int pc__gguf_array(struct gguf_scan *scan, enum gguf_kind *ret_kind, uint64_t *ret_count);
/* An integer of a kind of integers; negative ones, and those past 32 bits, are refused. */
int pc__gguf_integer(struct gguf_scan *scan, enum gguf_kind kind, const char *key,
		     uint32_t *ret_number);
int pc__gguf_skip_value(struct gguf_scan *scan, enum gguf_kind kind);

#endif
