/* SPDX-License-Identifier: MIT */
/*
 * target.c - a scene as pixels, with smooth edges: what the strokes are measured by. Pure; any
 * thread.
 */
#include "paint.h"

#include <math.h>

/* The ground's texture: random levels this many pixels apart, and how far they go from its
 * colour. */
#define GRAIN_PIXELS 24
#define GRAIN_LEVELS 7.0f

/* Each pixel is looked at in this many places each way. */
#define SAMPLES 3

static float lattice(uint64_t grain, uint32_t x, uint32_t y)
{
	uint64_t bits = chance_mix(grain, (uint64_t)y << 32 | x);

	return (float)(bits >> 40) / (float)(1 << 23) - 1;
}

static uint8_t shift(uint8_t level, float by)
{
	float shifted = (float)level + by + 0.5f;

	return (uint8_t)(shifted < 0 ? 0 : shifted > 255 ? 255 : shifted);
}

static void fill_ground(const struct scene *scene, struct rgb *pixels)
{
	for (uint32_t y = 0; y < scene->height; y++) {
		uint32_t row = y / GRAIN_PIXELS;
		float down = (float)(y % GRAIN_PIXELS) / GRAIN_PIXELS;
		float left[2] = { 0 }, right[2] = { 0 };

		for (uint32_t x = 0; x < scene->width; x++) {
			uint32_t column = x / GRAIN_PIXELS;
			float along = (float)(x % GRAIN_PIXELS) / GRAIN_PIXELS;

			for (uint32_t i = 0; i < 2 && x % GRAIN_PIXELS == 0; i++) {
				left[i] = lattice(scene->grain, column, row + i);
				right[i] = lattice(scene->grain, column + 1, row + i);
			}
			float above = left[0] + (right[0] - left[0]) * along;
			float below = left[1] + (right[1] - left[1]) * along;
			float by = (above + (below - above) * down) * GRAIN_LEVELS;

			*pixels++ = (struct rgb){ shift(scene->ground.red, by),
						  shift(scene->ground.green, by),
						  shift(scene->ground.blue, by) };
		}
	}
}

/* Whether a place in the shape's own box is inside it: a ray to the right meets its outline an odd
 * number of times. */
static bool is_inside(const struct shape *shape, float x, float y)
{
	const struct point *points = shape->points;
	bool inside = false;

	if (shape->point_count == 0) {
		x /= points[0].x;
		y /= points[0].y;
		return x * x + y * y <= 1;
	}
	for (uint32_t i = 0, k = shape->point_count - 1; i < shape->point_count; k = i++) {
		const struct point *a = &points[i], *b = &points[k];

		if ((a->y > y) != (b->y > y) &&
		    x < a->x + (b->x - a->x) * (y - a->y) / (b->y - a->y))
			inside = !inside;
	}
	return inside;
}

/* How much of a pixel the thing covers: 0 to SAMPLES * SAMPLES. */
static int cover(const struct thing *thing, uint32_t x, uint32_t y)
{
	int covered = 0;

	for (int i = 0; i < SAMPLES * SAMPLES; i++) {
		int column = i % SAMPLES, row = i / SAMPLES;
		float across = (float)x + ((float)column + 0.5f) / SAMPLES;
		float down = (float)y + ((float)row + 0.5f) / SAMPLES;

		covered += is_inside(thing->shape, (across - thing->centre.x) / thing->radius,
				     (down - thing->centre.y) / thing->radius);
	}
	return covered;
}

static uint8_t mix(uint8_t below, uint8_t above, int covered)
{
	int all = SAMPLES * SAMPLES;

	return (uint8_t)((below * (all - covered) + above * covered + all / 2) / all);
}

static uint32_t clip(float at, uint32_t end)
{
	return at <= 0 ? 0 : at >= (float)end ? end : (uint32_t)at;
}

static void fill_thing(const struct scene *scene, const struct thing *thing, struct rgb *pixels)
{
	uint32_t left = clip(thing->centre.x - thing->radius, scene->width);
	uint32_t right = clip(thing->centre.x + thing->radius + 1, scene->width);
	uint32_t bottom = clip(thing->centre.y + thing->radius + 1, scene->height);

	for (uint32_t y = clip(thing->centre.y - thing->radius, scene->height); y < bottom; y++) {
		struct rgb *pixel = pixels + (size_t)y * scene->width + left;

		for (uint32_t x = left; x < right; x++, pixel++) {
			int covered = cover(thing, x, y);

			pixel->red = mix(pixel->red, thing->colour.red, covered);
			pixel->green = mix(pixel->green, thing->colour.green, covered);
			pixel->blue = mix(pixel->blue, thing->colour.blue, covered);
		}
	}
}

void target_fill(const struct scene *scene, struct rgb *pixels)
{
	fill_ground(scene, pixels);
	for (uint32_t i = 0; i < scene->thing_count; i++)
		fill_thing(scene, &scene->things[i], pixels);
}
