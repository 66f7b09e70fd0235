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
#include <stdlib.h>
#include <string.h>
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
