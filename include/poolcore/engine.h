/* SPDX-License-Identifier: MIT */
/*
 * engine.h - the ABI between a host (the in-process pool, pool-worker) and an engine plug-in: a
 * shared object that can load models of some format and run them.
 *
 * A plug-in exports one symbol, `pc_engine_entry`, that returns a static `struct pc_engine`. Every
 * structure starts with its own size: members are only ever appended, and a member past the other
 * side's size is treated as absent. No structure ends in padding: a member appended there would lie
 * inside the size of a host that never wrote it. PC_ENGINE_ABI changes only when that is not
 * enough.
 *
 * Life of an instance: load -> describe -> any number of calls -> unload. Each instance has
 * `slots` independent slots numbered from 0. The host makes at most one call per slot at a time;
 * calls on different slots may come from different threads at once. load and unload overlap with no
 * other call on the instance. A plug-in flagged THREAD_BOUND gets every call of an instance,
 * load and unload included, on one and the same thread.
 *
 * No function may end the thread that it was called on. The pool's own threads survive it, as a
 * broken worker; a thread of the program that has leased a slot is gone, and its slot with it.
 *
 * Errors are codes of poolcore/error.h with a sentence in `err` (never NULL here).
 */
#ifndef POOLCORE_ENGINE_H
#define POOLCORE_ENGINE_H

#include <poolcore/error.h>
#include <poolcore/log.h>
#include <poolcore/types.h>

PC_BEGIN_DECLS

#define PC_ENGINE_ABI 1
#define PC_ENGINE_ENTRY_SYMBOL "pc_engine_entry"

struct pc_engine_instance; /* the plug-in's own */

/* What the host lends to the plug-in for as long as it is loaded. */
struct pc_engine_host {
	uint32_t size;
	/* Where the engine's log lines go; any thread; one line without its newline. */
	void (*log)(enum pc_log_level level, const char *subject, const char *line);
};

/* What an engine takes of a longer context of the model's own unless it is asked for more: all of
 * it may take more memory than the model itself. A guess; change freely. */
#define PC_ENGINE_CONTEXT_TOKENS 4096

/* What to load. The strings are valid during load() only. */
struct pc_engine_spec {
	uint32_t size;
	enum pc_capability capability;
	const char *model_path;	 /* absolute or relative to the working directory; a file, or a
				   folder for engines whose models are several files */
	uint32_t slots;		 /* 1..64 */
	uint32_t context_tokens; /* per slot; 0: the model's own, up to the above */
	uint32_t threads;	 /* compute threads per slot; 0: the engine decides */
	/* Called with 0..1 while loading; false asks the engine to give up (CANCELLED). May be
	 * NULL. */
	bool (*progress)(void *ctx, float fraction);
	void *progress_ctx;
};

struct pc_engine_description {
	uint32_t size;
	uint32_t context_tokens; /* per slot */
	uint32_t embedding_dim;	 /* floats per vector, 0 when it cannot embed */
	uint64_t memory_bytes; /* what the engine knows it allocated or mapped for this instance */
	uint64_t parameter_count;
	char text[128]; /* "llama 1.1B Q4_K - Medium", for people */
};

/* ---- text to text ---- */

struct pc_chat_message {
	const char *role; /* "system", "user", "assistant" */
	const char *content;
};

#define PC_TEXT_MAX_STOPS 16
#define PC_TEXT_MAX_BIASES 1024
#define PC_TEXT_GRAMMAR_MAX_BYTES (16u << 10)

/* Added to one token's score before anything else looks at it. */
struct pc_logit_bias {
	int32_t token; /* one of the model's vocabulary */
	float bias;    /* -100 (as good as never) to 100 (as good as always) */
};

/* Exactly one of prompt and messages is set. All text is UTF-8. */
struct pc_text_request {
	uint32_t size;
	const char *prompt;
	const struct pc_chat_message *messages; /* formatted with the model's own chat template */
	size_t message_count;
	uint32_t max_tokens; /* 0: until the model stops or the context is full */
	float temperature;   /* 0: greedy; OpenAI's range 0..2 */
	float top_p;	     /* (0, 1]; 1 switches it off */
	uint32_t seed;	     /* same seed, same request, same slot count: same answer */
	const char *const
		*stops; /* the answer ends before the first of these; up to PC_TEXT_MAX_STOPS */
	size_t stop_count;

	/* Appended later. Zero is "not asked for" in all of them, as if they were absent. */
	uint32_t top_k; /* of so many likeliest tokens; up to INT32_MAX; 0: of all */
	float min_p;	/* 0..1: none less likely than this share of the likeliest; 0: off */
	/* 0.1..10: scores of the last repeat_window tokens, of prompt and answer, are divided by it
	 * (multiplied where they are negative); 0 and 1: off. */
	float repeat_penalty;
	uint32_t repeat_window; /* tokens; 0: 64; more than the context: all of it */
	/* OpenAI's, -2..2, taken off the score of a token of the answer so far: once, and for each
	 * time it was said. */
	float presence_penalty;
	float frequency_penalty;
	const struct pc_logit_bias *logit_biases; /* the last one of a token counts */
	size_t logit_bias_count;		  /* up to PC_TEXT_MAX_BIASES */
	/* llama.cpp's GBNF with the start symbol "root"; the answer is a sentence of it, or, cut by
	 * max_tokens, the beginning of one. Up to PC_TEXT_GRAMMAR_MAX_BYTES. NULL: any text. One
	 * that cannot be read, or that no token can follow, is an INVALID_REQUEST. */
	const char *grammar;
};

enum pc_finish_reason {
	PC_FINISH_STOP = 0,	 /* end of sequence, or a stop string */
	PC_FINISH_LENGTH = 1,	 /* max_tokens, or the context is full */
	PC_FINISH_CANCELLED = 2, /* the host asked */
};

struct pc_text_result {
	uint32_t size;
	enum pc_finish_reason finish_reason;
	uint32_t prompt_tokens;
	uint32_t completion_tokens;
	uint32_t cached_tokens; /* of the prompt: known from the slot's call before, not computed */
};

/*
 * How an engine talks while it runs. `chunk` gets whole UTF-8 characters, never a part of a stop
 * string; its text is valid during the call. `stopped` is asked at least once per token and per
 * prompt batch, true ends the run with PC_FINISH_CANCELLED. Both run on the calling thread.
 */
struct pc_text_sink {
	uint32_t size;
	void (*chunk)(void *ctx, const char *text, size_t length);
	bool (*stopped)(void *ctx);
	void *ctx;
};

/* ---- images in: image_embedding, vision ---- */

/*
 * A whole image file as it stands on a disk (PNG, JPEG, ...), not pixels: the engine decodes it,
 * and refuses what it cannot with INVALID_REQUEST. Valid during the call.
 */
struct pc_image {
	const void *data;
	size_t length;
};

/* What is to be said about an image. All text is UTF-8. */
struct pc_vision_request {
	uint32_t size;
	struct pc_image image;
	const char *prompt;  /* the question; NULL or "": the engine's usual description */
	uint32_t max_tokens; /* 0: until the model stops */
	float temperature;   /* as in pc_text_request */
	uint32_t seed;
};

/* ---- images out: text_to_image ---- */

struct pc_image_request {
	uint32_t size;
	const char *prompt;	     /* UTF-8, not empty */
	const char *negative_prompt; /* what shall not be in it; may be NULL */
	uint32_t width, height;	     /* pixels; 0: the model's own. An engine may refuse a size */
	uint32_t steps;		     /* 0: the model's own */
	float guidance;		     /* how closely the prompt is followed; 0: the model's own */
	uint32_t seed;		     /* same seed, same request: same image */
};

struct pc_image_result {
	uint32_t size;
	enum pc_finish_reason finish_reason; /* STOP, or CANCELLED with the image incomplete */
	uint32_t width, height;
	uint32_t steps;	     /* that were done */
	char media_type[32]; /* of the bytes that chunk() got: "image/png" */
};

/*
 * How an engine talks while it paints; all run on the calling thread. The bytes that `chunk` gets,
 * put together, are one image file; they are valid during the call.
 */
struct pc_image_sink {
	uint32_t size;
	void (*progress)(void *ctx, uint32_t step, uint32_t steps); /* after each step, from 1 */
	void (*chunk)(void *ctx, const void *bytes, size_t length);
	bool (*stopped)(void *ctx); /* asked at least once per step; true ends with CANCELLED */
	void *ctx;
};

/* ---- the plug-in ---- */

enum {
	PC_ENGINE_THREAD_BOUND = 1u << 0, /* an instance must stay on the thread that loaded it */
};

struct pc_engine {
	uint32_t abi; /* PC_ENGINE_ABI */
	uint32_t size;
	const char *name;      /* "llama" */
	const char *version;   /* of the engine behind it, for people */
	uint32_t capabilities; /* 1u << enum pc_capability */
	uint32_t flags;

	/* MODEL_FILE_MISSING, MODEL_ERROR, OUT_OF_MEMORY, UNSUPPORTED, CANCELLED. */
	int (*load)(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		    struct pc_error *err);
	void (*unload)(struct pc_engine_instance *instance);
	/* Fills the members that fit in description->size, which the host sets. May come beside
	 * calls on slots, as a call on a slot of its own would. */
	void (*describe)(const struct pc_engine_instance *instance,
			 struct pc_engine_description *description);

	/* text_to_text. INVALID_REQUEST (names the member and what it may be), CONTEXT_EXCEEDED
	 * (details prompt_tokens, context_tokens), MODEL_ERROR. */
	int (*generate)(struct pc_engine_instance *instance, uint32_t slot,
			const struct pc_text_request *request, const struct pc_text_sink *sink,
			struct pc_text_result *ret_result, struct pc_error *err);

	/*
	 * text_embedding: `vectors` receives text_count rows of embedding_dim floats, row-major,
	 * each of length 1 (L2). `ret_tokens` is the sum of the texts' tokens. No texts give no
	 * rows. INVALID_REQUEST, CONTEXT_EXCEEDED (both with the detail text_index), CANCELLED,
	 * MODEL_ERROR.
	 */
	int (*embed_text)(struct pc_engine_instance *instance, uint32_t slot,
			  const char *const *texts, size_t text_count, float *vectors,
			  uint32_t *ret_tokens, struct pc_error *err);

	/*
	 * image_embedding: `vectors` receives image_count rows of embedding_dim floats, row-major,
	 * each of length 1 (L2). INVALID_REQUEST (not an image it can read; detail image_index),
	 * MODEL_ERROR.
	 */
	int (*embed_image)(struct pc_engine_instance *instance, uint32_t slot,
			   const struct pc_image *images, size_t image_count, float *vectors,
			   struct pc_error *err);

	/* vision. INVALID_REQUEST, CONTEXT_EXCEEDED, MODEL_ERROR. */
	int (*describe_image)(struct pc_engine_instance *instance, uint32_t slot,
			      const struct pc_vision_request *request,
			      const struct pc_text_sink *sink, struct pc_text_result *ret_result,
			      struct pc_error *err);

	/* text_to_image. INVALID_REQUEST (names the member and what it may be), MODEL_ERROR. */
	int (*generate_image)(struct pc_engine_instance *instance, uint32_t slot,
			      const struct pc_image_request *request,
			      const struct pc_image_sink *sink, struct pc_image_result *ret_result,
			      struct pc_error *err);

	/*
	 * Asks the call that runs on this slot, if one does, to end soon: with the error CANCELLED,
	 * or, where it has a finish_reason, with that. For the calls that have no stopped(); the
	 * others heed it as well. The one function that may be called from any thread at any time
	 * between load and unload, beside a call on the same slot. A request that comes when
	 * nothing runs there must not end the next call. May be NULL.
	 */
	void (*cancel)(struct pc_engine_instance *instance, uint32_t slot);

	/*
	 * How much of pc_text_request generate() reads: its sizeof where the plug-in was built; 0
	 * or absent: up to stop_count. A host that is asked for what lies behind it should refuse,
	 * because the engine would answer as if nobody had asked.
	 */
	size_t text_request_size;
};

/* Whether a plug-in's table is long enough for a member and has it; for the optional ones. */
#define PC_ENGINE_HAS(engine, member) \
	((engine)->size >= offsetof(struct pc_engine, member) + sizeof((engine)->member) && \
	 (engine)->member)

/* The plug-in's one exported function. NULL when the host is not to its liking (wrong ABI). */
typedef const struct pc_engine *(*pc_engine_entry_fn)(uint32_t host_abi,
						      const struct pc_engine_host *host);

/* ---- for hosts ---- */

/*
 * Opens a plug-in with dlopen(RTLD_NOW | RTLD_LOCAL), checks its ABI and that it has the functions
 * its capabilities promise. `name_or_path`: a path when it holds a '/', otherwise a name that is
 * looked for as libpoolcore-<name>.so in $POOLCORE_ENGINE_PATH (colon-separated), then in the
 * build's engine directory. The engine stays loaded for the life of the process (engines register
 * thread-local destructors and cannot be unloaded safely), so opening it again returns the same
 * pointer. Any thread. Errors: NOT_FOUND (says where it looked), UNSUPPORTED (wrong ABI, missing
 * function).
 */
PC_API int pc_engine_open(const char *name_or_path, const struct pc_engine **ret_engine,
			  struct pc_error *err);

/*
 * Refuses a request that wishes for what the engine does not know (text_request_size), which it
 * would silently leave out: INVALID_REQUEST. For hosts, before they call generate(). `request` has
 * the size of this header's.
 */
PC_API int pc_engine_check_text_request(const struct pc_engine *engine,
					const struct pc_text_request *request,
					struct pc_error *err);

PC_END_DECLS

#endif
