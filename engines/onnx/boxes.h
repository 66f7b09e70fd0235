/* SPDX-License-Identifier: MIT */
/*
 * boxes.h - from a detector's map of probabilities to the places where text stands, in the order
 * in which it is read. Arithmetic only; knows nothing of ONNX Runtime.
 */
#ifndef ONNX_BOXES_H
#define ONNX_BOXES_H

#include "image.h"

struct box_rules {
	float threshold;     /* a pixel of text has more than this probability */
	float box_threshold; /* the mean over a box must be this at least */
	float unclip;	     /* the detector marks the core of a line; how much fuller it is */
};

struct box {
	struct part part; /* in the image */
	uint32_t row;	  /* boxes beside each other have the same, counted from 0 */
};

struct boxes {
	struct box *data; /* pc_free */
	size_t count;
};

/*
 * The boxes of text in `map` (width * height probabilities, row by row; 1 to 2^32 - 1 of them),
 * which lies stretched over an image of image_width * image_height pixels. Sorted by row, and from
 * left to right in a row. Text that is not level is boxed as if it were. OUT_OF_MEMORY.
 */
int find_boxes(const float *map, uint32_t width, uint32_t height, const struct box_rules *rules,
	       uint32_t image_width, uint32_t image_height, struct boxes *ret_boxes,
	       struct pc_error *err);

#endif
