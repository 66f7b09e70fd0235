/* SPDX-License-Identifier: MIT */
/* open_model.h - opens a model's file and says why it cannot be. Inside the catalog only. */
#ifndef CATALOG_OPEN_MODEL_H
#define CATALOG_OPEN_MODEL_H

#include <poolcore/catalog.h>

#include <sys/stat.h>

/*
 * Opens the file, which must be regular and of the size that the catalog says. `beneath`: one of a
 * repository must lie beneath the cache's folder, symbolic links included. The caller closes it.
 * Errors as pc_model_entry_check_file.
 */
int pc__model_open(const struct pc_model_entry *entry, bool beneath, int *ret_fd,
			struct stat *ret_facts, struct pc_error *err);

#endif
