/* SPDX-License-Identifier: MIT */
/*
 * openai_field.h - one field of a request body: how the tables of openai_request.c describe it, and
 * the functions that put its value into the request or refuse it by name. Runs on the loop.
 */
#ifndef WORKER_OPENAI_FIELD_H
#define WORKER_OPENAI_FIELD_H

#include "openai_request.h"

struct field;
typedef int (*take_fn)(struct openai_request *request, const struct field *field, json_t *value,
		       struct pc_error *err);

struct field {
	const char *name;
	take_fn take;	     /* USED: puts the value into the request */
	const char *neutral; /* NEUTRAL: a JSON array of the values that are accepted */
	size_t offset;	     /* of the member that take fills */
	double min, max;
};

/* Every refusal names its field for machines too. */
#define REFUSE(err, param, ...) \
	field_refuse(pc_error_set(err, PC_E_INVALID_REQUEST, __VA_ARGS__), err, param)

int field_refuse(int code, struct pc_error *err, const char *param);
/* "an object", "a number", for the sentence. */
const char *kind_of(const json_t *value);
/* Where a field's value goes: its `offset` in the request. */
void *member_of(struct openai_request *request, const struct field *field);
/* 100.0 is one as well: not every language keeps whole numbers apart. */
bool whole_number(const json_t *value, json_int_t *ret_number);

/* ---- openai_field.c: scalars, `min` and `max` where they are numbers ---- */

int take_bool(struct openai_request *request, const struct field *field, json_t *value,
	      struct pc_error *err);
int take_string(struct openai_request *request, const struct field *field, json_t *value,
		struct pc_error *err);
int take_float(struct openai_request *request, const struct field *field, json_t *value,
	       struct pc_error *err);
int take_count(struct openai_request *request, const struct field *field, json_t *value,
	       struct pc_error *err);

/* ---- openai_sampling.c: what the engine chooses tokens by ---- */

int take_seed(struct openai_request *request, const struct field *field, json_t *value,
	      struct pc_error *err);
int take_stop(struct openai_request *request, const struct field *field, json_t *value,
	      struct pc_error *err);
int take_top_k(struct openai_request *request, const struct field *field, json_t *value,
	       struct pc_error *err);
int take_repeat_last_n(struct openai_request *request, const struct field *field, json_t *value,
		       struct pc_error *err);
int take_logit_bias(struct openai_request *request, const struct field *field, json_t *value,
		    struct pc_error *err);
int take_grammar(struct openai_request *request, const struct field *field, json_t *value,
		 struct pc_error *err);
int take_response_format(struct openai_request *request, const struct field *field, json_t *value,
			 struct pc_error *err);

#endif
