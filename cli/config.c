/* SPDX-License-Identifier: MIT */
/*
 * config.c - rbees-pool config show|check, and reload. Without --effective the first two ask no
 * daemon: they show the settings as one would take them that is started now.
 */
#include <poolcore/catalog.h>
#include <poolcore/config.h>
#include <poolcore/lifecycle.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* ---- config show ---- */

/* The members are those of GET /v2/config. */
static void add_setting(void *ctx, const struct pc_setting_view *view)
{
	json_t *value = json_loads(view->value, JSON_DECODE_ANY, NULL);
	json_t *row = json_pack("{s:s, s:s, s:o?, s:s, s:s?, s:o, s:s?, s:s}", "section",
				view->section, "key", view->key, "value", value, "source",
				pc_setting_source_name(view->source), "file", view->file, "line",
				view->line ? json_integer(view->line) : json_null(), "name",
				view->name, "takes_effect", pc_setting_effect_name(view->effect));

	json_array_append_new(ctx, row);
}

/* As a configuration file that reads back to the same settings; free(3) it. */
static char *as_toml(const struct pc_config *config, struct pc_error *err)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	int rc = out ? pc_config_show(config, out, err) : pc_error_oom(err);

	if (out && fclose(out) != 0)
		rc = pc_error_oom(err);
	if (rc) {
		free(text);
		return NULL;
	}
	return text;
}

/* Whether it could be written is seen at the end, as of every command. */
static enum exit_code show_as_toml(const struct cli *cli)
{
	struct pc_error err = PC_ERROR_INIT;
	char *text = as_toml(cli->settings, &err);

	if (!text)
		return report(cli, &err);
	fputs(text, stdout);
	free(text);
	return EXIT_OK;
}

static enum exit_code show_as_json(const struct cli *cli)
{
	struct pc_error err = PC_ERROR_INIT;
	json_t *settings = json_array(), *answer;
	char *text = as_toml(cli->settings, &err);
	enum exit_code status;

	if (!text || pc_config_each(cli->settings, false, add_setting, settings, &err)) {
		json_decref(settings);
		free(text);
		return report(cli, &err);
	}
	answer = json_pack("{s:s?, s:o, s:s}", "config", cli->settings->path, "settings", settings,
			   "toml", text);
	status = print_json(cli, answer);
	json_decref(answer);
	free(text);
	return status;
}

/* "file /etc/pool.toml, line 3", "environment RBEES_POOL_HTTP_LOOPS", "default" */
static void print_source(const json_t *row)
{
	const char *file = json_string_value(json_object_get(row, "file"));
	const char *name = json_string_value(json_object_get(row, "name"));

	if (file)
		say(stdout, " # file %s, line %lld\n", file, (long long)number_of(row, "line"));
	else
		say(stdout, " # %s%s%s\n", text_of(row, "source"), name ? " " : "",
		    name ? name : "");
}

/* As TOML, whose strings, numbers and arrays are JSON's; tables are not. */
static void print_value(json_t *value)
{
	char *text = json_is_object(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
	const char *key;
	json_t *item;
	bool any = false;

	if (!json_is_object(value)) {
		say(stdout, "%s", text ? text : "?");
		free(text);
		return;
	}
	say(stdout, "{");
	json_object_foreach(value, key, item)
	{
		say(stdout, "%s %s = ", any ? "," : "", key);
		print_value(item);
		any = true;
	}
	say(stdout, any ? " }" : "}");
}

static void print_settings(const json_t *settings)
{
	const char *section = "";
	const json_t *row;
	size_t i;

	json_array_foreach(settings, i, row)
	{
		if (strcmp(section, text_of(row, "section")) != 0) {
			say(stdout, "%s[%s]\n", i ? "\n" : "", text_of(row, "section"));
			section = text_of(row, "section");
		}
		say(stdout, "%s = ", text_of(row, "key"));
		print_value(json_object_get(row, "value"));
		print_source(row);
	}
}

/* What a daemon has in force, which may differ from what its file says by now. */
static enum exit_code show_effective(struct cli *cli)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status = EXIT_OK;
	json_t *answer = NULL;

	if (api_open(cli, &err) || api_get(cli, "/v2/config", &answer, &err))
		return report(cli, &err);
	if (cli->json)
		status = print_json(cli, answer);
	else
		print_settings(json_object_get(answer, "settings"));
	json_decref(answer);
	return status;
}

enum exit_code command_config_show(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)argc;
	(void)argv;
	if (cli->options[OPTION_EFFECTIVE])
		return show_effective(cli);
	if (pc_config_load(cli->options[OPTION_CONFIG], NULL, 0, &cli->settings, &err))
		return report(cli, &err);
	return cli->json ? show_as_json(cli) : show_as_toml(cli);
}

/* ---- reload ---- */

/* One list of the report, if there is something in it. */
static bool print_list(const json_t *answer, const char *key, const char *title)
{
	const json_t *list = json_object_get(answer, key), *name;
	size_t i;

	if (json_array_size(list) == 0)
		return false;
	json_array_foreach(list, i, name)
	{
		const char *text = json_string_value(name);

		say(stdout, "%s%s", i ? ", " : title, text ? text : "?");
	}
	putchar('\n');
	return true;
}

static void print_report(const json_t *answer)
{
	bool anything = print_list(answer, "changed", "changed: ");

	anything |= print_list(answer, "added", "added: ");
	anything |= print_list(answer, "removed", "removed: ");
	anything |= print_list(answer, "needs_restart", "needs a restart: ");
	if (!anything)
		say(stdout, "nothing has changed\n");
}

enum exit_code command_reload(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	enum exit_code status = EXIT_OK;
	json_t *answer = NULL;

	(void)argc;
	(void)argv;
	if (api_post(cli, "/v2/reload", "{}", &answer, &err))
		return report(cli, &err);
	if (cli->json)
		status = print_json(cli, answer);
	else
		print_report(answer);
	json_decref(answer);
	return status;
}

/* ---- config check ---- */

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

static void add_problem(json_t *list, const char *key, const struct pc_error *err)
{
	json_array_append_new(list, json_pack("{s:s, s:s}", "key", key, "message", err->message));
}

static bool is_used(const struct pc_catalog *catalog, const char *backend)
{
	for (size_t i = 0; i < pc_catalog_count(catalog); i++) {
		if (strcmp(pc_catalog_at(catalog, i)->backend, backend) == 0)
			return true;
	}
	return false;
}

/* What else the settings name that a daemon, or a worker, could not be started without. */
static json_t *find_problems(const struct pc_config *settings, const struct pc_catalog *catalog)
{
	const char *token_file = settings->http_token_file;
	json_t *list = json_array();

	if (list && token_file[0] && access(token_file, R_OK)) {
		struct pc_error err = PC_ERROR_INIT;

		pc_error_sys(&err, PC_E_IO, errno, "no daemon starts without the token file %s",
			     token_file);
		add_problem(list, "http.token_file", &err);
	}
	for (size_t i = 0; list && i < settings->backend_count; i++) {
		const struct pc_backend_config *backend = &settings->backends[i];
		struct pc_error err = PC_ERROR_INIT;
		char *program = NULL, key[128];

		if (is_used(catalog, backend->name) &&
		    pc_program_find(backend->command.items[0], &program, &err)) {
			snprintf(key, sizeof(key), "backends.%s.command", backend->name);
			add_problem(list, key, &err);
		}
		pc_free(program);
	}
	return list;
}

static enum exit_code print_check(const struct cli *cli, const struct pc_catalog *catalog)
{
	const char *path = cli->settings->path;
	json_t *missing = missing_files(catalog), *problems = find_problems(cli->settings, catalog);
	json_t *answer = json_pack("{s:s?, s:I, s:I, s:o, s:o}", "config", path, "models",
				   (json_int_t)pc_catalog_count(catalog), "backends",
				   (json_int_t)cli->settings->backend_count, "missing_files",
				   missing, "problems", problems);
	enum exit_code status = EXIT_OK;
	const json_t *model, *problem;
	size_t i;

	if (cli->json || !answer) {
		status = print_json(cli, answer);
	} else {
		say(stdout, "%s: ok (models: %zu, backends: %zu)\n",
		    path ? path : "built-in configuration", pc_catalog_count(catalog),
		    cli->settings->backend_count);
		json_array_foreach(missing, i, model)
		{
			say(stdout, "%s\n", text_of(model, "message"));
		}
		json_array_foreach(problems, i, problem)
		{
			say(stdout, "%s: %s\n", text_of(problem, "key"),
			    text_of(problem, "message"));
		}
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
