/* SPDX-License-Identifier: MIT */
/*
 * png.c - pixels through libpng to the host's sink, in pieces while they are encoded. Runs on the
 * thread of the call. libpng's memory comes through the allocation door like all other.
 */
#include "paint.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

/* libpng writes fields of four bytes now and then; the host gets pieces of this size. */
#define PIECE_BYTES 16384

/*
 * What outlives libpng's longjmp: it lies outside of the function that calls setjmp, whose own
 * variables are not to be trusted after it.
 */
struct encoder {
	png_structp png;
	png_infop info;
	const struct pc_image_sink *sink;
	size_t length;
	bool no_memory;
	char complaint[160];
	unsigned char piece[PIECE_BYTES];
};

static void pass_on(struct encoder *encoder)
{
	if (encoder->length > 0)
		encoder->sink->chunk(encoder->sink->ctx, encoder->piece, encoder->length);
	encoder->length = 0;
}

static void on_write(png_structp png, png_bytep bytes, size_t length)
{
	struct encoder *encoder = png_get_io_ptr(png);

	while (length > 0) {
		size_t room = PIECE_BYTES - encoder->length;
		size_t part = length < room ? length : room;

		memcpy(encoder->piece + encoder->length, bytes, part);
		encoder->length += part;
		bytes += part;
		length -= part;
		if (encoder->length == PIECE_BYTES)
			pass_on(encoder);
	}
}

static void on_flush(png_structp png)
{
	(void)png; /* the last piece goes when the file is complete */
}

static void on_error(png_structp png, png_const_charp text)
{
	struct encoder *encoder = png_get_error_ptr(png);

	snprintf(encoder->complaint, sizeof(encoder->complaint), "%s", text);
	png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
	(void)png;
	(void)text; /* libpng warns of strange files that it reads; here it reads none */
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
	struct encoder *encoder = png_get_mem_ptr(png);
	void *memory = pc_malloc(size);

	encoder->no_memory |= memory == NULL;
	return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
	(void)png;
	pc_free(memory);
}

static bool encode(struct encoder *encoder, const struct rgb *pixels, uint32_t width,
		   uint32_t height)
{
	if (setjmp(png_jmpbuf(encoder->png)))
		return false;
	encoder->info = png_create_info_struct(encoder->png);
	if (!encoder->info)
		return false;
	png_set_write_fn(encoder->png, encoder, on_write, on_flush);
	png_set_IHDR(encoder->png, encoder->info, width, height, 8, PNG_COLOR_TYPE_RGB,
		     PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_sRGB(encoder->png, encoder->info, PNG_sRGB_INTENT_PERCEPTUAL);
	png_write_info(encoder->png, encoder->info);
	for (uint32_t y = 0; y < height; y++)
		png_write_row(encoder->png, (png_const_bytep)(pixels + (size_t)y * width));
	png_write_end(encoder->png, NULL);
	pass_on(encoder);
	return true;
}

int png_encode(const struct rgb *pixels, uint32_t width, uint32_t height,
	       const struct pc_image_sink *sink, struct pc_error *err)
{
	struct encoder encoder = { .sink = sink };
	bool encoded = false;

	_Static_assert(sizeof(struct rgb) == 3, "libpng gets rows of these");
	encoder.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &encoder, on_error,
						on_warning, &encoder, on_malloc, on_free);
	if (encoder.png)
		encoded = encode(&encoder, pixels, width, height);
	png_destroy_write_struct(&encoder.png, &encoder.info);
	if (encoded)
		return 0;
	if (encoder.no_memory)
		return pc_error_oom(err);
	return pc_error_set(err, PC_E_MODEL_ERROR, "libpng cannot write the picture: %s",
			    encoder.complaint[0] ? encoder.complaint : "no reason given");
}
