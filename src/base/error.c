/* SPDX-License-Identifier: MIT */
/*
 * error.c - fills `struct pc_error` and answers questions about the codes of PC_ERROR_LIST. It
 * never allocates and never logs.
 */
#include <poolcore/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct error_fact {
	int code;
	int http_status;
	bool retriable;
	const char *name;
	const char *text;
};

static const struct error_fact facts[] = {
#define X(name, number, status, retriable, text) { PC_E_##name, status, retriable, #name, text },
	PC_ERROR_LIST(X)
#undef X
};

static const struct error_fact *fact_of(int code)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(facts); i++) {
		if (facts[i].code == code)
			return &facts[i];
	}
	return fact_of(PC_E_INTERNAL);
}

static void format(char *buffer, size_t size, const char *fmt, va_list args)
{
	int length = vsnprintf(buffer, size, fmt, args);

	if (length < 0)
		buffer[0] = '\0';
	else if ((size_t)length >= size)
		buffer[pc__utf8_cut(buffer, size - 1)] = '\0';
}

int pc_error_set(struct pc_error *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err || err->code)
		return code;
	err->code = code;
	err->sys_errno = 0;
	err->detail_count = 0;
	va_start(args, fmt);
	format(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return code;
}

int pc_error_sys(struct pc_error *err, int code, int sys_errno, const char *fmt, ...)
{
	char context[PC_ERROR_MESSAGE_MAX];
	char reason[128];
	va_list args;

	if (!err || err->code)
		return code;
	va_start(args, fmt);
	format(context, sizeof(context), fmt, args);
	va_end(args);
	/* The GNU strerror_r returns the text, perhaps without touching the buffer. */
	pc_error_set(err, code, "%s: %s", context, strerror_r(sys_errno, reason, sizeof(reason)));
	err->sys_errno = sys_errno;
	return code;
}

int pc_error_oom(struct pc_error *err)
{
	return pc_error_set(err, PC_E_OUT_OF_MEMORY, "%s", pc_error_text(PC_E_OUT_OF_MEMORY));
}

void pc_error_prefix(struct pc_error *err, const char *fmt, ...)
{
	char joined[PC_ERROR_MESSAGE_MAX];
	va_list args;

	if (!err || !err->code)
		return;
	va_start(args, fmt);
	format(joined, sizeof(joined), fmt, args);
	va_end(args);

	size_t length = strlen(joined);

	if (snprintf(joined + length, sizeof(joined) - length, ": %s", err->message) < 0)
		joined[length] = '\0';
	memcpy(err->message, joined, sizeof(joined));
	err->message[pc__utf8_cut(err->message, strlen(err->message))] = '\0';
}

static struct pc_error_detail *detail_slot(struct pc_error *err, const char *key)
{
	for (unsigned i = 0; i < err->detail_count; i++) {
		if (strcmp(err->details[i].key, key) == 0)
			return &err->details[i];
	}
	return err->detail_count < PC_ERROR_DETAILS_MAX ? &err->details[err->detail_count++] : NULL;
}

void pc_error_detail(struct pc_error *err, const char *key, const char *fmt, ...)
{
	va_list args;

	if (!err || !err->code)
		return;

	struct pc_error_detail *detail = detail_slot(err, key);

	if (!detail)
		return;
	snprintf(detail->key, sizeof(detail->key), "%s", key);
	va_start(args, fmt);
	format(detail->value, sizeof(detail->value), fmt, args);
	va_end(args);
}

const char *pc_error_detail_get(const struct pc_error *err, const char *key)
{
	for (unsigned i = 0; err && i < err->detail_count; i++) {
		if (strcmp(err->details[i].key, key) == 0)
			return err->details[i].value;
	}
	return NULL;
}

void pc_error_clear(struct pc_error *err)
{
	if (!err)
		return;
	/* Not the rest: it is 3 KB, and a request passes here a dozen times. */
	err->code = 0;
	err->sys_errno = 0;
	err->message[0] = '\0';
	err->detail_count = 0;
}

const char *pc_error_name(int code)
{
	return code == PC_OK ? "OK" : fact_of(code)->name;
}

const char *pc_error_text(int code)
{
	return code == PC_OK ? "no error" : fact_of(code)->text;
}

int pc_error_http_status(int code)
{
	return code == PC_OK ? 200 : fact_of(code)->http_status;
}

bool pc_error_retriable(int code)
{
	return code != PC_OK && fact_of(code)->retriable;
}

int pc_error_from_name(const char *name)
{
	if (name && strcmp(name, "OK") == 0)
		return PC_OK;
	for (size_t i = 0; name && i < PC_ARRAY_LEN(facts); i++) {
		if (strcmp(facts[i].name, name) == 0)
			return facts[i].code;
	}
	return PC_E_INTERNAL;
}
