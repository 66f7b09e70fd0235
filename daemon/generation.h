/* SPDX-License-Identifier: MIT */
/*
 * generation.h - one reading of the configuration: settings, catalog, and the models in it. It
 * never changes once it is in force; a reload puts another one in its place (install.c). Whoever
 * goes on with what it found there keeps a reference: a request from the look-up of its model until
 * it is destroyed, a worker from its spawn until it is gone, an answer of the control plane while
 * it is written. The last one to let go frees it, which takes some microseconds per model, so
 * nobody does so under the body's lock.
 */
#ifndef DAEMON_GENERATION_H
#define DAEMON_GENERATION_H

#include <poolcore/catalog.h>
#include <poolcore/config.h>

struct generation;
struct pc_sched_model;

/* A model as the daemon knows it. [const once in force] */
struct model {
	const struct pc_model_entry *entry;
	const struct pc_backend_config *backend;
	/* What its workers are launched with. They go on for as long as it is the same, under
	 * another generation (install.c) and under another daemon (adopt.c). */
	char definition[PC_DEFINITION_MAX];
	/* The brain's, the same in every generation; NULL: its device is not there, and requests
	 * are refused. */
	struct pc_sched_model *sched;
	struct generation *generation; /* that it lives in */
};

struct generation {
	_Atomic unsigned references;
	struct pc_config *config;
	struct pc_catalog *catalog;
	struct model *models;	 /* in the catalog's order */
	struct model **by_entry; /* sorted, for generation_model */
	size_t model_count;
};

/*
 * Makes one of a configuration and its catalog, which it takes over on success. The models are the
 * brain's affair yet (install.c). Errors: those of pc_model_definition.
 */
int generation_create(struct pc_config *config, struct pc_catalog *catalog,
		      struct generation **ret_generation, struct pc_error *err);
struct generation *generation_ref(struct generation *generation);
/* Without the body's lock. NULL is allowed. */
void generation_unref(struct generation *generation);
/* How many there are in this process. */
unsigned generation_count(void);

/* The model of an entry of this generation's catalog. */
struct model *generation_model(const struct generation *generation,
			       const struct pc_model_entry *entry);
/* The model of that id (no alias), or NULL. */
struct model *generation_find(const struct generation *generation, const char *id);

#endif
