/* SPDX-License-Identifier: MIT */
/*
 * generate.c - text to text: the request is text_request.h's, the rest text_call.h's. Any thread.
 */
#include "capability/text_call.h"
#include "capability/text_request.h"

static int prepare(struct pc_model *model, const struct pc_text_request *request, bool copy,
		   struct pc__text_call *ret_call, struct pc_error *err)
{
	int rc = pc__call_check(model, PC_CAPABILITY_TEXT_TO_TEXT, err);

	if (!rc)
		rc = pc__call_need(model, request != NULL, "request", err);
	if (rc)
		return rc;
	*ret_call = (struct pc__text_call){ .model = model };
	return pc__text_request_read(model, request, copy, &ret_call->request.text,
				     &ret_call->block, err);
}

int pc_generate_text(struct pc_model *model, const struct pc_text_request *request,
		     const struct pc_request_options *options, struct pc_text_answer *ret_answer,
		     struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, request, false, &call, err);

	return rc ? rc : pc__text_call_collect(&call, options, ret_answer, err);
}

int pc_generate_text_async(struct pc_model *model, const struct pc_text_request *request,
			   const struct pc_request_options *options,
			   struct pc_text_answer *ret_answer, pc_done_fn done, void *ctx,
			   struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, request, true, &call, err);

	return rc ? rc : pc__text_call_collect_async(&call, options, ret_answer, done, ctx, err);
}

int pc_generate(struct pc_model *model, const struct pc_text_request *request,
		const struct pc_request_options *options, pc_text_chunk_fn on_chunk, void *ctx,
		struct pc_text_result *ret_result, struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, request, false, &call, err);

	return rc ? rc : pc__text_call_watch(&call, options, on_chunk, ctx, ret_result, err);
}

int pc_text_stream_open(struct pc_model *model, const struct pc_text_request *request,
			const struct pc_request_options *options,
			struct pc_text_stream **ret_stream, struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, request, true, &call, err);

	return rc ? rc : pc__text_call_stream(&call, options, ret_stream, err);
}
