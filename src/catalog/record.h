/* SPDX-License-Identifier: MIT */
/*
 * record.h - what a file's SHA-256 was when it was hashed last, so that it need not be again.
 * Inside the catalog only.
 */
#ifndef CATALOG_RECORD_H
#define CATALOG_RECORD_H

#include <poolcore/model_file.h>

#include <sys/stat.h>

#include "catalog/sha256.h"

struct pc_file_identity pc__file_identity(const struct stat *facts);
bool pc__file_identity_equal(const struct pc_file_identity *a, const struct pc_file_identity *b);

/*
 * The SHA-256 of a file in this state, from the folder of records. False when there is none; then
 * `why` (an error that is not set yet) says what was wrong, and stays unset when there just was no
 * record of this state.
 */
bool pc__record_find(const char *folder, const struct pc_file_identity *identity,
		     char out[PC__SHA256_TEXT], struct pc_error *why);

/* Keeps one; makes the folder where it is not. Errors: IO, OUT_OF_MEMORY, INTERNAL. */
int pc__record_keep(const char *folder, const struct pc_file_identity *identity,
		    const char sha256[PC__SHA256_TEXT], struct pc_error *err);

#endif
