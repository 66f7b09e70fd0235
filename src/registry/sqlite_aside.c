/* SPDX-License-Identifier: MIT */
/*
 * sqlite_aside.c - takes a damaged registry out of the way without losing a byte of it: its file
 * and its log get a name of their own, together or not at all, and never that of another one. Runs
 * on the thread that opens the registry.
 */
#include "registry/sqlite_aside.h"

#include <poolcore/clock.h>
#include <poolcore/log.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void pc__sqlite_sync_folder_of(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int length = slash && slash != path ? (int)(slash - path) : 1;

	snprintf(folder, sizeof(folder), "%.*s", length, path);

	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* Some network file systems cannot; there is nothing better to do on them. */
	(void)fsync(fd);
	close(fd);
}

/* The log first: left behind, it would be played into the new file. */
static const char *const moved_parts[] = { "-wal", "-shm", "" };

/* More in one second than anybody damages. */
#define NAMES_MAX 999

/* Whether a part of a registry has that name, or a link. */
static bool is_taken(const char *stem)
{
	char part[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < PC_ARRAY_LEN(moved_parts); i++) {
		snprintf(part, sizeof(part), "%s%s", stem, moved_parts[i]);
		if (lstat(part, &st) == 0)
			return true;
	}
	return false;
}

/*
 * Finds a name that is free, and makes an empty file there: until it is replaced it keeps others
 * off, also another process that sets aside in this second.
 */
static int reserve_name(const char *path, char *kept_as, size_t size, struct pc_error *err)
{
	time_t now = (time_t)(pc_clock_wall_ms() / 1000);
	char number[8] = "", stamp[32];
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
	for (int n = 1; n <= NAMES_MAX; n++) {
		if (n > 1)
			snprintf(number, sizeof(number), "-%d", n);
		snprintf(kept_as, size, "%s.corrupt-%s%s", path, stamp, number);
		if (is_taken(kept_as))
			continue;

		int fd = open(kept_as, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (fd >= 0) {
			close(fd);
			return 0;
		}
		if (errno != EEXIST)
			return pc_error_sys(err, PC_E_IO, errno,
					    "the registry '%s' is damaged and cannot be set aside "
					    "as '%s'",
					    path, kept_as);
	}
	return pc_error_set(err, PC_E_IO,
			    "the registry '%s' is damaged, and so were %d before it in this "
			    "second; look at '%s.corrupt-*'",
			    path, NAMES_MAX, path);
}

/* Renames the part if it is there. */
static int move_part(const char *from_stem, const char *to_stem, const char *suffix,
		     struct pc_error *err)
{
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), "%s%s", from_stem, suffix);
	snprintf(to, sizeof(to), "%s%s", to_stem, suffix);
	if (rename(from, to) == 0 || errno == ENOENT)
		return 0;
	return pc_error_sys(err, PC_E_IO, errno,
			    "the registry '%s' is damaged and cannot be renamed to '%s'", from, to);
}

/* All of it or nothing: a file without its log would be taken for a whole one. */
static int move_all(const char *path, const char *kept_as, struct pc_error *err)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(moved_parts); i++) {
		int rc = move_part(path, kept_as, moved_parts[i], err);

		if (!rc)
			continue;
		while (i-- > 0)
			(void)move_part(kept_as, path, moved_parts[i], NULL);
		unlink(kept_as);
		return rc;
	}
	return 0;
}

int pc__sqlite_set_aside(const char *path, const char *reason, struct pc_error *err)
{
	char kept_as[PATH_MAX];
	int rc = reserve_name(path, kept_as, sizeof(kept_as), err);

	if (!rc)
		rc = move_all(path, kept_as, err);
	if (rc)
		return rc;
	pc__sqlite_sync_folder_of(path);
	pc_log(PC_LOG_ERROR, "registry",
	       PC_FIELDS({ "path", path }, { "kept_as", kept_as }, { "reason", reason }),
	       "file is damaged: set aside, starting with an empty one; workers of an earlier "
	       "daemon are not known any more");
	return 0;
}
