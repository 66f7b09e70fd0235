/* SPDX-License-Identifier: MIT */
/*
 * measured.c - the measurements of the memory backend: an unsorted array that is searched from end
 * to end. It is asked once for each load of a model, which takes a thousand times as long as the
 * search, so that nothing cleverer pays. No lock of its own.
 */
#include "registry/measured.h"

#include <stdio.h>
#include <string.h>

struct pc__measured_row {
	char model[PC_MEASURED_KEY_MAX];
	char engine[PC_MEASURED_ENGINE_MAX];
	char device[PC_MEASURED_DEVICE_MAX];
	struct pc_measured_memory measured;
	uint64_t turn; /* of the last measurement */
};

static struct pc__measured_row *find(const struct pc__measured_table *table,
				     const struct pc__measured_key *key)
{
	for (size_t i = 0; i < table->count; i++) {
		struct pc__measured_row *row = &table->rows[i];

		if (strcmp(row->model, key->model) == 0 && strcmp(row->engine, key->engine) == 0 &&
		    strcmp(row->device, key->device) == 0)
			return row;
	}
	return NULL;
}

static struct pc__measured_row *oldest(const struct pc__measured_table *table)
{
	struct pc__measured_row *oldest = &table->rows[0];

	for (size_t i = 1; i < table->count; i++) {
		if (table->rows[i].turn < oldest->turn)
			oldest = &table->rows[i];
	}
	return oldest;
}

/* A row to fill: a new one, or the oldest. NULL when there is no memory. */
static struct pc__measured_row *take_row(struct pc__measured_table *table)
{
	if (table->count == PC_MEASURED_ROWS_MAX)
		return oldest(table);
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 16;
		struct pc__measured_row *rows = pc_realloc(
			table->rows, capacity * sizeof(struct pc__measured_row));

		if (!rows)
			return NULL;
		table->rows = rows;
		table->capacity = capacity;
	}
	return &table->rows[table->count++];
}

int pc__measured_table_remember(struct pc__measured_table *table,
				const struct pc__measured_key *key, uint64_t bytes, int64_t wall_ms,
				struct pc_error *err)
{
	struct pc__measured_row *row = find(table, key);

	if (!row) {
		row = take_row(table);
		if (!row)
			return pc_error_oom(err);
		*row = (struct pc__measured_row){ .turn = 0 };
		snprintf(row->model, sizeof(row->model), "%s", key->model);
		snprintf(row->engine, sizeof(row->engine), "%s", key->engine);
		snprintf(row->device, sizeof(row->device), "%s", key->device);
	}
	pc__measured_add(&row->measured, bytes, wall_ms);
	row->turn = ++table->turns;
	return 0;
}

int pc__measured_table_recall(const struct pc__measured_table *table,
			      const struct pc__measured_key *key,
			      struct pc_measured_memory *ret_measured, struct pc_error *err)
{
	const struct pc__measured_row *row = find(table, key);

	if (!row)
		return pc__measured_not_found(err, key);
	*ret_measured = row->measured;
	return 0;
}

void pc__measured_table_fini(struct pc__measured_table *table)
{
	pc_free(table->rows);
}
