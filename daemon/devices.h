/* SPDX-License-Identifier: MIT */
/* devices.h - what a pool may take of this machine's memory: the ledger's devices and budgets. */
#ifndef DAEMON_DEVICES_H
#define DAEMON_DEVICES_H

#include <poolcore/memory.h>

struct daemon;
struct pc_config;

/*
 * Opens the GPUs and the ledger: the CPU and every GPU that can be read. Errors: INVALID_CONFIG (a
 * budget that the device does not have), OUT_OF_MEMORY, IO.
 */
int devices_open(struct daemon *daemon, struct pc_error *err);
/* What the budgets of the ledger's devices become with this configuration. Errors:
 * INVALID_CONFIG. */
int devices_budgets(const struct daemon *daemon, const struct pc_config *config,
		    uint64_t ret_budgets[PC_DEVICE_MAX], struct pc_error *err);
void devices_log(const struct daemon *daemon);

#endif
