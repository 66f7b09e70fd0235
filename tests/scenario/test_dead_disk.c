/* SPDX-License-Identifier: MIT */
/*
 * test_dead_disk.c - the file system of a model's file stops answering, as a network's may: before
 * the file is opened, before its worker is spawned, and when the worker has loaded it. Only that
 * worker waits; the daemon serves, starts and stops the others, and ends.
 *
 * The dead file system is FUSE without a server, put over the folder in which the file is. Only
 * root may mount, and not everywhere; what cannot be done is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario/daemon_fixture.h"

/* Longer than a test waits for anything: an end that came has not waited for this. */
#define NEVER_SECS "3600"
/* The kernel gives a request in one read, and wants room for the largest (fuse.h). */
#define REQUEST_MAX (FUSE_MIN_READ_BUFFER * 2)

/* At the program's end the leak sanitizer stops each thread, and waits for one that waits. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HAS_LEAK_SANITIZER true
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HAS_LEAK_SANITIZER true
#endif
#ifndef HAS_LEAK_SANITIZER
#define HAS_LEAK_SANITIZER false
#endif

/* ---- a disk that dies ---- */

/* Of the scenario that runs, so that one that fails leaves nothing mounted. */
static struct {
	char folder[PATH_MAX];
	int fd; /* of its server, which is us; -1: it answers */
} disk = { .fd = -1 };

/* The first request, without whose answer the kernel keeps the others to itself. */
static bool greet(int fd)
{
	static union {
		struct fuse_in_header head;
		char bytes[REQUEST_MAX];
	} request;
	struct {
		struct fuse_out_header head;
		struct fuse_init_out init;
	} answer = {
		.head = { .len = sizeof(answer) },
		.init = { .major = FUSE_KERNEL_VERSION,
			  .minor = FUSE_KERNEL_MINOR_VERSION,
			  .max_write = 4096 },
	};

	if (read(fd, &request, sizeof(request)) < (ssize_t)sizeof(request.head) ||
	    request.head.opcode != FUSE_INIT)
		return false;
	answer.head.unique = request.head.unique;
	return write(fd, &answer, sizeof(answer)) == sizeof(answer);
}

static void disk_revive(void)
{
	if (disk.fd < 0)
		return;
	umount2(disk.folder, MNT_DETACH);
	close(disk.fd); /* whoever waits for an answer gets an error */
	disk.fd = -1;
}

/* False where it cannot be. */
static bool disk_die(void)
{
	char options[96];

	disk.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (disk.fd < 0)
		return false;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", disk.fd);
	if (mount("dead", disk.folder, "fuse", MS_NOSUID | MS_NODEV, options)) {
		close(disk.fd);
		disk.fd = -1;
		return false;
	}
	if (greet(disk.fd))
		return true;
	disk_revive();
	return false;
}

/* Somebody looks at something there, and waits from now on. */
static void disk_wait_visitor(void)
{
	struct pollfd asked = { .fd = disk.fd, .events = POLLIN };

	assert_int_equal(poll(&asked, 1, test_remaining_ms(test_deadline_ms())), 1);
}

/* ---- the rig ---- */

/* The file of a model; a link in its place says where it is now. */
static void put_on_disk(struct rig *rig, const char *model)
{
	char place[PATH_MAX], target[64];
	char *file, *link;

	snprintf(place, sizeof(place), "%s", rig->dir);
	snprintf(target, sizeof(target), "disk/%s.stub", model);
	assert_true(asprintf(&file, "%s/%s", place, target) > 0);
	assert_true(asprintf(&link, "%s/%s.stub", place, model) > 0);
	assert_int_equal(rename(link, file), 0);
	assert_int_equal(symlink(target, link), 0);
	free(file);
	free(link);
}

/* The models: "m" and "late", whose files are on the disk and go to their workers open, "other",
 * and "slow", which is never loaded. With a gate the worker of "m" has loaded when somebody has
 * opened it for writing. `more` are lines of the backend. */
static void begin(struct rig *rig, bool has_gate, const char *more)
{
	char behaviour[PATH_MAX + 32] = "answer=normal", *gate;
	char backend[256];

	rig_init(rig);
	gate = rig_gate(rig, "gate");
	if (has_gate)
		snprintf(behaviour, sizeof(behaviour), "start=gate\ngate=%s", gate);
	free(gate);
	snprintf(rig->settings, sizeof(rig->settings), "shutdown_timeout_secs = " NEVER_SECS);
	snprintf(backend, sizeof(backend),
		 "readiness = \"http:/health\"\ndevice = \"cpu\"\nmodel_by = \"descriptor\"\n"
		 "stop_grace_secs = " NEVER_SECS "\n%s",
		 more);
	rig_backend(rig, "fake", "{socket}", backend);
	rig_model(rig, "m", behaviour, "backend = \"fake\"");
	rig_model(rig, "late", "answer=normal", "backend = \"fake\"");
	rig_model(rig, "other", "answer=normal", "backend = \"fake\"");
	rig_model(rig, "slow", "start=never_ready", "backend = \"fake\"");
	snprintf(disk.folder, sizeof(disk.folder), "%s/disk", rig->dir);
	assert_int_equal(mkdir(disk.folder, 0700), 0);
	put_on_disk(rig, "m");
	put_on_disk(rig, "late");
	rig_start(rig);
}

static void finish(struct rig *rig)
{
	disk_revive();
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

static void chat_ok(struct rig *rig, const char *model)
{
	json_t *answer = NULL;

	assert_int_equal(client_call(rig->address, "POST", "/v1/chat/completions",
				     chat_body(model, false), &answer),
			 200);
	json_decref(answer);
}

static void start_worker(struct rig *rig, const char *model, char ret_id[64])
{
	json_t *answer = NULL;
	char body[64];

	snprintf(body, sizeof(body), "{\"model\":\"%s\"}", model);
	assert_int_equal(client_call(rig->address, "POST", "/v2/workers/start", body, &answer),
			 202);
	snprintf(ret_id, 64, "%s", json_string_value(json_object_get(answer, "worker_id")));
	json_decref(answer);
}

static void stop_worker(struct rig *rig, const char *id)
{
	char body[96];

	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"force\":true}", id);
	assert_int_equal(client_call(rig->address, "POST", "/v2/workers/stop", body, NULL), 202);
}

static char *worker_text(struct rig *rig, const char *id, const char *member)
{
	static char text[256];
	char path[96];
	json_t *worker;

	snprintf(path, sizeof(path), "/v2/workers/%s", id);
	worker = rig_get(rig, path);
	snprintf(text, sizeof(text), "%s",
		 json_is_string(json_object_get(worker, member))
			 ? json_string_value(json_object_get(worker, member))
			 : "");
	json_decref(worker);
	return text;
}

static void wait_status(struct rig *rig, const char *id, const char *status)
{
	int64_t deadline = test_deadline_ms();

	while (strcmp(worker_text(rig, id, "status"), status) != 0) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("worker %s is not %s", id, status);
	}
}

/* A cold start, a request and a stop are all loop 0's work, or go through it. */
static void assert_others_are_served(struct rig *rig)
{
	char id[64];

	start_worker(rig, "other", id);
	chat_ok(rig, "other");
	stop_worker(rig, id);
	wait_status(rig, id, "stopped");
}

/* By a second signal, for the first one waits for what runs. */
static void assert_ends(struct rig *rig)
{
	int status;

	proc_signal(rig->daemon, SIGTERM);
	proc_wait_line(rig->daemon, "shutting down");
	proc_signal(rig->daemon, SIGTERM);
	status = proc_wait(rig->daemon);
	disk_revive();
	assert_int_equal(status, 0);
	assert_true(proc_has_line(rig->daemon, "the disk of its model's file"));
	proc_free(rig->daemon);
	rig->daemon = NULL;
	rig_fini(rig);
}

/* ---- the scenarios ---- */

static void before_it_is_opened(void **state)
{
	struct rig rig;
	char id[64];

	(void)state;
	begin(&rig, false, "");
	if (HAS_LEAK_SANITIZER || !disk_die()) {
		finish(&rig);
		skip();
	}
	start_worker(&rig, "m", id);
	disk_wait_visitor();
	assert_others_are_served(&rig);
	assert_ends(&rig);
}

static void assert_refused(struct client *client, const char *part, bool has_part)
{
	const char *message;
	json_t *answer;

	assert_int_equal(client_status(client), 503);
	answer = client_json(client);
	message = json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
	assert_non_null(message);
	if (!strstr(message, part) == has_part)
		fail_msg("\"%s\" is %sin \"%s\"", part, has_part ? "not " : "", message);
	json_decref(answer);
	client_close(client);
}

static struct client *ask(struct rig *rig, const char *model)
{
	struct client *client = client_open(rig->address);

	client_request(client, "POST", "/v1/chat/completions", NULL, chat_body(model, false));
	return client;
}

/* Whose file takes its time is not late: the start timeout is of those that load. */
static void a_verification_is_no_start(void **state)
{
	static const char late[] = "was not ready within 1 s";
	struct client *first;
	struct rig rig;

	(void)state;
	begin(&rig, false, "start_timeout_secs = 1\n");
	if (!disk_die()) {
		finish(&rig);
		skip();
	}
	first = ask(&rig, "m");
	disk_wait_visitor();
	/* One that came later is late; the first one would have been before. */
	assert_refused(ask(&rig, "slow"), late, true);
	disk_revive();
	assert_refused(first, late, false);
	finish(&rig);
}

/* The registry is held, so that the disk can die while the worker's record is written: it is
 * verified when it has an address. */
static sqlite3 *hold_registry_for_worker(struct rig *rig, char ret_id[64])
{
	int64_t deadline = test_deadline_ms();
	char path[PATH_MAX];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/state/registry.db", rig->dir);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	start_worker(rig, "m", ret_id);
	while (!worker_text(rig, ret_id, "socket")[0]) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("worker %s got no address", ret_id);
	}
	return db;
}

static void let_registry_go(sqlite3 *db)
{
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void before_the_worker_is_spawned(void **state)
{
	char id[64];
	struct rig rig;
	sqlite3 *db;
	bool died;

	(void)state;
	begin(&rig, false, "");
	db = hold_registry_for_worker(&rig, id);
	died = !HAS_LEAK_SANITIZER && disk_die();
	let_registry_go(db);
	if (!died) {
		chat_ok(&rig, "m");
		finish(&rig);
		skip();
	}
	disk_wait_visitor();
	assert_others_are_served(&rig);
	assert_int_equal(rig_workers(&rig, NULL, NULL), 1);
	assert_ends(&rig);
}

/* Its record is being written while all others that wait for the disk are left to it: it must not
 * look at the file then, for nobody would leave it any more. */
static void the_end_before_the_worker_is_spawned(void **state)
{
	char id[64], late[64];
	struct rig rig;
	sqlite3 *db;

	(void)state;
	begin(&rig, false, "");
	db = hold_registry_for_worker(&rig, id);
	if (HAS_LEAK_SANITIZER || !disk_die()) {
		let_registry_go(db);
		finish(&rig);
		skip();
	}
	start_worker(&rig, "late", late);
	disk_wait_visitor();
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "shutting down");
	proc_signal(rig.daemon, SIGTERM);
	proc_wait_line(rig.daemon, "the disk of its model's file did not answer");
	let_registry_go(db);
	assert_int_equal(proc_wait(rig.daemon), 0);
	disk_revive();
	proc_free(rig.daemon);
	rig.daemon = NULL;
	rig_fini(&rig);
}

/* The worker of "m" is loading, the disk dies, and the worker has loaded; false where it cannot
 * be. */
static bool die_before_it_has_loaded(struct rig *rig, char ret_id[64])
{
	char gate[PATH_MAX];
	bool died;
	int fd;

	begin(rig, true, "");
	start_worker(rig, "m", ret_id);
	proc_wait_line(rig->daemon, "worker spawned");
	died = disk_die();
	snprintf(gate, sizeof(gate), "%s/gate", rig->dir);
	fd = rig_gate_open(gate);
	close(fd);
	if (died)
		disk_wait_visitor();
	return died;
}

static void after_the_load(void **state)
{
	struct rig rig;
	char id[64];

	(void)state;
	if (!die_before_it_has_loaded(&rig, id)) {
		finish(&rig);
		skip();
	}
	assert_others_are_served(&rig);
	assert_string_equal(worker_text(&rig, id, "status"), "spawning");
	/* What a disk that failed says of the file is nothing that speaks against the worker. */
	disk_revive();
	chat_ok(&rig, "m");
	assert_true(proc_has_line(rig.daemon, "cannot look at the file"));
	finish(&rig);
}

static void a_stop_after_the_load(void **state)
{
	struct rig rig;
	char id[64];

	(void)state;
	if (!die_before_it_has_loaded(&rig, id)) {
		finish(&rig);
		skip();
	}
	stop_worker(&rig, id);
	wait_status(&rig, id, "stopped");
	assert_int_equal(rig_reserved(&rig), 0);
	assert_others_are_served(&rig);
	disk_revive();
	finish(&rig);
}

/* Its thread waits for the disk for ever, and holds nothing up. */
static void the_end_after_the_load(void **state)
{
	struct rig rig;
	char id[64];
	int status;

	(void)state;
	if (HAS_LEAK_SANITIZER)
		skip();
	if (!die_before_it_has_loaded(&rig, id)) {
		finish(&rig);
		skip();
	}
	status = rig_stop(&rig);
	disk_revive();
	assert_int_equal(status, 0);
	rig_fini(&rig);
}

static int clean_up(void **state)
{
	disk_revive();
	client_close_all();
	return proc_free_all(state);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(before_it_is_opened),
		SCENARIO(a_verification_is_no_start),
		SCENARIO(before_the_worker_is_spawned),
		SCENARIO(the_end_before_the_worker_is_spawned),
		SCENARIO(after_the_load),
		SCENARIO(a_stop_after_the_load),
		SCENARIO(the_end_after_the_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
