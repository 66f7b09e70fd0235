/* SPDX-License-Identifier: MIT */
/*
 * procfs.h - the kernel's small text files, line by line. Inside this room only.
 */
#ifndef MEMORY_PROCFS_H
#define MEMORY_PROCFS_H

#include <poolcore/error.h>

/*
 * The longest line that is read; longer ones are skipped whole. A mount point and its root may have
 * PATH_MAX (4096) bytes each, and mountinfo spells odd ones with four characters; nobody's cgroup
 * needs that.
 */
#define PC__LINE_MAX 16384

/* An open file and the part of it that has been read. Nothing here allocates. */
struct pc__lines {
	int fd;
	size_t start, end; /* what is unread of buffer */
	bool overlong;	   /* the line at start began in a buffer that is gone */
	int failure;	   /* 0, or the negative errno of the read that failed */
	char buffer[PC__LINE_MAX + 1];
};

/* Opens root/path (`root` may be ""); returns 0 or a negative errno. */
int pc__lines_open(struct pc__lines *lines, const char *root, const char *path);
void pc__lines_close(struct pc__lines *lines);
/* The next line without its newline, valid until the next call; NULL at
 * the end or on a read error. */
char *pc__lines_next(struct pc__lines *lines);

/* Decimal digits at `text`, ended by NUL or white space. False where
 * there are none, or too many. */
bool pc__number(const char *text, uint64_t *ret_number);

/* The number in the first line of root/dir/name; "max" and whatever else is no number give
 * false. */
bool pc__number_read(const char *root, const char *dir, const char *name, uint64_t *ret_number);

/* The bytes of a line "KEY:   123 kB", and of nothing else. */
bool pc__kib_line(const char *line, const char *key, uint64_t *ret_bytes);
/* The error for a file in which that line was not found: IO with file and key. */
int pc__kib_missing(struct pc_error *err, const char *root, const char *path, const char *key);
/* The error for a file that could not be read: IO with sys_errno and file. */
int pc__file_failed(struct pc_error *err, int sys_errno, const char *root, const char *path);

/* Copies a path, or as much of it as fits `size` bytes without cutting a character in two. */
void pc__path_copy(char *out, size_t size, const char *path);

#endif
