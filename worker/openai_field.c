/* SPDX-License-Identifier: MIT */
/* openai_field.c - fields that hold one plain value, and what all refusals have in common. */
#include "openai_field.h"

#include <math.h>

int field_refuse(int code, struct pc_error *err, const char *param)
{
	pc_error_detail(err, "param", "%s", param);
	return code;
}

const char *kind_of(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

void *member_of(struct openai_request *request, const struct field *field)
{
	return (char *)request + field->offset;
}

int take_bool(struct openai_request *request, const struct field *field, json_t *value,
	      struct pc_error *err)
{
	if (!json_is_boolean(value))
		return REFUSE(err, field->name, "'%s' must be true or false, not %s", field->name,
			      kind_of(value));
	*(bool *)member_of(request, field) = json_is_true(value);
	return 0;
}

int take_string(struct openai_request *request, const struct field *field, json_t *value,
		struct pc_error *err)
{
	if (!json_is_string(value))
		return REFUSE(err, field->name, "'%s' must be a string, not %s", field->name,
			      kind_of(value));
	*(const char **)member_of(request, field) = json_string_value(value);
	return 0;
}

int take_float(struct openai_request *request, const struct field *field, json_t *value,
	       struct pc_error *err)
{
	double number = json_number_value(value);

	if (!json_is_number(value))
		return REFUSE(err, field->name, "'%s' must be a number, not %s", field->name,
			      kind_of(value));
	if (!(number >= field->min && number <= field->max))
		return REFUSE(err, field->name, "'%s' must be at least %g and at most %g, not %g",
			      field->name, field->min, field->max, number);
	*(float *)member_of(request, field) = (float)number;
	return 0;
}

bool whole_number(const json_t *value, json_int_t *ret_number)
{
	double real = json_real_value(value);

	if (json_is_integer(value))
		*ret_number = json_integer_value(value);
	else if (json_is_real(value) && fabs(real) < 0x1p53 && real == trunc(real))
		*ret_number = (json_int_t)real;
	else
		return false;
	return true;
}

int take_count(struct openai_request *request, const struct field *field, json_t *value,
	       struct pc_error *err)
{
	json_int_t number;

	if (!whole_number(value, &number))
		return REFUSE(err, field->name, "'%s' must be a whole number, not %s", field->name,
			      json_is_real(value) ? "a fraction" : kind_of(value));
	if (number < (json_int_t)field->min || number > (json_int_t)field->max)
		return REFUSE(err, field->name,
			      "'%s' must be from %.0f to %.0f, not %" JSON_INTEGER_FORMAT,
			      field->name, field->min, field->max, number);
	*(uint32_t *)member_of(request, field) = (uint32_t)number;
	return 0;
}
