/* SPDX-License-Identifier: MIT */
/* utf8.c - takes UTF-8 apart, character by character. Pure; any thread. */
#include "llama_engine.h"

#include <string.h>

/* How many bytes the character has that begins with this one, and what its second byte may be. */
static size_t lead(unsigned char c, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	*ret_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	if (c >= 0xf0 && c <= 0xf4)
		return 4;
	return 0;
}

enum utf8_kind utf8_next(const char *text, size_t length, size_t *ret_length)
{
	unsigned char low, high;
	size_t size = lead((unsigned char)text[0], &low, &high);

	*ret_length = 1;
	if (size == 0)
		return UTF8_INVALID;
	for (size_t i = 1; i < size; i++) {
		if (i == length)
			return UTF8_UNFINISHED;
		unsigned char c = (unsigned char)text[i];

		if (c < low || c > high)
			return UTF8_INVALID;
		low = 0x80;
		high = 0xbf;
		*ret_length = i + 1;
	}
	return UTF8_WHOLE;
}

int check_utf8(const char *text, const char *what, struct pc_error *err)
{
	if (!text)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "%s is missing", what);
	size_t left = strlen(text);
	size_t at = 0, length;

	for (; left > 0; at += length, left -= length) {
		if (utf8_next(text + at, left, &length) != UTF8_WHOLE)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "%s is not UTF-8 at byte %zu", what, at);
	}
	return 0;
}
