/* SPDX-License-Identifier: MIT */
/*
 * test_daemon.c - the real daemon with real workers, from outside: what its users are promised.
 * Each scenario has a daemon of its own; every wait is for an event or a counter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

#define COLD_CALLERS 32
#define MB (1 << 20)

/* A chat completion, whole; returns the status, and the answer if wanted. */
static int chat(struct rig *rig, const char *model, json_t **ret_answer)
{
	return client_call(rig->address, "POST", "/v1/chat/completions", chat_body(model, false),
			   ret_answer);
}

static void assert_served(json_t *answer)
{
	json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);
	json_t *message = json_object_get(choice, "message");

	assert_string_equal(json_string_value(json_object_get(message, "content")),
			    "one two three four");
	json_decref(answer);
}

static void assert_chat_serves(struct rig *rig, const char *model)
{
	json_t *answer = NULL;

	assert_int_equal(chat(rig, model, &answer), 200);
	assert_served(answer);
}

/* The whole answer, and the end of the connection. */
static void assert_answered(struct client *client)
{
	assert_int_equal(client_status(client), 200);
	assert_served(client_json(client));
	client_close(client);
}

/* ---- what most scenarios begin and end with ---- */

static char gate_path[256];

/* A daemon with the model "m", whose worker answers at once. */
static void start_plain(struct rig *rig)
{
	rig_init(rig);
	rig_model(rig, "m", "tokens=4", "");
	rig_start(rig);
}

/*
 * A daemon with the model "m", whose worker waits at a gate: `key` is "gate" (before each token) or
 * "load_gate" (before it is loaded). `more` are lines of its catalog entry, `settings` of [pool].
 */
static void start_gated(struct rig *rig, const char *key, const char *more, const char *settings)
{
	char behaviour[512], *path;

	rig_init(rig);
	path = rig_gate(rig, "gate");
	snprintf(gate_path, sizeof(gate_path), "%s", path);
	snprintf(behaviour, sizeof(behaviour), "tokens=4\n%s=%s\n", key, path);
	snprintf(rig->settings, sizeof(rig->settings), "%s", settings);
	rig_model(rig, "m", behaviour, more);
	rig_start(rig);
	free(path);
}

static struct client *ask(struct rig *rig, bool stream)
{
	struct client *client = client_open(rig->address);

	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("m", stream));
	return client;
}

/* Lets that many tokens, or one load, pass; the descriptor keeps the gate open. */
static int open_gate(size_t passes)
{
	int fd = rig_gate_open(gate_path);

	for (size_t i = 0; i < passes; i++)
		assert_int_equal(write(fd, "x", 1), 1);
	return fd;
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* ---- lazily loaded, served, stopped ---- */

static void nothing_loads_before_a_request(void **state)
{
	struct rig rig;
	json_t *answer;
	pid_t pid = 0;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "aliases = [\"em\"]");
	rig_start(&rig);

	answer = rig_get(&rig, "/health");
	assert_string_equal(json_string_value(json_object_get(answer, "status")), "ok");
	json_decref(answer);
	answer = rig_get(&rig, "/v1/models");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(answer, "data"), 0), "state")),
			    "unloaded");
	json_decref(answer);
	assert_int_equal(rig_workers(&rig, NULL, NULL), 0);
	assert_int_equal(rig_reserved(&rig), 0);

	assert_chat_serves(&rig, "m");
	assert_chat_serves(&rig, "em");
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	assert_true(rig_reserved(&rig) > 0);

	/* No worker outlives a clean stop, and none is left as a zombie. */
	assert_int_equal(rig_stop(&rig), 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	rig_fini(&rig);
}

static void a_stream_comes_event_by_event(void **state)
{
	struct rig rig;
	struct client *client;
	int gate_fd;

	(void)state;
	start_gated(&rig, "gate", "", "");
	client = ask(&rig, true);
	gate_fd = open_gate(0);
	/* Each token passes through before the next one exists. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(write(gate_fd, "x", 1), 1);
	assert_streamed(client);
	client_close(client);
	close(gate_fd);
	finish(&rig);
}

static void many_first_requests_make_one_cold_start(void **state)
{
	struct client *clients[COLD_CALLERS];
	struct rig rig;
	int gate_fd;

	(void)state;
	start_gated(&rig, "load_gate", "max_workers = 1\nslots = 2", "");
	for (size_t i = 0; i < COLD_CALLERS; i++) {
		clients[i] = client_open(rig.address);
		client_request(clients[i], "POST", "/v1/chat/completions", NULL,
			       chat_body("m", false));
	}
	/* The model finishes loading only when all of them are waiting for it. */
	rig_wait_model(&rig, "m", "waiting", COLD_CALLERS);
	gate_fd = open_gate(1);
	for (size_t i = 0; i < COLD_CALLERS; i++) {
		assert_int_equal(client_status(clients[i]), 200);
		assert_served(client_json(clients[i]));
		client_close(clients[i]);
	}
	assert_int_equal(rig_counter(&rig, "cold_starts"), 1);
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	assert_int_equal(rig_counter(&rig, "granted"), COLD_CALLERS);
	assert_int_equal(rig_counter(&rig, "rejected"), 0);
	close(gate_fd);
	finish(&rig);
}

/* ---- when workers die ---- */

/* What the first worker's own record says it holds; the ledger must say the same. */
static json_int_t worker_reserved(struct rig *rig)
{
	json_t *answer = rig_get(rig, "/v2/workers");
	json_t *first = json_array_get(json_object_get(answer, "workers"), 0);
	json_int_t bytes = json_integer_value(json_object_get(first, "reserved_bytes"));

	json_decref(answer);
	assert_true(bytes > 0);
	return bytes;
}

static void a_killed_worker_ends_its_stream_with_an_error(void **state)
{
	struct rig rig;
	struct client *client;
	char *event, id[64], other_id[64];
	json_t *data;
	pid_t pid, other_pid;
	int gate_fd;

	(void)state;
	start_gated(&rig, "gate", "", "");
	client = ask(&rig, true);
	gate_fd = open_gate(2);
	assert_int_equal(client_status(client), 200);
	free(client_event(client)); /* the stream is under way */
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	assert_int_equal(rig_reserved(&rig), worker_reserved(&rig));
	kill(pid, SIGKILL);

	/* What had come before is followed by the error, and by nothing else. */
	do {
		event = client_event(client);
		assert_non_null(event);
		data = json_loads(event, 0, NULL);
		free(event);
	} while (!json_object_get(data, "error") && (json_decref(data), true));
	assert_string_equal(error_code(data), "WORKER_FAILED");
	json_decref(data);
	assert_null(client_event(client));
	assert_true(client_complete(client));
	client_close(client);
	close(gate_fd);

	proc_wait_line(rig.daemon, "was killed by SIGKILL");
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);
	assert_int_equal(kill(pid, 0), -1); /* reaped, not a zombie */
	assert_int_equal(errno, ESRCH);

	/* The next request loads a new worker. It may have to wait out the back-off. */
	client = ask(&rig, false);
	gate_fd = open_gate(4);
	assert_answered(client);
	assert_int_equal(rig_workers(&rig, &other_pid, other_id), 1);
	assert_int_not_equal(other_pid, pid);
	assert_string_not_equal(other_id, id);
	assert_int_equal(rig_reserved(&rig), worker_reserved(&rig));
	close(gate_fd);
	finish(&rig);
}

static void a_model_that_fails_to_load_says_why(void **state)
{
	struct rig rig;
	json_t *answer = NULL;
	const char *message;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "fail=MODEL_ERROR:tensor 7 is out of shape", "");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "m", &answer), 503);
	assert_string_equal(error_code(answer), "SPAWN_FAILED");
	message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
	assert_non_null(strstr(message, "tensor 7 is out of shape"));
	json_decref(answer);
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

/* ---- bad input: each with its status and code, and nothing lost ---- */

struct bad_request {
	const char *method;
	const char *path;
	const char *headers;
	const char *body;
	int status;
	const char *code;
};

static void bad_requests_are_refused_by_name(void **state)
{
	static const struct bad_request table[] = {
		{ "POST", "/v1/chat/completions", NULL, "{\"model\":\"nobody\"}", 404,
		  "MODEL_NOT_FOUND" },
		{ "POST", "/v1/chat/completions", NULL, "{\"model\":", 400, "INVALID_JSON" },
		{ "POST", "/v1/chat/completions", NULL, "hello", 400, "INVALID_JSON" },
		{ "POST", "/v1/chat/completions", NULL, "[1]", 400, "INVALID_JSON" },
		{ "POST", "/v1/chat/completions", NULL, "", 400, "INVALID_JSON" },
		{ "POST", "/v1/chat/completions", NULL, "{\"messages\":[]}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v1/completions", NULL, "{\"model\":7}", 400, "INVALID_REQUEST" },
		{ "POST", "/v1/embeddings", NULL, "{\"model\":\"m\",\"model\":\"n\"}", 400,
		  "INVALID_JSON" },
		{ "GET", "/v1/chat/completions", NULL, NULL, 405, "METHOD_NOT_ALLOWED" },
		{ "DELETE", "/health", NULL, NULL, 405, "METHOD_NOT_ALLOWED" },
		{ "GET", "/nowhere", NULL, NULL, 404, "NOT_FOUND" },
		{ "GET", "/v1/models/nobody", NULL, NULL, 404, "MODEL_NOT_FOUND" },
		{ "GET", "/v2/workers/w-1", NULL, NULL, 404, "WORKER_NOT_FOUND" },
		{ "GET", "/v2/workers/w-1/logs", NULL, NULL, 404, "WORKER_NOT_FOUND" },
		{ "GET", "/v2/workers/w-1/logs?lines=", NULL, NULL, 404, "WORKER_NOT_FOUND" },
		{ "GET", "/v2/workers/w-1/logs?lines=ten", NULL, NULL, 400, "INVALID_REQUEST" },
		{ "GET", "/v2/workers/w-1/logs?lines=1x", NULL, NULL, 400, "INVALID_REQUEST" },
		{ "GET", "/v2/workers/w-1/logs?lines=-1", NULL, NULL, 400, "INVALID_REQUEST" },
		{ "GET", "/v2/workers/w-1/logs?lines=%3", NULL, NULL, 400, "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{}", 400, "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"model\":\"m\",\"port\":70000}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"modle\":\"m\"}", 400, "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"model\":\"m\",\"port\":1e3}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"model\":\"m\",\"model_ref\":\"r\"}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"model\":\"m\",\"model\":\"m\"}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"model\":\"m\",\"backend\":\"port\"}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v2/workers/start", NULL, "{\"model\":\"m\",\"gpu_id\":3}", 400,
		  "INVALID_REQUEST" },
		{ "POST", "/v2/workers/stop", NULL, "{\"worker_id\":\"w-1\"}", 404,
		  "WORKER_NOT_FOUND" },
		{ "POST", "/v2/internal/workers/ready", NULL,
		  "{\"worker_id\":\"w-1\",\"spawn_token\":\"x\"}", 404, "WORKER_NOT_FOUND" },
	};
	struct rig rig;

	(void)state;
	start_plain(&rig);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct client *client = client_open(rig.address);
		json_t *answer;

		client_request(client, table[i].method, table[i].path, table[i].headers,
			       table[i].body);
		assert_int_equal(client_status(client), table[i].status);
		answer = client_json(client);
		assert_string_equal(error_code(answer), table[i].code);
		json_decref(answer);
		client_close(client);
	}
	assert_int_equal(rig_counter(&rig, "spawned"), 0);
	assert_chat_serves(&rig, "m");
	finish(&rig);
}

static void a_body_over_the_limit_is_413(void **state)
{
	static char filler[4 * MB];
	struct rig rig;
	struct client *client;
	json_t *answer;
	char head[256];

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	/* The settings end in [http] of their own; TOML wants each table once, so it is set by
	 * environment. */
	setenv("RBEES_POOL_HTTP_MAX_BODY_BYTES", "1MiB", 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_MAX_BODY_BYTES");

	/* Announced too long: refused before it is sent. */
	client = client_open(rig.address);
	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
		 "Content-Length: %d\r\n\r\n",
		 2 * MB);
	client_send(client, head, strlen(head));
	assert_int_equal(client_status(client), 413);
	answer = client_json(client);
	assert_string_equal(error_code(answer), "PAYLOAD_TOO_LARGE");
	json_decref(answer);
	client_close(client);

	/* Not announced: refused when it has grown too long. */
	client = client_open(rig.address);
	memset(filler, ' ', sizeof(filler));
	client_send(client,
		    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n180000\r\n{",
		    strlen("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
			   "Transfer-Encoding: chunked\r\n\r\n180000\r\n{"));
	client_send(client, filler, 0x180000 - 1);
	assert_int_equal(client_status(client), 413);
	client_close(client);
	assert_chat_serves(&rig, "m");
	finish(&rig);
}

/* A chat whose body has `length` bytes, of which the last one is not sent yet. */
static struct client *begin_chat(struct rig *rig, size_t length)
{
	const char *chat = chat_body("m", false);
	char *body = malloc(length);
	struct client *client = client_open(rig->address);
	char head[160];

	assert_non_null(body);
	memset(body, ' ', length - strlen(chat));
	memcpy(body + length - strlen(chat), chat, strlen(chat));
	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
		 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
		 length);
	client_send(client, head, strlen(head));
	client_send(client, body, length - 1);
	free(body);
	return client;
}

static void end_chat(struct client *client)
{
	client_send(client, "}", 1);
	assert_int_equal(client_status(client), 200);
	assert_served(client_json(client));
	client_close(client);
}

/*
 * Each body may be long, and all together not: they would take the memory that models were given.
 * Of two that fit one by one whichever grows last is refused, while the other one waits to go on.
 */
static void bodies_have_a_limit_together(void **state)
{
	/* No power of two: a body counts for what it may become, and no more. */
	static const size_t length = MB + MB / 4;
	struct client *clients[2];
	struct rig rig;
	json_t *answer;
	size_t refused;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	setenv("RBEES_POOL_HTTP_MAX_BODY_BYTES", "1280KiB", 1);
	setenv("RBEES_POOL_HTTP_MAX_BUFFERED_BYTES", "1280KiB", 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_MAX_BODY_BYTES");
	unsetenv("RBEES_POOL_HTTP_MAX_BUFFERED_BYTES");
	clients[0] = begin_chat(&rig, length);
	clients[1] = begin_chat(&rig, length);
	refused = client_wait_any(clients, 2);
	assert_int_equal(client_status(clients[refused]), 503);
	answer = client_json(clients[refused]);
	assert_string_equal(error_code(answer), "QUEUE_FULL");
	assert_string_equal(client_header(clients[refused], "Retry-After"), "1");
	json_decref(answer);
	client_close(clients[refused]);
	assert_chat_serves(&rig, "m"); /* short ones do not count */
	end_chat(clients[1 - refused]);
	/* What was taken has been given back, by the refused one and by each that is served. */
	for (int i = 0; i < 3; i++)
		end_chat(begin_chat(&rig, length));
	finish(&rig);
}

static void a_foreign_host_is_421(void **state)
{
	static const char request[] = "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n";
	struct rig rig;
	struct client *client;
	json_t *answer;

	(void)state;
	start_plain(&rig);
	client = client_open(rig.address);
	client_send(client, request, strlen(request));
	assert_int_equal(client_status(client), 421);
	answer = client_json(client);
	assert_string_equal(error_code(answer), "WRONG_HOST");
	json_decref(answer);
	client_close(client);
	finish(&rig);
}

static void a_missing_file_says_so(void **state)
{
	struct rig rig;
	json_t *answer = NULL;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", NULL, "");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "m", &answer), 503);
	assert_string_equal(error_code(answer), "MODEL_FILE_MISSING");
	assert_non_null(strstr(
		json_string_value(json_object_get(json_object_get(answer, "error"), "message")),
		"m.stub"));
	json_decref(answer);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

static void a_model_over_the_budget_is_told_the_figures(void **state)
{
	struct rig rig;
	json_t *answer = NULL, *error, *details;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "small", "tokens=4", "est_memory_allocation_mb = 16");
	rig_model(&rig, "huge", "tokens=4", "est_memory_allocation_mb = 16777216");
	rig_start(&rig);
	assert_chat_serves(&rig, "small");
	assert_int_equal(chat(&rig, "huge", &answer), 503);
	assert_string_equal(error_code(answer), "INSUFFICIENT_MEMORY");
	error = json_object_get(answer, "error");
	details = json_object_get(error, "details");
	assert_non_null(json_object_get(details, "needed_bytes"));
	assert_non_null(json_object_get(details, "free_bytes"));
	assert_non_null(strstr(json_string_value(json_object_get(error, "message")), "small"));
	json_decref(answer);
	assert_chat_serves(&rig, "small");
	finish(&rig);
}

static void a_passed_deadline_is_504_with_the_reason(void **state)
{
	struct rig rig;
	json_t *answer = NULL;
	int gate_fd;

	(void)state;
	start_gated(&rig, "load_gate", "", "request_timeout_secs = 1");
	assert_int_equal(chat(&rig, "m", &answer), 504);
	assert_string_equal(error_code(answer), "TIMEOUT");
	assert_non_null(strstr(
		json_string_value(json_object_get(json_object_get(answer, "error"), "message")),
		"loading"));
	json_decref(answer);
	/* The load that others may wait for went on, and serves now. */
	gate_fd = open_gate(1);
	assert_chat_serves(&rig, "m");
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	assert_int_equal(rig_counter(&rig, "timeouts"), 1);
	close(gate_fd);
	finish(&rig);
}

static void taken_ports_are_named(void **state)
{
	struct rig rig, other;
	struct server *server;
	struct proc *second;
	char address[128], body[128], *port;
	json_t *answer = NULL;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	rig_model(&rig, "p", "tokens=4", "");
	/* The later backend wins for this one model. */
	char *row = strstr(rig.catalog, "id = \"p\"");

	memcpy(strstr(row, "\"stub\""), "\"port\"", 6);
	rig_start(&rig);

	/* A worker's port: refused at once. */
	server = server_open("127.0.0.1:0", address);
	port = strrchr(address, ':') + 1;
	snprintf(body, sizeof(body), "{\"model\":\"p\",\"port\":%s}", port);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/start", body, &answer), 409);
	assert_string_equal(error_code(answer), "PORT_IN_USE");
	json_decref(answer);
	assert_int_equal(rig_counter(&rig, "spawned"), 0);
	server_close(server);

	/* The daemon's own port: it does not start. */
	rig_init(&other);
	rig_model(&other, "m", "tokens=4", "");
	setenv("RBEES_POOL_HTTP_LISTEN", rig.address, 1);
	second = rig_start_only(&other);
	unsetenv("RBEES_POOL_HTTP_LISTEN");
	assert_int_equal(proc_wait(second), 1);
	assert_non_null(strstr(proc_last_line(second), rig.address));
	proc_free(second);
	rig_fini(&other);

	/* A model on a port of its own choice serves through plain HTTP readiness. */
	assert_chat_serves(&rig, "p");
	finish(&rig);
}

static void two_daemons_do_not_share_a_state(void **state)
{
	struct proc *second;
	struct rig rig;

	(void)state;
	start_plain(&rig);
	second = rig_start_only(&rig);
	assert_int_equal(proc_wait(second), 1);
	assert_non_null(strstr(proc_last_line(second), "another pool-managerd"));
	proc_free(second);
	assert_chat_serves(&rig, "m");
	finish(&rig);
}

/* Starts with its standard error where `redirection` says; returns when it serves. */
static struct proc *start_redirected(struct rig *rig, const char *redirection)
{
	int64_t deadline = test_deadline_ms();
	struct client *client;
	char script[600];

	snprintf(rig->listen, sizeof(rig->listen), "unix:%s/s", rig->dir);
	snprintf(rig->address, sizeof(rig->address), "%s", rig->listen);
	rig_write(rig);
	snprintf(script, sizeof(script), "exec \"$0\" --config \"$1\" 2>%s", redirection);

	const char *const argv[] = { "/bin/sh",	  "-c", script, getenv("POOL_MANAGERD"),
				     rig->config, NULL };
	struct proc *daemon = proc_start(argv, NULL);

	while (!(client = client_try(rig->address))) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("it does not listen");
	}
	client_close(client);
	return daemon;
}

static void a_closed_standard_error_is_no_files(void **state)
{
	struct stat lock;
	struct rig rig;
	char path[512];

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	rig.daemon = start_redirected(&rig, "&-");
	assert_chat_serves(&rig, "m");
	assert_int_equal(rig_stop(&rig), 0);
	snprintf(path, sizeof(path), "%s/state/lock", rig.dir);
	assert_int_equal(stat(path, &lock), 0);
	assert_int_equal(lock.st_size, 0);
	rig_fini(&rig);
}

/* A pipe that is full from the start, and read by nobody until the daemon has ended. */
static void nobody_waits_for_a_reader_of_the_log(void **state)
{
	static char block[65536];
	char path[512];
	struct rig rig;
	int fd;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	snprintf(path, sizeof(path), "%s/log", rig.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0)
		continue;
	rig.daemon = start_redirected(&rig, path);
	assert_chat_serves(&rig, "m");
	assert_int_equal(rig_stop(&rig), 0);
	close(fd);
	rig_fini(&rig);
}

static void bad_configuration_is_exit_2(void **state)
{
	struct proc *daemon;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	snprintf(rig.settings, sizeof(rig.settings), "request_timeout_secs = -5");
	daemon = rig_start_only(&rig);
	assert_int_equal(proc_wait(daemon), 2);
	assert_non_null(strstr(proc_last_line(daemon), "pool.toml:4:"));
	assert_non_null(strstr(proc_last_line(daemon), "request_timeout_secs"));
	proc_free(daemon);
	rig_fini(&rig);
}

/* ---- clients that leave, operators that stop ---- */

static void a_client_that_leaves_cancels_upstream(void **state)
{
	struct rig rig;
	struct client *client;
	int gate_fd;

	(void)state;
	start_gated(&rig, "gate", "", "");
	client = ask(&rig, true);
	gate_fd = open_gate(1);
	assert_int_equal(client_status(client), 200);
	free(client_event(client));
	client_close(client);
	proc_wait_line(rig.daemon, "run cancelled");
	rig_wait_model(&rig, "m", "leases", 0);
	close(gate_fd);

	/* The slot serves the next one. */
	client = ask(&rig, false);
	gate_fd = open_gate(4);
	assert_answered(client);
	close(gate_fd);
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	finish(&rig);
}

static void a_client_that_leaves_does_not_stop_the_loading(void **state)
{
	struct rig rig;
	struct client *leaver, *stayer;
	int gate_fd;

	(void)state;
	start_gated(&rig, "load_gate", "", "");
	leaver = ask(&rig, false);
	rig_wait_model(&rig, "m", "waiting", 1);
	stayer = ask(&rig, false);
	rig_wait_model(&rig, "m", "waiting", 2);
	client_close(leaver);
	rig_wait_model(&rig, "m", "waiting", 1);
	gate_fd = open_gate(1);
	assert_answered(stayer);
	assert_int_equal(rig_counter(&rig, "cancelled"), 1);
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	close(gate_fd);
	finish(&rig);
}

static void an_operator_starts_and_stops_workers(void **state)
{
	struct rig rig;
	char body[128], id[64], path[128];
	json_t *answer = NULL;

	(void)state;
	start_plain(&rig);
	assert_int_equal(
		client_call(rig.address, "POST", "/v2/workers/start", "{\"model\":\"m\"}", &answer),
		202);
	snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(answer, "worker_id")));
	json_decref(answer);
	proc_wait_line(rig.daemon, "worker ready");
	assert_chat_serves(&rig, "m");
	assert_int_equal(rig_counter(&rig, "spawned"), 1);

	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\"}", id);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/stop", body, &answer), 202);
	json_decref(answer);
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);

	/* A departed worker can still be asked for, with how it ended and what it said. */
	snprintf(path, sizeof(path), "/v2/workers/%s", id);
	answer = rig_get(&rig, path);
	assert_string_equal(json_string_value(json_object_get(answer, "status")), "stopped");
	assert_true(json_is_object(json_object_get(answer, "last_exit")));
	json_decref(answer);
	snprintf(path, sizeof(path), "/v2/workers/%s/logs", id);
	answer = rig_get(&rig, path);
	assert_true(json_array_size(json_object_get(answer, "lines")) > 0);
	json_decref(answer);

	/* A stop that was ordered is none of the deaths that somebody has to look into. */
	answer = rig_get(&rig, "/v2/departed");

	json_t *row = json_array_get(json_object_get(answer, "departed"), 0);

	assert_string_equal(
		json_string_value(json_object_get(json_object_get(row, "exit"), "reason")),
		"stopped: requested");
	json_decref(answer);
	finish(&rig);
}

/* ---- the end, and the next beginning ---- */

static void a_shutdown_lets_a_running_stream_finish(void **state)
{
	struct rig rig;
	struct client *client;
	char *event, *last = NULL;
	int gate_fd;

	(void)state;
	start_gated(&rig, "gate", "", "shutdown_timeout_secs = 60");
	client = ask(&rig, true);
	gate_fd = open_gate(1);
	assert_int_equal(client_status(client), 200);
	free(client_event(client));
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "shutting down");
	assert_int_equal(write(gate_fd, "xxx", 3), 3);
	while ((event = client_event(client))) {
		free(last);
		last = event;
	}
	assert_string_equal(last, "[DONE]");
	free(last);
	assert_true(client_complete(client));
	client_close(client);
	close(gate_fd);
	assert_int_equal(proc_wait(rig.daemon), 0);
	rig_fini(&rig);
}

static void a_shutdown_does_not_wait_for_ever(void **state)
{
	struct rig rig;
	struct client *client;
	char *event;
	bool told = false;
	int gate_fd;
	pid_t pid;

	(void)state;
	start_gated(&rig, "gate", "", "shutdown_timeout_secs = 1");
	client = ask(&rig, true);
	gate_fd = open_gate(1);
	assert_int_equal(client_status(client), 200);
	free(client_event(client));
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	/* The stream never goes on by itself: the client is told, the worker goes. */
	proc_signal(rig.daemon, SIGTERM);
	while ((event = client_event(client))) {
		told |= strstr(event, "\"error\"") != NULL;
		free(event);
	}
	assert_true(told);
	client_close(client);
	assert_int_equal(proc_wait(rig.daemon), 0);
	assert_int_equal(kill(pid, 0), -1);
	close(gate_fd);
	rig_fini(&rig);
}

static void a_token_is_demanded(void **state)
{
	static const char *const good = "Authorization: Bearer 0123456789abcdef\r\n";
	static const char *const bad = "Authorization: Bearer 0123456789abcdeF\r\n";
	struct rig rig;
	struct client *client;
	char *path;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	path = test_file_write(rig.dir, "token", "0123456789abcdef\n");
	setenv("RBEES_POOL_HTTP_TOKEN_FILE", path, 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_TOKEN_FILE");
	client = client_open(rig.address);
	client_request(client, "GET", "/v1/models", NULL, NULL);
	assert_int_equal(client_status(client), 401);
	json_decref(client_json(client));
	client_request(client, "GET", "/v1/models", bad, NULL);
	assert_int_equal(client_status(client), 401);
	json_decref(client_json(client));
	client_request(client, "GET", "/v1/models", good, NULL);
	assert_int_equal(client_status(client), 200);
	json_decref(client_json(client));
	client_request(client, "POST", "/v1/chat/completions", good, chat_body("m", false));
	assert_int_equal(client_status(client), 200);
	assert_served(client_json(client));
	client_request(client, "GET", "/health", NULL, NULL); /* for load balancers */
	assert_int_equal(client_status(client), 200);
	json_decref(client_json(client));
	client_close(client);
	finish(&rig);
	free(path);
}

/* Runs --check with that token file. */
static void assert_check_says(const struct rig *rig, const char *path, const char *line, int status)
{
	const char *const argv[] = { getenv("POOL_MANAGERD"), "--config", rig->config, "--check",
				     NULL };
	char setting[512];
	const char *const env[] = { setting, NULL };
	struct proc *proc;

	snprintf(setting, sizeof(setting), "RBEES_POOL_HTTP_TOKEN_FILE=%s", path);
	proc = proc_start(argv, env);
	proc_wait_line(proc, line);
	assert_int_equal(proc_wait(proc), status);
	proc_free(proc);
}

/* What a daemon would refuse when it starts, --check refuses too. */
static void a_check_reads_the_token(void **state)
{
	static const struct {
		const char *token; /* NULL: there is no file */
		const char *line;
		int status;
	} rows[] = {
		{ "short\n", "must be a token of at least 16 characters", 2 },
		{ "0123456789 abcdef\n", "has a blank or another character", 2 },
		{ NULL, "http.token_file: ", 2 },
		{ "0123456789abcdef\n", ": ok (models: 0, backends: ", 0 },
	};
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_write(&rig);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *path = test_file_write(rig.dir, "token", rows[i].token ? rows[i].token : "");

		if (!rows[i].token)
			assert_int_equal(unlink(path), 0);
		assert_check_says(&rig, path, rows[i].line, rows[i].status);
		free(path);
	}
	rig_fini(&rig);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(nothing_loads_before_a_request),
		SCENARIO(a_stream_comes_event_by_event),
		SCENARIO(many_first_requests_make_one_cold_start),
		SCENARIO(a_killed_worker_ends_its_stream_with_an_error),
		SCENARIO(a_model_that_fails_to_load_says_why),
		SCENARIO(bad_requests_are_refused_by_name),
		SCENARIO(a_body_over_the_limit_is_413),
		SCENARIO(bodies_have_a_limit_together),
		SCENARIO(a_foreign_host_is_421),
		SCENARIO(a_missing_file_says_so),
		SCENARIO(a_model_over_the_budget_is_told_the_figures),
		SCENARIO(a_passed_deadline_is_504_with_the_reason),
		SCENARIO(taken_ports_are_named),
		SCENARIO(two_daemons_do_not_share_a_state),
		SCENARIO(a_closed_standard_error_is_no_files),
		SCENARIO(nobody_waits_for_a_reader_of_the_log),
		SCENARIO(bad_configuration_is_exit_2),
		SCENARIO(a_client_that_leaves_cancels_upstream),
		SCENARIO(a_client_that_leaves_does_not_stop_the_loading),
		SCENARIO(an_operator_starts_and_stops_workers),
		SCENARIO(a_shutdown_lets_a_running_stream_finish),
		SCENARIO(a_shutdown_does_not_wait_for_ever),
		SCENARIO(a_token_is_demanded),
		SCENARIO(a_check_reads_the_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
