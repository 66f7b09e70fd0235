/* SPDX-License-Identifier: MIT */
/*
 * api_error.c - writes error bodies by hand into a fixed buffer, because an error must be
 * reportable when memory has run out. It neither logs nor decides what is an error. Any thread; the
 * responding part runs on the exchange's loop.
 */
#include "http/api_error.h"

#include <poolcore/text.h>

#include "http/http.h"

#include <stdio.h>
#include <string.h>

/* The part of the buffer that one writer may fill; what does not fit sets `full` and is dropped. */
struct out {
	char *data;
	size_t length;
	size_t limit;
	bool full;
};

static void put(struct out *out, const char *text, size_t length)
{
	if (length > out->limit - out->length) {
		out->full = true;
		return;
	}
	memcpy(out->data + out->length, text, length);
	out->length += length;
}

static void puts_raw(struct out *out, const char *text)
{
	put(out, text, strlen(text));
}

/* One character of a string value; returns how many bytes of the text it took. */
static size_t put_character(struct out *out, const char *text, size_t length)
{
	unsigned char c = (unsigned char)text[0];
	char escape[8];

	if (c == '"' || c == '\\') {
		put(out, (const char[]){ '\\', (char)c }, 2);
	} else if (c == '\n') {
		put(out, "\\n", 2);
	} else if (c < 0x20 || c == 0x7f) {
		snprintf(escape, sizeof(escape), "\\u%04x", c);
		put(out, escape, 6);
	} else if (c < 0x80) {
		put(out, text, 1);
	} else {
		for (size_t step = 2; step <= 4 && step <= length; step++) {
			if (pc_utf8_valid_prefix(text, step) == step) {
				put(out, text, step);
				return step;
			}
		}
		put(out, "\xef\xbf\xbd", 3);
	}
	return 1;
}

/* The escaped text without its quotes, as many whole characters as fit. */
static void put_escaped(struct out *out, const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length && !out->full;)
		i += put_character(out, text + i, length - i);
}

static void put_string(struct out *out, const char *text)
{
	puts_raw(out, "\"");
	put_escaped(out, text);
	puts_raw(out, "\"");
}

static void put_string_or_null(struct out *out, const char *text)
{
	if (text)
		put_string(out, text);
	else
		puts_raw(out, "null");
}

/* A detail is written whole or not at all. */
static void put_details(struct out *out, const struct pc_error *err)
{
	bool first = true;

	puts_raw(out, ",\"details\":{");
	/* The closing brace must fit whatever happens. */
	out->limit--;
	for (unsigned i = 0; i < err->detail_count && !out->full; i++) {
		const struct out before = *out;

		if (strcmp(err->details[i].key, "param") == 0)
			continue;
		puts_raw(out, first ? "" : ",");
		put_string(out, err->details[i].key);
		puts_raw(out, ":");
		put_string(out, err->details[i].value);
		if (out->full)
			*out = before;
		else
			first = false;
	}
	out->limit++;
	out->full = false;
	puts_raw(out, "}");
}

const char *api_error_type(int code)
{
	int status = pc_error_http_status(code);

	if (status == 401)
		return "authentication_error";
	if (status == 429)
		return "rate_limit_error";
	return status >= 400 && status < 500 ? "invalid_request_error" : "server_error";
}

/* What to answer when the buffer is too small for the real body. */
static size_t write_minimal(const char *code, char *buf, size_t size)
{
	int length = snprintf(buf, size, "{\"error\":{\"code\":\"%s\"}}", code);

	if (length > 0 && (size_t)length < size)
		return (size_t)length;
	if (size > 0)
		buf[0] = '\0';
	return 0;
}

/*
 * The members behind the message have a bounded length and matter to programs, so they are written
 * first, to the side; the message and the details share what is left.
 */
size_t api_error_body(const struct pc_error *err, const char *correlation_id, const char *param,
		      char *buf, size_t size)
{
	static const char head[] = "{\"error\":{\"message\":\"";
	const char *code = pc_error_name(err->code ? err->code : PC_E_INTERNAL);
	char middle_text[1024], tail_text[512];
	struct out middle = { middle_text, 0, sizeof(middle_text), false };
	struct out tail = { tail_text, 0, sizeof(tail_text), false };
	const size_t no_details = strlen(",\"details\":{}");

	if (!param)
		param = pc_error_detail_get(err, "param");
	puts_raw(&middle, "\",\"type\":");
	put_string(&middle, api_error_type(err->code));
	puts_raw(&middle, ",\"param\":");
	put_string_or_null(&middle, param);
	puts_raw(&middle, ",\"code\":");
	put_string(&middle, code);
	puts_raw(&tail, ",\"correlation_id\":");
	put_string_or_null(&tail, correlation_id);
	puts_raw(&tail, "}}");

	size_t fixed = strlen(head) + middle.length + no_details + tail.length;

	if (middle.full || tail.full || size < fixed + 1)
		return write_minimal(code, buf, size);

	struct out out = { buf, 0, size - 1 - middle.length - no_details - tail.length, false };

	puts_raw(&out, head);
	put_escaped(&out, err->message[0] ? err->message : pc_error_text(err->code));
	out.full = false;
	out.limit += middle.length + no_details;
	put(&out, middle.data, middle.length);
	put_details(&out, err);
	out.limit = size - 1;
	put(&out, tail.data, tail.length);
	buf[out.length] = '\0';
	return out.length;
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
