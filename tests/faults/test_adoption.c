/* SPDX-License-Identifier: MIT */
/*
 * test_adoption.c - the daemon is killed at random moments while eight workers serve, start, stop
 * and die. The next daemon takes over every worker that lives, with its name and its pid, serves
 * from it without loading anything, and knows of every process and every byte.
 *
 * A round lets clients and an operator do things without waiting for answers, and a child of the
 * test kills the daemon after a random time. Models that nobody stopped and whose worker nobody
 * killed must be served by the same process afterwards; for all others it is enough that nothing is
 * lost or left over.
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/census.h"

#define MODELS 8
/* What is done at most while the daemon lives, and how long that is at most. */
#define ACTS_MAX 60
#define LIFE_MAX_NS 40000000
/* Of the daemon that recovers, in rounds that kill it too. */
#define RECOVERY_MAX_NS 120000000

struct stage {
	struct rig rig;
	struct campaign campaign;
	char names[MODELS][8];
	bool touched[MODELS]; /* its worker was stopped or killed in this round */
	struct client *open[ACTS_MAX];
	size_t open_count;
	unsigned long adopted, adopted_loading, ended;
};

static struct stage stage; /* the running test's; its teardown finds it after a failure too */
static struct figures first_answers = {
	.name = "from the start of a daemon to the first answer of an adopted worker"
};

/* ---- the killer ---- */

/* A child that kills the process after so long. */
static pid_t kill_within(pid_t victim, uint64_t ns)
{
	const struct timespec when = { .tv_nsec = (long)ns };
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &when, NULL);
		kill(victim, SIGKILL);
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void await_death(pid_t killer)
{
	assert_int_equal(proc_wait(stage.rig.daemon), 128 + SIGKILL);
	assert_int_equal(waitpid(killer, NULL, 0), killer);
	proc_free(stage.rig.daemon);
	stage.rig.daemon = NULL;
}

/* ---- what happens meanwhile; nobody waits for an answer ---- */

static void send_and_leave(const char *path, const char *body)
{
	struct client *client = client_try(stage.rig.address);

	if (!client)
		return; /* the daemon is dead already */
	client_request(client, "POST", path, NULL, body);
	stage.open[stage.open_count++] = client;
}

static void act(const struct census *before)
{
	size_t which = campaign_below(&stage.campaign, MODELS);
	const struct census_worker *worker = census_find_model(before, stage.names[which]);
	char body[160];

	switch (campaign_below(&stage.campaign, 10)) {
	case 0:
		snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"force\":%s}",
			 worker ? worker->id : "none",
			 campaign_below(&stage.campaign, 2) ? "true" : "false");
		send_and_leave("/v2/workers/stop", body);
		stage.touched[which] = true;
		break;
	case 1:
		if (worker && !stage.touched[which])
			kill(worker->pid, SIGKILL);
		stage.touched[which] = true;
		break;
	case 2:
		snprintf(body, sizeof(body), "{\"model\":\"%s\"}", stage.names[which]);
		send_and_leave("/v2/workers/start", body);
		break;
	default:
		send_and_leave("/v1/chat/completions",
			       chat_body(stage.names[which], campaign_below(&stage.campaign, 2)));
		break;
	}
}

static void live_until_killed(const struct census *before)
{
	size_t acts = campaign_below(&stage.campaign, ACTS_MAX);
	uint64_t life_ns = campaign_next(&stage.campaign) % LIFE_MAX_NS;
	pid_t killer = kill_within(proc_pid(stage.rig.daemon), life_ns);

	memset(stage.touched, 0, sizeof(stage.touched));
	for (size_t i = 0; i < acts; i++)
		act(before);
	await_death(killer);
	while (stage.open_count > 0)
		client_close(stage.open[--stage.open_count]);
}

/* ---- what must hold then ---- */

/* Whether the daemon has each of them that nobody touched. The pid of one that was loading comes
 * with its stub's first report. */
static const struct census_worker *missing(const struct census *left, const struct census *after)
{
	for (size_t i = 0; i < left->count; i++) {
		const struct census_worker *was = &left->workers[i];

		if (!stage.touched[atoi(was->model + 1)] && !census_find(after, was->pid))
			return was;
	}
	return NULL;
}

/*
 * Those that lived when the daemon died, and that nobody had touched, are there, each as it was:
 * the ones that were loaded before, and the ones that were loading.
 */
static void assert_adopted(const struct census *before, const struct census *left)
{
	int64_t deadline = test_deadline_ms();
	const struct census_worker *lost;
	struct census after;

	do {
		census_of_daemon(&stage.rig, &after);
		lost = missing(left, &after);
		if (lost && test_remaining_ms(deadline) == 0)
			fail_msg("the worker of '%s', pid %d, was not adopted", lost->model,
				 (int)lost->pid);
	} while (lost);
	lost = missing(before, left);
	if (lost)
		fail_msg("worker %s of '%s', pid %d, died with its daemon", lost->id, lost->model,
			 (int)lost->pid);
	for (size_t i = 0; i < after.count; i++) {
		const struct census_worker *is = &after.workers[i];
		const struct census_worker *was = census_find(before, is->pid);

		/* A stub may have started it since `left` was taken; but not beside another, unless
		 * that one was told to end. */
		if (!census_find(left, is->pid) && !stage.touched[atoi(is->model + 1)])
			assert_null(census_find_model(left, is->model));
		if (was)
			assert_string_equal(is->id, was->id);
		stage.adopted++;
		stage.adopted_loading += !was;
	}
	for (size_t i = 0; i < left->count; i++)
		stage.ended += !census_find(&after, left->workers[i].pid);
}

/* Served by the same process, without a spawn. */
static void assert_served_by(const struct census_worker *worker)
{
	json_t *answer = NULL;
	int status = fault_chat(&stage.rig, worker->model, &answer);

	if (status != 200)
		fail_msg("'%s' after an adoption: %d %s", worker->model, status,
			 fault_message(answer));
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), worker->pid);
	json_decref(answer);
}

static void assert_served(const struct census *before, const struct census *left, double started_ms)
{
	bool first = true;

	for (size_t i = 0; i < left->count; i++) {
		const struct census_worker *was = &left->workers[i];

		if (stage.touched[atoi(was->model + 1)])
			continue;
		assert_served_by(was);
		if (first && census_find(before, was->pid))
			figures_add(&first_answers, campaign_now_ms() - started_ms);
		first = false;
	}
	/* Nobody has asked for anything else yet. */
	assert_int_equal(rig_counter(&stage.rig, "spawned"), 0);
}

/* ---- rounds ---- */

static void play_round(void)
{
	struct census before, left;
	double started_ms;

	/* Most are loaded; the others, and more of those that take a while, may be at any step of
	 * it when the daemon dies. */
	for (size_t i = 0; i < MODELS; i++) {
		if (campaign_below(&stage.campaign, i < MODELS - 3 ? 8 : 2) > 0)
			fault_wait_served(&stage.rig, stage.names[i]);
	}
	census_of_daemon(&stage.rig, &before);
	live_until_killed(&before);
	census_of_processes(&stage.rig, &left);
	/* The one that recovers may die of it too. */
	if (campaign_below(&stage.campaign, 4) == 0) {
		stage.rig.daemon = rig_start_only(&stage.rig);
		await_death(kill_within(proc_pid(stage.rig.daemon),
					campaign_next(&stage.campaign) % RECOVERY_MAX_NS));
	}
	started_ms = campaign_now_ms();
	rig_start(&stage.rig);
	assert_adopted(&before, &left);
	assert_served(&before, &left, started_ms);
	census_assert_settled(&stage.rig);
}

static void set_stage(const char *pool_settings)
{
	struct rig *rig = &stage.rig;

	fault_rig_init(rig, pool_settings, "[memory]\ncpu = \"1GiB\"");
	for (size_t i = 0; i < MODELS; i++) {
		snprintf(stage.names[i], sizeof(stage.names[i]), "m%zu", i);
		/* The last ones take a while, so that daemons die while they load. */
		rig_model(rig, stage.names[i], i < MODELS - 3 ? "answer=normal" : "load_ms=30",
			  i % 2 ? "backend = \"fake_port\"\nttl = \"2h\"\nmax_workers = 1"
				: "backend = \"fake\"\nttl = \"2h\"\nmax_workers = 1");
	}
	rig_start(rig);
}

static void a_killed_daemons_workers_go_on(void **state)
{
	(void)state;
	stage = (struct stage){ .campaign = campaign_begin("daemon kills", 14, 1000) };
	set_stage("");
	for (unsigned round = 0; round < stage.campaign.rounds; round++)
		play_round();
	print_message("%lu workers adopted, of which %lu were loading; %lu were ended\n",
		      stage.adopted, stage.adopted_loading, stage.ended);
	/* Otherwise nothing was tried. */
	assert_true(stage.adopted_loading > 0);
	assert_true(stage.adopted > stage.campaign.rounds);
	assert_int_equal(rig_stop(&stage.rig), 0);
	assert_int_equal(fault_processes(&stage.rig), 0);
	figures_print(&first_answers);
}

/* They are on the books until they are gone, and do nothing else any more. */
static void assert_all_are_stopping(void)
{
	json_t *list = rig_get(&stage.rig, "/v2/workers"), *worker;
	size_t i;

	json_array_foreach(json_object_get(list, "workers"), i, worker) assert_string_equal(
		json_string_value(json_object_get(worker, "status")), "stopping");
	json_decref(list);
}

/* Whoever does not want that has them ended, all of them. */
static void or_end_with_it_if_so_ordered(void **state)
{
	(void)state;
	stage = (struct stage){ .campaign = campaign_begin("daemon kills, no adoption", 2, 50) };
	set_stage("orphan_policy = \"kill\"");
	for (unsigned round = 0; round < stage.campaign.rounds; round++) {
		struct census left;

		for (size_t i = 0; i < MODELS; i++)
			fault_wait_served(&stage.rig, stage.names[i]);
		census_kill_daemon(&stage.rig);
		census_of_processes(&stage.rig, &left);
		assert_int_equal(left.count, MODELS);
		rig_start(&stage.rig);
		assert_all_are_stopping();
		rig_wait_workers(&stage.rig, 0);
		assert_int_equal(rig_counter(&stage.rig, "spawned"), 0);
		assert_int_equal(rig_reserved(&stage.rig), 0);
		census_assert_settled(&stage.rig);
	}
	assert_int_equal(rig_stop(&stage.rig), 0);
	assert_int_equal(fault_processes(&stage.rig), 0);
}

static int clean_up(void **state)
{
	client_close_all();
	/* Daemons first: they would take the end of their workers for deaths. */
	int status = proc_free_all(state);

	stage.rig.daemon = NULL;
	rig_fini(&stage.rig);
	return status;
}

#define CAMPAIGN(name) cmocka_unit_test_teardown(name, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAMPAIGN(a_killed_daemons_workers_go_on),
		CAMPAIGN(or_end_with_it_if_so_ordered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
