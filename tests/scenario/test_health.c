/* SPDX-License-Identifier: MIT */
/*
 * test_health.c - the real daemon and loaded workers that grow, work hard, or hang
 * (tests/standins/fake_worker.c). Who works is left alone, who hangs is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/daemon_fixture.h"

#define MIB (1 << 20)

static void health_rig_init(struct rig *rig)
{
	rig_init(rig);
	snprintf(rig->settings, sizeof(rig->settings), "[health]\ninterval_secs = 1\nmisses = 2\n");
	rig_backend(rig, "fake", "{socket}", "readiness = \"http:/health\"\ndevice = \"cpu\"\n");
}

static void fake_model(struct rig *rig, const char *id, const char *behaviour)
{
	rig_model(rig, id, behaviour, "backend = \"fake\"\nttl = -1");
}

/* The file is read again for each request, also of health. */
static void behave(struct rig *rig, const char *id, const char *behaviour)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.stub", id);
	free(test_file_write(rig->dir, name, behaviour));
}

static json_int_t chat_pid(struct rig *rig, const char *model)
{
	json_t *answer = NULL;
	json_int_t pid;

	assert_int_equal(client_call(rig->address, "POST", "/v1/chat/completions",
				     chat_body(model, false), &answer),
			 200);
	pid = json_integer_value(json_object_get(answer, "pid"));
	json_decref(answer);
	assert_true(pid > 0);
	return pid;
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

static void a_reservation_grows_with_its_worker(void **state)
{
	struct rig rig;
	json_int_t pid;

	(void)state;
	health_rig_init(&rig);
	fake_model(&rig, "m", "answer=normal");
	rig_start(&rig);
	pid = chat_pid(&rig, "m");
	assert_int_equal(rig_reserved(&rig), 16 * MIB);
	behave(&rig, "m", "answer=grow\nbytes=50331648");
	assert_int_equal(chat_pid(&rig, "m"), pid);
	proc_wait_line(rig.daemon, "it has grown past its reservation");
	assert_true(rig_reserved(&rig) >= 48 * MIB);
	/* It is not ended for it; and what its helpers hold is its own. */
	behave(&rig, "m", "answer=grow_beside\nbytes=50331648");
	assert_int_equal(chat_pid(&rig, "m"), pid);
	proc_wait_line(rig.daemon, "it has grown past its reservation");
	assert_true(rig_reserved(&rig) >= 96 * MIB);
	finish(&rig);
}

/* Two others that hang one after the other show that time has passed. */
static void who_works_is_not_asked_for_an_answer(void **state)
{
	struct client *client;
	char behaviour[256];
	struct rig rig;
	json_t *answer, *departed;
	json_int_t pid;

	(void)state;
	health_rig_init(&rig);
	fake_model(&rig, "busy", "answer=normal");
	fake_model(&rig, "first", "answer=normal");
	fake_model(&rig, "second", "answer=normal");
	rig_start(&rig);
	pid = chat_pid(&rig, "busy");
	chat_pid(&rig, "first");
	chat_pid(&rig, "second");
	snprintf(behaviour, sizeof(behaviour), "answer=burn\nhealth=never\ngate=%s/done", rig.dir);
	behave(&rig, "busy", behaviour);
	client = client_open(rig.address);
	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("busy", false));
	rig_wait_model(&rig, "busy", "leases", 1);

	behave(&rig, "first", "health=never");
	proc_wait_line(rig.daemon, "of 'first' hangs: 2 health probes in a row failed");
	behave(&rig, "second", "health=never");
	proc_wait_line(rig.daemon, "of 'second' hangs: 2 health probes in a row failed");
	rig_wait_workers(&rig, 1);

	answer = rig_get(&rig, "/v2/departed?model=second");
	departed = json_array_get(json_object_get(answer, "departed"), 0);
	assert_non_null(strstr(
		json_string_value(json_object_get(json_object_get(departed, "exit"), "reason")),
		"hangs: 2 health probes"));
	json_decref(answer);

	free(test_file_write(rig.dir, "done", "\n"));
	assert_int_equal(client_status(client), 200);
	answer = client_json(client);
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), pid);
	json_decref(answer);
	client_close(client);
	assert_false(proc_has_line(rig.daemon, "of 'busy' hangs"));
	finish(&rig);
}

/* Its probes wait to be accepted, until the next can not even connect, which is said at once. */
static void who_works_may_be_out_of_reach(void **state)
{
	static const char *const others[] = { "first", "second", "third" };
	struct client *client;
	char behaviour[256], line[96];
	struct rig rig;
	json_t *answer;
	json_int_t pid;

	(void)state;
	health_rig_init(&rig);
	fake_model(&rig, "busy", "answer=normal\nsingle=1");
	for (size_t i = 0; i < 3; i++)
		fake_model(&rig, others[i], "answer=normal");
	rig_start(&rig);
	pid = chat_pid(&rig, "busy");
	for (size_t i = 0; i < 3; i++)
		chat_pid(&rig, others[i]);
	snprintf(behaviour, sizeof(behaviour), "answer=burn\ngate=%s/done", rig.dir);
	behave(&rig, "busy", behaviour);
	client = client_open(rig.address);
	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("busy", false));
	rig_wait_model(&rig, "busy", "leases", 1);
	for (size_t i = 0; i < 3; i++) {
		behave(&rig, others[i], "health=never");
		snprintf(line, sizeof(line), "of '%s' hangs: 2 health probes in a row failed",
			 others[i]);
		proc_wait_line(rig.daemon, line);
	}
	free(test_file_write(rig.dir, "done", "\n"));
	assert_int_equal(client_status(client), 200);
	answer = client_json(client);
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), pid);
	json_decref(answer);
	client_close(client);
	assert_false(proc_has_line(rig.daemon, "of 'busy' hangs"));
	finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reservation_grows_with_its_worker),
		cmocka_unit_test(who_works_is_not_asked_for_an_answer),
		cmocka_unit_test(who_works_may_be_out_of_reach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
