/* SPDX-License-Identifier: MIT */
/*
 * model_folder.h - a folder with a configuration, a cache, and a catalog of one model, for tests of
 * what happens to the model's file. Include cmocka first. One thread only.
 */
#ifndef TESTS_UNIT_MODEL_FOLDER_H
#define TESTS_UNIT_MODEL_FOLDER_H

#include <poolcore/catalog.h>
#include <poolcore/config.h>

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/folder.h"

static struct pc_config *config;
static struct pc_catalog *catalog;
static char records[PATH_MAX];

static inline int remove_entry(const char *path, const struct stat *facts, int type,
			       struct FTW *walk)
{
	(void)facts;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline void tree_remove(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int model_folder_enter(const char *name)
{
	char template[64];

	snprintf(template, sizeof(template), "/tmp/poolcore-%.20s-XXXXXX", name);
	clearenv();
	if (!mkdtemp(template) || !realpath(template, folder))
		return -1;
	snprintf(records, sizeof(records), "%.4000s", in_folder("state/verified"));
	mkdir(in_folder("cache"), 0700);
	mkdir(in_folder("cache/org"), 0700);
	mkdir(in_folder("cache/org/name"), 0700);
	write_file("pool.toml", "[catalog]\nfiles = [\"a.toml\"]\ncache_dir = \"cache\"\n");
	return pc_config_load(in_folder("pool.toml"), NULL, 0, &config, NULL);
}

/* The catalog of the last model goes too. */
static inline int model_folder_leave(void)
{
	pc_catalog_free(catalog);
	catalog = NULL;
	pc_config_free(config);
	tree_remove(folder);
	return 0;
}

/* No catalog, no records, no model.gguf. */
static inline void model_folder_empty(void)
{
	pc_catalog_free(catalog);
	catalog = NULL;
	tree_remove(in_folder("state"));
	unlink(in_folder("model.gguf"));
}

/* A catalog of one model, made anew for each test; `more` are further lines. */
static inline const struct pc_model_entry *model(const char *file, const char *repo,
						 const char *more)
{
	struct pc_error err = PC_ERROR_INIT;
	char toml[2 * PATH_MAX];

	pc_catalog_free(catalog);
	catalog = NULL;
	snprintf(toml, sizeof(toml),
		 "[[model]]\nid = \"m\"\nfile = \"%s\"\nrepo = \"%s\"\n"
		 "capability = \"text_to_text\"\nest_memory_allocation_mb = 1\n%s",
		 file, repo, more);
	write_file("a.toml", toml);
	if (pc_catalog_load(config, &catalog, &err))
		fail_msg("%s", err.message);
	return pc_catalog_at(catalog, 0);
}

/* Until a change of the file would get another ctime: the kernel's clock has ticked. */
static inline void settle(const char *path)
{
	struct timespec tick;
	struct stat facts;

	assert_int_equal(stat(path, &facts), 0);
	do {
		clock_gettime(CLOCK_REALTIME_COARSE, &tick);
	} while (tick.tv_sec < facts.st_ctim.tv_sec ||
		 (tick.tv_sec == facts.st_ctim.tv_sec && tick.tv_nsec <= facts.st_ctim.tv_nsec));
}

#endif
