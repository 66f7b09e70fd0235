/* SPDX-License-Identifier: MIT */
/* clock.c - the seam between the program and the system's clocks. See poolcore/clock.h. */
#include <poolcore/clock.h>

#include <time.h>

static uint64_t read_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * PC_NS_PER_SEC + (uint64_t)now.tv_nsec;
}

/* [set while nobody else reads] */
static uint64_t (*source_fn)(void *ctx);
static void *source_ctx;
static int64_t source_wall_offset_ms;

uint64_t pc_clock_now_ns(void)
{
	return source_fn ? source_fn(source_ctx) : read_ns(CLOCK_MONOTONIC);
}

int64_t pc_clock_wall_ms(void)
{
	if (source_fn)
		return source_wall_offset_ms + (int64_t)(source_fn(source_ctx) / PC_NS_PER_MS);
	return (int64_t)(read_ns(CLOCK_REALTIME) / PC_NS_PER_MS);
}

void pc_clock_set_source(uint64_t (*source)(void *ctx), void *ctx)
{
	source_fn = source;
	source_ctx = ctx;
	if (source) {
		source_wall_offset_ms = (int64_t)(read_ns(CLOCK_REALTIME) / PC_NS_PER_MS) -
					(int64_t)(source(ctx) / PC_NS_PER_MS);
	}
}
