/* SPDX-License-Identifier: MIT */
/*
 * guard.h - no worker outlives the test program that caused it. A worker's stub is made to outlive
 * its daemon, so that a test which fails half-way, crashes or is killed would leave both behind for
 * ever, with whatever memory and ports they hold.
 */
#ifndef TESTS_LIB_GUARD_H
#define TESTS_LIB_GUARD_H

/*
 * From now on, and until this process has ended, however it ends: the daemons and stubs whose
 * command lines name `dir` or something below it are ended with it. At exit(3) they are gone before
 * the process is; when it is killed, a watcher, which is no child of ours, does it shortly
 * afterwards. One directory per process, which should be a fresh one: call it once, before there
 * are threads. 0, or -1 with errno.
 */
int guard_start(const char *dir);

/* Ends those that name `path` or something below it now, and returns when they are gone. */
void guard_sweep(const char *path);

#endif
