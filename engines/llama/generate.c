/* SPDX-License-Identifier: MIT */
/*
 * generate.c - one answer: prompt in, tokens out, until something says enough. Runs on the caller's
 * thread (llama.cpp brings helpers for the arithmetic), touches its own slot only. Of a request
 * nothing outlives it but its prompt's tokens (prefix.c).
 */
#include "llama_engine.h"

#include <string.h>

/* Longer than any token of the usual vocabularies (runs of blanks lead with 256 or so). */
#define PIECE_MAX_BYTES 1024

/* Every token is compared with every stop string. A guess; change freely. */
#define STOP_MAX_BYTES 1024

struct run {
	const struct pc_engine_instance *instance;
	struct slot *slot;
	const struct pc_text_request *request;
	const struct pc_text_sink *sink;
	struct sampler sampler;
	struct answer answer;
	struct pc_text_result result;
	bool cancelled; /* the host said so; it is not asked again */
};

static bool is_cancelled(struct run *run)
{
	if (!run->cancelled)
		run->cancelled = call_is_cancelled(run->slot) ||
				 (run->sink->stopped && run->sink->stopped(run->sink->ctx));
	return run->cancelled;
}

/* llama.cpp asks this between the steps of its arithmetic, on the thread that called it. */
static bool on_abort(void *ctx)
{
	return is_cancelled(ctx);
}

static int check_stops(const struct pc_text_request *request, struct pc_error *err)
{
	if (request->stop_count > PC_TEXT_MAX_STOPS)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "%zu stop strings; %d are possible",
				    request->stop_count, PC_TEXT_MAX_STOPS);
	if (request->stop_count > 0 && !request->stops)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the stop strings are missing");
	for (size_t i = 0; i < request->stop_count; i++) {
		int rc = check_utf8(request->stops[i], "a stop string", err);

		if (rc)
			return rc;
		if (strlen(request->stops[i]) > STOP_MAX_BYTES)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "a stop string has %zu bytes; %d are possible",
					    strlen(request->stops[i]), STOP_MAX_BYTES);
	}
	return 0;
}

/* Computes up to one batch of tokens behind those that the context holds already. */
static int decode(struct run *run, llama_token *tokens, uint32_t count, struct pc_error *err)
{
	forget_complaint();
	int32_t rc = llama_decode(run->slot->text, llama_batch_get_one(tokens, (int32_t)count));

	if (rc == 0 || run->cancelled)
		return 0;
	return pc_error_set(err, PC_E_MODEL_ERROR, "llama.cpp could not compute (%d)%s%s", rc,
			    *last_complaint() ? ": " : "", last_complaint());
}

/* Reads what the context does not hold of the prompt, which is the slot's. */
static int read_prompt(struct run *run, struct pc_error *err)
{
	const struct tokens *prompt = &run->slot->read;

	for (uint32_t at = run->result.cached_tokens; at < prompt->count;) {
		uint32_t left = prompt->count - at;
		uint32_t count = left < BATCH_TOKENS ? left : BATCH_TOKENS;
		int rc;

		if (is_cancelled(run))
			return 0;
		rc = decode(run, prompt->data + at, count, err);
		if (rc || run->cancelled)
			return rc;
		at += count;
		prefix_extend(run->slot, at);
	}
	return 0;
}

/* Says one token. */
static int say_token(struct run *run, llama_token token, struct pc_error *err)
{
	char piece[PIECE_MAX_BYTES];
	/* In a chat the blank before the first word belongs to nothing. */
	int32_t skip = run->request->messages && run->result.completion_tokens == 1;
	int32_t length = llama_token_to_piece(run->instance->vocab, token, piece, sizeof(piece),
					      skip, false);

	if (length < 0)
		return pc_error_set(err, PC_E_MODEL_ERROR, "token %d stands for %d bytes", token,
				    -length);
	return answer_add(&run->answer, piece, (size_t)length, err);
}

/* Whether there is no room for a token after the one that was said last. */
static bool is_full(const struct run *run)
{
	return run->result.completion_tokens == run->request->max_tokens ||
	       run->result.prompt_tokens + run->result.completion_tokens >=
		       run->instance->context_tokens;
}

/* From a context that holds the prompt to the end of the answer. */
static int write_answer(struct run *run, struct pc_error *err)
{
	enum pc_finish_reason *reason = &run->result.finish_reason;
	llama_token token;
	int rc;

	for (;;) {
		*reason = PC_FINISH_CANCELLED;
		if (is_cancelled(run))
			return 0;
		rc = sampler_next(&run->sampler, run->slot->text, &token, err);
		if (rc)
			return rc;
		*reason = PC_FINISH_STOP;
		if (llama_vocab_is_eog(run->instance->vocab, token))
			break;
		run->result.completion_tokens++;
		rc = say_token(run, token, err);
		if (rc || run->answer.stopped)
			return rc;
		*reason = PC_FINISH_LENGTH;
		if (is_full(run))
			break;
		rc = decode(run, &token, 1, err);
		if (rc)
			return rc;
	}
	rc = answer_end(&run->answer, err);
	if (run->answer.stopped)
		*reason = PC_FINISH_STOP;
	return rc;
}

static int tokenize_prompt(struct run *run, struct tokens *ret_tokens, struct pc_error *err)
{
	const struct text_use use = prompt_use(run->instance);
	pc_auto(pc_free) char *text = NULL;
	int rc = render(run->instance, run->request, &text, err);

	return rc ? rc : tokenize(run->instance, text, &use, ret_tokens, err);
}

static int run_slot(struct run *run, struct pc_error *err)
{
	struct tokens prompt = { .data = NULL };
	int rc = tokenize_prompt(run, &prompt, err);

	if (!rc)
		rc = sampler_init(&run->sampler, run->instance, run->request, &prompt, err);
	if (rc) {
		pc_free(prompt.data);
		return rc;
	}
	run->result.prompt_tokens = prompt.count;
	run->result.cached_tokens = prefix_keep(run->instance, run->slot, &prompt);
	llama_set_abort_callback(run->slot->text, on_abort, run);
	rc = read_prompt(run, err);
	if (!rc)
		rc = write_answer(run, err);
	llama_set_abort_callback(run->slot->text, NULL, NULL);
	return rc;
}

static int generate_in(const struct pc_engine_instance *instance, struct slot *slot,
		       const struct pc_text_request *request, const struct pc_text_sink *sink,
		       struct pc_text_result *result, struct pc_error *err)
{
	struct run run = {
		.instance = instance,
		.slot = slot,
		.request = request,
		.sink = sink,
		.answer = { .sink = sink,
			    .stops = request->stops,
			    .stop_count = request->stop_count },
		.result = { .size = sizeof(run.result) },
	};

	call_begin(slot);
	int rc = run_slot(&run, err);

	call_end(slot);
	sampler_fini(&run.sampler);
	answer_fini(&run.answer);
	if (!rc)
		give_result(&run.result, result);
	return rc;
}

int generate(struct pc_engine_instance *instance, uint32_t slot,
	     const struct pc_text_request *request, const struct pc_text_sink *sink,
	     struct pc_text_result *ret_result, struct pc_error *err)
{
	struct pc_text_request asked;
	struct pc_text_sink to;
	int rc = take_request(request, &asked, err);

	if (!rc)
		rc = take_sink(sink, &to, err);
	if (!rc)
		rc = check_result(ret_result, err);
	if (!rc)
		rc = check_sampling(instance, &asked, err);
	if (!rc)
		rc = check_stops(&asked, err);
	if (rc)
		return rc;
	if (slot >= instance->slot_count || !instance->slots[slot].text)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    instance->capability == PC_CAPABILITY_TEXT_TO_TEXT
					    ? "slot %u of %u"
					    : "slot %u of %u: the model was loaded to embed",
				    slot, instance->slot_count);
	return generate_in(instance, &instance->slots[slot], &asked, &to, ret_result, err);
}
