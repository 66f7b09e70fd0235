/* SPDX-License-Identifier: MIT */
/* Unit tests of src/catalog: entries, every refusal with its place, finding, the model's file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/catalog.h>
#include <poolcore/config.h>
#include <poolcore/model_ref.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/index.h"
#include "catalog/model.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

/* ---- a folder of our own with a configuration that lists a.toml and b.toml ---- */

static struct pc_config *config;

static int enter_folder(void **state)
{
	char template[] = "/tmp/poolcore-catalog-XXXXXX";

	(void)state;
	clearenv();
	if (!mkdtemp(template) || !realpath(template, folder))
		return -1;
	write_file("pool.toml", "[catalog]\n"
				"files = [\"a.toml\", \"b.toml\"]\n"
				"cache_dir = \"cache\"\n"
				"[backends.llama-server]\n"
				"command = [\"llama-server\", \"--port\", \"{port}\"]\n");
	return pc_config_load(in_folder("pool.toml"), NULL, 0, &config, NULL);
}

static int leave_folder(void **state)
{
	static const char *const names[] = { "a.toml", "b.toml", "pool.toml", "model.gguf",
					     "fifo" };

	(void)state;
	pc_config_free(config);
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++)
		unlink(in_folder(names[i]));
	return rmdir(folder);
}

/* ---- loading ---- */

static struct pc_catalog *load(const char *a, const char *b)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog = NULL;

	write_file("a.toml", a);
	write_file("b.toml", b);
	if (pc_catalog_load(config, &catalog, &err))
		fail_msg("%s", err.message);
	assert_non_null(catalog);
	return catalog;
}

/* DESIGN.md's sample. */
static const char sample[] =
	"# catalog.toml\n"
	"[[model]]\n"
	"id = \"tinyllama\"\n"
	"name = \"TinyLlama 1.1B Chat\"\n"
	"repo = \"TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF\"\n"
	"file = \"tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf\"\n"
	"size = 668788096\n"
	"sha256 = \"\"                          # filled by `models verify --record`\n"
	"capability = \"text_to_text\"\n"
	"est_memory_allocation_mb = 1200      # required; no default\n"
	"backend = \"llama-server\"\n"
	"slots = 4\n"
	"aliases = [\"tiny\"]\n"
	"min_workers = 0\n"
	"max_workers = 1                      # 0: as many as the budget holds\n"
	"cold_start_workers = 1\n"
	"ttl = \"5m\"                           # overrides the cooldown\n"
	"pinned = false\n";

#define TINY_FILE "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"

static void loads_the_sample(void **state)
{
	struct pc_catalog *catalog = load(sample, "");
	const struct pc_model_entry *entry = pc_catalog_at(catalog, 0);

	(void)state;
	assert_int_equal(pc_catalog_count(catalog), 1);
	assert_null(pc_catalog_at(catalog, 1));
	assert_string_equal(entry->id, "tinyllama");
	assert_string_equal(entry->name, "TinyLlama 1.1B Chat");
	assert_string_equal(entry->repo, "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF");
	assert_string_equal(entry->file, "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf");
	assert_string_equal(entry->path, in_folder("cache/" TINY_FILE));
	assert_string_equal(entry->model_ref, "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF::file="
					      "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf");
	assert_int_equal(entry->size_bytes, 668788096);
	assert_string_equal(entry->sha256, "");
	assert_int_equal(entry->capability, PC_CAPABILITY_TEXT_TO_TEXT);
	assert_int_equal(entry->memory_bytes, UINT64_C(1200) << 20);
	assert_string_equal(entry->backend, "llama-server");
	assert_string_equal(entry->device, "");
	assert_int_equal(entry->slots, 4);
	assert_int_equal(entry->context_tokens, 0);
	assert_int_equal(entry->alias_count, 1);
	assert_string_equal(entry->aliases[0], "tiny");
	assert_int_equal(entry->min_workers, 0);
	assert_int_equal(entry->max_workers, 1);
	assert_int_equal(entry->cold_start_workers, 1);
	assert_int_equal(entry->queue_capacity, 0);
	assert_int_equal(entry->ttl_ms, 300000);
	assert_false(entry->pinned);
	assert_string_equal(entry->source_file, in_folder("a.toml"));
	assert_int_equal(entry->source_line, 2);
	pc_catalog_free(catalog);
	pc_catalog_free(NULL);
}

/* What every model must say. */
#define LEAST \
	"[[model]]\nid = \"m\"\nfile = \"m.gguf\"\ncapability = \"text_to_text\"\n" \
	"est_memory_allocation_mb = 1\n"
#define LEAST_NO_FILE \
	"[[model]]\nid = \"m\"\ncapability = \"text_to_text\"\nest_memory_allocation_mb = 1\n"

static void defaults_of_a_model(void **state)
{
	struct pc_catalog *catalog = load("", LEAST);
	const struct pc_model_entry *entry = pc_catalog_at(catalog, 0);
	char ref[2 * PATH_MAX];

	(void)state;
	snprintf(ref, sizeof(ref), "file:%.4000s", in_folder("m.gguf"));
	assert_string_equal(entry->name, "");
	assert_string_equal(entry->repo, "");
	assert_string_equal(entry->path, in_folder("m.gguf"));
	assert_string_equal(entry->model_ref, ref);
	assert_int_equal(entry->size_bytes, 0);
	assert_string_equal(entry->sha256, "");
	assert_int_equal(entry->memory_bytes, 1 << 20);
	assert_string_equal(entry->backend, "pool-worker");
	assert_string_equal(entry->device, "");
	assert_int_equal(entry->slots, 1);
	assert_int_equal(entry->alias_count, 0);
	assert_int_equal(entry->min_workers, 0);
	assert_int_equal(entry->max_workers, 1);
	assert_int_equal(entry->cold_start_workers, 1);
	assert_int_equal(entry->ttl_ms, PC_TTL_UNSET);
	assert_false(entry->pinned);
	assert_string_equal(entry->source_file, in_folder("b.toml"));
	assert_int_equal(entry->source_line, 1);
	pc_catalog_free(catalog);
}

static void assert_ttl(const char *text, int64_t ms)
{
	char toml[256];
	struct pc_catalog *catalog;

	snprintf(toml, sizeof(toml), LEAST "ttl = %s\n", text);
	catalog = load(toml, "");
	assert_int_equal(pc_catalog_at(catalog, 0)->ttl_ms, ms);
	pc_catalog_free(catalog);
}

static void values_of_a_model(void **state)
{
	struct pc_catalog *catalog;
	const struct pc_model_entry *entry;

	(void)state;
	assert_ttl("0", 0);
	assert_ttl("\"0\"", 0);
	assert_ttl("90", 90000);
	assert_ttl("\"250ms\"", 250);
	assert_ttl("-1", -1);
	assert_ttl("-9223372036854775807", -1);
	assert_ttl("\"-5m\"", -1);
	assert_ttl("\"365d\"", INT64_C(365) * 86400000);

	catalog = load(
		"[[model]]\n"
		"id = \"org/Name-1.5_x\"\n"
		"file = \"/models/x.gguf\"\n"
		"capability = \"vision\"\n"
		"est_memory_allocation_mb = 16777216\n"
		"device = \"gpu7\"\n"
		"size = \"1GiB\"\n"
		"sha256 = \"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"\n"
		"slots = 64\n"
		"context_tokens = 4096\n"
		"aliases = [\"a\", \"b/c\"]\n"
		"min_workers = 2\n"
		"max_workers = 0\n"
		"cold_start_workers = 3\n"
		"queue_capacity = 9\n"
		"pinned = true\n"
		"[[model]]\n"
		"id = \"r\"\n"
		"repo = \"o/r\"\n"
		"file = \"sub/..x/y.gguf\"\n"
		"capability = \"text_embedding\"\n"
		"est_memory_allocation_mb = 1\n",
		"");
	entry = pc_catalog_find(catalog, "b/c");
	assert_string_equal(entry->id, "org/Name-1.5_x");
	assert_string_equal(entry->path, "/models/x.gguf");
	assert_string_equal(entry->model_ref, "file:/models/x.gguf");
	assert_int_equal(entry->capability, PC_CAPABILITY_VISION);
	assert_int_equal(entry->memory_bytes, UINT64_C(1) << 44);
	assert_string_equal(entry->device, "gpu7");
	assert_int_equal(entry->size_bytes, 1 << 30);
	assert_string_equal(entry->sha256, "0123456789abcdef0123456789abcdef"
					   "0123456789abcdef0123456789abcdef");
	assert_int_equal(entry->slots, 64);
	assert_int_equal(entry->context_tokens, 4096);
	assert_int_equal(entry->min_workers, 2);
	assert_int_equal(entry->max_workers, 0);
	assert_int_equal(entry->cold_start_workers, 3);
	assert_int_equal(entry->queue_capacity, 9);
	assert_true(entry->pinned);
	entry = pc_catalog_find(catalog, "r");
	assert_string_equal(entry->path, in_folder("cache/o/r/sub/..x/y.gguf"));
	assert_string_equal(entry->model_ref, "hf:o/r::file=sub/..x/y.gguf");
	assert_int_equal(entry->capability, PC_CAPABILITY_TEXT_EMBEDDING);
	pc_catalog_free(catalog);
}

/* ---- refusals ---- */

struct refusal {
	const char *text; /* of b.toml; a.toml has the sample */
	const char *place;
	const char *key;
	const char *message; /* what follows "FILE:PLACE: KEY: " */
};

static void assert_refused(const struct refusal *refusal)
{
	struct pc_catalog *const untouched = (struct pc_catalog *)&folder;
	struct pc_catalog *catalog = untouched;
	struct pc_error err = PC_ERROR_INIT;
	char expected[4 * PATH_MAX], place[64];

	write_file("a.toml", sample);
	write_file("b.toml", refusal->text);
	assert_int_equal(pc_catalog_load(config, &catalog, &err), PC_E_INVALID_CONFIG);
	assert_ptr_equal(catalog, untouched);
	snprintf(expected, sizeof(expected), "%s:%s: %s: %s", in_folder("b.toml"), refusal->place,
		 refusal->key, refusal->message);
	assert_string_equal(err.message, expected);
	assert_string_equal(pc_error_detail_get(&err, "file"), in_folder("b.toml"));
	snprintf(place, sizeof(place), "%s:%s", pc_error_detail_get(&err, "line"),
		 pc_error_detail_get(&err, "column"));
	assert_string_equal(place, refusal->place);
	assert_string_equal(pc_error_detail_get(&err, "key"), refusal->key);
}

#define ID_RULE \
	" is not usable; use letters, digits, '.', '_' and '-', at most one '/', beginning with " \
	"a letter or digit, at most 128 bytes"

/* clang-format off */
static const struct refusal refusals[] = {
	/* the file */
	{ "[[modle]]\n", "1:3", "modle", "unknown key; a catalog consists of [[model]] tables" },
	{ "model = 1\n", "1:1", "model",
	  "1 is an integer; an array of tables, [[model]] with two brackets, is expected" },
	{ "[model]\n", "1:2", "model",
	  "this is a table; an array of tables, [[model]] with two brackets, is expected" },
	{ "model = [ 1 ]\n", "1:11", "model", "1 is an integer; a table [[model]] is expected" },
	/* what must be there */
	{ "\n[[model]]\n", "2:3", "model.id",
	  "it is missing. What requests call the model; unique over all catalogs, aliases included" },
	{ LEAST_NO_FILE, "1:3", "model.file",
	  "it is missing. The file within the repository, or a path relative to the catalog's "
	  "folder when there is no repository" },
	{ LEAST_NO_FILE "repo = \"a/b\"\n", "1:3", "model.file",
	  "it is missing. The file within the repository, or a path relative to the catalog's "
	  "folder when there is no repository" },
	{ "[[model]]\nid = \"m\"\nfile = \"f\"\n", "1:3", "model.capability",
	  "it is missing. What the model does" },
	{ "[[model]]\nid = \"m\"\nfile = \"f\"\ncapability = \"vision\"\n", "1:3",
	  "model.est_memory_allocation_mb",
	  "it is missing. The memory that one worker takes, which is reserved before it starts; it is "
	  "never guessed" },
	/* values */
	{ "[[model]]\nid = \"\"\n", "2:6", "model.id", "it is empty; a value is needed here" },
	{ "[[model]]\nid = \"a b\"\n", "2:6", "model.id", "\"a b\"" ID_RULE },
	{ "[[model]]\nid = \"-a\"\n", "2:6", "model.id", "\"-a\"" ID_RULE },
	{ "[[model]]\nid = \"a/b/c\"\n", "2:6", "model.id", "\"a/b/c\"" ID_RULE },
	{ "[[model]]\nid = \"a/\"\n", "2:6", "model.id", "\"a/\"" ID_RULE },
	{ "[[model]]\nid = \"a/../b\"\n", "2:6", "model.id", "\"a/../b\"" ID_RULE },
	{ "[[model]]\naliases = [\"a\", \"/b\"]\n", "2:17", "model.aliases", "\"/b\"" ID_RULE },
	{ "[[model]]\nrepo = \"name\"\n", "2:8", "model.repo",
	  "\"name\" is no repository; use \"ORG/NAME\"" },
	{ "[[model]]\nrepo = \"../name\"\n", "2:8", "model.repo",
	  "\"../name\" is no repository; use \"ORG/NAME\"" },
	{ "[[model]]\nsha256 = \"12\"\n", "2:10", "model.sha256",
	  "it is no SHA-256; use 64 hexadecimal digits, or \"\" while it is not known" },
	{ "[[model]]\ncapability = \"chat\"\n", "2:14", "model.capability",
	  "\"chat\" is not understood; \"text_embedding\", \"image_embedding\", \"text_to_text\", "
	  "\"vision\" or \"text_to_image\" is expected" },
	{ "[[model]]\nest_memory_allocation_mb = 0\n", "2:28", "model.est_memory_allocation_mb",
	  "0 is out of range; use 1 to 16777216 MiB" },
	{ "[[model]]\nest_memory_allocation_mb = \"1GiB\"\n", "2:28",
	  "model.est_memory_allocation_mb",
	  "\"1GiB\" is a string; an integer number of MiB is expected" },
	{ "[[model]]\nslots = 65\n", "2:9", "model.slots",
	  "65 is out of range; use 1 to 64 requests" },
	{ "[[model]]\nslots = 0\n", "2:9", "model.slots",
	  "0 is out of range; use 1 to 64 requests" },
	{ "[[model]]\ncold_start_workers = 0\n", "2:22", "model.cold_start_workers",
	  "0 is out of range; use 1 to 1024 workers" },
	{ "[[model]]\ndevice = \"tpu\"\n", "2:10", "model.device",
	  "\"tpu\" is no device; use \"auto\", \"cpu\", \"gpu0\", \"gpu1\" ..." },
	{ "[[model]]\nttl = \"366d\"\n", "2:7", "model.ttl",
	  "\"366d\" is out of range; use a duration up to \"365d\", or a negative one" },
	{ "[[model]]\nttl = 9223372036854775807\n", "2:7", "model.ttl",
	  "9223372036854775807 is out of range; use a duration up to \"365d\", or a negative one" },
	{ "[[model]]\nttl = false\n", "2:7", "model.ttl",
	  "false is a boolean; an integer number of seconds or a duration like \"90s\" is expected" },
	{ "[[model]]\npinned = 1\n", "2:10", "model.pinned",
	  "1 is an integer; true or false is expected" },
	{ "[[model]]\nmax_worker = 1\n", "2:1", "model.max_worker",
	  "unknown key; did you mean \"max_workers\"?" },
	/* values among themselves */
	{ LEAST "min_workers = 2\n", "6:15", "model.min_workers", "2 is more than max_workers, 1" },
	{ LEAST "cold_start_workers = 4\nmax_workers = 3\n", "6:22", "model.cold_start_workers",
	  "4 is more than max_workers, 3" },
	{ LEAST "backend = \"llama-sever\"\n", "6:11", "model.backend",
	  "there is no backend \"llama-sever\"; did you mean \"llama-server\"?" },
	{ LEAST "backend = \"vllm\"\n", "6:11", "model.backend",
	  "there is no backend \"vllm\"; define it as [backends.NAME] in the configuration, or use "
	  "\"pool-worker\"" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"../x\"\n", "6:8", "model.file",
	  "\"../x\" leaves the repository; use a relative path without \"..\"" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"a/..\"\n", "6:8", "model.file",
	  "\"a/..\" leaves the repository; use a relative path without \"..\"" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"/x\"\n", "6:8", "model.file",
	  "\"/x\" leaves the repository; use a relative path without \"..\"" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"a//x\"\n", "6:8", "model.file",
	  "\"a//x\" leaves the repository; use a relative path without \"..\"" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"a\\\\b\"\n", "6:8", "model.file",
	  "\"a\\b\" has a backslash; parts of a path are separated by '/'" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"a\\u202eb\"\n", "6:8", "model.file",
	  "\"a?b\" has the character U+202E, which does not show; leave it out" },
	{ LEAST_NO_FILE "file = \"/a/../b\"\n", "5:8", "model.file",
	  "\"/a/../b\" has a part that is empty, \".\" or \"..\"; write the path without it" },
	{ LEAST_NO_FILE "file = \"a\\nb\"\n", "5:8", "model.file",
	  "\"a?b\" has the character U+000A, which does not show; leave it out" },
	{ LEAST_NO_FILE "repo = \"a/b\"\nfile = \"x\"\nrevision = \"../y\"\n", "7:12",
	  "model.revision",
	  "\"../y\" is no revision; use a branch, tag or commit like \"main\" or \"refs/pr/1\", at "
	  "most 128 bytes" },
	{ LEAST "revision = \"main\"\n", "6:12", "model.revision",
	  "it belongs to a repository, and \"repo\" is empty" },
	{ LEAST_NO_FILE "file = \"~x/y\"\n", "5:8", "model.file",
	  "\"~x/y\": \"~name\" is not expanded; write \"~/...\" or an absolute path" },
};
/* clang-format on */

static void refusals_name_place_and_cure(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(refusals); i++)
		assert_refused(&refusals[i]);
}

static void assert_duplicate(const char *text, const char *place, const char *key, const char *what,
			     const char *other_file, const char *other_line)
{
	struct pc_catalog *catalog = NULL;
	struct pc_error err = PC_ERROR_INIT;
	char begin[2 * PATH_MAX + 64];

	write_file("a.toml", sample);
	write_file("b.toml", text);
	assert_int_equal(pc_catalog_load(config, &catalog, &err), PC_E_INVALID_CONFIG);
	assert_null(catalog);
	snprintf(begin, sizeof(begin), "%s:%s: %s: ", in_folder("b.toml"), place, key);
	assert_memory_equal(err.message, begin, strlen(begin));
	assert_contains(err.message, what);
	snprintf(begin, sizeof(begin), "%s:%s; ids and aliases are unique over all files",
		 in_folder(other_file), other_line);
	assert_contains(err.message, begin);
	assert_string_equal(pc_error_detail_get(&err, "key"), key);
	assert_string_equal(pc_error_detail_get(&err, "other_file"), in_folder(other_file));
	assert_string_equal(pc_error_detail_get(&err, "other_line"), other_line);
}

static void names_are_unique(void **state)
{
	(void)state;
	assert_duplicate(LEAST "[[model]]\nid = \"tinyllama\"\nfile = \"x\"\n"
			       "capability = \"vision\"\nest_memory_allocation_mb = 1\n",
			 "7:6", "model.id",
			 "\"tinyllama\" is taken: it is the id of model \"tinyllama\"", "a.toml",
			 "2");
	assert_duplicate(LEAST "aliases = [\"n\", \"tiny\"]\n", "6:17", "model.aliases",
			 "\"tiny\" is taken: it is the alias of model \"tinyllama\"", "a.toml",
			 "2");
	assert_duplicate(LEAST "aliases = [\"m\"]\n", "6:12", "model.aliases",
			 "\"m\" is taken: it is the id of model \"m\"", "b.toml", "1");
	assert_duplicate(LEAST "aliases = [\"n\", \"n\"]\n", "6:17", "model.aliases",
			 "\"n\" is taken: it is the alias of model \"m\"", "b.toml", "1");
}

static void missing_and_broken_catalogs(void **state)
{
	struct pc_catalog *catalog = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	write_file("a.toml", "");
	unlink(in_folder("b.toml"));
	assert_int_equal(pc_catalog_load(config, &catalog, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_contains(err.message, in_folder("b.toml"));
	assert_contains(err.message, "catalog.files names a file that is not there; make it (an "
				     "empty one will do), or correct the setting: cannot open");
	assert_string_equal(pc_error_detail_get(&err, "key"), "catalog.files");
	pc_error_clear(&err);
	write_file("b.toml", "[[model]\n");
	assert_int_equal(pc_catalog_load(config, &catalog, &err), PC_E_INVALID_CONFIG);
	assert_string_equal(pc_error_detail_get(&err, "line"), "1");
	assert_null(catalog);
}

/* ---- finding ---- */

#define REST "capability = \"vision\"\nest_memory_allocation_mb = 1\n"

/* Two revisions of one file are two files, with a reference each, which reads back. */
static void a_revision_has_its_own_place(void **state)
{
	struct pc_catalog *catalog = load(
		"[[model]]\nid = \"old\"\nrepo = \"org/name\"\nrevision = \"refs/pr/1\"\n"
		"file = \"d/x.gguf\"\ncapability = \"vision\"\nest_memory_allocation_mb = 1\n",
		"[[model]]\nid = \"new\"\nrepo = \"org/name\"\n"
		"file = \"d/x.gguf\"\ncapability = \"vision\"\nest_memory_allocation_mb = 1\n");
	const struct pc_model_entry *old = pc_catalog_find(catalog, "old"), *entry = NULL;
	char expected[2 * PATH_MAX];
	struct pc_model_ref ref;

	(void)state;
	snprintf(expected, sizeof(expected), "%s/org/name@refs/pr/1/d/x.gguf",
		 config->catalog_cache_dir);
	assert_string_equal(old->path, expected);
	assert_string_equal(old->revision, "refs/pr/1");
	assert_string_equal(old->model_ref, "hf:org/name@refs/pr/1::file=d/x.gguf");
	assert_string_equal(pc_catalog_find(catalog, "new")->revision, "");
	assert_int_equal(pc_catalog_get(catalog, old->model_ref, &entry, NULL), 0);
	assert_ptr_equal(entry, old);
	assert_int_equal(pc_model_ref_parse(old->model_ref, &ref, NULL), 0);
	assert_string_equal(ref.revision, old->revision);
	pc_catalog_free(catalog);
}

/*
 * An alias is a name of a model and never of an alias, so there is no way round: one that is taken
 * is refused, in whichever order and file the two stand.
 */
static void aliases_go_no_further(void **state)
{
	static const char *const circles[][2] = {
		{ "[[model]]\nid = \"a\"\naliases = [\"b\"]\nfile = \"x\"\n" REST,
		  "[[model]]\nid = \"b\"\naliases = [\"a\"]\nfile = \"x\"\n" REST },
		{ "[[model]]\nid = \"a\"\naliases = [\"a\"]\nfile = \"x\"\n" REST, "" },
		{ "[[model]]\nid = \"a\"\naliases = [\"c\"]\nfile = \"x\"\n" REST,
		  "[[model]]\nid = \"b\"\naliases = [\"c\"]\nfile = \"x\"\n" REST },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(circles); i++) {
		struct pc_catalog *catalog = NULL;
		struct pc_error err = PC_ERROR_INIT;

		write_file("a.toml", circles[i][0]);
		write_file("b.toml", circles[i][1]);
		assert_int_equal(pc_catalog_load(config, &catalog, &err), PC_E_INVALID_CONFIG);
		assert_contains(err.message, "ids and aliases are unique over all files");
		assert_null(catalog);
	}
}

static void finds_by_every_name(void **state)
{
	struct pc_catalog *catalog = load(
		sample, LEAST "[[model]]\nid = \"same-file\"\nfile = \"m.gguf\"\n"
			      "capability = \"vision\"\nest_memory_allocation_mb = 1\n");
	const struct pc_model_entry *tiny = pc_catalog_at(catalog, 0), *entry = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_catalog_count(catalog), 3);
	assert_ptr_equal(pc_catalog_find(catalog, "tinyllama"), tiny);
	assert_ptr_equal(pc_catalog_find(catalog, "tiny"), tiny);
	assert_null(pc_catalog_find(catalog, "TinyLlama"));
	assert_null(pc_catalog_find(catalog, ""));
	assert_null(pc_catalog_find(catalog, tiny->model_ref));
	assert_int_equal(pc_catalog_get(catalog, "tiny", &entry, &err), 0);
	assert_ptr_equal(entry, tiny);
	assert_int_equal(pc_catalog_get(catalog, tiny->model_ref, &entry, &err), 0);
	assert_ptr_equal(entry, tiny);
	/* Two models on one file: the first in the catalog is meant. */
	assert_int_equal(
		pc_catalog_get(catalog, pc_catalog_at(catalog, 2)->model_ref, &entry, &err), 0);
	assert_string_equal(entry->id, "m");

	entry = tiny;
	assert_int_equal(pc_catalog_get(catalog, "tinylama", &entry, &err), PC_E_MODEL_NOT_FOUND);
	assert_ptr_equal(entry, tiny);
	assert_string_equal(err.message,
			    "there is no model \"tinylama\"; did you mean \"tinyllama\"?");
	assert_string_equal(pc_error_detail_get(&err, "model"), "tinylama");
	assert_string_equal(pc_error_detail_get(&err, "nearest"), "tinyllama");
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_get(catalog, "gpt-4o", &entry, &err), PC_E_MODEL_NOT_FOUND);
	assert_string_equal(err.message, "there is no model \"gpt-4o\" in the catalog");
	assert_null(pc_error_detail_get(&err, "nearest"));
	assert_int_equal(pc_catalog_get(catalog, "gpt-4o", &entry, NULL), PC_E_MODEL_NOT_FOUND);

	/* A name as long as a client likes. */
	char *endless = malloc(1 << 20);

	memset(endless, 'a', (1 << 20) - 1);
	endless[(1 << 20) - 1] = '\0';
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_get(catalog, endless, &entry, &err), PC_E_MODEL_NOT_FOUND);
	free(endless);
	pc_catalog_free(catalog);

	catalog = load("", "");
	assert_int_equal(pc_catalog_count(catalog), 0);
	assert_null(pc_catalog_find(catalog, "tiny"));
	assert_int_equal(pc_catalog_get(catalog, "tiny", &entry, NULL), PC_E_MODEL_NOT_FOUND);
	pc_catalog_free(catalog);
}

static void nothing_is_no_name(void **state)
{
	struct pc_catalog *catalog = load("", "");
	const struct pc_model_entry *entry = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_null(pc_catalog_find(catalog, NULL));
	assert_int_equal(pc_catalog_get(catalog, NULL, &entry, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a model's name and a place for its entry are needed");
	assert_null(pc_config_backend(config, NULL));
	pc_catalog_free(catalog);
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_load(NULL, &catalog, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a configuration and a place for the catalog are needed");
}

/* The mean number of slots looked at to find each key that is there. */
static double mean_probes(const struct pc__index *index)
{
	size_t probes = 0, run = 0;

	/* With linear probing, a search is never longer than the run of taken slots that it ends
	 * in: a sum of squares of the runs bounds all of them. */
	for (size_t i = 0; i <= index->capacity; i++) {
		if (i < index->capacity && index->slots[i].key) {
			run++;
			continue;
		}
		probes += run * (run + 1) / 2;
		run = 0;
	}
	return (double)probes / (double)index->count;
}

static void ten_thousand_models(void **state)
{
	enum { MODELS = 10000 };
	FILE *file = fopen(in_folder("a.toml"), "w");
	struct pc__index index = { .count = 0 };
	struct pc_catalog *catalog = NULL;
	struct pc_error err = PC_ERROR_INIT;
	char name[64];
	size_t value;

	(void)state;
	assert_non_null(file);
	for (int i = 0; i < MODELS; i++)
		fprintf(file,
			"[[model]]\nid = \"org-%d/model-%d\"\naliases = [\"alias-%d\"]\n"
			"repo = \"org/repo-%d\"\nfile = \"f.gguf\"\ncapability = \"text_to_text\"\n"
			"est_memory_allocation_mb = %d\n",
			i % 7, i, i, i, i + 1);
	assert_int_equal(fclose(file), 0);
	write_file("b.toml", "");
	if (pc_catalog_load(config, &catalog, &err))
		fail_msg("%s", err.message);
	assert_int_equal(pc_catalog_count(catalog), MODELS);
	for (int i = 0; i < MODELS; i++) {
		const struct pc_model_entry *entry;

		snprintf(name, sizeof(name), "alias-%d", i);
		entry = pc_catalog_find(catalog, name);
		assert_non_null(entry);
		assert_int_equal(entry->memory_bytes, (uint64_t)(i + 1) << 20);
		assert_int_equal(entry->source_line, i * 7 + 1);
		assert_ptr_equal(pc_catalog_find(catalog, entry->id), entry);
		assert_int_equal(pc__index_add(&index, entry->id, (size_t)i, &value, &err), 0);
		assert_int_equal(value, i);
	}
	/* Nothing is quadratic: a table at most half full answers in a few steps. */
	assert_true(index.capacity >= 2 * MODELS && index.capacity <= 8 * MODELS);
	assert_true(mean_probes(&index) < 4);
	pc__index_fini(&index);
	pc_catalog_free(catalog);
}

/* ---- the model's file ---- */

static void assert_no_file(const struct pc_model_entry *entry, int code, int sys_errno,
			   const char *reason, const char *cure)
{
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_model_entry_check_file(entry, &err), code);
	assert_int_equal(err.code, code);
	assert_int_equal(err.sys_errno, sys_errno);
	assert_contains(err.message, entry->path);
	assert_contains(err.message, cure);
	assert_string_equal(pc_error_detail_get(&err, "path"), entry->path);
	assert_string_equal(pc_error_detail_get(&err, "model"), entry->id);
	assert_string_equal(pc_error_detail_get(&err, "reason"), reason);
	assert_int_equal(pc_model_entry_check_file(entry, NULL), code);
}

static void checks_the_file(void **state)
{
	struct pc_catalog *catalog = load(sample, "");
	struct pc_model_entry entry = *pc_catalog_at(catalog, 0);

	(void)state;
	assert_no_file(&entry, PC_E_MODEL_FILE_MISSING, ENOENT, "does not exist",
		       "download it from the repository TheBloke/TinyLlama");
	entry.repo = "";
	assert_no_file(&entry, PC_E_MODEL_FILE_MISSING, ENOENT, "does not exist",
		       "correct \"file\" at ");
	entry.path = folder;
	assert_no_file(&entry, PC_E_MODEL_FILE_INVALID, 0, "is not a regular file",
		       "put the right one there, or correct \"file\" at ");

	char path[2 * PATH_MAX];

	/* A FIFO without a writer must not make anybody wait. */
	strcpy(path, in_folder("fifo"));
	assert_int_equal(mkfifo(path, 0600), 0);
	entry.path = path;
	assert_no_file(&entry, PC_E_MODEL_FILE_INVALID, 0, "is not a regular file",
		       "put the right one there, or correct \"file\" at ");

	/* Nor must what the kernel says in the form of files be taken for one. */
	entry.path = "/proc/self/mem";
	assert_no_file(&entry, PC_E_MODEL_FILE_INVALID, 0,
		       "is one of the kernel's, as in /proc, and no file of a disk",
		       "correct \"file\" at ");
	entry.path = "/dev/null";
	assert_no_file(&entry, PC_E_MODEL_FILE_INVALID, 0, "is not a regular file",
		       "put the right one there");
	entry.path = path;

	strcpy(path, write_file("model.gguf", "12345"));
	assert_no_file(&entry, PC_E_MODEL_FILE_INVALID, 0,
		       "has 5 bytes and the catalog says 668788096", "or correct \"size\" at ");
	entry.size_bytes = 5;
	assert_int_equal(pc_model_entry_check_file(&entry, NULL), 0);
	entry.size_bytes = 0;
	assert_int_equal(pc_model_entry_check_file(&entry, NULL), 0);

	/* Without a descriptor nothing is known about the file. */
	struct rlimit limit, none;
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	int code = pc_model_entry_check_file(&entry, &err);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(code, PC_E_IO);
	assert_int_equal(err.sys_errno, EMFILE);
	assert_non_null(strstr(err.message, path));

	strcat(path, "/x");
	assert_no_file(&entry, PC_E_MODEL_FILE_MISSING, ENOTDIR, "cannot be read (Not a directory)",
		       "put it there");
	pc_catalog_free(catalog);
}

static void reference_names_every_setting(void **state)
{
	char *text = NULL, line[128];
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(pc_catalog_write_reference(file, NULL), 0);
	fclose(file);
	for (size_t i = 0; i < pc__model_setting_count; i++) {
		snprintf(line, sizeof(line), ".BR %s \"", pc__model_settings[i].key);
		assert_contains(text, line);
	}
	free(text);
}

/* ---- without memory ---- */

static void every_allocation_may_fail(void **state)
{
	struct pc_catalog *catalog = NULL;

	(void)state;
	write_file("a.toml", sample);
	write_file("b.toml", LEAST "aliases = [\"n\"]\n");
	for (unsigned n = 1;; n++) {
		struct pc_error err = PC_ERROR_INIT;
		int rc;

		fail_alloc_begin(n);
		rc = pc_catalog_load(config, &catalog, &err);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			assert_true(n > 30);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		assert_null(catalog);
		assert_int_equal(fail_alloc_live(), 0);
	}
	pc_catalog_free(catalog);

	for (size_t i = 0; i < PC_ARRAY_LEN(refusals); i++) {
		bool done = false;

		write_file("b.toml", refusals[i].text);
		for (unsigned n = 1; !done; n++) {
			int rc;

			catalog = NULL;
			fail_alloc_begin(n);
			rc = pc_catalog_load(config, &catalog, NULL);
			done = fail_alloc_end();
			assert_null(catalog);
			assert_int_equal(fail_alloc_live(), 0);
			/* A suggestion that is not needed in the end may fail unnoticed. */
			if (done || rc != PC_E_OUT_OF_MEMORY)
				assert_int_equal(rc, PC_E_INVALID_CONFIG);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_the_sample),
		cmocka_unit_test(defaults_of_a_model),
		cmocka_unit_test(values_of_a_model),
		cmocka_unit_test(refusals_name_place_and_cure),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(missing_and_broken_catalogs),
		cmocka_unit_test(a_revision_has_its_own_place),
		cmocka_unit_test(aliases_go_no_further),
		cmocka_unit_test(finds_by_every_name),
		cmocka_unit_test(nothing_is_no_name),
		cmocka_unit_test(ten_thousand_models),
		cmocka_unit_test(checks_the_file),
		cmocka_unit_test(reference_names_every_setting),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
