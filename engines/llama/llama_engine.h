/* SPDX-License-Identifier: MIT */
/*
 * llama_engine.h - what the files of the llama plug-in share. Nothing of it leaves the plug-in.
 *
 * One instance is one llama.cpp model with a context per slot. A context belongs to the one call
 * that the host has running on its slot, so nothing here takes a lock.
 */
#ifndef LLAMA_ENGINE_H
#define LLAMA_ENGINE_H

#include <poolcore/engine.h>

#include <stdatomic.h>

#include <llama.h>

/* Tokens that one llama_decode takes: the step between two questions whether to stop. llama.cpp's
 * own default for its physical batch. */
#define BATCH_TOKENS 512

struct slot {
	struct llama_context *text;  /* NULL in a model that is loaded to embed */
	struct llama_context *embed; /* made by the first embed_text, in a model loaded for text */
};

struct pc_engine_instance {
	struct llama_model *model;
	const struct llama_vocab *vocab;
	enum pc_capability capability;
	uint32_t context_tokens; /* per slot */
	uint32_t embed_tokens;	 /* the longest text that can be embedded */
	uint32_t embedding_dim;	 /* 0: cannot embed */
	uint32_t threads;	 /* per slot */
	enum llama_pooling_type pooling;
	size_t text_max_bytes;	       /* longer texts cannot fit the context, whatever they say */
	_Atomic uint64_t memory_bytes; /* relaxed: a figure for people and ledgers */
	uint32_t slot_count;
	struct slot slots[];
};

/* ---- log.c ---- */

/* Sends llama.cpp's lines to the host. Once, before anything else of llama.cpp is called. */
void route_log(const struct pc_engine_host *host);

/* Says something itself, the same way. */
void say(enum pc_log_level level, const char *fmt, ...) PC_PRINTF(2, 3);

/*
 * The calling thread's last error line from llama.cpp since forget_complaint; "" when there is
 * none. This is the only place where llama.cpp says why it returned NULL.
 */
const char *last_complaint(void);
void forget_complaint(void);

/* ---- load.c ---- */

int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
	 struct pc_error *err);
void unload(struct pc_engine_instance *instance);
void describe(const struct pc_engine_instance *instance, struct pc_engine_description *description);

/* Makes the embedding context of a slot if it has none yet. */
int need_embed_context(struct pc_engine_instance *instance, struct slot *slot,
		       struct pc_error *err);

/* ---- utf8.c ---- */

enum utf8_kind { UTF8_WHOLE, UTF8_UNFINISHED, UTF8_INVALID };

/*
 * What `length` (> 0) bytes begin with: a whole character of *ret_length bytes, the beginning of
 * one (*ret_length is `length`), or *ret_length bytes that can be part of none (Unicode 15, table
 * 3-7 and "maximal subparts" of section 3.9).
 */
enum utf8_kind utf8_next(const char *text, size_t length, size_t *ret_length);

/* Refuses a NULL and text that is not UTF-8 (INVALID_REQUEST); `what` names it in the sentence. */
int check_utf8(const char *text, const char *what, struct pc_error *err);

/* ---- prompt.c ---- */

/* A text's tokens. */
struct tokens {
	llama_token *data; /* pc_free */
	uint32_t count;
};

/*
 * The text of a request: its prompt, or its messages through the model's chat template. *ret_text
 * is the caller's to pc_free. INVALID_REQUEST, OUT_OF_MEMORY.
 */
int render(const struct pc_engine_instance *instance, const struct pc_text_request *request,
	   char **ret_text, struct pc_error *err);

/*
 * Tokens of `text`, with the special ones that the model wants around it; `markup`: names of
 * special tokens inside the text mean these tokens. Refuses none (INVALID_REQUEST) and more than
 * `limit` (CONTEXT_EXCEEDED, which names the whole context as `limit` + `reserve`).
 */
int tokenize(const struct pc_engine_instance *instance, const char *text, bool markup,
	     uint32_t limit, uint32_t reserve, struct tokens *ret_tokens, struct pc_error *err);

/* ---- answer.c ---- */

/*
 * The way from a model's bytes to the host's sink: passes whole characters on, replaces what is not
 * UTF-8 by U+FFFD, and holds back what may turn out to be the beginning of a stop string.
 */
struct answer {
	const struct pc_text_sink *sink;
	const char *const *stops;
	size_t stop_count;
	char *held; /* clean text that was not passed on yet */
	size_t held_length, held_room;
	char partial[4]; /* the beginning of a character */
	size_t partial_length;
	bool stopped; /* a stop string was met; the answer is complete */
};

/* Adds what one token says. OUT_OF_MEMORY. */
int answer_add(struct answer *answer, const char *bytes, size_t length, struct pc_error *err);
/* Passes on what was held back, unless a stop string was met. OUT_OF_MEMORY. */
int answer_end(struct answer *answer, struct pc_error *err);
void answer_fini(struct answer *answer);

/* ---- generate.c, embed.c ---- */

int generate(struct pc_engine_instance *instance, uint32_t slot,
	     const struct pc_text_request *request, const struct pc_text_sink *sink,
	     struct pc_text_result *ret_result, struct pc_error *err);
int embed_text(struct pc_engine_instance *instance, uint32_t slot, const char *const *texts,
	       size_t text_count, float *vectors, uint32_t *ret_tokens, struct pc_error *err);

#endif
