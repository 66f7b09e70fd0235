/* SPDX-License-Identifier: MIT */
/*
 * show.c - writes the settings in effect as a configuration file that reads back to the same ones,
 * visits them for programs, and writes the reference of all settings for the manual. All of it
 * comes from the tables; no setting is named here but [memory]'s, which has a key per device. Any
 * thread.
 */
#include <poolcore/config.h>

#include "config/settings.h"

static void print_source(const struct pc_config *config, const struct pc__source *source,
			 struct pc__buf *out)
{
	switch (source->kind) {
	case PC_SOURCE_DEFAULT:
		pc__buf_puts(out, " # default\n");
		break;
	case PC_SOURCE_FILE:
		pc__buf_puts(out, " # file ");
		pc__print_toml_string(out, config->path);
		pc__buf_printf(out, ", line %u\n", source->pos.line);
		break;
	case PC_SOURCE_ENVIRONMENT:
		pc__buf_printf(out, " # environment %s\n", source->name);
		break;
	case PC_SOURCE_FLAG:
		pc__buf_printf(out, " # flag %s\n", source->name);
		break;
	}
}

static void print_setting(const struct pc_config *config, const struct pc__setting *row,
			  const void *object, const struct pc__source *source, struct pc__buf *out)
{
	pc__buf_printf(out, "# %s.%s\n%s = ", row->description,
		       row->effect == PC_EFFECT_RESTART ? " A change needs a restart." : "",
		       row->key);
	pc__setting_print(row, object, out);
	print_source(config, source, out);
}

static void print_budgets(const struct pc__config *config, struct pc__buf *out)
{
	const struct pc_config *pub = &config->pub;

	for (size_t i = 0; i < pub->memory_budget_count; i++) {
		pc__buf_printf(out, "%s = ", pub->memory_budgets[i].device);
		pc__print_toml_size(out, pub->memory_budgets[i].bytes);
		print_source(pub, &config->budget_sources[i], out);
	}
}

static bool begins_section(size_t row)
{
	return row == 0 || strcmp(pc__settings[row].section, pc__settings[row - 1].section) != 0;
}

static bool ends_section(size_t row)
{
	return row + 1 == pc__setting_count || begins_section(row + 1);
}

int pc_config_show(const struct pc_config *pub, FILE *file, struct pc_error *err)
{
	const struct pc__config *config = (const struct pc__config *)pub;
	struct pc__buf out = PC__BUF_INIT;

	pc__buf_puts(&out, "# The settings in effect. Flag beats environment beats file beats "
			   "default.\n");
	for (size_t i = 0; i < pc__setting_count; i++) {
		const struct pc__setting *row = &pc__settings[i];

		if (begins_section(i))
			pc__buf_printf(&out, "\n[%s]\n", row->section);
		print_setting(pub, row, pub, &config->sources[i], &out);
		if (ends_section(i) && strcmp(row->section, "memory") == 0)
			print_budgets(config, &out);
	}
	for (size_t i = 0; i < pub->backend_count; i++) {
		pc__buf_puts(&out, "\n[backends.");
		pc__print_toml_key(&out, pub->backends[i].name);
		pc__buf_puts(&out, "]\n");
		for (size_t j = 0; j < pc__backend_setting_count; j++)
			print_setting(pub, &pc__backend_settings[j], &pub->backends[i],
				      &config->backend_sources[i].rows[j], &out);
	}
	return pc__print_to(&out, file, err);
}

/* ---- for programs ---- */

const char *pc_setting_effect_name(enum pc_setting_effect effect)
{
	static const char *const names[] = {
		[PC_EFFECT_RELOAD] = "reload",
		[PC_EFFECT_WORKERS] = "workers",
		[PC_EFFECT_RESTART] = "restart",
	};

	return (unsigned)effect < PC_ARRAY_LEN(names) ? names[effect] : "unknown";
}

const char *pc_setting_source_name(enum pc_setting_source source)
{
	static const char *const names[] = {
		[PC_SOURCE_DEFAULT] = "default",
		[PC_SOURCE_FILE] = "file",
		[PC_SOURCE_ENVIRONMENT] = "environment",
		[PC_SOURCE_FLAG] = "flag",
	};

	return (unsigned)source < PC_ARRAY_LEN(names) ? names[source] : "unknown";
}

struct visitor {
	const struct pc_config *config;
	bool hide_secrets;
	void (*visit)(void *ctx, const struct pc_setting_view *view);
	void *ctx;
};

static int visit_one(const struct visitor *visitor, const char *section,
		     const struct pc__setting *row, const void *object,
		     const struct pc__source *source, struct pc_error *err)
{
	struct pc__buf out = PC__BUF_INIT;

	pc__setting_print_json(row, object, visitor->hide_secrets, &out);

	pc_auto(pc_free) char *value = pc__buf_steal(&out);

	if (!value)
		return pc_error_oom(err);
	visitor->visit(
		visitor->ctx,
		&(struct pc_setting_view){
			.section = section,
			.key = row->key,
			.value = value,
			.source = source->kind,
			.file = source->kind == PC_SOURCE_FILE ? visitor->config->path : NULL,
			.line = source->kind == PC_SOURCE_FILE ? source->pos.line : 0,
			.name = source->name,
			.effect = row->effect,
		});
	return 0;
}

static int visit_budgets(const struct visitor *visitor, struct pc_error *err)
{
	const struct pc__config *config = (const struct pc__config *)visitor->config;
	int rc = 0;

	for (size_t i = 0; i < config->pub.memory_budget_count && !rc; i++) {
		const struct pc__setting row = {
			.key = config->pub.memory_budgets[i].device,
			.kind = PC__SETTING_SIZE,
			.offset = offsetof(struct pc_device_budget_config, bytes),
		};

		rc = visit_one(visitor, "memory", &row, &config->pub.memory_budgets[i],
			       &config->budget_sources[i], err);
	}
	return rc;
}

static int visit_backend(const struct visitor *visitor, size_t index, struct pc_error *err)
{
	const struct pc__config *config = (const struct pc__config *)visitor->config;
	const struct pc_backend_config *backend = &config->pub.backends[index];
	char section[sizeof("backends.") + 64]; /* BACKEND_NAME_MAX */
	int rc = 0;

	snprintf(section, sizeof(section), "backends.%s", backend->name);
	for (size_t i = 0; i < pc__backend_setting_count && !rc; i++)
		rc = visit_one(visitor, section, &pc__backend_settings[i], backend,
			       &config->backend_sources[index].rows[i], err);
	return rc;
}

int pc_config_each(const struct pc_config *pub, bool hide_secrets,
		   void (*visit)(void *ctx, const struct pc_setting_view *view), void *ctx,
		   struct pc_error *err)
{
	const struct pc__config *config = (const struct pc__config *)pub;
	const struct visitor visitor = { pub, hide_secrets, visit, ctx };
	int rc = 0;

	for (size_t i = 0; i < pc__setting_count && !rc; i++) {
		const struct pc__setting *row = &pc__settings[i];

		rc = visit_one(&visitor, row->section, row, pub, &config->sources[i], err);
		if (!rc && ends_section(i) && strcmp(row->section, "memory") == 0)
			rc = visit_budgets(&visitor, err);
	}
	for (size_t i = 0; i < pub->backend_count && !rc; i++)
		rc = visit_backend(&visitor, i, err);
	return rc;
}

/* ---- the reference ---- */

int pc_config_write_reference(FILE *file, struct pc_error *err)
{
	struct pc__buf out = PC__BUF_INIT;

	for (size_t i = 0; i < pc__setting_count; i++) {
		const struct pc__setting *row = &pc__settings[i];
		pc_auto(pc_free) char *variable = pc__setting_variable(row->section, row->key);

		if (!variable)
			out.failed = true;
		if (begins_section(i))
			pc__buf_printf(&out, ".SS [%s]\n", row->section);
		pc__setting_print_manual(row, variable, &out);
	}
	pc__buf_puts(&out, ".SS [backends.NAME]\n");
	for (size_t i = 0; i < pc__backend_setting_count; i++)
		pc__setting_print_manual(&pc__backend_settings[i], NULL, &out);
	return pc__print_to(&out, file, err);
}
