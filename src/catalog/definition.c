/* SPDX-License-Identifier: MIT */
/*
 * definition.c - sums up what a model's workers are launched with. Which settings that are is said
 * by their rows alone (PC_EFFECT_WORKERS), as for the comparisons of a reload. Any thread; nothing
 * is kept.
 */
#include <poolcore/catalog.h>

#include <string.h>

#include "catalog/model.h"
#include "catalog/sha256.h"

_Static_assert(PC_DEFINITION_MAX == PC__SHA256_TEXT, "a definition is a SHA-256");

int pc_model_definition(const struct pc_model_entry *entry, const struct pc_backend_config *backend,
			char ret_definition[PC_DEFINITION_MAX], struct pc_error *err)
{
	const struct pc__model *model = (const struct pc__model *)entry;
	struct pc__buf text = PC__BUF_INIT;
	char sum[PC__SHA256_TEXT];
	int rc;

	/* The folder that the catalog lies in, or that of the cache, decides too. */
	pc__buf_printf(&text, "path %zu:%s\n", strlen(entry->path), entry->path);
	pc__settings_put_launch(pc__model_settings, pc__model_setting_count, &model->text, &text);
	pc__backend_put_launch(backend, &text);
	rc = text.failed ? pc_error_oom(err) : pc__sha256_of(text.data, text.length, sum, err);
	pc__buf_fini(&text);
	if (!rc)
		memcpy(ret_definition, sum, sizeof(sum));
	return rc;
}
