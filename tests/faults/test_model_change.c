/* SPDX-License-Identifier: MIT */
/*
 * test_model_change.c - a model's file is replaced, truncated, written to, lengthened or deleted at
 * a random moment between its verification and the end of its loading. Whoever is served is served
 * from the file that was verified; everybody else is told what became of it; and when the file is
 * right again, so is the model.
 *
 * The file has a mark, of which the worker tells with each answer what it was when it loaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

#define GOOD "load_ms=15\nmark=good\n"
#define EVIL "load_ms=15\nmark=evil\n"
/* Verification, spawn and loading take some 25 ms. */
#define MOMENT_MAX_NS 40000000

/* ---- what is done to the file ---- */

static void leave_alone(const char *path)
{
	(void)path;
}

static void replace(const char *path)
{
	char other[400];
	FILE *file;

	snprintf(other, sizeof(other), "%s.other", path);
	file = fopen(other, "we");
	assert_non_null(file);
	assert_true(fputs(EVIL, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(other, path), 0);
}

static void truncate_it(const char *path)
{
	assert_int_equal(truncate(path, 3), 0);
}

static void write_at(const char *path, const char *text, off_t at)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	close(fd);
}

static void overwrite(const char *path)
{
	write_at(path, EVIL, 0);
}

static void lengthen(const char *path)
{
	write_at(path, "mark=evil\n", (off_t)strlen(GOOD));
}

static void delete (const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static const struct change {
	const char *name;
	void (*make)(const char *path);
} changes[] = {
	{ "nothing", leave_alone },   { "replaced", replace },	  { "truncated", truncate_it },
	{ "overwritten", overwrite }, { "lengthened", lengthen }, { "deleted", delete },
};

#define CHANGES (sizeof(changes) / sizeof(changes[0]))
/* Each change with the path handed over, and with the open file. */
#define MODELS (2 * CHANGES)

struct stage {
	struct rig rig;
	struct campaign campaign;
	char names[MODELS][8];
	unsigned served, refused;
};

static const char *path_of(const struct stage *stage, size_t model)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s.stub", stage->rig.dir, stage->names[model]);
	return path;
}

/* ---- answers ---- */

/* Served from the file that was verified, or refused. */
static bool judge(struct stage *stage, size_t model, int status, json_t *answer)
{
	const struct change *change = &changes[model % CHANGES];
	const char *loaded = json_string_value(json_object_get(answer, "loaded"));

	if (status == 200) {
		if (!loaded || strcmp(loaded, "good") != 0)
			fail_msg("%s (%s): served from what was not verified: '%s'",
				 stage->names[model], change->name, loaded ? loaded : "");
		stage->served++;
		json_decref(answer);
		return true;
	}
	stage->refused++;
	if (status != 503 || change->make == leave_alone)
		fail_msg("%s (%s): %d %s", stage->names[model], change->name, status,
			 fault_message(answer));
	json_decref(answer);
	return false;
}

static void wait_until_served(struct stage *stage, size_t model)
{
	int64_t deadline = test_deadline_ms();
	json_t *answer = NULL;
	int status;

	while ((status = fault_chat(&stage->rig, stage->names[model], &answer)) != 200) {
		const char *message = fault_message(answer);

		if (test_remaining_ms(deadline) == 0)
			fail_msg("%s is served no more: %s", stage->names[model], message);
	}
	judge(stage, model, status, answer);
}

/* ---- rounds ---- */

static void play_round(struct stage *stage)
{
	struct client *clients[MODELS];
	char id[64];

	for (size_t i = 0; i < MODELS; i++) {
		const struct timespec moment = {
			.tv_nsec = (long)(campaign_next(&stage->campaign) % MOMENT_MAX_NS),
		};

		clients[i] = client_open(stage->rig.address);
		client_request(clients[i], "POST", "/v1/chat/completions", NULL,
			       chat_body(stage->names[i], false));
		clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
		changes[i % CHANGES].make(path_of(stage, i));
	}
	for (size_t i = 0; i < MODELS; i++) {
		int status = client_status(clients[i]);

		judge(stage, i, status, client_json(clients[i]));
		client_close(clients[i]);
		fault_behaviour(&stage->rig, stage->names[i], GOOD);
	}
	for (size_t i = 0; i < MODELS; i++)
		wait_until_served(stage, i);
	while (rig_workers(&stage->rig, NULL, id) > 0) {
		size_t before = rig_workers(&stage->rig, NULL, id);

		fault_stop_worker(&stage->rig, id);
		rig_wait_workers(&stage->rig, before - 1);
	}
}

static void sum_of_good(char out[65])
{
	unsigned char sum[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)GOOD, strlen(GOOD), sum);
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static void what_is_served_was_verified(void **state)
{
	struct stage stage = { .campaign = campaign_begin("changed model files", 1, 100) };
	struct rig *rig = &stage.rig;
	char sum[65], more[200];

	(void)state;
	fault_rig_init(rig, "", "");
	strcat(rig->settings, "model_by = \"descriptor\"\n"); /* of the last backend */
	sum_of_good(sum);
	for (size_t i = 0; i < MODELS; i++) {
		snprintf(stage.names[i], sizeof(stage.names[i]), "m%zu", i);
		snprintf(more, sizeof(more), "backend = \"%s\"\nttl = \"2h\"\nsha256 = \"%s\"",
			 i < CHANGES ? "fake" : "fake_port", sum);
		rig_model(rig, stage.names[i], GOOD, more);
	}
	rig_start(rig);
	for (unsigned round = 0; round < stage.campaign.rounds; round++)
		play_round(&stage);
	print_message("model files: %u served, %u refused\n", stage.served, stage.refused);
	assert_true(stage.refused > 0);
	fault_assert_books(rig);
	assert_int_equal(rig_stop(rig), 0);
	assert_int_equal(fault_processes(rig), 0);
	rig_fini(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_served_was_verified, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
