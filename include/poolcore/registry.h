/* SPDX-License-Identifier: MIT */
/*
 * registry.h - the record of the workers that exist: what an operator is shown and what the next
 * daemon finds when this one has died. An interface with two backends: memory, and SQLite (WAL,
 * synchronous FULL, 0600).
 */
#ifndef POOLCORE_REGISTRY_H
#define POOLCORE_REGISTRY_H

#include <poolcore/error.h>
#include <poolcore/types.h>

PC_BEGIN_DECLS

#define PC_WORKER_ID_MAX 48

/* Plain data, copied in and out; strings are NUL-terminated and cut never, too long ones are
 * refused. */
struct pc_worker_info {
	char worker_id[PC_WORKER_ID_MAX]; /* "w-<boot>-<number>", never used again */
	char backend[64];
	char model_ref[1024];
	char model_id[160];
	char device[16];  /* "cpu", "gpu0" */
	int gpu_id;	  /* -1: none */
	uint16_t port;	  /* 0 when a socket is used */
	char socket[128]; /* Unix socket's path, or "" */
	enum pc_worker_status status;
	int32_t pid;	      /* 0 before it is spawned */
	uint64_t start_ticks; /* field 22 of /proc/PID/stat; with boot_id it proves who it is */
	char boot_id[40];     /* /proc/sys/kernel/random/boot_id */
	char spawn_token[40]; /* random; the worker proves with it that it is ours */
	int64_t spawned_wall_ms;
	int64_t updated_wall_ms;
	uint64_t reserved_bytes;
	uint64_t measured_bytes; /* 0: unknown */
	struct pc_worker_exit last_exit;
};

struct pc_registry;

/* The memory backend keeps nothing beyond the process. Errors: OUT_OF_MEMORY. */
PC_API int pc_registry_open_memory(struct pc_registry **ret_registry, struct pc_error *err);
/*
 * The SQLite backend; creates the file with mode 0600. A file of a newer schema is refused and left
 * alone; a file that fails its integrity check is renamed to PATH.corrupt-<time>, reported through
 * the log hook, and a fresh one made. Errors: IO (with SQLite's own text), UNSUPPORTED (newer
 * schema), OUT_OF_MEMORY.
 */
PC_API int pc_registry_open_sqlite(const char *path, struct pc_registry **ret_registry,
				   struct pc_error *err);
/* Finishes pending writes and closes. NULL is allowed. */
PC_API void pc_registry_close(struct pc_registry *registry);

/*
 * All five block (SQLite waits for the disk) and may be called from any thread; calls are
 * serialised inside. A write that returned 0 survives the death of the process and of the machine.
 *
 * register: ALREADY_EXISTS. update: WORKER_NOT_FOUND; INVALID_ARGUMENT when the status may not
 * follow the stored one. unregister, get: WORKER_NOT_FOUND. list: by spawn time; *ret_workers is
 * freed by the caller with pc_free.
 */
PC_API int pc_registry_register(struct pc_registry *registry, const struct pc_worker_info *worker,
				struct pc_error *err);
PC_API int pc_registry_update(struct pc_registry *registry, const struct pc_worker_info *worker,
			      struct pc_error *err);
PC_API int pc_registry_unregister(struct pc_registry *registry, const char *worker_id,
				  struct pc_error *err);
PC_API int pc_registry_get(struct pc_registry *registry, const char *worker_id,
			   struct pc_worker_info *ret_worker, struct pc_error *err);
PC_API int pc_registry_list(struct pc_registry *registry, struct pc_worker_info **ret_workers,
			    size_t *ret_count, struct pc_error *err);

PC_END_DECLS

#endif
