/* SPDX-License-Identifier: MIT */
/*
 * types.h - the words that every room shares: capability, worker state, exit of a process.
 * Numbers cross the wire and the ABI: append, never renumber.
 */
#ifndef POOLCORE_TYPES_H
#define POOLCORE_TYPES_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

/* clang-format off */
#define PC_CAPABILITY_LIST(X) \
	X(TEXT_EMBEDDING,  0, "text_embedding") \
	X(IMAGE_EMBEDDING, 1, "image_embedding") \
	X(TEXT_TO_TEXT,    2, "text_to_text") \
	X(VISION,          3, "vision") \
	X(TEXT_TO_IMAGE,   4, "text_to_image")

/* The states of a worker as the control API, the registry and the CLI show them. */
#define PC_WORKER_STATUS_LIST(X) \
	X(SPAWNING, 0, "spawning") \
	X(READY,    1, "ready")    /* loaded, has not served yet */ \
	X(BUSY,     2, "busy")     /* at least one slot is leased */ \
	X(IDLE,     3, "idle")     /* loaded, has served, no lease */ \
	X(STOPPING, 4, "stopping") \
	X(STOPPED,  5, "stopped")
/* clang-format on */

enum pc_capability {
#define X(name, number, wire) PC_CAPABILITY_##name = (number),
	PC_CAPABILITY_LIST(X)
#undef X
};

enum pc_worker_status {
#define X(name, number, wire) PC_WORKER_##name = (number),
	PC_WORKER_STATUS_LIST(X)
#undef X
};

/* Who goes first where requests wait; batch requests age into interactive ones (rule 6). */
enum pc_priority { PC_PRIORITY_INTERACTIVE = 0, PC_PRIORITY_BATCH = 1 };

/* Wire names; "unknown" for numbers outside the table. _from_name: -1 for other words. */
PC_API const char *pc_capability_name(enum pc_capability capability);
PC_API int pc_capability_from_name(const char *name);
PC_API const char *pc_worker_status_name(enum pc_worker_status status);
PC_API int pc_worker_status_from_name(const char *name);

/*
 * Whether a worker may go from one state to the other. Stopped is final: a worker that comes back
 * has a new id. Any state may go to stopping and to stopped, because a process may die in any of
 * them. To stay is not to become: false for equal states.
 */
PC_API bool pc_worker_status_may_become(enum pc_worker_status from, enum pc_worker_status to);

/* A worker's name, with its NUL. */
#define PC_WORKER_ID_MAX 48

/* What a worker is launched with, as pc_model_definition sums it up: 64 digits, with the NUL. */
#define PC_DEFINITION_MAX 65

/* How a worker process ended. */
struct pc_worker_exit {
	bool known;	  /* false: it has ended, but how was for its parent alone to learn */
	int code;	  /* exit status, or -1 when a signal ended it or it is not known */
	int signal;	  /* 0 when it exited */
	int64_t wall_ms;  /* when it was noticed */
	char reason[192]; /* "stopped: idle", "killed by SIGKILL" */
};

PC_END_DECLS

#endif
