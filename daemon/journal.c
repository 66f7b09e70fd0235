/* SPDX-License-Identifier: MIT */
/*
 * journal.c - writes the daemon's log, or leaves it. Every loop logs, and a write into a pipe or a
 * terminal that nobody reads waits: the first line that did not fit would stop a loop, then all of
 * them, requests, workers' reports and the shutdown with it. Such a line is lost instead, counted,
 * and told of when there is room again. Any thread.
 *
 * The file is not made non-blocking: it is shared with whoever started us, and their programs would
 * meet errors that they do not expect. It is asked before each line instead. A line has at most
 * PIPE_BUF bytes, and a pipe that is writable takes so many at once (pipe(7)).
 *
 * XXX A terminal says that it is writable when it takes one byte. One that is halted takes none,
 * but one whose emulator hangs may take a part of the line and hold us up until it reads on.
 */
#include "daemon/journal.h"

#include <inttypes.h>
#include <poll.h>

#include <poolcore/clock.h>

/* An error counts as room: the write that follows meets it and returns. */
static bool has_room(const struct journal *journal)
{
	struct pollfd watch = { .fd = fileno(journal->file), .events = POLLOUT };

	return poll(&watch, 1, 0) != 0;
}

static void tell_lost(const struct journal *journal)
{
	char message[96];
	const struct pc_log_record record = {
		.level = PC_LOG_WARN,
		.wall_ms = pc_clock_wall_ms(),
		.subject = "log",
		.message = message,
	};

	snprintf(message, sizeof(message),
		 "%" PRIu64 " lines are missing here: nobody read them in time",
		 journal->lost_lines);
	journal->sink(journal->file, &record);
}

void journal_write(void *ctx, const struct pc_log_record *record)
{
	struct journal *journal = ctx;
	bool is_written;

	pthread_mutex_lock(&journal->lock);
	is_written = has_room(journal);
	if (is_written && journal->lost_lines > 0) {
		tell_lost(journal);
		journal->lost_lines = 0;
		is_written = has_room(journal);
	}
	if (is_written)
		journal->sink(journal->file, record);
	else
		journal->lost_lines++;
	pthread_mutex_unlock(&journal->lock);
}
