/* SPDX-License-Identifier: MIT */
/*
 * answer.c - what the model says on its way to the host: whole UTF-8 characters, and never a part
 * of a stop string. Runs on the thread of the call that it belongs to.
 *
 * A token may be any bytes: half a character, three stop strings. Bytes become clean text first
 * (`partial` keeps the beginning of a character), clean text is held as long as it ends in what a
 * stop string begins with. What is held is shorter than the longest stop string between two calls.
 */
#include "llama_engine.h"

#include <string.h>

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static int hold(struct answer *answer, const char *text, size_t length, struct pc_error *err)
{
	if (answer->held_room - answer->held_length < length) {
		size_t room = (answer->held_length + length) * 2 + 64;
		char *held = pc_realloc(answer->held, room);

		if (!held)
			return pc_error_oom(err);
		answer->held = held;
		answer->held_room = room;
	}
	memcpy(answer->held + answer->held_length, text, length);
	answer->held_length += length;
	return 0;
}

static void pass_on(struct answer *answer, size_t length)
{
	if (length > 0)
		answer->sink->chunk(answer->sink->ctx, answer->held, length);
	answer->held_length -= length;
	memmove(answer->held, answer->held + length, answer->held_length);
}

/* Where the first stop string begins in what is held; false when none is there. */
static bool find_stop(const struct answer *answer, size_t *ret_at)
{
	bool found = false;

	for (size_t i = 0; i < answer->stop_count; i++) {
		const char *stop = answer->stops[i];
		const char *at = *stop ? memmem(answer->held, answer->held_length, stop,
						strlen(stop))
				       : NULL;

		if (at && (!found || (size_t)(at - answer->held) < *ret_at)) {
			*ret_at = (size_t)(at - answer->held);
			found = true;
		}
	}
	return found;
}

/* The length of the longest end of what is held that a stop string begins with. */
static size_t possible_stop(const struct answer *answer)
{
	size_t longest = 0;

	for (size_t i = 0; i < answer->stop_count; i++) {
		size_t length = strlen(answer->stops[i]);

		if (length > answer->held_length + 1)
			length = answer->held_length + 1;
		while (length-- > longest + 1) {
			if (memcmp(answer->held + answer->held_length - length, answer->stops[i],
				   length) == 0) {
				longest = length;
				break;
			}
		}
	}
	return longest;
}

int answer_add(struct answer *answer, const char *bytes, size_t length, struct pc_error *err)
{
	for (size_t i = 0; i < length; i++) {
		size_t size;

		/* One byte at a time: tokens are short, and a character ends exactly here. */
		answer->partial[answer->partial_length++] = bytes[i];
		while (answer->partial_length > 0) {
			enum utf8_kind kind = utf8_next(answer->partial, answer->partial_length,
							&size);

			if (kind == UTF8_UNFINISHED)
				break;
			int rc = kind == UTF8_WHOLE ? hold(answer, answer->partial, size, err)
						    : hold(answer, replacement, 3, err);

			if (rc)
				return rc;
			answer->partial_length -= size;
			memmove(answer->partial, answer->partial + size, answer->partial_length);
		}
	}
	if (answer->held_length == 0)
		return 0;

	size_t at = 0;

	answer->stopped = find_stop(answer, &at);
	pass_on(answer, answer->stopped ? at : answer->held_length - possible_stop(answer));
	return 0;
}

int answer_end(struct answer *answer, struct pc_error *err)
{
	if (answer->stopped)
		return 0;
	if (answer->partial_length > 0 && hold(answer, replacement, 3, err))
		return PC_E_OUT_OF_MEMORY;
	answer->partial_length = 0;

	size_t at = answer->held_length;

	/* U+FFFD may have completed a stop string. */
	answer->stopped = find_stop(answer, &at);
	pass_on(answer, at);
	return 0;
}

void answer_fini(struct answer *answer)
{
	pc_free(answer->held);
}
