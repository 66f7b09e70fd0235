/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_clients.c - the real daemon and its clients at the edges: those that do not read,
 * that come while it ends, that speak for a foreign page or in odd HTTP; and how the daemon ends
 * and leaves its state. Most models are played by tests/standins/fake_worker.c.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <poolcore/base.h>
#include <poolcore/registry.h>

#include "scenario/daemon_fixture.h"

#define MB (1 << 20)
/* Longer than a test waits for anything: an end that came has not waited for this. */
#define NEVER_SECS "3600"

/* A rig with the fake worker's model "m"; `pool` are lines of [pool]. */
static void rig_init_fake(struct rig *rig, const char *pool, const char *behaviour)
{
	rig_init(rig);
	snprintf(rig->settings, sizeof(rig->settings), "%s", pool);
	rig_backend(rig, "fake", "{socket}",
		    "readiness = \"http:/health\"\ndevice = \"cpu\"\n"
		    "stop_grace_secs = " NEVER_SECS);
	rig_model(rig, "m", behaviour, "backend = \"fake\"");
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* The daemon ends by itself. */
static void finish_ended(struct rig *rig)
{
	assert_int_equal(proc_wait(rig->daemon), 0);
	proc_free(rig->daemon);
	rig->daemon = NULL;
	rig_fini(rig);
}

static struct client *ask(struct rig *rig)
{
	struct client *client = client_open(rig->address);

	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("m", false));
	return client;
}

/* Sends bytes as they are and reads the answer; returns the status, and the error's code or "". */
static int exchange(struct rig *rig, const char *text, char code[64])
{
	struct client *client = client_open(rig->address);
	int status;

	client_send(client, text, strlen(text));
	status = client_status(client);
	code[0] = '\0';
	if (status >= 400) {
		json_t *answer = client_json(client);

		snprintf(code, 64, "%s", error_code(answer));
		json_decref(answer);
	}
	client_close(client);
	return status;
}

/* ---- the end, with clients ---- */

static void a_client_that_does_not_read_is_cut_off(void **state)
{
	struct client *client;
	struct rig rig;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = 1", "answer=huge\nbytes=67108864");
	rig_start(&rig);
	client = ask(&rig);
	assert_int_equal(client_status(client), 200);
	proc_signal(rig.daemon, SIGTERM);
	/* It does not take the rest; the daemon ends all the same. */
	assert_int_equal(proc_wait(rig.daemon), 0);
	assert_true(client_wait_close(client) < 64 * MB);
	client_close(client);
	finish_ended(&rig);
}

static void a_client_that_reads_gets_all_of_it(void **state)
{
	struct client *client;
	struct rig rig;
	size_t length;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = " NEVER_SECS, "answer=huge\nbytes=67108864");
	rig_start(&rig);
	client = ask(&rig);
	assert_int_equal(client_status(client), 200);
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "shutting down");
	free(client_body(client, &length));
	assert_int_equal(length, 64 * MB);
	assert_true(client_complete(client));
	client_close(client);
	finish_ended(&rig);
}

/* Workers are gone before the client has begun to read what they wrote. */
static void an_answer_outlives_its_worker(void **state)
{
	struct client *client;
	struct rig rig;
	size_t length;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = " NEVER_SECS, "answer=huge\nbytes=200000");
	rig_start(&rig);
	client = ask(&rig);
	assert_int_equal(client_status(client), 200);
	rig_wait_model(&rig, "m", "leases", 0);
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "was stopped (shutdown)");
	free(client_body(client, &length));
	assert_int_equal(length, 200000);
	assert_true(client_complete(client));
	client_close(client);
	finish_ended(&rig);
}

static void idle_connections_do_not_hold_up_the_end(void **state)
{
	struct client *clients[8];
	struct rig rig;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = " NEVER_SECS, "");
	rig_start(&rig);
	for (size_t i = 0; i < 8; i++) {
		clients[i] = client_open(rig.address);
		/* The last one never says anything. */
		if (i == 7)
			break;
		client_request(clients[i], "GET", "/health", NULL, NULL);
		assert_int_equal(client_status(clients[i]), 200);
		json_decref(client_json(clients[i]));
	}
	assert_int_equal(rig_stop(&rig), 0);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(client_wait_close(clients[i]), 0);
		client_close(clients[i]);
	}
	rig_fini(&rig);
}

static void nobody_is_let_in_during_a_drain(void **state)
{
	struct client *running, *late;
	int64_t deadline;
	struct rig rig;
	json_t *answer;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = " NEVER_SECS, "answer=never");
	rig_start(&rig);
	running = ask(&rig);
	proc_wait_line(rig.daemon, "holding a request");
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "shutting down");
	/* Until every loop has closed its share of the listening socket. */
	for (deadline = test_deadline_ms(); (late = client_try(rig.address)); client_close(late))
		assert_true(test_remaining_ms(deadline) > 0);
	/* The one inside is told when the daemon is asked to hurry. */
	proc_signal(rig.daemon, SIGTERM);
	assert_int_equal(client_status(running), 503);
	answer = client_json(running);
	assert_string_equal(error_code(answer), "SHUTTING_DOWN");
	json_decref(answer);
	client_close(running);
	finish_ended(&rig);
}

/* ---- the end, by signal ---- */

static void an_interrupt_is_a_clean_end(void **state)
{
	struct rig rig;
	json_t *answer = NULL;
	pid_t pid;

	(void)state;
	rig_init_fake(&rig, "", "");
	rig_start(&rig);
	assert_int_equal(client_call(rig.address, "POST", "/v1/chat/completions",
				     chat_body("m", false), &answer),
			 200);
	json_decref(answer);
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	proc_signal(rig.daemon, SIGINT);
	assert_int_equal(proc_wait(rig.daemon), 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	finish_ended(&rig);
}

static void a_second_signal_kills_stubborn_workers(void **state)
{
	struct rig rig;
	json_t *answer = NULL;
	pid_t pid;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = " NEVER_SECS, "ignore_term=1");
	rig_start(&rig);
	assert_int_equal(client_call(rig.address, "POST", "/v1/chat/completions",
				     chat_body("m", false), &answer),
			 200);
	json_decref(answer);
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "worker stopping");
	proc_signal(rig.daemon, SIGTERM);
	assert_int_equal(proc_wait(rig.daemon), 0);
	assert_int_equal(kill(pid, 0), -1);
	finish_ended(&rig);
}

/* Nobody knows when the load would be over. */
static void a_loading_worker_does_not_hold_up_the_end(void **state)
{
	struct client *client;
	struct rig rig;
	json_t *answer;
	pid_t pid;

	(void)state;
	rig_init_fake(&rig, "shutdown_timeout_secs = 1", "start=never_ready\nignore_term=1");
	rig_start(&rig);
	client = ask(&rig);
	proc_wait_line(rig.daemon, "worker spawned");
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	proc_signal(rig.daemon, SIGTERM);
	assert_int_equal(client_status(client), 503);
	answer = client_json(client);
	assert_string_equal(error_code(answer), "SHUTTING_DOWN");
	json_decref(answer);
	client_close(client);
	assert_int_equal(proc_wait(rig.daemon), 0);
	assert_int_equal(kill(pid, 0), -1);
	finish_ended(&rig);
}

/* ---- what is left behind ---- */

static void a_clean_stop_leaves_no_records(void **state)
{
	struct pc_worker_info *workers = NULL;
	struct pc_registry *registry;
	json_t *answer = NULL;
	struct rig rig;
	char path[256];
	size_t count;

	(void)state;
	rig_init_fake(&rig, "", "");
	for (int i = 0; i < 2; i++) {
		rig_start(&rig);
		assert_false(proc_has_line(rig.daemon, "adopt"));
		assert_int_equal(rig_workers(&rig, NULL, NULL), 0);
		assert_int_equal(client_call(rig.address, "POST", "/v1/chat/completions",
					     chat_body("m", false), &answer),
				 200);
		json_decref(answer);
		assert_int_equal(rig_stop(&rig), 0);

		snprintf(path, sizeof(path), "%s/state/registry.db", rig.dir);
		assert_int_equal(pc_registry_open_sqlite(path, &registry, NULL), 0);
		assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
		assert_int_equal(count, 0);
		pc_free(workers);
		pc_registry_close(registry);
	}
	rig_fini(&rig);
}

/* A socket file that nobody listens on. */
static void leave_socket(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(strlen(path) < sizeof(name.sun_path));
	strcpy(name.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	close(fd);
}

static void a_unix_socket_serves(void **state)
{
	struct proc *second;
	struct rig rig, other;
	json_t *answer = NULL;
	char address[128];

	(void)state;
	rig_init(&rig);
	/* A real worker, which reports its readiness through the socket. */
	rig_model(&rig, "m", "tokens=4", "");
	snprintf(address, sizeof(address), "unix:%s/pool.sock", rig.dir);
	leave_socket(address + 5);
	setenv("RBEES_POOL_HTTP_LISTEN", address, 1);
	rig_start(&rig);
	assert_string_equal(rig.address, address);
	assert_int_equal(client_call(rig.address, "POST", "/v1/chat/completions",
				     chat_body("m", false), &answer),
			 200);
	json_decref(answer);

	/* One that is served is not taken away. */
	rig_init(&other);
	rig_model(&other, "m", "tokens=4", "");
	second = rig_start_only(&other);
	assert_int_equal(proc_wait(second), 1);
	assert_non_null(strstr(proc_last_line(second), address + 5));
	proc_free(second);
	rig_fini(&other);
	unsetenv("RBEES_POOL_HTTP_LISTEN");
	json_decref(rig_get(&rig, "/health"));

	assert_int_equal(rig_stop(&rig), 0);
	assert_int_equal(access(address + 5, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	rig_fini(&rig);
}

/* ---- the gate ---- */

static void pages_of_strangers_are_kept_out(void **state)
{
	static const char *const stop = "/v2/workers/stop";
	static const struct {
		const char *headers;
		int status;
		const char *code;
	} table[] = {
		{ "Origin: http://evil.example\r\n", 403, "FORBIDDEN" },
		{ "Origin: http://localhost.evil.example\r\n", 403, "FORBIDDEN" },
		{ "Origin: http://127.0.0.1.evil.example:80\r\n", 403, "FORBIDDEN" },
		{ "Origin: null\r\n", 403, "FORBIDDEN" },
		{ "Origin: http://localhost:3000\r\n", 404, "WORKER_NOT_FOUND" },
		{ "Origin: https://127.0.0.1\r\n", 404, "WORKER_NOT_FOUND" },
		{ "Origin: http://[::1]:8080\r\n", 404, "WORKER_NOT_FOUND" },
		{ "", 404, "WORKER_NOT_FOUND" },
	};
	struct rig rig;
	char *path;

	(void)state;
	rig_init_fake(&rig, "", "");
	path = test_file_write(rig.dir, "token", "0123456789abcdef\n");
	rig_start(&rig);
	for (size_t i = 0; i <= sizeof(table) / sizeof(table[0]); i++) {
		bool with_token = i == sizeof(table) / sizeof(table[0]);
		struct client *client;
		json_t *answer;

		if (with_token) {
			/* Where a token is asked for, that is the guard. */
			assert_int_equal(rig_stop(&rig), 0);
			setenv("RBEES_POOL_HTTP_TOKEN_FILE", path, 1);
			rig_start(&rig);
			unsetenv("RBEES_POOL_HTTP_TOKEN_FILE");
		}
		client = client_open(rig.address);
		client_request(client, "POST", stop,
			       with_token ? "Origin: http://evil.example\r\n"
					    "Authorization: Bearer 0123456789abcdef\r\n"
					  : table[i].headers,
			       "{\"worker_id\":\"w-1\"}");
		assert_int_equal(client_status(client), with_token ? 404 : table[i].status);
		answer = client_json(client);
		assert_string_equal(error_code(answer),
				    with_token ? "WORKER_NOT_FOUND" : table[i].code);
		json_decref(answer);
		client_close(client);
	}
	finish(&rig);
	free(path);
}

static void the_host_must_be_ours(void **state)
{
	static const struct {
		const char *request;
		int status;
		const char *code;
	} table[] = {
		{ "GET /health HTTP/1.1\r\nHost: 127.0.0.2:9200\r\n\r\n", 200, "" },
		{ "GET /health HTTP/1.1\r\nHost: LOCALHOST:1\r\n\r\n", 200, "" },
		{ "GET /health HTTP/1.1\r\nHost: [::1]:9200\r\n\r\n", 200, "" },
		{ "GET /health HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 421,
		  "WRONG_HOST" },
		{ "GET /health HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", 421,
		  "WRONG_HOST" },
		{ "GET /health HTTP/1.1\r\nHost: 127.evil.1\r\n\r\n", 421, "WRONG_HOST" },
		{ "GET /health HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n", 421, "WRONG_HOST" },
		/* The authority is in one place only: the target has none. */
		{ "GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400,
		  "INVALID_REQUEST" },
		{ "GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400,
		  "INVALID_REQUEST" },
		/* What a path spells otherwise is another path. */
		{ "GET /%68ealth HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND" },
		{ "GET /v2/../health HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND" },
		{ "GET //health HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND" },
		/* What it names may be spelled. */
		{ "GET /v1/models/%6d HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "" },
		{ "GET /v1/models/m%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND" },
		{ "GET /v1/models/%6 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND" },
		{ "GET /v2/workers/..%2f HTTP/1.1\r\nHost: localhost\r\n\r\n", 404,
		  "WORKER_NOT_FOUND" },
	};
	struct rig rig;
	char code[64];

	(void)state;
	rig_init_fake(&rig, "", "");
	setenv("RBEES_POOL_HTTP_LISTEN", "127.0.0.2:0", 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_LISTEN");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int status = exchange(&rig, table[i].request, code);

		if (status != table[i].status || strcmp(code, table[i].code) != 0)
			fail_msg("%d %s instead of %d %s for %s", status, code, table[i].status,
				 table[i].code, table[i].request);
	}
	finish(&rig);
}

/* ---- bodies and methods ---- */

/* POSTs `length` bytes that begin with `start` and go on with `filler`. */
static int post_filled(struct rig *rig, const char *path, const char *start, char filler,
		       size_t length, char code[64])
{
	struct client *client = client_open(rig->address);
	char *body = malloc(length + 1);
	json_t *answer;
	int status;

	memset(body, filler, length);
	memcpy(body, start, strlen(start));
	body[length] = '\0';
	client_request(client, "POST", path, NULL, body);
	status = client_status(client);
	answer = client_json(client);
	snprintf(code, 64, "%s", error_code(answer));
	json_decref(answer);
	client_close(client);
	free(body);
	return status;
}

static void bodies_of_the_control_plane_are_small(void **state)
{
	static const char *const paths[] = { "/v2/internal/workers/ready", "/v2/workers/stop",
					     "/v2/workers/start" };
	struct rig rig;
	char code[64];

	(void)state;
	rig_init_fake(&rig, "", "");
	rig_start(&rig);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_int_equal(post_filled(&rig, paths[i], "{\"worker_id\":\"", 'x', MB, code),
				 413);
		assert_string_equal(code, "PAYLOAD_TOO_LARGE");
		assert_int_equal(post_filled(&rig, paths[i], "", '[', 60000, code), 400);
		assert_string_equal(code, "INVALID_JSON");
	}
	assert_int_equal(post_filled(&rig, "/v1/chat/completions", "{\"model\":\"m\",\"a\":", '[',
				     8 * MB, code),
			 400);
	assert_string_equal(code, "INVALID_JSON");
	json_decref(rig_get(&rig, "/health"));
	finish(&rig);
}

static void methods_are_what_they_are(void **state)
{
	static const struct {
		const char *method;
		const char *path;
		int status;
	} table[] = {
		{ "HEAD", "/health", 200 },	{ "HEAD", "/v1/chat/completions", 405 },
		{ "OPTIONS", "/health", 405 },	{ "PUT", "/v2/workers/stop", 405 },
		{ "TRACE", "/health", 405 },	{ "DELETE", "/nowhere", 404 },
		{ "PROPFIND", "/health", 405 },
	};
	struct rig rig;
	char code[64];

	(void)state;
	rig_init_fake(&rig, "", "");
	rig_start(&rig);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct client *client = client_open(rig.address);
		size_t length;
		char *body;

		client_request(client, table[i].method, table[i].path, NULL, NULL);
		assert_int_equal(client_status(client), table[i].status);
		if (table[i].status == 405)
			assert_non_null(client_header(client, "Allow"));
		body = client_body(client, &length);
		assert_int_equal(length == 0, strcmp(table[i].method, "HEAD") == 0);
		free(body);

		/* The connection is still in step. */
		client_request(client, "GET", "/health", NULL, NULL);
		assert_int_equal(client_status(client), 200);
		json_decref(client_json(client));
		client_close(client);
	}
	assert_int_equal(exchange(&rig, "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", code), 501);
	finish(&rig);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct client *client;
	const char *body = chat_body("m", false);
	char text[2048];
	struct rig rig;
	json_t *answer;

	(void)state;
	rig_init_fake(&rig, "", "");
	rig_start(&rig);
	/* The first has to wait for its model; the others could be answered at once. */
	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
		 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s"
		 "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
		 "GET /v1/models/m HTTP/1.1\r\nHost: localhost\r\n\r\n",
		 strlen(body), body);
	client = client_open(rig.address);
	client_send(client, text, strlen(text));
	assert_int_equal(client_status(client), 200);
	answer = client_json(client);
	assert_non_null(json_object_get(answer, "answer"));
	json_decref(answer);
	assert_int_equal(client_status(client), 200);
	answer = client_json(client);
	assert_non_null(json_object_get(answer, "uptime_secs"));
	json_decref(answer);
	assert_int_equal(client_status(client), 200);
	answer = client_json(client);
	assert_string_equal(json_string_value(json_object_get(answer, "id")), "m");
	json_decref(answer);
	client_close(client);
	finish(&rig);
}

/* ---- operators ---- */

static void a_port_cannot_be_given_to_a_worker_that_is_there(void **state)
{
	char address[128], body[128];
	struct server *server;
	json_t *answer = NULL;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_backend(&rig, "fake", "{port}", "readiness = \"http:/health\"\ndevice = \"cpu\"");
	rig_model(&rig, "m", "", "backend = \"fake\"\nmax_workers = 1");
	rig_start(&rig);
	assert_int_equal(
		client_call(rig.address, "POST", "/v2/workers/start", "{\"model\":\"m\"}", &answer),
		202);
	json_decref(answer);
	proc_wait_line(rig.daemon, "worker ready");

	/* A port that is free again when the server is closed. */
	server = server_open(NULL, address);
	snprintf(body, sizeof(body), "{\"model\":\"m\",\"port\":%s}", strrchr(address, ':') + 1);
	server_close(server);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/start", body, &answer), 409);
	assert_string_equal(error_code(answer), "ALREADY_EXISTS");
	json_decref(answer);
	assert_int_equal(rig_workers(&rig, NULL, NULL), 1);
	finish(&rig);
}

static void a_forced_stop_overtakes_a_gentle_one(void **state)
{
	json_t *answer = NULL;
	char body[128], id[64];
	struct rig rig;

	(void)state;
	rig_init_fake(&rig, "", "ignore_term=1");
	rig_start(&rig);
	assert_int_equal(client_call(rig.address, "POST", "/v1/chat/completions",
				     chat_body("m", false), &answer),
			 200);
	json_decref(answer);
	assert_int_equal(rig_workers(&rig, NULL, id), 1);
	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\"}", id);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/stop", body, NULL), 202);
	proc_wait_line(rig.daemon, "worker stopping");
	assert_int_equal(rig_workers(&rig, NULL, NULL), 1);
	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"force\":true}", id);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/stop", body, NULL), 202);
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(a_client_that_does_not_read_is_cut_off),
		SCENARIO(a_client_that_reads_gets_all_of_it),
		SCENARIO(an_answer_outlives_its_worker),
		SCENARIO(idle_connections_do_not_hold_up_the_end),
		SCENARIO(nobody_is_let_in_during_a_drain),
		SCENARIO(an_interrupt_is_a_clean_end),
		SCENARIO(a_second_signal_kills_stubborn_workers),
		SCENARIO(a_loading_worker_does_not_hold_up_the_end),
		SCENARIO(a_clean_stop_leaves_no_records),
		SCENARIO(a_unix_socket_serves),
		SCENARIO(pages_of_strangers_are_kept_out),
		SCENARIO(the_host_must_be_ours),
		SCENARIO(bodies_of_the_control_plane_are_small),
		SCENARIO(methods_are_what_they_are),
		SCENARIO(pipelined_requests_are_answered_in_order),
		SCENARIO(a_port_cannot_be_given_to_a_worker_that_is_there),
		SCENARIO(a_forced_stop_overtakes_a_gentle_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
