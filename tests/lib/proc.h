/* SPDX-License-Identifier: MIT */
/*
 * proc.h - programs under test: start one, wait for a line of its log, signal it, collect its end.
 *
 * Nothing here sleeps: every wait is for an event, with a deadline (TEST_DEADLINE_MS in the
 * environment, 60 s otherwise) that only a hang reaches. A call that cannot do its work fails the
 * running cmocka test and prints the program's log, so that scenarios read straight down. TEST_LOG
 * in the environment prints all of it as it comes. Call these functions from the test's thread.
 */
#ifndef TESTS_LIB_PROC_H
#define TESTS_LIB_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc;

/* The absolute time (CLOCK_MONOTONIC, ms) at which a wait that starts now gives up. */
int64_t test_deadline_ms(void);
/* What is left until then, for poll(2); 0 when it has passed. */
int test_remaining_ms(int64_t deadline_ms);

/*
 * Starts argv[0] (a path) with our environment and the further "KEY=VALUE" strings of `env` (may be
 * NULL). Standard input is /dev/null; output and error go to one log that is always being read, so
 * that the program never blocks on it. It dies with us.
 */
struct proc *proc_start(const char *const argv[], const char *const env[]);
pid_t proc_pid(const struct proc *proc);

/*
 * Waits for the next line that contains `text`: lines that an earlier call returned or passed over
 * are not looked at again. The line stays valid until proc_free. Fails when the log ends first.
 */
const char *proc_wait_line(struct proc *proc, const char *text);
/*
 * Whether any line that has been read so far contains `text`. What the program wrote last may still
 * be in the pipe: to see that something was said, wait for it. This is for what must not have been
 * said, and for a program that has ended.
 */
bool proc_has_line(struct proc *proc, const char *text);
/* The last line, once the program has ended. */
const char *proc_last_line(struct proc *proc);

void proc_signal(struct proc *proc, int signal);
/* Waits for the end. The exit status, or 128 + the signal that ended it. */
int proc_wait(struct proc *proc);
/* Kills what still runs, collects it and frees. NULL is allowed. */
void proc_free(struct proc *proc);
/* proc_free for all that are left: a cmocka teardown. Fails when a sanitizer complained in any of
 * the test's programs. */
int proc_free_all(void **state);

/*
 * A fresh directory under $TMPDIR, and its removal with everything in it. Daemons and stubs that
 * name something in it on their command lines are ended by the removal, and at the latest with this
 * program, see guard.h.
 */
char *test_dir_make(void); /* free(3) it */
void test_dir_remove(const char *path);
/* Writes `text` to dir/name; returns the path, free(3) it. */
char *test_file_write(const char *dir, const char *name, const char *text);

#endif
