/* SPDX-License-Identifier: MIT */
/*
 * generate_image.c - text to image: checks the request, lends the engine a sink, and collects the
 * file or passes it on.
 *
 * The run is on one thread, the caller's or a worker's; nothing is shared while it lasts.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "capability/call.h"

struct work {
	struct pc_model *model;
	struct pc_image_request request;
	void *strings; /* the copies that the request points to, one block, or NULL */
	struct pc_painting_watch watch;

	/* While it runs. */
	const struct pc_run *run;
	bool declined; /* the watcher wants no more */
	bool too_large;
	struct pc__buf file;
	size_t length; /* of all that came, collected or passed on */
	struct pc_painting painting;

	/* Asynchronous ones only. */
	struct pc_painting *ret_painting;
	pc_done_fn done;
	void *ctx;
};

void pc_painting_fini(struct pc_painting *painting)
{
	if (!painting)
		return;
	pc_free(painting->data);
	*painting = (struct pc_painting){ .data = NULL };
}

static void work_fini(struct work *work)
{
	pc_painting_fini(&work->painting);
	pc__buf_fini(&work->file);
	pc_free(work->strings);
}

/* ---- the sink ---- */

static bool is_over(const struct work *work)
{
	return work->declined || work->too_large || work->file.failed;
}

static void take_progress(void *ctx, uint32_t step, uint32_t steps)
{
	struct work *work = ctx;

	if (!is_over(work) && work->watch.progress)
		work->declined = !work->watch.progress(work->watch.ctx, step, steps);
}

static void take_chunk(void *ctx, const void *bytes, size_t length)
{
	struct work *work = ctx;

	if (!bytes || length == 0 || is_over(work))
		return;
	if (length > PC_IMAGE_MAX_BYTES - work->length) {
		work->too_large = true;
		return;
	}
	work->length += length;
	if (work->watch.chunk)
		work->declined = !work->watch.chunk(work->watch.ctx, bytes, length);
	else
		pc__buf_append(&work->file, bytes, length);
}

static bool is_stopped(void *ctx)
{
	const struct work *work = ctx;

	return is_over(work) || pc_run_should_stop(work->run);
}

/* ---- the run ---- */

static int take_result(struct work *work, const struct pc_image_result *result,
		       struct pc_error *err)
{
	struct pc_painting *painting = &work->painting;

	if (work->length == 0 && !work->declined)
		return pc__call_refuse(work->model, err, PC_E_MODEL_ERROR,
				       "the engine painted nothing");
	*painting = (struct pc_painting){
		.length = work->length,
		.finish_reason = work->declined ? PC_FINISH_CANCELLED : result->finish_reason,
		.width = result->width,
		.height = result->height,
		.steps = result->steps,
	};
	/* Stays terminated whatever the engine wrote. */
	memcpy(painting->media_type, result->media_type, sizeof(painting->media_type) - 1);
	if (work->watch.chunk)
		return 0;
	painting->data = pc__buf_steal(&work->file);
	return painting->data ? 0 : pc__call_oom(work->model, err);
}

static int run_work(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	struct work *work = ctx;
	const struct pc_lease *lease = &run->lease;
	struct pc_image_sink sink = { .size = sizeof(sink),
				      .progress = take_progress,
				      .chunk = take_chunk,
				      .stopped = is_stopped,
				      .ctx = work };
	struct pc_image_result result = { .size = sizeof(result) };
	struct pc_error said;
	char size[32];

	if (!PC_ENGINE_HAS(lease->engine, generate_image))
		return pc__call_unsupported(run, "generate_image", err);
	pc_error_clear(&said);
	work->run = run;

	int rc = lease->engine->generate_image(lease->instance, lease->slot, &work->request, &sink,
					       &result, &said);

	if (rc == 0 && result.finish_reason == PC_FINISH_CANCELLED)
		rc = PC_E_CANCELLED;
	/* Our own reasons to stop come first: they are why the engine said that it was
	 * cancelled. */
	if (rc == 0 || rc == PC_E_CANCELLED) {
		if (work->file.failed)
			return pc__call_oom(work->model, err);
		if (work->too_large)
			return pc__call_refuse(work->model, err, PC_E_MODEL_ERROR,
					       "the engine's image is larger than %s",
					       pc_format_size(PC_IMAGE_MAX_BYTES, size));
		if (work->declined)
			return take_result(work, &result, err);
	}
	rc = pc__call_end(run, rc, &said, err);
	return rc ? rc : take_result(work, &result, err);
}

/* ---- the request ---- */

static int check_request(const struct pc_model *model, const struct pc_image_request *request,
			 size_t *ret_bytes, struct pc_error *err)
{
	const char *negative = request->negative_prompt;
	struct pc__text_fault fault;
	size_t length, negative_length = 0;

	if (!pc__text_is_good(request->prompt, PC_TEXT_MAX_BYTES, &length, &fault))
		return pc__call_bad_text(model, "the prompt", &fault, err);
	if (negative && *negative &&
	    !pc__text_is_good(negative, PC_TEXT_MAX_BYTES, &negative_length, &fault))
		return pc__call_bad_text(model, "the negative prompt", &fault, err);
	/* Written so that NaN is refused too. */
	if (!(request->guidance >= 0) || isinf(request->guidance))
		return pc__call_refuse(model, err, PC_E_INVALID_ARGUMENT,
				       "the guidance is %g; it may be 0 (the model's own) or more",
				       (double)request->guidance);
	*ret_bytes = length + 1 + negative_length + 1;
	return 0;
}

/* Lets a checked request point to copies in one block, of `bytes`. */
static void *copy_strings(struct pc_image_request *request, size_t bytes)
{
	assert(request->prompt);

	char *block = pc_malloc(bytes);
	size_t size = strlen(request->prompt) + 1;

	if (!block)
		return NULL;
	request->prompt = memcpy(block, request->prompt, size);
	if (request->negative_prompt)
		request->negative_prompt = memcpy(block + size, request->negative_prompt,
						  strlen(request->negative_prompt) + 1);
	return block;
}

static int prepare(struct pc_model *model, const struct pc_image_request *request, bool copy,
		   const void *ret_painting, struct work *ret_work, struct pc_error *err)
{
	struct pc_image_request *own = &ret_work->request;
	size_t bytes = 0;
	int rc = pc__call_check(model, PC_CAPABILITY_TEXT_TO_IMAGE, err);

	if (!rc)
		rc = pc__call_need(model, request != NULL, "request", err);
	if (!rc)
		rc = pc__call_need(model, ret_painting != NULL, "place for the image", err);
	if (rc)
		return rc;
	*ret_work = (struct work){ .model = model };
	/* A caller of another version of the structure says so with its size. */
	memcpy(own, request,
	       request->size && request->size < sizeof(*own) ? request->size : sizeof(*own));
	own->size = sizeof(*own);
	rc = check_request(model, own, &bytes, err);
	if (rc || !copy)
		return rc;
	ret_work->strings = copy_strings(own, bytes);
	return ret_work->strings ? 0 : pc__call_oom(model, err);
}

/* ---- the calls ---- */

/* The image goes to its place, and is no longer the work's. */
static void hand_over(struct work *work, struct pc_painting *ret_painting)
{
	*ret_painting = work->painting;
	work->painting.data = NULL;
}

int pc_generate_image(struct pc_model *model, const struct pc_image_request *request,
		      const struct pc_request_options *options,
		      const struct pc_painting_watch *watch, struct pc_painting *ret_painting,
		      struct pc_error *err)
{
	struct work work;
	int rc = prepare(model, request, false, ret_painting, &work, err);

	if (rc)
		return rc;
	if (watch)
		work.watch = *watch;
	rc = pc_pool_call(model, options, run_work, &work, err);
	if (!rc)
		hand_over(&work, ret_painting);
	work_fini(&work);
	return rc;
}

static void work_done(void *ctx, const struct pc_error *err)
{
	struct work *work = ctx;
	pc_done_fn done = work->done;
	void *done_ctx = work->ctx;

	if (err->code == 0)
		hand_over(work, work->ret_painting);
	/* First, because whoever hears that it is over may end the program. */
	work_fini(work);
	pc_free(work);
	done(done_ctx, err);
}

int pc_generate_image_async(struct pc_model *model, const struct pc_image_request *request,
			    const struct pc_request_options *options,
			    struct pc_painting *ret_painting, pc_done_fn done, void *ctx,
			    struct pc_error *err)
{
	struct work prepared;
	int rc = prepare(model, request, true, ret_painting, &prepared, err);

	if (rc)
		return rc;

	struct work *work = NULL;

	rc = pc__call_need(model, done != NULL, "done callback", err);
	if (!rc && !(work = pc_malloc(sizeof(*work))))
		rc = pc__call_oom(model, err);
	if (rc) {
		work_fini(&prepared);
		return rc;
	}
	*work = prepared;
	work->ret_painting = ret_painting;
	work->done = done;
	work->ctx = ctx;
	rc = pc_pool_submit(model, options, run_work, work_done, work, err);
	if (rc) {
		work_fini(work);
		pc_free(work);
	}
	return rc;
}
