/* SPDX-License-Identifier: MIT */
/*
 * embed.h - one embedding of many inputs, whatever they are: pieces, vectors, the two forms of
 * calling. What an input is and how an engine is asked is in a table of the caller's. Inside the
 * library only.
 */
#ifndef CAPABILITY_EMBED_H
#define CAPABILITY_EMBED_H

#include "capability/call.h"

/* What differs between texts and images. */
struct pc__embedding_kind {
	size_t piece; /* inputs that the engine gets at a time */
	/* Asks the engine for `count` rows from input `first` on; pc__call_end judges what it
	 * returns. */
	int (*embed)(const struct pc_run *run, const void *inputs, size_t first, size_t count,
		     float *rows, uint32_t *ret_tokens, struct pc_error *said);
	const char *index_detail; /* of the engine's errors: which input of the piece it was */
	const char *function;	  /* of the engine; for the sentence when it is missing */
	bool (*has_function)(const struct pc_engine *engine);
	void (*release)(void *owned);
};

struct pc__embedding {
	const struct pc__embedding_kind *kind;
	struct pc_model *model;
	const void *inputs;
	size_t count;
	void *owned; /* goes to kind->release; may be NULL */
};

/* Both take `owned` over, also when they fail. */
int pc__embedding_call(const struct pc__embedding *embedding,
		       const struct pc_request_options *options, struct pc_vectors *ret_vectors,
		       struct pc_error *err);
int pc__embedding_submit(const struct pc__embedding *embedding,
			 const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			 pc_done_fn done, void *ctx, struct pc_error *err);

#endif
