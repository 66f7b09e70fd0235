/* SPDX-License-Identifier: MIT */
/* fixture.c - see fixture.h. Every wait is for the daemon and has proc.h's deadline. */
#include "faults/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENVIRON_MAX 65536

/* ---- addresses ---- */

/* Below ip_local_port_range, whose default begins at 32768 (ip(7)). */
#define PORT_FIRST 20000
#define PORT_COUNT 12000

static bool is_free(uint16_t port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	bool bound;

	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	bound = bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0;
	close(fd);
	return bound;
}

/*
 * Gives the rig's daemons a port of which the kernel makes no other use: one that it picks may be
 * somebody else's, or the near end of a connection, while one daemon is dead and the next is not
 * there yet.
 */
static void settle_address(struct rig *rig)
{
	/* Tests that run at the same time begin at different ones. */
	unsigned at = (unsigned)getpid() * 13;

	while (!is_free((uint16_t)(PORT_FIRST + at % PORT_COUNT)))
		at++;
	snprintf(rig->listen, sizeof(rig->listen), "127.0.0.1:%u", PORT_FIRST + at % PORT_COUNT);
}

/* ---- the rig ---- */

void fault_rig_init(struct rig *rig, const char *pool_settings, const char *more)
{
	rig_init(rig);
	settle_address(rig);
	snprintf(rig->settings, sizeof(rig->settings), "%s\n%s\n", pool_settings, more);
	rig_backend(rig, "fake", "{socket}",
		    "readiness = \"http:/health\"\ndevice = \"cpu\"\n"
		    "env = { FAKE_TOKEN = \"{spawn_token}\" }");
	rig_backend(rig, "silent", "{socket}",
		    "readiness = \"callback\"\ndevice = \"cpu\"\n"
		    "env = { FAKE_TOKEN = \"{spawn_token}\", FAKE_URL = \"{ready_url}\" }");
	rig_backend(rig, "fake_port", "{port}",
		    "readiness = \"http:/health\"\ndevice = \"cpu\"\n"
		    "env = { FAKE_TOKEN = \"{spawn_token}\" }");
}

void fault_behaviour(struct rig *rig, const char *model, const char *behaviour)
{
	char name[96];

	snprintf(name, sizeof(name), "%s.stub", model);
	free(test_file_write(rig->dir, name, behaviour));
}

/* ---- questions ---- */

int fault_chat(struct rig *rig, const char *model, json_t **ret_answer)
{
	return client_call(rig->address, "POST", "/v1/chat/completions", chat_body(model, false),
			   ret_answer);
}

void fault_chat_ok(struct rig *rig, const char *model)
{
	json_t *answer = NULL;
	int status = fault_chat(rig, model, &answer);

	if (status != 200)
		fail_msg("%d: %s", status, fault_message(answer));
	json_decref(answer);
}

const char *fault_message(json_t *answer)
{
	static char text[2048];
	const char *message = json_string_value(
		json_object_get(json_object_get(answer, "error"), "message"));

	assert_non_null(message);
	snprintf(text, sizeof(text), "%s", message);
	json_decref(answer);
	return text;
}

void fault_wait_served(struct rig *rig, const char *model)
{
	int64_t deadline = test_deadline_ms();
	json_t *answer = NULL;

	while (fault_chat(rig, model, &answer) != 200) {
		const char *message = fault_message(answer);

		if (test_remaining_ms(deadline) == 0)
			fail_msg("'%s' is served no more: %s", model, message);
	}
	json_decref(answer);
}

void fault_chat_refused(struct rig *rig, const char *model, int status, const char *code,
			const char *part)
{
	json_t *answer = NULL;
	const char *message;

	assert_int_equal(fault_chat(rig, model, &answer), status);
	assert_string_equal(error_code(answer), code);
	message = fault_message(answer);
	if (!strstr(message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, message);
}

json_t *fault_worker(struct rig *rig, const char *id)
{
	char path[96];

	snprintf(path, sizeof(path), "/v2/workers/%s", id);
	return rig_get(rig, path);
}

pid_t fault_start_worker(struct rig *rig, const char *model, char ret_id[64])
{
	int64_t deadline = test_deadline_ms();
	json_t *answer = NULL;
	char body[128];
	pid_t pid;

	snprintf(body, sizeof(body), "{\"model\":\"%s\"}", model);
	assert_int_equal(client_call(rig->address, "POST", "/v2/workers/start", body, &answer),
			 202);
	snprintf(ret_id, 64, "%s", json_string_value(json_object_get(answer, "worker_id")));
	json_decref(answer);
	do {
		answer = fault_worker(rig, ret_id);
		pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));
		json_decref(answer);
		if (test_remaining_ms(deadline) == 0)
			fail_msg("worker %s got no process", ret_id);
	} while (pid == 0);
	return pid;
}

void fault_stop_worker(struct rig *rig, const char *id)
{
	char body[128];

	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"force\":true}", id);
	assert_int_equal(client_call(rig->address, "POST", "/v2/workers/stop", body, NULL), 202);
}

void fault_wait_status(struct rig *rig, const char *id, const char *status)
{
	int64_t deadline = test_deadline_ms();
	bool is_so;

	do {
		json_t *worker = fault_worker(rig, id);
		const char *now = json_string_value(json_object_get(worker, "status"));

		is_so = strcmp(now, status) == 0;
		if (!is_so && test_remaining_ms(deadline) == 0)
			fail_msg("worker %s is %s, not %s", id, now, status);
		json_decref(worker);
	} while (!is_so);
}

/* ---- /proc ---- */

static size_t read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(text, 1, size - 1, file);
	fclose(file);
	text[length] = '\0';
	return length;
}

char *fault_environ(pid_t pid, const char *name)
{
	static char text[ENVIRON_MAX];
	size_t length = read_proc(pid, "environ", text, sizeof(text)), name_length = strlen(name);

	for (const char *at = text; at < text + length; at += strlen(at) + 1) {
		if (strncmp(at, name, name_length) == 0 && at[name_length] == '=')
			return strdup(at + name_length + 1);
	}
	return NULL;
}

size_t fault_processes(const struct rig *rig)
{
	static char line[8192];
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);
		size_t length = pid > 0 ? read_proc(pid, "cmdline", line, sizeof(line)) : 0;

		count += memmem(line, length, rig->dir, strlen(rig->dir)) != NULL;
	}
	closedir(dir);
	return count;
}

size_t fault_entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return count;
}

size_t fault_descriptors(const struct rig *rig)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)proc_pid(rig->daemon));
	return fault_entries(path);
}

void fault_wait_descriptors(const struct rig *rig, size_t wanted)
{
	int64_t deadline = test_deadline_ms();

	while (fault_descriptors(rig) > wanted) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%zu descriptors, there should be %zu", fault_descriptors(rig),
				 wanted);
	}
}

/* ---- sums ---- */

/* Devices, workers and counters are not read at one moment: asked again until they agree. */
static bool books_agree(struct rig *rig, char *ret_why, size_t size)
{
	json_t *state = rig_get(rig, "/v2/state");
	json_t *counters = json_object_get(state, "counters");
	json_t *cpu = json_array_get(json_object_get(state, "devices"), 0);
	json_int_t surplus = json_integer_value(json_object_get(cpu, "reserved_bytes"));
	json_int_t open = json_integer_value(json_object_get(counters, "submitted")) -
			  json_integer_value(json_object_get(counters, "granted")) -
			  json_integer_value(json_object_get(counters, "rejected")) -
			  json_integer_value(json_object_get(counters, "cancelled"));
	json_t *worker;
	size_t i;

	json_array_foreach(json_object_get(state, "workers"), i, worker)
	{
		surplus -= json_integer_value(json_object_get(worker, "reserved_bytes"));
	}
	json_decref(state);
	snprintf(ret_why, size,
		 "the ledger holds %lld bytes that are nobody's, and %lld tickets have no outcome",
		 (long long)surplus, (long long)open);
	return surplus == 0 && open == 0;
}

void fault_assert_books(struct rig *rig)
{
	int64_t deadline = test_deadline_ms();
	char why[160];

	while (!books_agree(rig, why, sizeof(why))) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%s", why);
	}
}
