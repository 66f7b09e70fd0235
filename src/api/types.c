/* SPDX-License-Identifier: MIT */
/*
 * types.c - wire names of capabilities and worker states, and which state may follow which. Pure
 * functions over constant tables, any thread; who performs a transition, and when, is decided
 * elsewhere.
 */
#include <poolcore/types.h>

#include <string.h>

static const char *const capability_names[] = {
#define X(name, number, wire) [number] = (wire),
	PC_CAPABILITY_LIST(X)
#undef X
};

static const char *const status_names[] = {
#define X(name, number, wire) [number] = (wire),
	PC_WORKER_STATUS_LIST(X)
#undef X
};

/* The compiler's type of an enum may be signed: a negative number is a large size_t here. */
static const char *name_of(const char *const *names, size_t count, size_t number)
{
	return number < count && names[number] ? names[number] : "unknown";
}

static int number_of(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; name && i < count; i++) {
		if (names[i] && strcmp(names[i], name) == 0)
			return (int)i;
	}
	return -1;
}

const char *pc_capability_name(enum pc_capability capability)
{
	return name_of(capability_names, PC_ARRAY_LEN(capability_names), (size_t)capability);
}

int pc_capability_from_name(const char *name)
{
	return number_of(capability_names, PC_ARRAY_LEN(capability_names), name);
}

const char *pc_worker_status_name(enum pc_worker_status status)
{
	return name_of(status_names, PC_ARRAY_LEN(status_names), (size_t)status);
}

int pc_worker_status_from_name(const char *name)
{
	return number_of(status_names, PC_ARRAY_LEN(status_names), name);
}

/* ---- transitions ---- */

#define TO(name) (1u << PC_WORKER_##name)
#define TO_END (TO(STOPPING) | TO(STOPPED))

/*
 *   spawning --loaded--> ready --lease--> busy <--lease / last lease returned--> idle
 *      |                   |                |                                     |
 *      +-------------------+----------------+-----> stopping --gone--> stopped <--+
 *
 * The arrow to stopping is a stop that was asked for; the one straight to stopped is a death. A
 * worker that has served never is "ready" again, so that ready tells a warm copy nobody has needed
 * yet.
 */
/* clang-format off */
static const unsigned next_states[] = {
	[PC_WORKER_SPAWNING] = TO(READY) | TO_END,
	[PC_WORKER_READY]    = TO(BUSY) | TO_END,
	[PC_WORKER_BUSY]     = TO(IDLE) | TO_END,
	[PC_WORKER_IDLE]     = TO(BUSY) | TO_END,
	[PC_WORKER_STOPPING] = TO(STOPPED),
	[PC_WORKER_STOPPED]  = 0,
};
/* clang-format on */

_Static_assert(PC_ARRAY_LEN(next_states) == PC_ARRAY_LEN(status_names),
	       "every worker status has a row of transitions");

bool pc_worker_status_may_become(enum pc_worker_status from, enum pc_worker_status to)
{
	size_t row = (size_t)from, column = (size_t)to;

	if (row >= PC_ARRAY_LEN(next_states) || column >= PC_ARRAY_LEN(next_states))
		return false;
	return next_states[row] >> column & 1;
}
