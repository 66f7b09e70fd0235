/* SPDX-License-Identifier: MIT */
/*
 * template.c - takes templates apart. It knows no values and no error sentences. Pure functions,
 * any thread.
 */
#include "config/template.h"

#include <string.h>

struct pc__piece pc__piece_next(const char **cursor)
{
	const char *start = *cursor;
	size_t length = strcspn(start, "{}");

	if (length > 0) {
		*cursor = start + length;
		return (struct pc__piece){ PC__PIECE_TEXT, start, length };
	}
	if (*start == '\0')
		return (struct pc__piece){ PC__PIECE_END, start, 0 };
	if (start[1] == start[0]) {
		*cursor = start + 2;
		return (struct pc__piece){ PC__PIECE_TEXT, start, 1 };
	}
	length = strcspn(start + 1, "{}");
	if (*start == '}' || start[1 + length] != '}')
		return (struct pc__piece){ PC__PIECE_BAD_BRACE, start, 1 };
	*cursor = start + 1 + length + 1;
	return (struct pc__piece){ PC__PIECE_PLACEHOLDER, start + 1, length };
}

bool pc__piece_is(const struct pc__piece *piece, const char *name)
{
	return piece->kind == PC__PIECE_PLACEHOLDER && strlen(name) == piece->length &&
	       memcmp(name, piece->text, piece->length) == 0;
}

bool pc__template_is_constant(const char *template)
{
	struct pc__piece piece;

	do {
		piece = pc__piece_next(&template);
	} while (piece.kind == PC__PIECE_TEXT);
	return piece.kind == PC__PIECE_END;
}

bool pc__template_names_option(const char *template, struct pc__piece *ret_piece)
{
	size_t dashes = strspn(template, "-");
	const char *rest = template + dashes;

	*ret_piece = pc__piece_next(&rest);
	return dashes > 0 && ret_piece->kind == PC__PIECE_PLACEHOLDER;
}

static bool template_uses(const char *template, const char *name)
{
	struct pc__piece piece;

	do {
		piece = pc__piece_next(&template);
		if (pc__piece_is(&piece, name))
			return true;
	} while (piece.kind != PC__PIECE_END && piece.kind != PC__PIECE_BAD_BRACE);
	return false;
}

bool pc__env_uses(const struct pc_string_list *env, const char *name)
{
	for (size_t i = 0; i < env->count; i++) {
		const char *equals = strchr(env->items[i], '=');

		if (equals && template_uses(equals + 1, name))
			return true;
	}
	return false;
}

bool pc__backend_uses(const struct pc_backend_config *backend, const char *name)
{
	for (size_t i = 0; i < backend->command.count; i++) {
		if (template_uses(backend->command.items[i], name))
			return true;
	}
	return pc__env_uses(&backend->env, name);
}
