/* SPDX-License-Identifier: MIT */
/*
 * gguf_part.h - one file of a model, for those who put a split model together. Inside the library
 * only.
 */
#ifndef CATALOG_GGUF_PART_H
#define CATALOG_GGUF_PART_H

#include <poolcore/gguf.h>

#include "catalog/gguf_types.h"

/* As pc_gguf_read; also how many of the parameters are of each type. */
int pc__gguf_read_part(int fd, struct pc_gguf_info *ret_info,
		       uint64_t ret_parameters_of[PC__GGUF_TYPES], struct pc_error *err);
/* Says of which type most of the parameters are. */
void pc__gguf_weigh(struct pc_gguf_info *info, const uint64_t parameters_of[PC__GGUF_TYPES]);

#endif
