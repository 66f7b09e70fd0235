/* SPDX-License-Identifier: MIT */
/*
 * api_error.h - an error as the programs' HTTP interfaces show it:
 *
 *     {"error":{"message":"...","type":"invalid_request_error","param":null,
 *               "code":"CONTEXT_EXCEEDED","details":{"prompt_tokens":"812"},
 *               "correlation_id":"..."}}
 *
 * It is the control API's form and at the same time a valid OpenAI error: `type` is one of OpenAI's
 * words, `code` is our stable name from PC_ERROR_LIST, `param` names the field of the request that
 * is at fault.
 */
#ifndef HTTP_API_ERROR_H
#define HTTP_API_ERROR_H

#include <poolcore/error.h>

struct http_exchange;

/* Room for any error with all its details, unless nearly every byte of it has to be escaped. */
#define API_ERROR_BODY_MAX 8192

/*
 * Writes the body into buf[size], NUL-terminated, and returns its length. It is always valid JSON:
 * where it does not fit, the message is cut at a character, details are left out whole, and a
 * buffer under about 300 bytes gets `{"error":{"code":"..."}}`, or nothing (0). Bytes that are not
 * UTF-8 become U+FFFD. `correlation_id` and `param` may be NULL; without a param, the error's
 * detail "param" is used. Does not allocate. Any thread.
 */
size_t api_error_body(const struct pc_error *err, const char *correlation_id, const char *param,
		      char *buf, size_t size);

/* OpenAI's word for an error: "invalid_request_error", "authentication_error",
 * "rate_limit_error", "server_error". Static. */
const char *api_error_type(int code);

/*
 * Responds to an exchange that has not been responded to with the error's status and body. An
 * error that may be retried with status 429 or 503 carries Retry-After: the detail
 * "retry_after_secs", or 1. A 405 carries Allow: the detail "allow".
 */
void api_respond_error(struct http_exchange *exchange, const struct pc_error *err);

#endif
