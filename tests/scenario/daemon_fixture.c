/* SPDX-License-Identifier: MIT */
/*
 * daemon_fixture.c - see daemon_fixture.h. The programs' paths come from the environment, set by
 * meson: POOL_MANAGERD, POOL_WORKER, POOLCORE_ENGINE_PATH.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "scenario/daemon_fixture.h"

static const char *program(const char *variable)
{
	const char *path = getenv(variable);

	assert_non_null(path);
	return path;
}

void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .dir = test_dir_make(), .listen = "127.0.0.1:0" };
}

/* A file that says so already is not touched: a model's file may not change while it is loaded. */
static void write_behaviour(struct rig *rig, const char *name, const char *behaviour)
{
	char path[512], text[4096] = "";
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	file = fopen(path, "re");
	if (file) {
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
	}
	if (strcmp(text, behaviour) != 0)
		free(test_file_write(rig->dir, name, behaviour));
}

void rig_model(struct rig *rig, const char *id, const char *behaviour, const char *more)
{
	char name[96];
	size_t length = strlen(rig->catalog);

	snprintf(name, sizeof(name), "%s.stub", id);
	if (behaviour)
		write_behaviour(rig, name, behaviour[0] ? behaviour : "\n");
	snprintf(rig->catalog + length, sizeof(rig->catalog) - length,
		 "[[model]]\nid = \"%s\"\nfile = \"%s\"\ncapability = \"text_to_text\"\n"
		 "%s\n%s\n%s\n",
		 id, name, strstr(more, "backend") ? "" : "backend = \"stub\"",
		 strstr(more, "est_memory") ? "" : "est_memory_allocation_mb = 16", more);
}

void rig_backend(struct rig *rig, const char *name, const char *address, const char *more)
{
	size_t length = strlen(rig->settings);

	snprintf(rig->settings + length, sizeof(rig->settings) - length,
		 "\n[backends.%s]\ncommand = [\"%s\", \"{model_path}\", \"%s\"]\n%s\n", name,
		 program("FAKE_WORKER"), address, more);
}

char *rig_gate(struct rig *rig, const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", rig->dir, name) > 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	return path;
}

int rig_gate_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

void rig_write(struct rig *rig)
{
	char text[8192];

	free(test_file_write(rig->dir, "catalog.toml", rig->catalog));
	snprintf(text, sizeof(text),
		 "[pool]\npool_id = \"rig\"\nstate_dir = \"state\"\n%s\n"
		 "[http]\nlisten = [\"%s\"]\nloops = 2\n%s"
		 "[log]\nlevel = \"debug\"\n"
		 "[catalog]\nfiles = [\"catalog.toml\"]\n"
		 "[backends.stub]\n"
		 "command = [\"%s\", \"--engine\", \"stub\", \"--model\", \"{model_path}\","
		 " \"--model-id\", \"{model_id}\", \"--worker-id\", \"{worker_id}\","
		 " \"--socket\", \"{socket}\", \"--slots\", \"{slots}\","
		 " \"--ready-url\", \"{ready_url}\"]\n"
		 "env = { POOL_WORKER_SPAWN_TOKEN = \"{spawn_token}\" }\n"
		 "readiness = \"callback\"\ndevice = \"cpu\"\n"
		 "[backends.port]\n"
		 "command = [\"%s\", \"--engine\", \"stub\", \"--model\", \"{model_path}\","
		 " \"--port\", \"{port}\"]\n"
		 "readiness = \"http:/health\"\ndevice = \"cpu\"\n",
		 rig->settings, rig->listen, rig->http, program("POOL_WORKER"),
		 program("POOL_WORKER"));
	free(rig->config);
	rig->config = test_file_write(rig->dir, "pool.toml", text);
}

struct proc *rig_start_only(struct rig *rig)
{
	if (rig->address[0])
		snprintf(rig->listen, sizeof(rig->listen), "%s", rig->address);
	rig_write(rig);

	const char *const argv[] = { program("POOL_MANAGERD"), "--config", rig->config, NULL };

	return proc_start(argv, NULL);
}

void rig_start(struct rig *rig)
{
	rig->daemon = rig_start_only(rig);

	const char *line = proc_wait_line(rig->daemon, "daemon serving");
	const char *at = strstr(line, "address=");

	assert_non_null(at);
	assert_int_equal(sscanf(at, "address=%127s", rig->address), 1);
}

int rig_stop(struct rig *rig)
{
	proc_signal(rig->daemon, SIGTERM);

	int status = proc_wait(rig->daemon);

	proc_free(rig->daemon);
	rig->daemon = NULL;
	return status;
}

void rig_fini(struct rig *rig)
{
	proc_free(rig->daemon);
	test_dir_remove(rig->dir);
	free(rig->dir);
	free(rig->config);
}

int rig_clean_up(void **state)
{
	client_close_all();
	return proc_free_all(state);
}

const char *chat_body(const char *model, bool stream)
{
	static char text[512];

	snprintf(text, sizeof(text),
		 "{\"model\":\"%s\",\"stream\":%s,\"temperature\":0,"
		 "\"messages\":[{\"role\":\"user\",\"content\":\"one two three four\"}]}",
		 model, stream ? "true" : "false");
	return text;
}

void assert_streamed(struct client *client)
{
	char text[256] = "", *event;

	assert_int_equal(client_status(client), 200);
	assert_non_null(strstr(client_header(client, "Content-Type"), "text/event-stream"));
	while ((event = client_event(client)) && strcmp(event, "[DONE]") != 0) {
		json_t *data = json_loads(event, 0, NULL);
		json_t *choice = json_array_get(json_object_get(data, "choices"), 0);
		const char *piece = json_string_value(
			json_object_get(json_object_get(choice, "delta"), "content"));

		strcat(text, piece ? piece : "");
		json_decref(data);
		free(event);
	}
	assert_non_null(event);
	free(event);
	assert_null(client_event(client));
	assert_true(client_complete(client));
	assert_string_equal(text, "one two three four");
}

json_t *rig_get(struct rig *rig, const char *path)
{
	json_t *answer = NULL;

	assert_int_equal(client_call(rig->address, "GET", path, NULL, &answer), 200);
	assert_non_null(answer);
	return answer;
}

json_int_t rig_counter(struct rig *rig, const char *name)
{
	json_t *state = rig_get(rig, "/v2/state");
	json_t *value = json_object_get(json_object_get(state, "counters"), name);

	assert_true(json_is_integer(value));

	json_int_t number = json_integer_value(value);

	json_decref(state);
	return number;
}

json_int_t rig_reserved(struct rig *rig)
{
	json_t *state = rig_get(rig, "/v2/state");
	json_t *cpu = json_array_get(json_object_get(state, "devices"), 0);

	assert_string_equal(json_string_value(json_object_get(cpu, "device")), "cpu");

	json_int_t bytes = json_integer_value(json_object_get(cpu, "reserved_bytes"));

	json_decref(state);
	return bytes;
}

size_t rig_workers(struct rig *rig, pid_t *ret_pid, char ret_id[64])
{
	json_t *answer = rig_get(rig, "/v2/workers");
	json_t *list = json_object_get(answer, "workers");
	json_t *first = json_array_get(list, 0);
	size_t count = json_array_size(list);

	if (first && ret_pid)
		*ret_pid = (pid_t)json_integer_value(json_object_get(first, "pid"));
	if (first && ret_id)
		snprintf(ret_id, 64, "%s", json_string_value(json_object_get(first, "worker_id")));
	json_decref(answer);
	return count;
}

static json_int_t model_member(struct rig *rig, const char *id, const char *member)
{
	json_t *state = rig_get(rig, "/v2/state");
	json_int_t found = -1;
	json_t *model;
	size_t i;

	json_array_foreach(json_object_get(state, "models"), i, model)
	{
		if (strcmp(json_string_value(json_object_get(model, "id")), id) == 0)
			found = json_integer_value(json_object_get(model, member));
	}
	json_decref(state);
	return found;
}

void rig_wait_model(struct rig *rig, const char *id, const char *member, json_int_t value)
{
	int64_t deadline = test_deadline_ms();

	while (model_member(rig, id, member) != value) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%s.%s did not become %lld", id, member, (long long)value);
	}
}

void rig_wait_workers(struct rig *rig, size_t count)
{
	int64_t deadline = test_deadline_ms();

	while (rig_workers(rig, NULL, NULL) != count) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("there are not %zu workers", count);
	}
}

const char *error_code(json_t *answer)
{
	static char text[64];
	const char *code = json_string_value(
		json_object_get(json_object_get(answer, "error"), "code"));

	assert_non_null(code);
	snprintf(text, sizeof(text), "%s", code);
	return text;
}
