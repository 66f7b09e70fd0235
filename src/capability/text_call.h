/* SPDX-License-Identifier: MIT */
/*
 * text_call.h - one call whose result is text, about a prompt or an image: the request, the
 * engine's sink, and the three ways to get the text: by callback, collected, as a stream. Inside
 * the library only.
 */
#ifndef CAPABILITY_TEXT_CALL_H
#define CAPABILITY_TEXT_CALL_H

#include <stdatomic.h>

#include "capability/call.h"

struct pc__images;

struct pc__text_call {
	struct pc_model *model;
	/* What is asked, by the model's capability. */
	union {
		struct pc_text_request text;
		struct pc_vision_request vision;
	} request;
	void *block;		   /* the copies that the request points to, or NULL */
	struct pc__images *images; /* vision's, or NULL */

	pc_text_chunk_fn on_chunk; /* set before the run */
	void *ctx;
	/* Whoever gets the text wants no more. Relaxed: a hint between threads, that publishes
	 * nothing. */
	atomic_bool declined;

	const struct pc_run *run; /* while it runs */
	struct pc_text_result result;
};

/* Frees what a prepared call holds. */
void pc__text_call_fini(struct pc__text_call *call);

/*
 * The work of a call, to be used as or in a pc_run_fn: asks the engine, hands its text to
 * on_chunk. 0 with PC_FINISH_CANCELLED when the call was declined.
 */
int pc__text_call_run(struct pc__text_call *call, const struct pc_run *run, struct pc_error *err);

/*
 * The forms. Each takes over a prepared call, also when it fails. The first two may use the
 * caller's memory; the others want a call that was prepared with copies.
 */
int pc__text_call_watch(struct pc__text_call *call, const struct pc_request_options *options,
			pc_text_chunk_fn on_chunk, void *ctx, struct pc_text_result *ret_result,
			struct pc_error *err);
int pc__text_call_collect(struct pc__text_call *call, const struct pc_request_options *options,
			  struct pc_text_answer *ret_answer, struct pc_error *err);
int pc__text_call_collect_async(struct pc__text_call *call,
				const struct pc_request_options *options,
				struct pc_text_answer *ret_answer, pc_done_fn done, void *ctx,
				struct pc_error *err);
int pc__text_call_stream(struct pc__text_call *call, const struct pc_request_options *options,
			 struct pc_text_stream **ret_stream, struct pc_error *err);

#endif
