/* SPDX-License-Identifier: MIT */
/*
 * string_list.h - filling struct pc_string_list; pc_string_list_free is public. Inside the library
 * only.
 */
#ifndef CONFIG_STRING_LIST_H
#define CONFIG_STRING_LIST_H

#include <poolcore/config.h>

/*
 * Takes ownership of `item`, also when it fails; NULL stands for a failed allocation, so that the
 * result of pc_strdup can be handed in as it is. OUT_OF_MEMORY.
 */
int pc__list_push(struct pc_string_list *list, char *item, struct pc_error *err);

#endif
