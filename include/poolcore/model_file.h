/* SPDX-License-Identifier: MIT */
/*
 * model_file.h - a model's file on its way from the catalog to a worker: opened once, looked at,
 * verified, and watched until it is handed over. What was checked is what the worker gets.
 *
 *	struct pc_model_file file;
 *	int rc = pc_model_file_open(entry, &options, &file, err);
 *
 *	... later, and perhaps on another thread, before the worker is spawned:
 *	rc = pc_model_file_check(&file, err);
 */
#ifndef POOLCORE_MODEL_FILE_H
#define POOLCORE_MODEL_FILE_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

struct pc_model_entry;

/* A file in one state: who writes to it, or puts another one in its place, makes another
 * identity. */
struct pc_file_identity {
	uint64_t device;
	uint64_t inode;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

/* Zero is the usual: hash what the catalog has a SHA-256 of, keep no record. */
struct pc_verify_options {
	/*
	 * The folder of records, made when it is not there (0700): what was hashed once and has not
	 * changed is not hashed again. NULL: none are read or written.
	 */
	const char *record_dir;
	bool hash_all; /* also what the catalog has no SHA-256 of */
	bool rehash;   /* believe no record; write one nevertheless */
	/* Called on the caller's thread after each MiB; false: give up. NULL: nobody wants to know.
	 */
	bool (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
	void *ctx;
};

struct pc_model_file {
	int fd; /* open for reading from its beginning, close-on-exec */
	char *model_id;
	char *path; /* the catalog's */
	struct pc_file_identity identity;
	char sha256[65];  /* lower-case hexadecimal; "" when there was no reason to hash it */
	bool from_record; /* it was not hashed this time */
	bool is_whole;	  /* one GGUF file, which is all of the model */
	bool is_part;	  /* one of several GGUF files, by its name */
	char note[256];	  /* what was wrong with the record; "" usually */
};

/*
 * Opens the model's file and looks at it: a regular file of a disk, not empty, of the catalog's
 * size if that says one; beginning as a GGUF file if it is called *.gguf; and, if the catalog has a
 * SHA-256, with that one. It is hashed only when no record says that it was and has not changed
 * since; `options` say where records are, and who hears of the progress and may cancel. A record
 * that cannot be read, trusted or written is no failure, but said in `note`.
 *
 * A file of a repository is opened beneath the cache's folder, wherever symbolic links lead; that
 * of a model without a repository is where the administrator wrote that it is, links included.
 * Devices, FIFOs and the kernel's own files are not opened at all.
 *
 * Errors: MODEL_FILE_MISSING (not there, or not readable); MODEL_FILE_INVALID (not what it should
 * be, with what it is, what it should be and what would right it; another SHA-256 with the details
 * sha256 and expected_sha256; or it changed while it was read); CANCELLED; IO; OUT_OF_MEMORY;
 * INVALID_ARGUMENT. Nothing is left open after one. Any thread; blocks while the file is read.
 */
PC_API int pc_model_file_open(const struct pc_model_entry *entry,
			      const struct pc_verify_options *options,
			      struct pc_model_file *ret_file, struct pc_error *err);

/*
 * Whether it still is as it was opened, and still what its path names. MODEL_FILE_INVALID with what
 * happened to it, also as the detail "change": deleted, replaced, truncated, grown, written or
 * touched (only its ctime tells: its mode, its links, or its bytes with the old mtime). IO. It
 * opens nothing and reads none of it. Any thread, while nobody closes it.
 */
PC_API int pc_model_file_check(const struct pc_model_file *file, struct pc_error *err);

/* Closes it and frees its strings. NULL and what is closed already are allowed. */
PC_API void pc_model_file_close(struct pc_model_file *file);

PC_END_DECLS

#endif
