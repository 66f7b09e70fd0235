/* SPDX-License-Identifier: MIT */
/*
 * template.h - the language of backends' commands: text with placeholders in braces. The
 * configuration checks templates with it, src/lifecycle expands them. Inside the library only.
 */
#ifndef CONFIG_TEMPLATE_H
#define CONFIG_TEMPLATE_H

#include <poolcore/config.h>

/*
 * Every placeholder: its name, which is a member of struct pc_launch_values; what kind of value
 * that is (of src/lifecycle/command.c); and whether it may stand in env only, because everybody on
 * the machine can read a process's arguments. `between` stands between two rows.
 */
/* clang-format off */
#define PC__PLACEHOLDER_LIST(X, between) \
	X(model_path,     STRING, false) between \
	X(model_id,       STRING, false) between \
	X(worker_id,      STRING, false) between \
	X(port,           PORT,   false) between \
	X(socket,         STRING, false) between \
	X(gpu_id,         GPU,    false) between \
	X(gpu_uuid,       STRING, false) between \
	X(slots,          COUNT,  false) between \
	X(context_tokens, COUNT,  false) between \
	X(capability,     STRING, false) between \
	X(spawn_token,    STRING, true) between \
	X(ready_url,      STRING, false)
/* clang-format on */

/* The names for a sentence: "model_path, model_id, ...". */
#define PC__PLACEHOLDER_NAME(name, kind, env_only) #name
#define PC__PLACEHOLDER_NAMES PC__PLACEHOLDER_LIST(PC__PLACEHOLDER_NAME, ", ")

enum pc__piece_kind {
	PC__PIECE_END,
	PC__PIECE_TEXT,
	PC__PIECE_PLACEHOLDER,
	PC__PIECE_BAD_BRACE, /* one that is neither doubled nor part of a placeholder */
};

struct pc__piece {
	enum pc__piece_kind kind;
	const char *text; /* of a placeholder: its name */
	size_t length;
};

/*
 * Takes the next piece off *cursor, which begins as the template. A doubled brace is a piece of its
 * own, one character long; after a bad brace there is no going on.
 */
struct pc__piece pc__piece_next(const char **cursor);
/* Whether the piece is the placeholder of that name; false for every other kind of piece. */
bool pc__piece_is(const struct pc__piece *piece, const char *name);
/* Whether there is no placeholder in it. */
bool pc__template_is_constant(const char *template);
/* Whether it begins with a placeholder behind nothing but dashes: "--{model_id}"; which. */
bool pc__template_names_option(const char *template, struct pc__piece *ret_piece);
/* Whether the placeholder stands in one of "NAME=template", before anything that is wrong there. */
bool pc__env_uses(const struct pc_string_list *env, const char *name);
/* The same for command and environment of a backend. */
bool pc__backend_uses(const struct pc_backend_config *backend, const char *name);

#endif
