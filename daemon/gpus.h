/* SPDX-License-Identifier: MIT */
/*
 * gpus.h - the GPUs as of the last reading. A thread of its own asks the drivers, which may take
 * seconds or hang, so that neither a loop nor the clerk ever waits for one. It also tells the body
 * what workers hold there.
 */
#ifndef DAEMON_GPUS_H
#define DAEMON_GPUS_H

#include <poolcore/error.h>

#include <sys/types.h>

struct daemon;
struct gpus;
struct pc_gpu_inventory;

/* Takes the first reading, on the caller's thread. Errors: OUT_OF_MEMORY. */
int gpus_open(struct daemon *daemon, struct gpus **ret_gpus, struct pc_error *err);
/* That reading; only until gpus_start, for then the inventory is the thread's. */
const struct pc_gpu_inventory *gpus_first(const struct gpus *gpus);
/* Reads again from now on: every PERIOD_MS, and when asked. The body and the loops are there.
 * Errors: OUT_OF_MEMORY (no thread). */
int gpus_start(struct gpus *gpus, struct pc_error *err);
/* The body is not called any more. A driver that hangs is waited for a little only; the end of the
 * program takes its thread along. Accepts NULL, and one that was not started or was stopped. */
void gpus_stop(struct gpus *gpus);
void gpus_free(struct gpus *gpus);

/* Asks for a reading that begins after now, and returns its number. Any thread. */
uint64_t gpus_look(struct gpus *gpus);
/*
 * Whether the driver listed memory of a process of this session on the GPU, as of the reading of
 * that number or a later one; true until there is one. The session's processes may be gone: a
 * driver lists their memory until it has freed it. Any thread.
 */
bool gpus_holds(struct gpus *gpus, int gpu_id, pid_t session, uint64_t reading);
/* The UUID of a GPU, into out[96]; false when its driver has never told it. Any thread. */
bool gpus_uuid(struct gpus *gpus, int gpu_id, char out[96]);
/* The last reading as pc_gpu_inventory_json has it (pc_free); NULL when memory is out. Any thread.
 */
char *gpus_text(struct gpus *gpus);

#endif
