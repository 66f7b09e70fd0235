/* SPDX-License-Identifier: MIT */
/*
 * text.h - strings: UTF-8 checks, growing buffers, and the human spellings of sizes and durations.
 * Inside the library only.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <poolcore/error.h>
#include <poolcore/text.h>

#include <stdarg.h>
#include <string.h>

/*
 * The length of the longest well-formed UTF-8 prefix of `length` bytes (Unicode 15, table 3-7:
 * no overlong forms, no surrogates, nothing past U+10FFFF).
 */
size_t pc__utf8_valid_prefix(const char *text, size_t length);

/* `length`, or less where it would cut the last sequence of `text` in two. */
size_t pc__utf8_cut(const char *text, size_t length);

/* Puts a '?' for each byte that is not part of UTF-8: what others wrote, for a sentence of ours. */
void pc__utf8_repair(char *text);

/* The well-formed sequence that text[0..length) begins with: its length, or 0; and its scalar. */
size_t pc__utf8_next(const char *text, size_t length, uint32_t *ret_scalar);

/*
 * Whether a scalar does not show, or shows other things in another order: controls, marks and
 * overrides of direction, joiners, separators of lines, tags (Unicode 15, general categories Cc,
 * Cf, Zl and Zp as far as they matter in names).
 */
bool pc__is_unseen(uint32_t scalar);

/* Appends the UTF-8 form of a scalar value to out[4]; returns its length, 0 when it is none. */
size_t pc__utf8_encode(uint32_t scalar, char out[4]);

/*
 * FNV-1a, 64 bits (draft-eastlake-fnv, section 6). For keys of the administrator's choice: it does
 * not resist an attacker.
 */
uint64_t pc__hash_text(const char *text);

/*
 * A growing byte buffer, always NUL-terminated once it holds anything. A failed allocation is
 * remembered (`failed`) and every later append does nothing, so that a writer checks once at its
 * end.
 */
struct pc__buf {
	char *data;
	size_t length;
	size_t capacity;
	bool failed;
};

#define PC__BUF_INIT \
	{ \
		.data = NULL \
	}

void pc__buf_append(struct pc__buf *buf, const void *data, size_t length);
void pc__buf_puts(struct pc__buf *buf, const char *text);
void pc__buf_printf(struct pc__buf *buf, const char *fmt, ...) PC_PRINTF(2, 3);
void pc__buf_fini(struct pc__buf *buf);
/* Gives the text away (an empty string when nothing was written; NULL after a failure). */
char *pc__buf_steal(struct pc__buf *buf);

/*
 * Sizes: "32MiB", "20GB", "512", with the binary (KiB MiB GiB TiB) and decimal (kB KB MB GB TB)
 * units; fractions ("1.5GiB") are allowed when the result is whole bytes. -1 when it is none of
 * these or does not fit in int64.
 */
int pc__parse_size(const char *text, uint64_t *ret_bytes);
/* Durations: "5m", "90s", "250ms", "1h", "2d", bare seconds; a leading '-' is allowed. -1 when it
 * is none. */
int pc__parse_duration(const char *text, int64_t *ret_ms);

/* The search for the nearest of many words, for "did you mean". */
struct pc__nearest {
	const char *wanted;
	const char *best; /* NULL: none was near */
	unsigned distance;
};

#define PC__NEAREST_INIT(text) \
	{ \
		.wanted = (text) \
	}

void pc__nearest_offer(struct pc__nearest *nearest, const char *candidate);

/*
 * Damerau-Levenshtein distance (optimal string alignment); strings longer than 63 bytes compare as
 * far apart.
 */
unsigned pc__edit_distance(const char *a, const char *b);

#endif
