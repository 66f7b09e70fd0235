/* SPDX-License-Identifier: MIT */
/*
 * names.c - the public face of text.c for the programs: UTF-8 checking and the nearest known name.
 * Pure functions.
 */
#include <poolcore/text.h>

#include <limits.h>

#include "base/text.h"

/* At most this many letters of a name may differ; a guess that reads well in practice. */
static unsigned tolerance(const char *name)
{
	size_t third = strlen(name) / 3;

	return third < 2 ? 2 : (unsigned)third;
}

size_t pc_utf8_valid_prefix(const char *text, size_t length)
{
	return pc__utf8_valid_prefix(text, length);
}

const char *pc_nearest_name(const char *word, const char *const *names, size_t count)
{
	const char *nearest = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < count; i++) {
		if (!names[i])
			continue;

		unsigned distance = pc__edit_distance(word, names[i]);

		if (distance <= tolerance(names[i]) && distance < best) {
			best = distance;
			nearest = names[i];
		}
	}
	return nearest;
}
