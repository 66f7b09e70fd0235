/* SPDX-License-Identifier: MIT */
/*
 * draw.h - images for tests: a canvas, letters, and PNG and JPEG files of it in
 * memory. Ends the process when it cannot.
 */
#ifndef TESTS_UNIT_DRAW_H
#define TESTS_UNIT_DRAW_H

#include <poolcore/engine.h>

struct canvas {
	uint8_t *rgb; /* width * height * 3 bytes */
	uint32_t width, height;
};

enum jpeg_kind {
	JPEG_BASELINE,
	JPEG_PROGRESSIVE,
	JPEG_MANY_SCANS, /* progressive, valid, and finer than anybody would make one */
};

/* A canvas of one colour (0xrrggbb). */
struct canvas canvas_create(uint32_t width, uint32_t height, uint32_t colour);
void canvas_destroy(struct canvas *canvas);

void canvas_fill(struct canvas *canvas, uint32_t left, uint32_t top, uint32_t width,
		 uint32_t height, uint32_t colour);

/* Capital letters, digits but 0, and blanks; 7 times `scale` pixels high, 5 wide, 1 apart. */
void canvas_write(struct canvas *canvas, uint32_t left, uint32_t top, uint32_t scale,
		  uint32_t colour, const char *text);

/* Files; the caller's to file_destroy. */
struct pc_image canvas_png(const struct canvas *canvas);
struct pc_image canvas_jpeg(const struct canvas *canvas, enum jpeg_kind kind);
void file_destroy(struct pc_image *file);

#endif
