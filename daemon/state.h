/* SPDX-License-Identifier: MIT */
/* state.h - what the daemon keeps in files. Before any loop runs. */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include <poolcore/error.h>

#include <stdbool.h>

struct daemon;

/*
 * Makes the state directory and locks it, opens the registry, makes the folder for sockets.
 * *ret_lock_fd holds the lock until it is closed. Errors: ALREADY_EXISTS (another daemon uses the
 * directory), IO, OUT_OF_MEMORY, and those of pc_registry_open_sqlite.
 */
int state_open(struct daemon *daemon, int *ret_lock_fd, struct pc_error *err);
/* The token that clients must present, if there is one. Errors: INVALID_CONFIG, OUT_OF_MEMORY. */
int state_read_token(struct daemon *daemon, struct pc_error *err);
/* Whether the file still has the token that is in force; false too when it cannot be read.
 * Blocks. */
bool state_token_is_current(const struct daemon *daemon, const char *path);

#endif
