/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/config/compare.c, src/catalog/definition.c, and of what programs are told of
 * settings: what differs between two configurations and catalogs, what workers are launched
 * with, what is kept until a restart, every setting as JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/settings.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

static int enter_folder(void **state)
{
	char template[] = "/tmp/poolcore-change-XXXXXX";

	(void)state;
	clearenv();
	if (!mkdtemp(template) || !realpath(template, folder) || chdir(folder) != 0)
		return -1;
	setenv("HOME", folder, 1);
	return 0;
}

static int leave_folder(void **state)
{
	(void)state;
	unlink(in_folder("pool.toml"));
	unlink(in_folder("catalog.toml"));
	return chdir("/") || rmdir(folder);
}

static struct pc_config *load(const char *text, const struct pc_setting_override *overrides,
			      size_t count)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_config *config = NULL;

	if (pc_config_load(write_file("pool.toml", text), overrides, count, &config, &err))
		fail_msg("%s", err.message);
	return config;
}

/* ---- what differs ---- */

static char told[2048];

static void tell(void *ctx, const struct pc_config_change *change)
{
	static const char *const kinds[] = { "changed", "added", "removed" };
	size_t length = strlen(told);

	(void)ctx;
	snprintf(told + length, sizeof(told) - length, "%s %s, %s\n", kinds[change->kind],
		 change->name, pc_setting_effect_name(change->effect));
}

#define SERVER "[backends.server]\ncommand = [\"s\", \"{port}\"]\n"

static const struct {
	const char *before, *after, *told;
} differences[] = {
	{ "", "", "" },
	{ "# a comment\n\n[pool]\nqueue_capacity = 5\n", "[pool]\nqueue_capacity = 5\n", "" },
	{ "", "[pool]\nrequest_timeout_secs = \"30s\"\n", "" }, /* the default, in other words */
	{ "", "[pool]\nrequest_timeout_secs = 31\n",
	  "changed pool.request_timeout_secs, reload\n" },
	{ "[pool]\nstate_dir = \"a\"\npool_id = \"p\"\n",
	  "[pool]\nstate_dir = \"b\"\npool_id = \"q\"\n",
	  "changed pool.pool_id, restart\nchanged pool.state_dir, restart\n" },
	{ "", "[http]\nlisten = [\"127.0.0.1:9200\", \"unix:/s\"]\n",
	  "changed http.listen, restart\n" },
	{ "", "[staging]\nenabled = false\nmax_bytes = \"1GiB\"\n",
	  "changed staging.enabled, restart\nchanged staging.max_bytes, restart\n" },
	{ "", "[log]\nlevel = \"debug\"\n", "changed log.level, reload\n" },
	{ "", "[catalog]\nfiles = [\"other.toml\"]\n", "changed catalog.files, reload\n" },
	{ "[memory]\ncpu = \"2GiB\"\ngpu0 = \"1GiB\"\n",
	  "[memory]\ngpu1 = \"1GiB\"\ncpu = \"2048MiB\"\n",
	  "changed memory.gpu1, reload\nchanged memory.gpu0, reload\n" },
	{ "[memory]\ncpu = \"2GiB\"\n", "[memory]\ncpu = \"3GiB\"\nbudget_percent = 70\n",
	  "changed memory.budget_percent, reload\nchanged memory.cpu, reload\n" },
	{ "", SERVER, "added backend server, reload\n" },
	{ SERVER, "", "removed backend server, reload\n" },
	{ SERVER, SERVER "stop_grace_secs = 1\n", "changed backend server, reload\n" },
	{ SERVER, SERVER "env = { A = \"1\" }\nstop_grace_secs = 1\n",
	  "changed backend server, workers\n" },
	{ SERVER "env = { A = \"1\" }\n", SERVER "env = { A = \"2\" }\n",
	  "changed backend server, workers\n" },
	{ SERVER, SERVER "readiness = \"http:/ready\"\n", "changed backend server, workers\n" },
	{ "", "[backends.pool-worker]\ndevice = \"gpu0\"\n",
	  "changed backend pool-worker, workers\n" },
};

static void whatever_differs_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(differences); i++) {
		struct pc_config *before = load(differences[i].before, NULL, 0);
		struct pc_config *after = load(differences[i].after, NULL, 0);

		told[0] = '\0';
		pc_config_diff(before, after, tell, NULL);
		assert_string_equal(told, differences[i].told);
		pc_config_free(before);
		pc_config_free(after);
	}
}

/* A value that the row takes and that is not what `object` has. */
static const char *other_value(const struct pc__setting *row, const void *object)
{
	const char *const *word = row->words;

	switch (row->kind) {
	case PC__SETTING_WORD:
		while (strcmp(*word, *(char *const *)((const char *)object + row->offset)) == 0)
			word++;
		return *word;
	case PC__SETTING_STRING:
		return strcmp(row->key, "url") == 0 ? "http://other" : "other";
	case PC__SETTING_PATH:
		return "/other";
	case PC__SETTING_STRING_LIST:
		return "127.0.0.1:1";
	case PC__SETTING_PATH_LIST:
		return "/a,/b";
	case PC__SETTING_SIZE:
		return "1MiB";
	case PC__SETTING_BOOLEAN:
		return *(const bool *)((const char *)object + row->offset) ? "false" : "true";
	default:
		return "7";
	}
}

/* No kind of value is forgotten: each row alone is found, and equal to its copy. */
static void every_row_is_compared_and_copied(void **state)
{
	struct pc_config *from = load("", NULL, 0), *to = load("", NULL, 0);

	(void)state;
	for (size_t i = 0; i < pc__setting_count; i++) {
		const struct pc__setting *row = &pc__settings[i];
		struct pc__reading reading = { .row = row, .scope = row->section, .folder = "/" };
		struct pc_error err = PC_ERROR_INIT;

		assert_true(pc__setting_equal(row, from, to));
		if (pc__setting_read_text(&reading, other_value(row, from), from, &err))
			fail_msg("%s", err.message);
		if (pc__setting_equal(row, from, to))
			fail_msg("%s.%s: a difference is not seen", row->section, row->key);
		assert_int_equal(pc__setting_copy(row, from, to, NULL), 0);
		assert_true(pc__setting_equal(row, from, to));
	}
	pc_config_free(from);
	pc_config_free(to);
}

/* ---- what is kept ---- */

struct found {
	const char *section, *key;
	char text[512];
};

static void find(void *ctx, const struct pc_setting_view *view)
{
	struct found *found = ctx;

	if (strcmp(view->section, found->section) != 0 || strcmp(view->key, found->key) != 0)
		return;
	snprintf(found->text, sizeof(found->text), "%s %s %s:%u %s %s", view->value,
		 pc_setting_source_name(view->source),
		 view->file ? strrchr(view->file, '/') + 1 : "", view->line,
		 view->name ? view->name : "", pc_setting_effect_name(view->effect));
}

static void assert_setting(const struct pc_config *config, const char *section, const char *key,
			   const char *text)
{
	struct found found = { .section = section, .key = key };

	assert_int_equal(pc_config_each(config, true, find, &found, NULL), 0);
	assert_string_equal(found.text, text);
}

static void what_needs_a_restart_stays_in_force(void **state)
{
	static const struct pc_setting_override flag = { "http.loops", "3", PC_SOURCE_FLAG, "-x" };
	struct pc_config *in_force = load("[http]\nlisten = [\"127.0.0.1:1\"]\n", &flag, 1);
	struct pc_config *next = load("[pool]\nqueue_capacity = 9\n[http]\nloops = 4\n"
				      "listen = [\"127.0.0.1:2\"]\nidle_timeout_secs = 5\n",
				      NULL, 0);

	(void)state;
	assert_int_equal(pc_config_keep(next, in_force, NULL), 0);
	assert_setting(next, "http", "listen", "[\"127.0.0.1:1\"] file pool.toml:2  restart");
	assert_setting(next, "http", "loops", "3 flag :0 -x restart");
	assert_setting(next, "http", "idle_timeout_secs", "75 default :0  restart");
	assert_setting(next, "pool", "queue_capacity", "9 file pool.toml:2  reload");
	told[0] = '\0';
	pc_config_diff(in_force, next, tell, NULL);
	assert_string_equal(told, "changed pool.queue_capacity, reload\n");
	pc_config_free(in_force);
	pc_config_free(next);
}

/* ---- every setting, for programs ---- */

static void check_view(void *ctx, const struct pc_setting_view *view)
{
	size_t *count = ctx;
	json_t *value = json_loads(view->value, JSON_DECODE_ANY, NULL);

	if (!value)
		fail_msg("%s.%s: not JSON: %s", view->section, view->key, view->value);
	json_decref(value);
	++*count;
}

static void every_setting_is_visited_as_json(void **state)
{
	struct pc_config *config;
	size_t count = 0;

	(void)state;
	setenv("RBEES_POOL_POOL_QUEUE_CAPACITY", "7", 1);
	config = load(
		"[memory]\ngpu0 = \"3MiB\"\n[orchestrator]\nurl = \"https://me:pw@host:1/x\"\n"
		"[log]\nlevel = \"warn\"\n"
		"[backends.\"v.1\"]\ncommand = [\"a\\\"b\\\\\\n\", \"{port}\"]\n"
		"env = { KEY = \"s3cr3t\", B = \"{port}\" }\nreadiness = \"http:/a\"\n",
		NULL, 0);
	unsetenv("RBEES_POOL_POOL_QUEUE_CAPACITY");
	assert_int_equal(pc_config_each(config, false, check_view, &count, NULL), 0);
	assert_int_equal(count, pc__setting_count + 1 + 2 * pc__backend_setting_count);
	assert_setting(config, "pool", "queue_capacity",
		       "7 environment :0 RBEES_POOL_POOL_QUEUE_CAPACITY reload");
	assert_setting(config, "pool", "request_timeout_secs", "30 default :0  reload");
	assert_setting(config, "http", "max_body_bytes", "33554432 default :0  restart");
	assert_setting(config, "memory", "gpu0", "3145728 file pool.toml:2  reload");
	assert_setting(config, "orchestrator", "url",
		       "\"https://hidden@host:1/x\" file pool.toml:4  restart");
	assert_setting(config, "backends.v.1", "env",
		       "{\"KEY\": \"hidden\", \"B\": \"hidden\"} file pool.toml:9  workers");
	assert_setting(config, "backends.v.1", "readiness",
		       "\"http:/a\" file pool.toml:10  workers");
	assert_setting(config, "backends.v.1", "stop_grace_secs", "10 default :0  reload");
	pc_config_free(config);
}

/* ---- models ---- */

#define MODEL \
	"[[model]]\nid = \"m\"\nfile = \"f\"\ncapability = \"text_to_text\"\n" \
	"est_memory_allocation_mb = 5\n"

static struct pc_catalog *load_catalog(const char *text, struct pc_config **ret_config)
{
	struct pc_catalog *catalog = NULL;
	struct pc_error err = PC_ERROR_INIT;

	*ret_config = load(SERVER, NULL, 0);
	write_file("catalog.toml", text);
	if (pc_catalog_load(*ret_config, &catalog, &err))
		fail_msg("%s", err.message);
	return catalog;
}

static void models_differ_in_their_launch_or_not(void **state)
{
	static const struct {
		const char *text;
		enum pc_difference difference;
	} rows[] = {
		{ MODEL, PC_DIFFERENCE_NONE },
		{ "# lines further down\n\n" MODEL "slots = 1\n", PC_DIFFERENCE_NONE },
		{ MODEL "name = \"n\"\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "aliases = [\"a\"]\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "ttl = \"5m\"\npinned = true\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "ttl = 0\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "min_workers = 1\nmax_workers = 2\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "size = 5\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "queue_capacity = 5\n", PC_DIFFERENCE_SETTINGS },
		{ MODEL "slots = 2\n", PC_DIFFERENCE_LAUNCH },
		{ MODEL "context_tokens = 2\nname = \"n\"\n", PC_DIFFERENCE_LAUNCH },
		{ MODEL "backend = \"server\"\n", PC_DIFFERENCE_LAUNCH },
		{ MODEL "device = \"gpu0\"\n", PC_DIFFERENCE_LAUNCH },
		{ MODEL "repo = \"o/n\"\n", PC_DIFFERENCE_LAUNCH },
	};
	struct pc_config *config, *other_config;
	struct pc_catalog *catalog = load_catalog(MODEL, &config), *other;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		enum pc_difference difference;

		other = load_catalog(rows[i].text, &other_config);
		difference = pc_model_entry_compare(pc_catalog_at(catalog, 0),
						    pc_catalog_at(other, 0));
		if (difference != rows[i].difference)
			fail_msg("%d, not %d: %s", difference, rows[i].difference, rows[i].text);
		pc_catalog_free(other);
		pc_config_free(other_config);
	}
	pc_catalog_free(catalog);
	pc_config_free(config);
}

/* ---- definitions ---- */

/* Of the first model, with whatever is its backend. */
static int define(const struct pc_catalog *catalog, const struct pc_config *config,
		  char out[PC_DEFINITION_MAX])
{
	const struct pc_model_entry *entry = pc_catalog_at(catalog, 0);

	return pc_model_definition(entry, pc_config_backend(config, entry->backend), out, NULL);
}

/* A configuration of the backends with the model of `text`. */
static struct pc_catalog *load_both(const char *backends, const char *text,
				    struct pc_config **ret_config)
{
	struct pc_catalog *catalog = NULL;
	struct pc_error err = PC_ERROR_INIT;

	*ret_config = load(backends, NULL, 0);
	write_file("catalog.toml", text);
	if (pc_catalog_load(*ret_config, &catalog, &err))
		fail_msg("%s", err.message);
	return catalog;
}

static enum pc_difference compare_launch(const struct pc_catalog *a, const struct pc_config *in_a,
					 const struct pc_catalog *b, const struct pc_config *in_b)
{
	const struct pc_model_entry *left = pc_catalog_at(a, 0), *right = pc_catalog_at(b, 0);
	enum pc_difference models = pc_model_entry_compare(left, right);
	enum pc_difference backends = pc_backend_config_compare(
		pc_config_backend(in_a, left->backend), pc_config_backend(in_b, right->backend));

	return models > backends ? models : backends;
}

#define ON_SERVER MODEL "backend = \"server\"\n"

#define IN_REPO ON_SERVER "repo = \"o/n\"\n"

/* What each pair of them says about the other is compared. */
static const struct {
	const char *settings, *model;
} launches[] = {
	{ SERVER, ON_SERVER },
	{ SERVER, ON_SERVER "name = \"n\"\nttl = 5\nmin_workers = 1\n" },
	{ SERVER "stop_grace_secs = 1\n", ON_SERVER },
	{ SERVER, ON_SERVER "context_tokens = 12\nslots = 3\n" },
	{ SERVER, ON_SERVER "context_tokens = 1\nslots = 23\n" },
	{ SERVER, ON_SERVER "device = \"cpu\"\n" },
	{ SERVER "device = \"cpu\"\n", ON_SERVER },
	{ SERVER "readiness = \"http:/r\"\n", ON_SERVER },
	{ SERVER "env = { A = \"1\", B = \"2\" }\n", ON_SERVER },
	{ SERVER "env = { A = \"1 3:B=2\" }\n", ON_SERVER },
	{ "[backends.server]\ncommand = [\"s\", \"{port}\", \"\"]\n", ON_SERVER },
	{ "[backends.server]\ncommand = [\"s\", \"{port} 0:\"]\n", ON_SERVER },
	{ SERVER, IN_REPO },
	{ "[catalog]\ncache_dir = \"/elsewhere\"\n" SERVER, IN_REPO },
};

#define LAUNCHES PC_ARRAY_LEN(launches)

static void definitions_are_equal_where_launches_are(void **state)
{
	char definitions[LAUNCHES][PC_DEFINITION_MAX], again[PC_DEFINITION_MAX];
	struct pc_catalog *catalogs[LAUNCHES];
	struct pc_config *configs[LAUNCHES];
	size_t equal = 0;

	(void)state;
	for (size_t i = 0; i < LAUNCHES; i++) {
		catalogs[i] = load_both(launches[i].settings, launches[i].model, &configs[i]);
		assert_int_equal(define(catalogs[i], configs[i], definitions[i]), 0);
		assert_int_equal(strspn(definitions[i], "0123456789abcdef"), PC_DEFINITION_MAX - 1);
	}
	for (size_t i = 0; i < LAUNCHES; i++) {
		for (size_t j = 0; j < LAUNCHES; j++) {
			bool same = strcmp(definitions[i], definitions[j]) == 0;

			if (same != (compare_launch(catalogs[i], configs[i], catalogs[j],
						    configs[j]) != PC_DIFFERENCE_LAUNCH))
				fail_msg("%zu and %zu are%s launched alike", i, j,
					 same ? "" : " not");
			equal += same;
		}
	}
	assert_int_equal(equal, LAUNCHES + 6); /* the first three are launched alike */
	for (size_t i = 0; i < LAUNCHES; i++) {
		/* It knows nothing of where things lie in memory. */
		struct pc_config *config;
		struct pc_catalog *catalog = load_both(launches[i].settings, launches[i].model,
						       &config);

		assert_int_equal(define(catalog, config, again), 0);
		assert_string_equal(again, definitions[i]);
		pc_catalog_free(catalog);
		pc_config_free(config);
		pc_catalog_free(catalogs[i]);
		pc_config_free(configs[i]);
	}
}

/* Whatever kind of row it is, each of its values is written otherwise. */
static void every_row_of_a_launch_is_written(void **state)
{
	static const struct pc__setting row = { "s", "k", .effect = PC_EFFECT_WORKERS };
	static char *words[] = { "a", "b", NULL };
	struct pc_string_list lists[2] = { { words, 1 }, { words, 2 } };
	const uint64_t numbers[2] = { 1, 2 };
	const bool flags[2] = { false, true };

	(void)state;
	for (enum pc__setting_kind kind = PC__SETTING_STRING; kind <= PC__SETTING_BOOLEAN; kind++) {
		struct pc__setting of_kind = row;
		bool is_string = kind == PC__SETTING_STRING || kind == PC__SETTING_WORD ||
				 kind == PC__SETTING_PATH;
		bool is_list = kind == PC__SETTING_STRING_LIST || kind == PC__SETTING_PATH_LIST ||
			       kind == PC__SETTING_STRING_TABLE;
		char *texts[2];

		of_kind.kind = kind;
		for (size_t i = 0; i < 2; i++) {
			const void *object = is_string ? (const void *)&words[i]
					     : is_list ? (const void *)&lists[i]
					     : kind == PC__SETTING_BOOLEAN
						     ? (const void *)&flags[i]
						     : (const void *)&numbers[i];
			struct pc__buf out = PC__BUF_INIT;

			pc__settings_put_launch(&of_kind, 1, object, &out);
			texts[i] = pc__buf_steal(&out);
			assert_non_null(texts[i]);
		}
		assert_string_not_equal(texts[0], texts[1]);
		pc_free(texts[0]);
		pc_free(texts[1]);
	}
}

/* ---- without memory ---- */

static void ignore(void *ctx, const struct pc_setting_view *view)
{
	(void)ctx;
	(void)view;
}

static void a_definition_may_lack_memory(void **state)
{
	char definition[PC_DEFINITION_MAX] = "before";
	struct pc_config *config;
	struct pc_catalog *catalog = load_both(SERVER, ON_SERVER, &config);
	int rc;

	(void)state;
	for (unsigned nth = 1;; nth++) {
		fail_alloc_begin_once(nth);
		rc = define(catalog, config, definition);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_string_equal(definition, "before");
	}
	assert_int_equal(rc, 0);
	pc_catalog_free(catalog);
	pc_config_free(config);
}

static void every_allocation_may_fail(void **state)
{
	struct pc_config *in_force, *next;
	int rc;

	(void)state;
	setenv("RBEES_POOL_POOL_POOL_ID", "other", 1);
	in_force = load("[http]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nloops = 2\n", NULL,
			0);
	unsetenv("RBEES_POOL_POOL_POOL_ID");
	for (unsigned nth = 1;; nth++) {
		next = load("[orchestrator]\nurl = \"http://u@h\"\n" SERVER, NULL, 0);
		fail_alloc_begin_once(nth);
		rc = pc_config_keep(next, in_force, NULL);
		if (rc == 0)
			rc = pc_config_each(next, true, ignore, NULL, NULL);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		pc_config_free(next);
	}
	assert_int_equal(rc, 0);
	assert_string_equal(next->pool_id, "other");
	pc_config_free(next);
	pc_config_free(in_force);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_differs_is_named),
		cmocka_unit_test(every_row_is_compared_and_copied),
		cmocka_unit_test(what_needs_a_restart_stays_in_force),
		cmocka_unit_test(every_setting_is_visited_as_json),
		cmocka_unit_test(models_differ_in_their_launch_or_not),
		cmocka_unit_test(definitions_are_equal_where_launches_are),
		cmocka_unit_test(every_row_of_a_launch_is_written),
		cmocka_unit_test(a_definition_may_lack_memory),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
