/* SPDX-License-Identifier: MIT */
/* census.c - see census.h. A process is a worker if it executes the fake worker and its model file
 * lies in the rig's directory; the stub above it executes something else. */
#include "faults/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t read_command(pid_t pid, char *text, size_t size)
{
	char path[64];
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(text, 1, size - 1, file);
	fclose(file);
	text[length] = '\0';
	return length;
}

/* The model of a fake worker of the rig's; false when the process is none. */
static bool read_worker(const struct rig *rig, pid_t pid, char *ret_model, size_t size)
{
	static char own[PATH_MAX];
	char path[64], exe[PATH_MAX], command[4096];
	const char *file;
	ssize_t length;

	if (!own[0] && !realpath(getenv("FAKE_WORKER"), own))
		fail_msg("FAKE_WORKER names no file");
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	length = readlink(path, exe, sizeof(exe) - 1);
	if (length <= 0)
		return false; /* it is not ours, or ending */
	exe[length] = '\0';
	if (strcmp(exe, own) != 0 || read_command(pid, command, sizeof(command)) == 0)
		return false;
	file = command + strlen(command) + 1; /* its first argument */
	if (strncmp(file, rig->dir, strlen(rig->dir)) != 0)
		return false;
	file = strrchr(file, '/') + 1;
	snprintf(ret_model, size, "%.*s", (int)strcspn(file, "."), file);
	return true;
}

void census_of_processes(const struct rig *rig, struct census *census)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	assert_non_null(dir);
	census->count = 0;
	while ((entry = readdir(dir))) {
		struct census_worker *worker = &census->workers[census->count];
		pid_t pid = atoi(entry->d_name);

		if (pid <= 0 || !read_worker(rig, pid, worker->model, sizeof(worker->model)))
			continue;
		worker->pid = pid;
		worker->id[0] = '\0';
		census->count++;
		assert_true(census->count < CENSUS_MAX);
	}
	closedir(dir);
}

void census_of_daemon(struct rig *rig, struct census *census)
{
	json_t *list = rig_get(rig, "/v2/workers"), *worker;
	size_t i;

	census->count = 0;
	json_array_foreach(json_object_get(list, "workers"), i, worker)
	{
		struct census_worker *row = &census->workers[census->count];

		row->pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));
		if (row->pid == 0)
			continue;
		snprintf(row->model, sizeof(row->model), "%s",
			 json_string_value(json_object_get(worker, "model_id")));
		snprintf(row->id, sizeof(row->id), "%s",
			 json_string_value(json_object_get(worker, "worker_id")));
		census->count++;
		assert_true(census->count < CENSUS_MAX);
	}
	json_decref(list);
}

const struct census_worker *census_find(const struct census *census, pid_t pid)
{
	for (size_t i = 0; i < census->count; i++) {
		if (census->workers[i].pid == pid)
			return &census->workers[i];
	}
	return NULL;
}

const struct census_worker *census_find_model(const struct census *census, const char *model)
{
	for (size_t i = 0; i < census->count; i++) {
		if (strcmp(census->workers[i].model, model) == 0)
			return &census->workers[i];
	}
	return NULL;
}

/* ---- what must hold ---- */

static bool agree(struct rig *rig, char *why, size_t size)
{
	struct census said, real;

	census_of_daemon(rig, &said);
	census_of_processes(rig, &real);
	for (size_t i = 0; i < said.count; i++) {
		const struct census_worker *worker = &said.workers[i];

		snprintf(why, size, "worker %s of '%s', pid %d, is no process of it", worker->id,
			 worker->model, (int)worker->pid);
		if (!census_find(&real, worker->pid))
			return false;
		snprintf(why, size, "'%s' has two workers", worker->model);
		if (census_find_model(&said, worker->model) != worker)
			return false;
	}
	for (size_t i = 0; i < real.count; i++) {
		const struct census_worker *worker = &real.workers[i];

		snprintf(why, size, "process %d serves '%s' and is nobody's worker",
			 (int)worker->pid, worker->model);
		if (!census_find(&said, worker->pid))
			return false;
	}
	return true;
}

/* A file of a worker is called after it; the daemon may be about to remove one. */
static bool files_agree(struct rig *rig, const char *folder, char *why, size_t size)
{
	char path[320];
	struct dirent *entry;
	bool known = true;
	struct census said;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/state/%s", rig->dir, folder);
	dir = opendir(path);
	if (!dir)
		return true; /* no worker has been there yet */
	census_of_daemon(rig, &said);
	while (known && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(why, size, "%s/%s belongs to no worker", folder, entry->d_name);
		known = false;
		for (size_t i = 0; i < said.count; i++)
			known |= strncmp(entry->d_name, said.workers[i].id,
					 strlen(said.workers[i].id)) == 0;
	}
	closedir(dir);
	return known;
}

void census_assert_settled(struct rig *rig)
{
	int64_t deadline = test_deadline_ms();
	char why[512];

	while (!agree(rig, why, sizeof(why)) || !files_agree(rig, "workers", why, sizeof(why)) ||
	       !files_agree(rig, "run", why, sizeof(why))) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%s", why);
	}
	fault_assert_books(rig);
}

/* ---- ends ---- */

void census_kill_daemon(struct rig *rig)
{
	proc_signal(rig->daemon, SIGKILL);
	assert_int_equal(proc_wait(rig->daemon), 128 + SIGKILL);
	proc_free(rig->daemon);
	rig->daemon = NULL;
}
