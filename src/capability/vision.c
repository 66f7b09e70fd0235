/* SPDX-License-Identifier: MIT */
/*
 * vision.c - questions about an image: reads the image, checks the question, and leaves the rest to
 * text_call.h. Any thread.
 */
#include <string.h>

#include "capability/image_source.h"
#include "capability/text_call.h"

static int check_question(const struct pc_model *model, const struct pc_vision_question *question,
			  struct pc_error *err)
{
	struct pc__text_fault fault;
	size_t length;

	if (question->prompt && *question->prompt &&
	    !pc__text_is_good(question->prompt, PC_TEXT_MAX_BYTES, &length, &fault))
		return pc__call_bad_text(model, "the prompt", &fault, err);
	if (!(question->temperature >= 0 && question->temperature <= 2))
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "the temperature is %g; it may be 0 to 2",
				       (double)question->temperature);
	return 0;
}

/* Reads the image into the call and fills in the engine's request. */
static int load(struct pc__text_call *call, const struct pc_vision_question *question, bool copy,
		struct pc_error *err)
{
	const char *prompt = question->prompt ? question->prompt : "";
	int rc = pc__images_read(&question->image, 1, copy, &call->images, err);

	if (rc) {
		pc_error_prefix(err, "'%s'", pc_model_key(call->model));
		return rc;
	}
	if (copy) {
		call->block = pc_strdup(prompt);
		prompt = call->block;
	}
	if (!prompt) {
		pc__text_call_fini(call);
		return pc__call_oom(call->model, err);
	}
	call->request.vision = (struct pc_vision_request){
		.size = sizeof(call->request.vision),
		.image = call->images->images[0],
		.prompt = prompt,
		.max_tokens = question->max_tokens,
		.temperature = question->temperature,
		.seed = question->seed,
	};
	return 0;
}

static int prepare(struct pc_model *model, const struct pc_vision_question *question, bool copy,
		   struct pc__text_call *ret_call, struct pc_error *err)
{
	int rc = pc__call_check(model, PC_CAPABILITY_VISION, err);

	if (!rc)
		rc = pc__call_need(model, question != NULL, "question", err);
	if (!rc)
		rc = check_question(model, question, err);
	if (rc)
		return rc;
	*ret_call = (struct pc__text_call){ .model = model };
	return load(ret_call, question, copy, err);
}

int pc_describe_image(struct pc_model *model, const struct pc_vision_question *question,
		      const struct pc_request_options *options, struct pc_text_answer *ret_answer,
		      struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, question, false, &call, err);

	return rc ? rc : pc__text_call_collect(&call, options, ret_answer, err);
}

int pc_describe_image_async(struct pc_model *model, const struct pc_vision_question *question,
			    const struct pc_request_options *options,
			    struct pc_text_answer *ret_answer, pc_done_fn done, void *ctx,
			    struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, question, true, &call, err);

	return rc ? rc : pc__text_call_collect_async(&call, options, ret_answer, done, ctx, err);
}

int pc_describe(struct pc_model *model, const struct pc_vision_question *question,
		const struct pc_request_options *options, pc_text_chunk_fn on_chunk, void *ctx,
		struct pc_text_result *ret_result, struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, question, false, &call, err);

	return rc ? rc : pc__text_call_watch(&call, options, on_chunk, ctx, ret_result, err);
}

int pc_vision_stream_open(struct pc_model *model, const struct pc_vision_question *question,
			  const struct pc_request_options *options,
			  struct pc_text_stream **ret_stream, struct pc_error *err)
{
	struct pc__text_call call;
	int rc = prepare(model, question, true, &call, err);

	return rc ? rc : pc__text_call_stream(&call, options, ret_stream, err);
}
