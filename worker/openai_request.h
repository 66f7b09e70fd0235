/* SPDX-License-Identifier: MIT */
/*
 * openai_request.h - request bodies of OpenAI's API as one C structure.
 * Source: https://platform.openai.com/docs/api-reference (chat, completions, embeddings).
 */
#ifndef WORKER_OPENAI_REQUEST_H
#define WORKER_OPENAI_REQUEST_H

#include <poolcore/engine.h>

#include <jansson.h>

enum openai_route { OPENAI_CHAT, OPENAI_COMPLETION, OPENAI_EMBEDDING };

/* What one embedding request may hold; OpenAI's own limit. */
#define OPENAI_MAX_INPUTS 2048
/* A conversation longer than this is a mistake. A guess; change freely. */
#define OPENAI_MAX_MESSAGES 4096

struct openai_request {
	enum openai_route route;
	const char *model; /* as the client wrote it; NULL when it did not */

	/* Chat and completions. */
	bool stream;
	bool include_usage;
	bool has_seed; /* false: text.seed is the caller's to choose */
	struct pc_text_request text;

	/* Embeddings. */
	const char **inputs;
	size_t input_count;
	bool base64;
	uint32_t dimensions; /* 0: not asked for */

	/* What the pointers above point into. */
	json_t *body;
	struct pc_chat_message *messages;
	struct pc_logit_bias *biases;
	const char *stops[PC_TEXT_MAX_STOPS];
	bool json_only;	   /* response_format; a grammar of ours */
	bool no_repeating; /* repeat_last_n is 0: llama-server's way to switch its penalty off */
	uint32_t max_tokens, max_completion_tokens;
};

/*
 * Decodes a body. On success the structure owns what it needs and is returned with
 * openai_request_fini; `text` points into it, so it must not move. One thread at a time. Errors,
 * all of them the client's except the last: INVALID_JSON (line and column), INVALID_REQUEST (the
 * field in the detail "param"), OUT_OF_MEMORY.
 */
int openai_request_decode(enum openai_route route, const char *body, size_t length,
			  struct openai_request *request, struct pc_error *err);
/* NULL-safe in all its parts. */
void openai_request_fini(struct openai_request *request);

#endif
