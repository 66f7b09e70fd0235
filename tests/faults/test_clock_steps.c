/* SPDX-License-Identifier: MIT */
/*
 * test_clock_steps.c - the wall clock of the daemon is set an hour or ten years forward or back
 * while requests run and wait and idle workers' times go on. Nothing expires, nothing is
 * overtaken, nothing is loaded again: durations are the monotonic clock's.
 *
 * The daemon's clock is set by tests/standins/clock_stepper.c, whose file the test has mapped; that
 * the daemon sees it is checked in its own log's times and records.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

#define NS_PER_SEC INT64_C(1000000000)
#define HOUR_NS (3600 * NS_PER_SEC)
#define YEARS10_NS (3652 * 24 * HOUR_NS)
#define WAITING_MAX 6

struct stage {
	struct rig rig;
	struct campaign campaign;
	_Atomic int64_t *ahead_ns;
	char *gate;
	int gate_fd;
	struct client *clients[WAITING_MAX]; /* in the order in which they asked */
	size_t client_count;
	char idle_worker[64];
};

static void map_clock(struct stage *stage, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(int64_t)), 0);
	stage->ahead_ns = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(stage->ahead_ns != MAP_FAILED);
	close(fd);
}

/* An idle worker whose time is an hour, one request that runs until the gate is opened for it. */
static void set_stage(struct stage *stage)
{
	struct rig *rig = &stage->rig;
	char path[300], behaviour[400];

	fault_rig_init(rig, "maintenance_interval_secs = 1\nrequest_timeout_secs = 1800", "");
	stage->gate = rig_gate(rig, "gate");
	snprintf(behaviour, sizeof(behaviour), "tokens=1\ngate=%s\n", stage->gate);
	rig_model(rig, "gated", behaviour, "ttl = \"2h\"");
	rig_model(rig, "idle", "tokens=1", "ttl = \"30m\"");
	rig_model(rig, "witness", "tokens=1", "");
	rig_model(rig, "broken", "fail=MODEL_ERROR:tensor 7 is out of shape", "");
	snprintf(path, sizeof(path), "%s/clock", rig->dir);
	map_clock(stage, path);
	setenv("CLOCK_STEP_FILE", path, 1);
	setenv("LD_PRELOAD", getenv("CLOCK_STEPPER"), 1);
	rig_start(rig);
	unsetenv("LD_PRELOAD");
	fault_chat_ok(rig, "idle");
	rig_workers(rig, NULL, stage->idle_worker);
	/* The worker opens the gate once it is loaded. */
	stage->gate_fd = open(stage->gate, O_RDWR | O_CLOEXEC);
	assert_true(stage->gate_fd >= 0);
}

static void set_clock(struct stage *stage)
{
	static const int64_t steps[] = { HOUR_NS, -HOUR_NS, YEARS10_NS, -YEARS10_NS };
	int64_t step = steps[campaign_below(&stage->campaign, 4)];

	/* Never more than twenty years from now: before 1970 there is no time. */
	if (*stage->ahead_ns + step > 2 * YEARS10_NS || *stage->ahead_ns + step < -2 * YEARS10_NS)
		step = -step;
	*stage->ahead_ns += step;
}

/* The daemon's own word for when it spawned a worker: otherwise nothing is set at all. */
static void assert_clock_is_set(struct stage *stage)
{
	json_t *worker;
	char id[64];

	*stage->ahead_ns = YEARS10_NS;
	fault_start_worker(&stage->rig, "witness", id);
	worker = fault_worker(&stage->rig, id);
	assert_true(json_integer_value(json_object_get(worker, "spawned_wall_ms")) / 1000 >
		    time(NULL) + 9 * 365 * 86400);
	json_decref(worker);
	fault_stop_worker(&stage->rig, id);
	*stage->ahead_ns = 0;
}

/* One more request for the model that serves one at a time. */
static void ask(struct stage *stage)
{
	struct client *client = client_open(stage->rig.address);

	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body("gated", false));
	stage->clients[stage->client_count++] = client;
	rig_wait_model(&stage->rig, "gated", "waiting", (json_int_t)stage->client_count - 1);
	rig_wait_model(&stage->rig, "gated", "leases", 1);
}

/* The one that asked first is answered, and no other: the next one's answer waits for the gate. */
static void let_first_go(struct stage *stage)
{
	struct client *client = stage->clients[0];

	assert_int_equal(write(stage->gate_fd, "g", 1), 1);
	assert_int_equal(client_status(client), 200);
	json_decref(client_json(client));
	client_close(client);
	stage->client_count--;
	memmove(&stage->clients[0], &stage->clients[1],
		stage->client_count * sizeof(stage->clients[0]));
	rig_wait_model(&stage->rig, "gated", "leases", stage->client_count > 0);
}

static void assert_idle_one_stays(struct stage *stage)
{
	json_t *worker = fault_worker(&stage->rig, stage->idle_worker);

	assert_string_equal(json_string_value(json_object_get(worker, "status")), "idle");
	assert_true(json_integer_value(json_object_get(worker, "idle_ms")) < 1800 * 1000);
	json_decref(worker);
}

static void play_round(struct stage *stage)
{
	set_clock(stage);
	switch (campaign_below(&stage->campaign, 4)) {
	case 0:
		fault_chat_ok(&stage->rig, "idle");
		break;
	case 1:
		if (stage->client_count > 0)
			let_first_go(stage);
		break;
	default:
		if (stage->client_count < WAITING_MAX)
			ask(stage);
		break;
	}
	assert_idle_one_stays(stage);
}

/* A model that has failed is tried again after its back-off of a second, not ten years later. */
static void assert_backoff_passes(struct stage *stage)
{
	int64_t deadline = test_deadline_ms();

	*stage->ahead_ns = YEARS10_NS;
	fault_chat_refused(&stage->rig, "broken", 503, "SPAWN_FAILED", "tensor 7");
	*stage->ahead_ns = -YEARS10_NS;
	fault_behaviour(&stage->rig, "broken", "tokens=1");
	while (fault_chat(&stage->rig, "broken", NULL) != 200) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("the back-off does not pass");
	}
}

static void a_set_clock_ends_nothing(void **state)
{
	struct stage stage = { .campaign = campaign_begin("clock steps", 120, 5000) };
	struct rig *rig = &stage.rig;

	(void)state;
	set_stage(&stage);
	assert_clock_is_set(&stage);
	for (unsigned round = 0; round < stage.campaign.rounds; round++)
		play_round(&stage);
	assert_backoff_passes(&stage);
	while (stage.client_count > 0)
		let_first_go(&stage);
	assert_int_equal(rig_counter(rig, "cancelled"), 0);
	fault_assert_books(rig);
	close(stage.gate_fd);
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
	free(stage.gate);
	munmap((void *)(uintptr_t)stage.ahead_ns, sizeof(int64_t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_set_clock_ends_nothing, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
