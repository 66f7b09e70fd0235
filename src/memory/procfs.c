/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - reads the kernel's small text files by lines, without allocating: memory is asked
 * about when it is short. It knows no file's meaning. Any thread.
 */
#include "memory/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

int pc__lines_open(struct pc__lines *lines, const char *root, const char *path)
{
	char full[2 * PATH_MAX];
	int length = snprintf(full, sizeof(full), "%s%s", root, path);

	if (length < 0 || (size_t)length >= sizeof(full))
		return -ENAMETOOLONG;
	lines->start = lines->end = 0;
	lines->overlong = false;
	lines->failure = 0;
	lines->fd = open(full, O_RDONLY | O_CLOEXEC);
	return lines->fd < 0 ? -errno : 0;
}

void pc__lines_close(struct pc__lines *lines)
{
	close(lines->fd);
}

/* Reads more behind the unread part, which moves to the front. False at the end of the file. */
static bool lines_fill(struct pc__lines *lines)
{
	ssize_t count;

	memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
	lines->end -= lines->start;
	lines->start = 0;
	if (lines->end == PC__LINE_MAX) {
		lines->end = 0;
		lines->overlong = true;
	}
	do {
		count = read(lines->fd, lines->buffer + lines->end, PC__LINE_MAX - lines->end);
	} while (count < 0 && errno == EINTR);
	if (count < 0)
		lines->failure = -errno;
	if (count <= 0)
		return false;
	lines->end += (size_t)count;
	return true;
}

char *pc__lines_next(struct pc__lines *lines)
{
	for (;;) {
		char *line = lines->buffer + lines->start;
		char *newline = memchr(line, '\n', lines->end - lines->start);
		bool overlong = lines->overlong;

		if (newline) {
			*newline = '\0';
			lines->start = (size_t)(newline + 1 - lines->buffer);
			lines->overlong = false;
			if (!overlong)
				return line;
		} else if (!lines_fill(lines)) {
			if (lines->start == lines->end || lines->overlong)
				return NULL;
			lines->buffer[lines->end] = '\0';
			line = lines->buffer + lines->start;
			lines->start = lines->end;
			return line;
		}
	}
}

bool pc__number(const char *text, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return false;
	}
	if (p == text || (*p != '\0' && *p != ' ' && *p != '\t'))
		return false;
	*ret_number = number;
	return true;
}

bool pc__number_read(const char *root, const char *dir, const char *name, uint64_t *ret_number)
{
	struct pc__lines lines;
	char path[2 * PATH_MAX];
	bool found = false;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (pc__lines_open(&lines, root, path))
		return false;

	const char *line = pc__lines_next(&lines);

	found = line && pc__number(line, ret_number);
	pc__lines_close(&lines);
	return found;
}

bool pc__kib_line(const char *line, const char *key, uint64_t *ret_bytes)
{
	size_t length = strlen(key);
	uint64_t kib;

	if (strncmp(line, key, length) != 0 || line[length] != ':')
		return false;
	line += length + 1;
	line += strspn(line, " \t");
	if (!pc__number(line, &kib) || kib > UINT64_MAX / 1024)
		return false;
	line += strspn(line, "0123456789");
	if (strcmp(line, " kB") != 0)
		return false;
	*ret_bytes = kib * 1024;
	return true;
}

int pc__kib_missing(struct pc_error *err, const char *root, const char *path, const char *key)
{
	pc_error_set(err, PC_E_IO, "%s%s: no line '%s: N kB'", root, path, key);
	pc_error_detail(err, "file", "%s%s", root, path);
	pc_error_detail(err, "key", "%s", key);
	return PC_E_IO;
}

int pc__file_failed(struct pc_error *err, int sys_errno, const char *root, const char *path)
{
	pc_error_sys(err, PC_E_IO, sys_errno, "%s%s", root, path);
	pc_error_detail(err, "file", "%s%s", root, path);
	return PC_E_IO;
}

void pc__path_copy(char *out, size_t size, const char *path)
{
	size_t length = strlen(path);

	if (length >= size)
		length = pc__utf8_cut(path, size - 1);
	memcpy(out, path, length);
	out[length] = '\0';
}
