/* SPDX-License-Identifier: MIT */
/*
 * file.c - the files of a model's folder. They are looked at before ONNX Runtime sees them: its
 * sentences about a missing one and a broken one read alike.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_path(const char *folder, const char *name, char **ret_path, struct pc_error *err)
{
	size_t room = strlen(folder) + strlen(name) + 2;
	char *path = pc_malloc(room);

	if (!path)
		return pc_error_oom(err);
	snprintf(path, room, "%s/%s", folder, name);
	*ret_path = path;
	return 0;
}

static int open_regular(const char *path, const char *what, int *ret_fd, uint64_t *ret_bytes,
			struct pc_error *err)
{
	struct stat st;
	/* NONBLOCK: opening a pipe would wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int rc = 0;

	if (fd < 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "%s '%s'", what, path);
	if (fstat(fd, &st) != 0)
		rc = pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "%s '%s'", what, path);
	else if (!S_ISREG(st.st_mode))
		rc = pc_error_set(err, PC_E_MODEL_FILE_MISSING, "%s '%s' is not a regular file",
				  what, path);
	if (rc) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int file_check(const char *path, const char *what, uint64_t *ret_bytes, struct pc_error *err)
{
	int fd = -1;
	int rc = open_regular(path, what, &fd, ret_bytes, err);

	if (!rc)
		close(fd);
	return rc;
}

static int read_all(int fd, char *data, size_t length, const char *path, struct pc_error *err)
{
	size_t got = 0;

	while (got < length) {
		ssize_t n = read(fd, data + got, length - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "reading '%s'",
					    path);
		if (n == 0)
			return pc_error_set(err, PC_E_MODEL_ERROR,
					    "'%s' became shorter while it was read", path);
		got += (size_t)n;
	}
	data[length] = '\0';
	return 0;
}

int file_read(const char *path, const char *what, size_t max, char **ret_data, size_t *ret_length,
	      struct pc_error *err)
{
	pc_auto(pc_free) char *data = NULL;
	uint64_t bytes = 0;
	int fd = -1;
	int rc = open_regular(path, what, &fd, &bytes, err);

	if (rc)
		return rc;
	if (bytes > max)
		rc = pc_error_set(err, PC_E_MODEL_ERROR, "%s '%s' has %llu bytes; %zu are the most",
				  what, path, (unsigned long long)bytes, max);
	else if (!(data = pc_malloc((size_t)bytes + 1)))
		rc = pc_error_oom(err);
	else
		rc = read_all(fd, data, (size_t)bytes, path, err);
	close(fd);
	if (rc)
		return rc;
	*ret_data = pc_steal(&data);
	*ret_length = (size_t)bytes;
	return 0;
}
