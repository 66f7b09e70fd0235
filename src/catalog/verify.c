/* SPDX-License-Identifier: MIT */
/*
 * verify.c - hashes a model's file, or finds that it was and has not changed, and compares it with
 * the catalog. The file is open already. Runs on the caller's thread for as long as that takes.
 *
 * Why an unchanged identity means unchanged bytes: whoever writes to a file changes its ctime,
 * which nobody can set. But the kernel's clock for it ticks every few milliseconds, and a file that
 * was changed in the present tick can be changed again without a trace. So a record is only kept of
 * a file whose ctime lay before the tick in which it was opened to be hashed; and the identity must
 * be the same after the hashing as before. What stays possible is a writer with the file mapped
 * into its memory, whose changes get their time late; see docs/decisions/0015.
 */
#include "catalog/verify.h"

#include <poolcore/catalog.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "catalog/open_model.h"
#include "catalog/record.h"

/* Between two calls of progress. A guess; change freely. */
#define BLOCK_BYTES ((size_t)1 << 20)

struct job {
	const struct pc_model_entry *entry;
	const struct pc_verify_options *options;
	struct pc_model_file *file;
	bool settled; /* a change from now on would show in the identity */
	struct pc_error *err;
};

/* ---- hashing ---- */

static int changed(const struct pc_model_entry *entry, struct pc_error *err)
{
	pc_error_set(err, PC_E_MODEL_FILE_INVALID,
		     "model \"%s\": the file %s changed while it was read; verify it again when "
		     "nobody writes to it",
		     entry->id, entry->path);
	pc_error_detail(err, "model", "%s", entry->id);
	pc_error_detail(err, "path", "%s", entry->path);
	return PC_E_MODEL_FILE_INVALID;
}

/* The file's next block; 0 bytes before its end mean that it has become shorter. */
static int read_block(const struct job *job, uint64_t at, void *block, size_t *ret_bytes)
{
	uint64_t left = job->file->identity.size_bytes - at;
	size_t wanted = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
	ssize_t got;

	do {
		got = pread(job->file->fd, block, wanted, (off_t)at);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return pc_error_sys(job->err, PC_E_IO, errno,
				    "model \"%s\": cannot read the file %s at byte %" PRIu64,
				    job->entry->id, job->entry->path, at);
	if (got == 0)
		return changed(job->entry, job->err);
	*ret_bytes = (size_t)got;
	return 0;
}

static int hash_blocks(const struct job *job, struct pc__sha256 *sum, void *block)
{
	const struct pc_verify_options *options = job->options;
	uint64_t total = job->file->identity.size_bytes;
	size_t bytes = 0;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < total; at += bytes) {
		rc = read_block(job, at, block, &bytes);
		if (rc == 0)
			rc = pc__sha256_add(sum, block, bytes, job->err);
		if (rc)
			return rc;
		if (options->progress && !options->progress(options->ctx, at + bytes, total))
			return pc_error_set(job->err, PC_E_CANCELLED,
					    "model \"%s\": verifying was cancelled after %" PRIu64
					    " of %" PRIu64 " bytes",
					    job->entry->id, at + bytes, total);
	}
	return rc;
}

static int check_unchanged(const struct job *job)
{
	struct pc_file_identity now;
	struct stat facts;

	if (fstat(job->file->fd, &facts))
		return pc_error_sys(job->err, PC_E_IO, errno, "cannot examine the file %s",
				    job->entry->path);
	now = pc__file_identity(&facts);
	return pc__file_identity_equal(&now, &job->file->identity) ? 0
								   : changed(job->entry, job->err);
}

static int hash(struct job *job)
{
	pc_auto(pc_free) void *block = pc_malloc(BLOCK_BYTES);
	struct pc__sha256 *sum;
	int rc;

	if (!block)
		return pc_error_oom(job->err);
	rc = pc__sha256_create(&sum, job->err);
	if (rc)
		return rc;
	(void)posix_fadvise(job->file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	rc = hash_blocks(job, sum, block);
	if (rc == 0)
		rc = pc__sha256_finish(sum, job->file->sha256, job->err);
	pc__sha256_destroy(sum);
	return rc ? rc : check_unchanged(job);
}

/* ---- records ---- */

static void note(struct job *job, const struct pc_error *why)
{
	size_t length = strlen(job->file->note);

	snprintf(job->file->note + length, sizeof(job->file->note) - length, "%s%.200s",
		 length ? "; " : "", why->message);
	length = strlen(job->file->note);
	job->file->note[pc__utf8_valid_prefix(job->file->note, length)] = '\0';
}

static bool find_record(struct job *job)
{
	struct pc_error why = PC_ERROR_INIT;

	if (!job->options->record_dir || job->options->rehash)
		return false;
	if (pc__record_find(job->options->record_dir, &job->file->identity, job->file->sha256,
			    &why))
		return true;
	if (why.code)
		note(job, &why);
	return false;
}

static void keep_record(struct job *job)
{
	struct pc_error why = PC_ERROR_INIT;

	if (!job->options->record_dir || !job->settled)
		return;
	if (pc__record_keep(job->options->record_dir, &job->file->identity, job->file->sha256,
			    &why))
		note(job, &why);
}

/* ---- the whole ---- */

static int compare(const struct job *job)
{
	const struct pc_model_entry *entry = job->entry;
	char cure[512];

	if (!entry->sha256[0] || strcmp(entry->sha256, job->file->sha256) == 0)
		return 0;
	pc_error_set(job->err, PC_E_MODEL_FILE_INVALID,
		     "model \"%s\": the file %s has the SHA-256 %s and the catalog says %s; %s",
		     entry->id, entry->path, job->file->sha256, entry->sha256,
		     pc__model_cure(entry, "sha256", cure));
	pc_error_detail(job->err, "model", "%s", entry->id);
	pc_error_detail(job->err, "path", "%s", entry->path);
	pc_error_detail(job->err, "sha256", "%s", job->file->sha256);
	pc_error_detail(job->err, "expected_sha256", "%s", entry->sha256);
	return PC_E_MODEL_FILE_INVALID;
}

int pc__verify_file(const struct pc_model_entry *entry, const struct pc_verify_options *options,
		    bool settled, struct pc_model_file *file, struct pc_error *err)
{
	struct job job = {
		.entry = entry,
		.options = options,
		.file = file,
		.settled = settled,
		.err = err,
	};
	int rc = 0;

	file->from_record = find_record(&job);
	if (!file->from_record) {
		rc = hash(&job);
		/* Also of a file that is another one than it should be: it need not be hashed again
		 * to be refused again. */
		if (rc == 0)
			keep_record(&job);
	}
	return rc ? rc : compare(&job);
}
