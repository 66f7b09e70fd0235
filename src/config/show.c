/* SPDX-License-Identifier: MIT */
/*
 * show.c - writes the settings in effect as a configuration file that reads back to the same ones,
 * and the reference of all settings for the manual. Both come from the tables; no setting is named
 * here but [memory]'s, which has a key per device. Any thread.
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
	pc__buf_printf(out, "# %s.\n%s = ", row->description, row->key);
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
