/* SPDX-License-Identifier: MIT */
/*
 * registry.h - the record of the workers that exist: what an operator is shown and what the next
 * daemon finds when this one has died; of how workers ended; and of the memory that models were
 * measured to take. An interface with two backends: memory, and SQLite (WAL, synchronous FULL,
 * 0600).
 */
#ifndef POOLCORE_REGISTRY_H
#define POOLCORE_REGISTRY_H

#include <poolcore/error.h>
#include <poolcore/types.h>

PC_BEGIN_DECLS

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
	uint32_t slots;	  /* requests that it runs at once; 0: not known (an older record) */
	/* pc_model_definition when it was launched; "": not known (an older record) */
	char definition[PC_DEFINITION_MAX];
	enum pc_worker_status status;
	int32_t pid;	      /* 0 before it is spawned */
	int32_t stub_pid;     /* of the stub that is its parent; 0: it has none */
	uint64_t start_ticks; /* field 22 of /proc/PID/stat; with boot_id it proves who it is */
	uint64_t pidfd_inode; /* of its pidfd, on a kernel where it names one process; 0: unknown */
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
 * The SQLite backend; creates the file with mode 0600. A file of a newer schema, of another
 * program, or with parts that compute (triggers, views, virtual tables) is refused and left alone;
 * one that fails its integrity check is renamed with its log to PATH.corrupt-<time>, never over
 * another file, reported through the log hook, and a fresh one made. Errors: IO (with SQLite's own
 * text, or what kept a damaged file from being renamed: then it stays), UNSUPPORTED, OUT_OF_MEMORY.
 */
PC_API int pc_registry_open_sqlite(const char *path, struct pc_registry **ret_registry,
				   struct pc_error *err);
/* Finishes pending writes and closes. NULL is allowed. */
PC_API void pc_registry_close(struct pc_registry *registry);

/*
 * The five that follow block (SQLite waits for the disk) and may be called from any thread; calls
 * are serialised inside. A write that returned 0 survives the death of the process and of the
 * machine.
 *
 * register: ALREADY_EXISTS. update: WORKER_NOT_FOUND; INVALID_ARGUMENT when the status may not
 * follow the stored one. unregister, get: WORKER_NOT_FOUND. list: by spawn time; *ret_workers is
 * freed by the caller with pc_free; a row that somebody edited into what cannot be is left out and
 * reported through the log hook (get: IO, with the column at fault), and stays until it is
 * unregistered.
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

/* ---- the workers that are gone ---- */

/* How many are remembered. A guess; change freely: a tally of deaths is about the last days. */
#define PC_DEPARTED_MAX 256

struct pc_departed_worker {
	char worker_id[PC_WORKER_ID_MAX];
	char backend[64];
	char model_id[160];
	char device[16];
	struct pc_worker_exit exit;
	int64_t wall_ms; /* when its record was removed */
};

/*
 * Removes a worker's record and remembers how it ended, both or neither; beyond PC_DEPARTED_MAX the
 * one that was ended first is forgotten. Unlike `unregister`, which leaves no trace. `exit` is
 * copied. Threads and durability as above. Errors, after which nothing has changed:
 * WORKER_NOT_FOUND; INVALID_ARGUMENT; IO; OUT_OF_MEMORY.
 */
PC_API int pc_registry_end(struct pc_registry *registry, const char *worker_id,
			   const struct pc_worker_exit *exit, struct pc_error *err);
/*
 * The remembered ones of a model, or of all when model_id is NULL; the one that was ended last
 * comes first. *ret_departed is freed by the caller with pc_free; it is NULL when there are none.
 */
PC_API int pc_registry_list_departed(struct pc_registry *registry, const char *model_id,
				     struct pc_departed_worker **ret_departed, size_t *ret_count,
				     struct pc_error *err);

/* ---- what models were measured to take ---- */

/* With their NULs. The first is that of a worker's model_id, and so are the others those of its
 * backend and device. */
#define PC_MEASURED_KEY_MAX 160
#define PC_MEASURED_ENGINE_MAX 64
#define PC_MEASURED_DEVICE_MAX 16

/*
 * How many are remembered: models times engines times devices. Keys come from configuration files
 * that are edited for years, and nobody takes out what is gone. In memory a row has some 300 bytes,
 * so that all of them are about a megabyte. A guess; change freely.
 */
#define PC_MEASURED_ROWS_MAX 4096

struct pc_measured_memory {
	uint64_t highest_bytes; /* what a reservation should hold */
	uint64_t last_bytes;
	uint64_t count;	      /* of measurements, at least 1 */
	int64_t last_wall_ms; /* when the last was made; for people */
};

/*
 * Remembers that the model was measured to take `bytes` (more than 0) of the device's memory when
 * the engine had loaded it. What counts as measured is docs/decisions/0009. The key is a
 * registry key or model id, the engine a plug-in's or backend's name, the device "cpu" or "gpu0";
 * each is valid UTF-8, not empty, and shorter than its PC_MEASURED_..._MAX. When there are
 * PC_MEASURED_ROWS_MAX others, the one whose last measurement was made first is forgotten: in the
 * order of the calls, for a wall clock may be set back.
 *
 * Blocks and is serialised as the functions above; what returned 0 survives as theirs. Errors,
 * after which nothing has changed: INVALID_ARGUMENT; IO; OUT_OF_MEMORY.
 */
PC_API int pc_registry_remember_memory(struct pc_registry *registry, const char *key,
				       const char *engine, const char *device, uint64_t bytes,
				       struct pc_error *err);
/*
 * What was remembered for exactly these three. Errors: NOT_FOUND when it was never measured
 * (details: key, engine, device); INVALID_ARGUMENT; IO, also when somebody edited the row into what
 * cannot be (the next measurement then begins anew).
 */
PC_API int pc_registry_recall_memory(struct pc_registry *registry, const char *key,
				     const char *engine, const char *device,
				     struct pc_measured_memory *ret_measured, struct pc_error *err);

PC_END_DECLS

#endif
