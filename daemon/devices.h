/* SPDX-License-Identifier: MIT */
/* devices.h - what a pool may take of this machine's memory: the ledger's devices and budgets. */
#ifndef DAEMON_DEVICES_H
#define DAEMON_DEVICES_H

#include <poolcore/error.h>

struct daemon;

/*
 * Opens the GPUs and the ledger: the CPU and every GPU that can be read. Errors: INVALID_CONFIG (a
 * budget that the device does not have), OUT_OF_MEMORY, IO.
 */
int devices_open(struct daemon *daemon, struct pc_error *err);
void devices_log(const struct daemon *daemon);

#endif
