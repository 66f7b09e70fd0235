/* SPDX-License-Identifier: MIT */
/*
 * model.h - one [[model]] table: its settings and the entry that is made of them. Inside the
 * catalog only.
 */
#ifndef CATALOG_MODEL_H
#define CATALOG_MODEL_H

#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include "config/schema.h"

/* The values as the file says them; the rows of pc__model_settings point here. */
struct pc__model_text {
	char *id;
	char *name;
	char *repo;
	char *revision;
	char *file;
	uint64_t size_bytes;
	char *sha256;
	char *capability;
	uint64_t est_memory_mb;
	char *backend;
	char *device;
	uint64_t slots;
	uint64_t context_tokens;
	struct pc_string_list aliases;
	uint64_t min_workers;
	uint64_t max_workers;
	uint64_t cold_start_workers;
	uint64_t queue_capacity;
	int64_t ttl_ms;
	bool pinned;
};

/* An entry and what its strings live in, `pub` first: who has the one has the other. May be moved:
 * nothing points into it. */
struct pc__model {
	struct pc_model_entry pub;
	struct pc__model_text text;
	char *path;
	char *model_ref;
};

extern const struct pc__setting pc__model_settings[];
extern const size_t pc__model_setting_count;

/*
 * Reads one table into an empty model. `reading` has the document and the catalog's folder. After
 * an error the model still has to be freed.
 */
int pc__model_read(struct pc__model *model, const struct pc_config *config,
		   const struct pc__reading *reading, const struct pc__toml_value *table,
		   struct pc_error *err);
void pc__model_fini(struct pc__model *model);

#endif
