/* SPDX-License-Identifier: MIT */
/*
 * routes.h - the table of routes, and the gate that every request passes before its route: Host and
 * token.
 */
#ifndef DAEMON_ROUTES_H
#define DAEMON_ROUTES_H

#include "http/http.h"

struct daemon;
struct loop;
struct model;
struct request;

/* A request on its way through the daemon: made at its head, freed when its exchange closes. */
struct route {
	const char *method;
	/* "{}" stands for one segment, "{*}" at the end of a pattern for all that is left. */
	const char *pattern;
	/* `argument` is what "{}" matched, percent-decoded; "" without one. Called when the body is
	 * complete. */
	void (*handle)(struct request *request, const char *argument);
	unsigned flags;
	const char *summary; /* for `GET /` and the documentation */
};

enum {
	ROUTE_BODY = 1u << 0,	 /* takes a body; those of others are read and dropped */
	ROUTE_GATEWAY = 1u << 1, /* its body is scanned for "model" while it comes in */
	ROUTE_OPEN = 1u << 2,	 /* needs no token */
};

extern const struct http_handlers route_handlers; /* ctx: struct loop * */

const struct route *routes(size_t *ret_count);

/* A piece of a path or query without its escapes; false when it is malformed, holds a NUL or does
 * not fit. */
bool percent_decode(struct http_slice text, char *out, size_t size);

#endif
