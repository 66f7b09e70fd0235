/* SPDX-License-Identifier: MIT */
/*
 * paint_fixture.h - asks the paint plug-in for pictures and looks at their pixels with libpng. The
 * arguments of a test that includes it are the folder of the plug-in and a file of words. Include
 * cmocka first.
 */
#ifndef TESTS_UNIT_PAINT_FIXTURE_H
#define TESTS_UNIT_PAINT_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include <poolcore/engine.h>

#define SLOTS 2
#define FILE_MAX_BYTES (1 << 20)

static const char *words_path;
static const struct pc_engine *engine;
static struct pc_engine_instance *model; /* SLOTS slots */

/* ---- a sink that keeps what it gets ---- */

struct file {
	unsigned char bytes[FILE_MAX_BYTES];
	size_t length;
	unsigned chunks, empty_chunks;
	unsigned steps;	   /* that progress() was told of */
	bool steps_jumped; /* ... not one after the other */
	unsigned asked;	   /* stopped() */
	int stop_after;	   /* steps; -1: never */
	bool said_stop;
	unsigned asked_again; /* stopped() after it has said true */
};

static void take_chunk(void *ctx, const void *bytes, size_t length)
{
	struct file *file = ctx;

	file->chunks++;
	file->empty_chunks += length == 0;
	if (length <= sizeof(file->bytes) - file->length) {
		memcpy(file->bytes + file->length, bytes, length);
		file->length += length;
	}
}

static void take_progress(void *ctx, uint32_t step, uint32_t steps)
{
	struct file *file = ctx;

	file->steps_jumped |= step != file->steps + 1 || step > steps;
	file->steps = step;
}

static bool has_enough(void *ctx)
{
	struct file *file = ctx;
	bool enough = file->stop_after >= 0 && file->steps >= (unsigned)file->stop_after;

	file->asked++;
	file->asked_again += file->said_stop;
	file->said_stop |= enough;
	return enough;
}

static inline struct pc_engine_spec spec_of(const char *path)
{
	return (struct pc_engine_spec){
		.size = sizeof(struct pc_engine_spec),
		.capability = PC_CAPABILITY_TEXT_TO_IMAGE,
		.model_path = path,
		.slots = SLOTS,
	};
}

static inline struct pc_image_request ask(const char *prompt, uint32_t seed)
{
	return (struct pc_image_request){
		.size = sizeof(struct pc_image_request),
		.prompt = prompt,
		.width = 96,
		.height = 96,
		.steps = 10, /* half of what is usual: TSan is slow with pixels */
		.seed = seed,
	};
}

static inline struct file *make_file(int stop_after)
{
	struct file *file = calloc(1, sizeof(*file));

	assert_non_null(file);
	file->stop_after = stop_after;
	return file;
}

static inline struct pc_image_sink sink_to(struct file *file)
{
	return (struct pc_image_sink){
		.size = sizeof(struct pc_image_sink),
		.progress = take_progress,
		.chunk = take_chunk,
		.stopped = has_enough,
		.ctx = file,
	};
}

static inline int run(uint32_t slot, const struct pc_image_request *request, struct file *file,
		      struct pc_image_result *result, struct pc_error *err)
{
	struct pc_image_sink sink = sink_to(file);

	result->size = sizeof(*result);
	return engine->generate_image(model, slot, request, &sink, result, err);
}

/* Runs a request that must succeed. */
static inline struct pc_image_result paint_file(const struct pc_image_request *request,
						struct file *file)
{
	struct pc_image_result result;
	struct pc_error err = PC_ERROR_INIT;

	if (run(0, request, file, &result, &err))
		fail_msg("%s", err.message);
	return result;
}

/* ---- pixels ---- */

struct picture {
	int width, height;
	unsigned char *pixels; /* three a pixel; free */
};

static inline struct picture decode(const struct file *file)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	struct picture picture;

	if (!png_image_begin_read_from_memory(&image, file->bytes, file->length))
		fail_msg("not a PNG: %s", image.message);
	image.format = PNG_FORMAT_RGB;
	picture.width = (int)image.width;
	picture.height = (int)image.height;
	picture.pixels = malloc(PNG_IMAGE_SIZE(image));
	assert_non_null(picture.pixels);
	if (!png_image_finish_read(&image, NULL, picture.pixels, 0, NULL))
		fail_msg("not a PNG: %s", image.message);
	return picture;
}

static inline struct picture paint_request(const struct pc_image_request *request)
{
	struct file *file = make_file(-1);

	paint_file(request, file);
	struct picture picture = decode(file);

	free(file);
	return picture;
}

static inline struct picture paint_prompt(const char *prompt, uint32_t seed)
{
	struct pc_image_request request = ask(prompt, seed);

	return paint_request(&request);
}

static inline int load_paint(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_engine_spec spec = spec_of(words_path);

	(void)state;
	if (pc_engine_open("paint", &engine, &err) || engine->load(&spec, &model, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	return 0;
}

static inline int unload_paint(void **state)
{
	(void)state;
	engine->unload(model);
	engine->unload(NULL);
	return 0;
}

static inline bool read_arguments(int argc, char **argv)
{
	if (argc != 3 || setenv("POOLCORE_ENGINE_PATH", argv[1], 1) != 0) {
		fprintf(stderr, "usage: %s ENGINES WORDS\n", argv[0]);
		return false;
	}
	words_path = argv[2];
	return true;
}

#endif
