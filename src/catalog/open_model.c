/* SPDX-License-Identifier: MIT */
/*
 * open_model.c - opens a model's file, and says what is wrong when it is not there as the catalog
 * says. It reads none of it. Any thread.
 *
 * What a path leads to is found first without opening it (O_PATH), and opened only if it is a
 * regular file of a disk: merely opening a tape rewinds it, a FIFO waits for its writer, and some
 * files of /proc and /sys do things. What was found is then opened through its descriptor, so that
 * no path is looked up a second time.
 */
#include "catalog/open_model.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "catalog/beneath.h"

/* ---- what is wrong ---- */

int pc__model_refuse(const struct pc_model_entry *entry, int code, int sys_errno,
		     const char *reason, const char *cure, struct pc_error *err)
{
	pc_error_set(err, code, "model \"%s\": the file %s %s; %s", entry->id, entry->path, reason,
		     cure);
	if (err && err->code == code)
		err->sys_errno = sys_errno;
	pc_error_detail(err, "model", "%s", entry->id);
	pc_error_detail(err, "path", "%s", entry->path);
	pc_error_detail(err, "reason", "%s", reason);
	return code;
}

const char *pc__model_cure(const struct pc_model_entry *entry, const char *key, char out[512])
{
	if (entry->repo[0])
		snprintf(out, 512, "download it again from the repository %s", entry->repo);
	else
		snprintf(out, 512, "put the right one there");
	snprintf(out + strlen(out), 512 - strlen(out), ", or correct \"%s\" at %.180s:%u", key,
		 entry->source_file, entry->source_line);
	return out;
}

static int missing(const struct pc_model_entry *entry, int sys_errno, const char *reason,
		   struct pc_error *err)
{
	char cure[256];

	if (entry->repo[0])
		snprintf(cure, sizeof(cure), "download it from the repository %s to that path",
			 entry->repo);
	else
		snprintf(cure, sizeof(cure), "put it there, or correct \"file\" at %.180s:%u",
			 entry->source_file, entry->source_line);
	return pc__model_refuse(entry, PC_E_MODEL_FILE_MISSING, sys_errno, reason, cure, err);
}

static int no_model(const struct pc_model_entry *entry, const char *reason, struct pc_error *err)
{
	char cure[512];

	return pc__model_refuse(entry, PC_E_MODEL_FILE_INVALID, 0, reason,
				pc__model_cure(entry, "file", cure), err);
}

static int leads_out(const struct pc_model_entry *entry, struct pc_error *err)
{
	return pc__model_refuse(entry, PC_E_MODEL_FILE_INVALID, EXDEV,
				"leads out of the cache's folder by a symbolic link, which no "
				"model of a repository may",
				"put the file itself there, or name where it is in a model "
				"without \"repo\"",
				err);
}

static int open_failed(const struct pc_model_entry *entry, int sys_errno, struct pc_error *err)
{
	char reason[160];

	if (sys_errno == ENOENT)
		return missing(entry, sys_errno, "does not exist", err);
	if (sys_errno == EXDEV)
		return leads_out(entry, err);
	/* Says nothing about the file. */
	if (sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOMEM)
		return pc_error_sys(err, PC_E_IO, sys_errno,
				    "model \"%s\": cannot look at the file %s", entry->id,
				    entry->path);
	snprintf(reason, sizeof(reason), "cannot be read (%s)", strerror(sys_errno));
	return missing(entry, sys_errno, reason, err);
}

/* ---- finding ---- */

/*
 * The path of a repository's file is that of the cache's folder, "/REPO/FILE" or
 * "/REPO@REVISION/FILE"; none of them has "..", so that the folder is found by its length.
 */
static int find_beneath_cache(const struct pc_model_entry *entry)
{
	size_t revision = entry->revision[0] ? strlen(entry->revision) + 1 : 0;
	size_t inside = strlen(entry->repo) + revision + strlen(entry->file) + 2;
	size_t length = strlen(entry->path) - inside;
	pc_auto(pc_free) char *folder = length ? pc_strndup(entry->path, length) : pc_strdup("/");
	int root, fd, saved;

	if (!folder) {
		errno = ENOMEM;
		return -1;
	}
	root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	fd = pc__open_beneath(root, entry->path + length + 1, O_PATH);
	saved = errno;
	close(root);
	errno = saved;
	return fd;
}

/* File systems whose "regular files" are the kernel speaking: statfs(2), linux/magic.h. */
static bool is_pseudo(int fd)
{
	static const unsigned long pseudo[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC,	      DEBUGFS_MAGIC,	   TRACEFS_MAGIC,
		SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SELINUX_MAGIC,
		PSTOREFS_MAGIC,	  EFIVARFS_MAGIC,     BPF_FS_MAGIC,
	};
	struct statfs facts;

	if (fstatfs(fd, &facts))
		return false;
	for (size_t i = 0; i < PC_ARRAY_LEN(pseudo); i++) {
		if ((unsigned long)facts.f_type == pseudo[i])
			return true;
	}
	return false;
}

static int examine(const struct pc_model_entry *entry, int fd, struct stat *facts,
		   struct pc_error *err)
{
	char reason[160], cure[512];

	if (fstat(fd, facts)) {
		int saved = errno;

		snprintf(reason, sizeof(reason), "cannot be examined (%s)", strerror(saved));
		return missing(entry, saved, reason, err);
	}
	/* Found by a kernel without openat2, which follows none. */
	if (S_ISLNK(facts->st_mode))
		return leads_out(entry, err);
	if (!S_ISREG(facts->st_mode))
		return no_model(entry, "is not a regular file", err);
	if (is_pseudo(fd))
		return no_model(entry, "is one of the kernel's, as in /proc, and no file of a disk",
				err);
	if (entry->size_bytes == 0 || (uint64_t)facts->st_size == entry->size_bytes)
		return 0;
	snprintf(reason, sizeof(reason), "has %" PRIu64 " bytes and the catalog says %" PRIu64,
		 (uint64_t)facts->st_size, entry->size_bytes);
	pc__model_refuse(entry, PC_E_MODEL_FILE_INVALID, 0, reason,
			 pc__model_cure(entry, "size", cure), err);
	pc_error_detail(err, "size_bytes", "%" PRIu64, (uint64_t)facts->st_size);
	pc_error_detail(err, "expected_size_bytes", "%" PRIu64, entry->size_bytes);
	return PC_E_MODEL_FILE_INVALID;
}

/* ---- opening ---- */

/* Opens what was found; closes `found`. -1 with errno. */
static int open_found(int found)
{
	char path[32];
	int fd, saved;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	saved = errno;
	close(found);
	errno = saved;
	return fd;
}

int pc__model_open(const struct pc_model_entry *entry, struct pc__opened *ret_opened,
		   struct pc_error *err)
{
	int found = entry->repo[0] ? find_beneath_cache(entry)
				   : open(entry->path, O_PATH | O_CLOEXEC);
	struct pc__opened opened = { .fd = -1 };
	struct timespec tick = { 0, 0 };
	int rc;

	if (found < 0)
		return open_failed(entry, errno, err);
	clock_gettime(CLOCK_REALTIME_COARSE, &tick);
	rc = examine(entry, found, &opened.facts, err);
	if (rc) {
		close(found);
		return rc;
	}
	opened.fd = open_found(found);
	if (opened.fd < 0 && errno == ENOENT)
		return pc_error_sys(err, PC_E_IO, ENOENT,
				    "model \"%s\": cannot open the file %s: /proc is not mounted",
				    entry->id, entry->path);
	if (opened.fd < 0)
		return open_failed(entry, errno, err);
	opened.settled = opened.facts.st_ctim.tv_sec < tick.tv_sec ||
			 (opened.facts.st_ctim.tv_sec == tick.tv_sec &&
			  opened.facts.st_ctim.tv_nsec < tick.tv_nsec);
	*ret_opened = opened;
	return 0;
}

int pc_model_entry_check_file(const struct pc_model_entry *entry, struct pc_error *err)
{
	int fd = -1, rc = pc_model_entry_open(entry, &fd, err);

	if (rc == 0)
		close(fd);
	return rc;
}

int pc_model_entry_open(const struct pc_model_entry *entry, int *ret_fd, struct pc_error *err)
{
	struct pc__opened opened = { .fd = -1 };
	int rc;

	if (!entry || !ret_fd)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a model and a place for its descriptor are needed");
	rc = pc__model_open(entry, &opened, err);
	if (rc == 0)
		*ret_fd = opened.fd;
	return rc;
}
