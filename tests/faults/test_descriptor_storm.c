/* SPDX-License-Identifier: MIT */
/*
 * test_descriptor_storm.c - many connections and cold starts while the daemon may open a few
 * descriptors more, or none. Whoever is connected is served, each answer is a success or names the
 * cause, who was not taken in is served when there is room, and nothing stays open afterwards.
 *
 * scenario/test_descriptors.c has the single cases; here they come together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

#define CALLERS 48
/* Further descriptors at most: for some connections, some workers, some upstream connections. */
#define MORE_MAX 24

static const char *const models[] = { "a", "b", "c", "d" };

#define MODELS (sizeof(models) / sizeof(models[0]))

struct stage {
	struct rig rig;
	struct campaign campaign;
	struct rlimit usual;
	struct client *first; /* connected before anything was short */
	unsigned served, refused;
};

static void set_limit(struct stage *stage, rlim_t soft)
{
	struct rlimit limit = { soft, stage->usual.rlim_max };

	assert_int_equal(prlimit(proc_pid(stage->rig.daemon), RLIMIT_NOFILE, &limit, NULL), 0);
}

static void judge(struct stage *stage, struct client *client)
{
	int status = client_status(client);
	json_t *answer = client_json(client);
	const char *message;

	if (status == 200) {
		stage->served++;
		json_decref(answer);
		return;
	}
	stage->refused++;
	message = fault_message(answer);
	if (!strstr(message, strerror(EMFILE)))
		fail_msg("%d: \"%s\" does not name the descriptors", status, message);
	if (status != 503 && status != 502)
		fail_msg("%d: %s", status, message);
}

static void is_alive(struct stage *stage)
{
	client_request(stage->first, "GET", "/health", NULL, NULL);
	assert_int_equal(client_status(stage->first), 200);
	json_decref(client_json(stage->first));
}

static void ask_something(struct stage *stage, struct client *client)
{
	size_t which = campaign_below(&stage->campaign, MODELS + 1);

	if (which == MODELS)
		client_request(client, "GET", "/v2/models", "Connection: close\r\n", NULL);
	else
		client_request(client, "POST", "/v1/chat/completions", "Connection: close\r\n",
			       chat_body(models[which], false));
}

static void wait_until_all_are_served(struct stage *stage)
{
	int64_t deadline = test_deadline_ms();

	for (size_t i = 0; i < MODELS; i++) {
		while (fault_chat(&stage->rig, models[i], NULL) != 200) {
			if (test_remaining_ms(deadline) == 0)
				fail_msg("'%s' is served no more", models[i]);
		}
	}
}

static void stop_workers(struct stage *stage)
{
	json_t *list = rig_get(&stage->rig, "/v2/workers"), *worker;
	size_t i;

	json_array_foreach(json_object_get(list, "workers"), i, worker)
	{
		fault_stop_worker(&stage->rig,
				  json_string_value(json_object_get(worker, "worker_id")));
	}
	json_decref(list);
	rig_wait_workers(&stage->rig, 0);
}

static void play_round(struct stage *stage)
{
	struct client *callers[CALLERS];

	/* Some are loaded, the others are cold starts. */
	fault_chat_ok(&stage->rig, models[campaign_below(&stage->campaign, MODELS)]);
	is_alive(stage);
	set_limit(stage,
		  fault_descriptors(&stage->rig) + campaign_below(&stage->campaign, MORE_MAX + 1));
	for (size_t i = 0; i < CALLERS; i++) {
		callers[i] = client_open(stage->rig.address);
		ask_something(stage, callers[i]);
		if (i % 8 == 0)
			is_alive(stage);
	}
	is_alive(stage);
	/* Half of them leave again before anybody has looked at them, perhaps. */
	for (size_t i = 0; i < CALLERS; i += 2) {
		if (campaign_below(&stage->campaign, 2)) {
			client_close(callers[i]);
			callers[i] = NULL;
		}
	}
	is_alive(stage);
	set_limit(stage, stage->usual.rlim_cur);
	for (size_t i = 0; i < CALLERS; i++) {
		if (callers[i])
			judge(stage, callers[i]);
		client_close(callers[i]);
	}
	wait_until_all_are_served(stage);
	stop_workers(stage);
	fault_assert_books(&stage->rig);
	assert_int_equal(rig_reserved(&stage->rig), 0);
}

static void a_lack_of_descriptors_passes(void **state)
{
	struct stage stage = { .campaign = campaign_begin("descriptors", 4, 300) };
	struct rig *rig = &stage.rig;
	size_t descriptors;

	(void)state;
	fault_rig_init(rig, "", "");
	for (size_t i = 0; i < MODELS; i++)
		rig_model(rig, models[i], "answer=normal", "backend = \"fake\"");
	rig_start(rig);
	assert_int_equal(prlimit(proc_pid(rig->daemon), RLIMIT_NOFILE, NULL, &stage.usual), 0);
	stage.first = client_open(rig->address);
	is_alive(&stage);
	/* What is opened once and kept is open after the first worker. */
	wait_until_all_are_served(&stage);
	stop_workers(&stage);
	descriptors = fault_descriptors(rig);
	for (unsigned round = 0; round < stage.campaign.rounds; round++)
		play_round(&stage);
	print_message("descriptors: %u served, %u refused\n", stage.served, stage.refused);
	assert_true(stage.served > 0);
	assert_true(stage.refused > 0);
	fault_wait_descriptors(rig, descriptors);
	assert_int_equal(rig_stop(rig), 0);
	assert_int_equal(fault_processes(rig), 0);
	rig_fini(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_lack_of_descriptors_passes, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
