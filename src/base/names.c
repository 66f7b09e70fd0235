/* SPDX-License-Identifier: MIT */
/*
 * names.c - the nearest known name, for "did you mean", and the programs' door to UTF-8 checking.
 * Pure functions, any thread.
 */
#include "base/text.h"

void pc__nearest_offer(struct pc__nearest *nearest, const char *candidate)
{
	size_t length = strlen(nearest->wanted), other = strlen(candidate);
	/* One slip in a short word, up to three in a long one; more is another word. A guess. */
	unsigned limit = length < 4 ? 1 : length < 8 ? 2 : 3;
	unsigned distance;

	if ((length > other ? length - other : other - length) > limit)
		return;
	distance = pc__edit_distance(nearest->wanted, candidate);
	if (distance > limit || (nearest->best && distance >= nearest->distance))
		return;
	nearest->best = candidate;
	nearest->distance = distance;
}

const char *pc_nearest_name(const char *word, const char *const *names, size_t count)
{
	struct pc__nearest nearest = PC__NEAREST_INIT(word);

	for (size_t i = 0; i < count; i++) {
		if (names[i])
			pc__nearest_offer(&nearest, names[i]);
	}
	return nearest.best;
}

size_t pc_utf8_valid_prefix(const char *text, size_t length)
{
	return pc__utf8_valid_prefix(text, length);
}
