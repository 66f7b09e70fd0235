/* SPDX-License-Identifier: MIT */
/*
 * load.c - brings the sources of the configuration together: defaults, file, environment, flags,
 * each over the one before, and checks what no single setting can. It opens nothing but the file.
 * Runs once, before threads start: it reads the environment.
 *
 * Every source is checked in full, also where a later one wins: a wrong value never waits for the
 * day on which the flag that hid it is dropped.
 */
#include <poolcore/config.h>

#include <ctype.h>
#include <unistd.h>

#include "config/path.h"
#include "config/settings.h"

struct loader {
	struct pc__config *config;
	char *file_folder; /* relative paths of file and defaults begin here */
	char *working_folder;
	struct pc__toml_doc *doc; /* NULL without a file */
};

#define VARIABLE_PREFIX "RBEES_POOL_"

/* ---- who set what ---- */

/* Takes over source.name. */
static void set_source(struct pc__source *slot, const struct pc__source *source)
{
	pc_free(slot->name);
	*slot = *source;
}

/* A reading of `row` that a cross-check can complain with after everything was read. */
static struct pc__reading reading_of(const struct loader *loader, const char *section,
				     const char *key)
{
	const struct pc__setting *row = pc__setting_find(pc__settings, pc__setting_count, section,
							 key);
	const struct pc__source *source = &loader->config->sources[row - pc__settings];

	return (struct pc__reading){
		.row = row,
		.scope = section,
		.doc = source->kind == PC_SOURCE_FILE ? loader->doc : NULL,
		.source = *source,
	};
}

/* ---- [memory]: a key per device ---- */

/* Sets or, with 0 bytes, forgets a device's budget. Takes over source->name on success. */
static int set_budget(struct pc__config *config, const char *device, uint64_t bytes,
		      const struct pc__source *source, struct pc_error *err)
{
	struct pc_config *pub = &config->pub;
	struct pc_device_budget_config *budgets;
	struct pc__source *sources;
	size_t i = 0, count = pub->memory_budget_count;

	while (i < count && strcmp(pub->memory_budgets[i].device, device) != 0)
		i++;
	if (i < count && bytes == 0) {
		pc_free(pub->memory_budgets[i].device);
		pc_free(config->budget_sources[i].name);
		pub->memory_budgets[i] = pub->memory_budgets[count - 1];
		config->budget_sources[i] = config->budget_sources[count - 1];
		pub->memory_budget_count--;
	}
	if (bytes == 0) {
		pc_free(source->name);
		return 0;
	}
	if (i == count) {
		budgets = pc_realloc(pub->memory_budgets, (count + 1) * sizeof(*budgets));
		if (!budgets)
			return pc_error_oom(err);
		pub->memory_budgets = budgets;
		sources = pc_realloc(config->budget_sources, (count + 1) * sizeof(*sources));
		if (!sources)
			return pc_error_oom(err);
		config->budget_sources = sources;
		budgets[i].device = pc_strdup(device);
		if (!budgets[i].device)
			return pc_error_oom(err);
		sources[i] = (struct pc__source){ .name = NULL };
		pub->memory_budget_count++;
	}
	pub->memory_budgets[i].bytes = bytes;
	set_source(&config->budget_sources[i], source);
	return 0;
}

/* Reads `device = "48GiB"` from a document (value) or a text; "" stands for the percentage. */
static int read_budget(struct pc__config *config, const struct pc__reading *reading,
		       const char *device, const struct pc__toml_value *value, const char *text,
		       struct pc_error *err)
{
	const struct pc__setting row = { .section = "memory", .key = device };
	const char *said = value ? pc__toml_string(value, NULL) : text;
	struct pc__reading inner = *reading;
	uint64_t bytes = 0;
	int rc = 0;

	inner.row = &row;
	if (!said || said[0])
		rc = pc__setting_size_of(&inner, value, text, PC__BUDGET_MIN, PC__BUDGET_MAX,
					 &bytes, err);
	return rc ? rc : set_budget(config, device, bytes, &inner.source, err);
}

static bool is_budget(const char *section, const char *key)
{
	return strcmp(section, "memory") == 0 && pc__is_device(key, false);
}

/* No table has the devices, which are the keys that [memory] is there for. */
static int unknown_key(const struct pc__reading *reading, const char *section, const char *key,
		       struct pc_error *err)
{
	struct pc__nearest nearest = PC__NEAREST_INIT(key);
	const struct pc__setting named = { .key = key };
	struct pc__reading unknown = *reading;

	pc__nearest_offer(&nearest, "budget_percent");
	if (strcmp(section, "memory") != 0 || nearest.best)
		return pc__setting_unknown(reading, key, pc__settings, pc__setting_count, section,
					   err);
	unknown.row = &named;
	return pc__setting_error(&unknown, err,
				 "unknown key; known here: budget_percent, and a device's name: "
				 "cpu, gpu0, gpu1 ...");
}

/* ---- the file ---- */

static int read_section(struct loader *loader, const struct pc__toml_entry *section,
			const struct pc__reading *outer, struct pc_error *err)
{
	struct pc__config *config = loader->config;
	struct pc__reading reading = *outer;
	int rc = 0;

	reading.scope = section->key;
	if (pc__toml_kind(section->value) != PC__TOML_TABLE) {
		reading.source.pos = pc__toml_pos(section->value);
		return pc__setting_wrong_kind(&reading, section->value, "a table of settings", err);
	}
	for (size_t i = 0; rc == 0 && i < pc__toml_table_size(section->value); i++) {
		const struct pc__toml_entry *item = pc__toml_table_entry(section->value, i);
		const struct pc__setting *row = pc__setting_find(pc__settings, pc__setting_count,
								 section->key, item->key);
		bool whole = strlen(item->key) == item->key_length;

		reading.row = row;
		reading.source.pos = pc__toml_pos(item->value);
		if (row && whole) {
			rc = pc__setting_read_toml(&reading, item->value, config, err);
			if (rc == 0)
				set_source(&config->sources[row - pc__settings], &reading.source);
		} else if (whole && is_budget(section->key, item->key)) {
			rc = read_budget(config, &reading, item->key, item->value, NULL, err);
		} else {
			reading.source.pos = item->pos;
			rc = unknown_key(&reading, section->key, item->key, err);
		}
	}
	return rc;
}

static int unknown_section(const struct pc__reading *outer, const char *name, struct pc_error *err)
{
	const struct pc__setting *moved = pc__setting_find(pc__settings, pc__setting_count, NULL,
							   name);
	struct pc__nearest nearest = PC__NEAREST_INIT(name);
	struct pc__reading reading = *outer;
	struct pc__buf all = PC__BUF_INIT;

	reading.scope = name;
	if (moved)
		return pc__setting_error(&reading, err,
					 "it stands outside of its section; put it under [%s]",
					 moved->section);
	for (size_t i = 0; i < pc__setting_count; i++) {
		if (i && strcmp(pc__settings[i].section, pc__settings[i - 1].section) == 0)
			continue;
		pc__nearest_offer(&nearest, pc__settings[i].section);
		pc__buf_printf(&all, "[%s], ", pc__settings[i].section);
	}
	pc__nearest_offer(&nearest, "backends");

	pc_auto(pc_free) char *known = pc__buf_steal(&all);

	if (!known)
		return pc_error_oom(err);
	if (nearest.best)
		return pc__setting_error(&reading, err, "unknown section; did you mean [%s%s]?",
					 nearest.best,
					 strcmp(nearest.best, "backends") == 0 ? ".NAME" : "");
	return pc__setting_error(&reading, err, "unknown section; known: %s[backends.NAME]", known);
}

static bool is_section(const char *name)
{
	for (size_t i = 0; i < pc__setting_count; i++) {
		if (strcmp(pc__settings[i].section, name) == 0)
			return true;
	}
	return false;
}

static int apply_file(struct loader *loader, struct pc_error *err)
{
	const struct pc__toml_value *root = pc__toml_root(loader->doc);
	struct pc__reading reading = {
		.doc = loader->doc,
		.source = { .kind = PC_SOURCE_FILE },
		.folder = loader->file_folder,
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < pc__toml_table_size(root); i++) {
		const struct pc__toml_entry *section = pc__toml_table_entry(root, i);

		reading.source.pos = section->pos;
		reading.scope = section->key;
		if (strcmp(section->key, "backends") == 0)
			rc = pc__backends_read(loader->config, &reading, section->value, err);
		else if (is_section(section->key))
			rc = read_section(loader, section, &reading, err);
		else
			rc = unknown_section(&reading, section->key, err);
	}
	return rc;
}

/* ---- texts: defaults, environment, flags ---- */

/* `name` is what a message calls the source; it is copied. */
static int apply_text(struct loader *loader, const char *section, const char *key, const char *text,
		      enum pc_setting_source kind, const char *name, struct pc_error *err)
{
	const struct pc__setting *row = pc__setting_find(pc__settings, pc__setting_count, section,
							 key);
	struct pc__reading reading = {
		.row = row,
		.scope = section,
		.source = { .kind = kind, .name = name ? pc_strdup(name) : NULL },
		.folder = kind == PC_SOURCE_DEFAULT ? loader->file_folder : loader->working_folder,
	};
	int rc;

	if (name && !reading.source.name)
		return pc_error_oom(err);
	if (row) {
		rc = pc__setting_read_text(&reading, text, loader->config, err);
		if (rc == 0)
			set_source(&loader->config->sources[row - pc__settings], &reading.source);
	} else if (is_budget(section, key)) {
		rc = read_budget(loader->config, &reading, key, NULL, text, err);
	} else {
		rc = unknown_key(&reading, section, key, err);
	}
	if (rc)
		pc_free(reading.source.name);
	return rc;
}

static int apply_defaults(struct loader *loader, struct pc_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < pc__setting_count && rc == 0; i++) {
		const struct pc__setting *row = &pc__settings[i];
		pc_auto(pc_free) char *made = row->compute ? row->compute() : NULL;

		if (row->compute && !made)
			return pc_error_oom(err);
		rc = apply_text(loader, row->section, row->key, made ? made : row->fallback,
				PC_SOURCE_DEFAULT, NULL, err);
	}
	return rc;
}

static int apply_builtin_backends(struct loader *loader, struct pc_error *err)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = NULL;
	int rc = pc__toml_parse("built-in backends", pc__builtin_backends,
				strlen(pc__builtin_backends), &doc, err);
	struct pc__reading reading = { .scope = "backends", .doc = doc, .folder = "/" };

	return rc ? rc : pc__backends_read(loader->config, &reading, pc__toml_root(doc), err);
}

/*
 * One "RBEES_POOL_HTTP_LISTEN=...". Variables whose first word is no section are somebody else's
 * (RBEES_POOL_URL is the command line's); one that begins like a section and goes on wrong is a
 * slip, and is refused as it would be in the file.
 */
static int apply_variable(struct loader *loader, const char *variable, struct pc_error *err)
{
	const char *value = strchr(variable, '='), *cut;
	char name[128], lower[128];
	size_t length = value ? (size_t)(value - variable) : 0;

	if (length == 0 || length >= sizeof(name))
		return 0;
	*(char *)mempcpy(name, variable, length) = '\0';
	for (size_t i = 0; i <= length; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	cut = strchr(lower + strlen(VARIABLE_PREFIX), '_');
	if (!cut)
		return 0;
	lower[cut - lower] = '\0';

	const char *section = lower + strlen(VARIABLE_PREFIX);

	if (strcmp(section, "backends") == 0)
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "%s: backends are set in the configuration file only", name);
	if (!is_section(section))
		return 0;
	return apply_text(loader, section, cut + 1, value + 1, PC_SOURCE_ENVIRONMENT, name, err);
}

static int apply_environment(struct loader *loader, struct pc_error *err)
{
	int rc = 0;

	for (char **variable = environ; variable && *variable && rc == 0; variable++) {
		if (strncmp(*variable, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) == 0)
			rc = apply_variable(loader, *variable, err);
	}
	return rc;
}

/* "http.listen" -> section "http" in a copy, and the key behind it. */
static int apply_override(struct loader *loader, const struct pc_setting_override *override,
			  struct pc_error *err)
{
	const char *dot = strchr(override->key, '.');
	struct pc__buf name = PC__BUF_INIT;
	char section[64];

	if (!dot || (size_t)(dot - override->key) >= sizeof(section))
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "%s: a setting is named \"SECTION.KEY\", like \"http.listen\"",
				    override->key);
	*(char *)mempcpy(section, override->key, (size_t)(dot - override->key)) = '\0';
	if (!is_section(section))
		return pc_error_set(err, PC_E_INVALID_CONFIG, "%s: there is no section [%s]",
				    override->key, section);
	if (override->name)
		return apply_text(loader, section, dot + 1, override->value, override->source,
				  override->name, err);
	pc__buf_printf(&name, "--%s", override->key);

	pc_auto(pc_free) char *flag = override->source == PC_SOURCE_ENVIRONMENT
					      ? pc__setting_variable(section, dot + 1)
					      : pc__buf_steal(&name);
	int rc = flag ? apply_text(loader, section, dot + 1, override->value, override->source,
				   flag, err)
		      : pc_error_oom(err);

	pc__buf_fini(&name);
	return rc;
}

static int apply_overrides(struct loader *loader, const struct pc_setting_override *overrides,
			   size_t count, enum pc_setting_source kind, struct pc_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		/* Whatever is not said to be an environment's counts as a flag. */
		bool environment = overrides[i].source == PC_SOURCE_ENVIRONMENT;

		if (environment == (kind == PC_SOURCE_ENVIRONMENT))
			rc = apply_override(loader, &overrides[i], err);
	}
	return rc;
}

/* ---- checks over several settings ---- */

static int check_listen(const struct loader *loader, struct pc_error *err)
{
	const struct pc_config *config = &loader->config->pub;
	const struct pc__reading reading = reading_of(loader, "http", "listen");
	const struct pc_string_list *listen = &config->http_listen;

	for (size_t i = 0; i < listen->count; i++) {
		bool loopback = false;

		for (size_t j = 0; j < i; j++) {
			if (strcmp(listen->items[i], listen->items[j]) == 0)
				return pc__setting_error(&reading, err, "\"%s\" is there twice",
							 listen->items[i]);
		}
		pc__listen_check(listen->items[i], &loopback);
		if (!loopback && config->http_token_file[0] == '\0')
			return pc__setting_error(
				&reading, err,
				"\"%s\" can be reached from other machines and there is no token; "
				"set http.token_file, or listen on 127.0.0.1, [::1] or unix:/path",
				listen->items[i]);
	}
	return 0;
}

static int check_bodies(const struct loader *loader, struct pc_error *err)
{
	const struct pc_config *config = &loader->config->pub;
	const struct pc__reading reading = reading_of(loader, "http", "max_body_bytes");

	if (config->http_max_body_bytes <= config->http_max_buffered_bytes)
		return 0;
	return pc__setting_error(&reading, err,
				 "a body of %llu bytes finds no room in http.max_buffered_bytes, "
				 "%llu; set that to as much at least",
				 (unsigned long long)config->http_max_body_bytes,
				 (unsigned long long)config->http_max_buffered_bytes);
}

/* ---- everything ---- */

static int load(struct loader *loader, const char *path,
		const struct pc_setting_override *overrides, size_t count, struct pc_error *err)
{
	int rc = pc__path_working_folder(&loader->working_folder, err);

	if (rc == 0)
		rc = path ? pc__toml_read_file(path, &loader->doc, err) : 0;
	if (rc == 0)
		rc = path ? pc__path_folder_of(path, &loader->file_folder, err)
			  : pc__path_working_folder(&loader->file_folder, err);
	if (rc == 0 && path)
		rc = pc__path_absolute(path, loader->working_folder, &loader->config->pub.path,
				       err);
	if (rc == 0)
		rc = apply_defaults(loader, err);
	if (rc == 0)
		rc = apply_builtin_backends(loader, err);
	if (rc == 0 && loader->doc)
		rc = apply_file(loader, err);
	if (rc == 0)
		rc = apply_environment(loader, err);
	if (rc == 0)
		rc = apply_overrides(loader, overrides, count, PC_SOURCE_ENVIRONMENT, err);
	if (rc == 0)
		rc = apply_overrides(loader, overrides, count, PC_SOURCE_FLAG, err);
	if (rc == 0)
		rc = check_listen(loader, err);
	return rc ? rc : check_bodies(loader, err);
}

int pc_config_load(const char *path, const struct pc_setting_override *overrides,
		   size_t override_count, struct pc_config **ret_config, struct pc_error *err)
{
	struct loader loader = { .config = NULL };
	int rc;

	if (!ret_config || (override_count && !overrides))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "pc_config_load needs a place for its result, and overrides "
				    "where it is told to expect them");
	loader.config = pc_calloc(1, sizeof(*loader.config));
	if (!loader.config)
		return pc_error_oom(err);
	rc = load(&loader, path, overrides, override_count, err);
	pc_free(loader.working_folder);
	pc_free(loader.file_folder);
	pc__toml_destroy(loader.doc);
	if (rc) {
		pc_config_free(&loader.config->pub);
		return rc;
	}
	*ret_config = &loader.config->pub;
	return 0;
}

void pc_config_free(struct pc_config *pub)
{
	struct pc__config *config = (struct pc__config *)pub;

	if (!config)
		return;
	pc__settings_fini(pc__settings, pc__setting_count, pub);
	pc__backends_fini(config);
	for (size_t i = 0; i < pub->memory_budget_count; i++) {
		pc_free(pub->memory_budgets[i].device);
		pc_free(config->budget_sources[i].name);
	}
	pc_free(pub->memory_budgets);
	pc_free(config->budget_sources);
	for (size_t i = 0; i < PC_ARRAY_LEN(config->sources); i++)
		pc_free(config->sources[i].name);
	pc_free(pub->path);
	pc_free(config);
}

const struct pc_backend_config *pc_config_backend(const struct pc_config *config, const char *name)
{
	for (size_t i = 0; name && i < config->backend_count; i++) {
		if (strcmp(config->backends[i].name, name) == 0)
			return &config->backends[i];
	}
	return NULL;
}
