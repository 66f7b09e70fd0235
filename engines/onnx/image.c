/* SPDX-License-Identifier: MIT */
/*
 * image.c - which kind of file it is, and how large an image may be. The decoding is in png.c and
 * jpeg.c.
 */
#include "image.h"

#include <string.h>

static const struct format {
	const char *magic;
	size_t length;
	int (*decode)(const struct pc_image *file, struct image *ret_image, struct pc_error *err);
} formats[] = {
	{ "\x89PNG\r\n\x1a\n", 8, png_decode }, /* PNG 1.2, section 3.1 */
	{ "\xff\xd8\xff", 3, jpeg_decode },	/* ITU T.81, B.1.1.3: SOI and the next marker */
};

int image_decode(const struct pc_image *file, struct image *ret_image, struct pc_error *err)
{
	if (!file->data || file->length == 0)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "the image is empty");
	for (size_t i = 0; i < PC_ARRAY_LEN(formats); i++) {
		const struct format *format = &formats[i];

		if (file->length >= format->length &&
		    memcmp(file->data, format->magic, format->length) == 0)
			return format->decode(file, ret_image, err);
	}
	return pc_error_set(err, PC_E_INVALID_REQUEST,
			    "the image of %zu bytes is neither PNG nor JPEG: it begins with none "
			    "of their signatures",
			    file->length);
}

void image_fini(struct image *image)
{
	pc_free(image->rgb);
	image->rgb = NULL;
}

int image_init(struct image *image, uint32_t width, uint32_t height, struct pc_error *err)
{
	if (width == 0 || height == 0)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "the image is %u x %u pixels: there is nothing to see", width,
				    height);
	if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
	    (uint64_t)width * height > IMAGE_MAX_PIXELS) {
		pc_error_set(err, PC_E_INVALID_REQUEST,
			     "the image is %u x %u pixels; %u on a side and %llu together are the "
			     "most",
			     width, height, IMAGE_MAX_SIDE, (unsigned long long)IMAGE_MAX_PIXELS);
		pc_error_detail(err, "max_pixels", "%llu", (unsigned long long)IMAGE_MAX_PIXELS);
		return PC_E_INVALID_REQUEST;
	}
	image->rgb = pc_malloc((size_t)width * height * 3);
	if (!image->rgb)
		return pc_error_oom(err);
	image->width = width;
	image->height = height;
	return 0;
}
