/* SPDX-License-Identifier: MIT */
/*
 * failpoint.c - dies where the environment says so; see failpoint.h. Only in pool-managerd-faulty.
 * Any thread: the variable is read once, and passings are counted with an atomic.
 */
#include "daemon/failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAILPOINT_NAME(name) #name,
static const char *const names[] = { FAILPOINTS(FAILPOINT_NAME) };
#undef FAILPOINT_NAME

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum failpoint chosen = FAILPOINT_COUNT; /* [const after once] COUNT: none */
static unsigned long chosen_passing;		/* [const after once] */
static atomic_ulong passed;

static void refuse(const char *text)
{
	fprintf(stderr, "POOL_FAILPOINT=%s: write NAME or NAME:N with N of 1 or more, NAME one of",
		text);
	for (size_t i = 0; i < FAILPOINT_COUNT; i++)
		fprintf(stderr, " %s", names[i]);
	fputc('\n', stderr);
	_exit(2);
}

static void read_choice(void)
{
	const char *text = getenv("POOL_FAILPOINT");
	size_t length = text ? strcspn(text, ":") : 0;
	char *end = NULL;

	if (!text || !text[0])
		return;
	for (size_t i = 0; i < FAILPOINT_COUNT; i++) {
		if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0)
			chosen = (enum failpoint)i;
	}
	chosen_passing = text[length] ? strtoul(text + length + 1, &end, 10) : 1;
	if (chosen == FAILPOINT_COUNT || chosen_passing == 0 || (end && *end))
		refuse(text);
}

bool failpoint_withholds_kills(void)
{
	return getenv("POOL_WITHHOLD_KILLS") != NULL;
}

void failpoint_pass(enum failpoint point)
{
	pthread_once(&once, read_choice);
	if (point != chosen)
		return;
	if (atomic_fetch_add_explicit(&passed, 1, memory_order_relaxed) + 1 != chosen_passing)
		return;
	fprintf(stderr, "failpoint %s\n", names[point]);
	kill(getpid(), SIGKILL);
	/* Another thread may be the one that the kernel ends first. */
	for (;;)
		pause();
}
