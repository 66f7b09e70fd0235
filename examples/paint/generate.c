/* SPDX-License-Identifier: MIT */
/*
 * generate.c - one picture: prompt in, PNG out. Runs on the caller's thread and keeps nothing of a
 * request after it.
 *
 * A run that is cancelled still hands on a whole PNG file: the sheet as far as it was painted,
 * which is blank before the first step. While the file is encoded nobody is asked any more.
 */
#include "paint.h"

#include <stdio.h>
#include <string.h>

#include <poolcore/text.h>

#define SIDE_DEFAULT 256
#define STEPS_MAX 1000
#define STEPS_DEFAULT 20
#define GUIDANCE_DEFAULT 0.9f
#define PROMPT_MAX_BYTES 4096 /* a guess; change freely */

static int check_text(const char *text, const char *member, struct pc_error *err)
{
	size_t length = strnlen(text, PROMPT_MAX_BYTES + 1);

	if (length > PROMPT_MAX_BYTES)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "%s is longer than %d bytes, the most that is read", member,
				    PROMPT_MAX_BYTES);
	if (pc_utf8_valid_prefix(text, length) != length)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "%s is not UTF-8 at byte %zu",
				    member, pc_utf8_valid_prefix(text, length));
	return 0;
}

static int check_numbers(const struct pc_image_request *request, struct pc_error *err)
{
	const struct {
		const char *member;
		uint32_t value, most, otherwise;
	} rows[] = {
		{ "width", request->width, SIDE_MAX, SIDE_DEFAULT },
		{ "height", request->height, SIDE_MAX, SIDE_DEFAULT },
		{ "steps", request->steps, STEPS_MAX, STEPS_DEFAULT },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		if (rows[i].value > rows[i].most)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "%s is %u; it is 1 to %u, or 0 for %u", rows[i].member,
					    rows[i].value, rows[i].most, rows[i].otherwise);
	}
	if (!(request->guidance >= 0 && request->guidance <= 1))
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "guidance is %g; it is more than 0 and at most 1, or 0 for %g",
				    (double)request->guidance, (double)GUIDANCE_DEFAULT);
	return 0;
}

static int check_request(const struct pc_image_request *request, const struct pc_image_sink *sink,
			 const struct pc_image_result *result, struct pc_error *err)
{
	int rc;

	if (request->size < sizeof(*request) || sink->size < sizeof(*sink) || !sink->chunk ||
	    result->size < sizeof(*result))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the request, its sink or its result is incomplete");
	if (!request->prompt || !*request->prompt)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "prompt is empty; it says what to paint, as in 'a red circle'");
	rc = check_text(request->prompt, "prompt", err);
	if (!rc && request->negative_prompt)
		rc = check_text(request->negative_prompt, "negative_prompt", err);
	return rc ? rc : check_numbers(request, err);
}

/* The host's last answer: after a "stop" the steps end, and it is not asked again. */
struct stop {
	const struct pc_image_sink *sink;
	bool is_asked_for;
};

static bool is_stopped(void *ctx)
{
	struct stop *stop = ctx;

	stop->is_asked_for = stop->sink->stopped && stop->sink->stopped(stop->sink->ctx);
	return stop->is_asked_for;
}

/* All steps, or as many as the host wants; how many were done whole. */
static uint32_t paint_steps(struct easel *easel, struct stop *stop)
{
	easel_begin(easel);
	for (uint32_t step = 1; step <= easel->steps; step++) {
		if (!easel_step(easel, step, is_stopped, stop))
			return step - 1;
		if (stop->sink->progress)
			stop->sink->progress(stop->sink->ctx, step, easel->steps);
	}
	return easel->steps;
}

static int paint_scene(struct pc_engine_instance *instance, const struct scene *scene,
		       struct easel *easel, const struct pc_image_sink *sink,
		       struct pc_image_result *result, struct pc_error *err)
{
	size_t count = (size_t)scene->width * scene->height;
	uint64_t bytes = 2 * count * sizeof(struct rgb);
	pc_auto(pc_free) struct rgb *pixels = pc_malloc(bytes);
	struct stop stop = { .sink = sink };

	if (!pixels)
		return pc_error_oom(err);
	atomic_fetch_add_explicit(&instance->memory_bytes, bytes, memory_order_relaxed);
	target_fill(scene, pixels);
	easel->target = pixels;
	easel->sheet = pixels + count;
	result->steps = paint_steps(easel, &stop);
	result->finish_reason = stop.is_asked_for ? PC_FINISH_CANCELLED : PC_FINISH_STOP;
	int rc = png_encode(easel->sheet, scene->width, scene->height, sink, err);

	atomic_fetch_sub_explicit(&instance->memory_bytes, bytes, memory_order_relaxed);
	return rc;
}

int generate_image(struct pc_engine_instance *instance, uint32_t slot,
		   const struct pc_image_request *request, const struct pc_image_sink *sink,
		   struct pc_image_result *ret_result, struct pc_error *err)
{
	int rc = check_request(request, sink, ret_result, err);

	if (rc)
		return rc;
	if (slot >= instance->slot_count)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "slot %u of %u", slot,
				    instance->slot_count);

	struct easel easel = {
		.width = request->width ? request->width : SIDE_DEFAULT,
		.height = request->height ? request->height : SIDE_DEFAULT,
		.steps = request->steps ? request->steps : STEPS_DEFAULT,
		.guidance = request->guidance > 0 ? request->guidance : GUIDANCE_DEFAULT,
		.chance = { .state = request->seed },
	};
	struct pc_image_result result = { .size = ret_result->size };
	struct scene scene;

	rc = scene_compose(&instance->vocabulary, request, easel.width, easel.height, &scene, err);
	if (!rc)
		rc = paint_scene(instance, &scene, &easel, sink, &result, err);
	if (rc)
		return rc;
	ret_result->finish_reason = result.finish_reason;
	ret_result->width = easel.width;
	ret_result->height = easel.height;
	ret_result->steps = result.steps;
	snprintf(ret_result->media_type, sizeof(ret_result->media_type), "image/png");
	return 0;
}
