/* SPDX-License-Identifier: MIT */
/*
 * list.h - a circular list whose links live inside the members, as in the Linux kernel. A link that
 * is on no list points at itself, so that removing twice does no harm. Inside http/ only.
 */
#ifndef HTTP_LIST_H
#define HTTP_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct http__link {
	struct http__link *next;
	struct http__link *prev;
};

/* The structure of type `type` whose member `member` is at `pointer`. */
#define http__container(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void http__link_init(struct http__link *link)
{
	link->next = link->prev = link;
}

static inline bool http__link_alone(const struct http__link *link)
{
	return link->next == link;
}

static inline void http__link_remove(struct http__link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	http__link_init(link);
}

/* Puts `link`, which is on no list, in front of `where`; the head of a list means its end. */
static inline void http__link_before(struct http__link *where, struct http__link *link)
{
	link->next = where;
	link->prev = where->prev;
	where->prev->next = link;
	where->prev = link;
}

static inline void http__link_append(struct http__link *list, struct http__link *link)
{
	http__link_before(list, link);
}

static inline void http__link_prepend(struct http__link *list, struct http__link *link)
{
	http__link_before(list->next, link);
}

/* Moves all members of `from` to the empty list `to`. */
static inline void http__link_take_all(struct http__link *to, struct http__link *from)
{
	if (http__link_alone(from)) {
		http__link_init(to);
		return;
	}
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	http__link_init(from);
}

#endif
