/* SPDX-License-Identifier: MIT */
/*
 * test_descriptors.c - the real daemon when it may open no further descriptor: who is connected is
 * served, who is not waits, what cannot be done says why, and all is well again when descriptors
 * are free. The limit is lowered and raised again from outside, by prlimit(2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

#define CALLERS 24

static rlim_t usual_limit;

static void set_limit(struct rig *rig, rlim_t soft)
{
	struct rlimit limit;

	assert_int_equal(prlimit(proc_pid(rig->daemon), RLIMIT_NOFILE, NULL, &limit), 0);
	if (!usual_limit)
		usual_limit = limit.rlim_cur;
	limit.rlim_cur = soft;
	assert_int_equal(prlimit(proc_pid(rig->daemon), RLIMIT_NOFILE, &limit, NULL), 0);
}

/* The daemon's ends of connections: established, or closed by the other side alone. */
static unsigned connections(const struct rig *rig)
{
	unsigned port = (unsigned)atoi(strrchr(rig->address, ':') + 1), count = 0;
	FILE *file = fopen("/proc/net/tcp", "re");
	char line[512];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned local, state;

		/* proc_net_tcp(5): 01 is ESTABLISHED, 08 CLOSE_WAIT */
		if (sscanf(line, " %*d: %*x:%x %*x:%*x %x", &local, &state) == 2 && local == port)
			count += state == 0x01 || state == 0x08;
	}
	fclose(file);
	return count;
}

/* Waits until the daemon has closed what its earlier clients have left. */
static void wait_for_connections(const struct rig *rig, unsigned wanted)
{
	int64_t deadline = test_deadline_ms();

	while (connections(rig) != wanted) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%u connections, not %u", connections(rig), wanted);
	}
}

/* Lets the daemon open `more` descriptors than it has. A new one takes the lowest number that is
 * free, and fails when that is not below the limit; so the gaps are counted. */
static void allow(struct rig *rig, rlim_t more)
{
	rlim_t limit = 0;

	for (rlim_t left = more;; limit++) {
		char path[64], target[8];

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)proc_pid(rig->daemon),
			 (int)limit);
		if (readlink(path, target, sizeof(target)) >= 0)
			continue;
		if (left-- == 0)
			break;
	}
	set_limit(rig, limit);
}

static void allow_all(struct rig *rig)
{
	set_limit(rig, usual_limit);
}

/* Asks on a connection that is there already. */
static int ask(struct client *client, const char *method, const char *path, const char *body,
	       json_t **ret_answer)
{
	client_request(client, method, path, NULL, body);

	int status = client_status(client);

	*ret_answer = client_json(client);
	return status;
}

static void start(struct rig *rig, const char *more)
{
	usual_limit = 0;
	rig_init(rig);
	rig_model(rig, "m", "tokens=4", more);
	rig_start(rig);
}

static void who_is_connected_is_served(void **state)
{
	struct client *first, *callers[CALLERS];
	struct rig rig;
	json_t *answer;

	(void)state;
	start(&rig, "");
	first = client_open(rig.address);
	assert_int_equal(ask(first, "GET", "/health", NULL, &answer), 200);
	json_decref(answer);
	wait_for_connections(&rig, 1);
	allow(&rig, 4);
	/* The kernel takes all of them, the daemon only the first few. */
	for (size_t i = 0; i < CALLERS; i++)
		callers[i] = client_open(rig.address);
	for (size_t i = 0; i < CALLERS; i++)
		client_request(callers[i], "GET", "/health", "Connection: close\r\n", NULL);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ask(first, "GET", "/health", NULL, &answer), 200);
		json_decref(answer);
	}
	/* Each that leaves makes room for the next. */
	for (size_t i = 0; i < CALLERS; i++) {
		assert_int_equal(client_status(callers[i]), 200);
		json_decref(client_json(callers[i]));
		client_close(callers[i]);
	}
	allow_all(&rig);
	assert_int_equal(ask(first, "POST", "/v1/chat/completions", chat_body("m", false), &answer),
			 200);
	json_decref(answer);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

/* Whatever came of them is told, and when. */
static void assert_departed(struct rig *rig, const char *reason)
{
	json_t *list = rig_get(rig, "/v2/departed");
	json_t *row = json_array_get(json_object_get(list, "departed"), 0);
	json_t *exit = json_object_get(row, "exit");

	assert_string_equal(json_string_value(json_object_get(exit, "reason")), reason);
	assert_true(json_integer_value(json_object_get(row, "wall_ms")) > 0);
	json_decref(list);
}

static void a_worker_that_cannot_be_started_says_why(void **state)
{
	struct client *client;
	struct rig rig;
	json_t *answer;
	const char *message;

	(void)state;
	start(&rig, "");
	client = client_open(rig.address);
	for (rlim_t more = 0; more < 3; more++) {
		assert_int_equal(ask(client, "GET", "/health", NULL, &answer), 200);
		json_decref(answer);
		wait_for_connections(&rig, 1);
		allow(&rig, more);
		assert_int_equal(
			ask(client, "POST", "/v1/chat/completions", chat_body("m", false), &answer),
			503);
		assert_string_equal(error_code(answer), "SPAWN_FAILED");
		message = json_string_value(
			json_object_get(json_object_get(answer, "error"), "message"));
		print_message("%s\n", message);
		assert_non_null(strstr(message, "Too many open files"));
		json_decref(answer);
		allow_all(&rig);
	}
	assert_int_equal(rig_reserved(&rig), 0);
	assert_departed(&rig, "never started: SPAWN_FAILED");
	assert_int_equal(
		ask(client, "POST", "/v1/chat/completions", chat_body("m", false), &answer), 200);
	json_decref(answer);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

static void a_worker_that_cannot_be_reached_is_kept(void **state)
{
	struct client *client;
	char id[64], other_id[64];
	struct rig rig;
	json_t *answer;

	(void)state;
	start(&rig, "");
	assert_int_equal(
		client_call(rig.address, "POST", "/v2/workers/start", "{\"model\":\"m\"}", NULL),
		202);
	proc_wait_line(rig.daemon, "worker ready");
	rig_wait_model(&rig, "m", "spawning", 0);
	assert_int_equal(rig_workers(&rig, NULL, id), 1);
	client = client_open(rig.address);
	assert_int_equal(ask(client, "GET", "/health", NULL, &answer), 200);
	json_decref(answer);
	wait_for_connections(&rig, 1);
	allow(&rig, 0);
	assert_int_equal(
		ask(client, "POST", "/v1/chat/completions", chat_body("m", false), &answer), 502);
	print_message("%s\n", json_string_value(json_object_get(json_object_get(answer, "error"),
								"message")));
	assert_string_equal(error_code(answer), "SEND_FAILED");
	json_decref(answer);
	allow_all(&rig);
	assert_int_equal(
		ask(client, "POST", "/v1/chat/completions", chat_body("m", false), &answer), 200);
	json_decref(answer);
	assert_int_equal(rig_workers(&rig, NULL, other_id), 1);
	assert_string_equal(other_id, id);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

/* How it ended is in a file that cannot be opened just now. */
static void how_a_worker_ended_is_not_lost(void **state)
{
	json_t *deaths, *exit;
	struct client *client;
	struct rig rig;
	json_t *answer;
	char id[64];
	pid_t pid;

	(void)state;
	start(&rig, "");
	assert_int_equal(
		client_call(rig.address, "POST", "/v2/workers/start", "{\"model\":\"m\"}", NULL),
		202);
	proc_wait_line(rig.daemon, "worker ready");
	rig_wait_model(&rig, "m", "spawning", 0);
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	client = client_open(rig.address);
	assert_int_equal(ask(client, "GET", "/health", NULL, &answer), 200);
	json_decref(answer);
	wait_for_connections(&rig, 1);
	allow(&rig, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	proc_wait_line(rig.daemon, "cannot read");
	allow_all(&rig);
	rig_wait_workers(&rig, 0);
	deaths = rig_get(&rig, "/v2/departed");
	exit = json_object_get(json_array_get(json_object_get(deaths, "departed"), 0), "exit");
	assert_int_equal(json_integer_value(json_object_get(exit, "signal")), SIGKILL);
	json_decref(deaths);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(who_is_connected_is_served),
		SCENARIO(a_worker_that_cannot_be_started_says_why),
		SCENARIO(a_worker_that_cannot_be_reached_is_kept),
		SCENARIO(how_a_worker_ended_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
