/* SPDX-License-Identifier: MIT */
/*
 * fuzz_http_head.c - throws bytes at the head reader, and what it accepts at the decoder behind it.
 * The first byte chooses request or response and how the input is cut. It checks that a head is
 * found and read alike however it is cut, that slices stay inside it, and that llhttp accepts and
 * frames what head.c accepts.
 */
#include <string.h>

#include "http/decoder.h"
#include "http/head_buffer.h"
#include "tests/fuzz/fuzz.h"

static struct http_header headers[HTTP_HEADERS_MAX];

static void check_inside(const struct http__head_buffer *buffer, struct http_slice slice)
{
	check(slice.data >= buffer->text);
	check(slice.data + slice.length <= buffer->text + buffer->length);
	check(!memchr(slice.data, '\n', slice.length) && !memchr(slice.data, '\0', slice.length));
}

static bool count_body(void *ctx, const char *data, size_t length)
{
	(void)data;
	*(size_t *)ctx += length;
	return true;
}

static void decode(const struct http__head_buffer *buffer, const struct http__head *head,
		   bool response, const char *data, size_t length, size_t step)
{
	struct http__decoder decoder;
	size_t body = 0, at = 0, used;
	struct pc_error err = PC_ERROR_INIT;
	int code;

	if (response)
		code = http__decoder_start_response(&decoder, head, buffer->text, buffer->length,
						    false, count_body, &body, &err);
	else
		code = http__decoder_start_request(&decoder, head, buffer->text, buffer->length,
						   count_body, &body, &err);
	/* Both readers see the same length, or it is no message. */
	if (code)
		return;
	check(head->chunked || head->has_length || response || decoder.complete);
	while (at < length && !decoder.complete) {
		size_t piece = length - at < step ? length - at : step;

		if (http__decoder_feed(&decoder, data + at, piece, &used, &err))
			return;
		check(used <= piece && (used == piece || decoder.complete));
		at += used;
	}
	http__decoder_eof(&decoder);
	check(body <= length);
	check(!decoder.complete || !head->has_length || body == head->content_length || response);
}

static int read_head(const char *data, size_t length, size_t step, bool response,
		     struct http__head *ret_head, bool go_on)
{
	struct http__head_buffer buffer = { .text = NULL };
	enum http__head_progress progress = HEAD_MORE;
	size_t at = 0;
	int code = PC_E_INTERNAL;

	while (progress == HEAD_MORE && at < length) {
		size_t piece = length - at < step ? length - at : step, used = 0;

		progress = http__head_buffer_take(&buffer, data + at, piece, 4096, &used);
		at += used;
	}
	if (progress == HEAD_WHOLE) {
		code = response ? http__response_head_read(buffer.text, buffer.length, headers,
							   ret_head, NULL)
				: http__request_head_read(buffer.text, buffer.length, headers,
							  ret_head, NULL);
		check(code || http__head_buffer_keep(&buffer, headers, ret_head));
		for (size_t i = 0; !code && i < ret_head->header_count; i++) {
			check_inside(&buffer, buffer.headers[i].name);
			check_inside(&buffer, buffer.headers[i].value);
			http_is_hop_by_hop(buffer.headers, ret_head->header_count,
					   buffer.headers[i].name);
		}
		check(code || !(ret_head->chunked && ret_head->has_length));
		if (!code && go_on)
			decode(&buffer, ret_head, response, data + at, length - at, step);
	} else {
		code = (int)progress;
	}
	http__head_buffer_fini(&buffer);
	return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct http__head whole = { .status = 0 }, cut = { .status = 0 };
	bool response;
	size_t step;
	int code;

	if (size == 0)
		return 0;
	response = bytes[0] & 1;
	step = 1 + (bytes[0] >> 1) % 31;
	code = read_head((const char *)bytes + 1, size - 1, size, response, &whole, true);
	check(read_head((const char *)bytes + 1, size - 1, step, response, &cut, true) == code);
	if (code == 0)
		check(whole.content_length == cut.content_length && whole.chunked == cut.chunked &&
		      whole.keep_alive == cut.keep_alive && whole.status == cut.status &&
		      whole.header_count == cut.header_count);
	return 0;
}
