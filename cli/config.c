/* SPDX-License-Identifier: MIT */
/* config.c - rbees-pool config show|check: the settings as the daemon would take them. It asks no
 * daemon. */
#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static enum exit_code show_as_json(const struct cli *cli)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	int rc = out ? pc_config_show(cli->settings, out, &err) : pc_error_oom(&err);
	json_t *answer;

	if (out && fclose(out) != 0)
		rc = pc_error_oom(&err);
	if (rc) {
		free(text);
		return report(cli, &err);
	}
	answer = json_pack("{s:s?, s:s}", "config", cli->settings->path, "toml", text);
	status = print_json(cli, answer);
	json_decref(answer);
	free(text);
	return status;
}

enum exit_code command_config_show(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)argc;
	(void)argv;
	if (pc_config_load(cli->options[OPTION_CONFIG], NULL, 0, &cli->settings, &err))
		return report(cli, &err);
	if (cli->json)
		return show_as_json(cli);
	return pc_config_show(cli->settings, stdout, &err) ? report(cli, &err) : EXIT_OK;
}

/* The models whose file is not there: no mistake of the settings, but worth saying. */
static json_t *missing_files(const struct pc_catalog *catalog)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < pc_catalog_count(catalog); i++) {
		const struct pc_model_entry *entry = pc_catalog_at(catalog, i);
		struct pc_error err = PC_ERROR_INIT;

		if (pc_model_entry_check_file(entry, &err))
			json_array_append_new(list, json_pack("{s:s, s:s}", "id", entry->id,
							      "message", err.message));
	}
	return list;
}

static enum exit_code print_check(const struct cli *cli, const struct pc_catalog *catalog)
{
	const char *path = cli->settings->path;
	json_t *missing = missing_files(catalog);
	json_t *answer = json_pack("{s:s?, s:I, s:I, s:o}", "config", path, "models",
				   (json_int_t)pc_catalog_count(catalog), "backends",
				   (json_int_t)cli->settings->backend_count, "missing_files",
				   missing);
	enum exit_code status = EXIT_OK;
	const json_t *model;
	size_t i;

	if (cli->json || !answer) {
		status = print_json(cli, answer);
	} else {
		say(stdout, "%s: ok (models: %zu, backends: %zu)\n",
		    path ? path : "built-in configuration", pc_catalog_count(catalog),
		    cli->settings->backend_count);
		json_array_foreach(missing, i, model) say(
			stdout, "model %s: %s\n", text_of(model, "id"), text_of(model, "message"));
	}
	json_decref(answer);
	return status;
}

enum exit_code command_config_check(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog;
	enum exit_code status;

	(void)argc;
	(void)argv;
	if (pc_config_load(cli->options[OPTION_CONFIG], NULL, 0, &cli->settings, &err) ||
	    pc_catalog_load(cli->settings, &catalog, &err))
		return report(cli, &err);
	status = print_check(cli, catalog);
	pc_catalog_free(catalog);
	return status;
}
