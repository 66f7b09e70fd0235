/* SPDX-License-Identifier: MIT */
/*
 * test_reload.c - the real daemon gets another configuration while it serves: by SIGHUP and by POST
 * /v2/reload, with good files and with broken ones, while streams run and while many clients ask.
 * RELOADS says how often in the last scenario.
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
#include <unistd.h>

#include "scenario/daemon_fixture.h"
#include "scenario/swarm.h"

#define POSTS 8
#define RELOADS 200

/* ---- helpers ---- */

static void clear(struct rig *rig)
{
	rig->catalog[0] = '\0';
	rig->settings[0] = '\0';
}

/* Writes what the rig says now, and has it read. */
static int post(struct rig *rig, json_t **ret_answer)
{
	return client_call(rig->address, "POST", "/v2/reload", NULL, ret_answer);
}

/* The report, which must be exactly this. */
static void reload(struct rig *rig, const char *report)
{
	json_t *answer = NULL;
	char *text;

	rig_write(rig);
	assert_int_equal(post(rig, &answer), 200);
	text = json_dumps(answer, JSON_COMPACT);
	if (report)
		assert_string_equal(text, report);
	free(text);
	json_decref(answer);
}

/* The lists of a report. */
#define REPORT(changed, added, removed, needs_restart) \
	"{\"changed\":[" changed "],\"added\":[" added "],\"removed\":[" removed \
	"],\"needs_restart\":[" needs_restart "]}"
#define NO_CHANGE REPORT("", "", "", "")

static int chat(struct rig *rig, const char *model)
{
	json_t *answer = NULL;
	int status = client_call(rig->address, "POST", "/v1/chat/completions",
				 chat_body(model, false), &answer);

	if (status == 404)
		assert_string_equal(error_code(answer), "MODEL_NOT_FOUND");
	json_decref(answer);
	return status;
}

static struct client *ask(struct rig *rig, const char *model, bool stream)
{
	struct client *client = client_open(rig->address);

	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body(model, stream));
	return client;
}

/* A setting of /v2/config: its value, as JSON; free(3) it. */
static char *setting(struct rig *rig, const char *section, const char *key)
{
	json_t *config = rig_get(rig, "/v2/config"), *row;
	char *text = NULL;
	size_t i;

	json_array_foreach(json_object_get(config, "settings"), i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "section")), section) == 0 &&
		    strcmp(json_string_value(json_object_get(row, "key")), key) == 0)
			text = json_dumps(json_object_get(row, "value"),
					  JSON_ENCODE_ANY | JSON_COMPACT);
	}
	json_decref(config);
	assert_non_null(text);
	return text;
}

static void assert_setting(struct rig *rig, const char *section, const char *key, const char *value)
{
	char *text = setting(rig, section, key);

	assert_string_equal(text, value);
	free(text);
}

static json_int_t generations(struct rig *rig)
{
	json_t *config = rig_get(rig, "/v2/config");
	json_int_t count = json_integer_value(json_object_get(config, "generations"));

	json_decref(config);
	return count;
}

/* Requests and workers let go of theirs a moment after their ends are seen. */
static void wait_for_generations(struct rig *rig, json_int_t most)
{
	int64_t deadline = test_deadline_ms();

	while (generations(rig) > most) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%lld generations are left", (long long)generations(rig));
	}
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* ---- what a reload says ---- */

static void a_report_names_what_differs(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "a", "tokens=4", "");
	rig_model(&rig, "b", "tokens=4", "");
	rig_start(&rig);
	reload(&rig, NO_CHANGE);

	clear(&rig);
	snprintf(rig.settings, sizeof(rig.settings),
		 "request_timeout_secs = 33\n[staging]\nmax_bytes = \"1GiB\"\n"
		 "[memory]\ncpu = \"700MiB\"\n");
	rig_backend(&rig, "fake", "{socket}", "");
	rig_model(&rig, "a", "tokens=4", "ttl = \"5m\"");
	rig_model(&rig, "c", "tokens=4", "");
	reload(&rig,
	       REPORT("\"pool.request_timeout_secs\",\"memory.cpu\",\"model a\"",
		      "\"backend fake\",\"model c\"", "\"model b\"", "\"staging.max_bytes\""));
	proc_wait_line(rig.daemon, "\"needs_restart\":[\"staging.max_bytes\"]}");
	/* What needs a restart is not in force, and still needs it. */
	assert_setting(&rig, "pool", "request_timeout_secs", "33");
	assert_setting(&rig, "staging", "max_bytes", "68719476736");
	assert_setting(&rig, "memory", "cpu", "734003200");
	reload(&rig, REPORT("", "", "", "\"staging.max_bytes\""));

	assert_int_equal(chat(&rig, "c"), 200);
	assert_int_equal(chat(&rig, "b"), 404);
	assert_int_equal(chat(&rig, "a"), 200);
	finish(&rig);
}

static void a_hangup_reads_again(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "a", "tokens=4", "");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "a"), 200);
	rig_model(&rig, "b", "tokens=4", "");
	rig_write(&rig);
	proc_signal(rig.daemon, SIGHUP);
	proc_wait_line(rig.daemon, "\"added\":[\"model b\"]");
	assert_int_equal(chat(&rig, "b"), 200);
	/* However many come at once. */
	for (int i = 0; i < 50; i++)
		proc_signal(rig.daemon, SIGHUP);
	assert_int_equal(post(&rig, NULL), 200);
	assert_int_equal(chat(&rig, "a"), 200);
	finish(&rig);
}

/* The rig's files say "debug"; now the same file says "error". */
static void make_silent(const struct rig *rig)
{
	char text[8192], *level;
	FILE *file = fopen(rig->config, "r+");

	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	level = strstr(text, "\"debug\"");
	assert_non_null(level);
	memcpy(level, "\"error\"", 7);
	rewind(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void a_log_level_is_another_at_once(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_start(&rig);
	make_silent(&rig);
	assert_int_equal(post(&rig, NULL), 200);
	assert_setting(&rig, "log", "level", "\"error\"");
	proc_signal(rig.daemon, SIGTERM);
	assert_int_equal(proc_wait(rig.daemon), 0);
	assert_true(proc_has_line(rig.daemon, "serving"));
	assert_false(proc_has_line(rig.daemon, "stopped"));
	rig_fini(&rig);
}

/* ---- what is wrong changes nothing ---- */

static void assert_refused(struct rig *rig, const char *message, const char *key)
{
	json_t *answer = NULL, *error;

	assert_int_equal(post(rig, &answer), 422);
	assert_string_equal(error_code(answer), "INVALID_CONFIG");
	error = json_object_get(answer, "error");
	if (!strstr(json_string_value(json_object_get(error, "message")), message))
		fail_msg("'%s' is not in: %s", message,
			 json_string_value(json_object_get(error, "message")));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(error, "details"), "key")), key);
	json_decref(answer);
	proc_wait_line(rig->daemon, "the configuration was not read; the one in force stays");
}

static void a_broken_file_changes_nothing(void **state)
{
	struct rig rig;
	pid_t pid, later;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "a", "tokens=4", "");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "a"), 200);
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);

	/* In the settings, though the catalog has something new; by place and by what is right. */
	rig_model(&rig, "b", "tokens=4", "");
	snprintf(rig.settings, sizeof(rig.settings), "request_timeout_sec = 5");
	rig_write(&rig);
	assert_refused(&rig,
		       "pool.toml:4:1: pool.request_timeout_sec: unknown key; did you mean "
		       "\"request_timeout_secs\"?",
		       "pool.request_timeout_sec");
	/* In the catalog, though the settings have something new. */
	clear(&rig);
	snprintf(rig.settings, sizeof(rig.settings), "request_timeout_secs = 5");
	rig_model(&rig, "b", "tokens=4", "slots = 65");
	rig_write(&rig);
	assert_refused(&rig, "catalog.toml:7:9: model.slots: 65 is out of range", "model.slots");
	proc_signal(rig.daemon, SIGHUP);
	proc_wait_line(rig.daemon, "catalog.toml:7:9: model.slots");
	/* What only this machine makes wrong. */
	clear(&rig);
	snprintf(rig.settings, sizeof(rig.settings), "[memory]\ncpu = \"9000TiB\"\n");
	rig_write(&rig);
	assert_refused(&rig, "more than the device's", "memory.cpu");
	/* Not there at all. */
	unlink(rig.config);
	assert_int_equal(post(&rig, NULL), 500);

	assert_setting(&rig, "pool", "request_timeout_secs", "30");
	assert_int_equal(chat(&rig, "a"), 200);
	assert_int_equal(chat(&rig, "b"), 404);
	assert_int_equal(rig_workers(&rig, &later, NULL), 1);
	assert_int_equal(later, pid);
	assert_int_equal(generations(&rig), 1);
	finish(&rig);
}

/* ---- models and backends, while requests run ---- */

static char gate_path[256];

/* A rig with "m", whose tokens wait at a gate, and the worker's other lines. */
static void init_gated(struct rig *rig, const char *more)
{
	char behaviour[512], *path;

	rig_init(rig);
	path = rig_gate(rig, "gate");
	snprintf(gate_path, sizeof(gate_path), "%s", path);
	snprintf(behaviour, sizeof(behaviour), "tokens=4\ngate=%s\n", path);
	rig_model(rig, "m", behaviour, more);
	free(path);
}

static void let_pass(int fd, size_t tokens)
{
	for (size_t i = 0; i < tokens; i++)
		assert_int_equal(write(fd, "x", 1), 1);
}

static void a_removed_model_finishes_what_it_took(void **state)
{
	struct client *running, *waiting;
	struct rig rig;
	int gate;

	(void)state;
	init_gated(&rig, "");
	rig_start(&rig);
	running = ask(&rig, "m", true);
	gate = rig_gate_open(gate_path);
	rig_wait_model(&rig, "m", "leases", 1);
	waiting = ask(&rig, "m", true);
	rig_wait_model(&rig, "m", "waiting", 1);

	clear(&rig);
	rig_model(&rig, "other", "tokens=4", "");
	reload(&rig, REPORT("", "\"model other\"", "\"model m\"", ""));
	assert_int_equal(chat(&rig, "m"), 404);
	assert_int_equal(chat(&rig, "other"), 200);
	let_pass(gate, 4);
	assert_streamed(running);
	client_close(running);
	let_pass(gate, 4);
	assert_streamed(waiting);
	client_close(waiting);
	proc_wait_line(rig.daemon, "reason=\"its model was removed\"");
	rig_wait_workers(&rig, 1);
	wait_for_generations(&rig, 1);
	close(gate);
	finish(&rig);
}

static void a_change_of_the_launch_replaces_workers(void **state)
{
	struct client *running;
	struct rig rig;
	pid_t old, new;
	int gate;

	(void)state;
	init_gated(&rig, "slots = 2");
	rig_start(&rig);
	running = ask(&rig, "m", true);
	gate = rig_gate_open(gate_path);
	rig_wait_model(&rig, "m", "leases", 1);
	assert_int_equal(rig_workers(&rig, &old, NULL), 1);

	/* Not the launch: the worker stays. */
	clear(&rig);
	rig_model(&rig, "m", NULL, "slots = 2\nttl = \"1h\"\naliases = [\"em\"]");
	reload(&rig, REPORT("\"model m\"", "", "", ""));
	assert_int_equal(rig_workers(&rig, &new, NULL), 1);
	assert_int_equal(new, old);

	/* The launch: the next request has a new worker, while the old one streams on. */
	clear(&rig);
	rig_model(&rig, "m", NULL, "slots = 3\naliases = [\"em\"]");
	free(test_file_write(rig.dir, "m.stub", "tokens=4\n"));
	reload(&rig, REPORT("\"model m\"", "", "", ""));
	assert_int_equal(chat(&rig, "em"), 200);
	assert_int_equal(rig_workers(&rig, NULL, NULL), 2);
	let_pass(gate, 4);
	assert_streamed(running);
	client_close(running);
	proc_wait_line(rig.daemon, "reason=\"replaced: its model's settings changed\"");
	rig_wait_workers(&rig, 1);
	assert_int_equal(rig_workers(&rig, &new, NULL), 1);
	assert_int_not_equal(new, old);
	wait_for_generations(&rig, 1);
	close(gate);
	finish(&rig);
}

static void a_backend_is_changed(void **state)
{
	static const char *const lines[] = {
		"readiness = \"http:/health\"\ndevice = \"cpu\"\nstop_grace_secs = 20\n",
		"readiness = \"http:/health\"\ndevice = \"cpu\"\nstop_grace_secs = 30\n",
		"readiness = \"http:/health\"\ndevice = \"cpu\"\nenv = { A = \"1\" }\n",
	};
	struct rig rig;
	pid_t pids[3];

	(void)state;
	rig_init(&rig);
	for (size_t i = 0; i < 3; i++) {
		clear(&rig);
		rig_backend(&rig, "fake", "{socket}", lines[i]);
		rig_model(&rig, "m", "answer=normal", "backend = \"fake\"");
		if (i == 0)
			rig_start(&rig);
		else
			reload(&rig, REPORT("\"backend fake\"", "", "", ""));
		assert_int_equal(chat(&rig, "m"), 200);
		rig_wait_workers(&rig, 1);
		assert_int_equal(rig_workers(&rig, &pids[i], NULL), 1);
	}
	assert_int_equal(pids[1], pids[0]);
	assert_int_not_equal(pids[2], pids[1]);
	/* A backend that a model still names is not taken away. */
	rig.settings[0] = '\0';
	rig_write(&rig);
	assert_refused(&rig, "there is no backend \"fake\"", "model.backend");
	/* With its model it is. */
	clear(&rig);
	reload(&rig, REPORT("", "", "\"backend fake\",\"model m\"", ""));
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

/* One that the daemon before this one has launched. */
static void an_adopted_worker_is_replaced_too(void **state)
{
	struct rig rig;
	pid_t old, new;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=4", "");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "m"), 200);
	assert_int_equal(rig_workers(&rig, &old, NULL), 1);
	proc_signal(rig.daemon, SIGKILL);
	assert_int_equal(proc_wait(rig.daemon), 128 + SIGKILL);
	proc_free(rig.daemon);
	rig_start(&rig);
	rig_wait_workers(&rig, 1);
	assert_int_equal(rig_workers(&rig, &new, NULL), 1);
	assert_int_equal(new, old);

	clear(&rig);
	rig_model(&rig, "m", NULL, "ttl = \"1h\"");
	reload(&rig, REPORT("\"model m\"", "", "", ""));
	assert_int_equal(chat(&rig, "m"), 200);
	assert_int_equal(rig_workers(&rig, &new, NULL), 1);
	assert_int_equal(new, old);
	clear(&rig);
	rig_model(&rig, "m", NULL, "slots = 2");
	reload(&rig, NULL);
	assert_int_equal(chat(&rig, "m"), 200);
	proc_wait_line(rig.daemon, "reason=\"replaced: its model's settings changed\"");
	rig_wait_workers(&rig, 1);
	assert_int_equal(rig_workers(&rig, &new, NULL), 1);
	assert_int_not_equal(new, old);
	wait_for_generations(&rig, 1);
	finish(&rig);
}

/* ---- many at once ---- */

static void each_request_gets_a_report(void **state)
{
	struct client *clients[POSTS];
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "a", "tokens=4", "");
	rig_start(&rig);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < POSTS; i++) {
			clients[i] = client_open(rig.address);
			client_request(clients[i], "POST", "/v2/reload", NULL, NULL);
		}
		/* Half of them do not wait for it. */
		for (int i = 0; i < POSTS; i += 2)
			client_close(clients[i]);
		for (int i = 1; i < POSTS; i += 2) {
			char *text;
			json_t *answer;

			assert_int_equal(client_status(clients[i]), 200);
			answer = client_json(clients[i]);
			text = json_dumps(answer, JSON_COMPACT);
			assert_string_equal(text, NO_CHANGE);
			free(text);
			json_decref(answer);
			client_close(clients[i]);
		}
	}
	wait_for_generations(&rig, 1);
	finish(&rig);
}

static void a_stop_in_the_middle_is_clean(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		struct client *client;
		struct rig rig;

		rig_init(&rig);
		rig_model(&rig, "a", "tokens=4", "");
		rig_start(&rig);
		client = client_open(rig.address);
		client_request(client, "POST", "/v2/reload", NULL, NULL);
		proc_signal(rig.daemon, SIGHUP);
		assert_int_equal(rig_stop(&rig), 0);
		client_close(client);
		rig_fini(&rig);
	}
}

/* The catalog of the nth reload: "comes" is there every other time, "turns" is launched differently
 * each third, limits change always. */
static void write_variant(struct rig *rig, unsigned n)
{
	char more[160];

	rig->catalog[0] = '\0';
	snprintf(more, sizeof(more), "slots = 2\nmax_workers = 2\nttl = %u", 60 + n);
	rig_model(rig, "stays", "tokens=6\n", more);
	snprintf(more, sizeof(more), "slots = %u", 1 + n / 3 % 2);
	rig_model(rig, "turns", "tokens=30\ntoken_ms=2\n", more);
	if (n % 2 == 0)
		rig_model(rig, "comes", "tokens=6\n", "");
}

static unsigned long reload_count(void)
{
	const char *text = getenv("RELOADS");

	return text ? strtoul(text, NULL, 10) : RELOADS;
}

static void assert_counters_add_up(struct rig *rig)
{
	json_int_t submitted = rig_counter(rig, "submitted");

	assert_true(submitted > 0);
	assert_int_equal(submitted, rig_counter(rig, "granted") + rig_counter(rig, "rejected") +
					    rig_counter(rig, "cancelled"));
}

static void nothing_is_lost_under_load(void **state)
{
	static const char *const models[] = { "stays", "stays", "turns", "turns", "comes" };
	const struct swarm_stats *stats;
	struct swarm *swarm;
	uint64_t seed = 7;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	snprintf(rig.settings, sizeof(rig.settings),
		 "queue_capacity = 200\nrequest_timeout_secs = 60\n");
	write_variant(&rig, 0);
	setenv("RBEES_POOL_HTTP_MAX_BODY_BYTES", "64KiB", 1); /* as the swarm expects it */
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_MAX_BODY_BYTES");
	swarm = swarm_create(rig.address, 16, models, sizeof(models) / sizeof(*models), &seed);
	for (unsigned n = 1; n <= reload_count(); n++) {
		write_variant(&rig, n);
		reload(&rig, NULL);
		for (int i = 0; i < 24; i++)
			swarm_step(swarm);
		/* Whose model is there before and after is never refused. */
		if (n % 10 == 0)
			assert_int_equal(chat(&rig, n % 20 ? "stays" : "turns"), 200);
	}
	swarm_finish(swarm);
	stats = swarm_stats(swarm);
	print_message("answers %lu (200: %lu, refused: %lu), events %lu, left %lu\n",
		      stats->answers, stats->ok, stats->refused, stats->events, stats->left);
	assert_true(stats->ok > 0);
	assert_int_equal(stats->broken, 0); /* no stream was cut off for a reload */
	swarm_destroy(swarm);
	rig_wait_model(&rig, "stays", "waiting", 0);
	rig_wait_model(&rig, "turns", "waiting", 0);
	assert_counters_add_up(&rig);
	assert_int_equal(rig_counter(&rig, "failed_workers"), 0);
	assert_int_equal(rig_counter(&rig, "timeouts"), 0);
	assert_int_equal(rig_counter(&rig, "queue_full"), 0);
	assert_true(proc_has_line(rig.daemon, "model=turns reason=\"replaced"));
	assert_false(proc_has_line(rig.daemon, "model=stays reason=\"replaced"));
	/* With the last catalog gone, so is everything that it or one before it had. */
	clear(&rig);
	reload(&rig, NULL);
	rig_wait_workers(&rig, 0);
	wait_for_generations(&rig, 1);
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

/* Whoever changes a token wants the old one to be refused, and must not believe that it is. */
static void another_token_needs_a_restart(void **state)
{
	struct rig rig;
	char *path;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "a", "tokens=4", "");
	path = test_file_write(rig.dir, "token", "0123456789abcdef\n");
	setenv("RBEES_POOL_HTTP_TOKEN_FILE", path, 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_TOKEN_FILE");
	proc_signal(rig.daemon, SIGHUP);
	proc_wait_line(rig.daemon, "\"needs_restart\":[]}");
	free(test_file_write(rig.dir, "token", "fedcba9876543210\n"));
	proc_signal(rig.daemon, SIGHUP);
	proc_wait_line(rig.daemon, "\"needs_restart\":[\"http.token_file\"]}");
	assert_int_equal(unlink(path), 0);
	proc_signal(rig.daemon, SIGHUP);
	proc_wait_line(rig.daemon, "\"needs_restart\":[\"http.token_file\"]}");
	free(path);
	finish(&rig);
}

static void another_token_in_another_file_is_named_once(void **state)
{
	struct rig rig;
	char *path;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "a", "tokens=4", "");
	path = test_file_write(rig.dir, "token", "0123456789abcdef\n");
	snprintf(rig.http, sizeof(rig.http), "token_file = \"%s\"\n", path);
	rig_start(&rig);
	assert_int_equal(unlink(path), 0);
	free(path);
	path = test_file_write(rig.dir, "token-2", "fedcba9876543210\n");
	snprintf(rig.http, sizeof(rig.http), "token_file = \"%s\"\n", path);
	free(path);
	rig_write(&rig);
	proc_signal(rig.daemon, SIGHUP);
	proc_wait_line(rig.daemon, "\"needs_restart\":[\"http.token_file\"]}");
	finish(&rig);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(a_report_names_what_differs),
		SCENARIO(another_token_needs_a_restart),
		SCENARIO(another_token_in_another_file_is_named_once),
		SCENARIO(a_hangup_reads_again),
		SCENARIO(a_log_level_is_another_at_once),
		SCENARIO(a_broken_file_changes_nothing),
		SCENARIO(a_removed_model_finishes_what_it_took),
		SCENARIO(a_change_of_the_launch_replaces_workers),
		SCENARIO(a_backend_is_changed),
		SCENARIO(an_adopted_worker_is_replaced_too),
		SCENARIO(each_request_gets_a_report),
		SCENARIO(a_stop_in_the_middle_is_clean),
		SCENARIO(nothing_is_lost_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
