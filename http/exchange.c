/* SPDX-License-Identifier: MIT */
/*
 * exchange.c - what a handler can ask about a request. Only reads. The server's thread.
 */
#include "http/server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

struct http_slice http_method(const struct http_exchange *exchange)
{
	return exchange->head.method;
}

struct http_slice http_path(const struct http_exchange *exchange)
{
	return exchange->head.path;
}

struct http_slice http_query(const struct http_exchange *exchange)
{
	return exchange->head.query;
}

size_t http_headers(const struct http_exchange *exchange, const struct http_header **ret_headers)
{
	*ret_headers = exchange->headers;
	return exchange->head.header_count;
}

bool http_header_get(const struct http_exchange *exchange, const char *name,
		     struct http_slice *ret_value)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < exchange->head.header_count; i++) {
		const struct http_header *header = &exchange->headers[i];

		if (header->name.length == length &&
		    strncasecmp(header->name.data, name, length) == 0) {
			*ret_value = header->value;
			return true;
		}
	}
	return false;
}

const char *http_correlation_id(const struct http_exchange *exchange)
{
	return exchange->correlation_id;
}

/* Formatted when asked for: most requests are never logged. */
const char *http_peer(const struct http_exchange *exchange)
{
	/* The text is a cache inside a connection that is never really const. */
	struct http__connection *connection = http__connection_of(exchange);
	const struct sockaddr_in *ip4 = (const struct sockaddr_in *)&connection->peer;
	const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)&connection->peer;
	char address[INET6_ADDRSTRLEN] = "";

	if (connection->is_unix)
		return "unix";
	if (connection->peer_text[0])
		return connection->peer_text;
	if (connection->peer.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &ip6->sin6_addr, address, sizeof(address));
		snprintf(connection->peer_text, sizeof(connection->peer_text), "[%s]:%u", address,
			 ntohs(ip6->sin6_port));
	} else {
		inet_ntop(AF_INET, &ip4->sin_addr, address, sizeof(address));
		snprintf(connection->peer_text, sizeof(connection->peer_text), "%s:%u", address,
			 ntohs(ip4->sin_port));
	}
	return connection->peer_text;
}

void http_set_user(struct http_exchange *exchange, void *user)
{
	exchange->user = user;
}

void *http_user(const struct http_exchange *exchange)
{
	return exchange->user;
}

bool http_response_started(const struct http_exchange *exchange)
{
	return exchange->output != OUTPUT_NONE;
}
