/* SPDX-License-Identifier: MIT */
/* generation.c - one reading of the configuration, counted by references. See generation.h. */
#include "daemon/generation.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic unsigned living;

static int compare_entries(const void *a, const void *b)
{
	uintptr_t left = (uintptr_t)(*(struct model *const *)a)->entry;
	uintptr_t right = (uintptr_t)(*(struct model *const *)b)->entry;

	return (left > right) - (left < right);
}

static int fill(struct generation *generation, struct pc_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < generation->model_count && !rc; i++) {
		struct model *model = &generation->models[i];

		model->entry = pc_catalog_at(generation->catalog, i);
		model->backend = pc_config_backend(generation->config, model->entry->backend);
		model->generation = generation;
		assert(model->backend); /* the catalog checked it */
		generation->by_entry[i] = model;
		rc = pc_model_definition(model->entry, model->backend, model->definition, err);
	}
	if (rc)
		return rc;
	qsort(generation->by_entry, generation->model_count, sizeof(struct model *),
	      compare_entries);
	return 0;
}

static void free_models(struct generation *generation)
{
	pc_free(generation->models);
	pc_free(generation->by_entry);
	pc_free(generation);
}

int generation_create(struct pc_config *config, struct pc_catalog *catalog,
		      struct generation **ret_generation, struct pc_error *err)
{
	struct generation *generation = pc_calloc(1, sizeof(*generation));
	size_t count = pc_catalog_count(catalog);
	int rc;

	if (!generation)
		return pc_error_oom(err);
	generation->models = pc_calloc(count, sizeof(*generation->models));
	generation->by_entry = pc_calloc(count, sizeof(struct model *));
	if (!generation->models || !generation->by_entry) {
		free_models(generation);
		return pc_error_oom(err);
	}
	generation->config = config;
	generation->catalog = catalog;
	generation->model_count = count;
	rc = fill(generation, err);
	if (rc) {
		free_models(generation);
		return rc;
	}
	atomic_init(&generation->references, 1);
	atomic_fetch_add_explicit(&living, 1, memory_order_relaxed);
	*ret_generation = generation;
	return 0;
}

struct generation *generation_ref(struct generation *generation)
{
	/* relaxed: whoever takes another one has one, or the body's lock. */
	atomic_fetch_add_explicit(&generation->references, 1, memory_order_relaxed);
	return generation;
}

void generation_unref(struct generation *generation)
{
	/* acq_rel: what each owner read happens before the last one frees it. */
	if (!generation ||
	    atomic_fetch_sub_explicit(&generation->references, 1, memory_order_acq_rel) > 1)
		return;
	pc_catalog_free(generation->catalog);
	pc_config_free(generation->config);
	free_models(generation);
	atomic_fetch_sub_explicit(&living, 1, memory_order_relaxed);
}

unsigned generation_count(void)
{
	return atomic_load_explicit(&living, memory_order_relaxed);
}

struct model *generation_model(const struct generation *generation,
			       const struct pc_model_entry *entry)
{
	const struct model wanted = { .entry = entry };
	const struct model *key = &wanted;
	struct model **found = bsearch(&key, generation->by_entry, generation->model_count,
				       sizeof(struct model *), compare_entries);

	return found ? *found : NULL;
}

struct model *generation_find(const struct generation *generation, const char *id)
{
	const struct pc_model_entry *entry = pc_catalog_find(generation->catalog, id);

	/* Who has it as an alias is another model. */
	return entry && strcmp(entry->id, id) == 0 ? generation_model(generation, entry) : NULL;
}
