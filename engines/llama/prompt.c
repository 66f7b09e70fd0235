/* SPDX-License-Identifier: MIT */
/*
 * prompt.c - from a request to tokens: the chat template, the tokenizer, and the limits of both.
 * Runs nothing of the model. Any thread: llama.cpp's vocabulary is only read.
 */
#include "llama_engine.h"

#include <stdio.h>
#include <string.h>

/* ---- messages ---- */

static int check_messages(const struct pc_text_request *request, struct pc_error *err)
{
	char what[64];

	if (request->message_count == 0)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "there are no messages");
	for (size_t i = 0; i < request->message_count; i++) {
		snprintf(what, sizeof(what), "messages[%zu].role", i);
		int rc = check_utf8(request->messages[i].role, what, err);

		if (!rc) {
			snprintf(what, sizeof(what), "messages[%zu].content", i);
			rc = check_utf8(request->messages[i].content, what, err);
		}
		if (rc)
			return rc;
	}
	return 0;
}

struct text_use prompt_use(const struct pc_engine_instance *instance)
{
	return (struct text_use){
		.what = "the prompt",
		.context_tokens = instance->context_tokens,
		.reserve = 1,
		.markup = true,
	};
}

static int refuse_length(const struct pc_engine_instance *instance, const struct text_use *use,
			 size_t bytes, struct pc_error *err)
{
	pc_error_set(err, PC_E_CONTEXT_EXCEEDED,
		     "%s has %zu bytes; the %u tokens of the model's context cannot hold more than "
		     "%zu",
		     use->what, bytes, use->context_tokens, instance->text_max_bytes);
	/* Not counted: no text of this length has fewer. */
	pc_error_detail(err, "prompt_tokens", "%u", use->context_tokens + 1);
	pc_error_detail(err, "prompt_bytes", "%zu", bytes);
	pc_error_detail(err, "context_tokens", "%u", use->context_tokens);
	return PC_E_CONTEXT_EXCEEDED;
}

static int refuse_tokens(const struct text_use *use, uint32_t count, struct pc_error *err)
{
	uint32_t limit = use->context_tokens - use->reserve;

	pc_error_set(err, PC_E_CONTEXT_EXCEEDED,
		     "%s has %u tokens, %u too many: the model's context holds %u%s", use->what,
		     count, count - limit, use->context_tokens,
		     use->reserve ? ", and the answer needs one of them at least" : "");
	pc_error_detail(err, "prompt_tokens", "%u", count);
	pc_error_detail(err, "context_tokens", "%u", use->context_tokens);
	return PC_E_CONTEXT_EXCEEDED;
}

/*
 * For models whose template llama.cpp does not know (it has no Jinja, but a list of the usual ones)
 * or that have none: one line per message, "role: content", and "assistant:" to go on from. A
 * template that never asks for the role can only string the contents together, so they are, one
 * line each; the demonstration model has such a one.
 */
static int render_plainly(const struct pc_text_request *request, const char *template, size_t bytes,
			  char **ret_text, struct pc_error *err)
{
	bool roles = !template || strstr(template, "role");
	size_t room = bytes + request->message_count * 3 + sizeof("assistant:");
	char *text = pc_malloc(room);
	size_t used = 0;

	if (!text)
		return pc_error_oom(err);
	for (size_t i = 0; i < request->message_count; i++) {
		const struct pc_chat_message *m = &request->messages[i];

		used += (size_t)snprintf(text + used, room - used, "%s%s%s%s",
					 i && !roles ? "\n" : "", roles ? m->role : "",
					 roles ? ": " : "", m->content);
		if (roles)
			used += (size_t)snprintf(text + used, room - used, "\n");
	}
	if (roles)
		snprintf(text + used, room - used, "assistant:");
	*ret_text = text;
	return 0;
}

static int render_messages(const struct pc_engine_instance *instance,
			   const struct pc_text_request *request, char **ret_text,
			   struct pc_error *err)
{
	const char *template = llama_model_chat_template(instance->model, NULL);
	size_t bytes = 0;

	for (size_t i = 0; i < request->message_count; i++)
		bytes += strlen(request->messages[i].role) + strlen(request->messages[i].content);
	const struct text_use use = prompt_use(instance);

	if (bytes > instance->text_max_bytes)
		return refuse_length(instance, &use, bytes, err);

	/* pc_chat_message and llama_chat_message are the same two pointers,
	 * but not the same type. */
	pc_auto(pc_free) struct llama_chat_message *messages = pc_calloc(request->message_count,
									 sizeof(*messages));

	if (!messages)
		return pc_error_oom(err);
	for (size_t i = 0; i < request->message_count; i++) {
		messages[i].role = request->messages[i].role;
		messages[i].content = request->messages[i].content;
	}
	int32_t length = template ? llama_chat_apply_template(template, messages,
							      request->message_count, true, NULL, 0)
				  : -1;

	if (length < 0)
		return render_plainly(request, template, bytes, ret_text, err);
	pc_auto(pc_free) char *text = pc_calloc(1, (size_t)length + 1);

	if (!text)
		return pc_error_oom(err);
	llama_chat_apply_template(template, messages, request->message_count, true, text, length);
	*ret_text = pc_steal(&text);
	return 0;
}

int render(const struct pc_engine_instance *instance, const struct pc_text_request *request,
	   char **ret_text, struct pc_error *err)
{
	if (!request->prompt == !request->messages)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "a request has a prompt or messages, and not both");
	if (request->messages) {
		int rc = check_messages(request, err);

		return rc ? rc : render_messages(instance, request, ret_text, err);
	}
	int rc = check_utf8(request->prompt, "the prompt", err);

	if (rc)
		return rc;
	*ret_text = pc_strdup(request->prompt);
	return *ret_text ? 0 : pc_error_oom(err);
}

/* ---- tokens ---- */

/*
 * Some chat templates write the token for the beginning, and so do people, but the tokenizer has
 * put one there already; with two of them a model is in a place that it was not trained for.
 */
static void drop_second_beginning(const struct llama_vocab *vocab, llama_token *tokens,
				  int32_t *count)
{
	llama_token beginning = llama_vocab_bos(vocab);

	if (*count < 2 || !llama_vocab_get_add_bos(vocab) || tokens[0] != beginning ||
	    tokens[1] != beginning)
		return;
	--*count;
	memmove(tokens, tokens + 1, (size_t)*count * sizeof(*tokens));
}

int tokenize(const struct pc_engine_instance *instance, const char *text,
	     const struct text_use *use, struct tokens *ret_tokens, struct pc_error *err)
{
	size_t length = strlen(text);

	if (length > instance->text_max_bytes)
		return refuse_length(instance, use, length, err);

	/* Usual text takes 3 to 5 bytes for a token; where that is wrong
	 * llama.cpp says the number. */
	int32_t room = (int32_t)(length / 2) + 16;
	pc_auto(pc_free) llama_token *data = NULL;
	int32_t count;

	do {
		pc_free(data);
		data = pc_malloc((size_t)room * sizeof(*data));
		if (!data)
			return pc_error_oom(err);
		count = llama_tokenize(instance->vocab, text, (int32_t)length, data, room, true,
				       use->markup);
		if (count == INT32_MIN || count == -room)
			return pc_error_set(err, PC_E_MODEL_ERROR,
					    "llama.cpp cannot turn the text into tokens");
		room = -count;
	} while (count < 0);
	if (use->markup)
		drop_second_beginning(instance->vocab, data, &count);
	if (count == 0)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "the text is empty: it gives no tokens to start from");
	if ((uint32_t)count > use->context_tokens - use->reserve)
		return refuse_tokens(use, (uint32_t)count, err);
	ret_tokens->count = (uint32_t)count;
	ret_tokens->data = pc_steal(&data);
	return 0;
}
