/* SPDX-License-Identifier: MIT */
/*
 * embed.c - texts to vectors of length 1. Runs on the caller's thread, touches its own slot only.
 *
 * One text at a time, so that a text has the same vector whatever its neighbours are. 32 texts in
 * one llama_decode differed from this in the last bits (5e-7 where members reach 3.6), and on a
 * processor gained little: 0.9 to 1.1 times as fast with the demonstration model, 1.0 to 1.3 times
 * with four layers of 512 in F16, Q8_0 and Q4_K, and 1.1 to 1.9 times only for texts of 8 tokens
 * (one core, November 2026). Its buffers would grow with the texts besides.
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

/* llama.cpp asks this between the steps of its arithmetic. */
static bool on_abort(void *ctx)
{
	return call_is_cancelled(ctx);
}

static int refuse_cancelled(struct pc_error *err)
{
	return pc_error_set(err, PC_E_CANCELLED, "embedding was cancelled");
}

static int embed_tokens(const struct pc_engine_instance *instance, struct slot *slot,
			struct tokens *tokens, float *vector, struct pc_error *err)
{
	llama_memory_t memory = llama_get_memory(slot->embed);

	if (memory) /* encoders have none */
		llama_memory_clear(memory, false);
	forget_complaint();
	llama_set_abort_callback(slot->embed, on_abort, slot);
	int32_t rc = llama_decode(slot->embed,
				  llama_batch_get_one(tokens->data, (int32_t)tokens->count));

	llama_set_abort_callback(slot->embed, NULL, NULL);
	if (call_is_cancelled(slot))
		return refuse_cancelled(err);
	const float *pooled = rc == 0 ? llama_get_embeddings_seq(slot->embed, 0) : NULL;

	if (!pooled)
		return pc_error_set(err, PC_E_MODEL_ERROR, "llama.cpp could not embed (%d)%s%s", rc,
				    *last_complaint() ? ": " : "", last_complaint());
	return normalise(pooled, vector, instance->embedding_dim, err);
}

static int embed_one(const struct pc_engine_instance *instance, struct slot *slot, const char *text,
		     float *vector, uint32_t *tokens_sum, struct pc_error *err)
{
	const struct text_use use = { .what = "the text",
				      .context_tokens = instance->embed_tokens };
	struct tokens tokens = { .data = NULL };
	int rc = check_utf8(text, "the text", err);

	if (!rc)
		rc = tokenize(instance, text, &use, &tokens, err);
	if (!rc)
		rc = embed_tokens(instance, slot, &tokens, vector, err);
	pc_free(tokens.data);
	*tokens_sum += tokens.count;
	return rc;
}

static int embed_in(struct pc_engine_instance *instance, struct slot *slot,
		    const char *const *texts, size_t text_count, float *vectors,
		    uint32_t *ret_tokens, struct pc_error *err)
{
	uint32_t tokens_sum = 0;
	int rc = need_embed_context(instance, slot, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < text_count; i++) {
		rc = call_is_cancelled(slot)
			     ? refuse_cancelled(err)
			     : embed_one(instance, slot, texts[i],
					 vectors + i * instance->embedding_dim, &tokens_sum, err);
		if (rc) {
			pc_error_prefix(err, "text %zu of %zu", i + 1, text_count);
			pc_error_detail(err, "text_index", "%zu", i);
			return rc;
		}
	}
	*ret_tokens = tokens_sum;
	return 0;
}

int embed_text(struct pc_engine_instance *instance, uint32_t slot, const char *const *texts,
	       size_t text_count, float *vectors, uint32_t *ret_tokens, struct pc_error *err)
{
	if (slot >= instance->slot_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "slot %u of %u", slot,
				    instance->slot_count);
	if (!ret_tokens || (text_count > 0 && (!texts || !vectors)))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the texts, or the room for what comes of them, is missing");
	if (instance->embedding_dim == 0)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the model ranks texts and has no embeddings");
	if (text_count == 0) {
		*ret_tokens = 0;
		return 0;
	}
	call_begin(&instance->slots[slot]);
	int rc = embed_in(instance, &instance->slots[slot], texts, text_count, vectors, ret_tokens,
			  err);

	call_end(&instance->slots[slot]);
	return rc;
}
