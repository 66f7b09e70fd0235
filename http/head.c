/* SPDX-License-Identifier: MIT */
/*
 * head.c - reads the head of a message strictly: start line, headers, and what they say about the
 * body's framing and the connection. It does not read bodies and knows no sockets. Pure functions,
 * any thread.
 *
 * The smuggling note. A request is smuggled when two readers of the same bytes disagree where a
 * message ends: a proxy in front of us and we, or we and the worker behind us. Every known way
 * leads through something that one side tolerates. So nothing is tolerated here, and llhttp, which
 * decodes the body, reads the same head afterwards and must come to the same framing (decoder.c).
 * Refused, with the sections of RFC 9112 that allow or demand it:
 *
 *   bare CR, LF without CR, NUL and other controls           2.2, RFC 9110 5.5
 *   white space before the first header or before a colon    2.2, 5.1
 *   obsolete line folding                                    5.2
 *   Content-Length together with Transfer-Encoding           6.1 (may be refused), 6.3 (11.2)
 *   a repeated Content-Length, a list in it, a sign          6.3
 *   Transfer-Encoding other than exactly "chunked"           6.1
 *   Transfer-Encoding in HTTP/1.0                            6.1 (framing is faulty)
 *   no Host or several in HTTP/1.1, or one that is no host   3.2
 *
 * Stricter than the RFC: targets in absolute form (3.2.2 wants them accepted) are refused, because
 * this is an origin server that nobody uses as a forward proxy, and the Host that is checked
 * against rebinding must be the only authority; so is '#' in a target, and bytes past ASCII.
 */
#include "http/head.h"

#include "http/text.h"

#include <string.h>
#include <strings.h>

/* ---- characters ---- */

enum {
	CHAR_TOKEN = 1,	 /* RFC 9110 5.6.2: tchar */
	CHAR_VALUE = 2,	 /* RFC 9110 5.5: VCHAR, obs-text, SP, HTAB */
	CHAR_TARGET = 4, /* visible ASCII without '#' */
	CHAR_HOST = 8,	 /* names, addresses, port; not RFC 3986's sub-delims or user information */
	CHAR_ID = 16,	 /* of a correlation id */
};

/* clang-format off */
#define ALNUM (CHAR_TOKEN | CHAR_VALUE | CHAR_TARGET | CHAR_HOST | CHAR_ID)
#define TOKEN (CHAR_TOKEN | CHAR_VALUE | CHAR_TARGET)
#define OTHER (CHAR_VALUE | CHAR_TARGET)
static const unsigned char classes[256] = {
	['0' ... '9'] = ALNUM, ['A' ... 'Z'] = ALNUM, ['a' ... 'z'] = ALNUM,
	['-'] = ALNUM,
	['.'] = TOKEN | CHAR_HOST, ['_'] = TOKEN | CHAR_HOST, ['~'] = TOKEN | CHAR_HOST,
	['%'] = TOKEN | CHAR_HOST,
	['!'] = TOKEN, ['$'] = TOKEN, ['&'] = TOKEN, ['\''] = TOKEN, ['*'] = TOKEN, ['+'] = TOKEN,
	['^'] = TOKEN, ['`'] = TOKEN, ['|'] = TOKEN,
	['#'] = CHAR_TOKEN | CHAR_VALUE,
	[':'] = OTHER | CHAR_HOST, ['['] = OTHER | CHAR_HOST, [']'] = OTHER | CHAR_HOST,
	['"'] = OTHER, ['('] = OTHER, [')'] = OTHER, [','] = OTHER, ['/'] = OTHER, [';'] = OTHER,
	['<'] = OTHER, ['='] = OTHER, ['>'] = OTHER, ['?'] = OTHER, ['@'] = OTHER, ['\\'] = OTHER,
	['{'] = OTHER, ['}'] = OTHER,
	[' '] = CHAR_VALUE, ['\t'] = CHAR_VALUE,
	[0x80 ... 0xff] = CHAR_VALUE,
};
/* clang-format on */

/* The length of the longest prefix whose characters are all of `class`. */
static size_t span(const char *text, size_t length, unsigned class)
{
	size_t i = 0;

	while (i < length && (classes[(unsigned char)text[i]] & class))
		i++;
	return i;
}

bool http__is_name_char(char c)
{
	return classes[(unsigned char)c] & CHAR_TOKEN;
}

bool http__is_value_char(char c)
{
	return classes[(unsigned char)c] & CHAR_VALUE;
}

bool http__target_valid(struct http_slice target)
{
	return target.length > 0 && span(target.data, target.length, CHAR_TARGET) == target.length;
}

bool http__correlation_id_valid(struct http_slice id)
{
	return id.length >= 1 && id.length <= 64 && span(id.data, id.length, CHAR_ID) == id.length;
}

/* ---- slices ---- */

static struct http_slice trim(struct http_slice slice)
{
	while (slice.length && (slice.data[0] == ' ' || slice.data[0] == '\t')) {
		slice.data++;
		slice.length--;
	}
	while (slice.length &&
	       (slice.data[slice.length - 1] == ' ' || slice.data[slice.length - 1] == '\t'))
		slice.length--;
	return slice;
}

/* Takes the next member off a comma-separated list; false at its end. Empty members are skipped. */
static bool list_next(struct http_slice *list, struct http_slice *ret_member)
{
	while (list->length) {
		const char *comma = memchr(list->data, ',', list->length);
		size_t length = comma ? (size_t)(comma - list->data) : list->length;
		struct http_slice member = trim((struct http_slice){ list->data, length });

		length += comma != NULL;
		list->data += length;
		list->length -= length;
		if (member.length) {
			*ret_member = member;
			return true;
		}
	}
	return false;
}

bool http_is_hop_by_hop(const struct http_header *headers, size_t count, struct http_slice name)
{
	/* RFC 9110 7.6.1; Trailer because trailers are dropped, Proxy-Auth*
	 * from RFC 2616 13.5.1. */
	static const struct http_slice fixed[] = {
		HTTP__SLICE("connection"),
		HTTP__SLICE("keep-alive"),
		HTTP__SLICE("proxy-connection"),
		HTTP__SLICE("te"),
		HTTP__SLICE("transfer-encoding"),
		HTTP__SLICE("upgrade"),
		HTTP__SLICE("trailer"),
		HTTP__SLICE("proxy-authenticate"),
		HTTP__SLICE("proxy-authorization"),
		HTTP__SLICE("proxy-authentication-info"),
	};
	struct http_slice list, member;

	if (http__slice_in(name, fixed, PC_ARRAY_LEN(fixed)))
		return true;
	for (size_t i = 0; i < count; i++) {
		if (!http_slice_is_nocase(headers[i].name, "connection"))
			continue;
		list = headers[i].value;
		while (list_next(&list, &member)) {
			if (member.length == name.length &&
			    strncasecmp(member.data, name.data, name.length) == 0)
				return true;
		}
	}
	return false;
}

/* ---- the end of a head ---- */

ssize_t http__head_end(const char *text, size_t length, struct http__head_scan *scan)
{
	while (scan->scanned < length) {
		const char *lf = memchr(text + scan->scanned, '\n', length - scan->scanned);

		if (!lf) {
			scan->scanned = length;
			return 0;
		}

		size_t at = (size_t)(lf - text);

		if (at == scan->line_start || lf[-1] != '\r')
			return -1;
		scan->scanned = at + 1;
		if (at == scan->line_start + 1)
			return (ssize_t)scan->scanned;
		scan->line_start = scan->scanned;
	}
	return 0;
}

/* ---- reading ---- */

struct reader {
	const char *at;
	const char *end;
	unsigned line;
	int code; /* of what is refused */
	struct http_header *headers;
	struct http__head head;
	unsigned hosts;
	unsigned lengths;
	unsigned codings;
	bool says_close;
	bool says_keep_alive;
	struct pc_error *err;
};

static int refuse(struct reader *reader, const char *what)
{
	bool first = reader->err && !reader->err->code;
	int code = pc_error_set(reader->err, reader->code, "the head's line %u %s", reader->line,
				what);

	if (first)
		pc_error_detail(reader->err, "line", "%u", reader->line);
	return code;
}

/* The next line without its CRLF; the caller knows that the head ends in an empty one. */
static int next_line(struct reader *reader, struct http_slice *ret_line)
{
	const char *lf = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));

	reader->line++;
	if (!lf || lf == reader->at || lf[-1] != '\r')
		return refuse(reader, "does not end in CR LF");
	*ret_line = (struct http_slice){ reader->at, (size_t)(lf - reader->at) - 1 };
	reader->at = lf + 1;
	return 0;
}

/* "HTTP/1.0" or "HTTP/1.1", case-sensitive (RFC 9112 2.3). */
static int read_version(struct reader *reader, struct http_slice version)
{
	if (http_slice_is(version, "HTTP/1.1"))
		reader->head.minor = 1;
	else if (http_slice_is(version, "HTTP/1.0"))
		reader->head.minor = 0;
	else
		return refuse(reader, "does not name HTTP/1.1 or HTTP/1.0 as the version");
	return 0;
}

static int read_request_line(struct reader *reader, struct http_slice line)
{
	struct http__head *head = &reader->head;
	struct http_slice target;
	const char *query;

	head->method = (struct http_slice){ line.data, span(line.data, line.length, CHAR_TOKEN) };
	if (head->method.length == 0 || head->method.length == line.length ||
	    line.data[head->method.length] != ' ')
		return refuse(reader, "does not begin with a method and one space");
	target.data = line.data + head->method.length + 1;
	target.length = span(target.data, line.length - head->method.length - 1, CHAR_TARGET);
	line.length -= (size_t)(target.data + target.length - line.data);
	line.data = target.data + target.length;
	if (target.length == 0 || line.length == 0 || line.data[0] != ' ')
		return refuse(reader, "has a target that is not visible ASCII between two spaces");
	if (read_version(reader, (struct http_slice){ line.data + 1, line.length - 1 }))
		return reader->code;
	if (http_slice_is(head->method, "CONNECT")) {
		reader->code = PC_E_UNSUPPORTED;
		return refuse(reader, "asks for CONNECT, which this server does not offer");
	}
	if (target.data[0] != '/' &&
	    !(http_slice_is(target, "*") && http_slice_is(head->method, "OPTIONS")))
		return refuse(reader, "has a target that does not begin with '/'");
	query = memchr(target.data, '?', target.length);
	head->path.data = target.data;
	head->path.length = query ? (size_t)(query - target.data) : target.length;
	head->query.data = query ? query + 1 : target.data + target.length;
	head->query.length = query ? target.length - head->path.length - 1 : 0;
	return 0;
}

static int read_status_line(struct reader *reader, struct http_slice line)
{
	const char *digits = line.data + 9;

	if (line.length < 12 || line.data[8] != ' ' || (line.length > 12 && line.data[12] != ' '))
		return refuse(reader, "is not a status line");
	if (read_version(reader, (struct http_slice){ line.data, 8 }))
		return reader->code;
	reader->head.status = 0;
	for (int i = 0; i < 3; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return refuse(reader, "has a status that is not three digits");
		reader->head.status = reader->head.status * 10 + (digits[i] - '0');
	}
	if (reader->head.status < 100)
		return refuse(reader, "has a status below 100");
	if (span(line.data + 12, line.length - 12, CHAR_VALUE) != line.length - 12)
		return refuse(reader, "has a control character in its reason");
	return 0;
}

static int read_content_length(struct reader *reader, struct http_slice value)
{
	uint64_t length = 0;

	if (reader->lengths++)
		return refuse(reader, "repeats Content-Length");
	if (value.length == 0 || value.length > 19)
		return refuse(reader, "has a Content-Length that is not 1 to 19 digits");
	for (size_t i = 0; i < value.length; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return refuse(reader, "has a Content-Length that is not a number");
		length = length * 10 + (uint64_t)(value.data[i] - '0');
	}
	if (length > INT64_MAX)
		return refuse(reader, "has a Content-Length past 2^63");
	reader->head.has_length = true;
	reader->head.content_length = length;
	return 0;
}

static int read_transfer_encoding(struct reader *reader, struct http_slice value)
{
	if (reader->codings++)
		return refuse(reader, "repeats Transfer-Encoding");
	if (!http_slice_is_nocase(value, "chunked"))
		return refuse(reader, "has a Transfer-Encoding other than chunked");
	if (reader->head.minor == 0)
		return refuse(reader, "has Transfer-Encoding, which HTTP/1.0 does not know");
	reader->head.chunked = true;
	return 0;
}

static int read_host(struct reader *reader, struct http_slice value)
{
	if (reader->hosts++)
		return refuse(reader, "repeats Host");
	if (value.length == 0 || span(value.data, value.length, CHAR_HOST) != value.length)
		return refuse(reader, "has a Host that is not a name or address with a port");
	return 0;
}

static void read_connection(struct reader *reader, struct http_slice value)
{
	struct http_slice member;

	while (list_next(&value, &member)) {
		reader->says_close |= http_slice_is_nocase(member, "close");
		reader->says_keep_alive |= http_slice_is_nocase(member, "keep-alive");
	}
}

/* The headers that say something about the framing or the connection. */
static int read_meaning(struct reader *reader, const struct http_header *header)
{
	switch (header->name.length) {
	case 4:
		if (http_slice_is_nocase(header->name, "host"))
			return read_host(reader, header->value);
		break;
	case 6:
		if (http_slice_is_nocase(header->name, "expect"))
			reader->head.expect_continue |= http_slice_is_nocase(header->value,
									     "100-continue");
		break;
	case 10:
		if (http_slice_is_nocase(header->name, "connection"))
			read_connection(reader, header->value);
		break;
	case 14:
		if (http_slice_is_nocase(header->name, "content-length"))
			return read_content_length(reader, header->value);
		break;
	case 17:
		if (http_slice_is_nocase(header->name, "transfer-encoding"))
			return read_transfer_encoding(reader, header->value);
		break;
	}
	return 0;
}

static int read_header(struct reader *reader, struct http_slice line)
{
	struct http_header *header = &reader->headers[reader->head.header_count];
	size_t name = span(line.data, line.length, CHAR_TOKEN);

	if (line.data[0] == ' ' || line.data[0] == '\t')
		return refuse(reader, "begins with white space (obsolete folding)");
	if (name == 0 || name == line.length || line.data[name] != ':')
		return refuse(reader, "is not a header: a name and a colon directly after it");
	if (reader->head.header_count == HTTP_HEADERS_MAX) {
		if (reader->code == PC_E_INVALID_REQUEST)
			reader->code = PC_E_HEADERS_TOO_LARGE;
		return refuse(reader, "is one header more than are accepted");
	}
	header->name = (struct http_slice){ line.data, name };
	header->value = (struct http_slice){ line.data + name + 1, line.length - name - 1 };
	if (span(header->value.data, header->value.length, CHAR_VALUE) != header->value.length)
		return refuse(reader, "has a control character or a bare CR in a header's value");
	header->value = trim(header->value);
	reader->head.header_count++;
	return read_meaning(reader, header);
}

static int read_headers(struct reader *reader)
{
	struct http_slice line = { .length = 0 };

	for (;;) {
		if (next_line(reader, &line))
			return reader->code;
		if (line.length == 0)
			break;
		if (read_header(reader, line))
			return reader->code;
	}
	if (reader->at != reader->end)
		return refuse(reader, "ends the head before its last byte");
	if (reader->codings && reader->lengths)
		return refuse(reader, "ends a head with both Content-Length and Transfer-Encoding");
	reader->head.keep_alive = !reader->says_close &&
				  (reader->head.minor == 1 || reader->says_keep_alive);
	return 0;
}

int http__request_head_read(const char *text, size_t length, struct http_header *headers,
			    struct http__head *ret_head, struct pc_error *err)
{
	struct reader reader = { .at = text,
				 .end = text + length,
				 .code = PC_E_INVALID_REQUEST,
				 .headers = headers,
				 .err = err };
	struct http_slice line = { .length = 0 };

	if (next_line(&reader, &line) || read_request_line(&reader, line) || read_headers(&reader))
		return reader.code;
	if (reader.hosts == 0 && reader.head.minor == 1)
		return refuse(&reader, "ends a head without Host");
	*ret_head = reader.head;
	return 0;
}

int http__response_head_read(const char *text, size_t length, struct http_header *headers,
			     struct http__head *ret_head, struct pc_error *err)
{
	struct reader reader = { .at = text,
				 .end = text + length,
				 .code = PC_E_RECV_FAILED,
				 .headers = headers,
				 .err = err };
	struct http_slice line = { .length = 0 };

	if (next_line(&reader, &line) || read_status_line(&reader, line) || read_headers(&reader))
		return reader.code;
	*ret_head = reader.head;
	return 0;
}
