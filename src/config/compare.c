/* SPDX-License-Identifier: MIT */
/*
 * compare.c - what differs between two configurations, setting by setting, from the tables. What is
 * to be done about it is not decided here, except that the row says when a change takes effect. And
 * the settings that workers are launched with, as text for a digest. No allocation but for copies
 * and that text; any thread.
 */
#include <poolcore/config.h>

#include <inttypes.h>
#include <stdio.h>

#include "config/settings.h"

/* ---- rows ---- */

static bool lists_equal(const struct pc_string_list *a, const struct pc_string_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

bool pc__setting_equal(const struct pc__setting *row, const void *a, const void *b)
{
	const void *left = (const char *)a + row->offset, *right = (const char *)b + row->offset;

	switch (row->kind) {
	case PC__SETTING_STRING:
	case PC__SETTING_WORD:
	case PC__SETTING_PATH:
		return strcmp(*(char *const *)left, *(char *const *)right) == 0;
	case PC__SETTING_STRING_LIST:
	case PC__SETTING_PATH_LIST:
	case PC__SETTING_STRING_TABLE:
		return lists_equal(left, right);
	case PC__SETTING_INTEGER:
	case PC__SETTING_SECONDS:
	case PC__SETTING_SIZE:
		return *(const uint64_t *)left == *(const uint64_t *)right;
	case PC__SETTING_TTL:
		return *(const int64_t *)left == *(const int64_t *)right;
	case PC__SETTING_BOOLEAN:
		return *(const bool *)left == *(const bool *)right;
	}
	return false;
}

static int copy_list(const struct pc_string_list *from, struct pc_string_list *to,
		     struct pc_error *err)
{
	struct pc_string_list copy = { .count = 0 };
	int rc = 0;

	for (size_t i = 0; i < from->count && !rc; i++) {
		char *item = pc_strdup(from->items[i]);

		rc = item ? pc__list_push(&copy, item, err) : pc_error_oom(err);
	}
	if (rc) {
		pc_string_list_free(&copy);
		return rc;
	}
	pc_string_list_free(to);
	*to = copy;
	return 0;
}

static int copy_string(const char *from, char **to, struct pc_error *err)
{
	char *copy = pc_strdup(from);

	if (!copy)
		return pc_error_oom(err);
	pc_free(*to);
	*to = copy;
	return 0;
}

int pc__setting_copy(const struct pc__setting *row, const void *from, void *to,
		     struct pc_error *err)
{
	const void *source = (const char *)from + row->offset;
	void *target = (char *)to + row->offset;

	switch (row->kind) {
	case PC__SETTING_STRING:
	case PC__SETTING_WORD:
	case PC__SETTING_PATH:
		return copy_string(*(char *const *)source, target, err);
	case PC__SETTING_STRING_LIST:
	case PC__SETTING_PATH_LIST:
	case PC__SETTING_STRING_TABLE:
		return copy_list(source, target, err);
	case PC__SETTING_INTEGER:
	case PC__SETTING_SECONDS:
	case PC__SETTING_SIZE:
		*(uint64_t *)target = *(const uint64_t *)source;
		break;
	case PC__SETTING_TTL:
		*(int64_t *)target = *(const int64_t *)source;
		break;
	case PC__SETTING_BOOLEAN:
		*(bool *)target = *(const bool *)source;
		break;
	}
	return 0;
}

enum pc_difference pc__settings_compare(const struct pc__setting *rows, size_t count, const void *a,
					const void *b)
{
	enum pc_difference difference = PC_DIFFERENCE_NONE;

	for (size_t i = 0; i < count; i++) {
		if (pc__setting_equal(&rows[i], a, b))
			continue;
		if (rows[i].effect == PC_EFFECT_WORKERS)
			return PC_DIFFERENCE_LAUNCH;
		difference = PC_DIFFERENCE_SETTINGS;
	}
	return difference;
}

/* ---- what a launch depends on, as text ---- */

/* With its length in front, so that no two lists of strings are written alike. */
static void put_string(const char *text, struct pc__buf *out)
{
	pc__buf_printf(out, " %zu:%s", strlen(text), text);
}

static void put_list(const struct pc_string_list *list, struct pc__buf *out)
{
	pc__buf_printf(out, " %zu", list->count);
	for (size_t i = 0; i < list->count; i++)
		put_string(list->items[i], out);
}

/* The members that pc__setting_equal compares, and as it does. */
static void put_value(const struct pc__setting *row, const void *object, struct pc__buf *out)
{
	const void *value = (const char *)object + row->offset;

	switch (row->kind) {
	case PC__SETTING_STRING:
	case PC__SETTING_WORD:
	case PC__SETTING_PATH:
		put_string(*(char *const *)value, out);
		break;
	case PC__SETTING_STRING_LIST:
	case PC__SETTING_PATH_LIST:
	case PC__SETTING_STRING_TABLE:
		put_list(value, out);
		break;
	case PC__SETTING_INTEGER:
	case PC__SETTING_SECONDS:
	case PC__SETTING_SIZE:
		pc__buf_printf(out, " %" PRIu64, *(const uint64_t *)value);
		break;
	case PC__SETTING_TTL:
		pc__buf_printf(out, " %" PRId64, *(const int64_t *)value);
		break;
	case PC__SETTING_BOOLEAN:
		pc__buf_puts(out, *(const bool *)value ? " true" : " false");
		break;
	}
}

void pc__settings_put_launch(const struct pc__setting *rows, size_t count, const void *object,
			     struct pc__buf *out)
{
	for (size_t i = 0; i < count; i++) {
		if (rows[i].effect != PC_EFFECT_WORKERS)
			continue;
		pc__buf_printf(out, "%s.%s", rows[i].section, rows[i].key);
		put_value(&rows[i], object, out);
		pc__buf_puts(out, "\n");
	}
}

/* ---- backends ---- */

enum pc_difference pc_backend_config_compare(const struct pc_backend_config *a,
					     const struct pc_backend_config *b)
{
	/* `readiness` follows from the path, which is empty for a callback only. */
	return pc__settings_compare(pc__backend_settings, pc__backend_setting_count, a, b);
}

void pc__backend_put_launch(const struct pc_backend_config *backend, struct pc__buf *out)
{
	pc__settings_put_launch(pc__backend_settings, pc__backend_setting_count, backend, out);
}

/* ---- configurations ---- */

struct teller {
	void (*visit)(void *ctx, const struct pc_config_change *change);
	void *ctx;
};

static void tell(const struct teller *teller, enum pc_change_kind kind,
		 enum pc_setting_effect effect, const char *before, const char *after)
{
	char name[160];

	snprintf(name, sizeof(name), "%s%s", before, after);
	teller->visit(teller->ctx, &(struct pc_config_change){ kind, effect, name });
}

static void diff_settings(const struct pc_config *before, const struct pc_config *after,
			  const struct teller *teller)
{
	for (size_t i = 0; i < pc__setting_count; i++) {
		const struct pc__setting *row = &pc__settings[i];
		char section[64];

		if (pc__setting_equal(row, before, after))
			continue;
		snprintf(section, sizeof(section), "%s.", row->section);
		tell(teller, PC_CHANGE_CHANGED, row->effect, section, row->key);
	}
}

/* 0: none of its own. */
static uint64_t budget_of(const struct pc_config *config, const char *device)
{
	for (size_t i = 0; i < config->memory_budget_count; i++) {
		if (strcmp(config->memory_budgets[i].device, device) == 0)
			return config->memory_budgets[i].bytes;
	}
	return 0;
}

/* A budget that is there or not is a change of the device's, which always has one. */
static void diff_budgets(const struct pc_config *before, const struct pc_config *after,
			 const struct teller *teller)
{
	for (size_t i = 0; i < after->memory_budget_count; i++) {
		const char *device = after->memory_budgets[i].device;

		if (after->memory_budgets[i].bytes != budget_of(before, device))
			tell(teller, PC_CHANGE_CHANGED, PC_EFFECT_RELOAD, "memory.", device);
	}
	for (size_t i = 0; i < before->memory_budget_count; i++) {
		const char *device = before->memory_budgets[i].device;

		if (budget_of(after, device) == 0)
			tell(teller, PC_CHANGE_CHANGED, PC_EFFECT_RELOAD, "memory.", device);
	}
}

static void diff_backends(const struct pc_config *before, const struct pc_config *after,
			  const struct teller *teller)
{
	for (size_t i = 0; i < after->backend_count; i++) {
		const struct pc_backend_config *new = &after->backends[i];
		const struct pc_backend_config *old = pc_config_backend(before, new->name);
		enum pc_difference difference = old ? pc_backend_config_compare(old, new)
						    : PC_DIFFERENCE_NONE;

		if (!old)
			tell(teller, PC_CHANGE_ADDED, PC_EFFECT_RELOAD, "backend ", new->name);
		else if (difference)
			tell(teller, PC_CHANGE_CHANGED,
			     difference == PC_DIFFERENCE_LAUNCH ? PC_EFFECT_WORKERS
								: PC_EFFECT_RELOAD,
			     "backend ", new->name);
	}
	for (size_t i = 0; i < before->backend_count; i++) {
		const char *name = before->backends[i].name;

		if (!pc_config_backend(after, name))
			tell(teller, PC_CHANGE_REMOVED, PC_EFFECT_RELOAD, "backend ", name);
	}
}

void pc_config_diff(const struct pc_config *before, const struct pc_config *after,
		    void (*visit)(void *ctx, const struct pc_config_change *change), void *ctx)
{
	const struct teller teller = { visit, ctx };

	diff_settings(before, after, &teller);
	diff_budgets(before, after, &teller);
	diff_backends(before, after, &teller);
}

int pc_config_keep(struct pc_config *pub, const struct pc_config *pub_in_force,
		   struct pc_error *err)
{
	const struct pc__config *in_force = (const struct pc__config *)pub_in_force;
	struct pc__config *config = (struct pc__config *)pub;

	for (size_t i = 0; i < pc__setting_count; i++) {
		const struct pc__setting *row = &pc__settings[i];
		const struct pc__source *source = &in_force->sources[i];
		char *name = NULL;
		int rc;

		if (row->effect != PC_EFFECT_RESTART || pc__setting_equal(row, pub, pub_in_force))
			continue;
		rc = pc__setting_copy(row, pub_in_force, pub, err);
		if (!rc && source->name)
			rc = copy_string(source->name, &name, err);
		if (rc)
			return rc;
		pc_free(config->sources[i].name);
		config->sources[i] = *source;
		config->sources[i].name = name;
	}
	return 0;
}
