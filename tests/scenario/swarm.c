/* SPDX-License-Identifier: MIT */
/*
 * swarm.c - see swarm.h. A client collects what it receives and judges each answer when it is
 * whole.
 *
 * Every prompt is one word that no other request has, and the stub engine answers with the words of
 * its prompt: an answer that went to the wrong client, or a stream with a hole in it, is found by
 * its text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <poolcore/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/proc.h"
#include "scenario/swarm.h"

#define PIPELINED_MAX 4
/* How long a step waits for an answer when every client is busy. */
#define STEP_WAIT_MS 3
/* Steps after which a client that stopped reading goes on. */
#define PAUSE_STEPS 40
/* The server's limit in these scenarios is 64 KiB (chaos sets it). */
#define OVERSIZED_BYTES (100 << 10)

enum kind {
	KIND_CHAT,    /* a JSON answer with the word, or an error */
	KIND_STREAM,  /* events with the word and [DONE], or an error */
	KIND_CONTROL, /* any JSON or text with 200, or an error */
	KIND_REFUSED, /* an error, and nothing else */
};

struct expected {
	enum kind kind;
	char word[16];
};

struct client {
	int fd; /* -1: idle */
	struct expected expected[PIPELINED_MAX];
	size_t asked;
	size_t answered;
	bool may_get_nothing;  /* what it sent is no request, or not the whole of one */
	bool closes;	       /* the server ends the connection after an error */
	unsigned paused_until; /* a step; 0: it reads */
	char *received;
	size_t length, capacity;
	char *unsent;
	size_t unsent_length, unsent_at;
};

struct swarm {
	const char *address;
	struct client *clients;
	size_t count;
	const char *const *models;
	size_t model_count;
	uint64_t *seed;
	unsigned step;
	unsigned serial;
	bool ending;
	struct swarm_stats stats;
};

uint64_t chance_next(uint64_t *seed)
{
	uint64_t x = *seed ? *seed : 1;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*seed = x;
	return x * UINT64_C(2685821657736338717) >> 16;
}

bool chance(uint64_t *seed, unsigned n)
{
	return chance_next(seed) % n == 0;
}

/* ---- judging answers ---- */

/* An answer as it lies in the client's buffer. */
struct answer {
	int status;
	bool is_event_stream;
	char *body; /* decoded; free it */
	size_t body_length;
	bool closes;
};

/* The value of a header of the head that ends at `end`, or NULL. */
static const char *find_header(const char *head, const char *end, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = head; (at = memmem(at, (size_t)(end - at), "\r\n", 2));) {
		at += 2;
		if (strncasecmp(at, name, length) == 0 && at[length] == ':')
			return at + length + 1 + strspn(at + length + 1, " ");
	}
	return NULL;
}

/* Decodes chunks into body. The bytes used, 0 when more are needed. */
static size_t decode_chunks(const char *from, size_t length, char *body, size_t *ret_length)
{
	const char *at = from, *end = from + length;
	size_t written = 0;

	for (;;) {
		const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
		char *digits_end;

		if (!line)
			return 0;

		size_t size = strtoul(at, &digits_end, 16);

		assert_true(digits_end == line && digits_end > at);
		at = line + 2;
		if ((size_t)(end - at) < size + 2)
			return 0;
		memcpy(body + written, at, size);
		written += size;
		at += size;
		assert_memory_equal(at, "\r\n", 2);
		at += 2;
		if (size == 0) {
			*ret_length = written;
			return (size_t)(at - from);
		}
	}
}

/* Takes the first answer off the bytes. How many it has, 0 when it is not whole yet. */
static size_t parse_answer(const char *data, size_t length, struct answer *answer)
{
	const char *end = memmem(data, length, "\r\n\r\n", 4);

	if (!end)
		return 0;
	if (sscanf(data, "HTTP/1.1 %3d ", &answer->status) != 1)
		fail_msg("not a status line: %.40s", data);

	const char *framed = find_header(data, end, "Content-Length");
	const char *type = find_header(data, end, "Content-Type");
	const char *closing = find_header(data, end, "Connection");
	size_t head = (size_t)(end - data) + 4, used;

	if (answer->status == 100) {
		*answer = (struct answer){ .status = 100 };
		return head;
	}
	assert_non_null(find_header(data, end, "X-Correlation-Id"));
	answer->is_event_stream = type && strncmp(type, "text/event-stream", 17) == 0;
	answer->closes = closing && strncasecmp(closing, "close", 5) == 0;
	if (framed) {
		used = strtoul(framed, NULL, 10);
		if (length - head < used)
			return 0;
		answer->body = strndup(data + head, used);
		answer->body_length = used;
		return head + used;
	}
	answer->body = calloc(1, length - head + 1);
	used = decode_chunks(data + head, length - head, answer->body, &answer->body_length);
	if (!used)
		free(answer->body);
	return used ? head + used : 0;
}

/* The house's form of an error; returns whether the object is one. */
static bool judge_error(json_t *root, int status)
{
	json_t *error = json_object_get(root, "error");
	const char *name = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (!error)
		return false;
	assert_non_null(name);
	assert_non_null(message);
	assert_true(message[0] != '\0');
	assert_non_null(json_string_value(json_object_get(error, "type")));
	assert_non_null(json_string_value(json_object_get(error, "correlation_id")));

	int code = pc_error_from_name(name);

	if (code == 0)
		fail_msg("'%s' is no code", name);
	/* What the pool got wrong itself. */
	if (code == PC_E_INTERNAL || code == PC_E_OUT_OF_MEMORY || code == PC_E_INVALID_ARGUMENT ||
	    code == PC_E_CANCELLED)
		fail_msg("%s: %s", name, message);
	/* Inside a stream there is no status to compare with; 0 says so. The server answers 400 and
	 * 408 to what it cannot read as a request, whatever the code. */
	if (status && status != pc_error_http_status(code) && status != 408)
		fail_msg("status %d with %s: %s", status, name, message);
	return true;
}

/* "w7 w7 w7": the word again and again; `at` is where in that the text begins. */
static size_t judge_text(const char *text, const char *word, size_t at)
{
	size_t length = strlen(word);

	for (; *text; text++, at = (at + 1) % (length + 1)) {
		if (*text != (at == length ? ' ' : word[at]))
			fail_msg("the answer to '%s' has another's text: %s", word, text);
	}
	return at;
}

static void judge_chat(const struct answer *answer, const char *word)
{
	json_t *root = json_loads(answer->body, JSON_REJECT_DUPLICATES, NULL);

	if (!root)
		fail_msg("status %d, not JSON: %s", answer->status, answer->body);
	if (answer->status == 200) {
		json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
		const char *text = json_string_value(
			json_object_get(json_object_get(choice, "message"), "content"));

		assert_non_null(text);
		judge_text(text, word, 0);
	} else {
		assert_true(judge_error(root, answer->status));
	}
	json_decref(root);
}

/* One event's data; false after [DONE] or an error, which nothing may follow. */
static bool judge_event(const char *data, const char *word, size_t *at)
{
	if (strcmp(data, "[DONE]") == 0)
		return false;

	json_t *root = json_loads(data, JSON_REJECT_DUPLICATES, NULL);

	if (!root)
		fail_msg("not JSON: %s", data);
	if (judge_error(root, 0)) {
		json_decref(root);
		return false;
	}

	json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
	const char *text = json_string_value(
		json_object_get(json_object_get(choice, "delta"), "content"));

	if (text)
		*at = judge_text(text, word, *at);
	json_decref(root);
	return true;
}

/* All the events in the text. Unless `whole`, the last one may be cut off and an end missing. */
static void judge_stream(struct swarm *swarm, char *text, const char *word, bool whole)
{
	bool goes_on = true;
	size_t at = 0;
	char *end;

	for (; (end = strstr(text, "\n\n")); text = end + 2) {
		*end = '\0';
		if (!goes_on)
			fail_msg("after the end of a stream: %s", text);
		swarm->stats.events++;
		/* A worker that broke off inside an event leaves half of it in
		 * front of the error. */
		if (strncmp(text, "data: ", 6) != 0 &&
		    strncmp(end + 2, "data: {\"error\"", 14) != 0 && *text != '\0')
			fail_msg("not an event: %s", text);
		if (strncmp(text, "data: ", 6) == 0)
			goes_on = judge_event(text + 6, word, &at);
	}
	if (whole && (goes_on || *text))
		fail_msg("a stream without an end; it stops at: %s", text);
}

static void judge(struct swarm *swarm, const struct answer *answer, const struct expected *expected)
{
	swarm->stats.answers++;
	if (answer->status == 200 && expected->kind == KIND_REFUSED)
		fail_msg("status 200 for what is to be refused");
	if (answer->is_event_stream) {
		assert_int_equal(expected->kind, KIND_STREAM);
		assert_int_equal(answer->status, 200);
		judge_stream(swarm, answer->body, expected->word, true);
	} else if (answer->status != 200 || expected->kind == KIND_CHAT) {
		assert_true(answer->status == 200 || answer->status == 202 ||
			    answer->status >= 400);
		if (answer->status != 202)
			judge_chat(answer, expected->word);
	}
	if (answer->status == 200)
		swarm->stats.ok++;
	else if (answer->status >= 400)
		swarm->stats.refused++;
}

/* ---- connections ---- */

static void client_reset(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->received);
	free(client->unsent);
	*client = (struct client){ .fd = -1 };
}

/* Leaves: politely, or with a reset that drops what is on its way. */
static void client_leave(struct swarm *swarm, struct client *client)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (chance(swarm->seed, 2))
		setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	swarm->stats.left++;
	client_reset(client);
}

static bool client_connect(struct swarm *swarm, struct client *client)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	const char *colon = strrchr(swarm->address, ':');

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (chance(swarm->seed, 4)) {
		/* A small window, so that the daemon feels it when we stop reading. */
		const int bytes = 4096;

		setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	}
	if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (!swarm->ending)
			fail_msg("connect: %s", strerror(errno));
		client_reset(client);
		return false;
	}
	return true;
}

/* The server has closed the connection. */
static void client_ended(struct swarm *swarm, struct client *client)
{
	const struct expected *expected = &client->expected[client->answered];

	if (client->answered < client->asked && client->length > 0) {
		/* Cut off: a worker died, or the daemon ended. What came must be right so far. */
		char *body = memmem(client->received, client->length, "\r\n\r\n", 4);

		if (expected->kind == KIND_STREAM && !swarm->ending)
			fail_msg("an event stream was cut off");
		if (body)
			swarm->stats.broken++;
	} else if (client->answered < client->asked && !client->may_get_nothing &&
		   !client->closes && !swarm->ending) {
		fail_msg("the connection was closed without an answer to '%s'", expected->word);
	}
	client_reset(client);
}

/* Judges the answers that are whole by now. */
static void client_judge(struct swarm *swarm, struct client *client)
{
	while (client->length > 0) {
		struct answer answer = { .body = NULL };
		size_t used = parse_answer(client->received, client->length, &answer);

		if (!used)
			return;
		if (answer.status != 100) {
			if (client->answered == client->asked)
				fail_msg("an answer to nothing: %.200s", client->received);
			judge(swarm, &answer, &client->expected[client->answered++]);
			client->closes |= answer.closes;
		}
		free(answer.body);
		client->length -= used;
		memmove(client->received, client->received + used, client->length);
		client->received[client->length] = '\0';
	}
	/* Half of them go on with their connection. */
	if (client->asked > 0 && client->answered == client->asked) {
		if (client->closes || chance(swarm->seed, 2))
			client_reset(client);
		else
			client->asked = client->answered = 0;
	}
}

static void client_read(struct swarm *swarm, struct client *client)
{
	if (client->capacity - client->length < 16384) {
		client->capacity = client->length + 65536;
		client->received = realloc(client->received, client->capacity);
	}

	ssize_t got = recv(client->fd, client->received + client->length,
			   client->capacity - client->length - 1, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		client_ended(swarm, client);
		return;
	}
	client->length += (size_t)got;
	client->received[client->length] = '\0';
	client_judge(swarm, client);
}

static void client_write(struct client *client)
{
	ssize_t sent = send(client->fd, client->unsent + client->unsent_at,
			    client->unsent_length - client->unsent_at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent > 0)
		client->unsent_at += (size_t)sent;
	/* Refused in the middle of a body: the answer says why. */
	if ((sent < 0 && errno != EAGAIN && errno != EINTR) ||
	    client->unsent_at == client->unsent_length) {
		free(client->unsent);
		client->unsent = NULL;
	}
}

/* ---- what is asked ---- */

static void put(struct client *client, const void *data, size_t length)
{
	if (!client->unsent)
		client->unsent_length = client->unsent_at = 0;
	client->unsent = realloc(client->unsent, client->unsent_length + length);
	memcpy(client->unsent + client->unsent_length, data, length);
	client->unsent_length += length;
}

__attribute__((format(printf, 2, 3))) static void put_text(struct client *client,
							   const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);

	int length = vsnprintf(text, sizeof(text), format, args);

	va_end(args);
	assert_true(length >= 0 && (size_t)length < sizeof(text));
	put(client, text, (size_t)length);
}

static void expect(struct swarm *swarm, struct client *client, enum kind kind)
{
	struct expected *expected = &client->expected[client->asked++];

	expected->kind = kind;
	snprintf(expected->word, sizeof(expected->word), "w%u", swarm->serial++);
}

static void put_request(struct client *client, const char *method, const char *path,
			const char *body)
{
	put_text(client, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
		 method, path, strlen(body), body);
}

static void ask_chat(struct swarm *swarm, struct client *client)
{
	bool stream = chance(swarm->seed, 2);
	char body[256];

	expect(swarm, client, stream ? KIND_STREAM : KIND_CHAT);
	snprintf(body, sizeof(body),
		 "{\"model\":\"%s\",\"stream\":%s,\"temperature\":0,"
		 "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
		 swarm->models[chance_next(swarm->seed) % swarm->model_count],
		 stream ? "true" : "false", client->expected[client->asked - 1].word);
	put_request(client, "POST", "/v1/chat/completions", body);
}

static void ask_control(struct swarm *swarm, struct client *client)
{
	static const char *const paths[] = {
		"/",	      "/health",  "/metrics",	"/v2/state", "/v2/workers",
		"/v2/models", "/v2/gpus", "/v1/models", "/nowhere",  "/v2/workers/w-1"
	};

	expect(swarm, client, KIND_CONTROL);
	put_request(client, "GET", paths[chance_next(swarm->seed) % 10], "");
}

static void ask_load(struct swarm *swarm, struct client *client)
{
	char body[64];

	expect(swarm, client, KIND_CONTROL);
	snprintf(body, sizeof(body), "{\"model\":\"%s\"}",
		 swarm->models[chance_next(swarm->seed) % swarm->model_count]);
	put_request(client, "POST", "/v2/workers/start", body);
}

static void ask_nonsense(struct swarm *swarm, struct client *client)
{
	static const char *const bodies[] = { "",
					      "{",
					      "[]",
					      "{\"model\":1}",
					      "{\"model\":\"nobody\"}",
					      "\xff\xfe",
					      "{\"model\":\"a\"} {" };

	expect(swarm, client, KIND_REFUSED);
	put_request(client, "POST", "/v1/chat/completions", bodies[chance_next(swarm->seed) % 7]);
}

/* More than the limit, announced or not. */
static void ask_oversized(struct swarm *swarm, struct client *client)
{
	static char filler[OVERSIZED_BYTES];

	memset(filler, ' ', sizeof(filler));
	expect(swarm, client, KIND_REFUSED);
	if (chance(swarm->seed, 2))
		put_text(client,
			 "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
			 "Content-Length: %d\r\n\r\n",
			 OVERSIZED_BYTES);
	else
		put_text(client,
			 "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
			 "Transfer-Encoding: chunked\r\n\r\n%x\r\n",
			 OVERSIZED_BYTES);
	put(client, filler, sizeof(filler));
	client->closes = true;
}

/* Half a request, and nothing more. The client leaves at some later step. */
static void ask_half(struct swarm *swarm, struct client *client)
{
	static const char request[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
				      "Content-Length: 40\r\n\r\n{\"model\":\"a\",";

	client->may_get_nothing = true;
	put(client, request, 1 + chance_next(swarm->seed) % (sizeof(request) - 2));
}

static void ask_garbage(struct swarm *swarm, struct client *client)
{
	char noise[64];
	size_t length = 1 + chance_next(swarm->seed) % sizeof(noise);

	for (size_t i = 0; i < length; i++)
		noise[i] = (char)chance_next(swarm->seed);
	expect(swarm, client, KIND_REFUSED);
	client->may_get_nothing = client->closes = true;
	put(client, noise, length);
}

static void ask(struct swarm *swarm, struct client *client)
{
	switch (chance_next(swarm->seed) % 24) {
	case 0:
		ask_nonsense(swarm, client);
		break;
	case 1:
		if (client->length == 0)
			ask_oversized(swarm, client);
		break;
	case 2:
		ask_half(swarm, client);
		break;
	case 3:
		ask_garbage(swarm, client);
		break;
	case 4:
	case 5:
		ask_control(swarm, client);
		break;
	case 6:
		ask_load(swarm, client);
		break;
	case 7:
	case 8:
		for (int i = 0; i < PIPELINED_MAX; i++) {
			if (chance(swarm->seed, 3))
				ask_control(swarm, client);
			else
				ask_chat(swarm, client);
		}
		break;
	default:
		ask_chat(swarm, client);
		break;
	}
}

/* ---- steps ---- */

static bool is_busy(const struct client *client)
{
	return client->asked > 0 || client->may_get_nothing;
}

static void act(struct swarm *swarm, struct client *client)
{
	if (!is_busy(client)) {
		if (client->fd >= 0 || client_connect(swarm, client))
			ask(swarm, client);
	} else if (client->may_get_nothing || chance(swarm->seed, 24)) {
		client_leave(swarm, client);
	} else if (chance(swarm->seed, 12)) {
		client->paused_until = swarm->step + PAUSE_STEPS;
	}
}

/* Reads and writes what is possible; waits at most that long for the first. */
static void serve(struct swarm *swarm, int wait_ms)
{
	struct pollfd *watches = calloc(swarm->count, sizeof(*watches));

	for (size_t i = 0; i < swarm->count; i++) {
		struct client *client = &swarm->clients[i];

		watches[i].fd = client->fd;
		if (client->paused_until <= swarm->step)
			client->paused_until = 0;
		if (!client->paused_until)
			watches[i].events = POLLIN;
		else if (!client->unsent)
			watches[i].fd = -1; /* POLLHUP would come again and again */
		if (client->unsent)
			watches[i].events |= POLLOUT;
	}
	poll(watches, swarm->count, wait_ms);
	for (size_t i = 0; i < swarm->count; i++) {
		struct client *client = &swarm->clients[i];

		if (watches[i].revents & POLLOUT && client->unsent)
			client_write(client);
		if (watches[i].revents & (POLLIN | POLLHUP | POLLERR))
			client_read(swarm, client);
	}
	free(watches);
}

void swarm_step(struct swarm *swarm)
{
	struct client *client = &swarm->clients[chance_next(swarm->seed) % swarm->count];
	bool busy = true;

	swarm->step++;
	act(swarm, client);
	for (size_t i = 0; i < swarm->count; i++)
		busy &= is_busy(&swarm->clients[i]);
	serve(swarm, busy ? STEP_WAIT_MS : 0);
}

void swarm_expect_end(struct swarm *swarm)
{
	swarm->ending = true;
}

void swarm_finish(struct swarm *swarm)
{
	int64_t deadline = test_deadline_ms();

	for (size_t i = 0; i < swarm->count; i++) {
		struct client *client = &swarm->clients[i];

		client->paused_until = 0;
		if (client->may_get_nothing)
			client_leave(swarm, client);
	}
	for (bool busy = true; busy;) {
		busy = false;
		for (size_t i = 0; i < swarm->count; i++) {
			struct client *client = &swarm->clients[i];

			busy |= is_busy(client);
			if (is_busy(client) && test_remaining_ms(deadline) == 0)
				fail_msg("no answer to '%s' (%zu of %zu came); received: %s",
					 client->expected[client->answered].word, client->answered,
					 client->asked, client->length ? client->received : "");
		}
		if (busy)
			serve(swarm, test_remaining_ms(deadline));
	}
	for (size_t i = 0; i < swarm->count; i++)
		client_reset(&swarm->clients[i]);
}

struct swarm *swarm_create(const char *address, size_t clients, const char *const models[],
			   size_t model_count, uint64_t *seed)
{
	struct swarm *swarm = calloc(1, sizeof(*swarm));

	*swarm = (struct swarm){
		.address = address,
		.clients = calloc(clients, sizeof(struct client)),
		.count = clients,
		.models = models,
		.model_count = model_count,
		.seed = seed,
	};
	for (size_t i = 0; i < clients; i++)
		swarm->clients[i].fd = -1;
	return swarm;
}

void swarm_destroy(struct swarm *swarm)
{
	for (size_t i = 0; i < swarm->count; i++)
		client_reset(&swarm->clients[i]);
	free(swarm->clients);
	free(swarm);
}

const struct swarm_stats *swarm_stats(const struct swarm *swarm)
{
	return &swarm->stats;
}
