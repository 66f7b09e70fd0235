/* SPDX-License-Identifier: MIT */
/* pace.c - when a worker that loads is asked whether it has loaded. See pace.h. */
#include "daemon/pace.h"

#include <poolcore/clock.h>

#include <ctype.h>
#include <string.h>

#define MIN_NS (PACE_MIN_MS * PC_NS_PER_MS)
#define MAX_NS (PACE_MAX_MS * PC_NS_PER_MS)
#define PERIOD_NS (PACE_PERIOD_MS * PC_NS_PER_MS)

static uint64_t later(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns > b_ns ? a_ns : b_ns;
}

static uint64_t hundredth_of_load(const struct pace *pace, uint64_t now_ns)
{
	uint64_t ns = (now_ns - pace->begun_ns) / 100;

	return ns < MIN_NS ? MIN_NS : ns > MAX_NS ? MAX_NS : ns;
}

void pace_begin(struct pace *pace, uint64_t now_ns)
{
	*pace = (struct pace){
		.begun_ns = now_ns,
		.asked_ns = now_ns,
		.net_ns = now_ns + MIN_NS,
	};
}

void pace_asked(struct pace *pace, uint64_t now_ns)
{
	/* The net's questions are free, also one that comes early. */
	if (pace->is_cued && now_ns < pace->net_ns)
		pace->paid_ns = later(pace->paid_ns, now_ns) + PERIOD_NS;
	pace->asked_ns = now_ns;
	pace->is_asking = true;
	pace->is_cued = false;
}

void pace_answered(struct pace *pace, enum pace_answer answer, uint64_t now_ns)
{
	pace->is_asking = false;
	switch (answer) {
	case PACE_DEAF:
		pace->net_ns = now_ns + MIN_NS;
		break;
	case PACE_LOADING:
		pace->net_ns = now_ns + hundredth_of_load(pace, now_ns);
		break;
	case PACE_UNASKED:
		pace->net_ns = now_ns + MAX_NS;
		break;
	}
}

void pace_heard(struct pace *pace)
{
	pace->is_cued = true;
}

/* Cues may have paid for a burst in advance. */
static uint64_t cue_ns(const struct pace *pace)
{
	const uint64_t credit_ns = (PACE_BURST - 1) * PERIOD_NS;
	uint64_t paid_ns = pace->paid_ns > credit_ns ? pace->paid_ns - credit_ns : 0;

	return later(pace->asked_ns + MIN_NS, paid_ns);
}

uint64_t pace_next_ns(const struct pace *pace)
{
	if (pace->is_asking)
		return PC_TIME_NEVER;
	if (pace->is_cued && cue_ns(pace) < pace->net_ns)
		return cue_ns(pace);
	return pace->net_ns;
}

bool pace_is_own(const char *line, const char *path)
{
	size_t length = strlen(path);

	/* Not "/health" in "/healthy": what names it goes on with a space, a quote, a comma ... */
	for (const char *at = line; (at = strstr(at, path)); at++) {
		char next = at[length];

		if (!next || (!isalnum((unsigned char)next) && !strchr("/-_.~%", next)))
			return true;
	}
	return false;
}
