/* SPDX-License-Identifier: MIT */
/*
 * api_values.h - values of the wire's types for tests: drawn at random from a seed, compared, and
 * their texts read and written again. They know the types by their tables only; that the tables are
 * right is for test_api.c to say, member by member.
 */
#ifndef TESTS_UNIT_API_VALUES_H
#define TESTS_UNIT_API_VALUES_H

#include "api/field.h"

/* Where the drawn strings are, until the next drawing. */
struct api_draw {
	uint64_t state;
	char *texts;
	size_t used, size;
};

void api_draw_init(struct api_draw *draw);
void api_draw_fini(struct api_draw *draw);

/* A valid value, the same for the same seed; pc__api_fini frees its lists. */
void api_draw_value(struct api_draw *draw, uint64_t seed, const struct pc__api_type *type,
		    void *value);
uint64_t api_draw_number(struct api_draw *draw);

bool api_values_equal(const struct pc__api_type *type, const void *a, const void *b);

/* Any of the types; what is not told apart by its struct is by its table. */
union api_value {
	struct pc_worker_spawn_request spawn_request;
	struct pc_worker_record worker;
	struct pc_heartbeat heartbeat;
	struct pc_api_error error;
};

/*
 * Reads the text. What is refused must say why; what is taken must be written, read again and be
 * the same, in the same text. NULL: all is well; else what is not. *ret_code is the reader's.
 */
const char *api_round_trip(const struct pc__api_type *type, const char *text, size_t length,
			   int *ret_code);

#endif
