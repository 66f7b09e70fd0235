/* SPDX-License-Identifier: MIT */
/*
 * roster.h - the records of workers, found by the brain's number or by name: those that live, and
 * the last few that departed. It owns the records. No lock of its own: the body's is held around
 * every call.
 */
#ifndef DAEMON_ROSTER_H
#define DAEMON_ROSTER_H

#include <stddef.h>
#include <stdint.h>

struct worker;

/* Workers are numbered in a row, so that the low bits spread them evenly. */
#define ROSTER_BUCKETS 256
/* How many departed workers are remembered, for their logs and last exits. */
#define ROSTER_DEPARTED_MAX 32

struct roster {
	struct worker *buckets[ROSTER_BUCKETS];
	struct worker *departed; /* the last one first */
};

void roster_add(struct roster *roster, struct worker *worker);
/* A living worker; NULL when there is none. */
struct worker *roster_find(const struct roster *roster, uint64_t id);
/* A departed one too. */
struct worker *roster_find_any(const struct roster *roster, uint64_t id);
/* Any worker. */
struct worker *roster_find_named(const struct roster *roster, const char *worker_id);
/* It is gone: moves to the departed, of which the oldest may be forgotten. */
void roster_depart(struct roster *roster, struct worker *worker);
size_t roster_count(const struct roster *roster);
/* The living ones, in no order. */
void roster_each(const struct roster *roster, void (*visit)(void *ctx, struct worker *worker),
		 void *ctx);
void roster_fini(struct roster *roster);

void worker_free(struct worker *worker);

#endif
