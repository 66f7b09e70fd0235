/* SPDX-License-Identifier: MIT */
/* quiet.c - asks the kernel what lies on a connection, see quiet.h. Two system calls. Any
 * thread. */
#include "http/quiet.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum http__quiet http__quiet(int fd)
{
	int untaken;
	char byte;
	ssize_t length = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (length > 0)
		return QUIET_SPOKE;
	if (length == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		return QUIET_ENDED;
	if (ioctl(fd, SIOCOUTQ, &untaken) || untaken > 0)
		return QUIET_OWES;
	return QUIET;
}
