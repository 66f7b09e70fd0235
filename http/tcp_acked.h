/* SPDX-License-Identifier: MIT */
/* tcp_acked.h - how much of what was sent the peer's kernel has taken. Inside http/ only. */
#ifndef HTTP_TCP_ACKED_H
#define HTTP_TCP_ACKED_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Bytes that the peer of a connected TCP socket has acknowledged since it was opened, those of the
 * SYN counted as one (RFC 4898, tcpEStatsAppHCThruOctetsAcked). False when the kernel cannot tell.
 */
bool http__tcp_acked(int fd, uint64_t *ret_bytes);

#endif
