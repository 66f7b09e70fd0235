/* SPDX-License-Identifier: MIT */
/*
 * prefix.c - the beginning of a prompt that the slot has read before is not read again. It changes
 * when an answer comes, never what it says.
 *
 * The same token behind the same tokens does not have the same keys and values to the last bit:
 * matrix products of one row, of a few and of many take different ways through the arithmetic, so
 * they depend on the batch that the token was computed in. (Measured: the same 1,900 tokens cut
 * into other batches move logits by up to 0.1.) So a prompt is always cut at multiples of
 * BATCH_TOKENS, and what is kept is whole batches of a prompt: the tail that is left to compute is
 * cut as it would be in a fresh context, on top of the very bits that it would have computed. An
 * answer's own tokens, computed one by one, are never kept; as part of the next prompt they are
 * read again.
 *
 * The last batch of a prompt is always computed, because the answer begins from its scores.
 */
#include "llama_engine.h"

#include <string.h>

/* How many of the prompt's tokens are in the context, in whole batches and without the last. */
static uint32_t count_shared(const struct slot *slot, const struct tokens *prompt)
{
	uint32_t most = slot->kept_tokens < prompt->count - 1 ? slot->kept_tokens
							      : prompt->count - 1;
	uint32_t shared = 0;

	while (shared < most && slot->read.data[shared] == prompt->data[shared])
		shared++;
	return shared / BATCH_TOKENS * BATCH_TOKENS;
}

uint32_t prefix_keep(const struct pc_engine_instance *instance, struct slot *slot,
		     struct tokens *prompt)
{
	llama_memory_t memory = llama_get_memory(slot->text);
	uint32_t shared = instance->keeps_prefix && memory ? count_shared(slot, prompt) : 0;

	if (shared > 0 && !llama_memory_seq_rm(memory, 0, (llama_pos)shared, -1))
		shared = 0;
	if (shared == 0 && memory) /* models that write all words at once have none */
		llama_memory_clear(memory, false);
	pc_free(slot->read.data);
	slot->read = *prompt;
	slot->kept_tokens = shared;
	*prompt = (struct tokens){ .data = NULL };
	return shared;
}

void prefix_extend(struct slot *slot, uint32_t tokens)
{
	slot->kept_tokens = tokens / BATCH_TOKENS * BATCH_TOKENS;
}

void prefix_fini(struct slot *slot)
{
	pc_free(slot->read.data);
}
