/* SPDX-License-Identifier: MIT */
/*
 * client.c - the blocking HTTP client and hand-operated server of scenario tests. It trusts its
 * peer as little as a test should: bad framing fails the test.
 */
#include "lib/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/proc.h"

enum framing { FRAMED_BY_LENGTH, FRAMED_BY_CHUNKS, FRAMED_BY_CLOSE };

struct client {
	int fd;
	char *buffer; /* received and not consumed: buffer[start..end) */
	size_t start, end, capacity;
	char *head;
	enum framing framing;
	size_t left; /* bytes of the body, or of the current chunk */
	bool in_chunk;
	bool body_done;
	bool complete;
	bool head_only; /* the answer to HEAD has no body */
	char *text;	/* decoded and not yet returned by client_event */
	size_t text_length, text_capacity;
	struct client *next;
};

static struct client *all;

/* ---- addresses ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_un un;
};

static socklen_t parse_address(const char *text, union address *address)
{
	const char *colon = strrchr(text, ':');
	char host[32] = "";

	memset(address, 0, sizeof(*address));
	if (strncmp(text, "unix:", 5) == 0) {
		address->un.sun_family = AF_UNIX;
		assert_true(strlen(text + 5) < sizeof(address->un.sun_path));
		strcpy(address->un.sun_path, text + 5);
		return sizeof(address->un);
	}
	if (colon)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (strncmp(host, "127.", 4) != 0 || inet_pton(AF_INET, host, &address->in.sin_addr) != 1)
		fail_msg("\"%s\" is no address for a test", text);
	address->in.sin_family = AF_INET;
	address->in.sin_port = htons((uint16_t)atoi(colon + 1));
	return sizeof(address->in);
}

/* ---- connection ---- */

struct client *client_try(const char *address)
{
	struct client *client = calloc(1, sizeof(*client));
	union address peer;
	socklen_t length = parse_address(address, &peer);
	const int on = 1;

	client->fd = socket(peer.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	client->next = all;
	all = client;
	/* A head and its body are two sends; the kernel would hold the second one back until the
	 * daemon has acknowledged the first, 40 ms later. Fails for a Unix socket. */
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(client->fd, &peer.any, length) == 0)
		return client;
	client_close(client);
	return NULL;
}

struct client *client_open(const char *address)
{
	struct client *client = client_try(address);

	if (!client)
		fail_msg("connect to %s: %s", address, strerror(errno));
	return client;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	for (struct client **slot = &all; *slot; slot = &(*slot)->next) {
		if (*slot == client) {
			*slot = client->next;
			break;
		}
	}
	close(client->fd);
	free(client->buffer);
	free(client->head);
	free(client->text);
	free(client);
}

void client_close_all(void)
{
	while (all)
		client_close(all);
}

void client_send(struct client *client, const void *data, size_t length)
{
	const char *bytes = data;

	while (length > 0) {
		ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		/* The server may answer and close before it has read a large body. */
		if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		if (sent < 0)
			fail_msg("send: %s", strerror(errno));
		bytes += sent;
		length -= (size_t)sent;
	}
}

void client_request(struct client *client, const char *method, const char *path,
		    const char *headers, const char *body)
{
	char *head;
	int length = body ? asprintf(
				    &head,
				    "%s %s HTTP/1.1\r\nHost: localhost\r\n%s"
				    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
				    method, path, headers ? headers : "", strlen(body))
			  : asprintf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method,
				     path, headers ? headers : "");

	assert_true(length > 0);
	client->head_only = strcmp(method, "HEAD") == 0;
	client_send(client, head, (size_t)length);
	if (body)
		client_send(client, body, strlen(body));
	free(head);
}

/* Receives more; false when the peer has closed. */
static bool receive(struct client *client)
{
	struct pollfd ready = { .fd = client->fd, .events = POLLIN };
	int64_t deadline = test_deadline_ms();
	int got;

	if (client->start == client->end)
		client->start = client->end = 0;
	if (client->end == client->capacity) {
		client->capacity = client->capacity ? client->capacity * 2 : 16384;
		client->buffer = realloc(client->buffer, client->capacity);
	}
	do {
		got = poll(&ready, 1, test_remaining_ms(deadline));
	} while (got < 0 && errno == EINTR);
	if (got != 1)
		fail_msg("the server sends nothing more");

	ssize_t length = recv(client->fd, client->buffer + client->end,
			      client->capacity - client->end, 0);

	if (length <= 0)
		return false;
	client->end += (size_t)length;
	return true;
}

size_t client_wait_any(struct client *const clients[], size_t count)
{
	struct pollfd ready[8];
	int got;

	assert_true(count <= sizeof(ready) / sizeof(ready[0]));
	for (size_t i = 0; i < count; i++)
		ready[i] = (struct pollfd){ .fd = clients[i]->fd, .events = POLLIN };
	do {
		got = poll(ready, count, test_remaining_ms(test_deadline_ms()));
	} while (got < 0 && errno == EINTR);
	for (size_t i = 0; got > 0 && i < count; i++) {
		if (ready[i].revents)
			return i;
	}
	fail_msg("the server sends nothing to any of them");
	return 0;
}

/* ---- response ---- */

/* The length of the head in the buffer with its empty line, 0 when it is not there yet. */
static size_t head_length(const struct client *client)
{
	const char *begin = client->buffer + client->start;
	const char *end = client->end > client->start
				  ? memmem(begin, client->end - client->start, "\r\n\r\n", 4)
				  : NULL;

	return end ? (size_t)(end - begin) + 4 : 0;
}

static void read_framing(struct client *client, int status)
{
	const char *length = client_header(client, "Content-Length");
	const char *coding = client_header(client, "Transfer-Encoding");

	client->in_chunk = false;
	client->left = 0;
	client->complete = client->body_done = client->head_only || status == 204 || status == 304;
	if (coding) {
		assert_null(length);
		assert_string_equal(coding, "chunked");
		client->framing = FRAMED_BY_CHUNKS;
	} else if (length) {
		client->framing = FRAMED_BY_LENGTH;
		client->left = strtoul(length, NULL, 10);
		client->complete = client->body_done = client->body_done || client->left == 0;
	} else {
		client->framing = FRAMED_BY_CLOSE;
	}
}

int client_status(struct client *client)
{
	size_t length;
	int status;

	do {
		while ((length = head_length(client)) == 0) {
			if (!receive(client))
				fail_msg("the connection closed before a response came");
		}
		free(client->head);
		client->head = strndup(client->buffer + client->start, length - 2);
		client->start += length;
		if (sscanf(client->head, "HTTP/1.1 %3d ", &status) != 1)
			fail_msg("not a status line: %s", client->head);
	} while (status >= 100 && status < 200);
	client->text_length = 0;
	read_framing(client, status);
	return status;
}

/* Cuts the header's line out of the head in place by copying it to a ring of values. */
const char *client_header(struct client *client, const char *name)
{
	static char values[4][1024];
	static unsigned turn;
	size_t name_length = strlen(name);

	for (const char *line = strstr(client->head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, name_length) != 0 || line[name_length] != ':')
			continue;
		line += name_length + 1;
		line += strspn(line, " \t");

		char *value = values[turn++ % 4];

		snprintf(value, sizeof(values[0]), "%.*s", (int)strcspn(line, "\r"), line);
		return value;
	}
	return NULL;
}

static void keep(struct client *client, size_t length)
{
	size_t needed = client->text_length + length + 1;

	/* Doubled, as each realloc copies all of it under ThreadSanitizer. */
	if (needed > client->text_capacity) {
		client->text_capacity = needed * 2;
		client->text = realloc(client->text, client->text_capacity);
	}
	memcpy(client->text + client->text_length, client->buffer + client->start, length);
	client->text_length += length;
	client->text[client->text_length] = '\0';
	client->start += length;
}

/* Takes a chunk's size line, or the line end behind a chunk. False: more bytes are needed. */
static bool read_chunk_line(struct client *client)
{
	const char *begin = client->buffer + client->start;
	const char *end = memmem(begin, client->end - client->start, "\r\n", 2);

	if (!end)
		return false;
	if (client->in_chunk) {
		assert_ptr_equal(end, begin);
		client->in_chunk = false;
	} else {
		char *digits_end;

		client->left = strtoul(begin, &digits_end, 16);
		assert_true(digits_end > begin && (*digits_end == '\r' || *digits_end == ';'));
		client->in_chunk = true;
		if (client->left == 0) {
			/* We send no trailers and expect none. */
			if (client->end - client->start < (size_t)(end - begin) + 4)
				return client->in_chunk = false;
			assert_memory_equal(end + 2, "\r\n", 2);
			client->start += 2;
			client->body_done = client->complete = true;
		}
	}
	client->start += (size_t)(end - begin) + 2;
	return true;
}

/* Decodes more of the body into `text`; false when there is no more. */
static bool read_body(struct client *client)
{
	for (size_t before = client->text_length; client->text_length == before;) {
		size_t got = client->end - client->start;

		if (client->body_done)
			return false;
		if (client->framing == FRAMED_BY_CLOSE && got > 0) {
			keep(client, got);
		} else if (client->left > 0 && got > 0) {
			size_t part = got < client->left ? got : client->left;

			keep(client, part);
			client->left -= part;
			if (client->framing == FRAMED_BY_LENGTH && client->left == 0)
				client->body_done = client->complete = true;
		} else if (client->framing == FRAMED_BY_CHUNKS && client->left == 0 && got > 0 &&
			   read_chunk_line(client)) {
			continue;
		} else if (!receive(client)) {
			client->complete = client->framing == FRAMED_BY_CLOSE;
			client->body_done = true;
		}
	}
	return true;
}

char *client_body(struct client *client, size_t *ret_length)
{
	while (read_body(client))
		continue;

	char *body = client->text ? client->text : strdup("");

	body[client->text_length] = '\0';
	if (ret_length)
		*ret_length = client->text_length;
	client->text = NULL;
	client->text_length = client->text_capacity = 0;
	return body;
}

json_t *client_json(struct client *client)
{
	char *body = client_body(client, NULL);
	json_error_t where;
	json_t *root = json_loads(body, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);

	if (!root)
		fail_msg("not JSON (%s): %s", where.text, body);
	free(body);
	return root;
}

char *client_event(struct client *client)
{
	char *end;

	while (!client->text_length || !(end = strstr(client->text, "\n\n"))) {
		if (read_body(client))
			continue;
		if (client->complete && client->text_length > 0)
			fail_msg("half an event at the end: %s", client->text);
		return NULL;
	}
	if (strncmp(client->text, "data: ", 6) != 0)
		fail_msg("not an event: %s", client->text);

	char *data = strndup(client->text + 6, (size_t)(end - client->text) - 6);
	size_t used = (size_t)(end - client->text) + 2;

	memmove(client->text, client->text + used, client->text_length - used + 1);
	client->text_length -= used;
	return data;
}

bool client_complete(const struct client *client)
{
	return client->complete;
}

size_t client_wait_close(struct client *client)
{
	size_t dropped = 0;

	do {
		dropped += client->end - client->start;
		client->start = client->end;
	} while (receive(client));
	return dropped;
}

int client_call(const char *address, const char *method, const char *path, const char *body,
		json_t **ret_body)
{
	struct client *client = client_open(address);

	client_request(client, method, path, "Connection: close\r\n", body);

	int status = client_status(client);
	json_t *root = client_json(client);

	client_close(client);
	if (ret_body)
		*ret_body = root;
	else
		json_decref(root);
	return status;
}

/* ---- the other side ---- */

struct server {
	int fd;
};

struct server *server_open(const char *address, char ret_address[128])
{
	struct server *server = calloc(1, sizeof(*server));
	union address own;
	socklen_t length = parse_address(address ? address : "127.0.0.1:0", &own);

	server->fd = socket(own.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server->fd, &own.any, length) != 0 || listen(server->fd, 64) != 0)
		fail_msg("listen: %s", strerror(errno));
	if (own.any.sa_family == AF_UNIX) {
		snprintf(ret_address, 128, "%s", address);
	} else {
		getsockname(server->fd, &own.any, &length);
		snprintf(ret_address, 128, "127.0.0.1:%d", ntohs(own.in.sin_port));
	}
	return server;
}

void server_close(struct server *server)
{
	if (!server)
		return;
	close(server->fd);
	free(server);
}

/* Reads a request with the client's own means: a head, then Content-Length bytes. */
struct server_request *server_accept(struct server *server)
{
	struct pollfd ready = { .fd = server->fd, .events = POLLIN };
	struct server_request *request = calloc(1, sizeof(*request));
	struct client peer = { .fd = -1 };
	size_t length;

	if (poll(&ready, 1, test_remaining_ms(test_deadline_ms())) != 1)
		fail_msg("nobody connects");
	peer.fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
	while ((length = head_length(&peer)) == 0) {
		if (!receive(&peer))
			fail_msg("the connection closed before a request came");
	}
	peer.head = strndup(peer.buffer + peer.start, length - 2);
	peer.start += length;

	const char *body_length = client_header(&peer, "Content-Length");

	peer.framing = FRAMED_BY_LENGTH;
	peer.left = body_length ? strtoul(body_length, NULL, 10) : 0;
	peer.body_done = peer.left == 0;
	request->body = client_body(&peer, NULL);
	if (sscanf(peer.head, "%ms %ms HTTP/1.1", &request->method, &request->path) != 2)
		fail_msg("not a request line: %s", peer.head);
	request->head = peer.head;
	request->fd = peer.fd;
	free(peer.buffer);
	return request;
}

void server_reply(struct server_request *request, int status, const char *body)
{
	if (status)
		dprintf(request->fd,
			"HTTP/1.1 %d Reply\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
			"Connection: close\r\n\r\n%s",
			status, strlen(body), body);
	close(request->fd);
	free(request->method);
	free(request->path);
	free(request->head);
	free(request->body);
	free(request);
}
