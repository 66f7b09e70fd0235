/* SPDX-License-Identifier: MIT */
/*
 * client.h - a small blocking HTTP client that shows a test everything: status, headers, how the
 * body was framed, whether it was broken off, each server-sent event. And the other side, a server
 * that answers by hand.
 *
 * As in proc.h, every wait is for the peer and has a deadline, and what cannot be done fails the
 * running cmocka test. Call these functions from the test's thread.
 */
#ifndef TESTS_LIB_CLIENT_H
#define TESTS_LIB_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct client; /* one connection */

/* "127.0.0.1:9200" or "unix:/path". */
struct client *client_open(const char *address);
/* The same; NULL when nobody listens there. */
struct client *client_try(const char *address);
/* Closes the connection, in the middle of an answer too. NULL is allowed. */
void client_close(struct client *client);
/* client_close for all that a failed test left open. */
void client_close_all(void);

/* Bytes as they are, for requests that no client would send. */
void client_send(struct client *client, const void *data, size_t length);
/* A request; `headers` are further lines that each end in "\r\n" (may be NULL), `body` may be NULL.
 * A body is announced as application/json. */
void client_request(struct client *client, const char *method, const char *path,
		    const char *headers, const char *body);

/* Reads the head of the next response; returns its status. 1xx responses are passed over. */
int client_status(struct client *client);
/* Waits until one of them has something to read; returns which. */
size_t client_wait_any(struct client *const clients[], size_t count);
/* A header of that response, or NULL. Valid until the next client_status. */
const char *client_header(struct client *client, const char *name);
/* The rest of the body, decoded and NUL-terminated; free(3) it. */
char *client_body(struct client *client, size_t *ret_length);
/* The rest of the body as JSON; json_decref it. */
json_t *client_json(struct client *client);
/* The data of the next server-sent event; free(3) it. NULL at the end of the body. */
char *client_event(struct client *client);
/* Whether the body came to its proper end: false when the connection closed inside it. */
bool client_complete(const struct client *client);
/* Waits until the server closes the connection; returns the bytes that still came, which are
 * dropped. */
size_t client_wait_close(struct client *client);

/* All in one: opens, asks, reads the answer as JSON, closes. `ret_body` may be NULL. */
int client_call(const char *address, const char *method, const char *path, const char *body,
		json_t **ret_body);

/* ---- the other side ---- */

struct server; /* a listening socket */

/* Listens on 127.0.0.1, or on "unix:/path"; the address is written to ret_address. */
struct server *server_open(const char *address, char ret_address[128]);
void server_close(struct server *server);

struct server_request {
	char *method;
	char *path;
	char *head; /* the whole head */
	char *body;
	int fd;
};
/* Waits for a connection and a request on it. */
struct server_request *server_accept(struct server *server);
/* Answers it, closes the connection and frees the request. Status 0: closes without an answer. */
void server_reply(struct server_request *request, int status, const char *body);

#endif
