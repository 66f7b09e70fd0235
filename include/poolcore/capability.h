/* SPDX-License-Identifier: MIT */
/*
 * capability.h - what a program does with the in-process pool: embed texts and images, generate
 * text, ask about an image, paint one. Five typed faces of poolcore/pool.h.
 *
 *	struct pc_model_spec spec = { .key = "org/name", .capability = PC_CAPABILITY_TEXT_EMBEDDING,
 *				      .est_memory_allocation_mb = 90, .engine = &engine,
 *				      .model_path = "file" };
 *	struct pc_vectors vectors;
 *
 *	pc_text_embedding_pool_create(NULL, &pool, &err);
 *	pc_pool_add_model(pool, &spec, &model, &err);
 *	pc_embed_text(model, "a text", NULL, NULL, &vectors, &err);
 *
 * Each kind of call comes in up to four forms:
 *
 *	plain		the caller sleeps until the whole result is there;
 *	with callback	the same, and a function gets what comes meanwhile and may stop it;
 *	stream		the result is read piece by piece, when the program likes;
 *	_async		the caller goes on and `done` is called at the end.
 *
 * Common to all of them, and not repeated below:
 *
 *   Threads. Any thread, also several at once with one model. Callbacks run on the calling thread
 *   or on a worker's, which waits for them: they call no blocking function of the same pool.
 *
 *   Requests and options are read during the call only; the _async forms and streams copy them.
 *   Structures that are zeroed mean the defaults. `options` may be NULL.
 *
 *   Results are written only on success. A result that owns memory has a _fini, which also takes
 *   one that is zeroed. `err` may be NULL.
 *
 *   _async: 0 means that `done` will be called exactly once (see pc_done_fn), and that the result
 *   stands there by then if its error's code is 0; it must stay in place until then. Otherwise
 *   `done` will not come. pc_completion_post can be the `done`.
 *
 *   Errors. INVALID_ARGUMENT: an argument is missing, empty, too long or not UTF-8, or the model
 *   is of another capability (the sentence says which, and what would be right). CANCELLED,
 *   TIMEOUT and SHUTTING_DOWN: the call was ended from outside while it ran. UNSUPPORTED,
 *   CONTEXT_EXCEEDED, INVALID_REQUEST, MODEL_ERROR, WORKER_FAILED: the engine said so, or did
 *   what no engine may. OUT_OF_MEMORY. And those of pc_lease_acquire. The sentences name the
 *   model.
 */
#ifndef POOLCORE_CAPABILITY_H
#define POOLCORE_CAPABILITY_H

#include <poolcore/pool.h>

PC_BEGIN_DECLS

/*
 * The longest text, and the longest chat altogether, in bytes: a million tokens of a long context
 * are 4 to 8 MB of text. More is a mistake that is better found before it is tokenized.
 */
#define PC_TEXT_MAX_BYTES (16u << 20)
/*
 * The largest image file, in or out, in bytes: an uncompressed picture of 16 megapixels with four
 * channels. Cameras' JPEGs are a fifth of it; models scale everything down to a megapixel or two.
 */
#define PC_IMAGE_MAX_BYTES (64u << 20)
/* The longest collected answer; 16 million tokens, so only an engine that runs away gets there. */
#define PC_ANSWER_MAX_BYTES (64u << 20)

/* ---- pools of one capability ---- */

/* pc_pool_create, for models of one capability alone, whatever config->capabilities says. */
PC_API int pc_text_embedding_pool_create(const struct pc_pool_config *config,
					 struct pc_pool **ret_pool, struct pc_error *err);
PC_API int pc_image_embedding_pool_create(const struct pc_pool_config *config,
					  struct pc_pool **ret_pool, struct pc_error *err);
PC_API int pc_text_to_text_pool_create(const struct pc_pool_config *config,
				       struct pc_pool **ret_pool, struct pc_error *err);
PC_API int pc_vision_pool_create(const struct pc_pool_config *config, struct pc_pool **ret_pool,
				 struct pc_error *err);
PC_API int pc_text_to_image_pool_create(const struct pc_pool_config *config,
					struct pc_pool **ret_pool, struct pc_error *err);

/* ---- text embedding ---- */

/* `rows` vectors of `dim` floats, row-major, each of length 1 (L2). */
struct pc_vectors {
	size_t rows;
	uint32_t dim;	 /* 0 when there are no rows */
	float *data;	 /* rows * dim of them; freed by pc_vectors_fini */
	uint64_t tokens; /* of all texts together; 0 for images */
};

/* Frees the data and zeroes the rest. NULL is allowed. */
PC_API void pc_vectors_fini(struct pc_vectors *vectors);
/* Row `row` of them: dim floats. `row` is less than rows. */
static inline const float *pc_vectors_row(const struct pc_vectors *vectors, size_t row)
{
	return vectors->data + row * vectors->dim;
}

/* Texts to be embedded, all for the same purpose. */
struct pc_text_batch {
	const char *const *texts; /* UTF-8, each 1..PC_TEXT_MAX_BYTES bytes */
	size_t count;		  /* 0: the result has no rows, and no worker is asked */
	const char *task; /* one of the model's tasks, whose prefix is put in front of each text; or
			     NULL: the texts as they are */
};

/* Embeds one text; the result has one row. `task` may be NULL, see pc_text_batch. */
PC_API int pc_embed_text(struct pc_model *model, const char *text, const char *task,
			 const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			 struct pc_error *err);
/*
 * Embeds many, in their order; row i is text i. A long batch goes to the engine in pieces, between
 * which it can be ended. INVALID_ARGUMENT for an unknown task names the known ones; a text that the
 * engine refuses is named by the detail text_index.
 */
PC_API int pc_embed_texts(struct pc_model *model, const struct pc_text_batch *batch,
			  const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			  struct pc_error *err);
PC_API int pc_embed_texts_async(struct pc_model *model, const struct pc_text_batch *batch,
				const struct pc_request_options *options,
				struct pc_vectors *ret_vectors, pc_done_fn done, void *ctx,
				struct pc_error *err);

/* ---- images that go in ---- */

/*
 * How the program gets what a URL names; the library itself speaks to no server. Returns 0 with
 * memory of pc_malloc, which the library frees, or an error. It runs on the thread of the call,
 * before a slot is asked for. It should stop reading past PC_IMAGE_MAX_BYTES; more is refused.
 */
struct pc_image_fetcher {
	int (*fetch)(void *ctx, const char *url, void **ret_data, size_t *ret_length,
		     struct pc_error *err);
	void *ctx;
};

enum pc_image_source_kind {
	PC_IMAGE_NONE = 0,   /* not filled in: refused */
	PC_IMAGE_PATH = 1,   /* a regular file */
	PC_IMAGE_BYTES = 2,  /* a file's content in memory */
	PC_IMAGE_BASE64 = 3, /* the same as RFC 4648 text, or a data: URL (RFC 2397) of it */
	PC_IMAGE_URL = 4,    /* whatever the fetcher understands; data: needs none */
};

/*
 * Where an image file (PNG, JPEG, ...; the engine decides) comes from. Files, URLs and base64
 * are read on the calling thread before a slot is asked for, in the _async forms and streams
 * too: a loop that must not wait for a disk or a server passes bytes. Errors beside the common
 * ones: NOT_FOUND and IO for files, PAYLOAD_TOO_LARGE past PC_IMAGE_MAX_BYTES, what the fetcher
 * said; each says which image of a batch it was.
 */
struct pc_image_source {
	enum pc_image_source_kind kind;
	const struct pc_image_fetcher *fetcher; /* for a URL; NULL: it is refused */
	union {
		const char *path;
		struct pc_image bytes;
		const char *base64;
		const char *url;
	};
};

/* They borrow what they are given. */
static inline struct pc_image_source pc_image_from_path(const char *path)
{
	struct pc_image_source source;

	source.kind = PC_IMAGE_PATH;
	source.fetcher = NULL;
	source.path = path;
	return source;
}

static inline struct pc_image_source pc_image_from_bytes(const void *data, size_t length)
{
	struct pc_image_source source;

	source.kind = PC_IMAGE_BYTES;
	source.fetcher = NULL;
	source.bytes.data = data;
	source.bytes.length = length;
	return source;
}

static inline struct pc_image_source pc_image_from_base64(const char *base64)
{
	struct pc_image_source source;

	source.kind = PC_IMAGE_BASE64;
	source.fetcher = NULL;
	source.base64 = base64;
	return source;
}

static inline struct pc_image_source pc_image_from_url(const char *url,
						       const struct pc_image_fetcher *fetcher)
{
	struct pc_image_source source;

	source.kind = PC_IMAGE_URL;
	source.fetcher = fetcher;
	source.url = url;
	return source;
}

/* ---- image embedding ---- */

struct pc_image_batch {
	const struct pc_image_source *images;
	size_t count; /* 0: the result has no rows, and no worker is asked */
};

/* Embeds one image; the result has one row. */
PC_API int pc_embed_image(struct pc_model *model, const struct pc_image_source *image,
			  const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			  struct pc_error *err);
/*
 * Embeds many, in their order. What has to be read or decoded for one batch is kept until its end
 * and may be PAYLOAD_TOO_LARGE (256 MiB in all). An image that the engine cannot read is
 * INVALID_REQUEST with the detail image_index.
 */
PC_API int pc_embed_images(struct pc_model *model, const struct pc_image_batch *batch,
			   const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			   struct pc_error *err);
PC_API int pc_embed_images_async(struct pc_model *model, const struct pc_image_batch *batch,
				 const struct pc_request_options *options,
				 struct pc_vectors *ret_vectors, pc_done_fn done, void *ctx,
				 struct pc_error *err);

/* ---- text to text ---- */

/* A whole answer. */
struct pc_text_answer {
	char *text; /* UTF-8, with a NUL behind it; freed by pc_text_answer_fini */
	size_t length;
	enum pc_finish_reason finish_reason;
	uint32_t prompt_tokens;
	uint32_t completion_tokens;
	uint32_t cached_tokens; /* of the prompt: known from a call before, not computed */
};

/* Frees the text and zeroes the rest. NULL is allowed. */
PC_API void pc_text_answer_fini(struct pc_text_answer *answer);

/*
 * Answers a prompt or a chat. The request is the engines' own (poolcore/engine.h) with two
 * reliefs: `size` may be 0, and top_p 0 means 1. A request is complete with a prompt alone:
 *
 *	struct pc_text_request request = { .prompt = "Once upon a time" };
 *
 *	pc_generate_text(model, &request, NULL, &answer, &err);
 */
PC_API int pc_generate_text(struct pc_model *model, const struct pc_text_request *request,
			    const struct pc_request_options *options,
			    struct pc_text_answer *ret_answer, struct pc_error *err);
PC_API int pc_generate_text_async(struct pc_model *model, const struct pc_text_request *request,
				  const struct pc_request_options *options,
				  struct pc_text_answer *ret_answer, pc_done_fn done, void *ctx,
				  struct pc_error *err);

/*
 * Gets the answer as it is made: whole UTF-8 characters, at least one, no NUL behind them, valid
 * during the call. False stops the run: it is not called again, and the call returns 0 with
 * PC_FINISH_CANCELLED.
 */
typedef bool (*pc_text_chunk_fn)(void *ctx, const char *text, size_t length);

/* The same with a callback; `ret_result` may be NULL. After an error `on_chunk` may have been
 * called already. */
PC_API int pc_generate(struct pc_model *model, const struct pc_text_request *request,
		       const struct pc_request_options *options, pc_text_chunk_fn on_chunk,
		       void *ctx, struct pc_text_result *ret_result, struct pc_error *err);

/* ---- a stream of text, read at the reader's pace ---- */

/*
 * An answer that is being made on a worker's thread. Up to PC_STREAM_BUFFER_BYTES wait for the
 * reader; then the worker waits too, with its slot: read on, or close.
 *
 *	while ((rc = pc_text_stream_next(stream, &chunk, &length, &err)) == PC_STREAM_CHUNK)
 *		fwrite(chunk, 1, length, stdout);
 *
 * Threads: one reads at a time; any may cancel. A stream may outlive its pool.
 */
struct pc_text_stream;

/* As much as the daemon buffers for a connection: a minute of what a fast engine writes. */
#define PC_STREAM_BUFFER_BYTES (256u << 10)

enum {
	PC_STREAM_END = 0,
	PC_STREAM_CHUNK = 1,
	PC_STREAM_WOULD_BLOCK = 2, /* pc_text_stream_try_next alone */
};

/*
 * Begins an answer and returns at once. What can go wrong later is told by the first _next: the
 * common errors other than INVALID_ARGUMENT and OUT_OF_MEMORY.
 */
PC_API int pc_text_stream_open(struct pc_model *model, const struct pc_text_request *request,
			       const struct pc_request_options *options,
			       struct pc_text_stream **ret_stream, struct pc_error *err);
/*
 * Waits for more and returns PC_STREAM_CHUNK with everything there is: whole UTF-8 characters,
 * valid until the next call on the stream; PC_STREAM_END when all was read; or the error that
 * ended it, after the text that came before it. END and errors are returned again when asked
 * again.
 */
PC_API int pc_text_stream_next(struct pc_text_stream *stream, const char **ret_chunk,
			       size_t *ret_length, struct pc_error *err);
/* The same without waiting; PC_STREAM_WOULD_BLOCK when there is nothing yet. */
PC_API int pc_text_stream_try_next(struct pc_text_stream *stream, const char **ret_chunk,
				   size_t *ret_length, struct pc_error *err);
/*
 * A descriptor that polls readable exactly as long as _next would not wait, for poll, epoll, libuv,
 * ...; made by the first call, the stream's own, never read or closed by others. Negative: an error
 * (IO).
 */
PC_API int pc_text_stream_fd(struct pc_text_stream *stream, struct pc_error *err);
/* How it went, after PC_STREAM_END. INVALID_ARGUMENT before that. */
PC_API int pc_text_stream_result(struct pc_text_stream *stream, struct pc_text_result *ret_result,
				 struct pc_error *err);
/*
 * From now on _next returns CANCELLED, also one that waits; what was not read is dropped. The
 * worker stops at its next token. A request that still waits for a slot is withdrawn at once,
 * or, if the options carried a pc_cancel, when that fires or the slot is there. After the end:
 * does nothing.
 */
PC_API void pc_text_stream_cancel(struct pc_text_stream *stream);
/*
 * Cancels and lets go of it; never waits. A _next in another thread that has begun ends with
 * CANCELLED, and a _cancel as ever; none may begin. NULL is allowed.
 */
PC_API void pc_text_stream_close(struct pc_text_stream *stream);

/* ---- vision ---- */

/* What is to be said about an image. */
struct pc_vision_question {
	struct pc_image_source image;
	const char *prompt;  /* NULL or "": the engine's usual description */
	uint32_t max_tokens; /* 0: until the model stops */
	float temperature;   /* 0..2; 0: greedy */
	uint32_t seed;
};

/* The forms of pc_generate_text, _async, pc_generate and pc_text_stream_open, about an image. */
PC_API int pc_describe_image(struct pc_model *model, const struct pc_vision_question *question,
			     const struct pc_request_options *options,
			     struct pc_text_answer *ret_answer, struct pc_error *err);
PC_API int pc_describe_image_async(struct pc_model *model,
				   const struct pc_vision_question *question,
				   const struct pc_request_options *options,
				   struct pc_text_answer *ret_answer, pc_done_fn done, void *ctx,
				   struct pc_error *err);
PC_API int pc_describe(struct pc_model *model, const struct pc_vision_question *question,
		       const struct pc_request_options *options, pc_text_chunk_fn on_chunk,
		       void *ctx, struct pc_text_result *ret_result, struct pc_error *err);
PC_API int pc_vision_stream_open(struct pc_model *model, const struct pc_vision_question *question,
				 const struct pc_request_options *options,
				 struct pc_text_stream **ret_stream, struct pc_error *err);

/* ---- text to image ---- */

/* An image file that was painted. */
struct pc_painting {
	void *data;	     /* NULL when a callback got it; freed by pc_painting_fini */
	size_t length;	     /* in bytes, of `data` or of what went to the callback */
	char media_type[32]; /* "image/png" */
	enum pc_finish_reason finish_reason; /* CANCELLED: a callback stopped it; incomplete */
	uint32_t width, height;		     /* pixels */
	uint32_t steps;			     /* that were done */
};

/* Frees the data and zeroes the rest. NULL is allowed. */
PC_API void pc_painting_fini(struct pc_painting *painting);

/* Functions that watch an image grow; each may be NULL. False stops the painting. */
struct pc_painting_watch {
	bool (*progress)(void *ctx, uint32_t step, uint32_t steps); /* after each step, from 1 */
	/* Gets the file's bytes, piece by piece, valid during the call; they are not collected
	 * then. */
	bool (*chunk)(void *ctx, const void *bytes, size_t length);
	void *ctx;
};

/*
 * Paints what a prompt says. The request is the engines' own (poolcore/engine.h); `size` may be
 * 0, and a prompt alone is enough. `watch` may be NULL.
 */
PC_API int pc_generate_image(struct pc_model *model, const struct pc_image_request *request,
			     const struct pc_request_options *options,
			     const struct pc_painting_watch *watch,
			     struct pc_painting *ret_painting, struct pc_error *err);
PC_API int pc_generate_image_async(struct pc_model *model, const struct pc_image_request *request,
				   const struct pc_request_options *options,
				   struct pc_painting *ret_painting, pc_done_fn done, void *ctx,
				   struct pc_error *err);

PC_END_DECLS

#endif
