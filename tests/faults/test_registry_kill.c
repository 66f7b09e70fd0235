/* SPDX-License-Identifier: MIT */
/*
 * test_registry_kill.c - a process that writes the registry is killed at random moments, and the
 * next one finds every write that was acknowledged, no half one, and of the one that was under way
 * all or nothing.
 *
 * The writer tells through a pipe what it is about to do and when it was done; its end is a timer
 * of the kernel's that sends it SIGKILL, set to a random time after a random write. Every field of
 * a record follows from the worker's number and the record's version, so that a mixture of two
 * would show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/registry.h>

#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "lib/proc.h"

/* Records at a time; each slot's worker has a new number whenever it is registered again. */
#define SLOTS 24
/* The timer runs out at the latest so long after the write that sets it: a few writes' time. */
#define KILL_WITHIN_NS 4000000
/* A writer that nobody kills stops after so many writes. */
#define WRITES_MAX 200
/* The deaths that the test remembers, fewer than the registry does. */
#define ENDED_MAX 64

enum operation { REGISTER, UPDATE, UNREGISTER, END, OPERATION_COUNT };

struct slot {
	bool present;
	uint32_t number;
	uint32_t version;
};

struct books {
	struct slot slots[SLOTS];
	uint32_t last_number;
	uint32_t ended[ENDED_MAX]; /* the last one at ended_count - 1, as a ring */
	size_t ended_count;
};

struct write {
	uint32_t slot;
	uint32_t operation;
	uint32_t done; /* 0: about to be, 1: acknowledged */
};

struct trial {
	struct campaign campaign;
	char *dir;
	char path[300];
	struct books books;
	unsigned long acknowledged, in_doubt, completed;
};

/* ---- records ---- */

static void name_worker(char *out, size_t size, uint32_t number)
{
	snprintf(out, size, "w-kill-%u", number);
}

static struct pc_worker_info record(uint32_t number, uint32_t version)
{
	static const enum pc_worker_status first[] = { PC_WORKER_SPAWNING, PC_WORKER_READY };
	uint64_t mark = (uint64_t)number << 32 | version;
	struct pc_worker_info worker;

	memset(&worker, 0, sizeof(worker));
	name_worker(worker.worker_id, sizeof(worker.worker_id), number);
	snprintf(worker.backend, sizeof(worker.backend), "backend %u.%u", number, version);
	/* Longer than a page of the file in places, so that one row is not one write. */
	snprintf(worker.model_ref, sizeof(worker.model_ref), "file:/%0*u.%u", (int)(number % 900),
		 number, version);
	snprintf(worker.model_id, sizeof(worker.model_id), "model %u.%u", number, version);
	snprintf(worker.device, sizeof(worker.device), "gpu%u", version % 10);
	snprintf(worker.socket, sizeof(worker.socket), "/run/%u.%u.sock", number, version);
	snprintf(worker.spawn_token, sizeof(worker.spawn_token), "%016llx",
		 (unsigned long long)mark);
	worker.gpu_id = (int)(version % 10);
	worker.port = (uint16_t)(1 + mark % 65535);
	worker.status = version < 2   ? first[version]
			: version % 2 ? PC_WORKER_IDLE
				      : PC_WORKER_BUSY;
	worker.pid = (int32_t)(1 + mark % 4000000);
	worker.start_ticks = mark;
	worker.spawned_wall_ms = number;
	worker.updated_wall_ms = version;
	worker.reserved_bytes = mark * 3;
	worker.measured_bytes = mark * 5;
	return worker;
}

static bool is_record(const struct pc_worker_info *found, uint32_t number, uint32_t version)
{
	struct pc_worker_info wanted = record(number, version);

	return strcmp(found->worker_id, wanted.worker_id) == 0 &&
	       strcmp(found->backend, wanted.backend) == 0 &&
	       strcmp(found->model_ref, wanted.model_ref) == 0 &&
	       strcmp(found->model_id, wanted.model_id) == 0 &&
	       strcmp(found->device, wanted.device) == 0 &&
	       strcmp(found->socket, wanted.socket) == 0 &&
	       strcmp(found->spawn_token, wanted.spawn_token) == 0 &&
	       found->gpu_id == wanted.gpu_id && found->port == wanted.port &&
	       found->status == wanted.status && found->pid == wanted.pid &&
	       found->start_ticks == wanted.start_ticks &&
	       found->spawned_wall_ms == wanted.spawned_wall_ms &&
	       found->updated_wall_ms == wanted.updated_wall_ms &&
	       found->reserved_bytes == wanted.reserved_bytes &&
	       found->measured_bytes == wanted.measured_bytes;
}

static struct pc_worker_exit exit_of(uint32_t number)
{
	struct pc_worker_exit exit = { .known = true, .code = (int)(number % 256) };

	snprintf(exit.reason, sizeof(exit.reason), "ended as number %u", number);
	return exit;
}

/* ---- the books: what must be in the file ---- */

static void book(struct books *books, const struct write *write)
{
	struct slot *slot = &books->slots[write->slot];

	switch ((enum operation)write->operation) {
	case REGISTER:
		*slot = (struct slot){ .present = true, .number = ++books->last_number };
		break;
	case UPDATE:
		slot->version++;
		break;
	case END:
		books->ended[books->ended_count++ % ENDED_MAX] = slot->number;
		slot->present = false;
		break;
	case UNREGISTER:
	case OPERATION_COUNT:
		slot->present = false;
		break;
	}
}

static struct write choose(struct campaign *campaign, const struct books *books)
{
	struct write write = { .slot = (uint32_t)campaign_below(campaign, SLOTS) };
	size_t chance = campaign_below(campaign, 8);

	if (!books->slots[write.slot].present)
		write.operation = REGISTER;
	else
		write.operation = chance == 0 ? UNREGISTER : chance == 1 ? END : UPDATE;
	return write;
}

/* ---- the writer ---- */

static int carry_out(struct pc_registry *registry, const struct books *books,
		     const struct write *write, struct pc_error *err)
{
	const struct slot *slot = &books->slots[write->slot];
	struct pc_worker_info worker = record(slot->number, slot->version + 1);
	struct pc_worker_exit exit = exit_of(slot->number);

	switch ((enum operation)write->operation) {
	case REGISTER:
		worker = record(books->last_number + 1, 0);
		return pc_registry_register(registry, &worker, err);
	case UPDATE:
		return pc_registry_update(registry, &worker, err);
	case UNREGISTER:
		return pc_registry_unregister(registry, worker.worker_id, err);
	case END:
	case OPERATION_COUNT:
		break;
	}
	return pc_registry_end(registry, worker.worker_id, &exit, err);
}

/* Short enough for a pipe to take it whole or not at all. */
static bool tell(int fd, const struct write *told)
{
	return write(fd, told, sizeof(*told)) == (ssize_t)sizeof(*told);
}

static void die_within(uint64_t ns)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	const struct itimerspec when = { .it_value = { 0, (long)ns + 1 } };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &when, NULL))
		_exit(3);
}

/* In the child. */
static void write_until_killed(struct trial *trial, int pipe_fd)
{
	size_t armed_at = campaign_below(&trial->campaign, 20);
	uint64_t within_ns = campaign_next(&trial->campaign) % KILL_WITHIN_NS;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_registry *registry;

	if (armed_at == 0) /* perhaps while it opens the file */
		die_within(within_ns);
	if (pc_registry_open_sqlite(trial->path, &registry, &err))
		goto failed;
	for (size_t i = 1; i <= WRITES_MAX; i++) {
		struct write write = choose(&trial->campaign, &trial->books);

		if (i == armed_at)
			die_within(within_ns);
		if (!tell(pipe_fd, &write))
			_exit(2);
		if (carry_out(registry, &trial->books, &write, &err))
			goto failed;
		write.done = 1;
		if (!tell(pipe_fd, &write))
			_exit(2);
		book(&trial->books, &write);
	}
	_exit(0);
failed:
	fprintf(stderr, "the writer: %s\n", err.message);
	_exit(1);
}

/* ---- after it ---- */

/* Waits for its end; true when there is one write of which nobody knows whether it was done. */
static bool listen_to_writer(struct trial *trial, int pipe_fd, struct write *ret_in_doubt)
{
	struct write told;
	bool in_doubt = false;

	while (read(pipe_fd, &told, sizeof(told)) == (ssize_t)sizeof(told)) {
		in_doubt = !told.done;
		*ret_in_doubt = told;
		if (told.done) {
			book(&trial->books, &told);
			trial->acknowledged++;
		}
	}
	return in_doubt;
}

static void assert_sqlite_is_content(const struct trial *trial)
{
	sqlite3_stmt *statement;
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(trial->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

/* A registry that finds its file damaged sets it aside and begins anew. */
static void assert_nothing_was_set_aside(const struct trial *trial)
{
	DIR *dir = opendir(trial->dir);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (strstr(entry->d_name, "corrupt"))
			fail_msg("the registry set %s aside", entry->d_name);
	}
	closedir(dir);
}

static const struct pc_worker_info *find(const struct pc_worker_info *workers, size_t count,
					 uint32_t number)
{
	char name[PC_WORKER_ID_MAX];

	name_worker(name, sizeof(name), number);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(workers[i].worker_id, name) == 0)
			return &workers[i];
	}
	return NULL;
}

/* Whether the file says that the write in doubt was done. */
static bool was_done(const struct trial *trial, const struct write *write,
		     const struct pc_worker_info *workers, size_t count)
{
	const struct slot *slot = &trial->books.slots[write->slot];

	switch ((enum operation)write->operation) {
	case REGISTER:
		return find(workers, count, trial->books.last_number + 1) != NULL;
	case UPDATE: {
		const struct pc_worker_info *worker = find(workers, count, slot->number);

		return worker && is_record(worker, slot->number, slot->version + 1);
	}
	case UNREGISTER:
	case END:
	case OPERATION_COUNT:
		break;
	}
	return !find(workers, count, slot->number);
}

static void assert_workers_match(const struct trial *trial, const struct pc_worker_info *workers,
				 size_t count)
{
	size_t present = 0;

	for (size_t i = 0; i < SLOTS; i++) {
		const struct slot *slot = &trial->books.slots[i];
		const struct pc_worker_info *worker = find(workers, count, slot->number);

		if (!slot->present)
			continue;
		present++;
		if (!worker)
			fail_msg("worker %u is lost", slot->number);
		if (!is_record(worker, slot->number, slot->version))
			fail_msg("worker %u is not as version %u was written: it has '%s'",
				 slot->number, slot->version, worker->backend);
	}
	if (count != present)
		fail_msg("%zu workers, of which %zu were written", count, present);
}

static void assert_ends_match(const struct trial *trial, struct pc_registry *registry)
{
	const struct books *books = &trial->books;
	struct pc_departed_worker *departed;
	size_t count, expected = books->ended_count < ENDED_MAX ? books->ended_count : ENDED_MAX;

	assert_int_equal(pc_registry_list_departed(registry, NULL, &departed, &count, NULL), 0);
	assert_true(count >= expected);
	for (size_t i = 0; i < expected; i++) {
		uint32_t number = books->ended[(books->ended_count - 1 - i) % ENDED_MAX];
		struct pc_worker_exit exit = exit_of(number);
		char name[PC_WORKER_ID_MAX];

		name_worker(name, sizeof(name), number);
		assert_string_equal(departed[i].worker_id, name);
		assert_string_equal(departed[i].exit.reason, exit.reason);
		assert_int_equal(departed[i].exit.code, exit.code);
	}
	if (books->ended_count < ENDED_MAX)
		assert_int_equal(count, expected);
	pc_free(departed);
}

static void look_at_file(struct trial *trial, const struct write *in_doubt)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_worker_info *workers = NULL;
	struct pc_registry *registry;
	size_t count = 0;

	if (pc_registry_open_sqlite(trial->path, &registry, &err) ||
	    pc_registry_list(registry, &workers, &count, &err))
		fail_msg("%s", err.message);
	if (in_doubt && was_done(trial, in_doubt, workers, count)) {
		book(&trial->books, in_doubt);
		trial->completed++;
	}
	assert_workers_match(trial, workers, count);
	assert_ends_match(trial, registry);
	pc_free(workers);
	pc_registry_close(registry);
	assert_sqlite_is_content(trial);
	assert_nothing_was_set_aside(trial);
}

static void play_round(struct trial *trial)
{
	struct write in_doubt;
	int status, ends[2];
	bool has_doubt;
	pid_t pid;

	campaign_next(&trial->campaign);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		write_until_killed(trial, ends[1]);
	}
	assert_true(pid > 0);
	close(ends[1]);
	has_doubt = listen_to_writer(trial, ends[0], &in_doubt);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("the writer ended by itself, with status %d", WEXITSTATUS(status));
	trial->in_doubt += has_doubt;
	look_at_file(trial, has_doubt ? &in_doubt : NULL);
}

static void an_acknowledged_write_survives_a_kill(void **state)
{
	struct trial trial = {
		.campaign = campaign_begin("registry kills", 40, 1000),
		.dir = test_dir_make(),
	};

	(void)state;
	snprintf(trial.path, sizeof(trial.path), "%s/registry.db", trial.dir);
	for (unsigned round = 0; round < trial.campaign.rounds; round++)
		play_round(&trial);
	print_message("%lu writes acknowledged, %lu in doubt, of which %lu were done\n",
		      trial.acknowledged, trial.in_doubt, trial.completed);
	/* Otherwise nothing was tried. */
	assert_true(trial.acknowledged > trial.campaign.rounds);
	assert_true(trial.in_doubt > 0);
	test_dir_remove(trial.dir);
	free(trial.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_acknowledged_write_survives_a_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
