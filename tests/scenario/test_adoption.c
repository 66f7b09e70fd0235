/* SPDX-License-Identifier: MIT */
/*
 * test_adoption.c - the real daemon is killed, and the next one goes on with its workers: the same
 * processes serve, loading ones are waited for, and those that no longer fit are ended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/lifecycle.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

/* ---- what the scenarios have in common ---- */

static void assert_chat_serves(struct rig *rig)
{
	json_t *answer = NULL;

	assert_int_equal(client_call(rig->address, "POST", "/v1/chat/completions",
				     chat_body("m", false), &answer),
			 200);
	json_decref(answer);
}

static void kill_daemon(struct rig *rig)
{
	proc_signal(rig->daemon, SIGKILL);
	proc_wait(rig->daemon);
	proc_free(rig->daemon);
	rig->daemon = NULL;
}

/* A rig whose model "m" is loaded, and whose daemon was killed; the worker's pid and id. */
static void begin_with_orphan(struct rig *rig, const char *behaviour, pid_t *ret_pid, char id[64])
{
	rig_init(rig);
	rig_model(rig, "m", behaviour, "");
	rig_start(rig);
	assert_chat_serves(rig);
	assert_int_equal(rig_workers(rig, ret_pid, id), 1);
	kill_daemon(rig);
	assert_int_equal(kill(*ret_pid, 0), 0); /* it outlived its daemon */
}

/* A worker is its stub's child, so that nobody here can wait for it but by pidfd. */
static void wait_for_end(pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);
	struct pollfd over = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0) {
		assert_true(errno == ESRCH || errno == EINVAL); /* gone, or half so */
		return;
	}
	assert_int_equal(poll(&over, 1, (int)test_remaining_ms(test_deadline_ms())), 1);
	close(pidfd);
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* ---- scenarios ---- */

static void a_loaded_worker_serves_the_next_daemon(void **state)
{
	char old_id[64], id[64];
	json_int_t reserved;
	struct rig rig;
	pid_t old_pid, pid;

	(void)state;
	begin_with_orphan(&rig, "tokens=4", &old_pid, old_id);
	rig_start(&rig);
	assert_true(proc_has_line(rig.daemon, "adopted"));
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	assert_int_equal(pid, old_pid);
	assert_string_equal(id, old_id);
	reserved = rig_reserved(&rig);
	assert_true(reserved >= 16 << 20);
	assert_chat_serves(&rig);
	assert_int_equal(rig_counter(&rig, "spawned"), 0);
	assert_int_equal(rig_reserved(&rig), reserved);
	/* And the one after that. */
	kill_daemon(&rig);
	rig_start(&rig);
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	assert_int_equal(pid, old_pid);
	assert_chat_serves(&rig);
	finish(&rig);
	wait_for_end(old_pid);
}

/* The folder of the only worker's socket. */
static void socket_folder(struct rig *rig, char folder[256])
{
	json_t *answer = rig_get(rig, "/v2/workers");
	json_t *worker = json_array_get(json_object_get(answer, "workers"), 0);

	snprintf(folder, 256, "%s", json_string_value(json_object_get(worker, "socket")));
	*strrchr(folder, '/') = '\0';
	json_decref(answer);
}

/* A socket's path is short, so that those of a state directory with a long one are elsewhere. */
static void sockets_have_one_place_whatever_happens(void **state)
{
	char first[256], second[256], name[201], long_dir[400];
	struct rig rig;

	(void)state;
	rig_init(&rig);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(long_dir, sizeof(long_dir), "%s/%s", rig.dir, name);
	setenv("RBEES_POOL_POOL_STATE_DIR", long_dir, 1);
	rig_model(&rig, "m", "tokens=4", "");
	rig_start(&rig);
	assert_chat_serves(&rig);
	socket_folder(&rig, first);
	assert_int_not_equal(strncmp(first, rig.dir, strlen(rig.dir)), 0);
	for (int i = 0; i < 2; i++) {
		char body[96], id[64];
		json_t *answer = NULL;

		kill_daemon(&rig);
		rig_start(&rig);
		assert_int_equal(rig_workers(&rig, NULL, id), 1);
		snprintf(body, sizeof(body), "{\"worker_id\":\"%s\"}", id);
		assert_int_equal(
			client_call(rig.address, "POST", "/v2/workers/stop", body, &answer), 202);
		json_decref(answer);
		rig_wait_workers(&rig, 0);
		assert_chat_serves(&rig); /* by a worker that this daemon has started */
		socket_folder(&rig, second);
		assert_string_equal(second, first);
	}
	assert_int_equal(rig_stop(&rig), 0);
	assert_int_equal(access(first, F_OK), -1);
	/* What the link names may be anybody's by now. */
	assert_int_equal(mkdir(first, 0700), 0);
	assert_int_equal(chmod(first, 0755), 0);
	rig_start(&rig);
	assert_chat_serves(&rig);
	socket_folder(&rig, second);
	assert_string_not_equal(second, first);
	unsetenv("RBEES_POOL_POOL_STATE_DIR");
	assert_int_equal(rmdir(first), 0);
	finish(&rig);
}

static void an_adopted_worker_is_stopped_like_any_other(void **state)
{
	char body[96], path[128], id[64];
	json_t *answer = NULL;
	struct rig rig;
	pid_t pid;

	(void)state;
	begin_with_orphan(&rig, "tokens=4", &pid, id);
	rig_start(&rig);
	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\"}", id);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/stop", body, &answer), 202);
	json_decref(answer);
	rig_wait_workers(&rig, 0);
	wait_for_end(pid);
	assert_int_equal(rig_reserved(&rig), 0);
	/* What it said under the other daemon, and how it ended under this one. */
	snprintf(path, sizeof(path), "/v2/workers/%s/logs", id);
	answer = rig_get(&rig, path);
	assert_true(json_array_size(json_object_get(answer, "lines")) > 0);
	json_decref(answer);
	snprintf(path, sizeof(path), "/v2/workers/%s", id);
	answer = rig_get(&rig, path);
	assert_true(json_is_object(json_object_get(answer, "last_exit")));
	json_decref(answer);
	assert_chat_serves(&rig);
	finish(&rig);
}

/* The models of the gate scenario end their load when somebody writes into the gate. */
static void a_loading_worker_is_waited_for(void **state)
{
	struct client *client;
	char behaviour[256], id[64];
	struct rig rig;
	pid_t old_pid, pid;
	char *gate;
	int gate_fd;

	(void)state;
	rig_init(&rig);
	gate = rig_gate(&rig, "gate");
	snprintf(behaviour, sizeof(behaviour), "tokens=4\nload_gate=%s", gate);
	rig_model(&rig, "m", behaviour, "");
	rig_start(&rig);
	client = client_open(rig.address);
	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("m", false));
	gate_fd = rig_gate_open(gate); /* so that it has started to load */
	proc_wait_line(rig.daemon, "worker spawned");
	assert_int_equal(rig_workers(&rig, &old_pid, id), 1);
	kill_daemon(&rig);
	client_close(client);

	rig_start(&rig);
	assert_true(proc_has_line(rig.daemon, "adopted"));
	client = client_open(rig.address);
	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("m", false));
	rig_wait_model(&rig, "m", "waiting", 1);
	assert_int_equal(write(gate_fd, "x", 1), 1);
	close(gate_fd);
	assert_int_equal(client_status(client), 200);
	client_close(client);
	assert_int_equal(rig_workers(&rig, &pid, id), 1);
	assert_int_equal(pid, old_pid);
	assert_int_equal(rig_counter(&rig, "spawned"), 0);
	free(gate);
	finish(&rig);
}

static void a_worker_that_ended_meanwhile_is_told(void **state)
{
	json_t *deaths, *death;
	char id[64];
	struct rig rig;
	pid_t pid, stub;

	(void)state;
	begin_with_orphan(&rig, "tokens=4", &pid, id);
	stub = getsid(pid);
	kill(pid, SIGKILL);
	wait_for_end(stub);
	rig_start(&rig);
	assert_true(proc_has_line(rig.daemon, "it ended while no daemon was there"));
	assert_true(proc_has_line(rig.daemon, "killed by SIGKILL"));
	deaths = rig_get(&rig, "/v2/departed");
	death = json_array_get(json_object_get(deaths, "departed"), 0);
	assert_string_equal(json_string_value(json_object_get(death, "worker_id")), id);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(death, "exit"), "signal")),
		SIGKILL);
	json_decref(deaths);
	/* Clients escape what they like: an id may have a '/', and then most do. */
	deaths = rig_get(&rig, "/v2/departed?x=y&model=%6d");
	assert_int_equal(json_array_size(json_object_get(deaths, "departed")), 1);
	json_decref(deaths);
	deaths = rig_get(&rig, "/v2/departed?model=m%20");
	assert_int_equal(json_array_size(json_object_get(deaths, "departed")), 0);
	json_decref(deaths);
	assert_int_equal(client_call(rig.address, "GET", "/v2/departed?model=%6", NULL, &deaths),
			 400);
	assert_string_equal(error_code(deaths), "INVALID_REQUEST");
	json_decref(deaths);
	assert_int_equal(rig_workers(&rig, NULL, NULL), 0);
	assert_int_equal(rig_reserved(&rig), 0);
	assert_chat_serves(&rig);
	finish(&rig);
}

static void assert_ended(struct rig *rig, pid_t pid, const char *reason)
{
	rig_start(rig);
	assert_true(proc_has_line(rig->daemon, reason));
	wait_for_end(pid);
	rig_wait_workers(rig, 0);
	assert_int_equal(rig_reserved(rig), 0);
}

static void who_wants_no_orphans_gets_none(void **state)
{
	char id[64];
	struct rig rig;
	pid_t pid;

	(void)state;
	begin_with_orphan(&rig, "tokens=4", &pid, id);
	snprintf(rig.settings, sizeof(rig.settings), "orphan_policy = \"kill\"");
	assert_ended(&rig, pid, "pool.orphan_policy is");
	assert_chat_serves(&rig);
	finish(&rig);
}

static void a_worker_of_a_model_that_changed_is_ended(void **state)
{
	static const struct {
		const char *id, *more, *reason;
	} rows[] = {
		{ "other", "", "its model is not in the catalog any more" },
		{ "m", "slots = 3", "its model has another number of slots now" },
		{ "m", "backend = \"port\"", "its model has another backend now" },
	};
	char id[64];
	struct rig rig;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_with_orphan(&rig, "tokens=4", &pid, id);
		rig.catalog[0] = '\0';
		rig_model(&rig, rows[i].id, "tokens=4", rows[i].more);
		assert_ended(&rig, pid, rows[i].reason);
		finish(&rig);
	}
}

/* A backend "fake" and its model, both with further lines; after rig_init or a daemon's end. */
static void configure(struct rig *rig, const char *address, const char *backend, const char *model)
{
	char more[256];

	rig->settings[0] = rig->catalog[0] = '\0';
	rig_backend(rig, "fake", address, backend);
	snprintf(more, sizeof(more), "backend = \"fake\"\n%s", model);
	rig_model(rig, "m", "answer=normal", more);
}

static void begin_with_fake_orphan(struct rig *rig, pid_t *ret_pid)
{
	char id[64];

	rig_init(rig);
	configure(rig, "{socket}", "env = { FLAVOUR = \"a\" }", "context_tokens = 512");
	rig_start(rig);
	assert_chat_serves(rig);
	assert_int_equal(rig_workers(rig, ret_pid, id), 1);
	kill_daemon(rig);
}

/* What a reload would have replaced it for. */
static void a_worker_that_would_be_launched_otherwise_is_replaced(void **state)
{
	static const struct {
		const char *address, *backend, *model;
	} rows[] = {
		{ "{port}", "env = { FLAVOUR = \"a\" }", "context_tokens = 512" },
		{ "{socket}", "env = { FLAVOUR = \"b\" }", "context_tokens = 512" },
		{ "{socket}", "env = { FLAVOUR = \"a\" }", "context_tokens = 1024" },
		{ "{socket}", "env = { FLAVOUR = \"a\" }\ndevice = \"cpu\"",
		  "context_tokens = 512" },
	};
	struct rig rig;
	pid_t old_pid, pid;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_with_fake_orphan(&rig, &old_pid);
		configure(&rig, rows[i].address, rows[i].backend, rows[i].model);
		assert_ended(&rig, old_pid, "its model or its backend is configured otherwise now");
		assert_chat_serves(&rig);
		assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
		assert_int_not_equal(pid, old_pid);
		finish(&rig);
	}
}

/* What a reload would not have replaced it for is in force, and the worker goes on. */
static void a_worker_under_other_limits_goes_on(void **state)
{
	struct rig rig;
	pid_t old_pid, pid;

	(void)state;
	begin_with_fake_orphan(&rig, &old_pid);
	configure(&rig, "{socket}", "stop_grace_secs = 7\nenv = { FLAVOUR = \"a\" }",
		  "context_tokens = 512\nname = \"M\"\nttl = 0");
	rig_start(&rig);
	assert_true(proc_has_line(rig.daemon, "adopted"));
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	assert_int_equal(pid, old_pid);
	assert_chat_serves(&rig);
	assert_int_equal(rig_counter(&rig, "spawned"), 0);
	rig_wait_workers(&rig, 0); /* its ttl is 0 by now */
	wait_for_end(old_pid);
	finish(&rig);
}

/* The record of an older version does not say what it was launched with. */
static void a_worker_of_an_older_version_is_adopted(void **state)
{
	char path[512];
	struct rig rig;
	pid_t old_pid, pid;
	sqlite3 *db;

	(void)state;
	begin_with_fake_orphan(&rig, &old_pid);
	snprintf(path, sizeof(path), "%s/state/registry.db", rig.dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE worker SET definition = ''", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	sqlite3_close(db);
	configure(&rig, "{socket}", "env = { FLAVOUR = \"b\" }", "context_tokens = 512");
	rig_start(&rig);
	assert_int_equal(rig_workers(&rig, &pid, NULL), 1);
	assert_int_equal(pid, old_pid);
	assert_chat_serves(&rig);
	finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loaded_worker_serves_the_next_daemon),
		cmocka_unit_test(sockets_have_one_place_whatever_happens),
		cmocka_unit_test(an_adopted_worker_is_stopped_like_any_other),
		cmocka_unit_test(a_loading_worker_is_waited_for),
		cmocka_unit_test(a_worker_that_ended_meanwhile_is_told),
		cmocka_unit_test(who_wants_no_orphans_gets_none),
		cmocka_unit_test(a_worker_of_a_model_that_changed_is_ended),
		cmocka_unit_test(a_worker_that_would_be_launched_otherwise_is_replaced),
		cmocka_unit_test(a_worker_under_other_limits_goes_on),
		cmocka_unit_test(a_worker_of_an_older_version_is_adopted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
