/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of http/head.c and of llhttp behind it: what is a head, and every way that is known to
 * make two readers disagree about one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/decoder.h"
#include "http/head.h"

#include <string.h>

static struct http_header headers[HTTP_HEADERS_MAX];

struct good {
	const char *text;
	const char *path;
	const char *query;
	int64_t length; /* -1: no Content-Length */
	bool chunked;
	bool keep_alive;
};

#define H "Host: x\r\n"
#define END "\r\n"
#define POST "POST / HTTP/1.1\r\n" H

/* clang-format off */
static const struct good good[] = {
	{ "GET / HTTP/1.1\r\n" H END,					"/", "", -1, false, true },
	{ "GET /a/b?c=d&e HTTP/1.1\r\n" H END,				"/a/b", "c=d&e", -1, false, true },
	{ "GET /? HTTP/1.1\r\n" H END,					"/", "", -1, false, true },
	{ "GET /a?b?c HTTP/1.1\r\n" H END,				"/a", "b?c", -1, false, true },
	{ "GET /%00%20{}|^\"<> HTTP/1.1\r\n" H END,			"/%00%20{}|^\"<>", "", -1, false, true },
	{ "GET //x HTTP/1.1\r\n" H END,					"//x", "", -1, false, true },
	{ "OPTIONS * HTTP/1.1\r\n" H END,				"*", "", -1, false, true },
	{ "HEAD / HTTP/1.1\r\n" H END,					"/", "", -1, false, true },
	{ "DELETE /v2/x HTTP/1.1\r\n" H END,				"/v2/x", "", -1, false, true },
	{ "GET / HTTP/1.0\r\n" END,					"/", "", -1, false, false },
	{ "GET / HTTP/1.0\r\n" H END,					"/", "", -1, false, false },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n" END,		"/", "", -1, false, true },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" END,		"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\n" H "Connection: close\r\n" END,		"/", "", -1, false, false },
	{ "GET / HTTP/1.1\r\n" H "Connection: x, CLOSE\r\n" END,	"/", "", -1, false, false },
	{ "GET / HTTP/1.1\r\n" H "Connection: ,, ,close,\r\n" END,	"/", "", -1, false, false },
	{ "GET / HTTP/1.1\r\n" H "Connection: closed\r\n" END,		"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\n" H "Connection: keep-alive, close\r\n" END, "/", "", -1, false, false },
	{ "GET / HTTP/1.1\r\nHost: 127.0.0.1:9200\r\n" END,		"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\nHost: [::1]:9200\r\n" END,			"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\nhOST:x\r\n" END,				"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\nHost: \t x \t\r\n" END,			"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\n" H "A:\r\n" END,				"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\n" H "A: \xc3\xa9 \x80\r\n" END,		"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\n" H "A: a\tb\r\n" END,			"/", "", -1, false, true },
	{ "GET / HTTP/1.1\r\n" H "!#$%&'*+-.^_`|~0aZ: v\r\n" END,	"/", "", -1, false, true },
	{ POST "Content-Length: 0\r\n" END,				"/", "", 0, false, true },
	{ POST "Content-Length: 5\r\n" END,				"/", "", 5, false, true },
	{ POST "Content-Length:   5  \r\n" END,				"/", "", 5, false, true },
	{ POST "Content-Length: 0005\r\n" END,				"/", "", 5, false, true },
	{ POST "Content-Length: 9223372036854775807\r\n" END,		"/", "", INT64_MAX, false, true },
	{ POST "Transfer-Encoding: chunked\r\n" END,			"/", "", -1, true, true },
	{ POST "transfer-encoding:CHUNKED\r\n" END,			"/", "", -1, true, true },
	{ POST "Upgrade: h2c\r\nConnection: Upgrade\r\n" END,		"/", "", -1, false, true },
	{ POST "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n" END, "/", "", 5, false, true },
};

struct bad {
	const char *text;
	const char *says; /* part of the message */
	int line;
	int code;
};

#define REQ PC_E_INVALID_REQUEST
#define GET "GET / HTTP/1.1\r\n"
static const struct bad bad[] = {
	/* the request line */
	{ "\r\n",						"method", 1, REQ },
	{ "GET\r\n" H END,					"method", 1, REQ },
	{ "GET \r\n" H END,					"target", 1, REQ },
	{ "GET /\r\n" H END,					"target", 1, REQ },
	{ "GET / \r\n" H END,					"version", 1, REQ },
	{ " GET / HTTP/1.1\r\n" H END,				"method", 1, REQ },
	{ "GET  / HTTP/1.1\r\n" H END,				"target", 1, REQ },
	{ "GET /  HTTP/1.1\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/1.1 \r\n" H END,				"version", 1, REQ },
	{ "GET\t/ HTTP/1.1\r\n" H END,				"method", 1, REQ },
	{ "GET /\tHTTP/1.1\r\n" H END,				"target", 1, REQ },
	{ "GET / HTTP/1.2\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/2.0\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/0.9\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/1.10\r\n" H END,				"version", 1, REQ },
	{ "GET / http/1.1\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/1\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/ 1.1\r\n" H END,				"version", 1, REQ },
	{ "GET / HTTP/1.1x\r\n" H END,				"version", 1, REQ },
	{ "G@T / HTTP/1.1\r\n" H END,				"method", 1, REQ },
	{ "GET http://x/ HTTP/1.1\r\n" H END,			"begin with '/'", 1, REQ },
	{ "GET x:80 HTTP/1.1\r\n" H END,			"begin with '/'", 1, REQ },
	{ "GET * HTTP/1.1\r\n" H END,				"begin with '/'", 1, REQ },
	{ "GET ?a HTTP/1.1\r\n" H END,				"begin with '/'", 1, REQ },
	{ "GET /a#b HTTP/1.1\r\n" H END,			"target", 1, REQ },
	{ "GET /\xc3\xa9 HTTP/1.1\r\n" H END,			"target", 1, REQ },
	{ "GET /\x7f HTTP/1.1\r\n" H END,			"target", 1, REQ },
	{ "GET /a\rb HTTP/1.1\r\n" H END,			"target", 1, REQ },
	{ "CONNECT x:80 HTTP/1.1\r\n" H END,			"CONNECT", 1, PC_E_UNSUPPORTED },
	{ "PRI * HTTP/2.0\r\n" END,				"version", 1, REQ },
	/* Host */
	{ GET END,						"without Host", 2, REQ },
	{ GET "A: b\r\n" END,					"without Host", 3, REQ },
	{ GET H H END,						"repeats Host", 3, REQ },
	{ GET H "HOST: y\r\n" END,				"repeats Host", 3, REQ },
	{ "GET / HTTP/1.0\r\n" H H END,				"repeats Host", 3, REQ },
	{ GET "Host:\r\n" END,					"Host that is no", 2, REQ },
	{ GET "Host: a b\r\n" END,				"Host that is no", 2, REQ },
	{ GET "Host: a,b\r\n" END,				"Host that is no", 2, REQ },
	{ GET "Host: u@a\r\n" END,				"Host that is no", 2, REQ },
	{ GET "Host: a/b\r\n" END,				"Host that is no", 2, REQ },
	{ GET "Host: a\\b\r\n" END,				"Host that is no", 2, REQ },
	/* lines and names */
	{ GET H "A : b\r\n" END,				"colon directly", 3, REQ },
	{ GET H "A\t: b\r\n" END,				"colon directly", 3, REQ },
	{ GET H ": b\r\n" END,					"colon directly", 3, REQ },
	{ GET H "A b\r\n" END,					"colon directly", 3, REQ },
	{ GET H "A(: b\r\n" END,				"colon directly", 3, REQ },
	{ GET H "A\x80: b\r\n" END,				"colon directly", 3, REQ },
	{ GET H "A@B: c\r\n" END,				"colon directly", 3, REQ },
	{ GET " A: b\r\n" H END,				"folding", 2, REQ },
	{ GET H "A: b\r\n c\r\n" END,				"folding", 4, REQ },
	{ GET H "A: b\r\n\tc\r\n" END,				"folding", 4, REQ },
	{ GET H "A: b\r\n \r\n" END,				"folding", 4, REQ },
	{ GET H "Content-Length:\r\n 5\r\n" END,		"not 1 to 19", 3, REQ },
	{ GET H "A: b\rC: d\r\n" END,				"bare CR", 3, REQ },
	{ GET H "A:\rTransfer-Encoding: chunked\r\n" END,	"bare CR", 3, REQ },
	{ GET H "A: b\r\r\n" END,				"bare CR", 3, REQ },
	{ GET H "\rA: b\r\n" END,				"colon directly", 3, REQ },
	{ GET H "A: \x01\r\n" END,				"control", 3, REQ },
	{ GET H "A: \x1b[1m\r\n" END,				"control", 3, REQ },
	{ GET H "A: \x7f\r\n" END,				"control", 3, REQ },
	{ GET H "A: \v\r\n" END,				"control", 3, REQ },
	/* Content-Length */
	{ POST "Content-Length: \r\n" END,			"not 1 to 19", 3, REQ },
	{ POST "Content-Length: +5\r\n" END,			"not a number", 3, REQ },
	{ POST "Content-Length: -5\r\n" END,			"not a number", 3, REQ },
	{ POST "Content-Length: 0x5\r\n" END,			"not a number", 3, REQ },
	{ POST "Content-Length: 5.0\r\n" END,			"not a number", 3, REQ },
	{ POST "Content-Length: 5, 5\r\n" END,			"not a number", 3, REQ },
	{ POST "Content-Length: 5 5\r\n" END,			"not a number", 3, REQ },
	{ POST "Content-Length: 5\r\nContent-Length: 5\r\n" END, "repeats Content-Length", 4, REQ },
	{ POST "Content-Length: 5\r\nContent-length: 6\r\n" END, "repeats Content-Length", 4, REQ },
	{ POST "Content-Length: 9223372036854775808\r\n" END,	"past 2^63", 3, REQ },
	{ POST "Content-Length: 18446744073709551616\r\n" END,	"not 1 to 19", 3, REQ },
	{ POST "Content-Length : 5\r\n" END,			"colon directly", 3, REQ },
	{ POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END, "both", 5, REQ },
	{ POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END, "both", 5, REQ },
	/* Transfer-Encoding */
	{ POST "Transfer-Encoding: identity\r\n" END,		"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: gzip, chunked\r\n" END,	"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: chunked, gzip\r\n" END,	"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: chunked, chunked\r\n" END,	"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: xchunked\r\n" END,		"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: chunked;q=1\r\n" END,	"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: \"chunked\"\r\n" END,	"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: \x0b" "chunked\r\n" END,	"control", 3, REQ },
	{ POST "Transfer-Encoding:\r\n" END,			"other than chunked", 3, REQ },
	{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END, "repeats Transfer", 4, REQ },
	{ POST "Transfer-Encoding : chunked\r\n" END,		"colon directly", 3, REQ },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END, "HTTP/1.0 does not", 2, REQ },
};
/* clang-format on */

static void good_heads(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(good); i++) {
		const struct good *row = &good[i];
		struct pc_error err = PC_ERROR_INIT;
		struct http__decoder decoder;
		struct http__head head;
		size_t length = strlen(row->text);

		if (http__request_head_read(row->text, length, headers, &head, &err))
			fail_msg("row %zu: %s", i, err.message);
		assert_true(http_slice_is(head.path, row->path));
		assert_true(http_slice_is(head.query, row->query));
		assert_int_equal(head.chunked, row->chunked);
		assert_int_equal(head.has_length, row->length >= 0);
		assert_true(head.content_length == (uint64_t)(row->length < 0 ? 0 : row->length));
		assert_int_equal(head.keep_alive, row->keep_alive);
		/* llhttp must agree with every head that we accept. */
		if (http__decoder_start_request(&decoder, &head, row->text, length, NULL, NULL,
						&err))
			fail_msg("row %zu, llhttp: %s", i, err.message);
		assert_int_equal(decoder.complete, !row->chunked && row->length <= 0);
	}
}

static void bad_heads(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(bad); i++) {
		const struct bad *row = &bad[i];
		struct pc_error err = PC_ERROR_INIT;
		struct http__head head;
		char line[16];

		if (http__request_head_read(row->text, strlen(row->text), headers, &head, &err) !=
		    row->code)
			fail_msg("row %zu is not refused as it should be: %d", i, err.code);
		snprintf(line, sizeof(line), "%d", row->line);
		assert_string_equal(pc_error_detail_get(&err, "line"), line);
		if (!strstr(err.message, row->says))
			fail_msg("row %zu says '%s'", i, err.message);
	}
}

/* What strings cannot spell: a NUL anywhere. */
static void nul_bytes(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
	char copy[sizeof(text)];

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 5; i++) {
		struct http__head head;

		memcpy(copy, text, sizeof(text));
		copy[i] = '\0';
		assert_true(http__request_head_read(copy, sizeof(text) - 1, headers, &head, NULL) <
			    0);
	}
}

static void too_many_headers(void **state)
{
	char text[HTTP_HEADERS_MAX * 8 + 100];
	struct pc_error err = PC_ERROR_INIT;
	struct http__head head;
	size_t length;

	(void)state;
	length = (size_t)sprintf(text, GET H);
	for (int i = 1; i < HTTP_HEADERS_MAX; i++)
		length += (size_t)sprintf(text + length, "A: b\r\n");
	memcpy(text + length, "\r\n", 3);
	assert_int_equal(http__request_head_read(text, length + 2, headers, &head, &err), 0);
	assert_int_equal(head.header_count, HTTP_HEADERS_MAX);
	length += (size_t)sprintf(text + length, "A: b\r\n\r\n");
	assert_int_equal(http__request_head_read(text, length, headers, &head, &err),
			 PC_E_HEADERS_TOO_LARGE);
	assert_string_equal(err.message,
			    "the head's line 130 is one header more than are accepted");
}

static void responses(void **state)
{
	static const struct {
		const char *text;
		int status; /* 0: refused */
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", 200 },
		{ "HTTP/1.1 200\r\n\r\n", 200 },
		{ "HTTP/1.1 200 \r\n\r\n", 200 },
		{ "HTTP/1.0 404 Not \xe9\r\n\r\n", 404 },
		{ "HTTP/1.1 999 ?\r\n\r\n", 999 },
		{ "HTTP/1.1 100 Continue\r\n\r\n", 100 },
		{ "HTTP/1.1 099 x\r\n\r\n", 0 },
		{ "HTTP/1.1 20 x\r\n\r\n", 0 },
		{ "HTTP/1.1 2000 x\r\n\r\n", 0 },
		{ "HTTP/1.1  200 x\r\n\r\n", 0 },
		{ "HTTP/2.0 200 x\r\n\r\n", 0 },
		{ "ICY 200 OK\r\n\r\n", 0 },
		{ "HTTP/1.1 200 a\rb\r\n\r\n", 0 },
		{ "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", 0 },
		{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0 },
		{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_error err = PC_ERROR_INIT;
		struct http__head head = { .status = 0 };
		int code = http__response_head_read(rows[i].text, strlen(rows[i].text), headers,
						    &head, &err);

		assert_int_equal(code, rows[i].status ? 0 : PC_E_RECV_FAILED);
		assert_int_equal(head.status, rows[i].status);
	}
}

/* The end is found wherever the head is cut, and what follows it is not looked at. */
static void end_of_a_head(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody\n\n";
	const ssize_t whole = (ssize_t)strlen(text) - 6;

	(void)state;
	for (size_t cut = 0; cut <= strlen(text); cut++) {
		struct http__head_scan scan = { 0 };
		ssize_t end = http__head_end(text, cut, &scan);

		assert_int_equal(end, cut < (size_t)whole ? 0 : whole);
		if (end == 0)
			assert_int_equal(http__head_end(text, strlen(text), &scan), whole);
	}

	static const char *const bare[] = { "\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\n\n",
					    "GET / HTTP/1.1\r\nHost: x\n\r\n" };

	for (size_t i = 0; i < PC_ARRAY_LEN(bare); i++) {
		struct http__head_scan scan = { 0 };

		assert_int_equal(http__head_end(bare[i], strlen(bare[i]), &scan), -1);
	}
}

static void hop_by_hop(void **state)
{
	static const struct http_header list[] = {
		{ { "connection", 10 }, { "X-One , close", 13 } },
		{ { "Connection", 10 }, { ",x-TWO", 6 } },
	};
	static const char *const dropped[] = { "CONNECTION", "Keep-Alive", "TE",
					       "Trailer",    "Upgrade",	   "x-one",
					       "X-Two",	     "close",	   "Transfer-Encoding" };
	static const char *const kept[] = { "Content-Type", "X-On", "X-One1", "Host", "" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(dropped); i++)
		assert_true(http_is_hop_by_hop(
			list, 2, (struct http_slice){ dropped[i], strlen(dropped[i]) }));
	for (size_t i = 0; i < PC_ARRAY_LEN(kept); i++)
		assert_false(http_is_hop_by_hop(list, 2,
						(struct http_slice){ kept[i], strlen(kept[i]) }));
}

/* ---- chunks ---- */

struct body {
	char data[64];
	size_t length;
};

static bool collect(void *ctx, const char *data, size_t length)
{
	struct body *body = ctx;

	assert_true(body->length + length < sizeof(body->data));
	memcpy(body->data + body->length, data, length);
	body->length += length;
	body->data[body->length] = '\0';
	return true;
}

/* Feeds in pieces of `step` bytes; the code, and how many bytes were used. */
static int decode(const char *chunks, size_t step, struct body *body, size_t *ret_used,
		  bool *ret_complete)
{
	static const char text[] = POST "Transfer-Encoding: chunked\r\n\r\n";
	struct http__decoder decoder;
	struct http__head head;
	size_t length = strlen(chunks), at = 0, used;

	*body = (struct body){ .length = 0 };
	assert_int_equal(http__request_head_read(text, sizeof(text) - 1, headers, &head, NULL), 0);
	assert_int_equal(http__decoder_start_request(&decoder, &head, text, sizeof(text) - 1,
						     collect, body, NULL),
			 0);
	while (at < length && !decoder.complete) {
		size_t piece = length - at < step ? length - at : step;

		if (http__decoder_feed(&decoder, chunks + at, piece, &used, NULL))
			return PC_E_INVALID_REQUEST;
		at += used;
	}
	*ret_used = at;
	*ret_complete = decoder.complete;
	return 0;
}

static void chunks(void **state)
{
	static const struct {
		const char *text;
		const char *body; /* NULL: broken */
		size_t left;	  /* bytes behind the message */
	} rows[] = {
		{ "5\r\nhello\r\n0\r\n\r\n", "hello", 0 },
		{ "5\r\nhello\r\n0\r\n\r\nGET /", "hello", 5 },
		{ "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", 0 },
		{ "005\r\nhello\r\n000\r\n\r\n", "hello", 0 },
		{ "5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello", 0 },
		{ "5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", "hello", 0 },
		{ "0\r\n\r\n", "", 0 },
		{ "5\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\n0\r\n\r\n", NULL, 0 },
		{ "5\r\nhello0\r\n\r\n", NULL, 0 },
		{ "5\r\nhelloX\r\n0\r\n\r\n", NULL, 0 },
		{ "5 \r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "-5\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "+5\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "0x5\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "g\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "\r\n5\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "ffffffffffffffff1\r\nx", NULL, 0 },
		{ "5\rhello\r\n0\r\n\r\n", NULL, 0 },
		{ "5;a\nb\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA : b\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\n\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA: b\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA: b\r\n\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA: b\rGET / HTTP/1.1\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\n A: b\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\nhello", "hello", 5 },
		{ "5\r\nhello\r\n0\r\nTransfer-Encoding: identity\r\n\r\n", "hello", 0 },
		{ "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "hello", 3 },
		{ "5\r\nhello\r\n0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc", "hello", 3 },
		{ "5;a\rb\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "5;\"\r\n\"\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "10000000000000005\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\n: b\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA: b\x01\r\n\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\n\r\r\n", NULL, 0 },
		{ "5\r\nhello\r\n0\r\nA:\r\nB: c\td\r\n\r\nxy", "hello", 2 },
		{ ";\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ "5\t\r\nhello\r\n0\r\n\r\n", NULL, 0 },
		{ " 5\r\nhello\r\n0\r\n\r\n", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		for (size_t step = 1; step <= strlen(rows[i].text); step++) {
			struct body body;
			bool complete = false;
			size_t used = 0;
			int code = decode(rows[i].text, step, &body, &used, &complete);

			if ((code == 0 && complete) != (rows[i].body != NULL))
				fail_msg("row %zu in steps of %zu: %d", i, step, code);
			if (!rows[i].body)
				continue;
			assert_string_equal(body.data, rows[i].body);
			assert_int_equal(strlen(rows[i].text) - used, rows[i].left);
		}
	}
}

/* Extensions and trailers without end are refused. */
static void chunk_overhead(void **state)
{
	static const char text[] = POST "Transfer-Encoding: chunked\r\n\r\n";
	struct pc_error err = PC_ERROR_INIT;
	struct http__decoder decoder;
	struct http__head head;
	struct body body = { .length = 0 };
	char filler[1024];
	size_t used, fed = 0;

	(void)state;
	memset(filler, 'a', sizeof(filler));
	assert_int_equal(http__request_head_read(text, sizeof(text) - 1, headers, &head, NULL), 0);
	assert_int_equal(http__decoder_start_request(&decoder, &head, text, sizeof(text) - 1,
						     collect, &body, NULL),
			 0);
	assert_int_equal(http__decoder_feed(&decoder, "5;a=", 4, &used, &err), 0);
	while (http__decoder_feed(&decoder, filler, sizeof(filler), &used, &err) == 0) {
		fed += used;
		assert_true(fed < 100000);
	}
	assert_string_equal(err.message, "the message's chunks carry more framing than body");
}

static void unknown_method(void **state)
{
	static const char text[] = "BREW / HTTP/1.1\r\n" H END;
	struct pc_error err = PC_ERROR_INIT;
	struct http__decoder decoder;
	struct http__head head;

	(void)state;
	assert_int_equal(http__request_head_read(text, sizeof(text) - 1, headers, &head, &err), 0);
	assert_int_equal(http__decoder_start_request(&decoder, &head, text, sizeof(text) - 1, NULL,
						     NULL, &err),
			 PC_E_UNSUPPORTED);
	assert_string_equal(err.message, "the method 'BREW' is not supported");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_heads),	  cmocka_unit_test(bad_heads),
		cmocka_unit_test(nul_bytes),	  cmocka_unit_test(too_many_headers),
		cmocka_unit_test(responses),	  cmocka_unit_test(end_of_a_head),
		cmocka_unit_test(hop_by_hop),	  cmocka_unit_test(chunks),
		cmocka_unit_test(chunk_overhead), cmocka_unit_test(unknown_method),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
