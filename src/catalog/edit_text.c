/* SPDX-License-Identifier: MIT */
/*
 * edit_text.c - finds the bytes of a catalog's text that a change is about, by the spans that the
 * TOML reader keeps. Whether the result is a catalog is edit.c's to check. Any thread.
 *
 * A model is written either under a header, [[model]], a key a line; or, rarely, as an inline table
 * of an array: model = [ { id = "a", ... } ].
 */
#include "catalog/edit_text.h"

/* ---- lines ---- */

static size_t line_begin(const struct pc__written *written, size_t at)
{
	while (at > 0 && written->text[at - 1] != '\n')
		at--;
	return at;
}

/* Behind the line break, or the text's end. */
static size_t line_end(const struct pc__written *written, size_t at)
{
	const char *stop = memchr(written->text + at, '\n', written->length - at);

	return stop ? (size_t)(stop - written->text) + 1 : written->length;
}

/* What the text's lines end with: as its first one does. */
static const char *line_break(const struct pc__written *written)
{
	size_t end = line_end(written, 0);

	return end >= 2 && written->text[end - 1] == '\n' && written->text[end - 2] == '\r' ? "\r\n"
											    : "\n";
}

static bool is_blank(const struct pc__written *written, size_t begin, size_t end)
{
	while (begin < end && strchr(" \t\r\n", written->text[begin]))
		begin++;
	return begin == end;
}

/* ---- models ---- */

static bool is_inline(const struct pc__written *written, const struct pc__toml_value *model)
{
	return written->text[pc__toml_span(model).begin] == '{';
}

static const struct pc__toml_value *models_of(const struct pc__written *written)
{
	return pc__toml_get(pc__toml_root(written->doc), "model");
}

const struct pc__toml_value *pc__written_model(const struct pc__written *written, const char *id)
{
	const struct pc__toml_value *models = models_of(written);

	for (size_t i = 0; i < pc__toml_array_length(models); i++) {
		const struct pc__toml_value *model = pc__toml_array_item(models, i);
		const char *text = pc__toml_string(pc__toml_get(model, "id"), NULL);

		if (text && strcmp(text, id) == 0)
			return model;
	}
	return NULL;
}

/* The last thing that is written of a model: a value, or the header of one that has none. */
static struct pc__toml_span last_of(const struct pc__toml_value *model)
{
	size_t size = pc__toml_table_size(model);

	return pc__toml_span(size ? pc__toml_table_entry(model, size - 1)->value : model);
}

/* ---- changes ---- */

/* One more line behind the one on which the model's last value ends, indented as its key is. */
static void add_line(const struct pc__written *written, const struct pc__toml_value *model,
		     const char *key, const char *value, struct pc__change *change)
{
	struct pc__toml_span last = last_of(model);
	size_t begin = line_begin(written, last.begin), end = line_end(written, last.end);
	size_t indent = strspn(written->text + begin, " \t");
	bool broken = written->text[end - 1] == '\n';

	change->begin = change->end = end;
	if (!broken)
		pc__buf_puts(&change->text, line_break(written));
	pc__buf_append(&change->text, written->text + begin, indent);
	pc__buf_printf(&change->text, "%s = %s%s", key, value, broken ? line_break(written) : "");
}

void pc__change_set(const struct pc__written *written, const struct pc__toml_value *model,
		    const char *key, const char *value, struct pc__change *change)
{
	const struct pc__toml_value *old = pc__toml_get(model, key);

	if (old) {
		change->begin = pc__toml_span(old).begin;
		change->end = pc__toml_span(old).end;
		pc__buf_puts(&change->text, value);
	} else if (is_inline(written, model)) {
		/* It has a value: its id. */
		change->begin = change->end = last_of(model).end;
		pc__buf_printf(&change->text, ", %s = %s", key, value);
	} else {
		add_line(written, model, key, value, change);
	}
}

static int refuse_inline(const char *what, struct pc_error *err)
{
	return pc_error_set(
		err, PC_E_UNSUPPORTED,
		"the file has its models as inline tables of one array, model = [ ... ], "
		"%s; write them as [[model]] tables",
		what);
}

int pc__change_add(const struct pc__written *written, struct pc__change *change,
		   struct pc_error *err)
{
	const struct pc__toml_value *models = models_of(written);
	const char *end_of_line = line_break(written);

	if (models && pc__toml_span(models).end > 0)
		return refuse_inline("to which none is added", err);
	change->begin = change->end = written->length;
	if (written->length > 0) {
		if (written->text[written->length - 1] != '\n')
			pc__buf_puts(&change->text, end_of_line);
		if (!is_blank(written, line_begin(written, written->length - 1), written->length))
			pc__buf_puts(&change->text, end_of_line);
	}
	pc__buf_printf(&change->text, "[[model]]%s", end_of_line);
	return 0;
}

void pc__change_add_key(const struct pc__written *written, const char *key, const char *value,
			struct pc__change *change)
{
	pc__buf_printf(&change->text, "%s = %s%s", key, value, line_break(written));
}

int pc__change_remove(const struct pc__written *written, const struct pc__toml_value *model,
		      struct pc__change *change, struct pc_error *err)
{
	if (is_inline(written, model))
		return refuse_inline("of which none is removed", err);
	change->begin = line_begin(written, pc__toml_span(model).begin);
	change->end = line_end(written, last_of(model).end);
	/* The blank lines that set it off from the next one go with it. */
	while (change->end < written->length) {
		size_t next = line_end(written, change->end);

		if (!is_blank(written, change->end, next))
			break;
		change->end = next;
	}
	return 0;
}
