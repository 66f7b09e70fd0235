/* SPDX-License-Identifier: MIT */
/*
 * test_worker_faults.c - workers that die, freeze, fall silent, never load or eat too much, all at
 * once in one daemon. Each fault ends in the end of that worker with a cause that names it, its
 * model is served again, and the others notice nothing.
 *
 * A round gives every model a fault of its own, so that waiting for one is waiting for all. Figures
 * of how soon a death and a readiness were noticed are printed and not judged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

struct patient {
	const char *model;
	char id[64];
	pid_t pid;
};

struct fault {
	const char *name;
	/* A loaded worker falls ill; NULL: `behaviour` is what it starts with. */
	void (*strike)(struct rig *rig, const struct patient *patient);
	const char *behaviour;
	/* Of the cause: in the record of a worker that died, in the log for one that was given up,
	 * in the answer to whoever waited for one that did not come. */
	const char *part;
};

static struct figures deaths = { .name = "a death is noticed after" };
static struct figures probed = {
	.name = "readiness is noticed after (asked for, starts to listen)"
};
static struct figures reported = { .name = "readiness is noticed after (reported)" };

/* ---- the faults ---- */

static void strike_dead(struct rig *rig, const struct patient *patient)
{
	(void)rig;
	kill(patient->pid, SIGKILL);
}

static void strike_term(struct rig *rig, const struct patient *patient)
{
	(void)rig;
	kill(patient->pid, SIGTERM);
}

static void freeze(struct rig *rig, const struct patient *patient)
{
	(void)rig;
	kill(patient->pid, SIGSTOP);
}

static void silence(struct rig *rig, const struct patient *patient)
{
	fault_behaviour(rig, patient->model, "health=never");
}

static const struct fault faults[] = {
	{ "killed", strike_dead, NULL, "SIGKILL" },
	{ "terminated", strike_term, NULL, "SIGTERM" },
	{ "frozen", freeze, NULL, "hangs: a signal stopped it" },
	{ "silent", silence, NULL, "hangs: 2 health probes in a row failed" },
	{ "exits", NULL, "start=exit\ncode=7\nsay=no kernel image for this GPU",
	  "no kernel image" },
	{ "never ready", NULL, "start=never_ready", "ready" },
};

#define FAULTS (sizeof(faults) / sizeof(faults[0]))

static const char *const models[FAULTS] = { "m0", "m1", "m2", "m3", "m4", "m5" };

/* ---- rounds ---- */

/* The worker that the model has. */
static void find_worker(struct rig *rig, struct patient *patient)
{
	json_t *list = rig_get(rig, "/v2/workers"), *worker;
	size_t i;

	patient->pid = 0;
	json_array_foreach(json_object_get(list, "workers"), i, worker)
	{
		if (strcmp(json_string_value(json_object_get(worker, "model_id")),
			   patient->model) != 0)
			continue;
		snprintf(patient->id, sizeof(patient->id), "%s",
			 json_string_value(json_object_get(worker, "worker_id")));
		patient->pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));
	}
	json_decref(list);
	assert_true(patient->pid > 0);
}

static void assert_part(const struct fault *fault, const char *text)
{
	if (!strstr(text, fault->part))
		fail_msg("%s: \"%s\" is not in \"%s\"", fault->name, fault->part, text);
}

/* The log may still be on its way. */
static void wait_until_logged(struct rig *rig, const char *text)
{
	int64_t deadline = test_deadline_ms();

	while (!proc_has_line(rig->daemon, text)) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("the log does not say \"%s\"", text);
	}
}

/* Its record keeps how it ended, and the log why it was given up. */
static void assert_ended(struct rig *rig, const struct fault *fault, const struct patient *patient)
{
	json_t *worker;

	fault_wait_status(rig, patient->id, "stopped");
	if (strstr(fault->part, "hangs")) {
		char text[160];

		snprintf(text, sizeof(text), "worker %s of '%s' %s", patient->id, patient->model,
			 fault->part);
		wait_until_logged(rig, text);
		return;
	}
	worker = fault_worker(rig, patient->id);
	assert_part(fault, json_string_value(json_object_get(json_object_get(worker, "last_exit"),
							     "reason")));
	json_decref(worker);
}

static void begin_fault(struct rig *rig, const struct fault *fault, struct patient *patient,
			struct client **ret_waiting)
{
	if (fault->strike) {
		double struck;

		find_worker(rig, patient);
		struck = campaign_now_ms();
		fault->strike(rig, patient);
		if (fault->strike == strike_dead) {
			fault_wait_status(rig, patient->id, "stopped");
			figures_add(&deaths, campaign_now_ms() - struck);
		}
		return;
	}
	/* A cold start that goes wrong, and somebody who waits for it. */
	find_worker(rig, patient);
	fault_stop_worker(rig, patient->id);
	fault_wait_status(rig, patient->id, "stopped");
	fault_behaviour(rig, patient->model, fault->behaviour);
	*ret_waiting = client_open(rig->address);
	client_request(*ret_waiting, "POST", "/v1/chat/completions", NULL,
		       chat_body(patient->model, false));
}

static void end_fault(struct rig *rig, const struct fault *fault, const struct patient *patient,
		      struct client *waiting)
{
	if (waiting) {
		assert_int_equal(client_status(waiting), 503);
		assert_part(fault, fault_message(client_json(waiting)));
		client_close(waiting);
	} else {
		assert_ended(rig, fault, patient);
	}
	fault_behaviour(rig, patient->model, "answer=normal");
}

static void play_round(struct rig *rig, struct campaign *campaign)
{
	struct client *waiting[FAULTS] = { NULL };
	struct patient patients[FAULTS];
	size_t order[FAULTS];

	for (size_t i = 0; i < FAULTS; i++) {
		size_t at = campaign_below(campaign, i + 1);

		order[i] = order[at];
		order[at] = i;
	}
	for (size_t i = 0; i < FAULTS; i++) {
		patients[i] = (struct patient){ .model = models[order[i]] };
		fault_wait_served(rig, patients[i].model);
	}
	for (size_t i = 0; i < FAULTS; i++)
		begin_fault(rig, &faults[i], &patients[i], &waiting[i]);
	fault_chat_ok(rig, "healthy");
	for (size_t i = 0; i < FAULTS; i++)
		end_fault(rig, &faults[i], &patients[i], waiting[i]);
	fault_chat_ok(rig, "healthy");
	for (size_t i = 0; i < FAULTS; i++)
		fault_wait_served(rig, models[i]);
	fault_assert_books(rig);
}

static void init_rig(struct rig *rig, const char *pool_settings)
{
	fault_rig_init(rig, pool_settings,
		       "[health]\ninterval_secs = 1\nmisses = 2\nstopped_secs = 1");
	strcat(rig->settings, "start_timeout_secs = 2\n"); /* of the last backend */
}

static void every_fault_ends_in_a_cause_and_a_new_worker(void **state)
{
	struct campaign campaign = campaign_begin("ill workers", 1, 100);
	struct rig rig;
	pid_t healthy, still;

	(void)state;
	init_rig(&rig, "");
	for (size_t i = 0; i < FAULTS; i++)
		rig_model(&rig, models[i], "answer=normal",
			  "backend = \"fake_port\"\nttl = \"2h\"");
	rig_model(&rig, "healthy", "answer=normal", "backend = \"fake_port\"\nttl = \"2h\"");
	rig_start(&rig);
	fault_chat_ok(&rig, "healthy");
	rig_workers(&rig, &healthy, NULL);
	for (unsigned round = 0; round < campaign.rounds; round++)
		play_round(&rig, &campaign);
	rig_workers(&rig, &still, NULL);
	assert_int_equal(still, healthy);
	assert_int_equal(rig_stop(&rig), 0);
	assert_int_equal(fault_processes(&rig), 0);
	rig_fini(&rig);
	figures_print(&deaths);
}

/* ---- how soon readiness is noticed ---- */

static void measure_probed(struct rig *rig, const char *gate)
{
	char id[64];
	double opened;
	int gate_fd;

	fault_start_worker(rig, "asked", id);
	gate_fd = rig_gate_open(gate);
	opened = campaign_now_ms();
	close(gate_fd);
	fault_wait_status(rig, id, "ready");
	figures_add(&probed, campaign_now_ms() - opened);
	fault_stop_worker(rig, id);
	fault_wait_status(rig, id, "stopped");
}

static void measure_reported(struct rig *rig)
{
	int64_t deadline = test_deadline_ms();
	char id[64], body[256], *token;
	pid_t pid = fault_start_worker(rig, "tells", id);
	struct client *client;
	double told;

	while (!(token = fault_environ(pid, "FAKE_TOKEN"))) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("worker %s was given no token", id);
	}
	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"spawn_token\":\"%s\"}", id, token);
	free(token);
	client = client_open(rig->address);
	told = campaign_now_ms();
	client_request(client, "POST", "/v2/internal/workers/ready", NULL, body);
	fault_wait_status(rig, id, "ready");
	figures_add(&reported, campaign_now_ms() - told);
	assert_int_equal(client_status(client), 204);
	client_close(client);
	fault_stop_worker(rig, id);
	fault_wait_status(rig, id, "stopped");
}

static void readiness_is_noticed(void **state)
{
	struct campaign campaign = campaign_begin("readiness", 5, 100);
	char behaviour[320], *gate;
	struct rig rig;

	(void)state;
	fault_rig_init(&rig, "", "");
	gate = rig_gate(&rig, "gate");
	snprintf(behaviour, sizeof(behaviour), "start=gate\ngate=%s", gate);
	rig_model(&rig, "asked", behaviour, "backend = \"fake\"");
	rig_model(&rig, "tells", "answer=normal", "backend = \"silent\"");
	rig_start(&rig);
	for (unsigned round = 0; round < campaign.rounds; round++) {
		measure_probed(&rig, gate);
		measure_reported(&rig);
	}
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
	free(gate);
	figures_print(&probed);
	figures_print(&reported);
}

/* How servers that listen while they load talk of it; how often they were asked in all. */
static struct habit {
	const char *name;
	const char *behaviour;
	struct figures late;
	size_t asked;
} habits[] = {
	{ "silent", "", { .name = "readiness is noticed after (a silent load)" }, 0 },
	{ "llama",
	  "log=llama\n",
	  { .name = "readiness is noticed after (llama-server's log)" },
	  0 },
	{ "bar",
	  "log=llama\nbar_ms=10\n",
	  { .name = "readiness is noticed after (that, and a bar of progress)" },
	  0 },
};

#define HABITS (sizeof(habits) / sizeof(habits[0]))

/* The request waits for the load; its answer says since when it need not have. */
static void measure_load(struct rig *rig, struct campaign *campaign, struct habit *habit)
{
	unsigned load_ms = campaign->rounds > 5 ? 6000 : 300;
	char behaviour[160], id[64];
	json_t *answer = NULL;
	double now;

	/* The end may fall anywhere between two questions. */
	snprintf(behaviour, sizeof(behaviour), "start=load\nload_ms=%zu\n%s",
		 load_ms + campaign_below(campaign, 250), habit->behaviour);
	fault_behaviour(rig, habit->name, behaviour);
	assert_int_equal(fault_chat(rig, habit->name, &answer), 200);
	now = campaign_now_ms();
	figures_add(&habit->late, now - json_real_value(json_object_get(answer, "ready_ms")));
	habit->asked += (size_t)json_integer_value(json_object_get(answer, "asked"));
	json_decref(answer);
	rig_workers(rig, NULL, id);
	fault_stop_worker(rig, id);
	fault_wait_status(rig, id, "stopped");
}

static void what_a_server_says_is_a_cue(void **state)
{
	struct campaign campaign = campaign_begin("servers that listen while they load", 5, 15);
	struct rig rig;

	(void)state;
	fault_rig_init(&rig, "", "");
	for (size_t i = 0; i < HABITS; i++)
		rig_model(&rig, habits[i].name, "answer=normal", "backend = \"fake\"");
	rig_start(&rig);
	for (unsigned round = 0; round < campaign.rounds; round++) {
		for (size_t i = 0; i < HABITS; i++)
			measure_load(&rig, &campaign, &habits[i]);
	}
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
	for (size_t i = 0; i < HABITS; i++) {
		figures_print(&habits[i].late);
		print_message("  it was asked %zu times a load\n",
			      habits[i].asked / campaign.rounds);
	}
}

/* ---- the kernel's own killer ---- */

/* The cgroup file system's folder of this process in which groups with a limit of memory can be
 * made; false with the reason printed. */
static bool make_cgroup(char *out, size_t size, const char **ret_limit_file)
{
	char line[512], folder[400] = "";
	bool is_v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	FILE *file = fopen("/proc/self/cgroup", "re");

	while (file && fgets(line, sizeof(line), file)) {
		const char *path = strrchr(line, ':');

		line[strcspn(line, "\n")] = '\0';
		if (is_v2 && strncmp(line, "0::", 3) == 0)
			snprintf(folder, sizeof(folder), "/sys/fs/cgroup%s", path + 1);
		else if (!is_v2 && strstr(line, ":memory:"))
			snprintf(folder, sizeof(folder), "/sys/fs/cgroup/memory%s", path + 1);
	}
	if (file)
		fclose(file);
	snprintf(out, size, "%s/poolcore-faults-%d", folder, (int)getpid());
	*ret_limit_file = is_v2 ? "memory.max" : "memory.limit_in_bytes";
	if (folder[0] && mkdir(out, 0755) == 0)
		return true;
	print_message("skipped: a memory cgroup of one's own: %s\n", strerror(errno));
	return false;
}

static void write_limit(const char *cgroup, const char *name, const char *value)
{
	char path[640];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	file = fopen(path, "we");
	if (!file || fputs(value, file) < 0 || fclose(file) != 0)
		fail_msg("%s: %s", path, strerror(errno));
}

static void the_kernels_killer_is_named(void **state)
{
	struct campaign campaign = campaign_begin("out of memory", 2, 100);
	char cgroup[512], setting[600];
	const char *limit_file;
	struct rig rig;

	(void)state;
	if (!make_cgroup(cgroup, sizeof(cgroup), &limit_file))
		skip();
	write_limit(cgroup, limit_file, "67108864");
	snprintf(setting, sizeof(setting), "cgroup = \"%s\"", cgroup);
	init_rig(&rig, setting);
	rig_model(&rig, "healthy", "answer=normal", "backend = \"fake\"\nttl = \"2h\"");
	rig_model(&rig, "glutton", "answer=normal", "backend = \"fake\"\nttl = \"2h\"");
	rig_start(&rig);
	fault_chat_ok(&rig, "healthy");
	for (unsigned round = 0; round < campaign.rounds; round++) {
		struct patient patient = { .model = "glutton" };
		char why[200];
		json_t *worker;

		fault_wait_served(&rig, "glutton");
		find_worker(&rig, &patient);
		fault_behaviour(&rig, "glutton", "answer=eat\nbytes=268435456");
		assert_int_not_equal(fault_chat(&rig, "glutton", NULL), 200);
		fault_wait_status(&rig, patient.id, "stopped");
		worker = fault_worker(&rig, patient.id);
		snprintf(why, sizeof(why), "%.199s",
			 json_string_value(
				 json_object_get(json_object_get(worker, "last_exit"), "reason")));
		json_decref(worker);
		if (!strstr(why, "killed by SIGKILL, out of memory"))
			fail_msg("the end is named: %s", why);
		fault_behaviour(&rig, "glutton", "answer=normal");
		fault_chat_ok(&rig, "healthy");
	}
	fault_wait_served(&rig, "glutton");
	assert_int_equal(rig_stop(&rig), 0);
	/* The groups of the workers went with them. */
	assert_int_equal(rmdir(cgroup), 0);
	rig_fini(&rig);
}

#define CAMPAIGN(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAMPAIGN(every_fault_ends_in_a_cause_and_a_new_worker),
		CAMPAIGN(readiness_is_noticed),
		CAMPAIGN(what_a_server_says_is_a_cue),
		CAMPAIGN(the_kernels_killer_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
