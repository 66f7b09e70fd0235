/* SPDX-License-Identifier: MIT */
/* request.h - the head of a request to a worker. Inside http/ only; any thread. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "http/text.h"

/*
 * Writes it over what the text held: the caller's method, path and headers, without those that
 * belong to the connection it came on, and what the client says itself. Check `text->failed`.
 */
void http__request_write(struct http__text *text, const struct http_call_request *request);

#endif
