/* SPDX-License-Identifier: MIT */
/*
 * du.c - rbees-pool models du: the disk space of the models' files, and of what else lies in the
 * cache. It asks no daemon and opens no file.
 */
#include <poolcore/catalog.h>
#include <poolcore/config.h>
#include <poolcore/text.h>

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"

/* Descriptors that a walk of the cache may hold. A guess; change freely. */
#define WALK_FDS 16

struct file {
	dev_t device;
	ino_t inode;
};

/* nftw(3) passes nothing on; there is one walk in the program. */
static struct usage {
	struct file *files; /* of models that were counted */
	size_t count;
	uint64_t models_bytes;
	uint64_t other_bytes;
	uint64_t other_files;
} usage;

/* What the disk gives for it: less than its size when it has holes. */
static uint64_t bytes_on_disk(const struct stat *facts)
{
	return (uint64_t)facts->st_blocks * 512; /* stat(2): always units of 512 */
}

static bool is_counted(const struct stat *facts)
{
	for (size_t i = 0; i < usage.count; i++) {
		if (usage.files[i].device == facts->st_dev && usage.files[i].inode == facts->st_ino)
			return true;
	}
	return false;
}

/* A file of two models, or of two names, takes its space once. */
static void count_model(const struct stat *facts)
{
	if (is_counted(facts))
		return;
	usage.files[usage.count++] = (struct file){ facts->st_dev, facts->st_ino };
	usage.models_bytes += bytes_on_disk(facts);
}

static json_t *row_of(const struct pc_model_entry *entry)
{
	struct stat facts;

	if (stat(entry->path, &facts) || !S_ISREG(facts.st_mode))
		return json_pack("{s:s, s:s, s:n, s:n}", "id", entry->id, "path", entry->path,
				 "size_bytes", "disk_bytes");
	count_model(&facts);
	return json_pack("{s:s, s:s, s:I, s:I}", "id", entry->id, "path", entry->path, "size_bytes",
			 (json_int_t)facts.st_size, "disk_bytes",
			 (json_int_t)bytes_on_disk(&facts));
}

static int on_cached(const char *path, const struct stat *facts, int type, struct FTW *walk)
{
	(void)path;
	(void)walk;
	if (type != FTW_F || !S_ISREG(facts->st_mode) || is_counted(facts))
		return 0;
	usage.other_bytes += bytes_on_disk(facts);
	usage.other_files++;
	return 0;
}

/* The folder itself may be a link, to a larger disk; those in it are not followed. A cache that is
 * not there holds nothing. */
static void count_cached(const char *folder)
{
	char *real = realpath(folder, NULL);

	if (real)
		nftw(real, on_cached, WALK_FDS, FTW_PHYS);
	free(real);
}

static json_t *look(const struct cli *cli, const struct pc_catalog *catalog)
{
	json_t *rows = json_array();

	for (size_t i = 0; rows && i < pc_catalog_count(catalog); i++)
		json_array_append_new(rows, row_of(pc_catalog_at(catalog, i)));
	count_cached(cli->settings->catalog_cache_dir);
	return json_pack("{s:o, s:I, s:s, s:I, s:I}", "models", rows, "models_bytes",
			 (json_int_t)usage.models_bytes, "cache_dir",
			 cli->settings->catalog_cache_dir, "other_bytes",
			 (json_int_t)usage.other_bytes, "other_files",
			 (json_int_t)usage.other_files);
}

static enum exit_code print_usage(const struct cli *cli, const json_t *answer)
{
	static const char *const headings[] = { "MODEL", "SIZE", "ON DISK", "FILE" };
	char size[32], disk[32], total[32], other[32];
	enum exit_code status;
	struct table table;
	const json_t *row;
	size_t i;

	table_init(&table, headings, PC_ARRAY_LEN(headings));
	json_array_foreach(json_object_get(answer, "models"), i, row)
	{
		bool there = json_is_integer(json_object_get(row, "size_bytes"));

		table_cell(&table, "%s", text_of(row, "id"));
		table_cell(&table, "%s",
			   there ? human_bytes(number_of(row, "size_bytes"), size) : "-");
		table_cell(&table, "%s",
			   there ? human_bytes(number_of(row, "disk_bytes"), disk) : "missing");
		table_cell(&table, "%s", text_of(row, "path"));
	}
	status = table_print(&table, cli, "the catalog is empty");
	say(stdout, "models %s; the cache %s has %s in %llu other file%s\n",
	    pc_format_size(usage.models_bytes, total), text_of(answer, "cache_dir"),
	    pc_format_size(usage.other_bytes, other), (unsigned long long)usage.other_files,
	    usage.other_files == 1 ? "" : "s");
	return status;
}

enum exit_code command_models_du(struct cli *cli, int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog = NULL;
	enum exit_code status;
	json_t *answer;

	(void)argc;
	(void)argv;
	if (load_catalog(cli, &catalog, &err))
		return report(cli, &err);
	usage.files = pc_calloc(pc_catalog_count(catalog) + 1, sizeof(*usage.files));
	answer = usage.files ? look(cli, catalog) : NULL;
	if (cli->json || !answer)
		status = print_json(cli, answer);
	else
		status = print_usage(cli, answer);
	json_decref(answer);
	pc_free(usage.files);
	pc_catalog_free(catalog);
	return status;
}
