/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - what fault campaigns want from a real daemon beyond scenario/daemon_fixture.h: plain
 * questions, a look at /proc, and the sums that must hold whatever happened.
 */
#ifndef TESTS_FAULTS_FIXTURE_H
#define TESTS_FAULTS_FIXTURE_H

#include "scenario/daemon_fixture.h"

/*
 * A rig with the backend "fake" (tests/standins/fake_worker.c on a Unix socket, asked over HTTP),
 * the backend "silent" (the same, which is to report that it is ready and never does), and the
 * backend "fake_port" (the first on a port). `pool_settings` are lines for [pool]; `more` is any
 * text behind it, such as other tables.
 */
void fault_rig_init(struct rig *rig, const char *pool_settings, const char *more);
/* Writes the file of a fake worker, which it reads again for each request. */
void fault_behaviour(struct rig *rig, const char *model, const char *behaviour);

/* A chat completion: its status and the answer (json_decref it; may be NULL). */
int fault_chat(struct rig *rig, const char *model, json_t **ret_answer);
/* Fails unless the answer is 200. */
void fault_chat_ok(struct rig *rig, const char *model);
/* Asks until it is answered. */
void fault_wait_served(struct rig *rig, const char *model);
/* Fails unless it is refused so, with `part` in the message. */
void fault_chat_refused(struct rig *rig, const char *model, int status, const char *code,
			const char *part);
/* Takes the answer; its error.message, until the next call. */
const char *fault_message(json_t *answer);
/* POST /v2/workers/start; the new worker's id and its pid once it has one. */
pid_t fault_start_worker(struct rig *rig, const char *model, char ret_id[64]);
/* POST /v2/workers/stop with force. */
void fault_stop_worker(struct rig *rig, const char *id);
/* The worker as GET /v2/workers/{id} shows it; json_decref it. */
json_t *fault_worker(struct rig *rig, const char *id);
/* Asks until the worker has this status. */
void fault_wait_status(struct rig *rig, const char *id, const char *status);

/* A variable of another process' environment; free(3) it. NULL: it has no such variable. */
char *fault_environ(pid_t pid, const char *name);
/* Processes whose command line names the rig's directory. */
size_t fault_processes(const struct rig *rig);
/* Entries of a directory but "." and "..". */
size_t fault_entries(const char *path);
/* Open descriptors of the daemon. */
size_t fault_descriptors(const struct rig *rig);
/* Waits until the daemon has no more than `wanted`. */
void fault_wait_descriptors(const struct rig *rig, size_t wanted);

/* What is reserved is what the workers say, and every ticket had one outcome. Waits until nothing
 * is in flight any more. */
void fault_assert_books(struct rig *rig);

#endif
