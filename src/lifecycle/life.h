/* SPDX-License-Identifier: MIT */
/* life.h - what stub.c, life.c and recover.c have of each other. Inside the library only. */
#ifndef LIFECYCLE_LIFE_H
#define LIFECYCLE_LIFE_H

#include <poolcore/stub.h>

#include <limits.h>

#include "lifecycle/life_file.h"

/* The path of a worker's file. Errors: INVALID_ARGUMENT (no directory, a wrong id, too long). */
int pc__life_path(char ret_path[PATH_MAX], const char *life_dir, const char *worker_id,
		  enum pc__life_file file, struct pc_error *err);
/* Opens the reading end so that it never sees an end of file: we are a writer too. -1 with
 * errno. */
int pc__life_fifo_open(const char *path);

int pc__stub_signal(const struct pc_stub *stub, int signal, struct pc_error *err);

#endif
