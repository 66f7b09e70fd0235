/* SPDX-License-Identifier: MIT */
/*
 * http_peer.h - the other end of a connection in tests of http/: a plain socket on the same loop
 * that sends exact bytes and keeps what it gets. Everything waits for events, never for time.
 */
#ifndef TESTS_HTTP_PEER_H
#define TESTS_HTTP_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define PEER_MAX (1 << 20)

struct peer {
	uv_poll_t poll;
	int fd;
	char *in; /* what has come, NUL-terminated */
	size_t in_length;
	bool eof; /* orderly or not */
	bool reset;
};

static uv_loop_t loop;

/* Turns the loop until the condition holds; meson's timeout catches what never comes. */
#define UNTIL(condition) \
	do { \
		while (!(condition)) \
			uv_run(&loop, UV_RUN_ONCE); \
	} while (0)

/* Some turns in which all that is due happens. */
static inline void turns(int count)
{
	for (int i = 0; i < count; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static void peer_readable(uv_poll_t *poll, int status, int events)
{
	struct peer *peer = poll->data;
	ssize_t length = recv(peer->fd, peer->in + peer->in_length, PEER_MAX - 1 - peer->in_length,
			      MSG_DONTWAIT);

	(void)status;
	(void)events;
	if (length < 0 && errno == EAGAIN)
		return;
	if (length <= 0) {
		peer->eof = true;
		peer->reset = length < 0;
		uv_poll_stop(poll);
		return;
	}
	peer->in_length += (size_t)length;
	peer->in[peer->in_length] = '\0';
}

static inline void peer_read(struct peer *peer, bool enabled)
{
	if (enabled)
		uv_poll_start(&peer->poll, UV_READABLE, peer_readable);
	else
		uv_poll_stop(&peer->poll);
}

static inline void peer_forget(struct peer *peer)
{
	peer->in_length = 0;
	peer->in[0] = '\0';
}

static struct peer *peer_adopt(int fd)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int one = 1;

	assert_non_null(peer);
	peer->fd = fd;
	peer->in = calloc(1, PEER_MAX);
	assert_non_null(peer->in);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	/* Two sends in a row must not wait for an acknowledgement. Unix sockets do not know it. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	uv_poll_init(&loop, &peer->poll, fd);
	peer->poll.data = peer;
	peer_read(peer, true);
	return peer;
}

static inline void peer_send_bytes(struct peer *peer, const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t sent = send(peer->fd, at, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EAGAIN) {
			uv_run(&loop, UV_RUN_NOWAIT);
			continue;
		}
		/* A server may close while it is being told something. */
		if (sent < 0)
			return;
		at += sent;
		length -= (size_t)sent;
	}
}

static inline void peer_send(struct peer *peer, const char *text)
{
	peer_send_bytes(peer, text, strlen(text));
}

static void peer_freed(uv_handle_t *handle)
{
	struct peer *peer = handle->data;

	free(peer->in);
	free(peer);
}

static void peer_close(struct peer *peer)
{
	uv_poll_stop(&peer->poll);
	uv_close((uv_handle_t *)&peer->poll, peer_freed);
	close(peer->fd);
}

#endif
