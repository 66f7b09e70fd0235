/* SPDX-License-Identifier: MIT */
/*
 * api.h - what the daemon, its workers, the command line and an orchestrator say to each other as
 * JSON: the requests of the control API, its answers, the heartbeat, and the form of an error. Text
 * in, text out; no HTTP and no JSON library is in sight. docs/openapi.yaml describes the same.
 *
 * Every type has four functions:
 *
 *	_parse     reads `length` bytes (NUL-terminated or not) and fills *ret_value, which is the
 *	           caller's to _free. What is not in the text has the value that means "none".
 *	_validate  says whether the value may be written.
 *	_write     gives the canonical text: members in their order, no blanks, no line end. It
 *	           validates first, so that what was written can be read; the text is freed with
 *	           pc_free.
 *	_free      gives back what _parse made, and leaves a value with nothing in it. NULL is
 *	           allowed.
 *
 * Errors: INVALID_JSON with line and column (it is not JSON, not UTF-8, nested deeper than
 * PC_API_DEPTH_MAX); INVALID_REQUEST, of which the sentence and the detail "param" name the place,
 * as in "workers[3].port" (missing, of another kind, out of its range); PAYLOAD_TOO_LARGE;
 * OUT_OF_MEMORY. Nothing is written to an output after one. Any thread, for values that no other
 * thread uses.
 *
 * Strings are UTF-8 without NUL. In a value that was parsed they lie in its `memory`; a value that
 * is filled to be written leaves `memory` NULL and borrows its strings from wherever they are.
 * Arrays are of pc_malloc in both, as _free frees them; who does not call it may borrow those too.
 * Numbers are whole and exact: no fraction, no exponent, none beyond 9223372036854775807.
 *
 * Requests are strict: an unknown field is refused, with the nearest known name, and so is one that
 * stands there twice. Answers and heartbeats come from peers that may be newer and say more: what
 * is not known is skipped there, once it was seen to be JSON. In a request null means "not given";
 * in an answer each member is written, and null is "there is none".
 */
#ifndef POOLCORE_API_H
#define POOLCORE_API_H

#include <poolcore/error.h>
#include <poolcore/types.h>

PC_BEGIN_DECLS

/* ---- limits ---- */

/* A request becomes values on an event loop's thread. The daemon takes no longer bodies. */
#define PC_API_REQUEST_MAX (64 << 10)
/* An answer with thousands of models has some megabytes. A guess; change freely. */
#define PC_API_ANSWER_MAX (64 << 20)
/* Brackets within brackets; what we write has four levels, and unknown fields may need more. */
#define PC_API_DEPTH_MAX 32
/* Elements of one list, and bytes of a string that has no smaller limit of its own (a path). */
#define PC_API_LIST_MAX (1 << 20)
#define PC_API_TEXT_MAX (16 << 10)
/* Names: of a model (a catalog's ids have 128), a backend, a worker, a device, a pool. */
#define PC_API_MODEL_MAX 160
#define PC_API_BACKEND_MAX 64
#define PC_API_WORKER_MAX (PC_WORKER_ID_MAX - 1)
#define PC_API_DEVICE_MAX 15
#define PC_API_POOL_MAX 64
/* gpu_id goes from 0 to here; the devices of a machine are the CPU and these. */
#define PC_API_GPU_MAX 1023

/* ---- requests ---- */

/* POST /v2/workers/start. Begin with PC_WORKER_SPAWN_REQUEST_INIT: gpu_id 0 is a GPU. */
struct pc_worker_spawn_request {
	void *memory;
	const char *model;     /* an id or alias; exactly one of this and model_ref */
	const char *model_ref; /* "hf:org/repo::file=path", "file:/abs/path" */
	const char *backend;   /* NULL: the model's */
	int32_t gpu_id;	       /* -1: any device that the model may use */
	uint16_t port;	       /* 0: any */
};
#define PC_WORKER_SPAWN_REQUEST_INIT \
	{ \
		.gpu_id = -1 \
	}

/* POST /v2/workers/stop. */
struct pc_worker_stop_request {
	void *memory;
	const char *worker_id;
	bool force; /* at once, also while it works */
};

/* POST /v2/internal/workers/ready, which a worker sends. */
struct pc_worker_ready_report {
	void *memory;
	const char *worker_id;
	const char *model_ref; /* NULL: not told; the daemon knows */
	uint64_t vram_bytes;   /* what it takes of its device's memory; 0: not known */
	const char *uri;       /* where it listens; NULL: where it was told to */
	const char *spawn_token;
};

/* ---- answers ---- */

struct pc_exit_record {
	bool known;	    /* false: it has ended, but how was for its parent alone to learn */
	int32_t code;	    /* exit status; -1: a signal ended it, or it is not known */
	int32_t signal;	    /* 0: none */
	const char *reason; /* "stopped: idle", "killed by SIGKILL" */
	int64_t wall_ms;    /* when it was noticed, in ms since 1970 */
};

/* A worker, as GET /v2/workers/{id} shows it. Its spawn token is not for others to see. */
struct pc_worker_record {
	void *memory;
	const char *worker_id;
	const char *model_id;
	const char *model_ref;
	const char *backend;
	const char *device; /* "cpu", "gpu0" */
	int32_t gpu_id;	    /* -1: none */
	uint16_t port;	    /* 0: none */
	const char *socket; /* a Unix socket's path; NULL: none */
	enum pc_worker_status status;
	int32_t pid;	      /* 0: it has no process yet */
	uint64_t start_ticks; /* field 22 of /proc/PID/stat; 0: not known */
	const char *boot_id;  /* of the boot that these ticks count from; NULL: not known */
	int64_t spawned_wall_ms;
	int64_t updated_wall_ms;
	uint64_t reserved_bytes;
	uint64_t measured_bytes; /* 0: not measured */
	uint32_t slots;
	uint32_t leases;
	uint64_t served;  /* leases that ended */
	uint64_t idle_ms; /* 0: it works */
	bool draining;	  /* it was told to stop and finishes what it has */
	bool has_last_exit;
	struct pc_exit_record last_exit;
};
#define PC_WORKER_RECORD_INIT \
	{ \
		.gpu_id = -1, .last_exit = {.code = -1 } \
	}

/*
 * The answer to a start: as much of the worker's record as a caller needs. The daemon sends the
 * whole record when there is a worker, and these two members alone while idle workers are stopped
 * to make room for it.
 */
struct pc_worker_spawn_response {
	void *memory;
	const char *worker_id; /* NULL: not yet */
	const char *status;    /* a worker's status, or PC_STATUS_MAKING_ROOM */
	const char *model_id;  /* NULL with worker_id, as the next two */
	const char *backend;
	const char *device;
	int32_t gpu_id; /* -1: none */
	uint16_t port;	/* 0: none */
};
#define PC_WORKER_SPAWN_RESPONSE_INIT \
	{ \
		.gpu_id = -1 \
	}
#define PC_STATUS_MAKING_ROOM "making room"

/* clang-format off */
/* One word for a model, in the order in which a user cares. */
#define PC_MODEL_STATE_LIST(X) \
	X(UNAVAILABLE, 0, "unavailable") /* its device is not there */ \
	X(LOADED,      1, "loaded") \
	X(LOADING,     2, "loading") \
	X(BACKOFF,     3, "backoff")     /* it failed and waits before it is tried again */ \
	X(UNLOADING,   4, "unloading") \
	X(UNLOADED,    5, "unloaded")
/* clang-format on */

enum pc_model_state {
#define X(name, number, wire) PC_MODEL_##name = (number),
	PC_MODEL_STATE_LIST(X)
#undef X
};

/* Its wire name; "unknown" for numbers outside the list. */
PC_API const char *pc_model_state_name(enum pc_model_state state);

struct pc_model_record {
	const char *id;
	const char *name; /* "": none */
	enum pc_model_state state;
	enum pc_capability capability;
	const char *backend;
	const char *model_ref;
	const char *const *aliases;
	size_t alias_count;
	uint64_t memory_bytes; /* of one worker */
	uint32_t slots;
	uint32_t workers; /* not counting stopping ones */
	uint32_t spawning;
	uint32_t leases;
	uint32_t waiting;
	uint32_t failures_in_row;
};

struct pc_device_record {
	const char *device;
	uint64_t total_bytes;
	uint64_t budget_bytes;
	uint64_t reserved_bytes;
};

/* clang-format off */
/* Since the daemon started. The texts are the metrics' help. */
#define PC_POOL_COUNTER_LIST(X) \
	X(submitted,      "Requests that asked for a worker.") \
	X(granted,        "Requests that got a slot.") \
	X(rejected,       "Requests that were refused, timeouts and full queues among them.") \
	X(cancelled,      "Requests whose client left while they waited.") \
	X(timeouts,       "Requests whose deadline passed while they waited.") \
	X(queue_full,     "Requests refused because the model's queue was full.") \
	X(cold_starts,    "Models loaded because a request asked and no worker was there.") \
	X(spawned,        "Workers spawned.") \
	X(evicted,        "Workers evicted to make room.") \
	X(failed_workers, "Workers that failed to load or died.")
/* clang-format on */

struct pc_pool_counters {
#define X(name, help) uint64_t name;
	PC_POOL_COUNTER_LIST(X)
#undef X
};

/* GET /v2/workers: those that exist, the oldest first. */
struct pc_worker_list {
	void *memory;
	struct pc_worker_record *workers;
	size_t worker_count;
};

/* GET /v2/models: the catalog, in its order. */
struct pc_model_list {
	void *memory;
	struct pc_model_record *models;
	size_t model_count;
};

/* GET /v2/state: all of it. */
struct pc_pool_status_response {
	void *memory;
	const char *pool_id;
	const char *version;
	int64_t started_wall_ms;
	uint64_t uptime_secs;
	struct pc_device_record *devices;
	size_t device_count;
	struct pc_model_record *models;
	size_t model_count;
	struct pc_worker_record *workers;
	size_t worker_count;
	struct pc_pool_counters counters;
};

/* POST {orchestrator}/v2/pools/{id}/heartbeat. */
struct pc_heartbeat {
	void *memory;
	const char *pool_id;
	int64_t timestamp; /* when the state was taken, in ms since 1970 */
	const char *version;
	struct pc_pool_status_response state; /* of the same pool; its `memory` is not used */
};

/* ---- errors ---- */

struct pc_api_detail {
	const char *key;
	const char *value;
};

/*
 *     {"error":{"message":"...","type":"invalid_request_error","param":null,
 *               "code":"CONTEXT_EXCEEDED","details":{"prompt_tokens":"812"},
 *               "correlation_id":"...","http_status":400,"retriable":false}}
 *
 * It is the control API's form and at the same time a valid OpenAI error: `type` is one of OpenAI's
 * words, `code` is our stable name from PC_ERROR_LIST, or that of a newer peer, `param` names the
 * field of the request that is at fault. A peer that says no status and no "retriable" gets those
 * of its code.
 */
struct pc_api_error {
	void *memory;
	const char *code;
	const char *message;
	const char *type;  /* NULL: not told */
	const char *param; /* NULL: none in particular */
	struct pc_api_detail *details;
	size_t detail_count;	    /* at most PC_ERROR_DETAILS_MAX */
	const char *correlation_id; /* NULL: none */
	uint16_t http_status;	    /* 0: not told */
	bool retriable;		    /* the same request may succeed later */
};

/* OpenAI's word for an error: "invalid_request_error", "authentication_error",
 * "rate_limit_error", "server_error". Static. */
PC_API const char *pc_api_error_type(int code);

/*
 * An error of ours as it is told to others; its strings are the error's, and its details go into
 * `details`, so that nothing is allocated and nothing freed. What is not set is INTERNAL.
 * `correlation_id` and `param` may be NULL; without a param, the error's detail "param" is it.
 */
PC_API void pc_api_error_of(const struct pc_error *err, const char *correlation_id,
			    const char *param, struct pc_api_detail details[PC_ERROR_DETAILS_MAX],
			    struct pc_api_error *ret_value);
/* And back: *err (it may be NULL) becomes what the other side said, with its details. A code that
 * is not known here becomes INTERNAL. Returns the code. */
PC_API int pc_api_error_take(const struct pc_api_error *value, struct pc_error *err);
/*
 * Writes the text into buf[size], NUL-terminated, and returns its length. It is always valid JSON,
 * whatever the error holds: where it does not fit, details are left out whole, the last first, then
 * the message is cut at a character, and a buffer under about 300 bytes gets
 * `{"error":{"code":"..."}}`, or nothing (0). Bytes that are not UTF-8 become U+FFFD. Does not
 * allocate: an error must be reportable when memory has run out.
 */
PC_API size_t pc_api_error_format(const struct pc_api_error *value, char *buf, size_t size);

/* ---- four functions for each; see the top ---- */

PC_API int pc_worker_spawn_request_parse(const char *text, size_t length,
					 struct pc_worker_spawn_request *ret_value,
					 struct pc_error *err);
PC_API int pc_worker_spawn_request_validate(const struct pc_worker_spawn_request *value,
					    struct pc_error *err);
PC_API int pc_worker_spawn_request_write(const struct pc_worker_spawn_request *value,
					 char **ret_text, struct pc_error *err);
PC_API void pc_worker_spawn_request_free(struct pc_worker_spawn_request *value);

PC_API int pc_worker_stop_request_parse(const char *text, size_t length,
					struct pc_worker_stop_request *ret_value,
					struct pc_error *err);
PC_API int pc_worker_stop_request_validate(const struct pc_worker_stop_request *value,
					   struct pc_error *err);
PC_API int pc_worker_stop_request_write(const struct pc_worker_stop_request *value, char **ret_text,
					struct pc_error *err);
PC_API void pc_worker_stop_request_free(struct pc_worker_stop_request *value);

PC_API int pc_worker_ready_report_parse(const char *text, size_t length,
					struct pc_worker_ready_report *ret_value,
					struct pc_error *err);
PC_API int pc_worker_ready_report_validate(const struct pc_worker_ready_report *value,
					   struct pc_error *err);
PC_API int pc_worker_ready_report_write(const struct pc_worker_ready_report *value, char **ret_text,
					struct pc_error *err);
PC_API void pc_worker_ready_report_free(struct pc_worker_ready_report *value);

PC_API int pc_worker_record_parse(const char *text, size_t length,
				  struct pc_worker_record *ret_value, struct pc_error *err);
PC_API int pc_worker_record_validate(const struct pc_worker_record *value, struct pc_error *err);
PC_API int pc_worker_record_write(const struct pc_worker_record *value, char **ret_text,
				  struct pc_error *err);
PC_API void pc_worker_record_free(struct pc_worker_record *value);

PC_API int pc_worker_spawn_response_parse(const char *text, size_t length,
					  struct pc_worker_spawn_response *ret_value,
					  struct pc_error *err);
PC_API int pc_worker_spawn_response_validate(const struct pc_worker_spawn_response *value,
					     struct pc_error *err);
PC_API int pc_worker_spawn_response_write(const struct pc_worker_spawn_response *value,
					  char **ret_text, struct pc_error *err);
PC_API void pc_worker_spawn_response_free(struct pc_worker_spawn_response *value);

PC_API int pc_worker_list_parse(const char *text, size_t length, struct pc_worker_list *ret_value,
				struct pc_error *err);
PC_API int pc_worker_list_validate(const struct pc_worker_list *value, struct pc_error *err);
PC_API int pc_worker_list_write(const struct pc_worker_list *value, char **ret_text,
				struct pc_error *err);
PC_API void pc_worker_list_free(struct pc_worker_list *value);

PC_API int pc_model_list_parse(const char *text, size_t length, struct pc_model_list *ret_value,
			       struct pc_error *err);
PC_API int pc_model_list_validate(const struct pc_model_list *value, struct pc_error *err);
PC_API int pc_model_list_write(const struct pc_model_list *value, char **ret_text,
			       struct pc_error *err);
PC_API void pc_model_list_free(struct pc_model_list *value);

PC_API int pc_pool_status_response_parse(const char *text, size_t length,
					 struct pc_pool_status_response *ret_value,
					 struct pc_error *err);
PC_API int pc_pool_status_response_validate(const struct pc_pool_status_response *value,
					    struct pc_error *err);
PC_API int pc_pool_status_response_write(const struct pc_pool_status_response *value,
					 char **ret_text, struct pc_error *err);
PC_API void pc_pool_status_response_free(struct pc_pool_status_response *value);

PC_API int pc_heartbeat_parse(const char *text, size_t length, struct pc_heartbeat *ret_value,
			      struct pc_error *err);
PC_API int pc_heartbeat_validate(const struct pc_heartbeat *value, struct pc_error *err);
PC_API int pc_heartbeat_write(const struct pc_heartbeat *value, char **ret_text,
			      struct pc_error *err);
PC_API void pc_heartbeat_free(struct pc_heartbeat *value);

PC_API int pc_api_error_parse(const char *text, size_t length, struct pc_api_error *ret_value,
			      struct pc_error *err);
PC_API int pc_api_error_validate(const struct pc_api_error *value, struct pc_error *err);
PC_API int pc_api_error_write(const struct pc_api_error *value, char **ret_text,
			      struct pc_error *err);
PC_API void pc_api_error_free(struct pc_api_error *value);

PC_END_DECLS

#endif
