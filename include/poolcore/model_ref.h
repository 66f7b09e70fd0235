/* SPDX-License-Identifier: MIT */
/*
 * model_ref.h - what models are called by those who ask for them: an id of the catalog, or a
 * reference to a file. Pure text: nothing is looked up, on a disk or anywhere else.
 *
 *	hf:ORG/NAME[@REVISION]::file=PATH/IN/IT
 *	file:/ABSOLUTE/PATH
 */
#ifndef POOLCORE_MODEL_REF_H
#define POOLCORE_MODEL_REF_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

#define PC_MODEL_ID_MAX 128    /* bytes of an id, alias, repository or revision; a guess */
#define PC_MODEL_PATH_MAX 4095 /* bytes of a path: PATH_MAX of Linux without its NUL */

enum pc_model_ref_kind {
	PC_MODEL_REF_HUB = 1,  /* "hf:" */
	PC_MODEL_REF_FILE = 2, /* "file:" */
};

struct pc_model_ref {
	enum pc_model_ref_kind kind;
	char repo[PC_MODEL_ID_MAX + 1];	    /* "org/name"; "" for a file */
	char revision[PC_MODEL_ID_MAX + 1]; /* a branch, tag or commit; "": the hub's own choice */
	char file[PC_MODEL_PATH_MAX + 1];   /* in the repository, or absolute */
};

/*
 * Takes a reference apart. Every reference has one spelling, and none leads out of its repository:
 * no part of a path is empty, "." or "..". Paths are UTF-8 without control characters and others
 * that do not show (which could make one name look like another); in a repository, whose names
 * strangers chose, also without a backslash, "%" with two hexadecimal digits, a part that begins
 * with '-' or a blank or ends with a blank or a dot. Nothing is decoded. Errors: INVALID_ARGUMENT
 * with what is wrong and what would be right. Any thread.
 */
PC_API int pc_model_ref_parse(const char *text, struct pc_model_ref *ret_ref, struct pc_error *err);

/*
 * Whether it can be the id or alias of a model: NAME or NAME/NAME, each of letters, digits, '.',
 * '_' and '-', beginning with a letter or digit. Errors: INVALID_ARGUMENT. Any thread.
 */
PC_API int pc_model_id_check(const char *text, struct pc_error *err);

PC_END_DECLS

#endif
