/* SPDX-License-Identifier: MIT */
/*
 * clock.h - the one place that asks what time it is.
 *
 * Deadlines are absolute times of the monotonic clock in nanoseconds; "never" is PC_TIME_NEVER.
 * Wall-clock time is for records that people read and never for a decision.
 */
#ifndef POOLCORE_CLOCK_H
#define POOLCORE_CLOCK_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

#define PC_NS_PER_US UINT64_C(1000)
#define PC_NS_PER_MS UINT64_C(1000000)
#define PC_NS_PER_SEC UINT64_C(1000000000)
#define PC_TIME_NEVER UINT64_MAX

/* Monotonic time (CLOCK_MONOTONIC), or the source that a test put in its place. Any thread. */
PC_API uint64_t pc_clock_now_ns(void);

/* Wall-clock time in milliseconds since 1970-01-01T00:00:00Z. Any thread. */
PC_API int64_t pc_clock_wall_ms(void);

/*
 * The seam: from now on both functions above ask `source` (monotonic ns; wall time advances with
 * it). NULL restores the system's clocks. For tests; call it while no other thread reads the clock.
 */
PC_API void pc_clock_set_source(uint64_t (*source)(void *ctx), void *ctx);

/* a + b without wrapping past PC_TIME_NEVER. */
static inline uint64_t pc_time_add(uint64_t a_ns, uint64_t b_ns)
{
	return b_ns > PC_TIME_NEVER - a_ns ? PC_TIME_NEVER : a_ns + b_ns;
}

PC_END_DECLS

#endif
