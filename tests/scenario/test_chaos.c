/* SPDX-License-Identifier: MIT */
/*
 * test_chaos.c - the real daemon under many clients that behave badly (swarm.c) while its workers
 * are killed, frozen, stopped and loaded. What must hold whatever happens is checked when all is
 * quiet again: every request had one outcome, every byte is accounted for, nothing is left behind.
 *
 * CHAOS_SEED names a run and CHAOS_STEPS says how long it is; a failure prints its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"
#include "scenario/swarm.h"

#define CLIENTS 16
#define STEPS 2400
#define WORKERS_MAX 16
/* A frozen worker goes on after this many steps. */
#define FROZEN_STEPS 60

/* Those that work are asked more often. */
static const char *const models[] = { "quick", "quick", "quick", "one",	  "one",
				      "long",  "long",	"long",	 "crash", "broken" };

struct chaos {
	struct rig rig;
	uint64_t seed;
	unsigned steps;
	struct swarm *swarm;
	pid_t frozen[WORKERS_MAX];
	unsigned frozen_until[WORKERS_MAX];
	size_t frozen_count;
};

/* ---- the daemon ---- */

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* "one" and "long" do not fit beside each other. */
static void chaos_start(struct chaos *chaos, uint64_t seed, const char *pool_settings)
{
	struct rig *rig = &chaos->rig;

	*chaos = (struct chaos){
		.seed = number_from("CHAOS_SEED", seed),
		.steps = (unsigned)number_from("CHAOS_STEPS", STEPS),
	};
	print_message("CHAOS_SEED=%llu CHAOS_STEPS=%u\n", (unsigned long long)chaos->seed,
		      chaos->steps);
	rig_init(rig);
	rig_model(rig, "quick", "tokens=6\nmemory_bytes=629145600\n",
		  "est_memory_allocation_mb = 600\nslots = 2\nmax_workers = 2");
	rig_model(rig, "one", "tokens=8\ntoken_ms=10\nmemory_bytes=1258291200\n",
		  "est_memory_allocation_mb = 1200\nslots = 1");
	rig_model(rig, "long",
		  "tokens=1500\ncontext_tokens=100000\nload_ms=50\nmemory_bytes=1258291200\n",
		  "est_memory_allocation_mb = 1200\nslots = 2");
	rig_model(rig, "crash", "tokens=8\ncrash=4\n", "est_memory_allocation_mb = 16\nslots = 2");
	rig_model(rig, "broken", "fail=MODEL_ERROR:tensor 7 is out of shape\n",
		  "est_memory_allocation_mb = 16");
	snprintf(rig->settings, sizeof(rig->settings),
		 "queue_capacity = 6\nrequest_timeout_secs = 20\n%s\n[memory]\ncpu = \"2000MiB\"",
		 pool_settings);
	setenv("RBEES_POOL_HTTP_MAX_BODY_BYTES", "64KiB", 1);
	rig_start(rig);
	unsetenv("RBEES_POOL_HTTP_MAX_BODY_BYTES");
	chaos->swarm = swarm_create(rig->address, CLIENTS, models, sizeof(models) / sizeof(*models),
				    &chaos->seed);
}

static void chaos_fini(struct chaos *chaos)
{
	const struct swarm_stats *stats = swarm_stats(chaos->swarm);

	print_message("answers %lu (200: %lu, refused: %lu), events %lu, broken %lu, left %lu\n",
		      stats->answers, stats->ok, stats->refused, stats->events, stats->broken,
		      stats->left);
	/* Otherwise nothing was tried. */
	assert_true(stats->ok > 0);
	assert_true(stats->refused > 0);
	swarm_destroy(chaos->swarm);
	rig_fini(&chaos->rig);
}

/* ---- /proc ---- */

static size_t count_entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static size_t count_descriptors(const struct chaos *chaos)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)proc_pid(chaos->rig.daemon));
	return count_entries(path);
}

/* Children of all of the daemon's threads, zombies too. */
static size_t count_children(const struct chaos *chaos)
{
	char path[288], *word = NULL;
	size_t count = 0, size = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)proc_pid(chaos->rig.daemon));
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/children",
			 (int)proc_pid(chaos->rig.daemon), entry->d_name);
		file = fopen(path, "r");
		while (file && getdelim(&word, &size, ' ', file) > 0)
			count++;
		if (file)
			fclose(file);
	}
	free(word);
	closedir(dir);
	return count;
}

/* Processes whose command line names the rig's directory: the daemon's and its workers'. */
static size_t count_processes(const struct chaos *chaos)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[288], line[4096];
		FILE *file;
		size_t length;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		length = fread(line, 1, sizeof(line), file);
		fclose(file);
		count += memmem(line, length, chaos->rig.dir, strlen(chaos->rig.dir)) != NULL;
	}
	closedir(dir);
	return count;
}

/* ---- what is done to the workers ---- */

static size_t list_workers(struct chaos *chaos, json_t **ret_answer, json_t **ret_list)
{
	*ret_answer = rig_get(&chaos->rig, "/v2/workers");
	*ret_list = json_object_get(*ret_answer, "workers");
	return json_array_size(*ret_list);
}

static void stop_worker(struct chaos *chaos, const char *id, bool force)
{
	char body[128];
	json_t *answer = NULL;
	int status;

	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"force\":%s}", id,
		 force ? "true" : "false");
	status = client_call(chaos->rig.address, "POST", "/v2/workers/stop", body, &answer);
	if (status != 202) {
		assert_int_equal(status, 404);
		assert_string_equal(error_code(answer), "WORKER_NOT_FOUND");
	}
	json_decref(answer);
}

static void thaw(struct chaos *chaos, unsigned now)
{
	for (size_t i = 0; i < chaos->frozen_count;) {
		if (chaos->frozen_until[i] > now) {
			i++;
			continue;
		}
		kill(chaos->frozen[i], SIGCONT);
		chaos->frozen_count--;
		chaos->frozen[i] = chaos->frozen[chaos->frozen_count];
		chaos->frozen_until[i] = chaos->frozen_until[chaos->frozen_count];
	}
}

/* Signals only pids that are the daemon's children still, so that a reused number is not hit. */
static void disturb(struct chaos *chaos, unsigned now)
{
	json_t *answer, *list, *worker;
	size_t count = list_workers(chaos, &answer, &list);

	if (count > 0) {
		worker = json_array_get(list, chance_next(&chaos->seed) % count);

		pid_t pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));
		const char *id = json_string_value(json_object_get(worker, "worker_id"));

		switch (chance_next(&chaos->seed) % 4) {
		case 0:
			if (pid > 0)
				kill(pid, SIGKILL);
			break;
		case 1:
			if (pid > 0 && chaos->frozen_count < WORKERS_MAX) {
				kill(pid, SIGSTOP);
				chaos->frozen_until[chaos->frozen_count] = now + FROZEN_STEPS;
				chaos->frozen[chaos->frozen_count++] = pid;
			}
			break;
		case 2:
			stop_worker(chaos, id, false);
			break;
		case 3:
			stop_worker(chaos, id, true);
			break;
		}
	}
	json_decref(answer);
}

static void make_chaos(struct chaos *chaos, unsigned steps)
{
	for (unsigned step = 1; step <= steps; step++) {
		swarm_step(chaos->swarm);
		if (chance(&chaos->seed, 60))
			disturb(chaos, step);
		thaw(chaos, step);
	}
}

/* ---- what must hold ---- */

static void wait_until_quiet(struct chaos *chaos)
{
	thaw(chaos, UINT32_MAX);
	swarm_finish(chaos->swarm);
	for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++) {
		rig_wait_model(&chaos->rig, models[i], "waiting", 0);
		rig_wait_model(&chaos->rig, models[i], "leases", 0);
	}
}

static void assert_counters_add_up(struct chaos *chaos)
{
	json_t *state = rig_get(&chaos->rig, "/v2/state");
	json_t *counters = json_object_get(state, "counters");
	json_int_t submitted = json_integer_value(json_object_get(counters, "submitted"));
	json_int_t granted = json_integer_value(json_object_get(counters, "granted"));
	json_int_t rejected = json_integer_value(json_object_get(counters, "rejected"));
	json_int_t cancelled = json_integer_value(json_object_get(counters, "cancelled"));

	print_message("submitted %lld, granted %lld, rejected %lld, cancelled %lld, spawned %lld\n",
		      (long long)submitted, (long long)granted, (long long)rejected,
		      (long long)cancelled,
		      (long long)json_integer_value(json_object_get(counters, "spawned")));
	assert_int_equal(submitted, granted + rejected + cancelled);
	json_decref(state);
}

/* What the ledger holds beyond what its holders say. */
static json_int_t ledger_surplus(struct chaos *chaos)
{
	json_t *state = rig_get(&chaos->rig, "/v2/state");
	json_t *cpu = json_array_get(json_object_get(state, "devices"), 0);
	json_int_t surplus = json_integer_value(json_object_get(cpu, "reserved_bytes"));
	json_t *worker;
	size_t i;

	json_array_foreach(json_object_get(state, "workers"), i, worker)
	{
		surplus -= json_integer_value(json_object_get(worker, "reserved_bytes"));
	}
	json_decref(state);
	return surplus;
}

/* Devices and workers are not read at one moment, and a worker that failed may come or go between
 * them; a leak would stay. */
static void assert_ledger_adds_up(struct chaos *chaos)
{
	int64_t deadline = test_deadline_ms();
	json_int_t surplus;

	while ((surplus = ledger_surplus(chaos)) != 0) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("the ledger holds %lld bytes that are nobody's",
				 (long long)surplus);
	}
}

static void stop_all_workers(struct chaos *chaos)
{
	json_t *answer, *list, *worker;
	size_t i;

	list_workers(chaos, &answer, &list);
	json_array_foreach(list, i, worker)
	{
		stop_worker(chaos, json_string_value(json_object_get(worker, "worker_id")), false);
	}
	json_decref(answer);
	rig_wait_workers(&chaos->rig, 0);
}

/* Connections and children end a moment after those who asked for it know. */
static void wait_for_count(const struct chaos *chaos, const char *what,
			   size_t (*count)(const struct chaos *chaos), size_t wanted)
{
	int64_t deadline = test_deadline_ms();

	while (count(chaos) > wanted) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%zu %s, there should be %zu", count(chaos), what, wanted);
	}
}

static void nothing_is_lost_in_chaos(void **state)
{
	struct chaos chaos;
	char sockets[160];
	size_t descriptors;

	(void)state;
	chaos_start(&chaos, 1, "");
	snprintf(sockets, sizeof(sockets), "%s/state/run", chaos.rig.dir);

	/* What is opened once and kept is open after the first worker. */
	assert_int_equal(client_call(chaos.rig.address, "POST", "/v1/chat/completions",
				     chat_body("quick", false), NULL),
			 200);
	stop_all_workers(&chaos);
	wait_for_count(&chaos, "children", count_children, 0);
	descriptors = count_descriptors(&chaos);

	for (int round = 0; round < 3; round++) {
		make_chaos(&chaos, chaos.steps / 3);
		wait_until_quiet(&chaos);
		assert_counters_add_up(&chaos);
		assert_ledger_adds_up(&chaos);
		wait_for_count(&chaos, "children", count_children,
			       rig_workers(&chaos.rig, NULL, NULL));
	}
	stop_all_workers(&chaos);
	wait_for_count(&chaos, "children", count_children, 0);
	wait_for_count(&chaos, "descriptors", count_descriptors, descriptors);
	assert_int_equal(rig_reserved(&chaos.rig), 0);
	assert_int_equal(count_entries(sockets), 0);
	assert_int_equal(rig_stop(&chaos.rig), 0);
	assert_int_equal(count_processes(&chaos), 0);
	chaos_fini(&chaos);
}

static void a_stop_in_the_middle_is_clean(void **state)
{
	(void)state;
	for (uint64_t round = 0; round < 4; round++) {
		struct chaos chaos;
		char sockets[160];

		chaos_start(&chaos, 100 + round, "shutdown_timeout_secs = 1");
		snprintf(sockets, sizeof(sockets), "%s/state/run", chaos.rig.dir);
		make_chaos(&chaos, chaos.steps / 5);
		swarm_expect_end(chaos.swarm);
		proc_signal(chaos.rig.daemon, SIGTERM);
		for (int i = 0; i < 20; i++)
			swarm_step(chaos.swarm);
		if (round % 2)
			proc_signal(chaos.rig.daemon, SIGTERM);
		swarm_finish(chaos.swarm);
		assert_int_equal(proc_wait(chaos.rig.daemon), 0);
		assert_int_equal(count_processes(&chaos), 0);
		assert_int_equal(access(sockets, F_OK), -1);
		chaos_fini(&chaos);
	}
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(nothing_is_lost_in_chaos),
		SCENARIO(a_stop_in_the_middle_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
