/* SPDX-License-Identifier: MIT */
/*
 * open_model.c - opens a model's file, and says what is wrong when it is not there as the catalog
 * says. It reads none of it. Any thread.
 */
#include "catalog/open_model.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "catalog/beneath.h"

/* O_NONBLOCK: opening a FIFO would wait for its writer. */
#define FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

/* `reason` is what follows "the file PATH ". */
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
	pc_error_set(err, PC_E_MODEL_FILE_MISSING, "model \"%s\": the file %s %s; %s", entry->id,
		     entry->path, reason, cure);
	if (err && err->code == PC_E_MODEL_FILE_MISSING)
		err->sys_errno = sys_errno;
	pc_error_detail(err, "model", "%s", entry->id);
	pc_error_detail(err, "path", "%s", entry->path);
	pc_error_detail(err, "reason", "%s", reason);
	return PC_E_MODEL_FILE_MISSING;
}

/*
 * The path of a repository's file is that of the cache's folder, "/REPO/FILE"; neither has "..", so
 * that the folder is found by its length.
 */
static int open_beneath_cache(const struct pc_model_entry *entry)
{
	size_t length = strlen(entry->path) - strlen(entry->repo) - strlen(entry->file) - 2;
	pc_auto(pc_free) char *folder = length ? pc_strndup(entry->path, length) : pc_strdup("/");
	int root, fd, saved;

	if (!folder) {
		errno = ENOMEM;
		return -1;
	}
	root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	fd = pc__open_beneath(root, entry->path + length + 1, FLAGS);
	saved = errno;
	close(root);
	errno = saved;
	return fd;
}

static int open_failed(const struct pc_model_entry *entry, int sys_errno, struct pc_error *err)
{
	char reason[160];

	if (sys_errno == ENOENT)
		return missing(entry, sys_errno, "does not exist", err);
	if (sys_errno == EXDEV)
		return missing(entry, sys_errno,
			       "leads out of the cache's folder by a symbolic link, which no model "
			       "of a repository may",
			       err);
	/* Says nothing about the file. */
	if (sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOMEM)
		return pc_error_sys(err, PC_E_IO, sys_errno,
				    "model \"%s\": cannot look at the file %s", entry->id,
				    entry->path);
	snprintf(reason, sizeof(reason), "cannot be read (%s)", strerror(sys_errno));
	return missing(entry, sys_errno, reason, err);
}

static int examine(const struct pc_model_entry *entry, int fd, struct stat *facts,
		   struct pc_error *err)
{
	char reason[160];

	if (fstat(fd, facts)) {
		int saved = errno;

		snprintf(reason, sizeof(reason), "cannot be examined (%s)", strerror(saved));
		return missing(entry, saved, reason, err);
	}
	if (!S_ISREG(facts->st_mode))
		return missing(entry, 0, "is not a regular file", err);
	if (entry->size_bytes && (uint64_t)facts->st_size != entry->size_bytes) {
		snprintf(reason, sizeof(reason),
			 "has %" PRIu64 " bytes and the catalog says %" PRIu64,
			 (uint64_t)facts->st_size, entry->size_bytes);
		return missing(entry, 0, reason, err);
	}
	return 0;
}

int pc__model_open(const struct pc_model_entry *entry, bool beneath, int *ret_fd,
			struct stat *ret_facts, struct pc_error *err)
{
	int fd = beneath && entry->repo[0] ? open_beneath_cache(entry)
					   : open(entry->path, FLAGS | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return open_failed(entry, errno, err);
	rc = examine(entry, fd, ret_facts, err);
	if (rc) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int pc_model_entry_check_file(const struct pc_model_entry *entry, struct pc_error *err)
{
	struct stat facts;
	int fd = -1, rc = pc__model_open(entry, false, &fd, &facts, err);

	if (rc == 0)
		close(fd);
	return rc;
}

int pc_model_entry_open(const struct pc_model_entry *entry, int *ret_fd, struct pc_error *err)
{
	struct stat facts;

	return pc__model_open(entry, true, ret_fd, &facts, err);
}
