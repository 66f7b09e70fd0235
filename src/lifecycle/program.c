/* SPDX-License-Identifier: MIT */
/* program.c - finds the program that a command names. It starts nothing. Any thread. */
#include <poolcore/lifecycle.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/* Used when PATH is not set, as execvp does: confstr(_CS_PATH) of glibc. */
#define DEFAULT_PATH "/bin:/usr/bin"

/* A search under way. */
struct search {
	const char *name;
	struct pc__buf looked; /* the places where it was not, for the error */
	char *found;
	char *refused; /* the first that was there and could not be run */
	int refusal;   /* errno */
	bool failed;   /* out of memory */
};

/* 0 when `path` is a program that we may run, or errno. As we are now: access(2) would ask for the
 * user that started us, without the capabilities we were given. */
static int check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) ? errno : 0;
}

/* Looks in one folder; true when the search is over. */
static bool search_folder(struct search *search, const char *folder, size_t length)
{
	struct pc__buf path = PC__BUF_INIT;

	pc__buf_append(&path, folder, length);
	pc__buf_puts(&path, "/");
	pc__buf_puts(&path, search->name);

	char *candidate = pc__buf_steal(&path);

	if (!candidate) {
		search->failed = true;
		return true;
	}

	int failure = check_program(candidate);

	if (!failure) {
		search->found = candidate;
		return true;
	}
	if (failure != ENOENT && failure != ENOTDIR && failure != EISDIR && !search->refused) {
		search->refusal = failure;
		search->refused = candidate;
		return false;
	}
	pc_free(candidate);
	pc__buf_puts(&search->looked, search->looked.length ? ", " : "");
	pc__buf_append(&search->looked, folder, length);
	return false;
}

/*
 * Next to our own executable comes first, so that a daemon starts the worker that it was built and
 * installed with and not an older one that PATH happens to hold. In a build tree each program has a
 * folder of its own (build/daemon/pool-managerd, build/worker/pool-worker), hence the further
 * looks. The link of a program that was replaced meanwhile ends in " (deleted)", but its folder
 * stays right.
 */
static bool search_own_folder(struct search *search)
{
	static const char build_tree[][12] = { "", "/../worker", "/../stub" };
	char own[PATH_MAX + sizeof(build_tree[0])];
	ssize_t length = readlink("/proc/self/exe", own, PATH_MAX);
	char *slash = length > 0 ? memrchr(own, '/', (size_t)length) : NULL;

	if (!slash)
		return false;
	for (size_t i = 0; i < PC_ARRAY_LEN(build_tree); i++) {
		memcpy(slash, build_tree[i], sizeof(build_tree[i]));
		if (search_folder(search, own, strlen(own)))
			return true;
	}
	return false;
}

static bool search_path(struct search *search)
{
	const char *path = getenv("PATH");

	for (const char *folder = path ? path : DEFAULT_PATH;; folder++) {
		size_t length = strcspn(folder, ":");

		if (*folder == '/' && search_folder(search, folder, length))
			return true;
		folder += length;
		if (*folder == '\0')
			return false;
	}
}

static int not_runnable(struct pc_error *err, const char *path, int failure)
{
	return pc_error_sys(err, PC_E_SPAWN_FAILED, failure, "'%s' cannot be run", path);
}

/* A name with a slash is a path and is not searched for. */
static int check_path(const char *path, char **ret_path, struct pc_error *err)
{
	int failure = check_program(path);

	if (failure == ENOENT || failure == ENOTDIR)
		return pc_error_sys(err, PC_E_NOT_FOUND, failure, "no program '%s'", path);
	if (failure)
		return not_runnable(err, path, failure);

	char *copy = pc_strdup(path);

	if (!copy)
		return pc_error_oom(err);
	*ret_path = copy;
	return 0;
}

int pc_program_find(const char *name, char **ret_path, struct pc_error *err)
{
	struct search search = { .name = name, .looked = PC__BUF_INIT };
	int rc = 0;

	if (!name || !name[0])
		return pc_error_set(err, PC_E_NOT_FOUND, "the command names no program");
	if (strchr(name, '/'))
		return check_path(name, ret_path, err);
	if (!search_own_folder(&search))
		search_path(&search);

	if (search.failed || search.looked.failed)
		rc = pc_error_oom(err);
	else if (search.found)
		*ret_path = pc_steal(&search.found);
	else if (search.refused)
		rc = not_runnable(err, search.refused, search.refusal);
	else
		rc = pc_error_set(err, PC_E_NOT_FOUND, "no program '%.80s'; looked in %s", name,
				  search.looked.data ? search.looked.data : "no folder");
	pc_free(search.found);
	pc_free(search.refused);
	pc__buf_fini(&search.looked);
	return rc;
}
