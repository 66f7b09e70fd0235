/* SPDX-License-Identifier: MIT */
/*
 * read.c - the text that stands in an image: a detector marks where, a recognizer reads each place,
 * a row of places is a line of the answer. Runs on the caller's thread and keeps nothing of a
 * request after it.
 *
 * A text reader knows one answer to every question, so the prompt, the temperature and the seed of
 * a request play no part.
 */
#include "onnx_engine.h"

#include <string.h>

/*
 * Pieces of text in one image. More are left out, and the answer ends with LENGTH: a page of small
 * print has some hundreds, each costs about 10 ms, and an image made of dots must not occupy a slot
 * for an hour. A guess; change freely.
 */
#define PIECES_MAX 2000

struct run {
	const struct pc_engine_instance *instance;
	struct slot *slot;
	const struct pc_vision_request *request;
	const struct pc_text_sink *sink;
	struct image image;
	struct boxes boxes;
	uint32_t characters; /* passed on */
	enum pc_finish_reason reason;
};

static bool is_cancelled(struct run *run)
{
	if (run->reason != PC_FINISH_CANCELLED &&
	    (slot_is_cancelled(run->slot) ||
	     (run->sink->stopped && run->sink->stopped(run->sink->ctx))))
		run->reason = PC_FINISH_CANCELLED;
	return run->reason == PC_FINISH_CANCELLED;
}

/* An error of a run that was told to end is no error. */
static int forgive(struct run *run, int rc, const struct pc_error *why, struct pc_error *err)
{
	if (rc && slot_is_cancelled(run->slot)) {
		run->reason = PC_FINISH_CANCELLED;
		return 0;
	}
	if (rc && err && !err->code)
		*err = *why;
	return rc;
}

/* Scales a part of the image and runs a network on it. */
static int run_network(struct run *run, const struct network *network, const struct part *part,
		       const struct pixels *pixels, uint32_t width, uint32_t height,
		       struct network_output *ret_output, struct pc_error *err)
{
	pc_auto(pc_free) float *planes = pc_calloc((size_t)width * height, 3 * sizeof(*planes));

	if (!planes)
		return pc_error_oom(err);
	int rc = image_to_planes(&run->image, part, pixels, width, height, planes, err);

	return rc ? rc
		  : network_run(network, run->slot->options, planes, width, height, ret_output,
				err);
}

/* ---- where text stands ---- */

/* A side of the detector's input: never grown, and a multiple of what it works in. */
static uint32_t detector_side(const struct manifest_detector *manifest, uint32_t side,
			      uint32_t longest)
{
	uint32_t step = manifest->multiple_of;
	uint64_t scaled = longest > manifest->longest_side
				  ? (uint64_t)side * manifest->longest_side / longest
				  : side;
	uint32_t steps = (uint32_t)((scaled + step / 2) / step);

	return (steps > 0 ? steps : 1) * step;
}

static int take_map(struct run *run, const struct network_output *map, struct pc_error *err)
{
	char shape[96];

	if (map->rank != 4 || map->dims[0] != 1 || map->dims[1] != 1 || map->dims[2] < 1 ||
	    map->dims[3] < 1 || map->dims[2] * map->dims[3] > UINT32_MAX)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "the detector gave %s, which is no map of probabilities",
				    network_shape(map->dims, map->rank, shape));
	return find_boxes(map->data, (uint32_t)map->dims[3], (uint32_t)map->dims[2],
			  &run->instance->manifest.detector.rules, run->image.width,
			  run->image.height, &run->boxes, err);
}

static int detect(struct run *run, struct pc_error *err)
{
	const struct manifest_detector *manifest = &run->instance->manifest.detector;
	const struct part whole = { 0, 0, run->image.width, run->image.height };
	uint32_t longest = whole.width > whole.height ? whole.width : whole.height;
	struct network_output map;
	int rc = run_network(run, &run->instance->detector, &whole, &manifest->pixels,
			     detector_side(manifest, whole.width, longest),
			     detector_side(manifest, whole.height, longest), &map, err);

	if (rc)
		return rc;
	rc = take_map(run, &map, err);
	network_output_fini(&map);
	return rc;
}

/* ---- what stands there ---- */

static int take_classes(const struct run *run, const struct network_output *classes,
			struct text *text, float *ret_confidence, struct pc_error *err)
{
	const struct alphabet *alphabet = &run->instance->alphabet;
	char shape[96];

	if (classes->rank != 3 || classes->dims[0] != 1 || classes->dims[1] < 0 ||
	    classes->dims[2] != (int64_t)alphabet->count)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "the recognizer gave %s; probabilities of %zu classes are "
				    "wanted",
				    network_shape(classes->dims, classes->rank, shape),
				    alphabet->count);
	return alphabet_decode(alphabet, classes->data, (size_t)classes->dims[1], text,
			       ret_confidence, err);
}

/* Adds what one box says to a line, with a blank before it; nothing when it is hardly legible. */
static int read_box(struct run *run, const struct part *part, struct text *line,
		    struct pc_error *err)
{
	const struct manifest_recognizer *manifest = &run->instance->manifest.recognizer;
	uint64_t scaled = ((uint64_t)part->width * manifest->height + part->height - 1) /
			  part->height;
	uint32_t width = scaled < manifest->height	? manifest->height
			 : scaled > manifest->max_width ? manifest->max_width
							: (uint32_t)scaled;
	size_t before = line->length;
	float confidence = 0;
	struct network_output classes;
	int rc = run_network(run, &run->instance->recognizer, part, &manifest->pixels, width,
			     manifest->height, &classes, err);

	if (rc)
		return rc;
	if (before > 0)
		rc = text_add(line, " ", 1, err);
	if (!rc)
		rc = take_classes(run, &classes, line, &confidence, err);
	network_output_fini(&classes);
	if (!rc && line->data && !(confidence > 0 && confidence >= manifest->min_confidence)) {
		line->length = before;
		line->data[before] = '\0';
	}
	return rc;
}

/* ---- the answer ---- */

/* How many bytes the first `limit` characters of UTF-8 have; counts down what is left of it. */
static size_t cut_characters(const char *text, size_t length, uint32_t *limit)
{
	size_t at = 0;

	while (at<length && * limit> 0) {
		for (at++; at < length && ((unsigned char)text[at] & 0xc0) == 0x80; at++)
			;
		--*limit;
	}
	return at;
}

/* Passes a line on, as far as the request lets it. */
static void say_line(struct run *run, const char *text, size_t length)
{
	uint32_t most = run->request->max_tokens ? run->request->max_tokens : UINT32_MAX;
	uint32_t left = most - run->characters;
	size_t fits = cut_characters(text, length, &left);

	run->characters = most - left;
	if (fits < length)
		run->reason = PC_FINISH_LENGTH;
	if (fits > 0)
		run->sink->chunk(run->sink->ctx, text, fits);
}

/* Reads the boxes of one row from `first` on; *ret_next is the first of the next row. */
static int read_row(struct run *run, size_t first, size_t *ret_next, struct pc_error *err)
{
	/* A line break stands in front of every line but the first. */
	struct text line = { .data = NULL };
	const struct box *boxes = run->boxes.data;
	size_t at = first;
	int rc = 0;

	while (!rc && at < run->boxes.count && boxes[at].row == boxes[first].row)
		rc = read_box(run, &boxes[at++].part, &line, err);
	if (!rc && line.length > 0 && run->characters > 0) {
		rc = text_add(&line, "\n", 1, err);
		if (!rc) {
			memmove(line.data + 1, line.data, line.length - 1);
			line.data[0] = '\n';
		}
	}
	if (!rc && line.length > 0)
		say_line(run, line.data, line.length);
	pc_free(line.data);
	*ret_next = at;
	return rc;
}

static int read_image(struct run *run, struct pc_error *err)
{
	struct pc_error why = PC_ERROR_INIT;
	size_t at = 0;

	if (is_cancelled(run))
		return 0;
	int rc = forgive(run, detect(run, &why), &why, err);
	bool is_crowded = run->boxes.count > PIECES_MAX;

	if (is_crowded)
		run->boxes.count = PIECES_MAX;
	while (!rc && run->reason == PC_FINISH_STOP && at < run->boxes.count) {
		if (!is_cancelled(run))
			rc = forgive(run, read_row(run, at, &at, &why), &why, err);
	}
	if (is_crowded && run->reason == PC_FINISH_STOP)
		run->reason = PC_FINISH_LENGTH;
	return rc;
}

static int check_request(const struct pc_engine_instance *instance,
			 const struct pc_vision_request *request, const struct pc_text_sink *sink,
			 const struct pc_text_result *result, struct pc_error *err)
{
	if (request->size < sizeof(*request) || sink->size < sizeof(*sink) || !sink->chunk ||
	    result->size < sizeof(*result))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the request, its sink or its result is incomplete");
	if (instance->manifest.kind != MANIFEST_TEXT_READER)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the model embeds images and has no words for them");
	return 0;
}

int describe_image(struct pc_engine_instance *instance, uint32_t number,
		   const struct pc_vision_request *request, const struct pc_text_sink *sink,
		   struct pc_text_result *ret_result, struct pc_error *err)
{
	struct run run = { .instance = instance, .request = request, .sink = sink };
	int rc = check_request(instance, request, sink, ret_result, err);

	if (!rc)
		rc = slot_begin(instance, number, &run.slot, err);
	if (rc)
		return rc;
	rc = image_decode(&request->image, &run.image, err);
	if (!rc)
		rc = read_image(&run, err);
	image_fini(&run.image);
	pc_free(run.boxes.data);
	slot_end(run.slot);
	if (rc)
		return rc;
	ret_result->finish_reason = run.reason;
	ret_result->prompt_tokens = 0;
	ret_result->completion_tokens = run.characters;
	return 0;
}
