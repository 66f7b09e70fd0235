/* SPDX-License-Identifier: MIT */
/* open_model.h - opens a model's file and says why it cannot be. Inside the catalog only. */
#ifndef CATALOG_OPEN_MODEL_H
#define CATALOG_OPEN_MODEL_H

#include <poolcore/catalog.h>

#include <sys/stat.h>

struct pc__opened {
	int fd; /* for reading, non-blocking, close-on-exec; the caller closes it */
	struct stat facts;
	bool settled; /* a change from now on would show in the ctime: see verify.c */
};

/*
 * Opens the file, which must be regular, on a disk, and of the size that the catalog says. One of
 * a repository must lie beneath the cache's folder, symbolic links included. Errors as
 * pc_model_entry_check_file.
 */
int pc__model_open(const struct pc_model_entry *entry, struct pc__opened *ret_opened,
		   struct pc_error *err);

/* Sets the error "model "ID": the file PATH REASON; CURE", with its details; returns `code`. */
int pc__model_refuse(const struct pc_model_entry *entry, int code, int sys_errno,
		     const char *reason, const char *cure, struct pc_error *err);
/* What would right a file that is not what it should be: to `out`, which is returned. */
const char *pc__model_cure(const struct pc_model_entry *entry, const char *key, char out[512]);

#endif
