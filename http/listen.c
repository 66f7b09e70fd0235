/* SPDX-License-Identifier: MIT */
/*
 * listen.c - opens listening sockets. It accepts nothing. Any thread.
 */
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel cuts it down to net.core.somaxconn. */
#define BACKLOG 4096

static int bad_address(const char *address, struct pc_error *err)
{
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "'%s' is no address to listen on; write \"127.0.0.1:9200\", "
			    "\"[::1]:9200\" or \"unix:/path\"",
			    address);
}

static int open_socket(int family, const char *address, struct pc_error *err)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		pc_error_sys(err, PC_E_IO, errno, "cannot open a socket for '%s'", address);
	return fd;
}

static int fail(int fd, const char *address, const char *what, struct pc_error *err)
{
	int code = errno == EADDRINUSE	    ? PC_E_PORT_IN_USE
		   : errno == EADDRNOTAVAIL ? PC_E_INVALID_ARGUMENT
					    : PC_E_IO;

	pc_error_sys(err, code, errno, "cannot %s '%s'", what, address);
	close(fd);
	return code;
}

/* ---- TCP ---- */

/* Splits "host:port" or "[host]:port"; false when it is neither. */
static bool split(const char *address, char host[64], uint16_t *ret_port)
{
	const char *colon = strrchr(address, ':');
	const char *start = address, *end = colon;
	unsigned long port = 0;

	if (!colon || colon[1] == '\0' || strlen(colon + 1) > 5)
		return false;
	for (const char *p = colon + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (unsigned long)(*p - '0');
	}
	if (*start == '[') {
		start++;
		if (end == start || *--end != ']')
			return false;
	}
	if (port > 65535 || end <= start || end - start >= 64)
		return false;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	*ret_port = (uint16_t)port;
	return true;
}

static int tcp_open(const char *address, int *ret_fd, char ret_address[128], struct pc_error *err)
{
	struct sockaddr_in ip4 = { .sin_family = AF_INET };
	struct sockaddr_in6 ip6 = { .sin6_family = AF_INET6 };
	char host[64];
	uint16_t port;
	int fd, one = 1;

	if (!split(address, host, &port))
		return bad_address(address, err);

	bool is_ip6 = address[0] == '[';
	struct sockaddr *name = is_ip6 ? (struct sockaddr *)&ip6 : (struct sockaddr *)&ip4;
	socklen_t length = is_ip6 ? sizeof(ip6) : sizeof(ip4);

	ip4.sin_port = ip6.sin6_port = htons(port);
	if (inet_pton(is_ip6 ? AF_INET6 : AF_INET, host,
		      is_ip6 ? (void *)&ip6.sin6_addr : (void *)&ip4.sin_addr) != 1)
		return bad_address(address, err);
	fd = open_socket(name->sa_family, address, err);
	if (fd < 0)
		return PC_E_IO;
	/* Only past TIME_WAIT; a living listener still keeps its port to itself. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (is_ip6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, name, length) || listen(fd, BACKLOG) || getsockname(fd, name, &length))
		return fail(fd, address, "listen on", err);
	snprintf(ret_address, 128, is_ip6 ? "[%s]:%u" : "%s:%u", host,
		 ntohs(is_ip6 ? ip6.sin6_port : ip4.sin_port));
	*ret_fd = fd;
	return 0;
}

/* ---- Unix ---- */

/*
 * Clears away the socket of a dead server. Errors: PORT_IN_USE when it answers or is not a socket.
 * Two daemons that start at the same moment may both find it dead; the pool's lock file keeps them
 * apart, not this.
 */
static int clear_stale(const char *address, const struct sockaddr_un *name, struct pc_error *err)
{
	struct stat found;
	int probe, result;

	if (lstat(name->sun_path, &found))
		return 0;
	if (!S_ISSOCK(found.st_mode))
		return pc_error_set(err, PC_E_PORT_IN_USE,
				    "cannot listen on '%s': the path exists and is not a socket",
				    address);
	probe = open_socket(AF_UNIX, address, err);
	if (probe < 0)
		return PC_E_IO;
	result = connect(probe, (const struct sockaddr *)name, sizeof(*name));
	if (result && errno == ECONNREFUSED) {
		close(probe);
		unlink(name->sun_path);
		return 0;
	}
	/* EAGAIN: its backlog is full, so it lives. */
	close(probe);
	return pc_error_set(err, PC_E_PORT_IN_USE,
			    "cannot listen on '%s': another server answers there", address);
}

static int unix_open(const char *address, int *ret_fd, char ret_address[128], struct pc_error *err)
{
	const char *path = address + strlen("unix:");
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	int fd, code;

	if (length == 0)
		return bad_address(address, err);
	if (length >= sizeof(name.sun_path))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the socket path '%s' has %zu bytes, at most %zu are possible",
				    path, length, sizeof(name.sun_path) - 1);
	memcpy(name.sun_path, path, length);
	code = clear_stale(address, &name, err);
	if (code)
		return code;
	fd = open_socket(AF_UNIX, address, err);
	if (fd < 0)
		return PC_E_IO;
	/* On Linux a Unix socket is created with the descriptor's mode, less the umask. */
	fchmod(fd, 0660);
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)))
		return fail(fd, address, "listen on", err);
	if (chmod(path, 0660) || listen(fd, BACKLOG)) {
		code = fail(fd, address, "listen on", err);
		unlink(path);
		return code;
	}
	snprintf(ret_address, 128, "%s", address);
	*ret_fd = fd;
	return 0;
}

int http_listen_open(const char *address, int *ret_fd, char ret_address[128], struct pc_error *err)
{
	if (strncmp(address, "unix:", 5) == 0)
		return unix_open(address, ret_fd, ret_address, err);
	return tcp_open(address, ret_fd, ret_address, err);
}
