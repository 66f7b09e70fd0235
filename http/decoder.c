/* SPDX-License-Identifier: MIT */
/*
 * decoder.c - bodies out of their framing, with llhttp. Heads are read in head.c; llhttp reads them
 * once more only to come to the same framing by itself (see the smuggling note there). Trailers are
 * read here, as strictly as heads, and dropped: llhttp takes an LF alone for the end of a message
 * behind them, and folded lines. The thread of its connection.
 */
#include "http/decoder.h"

#include <string.h>

/*
 * Chunk extensions and trailers carry nothing for us, and llhttp sets them no limit; this many
 * bytes of framing without a byte of body are an attack. A guess; change freely.
 */
#define OVERHEAD_MAX_BYTES 16384

static int on_headers_complete(llhttp_t *parser)
{
	struct http__decoder *decoder = parser->data;
	const struct http__head *head = decoder->head;
	bool chunked = (parser->flags & F_CHUNKED) != 0;
	bool has_length = (parser->flags & F_CONTENT_LENGTH) != 0;

	decoder->agrees = chunked == head->chunked && has_length == head->has_length &&
			  (!has_length || parser->content_length == head->content_length);
	/* An offer to upgrade is ignored (RFC 9110 7.8); llhttp would stop
	 * to read HTTP after it. */
	parser->upgrade = 0;
	if (!decoder->agrees) {
		llhttp_set_error_reason(parser, "two readers see different lengths of the body");
		return -1;
	}
	return decoder->no_body ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *data, size_t length)
{
	struct http__decoder *decoder = parser->data;

	decoder->overhead_bytes = 0;
	if (!decoder->stopped && !decoder->on_body(decoder->ctx, data, length))
		decoder->stopped = true;
	return decoder->stopped ? HPE_USER : 0;
}

/* After the chunk of length zero come the trailers; they are not for llhttp. */
static int on_chunk_header(llhttp_t *parser)
{
	struct http__decoder *decoder = parser->data;

	if (parser->content_length != 0)
		return 0;
	decoder->trailers = TRAILERS_LINE;
	return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
	struct http__decoder *decoder = parser->data;

	decoder->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_headers_complete = on_headers_complete,
	.on_chunk_header = on_chunk_header,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* The place after `c`, or TRAILERS_NONE when it must not stand there. */
static enum http__trailers trailers_step(enum http__trailers at, char c)
{
	switch (at) {
	case TRAILERS_LINE:
		return c == '\r'	       ? TRAILERS_LAST_LF
		       : http__is_name_char(c) ? TRAILERS_NAME
					       : TRAILERS_NONE;
	case TRAILERS_NAME:
		return c == ':'		       ? TRAILERS_VALUE
		       : http__is_name_char(c) ? TRAILERS_NAME
					       : TRAILERS_NONE;
	case TRAILERS_VALUE:
		return c == '\r'		? TRAILERS_LF
		       : http__is_value_char(c) ? TRAILERS_VALUE
						: TRAILERS_NONE;
	case TRAILERS_LF:
		return c == '\n' ? TRAILERS_LINE : TRAILERS_NONE;
	default:
		return TRAILERS_NONE;
	}
}

/* Reads trailers to the end of the message or of the data; returns how many bytes, -1: broken. */
static ssize_t take_trailers(struct http__decoder *decoder, const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (decoder->trailers == TRAILERS_LAST_LF && data[i] == '\n') {
			decoder->complete = true;
			return (ssize_t)i + 1;
		}
		decoder->trailers = trailers_step(decoder->trailers, data[i]);
		if (decoder->trailers == TRAILERS_NONE)
			return -1;
	}
	return (ssize_t)length;
}

static int broken(struct http__decoder *decoder, struct pc_error *err)
{
	int code = decoder->parser.type == HTTP_REQUEST ? PC_E_INVALID_REQUEST : PC_E_RECV_FAILED;
	const char *reason = llhttp_get_error_reason(&decoder->parser);

	return pc_error_set(err, code, "the message's framing is broken: %s",
			    reason && *reason ? reason : "unknown reason");
}

static int start(struct http__decoder *decoder, llhttp_type_t type, const struct http__head *head,
		 const char *text, size_t length, struct pc_error *err)
{
	llhttp_errno_t result;

	llhttp_init(&decoder->parser, type, &settings);
	decoder->parser.data = decoder;
	decoder->head = head;
	decoder->overhead_bytes = 0;
	decoder->trailers = TRAILERS_NONE;
	decoder->agrees = decoder->complete = decoder->stopped = false;
	result = llhttp_execute(&decoder->parser, text, length);
	decoder->head = NULL;
	if (result == HPE_INVALID_METHOD)
		return pc_error_set(err, PC_E_UNSUPPORTED, "the method '%.*s' is not supported",
				    (int)(head->method.length < 32 ? head->method.length : 32),
				    head->method.data);
	/* Not broken, and neither finished before the head's last byte nor still inside it. */
	if ((result != HPE_OK && result != HPE_PAUSED) || !decoder->agrees)
		return broken(decoder, err);
	return 0;
}

int http__decoder_start_request(struct http__decoder *decoder, const struct http__head *head,
				const char *text, size_t length, http__decoder_body_fn body_fn,
				void *ctx, struct pc_error *err)
{
	decoder->on_body = body_fn;
	decoder->ctx = ctx;
	decoder->no_body = false;
	return start(decoder, HTTP_REQUEST, head, text, length, err);
}

int http__decoder_start_response(struct http__decoder *decoder, const struct http__head *head,
				 const char *text, size_t length, bool no_body,
				 http__decoder_body_fn body_fn, void *ctx, struct pc_error *err)
{
	decoder->on_body = body_fn;
	decoder->ctx = ctx;
	/* RFC 9112 6.3: whatever their headers say; llhttp would wait for a 304's length. */
	decoder->no_body = no_body || head->status == 204 || head->status == 304;
	return start(decoder, HTTP_RESPONSE, head, text, length, err);
}

/* The part that llhttp reads. */
static int feed_parser(struct http__decoder *decoder, const char *data, size_t length,
		       size_t *ret_used, struct pc_error *err)
{
	llhttp_errno_t result = llhttp_execute(&decoder->parser, data, length);

	*ret_used = length;
	if (decoder->complete || decoder->stopped || decoder->trailers) {
		const char *at = llhttp_get_error_pos(&decoder->parser);

		if (at >= data && at <= data + length)
			*ret_used = (size_t)(at - data);
		return 0;
	}
	return result == HPE_OK ? 0 : broken(decoder, err);
}

int http__decoder_feed(struct http__decoder *decoder, const char *data, size_t length,
		       size_t *ret_used, struct pc_error *err)
{
	int invalid = decoder->parser.type == HTTP_REQUEST ? PC_E_INVALID_REQUEST
							   : PC_E_RECV_FAILED;
	size_t used = 0;

	decoder->overhead_bytes += length;
	if (!decoder->trailers) {
		int code = feed_parser(decoder, data, length, &used, err);

		if (code)
			return code;
	}
	if (decoder->trailers && !decoder->stopped) {
		ssize_t taken = take_trailers(decoder, data + used, length - used);

		if (taken < 0)
			return pc_error_set(err, invalid,
					    "the trailers behind the message's chunks are broken");
		used += (size_t)taken;
	}
	*ret_used = used;
	if (decoder->complete || decoder->stopped)
		return 0;
	if (decoder->overhead_bytes > OVERHEAD_MAX_BYTES + length)
		return pc_error_set(err, invalid,
				    "the message's chunks carry more framing than body");
	return 0;
}

bool http__decoder_eof(struct http__decoder *decoder)
{
	if (!decoder->complete && llhttp_message_needs_eof(&decoder->parser))
		llhttp_finish(&decoder->parser);
	return decoder->complete;
}
