/* SPDX-License-Identifier: MIT */
/*
 * sample.c - which token comes next. Runs on the thread of the call that it belongs to.
 *
 * Scores become candidates in this order, llama.cpp's own: logit_biases, the penalties, the
 * grammar; then its samplers cut them (top_k, top_p, min_p), flatten them (temperature) and draw.
 * Biases and penalties are ours: they concern few tokens of a vocabulary of many, which llama.cpp's
 * samplers would walk, and its function for penalties has had three signatures.
 *
 * The grammar's look at a whole vocabulary takes longer than a small model's token. So the choice
 * is made without it first; only one that it does not take is made again among those it does. The
 * probabilities are the same: what was refused is shared out in proportion.
 */
#include "llama_engine.h"

#include <math.h>
#include <string.h>

/* llama-server's. */
#define REPEAT_WINDOW_DEFAULT 64

/* Below it the likeliest token has all the probability that a float can tell from 1; far below it
 * the scores, divided by it, become infinite and their sum no number. vLLM draws the line here too.
 */
#define TEMPERATURE_MIN 1e-5f

/* ---- what may be asked ---- */

static const struct {
	const char *name;
	size_t offset;
	float min, max;
	bool zero; /* is possible besides */
	const char *range;
} numbers[] = {
#define NUMBER(member) #member, offsetof(struct pc_text_request, member)
	{ NUMBER(temperature), 0, 100, true, "from 0 to 100 (2 is a lot)" },
	{ NUMBER(top_p), 1e-30f, 1, false, "more than 0 and at most 1" },
	{ NUMBER(min_p), 0, 1, true, "from 0 to 1" },
	{ NUMBER(repeat_penalty), 0.1f, 10, true, "from 0.1 to 10, or 0" },
	{ NUMBER(presence_penalty), -2, 2, true, "from -2 to 2" },
	{ NUMBER(frequency_penalty), -2, 2, true, "from -2 to 2" },
#undef NUMBER
};

static int check_biases(size_t vocab_size, const struct pc_text_request *request,
			struct pc_error *err)
{
	if (request->logit_bias_count > PC_TEXT_MAX_BIASES)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "logit_bias has %zu tokens; %d are possible",
				    request->logit_bias_count, PC_TEXT_MAX_BIASES);
	if (request->logit_bias_count > 0 && !request->logit_biases)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "logit_biases is missing");
	for (size_t i = 0; i < request->logit_bias_count; i++) {
		const struct pc_logit_bias *bias = &request->logit_biases[i];

		if (bias->token < 0 || (size_t)bias->token >= vocab_size)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "logit_bias has the token %d; the model's are 0 to %zu",
					    bias->token, vocab_size - 1);
		if (!(bias->bias >= -100 && bias->bias <= 100))
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "logit_bias of token %d is %g; it is from -100 to 100",
					    bias->token, (double)bias->bias);
	}
	return 0;
}

int check_sampling(const struct pc_engine_instance *instance, const struct pc_text_request *request,
		   struct pc_error *err)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(numbers); i++) {
		float value;

		memcpy(&value, (const char *)request + numbers[i].offset, sizeof(value));
		if (!(value >= numbers[i].min && value <= numbers[i].max) &&
		    !(numbers[i].zero && value == 0))
			return pc_error_set(err, PC_E_INVALID_REQUEST, "%s is %g; it is %s",
					    numbers[i].name, (double)value, numbers[i].range);
	}
	if (request->top_k > INT32_MAX)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "top_k is %u; it is from 0 to %d",
				    request->top_k, INT32_MAX);
	return check_biases((size_t)llama_vocab_n_tokens(instance->vocab), request, err);
}

/* ---- what was said ---- */

static void remember(struct sampler *sampler, llama_token token)
{
	if (!sampler->seen)
		return;
	if (sampler->window_count == sampler->window_room)
		sampler->seen[sampler->window[sampler->window_at]]--;
	else
		sampler->window_count++;
	sampler->window[sampler->window_at] = token;
	sampler->window_at = (sampler->window_at + 1) % sampler->window_room;
	sampler->seen[token]++;
}

static int make_window(struct sampler *sampler, const struct pc_engine_instance *instance,
		       const struct tokens *prompt, struct pc_error *err)
{
	float penalty = sampler->request->repeat_penalty;
	size_t room = sampler->request->repeat_window ? sampler->request->repeat_window
						      : REPEAT_WINDOW_DEFAULT;

	if (penalty == 0 || penalty == 1)
		return 0;
	sampler->window_room = room < instance->context_tokens ? room : instance->context_tokens;
	sampler->window = pc_calloc(sampler->window_room, sizeof(*sampler->window));
	sampler->seen = pc_calloc(sampler->vocab_size, sizeof(*sampler->seen));
	if (!sampler->window || !sampler->seen)
		return pc_error_oom(err);
	size_t first = prompt->count > sampler->window_room ? prompt->count - sampler->window_room
							    : 0;

	for (size_t i = first; i < prompt->count; i++)
		remember(sampler, prompt->data[i]);
	return 0;
}

/* ---- scores ---- */

static void add_biases(struct sampler *sampler)
{
	const struct pc_text_request *request = sampler->request;

	/* From the end, each token once: the last one counts. `p` is free until the draw. */
	for (size_t i = request->logit_bias_count; i-- > 0;) {
		llama_token_data *candidate = &sampler->candidates[request->logit_biases[i].token];

		if (candidate->p == 0)
			candidate->logit += request->logit_biases[i].bias;
		candidate->p = 1;
	}
	for (size_t i = 0; i < request->logit_bias_count; i++)
		sampler->candidates[request->logit_biases[i].token].p = 0;
}

/* CTRL's (arXiv 1909.05858), with llama.cpp's care for scores below 0. */
static void divide_repeated(struct sampler *sampler)
{
	float penalty = sampler->request->repeat_penalty;

	for (size_t i = 0; i < sampler->vocab_size && sampler->seen; i++) {
		float *logit = &sampler->candidates[i].logit;

		if (sampler->seen[i])
			*logit = *logit > 0 ? *logit / penalty : *logit * penalty;
	}
}

/* https://platform.openai.com/docs/api-reference/chat: mu[j] - c[j] * frequency - (c[j] > 0) *
 * presence. */
static void take_off_said(struct sampler *sampler)
{
	const struct pc_text_request *request = sampler->request;

	for (size_t i = 0; i < sampler->vocab_size && sampler->said; i++) {
		if (sampler->said[i])
			sampler->candidates[i].logit -= (float)sampler->said[i] *
								request->frequency_penalty +
							request->presence_penalty;
	}
}

/* Drops the candidates that cannot be drawn, so that rounding never draws one. */
static size_t drop_impossible(llama_token_data *candidates, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (candidates[i].logit > -INFINITY)
			candidates[left++] = candidates[i];
	}
	return left;
}

/* The candidates in the order of their tokens. Broken weights give what is not a number, on which
 * llama.cpp's samplers would end the process. */
static int fill(struct sampler *sampler, struct llama_context *context,
		llama_token_data_array *ret_array, struct pc_error *err)
{
	const float *logits = llama_get_logits_ith(context, -1);
	bool bad = !logits;

	for (size_t i = 0; i < sampler->vocab_size && !bad; i++) {
		sampler->candidates[i] = (llama_token_data){ (llama_token)i, logits[i], 0 };
		bad = isnan(logits[i]) || logits[i] == INFINITY;
	}
	if (!bad) {
		add_biases(sampler);
		divide_repeated(sampler);
		take_off_said(sampler);
	}
	size_t count = bad ? 0 : drop_impossible(sampler->candidates, sampler->vocab_size);

	if (count == 0)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "the model computes what is not a number: its file is damaged");
	*ret_array = (llama_token_data_array){ sampler->candidates, count, -1, false };
	return 0;
}

/* ---- the choice ---- */

static llama_token draw(struct sampler *sampler, llama_token_data_array *array)
{
	llama_sampler_apply(sampler->chain, array);
	return array->data[array->selected].id;
}

static bool grammar_takes(struct sampler *sampler, llama_token token)
{
	llama_token_data one = { token, 1, 0 };
	llama_token_data_array array = { &one, 1, -1, false };

	llama_sampler_apply(sampler->grammar, &array);
	return one.logit > -INFINITY;
}

int sampler_next(struct sampler *sampler, struct llama_context *context, llama_token *ret_token,
		 struct pc_error *err)
{
	llama_token_data_array array;
	int rc = fill(sampler, context, &array, err);

	if (rc)
		return rc;
	llama_token token = draw(sampler, &array);

	if (sampler->grammar && !grammar_takes(sampler, token)) {
		rc = fill(sampler, context, &array, err);
		if (rc)
			return rc;
		llama_sampler_apply(sampler->grammar, &array);
		array.size = drop_impossible(array.data, array.size);
		if (array.size == 0)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "grammar leaves nothing to go on with that this model "
					    "has a token for");
		token = draw(sampler, &array);
	}
	/* llama.cpp throws, which ends the process, at a token that its grammar does not take; here
	 * it always does. The end is no part of the sentence. */
	if (sampler->grammar && !llama_vocab_is_eog(sampler->vocab, token))
		llama_sampler_accept(sampler->grammar, token);
	if (sampler->said)
		sampler->said[token]++;
	remember(sampler, token);
	*ret_token = token;
	return 0;
}

/* ---- life ---- */

static int make_chain(struct sampler *sampler, struct pc_error *err)
{
	const struct pc_text_request *request = sampler->request;
	/* llama.cpp reads this one number as "draw a seed", and the answer would be a new one. */
	uint32_t seed = request->seed == LLAMA_DEFAULT_SEED ? 0 : request->seed;
	struct llama_sampler *chain = llama_sampler_chain_init(
		llama_sampler_chain_default_params());

	sampler->chain = chain;
	if (!chain)
		return pc_error_oom(err);
	if (request->temperature < TEMPERATURE_MIN) {
		llama_sampler_chain_add(chain, llama_sampler_init_greedy());
		return 0;
	}
	if (request->top_k > 0)
		llama_sampler_chain_add(chain, llama_sampler_init_top_k((int32_t)request->top_k));
	if (request->top_p < 1)
		llama_sampler_chain_add(chain, llama_sampler_init_top_p(request->top_p, 1));
	if (request->min_p > 0)
		llama_sampler_chain_add(chain, llama_sampler_init_min_p(request->min_p, 1));
	llama_sampler_chain_add(chain, llama_sampler_init_temp(request->temperature));
	llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
	return 0;
}

int sampler_init(struct sampler *sampler, const struct pc_engine_instance *instance,
		 const struct pc_text_request *request, const struct tokens *prompt,
		 struct pc_error *err)
{
	*sampler = (struct sampler){
		.request = request,
		.vocab = instance->vocab,
		.vocab_size = (size_t)llama_vocab_n_tokens(instance->vocab),
	};
	sampler->candidates = pc_calloc(sampler->vocab_size, sizeof(*sampler->candidates));
	if (!sampler->candidates)
		return pc_error_oom(err);
	if (request->presence_penalty != 0 || request->frequency_penalty != 0) {
		sampler->said = pc_calloc(sampler->vocab_size, sizeof(*sampler->said));
		if (!sampler->said)
			return pc_error_oom(err);
	}
	int rc = make_window(sampler, instance, prompt, err);

	if (!rc)
		rc = make_grammar(sampler->vocab, request->grammar, &sampler->grammar, err);
	return rc ? rc : make_chain(sampler, err);
}

void sampler_fini(struct sampler *sampler)
{
	if (sampler->chain)
		llama_sampler_free(sampler->chain);
	if (sampler->grammar)
		llama_sampler_free(sampler->grammar);
	pc_free(sampler->candidates);
	pc_free(sampler->said);
	pc_free(sampler->seen);
	pc_free(sampler->window);
}
