/* SPDX-License-Identifier: MIT */
/*
 * test_cli_models.c - the real rbees-pool looks at model files and records what it finds in the
 * catalog. No daemon runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scenario/cli_fixture.h"
#include "unit/gguf_file.h"

static const char catalog[] = "# What is here.\n"
			      "[[model]]\n"
			      "id = \"small\"\n"
			      "file = \"small.gguf\"   # a little one\n"
			      "capability = \"text_to_text\"\n"
			      "est_memory_allocation_mb = 12\n"
			      "slots = 2\n"
			      "sha256 = \"\"             # not known yet\n"
			      "\n"
			      "[[model]]\n"
			      "id = \"cut\"\n"
			      "file = \"cut.gguf\"\n"
			      "capability = \"text_to_text\"\n"
			      "est_memory_allocation_mb = 12\n"
			      "sha256 = \"ba7816bf8f01cfea414140de5dae2223"
			      "b00361a396177a9cb410ff61f20015ad\"\n"
			      "\n"
			      "[[model]]\n"
			      "id = \"gone\"\n"
			      "file = \"gone.gguf\"\n"
			      "capability = \"text_to_text\"\n"
			      "est_memory_allocation_mb = 12\n"
			      "# the end\n";

static void write_bytes(struct rig *rig, const char *name, const struct gguf_file *file,
			size_t length)
{
	char *path = test_file_write(rig->dir, name, "");
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, file->bytes, length), length);
	close(fd);
	free(path);
}

/* The text of a small file of the rig, until the next call. */
static const char *text_of_file(struct rig *rig, const char *name)
{
	static char text[4096];
	char path[512];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(length >= 0);
	text[length] = '\0';
	return text;
}

static void write_small(struct rig *rig, const char *name)
{
	static struct gguf_file file;

	gguf_small(&file, 3);
	write_bytes(rig, name, &file, file.length);
}

/* A catalog of a good file, a cut one and one that is not there. */
static void begin(struct rig *rig)
{
	static struct gguf_file file;

	rig_init(rig);
	free(rig->config);
	rig->config = test_file_write(rig->dir, "pool.toml",
				      "[pool]\nstate_dir = \"state\"\n"
				      "[catalog]\nfiles = [\"catalog.toml\"]\n");
	free(test_file_write(rig->dir, "catalog.toml", catalog));
	gguf_small(&file, 3);
	write_bytes(rig, "small.gguf", &file, file.length);
	write_bytes(rig, "cut.gguf", &file, 1000);
}

static void models_are_looked_at_and_verified(void **state)
{
	struct transcript t;
	struct rig rig;

	(void)state;
	begin(&rig);
	transcript_begin(&t, &rig);
	NOTE(&t, "--config", rig.config, "models", "info", "small");
	NOTE(&t, "--config", rig.config, "models", "info", "small", "--json", "--context", "256",
	     "--slots", "1");
	NOTE(&t, "--config", rig.config, "models", "info", "small", "--slots", "65");
	NOTE(&t, "--config", rig.config, "models", "info", "smal");
	NOTE(&t, "--config", rig.config, "models", "info", "cut");
	NOTE(&t, "--config", rig.config, "models", "info", "gone");
	NOTE(&t, "--config", rig.config, "models", "verify", "small");
	NOTE(&t, "--config", rig.config, "models", "verify", "small", "--rehash", "--record");
	NOTE(&t, "--config", rig.config, "models", "verify", "small", "--json", "--rehash");
	NOTE(&t, "--config", rig.config, "models", "verify", "cut", "--record");
	NOTE(&t, "--config", rig.config, "models", "verify", "gone");
	NOTE(&t, "--config", rig.config, "models", "verify");
	NOTE(&t, "models", "info", "small", "--record");
	transcript_end(&t, "models");
	rig_fini(&rig);
}

/* What was there stays, but for the value; what was missing comes behind the last key. */
static void recording_changes_nothing_else(void **state)
{
	static const char sum_key[] = "sha256 = \"", size_line[] = "size = 2114\n";
	char expected[2048], sum[65] = "";
	struct cli_result result;
	const char *at;
	struct rig rig;
	size_t before;

	(void)state;
	begin(&rig);
	result = RUN(&rig, "--config", rig.config, "models", "verify", "small", "--record");
	assert_int_equal(result.status, 0);
	at = strstr(result.out, "SHA-256 ");
	assert_non_null(at);
	memcpy(sum, at + 8, 64);
	cli_result_free(&result);
	before = (size_t)(strstr(catalog, sum_key) - catalog) + strlen(sum_key);
	at = strchr(catalog + before, '\n') + 1;
	snprintf(expected, sizeof(expected), "%.*s%s%.*s%s%s", (int)before, catalog, sum,
		 (int)(at - (catalog + before)), catalog + before, size_line, at);
	assert_string_equal(text_of_file(&rig, "catalog.toml"), expected);
	/* And it is what the file is compared with from now on. */
	result = RUN(&rig, "--config", rig.config, "models", "verify", "small");
	assert_int_equal(result.status, 0);
	assert_ptr_equal(strstr(result.out, "small: ok, "), result.out);
	cli_result_free(&result);
	rig_fini(&rig);
}

/* A page that says "not found" was downloaded instead: its SHA-256 is not to be recorded. */
static void what_is_no_model_is_not_recorded(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	free(test_file_write(rig.dir, "cut.gguf", "<html>404"));
	result = RUN(&rig, "--config", rig.config, "models", "verify", "cut", "--record");
	assert_int_equal(result.status, 1);
	assert_string_equal(result.out, "");
	assert_non_null(strstr(result.err, "is no GGUF file"));
	assert_string_equal(text_of_file(&rig, "catalog.toml"), catalog);
	cli_result_free(&result);
	rig_fini(&rig);
}

/* What is proposed, what options change, what is refused; and out of the catalog again. */
static void models_are_registered_and_deleted(void **state)
{
	struct transcript t;
	struct rig rig;
	char file[512], other[512], expected[2048];

	(void)state;
	begin(&rig);
	snprintf(file, sizeof(file), "%s/-New Model!.gguf", rig.dir);
	snprintf(other, sizeof(other), "%s/weights.bin", rig.dir);
	free(test_file_write(rig.dir, "second.toml", "# nothing yet\n"));
	free(test_file_write(rig.dir, "weights.bin", "x"));
	free(rig.config);
	rig.config = test_file_write(rig.dir, "pool.toml",
				     "[pool]\nstate_dir = \"state\"\n"
				     "[catalog]\nfiles = [\"catalog.toml\", \"second.toml\"]\n");
	write_small(&rig, "-New Model!.gguf");
	transcript_begin(&t, &rig);
	NOTE(&t, "--config", rig.config, "models", "register", file, "--dry-run");
	NOTE(&t, "--config", rig.config, "models", "register", file);
	NOTE(&t, "--config", rig.config, "models", "register", file);
	NOTE(&t, "--config", rig.config, "models", "register", file, "--id", "org/second", "--name",
	     "The Second", "--slots", "4", "--context", "512", "--device", "cpu", "--json");
	NOTE(&t, "--config", rig.config, "models", "register", other);
	NOTE(&t, "--config", rig.config, "models", "register", other, "--capability", "vision");
	NOTE(&t, "--config", rig.config, "models", "register", other, "--capability", "visoin");
	NOTE(&t, "--config", rig.config, "models", "register", other, "--capability", "vision",
	     "--memory-mb", "7", "--catalog", rig.config);
	NOTE(&t, "--config", rig.config, "models", "register", other, "--capability", "vision",
	     "--memory-mb", "7", "--id", "-x");
	NOTE(&t, "--config", rig.config, "models", "register", other, "--capability", "vision",
	     "--memory-mb", "7", "--backend", "vllm");
	snprintf(file, sizeof(file), "%s/second.toml", rig.dir);
	NOTE(&t, "--config", rig.config, "models", "register", other, "--capability", "vision",
	     "--memory-mb", "7", "--catalog", file);
	NOTE(&t, "--config", rig.config, "models", "register", rig.dir);
	NOTE(&t, "--config", rig.config, "models", "register", "/nowhere/x.gguf");
	NOTE(&t, "--config", rig.config, "models", "catalog");
	NOTE(&t, "--config", rig.config, "models", "delete", "New-Model", "--file");
	NOTE(&t, "--config", rig.config, "models", "delete", "New-Model", "--dry-run");
	NOTE(&t, "--config", rig.config, "models", "delete", "New-Model");
	NOTE(&t, "--config", rig.config, "models", "delete", "org/second", "--file", "--json");
	NOTE(&t, "--config", rig.config, "models", "delete", "gone", "--file", "--dry-run");
	NOTE(&t, "--config", rig.config, "models", "delete", "New-Model");
	NOTE(&t, "models", "delete", "small", "--rehash");
	transcript_end(&t, "registering");
	/* All that came went, but for the blank line before it. */
	snprintf(expected, sizeof(expected), "%s\n", catalog);
	assert_string_equal(text_of_file(&rig, "catalog.toml"), expected);
	snprintf(file, sizeof(file), "%s/-New Model!.gguf", rig.dir);
	assert_int_equal(access(file, F_OK), -1);
	rig_fini(&rig);
}

/* A model's own context may be too long for any machine; pool-worker's engines take 4096 of it. */
static void a_long_context_is_estimated_as_it_is_loaded(void **state)
{
	static const char key[] = "llama.context_length";
	struct cli_result result;
	static struct gguf_file file;
	char path[512], *at;
	struct rig rig;

	(void)state;
	begin(&rig);
	free(rig.config);
	rig.config = test_file_write(
		rig.dir, "pool.toml",
		"[catalog]\nfiles = [\"catalog.toml\"]\n"
		"[backends.other]\ncommand = [\"other\", \"{model_path}\", \"{port}\"]\n"
		"readiness = \"http:/health\"\n");
	gguf_small(&file, 3);
	at = memmem(file.bytes, file.length, key, strlen(key));
	memcpy(at + strlen(key) + 4, &(uint32_t){ 131072 }, 4);
	write_bytes(&rig, "long.gguf", &file, file.length);
	snprintf(path, sizeof(path), "%s/long.gguf", rig.dir);
	result = RUN(&rig, "--config", rig.config, "models", "register", path);
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "4096 tokens (of the 131072 that it was made for;"));
	assert_non_null(strstr(result.out, "(1 slot of 4096 tokens,"));
	cli_result_free(&result);
	assert_non_null(strstr(text_of_file(&rig, "catalog.toml"), "\ncontext_tokens = 4096\n"));
	result = RUN(&rig, "--config", rig.config, "models", "register", path, "--id", "o",
		     "--backend", "other");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "(1 slot of 131072 tokens,"));
	cli_result_free(&result);
	/* Also of an entry that somebody else wrote, without a context. */
	free(test_file_write(rig.dir, "catalog.toml",
			     "[[model]]\nid = \"long\"\nfile = \"long.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"));
	result = RUN(&rig, "--config", rig.config, "models", "info", "long");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "(1 slot of 4096 tokens,"));
	cli_result_free(&result);
	rig_fini(&rig);
}

/* One of two parts of a model; the first says what the model is. */
static void write_part(struct rig *rig, const char *name, uint16_t number)
{
	static struct gguf_file file;

	gguf_begin(&file, 3, 1, number ? 2 : 7);
	gguf_key(&file, "split.no", V_U16);
	gguf_number(&file, number, 2);
	gguf_key(&file, "split.count", V_U16);
	gguf_number(&file, 2, 2);
	if (number == 0) {
		gguf_key_text(&file, "general.architecture", "llama");
		gguf_key_u32(&file, "llama.context_length", 256);
		gguf_key_u32(&file, "llama.block_count", 2);
		gguf_key_u32(&file, "llama.embedding_length", 64);
		gguf_key_u32(&file, "llama.attention.head_count", 4);
	}
	gguf_tensor(&file, "a.weight", 512, 0, 1, 0);
	gguf_align(&file, 32);
	gguf_data(&file, 1024);
	write_bytes(rig, name, &file, file.length);
}

static void a_split_model_is_registered_whole(void **state)
{
	struct cli_result result;
	char path[512];
	struct rig rig;

	(void)state;
	begin(&rig);
	write_part(&rig, "big-00001-of-00002.gguf", 0);
	snprintf(path, sizeof(path), "%s/big-00001-of-00002.gguf", rig.dir);
	result = RUN(&rig, "--config", rig.config, "models", "register", path);
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "big-00002-of-00002.gguf: part 2 of 2"));
	assert_non_null(strstr(result.err, "(MODEL_FILE_MISSING)"));
	cli_result_free(&result);
	write_part(&rig, "big-00002-of-00002.gguf", 1);
	result = RUN(&rig, "--config", rig.config, "models", "register", path);
	assert_int_equal(result.status, 0);
	assert_ptr_equal(strstr(result.out, "model         big (the file's name)\n"), result.out);
	assert_non_null(strstr(result.out, "\nparts         2, of which this is the first\n"));
	assert_non_null(strstr(result.out, "MiB: 2 KiB of weights (all 2 tensors)"));
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "models", "info", "big");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "\ntensors       2, 2 KiB\n"));
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "models", "delete", "big", "--file",
		     "--dry-run");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out,
			       "would be deleted\nit is one of 2 parts; the other, named "
			       "like it, stays\n"));
	cli_result_free(&result);
	snprintf(path, sizeof(path), "%s/big-00002-of-00002.gguf", rig.dir);
	result = RUN(&rig, "--config", rig.config, "models", "register", path);
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "it is part 2 of 2 of a model; name the first part"));
	cli_result_free(&result);
	rig_fini(&rig);
}

static void an_alias_is_not_deleted(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	free(test_file_write(rig.dir, "catalog.toml",
			     "[[model]]\nid = \"small\"\naliases = [\"s\"]\nfile = \"small.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"));
	result = RUN(&rig, "--config", rig.config, "models", "delete", "s", "--file");
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "\"s\" is another name of model \"small\"; delete it by "
					   "that one (INVALID_ARGUMENT)"));
	cli_result_free(&result);
	rig_fini(&rig);
}

/* They lie beside models, are called *.gguf, and would fail to load. */
static void what_is_no_model_is_not_registered(void **state)
{
	static const struct {
		const char *architecture, *type, *what;
	} others[] = {
		{ "clip", NULL, "is the projector of a vision model and no model by itself" },
		{ "clip", "mmproj", "is the projector of a vision model and no model by itself" },
		{ "llama", "adapter", "is an adapter (LoRA) to a model and no model by itself" },
	};
	static struct gguf_file file;
	struct cli_result result;
	char path[512];
	struct rig rig;

	(void)state;
	begin(&rig);
	snprintf(path, sizeof(path), "%s/other.gguf", rig.dir);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		gguf_begin(&file, 3, 0, others[i].type ? 2 : 1);
		gguf_key_text(&file, "general.architecture", others[i].architecture);
		if (others[i].type)
			gguf_key_text(&file, "general.type", others[i].type);
		write_bytes(&rig, "other.gguf", &file, file.length);
		result = RUN(&rig, "--config", rig.config, "models", "register", path);
		assert_int_equal(result.status, 1);
		assert_non_null(strstr(result.err, others[i].what));
		cli_result_free(&result);
	}
	/* Most files of models say that they are one. */
	gguf_begin(&file, 3, 1, 2);
	gguf_key_text(&file, "general.architecture", "llama");
	gguf_key_text(&file, "general.type", "model");
	gguf_tensor(&file, "a.weight", 64, 0, 0, 0);
	gguf_align(&file, 32);
	gguf_data(&file, 256);
	write_bytes(&rig, "other.gguf", &file, file.length);
	result = RUN(&rig, "--config", rig.config, "models", "register", path);
	assert_int_equal(result.status, 0);
	cli_result_free(&result);
	/* llama.cpp's ggml-vocab-*.gguf */
	gguf_begin(&file, 3, 0, 1);
	gguf_key_text(&file, "general.architecture", "llama");
	write_bytes(&rig, "other.gguf", &file, file.length);
	result = RUN(&rig, "--config", rig.config, "models", "register", path, "--id", "vocab");
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "other.gguf has no tensors, as a vocabulary alone"));
	cli_result_free(&result);
	write_small(&rig, "\303\244.gguf");
	snprintf(path, sizeof(path), "%s/\303\244.gguf", rig.dir);
	result = RUN(&rig, "--config", rig.config, "models", "register", path);
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "; give one with --id (INVALID_ARGUMENT)"));
	cli_result_free(&result);
	rig_fini(&rig);
}

/* The catalog takes 256 bytes; what is longer is refused and nothing is cut. */
static void a_name_is_taken_whole(void **state)
{
	char path[512], name[258] = "";
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	snprintf(path, sizeof(path), "%s/small.gguf", rig.dir);
	memset(name, 'n', 257);
	result = RUN(&rig, "--config", rig.config, "models", "register", path, "--id", "x",
		     "--name", name);
	assert_int_equal(result.status, 2);
	assert_non_null(strstr(result.err, "model.name: it is 257 bytes long"));
	cli_result_free(&result);
	name[256] = '\0';
	result = RUN(&rig, "--config", rig.config, "models", "register", path, "--id", "x",
		     "--name", name);
	assert_int_equal(result.status, 0);
	cli_result_free(&result);
	assert_non_null(strstr(text_of_file(&rig, "catalog.toml"), name));
	rig_fini(&rig);
}

/* As "ls *.gguf | xargs -P 8" would: whoever finds the catalog changed begins anew. */
static void many_register_at_once(void **state)
{
	enum { MANY = 8 };
	struct cli_child children[MANY];
	char name[MANY][16], path[512], line[160];
	struct rig rig;

	(void)state;
	begin(&rig);
	snprintf(path, sizeof(path), "%s/small.gguf", rig.dir);
	for (int i = 0; i < MANY; i++) {
		snprintf(name[i], sizeof(name[i]), "m%d", i);
		children[i] = cli_start(
			&rig, &(struct call){ .args = { "--config", rig.config, "models",
							"register", path, "--id", name[i] } });
	}
	for (int i = 0; i < MANY; i++) {
		struct cli_result result = cli_finish(&children[i]);

		if (result.status)
			fail_msg("%s", result.err);
		cli_result_free(&result);
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(line, sizeof(line), "\nid = \"%s\"\n", name[i]);
		assert_non_null(strstr(text_of_file(&rig, "catalog.toml"), line));
	}
	for (int i = 0; i < MANY; i++)
		children[i] = cli_start(&rig,
					&(struct call){ .args = { "--config", rig.config, "models",
								  "delete", name[i] } });
	for (int i = 0; i < MANY; i++) {
		struct cli_result result = cli_finish(&children[i]);

		if (result.status)
			fail_msg("%s", result.err);
		cli_result_free(&result);
	}
	assert_null(strstr(text_of_file(&rig, "catalog.toml"), "id = \"m"));
	rig_fini(&rig);
}

/* Two models of one file by two names: whoever deletes one would take it from the other. */
static void a_file_of_two_models_is_not_deleted(void **state)
{
	struct cli_result result;
	struct rig rig;
	char path[512];

	(void)state;
	begin(&rig);
	free(test_file_write(rig.dir, "catalog.toml",
			     "[[model]]\nid = \"a\"\nfile = \"small.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"
			     "[[model]]\nid = \"b\"\nfile = \"link.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"));
	snprintf(path, sizeof(path), "%s/link.gguf", rig.dir);
	assert_int_equal(symlink("small.gguf", path), 0);
	result = RUN(&rig, "--config", rig.config, "models", "delete", "a", "--file");
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "small.gguf is that of model \"b\" too; nothing was "
					   "deleted: leave --file out (CONFLICT)"));
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "models", "delete", "a");
	assert_int_equal(result.status, 0);
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "models", "delete", "b", "--file");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "link.gguf is deleted\nit is a symbolic link; the file "
					   "that it leads to stays\n"));
	cli_result_free(&result);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/small.gguf", rig.dir);
	assert_int_equal(access(path, F_OK), 0);
	rig_fini(&rig);
}

/* Models lie on a larger disk, and the cache is a link to it. */
static void a_cache_behind_a_link_is_counted(void **state)
{
	struct cli_result result;
	struct rig rig;
	char path[512];

	(void)state;
	begin(&rig);
	free(rig.config);
	rig.config = test_file_write(
		rig.dir, "pool.toml",
		"[catalog]\nfiles = [\"catalog.toml\"]\ncache_dir = \"cache\"\n");
	snprintf(path, sizeof(path), "%s/disk", rig.dir);
	mkdir(path, 0700);
	free(test_file_write(rig.dir, "disk/other", "what no model names"));
	snprintf(path, sizeof(path), "%s/cache", rig.dir);
	assert_int_equal(symlink("disk", path), 0);
	result = RUN(&rig, "--config", rig.config, "models", "du");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "in 1 other file\n"));
	cli_result_free(&result);
	rig_fini(&rig);
}

/* Against what the disk itself says: how much it gives for a file is its own affair. */
static void the_disk_is_counted_once(void **state)
{
	struct cli_result result;
	json_t *answer, *rows;
	struct stat facts;
	char path[512];
	struct rig rig;

	(void)state;
	begin(&rig);
	free(test_file_write(rig.dir, "catalog.toml",
			     "[[model]]\nid = \"a\"\nfile = \"small.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"
			     "[[model]]\nid = \"b\"\nrepo = \"org/name\"\nfile = \"link.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"
			     "[[model]]\nid = \"c\"\nfile = \"gone.gguf\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"));
	free(rig.config);
	rig.config = test_file_write(
		rig.dir, "pool.toml",
		"[catalog]\nfiles = [\"catalog.toml\"]\ncache_dir = \"cache\"\n");
	snprintf(path, sizeof(path), "%s/cache", rig.dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/cache/org", rig.dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/cache/org/name", rig.dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/cache/org/name/link.gguf", rig.dir);
	assert_int_equal(symlink("../../../small.gguf", path), 0);
	snprintf(path, sizeof(path), "%s/cache/other", rig.dir);
	free(test_file_write(rig.dir, "cache/other", "what no model names"));
	result = RUN(&rig, "--config", rig.config, "models", "du", "--json");
	assert_int_equal(result.status, 0);
	answer = json_loads(result.out, 0, NULL);
	rows = json_object_get(answer, "models");
	assert_int_equal(json_array_size(rows), 3);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 1), "size_bytes")),
			 2114);
	assert_true(json_is_null(json_object_get(json_array_get(rows, 2), "size_bytes")));
	assert_int_equal(stat(path, &facts), 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "other_bytes")),
			 facts.st_blocks * 512);
	assert_int_equal(json_integer_value(json_object_get(answer, "other_files")), 1);
	snprintf(path, sizeof(path), "%s/small.gguf", rig.dir);
	assert_int_equal(stat(path, &facts), 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "models_bytes")),
			 facts.st_blocks * 512);
	json_decref(answer);
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "models", "du");
	assert_non_null(strstr(result.out, " missing "));
	assert_non_null(strstr(result.out, "in 1 other file\n"));
	cli_result_free(&result);
	rig_fini(&rig);
}

static void a_start_is_rehearsed(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	result = RUN(&rig, "--config", rig.config, "worker", "start", "--dry-run", "small");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "small could be started on cpu by pool-worker ("));
	assert_non_null(strstr(result.out, "small.gguf: there, with no SHA-256 to compare\n"));
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "worker", "start", "--dry-run", "cut");
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "(MODEL_FILE_INVALID)"));
	cli_result_free(&result);
	result = RUN(&rig, "--config", rig.config, "worker", "start", "--dry-run", "gone");
	assert_int_equal(result.status, 1);
	assert_non_null(strstr(result.err, "(MODEL_FILE_MISSING)"));
	cli_result_free(&result);
	rig_fini(&rig);
}

/* What would only show when a daemon is to start, or a request waits for a worker. */
static void a_check_tells_what_is_missing(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig);
	free(rig.config);
	rig.config = test_file_write(
		rig.dir, "pool.toml",
		"[http]\ntoken_file = \"token\"\n"
		"[catalog]\nfiles = [\"catalog.toml\"]\n"
		"[backends.used]\ncommand = [\"no-such-program\", \"{port}\"]\n"
		"[backends.idle]\ncommand = [\"no-other-one\", \"{port}\"]\n");
	free(test_file_write(rig.dir, "catalog.toml",
			     "[[model]]\nid = \"a\"\nfile = \"small.gguf\"\nbackend = \"used\"\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n"));
	result = RUN(&rig, "--config", rig.config, "config", "check");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.out, "\nhttp.token_file: no daemon starts without the token "
					   "file "));
	assert_non_null(
		strstr(result.out, "\nbackends.used.command: no program 'no-such-program'"));
	assert_null(strstr(result.out, "no-other-one"));
	cli_result_free(&result);
	free(test_file_write(rig.dir, "token", "secret\n"));
	result = RUN(&rig, "--config", rig.config, "config", "check");
	assert_null(strstr(result.out, "token_file"));
	cli_result_free(&result);
	rig_fini(&rig);
}

static int clean_up(void **state)
{
	cli_free_all(state);
	return proc_free_all(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(models_are_looked_at_and_verified, clean_up),
		cmocka_unit_test_teardown(recording_changes_nothing_else, clean_up),
		cmocka_unit_test_teardown(what_is_no_model_is_not_recorded, clean_up),
		cmocka_unit_test_teardown(models_are_registered_and_deleted, clean_up),
		cmocka_unit_test_teardown(a_long_context_is_estimated_as_it_is_loaded, clean_up),
		cmocka_unit_test_teardown(a_split_model_is_registered_whole, clean_up),
		cmocka_unit_test_teardown(an_alias_is_not_deleted, clean_up),
		cmocka_unit_test_teardown(what_is_no_model_is_not_registered, clean_up),
		cmocka_unit_test_teardown(a_name_is_taken_whole, clean_up),
		cmocka_unit_test_teardown(many_register_at_once, clean_up),
		cmocka_unit_test_teardown(a_file_of_two_models_is_not_deleted, clean_up),
		cmocka_unit_test_teardown(a_cache_behind_a_link_is_counted, clean_up),
		cmocka_unit_test_teardown(the_disk_is_counted_once, clean_up),
		cmocka_unit_test_teardown(a_start_is_rehearsed, clean_up),
		cmocka_unit_test_teardown(a_check_tells_what_is_missing, clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
