/* SPDX-License-Identifier: MIT */
/*
 * path.h - paths as people write them in settings ("~/models", "../state") turned into absolute
 * ones. Inside the library only.
 *
 * A "folder" here is absolute and canonical (no symbolic links, no "..", no trailing slash except
 * for "/"), so that leading ".." of a relative path may be taken off it by text alone.
 */
#ifndef CONFIG_PATH_H
#define CONFIG_PATH_H

#include <poolcore/error.h>

/* The folder that a file stands in; the file itself may be a symbolic link and need not be
 * readable. Errors: IO when the folder does not exist. Free with pc_free. */
int pc__path_folder_of(const char *file, char **ret_folder, struct pc_error *err);

/* The working directory. Errors: IO. Free with pc_free. */
int pc__path_working_folder(char **ret_folder, struct pc_error *err);

/*
 * "~" and "~/x" become the home directory's, relative paths get `folder` in front. Nothing is
 * looked up on disk. Errors: INVALID_ARGUMENT with a sentence that does not repeat the path's
 * place (empty, "~user", no home directory, too long, not UTF-8). Free with pc_free.
 */
int pc__path_absolute(const char *path, const char *folder, char **ret_path, struct pc_error *err);

#endif
