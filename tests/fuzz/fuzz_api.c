/* SPDX-License-Identifier: MIT */
/*
 * fuzz_api.c - throws bytes at the readers of the wire's types. What one takes must be valid, and
 * its text must give the same value and the same text again; what it refuses must have a reason.
 * The first byte chooses the type.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/api_values.h"

static const struct pc__api_type *const types[] = {
#define X(name) &pc__table_##name,
	PC__API_TYPES(X)
#undef X
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *wrong;
	int code;

	if (size == 0)
		return 0;
	/* Letters, so that the corpus can be read: 'a' is the first type. */
	wrong = api_round_trip(types[(uint8_t)(data[0] - 'a') % PC_ARRAY_LEN(types)],
			       (const char *)data + 1, size - 1, &code);
	if (wrong) {
		fprintf(stderr, "%s\n", wrong);
		abort();
	}
	return 0;
}
