/* SPDX-License-Identifier: MIT */
/* openai_sampling.c - fields that say how the engine chooses tokens and where it ends. */
#include "openai_field.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Any 64-bit number, folded to the engine's 32. */
int take_seed(struct openai_request *request, const struct field *field, json_t *value,
	      struct pc_error *err)
{
	json_int_t number;

	if (!whole_number(value, &number))
		return REFUSE(err, field->name, "'%s' must be a whole number, not %s", field->name,
			      json_is_real(value) ? "a fraction" : kind_of(value));

	uint64_t bits = (uint64_t)number;

	request->text.seed = (uint32_t)(bits ^ bits >> 32);
	request->has_seed = true;
	return 0;
}

int take_stop(struct openai_request *request, const struct field *field, json_t *value,
	      struct pc_error *err)
{
	size_t count = json_is_array(value) ? json_array_size(value) : 1;

	if (count > PC_TEXT_MAX_STOPS)
		return REFUSE(err, field->name, "'%s' holds %zu strings; %d are the most",
			      field->name, count, PC_TEXT_MAX_STOPS);
	for (size_t i = 0; i < count; i++) {
		json_t *item = json_is_array(value) ? json_array_get(value, i) : value;

		if (!json_is_string(item))
			return REFUSE(err, field->name,
				      "'%s' must be a string or an array of strings, not %s%s",
				      field->name, json_is_array(value) ? "one that holds " : "",
				      kind_of(item));
		/* An empty one stops nothing; forms send it for a field left blank. */
		if (json_string_length(item) > 0)
			request->stops[request->text.stop_count++] = json_string_value(item);
	}
	request->text.stops = request->stops;
	return 0;
}

/* vLLM writes -1 for all tokens. */
int take_top_k(struct openai_request *request, const struct field *field, json_t *value,
	       struct pc_error *err)
{
	if (json_integer_value(value) == -1)
		return 0;
	return take_count(request, field, value, err);
}

/* llama-server's: -1 is the whole context, 0 switches the penalty off. */
int take_repeat_last_n(struct openai_request *request, const struct field *field, json_t *value,
		       struct pc_error *err)
{
	if (json_integer_value(value) == -1) {
		*(uint32_t *)member_of(request, field) = INT32_MAX;
		return 0;
	}
	int rc = take_count(request, field, value, err);

	request->no_repeating = rc == 0 && *(uint32_t *)member_of(request, field) == 0;
	return rc;
}

/* "50256", and nothing but digits; false when it is no token's number. */
static bool token_number(const char *key, int32_t *ret_token)
{
	char *end;

	errno = 0;
	long number = strtol(key, &end, 10);

	if (key[strspn(key, "0123456789")] || !*key || errno || number > INT32_MAX)
		return false;
	*ret_token = (int32_t)number;
	return true;
}

int take_logit_bias(struct openai_request *request, const struct field *field, json_t *value,
		    struct pc_error *err)
{
	size_t count = json_object_size(value), at = 0;
	const char *key;
	json_t *bias;

	if (!json_is_object(value))
		return REFUSE(err, field->name, "'%s' must be an object, not %s", field->name,
			      kind_of(value));
	if (count > PC_TEXT_MAX_BIASES)
		return REFUSE(err, field->name, "'%s' holds %zu tokens; %d are the most",
			      field->name, count, PC_TEXT_MAX_BIASES);
	if (count == 0)
		return 0;
	request->biases = pc_calloc(count, sizeof(*request->biases));
	if (!request->biases)
		return pc_error_oom(err);
	json_object_foreach(value, key, bias)
	{
		double number = json_number_value(bias);

		if (!token_number(key, &request->biases[at].token))
			return REFUSE(err, field->name,
				      "'%s' has the member '%.64s'; it must be a token's number",
				      field->name, key);
		if (!json_is_number(bias) || !(number >= -100 && number <= 100))
			return REFUSE(err, field->name,
				      "'%s.%.16s' must be a number from -100 to 100", field->name,
				      key);
		request->biases[at++].bias = (float)number;
	}
	request->text.logit_biases = request->biases;
	request->text.logit_bias_count = count;
	return 0;
}

/* An empty one is none; forms send it for a field left blank. */
int take_grammar(struct openai_request *request, const struct field *field, json_t *value,
		 struct pc_error *err)
{
	if (json_is_string(value) && json_string_length(value) == 0)
		return 0;
	return take_string(request, field, value, err);
}

int take_response_format(struct openai_request *request, const struct field *field, json_t *value,
			 struct pc_error *err)
{
	const char *type = json_string_value(json_object_get(value, "type"));

	if (!type)
		return REFUSE(err, field->name,
			      "'%s' must be an object like {\"type\":\"json_object\"}",
			      field->name);
	request->json_only = strcmp(type, "json_object") == 0;
	if (!request->json_only && strcmp(type, "text") != 0)
		return REFUSE(err, field->name,
			      "'%s.type' must be \"text\" or \"json_object\", not \"%.32s\"",
			      field->name, type);
	return 0;
}
