/* SPDX-License-Identifier: MIT */
/*
 * base64.c - a strict decoder for base64: what two decoders could read differently is refused.
 * Pure functions, any thread.
 */
#include "capability/base64.h"

#include <ctype.h>
#include <string.h>

/* The value of a character plus one; 0 for all that are none (RFC 4648, table 1). */
static const uint8_t values[256] = {
	['A'] = 1,  ['B'] = 2,	['C'] = 3,  ['D'] = 4,	['E'] = 5,  ['F'] = 6,	['G'] = 7,
	['H'] = 8,  ['I'] = 9,	['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
	['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
	['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
	['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
	['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
	['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
	['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
	['/'] = 64,
};

static int wrong_character(const char *text, size_t at, struct pc_error *err)
{
	unsigned char c = (unsigned char)text[at];

	if (c == '=')
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the base64 has padding ('=') at character %zu, before its end",
				    at);
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    isprint(c)
				    ? "the base64 has a '%c' at character %zu; it may hold A-Z, "
				      "a-z, 0-9, '+' and '/'"
				    : "the base64 has a byte 0x%02x at character %zu; it may hold "
				      "A-Z, a-z, 0-9, '+' and '/'",
			    c, at);
}

/* Four characters, of which the last `padding` are '=', to 3 - padding bytes. The place of the
 * first that is wrong, or 4. */
static size_t decode_group(const char *text, size_t padding, uint8_t out[3])
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4 - padding; i++) {
		uint8_t value = values[(unsigned char)text[i]];

		if (!value)
			return i;
		bits |= (uint32_t)(value - 1) << (18 - 6 * i);
	}
	out[0] = (uint8_t)(bits >> 16);
	if (padding < 2)
		out[1] = (uint8_t)(bits >> 8);
	if (padding < 1)
		out[2] = (uint8_t)bits;
	/* Section 3.5: bits that no byte takes are zero. */
	return padding && bits << (8 + 8 * (3 - padding)) ? 3 - padding : 4;
}

int pc__base64_decode(const char *text, size_t length, void **ret_data, size_t *ret_length,
		      struct pc_error *err)
{
	size_t padding = 0, done = 0;

	if (length % 4)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the base64 has %zu characters; with its padding it would have "
				    "a multiple of four",
				    length);
	while (length && padding < 2 && text[length - 1 - padding] == '=')
		padding++;

	pc_auto(pc_free) uint8_t *data = pc_malloc(pc__base64_bound(length));

	if (!data)
		return pc_error_oom(err);
	for (size_t at = 0; at < length; at += 4) {
		size_t padded = at + 4 == length ? padding : 0;
		size_t wrong = decode_group(text + at, padded, data + done);

		if (wrong < 4 && values[(unsigned char)text[at + wrong]])
			return pc_error_set(
				err, PC_E_INVALID_ARGUMENT,
				"the base64 ends with bits that belong to no byte (the '%c' at "
				"character %zu): it was cut or made wrongly",
				text[at + wrong], at + wrong);
		if (wrong < 4)
			return wrong_character(text, at + wrong, err);
		done += 3 - padded;
	}
	*ret_data = pc_steal(&data);
	*ret_length = done;
	return 0;
}
