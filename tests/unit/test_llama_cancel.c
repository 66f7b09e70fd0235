/* SPDX-License-Identifier: MIT */
/* Unit tests of engines/llama/cancel.c: cancel() from any thread, at any time. Threads meet at
 * semaphores; nothing here waits for a time to pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/unit/llama_model.h"

/* ---- a thread that cancels when it is told to ---- */

struct canceller {
	pthread_t thread;
	sem_t wanted, done;
	unsigned asked;
	unsigned cancel_at; /* the question at which it is told to */
	uint32_t slot;
};

static void *cancel_once(void *ctx)
{
	struct canceller *canceller = ctx;

	while (sem_wait(&canceller->wanted) != 0)
		continue;
	engine->cancel(model, canceller->slot);
	sem_post(&canceller->done);
	return NULL;
}

static bool not_by_me(void *ctx)
{
	struct canceller *canceller = ctx;

	if (++canceller->asked == canceller->cancel_at) {
		sem_post(&canceller->wanted);
		while (sem_wait(&canceller->done) != 0)
			continue;
	}
	return false;
}

static void never_heard(void *ctx, const char *text, size_t length)
{
	(void)ctx, (void)text, (void)length;
	fail_msg("text after a cancel");
}

/* Reads a long prompt on slot 0 while another thread cancels `slot` at the nth question. */
static struct pc_text_result read_and_cancel(uint32_t slot, unsigned nth,
					     struct canceller *canceller, struct pc_text_sink sink)
{
	char *text = repeat(" the", 2000);
	struct pc_text_request request = ask(text);
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;

	*canceller = (struct canceller){ .cancel_at = nth, .slot = slot };
	request.max_tokens = 3;
	sem_init(&canceller->wanted, 0, 0);
	sem_init(&canceller->done, 0, 0);
	assert_int_equal(pthread_create(&canceller->thread, NULL, cancel_once, canceller), 0);
	sink.stopped = not_by_me;
	sink.ctx = canceller;
	if (engine->generate(model, 0, &request, &sink, &result, &err))
		fail_msg("%s", err.message);
	pthread_join(canceller->thread, NULL);
	sem_destroy(&canceller->wanted);
	sem_destroy(&canceller->done);
	free(text);
	return result;
}

static void a_prompt_is_left_inside_a_batch(void **state)
{
	const struct pc_text_sink sink = { .size = sizeof(sink), .chunk = never_heard };
	struct canceller canceller;
	struct pc_text_result result;

	(void)state;
	/* 1 is before the first batch, 2 and what follows inside of it. */
	for (unsigned nth = 1; nth < 8; nth++) {
		result = read_and_cancel(0, nth, &canceller, sink);
		assert_int_equal(result.finish_reason, PC_FINISH_CANCELLED);
		assert_int_equal(result.completion_tokens, 0);
		/* The next look at the slot was the last; the host was not asked again. */
		assert_int_equal(canceller.asked, nth);
	}
}

static void count_chunks(void *ctx, const char *text, size_t length)
{
	(void)ctx, (void)text, (void)length;
}

static void another_slot_is_not_ended(void **state)
{
	const struct pc_text_sink sink = { .size = sizeof(sink), .chunk = count_chunks };
	struct canceller canceller;

	(void)state;
	for (uint32_t slot = 1; slot <= SLOTS + 1; slot++) {
		struct pc_text_result result = read_and_cancel(slot, 3, &canceller, sink);

		assert_int_not_equal(result.finish_reason, PC_FINISH_CANCELLED);
		assert_true(canceller.asked > 3);
	}
}

static void an_idle_slot_keeps_no_cancel(void **state)
{
	static const char *const texts[] = { "the love of money" };
	static float vector[2048];
	struct pc_text_request request = ask("The");
	uint32_t tokens;

	(void)state;
	answer(&request, &heard);
	for (int i = 0; i < 3; i++) {
		engine->cancel(model, 0);
		assert_int_not_equal(answer(&request, &again).finish_reason, PC_FINISH_CANCELLED);
		assert_string_equal(heard.text, again.text);
		engine->cancel(model, 0);
		assert_int_equal(engine->embed_text(model, 0, texts, 1, vector, &tokens, NULL), 0);
	}
	engine->cancel(model, SLOTS);
	engine->cancel(model, UINT32_MAX);
}

/* ---- embedding ---- */

struct hammer {
	struct pc_engine_instance *instance;
	uint32_t slot;
	atomic_bool enough;
};

static void *cancel_often(void *ctx)
{
	struct hammer *hammer = ctx;

	while (!atomic_load(&hammer->enough))
		engine->cancel(hammer->instance, hammer->slot);
	return NULL;
}

static struct pc_engine_instance *load_embedder(void)
{
	struct pc_engine_spec spec = spec_of(model_path);
	struct pc_engine_instance *embedder = NULL;

	spec.capability = PC_CAPABILITY_TEXT_EMBEDDING;
	assert_int_equal(engine->load(&spec, &embedder, NULL), 0);
	return embedder;
}

/* Embeds until another thread's cancel() has ended it; how it then ended. */
static struct pc_error embed_until_cancelled(struct pc_engine_instance *embedder,
					     const char *const *texts, size_t count)
{
	struct hammer hammer = { .instance = embedder };
	float *vectors = calloc(count, 2048 * sizeof(*vectors));
	struct pc_error err = PC_ERROR_INIT;
	uint32_t tokens = 77;
	pthread_t thread;
	int rc;

	assert_non_null(vectors);
	assert_int_equal(pthread_create(&thread, NULL, cancel_often, &hammer), 0);
	/* It may be that the other thread did not run at all while this one did. */
	do
		rc = engine->embed_text(embedder, 0, texts, count, vectors, &tokens, &err);
	while (rc == 0);
	atomic_store(&hammer.enough, true);
	pthread_join(thread, NULL);
	assert_int_equal(rc, PC_E_CANCELLED);

	/* And the slot is as good as new. */
	assert_int_equal(engine->embed_text(embedder, 0, texts, 1, vectors, &tokens, NULL), 0);
	free(vectors);
	return err;
}

static void embedding_many_texts_can_be_cancelled(void **state)
{
	enum { COUNT = 500 };
	struct pc_engine_instance *embedder = load_embedder();
	const char *texts[COUNT];
	struct pc_error err;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		texts[i] = "the love of money and the love of it";
	err = embed_until_cancelled(embedder, texts, COUNT);
	assert_non_null(strstr(err.message, " of 500: embedding was cancelled"));
	assert_non_null(pc_error_detail_get(&err, "text_index"));
	engine->unload(embedder);
}

static void embedding_one_long_text_can_be_cancelled(void **state)
{
	struct pc_engine_instance *embedder = load_embedder();
	char *text = repeat(" the", 2000);
	const char *const texts[] = { text };

	(void)state;
	embed_until_cancelled(embedder, texts, 1);
	free(text);
	engine->unload(embedder);
}

/* A storm on one slot is nothing to its neighbour; the sanitizer watches. */
static void cancels_race_with_calls(void **state)
{
	struct hammer hammer = { .instance = model, .slot = 1 };
	struct pc_text_request request = ask("What is the");
	pthread_t thread;

	(void)state;
	answer(&request, &heard);
	assert_int_equal(pthread_create(&thread, NULL, cancel_often, &hammer), 0);
	for (int i = 0; i < 5; i++) {
		struct pc_text_result result = { .size = sizeof(result) };

		answer(&request, &again); /* on slot 0 */
		assert_string_equal(heard.text, again.text);
		assert_int_equal(run(1, &request, &again, &result, NULL), 0);
	}
	atomic_store(&hammer.enough, true);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prompt_is_left_inside_a_batch),
		cmocka_unit_test(another_slot_is_not_ended),
		cmocka_unit_test(an_idle_slot_keeps_no_cancel),
		cmocka_unit_test(embedding_many_texts_can_be_cancelled),
		cmocka_unit_test(embedding_one_long_text_can_be_cancelled),
		cmocka_unit_test(cancels_race_with_calls),
	};

	return with_model(argc, argv) ? 2 : cmocka_run_group_tests(tests, load_model, unload_model);
}
