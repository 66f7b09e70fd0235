/* SPDX-License-Identifier: MIT */
/*
 * departed.h - the workers that are gone, for the registry that keeps nothing beyond the process.
 * Inside this room only.
 */
#ifndef REGISTRY_DEPARTED_H
#define REGISTRY_DEPARTED_H

#include "registry/backend.h"

/* A ring of the last ones. All zero is an empty one. Its owner serialises. */
struct pc__departed_table {
	struct pc_departed_worker *rows; /* NULL, or PC_DEPARTED_MAX */
	uint64_t added;
};

int pc__departed_table_add(struct pc__departed_table *table,
			   const struct pc_departed_worker *worker, struct pc_error *err);
/* Newest first; model_id NULL: of all models. */
int pc__departed_table_list(const struct pc__departed_table *table, const char *model_id,
			    struct pc_departed_worker **ret_departed, size_t *ret_count,
			    struct pc_error *err);
void pc__departed_table_fini(struct pc__departed_table *table);

#endif
