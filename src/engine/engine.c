/* SPDX-License-Identifier: MIT */
/*
 * engine.c - finds and opens engine plug-ins. It knows nothing of any engine, loads no model and
 * unloads no plug-in. Any thread.
 *
 * Where a name is looked for, in this order:
 *   1. the folders of $POOLCORE_ENGINE_PATH (ignored in programs with raised privileges);
 *   2. ../engines and ../../engines beside the running program: a build tree, whose programs are in
 *      build/worker and build/tests/unit and whose plug-ins are in build/engines;
 *   3. ../PC_ENGINE_LIBDIR beside the running program: an installed tree that was moved;
 *   4. PC_ENGINE_DIR: where `make install` puts them.
 */
#include <poolcore/engine.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine_paths.h"

/* More kinds of engines than this in one process is a mistake somewhere. A guess; change freely. */
#define OPEN_MAX_ENGINES 16
#define NAME_MAX_BYTES 64

/* The size of a structure that ends with `member`. */
#define SIZE_THROUGH(type, member) \
	(offsetof(struct type, member) + sizeof(((struct type *)NULL)->member))

static struct {
	pthread_mutex_t lock;
	struct {
		void *handle; /* dlopen gives the same handle for the same file */
		const struct pc_engine *engine;
	} entries[OPEN_MAX_ENGINES]; /* [lock] */
	size_t count;		     /* [lock] */
} opened = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void host_log(enum pc_log_level level, const char *subject, const char *line)
{
	pc_log(level, subject, PC_NO_FIELDS, "%s", line);
}

static const struct pc_engine_host host = {
	.size = sizeof(host),
	.log = host_log,
};

/* ---- looking for the file ---- */

/* What the search has tried, for the error's sentence. */
struct search {
	const char *name;
	char path[PATH_MAX];
	char tried[400];
};

/* Looks in the folder `directory` (`length` bytes of it) + `below`. */
static bool look_in(struct search *search, const char *directory, size_t length, const char *below)
{
	int size = snprintf(search->path, sizeof(search->path), "%.*s%s/libpoolcore-%s.so",
			    (int)length, directory, below, search->name);

	if (size < 0 || (size_t)size >= sizeof(search->path))
		return false;
	if (faccessat(AT_FDCWD, search->path, F_OK, AT_EACCESS) == 0)
		return true;

	size_t used = strlen(search->tried);

	snprintf(search->tried + used, sizeof(search->tried) - used, "%s%.*s%s", used ? ", " : "",
		 (int)length, directory, below);
	return false;
}

static bool look_in_list(struct search *search, const char *list)
{
	while (list && *list) {
		size_t length = strcspn(list, ":");

		if (length > 0 && look_in(search, list, length, ""))
			return true;
		list += length;
		list += *list == ':';
	}
	return false;
}

static bool look_beside_program(struct search *search)
{
	static const char *const below[] = {
		"/../engines",
		"/../../engines",
		("/../" PC_ENGINE_LIBDIR),
	};
	char program[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (length <= 0)
		return false;
	program[length] = '\0';
	size_t folder = (size_t)(strrchr(program, '/') - program);

	for (size_t i = 0; i < PC_ARRAY_LEN(below); i++) {
		if (look_in(search, program, folder, below[i]))
			return true;
	}
	return false;
}

static int find(struct search *search, struct pc_error *err)
{
	size_t length = strlen(search->name);

	if (length == 0 || length > NAME_MAX_BYTES ||
	    search->name[strspn(search->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "0123456789_-")])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "'%.64s' is not an engine's name: 1 to %d letters, digits, '_' "
				    "and '-', or a path with a '/'",
				    search->name, NAME_MAX_BYTES);
	if (look_in_list(search, secure_getenv("POOLCORE_ENGINE_PATH")) ||
	    look_beside_program(search) ||
	    look_in(search, PC_ENGINE_DIR, strlen(PC_ENGINE_DIR), ""))
		return 0;
	return pc_error_set(err, PC_E_NOT_FOUND,
			    "no engine '%s': libpoolcore-%s.so is in none of %s", search->name,
			    search->name, search->tried);
}

/* ---- checking what it is ---- */

/* What a capability needs of the table. */
static const struct {
	enum pc_capability capability;
	size_t offset;
	const char *missing;
} needs[] = {
#define NEED(capability, function) \
	{ \
		PC_CAPABILITY_##capability, offsetof(struct pc_engine, function), #function \
	}
	NEED(TEXT_TO_TEXT, generate),	     NEED(TEXT_EMBEDDING, embed_text),
	NEED(IMAGE_EMBEDDING, embed_image),  NEED(VISION, describe_image),
	NEED(TEXT_TO_IMAGE, generate_image),
#undef NEED
};

typedef void (*any_function)(void);

/* A member past the plug-in's size is absent: it must not be read. */
static bool has_function(const struct pc_engine *engine, size_t offset)
{
	any_function function = NULL;

	if (engine->size < offset + sizeof(function))
		return false;
	memcpy(&function, (const char *)engine + offset, sizeof(function));
	return function != NULL;
}

static int check(const struct pc_engine *engine, const char *path, struct pc_error *err)
{
	if (engine->abi != PC_ENGINE_ABI)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' speaks ABI %u, this host speaks %d", path,
				    engine->abi, PC_ENGINE_ABI);
	if (engine->size < SIZE_THROUGH(pc_engine, describe))
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' has a table of %u bytes; %zu are the least", path,
				    engine->size, SIZE_THROUGH(pc_engine, describe));
	if (!engine->name || !engine->version)
		return pc_error_set(err, PC_E_UNSUPPORTED, "engine '%s' has no name or version",
				    path);
	if (!engine->load || !engine->unload || !engine->describe)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' has no load, unload or describe", path);
	for (size_t i = 0; i < PC_ARRAY_LEN(needs); i++) {
		if ((engine->capabilities >> needs[i].capability & 1) &&
		    !has_function(engine, needs[i].offset))
			return pc_error_set(
				err, PC_E_UNSUPPORTED, "engine '%s' has no %s, which %s needs",
				path, needs[i].missing, pc_capability_name(needs[i].capability));
	}
	return 0;
}

/* ---- opening ---- */

static const struct pc_engine *find_opened_locked(void *handle)
{
	for (size_t i = 0; i < opened.count; i++) {
		if (opened.entries[i].handle == handle)
			return opened.entries[i].engine;
	}
	return NULL;
}

/*
 * The plug-in's entry function runs under the lock: it is called once per process, before anybody
 * has the engine, and a plug-in has no way to call back into this file.
 */
static int enter_locked(void *handle, const char *path, const struct pc_engine **ret_engine,
			struct pc_error *err)
{
	pc_engine_entry_fn entry;

	*(void **)&entry = dlsym(handle, PC_ENGINE_ENTRY_SYMBOL);
	if (!entry)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "'%s' is no engine: it does not export " PC_ENGINE_ENTRY_SYMBOL,
				    path);
	if (opened.count == OPEN_MAX_ENGINES)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' would be one more than the %d that a process may "
				    "open",
				    path, OPEN_MAX_ENGINES);

	const struct pc_engine *engine = entry(PC_ENGINE_ABI, &host);

	if (!engine)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "engine '%s' does not work with this host (ABI %d)", path,
				    PC_ENGINE_ABI);
	int rc = check(engine, path, err);

	if (rc)
		return rc;
	opened.entries[opened.count].handle = handle;
	opened.entries[opened.count].engine = engine;
	opened.count++;
	*ret_engine = engine;
	return 0;
}

static int open_path(const char *path, const struct pc_engine **ret_engine, struct pc_error *err)
{
	const struct pc_engine *engine;
	int rc = 0;

	if (faccessat(AT_FDCWD, path, F_OK, AT_EACCESS))
		return pc_error_sys(err, PC_E_NOT_FOUND, errno, "engine '%s'", path);

	/* NODELETE: the code stays in the process even where dlclose gives the handle back. */
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!handle) {
		const char *reason = dlerror();

		return pc_error_set(err, PC_E_UNSUPPORTED, "engine '%s' does not load: %s", path,
				    reason ? reason : "no reason given");
	}

	pthread_mutex_lock(&opened.lock);
	engine = find_opened_locked(handle);
	bool known = engine != NULL;

	if (!known)
		rc = enter_locked(handle, path, &engine, err);
	pthread_mutex_unlock(&opened.lock);
	if (known || rc)
		dlclose(handle); /* the first opener keeps its reference for good */
	if (rc)
		return rc;
	*ret_engine = engine;
	return 0;
}

int pc_engine_open(const char *name_or_path, const struct pc_engine **ret_engine,
		   struct pc_error *err)
{
	if (!name_or_path || !ret_engine)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an engine needs a name and a place for the result");
	if (strchr(name_or_path, '/'))
		return open_path(name_or_path, ret_engine, err);

	struct search search = { .name = name_or_path };
	int rc = find(&search, err);

	return rc ? rc : open_path(search.path, ret_engine, err);
}

/* ---- for hosts ---- */

/* In all that was appended to a request, zero is "not asked for". */
int pc_engine_check_text_request(const struct pc_engine *engine,
				 const struct pc_text_request *request, struct pc_error *err)
{
	const size_t first = SIZE_THROUGH(pc_text_request, stop_count);
	size_t known = PC_ENGINE_HAS(engine, text_request_size) ? engine->text_request_size : 0;

	for (size_t i = known < first ? first : known; i < sizeof(*request); i++) {
		if (((const unsigned char *)request)[i])
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "the engine '%s' chooses tokens by temperature, top_p "
					    "and seed only; leave other such fields out",
					    engine->name);
	}
	return 0;
}
