/* SPDX-License-Identifier: MIT */
/*
 * png.c - PNG files to pixels, with libpng's simplified interface: it reads every kind of PNG
 * (palettes, 16 bits, interlaced) as the 8 bits of RGB that are wanted, and keeps its setjmp to
 * itself, so that no local of ours is cut off by a longjmp.
 *
 * libpng refuses chunks and sides that are too large by itself (PNG_USER_CHUNK_MALLOC_MAX 8 MB,
 * PNG_USER_WIDTH_MAX a million); pixels are counted here, before any are decoded. Its own working
 * memory, a few rows (all rows of an image of 16 bits that is interlaced), is the C library's.
 */
#include "image.h"

#include <png.h>

static int refuse(const png_image *png, struct pc_error *err)
{
	return pc_error_set(err, PC_E_INVALID_REQUEST, "the PNG image cannot be read: %s",
			    png->message);
}

int png_decode(const struct pc_image *file, struct image *ret_image, struct pc_error *err)
{
	static const png_color white = { 255, 255, 255 };
	png_image png = { .version = PNG_IMAGE_VERSION };
	struct image image = { .rgb = NULL };

	if (!png_image_begin_read_from_memory(&png, file->data, file->length))
		return refuse(&png, err);
	int rc = image_init(&image, png.width, png.height, err);

	if (rc) {
		png_image_free(&png);
		return rc;
	}
	png.format = PNG_FORMAT_RGB;
	/* Frees what it took, whatever it returns. A warning is a damage that it could read past
	 * without losing a pixel. */
	if (!png_image_finish_read(&png, &white, image.rgb, 0, NULL)) {
		image_fini(&image);
		return refuse(&png, err);
	}
	*ret_image = image;
	return 0;
}
