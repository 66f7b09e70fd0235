/* SPDX-License-Identifier: MIT */
/* fuzz_toml.c - throws bytes at the TOML reader and walks what it accepts. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/toml.h"
#include "tests/fuzz/fuzz.h"

static void walk(const struct pc__toml_value *value, unsigned depth);

static void walk_table(const struct pc__toml_value *table, unsigned depth)
{
	for (size_t i = 0; i < pc__toml_table_size(table); i++) {
		const struct pc__toml_entry *entry = pc__toml_table_entry(table, i);

		check(entry->pos.line >= 1 && entry->pos.column >= 1);
		check(entry->key[entry->key_length] == '\0');
		check(pc__utf8_valid_prefix(entry->key, entry->key_length) == entry->key_length);
		/* Every key is there once, and found. */
		check(pc__toml_find(table, entry->key, entry->key_length) == entry);
		walk(entry->value, depth + 1);
	}
}

static void walk(const struct pc__toml_value *value, unsigned depth)
{
	struct pc__toml_datetime when;
	size_t length;
	const char *text = pc__toml_string(value, &length);

	check(depth <= PC__TOML_MAX_DEPTH);
	check(pc__toml_pos(value).line >= 1 && pc__toml_pos(value).column >= 1);
	if (text) {
		check(text[length] == '\0');
		check(pc__utf8_valid_prefix(text, length) == length);
	}
	if (!pc__toml_datetime(value, &when))
		check(when.hour < 24 && when.minute < 60 && when.second <= 60 && when.day <= 31 &&
		      when.nanosecond < 1000000000 && abs(when.offset_minutes) < 24 * 60);
	walk_table(value, depth);
	for (size_t i = 0; i < pc__toml_array_length(value); i++)
		walk(pc__toml_array_item(value, i), depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__toml_doc *doc = NULL;
	int rc = pc__toml_parse("fuzz", (const char *)data, size, &doc, &err);

	check(err.code == rc);
	check((doc != NULL) == (rc == 0));
	if (doc) {
		walk(pc__toml_root(doc), 0);
	} else {
		check(rc == PC_E_INVALID_CONFIG && pc_error_detail_get(&err, "line"));
		check(pc__utf8_valid_prefix(err.message, strlen(err.message)) ==
		      strlen(err.message));
	}
	pc__toml_destroy(doc);
	return 0;
}
