/* SPDX-License-Identifier: MIT */
/*
 * test_pid_reuse.c - records of workers, and status files of their stubs, whose number now belongs
 * to somebody else. The daemon that finds them drops them, and the innocent process is not
 * signalled once: it counts the signals that it gets, and the test looks whether it was stopped or
 * killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/lifecycle.h>
#include <poolcore/registry.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"
#include "lifecycle/life_file.h"

#define RECORDS_MAX 12

struct innocent {
	pid_t pid;
	uint64_t start_ticks;
};

static atomic_uint *signals; /* shared with the innocent */

/* ---- the innocent ---- */

static void count_signal(int number)
{
	(void)number;
	atomic_fetch_add(signals, 1);
}

/* In the child: leads a session, as a worker does, so that its group can be aimed at. */
static void be_innocent(int ready_fd)
{
	struct sigaction action = { .sa_handler = count_signal };
	char byte = 'r';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	if (write(ready_fd, &byte, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Fields 3 and 22 of /proc/PID/stat. */
static char read_stat(pid_t pid, uint64_t *ret_start_ticks)
{
	unsigned long long start;
	char path[64], text[1024], state;
	const char *rest;
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = '\0';
	rest = strrchr(text, ')');
	assert_non_null(rest);
	assert_int_equal(sscanf(rest,
				") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
				"%*d %*d %*d %llu",
				&state, &start),
			 2);
	*ret_start_ticks = start;
	return state;
}

static void start_innocent(struct innocent *innocent)
{
	int ends[2];
	char byte;

	signals = mmap(NULL, sizeof(*signals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	assert_true(signals != MAP_FAILED);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	innocent->pid = fork();
	if (innocent->pid == 0)
		be_innocent(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	close(ends[1]);
	read_stat(innocent->pid, &innocent->start_ticks);
}

static void assert_untouched(const struct innocent *innocent)
{
	uint64_t ticks;

	assert_int_equal(waitpid(innocent->pid, NULL, WNOHANG), 0);
	assert_int_equal(read_stat(innocent->pid, &ticks), 'S');
	assert_int_equal(atomic_load(signals), 0);
}

static void end_innocent(const struct innocent *innocent)
{
	kill(innocent->pid, SIGKILL);
	assert_int_equal(waitpid(innocent->pid, NULL, 0), innocent->pid);
	munmap((void *)signals, sizeof(*signals));
}

/* ---- the records ---- */

/* A record of the pid that is wrong about who it is: its start, its boot, or both. */
static struct pc_worker_info forge(struct campaign *campaign, const struct innocent *innocent,
				   const struct rig *rig, unsigned number)
{
	static const char other_boot[] = "00000000-0000-4000-8000-000000000000";
	static const enum pc_worker_status statuses[] = { PC_WORKER_SPAWNING, PC_WORKER_READY,
							  PC_WORKER_BUSY, PC_WORKER_IDLE,
							  PC_WORKER_STOPPING };
	const uint64_t starts[] = { innocent->start_ticks - 1, innocent->start_ticks + 1, 1,
				    UINT64_MAX >> 1, innocent->start_ticks / 2 };
	struct pc_worker_info worker = {
		.gpu_id = -1,
		.slots = 1,
		.pid = innocent->pid,
		.stub_pid = campaign_below(campaign, 2) ? innocent->pid : 0,
		.start_ticks = starts[campaign_below(campaign, 5)],
		.status = statuses[campaign_below(campaign, 5)],
		.spawned_wall_ms = 1700000000000 + number,
		.reserved_bytes = 16 << 20,
	};
	bool wrong_boot = campaign_below(campaign, 3) == 0;

	/* The right number and start of an earlier boot; or nothing is right. */
	if (wrong_boot && campaign_below(campaign, 2))
		worker.start_ticks = innocent->start_ticks;
	snprintf(worker.boot_id, sizeof(worker.boot_id), "%s",
		 wrong_boot ? other_boot : pc_boot_id());
	snprintf(worker.worker_id, sizeof(worker.worker_id), "w-%06llx-%u",
		 (unsigned long long)campaign_below(campaign, 0x1000000), number);
	snprintf(worker.backend, sizeof(worker.backend), "fake");
	snprintf(worker.model_id, sizeof(worker.model_id), "m");
	snprintf(worker.model_ref, sizeof(worker.model_ref), "file:%s/m.stub", rig->dir);
	snprintf(worker.device, sizeof(worker.device), "cpu");
	snprintf(worker.socket, sizeof(worker.socket), "%s/state/run/%s.sock", rig->dir,
		 worker.worker_id);
	snprintf(worker.spawn_token, sizeof(worker.spawn_token), "%032x", number);
	return worker;
}

/* What a stub would have left that had this number then. */
static void forge_status(struct campaign *campaign, const struct innocent *innocent,
			 const struct rig *rig, const struct pc_worker_info *worker)
{
	struct pc__life_status status = {
		.stub_pid = innocent->pid,
		.stub_start_ticks = (int64_t)worker->start_ticks,
		.stub_pidfd_inode = campaign_below(campaign, 2) ? (int64_t)innocent->pid + 7 : 0,
		.worker_pid = campaign_below(campaign, 2) ? innocent->pid : 0,
		.worker_start_ticks = (int64_t)worker->start_ticks,
	};
	char name[PC__LIFE_NAME_SIZE], path[400], text[PC__LIFE_STATUS_MAX + 1];
	size_t length;

	snprintf(status.boot_id, sizeof(status.boot_id), "%s", worker->boot_id);
	snprintf(status.token, sizeof(status.token), "%s", worker->spawn_token);
	length = pc__life_format(&status, text);
	text[length] = '\0';
	pc__life_name(PC__LIFE_STATUS, worker->worker_id, name);
	snprintf(path, sizeof(path), "%s/state/workers", rig->dir);
	free(test_file_write(path, name, text));
}

static struct pc_registry *open_registry(const struct rig *rig)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_registry *registry;
	char path[300];

	snprintf(path, sizeof(path), "%s/state/registry.db", rig->dir);
	if (pc_registry_open_sqlite(path, &registry, &err))
		fail_msg("%s", err.message);
	return registry;
}

static void register_forgeries(struct campaign *campaign, const struct innocent *innocent,
			       const struct rig *rig, unsigned count)
{
	struct pc_registry *registry = open_registry(rig);

	for (unsigned i = 0; i < count; i++) {
		struct pc_worker_info worker = forge(campaign, innocent, rig, i);
		struct pc_error err = PC_ERROR_INIT;

		if (pc_registry_register(registry, &worker, &err))
			fail_msg("%s", err.message);
		if (campaign_below(campaign, 3))
			forge_status(campaign, innocent, rig, &worker);
	}
	pc_registry_close(registry);
}

static size_t count_records(const struct rig *rig)
{
	struct pc_registry *registry = open_registry(rig);
	struct pc_worker_info *workers = NULL;
	size_t count;

	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	pc_free(workers);
	pc_registry_close(registry);
	return count;
}

static size_t count_files(const struct rig *rig)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/state/workers", rig->dir);
	return fault_entries(path);
}

static void an_innocent_process_is_left_alone(void **state)
{
	struct campaign campaign = campaign_begin("reused pids", 8, 1000);
	struct innocent innocent;
	struct rig rig;

	(void)state;
	start_innocent(&innocent);
	fault_rig_init(&rig, "", "");
	rig_model(&rig, "m", "answer=normal", "backend = \"fake\"");
	/* Makes the state directory. */
	rig_start(&rig);
	assert_int_equal(rig_stop(&rig), 0);
	for (unsigned round = 0; round < campaign.rounds; round++) {
		unsigned count = 1 + (unsigned)campaign_below(&campaign, RECORDS_MAX);

		register_forgeries(&campaign, &innocent, &rig, count);
		assert_int_equal(count_records(&rig), count);
		rig_start(&rig);
		assert_untouched(&innocent);
		assert_int_equal(rig_workers(&rig, NULL, NULL), 0);
		assert_int_equal(rig_reserved(&rig), 0);
		assert_int_equal(count_files(&rig), 0);
		/* One of its own, whose end is not the innocent's either. */
		fault_chat_ok(&rig, "m");
		assert_int_equal(rig_stop(&rig), 0);
		assert_untouched(&innocent);
		assert_int_equal(count_records(&rig), 0);
	}
	end_innocent(&innocent);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(an_innocent_process_is_left_alone, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
