/* SPDX-License-Identifier: MIT */
/*
 * embed_text.c - embeds texts: checks them, puts the task's prefix in front, and asks the engine.
 */
#include "capability/embed.h"

#include <string.h>

/* Texts between two questions whether to stop: a fraction of a second on the slowest machine that
 * anybody embeds with, and enough for an engine to fill its batch. A guess; change freely. */
#define TEXTS_PER_PIECE 32

static int ask_engine(const struct pc_run *run, const void *inputs, size_t first, size_t count,
		      float *rows, uint32_t *ret_tokens, struct pc_error *said)
{
	const char *const *texts = inputs;

	return run->lease.engine->embed_text(run->lease.instance, run->lease.slot, texts + first,
					     count, rows, ret_tokens, said);
}

static bool has_function(const struct pc_engine *engine)
{
	return PC_ENGINE_HAS(engine, embed_text);
}

static const struct pc__embedding_kind kind = {
	.piece = TEXTS_PER_PIECE,
	.embed = ask_engine,
	.index_detail = "text_index",
	.function = "embed_text",
	.has_function = has_function,
	.release = pc_free,
};

static int check_texts(const struct pc_model *model, const struct pc_text_batch *batch,
		       size_t *ret_bytes, struct pc_error *err)
{
	struct pc__text_fault fault;
	size_t length, bytes = 0;
	int rc = pc__call_need(model, batch->count == 0 || batch->texts, "text", err);

	if (rc)
		return rc;
	for (size_t i = 0; i < batch->count; i++) {
		if (pc__text_is_good(batch->texts[i], PC_TEXT_MAX_BYTES, &length, &fault))
			bytes += length;
		else if (batch->count == 1)
			return pc__call_bad_text(model, "the text", &fault, err);
		else
			return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT, "text %zu %s", i,
					       fault.what);
	}
	*ret_bytes = bytes;
	return 0;
}

/* The texts with the prefix in front of each, in one block: the pointers, then what they point to.
 * `bytes` is the sum of their lengths. */
static char **pack(const struct pc_text_batch *batch, size_t bytes, const char *prefix)
{
	size_t each, size;

	if (__builtin_add_overflow(strlen(prefix), sizeof(char *) + 1, &each) ||
	    __builtin_mul_overflow(batch->count, each, &size) ||
	    __builtin_add_overflow(size, bytes, &size))
		return NULL;

	char **texts = pc_malloc(size);
	char *at = texts ? (char *)(texts + batch->count) : NULL;

	for (size_t i = 0; texts && i < batch->count; i++) {
		texts[i] = at;
		at = stpcpy(stpcpy(at, prefix), batch->texts[i]) + 1;
	}
	return texts;
}

static int prepare(struct pc_model *model, const struct pc_text_batch *batch, bool copy,
		   struct pc__embedding *ret_embedding, struct pc_error *err)
{
	const char *prefix = "";
	size_t bytes = 0;
	int rc = pc__call_check(model, PC_CAPABILITY_TEXT_EMBEDDING, err);

	if (!rc)
		rc = pc__call_need(model, batch != NULL, "batch", err);
	if (!rc)
		rc = check_texts(model, batch, &bytes, err);
	if (!rc && batch->task)
		rc = pc_model_task_prefix(model, batch->task, &prefix, err);
	if (rc)
		return rc;
	*ret_embedding = (struct pc__embedding){
		.kind = &kind, .model = model, .inputs = batch->texts, .count = batch->count
	};
	if (copy || *prefix) {
		ret_embedding->owned = pack(batch, bytes, prefix);
		ret_embedding->inputs = ret_embedding->owned;
		return ret_embedding->owned ? 0 : pc__call_oom(model, err);
	}
	return 0;
}

int pc_embed_texts(struct pc_model *model, const struct pc_text_batch *batch,
		   const struct pc_request_options *options, struct pc_vectors *ret_vectors,
		   struct pc_error *err)
{
	struct pc__embedding embedding;
	int rc = prepare(model, batch, false, &embedding, err);

	return rc ? rc : pc__embedding_call(&embedding, options, ret_vectors, err);
}

int pc_embed_text(struct pc_model *model, const char *text, const char *task,
		  const struct pc_request_options *options, struct pc_vectors *ret_vectors,
		  struct pc_error *err)
{
	struct pc_text_batch batch = { .texts = &text, .count = 1, .task = task };

	return pc_embed_texts(model, &batch, options, ret_vectors, err);
}

int pc_embed_texts_async(struct pc_model *model, const struct pc_text_batch *batch,
			 const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			 pc_done_fn done, void *ctx, struct pc_error *err)
{
	struct pc__embedding embedding;
	int rc = prepare(model, batch, true, &embedding, err);

	return rc ? rc : pc__embedding_submit(&embedding, options, ret_vectors, done, ctx, err);
}
