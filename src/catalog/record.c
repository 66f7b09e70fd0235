/* SPDX-License-Identifier: MIT */
/*
 * record.c - records of hashed files: one small file each, named after device and inode, of one
 * line:
 *
 *	poolcore-verified 1 DEVICE INODE SIZE MTIME_NS CTIME_NS SHA256 SUM
 *
 * SUM is the SHA-256 of the line before it, against a disk's mistakes. Against people there is the
 * folder's mode, and that a record of another owner, or one that others may write, is not believed.
 * Any thread; records are replaced whole.
 */
#include "catalog/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "catalog/new_file.h"

/* Five numbers of at most 20 digits, two sums, and the words. */
#define LINE_MAX_BYTES 320
#define NAME_BYTES 64

struct pc_file_identity pc__file_identity(const struct stat *facts)
{
	return (struct pc_file_identity){
		.device = facts->st_dev,
		.inode = facts->st_ino,
		.size_bytes = (uint64_t)facts->st_size,
		.mtime_ns = (int64_t)facts->st_mtim.tv_sec * 1000000000 + facts->st_mtim.tv_nsec,
		.ctime_ns = (int64_t)facts->st_ctim.tv_sec * 1000000000 + facts->st_ctim.tv_nsec,
	};
}

bool pc__file_identity_equal(const struct pc_file_identity *a, const struct pc_file_identity *b)
{
	return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static void name_record(const struct pc_file_identity *identity, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES, "%" PRIx64 "-%" PRIx64 ".verified", identity->device,
		 identity->inode);
}

/* The line up to the SHA-256; returns its length. */
static size_t print_identity(const struct pc_file_identity *identity, char out[LINE_MAX_BYTES])
{
	return (size_t)snprintf(out, LINE_MAX_BYTES,
				"poolcore-verified 1 %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64
				" %" PRId64 " ",
				identity->device, identity->inode, identity->size_bytes,
				identity->mtime_ns, identity->ctime_ns);
}

/* ---- reading ---- */

/* The file's text, NUL-terminated; -1 when there is none or it is not to be believed. */
static int read_line(int folder, const char *name, char line[LINE_MAX_BYTES], struct pc_error *why)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat facts;
	ssize_t got = -1;

	if (fd < 0) {
		if (errno != ENOENT)
			pc_error_sys(why, PC_E_IO, errno, "the record %s cannot be opened", name);
		return -1;
	}
	if (fstat(fd, &facts) || !S_ISREG(facts.st_mode) || facts.st_uid != geteuid() ||
	    (facts.st_mode & 022) != 0) {
		pc_error_set(why, PC_E_IO, "the record %s is not ours alone to write", name);
	} else {
		got = pread(fd, line, LINE_MAX_BYTES - 1, 0);
		if (got < 0)
			pc_error_sys(why, PC_E_IO, errno, "the record %s cannot be read", name);
	}
	close(fd);
	if (got < 0)
		return -1;
	line[got] = '\0';
	return 0;
}

/* Whether the line ends with the sum of what stands before it. */
static bool is_whole(const char *line)
{
	const size_t digits = PC__SHA256_TEXT - 1;
	size_t length = strlen(line);
	char sum[PC__SHA256_TEXT];

	if (length < 2 * digits + 2 || line[length - 1] != '\n')
		return false;
	length -= digits + 1;
	return pc__sha256_of(line, length, sum, NULL) == 0 &&
	       memcmp(line + length, sum, digits) == 0;
}

bool pc__record_find(const char *folder, const struct pc_file_identity *identity,
		     char out[PC__SHA256_TEXT], struct pc_error *why)
{
	char line[LINE_MAX_BYTES], wanted[LINE_MAX_BYTES], name[NAME_BYTES];
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	size_t length;

	if (fd < 0) {
		if (errno != ENOENT)
			pc_error_sys(why, PC_E_IO, errno, "%s cannot be opened", folder);
		return false;
	}
	name_record(identity, name);
	rc = read_line(fd, name, line, why);
	close(fd);
	if (rc)
		return false;
	if (!is_whole(line)) {
		pc_error_set(why, PC_E_IO, "the record %s is damaged", name);
		return false;
	}
	length = print_identity(identity, wanted);
	/* Whole, and of an earlier state of the file: nothing is wrong. */
	if (strncmp(line, wanted, length) != 0)
		return false;
	memcpy(out, line + length, PC__SHA256_TEXT - 1);
	out[PC__SHA256_TEXT - 1] = '\0';
	return true;
}

/* ---- writing ---- */

/* The folder, and those above it that are missing. */
static int make_folder(const char *folder, struct pc_error *err)
{
	char path[PATH_MAX];
	size_t length = strlen(folder);

	if (length >= sizeof(path))
		return pc_error_sys(err, PC_E_IO, ENAMETOOLONG,
				    "cannot make the folder of records");
	memcpy(path, folder, length + 1);
	for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		mkdir(path, 0700); /* what is wrong the last one says */
		*slash = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return pc_error_sys(err, PC_E_IO, errno, "cannot make the folder %s", folder);
	return 0;
}

static int put_line(const char *folder, const char *name, const char *line, size_t length,
		    struct pc_error *err)
{
	struct pc__new_file file = PC__NEW_FILE_INIT;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return pc_error_sys(err, PC_E_IO, errno, "cannot open the folder %s", folder);
	rc = pc__new_file_write(&file, fd, 0600, line, length, err);
	if (rc == 0)
		rc = pc__new_file_commit(&file, name, err);
	pc__new_file_fini(&file);
	close(fd);
	return rc;
}

int pc__record_keep(const char *folder, const struct pc_file_identity *identity,
		    const char sha256[PC__SHA256_TEXT], struct pc_error *err)
{
	char line[LINE_MAX_BYTES], name[NAME_BYTES], sum[PC__SHA256_TEXT];
	size_t length = print_identity(identity, line);
	int rc;

	length += (size_t)snprintf(line + length, sizeof(line) - length, "%s ", sha256);
	rc = pc__sha256_of(line, length, sum, err);
	if (rc == 0)
		rc = make_folder(folder, err);
	if (rc)
		return rc;
	length += (size_t)snprintf(line + length, sizeof(line) - length, "%s\n", sum);
	name_record(identity, name);
	return put_line(folder, name, line, length, err);
}
