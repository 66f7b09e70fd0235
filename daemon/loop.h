/* SPDX-License-Identifier: MIT */
/*
 * loop.h - one event loop: an HTTP server on the shared listening sockets, its own pool of upstream
 * connections, and an inbox through which the body hands it the outcomes of its requests.
 */
#ifndef DAEMON_LOOP_H
#define DAEMON_LOOP_H

#include <poolcore/error.h>

#include <uv.h>

#include "daemon/body.h"

struct daemon;
struct http_client;
struct http_server;
struct request;

struct loop {
	uv_loop_t uv;
	struct daemon *daemon;
	unsigned index;
	uv_thread_t thread; /* loops 1.. only; loop 0 is the main thread */
	bool thread_started;
	uv_tcp_t first; /* closed at birth; see loop_init */
	uv_async_t wake;
	uv_timer_t tick; /* loop 0: when the brain wants to be told the time */
	struct http_server *server;
	struct http_client *client;
	struct request *spare; /* to be used again */
	unsigned spare_count;
	bool delivering;      /* guards loop_deliver against itself */
	enum loop_wish doing; /* the last wish it acted on */

	/* [body lock] */
	struct lease *inbox_head;
	struct lease *inbox_tail;
	bool inbox_news;     /* the inbox has grown during this event */
	bool wake_wanted;    /* something else is to be done */
	enum loop_wish wish; /* what the daemon wants of it */
	bool empty;	     /* drained, and its last byte is sent */
	bool deaf;	     /* closing: it is woken no more */
};

/* Prepares the loop and its server; `fds` are the listening sockets. Loop thread or before it runs.
 */
int loop_init(struct loop *loop, struct daemon *daemon, unsigned index, const int *fds,
	      size_t fd_count, struct pc_error *err);
/* Starts the thread of a loop other than 0. */
int loop_start(struct loop *loop, struct pc_error *err);
/* Hands out what is in the inbox. Loop thread. */
void loop_deliver(struct loop *loop);
/* Waits until a loop that was told to close has ended, and frees what it held. Main thread. */
void loop_fini(struct loop *loop);

#endif
