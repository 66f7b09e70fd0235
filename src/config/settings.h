/* SPDX-License-Identifier: MIT */
/*
 * settings.h - the tables of pool settings and the configuration as it is held inside: the public
 * structure, and who set each of its members. Inside the library only.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include "config/schema.h"

#define PC__SETTINGS_MAX 32
#define PC__BACKEND_SETTINGS_MAX 8

/* [pool] ... [log]: members of struct pc_config, the rows of a section together. */
extern const struct pc__setting pc__settings[];
extern const size_t pc__setting_count;

/* [backends.NAME]: members of struct pc_backend_config. */
extern const struct pc__setting pc__backend_settings[];
extern const size_t pc__backend_setting_count;

/* The backends that are always there, as a configuration file would say them. */
extern const char pc__builtin_backends[];

struct pc__backend_sources {
	struct pc__source rows[PC__BACKEND_SETTINGS_MAX];
};

/* A loaded configuration. `pub` comes first: pc_config_show and pc_config_free find the rest. */
struct pc__config {
	struct pc_config pub;
	struct pc__source sources[PC__SETTINGS_MAX];
	struct pc__source *budget_sources;	     /* [memory_budget_count] */
	struct pc__backend_sources *backend_sources; /* [backend_count] */
};

/* The bounds of a device's budget in [memory]. The lower one catches `cpu = 48`, meant as GiB. */
#define PC__BUDGET_MIN ((uint64_t)1 << 20)
#define PC__BUDGET_MAX ((uint64_t)INT64_MAX)

/* "RBEES_POOL_HTTP_LISTEN" for "http", "listen". Free with pc_free; NULL: no memory. */
char *pc__setting_variable(const char *section, const char *key);

/*
 * Whether text is an address to listen on: "HOST:PORT", "[IPV6]:PORT", "unix:/path". Returns NULL
 * and says whether only this machine reaches it, or returns what is wrong (static text).
 */
const char *pc__listen_check(const char *text, bool *ret_loopback);

/*
 * Reads the tables of [backends] into the configuration; those that exist already keep what is not
 * named. `reading` has the document and the folder.
 */
int pc__backends_read(struct pc__config *config, const struct pc__reading *reading,
		      const struct pc__toml_value *table, struct pc_error *err);
void pc__backends_fini(struct pc__config *config);

#endif
