/* SPDX-License-Identifier: MIT */
/*
 * test_spawn_faults.c - programs that cannot be started: not there, not executable, no program, an
 * interpreter that is missing, no process left. Whoever waits for the worker is told the cause, who
 * asks during the back-off too, and when it is put right the model is served without anybody's
 * help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

#define WAITING 3
/* A user that nobody is, so that no process but the daemon's counts. */
#define USER_ID 61713
#define USER_TEXT "61713"
#define AS_USER \
	"setpriv --reuid=" USER_TEXT " --regid=" USER_TEXT " --clear-groups " \
	"--inh-caps=+dac_override --ambient-caps=+dac_override "

static const struct fault {
	const char *name;
	const char *text; /* of the file in the program's place; NULL: there is none */
	mode_t mode;
	const char *part; /* of the message */
} faults[] = {
	{ "missing", NULL, 0, "missing.engine" },
	{ "forbidden", "#!/bin/sh\nexit 0\n", 0600, "Permission denied" },
	{ "no-program", "\x01\x02 no program \x03", 0700, "Exec format error" },
	{ "half-elf",
	  "\x7f"
	  "ELF\x02\x01\x01",
	  0700, "Exec format error" },
	{ "interpreter", "#!/nonexistent/interpreter\n", 0700, "its interpreter" },
	{ "empty", "", 0700, "Exec format error" },
};

#define FAULTS (sizeof(faults) / sizeof(faults[0]))

/* ---- the programs ---- */

static const char *engine_path(const struct rig *rig, const struct fault *fault)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s.engine", rig->dir, fault->name);
	return path;
}

static void break_engine(const struct rig *rig, const struct fault *fault)
{
	const char *path = engine_path(rig, fault);

	assert_true(unlink(path) == 0 || errno == ENOENT);
	if (!fault->text)
		return;
	free(test_file_write(rig->dir, strrchr(path, '/') + 1, fault->text));
	assert_int_equal(chmod(path, fault->mode), 0);
}

static void mend_engine(const struct rig *rig, const struct fault *fault)
{
	const char *path = engine_path(rig, fault);

	assert_true(unlink(path) == 0 || errno == ENOENT);
	assert_int_equal(symlink(getenv("FAKE_WORKER"), path), 0);
}

/* ---- requests ---- */

/* Until it is served; what it is refused with meanwhile names the cause. */
static void wait_until_served(struct rig *rig, const char *model, const char *part)
{
	int64_t deadline = test_deadline_ms();
	json_t *answer = NULL;
	int status;

	while ((status = fault_chat(rig, model, &answer)) != 200) {
		const char *message;

		assert_int_equal(status, 503);
		assert_string_equal(error_code(answer), "MODEL_BACKOFF");
		message = fault_message(answer);
		if (!strstr(message, part))
			fail_msg("\"%s\" is not in \"%s\"", part, message);
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%s: %s", model, message);
	}
	json_decref(answer);
}

/* Several ask at once; each is told, be it that it waited for the worker or came after it. */
static void all_are_told(struct rig *rig, const char *model, const char *part)
{
	struct client *clients[WAITING];

	for (size_t i = 0; i < WAITING; i++)
		clients[i] = client_open(rig->address);
	for (size_t i = 0; i < WAITING; i++)
		client_request(clients[i], "POST", "/v1/chat/completions", NULL,
			       chat_body(model, false));
	for (size_t i = 0; i < WAITING; i++) {
		json_t *answer;
		const char *code, *message;

		assert_int_equal(client_status(clients[i]), 503);
		answer = client_json(clients[i]);
		code = error_code(answer);
		if (strcmp(code, "SPAWN_FAILED") != 0 && strcmp(code, "MODEL_BACKOFF") != 0)
			fail_msg("%s: %s", model, code);
		message = fault_message(answer);
		if (!strstr(message, part))
			fail_msg("\"%s\" is not in \"%s\"", part, message);
		client_close(clients[i]);
	}
}

/* ---- programs that cannot be executed ---- */

static void start_rig(struct rig *rig)
{
	fault_rig_init(rig, "", "");
	for (size_t i = 0; i < FAULTS; i++) {
		size_t length = strlen(rig->settings);
		char backend[64];

		snprintf(rig->settings + length, sizeof(rig->settings) - length,
			 "[backends.%s]\ncommand = [\"%s\", \"{model_path}\", \"{socket}\"]\n"
			 "readiness = \"http:/health\"\ndevice = \"cpu\"\n",
			 faults[i].name, engine_path(rig, &faults[i]));
		snprintf(backend, sizeof(backend), "backend = \"%s\"", faults[i].name);
		rig_model(rig, faults[i].name, "answer=normal", backend);
	}
	rig_start(rig);
}

static void what_cannot_be_executed_is_named_until_it_is_mended(void **state)
{
	struct campaign campaign = campaign_begin("programs that do not start", 2, 100);
	size_t descriptors = 0;
	struct rig rig;

	(void)state;
	start_rig(&rig);
	for (unsigned round = 0; round < campaign.rounds; round++) {
		for (size_t i = 0; i < FAULTS; i++)
			break_engine(&rig, &faults[i]);
		for (size_t i = 0; i < FAULTS; i++)
			all_are_told(&rig, faults[i].name, faults[i].part);
		rig_wait_workers(&rig, 0);
		assert_int_equal(rig_reserved(&rig), 0);
		for (size_t i = 0; i < FAULTS; i++)
			mend_engine(&rig, &faults[i]);
		for (size_t i = 0; i < FAULTS; i++)
			wait_until_served(&rig, faults[i].name, faults[i].part);
		for (size_t i = 0; i < FAULTS; i++) {
			char id[64];

			rig_workers(&rig, NULL, id);
			fault_stop_worker(&rig, id);
			rig_wait_workers(&rig, FAULTS - 1 - i);
		}
		/* What is opened once and kept is open after the first round. */
		if (round == 0)
			descriptors = fault_descriptors(&rig);
		fault_wait_descriptors(&rig, descriptors);
	}
	fault_assert_books(&rig);
	assert_int_equal(rig_stop(&rig), 0);
	assert_int_equal(fault_processes(&rig), 0);
	rig_fini(&rig);
}

/* ---- no process left ---- */

static int give_away(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	return lchown(path, USER_ID, USER_ID);
}

/* The rig's daemon as a user of its own: a limit of processes does not bind root. It may enter any
 * folder still, for the build may lie in one that only root may enter. */
static void start_as_user(struct rig *rig)
{
	char setpriv[512], parent[300], *script;

	snprintf(setpriv, sizeof(setpriv),
		 "#!/bin/sh\nexec " AS_USER "--pdeathsig=KILL %s \"$@\"\n",
		 getenv("POOL_MANAGERD"));
	script = test_file_write(rig->dir, "as-user", setpriv);
	assert_int_equal(chmod(script, 0755), 0);
	assert_int_equal(chmod(rig->dir, 0755), 0);
	/* The test's own folder, in which the rig's is. */
	snprintf(parent, sizeof(parent), "%s/..", rig->dir);
	assert_int_equal(chmod(parent, 0711), 0);
	assert_int_equal(nftw(rig->dir, give_away, 16, FTW_PHYS), 0);

	char *daemon = strdup(getenv("POOL_MANAGERD"));

	setenv("POOL_MANAGERD", script, 1);
	rig_start(rig);
	setenv("POOL_MANAGERD", daemon, 1);
	free(daemon);
	free(script);
}

static size_t count_threads(const struct rig *rig)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)proc_pid(rig->daemon));
	return fault_entries(path);
}

/* As the user itself: to change another's limits takes a privilege that root may lack. */
static void limit_processes(const struct rig *rig, rlim_t soft)
{
	struct rlimit limit;
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (setresgid(USER_ID, USER_ID, USER_ID) || setresuid(USER_ID, USER_ID, USER_ID) ||
		    prlimit(proc_pid(rig->daemon), RLIMIT_NPROC, NULL, &limit))
			_exit(1);
		limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
		_exit(prlimit(proc_pid(rig->daemon), RLIMIT_NPROC, &limit, NULL) ? 1 : 0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void when_no_process_is_left_it_says_so(void **state)
{
	struct campaign campaign = campaign_begin("no process left", 2, 50);
	struct rig rig;

	(void)state;
	if (geteuid() != 0 || system(AS_USER "true 2>/dev/null") != 0) {
		print_message("skipped: only root can start a daemon as another user\n");
		skip();
	}
	fault_rig_init(&rig, "", "");
	rig_model(&rig, "m", "answer=normal", "backend = \"fake\"");
	start_as_user(&rig);
	for (unsigned round = 0; round < campaign.rounds; round++) {
		char id[64];

		/* Every thread counts. */
		limit_processes(&rig, count_threads(&rig));
		all_are_told(&rig, "m", strerror(EAGAIN));
		rig_wait_workers(&rig, 0);
		assert_int_equal(rig_reserved(&rig), 0);
		limit_processes(&rig, RLIM_INFINITY);
		wait_until_served(&rig, "m", strerror(EAGAIN));
		rig_workers(&rig, NULL, id);
		fault_stop_worker(&rig, id);
		rig_wait_workers(&rig, 0);
	}
	fault_assert_books(&rig);
	assert_int_equal(rig_stop(&rig), 0);
	assert_int_equal(fault_processes(&rig), 0);
	rig_fini(&rig);
}

#define CAMPAIGN(name) cmocka_unit_test_teardown(name, rig_clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAMPAIGN(what_cannot_be_executed_is_named_until_it_is_mended),
		CAMPAIGN(when_no_process_is_left_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
