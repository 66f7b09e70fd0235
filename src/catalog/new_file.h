/* SPDX-License-Identifier: MIT */
/*
 * new_file.h - a file that takes another one's place in one step, whole or not at all. Inside the
 * catalog only.
 */
#ifndef CATALOG_NEW_FILE_H
#define CATALOG_NEW_FILE_H

#include <poolcore/error.h>

#include <sys/types.h>

/* Written, synchronised, and not yet in its place. */
struct pc__new_file {
	int folder; /* borrowed */
	int fd;	    /* -1: there is none */
	char name[256];
};

#define PC__NEW_FILE_INIT \
	{ \
		.fd = -1 \
	}

/*
 * Writes `length` bytes into a new file of the open folder, beside the one that it is to replace,
 * and waits until they are on the disk. `mode` is taken whole, whatever the umask. Errors: IO;
 * then nothing is left behind.
 */
int pc__new_file_write(struct pc__new_file *file, int folder, mode_t mode, const void *data,
		       size_t length, struct pc_error *err);
/* Gives it to this owner and group, unless it is theirs. Errors: IO. */
int pc__new_file_own(struct pc__new_file *file, uid_t owner, gid_t group, struct pc_error *err);
/* Puts it in the place of `name` in the same folder, and waits for the disk. Errors: IO. */
int pc__new_file_commit(struct pc__new_file *file, const char *name, struct pc_error *err);
/* Removes it, unless it was committed. */
void pc__new_file_fini(struct pc__new_file *file);

#endif
