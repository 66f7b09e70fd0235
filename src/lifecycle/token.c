/* SPDX-License-Identifier: MIT */
/* token.c - random tokens, with which a worker proves that it is the one we spawned. Any thread. */
#include <poolcore/lifecycle.h>

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

int pc_token_make(char ret_token[33], struct pc_error *err)
{
	unsigned char bytes[16];

	/* Up to 256 bytes come whole and without interruption once the pool
	 * is ready: getrandom(2). */
	while (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
		if (errno != EINTR)
			return pc_error_sys(err, PC_E_IO, errno, "no random bytes");
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret_token + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}
