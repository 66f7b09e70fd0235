/* SPDX-License-Identifier: MIT */
/* request.c - see request.h. */
#include "http/request.h"

#include <string.h>

/* What the client says itself, or what belongs to the connection it came on. */
static bool is_dropped(const struct http_call_request *request, struct http_slice name)
{
	if (http_slice_is_nocase(name, "host") || http_slice_is_nocase(name, "content-length") ||
	    http_slice_is_nocase(name, "expect"))
		return true;
	/* A field of the caller's own replaces the header that came. */
	for (const struct http_field *field = request->fields; field && field->name; field++) {
		if (http_slice_is_nocase(name, field->name))
			return true;
	}
	return http_is_hop_by_hop(request->headers, request->header_count, name);
}

void http__request_write(struct http__text *text, const struct http_call_request *request)
{
	bool bodiless = strcmp(request->method, "GET") == 0 ||
			strcmp(request->method, "HEAD") == 0 ||
			strcmp(request->method, "DELETE") == 0 ||
			strcmp(request->method, "OPTIONS") == 0;

	text->length = 0;
	text->failed = false;
	http__text_puts(text, request->method);
	http__text_append(text, " ", 1);
	http__text_append(text, request->path.data, request->path.length);
	http__text_puts(text, " HTTP/1.1\r\nHost: ");
	if (request->target->socket[0]) {
		http__text_puts(text, "localhost");
	} else {
		http__text_puts(text, "127.0.0.1:");
		http__text_number(text, request->target->port);
	}
	http__text_append(text, "\r\n", 2);
	for (size_t i = 0; i < request->header_count; i++) {
		if (!is_dropped(request, request->headers[i].name))
			http__text_header(text, request->headers[i].name,
					  request->headers[i].value);
	}
	for (const struct http_field *field = request->fields; field && field->name; field++)
		http__text_header(text, http__slice(field->name), http__slice(field->value));
	if (request->body_length || !bodiless) {
		http__text_puts(text, "Content-Length: ");
		http__text_number(text, request->body_length);
		http__text_append(text, "\r\n", 2);
	}
	http__text_append(text, "\r\n", 2);
}
