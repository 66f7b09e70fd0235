/* SPDX-License-Identifier: MIT */
/*
 * catalog.h - the models that this machine may load: metadata from TOML files. Nothing here opens a
 * model or contacts a hub.
 */
#ifndef POOLCORE_CATALOG_H
#define POOLCORE_CATALOG_H

#include <poolcore/config.h>
#include <poolcore/error.h>
#include <poolcore/types.h>

#include <stdio.h>

PC_BEGIN_DECLS

/* One [[model]]; the strings belong to the catalog. Absent strings are "". */
struct pc_model_entry {
	const char *id; /* ^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$, at most 128
			   bytes */
	const char *name;
	const char *repo; /* "org/name" on the hub, or "" for a local file */
	const char *file; /* as written: in the repo, or a path relative to the catalog's folder */
	const char *path; /* where the file is or would be: absolute; of a repository beneath the
			     cache's folder, in ORG/NAME or ORG/NAME@REVISION */
	const char *model_ref; /* "hf:org/name[@revision]::file=x.gguf" or "file:/abs/path" */
	uint64_t size_bytes;   /* 0: unknown */
	const char *sha256;    /* lower-case hex or "" */
	enum pc_capability capability;
	uint64_t memory_bytes; /* est_memory_allocation_mb * MiB; required */
	const char *backend;
	const char *device;	 /* "auto", "cpu", "gpu0"; "": the backend's */
	uint32_t slots;		 /* 1..64 */
	uint32_t context_tokens; /* 0: what the backend makes of the model's own */
	const char *const *aliases;
	size_t alias_count;
	uint32_t min_workers;
	uint32_t max_workers;
	uint32_t cold_start_workers;
	uint32_t queue_capacity; /* 0: the pool's */
	int64_t ttl_ms; /* PC_TTL_UNSET: the pool's cooldown; 0: at once; negative: never */
	bool pinned;
	const char *source_file; /* the catalog file and line it came from */
	unsigned source_line;
	const char *revision; /* of the repository; "": the hub's own choice */
};

#define PC_TTL_UNSET INT64_MAX

struct pc_catalog;

/*
 * Loads every file of the configuration (catalog.files). Errors: INVALID_CONFIG with file, line,
 * column and key (unknown keys with the nearest known one, duplicate ids and aliases with both
 * places, a backend that does not exist, values out of range); IO; OUT_OF_MEMORY;
 * INVALID_ARGUMENT. Nothing is returned after an error.
 */
PC_API int pc_catalog_load(const struct pc_config *config, struct pc_catalog **ret_catalog,
			   struct pc_error *err);
PC_API void pc_catalog_free(struct pc_catalog *catalog);

/* Entries in the files' order. Read-only, any thread. */
PC_API size_t pc_catalog_count(const struct pc_catalog *catalog);
PC_API const struct pc_model_entry *pc_catalog_at(const struct pc_catalog *catalog, size_t index);
/* By id or alias (NULL: no model), case-sensitive; NULL when there is none. */
PC_API const struct pc_model_entry *pc_catalog_find(const struct pc_catalog *catalog,
						    const char *id_or_alias);
/* By id, alias or model_ref; MODEL_NOT_FOUND names the nearest id when one is near. */
PC_API int pc_catalog_get(const struct pc_catalog *catalog, const char *name,
			  const struct pc_model_entry **ret_entry, struct pc_error *err);

/*
 * How two entries of catalogs differ: in nothing, in something that workers do not notice (limits,
 * names, times), or in what they are launched with (the file and where it lies, backend, device,
 * slots, context, capability). Where they stand in their files makes no difference, nor does what
 * their backends are.
 */
PC_API enum pc_difference pc_model_entry_compare(const struct pc_model_entry *a,
						 const struct pc_model_entry *b);

/*
 * Sums up what a worker of the model is launched with on its backend, so that it can be written
 * down: two definitions are equal exactly when neither pc_model_entry_compare nor
 * pc_backend_config_compare finds PC_DIFFERENCE_LAUNCH. It is the SHA-256, in hexadecimal, of those
 * settings and the file's path, and the same in every process of this version of the library; one
 * that knows another setting sums up otherwise. The backend is the entry's. It cannot be read back,
 * but a secret that can be guessed can be found by trying: keep it as the settings are kept. Any
 * thread. Errors: OUT_OF_MEMORY, INTERNAL (libcrypto refuses).
 */
PC_API int pc_model_definition(const struct pc_model_entry *entry,
			       const struct pc_backend_config *backend,
			       char ret_definition[PC_DEFINITION_MAX], struct pc_error *err);

/* Writes the reference of a model's settings, as pc_config_write_reference does. */
PC_API int pc_catalog_write_reference(FILE *file, struct pc_error *err);

/*
 * Checks that the model's file is there now: a readable regular file of a disk, of `size_bytes` if
 * that is known. A file of a repository must lie beneath the cache's folder, wherever symbolic
 * links lead. Errors: MODEL_FILE_MISSING (not there or not readable: path, reason, and what would
 * bring it); MODEL_FILE_INVALID (a folder, a device, another size, outside the cache: the same, and
 * what would right it); IO when it could not be looked at (no descriptor left). May block on a slow
 * disk.
 */
PC_API int pc_model_entry_check_file(const struct pc_model_entry *entry, struct pc_error *err);
/* The same, and hands the file over, open for reading; the caller closes it. */
PC_API int pc_model_entry_open(const struct pc_model_entry *entry, int *ret_fd,
			       struct pc_error *err);

PC_END_DECLS

#endif
