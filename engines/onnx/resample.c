/* SPDX-License-Identifier: MIT */
/*
 * resample.c - from pixels to the planes of floats that a network takes: scaled, normalised, one
 * plane for each channel.
 *
 * The filter is a triangle as wide as the step between two output pixels, and at least as wide as
 * one input pixel: shrunk, each input pixel counts; grown, it is the usual bilinear one. It is
 * separable. The rows of one output row are added up first, so that beside the image one row is
 * all the memory it takes.
 */
#include "image.h"

#include <math.h>
#include <string.h>

/* The input pixels that one output pixel is made of along one side. */
struct taps {
	uint32_t first, count;
};

static float weight_at(uint32_t i, float centre, float reach)
{
	float distance = fabsf((float)i - centre);

	return distance < reach ? 1 - distance / reach : 0;
}

/*
 * The taps of output pixel `i` of `to` along a side of `from`, and their weights, which add up to
 * 1. At the edges the filter is cut off. `weights` holds taps_room() floats.
 */
static struct taps find_taps(uint32_t i, uint32_t from, uint32_t to, float *weights)
{
	float step = (float)from / (float)to;
	float reach = step > 1 ? step : 1;
	float centre = ((float)i + 0.5f) * step - 0.5f;
	float first = ceilf(centre - reach), last = floorf(centre + reach);
	struct taps taps = { .first = first > 0 ? (uint32_t)first : 0 };
	uint32_t end = last < (float)(from - 1) ? (uint32_t)last : from - 1;
	float sum = 0;

	if (taps.first > end)
		taps.first = end;
	taps.count = end - taps.first + 1;
	for (uint32_t k = 0; k < taps.count; k++) {
		weights[k] = weight_at(taps.first + k, centre, reach);
		sum += weights[k];
	}
	for (uint32_t k = 0; k < taps.count; k++)
		weights[k] = sum > 0 ? weights[k] / sum : 1.0f / (float)taps.count;
	return taps;
}

/* Two reaches, and the pixels at both ends. */
static size_t taps_room(uint32_t from, uint32_t to)
{
	return (size_t)(from / to + 1) * 2 + 3;
}

/* One output row before it is scaled along x: the weighted sum of the rows it is made of. */
static void add_rows(const struct image *image, const struct part *part, struct taps taps,
		     const float *weights, float *sums)
{
	size_t length = (size_t)part->width * 3;

	memset(sums, 0, length * sizeof(*sums));
	for (uint32_t k = 0; k < taps.count; k++) {
		size_t y = (size_t)part->top + taps.first + k;
		const uint8_t *row = image->rgb + (y * image->width + part->left) * 3;

		for (size_t i = 0; i < length; i++)
			sums[i] += weights[k] * (float)row[i];
	}
}

struct scaler {
	struct taps *columns;	   /* of each output column */
	float *column_weights;	   /* `room` of each */
	float *row_weights, *sums; /* of one output row */
	size_t room;
};

static void scale_row(const struct scaler *scaler, const struct pixels *pixels, uint32_t width,
		      size_t plane, float *row)
{
	for (uint32_t x = 0; x < width; x++) {
		struct taps taps = scaler->columns[x];
		const float *weights = scaler->column_weights + x * scaler->room;
		const float *from = scaler->sums + (size_t)taps.first * 3;
		float colour[3] = { 0, 0, 0 };

		for (uint32_t k = 0; k < taps.count; k++) {
			for (size_t c = 0; c < 3; c++)
				colour[c] += weights[k] * from[(size_t)k * 3 + c];
		}
		for (size_t c = 0; c < 3; c++)
			row[c * plane + x] = (colour[pixels->bgr ? 2 - c : c] / 255 -
					      pixels->mean[c]) /
					     pixels->std[c];
	}
}

int image_to_planes(const struct image *image, const struct part *part, const struct pixels *pixels,
		    uint32_t width, uint32_t height, float *planes, struct pc_error *err)
{
	size_t room = taps_room(part->width, width);
	pc_auto(pc_free) struct taps *columns = pc_calloc(width, sizeof(*columns));
	pc_auto(pc_free) float *column_weights = pc_calloc(width, room * sizeof(float));
	pc_auto(pc_free) float *row_weights = pc_calloc(taps_room(part->height, height),
							sizeof(float));
	pc_auto(pc_free) float *sums = pc_calloc(part->width, 3 * sizeof(float));

	if (!columns || !column_weights || !row_weights || !sums)
		return pc_error_oom(err);

	struct scaler scaler = { columns, column_weights, row_weights, sums, room };

	for (uint32_t x = 0; x < width; x++)
		columns[x] = find_taps(x, part->width, width, column_weights + x * room);
	for (uint32_t y = 0; y < height; y++) {
		struct taps rows = find_taps(y, part->height, height, row_weights);

		add_rows(image, part, rows, row_weights, sums);
		scale_row(&scaler, pixels, width, (size_t)width * height,
			  planes + (size_t)y * width);
	}
	return 0;
}
