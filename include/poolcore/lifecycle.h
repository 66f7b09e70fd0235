/* SPDX-License-Identifier: MIT */
/*
 * lifecycle.h - what a worker process needs before its start: a command built from a template, its
 * program, a port, and a look at everything that can be wrong; and what /proc says about a process.
 * Starting one, and its life from then on, is stub.h.
 */
#ifndef POOLCORE_LIFECYCLE_H
#define POOLCORE_LIFECYCLE_H

#include <poolcore/config.h>
#include <poolcore/error.h>
#include <poolcore/model_file.h>
#include <poolcore/types.h>

#include <sys/types.h>

PC_BEGIN_DECLS

/* ---- command ---- */

/* What the placeholders of a backend's template stand for. Unused strings are NULL. */
struct pc_launch_values {
	const char *model_path;	 /* {model_path} */
	const char *model_id;	 /* {model_id} */
	const char *worker_id;	 /* {worker_id} */
	uint16_t port;		 /* {port}; 0: not used */
	const char *socket;	 /* {socket} */
	int gpu_id;		 /* {gpu_id}; -1: none, expands to nothing */
	const char *gpu_uuid;	 /* {gpu_uuid}; "": on no GPU, expands to nothing */
	uint32_t slots;		 /* {slots} */
	uint32_t context_tokens; /* {context_tokens} */
	const char *capability;	 /* {capability} */
	const char *spawn_token; /* {spawn_token}; in env only, arguments are public */
	const char *ready_url;	 /* {ready_url} */
};

/*
 * Expands a template into an argv and an environment: each element of the template becomes exactly
 * one argument, so that no value can add one. "{{" and "}}" are literal braces. The environment is
 * made from scratch: PATH, HOME, LANG, LC_ALL, TMPDIR, USER, LD_LIBRARY_PATH and POOLCORE_* of
 * ours, then the template's, each name once. Free both with pc_string_list_free. Errors:
 * INVALID_CONFIG (unknown placeholder, with the known ones; one in the program's name, or behind
 * nothing but dashes; a value that is not there), INVALID_ARGUMENT (a value that would become an
 * option: its '-' would be the argument's first character; one with a control character; or an
 * expansion longer than the 128 KiB that Linux takes for one string), OUT_OF_MEMORY.
 */
PC_API int pc_command_build(const struct pc_backend_config *backend,
			    const struct pc_launch_values *values, struct pc_string_list *ret_argv,
			    struct pc_string_list *ret_env, struct pc_error *err);
/* Whether the template uses a placeholder ("port", "socket"). */
PC_API bool pc_command_uses(const struct pc_backend_config *backend, const char *placeholder);

/*
 * What a worker is given of its model's file: the path, or the open file itself, which nobody can
 * exchange any more. pc_backend_config.model_by says which; with "auto" it is the file for a GGUF
 * that is all of its model. Parts of a model are looked for beside the path, so a part is not.
 */
struct pc_hand_over {
	const char *model_path; /* {model_path}: the file's, or "/proc/self/fd/3" */
	int fd; /* what the worker must find open as PC_MODEL_FD, still the file's own; -1: nothing */
};
#define PC_MODEL_FD 3

/*
 * Checks that the file has not changed since it was opened (pc_model_file_check) and says how the
 * worker gets it. To be called last before the spawn: between a check and the opening of a path by
 * the worker itself, the file may still be exchanged; not between it and a descriptor's. Errors:
 * those of pc_model_file_check; INVALID_CONFIG ("descriptor" for a model of several files);
 * INVALID_ARGUMENT. Any thread.
 */
PC_API int pc_model_hand_over(const struct pc_backend_config *backend,
			      const struct pc_model_file *file, struct pc_hand_over *ret_hand_over,
			      struct pc_error *err);

/*
 * Finds the program of argv[0] as execvp would, with two differences: a name without a slash is
 * looked for next to our own executable first, so that a build tree and an installation both find
 * their pool-worker; and elements of PATH that are not absolute are skipped, because a daemon's
 * working directory is nobody's choice. Errors: NOT_FOUND (where it looked), SPAWN_FAILED (not
 * executable). *ret_path is freed with pc_free.
 */
PC_API int pc_program_find(const char *name, char **ret_path, struct pc_error *err);

/* A free TCP port on 127.0.0.1 chosen by the kernel. Somebody may take it before the worker does.
 * Errors: IO. */
PC_API int pc_port_pick(uint16_t *ret_port, struct pc_error *err);
/* Whether 127.0.0.1:port can be bound now. Errors: PORT_IN_USE, INVALID_ARGUMENT (0). */
PC_API int pc_port_check(uint16_t port, struct pc_error *err);

/* 32 hexadecimal digits from getrandom(2), and the NUL. */
PC_API int pc_token_make(char ret_token[33], struct pc_error *err);

/* ---- validation ---- */

struct pc_catalog;
struct pc_gpu_inventory;
struct pc_ledger;
struct pc_model_entry;

/* What is asked for. Zero is: as the catalog says. */
struct pc_spawn_request {
	const char *model;     /* id, alias or reference */
	const char *worker_id; /* NULL: none is chosen yet */
	const char *backend;   /* NULL: the model's */
	const char *device;    /* "cpu", "gpu0", "auto"; NULL: the model's, or its backend's */
	uint32_t port;	       /* 1024 to 65535; 0: the kernel chooses one at the start */
	bool memory_reserved;  /* the caller has seen to it: no room is looked for */
};

/* What there is. */
struct pc_spawn_means {
	const struct pc_config *config;
	const struct pc_catalog *catalog;
	const struct pc_gpu_inventory *gpus; /* NULL: the ledger alone says which there are */
	const struct pc_ledger *ledger; /* NULL: the GPUs' and the system's free memory counts */
	struct pc_verify_options verify;
};

/* What would be spawned. */
struct pc_spawn_plan {
	const struct pc_model_entry *entry;	 /* the catalog's */
	const struct pc_backend_config *backend; /* the configuration's */
	char device[16];
	uint64_t memory_bytes; /* to be reserved there */
	uint64_t free_bytes;   /* what is free there, or UINT64_MAX when nobody looked */
	char *program;
	struct pc_model_file file; /* open, and to be handed over with pc_model_hand_over */
};

/*
 * Whether a worker could be spawned: looks at everything that can be known before, the cheap things
 * first, and takes nothing: no memory, no port, no process. The first thing wrong is the error; its
 * sentence says what was asked, what there is and what would be right:
 *
 *	INVALID_ARGUMENT	a worker id, model, device or port that can be none; a port for a
 *				backend that takes none; a value that its command cannot take
 *	MODEL_NOT_FOUND		no such model in the catalog (the nearest id)
 *	NOT_FOUND		no such backend (which there are), program (where it was looked
 *				for) or device (which there are)
 *	SPAWN_FAILED		the program cannot be run; the GPU cannot be used (why)
 *	PORT_IN_USE		somebody listens there
 *	INSUFFICIENT_MEMORY	the details needed_bytes, free_bytes, device, and with a ledger
 *				budget_bytes and reserved_bytes
 *	MODEL_FILE_...		as pc_model_file_open, which comes last and may hash for minutes
 *
 * and INVALID_CONFIG, CANCELLED, IO, OUT_OF_MEMORY. Nothing is left open after one. Any thread that
 * may block, while nobody refreshes the inventory.
 */
PC_API int pc_spawn_validate(const struct pc_spawn_request *request,
			     const struct pc_spawn_means *means, struct pc_spawn_plan *ret_plan,
			     struct pc_error *err);
/* Closes the file and frees the program. NULL is allowed. */
PC_API void pc_spawn_plan_fini(struct pc_spawn_plan *plan);

/* ---- process ---- */

/* Whether it has begun to end or is gone, perhaps before its pidfd says so. Any thread. */
PC_API bool pc_process_is_ending(pid_t pid);
/*
 * Bytes that the process and all below it hold: RssAnon + VmSwap. 0 when unknown. Of a worker's
 * stub it is what the worker and its helpers hold, those too that have left it: the stub adopts
 * them.
 */
PC_API uint64_t pc_process_memory(pid_t pid);
/* Processor time that they have used, in units of sysconf(_SC_CLK_TCK). 0 when unknown. */
PC_API uint64_t pc_process_cpu_ticks(pid_t pid);
/*
 * Opens a pidfd of a process that was recorded earlier, only if it is still the same one: boot id
 * and start time (field 22 of /proc/PID/stat) must be what was recorded. It is the caller's to
 * close. Any thread. Errors: NOT_FOUND (it is gone, or somebody else has its number), IO (no
 * descriptor), INVALID_ARGUMENT.
 */
PC_API int pc_process_open(pid_t pid, uint64_t start_ticks, const char *boot_id, int *ret_pidfd,
			   struct pc_error *err);
/* This boot's id, as in /proc/sys/kernel/random/boot_id, cached. Any thread. */
PC_API const char *pc_boot_id(void);

PC_END_DECLS

#endif
