/* SPDX-License-Identifier: MIT */
/*
 * model.c - the table of a model's settings, and what they must be among themselves. It does not
 * look at the model's file and knows nothing of other models. Runs where the catalog is loaded.
 */
#include "catalog/model.h"

#include <inttypes.h>

#include "catalog/model_ref.h"
#include "config/path.h"

#define WORKERS_MAX 1024
#define MIB ((uint64_t)1 << 20)
#define TTL_MAX_MS (UINT64_C(365) * 86400000)

/* ---- checks of one value ---- */

static int refine_id(const struct pc__reading *reading, void *object, char **text,
		     struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	(void)object;
	if (pc__is_model_id(*text, false))
		return 0;
	return pc__setting_error(reading, err,
				 "%s is not usable; use letters, digits, '.', '_' and '-', at "
				 "most one '/', beginning with a letter or digit, at most %d bytes",
				 pc__quoted(*text, shown), PC_MODEL_ID_MAX);
}

static int refine_repo(const struct pc__reading *reading, void *object, char **text,
		       struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	(void)object;
	if ((*text)[0] == '\0' || pc__is_model_id(*text, true))
		return 0;
	return pc__setting_error(reading, err, "%s is no repository; use \"ORG/NAME\"",
				 pc__quoted(*text, shown));
}

static int refine_revision(const struct pc__reading *reading, void *object, char **text,
			   struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	(void)object;
	if ((*text)[0] == '\0' || pc__is_revision(*text))
		return 0;
	return pc__setting_error(reading, err,
				 "%s is no revision; use a branch, tag or commit like \"main\" or "
				 "\"refs/pr/1\", at most %d bytes",
				 pc__quoted(*text, shown), PC_MODEL_ID_MAX);
}

static int refine_sha256(const struct pc__reading *reading, void *object, char **text,
			 struct pc_error *err)
{
	size_t digits = strspn(*text, "0123456789abcdefABCDEF");

	(void)object;
	if ((*text)[digits] != '\0' || (digits != 64 && digits != 0))
		return pc__setting_error(reading, err,
					 "it is no SHA-256; use 64 hexadecimal digits, or \"\" "
					 "while it is not known");
	for (char *p = *text; *p; p++) {
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	}
	return 0;
}

/* ---- the table ---- */

/* clang-format off */
static const char *const capabilities[] = {
#define X(name, number, wire) wire,
	PC_CAPABILITY_LIST(X)
#undef X
	NULL
};

#define AT(member) offsetof(struct pc__model_text, member)

const struct pc__setting pc__model_settings[] = {
	{ "model", "id", PC__SETTING_STRING, AT(id),
	  .min = 1, .required = true, .refine = refine_id,
	  .description = "What requests call the model; unique over all catalogs, aliases included" },
	{ "model", "name", PC__SETTING_STRING, AT(name),
	  .max = 256, .fallback = "",
	  .description = "Its name for people" },
	{ "model", "repo", PC__SETTING_STRING, AT(repo),
	  .effect = PC_EFFECT_WORKERS, .fallback = "", .refine = refine_repo,
	  .description = "Its repository on the hub, \"ORG/NAME\"; empty for a local file" },
	{ "model", "revision", PC__SETTING_STRING, AT(revision),
	  .fallback = "", .refine = refine_revision,
	  .description = "The branch, tag or commit of the repository; empty: the hub's own choice" },
	{ "model", "file", PC__SETTING_STRING, AT(file),
	  .effect = PC_EFFECT_WORKERS, .min = 1, .required = true,
	  .description = "The file within the repository, or a path relative to the catalog's "
			 "folder when there is no repository" },
	{ "model", "size", PC__SETTING_SIZE, AT(size_bytes),
	  .max = INT64_MAX, .fallback = "0",
	  .description = "The file's size, which it must have to be loaded; 0: not known" },
	{ "model", "sha256", PC__SETTING_STRING, AT(sha256),
	  .fallback = "", .refine = refine_sha256,
	  .description = "The file's SHA-256 in hexadecimal; empty: not known" },
	{ "model", "capability", PC__SETTING_WORD, AT(capability),
	  .effect = PC_EFFECT_WORKERS, .required = true, .words = capabilities,
	  .description = "What the model does" },
	{ "model", "est_memory_allocation_mb", PC__SETTING_INTEGER, AT(est_memory_mb),
	  .min = 1, .max = 16 * MIB, .required = true, .unit = "MiB",
	  .description = "The memory that one worker takes, which is reserved before it starts; it "
			 "is never guessed" },
	{ "model", "backend", PC__SETTING_STRING, AT(backend),
	  .effect = PC_EFFECT_WORKERS, .min = 1, .fallback = "pool-worker",
	  .description = "The backend that runs its workers, a [backends.NAME] of the configuration" },
	{ "model", "device", PC__SETTING_STRING, AT(device),
	  .effect = PC_EFFECT_WORKERS, .fallback = "", .refine = pc__refine_device,
	  .description = "Whose memory its workers take: \"auto\", \"cpu\", \"gpu0\" ...; empty: as "
			 "its backend says" },
	{ "model", "slots", PC__SETTING_INTEGER, AT(slots),
	  .effect = PC_EFFECT_WORKERS, .min = 1, .max = 64, .fallback = "1", .unit = "requests",
	  .description = "How many requests one worker runs at once" },
	{ "model", "context_tokens", PC__SETTING_INTEGER, AT(context_tokens),
	  .effect = PC_EFFECT_WORKERS, .max = 1 << 24, .fallback = "0", .unit = "tokens",
	  .description = "How long a prompt and its answer may be; 0: what the backend makes of the "
			 "model's own length, of which pool-worker takes 4096 at most" },
	{ "model", "aliases", PC__SETTING_STRING_LIST, AT(aliases),
	  .max = 64, .fallback = "", .refine = refine_id,
	  .description = "Further names for it" },
	{ "model", "min_workers", PC__SETTING_INTEGER, AT(min_workers),
	  .max = WORKERS_MAX, .fallback = "0", .unit = "workers",
	  .description = "How many workers stay when it is idle" },
	{ "model", "max_workers", PC__SETTING_INTEGER, AT(max_workers),
	  .max = WORKERS_MAX, .fallback = "1", .unit = "workers",
	  .description = "How many workers it may have; 0: as many as the budget holds" },
	{ "model", "cold_start_workers", PC__SETTING_INTEGER, AT(cold_start_workers),
	  .min = 1, .max = WORKERS_MAX, .fallback = "1", .unit = "workers",
	  .description = "How many workers its first request starts, as far as memory allows" },
	{ "model", "queue_capacity", PC__SETTING_INTEGER, AT(queue_capacity),
	  .max = 1000000, .fallback = "0", .unit = "requests",
	  .description = "How many requests may wait for it; 0: pool.queue_capacity" },
	{ "model", "ttl", PC__SETTING_TTL, AT(ttl_ms),
	  .max = TTL_MAX_MS, .unit = "seconds",
	  .description = "How long its workers stay when idle, instead of "
			 "pool.cooldown_idle_minutes; 0: not at all; negative: for ever" },
	{ "model", "pinned", PC__SETTING_BOOLEAN, AT(pinned),
	  .fallback = "false",
	  .description = "Whether its workers are never evicted to make room for another model" },
};
/* clang-format on */

const size_t pc__model_setting_count = PC_ARRAY_LEN(pc__model_settings);

/* ---- checks among the values ---- */

/* The reading of a key: at its value, or at the table when it is not there. */
static struct pc__reading at_key(const struct pc__reading *reading,
				 const struct pc__toml_value *table, const char *key)
{
	const struct pc__toml_value *value = pc__toml_get(table, key);
	struct pc__reading inner = *reading;

	inner.row = pc__setting_find(pc__model_settings, pc__model_setting_count, NULL, key);
	if (value)
		inner.source.pos = pc__toml_pos(value);
	return inner;
}

static int check_workers(const struct pc__model_text *text, const struct pc__reading *reading,
			 const struct pc__toml_value *table, struct pc_error *err)
{
	struct pc__reading inner;

	if (text->max_workers == 0)
		return 0;
	if (text->min_workers > text->max_workers) {
		inner = at_key(reading, table, "min_workers");
		return pc__setting_error(&inner, err,
					 "%" PRIu64 " is more than max_workers, %" PRIu64,
					 text->min_workers, text->max_workers);
	}
	if (text->cold_start_workers > text->max_workers) {
		inner = at_key(reading, table, "cold_start_workers");
		return pc__setting_error(&inner, err,
					 "%" PRIu64 " is more than max_workers, %" PRIu64,
					 text->cold_start_workers, text->max_workers);
	}
	return 0;
}

static int check_backend(const struct pc__model_text *text, const struct pc_config *config,
			 const struct pc__reading *reading, const struct pc__toml_value *table,
			 struct pc_error *err)
{
	struct pc__nearest nearest = PC__NEAREST_INIT(text->backend);
	char shown[PC__QUOTED_MAX];
	struct pc__reading inner;

	if (pc_config_backend(config, text->backend))
		return 0;
	inner = at_key(reading, table, "backend");
	for (size_t i = 0; i < config->backend_count; i++)
		pc__nearest_offer(&nearest, config->backends[i].name);
	if (nearest.best)
		return pc__setting_error(&inner, err,
					 "there is no backend %s; did you mean \"%s\"?",
					 pc__quoted(text->backend, shown), nearest.best);
	return pc__setting_error(&inner, err,
				 "there is no backend %s; define it as [backends.NAME] in the "
				 "configuration, or use \"pool-worker\"",
				 pc__quoted(text->backend, shown));
}

/* The repository with its revision, and its file behind it. */
static char *in_repository(const struct pc__model_text *text, const char *before,
			   const char *between)
{
	struct pc__buf out = PC__BUF_INIT;

	pc__buf_printf(&out, "%s%s%s%s%s%s", before, text->repo, text->revision[0] ? "@" : "",
		       text->revision, between, text->file);
	return pc__buf_steal(&out);
}

static char *joined(const char *a, const char *b)
{
	struct pc__buf out = PC__BUF_INIT;

	pc__buf_printf(&out, "%s%s", a, b);
	return pc__buf_steal(&out);
}

/* Where the file is or would be, and the model's reference. */
static int place_file(struct pc__model *model, const struct pc_config *config,
		      const struct pc__reading *reading, const struct pc__toml_value *table,
		      struct pc_error *err)
{
	const struct pc__model_text *text = &model->text;
	struct pc__reading inner = at_key(reading, table, "file");
	char shown[PC__QUOTED_MAX], flaw[PC__FLAW_MAX];
	struct pc_error why = PC_ERROR_INIT;
	bool in_repo = text->repo[0];
	const char *path = text->file;
	int rc;

	if (!in_repo) {
		rc = pc__path_absolute(text->file, reading->folder, &model->path, &why);
		if (rc == PC_E_OUT_OF_MEMORY)
			return pc_error_oom(err);
		if (rc)
			return pc__setting_error(&inner, err, "%s: %s",
						 pc__quoted(text->file, shown), why.message);
		path = model->path;
	}
	if (!in_repo && text->revision[0]) {
		inner = at_key(reading, table, "revision");
		return pc__setting_error(&inner, err,
					 "it belongs to a repository, and \"repo\" is empty");
	}
	if (pc__path_is_flawed(path, in_repo, flaw))
		return pc__setting_error(&inner, err, "%s %s", pc__quoted(text->file, shown), flaw);
	if (in_repo) {
		pc_auto(pc_free) char *folder = joined(config->catalog_cache_dir, "/");

		model->path = folder ? in_repository(text, folder, "/") : NULL;
		model->model_ref = in_repository(text, "hf:", "::file=");
	} else {
		model->model_ref = joined("file:", model->path);
	}
	return model->path && model->model_ref ? 0 : pc_error_oom(err);
}

/* ---- one table ---- */

static int read_keys(struct pc__model_text *text, const struct pc__reading *reading,
		     const struct pc__toml_value *table, struct pc_error *err)
{
	struct pc__reading inner = *reading;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < pc__toml_table_size(table); i++) {
		const struct pc__toml_entry *item = pc__toml_table_entry(table, i);

		inner.row = pc__setting_find(pc__model_settings, pc__model_setting_count, NULL,
					     item->key);
		inner.source.pos = item->pos;
		if (!inner.row || strlen(item->key) != item->key_length)
			return pc__setting_unknown(&inner, item->key, pc__model_settings,
						   pc__model_setting_count, "model", err);
		inner.source.pos = pc__toml_pos(item->value);
		rc = pc__setting_read_toml(&inner, item->value, text, err);
	}
	return rc;
}

static int read_absent_keys(struct pc__model_text *text, const struct pc__reading *reading,
			    const struct pc__toml_value *table, struct pc_error *err)
{
	struct pc__reading inner = *reading;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < pc__model_setting_count; i++) {
		inner.row = &pc__model_settings[i];
		if (pc__toml_get(table, inner.row->key))
			continue;
		if (inner.row->required)
			return pc__setting_error(&inner, err, "it is missing. %s",
						 inner.row->description);
		if (inner.row->fallback)
			rc = pc__setting_read_text(&inner, inner.row->fallback, text, err);
	}
	return rc;
}

static enum pc_capability capability_of(const char *word)
{
	/* clang-format off */
#define X(name, number, wire) if (strcmp(word, wire) == 0) return PC_CAPABILITY_##name;
	PC_CAPABILITY_LIST(X)
#undef X
	/* clang-format on */
	__builtin_unreachable(); /* the row's words come from the same list */
}

static void publish(struct pc__model *model, const struct pc__reading *reading)
{
	const struct pc__model_text *text = &model->text;

	model->pub = (struct pc_model_entry){
		.id = text->id,
		.name = text->name,
		.repo = text->repo,
		.revision = text->revision,
		.file = text->file,
		.path = model->path,
		.model_ref = model->model_ref,
		.size_bytes = text->size_bytes,
		.sha256 = text->sha256,
		.capability = capability_of(text->capability),
		.memory_bytes = text->est_memory_mb * MIB,
		.backend = text->backend,
		.device = text->device,
		.slots = (uint32_t)text->slots,
		.context_tokens = (uint32_t)text->context_tokens,
		.aliases = (const char *const *)text->aliases.items,
		.alias_count = text->aliases.count,
		.min_workers = (uint32_t)text->min_workers,
		.max_workers = (uint32_t)text->max_workers,
		.cold_start_workers = (uint32_t)text->cold_start_workers,
		.queue_capacity = (uint32_t)text->queue_capacity,
		.ttl_ms = text->ttl_ms,
		.pinned = text->pinned,
		.source_line = reading->source.pos.line,
	};
}

int pc__model_read(struct pc__model *model, const struct pc_config *config,
		   const struct pc__reading *reading, const struct pc__toml_value *table,
		   struct pc_error *err)
{
	struct pc__model_text *text = &model->text;
	int rc;

	text->ttl_ms = PC_TTL_UNSET;
	rc = read_keys(text, reading, table, err);
	if (rc == 0)
		rc = read_absent_keys(text, reading, table, err);
	if (rc == 0)
		rc = check_workers(text, reading, table, err);
	if (rc == 0)
		rc = check_backend(text, config, reading, table, err);
	if (rc == 0)
		rc = place_file(model, config, reading, table, err);
	if (rc == 0)
		publish(model, reading);
	return rc;
}

enum pc_difference pc_model_entry_compare(const struct pc_model_entry *a,
					  const struct pc_model_entry *b)
{
	const struct pc__model *left = (const struct pc__model *)a;
	const struct pc__model *right = (const struct pc__model *)b;

	/* The folder that the catalog lies in, or that of the cache, decides too. */
	if (strcmp(a->path, b->path) != 0)
		return PC_DIFFERENCE_LAUNCH;
	return pc__settings_compare(pc__model_settings, pc__model_setting_count, &left->text,
				    &right->text);
}

void pc__model_fini(struct pc__model *model)
{
	pc__settings_fini(pc__model_settings, pc__model_setting_count, &model->text);
	pc_free(model->path);
	pc_free(model->model_ref);
}
