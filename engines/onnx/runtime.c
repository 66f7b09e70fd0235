/* SPDX-License-Identifier: MIT */
/*
 * runtime.c - finds and opens ONNX Runtime. Loads no model. Any thread.
 *
 * Where it is looked for, in this order; the first that offers the interface is taken:
 *   1. the file that $POOLCORE_ONNXRUNTIME names, and then nowhere else (ignored in programs with
 *      raised privileges);
 *   2. what the system's loader finds: libonnxruntime.so.1.N as Debian calls it, the newest first,
 *      libonnxruntime.so.1 as its makers do, and libonnxruntime.so;
 *   3. onnx/libonnxruntime.so beside this plug-in: what tools/setup fetched, in a build tree and in
 *      an installed one.
 */
#include "runtime.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "POOLCORE_ONNXRUNTIME"
#define LIBRARY "libonnxruntime.so"

/* Releases 1.N that are looked for by name. There is none of this number yet; change freely. */
#define NEWEST_RELEASE 60

struct ort_api ort;
struct ort_env *ort_env;
struct ort_allocator *ort_allocator;
struct ort_memory_info *ort_memory;

/* What OrtGetApiBase returns. */
struct api_base {
	const void *(*get_api)(uint32_t version);
	const char *(*version)(void);
};

static struct {
	pthread_mutex_t lock;
	bool ready;			   /* [lock] */
	char version[32];		   /* [lock] */
	const struct pc_engine_host *host; /* [const after runtime_init] */
} runtime = { .lock = PTHREAD_MUTEX_INITIALIZER, .version = "not found" };

/* ---- the log ---- */

/*
 * What goes wrong comes back as a status too, and whoever handles that logs it: once is enough. A
 * fatal line is the last one that there will be.
 */
static void take_line(void *ctx, int severity, const char *category, const char *id,
		      const char *location, const char *message)
{
	(void)ctx, (void)category, (void)id, (void)location;
	runtime.host->log(severity >= ORT_SEVERITY_FATAL ? PC_LOG_ERROR : PC_LOG_DEBUG, "onnx",
			  message);
}

void runtime_init(const struct pc_engine_host *host)
{
	runtime.host = host;
}

int ort_check(struct ort_status *status, int code, const char *what, struct pc_error *err)
{
	if (!status)
		return 0;
	pc_error_set(err, code, "%s: %s", what, ort.GetErrorMessage(status));
	ort.ReleaseStatus(status);
	return code;
}

/* ---- looking for it ---- */

/* What the search has met, for the error's sentence. */
struct search {
	const void *const *table;
	char version[32];
	char complaint[320]; /* about the last library that was there and would not do */
};

/* Looks at one library; false when it is not there or will not do. */
static bool look_at(struct search *search, const char *name)
{
	void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return false;
	const struct api_base *(*get_base)(void) = NULL;
	void *symbol = dlsym(handle, "OrtGetApiBase");

	memcpy(&get_base, &symbol, sizeof(symbol));
	if (!get_base) {
		snprintf(search->complaint, sizeof(search->complaint),
			 "'%.200s' is no ONNX Runtime: it has no OrtGetApiBase", name);
		dlclose(handle);
		return false;
	}
	const struct api_base *base = get_base();

	snprintf(search->version, sizeof(search->version), "%s", base->version());
	search->table = base->get_api(ORT_API_VERSION);
	if (!search->table)
		snprintf(search->complaint, sizeof(search->complaint),
			 "'%.200s' is ONNX Runtime %s, without the interface of %s that is needed",
			 name, search->version, ORT_API_RELEASE);
	/* One that will do stays open for ever; one that will not is left open too: it may have
	 * begun threads. */
	return search->table != NULL;
}

static bool look_in_system(struct search *search)
{
	char name[64];

	for (int release = NEWEST_RELEASE; release >= ORT_API_VERSION; release--) {
		snprintf(name, sizeof(name), LIBRARY ".1.%d", release);
		if (look_at(search, name))
			return true;
	}
	return look_at(search, LIBRARY ".1") || look_at(search, LIBRARY);
}

/* The folder `onnx` beside this plug-in; "" when nobody knows where that is. */
static void find_own_folder(char *folder, size_t size)
{
	Dl_info info;
	const char *slash = NULL;

	folder[0] = '\0';
	if (dladdr((void *)find_own_folder, &info) && info.dli_fname)
		slash = strrchr(info.dli_fname, '/');
	if (slash && (size_t)(slash - info.dli_fname) + sizeof("/onnx") <= size)
		snprintf(folder, size, "%.*s/onnx", (int)(slash - info.dli_fname), info.dli_fname);
}

static bool look_beside(struct search *search, const char *folder)
{
	char path[PATH_MAX + sizeof("/" LIBRARY)];

	snprintf(path, sizeof(path), "%s/" LIBRARY, folder);
	return *folder && look_at(search, path);
}

static int find(struct search *search, struct pc_error *err)
{
	const char *given = secure_getenv(VARIABLE);
	char folder[PATH_MAX];

	if (given && *given) {
		if (look_at(search, given))
			return 0;
		if (*search->complaint)
			return pc_error_set(err, PC_E_UNSUPPORTED, "$" VARIABLE ": %s",
					    search->complaint);
		const char *why = dlerror();

		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "$" VARIABLE " names '%.200s', which cannot be opened: %s",
				    given, why ? why : "no reason given");
	}
	find_own_folder(folder, sizeof(folder));
	if (look_in_system(search) || look_beside(search, folder))
		return 0;
	if (*search->complaint)
		return pc_error_set(err, PC_E_UNSUPPORTED, "%s", search->complaint);
	return pc_error_set(err, PC_E_UNSUPPORTED,
			    "there is no ONNX Runtime: the system's loader finds no " LIBRARY
			    ", and there is none in '%.200s'; install it, or put its path into "
			    "$" VARIABLE,
			    folder);
}

/* ---- opening it ---- */

static void take_table(const void *const *table)
{
#define X(slot, result, name, parameters) memcpy(&ort.name, &table[slot], sizeof(ort.name));
	ORT_FUNCTIONS(X)
#undef X
}

static int start(struct pc_error *err)
{
	int rc = ort_check(ort.CreateEnvWithCustomLogger(take_line, NULL, ORT_SEVERITY_WARNING,
							 "poolcore", &ort_env),
			   PC_E_UNSUPPORTED, "ONNX Runtime cannot start", err);

	if (!rc)
		rc = ort_check(ort.GetAllocatorWithDefaultOptions(&ort_allocator), PC_E_UNSUPPORTED,
			       "ONNX Runtime has no allocator", err);
	if (!rc)
		rc = ort_check(ort.CreateCpuMemoryInfo(ORT_ALLOCATOR_ARENA, ORT_MEMORY_DEFAULT,
						       &ort_memory),
			       PC_E_UNSUPPORTED, "ONNX Runtime knows no memory", err);
	if (rc && ort_env) {
		ort.ReleaseEnv(ort_env);
		ort_env = NULL;
	}
	return rc;
}

static int need_locked(struct pc_error *err)
{
	struct search search = { .table = NULL };
	int rc = find(&search, err);

	if (rc)
		return rc;
	take_table(search.table);
	rc = start(err);
	if (rc)
		return rc;
	memcpy(runtime.version, search.version, sizeof(runtime.version));
	runtime.ready = true;
	return 0;
}

int runtime_need(struct pc_error *err)
{
	pthread_mutex_lock(&runtime.lock);
	int rc = runtime.ready ? 0 : need_locked(err);

	pthread_mutex_unlock(&runtime.lock);
	return rc;
}

const char *runtime_version(void)
{
	return runtime.version;
}
