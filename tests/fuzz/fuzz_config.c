/* SPDX-License-Identifier: MIT */
/*
 * fuzz_config.c - a whole configuration and a whole catalog, as pool-managerd loads them. The part
 * of the input before the first NUL is pool.toml, the rest is the catalog. What is accepted is
 * written by `config show` and must read back; what is refused must say where.
 */
#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "tests/fuzz/fuzz.h"

static int put(const char *name, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	return fd;
}

static void check_error(const struct pc_error *err, int rc)
{
	size_t length = strlen(err->message);

	check(err->code == rc);
	check(rc == 0 || length > 0);
	check(pc__utf8_valid_prefix(err->message, length) == length);
}

/* The catalog's files are ours, whatever the configuration says. */
static struct pc_config *load(int fd, const char *catalog)
{
	const struct pc_setting_override overrides[] = {
		{ .key = "catalog.files", .value = catalog, .source = PC_SOURCE_FLAG },
	};
	struct pc_config *config = NULL;
	struct pc_error err = PC_ERROR_INIT;
	char path[32];
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = pc_config_load(path, overrides, PC_ARRAY_LEN(overrides), &config, &err);
	check_error(&err, rc);
	check((config != NULL) == (rc == 0));
	check(rc == 0 || rc == PC_E_INVALID_CONFIG);
	return config;
}

static void read_back(const struct pc_config *config, const char *catalog)
{
	char *first = NULL, *second = NULL;
	size_t first_size, second_size;
	FILE *file = open_memstream(&first, &first_size);
	struct pc_config *again;
	int fd;

	check(file && pc_config_show(config, file, NULL) == 0 && fclose(file) == 0);
	fd = put("shown", first, first_size);
	again = load(fd, catalog);
	close(fd);
	check(again);
	file = open_memstream(&second, &second_size);
	check(file && pc_config_show(again, file, NULL) == 0 && fclose(file) == 0);
	free(first);
	free(second);
	pc_config_free(again);
}

static void load_catalog(const struct pc_config *config)
{
	struct pc_catalog *catalog = NULL;
	struct pc_error err = PC_ERROR_INIT;
	int rc = pc_catalog_load(config, &catalog, &err);

	check_error(&err, rc);
	check((catalog != NULL) == (rc == 0));
	check(rc == 0 || rc == PC_E_INVALID_CONFIG);
	for (size_t i = 0; catalog && i < pc_catalog_count(catalog); i++) {
		const struct pc_model_entry *entry = pc_catalog_at(catalog, i);

		check(pc_catalog_find(catalog, entry->id) == entry);
	}
	pc_catalog_free(catalog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\0', size);
	size_t length = end ? (size_t)(end - data) : size;
	int config_fd = put("config", data, length);
	int catalog_fd = put("catalog", data + length + (end != NULL),
			     size - length - (end != NULL));
	struct pc_config *config;
	char catalog[32];

	snprintf(catalog, sizeof(catalog), "/proc/self/fd/%d", catalog_fd);
	config = load(config_fd, catalog);
	close(config_fd);
	if (config) {
		read_back(config, catalog);
		load_catalog(config);
	}
	close(catalog_fd);
	pc_config_free(config);
	return 0;
}
