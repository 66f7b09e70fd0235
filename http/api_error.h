/* SPDX-License-Identifier: MIT */
/*
 * api_error.h - an error as the programs' HTTP interfaces answer it; struct pc_api_error in
 * poolcore/api.h shows its form.
 */
#ifndef HTTP_API_ERROR_H
#define HTTP_API_ERROR_H

#include <poolcore/error.h>

struct http_exchange;

/* Room for any error with all its details, unless nearly every byte of it has to be escaped. */
#define API_ERROR_BODY_MAX 8192

/* pc_api_error_of and pc_api_error_format in one. */
size_t api_error_body(const struct pc_error *err, const char *correlation_id, const char *param,
		      char *buf, size_t size);

/* The same as `error_body` of struct http_handlers. */
void api_error_write(void *ctx, const struct pc_error *err, const char *correlation_id, char *body,
		     size_t size);

/*
 * Responds to an exchange that has not been responded to with the error's status and body. An
 * error that may be retried with status 429 or 503 carries Retry-After: the detail
 * "retry_after_secs", or 1. A 405 carries Allow: the detail "allow".
 */
void api_respond_error(struct http_exchange *exchange, const struct pc_error *err);

#endif
