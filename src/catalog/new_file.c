/* SPDX-License-Identifier: MIT */
/*
 * new_file.c - writes a file beside another one and renames it into its place: who reads sees the
 * old one or the new one, also after a power cut. Each file belongs to one thread.
 */
#include "catalog/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names that nobody has guessed or left behind. */
static int make(struct pc__new_file *file, int folder, struct pc_error *err)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return pc_error_sys(err, PC_E_IO, errno, "cannot get a random number");
	snprintf(file->name, sizeof(file->name), ".poolcore-%016" PRIx64 ".new", number);
	file->folder = folder;
	file->fd = openat(folder, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	return file->fd < 0
		       ? pc_error_sys(err, PC_E_IO, errno, "cannot make a new file in its folder")
		       : 0;
}

static int fill(int fd, const char *data, size_t length, struct pc_error *err)
{
	while (length > 0) {
		ssize_t put = write(fd, data, length);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return pc_error_sys(err, PC_E_IO, errno, "cannot write the new file");
		data += put;
		length -= (size_t)put;
	}
	return 0;
}

int pc__new_file_write(struct pc__new_file *file, int folder, mode_t mode, const void *data,
		       size_t length, struct pc_error *err)
{
	int rc = make(file, folder, err);

	if (rc == 0)
		rc = fill(file->fd, data, length, err);
	if (rc == 0 && (fchmod(file->fd, mode) || fsync(file->fd)))
		rc = pc_error_sys(err, PC_E_IO, errno, "cannot finish the new file");
	if (rc)
		pc__new_file_fini(file);
	return rc;
}

int pc__new_file_own(struct pc__new_file *file, uid_t owner, gid_t group, struct pc_error *err)
{
	struct stat facts;

	if (fstat(file->fd, &facts))
		return pc_error_sys(err, PC_E_IO, errno, "cannot examine the new file");
	if (facts.st_uid == owner && facts.st_gid == group)
		return 0;
	if (fchown(file->fd, owner, group))
		return pc_error_sys(err, PC_E_IO, errno,
				    "cannot give the new file to the old one's owner, %u:%u", owner,
				    group);
	return 0;
}

int pc__new_file_commit(struct pc__new_file *file, const char *name, struct pc_error *err)
{
	if (renameat(file->folder, file->name, file->folder, name))
		return pc_error_sys(err, PC_E_IO, errno, "cannot put the new file in its place");
	close(file->fd);
	file->fd = -1;
	/* It is in its place; only a power cut could still take it back. */
	if (fsync(file->folder) && errno != EINVAL && errno != EBADF)
		return pc_error_sys(err, PC_E_IO, errno,
				    "the new file is in its place, but a power cut could "
				    "take it back: the folder cannot be synchronised");
	return 0;
}

void pc__new_file_fini(struct pc__new_file *file)
{
	if (file->fd < 0)
		return;
	close(file->fd);
	file->fd = -1;
	unlinkat(file->folder, file->name, 0);
}
