/* SPDX-License-Identifier: MIT */
/*
 * tcp_acked.c - asks the kernel for a socket's counters. A file of its own because the C library's
 * <netinet/tcp.h>, which libuv includes, knows an older struct tcp_info and forbids the kernel's.
 */
#include "http/tcp_acked.h"

#include <stddef.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

bool http__tcp_acked(int fd, uint64_t *ret_bytes)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) ||
	    length < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
		return false;
	*ret_bytes = info.tcpi_bytes_acked;
	return true;
}
