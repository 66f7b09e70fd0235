/* SPDX-License-Identifier: MIT */
/* shrink.c - makes a failing script short: takes out ever smaller runs of its lines. */
#include <string.h>

#include "sim.h"

static bool still_fails(const struct script *script)
{
	static struct world world;
	struct coverage ignored = { 0 };

	return !sim_play(script, &ignored, NULL, &world);
}

static void cut(struct script *script, unsigned first, unsigned count)
{
	memmove(&script->lines[first], &script->lines[first + count],
		(script->line_count - first - count) * sizeof(script->lines[0]));
	script->line_count -= count;
}

void sim_shrink(struct script *script)
{
	static struct script shorter;

	for (unsigned run = script->line_count; run > 0;) {
		bool helped = false;

		for (unsigned first = 0; first + run <= script->line_count;) {
			shorter = *script;
			cut(&shorter, first, run);
			if (still_fails(&shorter)) {
				*script = shorter;
				helped = true;
			} else {
				first++;
			}
		}
		if (!helped || run > script->line_count)
			run /= 2;
	}
}
