/* SPDX-License-Identifier: MIT */
/*
 * backend.h - what a registry backend is: a table of functions behind `struct pc_registry`,
 * which a backend embeds as its first member. registry.c has checked every argument before it calls
 * one. Each function may be called from any thread and serialises itself. Inside the library only.
 */
#ifndef REGISTRY_BACKEND_H
#define REGISTRY_BACKEND_H

#include <poolcore/registry.h>

/* Whose memory was measured. The strings are the caller's. */
struct pc__measured_key {
	const char *model, *engine, *device;
};

struct pc__registry_ops {
	void (*close)(struct pc_registry *registry);
	int (*insert)(struct pc_registry *registry, const struct pc_worker_info *worker,
		      struct pc_error *err);
	int (*update)(struct pc_registry *registry, const struct pc_worker_info *worker,
		      struct pc_error *err);
	int (*remove)(struct pc_registry *registry, const char *worker_id, struct pc_error *err);
	int (*get)(struct pc_registry *registry, const char *worker_id,
		   struct pc_worker_info *ret_worker, struct pc_error *err);
	/* By spawn time, then by id; NULL and 0 when there are none. */
	int (*list)(struct pc_registry *registry, struct pc_worker_info **ret_workers,
		    size_t *ret_count, struct pc_error *err);
	/* One step: removes the record and notes the departure, or neither. What the worker was is
	 * taken from its record; `departed` has its id, exit and wall_ms. */
	int (*end)(struct pc_registry *registry, const struct pc_departed_worker *departed,
		   struct pc_error *err);
	/* Newest first; model_id NULL: of all models. */
	int (*list_departed)(struct pc_registry *registry, const char *model_id,
			     struct pc_departed_worker **ret_departed, size_t *ret_count,
			     struct pc_error *err);
	int (*remember)(struct pc_registry *registry, const struct pc__measured_key *key,
			uint64_t bytes, int64_t wall_ms, struct pc_error *err);
	int (*recall)(struct pc_registry *registry, const struct pc__measured_key *key,
		      struct pc_measured_memory *ret_measured, struct pc_error *err);
};

struct pc_registry {
	const struct pc__registry_ops *ops; /* [const after open] */
};

/* The answers that every backend gives in the same words. */
int pc__registry_exists(struct pc_error *err, const char *worker_id);
int pc__registry_not_found(struct pc_error *err, const char *worker_id);
/* 0 when the stored worker may become `worker`. A status may stay what it is. */
int pc__registry_check_change(struct pc_error *err, enum pc_worker_status stored,
			      const struct pc_worker_info *worker);
int pc__measured_not_found(struct pc_error *err, const struct pc__measured_key *key);
/* What is known after one more measurement; before the first, all of `measured` is zero. */
void pc__measured_add(struct pc_measured_memory *measured, uint64_t bytes, int64_t wall_ms);

#endif
