/* SPDX-License-Identifier: MIT */
/*
 * failpoint.h - places in the daemon where a test may have it die, or have its kills do nothing.
 * FAILPOINT(name) stands between two steps of a worker's life that a crash may part; in the product
 * it is nothing.
 *
 * pool-managerd-faulty is the same daemon, built from the same sources with POOL_FAILPOINTS, and
 * never installed. With POOL_FAILPOINT=name or POOL_FAILPOINT=name:n in its environment it kills
 * itself with SIGKILL when it passes that place for the nth time (the first time without a number),
 * which nothing can catch or tidy up after. A value that names no place ends it with status 2 at
 * the first failpoint, so that a misspelling is not taken for a place that was never reached.
 *
 * With POOL_WITHHOLD_KILLS in its environment no SIGKILL of the daemon arrives anywhere, as if all
 * workers hung in a driver; see tests/faults/test_stuck.c.
 *
 * The list is what the campaigns go through (tests/faults/), and they fail on a name that no daemon
 * passes: a place that is removed from the code is removed here.
 */
#ifndef DAEMON_FAILPOINT_H
#define DAEMON_FAILPOINT_H

/* X(name), in the order of a worker's life; then what a new daemon does about an old one's. */
#define FAILPOINTS(X) \
	X(spawn_before_record) \
	X(spawn_after_record) \
	X(spawn_after_claim) \
	X(spawn_after_spawn) \
	X(spawn_after_update) \
	X(ready_before_record) \
	X(ready_after_record) \
	X(stop_before_signal) \
	X(exit_before_settle) \
	X(exit_after_unregister) \
	X(exit_after_files) \
	X(recover_before_list) \
	X(recover_after_reserve) \
	X(recover_after_adopt) \
	X(recover_before_sweep)

#include <stdbool.h>

#ifdef POOL_FAILPOINTS
#define FAILPOINT_ENUM(name) FAILPOINT_##name,
enum failpoint { FAILPOINTS(FAILPOINT_ENUM) FAILPOINT_COUNT };
#undef FAILPOINT_ENUM

/* Any thread. */
void failpoint_pass(enum failpoint point);

/* Whether kills are withheld. Any thread. */
bool failpoint_withholds_kills(void);

#define FAILPOINT(name) failpoint_pass(FAILPOINT_##name)
#define FAILPOINT_KILLS() (!failpoint_withholds_kills())
#else
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_KILLS() true
#endif

#endif
