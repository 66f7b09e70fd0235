/* SPDX-License-Identifier: MIT */
/*
 * test_model_files.c - the real daemon, and model files that are not what the catalog says, or
 * change between their verification and the moment when they are loaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

/* What `printf 'tokens=4\n' | sha256sum` says. */
#define GOOD "tokens=4\n"
#define GOOD_SHA256 "fd8b5d4797d4259fa8696fd43e43aec30c77cb7d734466f50dddb3aff4dd0294"

static int chat(struct rig *rig, json_t **ret_answer)
{
	return client_call(rig->address, "POST", "/v1/chat/completions", chat_body("m", false),
			   ret_answer);
}

static void assert_refused(struct rig *rig, const char *code, const char *part)
{
	json_t *answer = NULL;
	const char *message;

	assert_true(chat(rig, &answer) >= 400);
	assert_string_equal(error_code(answer), code);
	message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
	if (!strstr(message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, message);
	json_decref(answer);
}

static void assert_serves(struct rig *rig)
{
	json_t *answer = NULL;

	assert_int_equal(chat(rig, &answer), 200);
	json_decref(answer);
}

static void finish(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* ---- what does not match ---- */

static void a_file_of_another_size_is_refused(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", GOOD, "size = 10");
	rig_start(&rig);
	assert_refused(&rig, "MODEL_FILE_INVALID", "9");
	assert_int_equal(rig_reserved(&rig), 0);
	finish(&rig);
}

static void a_file_of_another_sum_is_refused(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", "tokens=5\n", "sha256 = \"" GOOD_SHA256 "\"");
	rig_start(&rig);
	assert_refused(&rig, "MODEL_FILE_INVALID", "SHA-256");
	finish(&rig);
}

/* The record of the first verification stands for the second one, until the file changes. */
static void a_file_of_the_right_sum_serves(void **state)
{
	struct rig rig;
	char path[512];

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "m", GOOD, "sha256 = \"" GOOD_SHA256 "\"\nttl = 0");
	rig_start(&rig);
	assert_serves(&rig);
	rig_wait_workers(&rig, 0);
	assert_serves(&rig);
	snprintf(path, sizeof(path), "%s/state/verified", rig.dir);
	assert_int_equal(access(path, F_OK), 0);
	rig_wait_workers(&rig, 0);
	free(test_file_write(rig.dir, "m.stub", "tokens=9\n"));
	assert_refused(&rig, "MODEL_FILE_INVALID", "SHA-256");
	finish(&rig);
}

/* ---- what changes while it is loaded ---- */

enum change { TRUNCATED, FLIPPED, REPLACED, DELETED };

/* The model loads until its gate opens; between that and its verification the file changes. */
static void change_while_loading(enum change change, const char *part)
{
	struct client *client;
	char behaviour[256], path[512], *text;
	struct rig rig;
	char *gate;
	int gate_fd;

	rig_init(&rig);
	gate = rig_gate(&rig, "gate");
	snprintf(behaviour, sizeof(behaviour), "tokens=4\nload_gate=%s\n", gate);
	rig_model(&rig, "m", behaviour, "");
	rig_start(&rig);
	snprintf(path, sizeof(path), "%s/m.stub", rig.dir);
	client = client_open(rig.address);
	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("m", false));
	gate_fd = rig_gate_open(gate); /* the engine has read the file */

	switch (change) {
	case TRUNCATED:
		assert_int_equal(truncate(path, 4), 0);
		break;
	case FLIPPED:
		behaviour[0] = 'T';
		free(test_file_write(rig.dir, "m.stub", behaviour));
		break;
	case REPLACED:
		free(test_file_write(rig.dir, "new.stub", GOOD));
		snprintf(behaviour, sizeof(behaviour), "%s/new.stub", rig.dir);
		assert_int_equal(rename(behaviour, path), 0);
		break;
	case DELETED:
		assert_int_equal(unlink(path), 0);
		break;
	}
	assert_int_equal(write(gate_fd, "x", 1), 1);
	close(gate_fd);
	assert_int_equal(client_status(client), 503);
	text = client_body(client, NULL);
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in \"%s\"", part, text);
	free(text);
	client_close(client);
	rig_wait_workers(&rig, 0);
	assert_int_equal(rig_reserved(&rig), 0);
	free(gate);
	finish(&rig);
}

static void what_changes_while_it_is_loaded_is_not_served(void **state)
{
	(void)state;
	change_while_loading(TRUNCATED, "truncated");
	change_while_loading(FLIPPED, "written");
	change_while_loading(REPLACED, "replaced");
	change_while_loading(DELETED, "deleted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_of_another_size_is_refused),
		cmocka_unit_test(a_file_of_another_sum_is_refused),
		cmocka_unit_test(a_file_of_the_right_sum_serves),
		cmocka_unit_test(what_changes_while_it_is_loaded_is_not_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
