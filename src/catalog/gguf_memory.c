/* SPDX-License-Identifier: MIT */
/*
 * gguf_memory.c - how much memory a worker of a model would take, from what its header says. An
 * estimate for people: what is reserved is what the catalog says, trued up to what was measured.
 * Any thread.
 */
#include <poolcore/gguf.h>
#include <poolcore/text.h>

#include <inttypes.h>
#include <stdio.h>

#include "catalog/gguf_types.h"

/* llama.cpp makes the cache a multiple of this long. */
#define CACHE_STEP 256
/* Tokens computed at once: llama.cpp's default (--ubatch-size) in one context for all slots, or
 * pool-worker's 128 in each slot's own context. */
#define BATCH_TOKENS 512
#define BATCH_TOKENS_OF_SLOT 128
/* Rows of the embedding's length that are alive at once in llama.cpp's graph. A guess; change
 * freely. */
#define ACTIVATIONS 4

/* Products and sums that stay at the largest number, as no memory is that large. */
static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* A row of so many elements, in whole blocks. */
static uint64_t row_bytes(const struct pc__gguf_type *type, uint32_t elements)
{
	uint64_t blocks = ((uint64_t)elements + type->block_elements - 1) / type->block_elements;

	return blocks * type->block_bytes;
}

/* Keys and values of one token, all layers together. */
static uint64_t token_bytes(const struct pc_gguf_info *info, const struct pc__gguf_type *type)
{
	return times(info->kv_heads_total,
		     row_bytes(type, info->key_length) + row_bytes(type, info->value_length));
}

/* A row of the graph: logits, activations and the scores of every head. */
static uint64_t compute_bytes(const struct pc_gguf_info *info, uint64_t context, uint64_t slots,
			      bool flash_attention)
{
	uint64_t tokens = slots * BATCH_TOKENS_OF_SLOT;
	uint64_t row = (uint64_t)info->vocabulary + (uint64_t)ACTIVATIONS * info->embedding_length +
		       (uint64_t)2 * info->feed_forward_length;

	if (!flash_attention)
		row = plus(row, times(info->heads, context));
	return times(times(tokens < BATCH_TOKENS ? BATCH_TOKENS : tokens, row), sizeof(float));
}

static void explain(const struct pc_gguf_info *info, const struct pc_gguf_use *use,
		    const struct pc__gguf_type *type, uint64_t context, uint64_t slots,
		    struct pc_gguf_memory *memory)
{
	char weights[32], cache[32], compute[32];

	snprintf(memory->sentence, sizeof(memory->sentence),
		 "%s of weights (all %" PRIu64 " tensors) + %s of keys and values (%" PRIu64
		 " slot%s of %" PRIu64 " tokens, %" PRIu64
		 " heads over %u layers, %u + %u elements "
		 "of %s each) + about %s to compute in (a guess: logits, activations%s)%s",
		 pc_format_size(memory->weights_bytes, weights), info->tensor_count,
		 pc_format_size(memory->cache_bytes, cache), slots, slots == 1 ? "" : "s", context,
		 info->kv_heads_total, info->layers, info->key_length, info->value_length,
		 type->name, pc_format_size(memory->compute_bytes, compute),
		 use->flash_attention ? "" : " and attention scores",
		 info->recurrent ? "; its recurrent state is not counted" : "");
}

int pc_gguf_estimate(const struct pc_gguf_info *info, const struct pc_gguf_use *use,
		     struct pc_gguf_memory *ret_memory, struct pc_error *err)
{
	const char *cache_type = use && use->cache_type ? use->cache_type : "f16";
	const struct pc__gguf_type *type = pc__gguf_type_of_name(cache_type);
	struct pc_gguf_memory memory = { .weights_bytes = 0 };
	uint64_t slots, context;

	if (!info || !use || !ret_memory)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "what the file says, how it is used and a place for the "
				    "estimate are needed");
	if (!type)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "there is no type \"%.40s\" for keys and values; \"f16\" and "
				    "\"q8_0\" are usual",
				    cache_type);
	slots = use->slots ? use->slots : 1;
	context = use->context_tokens ? use->context_tokens : info->context_tokens;
	context = (context + CACHE_STEP - 1) / CACHE_STEP * CACHE_STEP;
	memory.weights_bytes = info->tensor_bytes;
	memory.cache_bytes = times(times(context, slots), token_bytes(info, type));
	memory.compute_bytes = compute_bytes(info, context, slots, use->flash_attention);
	memory.total_bytes = plus(plus(memory.weights_bytes, memory.cache_bytes),
				  memory.compute_bytes);
	if (memory.total_bytes == UINT64_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a context of %" PRIu64 " tokens in %" PRIu64
				    " slot%s takes more memory than can be addressed",
				    context, slots, slots == 1 ? "" : "s");
	explain(info, use, type, context, slots, &memory);
	*ret_memory = memory;
	return 0;
}
