/* SPDX-License-Identifier: MIT */
/*
 * log.c - keeps the end of what the worker wrote and reports it on the FIFO. The worker never waits
 * for a reader: what does not fit overwrites the oldest, and the reader is told how much was lost.
 *
 * Each report is one write of at most PIPE_BUF bytes to a non-blocking FIFO, so that it arrives
 * whole or not at all, and a reader that was killed leaves no half of one behind in our books.
 */
#include "stub/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/report.h"

static uint64_t oldest(const struct log *log)
{
	return log->head > LOG_RING_BYTES ? log->head - LOG_RING_BYTES : 0;
}

static void fifo_close(struct log *log)
{
	if (log->fifo >= 0)
		close(log->fifo);
	log->fifo = -1;
}

/* ENXIO when nobody has it open for reading: then nobody is told anything, until SIGUSR1. */
static void fifo_open(struct log *log)
{
	struct stat st;

	fifo_close(log);
	log->fifo = openat(log->dir_fd, log->fifo_name,
			   O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (log->fifo >= 0 && (fstat(log->fifo, &st) || !S_ISFIFO(st.st_mode)))
		fifo_close(log);
}

void log_init(struct log *log, int dir_fd, const char *worker_id)
{
	log->dir_fd = dir_fd;
	log->fifo = -1;
	pc__life_name(PC__LIFE_LOG, worker_id, log->fifo_name);
	fifo_open(log);
}

/* What was overwritten before anybody took it stays lost, and is told: `sent` is then behind. */
void log_replay(struct log *log)
{
	fifo_open(log);
	log->owes_replay = true;
	log->owes_started = log->worker != 0;
	log->owes_job = log->stop_signal != 0;
	if (log->sent > oldest(log))
		log->sent = oldest(log);
}

void log_append(struct log *log, const char *data, size_t length)
{
	if (length > LOG_RING_BYTES) {
		log->head += length - LOG_RING_BYTES;
		data += length - LOG_RING_BYTES;
		length = LOG_RING_BYTES;
	}

	size_t at = log->head % LOG_RING_BYTES;
	size_t first = length < LOG_RING_BYTES - at ? length : LOG_RING_BYTES - at;

	memcpy(log->ring + at, data, first);
	memcpy(log->ring, data + first, length - first);
	log->head += length;
}

void log_say(struct log *log, const char *fmt, ...)
{
	char text[512] = "pool-stub: ";
	size_t length = strlen(text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + length, sizeof(text) - length - 1, fmt, args);
	va_end(args);
	length = strlen(text);
	text[length++] = '\n';
	log_append(log, text, length);
}

void log_started(struct log *log, pid_t worker, uint64_t start_ticks)
{
	log->worker = worker;
	log->worker_start_ticks = start_ticks;
	log->owes_started = true;
}

void log_stopped(struct log *log, int signal)
{
	log->stop_signal = signal;
	log->owes_job = true;
}

/* The next thing to say; false when all is said. */
static bool next_report(const struct log *log, struct pc_report *ret_report)
{
	size_t at = log->sent % LOG_RING_BYTES, length = PC__REPORT_DATA_MAX;

	if (log->owes_replay) {
		*ret_report = (struct pc_report){ .kind = PC__REPORT_REPLAY };
	} else if (log->owes_started) {
		*ret_report = (struct pc_report){
			.kind = PC_REPORT_STARTED,
			.pid = log->worker,
			.start_ticks = log->worker_start_ticks,
		};
	} else if (log->owes_job) {
		*ret_report = (struct pc_report){
			.kind = log->stop_signal ? PC_REPORT_STOPPED : PC_REPORT_CONTINUED,
			.signal = log->stop_signal,
		};
	} else if (log->sent < oldest(log)) {
		*ret_report = (struct pc_report){
			.kind = PC_REPORT_LOST,
			.lost_bytes = oldest(log) - log->sent,
		};
	} else if (log->sent < log->head) {
		if (length > log->head - log->sent)
			length = log->head - log->sent;
		if (length > LOG_RING_BYTES - at)
			length = LOG_RING_BYTES - at;
		*ret_report = (struct pc_report){
			.kind = PC_REPORT_LOG,
			.data = log->ring + at,
			.length = length,
		};
	} else {
		return false;
	}
	return true;
}

static void report_was_taken(struct log *log, const struct pc_report *report)
{
	switch (report->kind) {
	case PC_REPORT_STARTED:
		log->owes_started = false;
		break;
	case PC_REPORT_STOPPED:
	case PC_REPORT_CONTINUED:
		log->owes_job = false;
		break;
	case PC_REPORT_LOST:
		log->sent += report->lost_bytes;
		break;
	case PC_REPORT_LOG:
		log->sent += report->length;
		break;
	default:
		log->owes_replay = false;
		break;
	}
}

bool log_flush(struct log *log)
{
	struct pc_report report;

	while (log->fifo >= 0 && next_report(log, &report)) {
		char bytes[PIPE_BUF];
		size_t length = pc__report_encode(&report, bytes);
		ssize_t written = write(log->fifo, bytes, length);

		if (written == (ssize_t)length)
			report_was_taken(log, &report);
		else if (written < 0 && errno == EAGAIN)
			return true;
		else if (written >= 0 || errno != EINTR)
			fifo_close(log); /* EPIPE: the daemon is gone */
	}
	return false;
}

size_t log_tail(const struct log *log, char *tail, size_t size)
{
	uint64_t from = log->head > size ? log->head - size : 0, start = from;

	if (start > 0) {
		while (start < log->head && log->ring[start % LOG_RING_BYTES] != '\n')
			start++;
		if (start + 1 < log->head) {
			start++;
		} else {
			/* One long line: at least no half of a UTF-8 character. */
			start = from;
			while (start < from + 3 &&
			       ((unsigned char)log->ring[start % LOG_RING_BYTES] & 0xc0) == 0x80)
				start++;
		}
	}
	for (uint64_t at = start; at < log->head; at++)
		tail[at - start] = log->ring[at % LOG_RING_BYTES];
	return log->head - start;
}
