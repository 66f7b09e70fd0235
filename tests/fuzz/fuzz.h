/* SPDX-License-Identifier: MIT */
/* fuzz.h - what every fuzzer has: the function that libFuzzer calls, and a check that ends it. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input is. */
static inline void check(bool holds)
{
	if (!holds)
		abort();
}

#endif
