/* SPDX-License-Identifier: MIT */
/*
 * config.h - the settings of a pool, read from TOML, environment and flags, checked whole before
 * anything starts. One table (src/config/settings.c) makes the parser, the defaults, the ranges,
 * `config show` and the manual page.
 */
#ifndef POOLCORE_CONFIG_H
#define POOLCORE_CONFIG_H

#include <poolcore/error.h>

#include <stdio.h>

PC_BEGIN_DECLS

/* A list of strings; items[count] is NULL, so that it serves as an argv. */
struct pc_string_list {
	char **items;
	size_t count;
};
/* Frees the strings and the array, and leaves the list empty. NULL is allowed. */
PC_API void pc_string_list_free(struct pc_string_list *list);

enum pc_readiness {
	PC_READINESS_HTTP,     /* "http:/health": poll the path until it answers 200 */
	PC_READINESS_CALLBACK, /* "callback": the worker calls POST /v2/internal/workers/ready */
};

/* When a value that was changed takes effect. */
enum pc_setting_effect {
	PC_EFFECT_RELOAD = 0,  /* at a reload of the configuration */
	PC_EFFECT_WORKERS = 1, /* at a reload; workers that were launched without it are replaced */
	PC_EFFECT_RESTART = 2, /* when the daemon is started anew */
};
/* "reload", "workers", "restart". */
PC_API const char *pc_setting_effect_name(enum pc_setting_effect effect);

/* What stands between two sources when they disagree: flag beats environment beats file beats
 * default. */
enum pc_setting_source {
	PC_SOURCE_DEFAULT = 0,
	PC_SOURCE_FILE = 1,
	PC_SOURCE_ENVIRONMENT = 2,
	PC_SOURCE_FLAG = 3,
};
/* "default", "file", "environment", "flag". */
PC_API const char *pc_setting_source_name(enum pc_setting_source source);

struct pc_backend_config {
	char *name;
	struct pc_string_list command; /* argv template: one argument per element, never a shell */
	struct pc_string_list env;     /* "NAME=template" */
	enum pc_readiness readiness;
	char *readiness_path;	     /* for PC_READINESS_HTTP; starts with '/' */
	char *health;		     /* "http:/path", "readiness" or "none" */
	uint64_t start_timeout_secs; /* 120 */
	uint64_t stop_grace_secs;    /* 10 */
	char *device;		     /* "auto", "cpu", "gpu0", ...; models may override it */
	char *model_by;		     /* "path", "descriptor", "auto"; see pc_model_hand_over */
};

struct pc_device_budget_config {
	char *device;	/* "cpu", "gpu0", ... */
	uint64_t bytes; /* replaces the percentage */
};

/*
 * Everything as it will be used: defaults filled in, paths absolute, '~' expanded. Read-only after
 * loading. The names are those of the file, section first.
 */
struct pc_config {
	char *path; /* the file it came from, or NULL */

	char *pool_id;
	char *pool_state_dir;
	uint64_t pool_request_timeout_secs;
	uint64_t pool_shutdown_timeout_secs;
	uint64_t pool_maintenance_interval_secs;
	uint64_t pool_cooldown_idle_minutes;
	uint64_t pool_queue_capacity;
	char *pool_orphan_policy; /* "adopt", "kill" */
	char *pool_cgroup;	  /* a folder of a cgroup file system, or "" */

	uint64_t health_interval_secs;
	uint64_t health_misses;
	uint64_t health_stopped_secs;

	struct pc_string_list http_listen; /* "127.0.0.1:9200", "[::1]:9200", "unix:/path" */
	char *http_token_file;		   /* "" : none */
	uint64_t http_max_body_bytes;
	uint64_t http_max_buffered_bytes; /* of all clients' bodies together */
	uint64_t http_loops;		  /* 0: one per core */
	uint64_t http_max_connections;
	uint64_t http_idle_timeout_secs; /* a client connection without a request */

	uint64_t memory_budget_percent;
	struct pc_device_budget_config *memory_budgets;
	size_t memory_budget_count;

	struct pc_string_list catalog_files; /* absolute */
	char *catalog_cache_dir;

	char *orchestrator_url;
	uint64_t orchestrator_heartbeat_interval_secs;

	bool staging_enabled;
	uint64_t staging_max_bytes;

	char *log_level;  /* "debug", "info", "warn", "error" */
	char *log_format; /* "human", "json" */

	struct pc_backend_config *backends; /* the built-in "pool-worker" is always among them */
	size_t backend_count;
};

struct pc_setting_override {
	const char *key; /* "http.listen" */
	const char *value;
	enum pc_setting_source source;
	const char *name; /* what messages call it: "--listen"; NULL: "--http.listen" */
};

/*
 * Loads the configuration. `path` may be NULL: then the defaults, the environment and the flags are
 * all there is. `overrides` are the program's flags in order. The environment is read as
 * RBEES_POOL_<SECTION>_<KEY> in upper case (RBEES_POOL_HTTP_LISTEN; lists are separated by commas).
 * Backends come from the file only; other variables that begin with RBEES_POOL_ are left alone. Any
 * thread, while nobody changes the environment or the working directory.
 * Relative paths are relative to the file's folder, those of flags and environment to the working
 * directory. Errors: INVALID_CONFIG, "FILE:LINE:COLUMN: key: what is wrong, what would be right"
 * with the details file, line, column, key; IO when the file cannot be read; OUT_OF_MEMORY. Nothing
 * is returned after an error.
 */
PC_API int pc_config_load(const char *path, const struct pc_setting_override *overrides,
			  size_t override_count, struct pc_config **ret_config,
			  struct pc_error *err);
PC_API void pc_config_free(struct pc_config *config);

/* The backend of that name, or NULL. */
PC_API const struct pc_backend_config *pc_config_backend(const struct pc_config *config,
							 const char *name);

/*
 * Writes the effective settings as TOML, each with its meaning above and a comment that names its
 * source; it reads back to the same settings. `config` must come from pc_config_load. Errors: IO,
 * OUT_OF_MEMORY.
 */
PC_API int pc_config_show(const struct pc_config *config, FILE *file, struct pc_error *err);

/* One setting in effect, for who visits them all; the strings are valid during the visit. */
struct pc_setting_view {
	const char *section; /* "pool", "backends.llama-server" */
	const char *key;
	const char *value; /* as JSON; sizes in bytes */
	enum pc_setting_source source;
	const char *file; /* of PC_SOURCE_FILE, else NULL */
	unsigned line;	  /* 0: no file says it */
	const char *name; /* the variable or the flag, else NULL */
	enum pc_setting_effect effect;
};

/*
 * Calls `visit` for every setting, in the table's order, budgets of devices and backends too. With
 * `hide_secrets` the values of backends' variables, and the user in orchestrator.url, are replaced
 * by "hidden". `config` must come from pc_config_load. Errors: OUT_OF_MEMORY, before any visit or
 * between two.
 */
PC_API int pc_config_each(const struct pc_config *config, bool hide_secrets,
			  void (*visit)(void *ctx, const struct pc_setting_view *view), void *ctx,
			  struct pc_error *err);

/* ---- two configurations ---- */

/* How much two of a kind differ. */
enum pc_difference {
	PC_DIFFERENCE_NONE = 0,
	PC_DIFFERENCE_SETTINGS = 1, /* but not in how a worker is launched */
	PC_DIFFERENCE_LAUNCH = 2,
};
PC_API enum pc_difference pc_backend_config_compare(const struct pc_backend_config *a,
						    const struct pc_backend_config *b);

enum pc_change_kind {
	PC_CHANGE_CHANGED,
	PC_CHANGE_ADDED,
	PC_CHANGE_REMOVED,
};
struct pc_config_change {
	enum pc_change_kind kind;
	enum pc_setting_effect effect;
	const char *name; /* "pool.queue_capacity", "memory.gpu0", "backend llama-server" */
};
/*
 * Calls `visit` for whatever differs between two configurations of pc_config_load: single settings
 * and device budgets are changed, backends are added, removed or changed as a whole. Where a value
 * comes from makes no difference.
 */
PC_API void pc_config_diff(const struct pc_config *before, const struct pc_config *after,
			   void (*visit)(void *ctx, const struct pc_config_change *change),
			   void *ctx);
/*
 * Puts into `config` what `in_force` says of the settings that take effect at a restart only, with
 * where it came from: then `config` is what will be in force when it is taken over. Errors:
 * OUT_OF_MEMORY, after which `config` can only be freed.
 */
PC_API int pc_config_keep(struct pc_config *config, const struct pc_config *in_force,
			  struct pc_error *err);

/* Writes the settings' reference (subsections in man(7) macros) from the table. Errors: IO,
 * OUT_OF_MEMORY. */
PC_API int pc_config_write_reference(FILE *file, struct pc_error *err);

PC_END_DECLS

#endif
