/* SPDX-License-Identifier: MIT */
/*
 * text_request.c - reads a prompt or a chat with its wishes. It does not judge what only an engine
 * can: tokens, grammars, the ranges of wishes that not every engine knows. Any thread.
 */
#include "capability/text_request.h"

#include <stdio.h>
#include <string.h>

/* ---- is it a request ---- */

/* Adds a text of the request to what they are together; `what` is how it is called there. */
static int count_text(const struct pc_model *model, const char *text, bool may_be_empty,
		      const char *what, size_t *bytes, struct pc_error *err)
{
	struct pc__text_fault fault;
	size_t length = 0;

	if (!(may_be_empty && text && !*text) &&
	    !pc__text_is_good(text, PC_TEXT_MAX_BYTES, &length, &fault))
		return pc__call_bad_text(model, what, &fault, err);
	*bytes += length + 1;
	return 0;
}

static int check_messages(const struct pc_model *model, const struct pc_text_request *request,
			  size_t *bytes, struct pc_error *err)
{
	size_t before = *bytes;
	char what[64];

	int rc = pc__call_need(model, request->messages != NULL, "message", err);

	if (rc)
		return rc;
	for (size_t i = 0; i < request->message_count; i++) {
		const struct pc_chat_message *message = &request->messages[i];

		snprintf(what, sizeof(what), "the role of message %zu", i);

		rc = count_text(model, message->role, false, what, bytes, err);
		snprintf(what, sizeof(what), "message %zu", i);
		if (!rc)
			rc = count_text(model, message->content, true, what, bytes, err);
		if (rc)
			return rc;
		if (*bytes - before > PC_TEXT_MAX_BYTES)
			return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
					       "the chat is longer than %u MiB at message %zu",
					       PC_TEXT_MAX_BYTES >> 20, i);
	}
	return 0;
}

static int check_stops(const struct pc_model *model, const struct pc_text_request *request,
		       size_t *bytes, struct pc_error *err)
{
	char what[64];
	int rc = pc__call_need(model, request->stop_count == 0 || request->stops, "stop string",
			       err);

	if (request->stop_count > PC_TEXT_MAX_STOPS)
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "the request has %zu stop strings; there may be %d",
				       request->stop_count, PC_TEXT_MAX_STOPS);
	for (size_t i = 0; !rc && i < request->stop_count; i++) {
		snprintf(what, sizeof(what), "stop string %zu", i);
		rc = count_text(model, request->stops[i], false, what, bytes, err);
	}
	return rc;
}

/* What is copied has to be sound; which token there is, and how far it may be pushed, is the
 * engine's to say. */
static int check_extras(const struct pc_model *model, const struct pc_text_request *request,
			size_t *bytes, struct pc_error *err)
{
	struct pc__text_fault fault;
	size_t length;
	int rc = pc__call_need(model, request->logit_bias_count == 0 || request->logit_biases,
			       "logit bias", err);

	if (rc)
		return rc;
	if (request->logit_bias_count > PC_TEXT_MAX_BIASES)
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "the request has %zu logit biases; there may be %d",
				       request->logit_bias_count, PC_TEXT_MAX_BIASES);
	if (!request->grammar)
		return 0;
	if (!pc__text_is_good(request->grammar, PC_TEXT_GRAMMAR_MAX_BYTES, &length, &fault))
		return pc__call_bad_text(model, "the grammar", &fault, err);
	*bytes += length + 1;
	return 0;
}

/* The two that every engine knows. What was appended later is judged by those that know it. */
static int check_sampling(const struct pc_model *model, const struct pc_text_request *request,
			  struct pc_error *err)
{
	/* Written so that NaN is refused too. */
	if (!(request->temperature >= 0 && request->temperature <= 2))
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "the temperature is %g; it may be 0 to 2",
				       (double)request->temperature);
	if (!(request->top_p > 0 && request->top_p <= 1))
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "top_p is %g; it may be more than 0, and up to 1",
				       (double)request->top_p);
	return 0;
}

/* The bytes of all its strings with their NULs in *bytes. */
static int check_request(const struct pc_model *model, const struct pc_text_request *request,
			 size_t *bytes, struct pc_error *err)
{
	int rc;

	*bytes = 0;
	if (request->prompt && request->message_count > 0)
		return pc__call_refuse(
			model, err, PC_E_INVALID_ARGUMENT,
			"the request has a prompt and messages; it may have one of them");
	if (request->message_count > 0)
		rc = check_messages(model, request, bytes, err);
	else
		rc = count_text(model, request->prompt, false, "the prompt", bytes, err);
	if (!rc)
		rc = check_stops(model, request, bytes, err);
	if (!rc)
		rc = check_extras(model, request, bytes, err);
	return rc ? rc : check_sampling(model, request, err);
}

/* ---- a copy of it ---- */

static const char *copy_text(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memcpy(*at, text, size);

	*at += size;
	return copy;
}

/* An array's copy at the front of the block; NULL where there is none. */
static void *copy_array(char **at, const void *array, size_t size)
{
	void *copy = *at;

	if (size == 0)
		return NULL;
	memcpy(copy, array, size);
	*at += size;
	return copy;
}

/* Lets the request point to copies, all in one block: the arrays first, for their alignment, then
 * the strings, of `bytes` in all. */
static void *copy_pointees(struct pc_text_request *request, size_t bytes)
{
	/* None can overflow: all of it has been seen in memory. */
	size_t messages_size = request->message_count * sizeof(struct pc_chat_message);
	size_t stops_size = request->stop_count * sizeof(char *);
	size_t biases_size = request->logit_bias_count * sizeof(struct pc_logit_bias);
	char *block = pc_malloc(messages_size + stops_size + biases_size + bytes);
	char *at = block;

	if (!block)
		return NULL;

	struct pc_chat_message *messages = copy_array(&at, request->messages, messages_size);
	const char **stops = copy_array(&at, request->stops, stops_size);

	request->logit_biases = copy_array(&at, request->logit_biases, biases_size);
	for (size_t i = 0; i < request->message_count; i++) {
		messages[i].role = copy_text(&at, messages[i].role);
		messages[i].content = copy_text(&at, messages[i].content);
	}
	for (size_t i = 0; i < request->stop_count; i++)
		stops[i] = copy_text(&at, stops[i]);
	request->messages = messages;
	request->stops = stops;
	if (request->prompt)
		request->prompt = copy_text(&at, request->prompt);
	if (request->grammar)
		request->grammar = copy_text(&at, request->grammar);
	return block;
}

/* ---- the whole ---- */

int pc__text_request_read(const struct pc_model *model, const struct pc_text_request *request,
			  bool copy, struct pc_text_request *ret_request, void **ret_block,
			  struct pc_error *err)
{
	size_t known = request->size && request->size < sizeof(*request) ? request->size
									 : sizeof(*request);
	size_t bytes;

	/* A caller of another version of the structure says so with its size. */
	memset(ret_request, 0, sizeof(*ret_request));
	memcpy(ret_request, request, known);
	ret_request->size = sizeof(*ret_request);
	if (ret_request->top_p == 0)
		ret_request->top_p = 1;

	int rc = check_request(model, ret_request, &bytes, err);

	if (rc || !copy)
		return rc;

	void *block = copy_pointees(ret_request, bytes);

	if (!block)
		return pc__call_oom(model, err);
	*ret_block = block;
	return 0;
}
