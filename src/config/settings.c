/* SPDX-License-Identifier: MIT */
/*
 * settings.c - the settings: names, kinds, ranges, defaults and meaning. Parser, environment,
 * flags, `config show`, reloading and the manual derive from it; who adds a setting adds a member
 * to struct pc_config and a row here, and says with .effect when a change takes effect: at a
 * reload, unless it needs a restart. No thread of its own.
 */
#include "config/settings.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define NO_LIMIT ((uint64_t)INT64_MAX)

#define POOL_ID_MAX 64 /* a host name's limit on Linux (HOST_NAME_MAX) */

/* ---- defaults that depend on the machine ---- */

/* The host name, with what a pool_id may not hold replaced. */
static char *default_pool_id(void)
{
	char name[POOL_ID_MAX + 1] = "";
	char *out = name;

	gethostname(name, sizeof(name) - 1);
	for (const char *in = name; *in; in++) {
		if (isalnum((unsigned char)*in) || (out > name && strchr("._-", *in)))
			*out++ = *in;
		else if (out > name)
			*out++ = '-';
	}
	*out = '\0';
	return pc_strdup(name[0] ? name : "pool");
}

/* The XDG base directory specification ignores variables that are not absolute. */
static char *default_state_dir(void)
{
	const char *state_home = getenv("XDG_STATE_HOME");
	struct pc__buf path = PC__BUF_INIT;

	if (geteuid() == 0)
		return pc_strdup("/var/lib/pool-managerd");
	pc__buf_puts(&path, state_home && state_home[0] == '/' ? state_home : "~/.local/state");
	pc__buf_puts(&path, "/pool-managerd");
	return pc__buf_steal(&path);
}

/* ---- checks ---- */

static int refine_pool_id(const struct pc__reading *reading, void *object, char **text,
			  struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	(void)object;
	if (pc__is_name(*text, "._-", POOL_ID_MAX))
		return 0;
	return pc__setting_error(reading, err,
				 "%s is no pool id; use letters, digits, '.', '_' and '-', "
				 "beginning with a letter or digit",
				 pc__quoted(*text, shown));
}

static int refine_listen(const struct pc__reading *reading, void *object, char **text,
			 struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];
	const char *wrong;
	bool loopback;

	(void)object;
	wrong = pc__listen_check(*text, &loopback);
	if (!wrong)
		return 0;
	return pc__setting_error(reading, err,
				 "%s: %s; use \"HOST:PORT\", \"[IPV6]:PORT\" or "
				 "\"unix:/path\"",
				 pc__quoted(*text, shown), wrong);
}

static int refine_url(const struct pc__reading *reading, void *object, char **text,
		      struct pc_error *err)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/[]@!$&'()*+,;=%";
	const char *rest = *text;
	char shown[PC__QUOTED_MAX];
	size_t length;

	(void)object;
	if (rest[0] == '\0')
		return 0;
	if (strncmp(rest, "http://", 7) == 0)
		rest += 7;
	else if (strncmp(rest, "https://", 8) == 0)
		rest += 8;
	else
		rest = "";
	if (strchr("/:", rest[0]) /* or its NUL */ || rest[strspn(rest, allowed)] != '\0')
		return pc__setting_error(reading, err,
					 "%s is no address; use \"http://HOST:PORT\" or "
					 "\"https://HOST\", without query",
					 pc__quoted(*text, shown));
	/* Paths are appended to it: "http://host/" and "http://host" are the same. */
	for (length = strlen(*text); (*text)[length - 1] == '/'; length--)
		(*text)[length - 1] = '\0';
	return 0;
}

static const char *const orphan_policies[] = { "adopt", "kill", NULL };
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const log_formats[] = { "human", "json", NULL };

/* ---- the table ---- */

#define AT(member) offsetof(struct pc_config, member)

/* clang-format off */
const struct pc__setting pc__settings[] = {
	{ "pool", "pool_id", PC__SETTING_STRING, AT(pool_id),
	  .effect = PC_EFFECT_RESTART,
	  .min = 1, .max = POOL_ID_MAX, .fallback = "the host name", .compute = default_pool_id,
	  .refine = refine_pool_id,
	  .description = "The name of this pool, as an orchestrator and its metrics know it" },
	{ "pool", "state_dir", PC__SETTING_PATH, AT(pool_state_dir),
	  .effect = PC_EFFECT_RESTART, .min = 1, .compute = default_state_dir,
	  .fallback = "/var/lib/pool-managerd as root, else $XDG_STATE_HOME/pool-managerd or "
		      "~/.local/state/pool-managerd",
	  .description = "The folder of the registry, the workers' logs and their sockets" },
	{ "pool", "request_timeout_secs", PC__SETTING_SECONDS, AT(pool_request_timeout_secs),
	  .min = 1, .max = 86400, .fallback = "30", .unit = "seconds",
	  .description = "How long a request may wait for a worker before it is answered with a "
			 "timeout" },
	{ "pool", "shutdown_timeout_secs", PC__SETTING_SECONDS, AT(pool_shutdown_timeout_secs),
	  .min = 0, .max = 3600, .fallback = "5", .unit = "seconds",
	  .description = "How long running requests may go on after the daemon was told to stop" },
	{ "pool", "maintenance_interval_secs", PC__SETTING_SECONDS,
	  AT(pool_maintenance_interval_secs),
	  .min = 1, .max = 3600, .fallback = "60", .unit = "seconds",
	  .description = "How often idle models are looked at and may lose one worker" },
	{ "pool", "cooldown_idle_minutes", PC__SETTING_INTEGER, AT(pool_cooldown_idle_minutes),
	  .min = 0, .max = 10080, .fallback = "1", .unit = "minutes",
	  .description = "How long all workers of a model must have been idle before it loses one; "
			 "a model's ttl overrides it" },
	{ "pool", "queue_capacity", PC__SETTING_INTEGER, AT(pool_queue_capacity),
	  .min = 1, .max = 1000000, .fallback = "1024", .unit = "requests",
	  .description = "How many requests may wait for one model; the next is refused with "
			 "QUEUE_FULL" },
	{ "pool", "orphan_policy", PC__SETTING_WORD, AT(pool_orphan_policy),
	  .effect = PC_EFFECT_RESTART, .fallback = "adopt", .words = orphan_policies,
	  .description = "What becomes of workers whose daemon died: the next one serves from them, "
			 "or ends them" },
	{ "pool", "cgroup", PC__SETTING_PATH, AT(pool_cgroup),
	  .effect = PC_EFFECT_RESTART, .fallback = "",
	  .description = "A cgroup folder that is ours to divide (systemd: Delegate=yes); each worker "
			 "gets a group of its own in it. Empty: none" },

	{ "health", "interval_secs", PC__SETTING_SECONDS, AT(health_interval_secs),
	  .min = 1, .max = 3600, .fallback = "10", .unit = "seconds",
	  .description = "How often a loaded worker is asked whether it is well, and how long it may "
			 "take to answer" },
	{ "health", "misses", PC__SETTING_INTEGER, AT(health_misses),
	  .min = 1, .max = 100, .fallback = "3", .unit = "probes in a row",
	  .description = "After how many probes without an answer a worker counts as hung and is "
			 "replaced" },
	{ "health", "stopped_secs", PC__SETTING_SECONDS, AT(health_stopped_secs),
	  .min = 0, .max = 86400, .fallback = "5", .unit = "seconds",
	  .description = "How long a worker may stand still, stopped by a signal, before it is "
			 "replaced" },

	{ "http", "listen", PC__SETTING_STRING_LIST, AT(http_listen),
	  .effect = PC_EFFECT_RESTART,
	  .min = 1, .max = 16, .fallback = "127.0.0.1:9200", .refine = refine_listen,
	  .description = "Where to listen: \"HOST:PORT\" (port 0: any free one), \"[IPV6]:PORT\" or "
			 "\"unix:/path\"" },
	{ "http", "token_file", PC__SETTING_PATH, AT(http_token_file),
	  .effect = PC_EFFECT_RESTART, .fallback = "",
	  .description = "A file with the token that clients must send; required when an address is "
			 "not loopback" },
	{ "http", "max_body_bytes", PC__SETTING_SIZE, AT(http_max_body_bytes),
	  .effect = PC_EFFECT_RESTART, .min = KIB(1), .max = GIB(4), .fallback = "32MiB",
	  .description = "The longest request body; a longer one is refused with 413" },
	/* The default is a guess: 32 of the longest bodies; change freely. */
	{ "http", "max_buffered_bytes", PC__SETTING_SIZE, AT(http_max_buffered_bytes),
	  .effect = PC_EFFECT_RESTART, .min = KIB(64), .max = GIB(1024), .fallback = "1GiB",
	  .description = "How much memory the request bodies of all clients may take together; "
			 "beyond it long ones are refused with 503" },
	{ "http", "loops", PC__SETTING_INTEGER, AT(http_loops),
	  .effect = PC_EFFECT_RESTART, .min = 0, .max = 256, .fallback = "0", .unit = "event loops",
	  .description = "How many threads serve connections; 0: one per core" },
	/* The default is a guess that stays under the usual limit of descriptors; change freely. */
	{ "http", "max_connections", PC__SETTING_INTEGER, AT(http_max_connections),
	  .effect = PC_EFFECT_RESTART,
	  .min = 1, .max = 1000000, .fallback = "4096", .unit = "connections",
	  .description = "How many client connections may be open at once" },
	/* nginx's keepalive_timeout has the same default. */
	{ "http", "idle_timeout_secs", PC__SETTING_SECONDS, AT(http_idle_timeout_secs),
	  .effect = PC_EFFECT_RESTART, .min = 1, .max = 86400, .fallback = "75", .unit = "seconds",
	  .description = "How long a client connection may stay open without a request" },

	{ "memory", "budget_percent", PC__SETTING_INTEGER, AT(memory_budget_percent),
	  .min = 1, .max = 100, .fallback = "80", .unit = "percent",
	  .description = "How much of each device's memory workers may reserve; a size at \"cpu\", "
			 "\"gpu0\", \"gpu1\" ... replaces it for that device" },

	{ "catalog", "files", PC__SETTING_PATH_LIST, AT(catalog_files),
	  .max = 256, .fallback = "catalog.toml",
	  .description = "The catalogs of models, relative to this file's folder" },
	{ "catalog", "cache_dir", PC__SETTING_PATH, AT(catalog_cache_dir),
	  .min = 1, .fallback = "~/.cache/rbees-pool/models",
	  .description = "Where downloaded models are kept, in folders named after their "
			 "repository" },

	{ "orchestrator", "url", PC__SETTING_STRING, AT(orchestrator_url),
	  .effect = PC_EFFECT_RESTART, .max = 2048, .fallback = "", .refine = refine_url,
	  .secret = true,
	  .description = "The orchestrator to register with; empty: none" },
	{ "orchestrator", "heartbeat_interval_secs", PC__SETTING_SECONDS,
	  AT(orchestrator_heartbeat_interval_secs),
	  .effect = PC_EFFECT_RESTART, .min = 1, .max = 3600, .fallback = "15", .unit = "seconds",
	  .description = "How often the orchestrator is told the pool's state" },

	{ "staging", "enabled", PC__SETTING_BOOLEAN, AT(staging_enabled),
	  .effect = PC_EFFECT_RESTART, .fallback = "true",
	  .description = "Whether model files are kept in the page cache, so that they load fast" },
	{ "staging", "max_bytes", PC__SETTING_SIZE, AT(staging_max_bytes),
	  .effect = PC_EFFECT_RESTART, .min = 0, .max = NO_LIMIT, .fallback = "64GiB",
	  .description = "How much of the page cache model files may take" },

	{ "log", "level", PC__SETTING_WORD, AT(log_level),
	  .fallback = "info", .words = log_levels,
	  .description = "The least severe messages that are written" },
	{ "log", "format", PC__SETTING_WORD, AT(log_format),
	  .effect = PC_EFFECT_RESTART, .fallback = "human", .words = log_formats,
	  .description = "How messages are written: lines for people, or one JSON object a line" },
};
/* clang-format on */

const size_t pc__setting_count = PC_ARRAY_LEN(pc__settings);
_Static_assert(PC_ARRAY_LEN(pc__settings) <= PC__SETTINGS_MAX, "raise PC__SETTINGS_MAX");

char *pc__setting_variable(const char *section, const char *key)
{
	struct pc__buf name = PC__BUF_INIT;
	char *text;

	pc__buf_printf(&name, "RBEES_POOL_%s_%s", section, key);
	text = pc__buf_steal(&name);
	for (char *p = text; p && *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return text;
}
