/* SPDX-License-Identifier: MIT */
/*
 * departed.c - the departed workers of the memory backend: a ring that is made, 128 KiB at once,
 * when the first one goes. No lock of its own.
 */
#include "registry/departed.h"

#include <string.h>

int pc__departed_table_add(struct pc__departed_table *table,
			   const struct pc_departed_worker *worker, struct pc_error *err)
{
	if (!table->rows)
		table->rows = pc_calloc(PC_DEPARTED_MAX, sizeof(*table->rows));
	if (!table->rows)
		return pc_error_oom(err);
	table->rows[table->added++ % PC_DEPARTED_MAX] = *worker;
	return 0;
}

int pc__departed_table_list(const struct pc__departed_table *table, const char *model_id,
			    struct pc_departed_worker **ret_departed, size_t *ret_count,
			    struct pc_error *err)
{
	size_t kept = table->added < PC_DEPARTED_MAX ? (size_t)table->added : PC_DEPARTED_MAX;
	struct pc_departed_worker *found = NULL;
	size_t count = 0;

	if (kept) {
		found = pc_calloc(kept, sizeof(*found));
		if (!found)
			return pc_error_oom(err);
	}
	for (size_t age = 1; age <= kept; age++) {
		const struct pc_departed_worker *row =
			&table->rows[(table->added - age) % PC_DEPARTED_MAX];

		if (!model_id || strcmp(row->model_id, model_id) == 0)
			found[count++] = *row;
	}
	if (!count)
		pc_free(pc_steal(&found));
	*ret_departed = found;
	*ret_count = count;
	return 0;
}

void pc__departed_table_fini(struct pc__departed_table *table)
{
	pc_free(table->rows);
}
