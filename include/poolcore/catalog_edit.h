/* SPDX-License-Identifier: MIT */
/*
 * catalog_edit.h - changes one file of the catalog and leaves alone what is not changed: comments,
 * order, blank lines, the way that values are written.
 *
 *	struct pc_catalog_edit *edit;
 *	int rc = pc_catalog_edit_open(config, entry->source_file, &edit, err);
 *
 *	if (rc == 0)
 *		rc = pc_catalog_edit_set(edit, entry->id, "slots", "4", err);
 *	if (rc == 0)
 *		rc = pc_catalog_edit_save(edit, err);
 *	pc_catalog_edit_close(edit);
 */
#ifndef POOLCORE_CATALOG_EDIT_H
#define POOLCORE_CATALOG_EDIT_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

struct pc_config;
struct pc_catalog_edit;

/* A key of a [[model]] and its value as an environment variable would say it: "4", "true", "5m",
 * "tiny,small" for a list. */
struct pc_model_setting {
	const char *key;
	const char *value;
};

/*
 * Reads the file (catalog.files has it, or it is to be added there). It belongs to one thread at a
 * time; the configuration must stay. Errors: IO; INVALID_CONFIG with its place, when the catalog is
 * not valid as it is; OUT_OF_MEMORY; INVALID_ARGUMENT.
 */
PC_API int pc_catalog_edit_open(const struct pc_config *config, const char *path,
				struct pc_catalog_edit **ret_edit, struct pc_error *err);
/* What is not saved is forgotten. NULL is allowed. */
PC_API void pc_catalog_edit_close(struct pc_catalog_edit *edit);

/*
 * The changes. Each is made in memory, and only when the whole catalog is valid with it; after an
 * error nothing has changed. Errors: MODEL_NOT_FOUND (in this file, by its id), INVALID_CONFIG,
 * UNSUPPORTED (an array of inline tables takes and loses no models), OUT_OF_MEMORY,
 * INVALID_ARGUMENT.
 */

/* Replaces a value where it stands, or adds the key behind the model's last one. */
PC_API int pc_catalog_edit_set(struct pc_catalog_edit *edit, const char *id, const char *key,
			       const char *value, struct pc_error *err);
/* Adds a model at the end of the file; its id is among the settings. */
PC_API int pc_catalog_edit_add(struct pc_catalog_edit *edit,
			       const struct pc_model_setting *settings, size_t count,
			       struct pc_error *err);
/* Removes a model from its header to its last key, and the comments in between. What stands above
 * the header stays. */
PC_API int pc_catalog_edit_remove(struct pc_catalog_edit *edit, const char *id,
				  struct pc_error *err);

/* The text as it would be saved, NUL-terminated; until the next change. */
PC_API const char *pc_catalog_edit_text(const struct pc_catalog_edit *edit);

/*
 * Puts the changed file in the place of the old one, in one step, with its mode and owner, and
 * waits for the disk. A symbolic link stays one. Errors: CONFLICT when the file is not as it was
 * read any more (open it anew); IO. After an error the old file is there, whole; or the new one, if
 * the message says that only a power cut could take it back.
 */
PC_API int pc_catalog_edit_save(struct pc_catalog_edit *edit, struct pc_error *err);

PC_END_DECLS

#endif
