/* SPDX-License-Identifier: MIT */
/*
 * Image files to pixels and planes: what is right, what is wrong, and files that were cut or had
 * bits turned over. The images are drawn here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "draw.h"
#include "engines/onnx/image.h"
#include "fail_alloc.h"

/* Large enough for several rows of blocks in a JPEG, small enough to be decoded 10,000 times. */
static struct canvas make_canvas(void)
{
	struct canvas canvas = canvas_create(37, 29, 0xffffff);

	canvas_fill(&canvas, 4, 3, 20, 16, 0xcc2010);
	canvas_write(&canvas, 3, 18, 1, 0x1030cc, "POOL");
	return canvas;
}

static struct image decode(const struct pc_image *file)
{
	struct image image = { .rgb = NULL };
	struct pc_error err = PC_ERROR_INIT;

	if (image_decode(file, &image, &err))
		fail_msg("%s", err.message);
	return image;
}

/* Wants INVALID_REQUEST with a part of its sentence. */
static void refuse(const struct pc_image *file, const char *part)
{
	struct image image = { .rgb = NULL };
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(image_decode(file, &image, &err), PC_E_INVALID_REQUEST);
	assert_null(image.rgb);
	if (!strstr(err.message, part))
		fail_msg("'%s' lacks '%s'", err.message, part);
}

static unsigned largest_difference(const struct image *image, const struct canvas *canvas)
{
	unsigned largest = 0;

	assert_int_equal(image->width, canvas->width);
	assert_int_equal(image->height, canvas->height);
	for (size_t i = 0; i < (size_t)canvas->width * canvas->height * 3; i++) {
		unsigned difference = (unsigned)abs(image->rgb[i] - canvas->rgb[i]);

		largest = difference > largest ? difference : largest;
	}
	return largest;
}

/* ---- what is right ---- */

static void a_png_is_what_was_drawn(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image file = canvas_png(&canvas);
	struct image image = decode(&file);

	(void)state;
	assert_int_equal(largest_difference(&image, &canvas), 0);
	image_fini(&image);
	file_destroy(&file);
	canvas_destroy(&canvas);
}

static void a_jpeg_is_nearly_what_was_drawn(void **state)
{
	(void)state;
	for (enum jpeg_kind kind = JPEG_BASELINE; kind <= JPEG_PROGRESSIVE; kind++) {
		struct canvas canvas = canvas_create(64, 48, 0x204060);
		canvas_fill(&canvas, 32, 0, 32, 48, 0xe0e0e0);
		struct pc_image file = canvas_jpeg(&canvas, kind);
		struct image image = decode(&file);

		/* Halves that meet at the border of a block: what is lost is rounding. */
		assert_true(largest_difference(&image, &canvas) < 12);
		image_fini(&image);
		file_destroy(&file);
		canvas_destroy(&canvas);
	}
}

/* Any other kind of PNG: `pixels` as one of libpng's formats. */
static struct pc_image make_png(uint32_t format, uint32_t width, uint32_t height,
				const void *pixels, const void *palette, unsigned colours)
{
	png_image png = { .version = PNG_IMAGE_VERSION,
			  .width = width,
			  .height = height,
			  .format = format,
			  .colormap_entries = colours };
	png_alloc_size_t length = 0;

	assert_true(png_image_write_to_memory(&png, NULL, &length, 0, pixels, 0, palette));
	void *data = malloc(length);

	assert_non_null(data);
	assert_true(png_image_write_to_memory(&png, data, &length, 0, pixels, 0, palette));
	return (struct pc_image){ data, length };
}

static void every_kind_of_png_becomes_rgb(void **state)
{
	static const uint8_t grey[] = { 0, 255, 77, 200 };
	static const uint8_t clear[] = { 10, 20, 30, 0, 10, 20, 30, 255 };
	static const uint16_t deep[] = { 65535, 0, 0, 0, 65535, 0 };
	static const uint8_t indices[] = { 1, 0 }, palette[] = { 1, 2, 3, 4, 5, 6 };
	struct pc_image files[] = {
		make_png(PNG_FORMAT_GRAY, 2, 2, grey, NULL, 0),
		make_png(PNG_FORMAT_RGBA, 2, 1, clear, NULL, 0),
		make_png(PNG_FORMAT_LINEAR_RGB, 2, 1, deep, NULL, 0),
		make_png(PNG_FORMAT_RGB | PNG_FORMAT_FLAG_COLORMAP, 2, 1, indices, palette, 2),
	};
	static const uint8_t wanted[][6] = {
		{ 0, 0, 0, 255, 255, 255 },
		{ 255, 255, 255, 10, 20, 30 }, /* what is clear stands on white */
		{ 255, 0, 0, 0, 255, 0 },
		{ 4, 5, 6, 1, 2, 3 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(files); i++) {
		struct image image = decode(&files[i]);

		assert_int_equal(image.width, 2);
		assert_memory_equal(image.rgb, wanted[i], sizeof(wanted[i]));
		image_fini(&image);
		file_destroy(&files[i]);
	}
}

/* ---- what is wrong ---- */

static void what_is_no_image_is_refused(void **state)
{
	static const char gif[] = "GIF89a\1\0\1\0\0\0\0;";

	(void)state;
	refuse(&(struct pc_image){ NULL, 0 }, "the image is empty");
	refuse(&(struct pc_image){ "x", 0 }, "the image is empty");
	refuse(&(struct pc_image){ NULL, 10 }, "the image is empty");
	refuse(&(struct pc_image){ gif, sizeof(gif) }, "neither PNG nor JPEG");
	refuse(&(struct pc_image){ "\x89PNG\r\n\x1a", 7 }, "neither PNG nor JPEG");
	refuse(&(struct pc_image){ "\x89PNG\r\n\x1a\n", 8 }, "the PNG image cannot be read");
	refuse(&(struct pc_image){ "\xff\xd8\xff\xff", 4 }, "the JPEG image cannot be read");
}

static void put_be32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - i * 8));
}

/* The checksum of PNG (its specification, appendix D), bit by bit. */
static uint32_t checksum(const uint8_t *data, size_t length)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < length; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* Makes a PNG say that it is of another size; its head is a chunk at 8, its checksum at 29. */
static void claim_size(struct pc_image *file, uint32_t width, uint32_t height)
{
	uint8_t *data = (uint8_t *)file->data;

	put_be32(data + 16, width);
	put_be32(data + 20, height);
	put_be32(data + 29, checksum(data + 12, 17));
}

static void a_size_past_the_limit_is_refused_unseen(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image file = canvas_png(&canvas);
	static const struct {
		uint32_t width, height;
		const char *part;
	} sizes[] = {
		{ 8192, 8193, "8192 x 8193 pixels; 65536 on a side and 67108864 together" },
		{ 1, 65537, "1 x 65537 pixels; 65536 on a side" },
		{ 70000, 1, "70000 x 1 pixels; 65536 on a side" },
		{ 0, 5, "the PNG image cannot be read" },
		{ 0x7fffffff, 0x7fffffff, "the PNG image cannot be read" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(sizes); i++) {
		claim_size(&file, sizes[i].width, sizes[i].height);
		fail_alloc_begin(0);
		refuse(&file, sizes[i].part);
		assert_int_equal(fail_alloc.requests, 0);
		fail_alloc_end();
	}
	/* A claim that is allowed, of pixels that are not there. */
	claim_size(&file, 37, 2000);
	refuse(&file, "the PNG image cannot be read");
	file_destroy(&file);

	/* The same for a JPEG: height and width stand in the frame's head, after its marker C0. */
	file = canvas_jpeg(&canvas, JPEG_BASELINE);
	uint8_t *frame = memmem(file.data, file.length, "\xff\xc0", 2);

	assert_non_null(frame);
	memcpy(frame + 5, "\xff\xdc\xff\xdc", 4); /* 65500 each */
	refuse(&file, "65500 x 65500 pixels; 65536 on a side and 67108864 together");
	memcpy(frame + 5, "\x00\x00", 2);
	refuse(&file, "the JPEG image cannot be read");
	file_destroy(&file);
	canvas_destroy(&canvas);
}

static void a_jpeg_of_other_colours_is_refused(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image file = canvas_jpeg(&canvas, JPEG_BASELINE);
	uint8_t *frame = memmem(file.data, file.length, "\xff\xc0", 2);

	(void)state;
	assert_non_null(frame);
	frame[9] = 4; /* components; the head is too short for them */
	refuse(&file, "the JPEG image cannot be read");
	file_destroy(&file);
	canvas_destroy(&canvas);
}

static void a_jpeg_of_endless_scans_is_refused(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image file = canvas_jpeg(&canvas, JPEG_MANY_SCANS);

	(void)state;
	refuse(&file, "the JPEG image has more than 500 scans");
	file_destroy(&file);
	canvas_destroy(&canvas);
}

/* ---- files that are damaged ---- */

/* Every beginning of a file is refused, or gives all of the image: what was cut held no pixel. */
static void check_beginnings(const struct pc_image *file, size_t pixels_end)
{
	struct image whole = decode(file);

	for (size_t length = 0; length < file->length; length++) {
		/* In memory of its own, so that a sanitizer sees a byte too far. */
		uint8_t *data = malloc(length ? length : 1);
		struct image image = { .rgb = NULL };

		assert_non_null(data);
		memcpy(data, file->data, length);
		int rc = image_decode(&(struct pc_image){ data, length }, &image, NULL);

		if (rc == 0) {
			assert_true(length >= pixels_end);
			assert_memory_equal(image.rgb, whole.rgb,
					    (size_t)whole.width * whole.height * 3);
		} else {
			assert_int_equal(rc, PC_E_INVALID_REQUEST);
		}
		image_fini(&image);
		free(data);
	}
	image_fini(&whole);
}

static void every_beginning_of_a_file_is_refused(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image png = canvas_png(&canvas);
	struct pc_image jpeg = canvas_jpeg(&canvas, JPEG_BASELINE),
			progressive = canvas_jpeg(&canvas, JPEG_PROGRESSIVE);

	(void)state;
	/* A PNG ends in a checksum of its pixels and a chunk of 12 bytes; the last 4 bytes of a
	 * zlib stream before that are a checksum too. A JPEG ends in a marker of 2. */
	check_beginnings(&png, png.length - 12 - 4 - 4);
	check_beginnings(&jpeg, jpeg.length - 2);
	check_beginnings(&progressive, progressive.length - 2);
	file_destroy(&png);
	file_destroy(&jpeg);
	file_destroy(&progressive);
	canvas_destroy(&canvas);
}

static void check_bit(const struct pc_image *file, size_t bit, unsigned *refused)
{
	uint8_t *data = malloc(file->length);
	struct image image = { .rgb = NULL };

	assert_non_null(data);
	memcpy(data, file->data, file->length);
	data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	int rc = image_decode(&(struct pc_image){ data, file->length }, &image, NULL);

	assert_true(rc == 0 || rc == PC_E_INVALID_REQUEST);
	*refused += rc != 0;
	image_fini(&image);
	free(data);
}

static void a_bit_turned_over_does_no_harm(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image files[] = { canvas_png(&canvas), canvas_jpeg(&canvas, JPEG_BASELINE),
				    canvas_jpeg(&canvas, JPEG_PROGRESSIVE) };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(files); i++) {
		unsigned refused = 0;

		for (size_t bit = 0; bit < files[i].length * 8; bit++)
			check_bit(&files[i], bit, &refused);
		/* PNG has checksums; a JPEG shows a wrong colour for many of them. */
		if (i == 0)
			assert_true(refused > (files[i].length - 12) * 8 * 9 / 10);
		assert_true(refused > 100);
		file_destroy(&files[i]);
	}
	canvas_destroy(&canvas);
}

/* ---- planes ---- */

static const struct pixels plain = { .std = { 1, 1, 1 } };

static void planes_of_the_same_size_are_the_pixels(void **state)
{
	uint8_t rgb[] = { 255, 0, 51, 0, 102, 255 };
	struct image image = { rgb, 2, 1 };
	struct part whole = { 0, 0, 2, 1 };
	struct pixels pixels = { .bgr = true, .mean = { 0.5f, 0, 0 }, .std = { 0.5f, 2, 1 } };
	float planes[6];
	static const float wanted[] = { 1, 0, 0, 0.4f, 0.2f, 1 };
	static const float normal[] = { -0.6f, 1, 0, 0.2f, 1, 0 };

	(void)state;
	assert_int_equal(image_to_planes(&image, &whole, &plain, 2, 1, planes, NULL), 0);
	for (size_t i = 0; i < 6; i++)
		assert_float_equal(planes[i], wanted[i], 1e-6);
	assert_int_equal(image_to_planes(&image, &whole, &pixels, 2, 1, planes, NULL), 0);
	for (size_t i = 0; i < 6; i++)
		assert_float_equal(planes[i], normal[i], 1e-6);
}

static void shrinking_loses_no_pixel(void **state)
{
	struct canvas canvas = canvas_create(640, 480, 0);
	struct part whole = { 0, 0, 640, 480 };
	float planes[3 * 4 * 3];
	double sum = 0;

	(void)state;
	/* One white pixel of 307200, in the inner part, where every pixel counts the same. */
	canvas_fill(&canvas, 333, 247, 1, 1, 0xffffff);
	struct image image = { canvas.rgb, 640, 480 };

	assert_int_equal(image_to_planes(&image, &whole, &plain, 4, 3, planes, NULL), 0);
	for (size_t i = 0; i < 12; i++) {
		assert_true(planes[i] >= 0);
		sum += (double)planes[i];
	}
	assert_float_equal(sum, 12.0 / (640 * 480), 1e-6);
	canvas_destroy(&canvas);
}

static void growing_goes_straight_between_pixels(void **state)
{
	uint8_t rgb[] = { 0, 0, 0, 255, 255, 255 };
	struct image image = { rgb, 2, 1 };
	struct part whole = { 0, 0, 2, 1 };
	static const float wanted[] = { 0, 0, 0.125f, 0.375f, 0.625f, 0.875f, 1, 1 };
	float planes[3 * 8 * 2];

	(void)state;
	assert_int_equal(image_to_planes(&image, &whole, &plain, 8, 2, planes, NULL), 0);
	for (size_t i = 0; i < 3 * 8 * 2; i++)
		assert_float_equal(planes[i], wanted[i % 8], 1e-5);
}

static void a_part_sees_nothing_around_it(void **state)
{
	struct canvas canvas = canvas_create(50, 40, 0xff0000);
	struct part part = { 11, 7, 13, 9 };
	struct image image = { canvas.rgb, 50, 40 };
	static const uint32_t sizes[][2] = { { 13, 9 }, { 5, 4 }, { 1, 1 }, { 100, 3 }, { 2, 50 } };
	static float planes[3 * 300];

	(void)state;
	canvas_fill(&canvas, part.left, part.top, part.width, part.height, 0x00ff00);
	for (size_t i = 0; i < PC_ARRAY_LEN(sizes); i++) {
		size_t count = (size_t)sizes[i][0] * sizes[i][1];

		assert_int_equal(image_to_planes(&image, &part, &plain, sizes[i][0], sizes[i][1],
						 planes, NULL),
				 0);
		for (size_t at = 0; at < count; at++) {
			assert_float_equal(planes[at], 0, 1e-6);
			assert_float_equal(planes[count + at], 1, 1e-5);
			assert_float_equal(planes[2 * count + at], 0, 1e-6);
		}
	}
	canvas_destroy(&canvas);
}

/* ---- memory ---- */

static int decode_and_scale(const struct pc_image *file, struct pc_error *err)
{
	struct image image = { .rgb = NULL };
	float planes[3 * 4];
	int rc = image_decode(file, &image, err);

	if (!rc)
		rc = image_to_planes(&image, &(struct part){ 0, 0, image.width, image.height },
				     &plain, 2, 2, planes, err);
	image_fini(&image);
	return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
	struct canvas canvas = make_canvas();
	struct pc_image files[] = { canvas_png(&canvas), canvas_jpeg(&canvas, JPEG_PROGRESSIVE) };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(files); i++) {
		unsigned n = 1;

		for (;; n++) {
			struct pc_error err = PC_ERROR_INIT;

			fail_alloc_begin(n);
			int rc = decode_and_scale(&files[i], &err);

			if (fail_alloc_end())
				break;
			assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
			assert_int_equal(fail_alloc_live(), 0);
		}
		assert_true(n > 4);
		file_destroy(&files[i]);
	}
	canvas_destroy(&canvas);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_png_is_what_was_drawn),
		cmocka_unit_test(a_jpeg_is_nearly_what_was_drawn),
		cmocka_unit_test(every_kind_of_png_becomes_rgb),
		cmocka_unit_test(what_is_no_image_is_refused),
		cmocka_unit_test(a_size_past_the_limit_is_refused_unseen),
		cmocka_unit_test(a_jpeg_of_other_colours_is_refused),
		cmocka_unit_test(a_jpeg_of_endless_scans_is_refused),
		cmocka_unit_test(every_beginning_of_a_file_is_refused),
		cmocka_unit_test(a_bit_turned_over_does_no_harm),
		cmocka_unit_test(planes_of_the_same_size_are_the_pixels),
		cmocka_unit_test(shrinking_loses_no_pixel),
		cmocka_unit_test(growing_goes_straight_between_pixels),
		cmocka_unit_test(a_part_sees_nothing_around_it),
		cmocka_unit_test(every_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
