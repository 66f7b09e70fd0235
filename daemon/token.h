/* SPDX-License-Identifier: MIT */
/* token.h - comparing secrets: the pool's token and the workers' spawn tokens. */
#ifndef DAEMON_TOKEN_H
#define DAEMON_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/*
 * Looks at every byte of the expected token, whatever was presented, so that the time taken tells
 * nothing about where they differ. An empty token matches nothing: it was not given out yet.
 */
static inline bool token_matches(const char *expected, const char *presented, size_t length)
{
	size_t expected_length = strlen(expected);
	unsigned char differs = length != expected_length;

	for (size_t i = 0; i < expected_length; i++) {
		char c = i < length ? presented[i] : '\0';

		differs |= (unsigned char)(expected[i] ^ c);
	}
	return expected_length > 0 && !differs;
}

#endif
