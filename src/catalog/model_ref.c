/* SPDX-License-Identifier: MIT */
/*
 * model_ref.c - the rules for names and paths of models, and references taken apart. Pure
 * functions, any thread.
 */
#include "catalog/model_ref.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/schema.h"

/* Of one part of a path: NAME_MAX of Linux. */
#define PART_MAX 255

/* ---- names ---- */

bool pc__is_model_id(const char *text, bool slash_needed)
{
	char first[PC_MODEL_ID_MAX + 1];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);

	if (strlen(text) > PC_MODEL_ID_MAX || (slash_needed && !slash))
		return false;
	*(char *)mempcpy(first, text, length) = '\0';
	return pc__is_name(first, "._-", PC_MODEL_ID_MAX) &&
	       (!slash || pc__is_name(slash + 1, "._-", PC_MODEL_ID_MAX));
}

bool pc__is_revision(const char *text)
{
	char part[PC_MODEL_ID_MAX + 1];

	if (strlen(text) > PC_MODEL_ID_MAX)
		return false;
	for (;; text++) {
		size_t length = strcspn(text, "/");

		*(char *)mempcpy(part, text, length) = '\0';
		if (!pc__is_name(part, "._-", PC_MODEL_ID_MAX))
			return false;
		text += length;
		if (*text == '\0')
			return true;
	}
}

int pc_model_id_check(const char *text, struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	if (!text)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a model's id is needed");
	if (pc__is_model_id(text, false))
		return 0;
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "%s is no id of a model; one has letters, digits, '.', '_' and '-', at "
			    "most one '/', begins with a letter or digit and has at most %d bytes",
			    pc__quoted(text, shown), PC_MODEL_ID_MAX);
}

/* ---- paths ---- */

static bool text_is_flawed(const char *text, char flaw[PC__FLAW_MAX])
{
	size_t length = strlen(text), step;
	uint32_t scalar;

	for (; length > 0; text += step, length -= step) {
		step = pc__utf8_next(text, length, &scalar);
		if (step == 0) {
			snprintf(flaw, PC__FLAW_MAX, "is not UTF-8");
			return true;
		}
		if (!pc__is_unseen(scalar))
			continue;
		snprintf(flaw, PC__FLAW_MAX,
			 "has the character U+%04X, which does not show; leave it out", scalar);
		return true;
	}
	return false;
}

static bool is_hex(char c)
{
	return c && strchr("0123456789abcdefABCDEF", c);
}

/* What names that strangers chose may not have, though a disk would take it; NULL: nothing. */
static const char *flaw_of_foreign_part(const char *part, size_t length)
{
	if (part[0] == '-')
		return "has a part that begins with '-', as options do";
	if (part[0] == ' ' || part[length - 1] == ' ' || part[length - 1] == '.')
		return "has a part that begins or ends with a blank, or ends with a dot";
	for (size_t i = 0; i < length; i++) {
		if (part[i] == '\\')
			return "has a backslash; parts of a path are separated by '/'";
		if (part[i] == '%' && i + 2 < length && is_hex(part[i + 1]) && is_hex(part[i + 2]))
			return "has an encoded character; nothing is decoded, write it as it is";
	}
	return NULL;
}

static const char *flaw_of_part(const char *part, size_t length, bool in_repo)
{
	bool moves = length == 0 || (length == 1 && part[0] == '.') ||
		     (length == 2 && part[0] == '.' && part[1] == '.');

	if (moves && in_repo)
		return "leaves the repository; use a relative path without \"..\"";
	if (moves)
		return "has a part that is empty, \".\" or \"..\"; write the path without it";
	if (length > PART_MAX)
		return "has a part of more than 255 bytes, which no disk takes";
	return in_repo ? flaw_of_foreign_part(part, length) : NULL;
}

bool pc__path_is_flawed(const char *path, bool in_repo, char flaw[PC__FLAW_MAX])
{
	const char *part = in_repo || path[0] != '/' ? path : path + 1;

	if (strlen(path) > PC_MODEL_PATH_MAX) {
		snprintf(flaw, PC__FLAW_MAX, "is longer than %d bytes", PC_MODEL_PATH_MAX);
		return true;
	}
	if (!in_repo && path[0] != '/') {
		snprintf(flaw, PC__FLAW_MAX, "is not absolute; begin it with '/'");
		return true;
	}
	if (text_is_flawed(path, flaw))
		return true;
	for (;; part++) {
		size_t length = strcspn(part, "/");
		const char *wrong = flaw_of_part(part, length, in_repo);

		if (wrong) {
			snprintf(flaw, PC__FLAW_MAX, "%s", wrong);
			return true;
		}
		part += length;
		if (*part == '\0')
			return false;
	}
}

/* ---- references ---- */

static int refuse(const char *text, const char *what, struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	pc_error_set(err, PC_E_INVALID_ARGUMENT,
		     "%s is no reference to a model: %s; write \"hf:ORG/NAME::file=PATH\", with "
		     "\"@REVISION\" behind the name if need be, or \"file:/ABSOLUTE/PATH\"",
		     pc__quoted(text, shown), what);
	pc_error_detail(err, "model_ref", "%s", shown);
	return PC_E_INVALID_ARGUMENT;
}

/* The path behind "file:" or "::file=". */
static int take_path(const char *text, const char *path, struct pc_model_ref *ref,
		     struct pc_error *err)
{
	char flaw[PC__FLAW_MAX], what[PC__FLAW_MAX + 16];

	if (pc__path_is_flawed(path, ref->kind == PC_MODEL_REF_HUB, flaw)) {
		snprintf(what, sizeof(what), "its path %s", flaw);
		return refuse(text, what, err);
	}
	memcpy(ref->file, path, strlen(path) + 1);
	return 0;
}

/* Copies what stands before `end`; false when it is too long to be an id. */
static bool take_name(const char *begin, const char *end, char out[PC_MODEL_ID_MAX + 1])
{
	size_t length = (size_t)(end - begin);

	if (length > PC_MODEL_ID_MAX)
		return false;
	*(char *)mempcpy(out, begin, length) = '\0';
	return true;
}

static int parse_hub(const char *text, struct pc_model_ref *ref, struct pc_error *err)
{
	static const char separator[] = "::file=";
	const char *repo = text + strlen("hf:"), *end = strstr(repo, separator), *at;

	ref->kind = PC_MODEL_REF_HUB;
	if (!end)
		return refuse(text, "\"::file=\" is missing", err);
	at = memchr(repo, '@', (size_t)(end - repo));
	if (!take_name(repo, at ? at : end, ref->repo) || !pc__is_model_id(ref->repo, true))
		return refuse(text, "behind \"hf:\" stands no repository, like \"org/name\"", err);
	if (at && (!take_name(at + 1, end, ref->revision) || !pc__is_revision(ref->revision)))
		return refuse(text,
			      "behind '@' stands no revision: letters, digits, '.', '_', '-' and "
			      "single '/', beginning with a letter or digit",
			      err);
	return take_path(text, end + strlen(separator), ref, err);
}

int pc_model_ref_parse(const char *text, struct pc_model_ref *ret_ref, struct pc_error *err)
{
	struct pc_model_ref ref = { .kind = PC_MODEL_REF_FILE };
	int rc;

	if (!text || !ret_ref)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a reference and a place for its parts are needed");
	if (strncmp(text, "hf:", strlen("hf:")) == 0)
		rc = parse_hub(text, &ref, err);
	else if (strncmp(text, "file:", strlen("file:")) == 0)
		rc = take_path(text, text + strlen("file:"), &ref, err);
	else
		rc = refuse(text, "it begins with neither \"hf:\" nor \"file:\"", err);
	if (rc == 0)
		*ret_ref = ref;
	return rc;
}
