/* SPDX-License-Identifier: MIT */
/*
 * stream.h - one connected socket, TCP or Unix: reads into a buffer that all streams of an owner
 * share, and gathers what is written so that an answer leaves in one system call. Inside http/
 * only; everything belongs to one loop's thread.
 */
#ifndef HTTP_STREAM_H
#define HTTP_STREAM_H

#include <uv.h>

#include "http/list.h"
#include "http/http.h"

struct http__stream;
struct http__out;

struct http__stream_ops {
	/*
	 * length > 0: bytes, valid during the call; length < 0: the end (UV_EOF) or an error of
	 * the connection. Reading has stopped after the latter.
	 */
	void (*on_read)(struct http__stream *stream, ssize_t length, const char *data);
	/* Something that had to wait has been handed to the kernel, or cannot be (see failed). */
	void (*on_written)(struct http__stream *stream);
	/* The handle is closed, the memory is the owner's again. */
	void (*on_closed)(struct http__stream *stream);
};

/* What the streams of one server or client share. */
struct http__stream_shared {
	uv_loop_t *loop;
	char *read_buffer;
	struct http__out *spare; /* output buffers of the usual size, kept for the next writer */
	size_t spare_count;
};

struct http__stream {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} uv;
	struct http__stream_shared *shared;
	const struct http__stream_ops *ops;
	struct http__out *gathering; /* not yet offered to the kernel */
	struct http__out *flight;    /* libuv waits for the socket to take the rest of it */
	uint64_t written_bytes;
	bool reading;
	bool failed;  /* writing is over: the peer is gone or memory is out */
	bool closing; /* http__stream_close was called */
};

/* Sees to it that SIGPIPE does not kill the process, if nobody has. Errors: OUT_OF_MEMORY. */
int http__stream_shared_init(struct http__stream_shared *shared, uv_loop_t *loop,
			     struct pc_error *err);
void http__stream_shared_fini(struct http__stream_shared *shared);

/* Prepares a stream without a socket; `is_unix` says which kind it will be. 0 or a UV_E code. */
int http__stream_init(struct http__stream *stream, struct http__stream_shared *shared,
		      const struct http__stream_ops *ops, bool is_unix);
/* Takes over a connected, non-blocking descriptor. 0 or a UV_E code (fd is not closed then). */
int http__stream_open(struct http__stream *stream, int fd);

void http__stream_read(struct http__stream *stream, bool enabled);

/*
 * Writes: small pieces are gathered until http__stream_flush, larger ones go out with what has
 * been gathered. Never calls back. False when the stream has failed, now or before.
 */
bool http__stream_write(struct http__stream *stream, const uv_buf_t *bufs, unsigned count);
bool http__stream_flush(struct http__stream *stream);
/* Bytes written that the kernel has not taken. */
size_t http__stream_pending(const struct http__stream *stream);
/* Bytes that the kernel has taken since the beginning. */
uint64_t http__stream_sent(const struct http__stream *stream);

/* Says that nothing more will be written, once nothing is pending. */
void http__stream_shutdown(struct http__stream *stream);
/* Closes at once; on_closed follows later. `reset` tells a TCP peer that it was cut off. */
void http__stream_close(struct http__stream *stream, bool reset);

#endif
