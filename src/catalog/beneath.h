/* SPDX-License-Identifier: MIT */
/*
 * beneath.h - opens a file that must lie beneath a folder, whatever symbolic links are on the way.
 * Inside the catalog only.
 */
#ifndef CATALOG_BENEATH_H
#define CATALOG_BENEATH_H

/*
 * Opens `path`, which is relative, beneath the open folder. Returns the descriptor, or -1 with
 * errno: EXDEV when the path leads out of the folder. O_CLOEXEC is added to `flags`.
 */
int pc__open_beneath(int folder, const char *path, int flags);

/* The same for kernels before Linux 5.6 or sandboxes without openat2(2): there no symbolic link is
 * followed at all (EXDEV). */
int pc__open_beneath_stepwise(int folder, const char *path, int flags);

#endif
