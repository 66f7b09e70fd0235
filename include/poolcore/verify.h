/* SPDX-License-Identifier: MIT */
/*
 * verify.h - whether a model's file is the one that the catalog means: its size and its SHA-256,
 * told of an open file that is handed over, so that what was checked is what is used.
 */
#ifndef POOLCORE_VERIFY_H
#define POOLCORE_VERIFY_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

struct pc_model_entry;

/* A file in one state: who writes to it, or puts another one in its place, makes another identity.
 */
struct pc_file_identity {
	uint64_t device;
	uint64_t inode;
	uint64_t size_bytes;
	int64_t mtime_ns;
	int64_t ctime_ns;
};

/* Zero is the usual: hash the file, keep no record. */
struct pc_verify_options {
	/*
	 * The folder of records, made when it is not there (0700): what was hashed once and has not
	 * changed is not hashed again. NULL: none are read or written.
	 */
	const char *record_dir;
	bool rehash; /* believe no record; write one nevertheless */
	/* Called on the caller's thread after each MiB; false: give up. NULL: nobody wants to know.
	 */
	bool (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
	void *ctx;
};

struct pc_verified {
	int fd; /* the file, open for reading from its beginning; the caller closes it */
	struct pc_file_identity identity;
	char sha256[65];  /* lower-case hexadecimal */
	bool from_record; /* it was not hashed this time */
	bool compared;	  /* the catalog has a SHA-256, which is this one */
	char note[256];	  /* what was wrong with the record; "" usually */
};

/*
 * Opens the model's file once, checks its size and SHA-256 as far as the catalog says them, and
 * hands it over. A file of a repository is opened beneath the cache's folder: a symbolic link that
 * leads out of it is refused (the folder itself may be one). A record that cannot be read, trusted
 * or written is no failure, but said in `note`.
 *
 * Errors: MODEL_FILE_MISSING and MODEL_FILE_INVALID as pc_model_entry_check_file has them;
 * MODEL_FILE_INVALID too for another SHA-256 (with the details sha256 and expected_sha256), or when
 * it changed while it was read;
 * CANCELLED; IO; OUT_OF_MEMORY; INVALID_ARGUMENT. Nothing is left open after one. Any thread; it
 * blocks for as long as reading the file takes.
 */
PC_API int pc_model_verify(const struct pc_model_entry *entry,
			   const struct pc_verify_options *options,
			   struct pc_verified *ret_verified, struct pc_error *err);

/*
 * Whether the open file still is what was verified: MODEL_FILE_INVALID when it was written to, or
 * its place in the folder given to another file, since. Any thread.
 */
PC_API int pc_verified_check(const struct pc_verified *verified, struct pc_error *err);

PC_END_DECLS

#endif
