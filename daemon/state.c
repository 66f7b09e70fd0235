/* SPDX-License-Identifier: MIT */
/*
 * state.c - the state directory: its lock, the registry in it, the folder of the workers' sockets,
 * and the clients' token, which lies in a file too. Blocks; main thread, before any loop runs.
 */
#include "daemon/state.h"

#include <poolcore/config.h>
#include <poolcore/lifecycle.h>
#include <poolcore/registry.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"

#define TOKEN_MAX 4096

static int make_directories(const char *path, mode_t mode, struct pc_error *err)
{
	pc_auto(pc_free) char *copy = pc_strdup(path);

	if (!copy)
		return pc_error_oom(err);
	for (char *at = copy + 1;; at++) {
		char here = *at;

		if (here != '/' && here != '\0')
			continue;
		*at = '\0';
		if (mkdir(copy, mode) && errno != EEXIST)
			return pc_error_sys(err, PC_E_IO, errno, "cannot make the directory %s",
					    copy);
		*at = here;
		if (here == '\0')
			return 0;
	}
}

/*
 * Held for the life of the daemon, so that two never share a registry. A lock of the process
 * (F_SETLK), not of the open file as flock(2) has it: a stub that is being spawned has a copy of
 * each descriptor until it executes, and would keep the lock of a daemon that was killed just then.
 */
static int lock_state(const char *state_dir, int *ret_fd, struct pc_error *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/lock", state_dir);

	const struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return pc_error_sys(err, PC_E_IO, errno, "cannot open %s", path);
	if (fcntl(fd, F_SETLK, &whole)) {
		int rc = errno == EAGAIN || errno == EACCES
				 ? pc_error_set(err, PC_E_ALREADY_EXISTS,
						"another pool-managerd uses %s; give this one a "
						"pool.state_dir of its own",
						state_dir)
				 : pc_error_sys(err, PC_E_IO, errno, "cannot lock %s", path);

		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* Where a daemon before us had its sockets, if that is still ours alone: anybody may write in
 * /tmp. */
static bool read_link(const char *link, char *path, size_t size)
{
	ssize_t length = readlink(link, path, size - 1);
	struct stat st;

	if (length <= 0)
		return false;
	path[length] = '\0';
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 0777) == 0700;
}

/* A directory in /tmp, which the link remembers: after a daemon that was killed its workers still
 * have their sockets there, and nobody else would ever clear it away. */
static int open_short_dir(const char *link, char *path, size_t size, struct pc_error *err)
{
	if (read_link(link, path, size))
		return 0;
	snprintf(path, size, "/tmp/pool-managerd-XXXXXX");
	if (!mkdtemp(path))
		return pc_error_sys(err, PC_E_IO, errno,
				    "cannot make a directory for sockets in /tmp");
	if ((unlink(link) && errno != ENOENT) || symlink(path, link)) {
		pc_error_sys(err, PC_E_IO, errno, "cannot make the link %s", link);
		rmdir(path);
		return PC_E_IO;
	}
	return 0;
}

/* A socket's path is at most 107 bytes (unix(7)); a worker's name takes up to 40 of them. */
static int open_runtime_dir(struct daemon *daemon, struct pc_error *err)
{
	const char *state_dir = daemon->generation->config->pool_state_dir;
	size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 40;
	char path[PATH_MAX], short_path[PATH_MAX];
	const char *folder = path;
	int rc;

	snprintf(path, sizeof(path), "%s/run", state_dir);
	if (strlen(path) < room) {
		rc = make_directories(path, 0700, err);
	} else {
		rc = open_short_dir(path, short_path, sizeof(short_path), err);
		folder = short_path;
	}
	if (rc)
		return rc;
	daemon->runtime_dir = pc_strdup(folder);
	return daemon->runtime_dir ? 0 : pc_error_oom(err);
}

/* Where stubs write, and the stub itself: without it no worker could be started. */
static int open_life(struct daemon *daemon, struct pc_error *err)
{
	const struct pc_config *config = daemon->generation->config;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/workers", config->pool_state_dir);
	daemon->life_dir = pc_strdup(path);
	daemon->cgroup = pc_strdup(config->pool_cgroup);
	snprintf(path, sizeof(path), "%s/verified", config->pool_state_dir);
	daemon->verified_dir = pc_strdup(path);
	if (!daemon->life_dir || !daemon->cgroup || !daemon->verified_dir)
		return pc_error_oom(err);

	int rc = make_directories(daemon->life_dir, 0700, err);

	if (!rc)
		rc = cgroup_open(daemon->cgroup, err);
	return rc ? rc : pc_program_find("pool-stub", &daemon->stub_program, err);
}

int state_open(struct daemon *daemon, int *ret_lock_fd, struct pc_error *err)
{
	const char *state_dir = daemon->generation->config->pool_state_dir;
	char token[33], path[PATH_MAX];
	int rc = make_directories(state_dir, 0700, err);

	if (!rc)
		rc = lock_state(state_dir, ret_lock_fd, err);
	if (!rc)
		rc = open_runtime_dir(daemon, err);
	if (!rc)
		rc = open_life(daemon, err);
	if (!rc)
		rc = pc_token_make(token, err);
	if (rc)
		return rc;
	snprintf(daemon->instance, sizeof(daemon->instance), "%.6s", token);
	snprintf(path, sizeof(path), "%s/registry.db", state_dir);
	return pc_registry_open_sqlite(path, &daemon->registry, err);
}

/* *ret_token is pc_freed by the caller; NULL without a path. */
static int read_token(const char *path, char **ret_token, struct pc_error *err)
{
	char text[TOKEN_MAX], *copy;
	FILE *file;
	size_t length;

	if (!path[0]) {
		*ret_token = NULL;
		return 0;
	}
	file = fopen(path, "re");
	if (!file)
		return pc_error_sys(err, PC_E_INVALID_CONFIG, errno, "http.token_file: %s", path);
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	if (strlen(text) < 16)
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "http.token_file: the first line of %s must be a token of at "
				    "least 16 characters",
				    path);
	/* It is a word in a request's head; nobody could send another one. */
	for (const char *c = text; *c; c++) {
		if (*c < '!' || *c > '~')
			return pc_error_set(err, PC_E_INVALID_CONFIG,
					    "http.token_file: the token in %s has a blank or "
					    "another character that is not visible ASCII",
					    path);
	}
	copy = pc_strdup(text);
	if (!copy)
		return pc_error_oom(err);
	*ret_token = copy;
	return 0;
}

int state_read_token(struct daemon *daemon, struct pc_error *err)
{
	return read_token(daemon->generation->config->http_token_file, &daemon->token, err);
}

bool state_token_is_current(const struct daemon *daemon, const char *path)
{
	pc_auto(pc_free) char *token = NULL;

	if (read_token(path, &token, NULL))
		return false;
	return strcmp(token ? token : "", daemon->token ? daemon->token : "") == 0;
}
