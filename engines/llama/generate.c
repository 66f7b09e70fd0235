/* SPDX-License-Identifier: MIT */
/*
 * generate.c - one answer: prompt in, tokens out, until something says enough. Runs on the caller's
 * thread (llama.cpp brings helpers for the arithmetic), touches its own slot only, keeps nothing
 * of a request after it.
 */
#include "llama_engine.h"

#include <math.h>
#include <string.h>

/* Longer than any token of the usual vocabularies (runs of blanks lead with 256 or so). */
#define PIECE_MAX_BYTES 1024

/* Below it the likeliest token has all the probability that a float can tell from 1; far below it
 * the scores, divided by it, become infinite and their sum no number. vLLM draws the line here too.
 */
#define TEMPERATURE_MIN 1e-5f

/* Every token is compared with every stop string. A guess; change freely. */
#define STOP_MAX_BYTES 1024

struct run {
	const struct pc_engine_instance *instance;
	struct llama_context *context;
	const struct pc_text_request *request;
	const struct pc_text_sink *sink;
	struct llama_sampler *sampler;
	struct answer answer;
	uint32_t prompt_tokens;
	uint32_t completion_tokens;
	bool cancelled; /* the host said so; it is not asked again */
};

static bool is_cancelled(struct run *run)
{
	if (!run->cancelled && run->sink->stopped)
		run->cancelled = run->sink->stopped(run->sink->ctx);
	return run->cancelled;
}

/* llama.cpp asks this between the steps of its arithmetic, on the thread that called it. */
static bool on_abort(void *ctx)
{
	return is_cancelled(ctx);
}

static int check_request(const struct pc_text_request *request, const struct pc_text_sink *sink,
			 const struct pc_text_result *result, struct pc_error *err)
{
	if (request->size < sizeof(*request) || sink->size < sizeof(*sink) || !sink->chunk ||
	    result->size < sizeof(*result))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the request, its sink or its result is incomplete");
	if (!(request->temperature >= 0 && request->temperature <= 100))
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "temperature is %g; it is a number from 0 (2 is a lot)",
				    (double)request->temperature);
	if (!(request->top_p > 0 && request->top_p <= 1))
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "top_p is %g; it is more than 0 and at most 1",
				    (double)request->top_p);
	if (request->stop_count > PC_TEXT_MAX_STOPS)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "%zu stop strings; %d are possible",
				    request->stop_count, PC_TEXT_MAX_STOPS);
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

static struct llama_sampler *make_sampler(const struct pc_text_request *request)
{
	struct llama_sampler_chain_params params = llama_sampler_chain_default_params();
	struct llama_sampler *chain = llama_sampler_chain_init(params);
	/* llama.cpp reads this one number as "draw a seed", and the answer would be a new one. */
	uint32_t seed = request->seed == LLAMA_DEFAULT_SEED ? 0 : request->seed;

	if (!chain)
		return NULL;
	if (request->temperature < TEMPERATURE_MIN) {
		llama_sampler_chain_add(chain, llama_sampler_init_greedy());
		return chain;
	}
	if (request->top_p < 1)
		llama_sampler_chain_add(chain, llama_sampler_init_top_p(request->top_p, 1));
	llama_sampler_chain_add(chain, llama_sampler_init_temp(request->temperature));
	llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
	return chain;
}

/* Computes up to one batch of tokens behind those that the context holds already. */
static int decode(struct run *run, llama_token *tokens, uint32_t count, struct pc_error *err)
{
	forget_complaint();
	int32_t rc = llama_decode(run->context, llama_batch_get_one(tokens, (int32_t)count));

	if (rc == 0 || run->cancelled)
		return 0;
	return pc_error_set(err, PC_E_MODEL_ERROR, "llama.cpp could not compute (%d)%s%s", rc,
			    *last_complaint() ? ": " : "", last_complaint());
}

static int read_prompt(struct run *run, const struct tokens *tokens, struct pc_error *err)
{
	for (uint32_t at = 0; at < tokens->count; at += BATCH_TOKENS) {
		uint32_t left = tokens->count - at;
		int rc;

		if (is_cancelled(run))
			return 0;
		rc = decode(run, tokens->data + at, left < BATCH_TOKENS ? left : BATCH_TOKENS, err);
		if (rc || run->cancelled)
			return rc;
	}
	return 0;
}

/* Broken weights give what is not a number, on which the sampler would end the process. */
static int check_logits(const struct run *run, struct pc_error *err)
{
	const float *logits = llama_get_logits_ith(run->context, -1);
	int32_t count = llama_vocab_n_tokens(run->instance->vocab);
	bool bad = !logits;

	for (int32_t i = 0; logits && i < count; i++)
		bad |= isnan(logits[i]);
	return bad ? pc_error_set(err, PC_E_MODEL_ERROR,
				  "the model computes what is not a number: its file is damaged")
		   : 0;
}

/* Says one token. */
static int say_token(struct run *run, llama_token token, struct pc_error *err)
{
	char piece[PIECE_MAX_BYTES];
	/* In a chat the blank before the first word belongs to nothing. */
	int32_t skip = run->request->messages && run->completion_tokens == 1;
	int32_t length = llama_token_to_piece(run->instance->vocab, token, piece, sizeof(piece),
					      skip, false);

	if (length < 0)
		return pc_error_set(err, PC_E_MODEL_ERROR, "token %d stands for %d bytes", token,
				    -length);
	return answer_add(&run->answer, piece, (size_t)length, err);
}

/* From a context that holds the prompt to the end of the answer. */
static int write_answer(struct run *run, enum pc_finish_reason *ret_reason, struct pc_error *err)
{
	const struct pc_text_request *request = run->request;
	int rc;

	for (;;) {
		if (is_cancelled(run)) {
			*ret_reason = PC_FINISH_CANCELLED;
			return 0;
		}
		rc = check_logits(run, err);
		if (rc)
			return rc;
		llama_token token = llama_sampler_sample(run->sampler, run->context, -1);

		*ret_reason = PC_FINISH_STOP;
		if (llama_vocab_is_eog(run->instance->vocab, token))
			break;
		run->completion_tokens++;
		rc = say_token(run, token, err);
		if (rc)
			return rc;
		if (run->answer.stopped)
			return 0;
		*ret_reason = PC_FINISH_LENGTH;
		if (run->completion_tokens == request->max_tokens ||
		    run->prompt_tokens + run->completion_tokens >= run->instance->context_tokens)
			break;
		rc = decode(run, &token, 1, err);
		if (rc)
			return rc;
	}
	rc = answer_end(&run->answer, err);
	if (run->answer.stopped)
		*ret_reason = PC_FINISH_STOP;
	return rc;
}

static int run_slot(struct run *run, enum pc_finish_reason *ret_reason, struct pc_error *err)
{
	pc_auto(pc_free) char *text = NULL;
	struct tokens tokens = { .data = NULL };
	int rc = render(run->instance, run->request, &text, err);

	if (!rc)
		rc = tokenize(run->instance, text, true, run->instance->context_tokens - 1, 1,
			      &tokens, err);
	if (rc)
		return rc;
	run->prompt_tokens = tokens.count;
	llama_memory_t memory = llama_get_memory(run->context);

	if (memory) /* models that write all words at once have none */
		llama_memory_clear(memory, false);
	llama_set_abort_callback(run->context, on_abort, run);
	rc = read_prompt(run, &tokens, err);
	pc_free(tokens.data);
	if (!rc)
		rc = write_answer(run, ret_reason, err);
	llama_set_abort_callback(run->context, NULL, NULL);
	return rc;
}

int generate(struct pc_engine_instance *instance, uint32_t slot,
	     const struct pc_text_request *request, const struct pc_text_sink *sink,
	     struct pc_text_result *ret_result, struct pc_error *err)
{
	enum pc_finish_reason reason = PC_FINISH_STOP;
	int rc = check_request(request, sink, ret_result, err);

	if (rc)
		return rc;
	if (slot >= instance->slot_count || !instance->slots[slot].text)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    instance->capability == PC_CAPABILITY_TEXT_TO_TEXT
					    ? "slot %u of %u"
					    : "slot %u of %u: the model was loaded to embed",
				    slot, instance->slot_count);

	struct run run = {
		.instance = instance,
		.context = instance->slots[slot].text,
		.request = request,
		.sink = sink,
		.sampler = make_sampler(request),
		.answer = { .sink = sink,
			    .stops = request->stops,
			    .stop_count = request->stop_count },
	};

	if (!run.sampler)
		return pc_error_oom(err);
	rc = run_slot(&run, &reason, err);
	llama_sampler_free(run.sampler);
	answer_fini(&run.answer);
	if (rc)
		return rc;
	ret_result->finish_reason = reason;
	ret_result->prompt_tokens = run.prompt_tokens;
	ret_result->completion_tokens = run.completion_tokens;
	return 0;
}
