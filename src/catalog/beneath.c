/* SPDX-License-Identifier: MIT */
/*
 * beneath.c - openat2(2) with RESOLVE_BENEATH, and what does for it where there is none. Any
 * thread.
 */
#include "catalog/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel says EAGAIN when a folder on the way was moved meanwhile. A guess; change freely. */
#define TRIES 16

/* One step down, where `name` is a folder. Takes over `folder`, unless it is `keep`. */
static int step(int folder, int keep, const char *name)
{
	int next = openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int saved = errno;

	if (folder != keep)
		close(folder);
	/* O_DIRECTORY says ENOTDIR of a symbolic link, too. */
	errno = next < 0 && saved == ENOTDIR ? EXDEV : saved;
	return next;
}

int pc__open_beneath_stepwise(int folder, const char *path, int flags)
{
	int at = folder, fd, saved;
	char name[NAME_MAX + 1];

	for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
		size_t length = (size_t)(slash - path);

		if (length > NAME_MAX) {
			errno = ENAMETOOLONG;
			goto failed;
		}
		*(char *)mempcpy(name, path, length) = '\0';
		if (length == 0 || strcmp(name, "..") == 0) {
			errno = EXDEV;
			goto failed;
		}
		at = step(at, folder, name);
		if (at < 0)
			return -1;
	}
	if (strcmp(path, "..") == 0) {
		errno = EXDEV;
		goto failed;
	}
	fd = openat(at, path, flags | O_NOFOLLOW | O_CLOEXEC);
	saved = errno;
	if (at != folder)
		close(at);
	errno = fd < 0 && saved == ELOOP ? EXDEV : saved;
	return fd;

failed:
	saved = errno;
	if (at != folder)
		close(at);
	errno = saved;
	return -1;
}

int pc__open_beneath(int folder, const char *path, int flags)
{
	const struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, folder, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	/* Older sandboxes answer EPERM to calls that they do not know. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return pc__open_beneath_stepwise(folder, path, flags);
	return (int)fd;
}
