/* SPDX-License-Identifier: MIT */
/*
 * string_list.c - lists of strings that end in NULL, as argv does. Their strings are the list's
 * own. It keeps nothing itself; a list belongs to one thread at a time.
 */
#include "config/string_list.h"

int pc__list_push(struct pc_string_list *list, char *item, struct pc_error *err)
{
	char **items;

	if (!item)
		return pc_error_oom(err);
	items = pc_realloc(list->items, (list->count + 2) * sizeof(*items));
	if (!items) {
		pc_free(item);
		return pc_error_oom(err);
	}
	items[list->count++] = item;
	items[list->count] = NULL;
	list->items = items;
	return 0;
}

void pc_string_list_free(struct pc_string_list *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->count; i++)
		pc_free(list->items[i]);
	pc_free(list->items);
	*list = (struct pc_string_list){ .count = 0 };
}
