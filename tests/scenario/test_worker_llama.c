/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of pool-worker with the real engine and the demonstration model, over TCP. argv: the
 * program, the engine's path, the model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/client.h"
#include "lib/proc.h"

static const char *program, *engine, *model;
static struct proc *worker;
static char address[64];

static void await_worker(void)
{
	const char *line = strstr(proc_wait_line(worker, "listening"), "address=");

	assert_non_null(line);
	snprintf(address, sizeof(address), "%.*s", (int)strcspn(line + 8, " "), line + 8);
	proc_wait_line(worker, "worker ready");
}

/* Port 0: the log says which one it became. */
static void launch(const char *capability)
{
	const char *args[] = { program,	     "--engine",     engine,	 "--model", model,
			       "--model-id", "demo",	     "--port",	 "0",	    "--slots",
			       "2",	     "--capability", capability, NULL };

	worker = proc_start(args, NULL);
	await_worker();
}

static int tear_down(void **state)
{
	client_close_all();
	return proc_free_all(state);
}

static void stop(void)
{
	proc_signal(worker, SIGTERM);
	assert_int_equal(proc_wait(worker), 0);
}

/* The answer's text; free(3) it. */
static char *complete(const char *body, char ret_finish[32])
{
	json_t *answer;
	int status = client_call(address, "POST", "/v1/completions", body, &answer);
	json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);

	if (status != 200)
		fail_msg("%d: %s", status, json_dumps(answer, 0));

	char *text = strdup(json_string_value(json_object_get(choice, "text")));

	snprintf(ret_finish, 32, "%s", json_string_value(json_object_get(choice, "finish_reason")));
	json_decref(answer);
	return text;
}

static char *stream(const char *body)
{
	struct client *client = client_open(address);
	char *event, *text = calloc(1, 65536);

	client_request(client, "POST", "/v1/completions", NULL, body);
	assert_int_equal(client_status(client), 200);
	while ((event = client_event(client))) {
		json_t *chunk = json_loads(event, 0, NULL);
		json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0);
		const char *piece = json_string_value(json_object_get(choice, "text"));

		strncat(text, piece ? piece : "", 65535 - strlen(text));
		json_decref(chunk);
		free(event);
	}
	assert_true(client_complete(client));
	client_close(client);
	return text;
}

static void seeds_streams_and_stops(void **state)
{
	char finish[32], body[256];

	(void)state;
	launch("text_to_text");

	char *once = complete("{\"prompt\":\"The\",\"max_tokens\":24,\"seed\":5}", finish);
	char *again = complete("{\"prompt\":\"The\",\"max_tokens\":24,\"seed\":5}", finish);
	char *other = complete("{\"prompt\":\"The\",\"max_tokens\":24,\"seed\":6}", finish);
	char *streamed = stream(
		"{\"prompt\":\"The\",\"max_tokens\":24,\"seed\":5,\"stream\":true}");

	assert_true(strlen(once) > 10);
	assert_string_equal(once, again);
	assert_string_equal(once, streamed);
	assert_string_not_equal(once, other);

	/* A stop string from the middle of a known answer cuts it there. */
	const char *word = strchr(once + 1, ' ');
	size_t length;

	assert_non_null(word);
	length = 1 + strcspn(word + 1, " \"\\\n");
	json_t *request = json_pack("{s:s, s:i, s:i, s:s#}", "prompt", "The", "max_tokens", 24,
				    "seed", 5, "stop", word, (int)length);
	char *text = json_dumps(request, 0);

	assert_true(strlen(text) < sizeof(body));
	char *stopped = complete(text, finish);

	assert_string_equal(finish, "stop");
	assert_int_equal(strlen(stopped), (size_t)(strstr(once, stopped) ? word - once : -1));
	assert_memory_equal(stopped, once, strlen(stopped));
	json_decref(request);
	free(text);
	free(stopped);
	free(once);
	free(again);
	free(other);
	free(streamed);
	stop();
}

/* A line of /proc/PID/maps that contains `text`. */
static bool has_mapped(const char *text)
{
	char path[64], line[512];
	bool found = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)proc_pid(worker));
	maps = fopen(path, "re");
	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps))
		found = strstr(line, text);
	fclose(maps);
	return found;
}

/*
 * The model by a descriptor, as a backend with model_by = "descriptor" gets it. The shell opens the
 * file as number 3, puts another one in its place, and becomes the worker: it loads what was
 * opened, and maps it as it would a path.
 */
static void loads_from_a_descriptor(void **state)
{
	static const char script[] = "cp \"$1\" \"$2/m.gguf\" && exec 3<\"$2/m.gguf\" && "
				     "echo no model >\"$2/new\" && mv \"$2/new\" \"$2/m.gguf\" && "
				     "shift 2 && exec \"$@\"";
	char *dir = test_dir_make(), finish[32], *text;
	const char *args[] = { "/bin/sh",
			       "-c",
			       script,
			       "sh",
			       model,
			       dir,
			       program,
			       "--engine",
			       engine,
			       "--model",
			       "/proc/self/fd/3",
			       "--model-id",
			       "demo",
			       "--port",
			       "0",
			       "--capability",
			       "text_to_text",
			       NULL };

	(void)state;
	worker = proc_start(args, NULL);
	await_worker();
	assert_true(has_mapped("/m.gguf (deleted)"));
	text = complete("{\"prompt\":\"The\",\"max_tokens\":8,\"seed\":5}", finish);
	assert_true(strlen(text) > 2);
	free(text);
	stop();
	test_dir_remove(dir);
	free(dir);
}

static void wishes_reach_the_engine(void **state)
{
	char finish[32];

	(void)state;
	launch("text_to_text");

	/* Token 12 is the vocabulary's most frequent word. */
	char *biased = complete("{\"prompt\":\"A\",\"max_tokens\":2,\"logit_bias\":{\"12\":100}}",
				finish);
	char *bound = complete(
		"{\"prompt\":\"A\",\"grammar\":\"root ::= \\\" love\\\" \\\".\\\"\"}", finish);
	char *greedy = complete("{\"prompt\":\"The\",\"temperature\":0}", finish);
	char *one_candidate = complete("{\"prompt\":\"The\",\"top_k\":1}", finish);

	assert_string_equal(biased, " the the");
	assert_string_equal(bound, " love.");
	assert_string_equal(greedy, one_candidate);
	free(biased);
	free(bound);
	free(greedy);
	free(one_candidate);

	json_t *answer;

	assert_int_equal(client_call(address, "POST", "/v1/completions",
				     "{\"prompt\":\"A\",\"grammar\":\"nonsense\"}", &answer),
			 400);
	assert_non_null(strstr(
		json_string_value(json_object_get(json_object_get(answer, "error"), "message")),
		"grammar is not GBNF"));
	json_decref(answer);
	stop();
}

static json_int_t cached_tokens(const char *body)
{
	json_t *answer, *usage;

	assert_int_equal(client_call(address, "POST", "/v1/completions", body, &answer), 200);
	usage = json_object_get(answer, "usage");

	json_int_t cached = json_integer_value(
		json_object_get(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"));

	json_decref(answer);
	return cached;
}

/* Two slots: one of three equal prompts comes to one that has read it. */
static void a_prompt_that_was_read_is_cached(void **state)
{
	char body[2048], *end = body;

	(void)state;
	launch("text_to_text");
	end = stpcpy(end, "{\"max_tokens\":1,\"prompt\":\"The");
	for (int i = 0; i < 200; i++)
		end = stpcpy(end, " people");
	stpcpy(end, "\"}");
	assert_int_equal(cached_tokens(body), 0);

	json_int_t second = cached_tokens(body), third = cached_tokens(body);

	assert_true(second == 128 || third == 128);
	stop();
}

static void a_prompt_longer_than_the_context_is_refused(void **state)
{
	enum { WORDS = 20000 };
	char *body = calloc(1, WORDS * 5 + 64), *end;
	json_t *answer;

	(void)state;
	launch("text_to_text");
	end = stpcpy(body, "{\"prompt\":\"");
	for (int i = 0; i < WORDS; i++)
		end = stpcpy(end, " the");
	stpcpy(end, "\"}");
	assert_int_equal(client_call(address, "POST", "/v1/completions", body, &answer), 400);

	json_t *error = json_object_get(answer, "error");

	assert_string_equal(json_string_value(json_object_get(error, "code")), "CONTEXT_EXCEEDED");
	json_decref(answer);
	free(body);
	stop();
}

static void embeddings_have_length_one(void **state)
{
	json_t *answer, *value;
	double sum = 0;
	size_t i;

	(void)state;
	launch("text_embedding");
	assert_int_equal(client_call(address, "POST", "/v1/embeddings",
				     "{\"input\":\"the people\",\"model\":\"demo\"}", &answer),
			 200);

	json_t *row = json_array_get(json_object_get(answer, "data"), 0);
	json_t *vector = json_object_get(row, "embedding");

	assert_true(json_array_size(vector) > 0);
	json_array_foreach(vector, i, value)
		sum += json_number_value(value) * json_number_value(value);
	assert_true(fabs(sum - 1) < 1e-3);
	json_decref(answer);
	stop();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(seeds_streams_and_stops, tear_down),
		cmocka_unit_test_teardown(loads_from_a_descriptor, tear_down),
		cmocka_unit_test_teardown(wishes_reach_the_engine, tear_down),
		cmocka_unit_test_teardown(a_prompt_that_was_read_is_cached, tear_down),
		cmocka_unit_test_teardown(a_prompt_longer_than_the_context_is_refused, tear_down),
		cmocka_unit_test_teardown(embeddings_have_length_one, tear_down),
	};

	if (argc != 4) {
		fprintf(stderr, "usage: %s POOL-WORKER ENGINE MODEL\n", argv[0]);
		return 2;
	}
	program = argv[1];
	engine = argv[2];
	model = argv[3];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
