/* SPDX-License-Identifier: MIT */
/*
 * schema_print.c - writes values as TOML and rows as manual entries. It reads nothing and knows no
 * setting by name. Any thread.
 */
#include "config/schema.h"

#include <errno.h>
#include <inttypes.h>

void pc__print_toml_string(struct pc__buf *out, const char *text)
{
	pc__buf_puts(out, "\"");
	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"' || c == '\\')
			pc__buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			pc__buf_printf(out, "\\u%04X", c);
		else
			pc__buf_append(out, p, 1);
	}
	pc__buf_puts(out, "\"");
}

void pc__print_toml_key(struct pc__buf *out, const char *key)
{
	static const char bare[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

	if (key[0] && key[strspn(key, bare)] == '\0')
		pc__buf_puts(out, key);
	else
		pc__print_toml_string(out, key);
}

void pc__print_toml_size(struct pc__buf *out, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes && bytes % 1024 == 0 && unit + 1 < PC_ARRAY_LEN(units)) {
		bytes /= 1024;
		unit++;
	}
	pc__buf_printf(out, "\"%" PRIu64 "%s\"", bytes, units[unit]);
}

static void print_list(const struct pc_string_list *list, struct pc__buf *out)
{
	pc__buf_puts(out, "[");
	for (size_t i = 0; i < list->count; i++) {
		pc__buf_puts(out, i ? ", " : "");
		pc__print_toml_string(out, list->items[i]);
	}
	pc__buf_puts(out, "]");
}

/* "NAME=value" items as an inline table; names hold no '='. */
static void print_table(const struct pc_string_list *list, struct pc__buf *out)
{
	pc__buf_puts(out, list->count ? "{ " : "{");
	for (size_t i = 0; i < list->count; i++) {
		const char *item = list->items[i];
		int length = (int)strcspn(item, "=");

		pc__buf_printf(out, "%s%.*s = ", i ? ", " : "", length, item);
		pc__print_toml_string(out, item + length + 1);
	}
	pc__buf_puts(out, list->count ? " }" : "}");
}

void pc__setting_print(const struct pc__setting *row, const void *object, struct pc__buf *out)
{
	const void *member = (const char *)object + row->offset;

	if (row->print) {
		row->print(object, out);
		return;
	}
	switch (row->kind) {
	case PC__SETTING_STRING:
	case PC__SETTING_WORD:
	case PC__SETTING_PATH:
		pc__print_toml_string(out, *(char *const *)member);
		break;
	case PC__SETTING_STRING_LIST:
	case PC__SETTING_PATH_LIST:
		print_list(member, out);
		break;
	case PC__SETTING_STRING_TABLE:
		print_table(member, out);
		break;
	case PC__SETTING_SIZE:
		pc__print_toml_size(out, *(const uint64_t *)member);
		break;
	case PC__SETTING_TTL:
		pc__buf_printf(out, "\"%" PRId64 "ms\"", *(const int64_t *)member);
		break;
	case PC__SETTING_BOOLEAN:
		pc__buf_puts(out, *(const bool *)member ? "true" : "false");
		break;
	case PC__SETTING_INTEGER:
	case PC__SETTING_SECONDS:
		pc__buf_printf(out, "%" PRIu64, *(const uint64_t *)member);
		break;
	}
}

/* ---- JSON ---- */

/* A table's strings; the names are those of variables and need no escape. */
static void print_json_table(const struct pc_string_list *list, bool hide, struct pc__buf *out)
{
	pc__buf_puts(out, "{");
	for (size_t i = 0; i < list->count; i++) {
		const char *item = list->items[i];
		int length = (int)strcspn(item, "=");

		pc__buf_printf(out, "%s\"%.*s\": ", i ? ", " : "", length, item);
		pc__print_toml_string(out, hide ? "hidden" : item + length + 1);
	}
	pc__buf_puts(out, "}");
}

/* "https://user:word@host" without what stands in front of the host. */
static void print_json_url(const char *url, struct pc__buf *out)
{
	const char *scheme = strstr(url, "://"), *at = strrchr(url, '@');

	if (!scheme || !at) {
		pc__print_toml_string(out, url);
		return;
	}
	pc__buf_printf(out, "\"%.*shidden", (int)(scheme + 3 - url), url);
	pc__buf_printf(out, "%s\"", at); /* refine_url lets nothing pass that needs an escape */
}

void pc__setting_print_json(const struct pc__setting *row, const void *object, bool hide,
			    struct pc__buf *out)
{
	const void *member = (const char *)object + row->offset;

	hide &= row->secret;
	switch (row->kind) {
	case PC__SETTING_STRING_TABLE:
		print_json_table(member, hide, out);
		break;
	case PC__SETTING_SIZE:
		pc__buf_printf(out, "%" PRIu64, *(const uint64_t *)member);
		break;
	default:
		/* TOML's basic strings, arrays of them, integers and booleans are JSON. */
		if (hide && row->kind == PC__SETTING_STRING)
			print_json_url(*(char *const *)member, out);
		else
			pc__setting_print(row, object, out);
		break;
	}
}

/* ---- what a row accepts ---- */

static void print_words(const char *const *words, struct pc__buf *out)
{
	for (size_t i = 0; words[i]; i++) {
		if (i)
			pc__buf_puts(out, words[i + 1] ? ", " : " or ");
		pc__buf_printf(out, "\"%s\"", words[i]);
	}
}

void pc__setting_print_range(const struct pc__setting *row, struct pc__buf *out)
{
	switch (row->kind) {
	case PC__SETTING_WORD:
		print_words(row->words, out);
		break;
	case PC__SETTING_BOOLEAN:
		pc__buf_puts(out, "true or false");
		break;
	case PC__SETTING_INTEGER:
	case PC__SETTING_SECONDS:
		pc__buf_printf(out, "%" PRIu64 " to %" PRIu64, row->min, row->max);
		if (row->kind == PC__SETTING_SECONDS)
			pc__buf_puts(out, " seconds");
		else if (row->unit && row->unit[0])
			pc__buf_printf(out, " %s", row->unit);
		break;
	case PC__SETTING_SIZE:
		pc__print_toml_size(out, row->min);
		if (row->max < INT64_MAX) {
			pc__buf_puts(out, " to ");
			pc__print_toml_size(out, row->max);
		} else {
			pc__buf_puts(out, " or more");
		}
		break;
	case PC__SETTING_TTL:
		pc__buf_printf(out, "a duration up to \"%" PRIu64 "d\", or a negative one",
			       row->max / 86400000);
		break;
	default:
		break;
	}
}

/* ---- the manual ---- */

/* Text for man(7): backslashes, hyphens that must stay ASCII, and no macro at a line's start. */
void pc__print_manual_text(struct pc__buf *out, const char *text)
{
	if (text[0] == '.' || text[0] == '\'')
		pc__buf_puts(out, "\\&");
	for (; *text; text++) {
		if (*text == '\\')
			pc__buf_puts(out, "\\e");
		else if (*text == '-')
			pc__buf_puts(out, "\\-");
		else
			pc__buf_append(out, text, 1);
	}
}

static const char *kind_text(enum pc__setting_kind kind)
{
	static const char *const texts[] = {
		[PC__SETTING_STRING] = "string",
		[PC__SETTING_WORD] = "string",
		[PC__SETTING_PATH] = "path",
		[PC__SETTING_STRING_LIST] = "array of strings",
		[PC__SETTING_PATH_LIST] = "array of paths",
		[PC__SETTING_STRING_TABLE] = "table of strings",
		[PC__SETTING_INTEGER] = "integer",
		[PC__SETTING_SECONDS] = "seconds or duration",
		[PC__SETTING_SIZE] = "size",
		[PC__SETTING_TTL] = "seconds or duration",
		[PC__SETTING_BOOLEAN] = "boolean",
	};

	return texts[kind];
}

static const char *effect_text(enum pc_setting_effect effect)
{
	static const char *const texts[] = {
		[PC_EFFECT_RELOAD] = "Takes effect at a reload",
		[PC_EFFECT_WORKERS] = "Takes effect at a reload, which replaces workers that run",
		[PC_EFFECT_RESTART] = "Takes effect at a restart",
	};

	return texts[effect];
}

void pc__setting_print_manual(const struct pc__setting *row, const char *variable,
			      struct pc__buf *out)
{
	size_t before;

	pc__buf_printf(out, ".TP\n.BR %s \" (%s)\"\n", row->key, kind_text(row->kind));
	pc__print_manual_text(out, row->description);
	pc__buf_puts(out, ".\n");
	before = out->length;
	pc__buf_puts(out, "Accepts ");
	pc__setting_print_range(row, out);
	if (out->length > before + strlen("Accepts "))
		pc__buf_puts(out, ".\n");
	else if (!out->failed)
		out->data[out->length = before] = '\0';
	if (row->required) {
		pc__buf_puts(out, "Required.\n");
	} else if (row->compute) {
		pc__buf_puts(out, "Default: ");
		pc__print_manual_text(out, row->fallback);
		pc__buf_puts(out, ".\n");
	} else if (row->fallback) {
		pc__buf_puts(out, row->fallback[0] ? "Default: " : "Default: empty");
		pc__print_manual_text(out, row->fallback);
		pc__buf_puts(out, ".\n");
	}
	if (variable)
		pc__buf_printf(out, "Environment: %s.\n", variable);
	pc__buf_printf(out, "%s.\n", effect_text(row->effect));
}

int pc__print_to(struct pc__buf *out, FILE *file, struct pc_error *err)
{
	pc_auto(pc_free) char *text = pc__buf_steal(out);

	if (!text)
		return pc_error_oom(err);
	if (fputs(text, file) == EOF || fflush(file) == EOF)
		return pc_error_sys(err, PC_E_IO, errno, "cannot write the settings");
	return 0;
}
