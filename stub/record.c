/* SPDX-License-Identifier: MIT */
/*
 * record.c - takes the claim and writes the status. The order of steps is the one of stub() in
 * tests/formal/worker_life.pml: the identity is in the file before the rename, and a worker is
 * started after it.
 */
#include "stub/stub.h"

#include <poolcore/lifecycle.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "lifecycle/procfs.h"

/* 0 or errno. */
static int write_status(int fd, const struct pc__life_status *status)
{
	char text[PC__LIFE_STATUS_MAX];
	size_t length = pc__life_format(status, text);

	for (size_t done = 0; done < length;) {
		ssize_t written = write(fd, text + done, length - done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? errno : ENOSPC;
		done += (size_t)written;
	}
	return 0;
}

/* Who we are; 0 or errno. */
static int identify(const struct options *options, struct pc__life_status *status)
{
	struct pc__proc_stat stat;
	int pidfd, rc;

	status->stub_pid = getpid();
	snprintf(status->token, sizeof(status->token), "%s", options->token);
	snprintf(status->boot_id, sizeof(status->boot_id), "%s", pc_boot_id());
	if (!status->boot_id[0])
		return ENOENT;
	rc = pc__proc_stat_read(getpid(), &stat);
	if (rc)
		return -rc;
	status->stub_start_ticks = (int64_t)stat.start_ticks;
	pidfd = pidfd_open(getpid(), 0);
	if (pidfd < 0)
		return errno;
	status->stub_pidfd_inode = (int64_t)pc__pidfd_inode(pidfd);
	close(pidfd);
	return 0;
}

int record_claim(int dir_fd, const struct options *options, struct pc__life_status *status,
		 struct log *log)
{
	char claim[PC__LIFE_NAME_SIZE], name[PC__LIFE_NAME_SIZE];
	int failure = identify(options, status), fd;

	if (failure) {
		log_say(log, "cannot tell who we are: /proc: %s", strerror(failure));
		return PC__STUB_FAILED;
	}
	pc__life_name(PC__LIFE_CLAIM, options->worker_id, claim);
	pc__life_name(PC__LIFE_STATUS, options->worker_id, name);
	fd = openat(dir_fd, claim, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	failure = fd < 0 ? errno : write_status(fd, status);
	if (fd >= 0)
		close(fd);
	if (!failure && renameat(dir_fd, claim, dir_fd, name))
		failure = errno;
	if (!failure)
		return 0;
	if (failure == ENOENT) /* a daemon that recovers was first */
		return PC__STUB_CLAIM_LOST;
	log_say(log, "cannot take the claim %s/%s: %s", options->life_dir, claim,
		strerror(failure));
	return PC__STUB_FAILED;
}

/* 0 or errno. */
static int replace(int dir_fd, const char *new_name, const char *name,
		   const struct pc__life_status *status)
{
	int fd = openat(dir_fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int failure = fd < 0 ? errno : write_status(fd, status);

	if (fd >= 0)
		close(fd);
	if (!failure && renameat(dir_fd, new_name, dir_fd, name))
		failure = errno;
	if (failure)
		unlinkat(dir_fd, new_name, 0);
	return failure;
}

bool record_write(int dir_fd, const struct options *options, const struct pc__life_status *status,
		  struct log *log)
{
	char name[PC__LIFE_NAME_SIZE], new_name[PC__LIFE_NAME_SIZE];

	pc__life_name(PC__LIFE_STATUS, options->worker_id, name);
	pc__life_name(PC__LIFE_STATUS_NEW, options->worker_id, new_name);

	int failure = replace(dir_fd, new_name, name, status);

	if (failure)
		log_say(log, "cannot write %s/%s: %s", options->life_dir, name, strerror(failure));
	return failure == 0;
}
