/* SPDX-License-Identifier: MIT */
/*
 * journal.h - the daemon's own log on its way to a file that somebody else may have to read: a
 * terminal that was halted by Ctrl-S, a pager, a log collector that hangs. Nobody waits for those.
 */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include <poolcore/log.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

struct journal {
	pc_log_hook sink; /* writes a record into `file` */
	FILE *file;
	pthread_mutex_t lock;
	uint64_t lost_lines; /* [lock] since the last one that was written */
};

/* A hook for pc_log_set, whose context is a journal. Any thread; it does not block. */
void journal_write(void *ctx, const struct pc_log_record *record);

#endif
