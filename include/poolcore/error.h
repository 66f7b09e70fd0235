/* SPDX-License-Identifier: MIT */
/*
 * error.h - how anything here says that it could not.
 *
 * Functions return 0 or a negative PC_E... code; their last parameter is a `struct pc_error *`
 * (NULL when the caller does not care) that carries the sentence for a person and the facts for a
 * machine. The structure is plain memory: filling it never allocates and it needs no destructor.
 * The first error wins: setting an error that is already set changes nothing, so that a caller's
 * vaguer complaint never hides the cause.
 */
#ifndef POOLCORE_ERROR_H
#define POOLCORE_ERROR_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

/*
 * One row per error: enum suffix (also the stable name on the wire), number, HTTP status, whether
 * the same request may succeed later, and the general text. Numbers cross the ABI: append, never
 * renumber. Statuses follow RFC 9110; 429, 431 are RFC 6585's; 499 is nginx's convention for "the
 * client closed the request" and appears in logs only.
 */
/* clang-format off */
#define PC_ERROR_LIST(X) \
	X(INVALID_ARGUMENT,      1, 400, false, "an argument is not valid") \
	X(INVALID_REQUEST,       2, 400, false, "the request is not valid") \
	X(INVALID_JSON,          3, 400, false, "the body is not valid JSON") \
	X(UNAUTHORIZED,          4, 401, false, "a valid token is required") \
	X(NOT_FOUND,             5, 404, false, "no such resource") \
	X(MODEL_NOT_FOUND,       6, 404, false, "no such model") \
	X(WORKER_NOT_FOUND,      7, 404, false, "no such worker") \
	X(METHOD_NOT_ALLOWED,    8, 405, false, "the method is not allowed here") \
	X(ALREADY_EXISTS,        9, 409, false, "it exists already") \
	X(PORT_IN_USE,          10, 409, true,  "the port is taken") \
	X(PAYLOAD_TOO_LARGE,    11, 413, false, "the body is too large") \
	X(WRONG_HOST,           12, 421, false, "the Host header names another server") \
	X(TOO_MANY_REQUESTS,    13, 429, true,  "the model's own limit is reached") \
	X(HEADERS_TOO_LARGE,    14, 431, false, "the request head is too large") \
	X(CANCELLED,            15, 499, false, "the request was cancelled") \
	X(INTERNAL,             16, 500, false, "an internal error") \
	X(OUT_OF_MEMORY,        17, 500, true,  "the process could not allocate memory") \
	X(IO,                   18, 500, false, "an input or output operation failed") \
	X(UNSUPPORTED,          19, 501, false, "this is not supported") \
	X(MODEL_ERROR,          20, 502, false, "the model failed on this request") \
	X(WORKER_FAILED,        21, 502, true,  "the worker died or broke off its answer") \
	X(SPAWN_FAILED,         22, 503, true,  "a worker could not be started") \
	X(MODEL_FILE_MISSING,   23, 503, false, "the model's file is missing or not readable") \
	X(NO_WORKERS,           24, 503, true,  "no worker can serve the model") \
	X(QUEUE_FULL,           25, 503, true,  "the model's queue is full") \
	X(SHUTTING_DOWN,        26, 503, true,  "the pool is shutting down") \
	X(MODEL_BACKOFF,        27, 503, true,  "the model failed to load and waits before it is tried again") \
	X(INSUFFICIENT_MEMORY,  28, 503, true,  "there is not enough memory for the model") \
	X(TIMEOUT,              29, 504, true,  "the deadline passed") \
	X(INVALID_CONFIG,       30, 422, false, "the configuration is not valid") \
	X(SEND_FAILED,          31, 502, true,  "the request could not be handed to the worker") \
	X(RECV_FAILED,          32, 502, true,  "the worker's answer could not be received") \
	X(CONTEXT_EXCEEDED,     33, 400, false, "the prompt is longer than the model's context") \
	X(FORBIDDEN,            34, 403, false, "this is not allowed") \
	X(MODEL_FILE_INVALID,   35, 503, false, "the model's file is not what it should be") \
	X(CONFLICT,             36, 409, true,  "somebody else changed it meanwhile")
/* clang-format on */

enum pc_error_code {
	PC_OK = 0,
#define X(name, number, status, retriable, text) PC_E_##name = -(number),
	PC_ERROR_LIST(X)
#undef X
};

#define PC_ERROR_MESSAGE_MAX 640
#define PC_ERROR_DETAILS_MAX 12

struct pc_error_detail {
	char key[32];
	char value[160];
};

struct pc_error {
	int code;      /* 0, or a negative PC_E_... */
	int sys_errno; /* errno of the system call behind it, or 0 */
	char message[PC_ERROR_MESSAGE_MAX];
	unsigned detail_count;
	struct pc_error_detail details[PC_ERROR_DETAILS_MAX];
};

#define PC_ERROR_INIT \
	{ \
		.code = 0 \
	}

/*
 * Sets the error unless one is set already, and returns `code` either way, so that
 * `return pc_error_set(err, PC_E_X, "...")` is the usual last line. Messages that do not fit are
 * cut at a UTF-8 boundary. `err` may be NULL. Any thread that owns `err`.
 */
PC_API int pc_error_set(struct pc_error *err, int code, const char *fmt, ...) PC_PRINTF(3, 4);

/* The same for a failed system call: appends ": " and strerror(sys_errno), and keeps the number. */
PC_API int pc_error_sys(struct pc_error *err, int code, int sys_errno, const char *fmt, ...)
	PC_PRINTF(4, 5);

/* The same for a failed allocation: code OUT_OF_MEMORY and a fixed text. */
PC_API int pc_error_oom(struct pc_error *err);

/* Puts "text: " in front of the message of an error that is set; does
 * nothing to one that is not. */
PC_API void pc_error_prefix(struct pc_error *err, const char *fmt, ...) PC_PRINTF(2, 3);

/*
 * Adds a machine-readable fact (key in snake_case with its unit: needed_bytes). Call it after
 * pc_error_set; an equal key is replaced, and what does not fit is dropped.
 */
PC_API void pc_error_detail(struct pc_error *err, const char *key, const char *fmt, ...)
	PC_PRINTF(3, 4);

/* The value of a detail, or NULL. */
PC_API const char *pc_error_detail_get(const struct pc_error *err, const char *key);

/*
 * Makes it the error that is not set; what it held does not matter, so that this also initialises
 * one. PC_ERROR_INIT does the same and zeroes 3 KB, which paths that every request takes avoid.
 */
PC_API void pc_error_clear(struct pc_error *err);

/* Facts of a code; unknown codes are treated as INTERNAL. The strings are static. */
PC_API const char *pc_error_name(int code); /* "MODEL_NOT_FOUND"; "OK" for 0 */
PC_API const char *pc_error_text(int code); /* the general text of the table */
PC_API int pc_error_http_status(int code);  /* 200 for 0 */
PC_API bool pc_error_retriable(int code);
PC_API int pc_error_from_name(const char *name); /* PC_E_INTERNAL when unknown */

PC_END_DECLS

#endif
