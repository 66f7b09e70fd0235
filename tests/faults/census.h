/* SPDX-License-Identifier: MIT */
/*
 * census.h - who really runs: the processes of a rig's fake workers as /proc has them, to be held
 * against what a daemon says of them. For campaigns in which daemons die and workers stay.
 */
#ifndef TESTS_FAULTS_CENSUS_H
#define TESTS_FAULTS_CENSUS_H

#include "faults/fixture.h"

#define CENSUS_MAX 64

struct census_worker {
	pid_t pid;
	char model[64];
	char id[64]; /* from a daemon's list; "" from /proc */
};

struct census {
	size_t count;
	struct census_worker workers[CENSUS_MAX];
};

/* The fake workers that run, from /proc; ones that are ending are left out. */
void census_of_processes(const struct rig *rig, struct census *census);
/* The daemon's workers that have a process. */
void census_of_daemon(struct rig *rig, struct census *census);
const struct census_worker *census_find(const struct census *census, pid_t pid);
const struct census_worker *census_find_model(const struct census *census, const char *model);

/*
 * What must hold when a daemon has come back and all is quiet: each process is a worker of the
 * daemon's and the other way round, no model has two, what is reserved is what the workers say, and
 * the state directory has no file of a worker that is none. Waits for it.
 */
void census_assert_settled(struct rig *rig);

/* SIGKILL for the daemon; what it leaves stays. */
void census_kill_daemon(struct rig *rig);

#endif
