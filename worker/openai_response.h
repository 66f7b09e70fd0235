/* SPDX-License-Identifier: MIT */
/*
 * openai_response.h - answers in OpenAI's exact shapes, whole or as server-sent events, written
 * into a buffer. The buffer's `failed` says at the end whether memory was short.
 */
#ifndef WORKER_OPENAI_RESPONSE_H
#define WORKER_OPENAI_RESPONSE_H

#include "buffer.h"
#include "openai_request.h"

/* What every piece of one answer repeats. */
struct openai_reply {
	enum openai_route route;
	char id[40]; /* "chatcmpl-" or "cmpl-" and 24 random hexadecimal digits */
	int64_t created;
	const char *model; /* what the client asked for, or our own id */
	bool include_usage;
};

/* `model` must outlive the reply. */
void openai_reply_init(struct openai_reply *reply, const struct openai_request *request,
		       const char *model);

/* A whole chat completion or completion. */
void openai_write_answer(struct buffer *out, const struct openai_reply *reply, const char *text,
			 size_t length, const struct pc_text_result *result);

/* A stream: begin, any number of texts, finish (with usage if asked for, and [DONE]). */
void openai_write_begin(struct buffer *out, const struct openai_reply *reply);
void openai_write_text(struct buffer *out, const struct openai_reply *reply, const char *text,
		       size_t length);
void openai_write_finish(struct buffer *out, const struct openai_reply *reply,
			 const struct pc_text_result *result);

/* An embedding list: head, one row after the other, tail. */
void openai_write_list_head(struct buffer *out);
void openai_write_row(struct buffer *out, size_t index, const float *vector, uint32_t dim,
		      bool base64);
void openai_write_list_tail(struct buffer *out, const struct openai_reply *reply, uint32_t tokens);

#endif
