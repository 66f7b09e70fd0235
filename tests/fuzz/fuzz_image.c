/* SPDX-License-Identifier: MIT */
/*
 * fuzz_image.c - throws bytes at the onnx engine's image decoders, and scales what they accept.
 */

#include "engines/onnx/image.h"
#include "tests/fuzz/fuzz.h"

/* Enough for several rows of blocks and every interlace pass; the rest is repetition. */
#define SMALL_PIXELS 65536

static void scale(const struct image *image)
{
	static const struct pixels pixels = { .bgr = true, .std = { 1, 1, 1 } };
	static float planes[3 * 16 * 16];
	struct part whole = { 0, 0, image->width, image->height };

	check(image_to_planes(image, &whole, &pixels, 16, 16, planes, NULL) == 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(planes); i++)
		check(planes[i] >= -1e-4f && planes[i] <= 1 + 1e-4f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pc_error err = PC_ERROR_INIT;
	struct image image = { .rgb = NULL };
	int rc = image_decode(&(struct pc_image){ data, size }, &image, &err);

	check(err.code == rc);
	check((image.rgb != NULL) == (rc == 0));
	check(rc == 0 || rc == PC_E_INVALID_REQUEST);
	if (image.rgb && (uint64_t)image.width * image.height <= SMALL_PIXELS)
		scale(&image);
	image_fini(&image);
	return 0;
}
