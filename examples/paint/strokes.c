/* SPDX-License-Identifier: MIT */
/*
 * strokes.c - a blank sheet comes nearer to the target, stroke by stroke. Runs on the thread of the
 * call.
 *
 * A stroke is a short straight line of one colour with round ends. Each step covers the sheet with
 * strokes once, on a grid that chance has shaken, with a brush that is finer than the one before:
 * the first is a sixth of the sheet, the last about a pixel. A stroke's colour is the mean of the
 * target under it, and what the guidance leaves open is chance. Along an edge it follows the edge.
 * A stroke stays only when the squared difference between sheet and target becomes smaller by it,
 * so
 *
 *	1. the error never rises, and
 *	2. it falls in every step that has one stroke that stays.
 */
#include "paint.h"

#include <math.h>

/* Guesses by eye; change freely. */
#define FIRST_BRUSH (1.0f / 6)	/* radius, in sides of the sheet */
#define LAST_BRUSH (1.0f / 200) /* the same; never under LAST_PIXELS */
#define LAST_PIXELS 0.75f
#define LENGTH 1.5f	  /* half a stroke's line, in radii */
#define SPACING 1.4f	  /* between strokes, in radii */
#define FREE_LEVELS 96.0f /* a colour's way from the target's at guidance 0 */
#define EDGE_LEVELS 24	  /* a difference across the brush that counts as an edge */

struct stroke {
	struct point at, along; /* its middle; from there to an end */
	float radius;
	struct rgb colour;
	int32_t top, row_count;
	struct {
		int32_t left, right; /* right is the first pixel outside */
	} rows[SIDE_MAX];
};

/* ---- what a stroke covers ---- */

static int32_t clip(float at, uint32_t end)
{
	return at <= 0 ? 0 : at >= (float)end ? (int32_t)end : (int32_t)at;
}

static bool is_under(const struct stroke *stroke, float x, float y)
{
	float length = stroke->along.x * stroke->along.x + stroke->along.y * stroke->along.y;

	x -= stroke->at.x;
	y -= stroke->at.y;
	float t = (x * stroke->along.x + y * stroke->along.y) / length;

	t = t < -1 ? -1 : t > 1 ? 1 : t;
	x -= t * stroke->along.x;
	y -= t * stroke->along.y;
	return x * x + y * y <= stroke->radius * stroke->radius;
}

/* Finds the pixels of each row; a stroke has no dents, so they are one piece. */
static void lay(const struct easel *easel, struct stroke *stroke)
{
	float reach_x = fabsf(stroke->along.x) + stroke->radius;
	float reach_y = fabsf(stroke->along.y) + stroke->radius;
	int32_t left = clip(stroke->at.x - reach_x, easel->width);
	int32_t right = clip(stroke->at.x + reach_x + 1, easel->width);
	int32_t bottom = clip(stroke->at.y + reach_y + 1, easel->height);

	stroke->top = clip(stroke->at.y - reach_y, easel->height);
	stroke->row_count = bottom - stroke->top;
	for (int32_t row = 0; row < stroke->row_count; row++) {
		float y = (float)(stroke->top + row) + 0.5f;
		int32_t from = left, to = right;

		while (from < to && !is_under(stroke, (float)from + 0.5f, y))
			from++;
		while (to > from && !is_under(stroke, (float)to - 0.5f, y))
			to--;
		stroke->rows[row].left = from;
		stroke->rows[row].right = to;
	}
}

/* ---- what it does ---- */

static int64_t difference(struct rgb a, struct rgb b)
{
	int32_t red = a.red - b.red, green = a.green - b.green, blue = a.blue - b.blue;

	return red * red + green * green + blue * blue;
}

static uint8_t level(struct easel *easel, uint64_t sum, uint64_t count)
{
	float way = (1 - easel->guidance) * FREE_LEVELS;
	float at = (float)sum / (float)count + 0.5f + chance_between(&easel->chance, -way, way);

	return (uint8_t)(at < 0 ? 0 : at > 255 ? 255 : at);
}

/* False when it covers no pixel. */
static bool mix_colour(struct easel *easel, struct stroke *stroke)
{
	uint64_t red = 0, green = 0, blue = 0, count = 0;

	for (int32_t row = 0; row < stroke->row_count; row++) {
		const struct rgb *target = easel->target +
					   (size_t)(stroke->top + row) * easel->width;

		for (int32_t x = stroke->rows[row].left; x < stroke->rows[row].right; x++) {
			red += target[x].red;
			green += target[x].green;
			blue += target[x].blue;
			count++;
		}
	}
	if (count == 0)
		return false;
	stroke->colour.red = level(easel, red, count);
	stroke->colour.green = level(easel, green, count);
	stroke->colour.blue = level(easel, blue, count);
	return true;
}

/* By how much the error falls (negative: rises) when the stroke is painted. */
static int64_t gain(const struct easel *easel, const struct stroke *stroke)
{
	int64_t sum = 0;

	for (int32_t row = 0; row < stroke->row_count; row++) {
		size_t start = (size_t)(stroke->top + row) * easel->width;

		for (int32_t x = stroke->rows[row].left; x < stroke->rows[row].right; x++) {
			struct rgb target = easel->target[start + (size_t)x];

			sum += difference(easel->sheet[start + (size_t)x], target) -
			       difference(stroke->colour, target);
		}
	}
	return sum;
}

static void paint(struct easel *easel, const struct stroke *stroke)
{
	for (int32_t row = 0; row < stroke->row_count; row++) {
		struct rgb *sheet = easel->sheet + (size_t)(stroke->top + row) * easel->width;

		for (int32_t x = stroke->rows[row].left; x < stroke->rows[row].right; x++)
			sheet[x] = stroke->colour;
	}
}

/* ---- where it goes ---- */

static int brightness(const struct easel *easel, float x, float y)
{
	int32_t column = clip(x, easel->width - 1), row = clip(y, easel->height - 1);
	struct rgb pixel = easel->target[(size_t)row * easel->width + (size_t)column];

	return (pixel.red * 2 + pixel.green * 5 + pixel.blue) / 8;
}

/* Along the edge that the brush stands on, or wherever chance wants. */
static struct point find_direction(struct easel *easel, struct point at, float radius)
{
	float turn = chance_between(&easel->chance, 0, 6.2831853f);
	float across = (float)(brightness(easel, at.x + radius, at.y) -
			       brightness(easel, at.x - radius, at.y));
	float down = (float)(brightness(easel, at.x, at.y + radius) -
			     brightness(easel, at.x, at.y - radius));
	float steep = sqrtf(across * across + down * down);

	if (steep >= EDGE_LEVELS)
		return (struct point){ -down / steep, across / steep };
	return (struct point){ cosf(turn), sinf(turn) };
}

static void try_stroke(struct easel *easel, struct stroke *stroke, float x, float y)
{
	float spacing = stroke->radius * SPACING;

	stroke->at.x = x + chance_between(&easel->chance, 0, spacing);
	stroke->at.y = y + chance_between(&easel->chance, 0, spacing);
	struct point direction = find_direction(easel, stroke->at, stroke->radius);

	stroke->along.x = direction.x * stroke->radius * LENGTH;
	stroke->along.y = direction.y * stroke->radius * LENGTH;
	lay(easel, stroke);
	if (!mix_colour(easel, stroke))
		return;
	int64_t gained = gain(easel, stroke);

	if (gained > 0) {
		paint(easel, stroke);
		easel->error -= (uint64_t)gained;
	}
}

/* ---- steps ---- */

void easel_begin(struct easel *easel)
{
	size_t count = (size_t)easel->width * easel->height;

	easel->error = 0;
	for (size_t i = 0; i < count; i++) {
		easel->sheet[i] = (struct rgb){ 255, 255, 255 };
		easel->error += (uint64_t)difference(easel->sheet[i], easel->target[i]);
	}
}

/* From the first brush to the last in equal ratios. */
static float brush_of(const struct easel *easel, uint32_t step)
{
	float side = (float)(easel->width > easel->height ? easel->width : easel->height);
	float last = fmaxf(LAST_PIXELS, side * LAST_BRUSH);
	float first = fmaxf(last, side * FIRST_BRUSH);
	float way = easel->steps > 1 ? (float)(step - 1) / (float)(easel->steps - 1) : 0;

	return first * powf(last / first, way);
}

bool easel_step(struct easel *easel, uint32_t step, bool (*stopped)(void *ctx), void *ctx)
{
	struct stroke stroke = { .radius = brush_of(easel, step) };
	float spacing = stroke.radius * SPACING;

	uint32_t columns = (uint32_t)ceilf((float)easel->width / spacing);
	uint32_t rows = (uint32_t)ceilf((float)easel->height / spacing);

	for (uint32_t row = 0; row < rows; row++) {
		if (stopped(ctx))
			return false;
		for (uint32_t column = 0; column < columns; column++)
			try_stroke(easel, &stroke, (float)column * spacing, (float)row * spacing);
	}
	return true;
}
