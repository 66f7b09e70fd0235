/* SPDX-License-Identifier: MIT */
/* verify.h - verifies a model's file that is open already. Inside the catalog only. */
#ifndef CATALOG_VERIFY_H
#define CATALOG_VERIFY_H

#include <poolcore/model_file.h>

/*
 * Hashes the file of file->fd, which was in the state file->identity when it was opened, or finds a
 * record of it, and compares it with the catalog if that has a SHA-256. Fills in the file's sha256,
 * from_record and note. `settled`: as pc__model_open says. Errors as pc_model_file_open; the file
 * stays open.
 */
int pc__verify_file(const struct pc_model_entry *entry, const struct pc_verify_options *options,
		    bool settled, struct pc_model_file *file, struct pc_error *err);

#endif
