/* SPDX-License-Identifier: MIT */
/*
 * listen.c - what is an address to listen on, and who can reach it. It resolves no names and opens
 * no socket. Any thread.
 */
#include "config/settings.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/un.h>

/* A host name's longest form (RFC 1035, 2.3.4, less the root's dot). */
#define HOST_MAX 253

static const char *check_port(const char *port)
{
	size_t digits = strspn(port, "0123456789");

	if (digits == 0 || port[digits] != '\0')
		return "it does not end in a port number";
	if (digits > 5 || strtoul(port, NULL, 10) > 65535)
		return "the port is greater than 65535";
	return NULL;
}

static const char *check_ipv6(const char *host, bool *ret_loopback)
{
	struct in6_addr address;

	if (inet_pton(AF_INET6, host, &address) != 1)
		return "there is no IPv6 address between the brackets";
	*ret_loopback = IN6_IS_ADDR_LOOPBACK(&address) ||
			(IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
	return NULL;
}

static const char *check_host(const char *host, bool *ret_loopback)
{
	struct in_addr address;

	if (host[0] == '\0')
		return "the host is missing (\"0.0.0.0\" is every IPv4 address)";
	if (strcmp(host, "*") == 0)
		return "\"*\" is no host (\"0.0.0.0\" is every IPv4 address)";
	if (strchr(host, ':'))
		return "an IPv6 address needs brackets around it";
	if (host[strspn(host, "0123456789.")] == '\0') {
		if (inet_pton(AF_INET, host, &address) != 1)
			return "the IPv4 address is not valid";
		*ret_loopback = ntohl(address.s_addr) >> 24 == 127;
		return NULL;
	}
	if (!pc__is_name(host, ".-", HOST_MAX))
		return "the host name is not valid";
	*ret_loopback = strcmp(host, "localhost") == 0;
	return NULL;
}

static const char *check_unix(const char *path)
{
	/* unix(7): sun_path has 108 bytes, of which one is the NUL. */
	enum { PATH_LIMIT = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };

	if (path[0] != '/')
		return "the path of a Unix socket must be absolute";
	if (strlen(path) > PATH_LIMIT)
		return "the path of a Unix socket may have 107 bytes";
	if (path[strlen(path) - 1] == '/')
		return "the path of a Unix socket must name a file, not a folder";
	return NULL;
}

const char *pc__listen_check(const char *text, bool *ret_loopback)
{
	char host[HOST_MAX + 3];
	const char *colon = strrchr(text, ':');
	const char *wrong;
	size_t length;

	if (strncmp(text, "unix:", 5) == 0) {
		*ret_loopback = true;
		return check_unix(text + 5);
	}
	if (!colon)
		return "the port is missing";
	length = (size_t)(colon - text);
	if (length >= sizeof(host))
		return "the host name is too long";
	*(char *)mempcpy(host, text, length) = '\0';
	wrong = check_port(colon + 1);
	if (host[0] == '[') {
		if (host[length - 1] != ']')
			return "the bracket is not closed before the port";
		host[length - 1] = '\0';
		return wrong ? wrong : check_ipv6(host + 1, ret_loopback);
	}
	return wrong ? wrong : check_host(host, ret_loopback);
}
