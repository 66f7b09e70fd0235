/* SPDX-License-Identifier: MIT */
/* model_ref.h - the rules for names and paths of models, one by one. Inside the catalog only. */
#ifndef CATALOG_MODEL_REF_H
#define CATALOG_MODEL_REF_H

#include <poolcore/model_ref.h>

/* NAME, or NAME/NAME: as pc_model_id_check has it. */
bool pc__is_model_id(const char *text, bool slash_needed);
/* One or more NAMEs with '/' between them. */
bool pc__is_revision(const char *text);

#define PC__FLAW_MAX 160

/*
 * Whether a path of a model is not usable, relative and in a repository or absolute; `flaw` is what
 * follows it in a sentence: "leaves the repository; use ...".
 */
bool pc__path_is_flawed(const char *path, bool in_repo, char flaw[PC__FLAW_MAX]);

#endif
