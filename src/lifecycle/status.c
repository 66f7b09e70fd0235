/* SPDX-License-Identifier: MIT */
/*
 * status.c - reads what a stub has written of itself and its worker, as far as it can be believed,
 * and says what end follows from it. What is to be done then is recover.c's. Any thread; it may
 * wait for the disk.
 *
 * Note: a status that cannot be believed
 *
 * The stub renames whole files, so a status that is cut off or does not name the record's token was
 * made by a full disk after a power failure, or by hand. Its numbers may be anybody's, and nobody
 * is signalled. But whether a worker holds memory must still be answered, and that a stub lives can
 * be seen otherwise: it carries the token in its environment. If nobody does, the worker is gone,
 * for it dies with its stub. If somebody does, only a person can say what is right, and the record
 * stays.
 */
#include "lifecycle/status.h"

#include <poolcore/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Reads up to `size` bytes; how many, or -1 with errno. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	size_t length = 0;
	ssize_t got = 1;

	if (fd < 0)
		return -1;
	while (got > 0 && length < size) {
		got = read(fd, text + length, size - length);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			length += (size_t)got;
	}

	int failure = errno;

	close(fd);
	errno = failure;
	return got < 0 ? -1 : (ssize_t)length;
}

int pc__status_read(const char *life_dir, const char *worker_id, const char *spawn_token,
		    struct pc__finding *finding, struct pc_error *err)
{
	char text[PC__LIFE_STATUS_MAX + 1];
	int rc = pc__life_path(finding->path, life_dir, worker_id, PC__LIFE_STATUS, err);

	if (rc)
		return rc;

	ssize_t length = read_file(finding->path, text, sizeof(text));

	if (length < 0 && errno == ENOENT) {
		finding->belief = STATUS_MISSING;
		return 0;
	}
	if (length < 0)
		return pc_error_sys(err, PC_E_IO, errno, "cannot read '%s'", finding->path);
	finding->belief = STATUS_DOUBTED;
	if (pc__life_parse(text, (size_t)length, &finding->status, finding->why))
		return 0;
	if (strcmp(finding->status.token, spawn_token) != 0) {
		snprintf(finding->why, sizeof(finding->why),
			 "its token is not the one of this worker's record");
		return 0;
	}
	finding->belief = STATUS_BELIEVED;
	return 0;
}

/* The log's end as a string. */
static void copy_tail(const struct pc__life_status *status, char ret_tail[2048])
{
	size_t length = (size_t)status->tail_length;

	for (size_t i = 0; i < length; i++)
		ret_tail[i] = status->tail[i] ? status->tail[i] : '?';
	ret_tail[length] = '\0';
}

void pc__end_from_status(const struct pc__life_status *status, struct pc_stub_end *ret_end)
{
	struct pc_stub_end end = {
		.exit = {
			.known = true,
			.code = (int)status->code,
			.signal = (int)status->signal,
			.wall_ms = status->wall_ms,
		},
		.worker_pid = (pid_t)status->worker_pid,
		.spawn_errno = (int)status->spawn_errno,
		.oom_killed = status->oom_killed,
	};

	snprintf(end.exit.reason, sizeof(end.exit.reason), "%s", status->reason);
	copy_tail(status, end.log_tail);
	*ret_end = end;
}

void pc__end_unknown(struct pc_stub_end *ret_end, pid_t worker, const char *fmt, ...)
{
	struct pc_stub_end end = {
		.exit = { .code = -1, .wall_ms = pc_clock_wall_ms() },
		.worker_pid = worker,
	};
	va_list args;

	va_start(args, fmt);
	vsnprintf(end.exit.reason, sizeof(end.exit.reason), fmt, args);
	va_end(args);
	*ret_end = end;
}
