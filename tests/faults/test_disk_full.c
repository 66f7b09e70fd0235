/* SPDX-License-Identifier: MIT */
/*
 * test_disk_full.c - the daemon's state directory on a file system that is full, or nearly. What
 * cannot be written down is not done, and whoever asked for it is told why; what runs goes on; and
 * when there is room again all is as before.
 *
 * The file system is a small tmpfs in a mount namespace of the test's own, which takes root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

#define DISK_BYTES "2097152"
/* As many pages at most are left free: none, or some that run out in the middle of something. */
#define FREE_PAGES_MAX 24
#define PAGE_BYTES 4096

struct stage {
	struct rig rig;
	struct campaign campaign;
	char state[300];
	char ballast[320];
	unsigned refused, served;
};

static void mount_disk(struct stage *stage)
{
	snprintf(stage->state, sizeof(stage->state), "%s/state", stage->rig.dir);
	snprintf(stage->ballast, sizeof(stage->ballast), "%s/ballast", stage->state);
	assert_int_equal(mkdir(stage->state, 0700), 0);
	assert_int_equal(mount("tmpfs", stage->state, "tmpfs", 0, "size=" DISK_BYTES ",mode=0700"),
			 0);
}

/* Fills the disk but for some pages. */
static void fill_disk(struct stage *stage, size_t free_pages)
{
	static const char page[PAGE_BYTES] = { 1 };
	int fd = open(stage->ballast, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t length = 0;
	ssize_t put;

	assert_true(fd >= 0);
	while ((put = write(fd, page, sizeof(page))) > 0)
		length += put;
	assert_int_equal(errno, ENOSPC);
	length -= (off_t)(free_pages * PAGE_BYTES);
	assert_int_equal(ftruncate(fd, length > 0 ? length : 0), 0);
	close(fd);
}

static void free_disk(struct stage *stage)
{
	assert_int_equal(unlink(stage->ballast), 0);
}

static bool names_the_disk(const char *message)
{
	return strstr(message, "disk is full") || strstr(message, strerror(ENOSPC));
}

/* A worker without a record would be nobody's when this daemon dies. */
static void assert_recorded(struct stage *stage)
{
	char path[320];
	sqlite3_stmt *statement;
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/registry.db", stage->state);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT 1 FROM worker WHERE model_id = 'm'", -1,
					    &statement, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

/* Served, or refused because of the disk. */
static void ask_when_full(struct stage *stage)
{
	json_t *answer = NULL;
	const char *message;
	int status = fault_chat(&stage->rig, "m", &answer);

	if (status == 200) {
		stage->served++;
		assert_recorded(stage);
		json_decref(answer);
		return;
	}
	stage->refused++;
	assert_int_equal(status, 503);
	message = fault_message(answer);
	if (!names_the_disk(message))
		fail_msg("\"%s\" does not name the disk", message);
}

static void wait_until_served(struct stage *stage)
{
	int64_t deadline = test_deadline_ms();
	json_t *answer = NULL;

	while (fault_chat(&stage->rig, "m", &answer) != 200) {
		const char *message = fault_message(answer);

		if (!names_the_disk(message) || test_remaining_ms(deadline) == 0)
			fail_msg("with room again: %s", message);
	}
	json_decref(answer);
}

/* The worker of "m" ends, whatever can be written of it: its memory is free all the same. An end
 * that was asked for, as a death would add to the back-off. */
static void end_worker_of_m(struct stage *stage)
{
	json_t *list = rig_get(&stage->rig, "/v2/workers"), *worker;
	size_t i;

	json_array_foreach(json_object_get(list, "workers"), i, worker)
	{
		if (strcmp(json_string_value(json_object_get(worker, "model_id")), "m") == 0)
			fault_stop_worker(&stage->rig,
					  json_string_value(json_object_get(worker, "worker_id")));
	}
	json_decref(list);
	rig_wait_workers(&stage->rig, 1);
	assert_int_equal(rig_reserved(&stage->rig), 16 << 20);
}

/* The state directory has the files of so many workers, in the end. */
static void assert_files(struct stage *stage, size_t workers)
{
	int64_t deadline = test_deadline_ms();
	char path[320];

	snprintf(path, sizeof(path), "%s/workers", stage->state);
	while (fault_entries(path) != 2 * workers) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%zu files of %zu workers", fault_entries(path), workers);
	}
}

static void play_round(struct stage *stage)
{
	bool loaded = campaign_below(&stage->campaign, 2);

	if (loaded)
		wait_until_served(stage);
	fill_disk(stage, campaign_below(&stage->campaign, 2)
				 ? 0
				 : campaign_below(&stage->campaign, FREE_PAGES_MAX));
	if (loaded)
		end_worker_of_m(stage);
	ask_when_full(stage);
	fault_chat_ok(&stage->rig, "kept");
	free_disk(stage);
	wait_until_served(stage);
	end_worker_of_m(stage);
	/* What could not be cleared away is, now that there is room. */
	assert_files(stage, 1);
}

static void a_full_disk_is_named_and_survived(void **state)
{
	struct stage stage = { .campaign = campaign_begin("full disk", 5, 300) };
	struct rig *rig = &stage.rig;
	struct proc *refused;
	pid_t kept, still;

	(void)state;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		print_message("skipped: a mount of one's own: %s\n", strerror(errno));
		skip();
	}
	fault_rig_init(rig, "", "");
	rig_model(rig, "kept", "answer=normal", "backend = \"fake\"\nttl = \"2h\"");
	rig_model(rig, "m", "answer=normal", "backend = \"fake\"\nttl = \"2h\"");
	mount_disk(&stage);

	/* It does not start where it can write nothing down, and says so. */
	fill_disk(&stage, 0);
	refused = rig_start_only(rig);
	assert_int_not_equal(proc_wait(refused), 0);
	if (!names_the_disk(proc_last_line(refused)))
		fail_msg("\"%s\" does not name the disk", proc_last_line(refused));
	proc_free(refused);
	free_disk(&stage);

	rig_start(rig);
	fault_chat_ok(rig, "kept");
	rig_workers(rig, &kept, NULL);
	for (unsigned round = 0; round < stage.campaign.rounds; round++)
		play_round(&stage);
	print_message("full: %u refused, %u served\n", stage.refused, stage.served);
	assert_true(stage.refused > 0);
	assert_int_equal(rig_workers(rig, &still, NULL), 1);
	assert_int_equal(still, kept);
	fault_assert_books(rig);

	/* What was not written down confuses the next daemon no more. */
	assert_int_equal(rig_stop(rig), 0);
	assert_int_equal(fault_processes(rig), 0);
	rig_start(rig);
	assert_int_equal(rig_workers(rig, NULL, NULL), 0);
	assert_int_equal(rig_reserved(rig), 0);
	fault_chat_ok(rig, "m");
	assert_int_equal(rig_stop(rig), 0);
	assert_int_equal(umount(stage.state), 0);
	rig_fini(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_full_disk_is_named_and_survived, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
