/* SPDX-License-Identifier: MIT */
/*
 * openai_response.c - writes OpenAI's response objects. The shapes are those of its API reference
 * (https://platform.openai.com/docs/api-reference), members in the order it shows them. No parsing,
 * no I/O; runs on the loop.
 */
#include "openai_response.h"

#include <poolcore/clock.h>

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static const char *finish_reason_name(enum pc_finish_reason reason)
{
	switch (reason) {
	case PC_FINISH_STOP:
	case PC_FINISH_CANCELLED:
		break;
	case PC_FINISH_LENGTH:
		return "length";
	}
	return "stop";
}

void openai_reply_init(struct openai_reply *reply, const struct openai_request *request,
		       const char *model)
{
	unsigned char random[12] = { 0 };
	int length;

	*reply = (struct openai_reply){
		.route = request->route,
		.created = pc_clock_wall_ms() / 1000,
		.model = request->model ? request->model : model,
		.include_usage = request->include_usage,
	};
	/* Up to 256 bytes come whole or not at all; ids that repeat would harm nobody but readers.
	 */
	if (getrandom(random, sizeof(random), 0) < 0)
		memset(random, 0, sizeof(random));
	length = snprintf(reply->id, sizeof(reply->id), "%s",
			  reply->route == OPENAI_CHAT ? "chatcmpl-" : "cmpl-");
	for (size_t i = 0; i < sizeof(random); i++)
		length += snprintf(reply->id + length, sizeof(reply->id) - (size_t)length, "%02x",
				   random[i]);
}

/* {"id":...,"object":...,"created":...,"model":... without the closing brace. */
static void write_head(struct buffer *out, const struct openai_reply *reply, const char *object)
{
	buffer_printf(out,
		      "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", reply->id,
		      object, (long long)reply->created);
	buffer_puts_json(out, reply->model);
}

static void write_usage(struct buffer *out, const struct pc_text_result *result)
{
	buffer_printf(out,
		      "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,"
		      "\"total_tokens\":%u,\"prompt_tokens_details\":{\"cached_tokens\":%u}}",
		      result->prompt_tokens, result->completion_tokens,
		      result->prompt_tokens + result->completion_tokens, result->cached_tokens);
}

/* ---- whole answers ---- */

void openai_write_answer(struct buffer *out, const struct openai_reply *reply, const char *text,
			 size_t length, const struct pc_text_result *result)
{
	bool chat = reply->route == OPENAI_CHAT;

	write_head(out, reply, chat ? "chat.completion" : "text_completion");
	buffer_puts(out, chat ? ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
				"\"content\":"
			      : ",\"choices\":[{\"text\":");
	buffer_put_json(out, text, length);
	buffer_puts(out, chat ? ",\"refusal\":null}" : ",\"index\":0");
	buffer_printf(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}],",
		      finish_reason_name(result->finish_reason));
	write_usage(out, result);
	buffer_puts(out, "}");
}

/* ---- streams ---- */

static void event_begin(struct buffer *out, const struct openai_reply *reply)
{
	buffer_puts(out, "data: ");
	write_head(out, reply,
		   reply->route == OPENAI_CHAT ? "chat.completion.chunk" : "text_completion");
	buffer_puts(out, ",\"choices\":[");
}

/* Where usage is asked for, it is null everywhere but in the last event. */
static void event_end(struct buffer *out, const struct openai_reply *reply)
{
	buffer_puts(out, reply->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

/* The one choice, with its delta or text already as JSON. */
static void write_choice(struct buffer *out, const struct openai_reply *reply, const char *finish)
{
	buffer_printf(out, "%s,\"logprobs\":null,\"finish_reason\":%s%s%s}",
		      reply->route == OPENAI_CHAT ? "}" : ",\"index\":0", finish ? "\"" : "",
		      finish ? finish : "null", finish ? "\"" : "");
}

void openai_write_begin(struct buffer *out, const struct openai_reply *reply)
{
	if (reply->route != OPENAI_CHAT)
		return;
	event_begin(out, reply);
	buffer_puts(out, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\","
			 "\"refusal\":null");
	write_choice(out, reply, NULL);
	event_end(out, reply);
}

void openai_write_text(struct buffer *out, const struct openai_reply *reply, const char *text,
		       size_t length)
{
	event_begin(out, reply);
	buffer_puts(out, reply->route == OPENAI_CHAT ? "{\"index\":0,\"delta\":{\"content\":"
						     : "{\"text\":");
	buffer_put_json(out, text, length);
	write_choice(out, reply, NULL);
	event_end(out, reply);
}

void openai_write_finish(struct buffer *out, const struct openai_reply *reply,
			 const struct pc_text_result *result)
{
	event_begin(out, reply);
	buffer_puts(out,
		    reply->route == OPENAI_CHAT ? "{\"index\":0,\"delta\":{" : "{\"text\":\"\"");
	write_choice(out, reply, finish_reason_name(result->finish_reason));
	event_end(out, reply);
	if (reply->include_usage) {
		event_begin(out, reply);
		buffer_puts(out, "],");
		write_usage(out, result);
		buffer_puts(out, "}\n\n");
	}
	buffer_puts(out, "data: [DONE]\n\n");
}

/* ---- embeddings ---- */

void openai_write_list_head(struct buffer *out)
{
	buffer_puts(out, "{\"object\":\"list\",\"data\":[");
}

void openai_write_row(struct buffer *out, size_t index, const float *vector, uint32_t dim,
		      bool base64)
{
	buffer_printf(out,
		      "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", index ? "," : "",
		      index);
	if (base64) {
		/* OpenAI's clients read little-endian floats, which is what every machine of ours
		 * has. */
		buffer_puts(out, "\"");
		buffer_put_base64(out, vector, dim * sizeof(*vector));
		buffer_puts(out, "\"");
	} else {
		/* Nine digits bring back the same float. */
		for (uint32_t i = 0; i < dim; i++)
			buffer_printf(out, "%s%.9g", i ? "," : "[", (double)vector[i]);
		buffer_puts(out, dim ? "]" : "[]");
	}
	buffer_puts(out, "}");
}

void openai_write_list_tail(struct buffer *out, const struct openai_reply *reply, uint32_t tokens)
{
	buffer_puts(out, "],\"model\":");
	buffer_puts_json(out, reply->model);
	buffer_printf(out, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u}}", tokens,
		      tokens);
}
