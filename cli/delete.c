/* SPDX-License-Identifier: MIT */
/* delete.c - rbees-pool models delete: an entry out of the catalog, and its file. It asks no
 * daemon. */
#include <poolcore/catalog.h>
#include <poolcore/catalog_edit.h>
#include <poolcore/config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

/* An alias is one of several names, and whoever writes it may not know of the others. */
static int check_name(const struct pc_model_entry *entry, const char *name, struct pc_error *err)
{
	if (strcmp(entry->id, name) == 0)
		return 0;
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "\"%s\" is another name of model \"%s\"; delete it by that one", name,
			    entry->id);
}

/* By the same path or another one: over links, whose target would be gone for both. */
static bool is_same_file(const struct pc_model_entry *entry, const struct pc_model_entry *other)
{
	struct stat one, two;

	if (strcmp(entry->path, other->path) == 0)
		return true;
	return stat(entry->path, &one) == 0 && stat(other->path, &two) == 0 &&
	       one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* A file that another model has too stays. */
static int check_file(const struct pc_catalog *catalog, const struct pc_model_entry *entry,
		      struct pc_error *err)
{
	int fd = -1, rc;

	for (size_t i = 0; i < pc_catalog_count(catalog); i++) {
		const struct pc_model_entry *other = pc_catalog_at(catalog, i);

		if (other != entry && is_same_file(entry, other))
			return pc_error_set(err, PC_E_CONFLICT,
					    "the file %s is that of model \"%s\" too; nothing was "
					    "deleted: leave --file out",
					    entry->path, other->id);
	}
	/* What is no model's file, or is reached by a link out of the cache, is not ours to
	 * delete. */
	rc = pc_model_entry_open(entry, &fd, err);
	if (rc == 0)
		close(fd);
	if (rc != PC_E_MODEL_FILE_MISSING || err->sys_errno != ENOENT)
		return rc;
	pc_error_clear(err); /* it is gone already, as it is wanted */
	return 0;
}

static int remove_once(const struct cli *cli, const struct pc_model_entry *entry,
		       struct pc_error *err)
{
	struct pc_catalog_edit *edit = NULL;
	int rc = pc_catalog_edit_open(cli->settings, entry->source_file, &edit, err);

	if (rc == 0)
		rc = pc_catalog_edit_remove(edit, entry->id, err);
	if (rc == 0 && !cli->options[OPTION_DRY_RUN])
		rc = pc_catalog_edit_save(edit, err);
	pc_catalog_edit_close(edit);
	return rc;
}

static int remove_entry(const struct cli *cli, const struct pc_model_entry *entry,
			struct pc_error *err)
{
	unsigned tries = 0;
	int rc;

	do
		rc = remove_once(cli, entry, err);
	while (save_again(rc, &tries, err));
	return rc;
}

/* The entry goes first: a file without an entry is in nobody's way, an entry without a file is. */
static int delete_model(const struct cli *cli, const struct pc_catalog *catalog,
			const struct pc_model_entry *entry, struct pc_error *err)
{
	bool with_file = cli->options[OPTION_FILE];
	int rc = with_file ? check_file(catalog, entry, err) : 0;

	if (rc == 0)
		rc = remove_entry(cli, entry, err);
	if (rc || !with_file || cli->options[OPTION_DRY_RUN])
		return rc;
	if (unlink(entry->path) && errno != ENOENT)
		return pc_error_sys(err, PC_E_IO, errno,
				    "model \"%s\" is out of the catalog, but its file %s cannot be "
				    "deleted",
				    entry->id, entry->path);
	return 0;
}

/* Whether only a name of the file goes: `entry` has its path still. */
static bool is_link(const struct pc_model_entry *entry)
{
	struct stat facts;

	return lstat(entry->path, &facts) == 0 && S_ISLNK(facts.st_mode);
}

/* How many files lie beside it with the rest of its model, by its name: 2 of
 * "x-00001-of-00003.gguf". */
static unsigned other_parts(const struct pc_model_entry *entry)
{
	const size_t tail = strlen("-00001-of-00003.gguf");
	size_t length = strlen(entry->path);
	unsigned number, count;
	int end = 0;

	if (length < tail ||
	    sscanf(entry->path + length - tail, "-%5u-of-%5u.gguf%n", &number, &count, &end) != 2 ||
	    end != (int)tail || count == 0)
		return 0;
	return count - 1;
}

/* What of the model's file is still there, though it is deleted. */
static void tell_rest(const struct pc_model_entry *entry, bool was_link)
{
	unsigned others = other_parts(entry);

	if (was_link)
		say(stdout, "it is a symbolic link; the file that it leads to stays\n");
	if (others > 0)
		say(stdout, "it is one of %u parts; the other%s, named like it, stay%s\n",
		    others + 1, others == 1 ? "" : "s", others == 1 ? "s" : "");
}

static enum exit_code tell(const struct cli *cli, const struct pc_model_entry *entry, bool was_link)
{
	bool done = !cli->options[OPTION_DRY_RUN], with_file = cli->options[OPTION_FILE];
	enum exit_code status;
	json_t *answer;

	if (!cli->json) {
		say(stdout, "%s: %s out of %s\n", entry->id, done ? "taken" : "would be taken",
		    entry->source_file);
		say(stdout, "%s %s\n", entry->path,
		    !with_file ? "stays"
		    : done     ? "is deleted"
			       : "would be deleted");
		if (with_file)
			tell_rest(entry, was_link);
		return EXIT_OK;
	}
	answer = json_pack("{s:s, s:s, s:s, s:b, s:b}", "id", entry->id, "catalog",
			   entry->source_file, "path", entry->path, "deleted", done, "file_deleted",
			   done && with_file);
	status = print_json(cli, answer);
	json_decref(answer);
	return status;
}

enum exit_code command_models_delete(struct cli *cli, int argc, char **argv)
{
	const struct pc_model_entry *entry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	struct pc_catalog *catalog = NULL;
	enum exit_code status;
	bool was_link;

	(void)argc;
	if (find_model(cli, argv[0], &catalog, &entry, &err))
		return report(cli, &err);
	was_link = is_link(entry);
	if (check_name(entry, argv[0], &err) || delete_model(cli, catalog, entry, &err))
		status = report(cli, &err);
	else
		status = tell(cli, entry, was_link);
	pc_catalog_free(catalog);
	return status;
}
