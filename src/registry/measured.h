/* SPDX-License-Identifier: MIT */
/*
 * measured.h - what models were measured to take, for the registry that keeps nothing beyond the
 * process. Inside this room only.
 */
#ifndef REGISTRY_MEASURED_H
#define REGISTRY_MEASURED_H

#include "registry/backend.h"

struct pc__measured_row;

/* All zero is an empty one. Its owner serialises. */
struct pc__measured_table {
	struct pc__measured_row *rows;
	size_t count, capacity;
	uint64_t turns; /* measurements so far */
};

int pc__measured_table_remember(struct pc__measured_table *table,
				const struct pc__measured_key *key, uint64_t bytes, int64_t wall_ms,
				struct pc_error *err);
int pc__measured_table_recall(const struct pc__measured_table *table,
			      const struct pc__measured_key *key,
			      struct pc_measured_memory *ret_measured, struct pc_error *err);
void pc__measured_table_fini(struct pc__measured_table *table);

#endif
