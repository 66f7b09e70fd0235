/* SPDX-License-Identifier: MIT */
/*
 * text_call.c - runs an engine's text functions: lends them a sink, passes on what they say, and
 * finds out why they ended. The callback form is here; text_answer.c and text_stream.c have the
 * others.
 *
 * All of it runs on the one thread that has the worker; only `declined` is set from elsewhere.
 */
#include "capability/text_call.h"

#include "capability/image_source.h"

void pc__text_call_fini(struct pc__text_call *call)
{
	pc_free(call->block);
	pc__images_free(call->images);
	call->block = NULL;
	call->images = NULL;
}

/* ---- the sink ---- */

static bool is_declined(struct pc__text_call *call)
{
	return atomic_load_explicit(&call->declined, memory_order_relaxed);
}

static void take_chunk(void *ctx, const char *text, size_t length)
{
	struct pc__text_call *call = ctx;

	if (!text || length == 0 || is_declined(call))
		return;
	if (!call->on_chunk(call->ctx, text, length))
		atomic_store_explicit(&call->declined, true, memory_order_relaxed);
}

static bool is_stopped(void *ctx)
{
	struct pc__text_call *call = ctx;

	return is_declined(call) || pc_run_should_stop(call->run);
}

/* ---- the run ---- */

static int ask_engine(struct pc__text_call *call, const struct pc_text_sink *sink,
		      struct pc_error *said, struct pc_error *err)
{
	const struct pc_lease *lease = &call->run->lease;
	const struct pc_engine *engine = lease->engine;
	bool vision = pc_model_capability(call->model) == PC_CAPABILITY_VISION;

	if (vision && !PC_ENGINE_HAS(engine, describe_image))
		return pc__call_unsupported(call->run, "describe_image", err);
	if (vision)
		return engine->describe_image(lease->instance, lease->slot, &call->request.vision,
					      sink, &call->result, said);
	if (!PC_ENGINE_HAS(engine, generate))
		return pc__call_unsupported(call->run, "generate", err);

	int rc = pc_engine_check_text_request(engine, &call->request.text, said);

	if (rc)
		return rc;
	return engine->generate(lease->instance, lease->slot, &call->request.text, sink,
				&call->result, said);
}

int pc__text_call_run(struct pc__text_call *call, const struct pc_run *run, struct pc_error *err)
{
	struct pc_text_sink sink = {
		.size = sizeof(sink), .chunk = take_chunk, .stopped = is_stopped, .ctx = call
	};
	struct pc_error said;

	pc_error_clear(&said);
	call->run = run;
	call->result = (struct pc_text_result){ .size = sizeof(call->result) };

	int rc = ask_engine(call, &sink, &said, err);
	bool broken_off = rc == PC_E_CANCELLED ||
			  (rc == 0 && call->result.finish_reason == PC_FINISH_CANCELLED);

	/* Also when the answer had come to its end in the same moment: not all of it was heard. */
	if ((rc == 0 || broken_off) && is_declined(call)) {
		call->result.finish_reason = PC_FINISH_CANCELLED;
		return 0;
	}
	return pc__call_end(run, broken_off ? PC_E_CANCELLED : rc, &said, err);
}

/* ---- by callback ---- */

static int run_watched(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	return pc__text_call_run(ctx, run, err);
}

int pc__text_call_watch(struct pc__text_call *call, const struct pc_request_options *options,
			pc_text_chunk_fn on_chunk, void *ctx, struct pc_text_result *ret_result,
			struct pc_error *err)
{
	int rc = pc__call_need(call->model, on_chunk != NULL, "callback for the text", err);

	call->on_chunk = on_chunk;
	call->ctx = ctx;
	if (!rc)
		rc = pc_pool_call(call->model, options, run_watched, call, err);
	if (!rc && ret_result)
		*ret_result = call->result;
	pc__text_call_fini(call);
	return rc;
}
