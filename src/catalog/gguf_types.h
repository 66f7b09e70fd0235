/* SPDX-License-Identifier: MIT */
/*
 * gguf_types.h - the tensor types of ggml and the file types of llama.cpp. Inside the catalog only.
 */
#ifndef CATALOG_GGUF_TYPES_H
#define CATALOG_GGUF_TYPES_H

#include <stdint.h>

/* A tensor is stored in blocks of so many elements. */
struct pc__gguf_type {
	const char *name;
	uint32_t block_elements;
	uint32_t block_bytes;
};

/* Numbers of types are below this. */
#define PC__GGUF_TYPES 43

/* NULL: not known, or removed from the format. */
const struct pc__gguf_type *pc__gguf_type(uint32_t number);
const struct pc__gguf_type *pc__gguf_type_of_name(const char *name);
/* "Q4_K_M"; "" when it is not known. */
const char *pc__gguf_file_type(uint64_t number);

#endif
