/* SPDX-License-Identifier: MIT */
/*
 * test_failpoints.c - the daemon dies between two steps of a worker's life, at every place that
 * daemon/failpoint.h names, and at those of its own recovery. The next one finds every process and
 * every byte, whatever was written down of it and whatever was not.
 *
 * A place that the daemon does not pass when it is driven past it fails the test: then the list and
 * the code have parted.
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

#include "daemon/failpoint.h"
#include "faults/campaign.h"
#include "faults/census.h"

#define MODELS 4

#define FAILPOINT_NAME(name) #name,
static const char *const names[] = { FAILPOINTS(FAILPOINT_NAME) };
#undef FAILPOINT_NAME

#define NAMES (sizeof(names) / sizeof(names[0]))

static const char *const models[MODELS] = { "m0", "m1", "m2", "m3" };

struct stage {
	struct rig rig;
	struct campaign campaign;
	bool touched[MODELS];
	struct client *open[2 * MODELS];
	size_t open_count;
};

static struct stage stage; /* the running test's; its teardown finds it after a failure too */

/* ---- driving a daemon past the place ---- */

static void send_and_leave(const char *path, const char *body)
{
	struct client *client = client_try(stage.rig.address);

	if (!client)
		return; /* it is dead already */
	client_request(client, "POST", path, NULL, body);
	stage.open[stage.open_count++] = client;
}

static void close_clients(void)
{
	while (stage.open_count > 0)
		client_close(stage.open[--stage.open_count]);
}

static void load_all(void)
{
	for (size_t i = 0; i < MODELS; i++)
		fault_wait_served(&stage.rig, models[i]);
}

/* Every model is asked for: spawn and ready. */
static void drive_starts(const struct census *before)
{
	(void)before;
	for (size_t i = 0; i < MODELS; i++)
		send_and_leave("/v1/chat/completions", chat_body(models[i], false));
}

/* Every worker is stopped: stop and exit. */
static void drive_stops(const struct census *before)
{
	char body[128];

	for (size_t i = 0; i < before->count; i++) {
		snprintf(body, sizeof(body), "{\"worker_id\":\"%s\"}", before->workers[i].id);
		send_and_leave("/v2/workers/stop", body);
	}
}

/* Every worker is killed: exit. */
static void drive_deaths(const struct census *before)
{
	for (size_t i = 0; i < before->count; i++)
		kill(before->workers[i].pid, SIGKILL);
}

/* Starts the daemon that dies at the nth passing of the place. */
static void choose_place(const char *name, unsigned nth)
{
	char choice[80];

	snprintf(choice, sizeof(choice), "%s:%u", name, nth);
	setenv("POOL_FAILPOINT", choice, 1);
	setenv("POOL_MANAGERD", getenv("POOL_MANAGERD_FAULTY"), 1);
}

static void choose_none(void)
{
	unsetenv("POOL_FAILPOINT");
	setenv("POOL_MANAGERD", getenv("POOL_MANAGERD_SOUND"), 1);
}

static void await_death_at(const char *name, unsigned nth)
{
	char line[80];
	int status = proc_wait(stage.rig.daemon);

	snprintf(line, sizeof(line), "failpoint %s", name);
	/* Another thread may have said something after it. */
	if (status != 128 + SIGKILL || (strcmp(proc_last_line(stage.rig.daemon), line) != 0 &&
					!proc_has_line(stage.rig.daemon, line)))
		fail_msg("the daemon did not pass %s %u times: %d, \"%s\"", name, nth, status,
			 proc_last_line(stage.rig.daemon));
	proc_free(stage.rig.daemon);
	stage.rig.daemon = NULL;
	close_clients();
}

/* ---- afterwards ---- */

/* A sound daemon takes over: those of `before` that nobody touched are as they were. */
static void assert_recovers(const struct census *before, bool untouched)
{
	struct census after;

	choose_none();
	rig_start(&stage.rig);
	census_of_daemon(&stage.rig, &after);
	for (size_t i = 0; i < before->count && untouched; i++) {
		const struct census_worker *was = &before->workers[i];
		const struct census_worker *is = census_find(&after, was->pid);

		if (!is)
			fail_msg("worker %s of '%s' was not adopted", was->id, was->model);
		assert_string_equal(is->id, was->id);
	}
	census_assert_settled(&stage.rig);
	load_all();
	census_assert_settled(&stage.rig);
}

/* ---- the places ---- */

static void begin(void)
{
	fault_rig_init(&stage.rig, "", "[memory]\ncpu = \"1GiB\"");
	for (size_t i = 0; i < MODELS; i++)
		rig_model(&stage.rig, models[i], "answer=normal",
			  i % 2 ? "backend = \"fake_port\"\nttl = \"2h\"\nmax_workers = 1"
				: "backend = \"fake\"\nttl = \"2h\"\nmax_workers = 1");
	rig_start(&stage.rig);
}

static void stop_all(void)
{
	struct census all;

	census_of_daemon(&stage.rig, &all);
	for (size_t i = 0; i < all.count; i++)
		fault_stop_worker(&stage.rig, all.workers[i].id);
	rig_wait_workers(&stage.rig, 0);
}

static bool begins_with(const char *name, const char *word)
{
	return strncmp(name, word, strlen(word)) == 0;
}

/* One death at the place, and the recovery from it; a sound daemon serves before and after. */
static void die_at(const char *name, unsigned nth)
{
	struct census before = { .count = 0 };

	if (begins_with(name, "recover_")) {
		/* A place of the start: its daemon finds what the one before it left. Most of these
		 * places are passed once, whatever it finds. */
		load_all();
		census_of_daemon(&stage.rig, &before);
		census_kill_daemon(&stage.rig);
		choose_place(name, 1);
		stage.rig.daemon = rig_start_only(&stage.rig);
		await_death_at(name, 1);
		assert_recovers(&before, true);
		return;
	}
	stop_all();
	assert_int_equal(rig_stop(&stage.rig), 0);
	choose_place(name, nth);
	rig_start(&stage.rig);
	if (begins_with(name, "spawn_") || begins_with(name, "ready_")) {
		drive_starts(&before);
	} else {
		load_all();
		census_of_daemon(&stage.rig, &before);
		if (begins_with(name, "stop_") || campaign_below(&stage.campaign, 2))
			drive_stops(&before);
		else
			drive_deaths(&before);
	}
	await_death_at(name, nth);
	assert_recovers(&before, false);
}

static void every_place_is_survived(void **state)
{
	(void)state;
	stage = (struct stage){ .campaign = campaign_begin("failpoints", NAMES, 1000) };
	begin();
	for (unsigned round = 0; round < stage.campaign.rounds || round < NAMES; round++) {
		const char *name = names[round % NAMES];

		/* The first of several, or the last, or one in the middle. */
		die_at(name, 1 + (unsigned)campaign_below(&stage.campaign, MODELS));
	}
	stop_all();
	assert_int_equal(rig_stop(&stage.rig), 0);
	assert_int_equal(fault_processes(&stage.rig), 0);
}

static int clean_up(void **state)
{
	choose_none();
	client_close_all();
	/* Daemons first: they would take the end of their workers for deaths. */
	int status = proc_free_all(state);

	stage.rig.daemon = NULL;
	rig_fini(&stage.rig);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_place_is_survived, clean_up),
	};

	setenv("POOL_MANAGERD_SOUND", getenv("POOL_MANAGERD"), 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
