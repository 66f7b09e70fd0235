/* SPDX-License-Identifier: MIT */
/*
 * test_daemon_faults.c - the real daemon with workers that misbehave
 * (tests/standins/fake_worker.c): answers that break off, answers that are none, workers that die,
 * never load or cannot be started. A client gets the whole answer, an error, or a broken
 * connection, never something that looks whole and is not; and the daemon goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

#define MESSAGE_MAX 2048

/* ---- what the scenarios have in common ---- */

/* A rig whose models are played by the fake worker. */
static void fault_rig_init(struct rig *rig)
{
	rig_init(rig);
	rig_backend(rig, "fake", "{socket}",
		    "readiness = \"http:/health\"\ndevice = \"cpu\"\n"
		    "env = { FAKE_TOKEN = \"{spawn_token}\" }");
}

static void fake_model(struct rig *rig, const char *id, const char *behaviour)
{
	rig_model(rig, id, behaviour, "backend = \"fake\"");
}

/* Says it otherwise; the fake worker reads its file at each request. */
static void rewrite(struct rig *rig, const char *id, const char *behaviour)
{
	char name[96];

	snprintf(name, sizeof(name), "%s.stub", id);
	free(test_file_write(rig->dir, name, behaviour));
}

static int chat(struct rig *rig, const char *model, json_t **ret_answer)
{
	return client_call(rig->address, "POST", "/v1/chat/completions", chat_body(model, false),
			   ret_answer);
}

/* The member "answer" of what the fake worker answers. */
static void assert_answers(struct rig *rig, const char *model, const char *expected)
{
	json_t *answer = NULL;

	assert_int_equal(chat(rig, model, &answer), 200);
	assert_string_equal(json_string_value(json_object_get(answer, "answer")), expected);
	json_decref(answer);
}

/* Sends a chat completion on a connection of its own and reads the answer's head. */
static struct client *ask(struct rig *rig, const char *model, int expected_status)
{
	struct client *client = client_open(rig->address);

	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body(model, true));
	assert_int_equal(client_status(client), expected_status);
	return client;
}

/* Frees the answer; the message lives until the next call. */
static const char *error_message(json_t *answer)
{
	static char text[MESSAGE_MAX];
	const char *message = json_string_value(
		json_object_get(json_object_get(answer, "error"), "message"));

	assert_non_null(message);
	snprintf(text, sizeof(text), "%s", message);
	json_decref(answer);
	return text;
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* The request is refused with this status and code; the message must hold `part`. */
static void assert_refused(struct rig *rig, const char *model, int status, const char *code,
			   const char *part)
{
	json_t *answer = NULL;

	assert_int_equal(chat(rig, model, &answer), status);
	assert_string_equal(error_code(answer), code);
	assert_contains(error_message(answer), part);
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* ---- answers that break off ---- */

static void a_broken_event_stream_ends_with_an_error(void **state)
{
	struct client *client;
	struct rig rig;
	json_t *error;
	char *event;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "answer=broken_events");
	rig_start(&rig);
	client = ask(&rig, "m", 200);
	/* The worker broke off inside an event; ours is one of its own nevertheless. */
	event = client_event(client);
	assert_string_equal(event, "{\"n\":1}");
	free(event);
	event = client_event(client);
	error = json_loads(event, 0, NULL);
	assert_string_equal(error_code(error), "WORKER_FAILED");
	json_decref(error);
	free(event);
	assert_null(client_event(client));
	assert_true(client_complete(client));
	client_close(client);
	finish(&rig);
}

/* An event of ours would not fit into an announced length, and nobody could read it inside gzip. */
static void what_takes_no_event_is_broken_off(void **state)
{
	static const struct {
		const char *behaviour;
		const char *received;
		size_t length;
	} table[] = {
		{ "answer=broken_events_length", "data: {\"n\":1}\n\n", 15 },
		{ "answer=broken_events_gzip", "\x1f\x8b\x08gzip!", 8 },
		{ "answer=broken_chunks", "{\"a\"", 4 },
		{ "answer=broken_length", "{\"a\"", 4 },
	};
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "answer=normal");
	rig_start(&rig);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct client *client;
		size_t length;
		char *body;

		rewrite(&rig, "m", table[i].behaviour);
		client = ask(&rig, "m", 200);
		body = client_body(client, &length);
		assert_int_equal(length, table[i].length);
		assert_memory_equal(body, table[i].received, length);
		assert_false(client_complete(client));
		free(body);
		client_close(client);
	}
	rewrite(&rig, "m", "answer=normal");
	assert_answers(&rig, "m", "normal");
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	finish(&rig);
}

/* ---- answers that are none ---- */

static void what_is_no_answer_is_502(void **state)
{
	static const char *const behaviours[] = { "answer=garbage", "answer=two_lengths",
						  "answer=switch", "answer=endless_head",
						  "answer=hang_up" };
	struct rig rig;
	pid_t before, after;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "answer=normal");
	rig_start(&rig);
	assert_answers(&rig, "m", "normal");
	assert_int_equal(rig_workers(&rig, &before, NULL), 1);
	for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++) {
		rewrite(&rig, "m", behaviours[i]);
		assert_refused(&rig, "m", 502, "WORKER_FAILED", "of 'm' broke off");
	}
	/* It lives and may do better next time: it is not stopped for that. */
	rewrite(&rig, "m", "answer=normal");
	assert_answers(&rig, "m", "normal");
	assert_int_equal(rig_workers(&rig, &after, NULL), 1);
	assert_int_equal(after, before);
	assert_int_equal(rig_counter(&rig, "failed_workers"), 0);
	rig_wait_model(&rig, "m", "leases", 0);
	finish(&rig);
}

static void a_worker_that_hangs_up_is_asked_once_more(void **state)
{
	char behaviour[256];
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "always", "answer=hang_up");
	snprintf(behaviour, sizeof(behaviour), "answer=hang_up\nonce=%s/marker", rig.dir);
	fake_model(&rig, "once", behaviour);
	rig_start(&rig);

	assert_answers(&rig, "once", "normal");
	assert_int_equal(rig_counter(&rig, "granted"), 2);
	proc_wait_line(rig.daemon, "queueing the request again");

	assert_refused(&rig, "always", 502, "WORKER_FAILED", "always");
	assert_int_equal(rig_counter(&rig, "granted"), 4);
	assert_int_equal(rig_counter(&rig, "spawned"), 2);
	assert_int_equal(rig_counter(&rig, "failed_workers"), 0);
	finish(&rig);
}

/* ---- answers that are odd, and right ---- */

static void odd_answers_are_passed_on(void **state)
{
	static const char *const table[][2] = {
		{ "answer=slow", "slow" },
		{ "answer=continues", "normal" },
		{ "answer=until_close", "until close" },
		{ "answer=then_close", "normal" },
		{ "answer=then_close", "normal" },
		{ "answer=early", "early" },
		{ "answer=early", "early" },
		{ "answer=normal", "normal" },
	};
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "answer=normal");
	rig_start(&rig);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		rewrite(&rig, "m", table[i][0]);
		assert_answers(&rig, "m", table[i][1]);
	}
	assert_int_equal(rig_counter(&rig, "spawned"), 1);
	finish(&rig);
}

/* An answer too much is nobody's, whoever asks next and on whichever kind of socket. */
static void a_second_answer_is_nobodys(void **state)
{
	static const char *const models[] = { "socket", "port" };
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	rig_backend(&rig, "other", "{port}", "readiness = \"http:/health\"\ndevice = \"cpu\"");
	fake_model(&rig, "socket", "answer=twice");
	rig_model(&rig, "port", "answer=twice", "backend = \"other\"");
	rig_start(&rig);
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		for (int n = 0; n < 4; n++) {
			assert_answers(&rig, models[i], "normal");
			proc_wait_line(rig.daemon, "answered twice");
		}
		rewrite(&rig, models[i], "answer=normal");
		assert_answers(&rig, models[i], "normal");
	}
	assert_int_equal(rig_counter(&rig, "spawned"), 2);
	finish(&rig);
}

/* A worker may refuse a long request by its head, and not wait for the rest. */
static void an_answer_may_come_before_the_request_is_read(void **state)
{
	static const char *const models[] = { "socket", "port" };
	static char body[4 << 20];
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	rig_backend(&rig, "other", "{port}", "readiness = \"http:/health\"\ndevice = \"cpu\"");
	fake_model(&rig, "socket", "answer=early_close");
	rig_model(&rig, "port", "answer=early_close", "backend = \"other\"");
	rig_start(&rig);
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		json_t *answer = NULL;

		memset(body, ' ', sizeof(body) - 1);
		body[snprintf(body, sizeof(body), "{\"model\":\"%s\"", models[i])] = ' ';
		body[sizeof(body) - 2] = '}';
		assert_int_equal(
			client_call(rig.address, "POST", "/v1/chat/completions", body, &answer),
			200);
		assert_string_equal(json_string_value(json_object_get(answer, "answer")), "early");
		json_decref(answer);
	}
	finish(&rig);
}

/* ---- workers that die under a request ---- */

static void a_request_survives_its_worker(void **state)
{
	char behaviour[256];
	json_t *answer = NULL;
	struct rig rig;
	pid_t pid;

	(void)state;
	fault_rig_init(&rig);
	snprintf(behaviour, sizeof(behaviour), "answer=exit\ncode=9\nonce=%s/marker", rig.dir);
	fake_model(&rig, "m", behaviour);
	rig_start(&rig);
	/* The client sees nothing of it but the time that it takes. */
	assert_int_equal(chat(&rig, "m", &answer), 200);
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), pid);
	json_decref(answer);
	proc_wait_line(rig.daemon, "exited with status 9");
	assert_int_equal(rig_counter(&rig, "submitted"), 2);
	assert_int_equal(rig_counter(&rig, "granted"), 2);
	assert_int_equal(rig_counter(&rig, "spawned"), 2);
	assert_int_equal(rig_counter(&rig, "failed_workers"), 1);
	finish(&rig);
}

static void a_killed_worker_gives_its_request_back(void **state)
{
	char behaviour[256];
	struct client *client;
	struct rig rig;
	json_t *answer;
	pid_t pid;

	(void)state;
	fault_rig_init(&rig);
	snprintf(behaviour, sizeof(behaviour), "answer=never\nonce=%s/marker", rig.dir);
	fake_model(&rig, "m", behaviour);
	rig_start(&rig);
	client = client_open(rig.address);
	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("m", false));
	proc_wait_line(rig.daemon, "holding a request");
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	kill(pid, SIGKILL);
	assert_int_equal(client_status(client), 200);
	answer = client_json(client);
	assert_int_not_equal(json_integer_value(json_object_get(answer, "pid")), pid);
	json_decref(answer);
	client_close(client);
	proc_wait_line(rig.daemon, "was killed by SIGKILL");
	assert_int_equal(rig_counter(&rig, "spawned"), 2);
	finish(&rig);
}

static void a_request_that_kills_its_workers_is_502(void **state)
{
	char id[64], path[128];
	json_t *answer = NULL;
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "answer=exit\ncode=9");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "m", &answer), 502);
	assert_string_equal(error_code(answer), "WORKER_FAILED");
	snprintf(id, sizeof(id), "%s",
		 json_string_value(json_object_get(
			 json_object_get(json_object_get(answer, "error"), "details"),
			 "worker_id")));
	assert_contains(error_message(answer), id);
	assert_int_equal(rig_counter(&rig, "granted"), 2);
	assert_int_equal(rig_counter(&rig, "spawned"), 2);
	rig_wait_workers(&rig, 0);
	/* How the last one ended is found by its name. */
	snprintf(path, sizeof(path), "/v2/workers/%s", id);
	answer = rig_get(&rig, path);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(answer, "last_exit"), "code")),
		9);
	json_decref(answer);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

static void a_worker_that_nobody_reaches_is_replaced(void **state)
{
	struct rig rig;
	pid_t before, after;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "answer=deaf");
	rig_start(&rig);
	assert_answers(&rig, "m", "normal");
	assert_int_equal(rig_workers(&rig, &before, NULL), 1);
	assert_answers(&rig, "m", "normal");
	assert_int_equal(rig_counter(&rig, "failed_workers"), 1);
	rig_wait_workers(&rig, 1);
	assert_int_equal(rig_workers(&rig, &after, NULL), 1);
	assert_int_not_equal(after, before);
	finish(&rig);
}

/* ---- workers that do not get ready ---- */

static void a_worker_that_never_loads_is_stopped(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_backend(&rig, "fake", "{socket}",
		    "readiness = \"http:/health\"\ndevice = \"cpu\"\nstart_timeout_secs = 1\n"
		    "stop_grace_secs = 1");
	fake_model(&rig, "m", "start=never_ready");
	fake_model(&rig, "stubborn", "start=never_ready\nignore_term=1");
	rig_start(&rig);
	assert_refused(&rig, "m", 503, "SPAWN_FAILED", "not ready");
	assert_refused(&rig, "stubborn", 503, "SPAWN_FAILED", "not ready");
	rig_wait_workers(&rig, 0);
	proc_wait_line(rig.daemon, "the stop's grace is over");
	assert_int_equal(rig_reserved(&rig), 0);
	assert_int_equal(rig_counter(&rig, "failed_workers"), 2);
	finish(&rig);
}

static void a_worker_that_cannot_start_says_why(void **state)
{
	char program[128];
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "exits", "start=exit\ncode=3\nsay=no kernel image for this GPU");
	strcat(rig.settings, "[backends.missing]\ncommand = [\"/nonexistent/engine\", \"{port}\"]\n"
			     "device = \"cpu\"\n");
	rig_model(&rig, "missing", "", "backend = \"missing\"");
	free(test_file_write(rig.dir, "plain.txt", "no program"));
	snprintf(program, sizeof(program),
		 "[backends.plain]\ncommand = [\"%s/plain.txt\", \"{port}\"]\n"
		 "device = \"cpu\"\n",
		 rig.dir);
	strcat(rig.settings, program);
	rig_model(&rig, "plain", "", "backend = \"plain\"");
	rig_start(&rig);
	assert_refused(&rig, "exits", 503, "SPAWN_FAILED", "no kernel image for this GPU");
	assert_refused(&rig, "missing", 503, "SPAWN_FAILED", "/nonexistent/engine");
	assert_refused(&rig, "plain", 503, "SPAWN_FAILED", "plain.txt");
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

static bool has_ended(int pidfd)
{
	struct pollfd over = { .fd = pidfd, .events = POLLIN };

	return poll(&over, 1, 0) == 1;
}

/* Its memory is not back before it is gone itself, whatever became of its stub. */
static void a_worker_without_its_stub_is_ended_first(void **state)
{
	struct rig rig;
	char id[64];
	pid_t pid;
	int pidfd;

	(void)state;
	fault_rig_init(&rig);
	fake_model(&rig, "m", "cling=1");
	rig_start(&rig);
	assert_answers(&rig, "m", "normal");
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	pidfd = pidfd_open(pid, 0);
	assert_true(pidfd >= 0);
	assert_int_equal(kill(getsid(pid), SIGKILL), 0);
	rig_wait_workers(&rig, 0);
	assert_true(has_ended(pidfd));
	assert_int_equal(rig_reserved(&rig), 0);
	close(pidfd);
	finish(&rig);
}

/* ---- what workers say ---- */

/* The id of the worker that has last departed or been spawned, from the daemon's log. */
static void spawned_worker(struct rig *rig, char id[64])
{
	const char *line = proc_wait_line(rig->daemon, "worker spawned");

	assert_int_equal(sscanf(strstr(line, "worker=") + 7, "%63s", id), 1);
}

static void assert_reads_as_json(struct rig *rig, const char *id)
{
	char path[128];
	json_t *answer;

	snprintf(path, sizeof(path), "/v2/workers/%s", id);
	answer = rig_get(rig, path);
	assert_true(
		json_is_string(json_object_get(json_object_get(answer, "last_exit"), "reason")));
	json_decref(answer);
	snprintf(path, sizeof(path), "/v2/workers/%s/logs", id);
	answer = rig_get(rig, path);
	assert_true(json_array_size(json_object_get(answer, "lines")) > 0);
	json_decref(answer);
}

static void last_words_need_not_be_utf8(void **state)
{
	static const char bytes[] = "start=exit\ncode=3\nsay=caf\xe9 \xff\xfe\xc3";
	char text[1200] = "start=exit\ncode=3\nsay=", id[64];
	struct rig rig;

	(void)state;
	/* Whatever the length at which a message is cut, one of these is cut inside a character. */
	for (size_t i = strlen(text), end = i + 800; i < end; i += 2)
		strcpy(text + i, "\xc3\xa4");
	fault_rig_init(&rig);
	fake_model(&rig, "bytes", bytes);
	fake_model(&rig, "even", text);
	memmove(strstr(text, "say=") + 5, strstr(text, "say=") + 4, 801);
	strstr(text, "say=")[4] = 'a';
	fake_model(&rig, "odd", text);
	fake_model(&rig, "noise", "start=exit\nnoise=10000000");
	rig_start(&rig);
	assert_refused(&rig, "bytes", 503, "SPAWN_FAILED", "caf");
	spawned_worker(&rig, id);
	assert_reads_as_json(&rig, id);
	assert_refused(&rig, "even", 503, "SPAWN_FAILED", "\xc3\xa4\xc3\xa4");
	spawned_worker(&rig, id);
	assert_reads_as_json(&rig, id);
	assert_refused(&rig, "odd", 503, "SPAWN_FAILED", "a\xc3\xa4\xc3\xa4");
	spawned_worker(&rig, id);
	assert_reads_as_json(&rig, id);
	assert_refused(&rig, "noise", 503, "SPAWN_FAILED", "????");
	spawned_worker(&rig, id);
	assert_reads_as_json(&rig, id);
	finish(&rig);
}

/* ---- reports of readiness ---- */

static int report_ready(struct rig *rig, const char *id, const char *token)
{
	struct client *client = client_open(rig->address);
	char body[256];
	int status;

	snprintf(body, sizeof(body),
		 "{\"worker_id\":\"%s\",\"spawn_token\":\"%s\",\"vram_bytes\":33554432}", id,
		 token);
	client_request(client, "POST", "/v2/internal/workers/ready", NULL, body);
	status = client_status(client);
	client_close(client);
	return status;
}

/* Its report is on the way when a signal stops it; nobody asks this one how it is. */
static void a_stopped_worker_does_not_count_as_well(void **state)
{
	char id[64], token[64];
	struct rig rig;
	pid_t pid;

	(void)state;
	rig_init(&rig);
	strcpy(rig.settings, "[health]\nstopped_secs = 1\n");
	rig_backend(&rig, "told", "{socket}",
		    "readiness = \"callback\"\ndevice = \"cpu\"\n"
		    "env = { FAKE_TOKEN = \"{spawn_token}\", FAKE_URL = \"{ready_url}\" }");
	rig_model(&rig, "m", "show=FAKE_TOKEN", "backend = \"told\"");
	rig_start(&rig);
	assert_int_equal(
		client_call(rig.address, "POST", "/v2/workers/start", "{\"model\":\"m\"}", NULL),
		202);
	assert_int_equal(sscanf(strstr(proc_wait_line(rig.daemon, "FAKE_TOKEN="), "FAKE_TOKEN="),
				"FAKE_TOKEN=%63s", token),
			 1);
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	proc_wait_line(rig.daemon, "SIGSTOP stopped it");
	report_ready(&rig, id, token); /* 404 on a machine that took a second for it */
	proc_wait_line(rig.daemon, "hangs: a signal stopped it");
	rig_wait_workers(&rig, 0);
	finish(&rig);
}

static void readiness_is_believed_once(void **state)
{
	char id[64], token[64], body[128];
	json_int_t reserved;
	json_t *answer = NULL;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_backend(&rig, "told", "{socket}",
		    "readiness = \"callback\"\ndevice = \"cpu\"\n"
		    "env = { FAKE_TOKEN = \"{spawn_token}\", FAKE_URL = \"{ready_url}\" }");
	rig_model(&rig, "m", "show=FAKE_TOKEN", "backend = \"told\"");
	rig_start(&rig);
	assert_int_equal(
		client_call(rig.address, "POST", "/v2/workers/start", "{\"model\":\"m\"}", &answer),
		202);
	snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(answer, "worker_id")));
	json_decref(answer);
	/* Before it has a token, an empty one must not do. */
	assert_int_equal(report_ready(&rig, id, ""), 401);
	assert_int_equal(sscanf(strstr(proc_wait_line(rig.daemon, "FAKE_TOKEN="), "FAKE_TOKEN="),
				"FAKE_TOKEN=%63s", token),
			 1);
	proc_wait_line(rig.daemon, "listening"); /* it would be a lie before */
	assert_int_equal(report_ready(&rig, id, "0123456789abcdef0123456789abcdef"), 401);
	assert_int_equal(report_ready(&rig, "w-none-1", token), 404);
	rig_wait_model(&rig, "m", "spawning", 1);
	assert_int_equal(report_ready(&rig, id, token), 204);
	assert_int_equal(report_ready(&rig, id, token), 204);
	proc_wait_line(rig.daemon, "worker ready");
	assert_int_equal(report_ready(&rig, id, token), 204);
	assert_answers(&rig, "m", "normal");

	/* It said that it takes 32 MiB, of 16 that were reserved. */
	reserved = rig_reserved(&rig);
	assert_true(reserved >= 33554432);
	assert_int_equal(report_ready(&rig, id, token), 204);
	assert_int_equal(rig_reserved(&rig), reserved);

	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\"}", id);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/stop", body, NULL), 202);
	rig_wait_workers(&rig, 0);
	assert_int_equal(report_ready(&rig, id, token), 404);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

/* ---- GPUs ---- */

static void a_model_on_a_gpu_is_told_which(void **state)
{
	json_t *answer, *gpu, *devices, *device;
	char *script, path[512];
	struct rig rig;

	(void)state;
	fault_rig_init(&rig);
	rig_backend(&rig, "gpu", "{port}",
		    "readiness = \"http:/health\"\n"
		    "env = { CUDA_VISIBLE_DEVICES = \"{gpu_id}\" }");
	rig_model(&rig, "m", "show=CUDA_VISIBLE_DEVICES",
		  "backend = \"gpu\"\ndevice = \"gpu1\"\nest_memory_allocation_mb = 1024");
	rig_model(&rig, "absent", "", "backend = \"gpu\"\ndevice = \"gpu7\"");
	script = test_file_write(rig.dir, "nvml.txt",
				 "driver 550.54.14\n"
				 "gpu Card A|GPU-1111|8589934592|1073741824|45|12\n"
				 "gpu Card B|GPU-2222|8589934592|0|45|12\n");
	snprintf(path, sizeof(path), "%s", getenv("NVML_STANDIN_DIR"));
	setenv("POOLCORE_NVML_SCRIPT", script, 1);
	setenv("LD_LIBRARY_PATH", path, 1);
	rig_start(&rig);
	unsetenv("POOLCORE_NVML_SCRIPT");
	unsetenv("LD_LIBRARY_PATH");

	answer = rig_get(&rig, "/v2/gpus");
	gpu = json_array_get(json_object_get(answer, "gpus"), 1);
	assert_string_equal(json_string_value(json_object_get(gpu, "name")), "Card B");
	json_decref(answer);
	assert_refused(&rig, "absent", 503, "NO_WORKERS", "gpu7");
	assert_answers(&rig, "m", "normal");
	proc_wait_line(rig.daemon, "CUDA_VISIBLE_DEVICES=1");

	answer = rig_get(&rig, "/v2/state");
	devices = json_object_get(answer, "devices");
	assert_int_equal(json_array_size(devices), 3);
	device = json_array_get(devices, 2);
	assert_string_equal(json_string_value(json_object_get(device, "device")), "gpu1");
	assert_int_equal(json_integer_value(json_object_get(device, "reserved_bytes")), 1024 << 20);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(devices, i),
								    "reserved_bytes")),
				 0);
	json_decref(answer);
	finish(&rig);
	free(script);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(a_broken_event_stream_ends_with_an_error),
		SCENARIO(what_takes_no_event_is_broken_off),
		SCENARIO(what_is_no_answer_is_502),
		SCENARIO(a_worker_that_hangs_up_is_asked_once_more),
		SCENARIO(odd_answers_are_passed_on),
		SCENARIO(a_second_answer_is_nobodys),
		SCENARIO(an_answer_may_come_before_the_request_is_read),
		SCENARIO(a_request_survives_its_worker),
		SCENARIO(a_killed_worker_gives_its_request_back),
		SCENARIO(a_request_that_kills_its_workers_is_502),
		SCENARIO(a_worker_that_nobody_reaches_is_replaced),
		SCENARIO(a_worker_that_never_loads_is_stopped),
		SCENARIO(a_worker_that_cannot_start_says_why),
		SCENARIO(a_worker_without_its_stub_is_ended_first),
		SCENARIO(last_words_need_not_be_utf8),
		SCENARIO(readiness_is_believed_once),
		SCENARIO(a_stopped_worker_does_not_count_as_well),
		SCENARIO(a_model_on_a_gpu_is_told_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
