/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of pool-worker: the real program on a Unix socket with the stub engine, whose model
 * file says how it behaves. A FIFO gives out the tokens where a test must be in the middle of an
 * answer. argv: the program, the stub engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/client.h"
#include "lib/proc.h"

#define CHAT "/v1/chat/completions"
#define ARGS_MAX 24
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *program, *engine;

/* ---- the worker of a test ---- */

static struct {
	char *dir;
	char *model;
	char socket[160];
	char address[176];
	struct proc *proc;
	int gate; /* tokens are written here; -1 without a gate */
} w;

static int set_up(void **state)
{
	(void)state;
	w.dir = test_dir_make();
	w.gate = -1;
	snprintf(w.socket, sizeof(w.socket), "%s/w.sock", w.dir);
	snprintf(w.address, sizeof(w.address), "unix:%s", w.socket);
	return 0;
}

static int tear_down(void **state)
{
	int status;

	client_close_all();
	/* A clean stop, so that a leak is seen; those that have ended already do not mind. */
	if (w.proc) {
		proc_signal(w.proc, SIGTERM);
		proc_wait(w.proc);
		w.proc = NULL;
	}
	status = proc_free_all(state);
	if (w.gate >= 0)
		close(w.gate);
	free(w.model);
	w.model = NULL;
	test_dir_remove(w.dir);
	free(w.dir);
	return status;
}

/* A FIFO in the test's directory, open for both sides so that it neither blocks nor ends. */
static const char *make_gate(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", w.dir, name);
	assert_int_equal(mkfifo(path, 0600), 0);
	w.gate = open(path, O_RDWR | O_CLOEXEC);
	assert_true(w.gate >= 0);
	return path;
}

static void give_tokens(size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(write(w.gate, "t", 1), 1);
}

/* Starts the worker on the socket with a model file of that text; further arguments end in NULL. */
static void launch(const char *model, const char *const more[])
{
	const char *args[ARGS_MAX] = {
		program, "--engine", engine, "--socket", w.socket, "--model"
	};
	size_t count = 6;

	if (!w.model)
		w.model = test_file_write(w.dir, "model", model);
	args[count++] = w.model;
	for (; more && *more; more++)
		args[count++] = *more;
	w.proc = proc_start(args, NULL);
}

static void launch_ready(const char *model, const char *const more[])
{
	launch(model, more);
	proc_wait_line(w.proc, "worker ready");
}

/* A model whose tokens come through the gate; `text` are its further lines. */
static void launch_gated(const char *text, const char *const more[])
{
	char model[512];

	snprintf(model, sizeof(model), "gate=%s\n%s", make_gate("gate"), text);
	launch_ready(model, more);
}

static json_t *ask(const char *path, const char *body, int status)
{
	json_t *answer;
	int got = client_call(w.address, "POST", path, body, &answer);

	if (got != status)
		fail_msg("status %d: %s", got, json_dumps(answer, 0));
	return answer;
}

static struct client *ask_stream(const char *path, const char *body)
{
	struct client *client = client_open(w.address);

	client_request(client, "POST", path, NULL, body);
	return client;
}

static json_int_t figure(const char *name)
{
	json_t *health;

	client_call(w.address, "GET", "/health", NULL, &health);

	json_int_t value = json_integer_value(json_object_get(health, name));

	json_decref(health);
	return value;
}

/* Asks until the figure has that value; each question is an event, and a hang ends at the
 * deadline. */
static void wait_figure(const char *name, json_int_t value)
{
	int64_t deadline = test_deadline_ms();

	while (figure(name) != value) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("'%s' never becomes %d", name, (int)value);
	}
}

/* The value at a path like "choices.0.message.content". */
static json_t *at(json_t *root, const char *path)
{
	char step[64];

	while (root && *path) {
		size_t length = strcspn(path, ".");

		snprintf(step, sizeof(step), "%.*s", (int)length, path);
		root = json_is_array(root) ? json_array_get(root, (size_t)atoi(step))
					   : json_object_get(root, step);
		path += length + (path[length] == '.');
	}
	return root;
}

static const char *text_at(json_t *root, const char *path)
{
	const char *text = json_string_value(at(root, path));

	if (!text)
		fail_msg("no text at %s in %s", path, json_dumps(root, 0));
	return text;
}

/* ---- answers ---- */

static void chat_answers_have_openais_shape(void **state)
{
	(void)state;
	launch_ready("tokens=5\n", NULL);

	json_t *answer = ask(CHAT,
			     "{\"model\":\"mine\",\"temperature\":0,\"messages\":["
			     "{\"role\":\"system\",\"content\":\"be nice\"},"
			     "{\"role\":\"user\",\"content\":\"one two three\"}]}",
			     200);

	assert_memory_equal(text_at(answer, "id"), "chatcmpl-", 9);
	assert_string_equal(text_at(answer, "object"), "chat.completion");
	assert_string_equal(text_at(answer, "model"), "mine");
	assert_true(json_integer_value(at(answer, "created")) > 1700000000);
	assert_int_equal(json_array_size(at(answer, "choices")), 1);
	assert_int_equal(json_integer_value(at(answer, "choices.0.index")), 0);
	assert_string_equal(text_at(answer, "choices.0.message.role"), "assistant");
	assert_string_equal(text_at(answer, "choices.0.message.content"), "one two three one two");
	assert_string_equal(text_at(answer, "choices.0.finish_reason"), "stop");
	assert_true(json_is_null(at(answer, "choices.0.logprobs")));
	assert_int_equal(json_integer_value(at(answer, "usage.prompt_tokens")), 5);
	assert_int_equal(json_integer_value(at(answer, "usage.completion_tokens")), 5);
	assert_int_equal(json_integer_value(at(answer, "usage.total_tokens")), 10);
	json_decref(answer);
}

/* Joins the stream's texts; checks that every event is a chunk of the same answer. */
static void read_stream(struct client *client, const char *text_path, char *ret_text, size_t size,
			char ret_finish[32])
{
	char *event, id[64] = "";
	bool done = false;

	assert_int_equal(client_status(client), 200);
	assert_string_equal(client_header(client, "Content-Type"),
			    "text/event-stream; charset=utf-8");
	ret_text[0] = ret_finish[0] = '\0';
	while ((event = client_event(client))) {
		assert_false(done);
		done = strcmp(event, "[DONE]") == 0;

		json_t *chunk = done ? NULL : json_loads(event, 0, NULL);

		assert_true(done || chunk);
		free(event);
		if (done)
			continue;
		if (!id[0])
			snprintf(id, sizeof(id), "%s", text_at(chunk, "id"));
		assert_string_equal(text_at(chunk, "id"), id);

		const char *text = json_string_value(at(chunk, text_path));
		const char *finish = json_string_value(at(chunk, "choices.0.finish_reason"));

		if (text)
			strncat(ret_text, text, size - strlen(ret_text) - 1);
		if (finish)
			snprintf(ret_finish, 32, "%s", finish);
		json_decref(chunk);
	}
	assert_true(done);
	assert_true(client_complete(client));
}

static void chat_streams(void **state)
{
	char text[256], finish[32];

	(void)state;
	launch_ready("tokens=5\n", NULL);

	struct client *client = ask_stream(
		CHAT, "{\"stream\":true,\"temperature\":0,\"max_tokens\":3,"
		      "\"messages\":[{\"role\":\"user\",\"content\":\"one two\"}]}");

	read_stream(client, "choices.0.delta.content", text, sizeof(text), finish);
	assert_string_equal(text, "one two one");
	assert_string_equal(finish, "length");

	/* The connection is kept. */
	client_request(client, "POST", "/v1/completions", NULL,
		       "{\"stream\":true,\"temperature\":0,\"prompt\":\"a b\"}");
	read_stream(client, "choices.0.text", text, sizeof(text), finish);
	assert_string_equal(text, "a b a b a");
	assert_string_equal(finish, "stop");
}

static void streams_begin_with_the_role_and_end_with_usage(void **state)
{
	char *event;
	json_t *chunk = NULL;
	int events = 0;

	(void)state;
	launch_ready("tokens=2\n", NULL);

	struct client *client = ask_stream(
		CHAT, "{\"stream\":true,\"stream_options\":{\"include_usage\":true},"
		      "\"messages\":[{\"role\":\"user\",\"content\":\"one\"}]}");

	assert_int_equal(client_status(client), 200);
	while ((event = client_event(client)) && strcmp(event, "[DONE]") != 0) {
		json_decref(chunk);
		chunk = json_loads(event, 0, NULL);
		if (events++ == 0)
			assert_string_equal(text_at(chunk, "choices.0.delta.role"), "assistant");
		free(event);
	}
	free(event);
	assert_int_equal(json_array_size(at(chunk, "choices")), 0);
	assert_int_equal(json_integer_value(at(chunk, "usage.prompt_tokens")), 1);
	assert_int_equal(json_integer_value(at(chunk, "usage.completion_tokens")), 2);
	json_decref(chunk);
	assert_null(client_event(client));
}

static void stop_strings_end_the_answer(void **state)
{
	(void)state;
	launch_ready("tokens=8\n", NULL);

	json_t *answer = ask("/v1/completions",
			     "{\"prompt\":\"a b c d\",\"temperature\":0,\"stop\":[\"zz\",\" c\"]}",
			     200);

	assert_string_equal(text_at(answer, "choices.0.text"), "a b");
	assert_string_equal(text_at(answer, "choices.0.finish_reason"), "stop");
	json_decref(answer);
}

static void a_seed_repeats_its_answer(void **state)
{
	static const char *const bodies[] = {
		"{\"prompt\":\"a b c d e f g h\",\"seed\":1}",
		"{\"prompt\":\"a b c d e f g h\",\"seed\":1}",
		"{\"prompt\":\"a b c d e f g h\",\"seed\":2}",
	};
	json_t *answers[3];

	(void)state;
	launch_ready("tokens=16\n", NULL);
	for (int i = 0; i < 3; i++)
		answers[i] = ask("/v1/completions", bodies[i], 200);
	assert_string_equal(text_at(answers[0], "choices.0.text"),
			    text_at(answers[1], "choices.0.text"));
	assert_string_not_equal(text_at(answers[0], "choices.0.text"),
				text_at(answers[2], "choices.0.text"));
	for (int i = 0; i < 3; i++)
		json_decref(answers[i]);
}

static void embeddings(void **state)
{
	static const char *const arguments[] = { "--capability", "text_embedding", NULL };

	(void)state;
	launch_ready("dim=3\n", arguments);

	json_t *floats = ask("/v1/embeddings", "{\"model\":\"e\",\"input\":[\"a\",\"b c\"]}", 200);
	json_t *base64 = ask("/v1/embeddings",
			     "{\"input\":\"a\",\"encoding_format\":\"base64\",\"dimensions\":3}",
			     200);

	assert_string_equal(text_at(floats, "object"), "list");
	assert_string_equal(text_at(floats, "model"), "e");
	assert_int_equal(json_array_size(at(floats, "data")), 2);
	assert_string_equal(text_at(floats, "data.1.object"), "embedding");
	assert_int_equal(json_integer_value(at(floats, "data.1.index")), 1);
	assert_int_equal(json_array_size(at(floats, "data.1.embedding")), 3);
	assert_int_equal(json_integer_value(at(floats, "usage.prompt_tokens")), 3);
	assert_int_equal(json_integer_value(at(floats, "usage.total_tokens")), 3);
	/* 12 bytes are 16 digits without padding. */
	assert_int_equal(strlen(text_at(base64, "data.0.embedding")), 16);
	json_decref(floats);
	json_decref(base64);

	json_t *refused = ask("/v1/embeddings", "{\"input\":\"a\",\"dimensions\":2}", 400);

	assert_string_equal(text_at(refused, "error.param"), "dimensions");
	json_decref(refused);
	refused = ask(CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", 400);
	assert_string_equal(text_at(refused, "error.code"), "INVALID_REQUEST");
	json_decref(refused);
}

/* 2,048 rows of 512 floats are about 10 MB: they must come whole, in pieces. */
static void many_embeddings_are_streamed(void **state)
{
	static const char *const arguments[] = { "--capability", "text_embedding", NULL };
	char body[2048 * 4 + 32] = "{\"input\":[";

	(void)state;
	launch_ready("dim=512\n", arguments);
	for (int i = 0; i < 2048; i++)
		strcat(body + i * 2, i ? ",\"a\"" : "\"a\"");
	strcat(body, "]}");

	json_t *answer = ask("/v1/embeddings", body, 200);

	assert_int_equal(json_array_size(at(answer, "data")), 2048);
	assert_int_equal(json_array_size(at(answer, "data.2047.embedding")), 512);
	json_decref(answer);
}

static void models_and_health(void **state)
{
	static const char *const arguments[] = { "--model-id", "mine", "--slots", "3", NULL };
	json_t *answer;

	(void)state;
	launch_ready("memory_bytes=123456789\ncontext_tokens=99\n", arguments);
	assert_int_equal(client_call(w.address, "GET", "/v1/models", NULL, &answer), 200);
	assert_string_equal(text_at(answer, "object"), "list");
	assert_string_equal(text_at(answer, "data.0.id"), "mine");
	assert_string_equal(text_at(answer, "data.0.object"), "model");
	json_decref(answer);
	assert_int_equal(client_call(w.address, "GET", "/health", NULL, &answer), 200);
	assert_string_equal(text_at(answer, "status"), "ready");
	assert_int_equal(json_integer_value(at(answer, "slots")), 3);
	assert_int_equal(json_integer_value(at(answer, "busy")), 0);
	assert_int_equal(json_integer_value(at(answer, "context_tokens")), 99);
	assert_int_equal(json_integer_value(at(answer, "engine_memory_bytes")), 123456789);
	assert_true(json_integer_value(at(answer, "memory_bytes")) >= 123456789);
	json_decref(answer);
}

/* ---- bad input ---- */

struct bad_input {
	const char *method, *path, *body;
	int status;
	const char *code, *param;
};

/* clang-format off */
static const struct bad_input bad_inputs[] = {
	{ "POST", CHAT, "", 400, "INVALID_JSON", NULL },
	{ "POST", CHAT, "{\"messages\":", 400, "INVALID_JSON", NULL },
	{ "POST", CHAT, "[]", 400, "INVALID_REQUEST", NULL },
	{ "POST", CHAT, "{}", 400, "INVALID_REQUEST", "messages" },
	{ "POST", CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"temprature\":1}", 400,
	  "INVALID_REQUEST", "temprature" },
	{ "POST", CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":2}", 400,
	  "INVALID_REQUEST", "n" },
	{ "POST", CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a b c d e f\"}]}", 400,
	  "CONTEXT_EXCEEDED", "messages" },
	{ "POST", CHAT, "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a b c d e f\"}]}",
	  400, "CONTEXT_EXCEEDED", "messages" },
	{ "POST", "/v1/completions", "{\"prompt\":\"a b c d e f\"}", 400, "CONTEXT_EXCEEDED", "prompt" },
	{ "POST", "/v1/completions", "{\"prompt\":[\"a\",\"b\"]}", 400, "INVALID_REQUEST", "prompt" },
	{ "POST", "/v1/embeddings", "{\"input\":\"a\"}", 400, "INVALID_REQUEST", NULL },
	{ "POST", "/v1/chat", "{}", 404, "NOT_FOUND", NULL },
	{ "GET", "/", NULL, 404, "NOT_FOUND", NULL },
	{ "GET", CHAT, NULL, 405, "METHOD_NOT_ALLOWED", NULL },
	{ "DELETE", "/v1/models", NULL, 405, "METHOD_NOT_ALLOWED", NULL },
	{ "POST", "/health", "{}", 405, "METHOD_NOT_ALLOWED", NULL },
};
/* clang-format on */

static void bad_input_is_refused_and_nothing_is_lost(void **state)
{
	(void)state;
	launch_ready("context_tokens=5\n", NULL);
	for (size_t i = 0; i < COUNT(bad_inputs); i++) {
		const struct bad_input *bad = &bad_inputs[i];
		json_t *answer;
		int status = client_call(w.address, bad->method, bad->path, bad->body, &answer);

		if (status != bad->status || strcmp(text_at(answer, "error.code"), bad->code) != 0)
			fail_msg("%s %s %s: %d %s", bad->method, bad->path, bad->body, status,
				 json_dumps(answer, 0));
		assert_string_equal(text_at(answer, "error.type"), "invalid_request_error");
		assert_true(strlen(text_at(answer, "error.message")) > 10);
		assert_true(strlen(text_at(answer, "error.correlation_id")) > 0);
		if (bad->param)
			assert_string_equal(text_at(answer, "error.param"), bad->param);
		else
			assert_true(json_is_null(at(answer, "error.param")));
		json_decref(answer);
	}
	assert_int_equal(figure("busy"), 0);

	json_t *answer = ask("/v1/completions", "{\"prompt\":\"a b\"}", 200);

	json_decref(answer);
}

static void context_errors_speak_openais_word_too(void **state)
{
	(void)state;
	launch_ready("context_tokens=2\n", NULL);

	json_t *answer = ask("/v1/completions", "{\"prompt\":\"a b c\"}", 400);

	assert_string_equal(text_at(answer, "error.details.openai_code"),
			    "context_length_exceeded");
	assert_string_equal(text_at(answer, "error.details.prompt_tokens"), "3");
	assert_string_equal(text_at(answer, "error.details.context_tokens"), "2");
	json_decref(answer);
}

static void a_wrong_method_says_which_is_right(void **state)
{
	(void)state;
	launch_ready("", NULL);

	struct client *client = client_open(w.address);

	client_request(client, "GET", CHAT, NULL, NULL);
	assert_int_equal(client_status(client), 405);
	assert_string_equal(client_header(client, "Allow"), "POST");
	free(client_body(client, NULL));
	client_request(client, "HEAD", "/health", NULL, NULL);
	assert_int_equal(client_status(client), 200);
	client_request(client, "GET", "/health", "X-Correlation-Id: abc-7\r\n", NULL);
	assert_int_equal(client_status(client), 200);
	assert_string_equal(client_header(client, "X-Correlation-Id"), "abc-7");
}

static void a_body_over_the_limit_is_refused_unread(void **state)
{
	static const char head[] = "POST " CHAT
				   " HTTP/1.1\r\nHost: x\r\nContent-Length: 33554433\r\n\r\n";

	(void)state;
	launch_ready("", NULL);

	struct client *client = client_open(w.address);

	client_send(client, head, sizeof(head) - 1);
	assert_int_equal(client_status(client), 413);

	json_t *answer = client_json(client);

	assert_string_equal(text_at(answer, "error.code"), "PAYLOAD_TOO_LARGE");
	assert_string_equal(text_at(answer, "error.type"), "invalid_request_error");
	json_decref(answer);
	client_wait_close(client);
}

/* ---- engines that fail ---- */

static void a_failure_before_the_first_token_has_its_status(void **state)
{
	(void)state;
	launch_ready("generate_fail=0:MODEL_ERROR:the numbers went bad\n", NULL);

	json_t *answer = ask(
		CHAT, "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
		502);

	assert_string_equal(text_at(answer, "error.code"), "MODEL_ERROR");
	assert_string_equal(text_at(answer, "error.type"), "server_error");
	assert_string_equal(text_at(answer, "error.message"), "the numbers went bad");
	json_decref(answer);
	proc_wait_line(w.proc, "the numbers went bad");
	assert_int_equal(figure("failed"), 1);
}

static void a_later_failure_is_the_streams_last_event(void **state)
{
	char *event, *last = NULL;

	(void)state;
	launch_ready("generate_fail=2:MODEL_ERROR:the numbers went bad\n", NULL);

	struct client *client = ask_stream(
		CHAT, "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");

	assert_int_equal(client_status(client), 200);
	while ((event = client_event(client))) {
		free(last);
		last = event;
	}

	json_t *error = json_loads(last, 0, NULL);

	assert_string_equal(text_at(error, "error.code"), "MODEL_ERROR");
	json_decref(error);
	free(last);
	assert_true(client_complete(client));
}

/* ---- slots, the queue, clients that leave or dawdle ---- */

#define STREAM_BODY "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a b\"}]}"

static void an_engine_tied_to_a_thread_gets_one_slot(void **state)
{
	static const char *const arguments[] = { "--slots", "3", NULL };

	(void)state;
	setenv("STUB_THREAD_BOUND", "1", 1);
	launch_ready("", arguments);
	unsetenv("STUB_THREAD_BOUND");
	assert_true(proc_has_line(w.proc, "tied to one thread; serving 1 slot instead of 3"));
	assert_int_equal(figure("slots"), 1);

	json_t *answer = ask("/v1/completions", "{\"prompt\":\"a b\"}", 200);

	json_decref(answer);
	proc_signal(w.proc, SIGTERM);
	assert_int_equal(proc_wait(w.proc), 0);
}

/* Reads up to the first text, so that the run is known to be in the middle. */
static void read_first_text(struct client *client)
{
	assert_int_equal(client_status(client), 200);
	free(client_event(client)); /* the role */
	free(client_event(client));
}

static void slots_run_at_once(void **state)
{
	static const char *const arguments[] = { "--slots", "2", NULL };
	char text[64], finish[32];

	(void)state;
	launch_gated("tokens=2\n", arguments);

	struct client *a = ask_stream(CHAT, STREAM_BODY), *b = ask_stream(CHAT, STREAM_BODY);

	wait_figure("busy", 2);
	give_tokens(4);
	read_stream(a, "choices.0.delta.content", text, sizeof(text), finish);
	read_stream(b, "choices.0.delta.content", text, sizeof(text), finish);
}

static void a_client_that_leaves_cancels_its_run(void **state)
{
	(void)state;
	launch_gated("tokens=100\n", NULL);

	struct client *client = ask_stream(CHAT, STREAM_BODY);

	give_tokens(1);
	read_first_text(client);
	client_close(client);
	proc_wait_line(w.proc, "run cancelled");
	wait_figure("cancelled", 1);
	assert_int_equal(figure("busy"), 0);

	/* Without a stream as well. */
	client = ask_stream(CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a b\"}]}");
	wait_figure("busy", 1);
	client_close(client);
	proc_wait_line(w.proc, "run cancelled");
	wait_figure("cancelled", 2);
}

/* Nobody asks an engine's embedding whether to stop; it is told to. */
static void a_client_that_leaves_cancels_its_embedding(void **state)
{
	static const char *const arguments[] = { "--capability", "text_embedding", NULL };
	static const char *const body = "{\"input\":[\"a\",\"b\",\"c\"]}";

	(void)state;
	launch_gated("dim=3\n", arguments);

	struct client *client = ask_stream("/v1/embeddings", body);

	proc_wait_line(w.proc, "embedding begins");
	give_tokens(1);
	client_close(client);
	proc_wait_line(w.proc, "embedding cancelled");
	wait_figure("cancelled", 1);
	assert_int_equal(figure("busy"), 0);

	/* The next one is whole. Of the first's byte it may find one more than it needs. */
	give_tokens(3);
	json_t *answer = ask("/v1/embeddings", body, 200);

	assert_int_equal(json_array_size(at(answer, "data")), 3);
	json_decref(answer);
}

/* The stub was built, so to say, before there was more to ask for than temperature. */
static void an_engine_is_not_asked_for_what_it_does_not_know(void **state)
{
	static const char *const wishes[] = {
		"\"top_k\":5",
		"\"min_p\":0.5",
		"\"repeat_penalty\":1.5",
		"\"presence_penalty\":1",
		"\"frequency_penalty\":1",
		"\"logit_bias\":{\"1\":1}",
		"\"grammar\":\"root ::= x\"",
		"\"response_format\":{\"type\":\"json_object\"}",
	};
	char body[256];

	(void)state;
	launch_ready("tokens=1\n", NULL);
	for (size_t i = 0; i < COUNT(wishes); i++) {
		snprintf(body, sizeof(body),
			 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],%s}", wishes[i]);
		json_t *refused = ask(CHAT, body, 400);

		assert_string_equal(text_at(refused, "error.code"), "INVALID_REQUEST");
		assert_non_null(strstr(text_at(refused, "error.message"),
				       "the engine 'stub' chooses tokens by temperature, top_p"));
		json_decref(refused);
	}
	/* What asks for nothing is answered. */
	json_decref(ask(CHAT,
			"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"top_k\":0,"
			"\"repeat_penalty\":1,\"repeat_last_n\":64,\"presence_penalty\":0,"
			"\"logit_bias\":{}}",
			200));
}

static void the_queue_is_bounded_and_in_order(void **state)
{
	struct client *clients[66];
	char text[64], finish[32];

	(void)state;
	launch_gated("tokens=1\n", NULL);
	for (size_t i = 0; i < 65; i++) {
		clients[i] = ask_stream(CHAT, STREAM_BODY);
		if (i == 0)
			wait_figure("busy", 1);
	}
	wait_figure("queued", 64);
	clients[65] = ask_stream(CHAT, STREAM_BODY);
	assert_int_equal(client_status(clients[65]), 503);
	assert_string_equal(client_header(clients[65], "Retry-After"), "1");

	json_t *answer = client_json(clients[65]);

	assert_string_equal(text_at(answer, "error.code"), "QUEUE_FULL");
	json_decref(answer);
	/* One that leaves while it waits makes room and is never run. */
	client_close(clients[3]);
	wait_figure("queued", 63);
	give_tokens(64);
	for (size_t i = 0; i < 65; i++) {
		if (i != 3)
			read_stream(clients[i], "choices.0.delta.content", text, sizeof(text),
				    finish);
	}
	assert_int_equal(figure("completed"), 64);
	assert_int_equal(figure("cancelled"), 1);
}

/* The answer is far larger than what sockets and the worker may hold for a client that does not
 * read; it must wait, and then come whole. */
static void a_slow_reader_gets_everything(void **state)
{
	enum { TOKENS = 60000 };
	char *event;
	size_t words = 0;

	(void)state;
	launch_ready("tokens=60000\ncontext_tokens=100000\n", NULL);

	struct client *client = ask_stream(
		CHAT,
		"{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"0123456789\"}]}");

	assert_int_equal(client_status(client), 200);
	while ((event = client_event(client)) && strcmp(event, "[DONE]") != 0) {
		for (const char *p = event; (p = strstr(p, "0123456789")); p++)
			words++;
		free(event);
	}
	free(event);
	assert_int_equal(words, TOKENS);
}

/* 990 KB of text do not fit into the sockets' buffers, the server's 256 KiB and the worker's 64
 * KiB: the run must be waiting in the middle when the client goes. */
static void a_client_that_never_reads_can_leave(void **state)
{
	(void)state;
	launch_ready("tokens=90000\ncontext_tokens=100000\n", NULL);

	struct client *client = ask_stream(
		CHAT,
		"{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"0123456789\"}]}");

	assert_int_equal(client_status(client), 200);
	client_close(client);
	proc_wait_line(w.proc, "run cancelled");
	wait_figure("busy", 0);
	assert_int_equal(figure("cancelled"), 1);
}

/* ---- loading ---- */

static void health_answers_while_the_model_loads(void **state)
{
	char model[512];
	json_t *answer;

	(void)state;
	snprintf(model, sizeof(model), "load_gate=%s\n", make_gate("gate"));
	launch(model, NULL);
	proc_wait_line(w.proc, "listening");
	assert_int_equal(client_call(w.address, "GET", "/health", NULL, &answer), 503);
	assert_string_equal(text_at(answer, "status"), "loading");
	json_decref(answer);

	struct client *client = ask_stream(CHAT, STREAM_BODY);

	assert_int_equal(client_status(client), 503);
	assert_string_equal(client_header(client, "Retry-After"), "1");
	answer = client_json(client);
	assert_string_equal(text_at(answer, "error.code"), "NO_WORKERS");
	json_decref(answer);
	give_tokens(1);
	proc_wait_line(w.proc, "worker ready");
	assert_int_equal(client_call(w.address, "GET", "/health", NULL, NULL), 200);
}

static void a_failed_load_ends_with_its_reason(void **state)
{
	(void)state;
	launch("fail=OUT_OF_MEMORY:no room for the weights\n", NULL);
	assert_int_equal(proc_wait(w.proc), 1);
	assert_non_null(strstr(proc_last_line(w.proc), "no room for the weights"));
	assert_non_null(strstr(proc_last_line(w.proc), "code=OUT_OF_MEMORY"));
	assert_int_equal(access(w.socket, F_OK), -1);
}

static void a_missing_model_or_engine_is_named(void **state)
{
	const char *missing[] = { program,	     "--engine", engine, "--model",
				  "/nowhere/m.gguf", "--port",	 "0",	 NULL };
	const char *no_engine[] = { program,	       "--engine", "nonsuch", "--model",
				    "/nowhere/m.gguf", "--port",   "0",	      NULL };

	(void)state;
	w.proc = proc_start(missing, NULL);
	assert_int_equal(proc_wait(w.proc), 1);
	assert_non_null(strstr(proc_last_line(w.proc), "/nowhere/m.gguf: No such file"));
	assert_non_null(strstr(proc_last_line(w.proc), "code=MODEL_FILE_MISSING"));

	struct proc *other = proc_start(no_engine, NULL);

	assert_int_equal(proc_wait(other), 1);
	assert_non_null(strstr(proc_last_line(other), "no engine 'nonsuch'"));
}

static void a_taken_port_fails_at_once(void **state)
{
	char address[128];
	struct server *holder = server_open(NULL, address);
	const char *args[] = {
		program, "--engine", engine, "--model", "/none", "--port", strchr(address, ':') + 1,
		NULL
	};

	(void)state;
	w.proc = proc_start(args, NULL);
	assert_int_equal(proc_wait(w.proc), 1);
	assert_non_null(strstr(proc_last_line(w.proc), "PORT_IN_USE"));
	server_close(holder);
}

static void a_taken_socket_is_left_alone(void **state)
{
	(void)state;
	launch_ready("", NULL);

	struct proc *first = w.proc;

	launch("", NULL);
	assert_int_equal(proc_wait(w.proc), 1);
	assert_non_null(strstr(proc_last_line(w.proc), "PORT_IN_USE"));
	assert_int_equal(client_call(w.address, "GET", "/health", NULL, NULL), 200);
	assert_false(proc_has_line(first, "stopped"));
}

static void bad_command_lines_are_refused(void **state)
{
	static const struct {
		const char *args[8];
		const char *says;
	} cases[] = {
		{ { "--port", "0" }, "--model PATH is required" },
		{ { "--model", "m" }, "give one of --socket PATH and --port N" },
		{ { "--model", "m", "--port", "0", "--socket", "s" }, "give only one of" },
		{ { "--model", "m", "--port", "70000" }, "from 0 to 65535, not '70000'" },
		{ { "--model", "m", "--port", "x" }, "--port must be a whole number" },
		{ { "--model", "m", "--port", "0", "--slots", "0" }, "from 1 to 64, not '0'" },
		{ { "--model", "m", "--port", "0", "--capability", "vision" }, "not 'vision'" },
		{ { "--model", "m", "--port", "0", "--log-format", "xml" }, "not 'xml'" },
		{ { "--model", "m", "--port", "0", "--ready-url", "ftp://x", "--worker-id", "w" },
		  "'ftp://x' is not a callback address" },
		{ { "--model", "m", "--port", "0", "--ready-url", "http://127.0.0.1:1/x" },
		  "needs --worker-id" },
		{ { "--model" }, "--model needs a value" },
		{ { "--modle", "m" }, "unknown option '--modle'" },
		{ { "--model", "m", "--port", "0", "extra" }, "unexpected argument 'extra'" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *args[10] = { program };

		memcpy(args + 1, cases[i].args, sizeof(cases[i].args));

		struct proc *proc = proc_start(args, NULL);

		assert_int_equal(proc_wait(proc), 2);
		/* The last line, which is all that the daemon tells a request of it. */
		assert_non_null(strstr(proc_last_line(proc), cases[i].says));
		proc_free(proc);
	}
}

static void help_names_every_option(void **state)
{
	const char *args[] = { program, "--help", NULL };

	(void)state;
	w.proc = proc_start(args, NULL);
	assert_int_equal(proc_wait(w.proc), 0);
	proc_wait_line(w.proc, "--model PATH");
	proc_wait_line(w.proc, "--log-format FORMAT");
}

/* ---- readiness ---- */

static json_t *accept_ready(struct server *daemon, int answer_status)
{
	struct server_request *request = server_accept(daemon);
	json_t *body = json_loads(request->body, 0, NULL);

	assert_string_equal(request->method, "POST");
	assert_string_equal(request->path, "/v2/internal/workers/ready");
	assert_non_null(body);
	server_reply(request, answer_status, "{}");
	return body;
}

static void check_ready_body(json_t *body)
{
	char ref[256];

	snprintf(ref, sizeof(ref), "file:%s", w.model);
	assert_string_equal(text_at(body, "worker_id"), "w7");
	assert_string_equal(text_at(body, "model_ref"), ref);
	assert_string_equal(text_at(body, "uri"), w.address);
	assert_string_equal(text_at(body, "spawn_token"), "secret-1");
	assert_true(json_integer_value(at(body, "vram_bytes")) >= 7777777);
	assert_int_equal(json_object_size(body), 5);
	json_decref(body);
}

/* On the daemon's TCP port or socket: no answer and a refusal are followed by another attempt. */
static void readiness_is_repeated_until_heard(const char *listen)
{
	char address[128], url[256];
	struct server *daemon = server_open(listen, address);
	const char *arguments[] = { "--worker-id", "w7", "--ready-url", url, NULL };

	if (listen)
		snprintf(url, sizeof(url), "%s:/v2/internal/workers/ready", address);
	else
		snprintf(url, sizeof(url), "http://%s/v2/internal/workers/ready", address);
	setenv("POOL_WORKER_SPAWN_TOKEN", "secret-1", 1);
	launch("memory_bytes=7777777\n", arguments);
	unsetenv("POOL_WORKER_SPAWN_TOKEN");
	check_ready_body(accept_ready(daemon, 500));
	proc_wait_line(w.proc, "the daemon answered 500");
	check_ready_body(accept_ready(daemon, 0));
	check_ready_body(accept_ready(daemon, 200));
	proc_wait_line(w.proc, "readiness delivered");
	assert_false(proc_has_line(w.proc, "secret-1"));
	proc_signal(w.proc, SIGTERM);
	assert_int_equal(proc_wait(w.proc), 0);
	server_close(daemon);
}

static void readiness_over_tcp(void **state)
{
	(void)state;
	readiness_is_repeated_until_heard(NULL);
}

static void readiness_over_a_socket(void **state)
{
	char listen[176];

	(void)state;
	snprintf(listen, sizeof(listen), "unix:%s/d.sock", w.dir);
	readiness_is_repeated_until_heard(listen);
}

/* ---- stopping ---- */

static void a_signal_lets_running_answers_finish(void **state)
{
	char *event;
	bool done = false;

	(void)state;
	launch_gated("tokens=3\n", NULL);

	struct client *client = ask_stream(CHAT, STREAM_BODY);

	give_tokens(1);
	read_first_text(client);
	proc_signal(w.proc, SIGTERM);
	proc_wait_line(w.proc, "stopping: finishing what runs");
	give_tokens(2);
	while ((event = client_event(client))) {
		done = strcmp(event, "[DONE]") == 0;
		free(event);
	}
	assert_true(done);
	assert_true(client_complete(client));
	assert_int_equal(proc_wait(w.proc), 0);
	assert_non_null(strstr(proc_last_line(w.proc), "stopped"));
	assert_int_equal(access(w.socket, F_OK), -1);
}

static void an_idle_worker_stops_at_once(void **state)
{
	(void)state;
	launch_ready("", NULL);

	/* An idle kept-alive connection does not hold it up. */
	struct client *client = client_open(w.address);

	client_request(client, "GET", "/health", NULL, NULL);
	assert_int_equal(client_status(client), 200);
	free(client_body(client, NULL));
	proc_signal(w.proc, SIGINT);
	assert_int_equal(proc_wait(w.proc), 0);
	client_wait_close(client);
}

static void a_signal_while_loading_gives_up(void **state)
{
	char model[512];

	(void)state;
	snprintf(model, sizeof(model), "load_gate=%s\n", make_gate("gate"));
	launch(model, NULL);
	proc_wait_line(w.proc, "listening");
	proc_signal(w.proc, SIGTERM);
	assert_int_equal(proc_wait(w.proc), 0);
	assert_int_equal(access(w.socket, F_OK), -1);
}

/* This one takes the five seconds that running answers have. */
static void answers_that_do_not_end_are_cancelled(void **state)
{
	char *event, *last = NULL;

	(void)state;
	launch_gated("tokens=3\n", NULL);

	struct client *client = ask_stream(CHAT, STREAM_BODY);

	give_tokens(1);
	read_first_text(client);
	proc_signal(w.proc, SIGTERM);
	while ((event = client_event(client))) {
		free(last);
		last = event;
	}
	assert_non_null(last);
	assert_non_null(strstr(last, "SHUTTING_DOWN"));
	free(last);
	assert_int_equal(proc_wait(w.proc), 0);
}

/* Nor does a client that never finishes its request keep the worker; six seconds in all. */
static void half_a_request_is_cut_off(void **state)
{
	static const char half[] = "POST " CHAT
				   " HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";

	(void)state;
	launch_ready("", NULL);

	struct client *client = client_open(w.address);

	client_send(client, half, sizeof(half) - 1);
	/* Answered after the half was read: the loop takes connections in the order of their
	 * bytes. */
	assert_int_equal(figure("busy"), 0);
	proc_signal(w.proc, SIGTERM);
	client_wait_close(client);
	proc_wait_line(w.proc, "clients do not let go");
	assert_int_equal(proc_wait(w.proc), 0);
}

static void a_daemon_that_does_not_answer_does_not_hold_it_up(void **state)
{
	char address[128], url[256];
	struct server *daemon = server_open(NULL, address);
	const char *arguments[] = { "--worker-id", "w7", "--ready-url", url, NULL };

	(void)state;
	snprintf(url, sizeof(url), "http://%s/ready", address);
	launch_ready("", arguments);

	struct server_request *request = server_accept(daemon);

	proc_signal(w.proc, SIGTERM);
	assert_int_equal(proc_wait(w.proc), 0);
	server_reply(request, 0, NULL);
	server_close(daemon);
}

static void a_second_signal_ends_it_at_once(void **state)
{
	(void)state;
	launch_gated("tokens=3\n", NULL);

	struct client *client = ask_stream(CHAT, STREAM_BODY);

	give_tokens(1);
	read_first_text(client);
	proc_signal(w.proc, SIGTERM);
	proc_wait_line(w.proc, "stopping: finishing what runs");
	proc_signal(w.proc, SIGTERM);
	assert_int_equal(proc_wait(w.proc), 128 + SIGTERM);
	assert_int_equal(access(w.socket, F_OK), -1);
	assert_false(client_complete(client));
}

#define SCENARIO(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(chat_answers_have_openais_shape),
		SCENARIO(chat_streams),
		SCENARIO(streams_begin_with_the_role_and_end_with_usage),
		SCENARIO(stop_strings_end_the_answer),
		SCENARIO(a_seed_repeats_its_answer),
		SCENARIO(embeddings),
		SCENARIO(many_embeddings_are_streamed),
		SCENARIO(models_and_health),
		SCENARIO(bad_input_is_refused_and_nothing_is_lost),
		SCENARIO(context_errors_speak_openais_word_too),
		SCENARIO(a_wrong_method_says_which_is_right),
		SCENARIO(a_body_over_the_limit_is_refused_unread),
		SCENARIO(a_failure_before_the_first_token_has_its_status),
		SCENARIO(a_later_failure_is_the_streams_last_event),
		SCENARIO(slots_run_at_once),
		SCENARIO(an_engine_tied_to_a_thread_gets_one_slot),
		SCENARIO(a_client_that_leaves_cancels_its_run),
		SCENARIO(a_client_that_leaves_cancels_its_embedding),
		SCENARIO(an_engine_is_not_asked_for_what_it_does_not_know),
		SCENARIO(the_queue_is_bounded_and_in_order),
		SCENARIO(a_slow_reader_gets_everything),
		SCENARIO(a_client_that_never_reads_can_leave),
		SCENARIO(health_answers_while_the_model_loads),
		SCENARIO(a_failed_load_ends_with_its_reason),
		SCENARIO(a_missing_model_or_engine_is_named),
		SCENARIO(a_taken_port_fails_at_once),
		SCENARIO(a_taken_socket_is_left_alone),
		SCENARIO(bad_command_lines_are_refused),
		SCENARIO(help_names_every_option),
		SCENARIO(readiness_over_tcp),
		SCENARIO(readiness_over_a_socket),
		SCENARIO(a_signal_lets_running_answers_finish),
		SCENARIO(an_idle_worker_stops_at_once),
		SCENARIO(a_signal_while_loading_gives_up),
		SCENARIO(answers_that_do_not_end_are_cancelled),
		SCENARIO(half_a_request_is_cut_off),
		SCENARIO(a_daemon_that_does_not_answer_does_not_hold_it_up),
		SCENARIO(a_second_signal_ends_it_at_once),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: %s POOL-WORKER ENGINE\n", argv[0]);
		return 2;
	}
	program = argv[1];
	engine = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
