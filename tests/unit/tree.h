/* SPDX-License-Identifier: MIT */
/*
 * tree.h - small trees that look like /proc and /sys of another machine, for tests of what takes a
 * `root`. make_tree and remove_tree are a test's setup and teardown. Include cmocka first. One
 * thread only.
 */
#ifndef TESTS_UNIT_TREE_H
#define TESTS_UNIT_TREE_H

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char tree[64];

static inline int make_tree(void **state)
{
	(void)state;
	strcpy(tree, "/tmp/pc-test-tree-XXXXXX");
	return mkdtemp(tree) ? 0 : -1;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int remove_tree(void **state)
{
	(void)state;
	return nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes a file of the tree, with the folders on its way; `path` begins with a slash. */
static inline void put_bytes(const char *path, const char *data, size_t length)
{
	char full[PATH_MAX];
	int at = snprintf(full, sizeof(full), "%s", tree);

	snprintf(full + at, sizeof(full) - (size_t)at, "%s", path);
	for (char *p = full + at + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}

	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_true(write(fd, data, length) == (ssize_t)length);
	close(fd);
}

static inline void put(const char *path, const char *text)
{
	put_bytes(path, text, strlen(text));
}

#define IN_TREE(test) cmocka_unit_test_setup_teardown(test, make_tree, remove_tree)

#endif
