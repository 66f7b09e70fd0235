/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of capability/text_stream.c: a reader and a worker at their own pace, in both
 * directions, and every way to end it early. The worker is a puppet in a real pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/puppet.h"

static struct pc_pool *pool;
static struct pc_model *model;

static int set_up(void **state)
{
	(void)state;
	puppet_reset();
	assert_int_equal(pc_text_to_text_pool_create(NULL, &pool, NULL), 0);
	model = puppet_model(pool, "org/puppet", PC_CAPABILITY_TEXT_TO_TEXT, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pc_pool_destroy(pool);
	return 0;
}

static struct pc_text_stream *open_stream(const char *prompt,
					  const struct pc_request_options *options)
{
	struct pc_text_request request = { .prompt = prompt };
	struct pc_text_stream *stream = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_text_stream_open(model, &request, options, &stream, &err))
		fail_msg("%s", err.message);
	return stream;
}

/* All that is left of it, and what it ends with. `text` has room for `size`. */
static int read_all(struct pc_text_stream *stream, char *text, size_t size, size_t *ret_length,
		    struct pc_error *err)
{
	const char *chunk;
	size_t length, total = 0;
	int rc;

	while ((rc = pc_text_stream_next(stream, &chunk, &length, err)) == PC_STREAM_CHUNK) {
		assert_true(length > 0);
		assert_true(total + length < size);
		memcpy(text + total, chunk, length);
		total += length;
	}
	text[total] = '\0';
	if (ret_length)
		*ret_length = total;
	return rc;
}

/* ---- to its end ---- */

static void all_of_it_and_then_the_end(void **state)
{
	struct pc_text_result result = { .size = 0 };
	struct pc_text_stream *stream = open_stream("count 5", NULL);
	struct pc_error err = PC_ERROR_INIT;
	char text[64];

	(void)state;
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "0 1 2 3 4 ");
	assert_int_equal(pc_text_stream_result(stream, &result, NULL), 0);
	assert_int_equal(result.finish_reason, PC_FINISH_STOP);
	assert_int_equal(result.prompt_tokens, 3);
	assert_int_equal(result.completion_tokens, 5);
	/* The end stays the end, and a cancel comes too late to change it. */
	pc_text_stream_cancel(stream);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, &err), PC_STREAM_END);
	assert_string_equal(text, "");
	assert_int_equal(err.code, 0);
	assert_int_equal(pc_text_stream_result(stream, &result, NULL), 0);
	pc_text_stream_close(stream);
}

static void an_answer_of_nothing(void **state)
{
	struct pc_text_stream *stream = open_stream("nothing", NULL);
	char text[8];

	(void)state;
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "");
	pc_text_stream_close(stream);
}

static void the_request_is_copied(void **state)
{
	char role[] = "user", content[] = "gate", stop[] = "halt";
	struct pc_chat_message message = { role, content };
	const char *stops[] = { stop };
	struct pc_text_request request = {
		.messages = &message, .message_count = 1, .stops = stops, .stop_count = 1
	};
	struct pc_text_stream *stream;
	char text[64];

	(void)state;
	assert_int_equal(pc_text_stream_open(model, &request, NULL, &stream, NULL), 0);
	puppet_await_gate(1);
	memset(role, 'x', 4);
	memset(content, 'x', 4);
	memset(stop, 'x', 4);
	message = (struct pc_chat_message){ NULL, NULL };
	stops[0] = NULL;
	puppet_open_gate(1);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "user:gate;halt");
	pc_text_stream_close(stream);
}

static void an_error_comes_after_the_text_before_it(void **state)
{
	struct pc_text_stream *stream = open_stream("break 3", NULL);
	struct pc_text_result result;
	struct pc_error err = PC_ERROR_INIT;
	char text[64];

	(void)state;
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, &err), PC_E_MODEL_ERROR);
	assert_string_equal(text, "0 1 2 ");
	assert_string_equal(err.message, "'org/puppet': the puppet broke at 3");
	/* And again, when asked again. */
	pc_error_clear(&err);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, &err), PC_E_MODEL_ERROR);
	assert_string_equal(err.message, "'org/puppet': the puppet broke at 3");
	assert_int_equal(pc_text_stream_result(stream, &result, NULL), PC_E_INVALID_ARGUMENT);
	pc_text_stream_close(stream);
}

static void a_flood_arrives_whole_and_in_whole_characters(void **state)
{
	struct pc_text_stream *stream = open_stream("flood 4", NULL);
	size_t length, total = 0;
	const char *chunk;
	int rc;

	(void)state;
	while ((rc = pc_text_stream_next(stream, &chunk, &length, NULL)) == PC_STREAM_CHUNK) {
		assert_true(length <= PC_STREAM_BUFFER_BYTES);
		assert_int_equal(length % 3, 0);
		for (size_t i = 0; i < length; i += 3)
			assert_memory_equal(chunk + i, "\xe2\x82\xac", 3);
		total += length;
	}
	assert_int_equal(rc, PC_STREAM_END);
	assert_int_equal(total, 4 * 3 * 350000);
	pc_text_stream_close(stream);
}

/* ---- without waiting ---- */

static bool is_readable(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

static void a_loop_polls_the_descriptor(void **state)
{
	struct pc_text_stream *stream = open_stream("gate 2", NULL);
	int fd = pc_text_stream_fd(stream, NULL);
	const char *chunk;
	size_t length, total = 0;
	int rc;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pc_text_stream_fd(stream, NULL), fd);
	puppet_await_gate(1);
	assert_false(is_readable(fd, 0));
	assert_int_equal(pc_text_stream_try_next(stream, &chunk, &length, NULL),
			 PC_STREAM_WOULD_BLOCK);
	puppet_open_gate(1);
	do {
		assert_true(is_readable(fd, -1));
		rc = pc_text_stream_try_next(stream, &chunk, &length, NULL);
		/* Readable means that there is something. */
		assert_int_not_equal(rc, PC_STREAM_WOULD_BLOCK);
		total += rc == PC_STREAM_CHUNK ? length : 0;
	} while (rc == PC_STREAM_CHUNK);
	assert_int_equal(rc, PC_STREAM_END);
	assert_int_equal(total, strlen("0 1 "));
	assert_true(is_readable(fd, 0));
	pc_text_stream_close(stream);
}

static void a_descriptor_that_is_asked_for_late(void **state)
{
	struct pc_text_stream *stream = open_stream("echo", NULL);
	char text[8];

	(void)state;
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_true(is_readable(pc_text_stream_fd(stream, NULL), 0));
	pc_text_stream_close(stream);
}

static void the_descriptor_tells_of_a_cancel(void **state)
{
	struct pc_text_stream *stream = open_stream("gate 1", NULL);
	int fd = pc_text_stream_fd(stream, NULL);
	const char *chunk;
	size_t length;

	(void)state;
	puppet_await_gate(1);
	assert_false(is_readable(fd, 0));
	pc_text_stream_cancel(stream);
	assert_true(is_readable(fd, 0));
	assert_int_equal(pc_text_stream_try_next(stream, &chunk, &length, NULL), PC_E_CANCELLED);
	pc_text_stream_close(stream);
	puppet_open_gate(1);
}

/* ---- ending it early ---- */

struct reader {
	struct pc_text_stream *stream;
	pthread_t thread;
	atomic_bool begun;
	size_t chunks;
	int rc;
	struct pc_error err;
};

static void *read_to_the_end(void *arg)
{
	struct reader *reader = arg;
	const char *chunk;
	size_t length;

	pc_error_clear(&reader->err);
	atomic_store(&reader->begun, true);
	do {
		reader->rc = pc_text_stream_next(reader->stream, &chunk, &length, &reader->err);
		reader->chunks += reader->rc == PC_STREAM_CHUNK;
	} while (reader->rc == PC_STREAM_CHUNK);
	return NULL;
}

/* Whether the reader waits already when the cancel comes is not for us to say; in most rounds it
 * does. */
static void cancel_wakes_the_reader(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 50; round++) {
		struct reader reader = { .stream = open_stream("gate 1", NULL) };
		struct pc_text_result result;

		puppet_await_gate(round);
		assert_int_equal(pthread_create(&reader.thread, NULL, read_to_the_end, &reader), 0);
		while (!atomic_load(&reader.begun))
			sched_yield();
		pc_text_stream_cancel(reader.stream);
		/* The worker is still at the gate: the reader does not need it to be woken. */
		pthread_join(reader.thread, NULL);
		assert_int_equal(reader.rc, PC_E_CANCELLED);
		assert_int_equal(reader.chunks, 0);
		assert_string_equal(reader.err.message, "'org/puppet': the stream was cancelled");
		assert_int_equal(pc_text_stream_result(reader.stream, &result, NULL),
				 PC_E_INVALID_ARGUMENT);
		puppet_open_gate(1);
		pc_text_stream_close(reader.stream);
	}
}

/* The worker sits on a full buffer, which nobody will ever read. */
static void close_frees_a_worker_that_waits_for_its_reader(void **state)
{
	struct pc_text_stream *stream = open_stream("endless", NULL);
	struct pc_text_stream *next;
	const char *chunk;
	size_t length;
	char text[8];

	(void)state;
	assert_int_equal(pc_text_stream_next(stream, &chunk, &length, NULL), PC_STREAM_CHUNK);
	pc_text_stream_close(stream);
	/* There is one worker with one slot; it has let go of the first when the second is
	 * served. */
	next = open_stream("next", NULL);
	assert_int_equal(read_all(next, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "next");
	pc_text_stream_close(next);
}

/* Requests in the pool's queues. */
static unsigned waiting(void)
{
	struct pc_pool_metrics metrics;

	pc_pool_get_metrics(pool, &metrics);
	return metrics.waiting;
}

static void a_stream_that_waits_for_its_slot_can_be_cancelled(void **state)
{
	struct pc_text_stream *first = open_stream("gate 1", NULL);
	struct pc_text_stream *second, *third;
	char text[16];

	(void)state;
	puppet_await_gate(1);
	second = open_stream("second", NULL);
	third = open_stream("third", NULL);
	assert_int_equal(waiting(), 2);
	pc_text_stream_cancel(second);
	assert_int_equal(waiting(), 1);
	assert_int_equal(read_all(second, text, sizeof(text), NULL, NULL), PC_E_CANCELLED);
	pc_text_stream_close(second);
	puppet_open_gate(1);
	assert_int_equal(read_all(first, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_int_equal(read_all(third, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "third");
	/* The second was never handed to the engine. */
	assert_int_equal(puppet_calls(), 2);
	pc_text_stream_close(first);
	pc_text_stream_close(third);
}

static void the_callers_token_ends_a_stream(void **state)
{
	struct pc_request_options options = { .timeout_ms = 0 };
	struct pc_text_stream *stream;
	struct pc_error err = PC_ERROR_INIT;
	static char text[1 << 20];

	(void)state;
	assert_int_equal(pc_cancel_create(&options.cancel, NULL), 0);
	stream = open_stream("gate 100", &options);
	puppet_await_gate(1);
	pc_cancel_fire(options.cancel);
	puppet_open_gate(1);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, &err), PC_E_CANCELLED);
	assert_contains(err.message, "org/puppet");
	assert_string_equal(text, "");
	pc_text_stream_close(stream);

	/* One that carries the caller's token can also be cancelled alone. */
	pc_cancel_destroy(options.cancel);
	assert_int_equal(pc_cancel_create(&options.cancel, NULL), 0);
	stream = open_stream("mute", &options);
	pc_text_stream_cancel(stream);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_E_CANCELLED);
	pc_text_stream_close(stream);
	stream = open_stream("after", NULL);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	pc_text_stream_close(stream);
	assert_false(pc_cancel_is_fired(options.cancel));
	pc_pool_destroy(pc_steal(&pool));
	pc_cancel_destroy(options.cancel);
}

static void a_deadline_ends_a_stream(void **state)
{
	struct pc_request_options options = { .timeout_ms = 20 };
	struct pc_text_stream *stream = open_stream("endless", &options);
	struct pc_error err = PC_ERROR_INIT;
	const char *chunk;
	size_t length;
	int rc;

	(void)state;
	while ((rc = pc_text_stream_next(stream, &chunk, &length, &err)) == PC_STREAM_CHUNK)
		;
	assert_int_equal(rc, PC_E_TIMEOUT);
	assert_contains(err.message, "org/puppet");
	pc_text_stream_close(stream);
}

/* Nobody reads: the worker has to find out by itself that its time is over. */
static void a_deadline_ends_a_stream_that_nobody_reads(void **state)
{
	struct pc_request_options options = { .timeout_ms = 20 };
	struct pc_text_stream *stream = open_stream("flood 4", &options);
	struct pc_text_stream *next = open_stream("next", NULL);
	char text[8];

	(void)state;
	assert_int_equal(read_all(next, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "next");
	pc_text_stream_close(next);
	pc_text_stream_close(stream);
}

static void a_pool_ends_with_a_stream_that_nobody_reads(void **state)
{
	struct pc_pool_config config;
	struct pc_text_stream *stream;
	const char *chunk;
	size_t length;
	int rc;

	(void)state;
	pc_pool_destroy(pool);
	pc_pool_config_init(&config);
	config.shutdown_timeout_secs = 1;
	assert_int_equal(pc_text_to_text_pool_create(&config, &pool, NULL), 0);
	model = puppet_model(pool, "org/puppet", PC_CAPABILITY_TEXT_TO_TEXT, NULL);
	stream = open_stream("gate 100000000", NULL);
	puppet_await_gate(1);
	puppet_open_gate(1);
	pc_pool_destroy(pc_steal(&pool));
	/* The stream has outlived its pool: what it has can be read, and why it ended. */
	while ((rc = pc_text_stream_next(stream, &chunk, &length, NULL)) == PC_STREAM_CHUNK)
		;
	assert_int_equal(rc, PC_E_SHUTTING_DOWN);
	pc_text_stream_cancel(stream);
	pc_text_stream_close(stream);
}

static void an_engine_that_asks_nothing_is_not_heard_after_a_cancel(void **state)
{
	struct pc_text_stream *stream = open_stream("deaf 100000", NULL);
	const char *chunk;
	size_t length;

	(void)state;
	/* 500 KB: it waits for its reader on the way, so that the cancel comes in the middle. */
	assert_int_equal(pc_text_stream_next(stream, &chunk, &length, NULL), PC_STREAM_CHUNK);
	pc_text_stream_cancel(stream);
	assert_int_equal(pc_text_stream_next(stream, &chunk, &length, NULL), PC_E_CANCELLED);
	pc_text_stream_close(stream);
}

/* ---- when memory runs out ---- */

/* The slot is taken meanwhile, so that no worker's thread allocates at the same time. */
static void no_memory_to_open(void **state)
{
	struct pc_text_request request = { .prompt = "second" };
	struct pc_text_stream *first = open_stream("gate 1", NULL), *second = NULL;
	char text[16];
	unsigned n = 1;

	(void)state;
	puppet_await_gate(1);
	for (;; n++) {
		fail_alloc_begin(n);

		int rc = pc_text_stream_open(model, &request, NULL, &second, NULL);
		bool tried_all = fail_alloc_end();

		if (tried_all) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_null(second);
		assert_int_equal(fail_alloc_live(), 0);
	}
	/* The request, the stream, its name, its token, the pool's job. */
	assert_int_equal(n, 6);
	puppet_open_gate(1);
	assert_int_equal(read_all(second, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "second");
	pc_text_stream_close(second);
	pc_text_stream_close(first);
}

static void no_memory_for_the_text(void **state)
{
	struct pc_text_stream *stream = open_stream("gate 3", NULL);
	struct pc_error err = PC_ERROR_INIT;
	const char *chunk;
	size_t length;

	(void)state;
	puppet_await_gate(1);
	fail_alloc_begin(1);
	puppet_open_gate(1);
	assert_int_equal(pc_text_stream_next(stream, &chunk, &length, &err), PC_E_OUT_OF_MEMORY);
	assert_contains(err.message, "'org/puppet': ");
	/* With its thread, so that nobody frees any more when the allocator changes. */
	pc_pool_destroy(pc_steal(&pool));
	assert_false(fail_alloc_end());
	pc_text_stream_close(stream);
}

/* ---- arguments ---- */

static void arguments(void **state)
{
	struct pc_text_request request = { .prompt = "gate" };
	struct pc_text_result result;
	struct pc_text_stream *stream;
	struct pc_error err = PC_ERROR_INIT;
	const char *chunk;
	size_t length;

	(void)state;
	assert_int_equal(pc_text_stream_open(NULL, &request, NULL, &stream, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_open(model, NULL, NULL, &stream, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_open(model, &request, NULL, NULL, &err),
			 PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message,
			    "'org/puppet': no place for the stream was given (it is NULL)");
	assert_int_equal(pc_text_stream_next(NULL, &chunk, &length, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_fd(NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_result(NULL, &result, NULL), PC_E_INVALID_ARGUMENT);
	pc_text_stream_cancel(NULL);
	pc_text_stream_close(NULL);

	stream = open_stream("gate 1", NULL);
	pc_error_clear(&err);
	assert_int_equal(pc_text_stream_next(stream, NULL, &length, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_next(stream, &chunk, NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_result(stream, NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_text_stream_result(stream, &result, &err), PC_E_INVALID_ARGUMENT);
	assert_contains(err.message, "has not come to its end");
	puppet_open_gate(1);
	pc_text_stream_close(stream);
}

/* ---- races ---- */

#define RACE_THREADS 4
#define RACE_ROUNDS 60

/* What to do with a stream, and when: all combinations come up with the rounds. */
static void race_once(unsigned round)
{
	static const char *const prompts[] = { "count 3", "endless", "flood 2", "break 2" };
	struct reader reader = { .stream = open_stream(prompts[round % 4], NULL) };
	struct pc_text_stream *stream = reader.stream;
	const char *chunk;
	size_t length;

	switch (round / 4 % 4) {
	case 0: /* closed at once, wherever it is */
		break;
	case 1: /* closed after some text */
		pc_text_stream_next(stream, &chunk, &length, NULL);
		break;
	case 2: /* cancelled beside a reader */
		assert_int_equal(pthread_create(&reader.thread, NULL, read_to_the_end, &reader), 0);
		pc_text_stream_cancel(stream);
		pc_text_stream_cancel(stream);
		pthread_join(reader.thread, NULL);
		assert_int_not_equal(reader.rc, PC_STREAM_CHUNK);
		break;
	case 3: /* looked at, and cancelled */
		pc_text_stream_fd(stream, NULL);
		pc_text_stream_try_next(stream, &chunk, &length, NULL);
		pc_text_stream_cancel(stream);
		break;
	}
	pc_text_stream_close(stream);
}

static void *race(void *arg)
{
	unsigned start = *(unsigned *)arg;

	for (unsigned i = 0; i < RACE_ROUNDS; i++)
		race_once(start + i);
	return NULL;
}

static void many_streams_are_cancelled_and_closed_at_once(void **state)
{
	pthread_t threads[RACE_THREADS];
	unsigned starts[RACE_THREADS];
	struct pc_text_stream *stream;
	char text[8];

	(void)state;
	for (unsigned i = 0; i < RACE_THREADS; i++) {
		starts[i] = i * 5;
		assert_int_equal(pthread_create(&threads[i], NULL, race, &starts[i]), 0);
	}
	for (unsigned i = 0; i < RACE_THREADS; i++)
		pthread_join(threads[i], NULL);
	/* The worker has come back from all of them. */
	stream = open_stream("after", NULL);
	assert_int_equal(read_all(stream, text, sizeof(text), NULL, NULL), PC_STREAM_END);
	assert_string_equal(text, "after");
	pc_text_stream_close(stream);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		TEST(all_of_it_and_then_the_end),
		TEST(an_answer_of_nothing),
		TEST(the_request_is_copied),
		TEST(an_error_comes_after_the_text_before_it),
		TEST(a_flood_arrives_whole_and_in_whole_characters),
		TEST(a_loop_polls_the_descriptor),
		TEST(a_descriptor_that_is_asked_for_late),
		TEST(the_descriptor_tells_of_a_cancel),
		TEST(cancel_wakes_the_reader),
		TEST(close_frees_a_worker_that_waits_for_its_reader),
		TEST(a_stream_that_waits_for_its_slot_can_be_cancelled),
		TEST(the_callers_token_ends_a_stream),
		TEST(a_deadline_ends_a_stream),
		TEST(a_deadline_ends_a_stream_that_nobody_reads),
		TEST(a_pool_ends_with_a_stream_that_nobody_reads),
		TEST(an_engine_that_asks_nothing_is_not_heard_after_a_cancel),
		TEST(no_memory_to_open),
		TEST(no_memory_for_the_text),
		TEST(arguments),
		TEST(many_streams_are_cancelled_and_closed_at_once),
	};

	return cmocka_run_group_tests_name("text_stream", tests, NULL, NULL);
}
