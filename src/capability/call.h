/* SPDX-License-Identifier: MIT */
/*
 * call.h - what the typed calls have in common: looking at arguments, and saying in one voice what
 * went wrong with which model. Inside the library only.
 */
#ifndef CAPABILITY_CALL_H
#define CAPABILITY_CALL_H

#include <poolcore/capability.h>

/* pc_error_set with the model's key in front; returns `code`. */
int pc__call_refuse(const struct pc_model *model, struct pc_error *err, int code, const char *fmt,
		    ...) PC_PRINTF(4, 5);

/* The refusals below return a code that an analyzer sees is not 0. */

static inline int pc__call_oom(const struct pc_model *model, struct pc_error *err)
{
	pc__call_refuse(model, err, PC_E_OUT_OF_MEMORY, "%s", pc_error_text(PC_E_OUT_OF_MEMORY));
	return PC_E_OUT_OF_MEMORY;
}

/* That something was given; `what` completes "no ... was given". */
static inline int pc__call_need(const struct pc_model *model, bool given, const char *what,
				struct pc_error *err)
{
	if (given)
		return 0;
	pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT, "no %s was given (it is NULL)", what);
	return PC_E_INVALID_ARGUMENT;
}

/* That there is a model and it has the capability. */
int pc__call_check(const struct pc_model *model, enum pc_capability capability,
		   struct pc_error *err);
/* What is wrong with a text, for the end of a sentence: "is empty". */
struct pc__text_fault {
	char what[64];
};

/*
 * Whether a text is there, 1..`max` bytes (`max` up to PC_TEXT_MAX_BYTES) and UTF-8. Its length, or
 * what is wrong with it. Reads no more than max + 1 bytes.
 */
bool pc__text_is_good(const char *text, size_t max, size_t *ret_length,
		      struct pc__text_fault *ret_fault);

/* Refuses a text that is not; `what` begins the sentence: "the prompt". */
static inline int pc__call_bad_text(const struct pc_model *model, const char *what,
				    const struct pc__text_fault *fault, struct pc_error *err)
{
	pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT, "%s %s", what, fault->what);
	return PC_E_INVALID_ARGUMENT;
}

/*
 * The end of a run: turns what an engine's function returned, and what it said in `said`, into what
 * the caller hears. An engine that gave up because it was asked to is CANCELLED, TIMEOUT or
 * SHUTTING_DOWN; one that was not asked, or returns what is no error, is a MODEL_ERROR.
 */
int pc__call_end(const struct pc_run *run, int rc, const struct pc_error *said,
		 struct pc_error *err);

/* The end of a run whose engine has no function of this name, whatever its table promises. */
int pc__call_unsupported(const struct pc_run *run, const char *function, struct pc_error *err);

#endif
