/* SPDX-License-Identifier: MIT */
/* status.h - what is found in a worker's status file. Inside the library only. */
#ifndef LIFECYCLE_STATUS_H
#define LIFECYCLE_STATUS_H

#include "lifecycle/life.h"

enum pc__belief { STATUS_MISSING, STATUS_BELIEVED, STATUS_DOUBTED };

/* A status as it was found. */
struct pc__finding {
	enum pc__belief belief;
	char path[PATH_MAX];
	char why[160]; /* it is doubted */
	struct pc__life_status status;
};

/* That there is none, or none to believe, is no error. Errors: those of pc__life_path; IO. */
int pc__status_read(const char *life_dir, const char *worker_id, const char *spawn_token,
		    struct pc__finding *finding, struct pc_error *err);

/* How the worker ended, from a status that says so. */
void pc__end_from_status(const struct pc__life_status *status, struct pc_stub_end *ret_end);
/* Nobody knows; the reason is all that can be said. `worker`: its number, or 0. */
void pc__end_unknown(struct pc_stub_end *ret_end, pid_t worker, const char *fmt, ...)
	PC_PRINTF(3, 4);

#endif
