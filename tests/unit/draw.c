/* SPDX-License-Identifier: MIT */
/*
 * draw.c - draws what the tests of the onnx engine look at. The letters are the usual ones of
 * displays with 5 x 7 dots: a byte for each row from the top, the left dot is bit 4.
 */
#include "draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#define GLYPH_WIDTH 5
#define GLYPH_HEIGHT 7

static const struct glyph {
	char letter;
	uint8_t rows[GLYPH_HEIGHT];
} glyphs[] = {
	{ 'A', { 0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11 } },
	{ 'B', { 0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e } },
	{ 'C', { 0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e } },
	{ 'D', { 0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e } },
	{ 'E', { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f } },
	{ 'F', { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10 } },
	{ 'G', { 0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0e } },
	{ 'H', { 0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11 } },
	{ 'I', { 0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e } },
	{ 'J', { 0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c } },
	{ 'K', { 0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11 } },
	{ 'L', { 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f } },
	{ 'M', { 0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11 } },
	{ 'N', { 0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11 } },
	{ 'O', { 0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e } },
	{ 'P', { 0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10 } },
	{ 'Q', { 0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d } },
	{ 'R', { 0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11 } },
	{ 'S', { 0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e } },
	{ 'T', { 0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04 } },
	{ 'U', { 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e } },
	{ 'V', { 0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04 } },
	{ 'W', { 0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11 } },
	{ 'X', { 0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11 } },
	{ 'Y', { 0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04 } },
	{ 'Z', { 0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f } },
	{ '1', { 0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e } },
	{ '2', { 0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f } },
	{ '3', { 0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e } },
	{ '4', { 0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02 } },
	{ '5', { 0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e } },
	{ '6', { 0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e } },
	{ '7', { 0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08 } },
	{ '8', { 0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e } },
	{ '9', { 0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c } },
};

static void give_up(const char *why)
{
	fprintf(stderr, "draw: %s\n", why);
	exit(1);
}

struct canvas canvas_create(uint32_t width, uint32_t height, uint32_t colour)
{
	struct canvas canvas = { malloc((size_t)width * height * 3), width, height };

	if (!canvas.rgb)
		give_up("no memory");
	canvas_fill(&canvas, 0, 0, width, height, colour);
	return canvas;
}

void canvas_destroy(struct canvas *canvas)
{
	free(canvas->rgb);
	canvas->rgb = NULL;
}

void canvas_fill(struct canvas *canvas, uint32_t left, uint32_t top, uint32_t width,
		 uint32_t height, uint32_t colour)
{
	for (uint32_t y = top; y < top + height && y < canvas->height; y++) {
		for (uint32_t x = left; x < left + width && x < canvas->width; x++) {
			uint8_t *pixel = canvas->rgb + ((size_t)y * canvas->width + x) * 3;

			pixel[0] = (uint8_t)(colour >> 16);
			pixel[1] = (uint8_t)(colour >> 8);
			pixel[2] = (uint8_t)colour;
		}
	}
}

/* Lays a colour over a pixel; `cover` from 0, nothing of it, to 1. */
static void canvas_blend(struct canvas *canvas, uint32_t x, uint32_t y, uint32_t colour,
			 float cover)
{
	cover = cover < 0 ? 0 : cover > 1 ? 1 : cover;
	for (uint32_t c = 0; c < 3 && x < canvas->width && y < canvas->height; c++) {
		uint8_t *value = canvas->rgb + ((size_t)y * canvas->width + x) * 3 + c;
		uint8_t ink = (uint8_t)(colour >> (16 - 8 * c));

		*value = (uint8_t)((float)*value * (1 - cover) + (float)ink * cover + 0.5f);
	}
}

static bool is_lit(const struct glyph *glyph, int x, int y)
{
	return x >= 0 && x < GLYPH_WIDTH && y >= 0 && y < GLYPH_HEIGHT &&
	       (glyph->rows[y] >> (GLYPH_WIDTH - 1 - x) & 1);
}

/* The distance of a point from the line between two dots that are neighbours, in dots. */
static float distance(float x, float y, int left, int top, int dx, int dy)
{
	float along = ((x - (float)left) * (float)dx + (y - (float)top) * (float)dy) /
		      (float)(dx * dx + dy * dy);

	along = along < 0 ? 0 : along > 1 ? 1 : along;
	return hypotf(x - (float)left - along * (float)dx, y - (float)top - along * (float)dy);
}

/*
 * How far a point is from the ink. Dots beside each other are joined by a stroke; dots that touch
 * at a corner only where no other dot joins them.
 */
static float distance_from_ink(const struct glyph *glyph, float x, float y)
{
	static const int ways[][2] = { { 1, 0 }, { 0, 1 }, { 1, 1 }, { -1, 1 } };
	float nearest = GLYPH_HEIGHT;

	for (int at = 0; at < GLYPH_WIDTH * GLYPH_HEIGHT; at++) {
		int left = at % GLYPH_WIDTH, top = at / GLYPH_WIDTH;

		for (size_t i = 0; is_lit(glyph, left, top) && i < PC_ARRAY_LEN(ways); i++) {
			int dx = ways[i][0], dy = ways[i][1];
			bool joined = dx && dy &&
				      (is_lit(glyph, left + dx, top) ||
				       is_lit(glyph, left, top + dy));

			if (is_lit(glyph, left + dx, top + dy) && !joined)
				nearest = fminf(nearest, distance(x, y, left, top, dx, dy));
		}
	}
	return nearest;
}

/* Strokes as thick as a dot, with round ends and soft edges. */
static void draw_glyph(struct canvas *canvas, uint32_t left, uint32_t top, uint32_t scale,
		       uint32_t colour, const struct glyph *glyph)
{
	for (uint32_t y = 0; y < GLYPH_HEIGHT * scale; y++) {
		for (uint32_t x = 0; x < GLYPH_WIDTH * scale; x++) {
			float size = (float)scale;
			float far = distance_from_ink(glyph, ((float)x + 0.5f) / size - 0.5f,
						      ((float)y + 0.5f) / size - 0.5f);

			canvas_blend(canvas, left + x, top + y, colour, (0.5f - far) * size + 0.5f);
		}
	}
}

void canvas_write(struct canvas *canvas, uint32_t left, uint32_t top, uint32_t scale,
		  uint32_t colour, const char *text)
{
	for (; *text; text++, left += (GLYPH_WIDTH + 1) * scale) {
		for (size_t i = 0; i < PC_ARRAY_LEN(glyphs); i++) {
			if (glyphs[i].letter == *text)
				draw_glyph(canvas, left, top, scale, colour, &glyphs[i]);
		}
	}
}

struct pc_image canvas_png(const struct canvas *canvas)
{
	png_image png = { .version = PNG_IMAGE_VERSION,
			  .width = canvas->width,
			  .height = canvas->height,
			  .format = PNG_FORMAT_RGB };
	png_alloc_size_t length = 0;

	if (!png_image_write_to_memory(&png, NULL, &length, 0, canvas->rgb, 0, NULL))
		give_up(png.message);
	void *data = malloc(length);

	if (!data || !png_image_write_to_memory(&png, data, &length, 0, canvas->rgb, 0, NULL))
		give_up(png.message);
	return (struct pc_image){ data, length };
}

/*
 * A scan for every bit of the lowest BITS bits of every coefficient of every colour, which are 567,
 * after one for the mean colours.
 */
#define COLOURS 3
#define COEFFICIENTS 63
#define BITS 3

static void use_many_scans(struct jpeg_compress_struct *jpeg)
{
	static jpeg_scan_info scans[1 + COLOURS * COEFFICIENTS * BITS];
	jpeg_scan_info *scan = scans;

	*scan++ = (jpeg_scan_info){ .comps_in_scan = COLOURS, .component_index = { 0, 1, 2 } };
	for (int low = BITS - 1; low >= 0; low--) {
		for (int at = 0; at < COLOURS * COEFFICIENTS; at++)
			*scan++ = (jpeg_scan_info){
				.comps_in_scan = 1,
				.component_index = { at / COEFFICIENTS },
				.Ss = at % COEFFICIENTS + 1,
				.Se = at % COEFFICIENTS + 1,
				.Ah = low == BITS - 1 ? 0 : low + 1,
				.Al = low,
			};
	}
	jpeg->scan_info = scans;
	jpeg->num_scans = (int)PC_ARRAY_LEN(scans);
}

struct pc_image canvas_jpeg(const struct canvas *canvas, enum jpeg_kind kind)
{
	struct jpeg_compress_struct jpeg;
	struct jpeg_error_mgr errors;
	unsigned char *data = NULL;
	unsigned long length = 0;

	/* What goes wrong ends the process: that is what the standard error_exit does. */
	jpeg.err = jpeg_std_error(&errors);
	jpeg_create_compress(&jpeg);
	jpeg_mem_dest(&jpeg, &data, &length);
	jpeg.image_width = canvas->width;
	jpeg.image_height = canvas->height;
	jpeg.input_components = 3;
	jpeg.in_color_space = JCS_RGB;
	jpeg_set_defaults(&jpeg);
	jpeg_set_quality(&jpeg, 95, TRUE);
	if (kind == JPEG_PROGRESSIVE)
		jpeg_simple_progression(&jpeg);
	if (kind == JPEG_MANY_SCANS)
		use_many_scans(&jpeg);
	jpeg_start_compress(&jpeg, TRUE);
	while (jpeg.next_scanline < jpeg.image_height) {
		JSAMPROW row = canvas->rgb + (size_t)jpeg.next_scanline * canvas->width * 3;

		jpeg_write_scanlines(&jpeg, &row, 1);
	}
	jpeg_finish_compress(&jpeg);
	jpeg_destroy_compress(&jpeg);
	return (struct pc_image){ data, length };
}

void file_destroy(struct pc_image *file)
{
	free((void *)file->data);
	*file = (struct pc_image){ NULL, 0 };
}
