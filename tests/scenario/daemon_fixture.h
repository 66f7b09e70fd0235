/* SPDX-License-Identifier: MIT */
/*
 * daemon_fixture.h - a real pool-managerd with real pool-workers in a directory of its own, for
 * scenarios. The workers run the stub engine, whose "model files" say what it does
 * (tests/standins/engine_stub.c).
 */
#ifndef TESTS_SCENARIO_DAEMON_FIXTURE_H
#define TESTS_SCENARIO_DAEMON_FIXTURE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lib/client.h"
#include "lib/proc.h"

struct rig {
	char *dir;    /* holds everything */
	char *config; /* path of pool.toml */
	struct proc *daemon;
	char address[128];   /* "127.0.0.1:41023" */
	char listen[128];    /* what the file says of it */
	char catalog[8192];  /* text so far */
	char settings[2048]; /* more lines for pool.toml; begins inside [pool] */
	char http[512];	     /* more lines of [http] */
};

/* A fresh directory and an empty catalog. */
void rig_init(struct rig *rig);
/*
 * Adds a model of the stub engine: `behaviour` is its model file's text, NULL leaves the file out;
 * `more` are further lines of its
 * [[model]], may be "", and name the backend if it is not the stub.
 */
void rig_model(struct rig *rig, const char *id, const char *behaviour, const char *more);
/*
 * Adds a backend that tests/standins/fake_worker.c plays; its model files say what it does. It
 * listens on `address`, "{socket}" or "{port}"; `more` are further lines of its table. After
 * settings of [pool], which it ends.
 */
void rig_backend(struct rig *rig, const char *name, const char *address, const char *more);
/* A FIFO in the rig's directory for a model's gate; returns its path, free(3) it. */
char *rig_gate(struct rig *rig, const char *name);
/* Opens the gate's writing end, which waits for the engine to open the other. */
int rig_gate_open(const char *path);
/* Writes the files only, as they are now: for a daemon that is to read them again. */
void rig_write(struct rig *rig);
/* Writes the files and starts the daemon, where the one before it listened; returns when it serves.
 */
void rig_start(struct rig *rig);
/* The same without waiting, for daemons that are expected to refuse. */
struct proc *rig_start_only(struct rig *rig);
/* SIGTERM, and the exit status. */
int rig_stop(struct rig *rig);
/* Removes everything. */
void rig_fini(struct rig *rig);
/* A teardown: ends the connections and programs that a test has left, as it does when it fails. */
int rig_clean_up(void **state);

/* A chat completion's body for a model, freed by the next call. */
const char *chat_body(const char *model, bool stream);
/* The answer to it is a whole event stream that ends with [DONE], of the prompt's words. */
void assert_streamed(struct client *client);
/* GET as JSON; json_decref it. The status must be 200. */
json_t *rig_get(struct rig *rig, const char *path);
/* counters.NAME of /v2/state. */
json_int_t rig_counter(struct rig *rig, const char *name);
/* reserved_bytes of the cpu. */
json_int_t rig_reserved(struct rig *rig);
/* How many workers there are, and the pid and id of the first. */
size_t rig_workers(struct rig *rig, pid_t *ret_pid, char ret_id[64]);
/* Asks /v2/state until models[id].member has the value. */
void rig_wait_model(struct rig *rig, const char *id, const char *member, json_int_t value);
/* Asks until there are that many workers. */
void rig_wait_workers(struct rig *rig, size_t count);
/* error.code of an answer, which is freed by the next call; fails when there is none. */
const char *error_code(json_t *answer);

#endif
