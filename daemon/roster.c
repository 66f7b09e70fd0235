/* SPDX-License-Identifier: MIT */
/* roster.c - the records of workers. See roster.h. */
#include "daemon/roster.h"

#include <string.h>

#include "daemon/body.h"
#include "daemon/generation.h"
#include "daemon/logbook.h"

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	logbook_unref(worker->log);
	if (worker->model)
		generation_unref(worker->model->generation);
	pc_free(worker);
}

static struct worker **bucket_of(const struct roster *roster, uint64_t id)
{
	return (struct worker **)&roster->buckets[id % ROSTER_BUCKETS];
}

void roster_add(struct roster *roster, struct worker *worker)
{
	struct worker **bucket = bucket_of(roster, worker->id);

	worker->next = *bucket;
	*bucket = worker;
}

struct worker *roster_find(const struct roster *roster, uint64_t id)
{
	struct worker *worker = *bucket_of(roster, id);

	while (worker && worker->id != id)
		worker = worker->next;
	return worker;
}

struct worker *roster_find_any(const struct roster *roster, uint64_t id)
{
	struct worker *worker = roster_find(roster, id);

	for (struct worker *at = roster->departed; at && !worker; at = at->next) {
		if (at->id == id)
			worker = at;
	}
	return worker;
}

static struct worker *find_in(struct worker *list, const char *worker_id)
{
	while (list && strcmp(list->info.worker_id, worker_id) != 0)
		list = list->next;
	return list;
}

struct worker *roster_find_named(const struct roster *roster, const char *worker_id)
{
	for (size_t i = 0; i < ROSTER_BUCKETS; i++) {
		struct worker *worker = find_in(roster->buckets[i], worker_id);

		if (worker)
			return worker;
	}
	return find_in(roster->departed, worker_id);
}

static void forget_oldest(struct roster *roster)
{
	struct worker **at = &roster->departed;

	for (size_t i = 0; *at && i < ROSTER_DEPARTED_MAX; i++)
		at = &(*at)->next;
	while (*at) {
		struct worker *worker = *at;

		*at = worker->next;
		worker_free(worker);
	}
}

void roster_depart(struct roster *roster, struct worker *worker)
{
	struct worker **at = bucket_of(roster, worker->id);

	while (*at != worker)
		at = &(*at)->next;
	*at = worker->next;
	worker->departed = true;
	worker->next = roster->departed;
	roster->departed = worker;
	forget_oldest(roster);
}

size_t roster_count(const struct roster *roster)
{
	size_t count = 0;

	for (size_t i = 0; i < ROSTER_BUCKETS; i++) {
		for (const struct worker *at = roster->buckets[i]; at; at = at->next)
			count++;
	}
	return count;
}

void roster_each(const struct roster *roster, void (*visit)(void *ctx, struct worker *worker),
		 void *ctx)
{
	for (size_t i = 0; i < ROSTER_BUCKETS; i++) {
		for (struct worker *at = roster->buckets[i]; at; at = at->next)
			visit(ctx, at);
	}
}

static void free_list(struct worker *list)
{
	while (list) {
		struct worker *next = list->next;

		worker_free(list);
		list = next;
	}
}

void roster_fini(struct roster *roster)
{
	for (size_t i = 0; i < ROSTER_BUCKETS; i++)
		free_list(roster->buckets[i]);
	free_list(roster->departed);
}
