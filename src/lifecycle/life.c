/* SPDX-License-Identifier: MIT */
/*
 * life.c - a worker's files: makes them before the spawn and removes them in the end. What they say
 * is status.c's, and what became of a worker recover.c's. Any thread; it may wait for the disk.
 *
 * The protocol, its order of steps and what each is good for are in tests/formal/worker_life.pml:
 * claim() there is pc_stub_claim, recover_one() is pc_stub_recover with identify(), settle() begins
 * with pc_stub_settle. Whoever changes the order here or there changes it in the model first.
 */
#include "lifecycle/life.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int pc__life_path(char ret_path[PATH_MAX], const char *life_dir, const char *worker_id,
		  enum pc__life_file file, struct pc_error *err)
{
	char name[PC__LIFE_NAME_SIZE];

	if (!life_dir || !life_dir[0])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a life directory is needed");
	if (!pc__life_id_is_valid(worker_id))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "'%.140s' is no worker id: 1 to %d letters, digits, '.', '_' "
				    "and '-' are, with no '.' or '-' at the beginning",
				    worker_id ? worker_id : "", PC__LIFE_ID_MAX);
	pc__life_name(file, worker_id, name);

	int length = snprintf(ret_path, PATH_MAX, "%s/%s", life_dir, name);

	if (length < 0 || length >= PATH_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the life directory's path is too long: %.200s...", life_dir);
	return 0;
}

int pc__life_fifo_open(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

/* ---- claim ---- */

static int cannot_make(struct pc_error *err, const char *path, int failure)
{
	return pc_error_sys(err, failure == EEXIST ? PC_E_ALREADY_EXISTS : PC_E_IO, failure,
			    "cannot make '%s'", path);
}

/* Returns errno. The room for the stub's identity is taken here, so that a full disk is an error of
 * ours and not the stub's. */
static int claim_create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return errno;

	bool is_full = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PC__LIFE_STATUS_MAX) &&
		       (errno == ENOSPC || errno == EDQUOT);
	int failure = is_full ? errno : 0;

	close(fd);
	if (failure)
		unlink(path);
	return failure;
}

int pc_stub_claim(const char *life_dir, const char *worker_id, struct pc_error *err)
{
	char claim[PATH_MAX], fifo[PATH_MAX];
	int rc = pc__life_path(claim, life_dir, worker_id, PC__LIFE_CLAIM, err);

	if (!rc)
		rc = pc__life_path(fifo, life_dir, worker_id, PC__LIFE_LOG, err);
	if (rc)
		return rc;
	/* The claim last: where it is, all is. */
	if (mkfifo(fifo, 0600))
		return cannot_make(err, fifo, errno);

	int failure = claim_create(claim);

	if (failure) {
		unlink(fifo);
		return cannot_make(err, claim, failure);
	}
	return 0;
}

/* ---- removal ---- */

static int remove_path(const char *path, struct pc_error *err)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	return pc_error_sys(err, PC_E_IO, errno, "cannot remove '%s'", path);
}

int pc_stub_forget(const char *life_dir, const char *worker_id, struct pc_error *err)
{
	int first = 0;

	/* In the order of the enumeration: the claim goes first. */
	for (int file = 0; file < PC__LIFE_FILES; file++) {
		char path[PATH_MAX];
		int rc = pc__life_path(path, life_dir, worker_id, (enum pc__life_file)file, err);

		if (rc)
			return rc;
		rc = remove_path(path, err);
		first = first ? first : rc;
	}
	return first;
}

int pc_stub_sweep(const char *life_dir, bool (*is_known)(void *ctx, const char *worker_id),
		  void *ctx, struct pc_error *err)
{
	struct dirent *entry;
	int first = 0;

	if (!life_dir || !is_known)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a life directory and who is known are needed");

	DIR *dir = opendir(life_dir);

	if (!dir)
		return pc_error_sys(err, PC_E_IO, errno, "cannot read the life directory '%s'",
				    life_dir);
	while ((entry = readdir(dir))) {
		char id[PC__LIFE_ID_MAX + 1];

		if (!pc__life_name_parse(entry->d_name, id) || is_known(ctx, id))
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		pc_error_sys(err, PC_E_IO, errno, "cannot remove '%s/%s'", life_dir, entry->d_name);
		first = PC_E_IO;
	}
	closedir(dir);
	return first;
}
