/* SPDX-License-Identifier: MIT */
/*
 * logbook.h - the last lines that a worker wrote, as UTF-8. Bounded in lines and in bytes; a
 * reference count keeps it alive while somebody reads it.
 */
#ifndef DAEMON_LOGBOOK_H
#define DAEMON_LOGBOOK_H

#include <stddef.h>
#include <stdint.h>

#define LOGBOOK_LINES 512
#define LOGBOOK_LINE_MAX 1024 /* a longer line is cut */

struct logbook;

struct logbook *logbook_create(void); /* NULL when out of memory */
struct logbook *logbook_ref(struct logbook *book);
void logbook_unref(struct logbook *book);

/*
 * Appends what was read from the worker's pipe; lines are split here. Calls `line` (may be NULL)
 * for each complete one. One writer at a time.
 */
void logbook_write(struct logbook *book, const char *data, size_t length,
		   void (*line)(void *ctx, const char *text), void *ctx);
/*
 * Appends `tail`, the end of all that the worker wrote as its stub kept it, if it has not been
 * written yet: the pipe holds 64 KiB, and a stub that ends does not wait until it is read. What
 * lies on both sides of the gap is written twice.
 */
void logbook_write_tail(struct logbook *book, const char *tail,
			void (*line)(void *ctx, const char *text), void *ctx);
/* The pipe has ended: an unfinished line counts as one. */
void logbook_finish(struct logbook *book, void (*line)(void *ctx, const char *text), void *ctx);
/* Visits the last `count` lines, oldest first, under the book's lock. Any thread. */
void logbook_read(struct logbook *book, size_t count, void (*visit)(void *ctx, const char *text),
		  void *ctx);
/* The last non-empty line, cut to fit; "" when there is none. */
void logbook_last(struct logbook *book, char *out, size_t size);

#endif
