/* SPDX-License-Identifier: MIT */
/* exit_text.h - sentences about how a process ended or why none began. Shared with pool-stub. */
#ifndef LIFECYCLE_EXIT_TEXT_H
#define LIFECYCLE_EXIT_TEXT_H

#include <poolcore/types.h>

#include <signal.h>

/* Fills code or signal, and reason, from what waitid(2) said of an exit. */
void pc__exit_describe(const siginfo_t *info, struct pc_worker_exit *how);

/* What to add to a failed exec of a program where errno alone would puzzle: "" or " (...)". */
const char *pc__spawn_hint(const char *program, int failure);

#endif
