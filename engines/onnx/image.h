/* SPDX-License-Identifier: MIT */
/*
 * image.h - image files to pixels, and pixels to what a network takes. Knows nothing of ONNX
 * Runtime. All of it runs on the caller's thread and keeps nothing between two calls.
 */
#ifndef ONNX_IMAGE_H
#define ONNX_IMAGE_H

#include <poolcore/engine.h>

/*
 * The most pixels of one image. Telephones make 50 million of them at most where nobody asks for
 * more, and a sheet of A4 scanned at 600 dots per inch has 35. As RGB this is 192 MiB, which is
 * what a request can make the engine take, whatever the few bytes of its file promise.
 */
#define IMAGE_MAX_PIXELS ((uint64_t)64 << 20)

/* The longest side; libjpeg's own limit (65500) rounded up. It keeps every product in bounds. */
#define IMAGE_MAX_SIDE 65536u

struct image {
	uint8_t *rgb; /* width * height * 3 bytes, row by row from the top; pc_free */
	uint32_t width, height;
};

/* A part of an image, in its pixels; it lies inside of it and is not empty. */
struct part {
	uint32_t left, top, width, height;
};

/* How a network wants its pixels: (value / 255 - mean) / std for each of its channels. */
struct pixels {
	bool bgr; /* its first channel is blue; mean and std are in the order of channels */
	float mean[3], std[3]; /* no std is 0 */
};

/* ---- image.c ---- */

/*
 * Decodes a whole file. Transparent pixels stand on white. INVALID_REQUEST: empty, neither PNG nor
 * JPEG, damaged, cut short, or larger than IMAGE_MAX_PIXELS; OUT_OF_MEMORY.
 */
int image_decode(const struct pc_image *file, struct image *ret_image, struct pc_error *err);
void image_fini(struct image *image);

/*
 * Refuses a size that is 0 or past the limits, and takes the memory for the pixels of any other.
 * For the decoders, before they decode.
 */
int image_init(struct image *image, uint32_t width, uint32_t height, struct pc_error *err);

/* ---- png.c, jpeg.c ---- */

int png_decode(const struct pc_image *file, struct image *ret_image, struct pc_error *err);
int jpeg_decode(const struct pc_image *file, struct image *ret_image, struct pc_error *err);

/* ---- resample.c ---- */

/*
 * Scales a part of an image to width x height and writes it as three planes of width * height
 * floats, one for each channel. OUT_OF_MEMORY.
 */
int image_to_planes(const struct image *image, const struct part *part, const struct pixels *pixels,
		    uint32_t width, uint32_t height, float *planes, struct pc_error *err);

#endif
