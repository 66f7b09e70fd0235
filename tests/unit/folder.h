/* SPDX-License-Identifier: MIT */
/*
 * folder.h - files for tests of what reads files, in one folder of the test's own. Who includes it
 * makes the folder, names it in `folder`, and removes it. Include cmocka first. One thread only.
 */
#ifndef TESTS_UNIT_FOLDER_H
#define TESTS_UNIT_FOLDER_H

#include <limits.h>
#include <stdio.h>
#include <string.h>

static char folder[PATH_MAX];

/* The path of a file in the folder; valid until the next call. */
static inline const char *in_folder(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* Writes a file of the folder; its path, as in_folder returns it. */
static inline const char *write_file(const char *name, const char *text)
{
	const char *path = in_folder(name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_not_equal(fputs(text, file), EOF);
	assert_int_equal(fclose(file), 0);
	return path;
}

static inline void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

#endif
