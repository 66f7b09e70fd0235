/* SPDX-License-Identifier: MIT */
/* base64.h - decodes base64 (RFC 4648, section 4). Inside the library only. */
#ifndef CAPABILITY_BASE64_H
#define CAPABILITY_BASE64_H

#include <poolcore/error.h>

/* How many bytes `length` characters can hold at most. */
static inline size_t pc__base64_bound(size_t length)
{
	return length / 4 * 3;
}

/*
 * Decodes `length` characters of the standard alphabet, padded to a multiple of four, and
 * nothing else: no spaces or line ends, no URL alphabet, no bits in the padding that would be
 * dropped (so that one content has one text). `ret_data` gets memory of pc_malloc, of at most
 * pc__base64_bound bytes; nothing decodes to a block of no bytes. INVALID_ARGUMENT says where it
 * goes wrong; OUT_OF_MEMORY.
 */
int pc__base64_decode(const char *text, size_t length, void **ret_data, size_t *ret_length,
		      struct pc_error *err);

#endif
