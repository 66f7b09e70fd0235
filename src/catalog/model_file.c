/* SPDX-License-Identifier: MIT */
/*
 * model_file.c - what is checked of a model's file before a worker may have it, and what may have
 * happened to it since. Opening is open_model.c's, hashing verify.c's. Any thread.
 *
 * Between the look and the hand-over there is time: the worker's record is written, another job
 * comes first. So the identity of the file is kept and compared again at the end; and a worker that
 * gets the open descriptor instead of the path cannot be given another file at all. What a file's
 * owner writes into it after that, the worker reads: see docs/decisions/0017.
 */
#include <poolcore/model_file.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "catalog/open_model.h"
#include "catalog/record.h"
#include "catalog/verify.h"

/* ---- what it is ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), wanted = strlen(end);

	return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

/* "x-00001-of-00003.gguf": llama.cpp looks for the other parts under names like it, beside it, and
 * takes no other names for parts. */
static bool is_named_a_part(const char *path)
{
	static const char pattern[] = "-00000-of-00000.gguf";
	size_t length = strlen(path), wanted = sizeof(pattern) - 1;

	if (length < wanted)
		return false;
	path += length - wanted;
	for (size_t i = 0; i < wanted; i++) {
		bool fits = pattern[i] == '0' ? path[i] >= '0' && path[i] <= '9'
					      : path[i] == pattern[i];

		if (!fits)
			return false;
	}
	return true;
}

static int look_inside(const struct pc_model_entry *entry, const struct pc__opened *opened,
		       struct pc_error *err)
{
	unsigned char magic[4] = { 0 };
	char reason[128], cure[512];
	ssize_t got;

	if (opened->facts.st_size == 0)
		return pc__model_refuse(entry, PC_E_MODEL_FILE_INVALID, 0, "is empty",
					pc__model_cure(entry, "file", cure), err);
	if (!ends_with(entry->path, ".gguf"))
		return 0;
	do {
		got = pread(opened->fd, magic, sizeof(magic), 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return pc_error_sys(err, PC_E_IO, errno, "model \"%s\": cannot read the file %s",
				    entry->id, entry->path);
	if (memcmp(magic, "GGUF", sizeof(magic)) == 0)
		return 0;
	snprintf(reason, sizeof(reason),
		 "is no GGUF file: it begins with the bytes %02x%02x%02x%02x, and one with "
		 "47475546",
		 magic[0], magic[1], magic[2], magic[3]);
	return pc__model_refuse(entry, PC_E_MODEL_FILE_INVALID, 0, reason,
				pc__model_cure(entry, "file", cure), err);
}

/* ---- opening ---- */

/* Fills in what `file` says of the opened file; after an error it still has to be closed. */
static int take(const struct pc_model_entry *entry, const struct pc_verify_options *options,
		const struct pc__opened *opened, struct pc_model_file *file, struct pc_error *err)
{
	int rc = look_inside(entry, opened, err);

	if (rc)
		return rc;
	file->model_id = pc_strdup(entry->id);
	file->path = pc_strdup(entry->path);
	if (!file->model_id || !file->path)
		return pc_error_oom(err);
	file->identity = pc__file_identity(&opened->facts);
	file->is_part = is_named_a_part(entry->path);
	file->is_whole = ends_with(entry->path, ".gguf") && !file->is_part;
	if (!entry->sha256[0] && !options->hash_all)
		return 0;
	return pc__verify_file(entry, options, opened->settled, file, err);
}

int pc_model_file_open(const struct pc_model_entry *entry, const struct pc_verify_options *options,
		       struct pc_model_file *ret_file, struct pc_error *err)
{
	struct pc_model_file file = { .fd = -1 };
	struct pc__opened opened;
	int rc;

	if (!entry || !options || !ret_file)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a model, options and a place for its file are needed");
	rc = pc__model_open(entry, &opened, err);
	if (rc)
		return rc;
	file.fd = opened.fd;
	rc = take(entry, options, &opened, &file, err);
	if (rc) {
		pc_model_file_close(&file);
		return rc;
	}
	*ret_file = file;
	return 0;
}

void pc_model_file_close(struct pc_model_file *file)
{
	if (!file)
		return;
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	pc_free(pc_steal(&file->model_id));
	pc_free(pc_steal(&file->path));
}

/* ---- what happened since ---- */

static int changed(const struct pc_model_file *file, const char *change, const char *sentence,
		   struct pc_error *err)
{
	pc_error_set(err, PC_E_MODEL_FILE_INVALID,
		     "model \"%s\": the file %s %s after it was checked; check it again",
		     file->model_id, file->path, sentence);
	pc_error_detail(err, "model", "%s", file->model_id);
	pc_error_detail(err, "path", "%s", file->path);
	pc_error_detail(err, "change", "%s", change);
	return PC_E_MODEL_FILE_INVALID;
}

/* What the path names now. */
static int check_place(const struct pc_model_file *file, struct pc_error *err)
{
	struct stat facts;

	if (stat(file->path, &facts)) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return changed(file, "deleted", "was deleted or moved away", err);
		return pc_error_sys(err, PC_E_IO, errno,
				    "model \"%s\": cannot look at the file %s again",
				    file->model_id, file->path);
	}
	if (facts.st_dev != file->identity.device || facts.st_ino != file->identity.inode)
		return changed(file, "replaced", "was replaced by another one", err);
	return 0;
}

/* What became of the open file. */
static int check_state(const struct pc_model_file *file, struct pc_error *err)
{
	const struct pc_file_identity *then = &file->identity;
	struct pc_file_identity now;
	struct stat facts;
	char sentence[128];

	if (fstat(file->fd, &facts))
		return pc_error_sys(err, PC_E_IO, errno, "model \"%s\": cannot examine the file %s",
				    file->model_id, file->path);
	now = pc__file_identity(&facts);
	snprintf(sentence, sizeof(sentence), "%s from %" PRIu64 " to %" PRIu64 " bytes",
		 now.size_bytes < then->size_bytes ? "was truncated" : "has grown",
		 then->size_bytes, now.size_bytes);
	if (now.size_bytes < then->size_bytes)
		return changed(file, "truncated", sentence, err);
	if (now.size_bytes > then->size_bytes)
		return changed(file, "grown", sentence, err);
	if (now.mtime_ns != then->mtime_ns)
		return changed(file, "written", "was written to", err);
	if (now.ctime_ns != then->ctime_ns)
		return changed(file, "touched",
			       "was changed (its mode, its links, or its bytes with the time set "
			       "back)",
			       err);
	return 0;
}

int pc_model_file_check(const struct pc_model_file *file, struct pc_error *err)
{
	int rc;

	if (!file || file->fd < 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "an open model file is needed");
	rc = check_place(file, err);
	return rc ? rc : check_state(file, err);
}
