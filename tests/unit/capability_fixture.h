/* SPDX-License-Identifier: MIT */
/*
 * capability_fixture.h - a pool with one puppet of each capability, and the ends of asynchronous
 * calls, for the tests of src/capability/. Include cmocka first.
 */
#ifndef TESTS_UNIT_CAPABILITY_FIXTURE_H
#define TESTS_UNIT_CAPABILITY_FIXTURE_H

#include <poll.h>

#include "tests/unit/puppet.h"

static struct pc_pool *pool;
static struct pc_model *embedder, *eye, *talker, *seer, *painter;

static inline int set_up(void **state)
{
	(void)state;
	puppet_reset();
	assert_int_equal(pc_pool_create(NULL, &pool, NULL), 0);
	embedder = puppet_model(pool, "org/embed", PC_CAPABILITY_TEXT_EMBEDDING, NULL);
	eye = puppet_model(pool, "org/eye", PC_CAPABILITY_IMAGE_EMBEDDING, NULL);
	talker = puppet_model(pool, "org/talk", PC_CAPABILITY_TEXT_TO_TEXT, NULL);
	seer = puppet_model(pool, "org/see", PC_CAPABILITY_VISION, NULL);
	painter = puppet_model(pool, "org/paint", PC_CAPABILITY_TEXT_TO_IMAGE, NULL);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	pc_pool_destroy(pool);
	return 0;
}

/* That a call failed as it should, with this in its sentence. */
static inline void assert_failed(int rc, const struct pc_error *err, int code, const char *part)
{
	if (rc != code)
		fail_msg("%s instead of %s: %s", pc_error_name(rc), pc_error_name(code),
			 err->message);
	assert_int_equal(err->code, code);
	assert_contains(err->message, part);
}

/* ---- the ends of asynchronous calls ---- */

struct ended {
	struct pc_completion completion; /* first, for pc_completion_post */
	struct pc_vectors vectors;
	struct pc_text_answer answer;
	struct pc_painting painting;
};

static struct pc_completions *queue;

static inline void begin_async(struct ended *ended)
{
	memset(ended, 0, sizeof(*ended));
	assert_int_equal(pc_completions_create(&queue, NULL), 0);
	ended->completion.queue = queue;
}

static inline const struct pc_error *await(struct ended *ended)
{
	struct pollfd pfd = { .fd = pc_completions_fd(queue), .events = POLLIN };

	assert_int_equal(poll(&pfd, 1, -1), 1);
	assert_ptr_equal(pc_completions_next(queue), &ended->completion);
	assert_null(pc_completions_next(queue));
	pc_completions_destroy(queue);
	return &ended->completion.err;
}

#endif
