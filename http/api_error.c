/* SPDX-License-Identifier: MIT */
/*
 * api_error.c - answers an exchange with an error in the wire's form, which is the library's
 * (poolcore/api.h). It neither logs nor decides what is an error. Any thread; the responding part
 * runs on the exchange's loop.
 */
#include "http/api_error.h"

#include <poolcore/api.h>

#include "http/http.h"

size_t api_error_body(const struct pc_error *err, const char *correlation_id, const char *param,
		      char *buf, size_t size)
{
	struct pc_api_detail details[PC_ERROR_DETAILS_MAX];
	struct pc_api_error value;

	pc_api_error_of(err, correlation_id, param, details, &value);
	return pc_api_error_format(&value, buf, size);
}

void api_error_write(void *ctx, const struct pc_error *err, const char *correlation_id, char *body,
		     size_t size)
{
	(void)ctx;
	api_error_body(err, correlation_id, NULL, body, size);
}

void api_respond_error(struct http_exchange *exchange, const struct pc_error *err)
{
	int status = pc_error_http_status(err->code ? err->code : PC_E_INTERNAL);
	struct http_field fields[] = {
		{ "Content-Type", "application/json" },
		{ NULL, NULL },
		{ NULL, NULL },
	};
	char body[API_ERROR_BODY_MAX];
	size_t length = api_error_body(err, http_correlation_id(exchange), NULL, body,
				       sizeof(body));

	if ((status == 503 || status == 429) && pc_error_retriable(err->code)) {
		const char *after = pc_error_detail_get(err, "retry_after_secs");

		fields[1] = (struct http_field){ "Retry-After", after ? after : "1" };
	} else if (status == 405) {
		const char *allow = pc_error_detail_get(err, "allow");

		fields[1] = (struct http_field){ "Allow", allow ? allow : "" };
	}
	http_respond(exchange, status, fields, body, length);
}
