/* SPDX-License-Identifier: MIT */
/* sqlite_aside.h - takes a damaged registry file out of the way. Inside this room only. */
#ifndef REGISTRY_SQLITE_ASIDE_H
#define REGISTRY_SQLITE_ASIDE_H

#include <poolcore/error.h>

/*
 * Renames the damaged registry at `path`, which is 48 bytes shorter than PATH_MAX, and its log to
 * PATH.corrupt-<time>, and reports it with the reason through the log hook: a person may want to
 * look. Errors: IO, after which everything is where it was.
 */
int pc__sqlite_set_aside(const char *path, const char *reason, struct pc_error *err);

/* Makes new names in the file's folder survive a power cut. */
void pc__sqlite_sync_folder_of(const char *path);

#endif
