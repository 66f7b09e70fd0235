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

/*
 * Tokens that one llama_decode takes of a prompt, and the grain in which a prompt is kept for the
 * next (prefix.c). Against 512, llama.cpp's default, 128 cost 0 to 4 % of the speed of reading and
 * 64 cost 9 to 15 % (four layers of 512 in F16, Q8_0 and Q4_K on one core, November 2026).
 */
#define BATCH_TOKENS 128

/* A text's tokens. */
struct tokens {
	llama_token *data; /* pc_free */
	uint32_t count;
};

enum call_state { CALL_NONE, CALL_RUNNING, CALL_CANCELLED };

struct slot {
	struct llama_context *text;   /* NULL in a model that is loaded to embed */
	struct llama_context *embed;  /* made by the first embed_text, in a model loaded for text */
	struct tokens read;	      /* the prompt that was read last */
	uint32_t kept_tokens;	      /* so many of them are in `text`, in whole batches */
	_Atomic enum call_state call; /* see cancel.c */
};

struct pc_engine_instance {
	struct llama_model *model;
	const struct llama_vocab *vocab;
	enum pc_capability capability;
	uint32_t context_tokens; /* per slot */
	uint32_t embed_tokens;	 /* the longest text that can be embedded */
	uint32_t embedding_dim;	 /* 0: cannot embed */
	uint32_t threads;	 /* per slot */
	bool keeps_prefix;	 /* see prefix.c */
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

/* The bytes of the buffers that llama.cpp said to have made on this thread since the last call. */
uint64_t take_buffer_bytes(void);

/* ---- abi.c ---- */

/*
 * A host's structure as ours: what it has and we know is copied, what it has not stays at its
 * default. Refuses one that is shorter than the ABI's first (INVALID_ARGUMENT).
 */
int take_spec(const struct pc_engine_spec *from, struct pc_engine_spec *to, struct pc_error *err);
int take_request(const struct pc_text_request *from, struct pc_text_request *to,
		 struct pc_error *err);
int take_sink(const struct pc_text_sink *from, struct pc_text_sink *to, struct pc_error *err);
int check_result(const struct pc_text_result *result, struct pc_error *err);
/* Fills the members that fit in to->size, which stays. */
void give_result(const struct pc_text_result *from, struct pc_text_result *to);
void give_description(const struct pc_engine_description *from, struct pc_engine_description *to);
bool host_is_complete(const struct pc_engine_host *host);

/* ---- cancel.c ---- */

void cancel(struct pc_engine_instance *instance, uint32_t slot);
void call_begin(struct slot *slot);
void call_end(struct slot *slot);
bool call_is_cancelled(const struct slot *slot);

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

/*
 * The text of a request: its prompt, or its messages through the model's chat template. *ret_text
 * is the caller's to pc_free. INVALID_REQUEST, OUT_OF_MEMORY.
 */
int render(const struct pc_engine_instance *instance, const struct pc_text_request *request,
	   char **ret_text, struct pc_error *err);

/* What a text is for: it names the text in errors, and says how much of the context is its. */
struct text_use {
	const char *what;	 /* "the prompt" */
	uint32_t context_tokens; /* all of them */
	uint32_t reserve;	 /* so many are not for the text */
	bool markup;		 /* names of special tokens inside the text mean these tokens */
};

struct text_use prompt_use(const struct pc_engine_instance *instance);

/*
 * Tokens of `text`, with the special ones that the model wants around it. Refuses none
 * (INVALID_REQUEST) and more than there is room for (CONTEXT_EXCEEDED).
 */
int tokenize(const struct pc_engine_instance *instance, const char *text,
	     const struct text_use *use, struct tokens *ret_tokens, struct pc_error *err);

/* ---- prefix.c ---- */

/*
 * Prepares the slot's context for a prompt: what it can keep stays, all else goes. The tokens are
 * the slot's afterwards. Returns how many need not be read again.
 */
uint32_t prefix_keep(const struct pc_engine_instance *instance, struct slot *slot,
		     struct tokens *prompt);
/* So many tokens of the prompt, from its start, have been read since. */
void prefix_extend(struct slot *slot, uint32_t tokens);
void prefix_fini(struct slot *slot);

/* ---- sample.c ---- */

/* How the next token is chosen; lives for one answer. */
struct sampler {
	const struct pc_text_request *request;
	const struct llama_vocab *vocab;
	size_t vocab_size;
	struct llama_sampler *chain;   /* from the cut of the candidates to the choice */
	struct llama_sampler *grammar; /* NULL: none */
	llama_token_data *candidates;  /* vocab_size */
	uint32_t *said;		       /* how often each token is in the answer; NULL: of no use */
	uint32_t *seen;		       /* how often it is in the window; NULL: of no use */
	llama_token *window;	       /* a ring of the last tokens */
	size_t window_room, window_count, window_at;
};

/* The ranges of a request's numbers, and its logit_biases. INVALID_REQUEST names the member. */
int check_sampling(const struct pc_engine_instance *instance, const struct pc_text_request *request,
		   struct pc_error *err);
/* The request must outlive the sampler. INVALID_REQUEST (the grammar), OUT_OF_MEMORY. */
int sampler_init(struct sampler *sampler, const struct pc_engine_instance *instance,
		 const struct pc_text_request *request, const struct tokens *prompt,
		 struct pc_error *err);
/*
 * Chooses from the scores of the last token that the context computed, and remembers the choice.
 * MODEL_ERROR (scores that are no numbers), INVALID_REQUEST (the grammar leaves nothing).
 */
int sampler_next(struct sampler *sampler, struct llama_context *context, llama_token *ret_token,
		 struct pc_error *err);
void sampler_fini(struct sampler *sampler);

/* ---- grammar.c ---- */

/* NULL in *ret_grammar when the request has none. INVALID_REQUEST says what is wrong with it. */
int make_grammar(const struct llama_vocab *vocab, const char *text,
		 struct llama_sampler **ret_grammar, struct pc_error *err);

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
