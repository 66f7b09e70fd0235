/* SPDX-License-Identifier: MIT */
/* image_source.h - turns image sources into bytes in memory. Inside the library only. */
#ifndef CAPABILITY_IMAGE_SOURCE_H
#define CAPABILITY_IMAGE_SOURCE_H

#include <poolcore/capability.h>

/* What one batch may make the library hold; a guess: four of the largest images. */
#define PC__IMAGES_MAX_BYTES ((size_t)256 << 20)

/* Images as engines want them, and what has to be freed with them. One block. */
struct pc__images {
	size_t count;
	size_t held_bytes;	 /* of the library's own copies */
	struct pc_image *images; /* count of them */
	void **held;		 /* count; NULL where the caller's memory is used */
};

/*
 * Reads all of them. `copy`: the bytes of PC_IMAGE_BYTES are copied too; otherwise they are the
 * caller's and must stay. Errors as capability.h says, with the place in the batch in front and the
 * detail image_index, without the model.
 */
int pc__images_read(const struct pc_image_source *sources, size_t count, bool copy,
		    struct pc__images **ret_images, struct pc_error *err);
/* NULL is allowed. */
void pc__images_free(struct pc__images *images);

#endif
