/* SPDX-License-Identifier: MIT */
/*
 * embed.c - texts to vectors of length 1. Runs on the caller's thread, touches its own slot only.
 * One text at a time: each is pooled whole, and a batch of one gives the same bytes whatever its
 * neighbours are.
 */
#include "llama_engine.h"

#include <math.h>
#include <string.h>

static int normalise(const float *from, float *to, uint32_t dim, struct pc_error *err)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += (double)from[i] * from[i];
	if (!(sum > 0) || !isfinite(sum))
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "the model gives a vector without a direction");
	double scale = 1 / sqrt(sum);

	for (uint32_t i = 0; i < dim; i++)
		to[i] = (float)(from[i] * scale);
	return 0;
}

static int embed_tokens(struct pc_engine_instance *instance, struct llama_context *context,
			struct tokens *tokens, float *vector, struct pc_error *err)
{
	llama_memory_t memory = llama_get_memory(context);

	if (memory) /* encoders have none */
		llama_memory_clear(memory, false);
	forget_complaint();
	int32_t rc = llama_decode(context,
				  llama_batch_get_one(tokens->data, (int32_t)tokens->count));
	const float *pooled = rc == 0 ? llama_get_embeddings_seq(context, 0) : NULL;

	if (!pooled)
		return pc_error_set(err, PC_E_MODEL_ERROR, "llama.cpp could not embed (%d)%s%s", rc,
				    *last_complaint() ? ": " : "", last_complaint());
	return normalise(pooled, vector, instance->embedding_dim, err);
}

int embed_text(struct pc_engine_instance *instance, uint32_t slot, const char *const *texts,
	       size_t text_count, float *vectors, uint32_t *ret_tokens, struct pc_error *err)
{
	uint32_t total = 0;

	if (slot >= instance->slot_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "slot %u of %u", slot,
				    instance->slot_count);
	if (instance->embedding_dim == 0)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the model ranks texts and has no embeddings");
	int rc = need_embed_context(instance, &instance->slots[slot], err);

	for (size_t i = 0; !rc && i < text_count; i++) {
		struct tokens tokens = { .data = NULL };

		rc = check_utf8(texts[i], "the text", err);
		if (!rc)
			rc = tokenize(instance, texts[i], false, instance->embed_tokens, 0, &tokens,
				      err);
		if (!rc)
			rc = embed_tokens(instance, instance->slots[slot].embed, &tokens,
					  vectors + i * instance->embedding_dim, err);
		pc_free(tokens.data);
		total += tokens.count;
		if (rc) {
			pc_error_prefix(err, "text %zu of %zu", i + 1, text_count);
			pc_error_detail(err, "text_index", "%zu", i);
		}
	}
	if (rc)
		return rc;
	*ret_tokens = total;
	return 0;
}
