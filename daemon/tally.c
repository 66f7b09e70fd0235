/* SPDX-License-Identifier: MIT */
/* tally.c - how the last workers ended. See tally.h. */
#include "daemon/tally.h"

#include <pthread.h>
#include <string.h>

/* A ring: the last one is at rows[(next - 1) % PC_DEPARTED_MAX]. */
struct tally {
	pthread_mutex_t lock;
	size_t next;					 /* [lock] how many there ever were */
	struct pc_departed_worker rows[PC_DEPARTED_MAX]; /* [lock] */
};

int tally_create(struct pc_registry *registry, struct tally **ret_tally, struct pc_error *err)
{
	pc_auto(pc_free) struct pc_departed_worker *departed = NULL;
	struct tally *tally;
	size_t count;
	int rc = pc_registry_list_departed(registry, NULL, &departed, &count, err);

	if (rc)
		return rc;
	tally = pc_calloc(1, sizeof(*tally));
	if (!tally)
		return pc_error_oom(err);
	pthread_mutex_init(&tally->lock, NULL);
	if (count > PC_DEPARTED_MAX)
		count = PC_DEPARTED_MAX;
	while (count > 0)
		tally->rows[tally->next++] = departed[--count];
	*ret_tally = tally;
	return 0;
}

void tally_destroy(struct tally *tally)
{
	if (!tally)
		return;
	pthread_mutex_destroy(&tally->lock);
	pc_free(tally);
}

void tally_add(struct tally *tally, const struct pc_worker_info *worker,
	       const struct pc_worker_exit *exit)
{
	struct pc_departed_worker *row;

	pthread_mutex_lock(&tally->lock);
	row = &tally->rows[tally->next++ % PC_DEPARTED_MAX];
	memset(row, 0, sizeof(*row));
	memcpy(row->worker_id, worker->worker_id, sizeof(row->worker_id));
	memcpy(row->backend, worker->backend, sizeof(row->backend));
	memcpy(row->model_id, worker->model_id, sizeof(row->model_id));
	memcpy(row->device, worker->device, sizeof(row->device));
	row->exit = *exit;
	row->wall_ms = exit->wall_ms;
	pthread_mutex_unlock(&tally->lock);
}

void tally_each(struct tally *tally, const char *model_id,
		void (*visit)(void *ctx, const struct pc_departed_worker *departed), void *ctx)
{
	size_t count;

	pthread_mutex_lock(&tally->lock);
	count = tally->next < PC_DEPARTED_MAX ? tally->next : PC_DEPARTED_MAX;
	for (size_t i = 1; i <= count; i++) {
		const struct pc_departed_worker *row =
			&tally->rows[(tally->next - i) % PC_DEPARTED_MAX];

		if (!model_id || strcmp(row->model_id, model_id) == 0)
			visit(ctx, row);
	}
	pthread_mutex_unlock(&tally->lock);
}
