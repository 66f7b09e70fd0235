/* SPDX-License-Identifier: MIT */
/*
 * catalog.c - loads the catalog's files and finds models by id, alias or reference. What a model's
 * settings are is model.c's. It opens no model. Loading runs once;
 * after it the catalog never changes, so that any thread may read it.
 */
#include <poolcore/catalog.h>
#include <poolcore/model_ref.h>

#include <errno.h>

#include "catalog/check.h"
#include "catalog/index.h"
#include "catalog/model.h"
#include "config/path.h"

struct pc_catalog {
	struct pc__model *models;
	size_t count;
	size_t capacity;
	struct pc_string_list files; /* what source_file points into */
	struct pc__index names;	     /* ids and aliases */
	struct pc__index refs;	     /* the first model of each model_ref */
};

/* One file being read. */
struct catalog_file {
	struct pc_catalog *catalog;
	const struct pc_config *config;
	const char *path;
	const struct pc__toml_doc *doc;
	char *folder;
};

/* ---- names ---- */

/* Adds an id or alias of the newest model; `value` is where the file says it. */
static int add_name(struct catalog_file *file, const char *key, const char *name,
		    const struct pc__toml_value *value, struct pc_error *err)
{
	struct pc_catalog *catalog = file->catalog;
	const struct pc_model_entry *owner;
	size_t before = catalog->names.count, index;
	int rc = pc__index_add(&catalog->names, name, catalog->count - 1, &index, err);
	const struct pc__setting row = { .key = key };
	const struct pc__reading reading = {
		.row = &row,
		.scope = "model",
		.doc = file->doc,
		.source = { .kind = PC_SOURCE_FILE, .pos = pc__toml_pos(value) },
	};

	if (rc || catalog->names.count > before)
		return rc;
	owner = &catalog->models[index].pub;
	pc__setting_error(&reading, err,
			  "\"%s\" is taken: it is the %s of model \"%s\" at %s:%u; ids and aliases "
			  "are unique over all files",
			  name, strcmp(owner->id, name) == 0 ? "id" : "alias", owner->id,
			  owner->source_file, owner->source_line);
	pc_error_detail(err, "other_file", "%s", owner->source_file);
	pc_error_detail(err, "other_line", "%u", owner->source_line);
	return PC_E_INVALID_CONFIG;
}

static int add_names(struct catalog_file *file, const struct pc__toml_value *table,
		     struct pc_error *err)
{
	struct pc_catalog *catalog = file->catalog;
	const struct pc_model_entry *entry = &catalog->models[catalog->count - 1].pub;
	const struct pc__toml_value *aliases = pc__toml_get(table, "aliases");
	size_t first;
	int rc = add_name(file, "id", entry->id, pc__toml_get(table, "id"), err);

	for (size_t i = 0; i < entry->alias_count && rc == 0; i++)
		rc = add_name(file, "aliases", entry->aliases[i], pc__toml_array_item(aliases, i),
			      err);
	if (rc)
		return rc;
	return pc__index_add(&catalog->refs, entry->model_ref, catalog->count - 1, &first, err);
}

/* ---- files ---- */

/* An empty model at the end of the catalog; NULL: no memory. */
static struct pc__model *append_model(struct pc_catalog *catalog)
{
	if (catalog->count == catalog->capacity) {
		size_t capacity = catalog->capacity ? catalog->capacity * 2 : 16;
		struct pc__model *models = pc_realloc(catalog->models,
						      capacity * sizeof(*catalog->models));

		if (!models)
			return NULL;
		catalog->models = models;
		catalog->capacity = capacity;
	}
	return memset(&catalog->models[catalog->count++], 0, sizeof(*catalog->models));
}

static int read_model(struct catalog_file *file, const struct pc__toml_value *table,
		      struct pc_error *err)
{
	const struct pc__reading reading = {
		.scope = "model",
		.doc = file->doc,
		.source = { .kind = PC_SOURCE_FILE, .pos = pc__toml_pos(table) },
		.folder = file->folder,
	};
	struct pc__model *model;
	int rc;

	if (pc__toml_kind(table) != PC__TOML_TABLE)
		return pc__setting_wrong_kind(&reading, table, "a table [[model]]", err);
	model = append_model(file->catalog);
	if (!model)
		return pc_error_oom(err);
	rc = pc__model_read(model, file->config, &reading, table, err);
	if (rc)
		return rc;
	model->pub.source_file = file->path;
	return add_names(file, table, err);
}

static int read_top(struct catalog_file *file, const struct pc__toml_entry *entry,
		    struct pc_error *err)
{
	struct pc__reading reading = {
		.scope = entry->key,
		.doc = file->doc,
		.source = { .kind = PC_SOURCE_FILE, .pos = entry->pos },
	};
	int rc = 0;

	if (strcmp(entry->key, "model") != 0)
		return pc__setting_error(&reading, err,
					 "unknown key; a catalog consists of [[model]] tables");
	if (pc__toml_kind(entry->value) != PC__TOML_ARRAY)
		return pc__setting_wrong_kind(&reading, entry->value,
					      "an array of tables, [[model]] with two brackets,",
					      err);
	for (size_t i = 0; rc == 0 && i < pc__toml_array_length(entry->value); i++)
		rc = read_model(file, pc__toml_array_item(entry->value, i), err);
	return rc;
}

/* `file` has the document. */
static int read_doc(struct catalog_file *file, struct pc_error *err)
{
	const struct pc__toml_value *root = pc__toml_root(file->doc);
	int rc = pc__path_folder_of(file->path, &file->folder, err);

	for (size_t i = 0; rc == 0 && i < pc__toml_table_size(root); i++)
		rc = read_top(file, pc__toml_table_entry(root, i), err);
	pc_free(file->folder);
	return rc;
}

/* Who begins has none yet. */
static void explain_unreadable(struct pc_error *err)
{
	if (err && err->sys_errno == ENOENT)
		pc_error_prefix(err, "catalog.files names a file that is not there; make it (an "
				     "empty one will do), or correct the setting");
	else
		pc_error_prefix(err, "catalog.files");
	pc_error_detail(err, "key", "catalog.files");
}

/* `doc` NULL: the file's own. */
static int read_file(struct pc_catalog *catalog, const struct pc_config *config, const char *path,
		     const struct pc__toml_doc *doc, struct pc_error *err)
{
	struct catalog_file file = { .catalog = catalog, .config = config, .doc = doc };
	struct pc__toml_doc *own = NULL;
	int rc = pc__list_push(&catalog->files, pc_strdup(path), err);

	if (rc)
		return rc;
	file.path = catalog->files.items[catalog->files.count - 1];
	if (!doc) {
		rc = pc__toml_read_file(path, &own, err);
		file.doc = own;
	}
	if (rc == PC_E_IO)
		explain_unreadable(err);
	if (rc == 0)
		rc = read_doc(&file, err);
	pc__toml_destroy(own);
	return rc;
}

/* `doc`, unless it is NULL, is what the file `path` holds. */
static int load(const struct pc_config *config, const char *path, const struct pc__toml_doc *doc,
		struct pc_catalog **ret_catalog, struct pc_error *err)
{
	struct pc_catalog *catalog = pc_calloc(1, sizeof(*catalog));
	int rc = catalog ? 0 : pc_error_oom(err);

	for (size_t i = 0; rc == 0 && i < config->catalog_files.count; i++) {
		const char *file = config->catalog_files.items[i];
		bool is_given = doc && strcmp(file, path) == 0;

		rc = read_file(catalog, config, file, is_given ? doc : NULL, err);
		if (is_given)
			doc = NULL;
	}
	if (rc == 0 && doc)
		rc = read_file(catalog, config, path, doc, err);
	if (rc) {
		pc_catalog_free(catalog);
		return rc;
	}
	*ret_catalog = catalog;
	return 0;
}

int pc_catalog_load(const struct pc_config *config, struct pc_catalog **ret_catalog,
		    struct pc_error *err)
{
	if (!config || !ret_catalog)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a configuration and a place for the catalog are needed");
	return load(config, NULL, NULL, ret_catalog, err);
}

int pc__catalog_check(const struct pc_config *config, const char *path,
		      const struct pc__toml_doc *doc, struct pc_error *err)
{
	struct pc_catalog *catalog = NULL;
	int rc = load(config, path, doc, &catalog, err);

	pc_catalog_free(catalog);
	return rc;
}

void pc_catalog_free(struct pc_catalog *catalog)
{
	if (!catalog)
		return;
	for (size_t i = 0; i < catalog->count; i++)
		pc__model_fini(&catalog->models[i]);
	pc_free(catalog->models);
	pc_string_list_free(&catalog->files);
	pc__index_fini(&catalog->names);
	pc__index_fini(&catalog->refs);
	pc_free(catalog);
}

/* ---- reading ---- */

size_t pc_catalog_count(const struct pc_catalog *catalog)
{
	return catalog->count;
}

const struct pc_model_entry *pc_catalog_at(const struct pc_catalog *catalog, size_t index)
{
	return index < catalog->count ? &catalog->models[index].pub : NULL;
}

const struct pc_model_entry *pc_catalog_find(const struct pc_catalog *catalog,
					     const char *id_or_alias)
{
	size_t index;

	if (!id_or_alias || !pc__index_find(&catalog->names, id_or_alias, &index))
		return NULL;
	return &catalog->models[index].pub;
}

/* The id or alias nearest to a name, or NULL. Names come from clients, so the work is bounded. */
static const char *nearest_name(const struct pc_catalog *catalog, const char *name)
{
	/* A comparison takes about a microsecond. A guess; change freely. */
	enum { MODELS_COMPARED = 500 };
	struct pc__nearest nearest = PC__NEAREST_INIT(name);

	if (strlen(name) > PC_MODEL_ID_MAX)
		return NULL;
	for (size_t i = 0; i < catalog->count && i < MODELS_COMPARED; i++) {
		const struct pc_model_entry *entry = &catalog->models[i].pub;

		pc__nearest_offer(&nearest, entry->id);
		for (size_t j = 0; j < entry->alias_count; j++)
			pc__nearest_offer(&nearest, entry->aliases[j]);
	}
	return nearest.best;
}

int pc_catalog_get(const struct pc_catalog *catalog, const char *name,
		   const struct pc_model_entry **ret_entry, struct pc_error *err)
{
	char quoted[PC__QUOTED_MAX];
	const char *nearest;
	size_t index;
	int shown;

	if (!name || !ret_entry)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a model's name and a place for its entry are needed");
	if (pc__index_find(&catalog->names, name, &index) ||
	    pc__index_find(&catalog->refs, name, &index)) {
		*ret_entry = &catalog->models[index].pub;
		return 0;
	}
	nearest = nearest_name(catalog, name);
	if (nearest)
		pc_error_set(err, PC_E_MODEL_NOT_FOUND,
			     "there is no model %s; did you mean \"%s\"?", pc__quoted(name, quoted),
			     nearest);
	else
		pc_error_set(err, PC_E_MODEL_NOT_FOUND, "there is no model %s in the catalog",
			     pc__quoted(name, quoted));
	shown = (int)pc__utf8_cut(name, strnlen(name, 100));
	pc_error_detail(err, "model", "%.*s", shown, name);
	if (nearest)
		pc_error_detail(err, "nearest", "%s", nearest);
	return PC_E_MODEL_NOT_FOUND;
}

int pc_catalog_write_reference(FILE *out, struct pc_error *err)
{
	struct pc__buf text = PC__BUF_INIT;

	for (size_t i = 0; i < pc__model_setting_count; i++)
		pc__setting_print_manual(&pc__model_settings[i], NULL, &text);
	return pc__print_to(&text, out, err);
}
