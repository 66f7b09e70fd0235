/* SPDX-License-Identifier: MIT */
/*
 * test_cli.c - the real rbees-pool against a real daemon with stub workers: what each command
 * prints and which exit code it has. What people read is compared with golden transcripts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario/cli_fixture.h"

/* The stub repeats the prompt's words in their order. */
#define T0 "--temperature", "0"
#define ESCAPE "\033[31mred\302\233"

/* ---- helpers ---- */

/* Runs, wants this status and these texts (NULL: whatever). */
static void expect(struct rig *rig, const struct call *call, int status, const char *out,
		   const char *err)
{
	struct cli_result result = cli_call(rig, call);

	assert_true(result.out && result.err);

	if (result.status != status)
		fail_msg("exit %d, not %d; it said: %s%s", result.status, status, result.out,
			 result.err);
	if (out)
		assert_string_equal(result.out, out);
	if (err && !strstr(result.err, err))
		fail_msg("\"%s\" is not in: %s", err, result.err);
	cli_result_free(&result);
}

#define EXPECT(rig, status, out, err, ...) \
	expect((rig), &(struct call){ .args = { __VA_ARGS__ } }, (status), (out), (err))

/* Reads until the text has come, or to the end; returns what came. */
static const char *read_until(int fd, const char *text)
{
	static char buffer[8192];
	int64_t deadline = test_deadline_ms();
	size_t length = 0;

	buffer[0] = '\0';
	while (!text || !strstr(buffer, text)) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t got;

		if (poll(&ready, 1, test_remaining_ms(deadline)) != 1)
			fail_msg("\"%s\" does not come; so far: %s", text, buffer);
		got = read(fd, buffer + length, sizeof(buffer) - 1 - length);
		if (got <= 0)
			break;
		length += (size_t)got;
		buffer[length] = '\0';
	}
	if (text && !strstr(buffer, text))
		fail_msg("\"%s\" did not come, only: %s", text, buffer);
	return buffer;
}

static void make_pipe(int ends[2])
{
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

/* A terminal for the program; returns our end. */
static int make_terminal(int *ret_fd)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(grantpt(fd), 0);
	assert_int_equal(unlockpt(fd), 0);
	*ret_fd = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*ret_fd >= 0);
	return fd;
}

/* Runs on a terminal, whose text is returned. */
static const char *on_terminal(struct rig *rig, struct call call, int status)
{
	int terminal = make_terminal(&call.out_fd);
	struct cli_child child;
	struct cli_result result;
	const char *text;

	call.err_fd = call.out_fd;
	child = cli_start(rig, &call);
	close(call.out_fd);
	text = read_until(terminal, NULL);
	result = cli_finish(&child);
	assert_int_equal(result.status, status);
	cli_result_free(&result);
	close(terminal);
	return text;
}

/* A daemon with one plain model. */
static void begin(struct rig *rig)
{
	rig_init(rig);
	rig_model(rig, "demo", "tokens=4", "");
	rig_start(rig);
}

static void end(struct rig *rig)
{
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

/* ... whose answers wait at a gate. */
static char *begin_gated(struct rig *rig, const char *key)
{
	char *gate, *behaviour;

	rig_init(rig);
	gate = rig_gate(rig, "gate");
	assert_true(asprintf(&behaviour, "tokens=4\n%s=%s\n", key, gate) > 0);
	rig_model(rig, "demo", behaviour, "");
	free(behaviour);
	rig_start(rig);
	return gate;
}

/* ---- golden transcripts ---- */

static void help_says_what_there_is(void **state)
{
	struct transcript t;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	transcript_begin(&t, &rig);
	NOTE(&t, "--help");
	NOTE(&t, "run", "--help");
	NOTE(&t, "status", "--help");
	NOTE(&t, "worker", "stop", "--help");
	NOTE(&t, "--version");
	transcript_end(&t, "help");
	rig_fini(&rig);
}

static void wrong_words_are_usage_errors(void **state)
{
	struct transcript t;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	transcript_begin(&t, &rig);
	transcript_add(&t, &(struct call){ .url = NULL });
	NOTE(&t, "statsu");
	NOTE(&t, "nothing-like-it");
	NOTE(&t, "stop");
	NOTE(&t, "list");
	NOTE(&t, "worker");
	NOTE(&t, "worker", "frob");
	NOTE(&t, "models");
	NOTE(&t, "status", "now");
	NOTE(&t, "worker", "start");
	NOTE(&t, "worker", "stop", "a", "b");
	NOTE(&t, "run");
	NOTE(&t, "--frobnicate", "status");
	NOTE(&t, "status", "--json=yes");
	NOTE(&t, "status", "--force");
	NOTE(&t, "status", "--url");
	NOTE(&t, "run", "demo", "--max-tokens", "0", "x");
	NOTE(&t, "run", "demo", "--max-tokens", "1.5", "x");
	NOTE(&t, "run", "demo", "--seed", "4294967296", "x");
	NOTE(&t, "run", "demo", "--seed", "99999999999999999999", "x");
	NOTE(&t, "run", "demo", "--temperature", "nan", "x");
	NOTE(&t, "run", "demo", "--temperature", "2.1", "x");
	NOTE(&t, "run", "demo", "minus", "-5");
	NOTE(&t, "run", "demo", "\377");
	NOTE(&t, "run", "demo", "x", "--system", "\377");
	NOTE(&t, "worker", "start", "\377");
	NOTE(&t, "no\033[31mcolour");
	NOTE(&t, "--url", "ftp://example", "status");
	NOTE(&t, "--url", "http://", "status");
	NOTE(&t, "--url", "unix:", "status");
	NOTE(&t, "--config", "/nonexistent/pool.toml", "status");
	transcript_add(&t, &(struct call){ .args = { "status" },
					   .env = { "RBEES_POOL_TOKEN=two words" } });
	transcript_end(&t, "usage");
	rig_fini(&rig);
}

static void without_a_daemon(void **state)
{
	struct transcript t;
	struct rig rig;
	char *broken;

	(void)state;
	begin(&rig);
	assert_int_equal(rig_stop(&rig), 0);
	broken = test_file_write(rig.dir, "broken.toml", "[pool]\nqueue_capasity = 3\n");
	transcript_begin(&t, &rig);
	NOTE(&t, "status");
	NOTE(&t, "ps");
	NOTE(&t, "models", "list");
	NOTE(&t, "--config", rig.config, "models", "list");
	NOTE(&t, "models", "list", "--json", "--config", rig.config);
	NOTE(&t, "worker", "start", "demo");
	NOTE(&t, "run", "demo", "hello");
	NOTE(&t, "ps", "--json");
	NOTE(&t, "ps", "--url", "unix:/nonexistent/socket");
	NOTE(&t, "ps", "--url", "http://127.0.0.1:1///");
	NOTE(&t, "version");
	NOTE(&t, "version", "--json");
	NOTE(&t, "config", "check", "--config", rig.config);
	NOTE(&t, "config", "check", "--config", rig.config, "--json");
	NOTE(&t, "config", "check", "--config", broken);
	NOTE(&t, "config", "show", "--config", broken);
	NOTE(&t, "config", "show", "--effective");
	NOTE(&t, "reload");
	transcript_end(&t, "no-daemon");
	rig_fini(&rig);
	free(broken);
}

static void looking_around(void **state)
{
	struct transcript t;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "demo", "tokens=4", "");
	rig_model(&rig, "a-model-with-a-longer-name", "tokens=4", "slots = 3");
	rig_start(&rig);
	transcript_begin(&t, &rig);
	NOTE(&t, "status");
	NOTE(&t, "ps");
	NOTE(&t, "models", "list");
	NOTE(&t, "run", "demo", "--temperature", "0", "one", "two  three", "four");
	NOTE(&t, "ps");
	NOTE(&t, "worker", "list");
	NOTE(&t, "models", "list");
	NOTE(&t, "status");
	NOTE(&t, "version");
	transcript_end(&t, "looking");
	end(&rig);
}

static void what_goes_wrong_has_its_code(void **state)
{
	struct transcript t;
	struct rig rig;
	char *gate, *behaviour;

	(void)state;
	rig_init(&rig);
	gate = rig_gate(&rig, "gate");
	assert_true(asprintf(&behaviour, "load_gate=%s\n", gate) > 0);
	rig_model(&rig, "demo", "tokens=4", "");
	rig_model(&rig, "slow", behaviour, "");
	rig_model(&rig, "fragile", "generate_fail=2:MODEL_ERROR:tensor 7 is out of shape", "");
	rig_model(&rig, "huge", "tokens=4", "est_memory_allocation_mb = 16777216");
	snprintf(rig.settings, sizeof(rig.settings), "request_timeout_secs = 1");
	rig_start(&rig);
	transcript_begin(&t, &rig);
	NOTE(&t, "run", "dema", "hello");
	NOTE(&t, "run", "nobody", "hello", "--json");
	NOTE(&t, "run", "fragile", "--temperature", "0", "one two three four");
	NOTE(&t, "run", "slow", "hello");
	NOTE(&t, "worker", "start", "nobody");
	NOTE(&t, "worker", "stop", "w-1");
	NOTE(&t, "worker", "logs", "w-1");
	NOTE(&t, "worker", "logs", "../state?x#y z");
	transcript_end(&t, "errors");
	EXPECT(&rig, 5, "", "huge", "run", "huge", "hello");
	EXPECT(&rig, 5, "", "\"needed_bytes\"", "--json", "run", "huge", "hello");
	end(&rig);
	free(gate);
	free(behaviour);
}

/* ---- tables ---- */

/* Every column begins where its heading does. */
static void assert_aligned(const char *text, const char *const *headings)
{
	const char *line = strchr(text, '\n') + 1;
	size_t rows = 0;

	for (; *line; line = strchr(line, '\n') + 1, rows++) {
		for (size_t i = 0; headings[i]; i++) {
			size_t at = (size_t)(strstr(text, headings[i]) - text);

			assert_true(at < strcspn(line, "\n"));
			assert_int_not_equal(line[at], ' ');
			assert_true(at == 0 || line[at - 1] == ' ');
		}
	}
	assert_true(rows > 1);
}

/* What GPUs there are depends on the machine; that there is an answer does not. */
static void gpus_are_listed_with_and_without_a_daemon(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	result = RUN(&rig, "gpu", "list");
	assert_int_equal(result.status, 0);
	assert_true(strstr(result.out, "no GPU: ") || strstr(result.out, "DEVICE"));
	assert_string_equal(result.err, "");
	assert_int_equal(rig_stop(&rig), 0);
	EXPECT(&rig, 0, result.out, "what this machine has", "gpu", "list");
	cli_result_free(&result);
	rig_fini(&rig);
}

static void columns_stand_under_their_headings(void **state)
{
	static const char *const models[] = { "MODEL",	 "STATE",   "CAPABILITY", "MEMORY",
					      "WORKERS", "BACKEND", NULL };
	struct cli_result result;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "demo", "tokens=4", "");
	rig_model(&rig, "a-model-with-a-longer-name", "tokens=4", "");
	rig_start(&rig);
	EXPECT(&rig, 0, "x x x x\n", "", "run", "demo", "x");
	result = RUN(&rig, "models", "list");
	assert_aligned(result.out, models);
	cli_result_free(&result);
	end(&rig);
}

/* ---- run ---- */

static void prompts_come_from_anywhere(void **state)
{
	static const char nul[] = "one\0two";
	struct rig rig;

	(void)state;
	begin(&rig);
	EXPECT(&rig, 0, "one two three four\n", "", "run", "demo", T0, "one", "two", "three four");
	expect(&rig, &(struct call){ .args = { "run", "demo", T0 }, .input = "from a file\n" }, 0,
	       "from a file from\n", "");
	expect(&rig, &(struct call){ .args = { "run", "demo", T0, "-" }, .input = "a b" }, 0,
	       "a b a b\n", "");
	EXPECT(&rig, 0, "- a - a\n", "", "run", "demo", T0, "-", "a");
	EXPECT(&rig, 0, "--json x --json x\n", "", "run", "demo", T0, "--", "--json", "x");
	expect(&rig, &(struct call){ .args = { "run", "demo" }, .input = "bad \377 byte" }, 2, "",
	       "must be UTF-8 text");
	expect(&rig, &(struct call){ .args = { "run", "demo" }, .input = nul, .input_length = 7 },
	       2, "", "without NUL");
	end(&rig);
}

static void a_long_prompt_is_sent_or_refused(void **state)
{
	size_t length = (16u << 20) + 1;
	char *text = malloc(length + 1);
	struct rig rig;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', length);
	text[length] = '\0';
	begin(&rig);
	expect(&rig, &(struct call){ .args = { "run", "demo" }, .input = text }, 2, "",
	       "longer than 16777216 bytes");
	text[4 << 20] = '\0';
	expect(&rig,
	       &(struct call){ .args = { "run", "demo", "--max-tokens", "1" }, .input = text }, 0,
	       NULL, "");
	end(&rig);
	free(text);
}

static void options_stand_anywhere(void **state)
{
	struct cli_result random, again;
	struct rig rig;

	(void)state;
	begin(&rig);
	EXPECT(&rig, 0, "one\n", "", "run", "demo", T0, "one two", "--max-tokens", "1");
	EXPECT(&rig, 0, "one two\n", "", "run", "--max-tokens=2", "demo", "one two", T0);
	EXPECT(&rig, 0, "b b b b\n", "", "run", "demo", "--system", "a", "b");
	EXPECT(&rig, 0, "a b c d\n", "", "run", "demo", "--temperature", "0", "a b c d");
	random = RUN(&rig, "run", "demo", "--seed", "7", "--temperature", "1.5", "a b c d");
	again = RUN(&rig, "run", "demo", "--seed", "7", "--temperature", "1.5", "a b c d");
	assert_int_equal(random.status, 0);
	assert_string_equal(random.out, again.out);
	assert_string_not_equal(random.out, "a b c d\n");
	cli_result_free(&random);
	cli_result_free(&again);
	end(&rig);
}

static void an_answer_comes_word_by_word(void **state)
{
	struct call call = { .args = { "run", "demo", T0, "one two three four" } };
	struct cli_child child;
	struct cli_result result;
	struct rig rig;
	char *gate;
	int ends[2], fd;

	(void)state;
	gate = begin_gated(&rig, "gate");
	make_pipe(ends);
	call.out_fd = ends[1];
	child = cli_start(&rig, &call);
	close(ends[1]);
	fd = rig_gate_open(gate);
	/* Each word is here before the next one is made. */
	assert_int_equal(write(fd, "x", 1), 1);
	assert_string_equal(read_until(ends[0], "one"), "one");
	assert_int_equal(write(fd, "x", 1), 1);
	assert_string_equal(read_until(ends[0], "two"), " two");
	assert_int_equal(write(fd, "xx", 2), 2);
	assert_string_equal(read_until(ends[0], NULL), " three four\n");
	result = cli_finish(&child);
	assert_int_equal(result.status, 0);
	assert_string_equal(result.err, "");
	cli_result_free(&result);
	close(ends[0]);
	close(fd);
	end(&rig);
	free(gate);
}

/* ---- the user leaves, the reader leaves ---- */

static void ctrl_c_cancels_the_answer(void **state)
{
	struct call call = { .args = { "run", "demo", T0, "one two three four" } };
	struct cli_child child;
	struct cli_result result;
	struct rig rig;
	char *gate;
	int ends[2], fd;

	(void)state;
	gate = begin_gated(&rig, "gate");
	make_pipe(ends);
	call.out_fd = ends[1];
	child = cli_start(&rig, &call);
	close(ends[1]);
	fd = rig_gate_open(gate);
	assert_int_equal(write(fd, "x", 1), 1);
	read_until(ends[0], "one");
	kill(child.pid, SIGINT);
	result = cli_finish(&child);
	assert_int_equal(result.status, 130);
	assert_string_equal(result.err, "");
	cli_result_free(&result);
	proc_wait_line(rig.daemon, "run cancelled");
	rig_wait_model(&rig, "demo", "leases", 0);
	close(ends[0]);
	close(fd);
	end(&rig);
	free(gate);
}

static void ctrl_c_ends_the_wait_for_a_cold_start(void **state)
{
	struct cli_child child;
	struct cli_result result;
	struct rig rig;
	char *gate;
	int fd;

	(void)state;
	gate = begin_gated(&rig, "load_gate");
	child = cli_start(&rig, &(struct call){ .args = { "run", "demo", "x" } });
	rig_wait_model(&rig, "demo", "waiting", 1);
	kill(child.pid, SIGINT);
	result = cli_finish(&child);
	assert_int_equal(result.status, 130);
	assert_string_equal(result.out, "");
	cli_result_free(&result);
	rig_wait_model(&rig, "demo", "waiting", 0);
	assert_int_equal(rig_counter(&rig, "cancelled"), 1);
	fd = rig_gate_open(gate);
	assert_int_equal(write(fd, "x", 1), 1);
	EXPECT(&rig, 0, "x x x x\n", "", "run", "demo", "x");
	close(fd);
	end(&rig);
	free(gate);
}

static void ctrl_c_ends_the_wait_for_a_prompt(void **state)
{
	struct call call = { .args = { "run", "demo" } };
	struct cli_child child;
	struct cli_result result;
	struct rig rig;
	int ends[2], terminal;

	(void)state;
	begin(&rig);
	make_pipe(ends);
	terminal = make_terminal(&call.in_fd);
	call.err_fd = ends[1];
	child = cli_start(&rig, &call);
	close(ends[1]);
	read_until(ends[0], "Type the prompt");
	kill(child.pid, SIGINT);
	result = cli_finish(&child);
	assert_int_equal(result.status, 130);
	assert_string_equal(result.out, "");
	assert_int_equal(rig_counter(&rig, "submitted"), 0);
	cli_result_free(&result);
	close(ends[0]);
	close(call.in_fd);
	close(terminal);
	end(&rig);
}

static void a_reader_that_leaves_is_no_failure(void **state)
{
	struct call call = { .args = { "run", "demo", T0, "one two three four" } };
	struct call quick = { .args = { "status" } }, shows = { .args = { "config", "show" } };
	struct cli_child child;
	struct cli_result result;
	struct rig rig;
	char *gate;
	int ends[2], fd;

	(void)state;
	gate = begin_gated(&rig, "gate");
	make_pipe(ends);
	call.out_fd = ends[1];
	child = cli_start(&rig, &call);
	close(ends[1]);
	fd = rig_gate_open(gate);
	assert_int_equal(write(fd, "x", 1), 1);
	read_until(ends[0], "one");
	close(ends[0]);
	assert_int_equal(write(fd, "x", 1), 1);
	result = cli_finish(&child);
	assert_int_equal(result.status, 0);
	assert_string_equal(result.err, "");
	cli_result_free(&result);
	/* It did not want the rest, so nobody makes it. */
	proc_wait_line(rig.daemon, "run cancelled");

	make_pipe(ends);
	close(ends[0]);
	quick.out_fd = ends[1];
	expect(&rig, &quick, 0, NULL, "");
	shows.out_fd = ends[1];
	result = cli_call(&rig, &shows);
	assert_int_equal(result.status, 0);
	assert_string_equal(result.err, "");
	cli_result_free(&result);
	close(ends[1]);
	close(fd);

	quick.out_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	expect(&rig, &quick, 1, NULL, "could not be written");
	close(quick.out_fd);
	end(&rig);
	free(gate);
}

/* ---- workers ---- */

static void an_operator_starts_and_stops_workers(void **state)
{
	struct cli_result result;
	char id[64], word[32], stopping[128];
	struct rig rig;

	(void)state;
	begin(&rig);
	result = RUN(&rig, "worker", "start", "demo");
	assert_int_equal(result.status, 0);
	assert_int_equal(sscanf(result.out, "%63s %31s", id, word), 2);
	assert_string_equal(word, "spawning");
	cli_result_free(&result);
	proc_wait_line(rig.daemon, "worker ready");
	result = RUN(&rig, "worker", "logs", id);
	assert_int_equal(result.status, 0);
	assert_true(strlen(result.out) > 0);
	assert_int_equal(result.out[strlen(result.out) - 1], '\n');
	cli_result_free(&result);
	snprintf(stopping, sizeof(stopping), "%s stopping\n", id);
	EXPECT(&rig, 0, stopping, "", "worker", "stop", "--force", id);
	rig_wait_workers(&rig, 0);
	/* A departed worker's last words are still there. */
	result = RUN(&rig, "worker", "logs", "--json", id);
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, id));
	cli_result_free(&result);
	end(&rig);
}

/* ---- JSON ---- */

/* The answer has these members, separated by spaces, and parses. */
static void assert_json(struct rig *rig, const char *members, const struct call *call)
{
	struct cli_result result = cli_call(rig, call);

	assert_true(result.out && result.err);
	json_t *answer = json_loads(result.out, 0, NULL);
	char names[256], *rest = names, *name;

	assert_int_equal(result.status, 0);
	assert_string_equal(result.err, "");
	assert_non_null(answer);
	snprintf(names, sizeof(names), "%s", members);
	while ((name = strsep(&rest, " "))) {
		if (!json_object_get(answer, name))
			fail_msg("no \"%s\" in %s", name, result.out);
	}
	json_decref(answer);
	cli_result_free(&result);
}

#define ASSERT_JSON(rig, members, ...) \
	assert_json((rig), (members), &(struct call){ .args = { __VA_ARGS__ } })

static void everything_can_be_json(void **state)
{
	struct cli_result result;
	size_t lines = 0;
	char id[64];
	struct rig rig;

	(void)state;
	begin(&rig);
	ASSERT_JSON(&rig, "pool_id version uptime_secs devices models workers counters", "--json",
		    "status");
	ASSERT_JSON(&rig, "models", "models", "--json", "list");
	ASSERT_JSON(&rig, "gpus note read_wall_ms", "gpu", "list", "--json");
	ASSERT_JSON(&rig, "worker_id status model_id", "worker", "start", "demo", "--json");
	proc_wait_line(rig.daemon, "worker ready");
	rig_workers(&rig, NULL, id);
	ASSERT_JSON(&rig, "workers", "ps", "--json");
	ASSERT_JSON(&rig, "worker_id lines", "worker", "logs", id, "--json");
	ASSERT_JSON(&rig, "config settings toml", "config", "show", "--json", "--config",
		    rig.config);
	ASSERT_JSON(&rig, "config models backends missing_files problems", "config", "check",
		    "--json", "--config", rig.config);
	ASSERT_JSON(&rig, "config generations settings", "config", "show", "--json", "--effective");
	ASSERT_JSON(&rig, "changed added removed needs_restart", "reload", "--json");
	ASSERT_JSON(&rig, "rbees-pool libpoolcore pool-managerd", "version", "--json");

	/* run: an object a line. */
	result = RUN(&rig, "run", "demo", "one two", "--json");
	assert_int_equal(result.status, 0);
	for (char *rest = result.out, *line; (line = strsep(&rest, "\n")) && rest; lines++) {
		json_t *event = json_loads(line, 0, NULL);

		assert_true(json_is_array(json_object_get(event, "choices")));
		json_decref(event);
	}
	assert_true(lines >= 2);
	cli_result_free(&result);
	ASSERT_JSON(&rig, "worker_id status", "worker", "stop", id, "--json");
	end(&rig);
}

static void the_settings_are_shown(void **state)
{
	struct cli_result result, again;
	struct rig rig;
	char *copy;

	(void)state;
	begin(&rig);
	result = RUN(&rig, "--config", rig.config, "config", "show");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "pool_id = \"rig\""));
	assert_non_null(strstr(result.out, "[backends.stub]"));
	/* It is a configuration itself. */
	copy = test_file_write(rig.dir, "copy.toml", result.out);
	again = RUN(&rig, "--config", copy, "config", "check");
	assert_int_equal(again.status, 0);
	cli_result_free(&result);
	cli_result_free(&again);
	free(copy);
	end(&rig);
}

/* One setting of an answer: "VALUE SOURCE NAME:LINE EFFECT". */
static void assert_setting(const char *answer, const char *section, const char *key,
			   const char *expected)
{
	json_t *root = json_loads(answer, 0, NULL), *row;
	char *text = NULL;
	size_t i;

	json_array_foreach(json_object_get(root, "settings"), i, row)
	{
		const char *file = json_string_value(json_object_get(row, "file"));
		const char *name = json_string_value(json_object_get(row, "name"));
		char *value;

		if (strcmp(json_string_value(json_object_get(row, "section")), section) != 0 ||
		    strcmp(json_string_value(json_object_get(row, "key")), key) != 0)
			continue;
		value = json_dumps(json_object_get(row, "value"), JSON_ENCODE_ANY | JSON_COMPACT);
		assert_true(asprintf(&text, "%s %s %s:%d %s", value,
				     json_string_value(json_object_get(row, "source")),
				     file   ? strrchr(file, '/') + 1
				     : name ? name
					    : "",
				     (int)json_integer_value(json_object_get(row, "line")),
				     json_string_value(json_object_get(row, "takes_effect"))) > 0);
		free(value);
	}
	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
	json_decref(root);
}

static void each_setting_has_its_source(void **state)
{
	struct call call = { .args = { "config", "show", "--json", "--config", NULL } };
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	call.args[4] = rig.config;
	call.env[0] = "RBEES_POOL_HTTP_LOOPS=3";
	result = cli_call(&rig, &call);
	assert_int_equal(result.status, 0);
	assert_setting(result.out, "pool", "pool_id", "\"rig\" file pool.toml:2 restart");
	assert_setting(result.out, "http", "loops",
		       "3 environment RBEES_POOL_HTTP_LOOPS:0 restart");
	assert_setting(result.out, "pool", "queue_capacity", "1024 default :0 reload");
	assert_setting(result.out, "backends.stub", "env",
		       "{\"POOL_WORKER_SPAWN_TOKEN\":\"{spawn_token}\"} file pool.toml:14 "
		       "workers");
	cli_result_free(&result);

	/* The daemon has two loops, and keeps secrets. */
	result = RUN(&rig, "config", "show", "--effective", "--json");
	assert_int_equal(result.status, 0);
	assert_setting(result.out, "http", "loops", "2 file pool.toml:7 restart");
	assert_setting(result.out, "backends.stub", "env",
		       "{\"POOL_WORKER_SPAWN_TOKEN\":\"hidden\"} file pool.toml:14 workers");
	cli_result_free(&result);
	result = RUN(&rig, "config", "show", "--effective");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "[pool]\npool_id = \"rig\" # file "));
	assert_non_null(strstr(result.out, "pool.toml, line 2\n"));
	assert_non_null(strstr(result.out, "\n\n[http]\nlisten = [\"127.0.0.1:0\"] # file "));
	assert_non_null(strstr(result.out, "\nqueue_capacity = 1024 # default\n"));
	assert_non_null(strstr(result.out, "\nenv = { POOL_WORKER_SPAWN_TOKEN = \"hidden\" } # "));
	cli_result_free(&result);
	EXPECT(&rig, 0, "no worker has ended yet\n", "", "worker", "deaths");
	EXPECT(&rig, 0, "no worker of this model is known to have ended\n", "", "worker", "deaths",
	       "demo");
	end(&rig);
}

static void a_daemon_reads_again(void **state)
{
	struct transcript t;
	struct rig rig;

	(void)state;
	begin(&rig);
	transcript_begin(&t, &rig);
	NOTE(&t, "reload");
	snprintf(rig.settings, sizeof(rig.settings),
		 "queue_capacity = 9\n[staging]\nenabled = false\n");
	rig_model(&rig, "other", "tokens=4", "");
	rig_model(&rig, "third", "tokens=4", "");
	rig_write(&rig);
	NOTE(&t, "reload");
	NOTE(&t, "reload", "--json");
	rig.catalog[0] = '\0';
	rig_model(&rig, "third", "tokens=4", "slots = 2");
	rig_write(&rig);
	NOTE(&t, "reload");
	NOTE(&t, "run", "demo", "x");
	rig_model(&rig, "fourth", "tokens=4", "slots = 0");
	rig_write(&rig);
	NOTE(&t, "reload");
	NOTE(&t, "reload", "--json");
	NOTE(&t, "models", "list");
	NOTE(&t, "reload", "now");
	NOTE(&t, "reload", "--effective");
	NOTE(&t, "config", "show", "--help");
	transcript_end(&t, "reload");
	end(&rig);
}

/* ---- the way to the daemon ---- */

static void a_token_opens_the_door(void **state)
{
	static const char *const token_env[] = { "RBEES_POOL_TOKEN=0123456789abcdef", NULL };
	struct call call = { .args = { "ps", "--json" } };
	char *token, *config;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "demo", "tokens=4", "");
	token = test_file_write(rig.dir, "token", "0123456789abcdef\n");
	config = test_file_write(rig.dir, "client.toml", "[http]\ntoken_file = \"token\"\n");
	setenv("RBEES_POOL_HTTP_TOKEN_FILE", token, 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_TOKEN_FILE");
	EXPECT(&rig, 1, "", "UNAUTHORIZED", "ps");
	EXPECT(&rig, 1, "", "Set RBEES_POOL_TOKEN", "ps");
	EXPECT(&rig, 0, "x x x x\n", "", "--config", config, "run", "demo", "x");
	memcpy(call.env, token_env, sizeof(token_env));
	expect(&rig, &call, 0, NULL, "");
	assert_int_equal(unlink(token), 0);
	EXPECT(&rig, 1, "", "cannot read the token file", "--config", config, "ps");
	end(&rig);
	free(token);
	free(config);
}

static void a_unix_socket_will_do(void **state)
{
	char listen[256];
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_model(&rig, "demo", "tokens=4", "");
	snprintf(listen, sizeof(listen), "unix:%s/socket", rig.dir);
	setenv("RBEES_POOL_HTTP_LISTEN", listen, 1);
	rig_start(&rig);
	unsetenv("RBEES_POOL_HTTP_LISTEN");
	EXPECT(&rig, 0, "x x x x\n", "", "--url", listen, "run", "demo", "x");
	EXPECT(&rig, 0, NULL, "", "ps", "--url", listen);
	end(&rig);
}

/* Answers that no pool-managerd gives. */
static void a_stranger_is_recognised(void **state)
{
	static const char *const answers[][2] = {
		{ "hello", "is this a pool-managerd?" },
		{ "{\"error\":{\"code\":\"SEND_FAILED\",\"message\":\"by the daemon\"}}",
		  "by the daemon (SEND_FAILED)" },
		{ "{\"error\":{\"code\":404,\"message\":\"a \\u001b[31mred\\u009b one\"}}",
		  "a \xe2\x90\x9b[31mred\xef\xbf\xbd one (INTERNAL)" },
		{ "{\"error\":\"what\"}", "an error without a message" },
	};
	char address[128];
	struct server *server = server_open("127.0.0.1:0", address);
	struct rig rig;

	(void)state;
	rig_init(&rig);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct call call = { .args = { "status" }, .url = address };
		struct cli_child child = cli_start(&rig, &call);
		struct cli_result result;

		server_reply(server_accept(server), 502, answers[i][0]);
		result = cli_finish(&child);
		assert_int_equal(result.status, 1);
		if (!strstr(result.err, answers[i][1]))
			fail_msg("\"%s\" is not in: %s", answers[i][1], result.err);
		cli_result_free(&result);
	}
	server_close(server);
	rig_fini(&rig);
}

/* Connected by the kernel, and never heard: one that is stopped, or hangs. */
static void a_silent_daemon_is_given_up(void **state)
{
	static const struct {
		struct call call;
		const char *err;
	} cases[] = {
		{ { .args = { "status", "--timeout", "1" } }, "has said nothing for 1 s" },
		{ { .args = { "run", "demo", "x", "--timeout", "1" } },
		  "has said nothing for 1 s" },
	};
	char address[128];
	struct server *server = server_open("127.0.0.1:0", address);
	struct rig rig;

	(void)state;
	rig_init(&rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct call call = cases[i].call;

		call.url = address;
		expect(&rig, &call, 6, "", cases[i].err);
	}
	EXPECT(&rig, 2, "", "--timeout takes a whole number of seconds", "status", "--timeout",
	       "x");
	server_close(server);
	rig_fini(&rig);
}

/* Ideographs are two columns wide, and one row is one line whatever a name contains. */
static void any_name_fits_into_a_table(void **state)
{
	static const char answer[] =
		"{\"models\": [{\"id\": \"\u65e5\u672c\", \"state\": \"a\\nb\\u001bc\", \"workers\": 1},"
		" {\"id\": \"e\u0301te\", \"state\": null, \"backend\": \"x\"}, 7]}";
	struct call call = { .args = { "models", "list" } };
	struct cli_result result;
	struct cli_child child;
	struct server *server;
	char address[128];
	struct rig rig;

	(void)state;
	rig_init(&rig);
	server = server_open("127.0.0.1:0", address);
	call.url = address;
	child = cli_start(&rig, &call);
	server_reply(server_accept(server), 200, answer);
	result = cli_finish(&child);
	assert_int_equal(result.status, 0);
	assert_string_equal(result.out,
			    "MODEL  STATE  CAPABILITY  MEMORY   WORKERS  BACKEND\n"
			    "\u65e5\u672c   a\u240ab\u241bc  -           0 bytes  1        -\n"
			    "e\u0301te    -      -           0 bytes  0        x\n"
			    "-      -      -           0 bytes  0        -\n");
	cli_result_free(&result);
	server_close(server);
	rig_fini(&rig);
}

/* ---- terminals ---- */

static void a_terminal_gets_colours_and_nothing_that_it_obeys(void **state)
{
	static const char picture[] = "\xe2\x90\x9b[31mred\xef\xbf\xbd";
	struct call ps = { .args = { "models", "list" } };
	struct call run = { .args = { "run", "demo", ESCAPE, "--max-tokens", "1" } };
	const char *text;
	struct rig rig;

	(void)state;
	begin(&rig);
	assert_non_null(strstr(on_terminal(&rig, ps, 0), "\033[1mMODEL"));
	ps.args[2] = "--no-color";
	assert_null(strchr(on_terminal(&rig, ps, 0), '\033'));
	ps.args[2] = NULL;
	ps.env[0] = "NO_COLOR=1";
	assert_null(strchr(on_terminal(&rig, ps, 0), '\033'));
	ps.env[0] = "NO_COLOR=";
	assert_non_null(strchr(on_terminal(&rig, ps, 0), '\033'));
	ps.env[0] = "TERM=dumb";
	assert_null(strchr(on_terminal(&rig, ps, 0), '\033'));

	/* A note while the model loads, gone when the answer comes; the terminal turns \n into
	 * \r\n.
	 */
	text = on_terminal(&rig, run, 0);
	assert_ptr_equal(strstr(text, "\033[2mwaiting for demo"), text);
	text = strstr(text, "\r\033[K");
	assert_non_null(text);
	assert_memory_equal(text + 4, picture, strlen(picture));
	assert_string_equal(text + 4 + strlen(picture), "\r\n");
	run.args[5] = "--json";
	run.args[6] = "--no-color";
	text = on_terminal(&rig, run, 0);
	assert_null(strchr(text, '\033'));
	assert_null(strstr(text, "\302\233"));
	/* A file gets the bytes. */
	run.args[5] = NULL;
	expect(&rig, &run, 0, ESCAPE "\n", "");
	end(&rig);
}

static int clean_up(void **state)
{
	cli_free_all(state);
	client_close_all();
	return proc_free_all(state);
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(help_says_what_there_is),
		SCENARIO(wrong_words_are_usage_errors),
		SCENARIO(without_a_daemon),
		SCENARIO(looking_around),
		SCENARIO(what_goes_wrong_has_its_code),
		SCENARIO(gpus_are_listed_with_and_without_a_daemon),
		SCENARIO(columns_stand_under_their_headings),
		SCENARIO(prompts_come_from_anywhere),
		SCENARIO(a_long_prompt_is_sent_or_refused),
		SCENARIO(options_stand_anywhere),
		SCENARIO(an_answer_comes_word_by_word),
		SCENARIO(ctrl_c_cancels_the_answer),
		SCENARIO(ctrl_c_ends_the_wait_for_a_cold_start),
		SCENARIO(ctrl_c_ends_the_wait_for_a_prompt),
		SCENARIO(a_reader_that_leaves_is_no_failure),
		SCENARIO(an_operator_starts_and_stops_workers),
		SCENARIO(everything_can_be_json),
		SCENARIO(the_settings_are_shown),
		SCENARIO(each_setting_has_its_source),
		SCENARIO(a_daemon_reads_again),
		SCENARIO(a_token_opens_the_door),
		SCENARIO(a_unix_socket_will_do),
		SCENARIO(a_stranger_is_recognised),
		SCENARIO(a_silent_daemon_is_given_up),
		SCENARIO(any_name_fits_into_a_table),
		SCENARIO(a_terminal_gets_colours_and_nothing_that_it_obeys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
