/* SPDX-License-Identifier: MIT */
/*
 * port.c - finds and checks TCP ports on 127.0.0.1. It keeps none: between an answer of ours and a
 * worker's bind somebody else may take the port, and the worker then fails to start. Any thread.
 */
#include <poolcore/lifecycle.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Binds 127.0.0.1:port (0: any) and lets it go again. Returns errno. */
static int try_bind(uint16_t port, uint16_t *ret_port)
{
	const int on = 1;
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int failure = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	/* As servers do: connections of an earlier worker in TIME_WAIT do not make a port taken. A
	 * listener still does. */
	if ((port && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on))) ||
	    bind(fd, (struct sockaddr *)&address, length) ||
	    getsockname(fd, (struct sockaddr *)&address, &length))
		failure = errno;
	else
		*ret_port = ntohs(address.sin_port);
	close(fd);
	return failure;
}

int pc_port_pick(uint16_t *ret_port, struct pc_error *err)
{
	int failure = try_bind(0, ret_port);

	return failure ? pc_error_sys(err, PC_E_IO, failure, "no free port on 127.0.0.1") : 0;
}

int pc_port_check(uint16_t port, struct pc_error *err)
{
	if (port == 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a port is 1 to 65535, not 0");

	uint16_t bound;
	int failure = try_bind(port, &bound);

	switch (failure) {
	case 0:
		return 0;
	case EADDRINUSE:
		pc_error_set(err, PC_E_PORT_IN_USE, "port %u on 127.0.0.1 is taken", port);
		pc_error_detail(err, "port", "%u", port);
		return PC_E_PORT_IN_USE;
	case EACCES:
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "port %u is privileged: take one from 1024 up", port);
	default:
		return pc_error_sys(err, PC_E_IO, failure, "cannot check port %u", port);
	}
}
