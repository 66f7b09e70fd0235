/* SPDX-License-Identifier: MIT */
/*
 * call.c - arguments and errors of the typed calls. It calls no engine. Any thread.
 */
#include "capability/call.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

int pc__call_refuse(const struct pc_model *model, struct pc_error *err, int code, const char *fmt,
		    ...)
{
	char message[PC_ERROR_MESSAGE_MAX];
	va_list args;

	if (!err || err->code)
		return code;
	va_start(args, fmt);
	if (vsnprintf(message, sizeof(message), fmt, args) < 0)
		message[0] = '\0';
	va_end(args);
	return pc_error_set(err, code, "'%s': %s", pc_model_key(model), message);
}

int pc__call_check(const struct pc_model *model, enum pc_capability capability,
		   struct pc_error *err)
{
	if (!model)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "no model was given, and %s needs one",
				    pc_capability_name(capability));
	if (pc_model_capability(model) != capability)
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "it is a model for %s, and this call is for %s",
				       pc_capability_name(pc_model_capability(model)),
				       pc_capability_name(capability));
	return 0;
}

bool pc__text_is_good(const char *text, size_t max, size_t *ret_length,
		      struct pc__text_fault *ret_fault)
{
	size_t length = text ? strnlen(text, max + 1) : 0;
	char size[32];

	if (!text)
		snprintf(ret_fault->what, sizeof(ret_fault->what), "is NULL");
	else if (length == 0)
		snprintf(ret_fault->what, sizeof(ret_fault->what), "is empty");
	else if (length > max)
		snprintf(ret_fault->what, sizeof(ret_fault->what), "is longer than %s",
			 pc_format_size(max, size));
	else if (pc__utf8_valid_prefix(text, length) < length)
		snprintf(ret_fault->what, sizeof(ret_fault->what), "is not UTF-8 at byte %zu",
			 pc__utf8_valid_prefix(text, length));
	else {
		*ret_length = length;
		return true;
	}
	return false;
}

int pc__call_end(const struct pc_run *run, int rc, const struct pc_error *said,
		 struct pc_error *err)
{
	const struct pc_model *model = run->lease.model;

	if (rc == 0)
		return 0;
	if (rc == PC_E_CANCELLED && pc_run_should_stop(run))
		return pc_run_stop_error(run, err);
	if (rc == PC_E_CANCELLED)
		return pc__call_refuse(model, err, PC_E_MODEL_ERROR,
				       "the engine broke off without being asked to");
	if (rc > 0)
		return pc__call_refuse(model, err, PC_E_MODEL_ERROR,
				       "the engine returned %d, which is no error of its interface",
				       rc);
	if (!err || err->code)
		return rc;
	pc__call_refuse(model, err, rc, "%s", said->code ? said->message : pc_error_text(rc));
	if (said->code) {
		err->sys_errno = said->sys_errno;
		err->detail_count = said->detail_count;
		memcpy(err->details, said->details, sizeof(err->details));
	}
	return rc;
}

int pc__call_unsupported(const struct pc_run *run, const char *function, struct pc_error *err)
{
	return pc__call_refuse(run->lease.model, err, PC_E_UNSUPPORTED,
			       "its engine '%s' has no function %s", run->lease.engine->name,
			       function);
}
