/* SPDX-License-Identifier: MIT */
/* openai_sampling.c - fields that say how the engine chooses tokens and where it ends. */
#include "openai_field.h"

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
