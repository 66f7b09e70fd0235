/* SPDX-License-Identifier: MIT */
/* logbook.c - a ring of the last log lines of a worker. See logbook.h. */
#include "daemon/logbook.h"

#include <poolcore/base.h>
#include <poolcore/text.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Enough to tell whether two texts end in the same place. A guess. */
#define END_BYTES 64

struct logbook {
	_Atomic unsigned refs;
	pthread_mutex_t lock;
	char *lines[LOGBOOK_LINES]; /* [lock] */
	size_t next;		    /* [lock] where the next line goes */
	char partial[LOGBOOK_LINE_MAX];
	size_t partial_length;
	char end[END_BYTES]; /* of all that was written, as it came */
	size_t end_length;
};

struct logbook *logbook_create(void)
{
	struct logbook *book = pc_calloc(1, sizeof(*book));

	if (!book)
		return NULL;
	atomic_init(&book->refs, 1);
	pthread_mutex_init(&book->lock, NULL);
	return book;
}

struct logbook *logbook_ref(struct logbook *book)
{
	atomic_fetch_add_explicit(&book->refs, 1, memory_order_relaxed);
	return book;
}

void logbook_unref(struct logbook *book)
{
	/* Release by every holder, acquire by the last: it must see all they wrote before it frees.
	 */
	if (!book || atomic_fetch_sub_explicit(&book->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < LOGBOOK_LINES; i++)
		pc_free(book->lines[i]);
	pthread_mutex_destroy(&book->lock);
	pc_free(book);
}

/* Programs write what they like; what is kept is UTF-8 without NUL, because it ends in JSON. */
static void clean(char *text, size_t length)
{
	for (size_t done = 0; done < length; done++) {
		done += pc_utf8_valid_prefix(text + done, length - done);
		if (done < length)
			text[done] = '?';
	}
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\0')
			text[i] = '?';
	}
}

/* Moves the partial line into the ring; a line that cannot be allocated is lost. */
static void keep_line(struct logbook *book, void (*line)(void *ctx, const char *text), void *ctx)
{
	clean(book->partial, book->partial_length);

	char *text = pc_strndup(book->partial, book->partial_length);

	book->partial_length = 0;
	if (!text)
		return;
	if (line)
		line(ctx, text);
	pthread_mutex_lock(&book->lock);

	size_t slot = book->next % LOGBOOK_LINES;
	char *old = book->lines[slot];

	book->lines[slot] = text;
	book->next++;
	pthread_mutex_unlock(&book->lock);
	pc_free(old);
}

static void remember_end(struct logbook *book, const char *data, size_t length)
{
	size_t taken = length < END_BYTES ? length : END_BYTES;
	size_t room = END_BYTES - taken;
	size_t kept = book->end_length < room ? book->end_length : room;

	memmove(book->end, book->end + book->end_length - kept, kept);
	memcpy(book->end + kept, data + length - taken, taken);
	book->end_length = kept + taken;
}

void logbook_write(struct logbook *book, const char *data, size_t length,
		   void (*line)(void *ctx, const char *text), void *ctx)
{
	remember_end(book, data, length);
	while (length > 0) {
		const char *end = memchr(data, '\n', length);
		size_t piece = end ? (size_t)(end - data) : length;
		size_t room = sizeof(book->partial) - book->partial_length;
		size_t taken = piece < room ? piece : room;

		memcpy(book->partial + book->partial_length, data, taken);
		book->partial_length += taken;
		if (end)
			keep_line(book, line, ctx);
		data += piece + (end != NULL);
		length -= piece + (end != NULL);
	}
}

/* Whether what was written ends as `tail` does, in which a NUL is a '?'. */
static bool ends_with(const struct logbook *book, const char *tail)
{
	size_t length = strlen(tail);
	size_t wanted = length < END_BYTES ? length : END_BYTES;

	if (book->end_length < wanted)
		return false;
	for (size_t i = 1; i <= wanted; i++) {
		char c = book->end[book->end_length - i];

		if ((c ? c : '?') != tail[length - i])
			return false;
	}
	return true;
}

void logbook_write_tail(struct logbook *book, const char *tail,
			void (*line)(void *ctx, const char *text), void *ctx)
{
	static const char note[] =
		"\n[the end of the worker's output was not heard in time; it is:]\n";
	size_t skip = book->partial_length == 0;

	if (ends_with(book, tail))
		return;
	logbook_write(book, note + skip, strlen(note) - skip, line, ctx);
	logbook_write(book, tail, strlen(tail), line, ctx);
}

void logbook_finish(struct logbook *book, void (*line)(void *ctx, const char *text), void *ctx)
{
	if (book->partial_length > 0)
		keep_line(book, line, ctx);
}

void logbook_read(struct logbook *book, size_t count, void (*visit)(void *ctx, const char *text),
		  void *ctx)
{
	pthread_mutex_lock(&book->lock);

	size_t have = book->next < LOGBOOK_LINES ? book->next : LOGBOOK_LINES;
	size_t wanted = count < have ? count : have;

	for (size_t i = book->next - wanted; i < book->next; i++)
		visit(ctx, book->lines[i % LOGBOOK_LINES]);
	pthread_mutex_unlock(&book->lock);
}

void logbook_last(struct logbook *book, char *out, size_t size)
{
	out[0] = '\0';
	pthread_mutex_lock(&book->lock);
	for (size_t i = book->next, seen = 0; i > 0 && seen < LOGBOOK_LINES; seen++) {
		const char *text = book->lines[--i % LOGBOOK_LINES];

		if (text[0]) {
			snprintf(out, size, "%s", text);
			/* The cut may have gone through a character. */
			out[pc_utf8_valid_prefix(out, strlen(out))] = '\0';
			break;
		}
	}
	pthread_mutex_unlock(&book->lock);
}
