/* SPDX-License-Identifier: MIT */
/*
 * path.c - makes paths absolute. It never checks whether they exist, and creates nothing. Runs
 * wherever settings are loaded: reads the environment and the password database, so call it before
 * threads that change the environment start.
 */
#include "config/path.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

int pc__path_folder_of(const char *file, char **ret_folder, struct pc_error *err)
{
	char folder[PATH_MAX], resolved[PATH_MAX];
	const char *slash = strrchr(file, '/');
	size_t length = slash ? (size_t)(slash - file) : 0;

	if (length >= sizeof(folder))
		return pc_error_sys(err, PC_E_IO, ENAMETOOLONG, "%.64s...", file);
	if (!slash)
		strcpy(folder, ".");
	else if (length == 0)
		strcpy(folder, "/");
	else
		*(char *)mempcpy(folder, file, length) = '\0';
	if (!realpath(folder, resolved))
		return pc_error_sys(err, PC_E_IO, errno, "%s: cannot find the folder '%s'", file,
				    folder);

	char *copy = pc_strdup(resolved);

	if (!copy)
		return pc_error_oom(err);
	*ret_folder = copy;
	return 0;
}

int pc__path_working_folder(char **ret_folder, struct pc_error *err)
{
	return pc__path_folder_of("./", ret_folder, err);
}

/* The home directory into home[PATH_MAX]: $HOME, else the password database (a service may run
 * without HOME). */
static bool home_folder(char *home)
{
	const char *text = getenv("HOME");
	char buffer[4096];
	struct passwd entry, *found = NULL;

	if (!text || text[0] != '/') {
		if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found) != 0 || !found)
			return false;
		text = found->pw_dir;
	}

	size_t length = strlen(text);

	if (text[0] != '/' || length >= PATH_MAX)
		return false;
	memcpy(home, text, length + 1);
	return true;
}

/* Joins folder and relative path; "./" and "../" in front are applied to the folder. */
static int join(const char *folder, const char *path, char *out, struct pc_error *err)
{
	size_t length = strlen(folder);

	for (;;) {
		while (path[0] == '/')
			path++;
		if (path[0] == '.' && (path[1] == '/' || path[1] == '\0')) {
			path += 1;
		} else if (strncmp(path, "..", 2) == 0 && (path[2] == '/' || path[2] == '\0')) {
			while (length > 0 && folder[length - 1] != '/')
				length--;
			while (length > 0 && folder[length - 1] == '/')
				length--;
			path += 2;
		} else {
			break;
		}
	}
	while (length > 0 && folder[length - 1] == '/')
		length--;

	int written = snprintf(out, PATH_MAX, "%.*s%s%s", (int)length, folder,
			       path[0] || !length ? "/" : "", path);

	if (written < 0 || written >= PATH_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the path is longer than %d bytes",
				    PATH_MAX - 1);
	return 0;
}

int pc__path_absolute(const char *path, const char *folder, char **ret_path, struct pc_error *err)
{
	char home[PATH_MAX], joined[PATH_MAX];
	int rc;

	if (path[0] == '\0')
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the path is empty");
	if (path[0] == '~' && path[1] != '/' && path[1] != '\0')
		return pc_error_set(
			err, PC_E_INVALID_ARGUMENT,
			"\"~name\" is not expanded; write \"~/...\" or an absolute path");
	if (path[0] == '~') {
		if (!home_folder(home))
			return pc_error_set(
				err, PC_E_INVALID_ARGUMENT,
				"\"~\" has no meaning without a home directory (HOME is not set); "
				"write an absolute path");
		rc = join(home, path + 1, joined, err);
	} else {
		rc = join(path[0] == '/' ? "/" : folder, path, joined, err);
	}
	if (rc)
		return rc;
	if (pc__utf8_valid_prefix(joined, strlen(joined)) != strlen(joined))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the path is not UTF-8");
	*ret_path = pc_strdup(joined);
	return *ret_path ? 0 : pc_error_oom(err);
}
