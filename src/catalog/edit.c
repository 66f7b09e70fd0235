/* SPDX-License-Identifier: MIT */
/*
 * edit.c - a catalog's file while it is changed: read, changed in memory, checked, and put in the
 * place of the old one. What a change looks like in the text is edit_text.c's. Runs on the caller's
 * thread.
 *
 * Who else changes the file: of two that save at once through here, the folder's lock lets one go
 * first, and the other finds the file changed. An editor that does not know of the lock could only
 * be overwritten if it saved between our comparing and our renaming, which follow each other.
 */
#include <poolcore/catalog_edit.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/check.h"
#include "catalog/edit_text.h"
#include "catalog/model.h"
#include "catalog/new_file.h"

struct pc_catalog_edit {
	const struct pc_config *config;
	char *named;		  /* as the configuration names it */
	char *path;		  /* without symbolic links */
	struct pc__buf original;  /* as it was read */
	struct pc__buf text;	  /* as it is now */
	struct pc__toml_doc *doc; /* of the text */
};

static struct pc__written written_of(const struct pc_catalog_edit *edit)
{
	return (struct pc__written){ edit->text.data, edit->text.length, edit->doc };
}

/* ---- opening ---- */

static int resolve(struct pc_catalog_edit *edit, const char *path, struct pc_error *err)
{
	char *real = realpath(path, NULL);

	if (!real)
		return pc_error_sys(err, PC_E_IO, errno, "cannot open '%s'", path);
	edit->path = pc_strdup(real);
	free(real);
	edit->named = pc_strdup(path);
	return edit->path && edit->named ? 0 : pc_error_oom(err);
}

/* The text becomes the edit's own, when the catalog is valid with it. */
static int take_text(struct pc_catalog_edit *edit, struct pc__buf *text, struct pc_error *err)
{
	struct pc__toml_doc *doc = NULL;
	int rc;

	pc__buf_append(text, "", 0);
	if (text->failed)
		return pc_error_oom(err);
	rc = pc__toml_parse(edit->named, text->data, text->length, &doc, err);
	if (rc == 0)
		rc = pc__catalog_check(edit->config, edit->named, doc, err);
	if (rc) {
		pc__toml_destroy(doc);
		return rc;
	}
	pc__toml_destroy(edit->doc);
	pc__buf_fini(&edit->text);
	edit->doc = doc;
	edit->text = *text;
	*text = (struct pc__buf)PC__BUF_INIT;
	return 0;
}

static int read_file(struct pc_catalog_edit *edit, struct pc_error *err)
{
	struct pc__buf text = PC__BUF_INIT;
	int rc = pc__toml_read_text(edit->path, &edit->original, err);

	if (rc)
		return rc;
	pc__buf_append(&text, edit->original.data ? edit->original.data : "",
		       edit->original.length);
	rc = take_text(edit, &text, err);
	pc__buf_fini(&text);
	return rc;
}

int pc_catalog_edit_open(const struct pc_config *config, const char *path,
			 struct pc_catalog_edit **ret_edit, struct pc_error *err)
{
	struct pc_catalog_edit *edit;
	int rc;

	if (!config || !path || !ret_edit)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a configuration, a file and a place for the edit are needed");
	edit = pc_calloc(1, sizeof(*edit));
	if (!edit)
		return pc_error_oom(err);
	edit->config = config;
	rc = resolve(edit, path, err);
	if (rc == 0)
		rc = read_file(edit, err);
	if (rc) {
		pc_catalog_edit_close(edit);
		return rc;
	}
	*ret_edit = edit;
	return 0;
}

void pc_catalog_edit_close(struct pc_catalog_edit *edit)
{
	if (!edit)
		return;
	pc__toml_destroy(edit->doc);
	pc__buf_fini(&edit->original);
	pc__buf_fini(&edit->text);
	pc_free(edit->named);
	pc_free(edit->path);
	pc_free(edit);
}

const char *pc_catalog_edit_text(const struct pc_catalog_edit *edit)
{
	return edit->text.data;
}

/* ---- changing ---- */

static int apply(struct pc_catalog_edit *edit, struct pc__change *change, struct pc_error *err)
{
	struct pc__buf text = PC__BUF_INIT;
	int rc;

	if (change->text.failed)
		return pc_error_oom(err);
	pc__buf_append(&text, edit->text.data, change->begin);
	pc__buf_append(&text, change->text.data ? change->text.data : "", change->text.length);
	pc__buf_append(&text, edit->text.data + change->end, edit->text.length - change->end);
	rc = take_text(edit, &text, err);
	if (rc == PC_E_INVALID_CONFIG)
		pc_error_prefix(err, "the changed file would not be valid");
	pc__buf_fini(&text);
	return rc;
}

/* Sizes and durations stay as they were said: "5m" is no 300000 ms. */
static void print_said(const char *said, struct pc__buf *out)
{
	if (said[0] && said[strspn(said, "0123456789")] == '\0')
		pc__buf_puts(out, said);
	else
		pc__print_toml_string(out, said);
}

/* The value as TOML has it; a value that the key cannot have is refused here, by what was said. */
static int print_value(const char *key, const char *said, struct pc__buf *out, struct pc_error *err)
{
	struct pc__model_text text = { .ttl_ms = 0 };
	struct pc__reading reading = {
		.row = pc__setting_find(pc__model_settings, pc__model_setting_count, NULL, key),
		.scope = "model",
		.source = { .kind = PC_SOURCE_FLAG, .name = (char *)(uintptr_t) "the new value" },
	};
	int rc;

	if (!reading.row)
		return pc__setting_unknown(&reading, key, pc__model_settings,
					   pc__model_setting_count, "model", err);
	rc = pc__setting_read_text(&reading, said, &text, err);
	if (rc == 0 &&
	    (reading.row->kind == PC__SETTING_SIZE || reading.row->kind == PC__SETTING_TTL))
		print_said(said, out);
	else if (rc == 0)
		pc__setting_print(reading.row, &text, out);
	pc__settings_fini(pc__model_settings, pc__model_setting_count, &text);
	if (rc == 0 && out->failed)
		rc = pc_error_oom(err);
	return rc;
}

static int find_model(const struct pc_catalog_edit *edit, const char *id,
		      const struct pc__toml_value **ret_model, struct pc_error *err)
{
	const struct pc__written written = written_of(edit);
	char shown[PC__QUOTED_MAX];

	*ret_model = pc__written_model(&written, id);
	if (*ret_model)
		return 0;
	pc_error_set(err, PC_E_MODEL_NOT_FOUND, "there is no model with the id %s in %s",
		     pc__quoted(id, shown), edit->named);
	pc_error_detail(err, "file", "%s", edit->named);
	return PC_E_MODEL_NOT_FOUND;
}

int pc_catalog_edit_set(struct pc_catalog_edit *edit, const char *id, const char *key,
			const char *value, struct pc_error *err)
{
	struct pc__change change = { .text = PC__BUF_INIT };
	struct pc__buf literal = PC__BUF_INIT;
	const struct pc__toml_value *model;
	struct pc__written written;
	int rc;

	if (!edit || !id || !key || !value)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an edit, a model's id, a key and a value are needed");
	written = written_of(edit);
	rc = find_model(edit, id, &model, err);
	if (rc == 0)
		rc = print_value(key, value, &literal, err);
	if (rc == 0) {
		pc__change_set(&written, model, key, literal.data, &change);
		rc = apply(edit, &change, err);
	}
	pc__buf_fini(&literal);
	pc__buf_fini(&change.text);
	return rc;
}

static int add_keys(const struct pc__written *written, const struct pc_model_setting *settings,
		    size_t count, struct pc__change *change, struct pc_error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct pc__buf literal = PC__BUF_INIT;

		rc = print_value(settings[i].key, settings[i].value, &literal, err);
		if (rc == 0)
			pc__change_add_key(written, settings[i].key, literal.data, change);
		pc__buf_fini(&literal);
	}
	return rc;
}

int pc_catalog_edit_add(struct pc_catalog_edit *edit, const struct pc_model_setting *settings,
			size_t count, struct pc_error *err)
{
	struct pc__change change = { .text = PC__BUF_INIT };
	struct pc__written written;
	int rc;

	if (!edit || !settings)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an edit and the model's settings are needed");
	written = written_of(edit);
	rc = pc__change_add(&written, &change, err);
	if (rc == 0)
		rc = add_keys(&written, settings, count, &change, err);
	if (rc == 0)
		rc = apply(edit, &change, err);
	pc__buf_fini(&change.text);
	return rc;
}

int pc_catalog_edit_remove(struct pc_catalog_edit *edit, const char *id, struct pc_error *err)
{
	struct pc__change change = { .text = PC__BUF_INIT };
	const struct pc__toml_value *model;
	struct pc__written written;
	int rc;

	if (!edit || !id)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an edit and a model's id are needed");
	written = written_of(edit);
	rc = find_model(edit, id, &model, err);
	if (rc == 0)
		rc = pc__change_remove(&written, model, &change, err);
	if (rc == 0)
		rc = apply(edit, &change, err);
	pc__buf_fini(&change.text);
	return rc;
}

/* ---- saving ---- */

static int check_unchanged(const struct pc_catalog_edit *edit, struct pc_error *err)
{
	struct pc__buf now = PC__BUF_INIT;
	int rc = pc__toml_read_text(edit->path, &now, err);

	if (rc == 0 && (now.length != edit->original.length ||
			(now.length && memcmp(now.data, edit->original.data, now.length) != 0))) {
		rc = pc_error_set(err, PC_E_CONFLICT,
				  "%s has changed since it was read; nothing was saved: read it "
				  "again and repeat the change",
				  edit->named);
		pc_error_detail(err, "file", "%s", edit->named);
	}
	pc__buf_fini(&now);
	return rc;
}

/* The new file is renamed over the old one, whose own protection would not count then. */
static int check_writable(const struct pc_catalog_edit *edit, struct stat *ret_facts,
			  struct pc_error *err)
{
	if (stat(edit->path, ret_facts) || faccessat(AT_FDCWD, edit->path, W_OK, AT_EACCESS))
		return pc_error_sys(err, PC_E_IO, errno, "cannot write '%s'", edit->named);
	return 0;
}

/* The new file, whole and with the mode and owner of the old one. */
static int write_file(struct pc_catalog_edit *edit, int folder, struct pc__new_file *file,
		      struct pc_error *err)
{
	struct stat facts;
	int rc = check_writable(edit, &facts, err);

	if (rc)
		return rc;
	rc = pc__new_file_write(file, folder, facts.st_mode & 07777, edit->text.data,
				edit->text.length, err);
	if (rc == 0)
		rc = pc__new_file_own(file, facts.st_uid, facts.st_gid, err);
	if (rc)
		pc_error_prefix(err, "saving '%s'", edit->named);
	return rc;
}

static int replace(struct pc_catalog_edit *edit, int folder, const char *name, struct pc_error *err)
{
	struct pc__new_file file = PC__NEW_FILE_INIT;
	int rc = write_file(edit, folder, &file, err);

	if (rc == 0)
		rc = check_unchanged(edit, err);
	if (rc == 0) {
		rc = pc__new_file_commit(&file, name, err);
		if (rc)
			pc_error_prefix(err, "saving '%s'", edit->named);
	}
	pc__new_file_fini(&file);
	return rc;
}

/* Waits for whoever is saving into that folder. */
static int lock(int folder)
{
	int rc;

	while ((rc = flock(folder, LOCK_EX)) && errno == EINTR)
		;
	return rc;
}

int pc_catalog_edit_save(struct pc_catalog_edit *edit, struct pc_error *err)
{
	struct pc__buf saved = PC__BUF_INIT;
	pc_auto(pc_free) char *folder = NULL;
	const char *name;
	int fd, rc;

	if (!edit)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "an edit is needed");
	name = strrchr(edit->path, '/') + 1;
	folder = pc_strndup(edit->path, (size_t)(name - edit->path));
	/* What will have been read, should it be changed again; made before there is no way
	 * back. */
	pc__buf_append(&saved, edit->text.data, edit->text.length);
	if (!folder || saved.failed) {
		pc__buf_fini(&saved);
		return pc_error_oom(err);
	}
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || lock(fd))
		rc = pc_error_sys(err, PC_E_IO, errno, "cannot lock the folder of '%s'",
				  edit->named);
	else
		rc = replace(edit, fd, name, err);
	if (fd >= 0)
		close(fd);
	if (rc) {
		pc__buf_fini(&saved);
		return rc;
	}
	pc__buf_fini(&edit->original);
	edit->original = saved;
	return 0;
}
