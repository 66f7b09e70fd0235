/* SPDX-License-Identifier: MIT */
/*
 * edit_text.h - where in the text of a catalog a change belongs, and what it looks like there. Pure
 * text: no file, no check. Inside the catalog only.
 */
#ifndef CATALOG_EDIT_TEXT_H
#define CATALOG_EDIT_TEXT_H

#include <poolcore/catalog_edit.h>

#include "base/text.h"
#include "base/toml.h"

/* The bytes from `begin` to `end` become `text`. */
struct pc__change {
	size_t begin, end;
	struct pc__buf text;
};

/* The text that a document was read from. */
struct pc__written {
	const char *text;
	size_t length;
	const struct pc__toml_doc *doc;
};

/* The [[model]] of an id, or NULL. */
const struct pc__toml_value *pc__written_model(const struct pc__written *written, const char *id);

/* `value` is a literal of TOML. */
void pc__change_set(const struct pc__written *written, const struct pc__toml_value *model,
		    const char *key, const char *value, struct pc__change *change);
/* Begins a model at the end of the text; pc__change_add_key adds its keys. */
int pc__change_add(const struct pc__written *written, struct pc__change *change,
		   struct pc_error *err);
void pc__change_add_key(const struct pc__written *written, const char *key, const char *value,
			struct pc__change *change);
int pc__change_remove(const struct pc__written *written, const struct pc__toml_value *model,
		      struct pc__change *change, struct pc_error *err);

#endif
