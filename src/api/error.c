/* SPDX-License-Identifier: MIT */
/*
 * error.c - the wire form of an error: its table, and the ways between it and struct pc_error. The
 * way out allocates nothing. It decides nothing about errors. Any thread.
 */
#include "api/field.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* clang-format off */
static const struct pc__api_field fields[] = {
	PC__API_ROW_TEXT(pc_api_error, message, 0, PC_API_TEXT_MAX),
	PC__API_ROW_OPTIONAL_TEXT(pc_api_error, type, 0, 64),
	PC__API_ROW_OPTIONAL_TEXT(pc_api_error, param, 0, PC_API_TEXT_MAX),
	PC__API_ROW_TEXT(pc_api_error, code, 1, 64),
	{ PC__API_AT(pc_api_error, details), .kind = PC__API_MAP, .optional = true,
	  .high = PC_ERROR_DETAILS_MAX, .text_high = PC_API_TEXT_MAX,
	  .beside = offsetof(struct pc_api_error, detail_count) },
	PC__API_ROW_OPTIONAL_TEXT(pc_api_error, correlation_id, 0, 128),
	PC__API_ROW_OPTIONAL_NUMBER(pc_api_error, http_status, 100, 599, 0),
	PC__API_ROW_BOOL(pc_api_error, retriable, true),
};
/* clang-format on */

static const struct pc__api_type inner_type = {
	.name = "an error",
	.size = sizeof(struct pc_api_error),
	.fields = fields,
	.field_count = PC_ARRAY_LEN(fields),
};

/* {"error": {...}}: the outer object is nothing but its one member. */
static const struct pc__api_field outer_fields[] = {
	{ .name = "error", .kind = PC__API_OBJECT, .offset = 0, .type = &inner_type },
};

const struct pc__api_type pc__table_pc_api_error = {
	.name = "an error",
	.size = sizeof(struct pc_api_error),
	.fields = outer_fields,
	.field_count = PC_ARRAY_LEN(outer_fields),
	.text_max = PC_API_ANSWER_MAX,
};

int pc_api_error_parse(const char *text, size_t length, struct pc_api_error *ret_value,
		       struct pc_error *err)
{
	struct pc_api_error value;
	int rc = pc__api_parse(&pc__table_pc_api_error, text, length, &value, &value.memory, err);

	if (rc)
		return rc;
	if (!value.http_status) {
		int code = pc_error_from_name(value.code);

		value.http_status = (uint16_t)pc_error_http_status(code);
		value.retriable = pc_error_retriable(code);
	}
	*ret_value = value;
	return 0;
}

PC__API_FUNCTIONS_BUT_PARSE(pc_api_error)

const char *pc_api_error_type(int code)
{
	int status = pc_error_http_status(code);

	if (status == 401)
		return "authentication_error";
	if (status == 429)
		return "rate_limit_error";
	return status >= 400 && status < 500 ? "invalid_request_error" : "server_error";
}

/* ---- from and to ---- */

void pc_api_error_of(const struct pc_error *err, const char *correlation_id, const char *param,
		     struct pc_api_detail details[PC_ERROR_DETAILS_MAX],
		     struct pc_api_error *ret_value)
{
	int code = err->code ? err->code : PC_E_INTERNAL;

	*ret_value = (struct pc_api_error){
		.code = pc_error_name(code),
		.message = err->message[0] ? err->message : pc_error_text(code),
		.type = pc_api_error_type(code),
		.param = param ? param : pc_error_detail_get(err, "param"),
		.details = details,
		.correlation_id = correlation_id,
		.http_status = (uint16_t)pc_error_http_status(code),
		.retriable = pc_error_retriable(code),
	};
	for (unsigned i = 0; i < err->detail_count; i++) {
		const struct pc_error_detail *detail = &err->details[i];

		/* It has a member of its own. */
		if (strcmp(detail->key, "param") != 0)
			details[ret_value->detail_count++] =
				(struct pc_api_detail){ detail->key, detail->value };
	}
}

int pc_api_error_take(const struct pc_api_error *value, struct pc_error *err)
{
	int code = pc_error_from_name(value->code);

	if (err)
		pc_error_clear(err);
	pc_error_set(err, code, "%s", value->message);
	for (size_t i = 0; i < value->detail_count; i++)
		pc_error_detail(err, value->details[i].key, "%s", value->details[i].value);
	if (value->param)
		pc_error_detail(err, "param", "%s", value->param);
	return code;
}

/* ---- into a buffer, whatever its size ---- */

/* One character less; what no message of ours would hold goes at once. */
static void cut_message(struct pc_api_error *value, char cut[PC_ERROR_MESSAGE_MAX])
{
	size_t length = strlen(value->message) - 1;

	if (length > PC_ERROR_MESSAGE_MAX - 1)
		length = PC_ERROR_MESSAGE_MAX - 1;
	length = pc__utf8_cut(value->message, length);
	memmove(cut, value->message, length);
	cut[length] = '\0';
	value->message = cut;
}

static size_t format_minimal(const char *code, char *buf, size_t size)
{
	int length = snprintf(buf, size, "{\"error\":{\"code\":\"%s\"}}", code);

	if (length > 0 && (size_t)length < size)
		return (size_t)length;
	if (size > 0)
		buf[0] = '\0';
	return 0;
}

size_t pc_api_error_format(const struct pc_api_error *value, char *buf, size_t size)
{
	char message[PC_ERROR_MESSAGE_MAX];
	struct pc_api_error shorter = *value;
	size_t length;

	/* Each round that does not fit leaves something out, so that it ends. */
	while ((length = pc__api_format(&pc__table_pc_api_error, &shorter, buf, size)) >= size) {
		if (shorter.detail_count > 0)
			shorter.detail_count--;
		else if (shorter.message[0])
			cut_message(&shorter, message);
		else
			return format_minimal(value->code, buf, size);
	}
	return length;
}
