/* SPDX-License-Identifier: MIT */
/*
 * runtime.h - ONNX Runtime, reached through dlopen: nothing is linked, and none of its headers is
 * used. Its C interface is one table of function pointers to which functions are only ever added,
 * so that the place of each is its name.
 *
 * A process opens one ONNX Runtime, at the first load() that finds one, and keeps it.
 */
#ifndef ONNX_RUNTIME_H
#define ONNX_RUNTIME_H

#include <poolcore/engine.h>

/*
 * The version of the interface that is asked for: ONNX Runtime 1.12 (2022) and every later one
 * offers it. What is used here is older (the newest, slot 130, came with 1.6); a guess, change
 * freely. The tests run with the version that tools/setup pins.
 */
#define ORT_API_VERSION 12
#define ORT_API_RELEASE "1.12"

struct ort_status;
struct ort_env;
struct ort_session;
struct ort_session_options;
struct ort_run_options;
struct ort_allocator;
struct ort_memory_info;
struct ort_value;
struct ort_type_info;
struct ort_tensor_info; /* a part of a type_info, or OrtTensorTypeAndShapeInfo of its own */

/* Called for each line of ONNX Runtime's log, on any thread. */
typedef void (*ort_log_function)(void *ctx, int severity, const char *category, const char *id,
				 const char *location, const char *message);

/* Values of ONNX Runtime's enums; they cross its ABI and stay. */
enum {
	ORT_SEVERITY_WARNING = 2,
	ORT_SEVERITY_FATAL = 4,
	ORT_OPTIMIZE_ALL = 99,	 /* ORT_ENABLE_ALL */
	ORT_ELEMENT_FLOAT = 1,	 /* ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT */
	ORT_ALLOCATOR_ARENA = 1, /* OrtArenaAllocator */
	ORT_MEMORY_DEFAULT = 0,	 /* OrtMemTypeDefault */
};

/*
 * Slot in the table, result, name (ONNX Runtime's own), parameters. Where the result is a status,
 * NULL is success. Sources: onnxruntime_c_api.h; every one is called by the tests.
 */
/* clang-format off */
#define ORT_FUNCTIONS(X) \
	X(2, const char *, GetErrorMessage, (const struct ort_status *)) \
	X(4, struct ort_status *, CreateEnvWithCustomLogger, \
	  (ort_log_function, void *, int, const char *, struct ort_env **)) \
	X(7, struct ort_status *, CreateSession, \
	  (struct ort_env *, const char *, const struct ort_session_options *, struct ort_session **)) \
	X(9, struct ort_status *, Run, \
	  (struct ort_session *, const struct ort_run_options *, const char *const *, \
	   const struct ort_value *const *, size_t, const char *const *, size_t, struct ort_value **)) \
	X(10, struct ort_status *, CreateSessionOptions, (struct ort_session_options **)) \
	X(17, struct ort_status *, DisableMemPattern, (struct ort_session_options *)) \
	X(19, struct ort_status *, DisableCpuMemArena, (struct ort_session_options *)) \
	X(23, struct ort_status *, SetSessionGraphOptimizationLevel, (struct ort_session_options *, int)) \
	X(24, struct ort_status *, SetIntraOpNumThreads, (struct ort_session_options *, int)) \
	X(30, struct ort_status *, SessionGetInputCount, (const struct ort_session *, size_t *)) \
	X(31, struct ort_status *, SessionGetOutputCount, (const struct ort_session *, size_t *)) \
	X(33, struct ort_status *, SessionGetInputTypeInfo, \
	  (const struct ort_session *, size_t, struct ort_type_info **)) \
	X(34, struct ort_status *, SessionGetOutputTypeInfo, \
	  (const struct ort_session *, size_t, struct ort_type_info **)) \
	X(36, struct ort_status *, SessionGetInputName, \
	  (const struct ort_session *, size_t, struct ort_allocator *, char **)) \
	X(37, struct ort_status *, SessionGetOutputName, \
	  (const struct ort_session *, size_t, struct ort_allocator *, char **)) \
	X(39, struct ort_status *, CreateRunOptions, (struct ort_run_options **)) \
	X(46, struct ort_status *, RunOptionsSetTerminate, (struct ort_run_options *)) \
	X(47, struct ort_status *, RunOptionsUnsetTerminate, (struct ort_run_options *)) \
	X(49, struct ort_status *, CreateTensorWithDataAsOrtValue, \
	  (const struct ort_memory_info *, void *, size_t, const int64_t *, size_t, int, \
	   struct ort_value **)) \
	X(51, struct ort_status *, GetTensorMutableData, (struct ort_value *, void **)) \
	X(55, struct ort_status *, CastTypeInfoToTensorInfo, \
	  (const struct ort_type_info *, const struct ort_tensor_info **)) \
	X(60, struct ort_status *, GetTensorElementType, (const struct ort_tensor_info *, int *)) \
	X(61, struct ort_status *, GetDimensionsCount, (const struct ort_tensor_info *, size_t *)) \
	X(62, struct ort_status *, GetDimensions, (const struct ort_tensor_info *, int64_t *, size_t)) \
	X(65, struct ort_status *, GetTensorTypeAndShape, \
	  (const struct ort_value *, struct ort_tensor_info **)) \
	X(69, struct ort_status *, CreateCpuMemoryInfo, (int, int, struct ort_memory_info **)) \
	X(76, struct ort_status *, AllocatorFree, (struct ort_allocator *, void *)) \
	X(78, struct ort_status *, GetAllocatorWithDefaultOptions, (struct ort_allocator **)) \
	X(92, void, ReleaseEnv, (struct ort_env *)) \
	X(93, void, ReleaseStatus, (struct ort_status *)) \
	X(95, void, ReleaseSession, (struct ort_session *)) \
	X(96, void, ReleaseValue, (struct ort_value *)) \
	X(97, void, ReleaseRunOptions, (struct ort_run_options *)) \
	X(98, void, ReleaseTypeInfo, (struct ort_type_info *)) \
	X(99, void, ReleaseTensorTypeAndShapeInfo, (struct ort_tensor_info *)) \
	X(100, void, ReleaseSessionOptions, (struct ort_session_options *)) \
	X(130, struct ort_status *, AddSessionConfigEntry, \
	  (struct ort_session_options *, const char *, const char *))
/* clang-format on */

struct ort_api {
#define X(slot, result, name, parameters) result(*name) parameters;
	ORT_FUNCTIONS(X)
#undef X
};

/* [const once runtime_need has succeeded] */
extern struct ort_api ort;
extern struct ort_env *ort_env;
extern struct ort_allocator *ort_allocator; /* of names; needs no release */
extern struct ort_memory_info *ort_memory;  /* "in the memory of the processor" */

/* Where ONNX Runtime's log lines go. Once, before anything else here is called. */
void runtime_init(const struct pc_engine_host *host);

/*
 * Opens ONNX Runtime unless it is open. Where it is looked for is at the top of runtime.c.
 * UNSUPPORTED: there is none, or only one that does not offer the interface; says where it was
 * looked for. After that the next call looks again. Any thread.
 */
int runtime_need(struct pc_error *err);

/* "1.28.2", or "not found"; of the runtime that is open. */
const char *runtime_version(void);

/*
 * 0 for no status. Any other becomes an error of the code `code`, "what: ONNX Runtime's sentence",
 * and is released.
 */
int ort_check(struct ort_status *status, int code, const char *what, struct pc_error *err);

#endif
