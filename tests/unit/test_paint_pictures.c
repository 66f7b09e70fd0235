/* SPDX-License-Identifier: MIT */
/*
 * What the paint plug-in paints: pictures are asked for in words and looked at pixel by pixel.
 * Arguments: the folder of the plug-in and its file of words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/paint_fixture.h"

#define SEEDS 3 /* that a picture is looked at with */

/* ---- looking ---- */

typedef bool (*colour_fn)(const unsigned char *pixel);

static bool is_red(const unsigned char *pixel)
{
	return pixel[0] > 150 && pixel[1] < 100 && pixel[2] < 100;
}

static bool is_blue(const unsigned char *pixel)
{
	return pixel[2] > 150 && pixel[0] < 110 && pixel[1] < 130;
}

static bool is_green(const unsigned char *pixel)
{
	return pixel[1] > 120 && pixel[0] < 110 && pixel[2] < 130;
}

static bool is_yellow(const unsigned char *pixel)
{
	return pixel[0] > 190 && pixel[1] > 160 && pixel[2] < 110;
}

static bool is_white(const unsigned char *pixel)
{
	return pixel[0] > 225 && pixel[1] > 225 && pixel[2] > 225;
}

/* All pixels of one colour. */
struct patch {
	int count;
	int left, right, top, bottom; /* of the box around them */
	double x, y;		      /* their centre */
};

static const unsigned char *pixel_at(const struct picture *picture, int x, int y)
{
	return picture->pixels + 3 * ((size_t)y * (size_t)picture->width + (size_t)x);
}

static struct patch find(const struct picture *picture, colour_fn is_colour)
{
	struct patch patch = { .left = picture->width, .top = picture->height };

	for (int y = 0; y < picture->height; y++) {
		for (int x = 0; x < picture->width; x++) {
			if (!is_colour(pixel_at(picture, x, y)))
				continue;
			patch.count++;
			patch.x += x;
			patch.y += y;
			patch.left = x < patch.left ? x : patch.left;
			patch.right = x > patch.right ? x : patch.right;
			patch.top = y < patch.top ? y : patch.top;
			patch.bottom = y > patch.bottom ? y : patch.bottom;
		}
	}
	patch.x /= patch.count ? patch.count : 1;
	patch.y /= patch.count ? patch.count : 1;
	return patch;
}

/* The part of its box that a patch fills. */
static double fullness(const struct patch *patch)
{
	return (double)patch->count /
	       ((patch->right - patch->left + 1.0) * (patch->bottom - patch->top + 1.0));
}

/* Takes away the piece of one colour that holds x, y; its pixels. */
static int take_piece(struct picture *picture, colour_fn is_colour, int x, int y)
{
	if (x < 0 || y < 0 || x >= picture->width || y >= picture->height ||
	    !is_colour(pixel_at(picture, x, y)))
		return 0;
	memset(picture->pixels + 3 * ((size_t)y * (size_t)picture->width + (size_t)x), 128, 3);
	return 1 + take_piece(picture, is_colour, x - 1, y) +
	       take_piece(picture, is_colour, x + 1, y) + take_piece(picture, is_colour, x, y - 1) +
	       take_piece(picture, is_colour, x, y + 1);
}

/* How many pieces of one colour there are; crumbs at the edges do not count. */
static int count_pieces(struct picture *picture, colour_fn is_colour)
{
	int pieces = 0;

	for (int y = 0; y < picture->height; y++) {
		for (int x = 0; x < picture->width; x++)
			pieces += take_piece(picture, is_colour, x, y) > 12;
	}
	return pieces;
}

/* ---- one thing ---- */

/* A thing of this colour: its middle has it all over, the corners of the sheet have it not. */
static struct patch find_thing(const char *prompt, uint32_t seed, colour_fn is_colour)
{
	struct picture picture = paint_prompt(prompt, seed);
	struct patch patch = find(&picture, is_colour);
	int sheet = picture.width * picture.height;

	assert_in_range(patch.count, sheet / 8, sheet / 2);
	for (int i = 0; i < 81; i++)
		assert_true(is_colour(
			pixel_at(&picture, (int)patch.x + i % 9 - 4, (int)patch.y + i / 9 - 4)));
	for (int i = 0; i < 4; i++)
		assert_false(is_colour(pixel_at(&picture, i % 2 * (picture.width - 1),
						i / 2 * (picture.height - 1))));
	free(picture.pixels);
	return patch;
}

static void a_circle_is_round_and_a_square_square(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < SEEDS; seed++) {
		struct patch circle = find_thing("a red circle", seed, is_red);
		struct patch square = find_thing("A BLUE SQUARE", seed, is_blue);
		struct patch triangle = find_thing("green triangle", seed, is_green);

		/* pi / 4, 1 and 1 / 2, less what the brush leaves open at the edges */
		assert_in_range((int)(fullness(&circle) * 100), 68, 84);
		assert_in_range((int)(fullness(&square) * 100), 90, 100);
		assert_in_range((int)(fullness(&triangle) * 100), 40, 58);
		/* The triangle's weight is in its lower half. */
		assert_true(triangle.y > (triangle.top + triangle.bottom) / 2.0 + 3);
	}
}

static void the_seed_moves_things(void **state)
{
	struct patch first = find_thing("a red circle", 1, is_red);
	int moved = 0;

	(void)state;
	for (uint32_t seed = 2; seed < 6; seed++) {
		struct patch other = find_thing("a red circle", seed, is_red);

		moved += (int)first.x != (int)other.x || (int)first.y != (int)other.y;
	}
	assert_true(moved >= 3);
}

static void things_stand_where_they_shall(void **state)
{
	static const struct {
		const char *prompt;
		int right, down; /* of the middle of the sheet; 0: about there */
	} rows[] = {
		{ "a red circle on the left", -1, 0 },
		{ "a red circle to the right", 1, 0 },
		{ "on the left a red circle", -1, 0 },
		{ "a red circle at the top", 0, -1 },
		{ "a red circle at the bottom of a yellow background", 0, 1 },
		{ "a red circle in the centre", 0, 0 },
		{ "in the middle of a white background a red circle", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows) * SEEDS; i++) {
		struct picture picture = paint_prompt(rows[i / SEEDS].prompt, i % SEEDS);
		struct patch red = find(&picture, is_red);
		double right = red.x - picture.width / 2.0, down = red.y - picture.height / 2.0;

		assert_true(red.count > 0);
		if (rows[i / SEEDS].right)
			assert_true(right * rows[i / SEEDS].right > 8);
		if (rows[i / SEEDS].down)
			assert_true(down * rows[i / SEEDS].down > 8);
		if (!rows[i / SEEDS].right && !rows[i / SEEDS].down)
			assert_true(right * right + down * down < 9);
		free(picture.pixels);
	}
}

/* ---- more than one ---- */

static void two_things_stand_as_they_shall(void **state)
{
	static const struct {
		const char *prompt;
		int right, down; /* from the blue one to the red one */
	} rows[] = {
		{ "a red circle above a blue square", 0, -1 },
		{ "a red circle below a blue square", 0, 1 },
		{ "a red circle to the left of a blue square", -1, 0 },
		{ "a blue square left of a red circle", 1, 0 },
		{ "a red circle right of a blue square", 1, 0 },
		{ "a red circle beside a blue square", -1, 0 },
		{ "a red circle, a blue square", -1, 0 },
		{ "a blue square and a red circle at the top", 0, -1 },
		{ "a blue square and a red circle on the left", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows) * SEEDS; i++) {
		struct picture picture = paint_prompt(rows[i / SEEDS].prompt, i % SEEDS);
		struct patch red = find(&picture, is_red), blue = find(&picture, is_blue);

		assert_true(red.count > 100 && blue.count > 100);
		/* Not only the middles: the whole of one is on its side of the other. */
		if (rows[i / SEEDS].right < 0)
			assert_true(red.right < blue.left);
		if (rows[i / SEEDS].right > 0)
			assert_true(red.left > blue.right);
		if (rows[i / SEEDS].down < 0)
			assert_true(red.bottom < blue.top);
		if (rows[i / SEEDS].down > 0)
			assert_true(red.top > blue.bottom);
		free(picture.pixels);
	}
}

static void one_thing_is_inside_another(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < SEEDS; seed++) {
		struct picture picture = paint_prompt("a red circle inside a blue square", seed);
		struct patch red = find(&picture, is_red), blue = find(&picture, is_blue);

		assert_true(red.count > 100);
		assert_true(blue.left < red.left && red.right < blue.right);
		assert_true(blue.top < red.top && red.bottom < blue.bottom);
		free(picture.pixels);
	}
}

static void counts_are_kept(void **state)
{
	static const struct {
		const char *prompt;
		int red, green;
	} rows[] = {
		{ "three red circles", 3, 0 },
		{ "5 green squares above two red circles", 2, 5 },
		{ "a red ball, a green box, a red ball", 2, 1 },
		{ "a sad green circle", 0, 1 },
		{ "a dozen green circles", 0, 12 },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_image_request request = ask(rows[i].prompt, 3);

		request.width = 160;
		request.height = 120;
		struct picture picture = paint_request(&request);

		assert_int_equal(count_pieces(&picture, is_green), rows[i].green);
		assert_int_equal(count_pieces(&picture, is_red), rows[i].red);
		free(picture.pixels);
	}
}

static void sizes_are_kept(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < SEEDS; seed++) {
		struct picture picture = paint_prompt("a small red circle beside a big blue circle",
						      seed);
		struct patch red = find(&picture, is_red), blue = find(&picture, is_blue);

		/* 0.55 to 1.2, so that the areas are as 1 to 4.8. */
		assert_true(red.count * 3 < blue.count && red.count * 8 > blue.count);
		free(picture.pixels);
	}
}

/* ---- grounds ---- */

static void grounds_take_the_colour_before_them(void **state)
{
	static const struct {
		const char *prompt;
		colour_fn is_ground;
	} rows[] = {
		{ "a red circle on a yellow background", is_yellow },
		{ "a yellow background", is_yellow },
		{ "white paper with a red circle", is_white },
		{ "a red circle over a green meadow under a blue sky", is_green },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct picture picture = paint_prompt(rows[i].prompt, 4);
		int ground = 0;

		for (int at = 0; at < picture.width; at++)
			ground += rows[i].is_ground(pixel_at(&picture, at, 0)) +
				  rows[i].is_ground(pixel_at(&picture, at, picture.height - 1));
		assert_true(ground > picture.width * 2 * 9 / 10);
		free(picture.pixels);
	}
}

static void unknown_words_stir_the_ground_alone(void **state)
{
	struct picture plain = paint_prompt("a red circle", 2);
	struct picture dreamy = paint_prompt("a dreamy red circle", 2);
	struct patch red = find(&plain, is_red), other = find(&dreamy, is_red);
	size_t bytes = (size_t)plain.width * (size_t)plain.height * 3;

	(void)state;
	assert_memory_not_equal(plain.pixels, dreamy.pixels, bytes);
	assert_in_range((int)(other.x - red.x + 2.5), 1, 3); /* within 1.5 pixels */
	assert_in_range((int)(other.y - red.y + 2.5), 1, 3);
	free(plain.pixels);
	free(dreamy.pixels);
}

static void what_shall_not_be_there_is_not(void **state)
{
	static const struct {
		const char *negative;
		bool red, blue;
	} rows[] = {
		{ NULL, true, true },
		{ "", true, true },
		{ "boxes", true, false },
		{ "blue", true, false },
		{ "no crimson, please", false, true },
		{ "circle square", false, false },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		struct pc_image_request request = ask("a red circle and a blue square", 1);

		request.negative_prompt = rows[i].negative;
		struct picture picture = paint_request(&request);

		assert_int_equal(find(&picture, is_red).count > 100, rows[i].red);
		assert_int_equal(find(&picture, is_blue).count > 100, rows[i].blue);
		free(picture.pixels);
	}
}

static void what_stays_forgets_what_has_gone(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < SEEDS; seed++) {
		struct pc_image_request request = ask(
			"a blue circle, a green star inside a red square", seed);

		request.negative_prompt = "star";
		struct picture picture = paint_request(&request);
		struct patch red = find(&picture, is_red), blue = find(&picture, is_blue);

		assert_int_equal(find(&picture, is_green).count, 0);
		assert_true(blue.count > 100 && blue.right < red.left);
		free(picture.pixels);
	}
}

static void a_colour_nobody_said_is_not_the_grounds(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 12; seed++) {
		struct picture picture = paint_prompt("a circle on a red background", seed);
		int sheet = picture.width * picture.height;

		assert_in_range(find(&picture, is_red).count, sheet / 3, sheet * 7 / 8);
		free(picture.pixels);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_circle_is_round_and_a_square_square),
		cmocka_unit_test(the_seed_moves_things),
		cmocka_unit_test(things_stand_where_they_shall),
		cmocka_unit_test(two_things_stand_as_they_shall),
		cmocka_unit_test(one_thing_is_inside_another),
		cmocka_unit_test(counts_are_kept),
		cmocka_unit_test(sizes_are_kept),
		cmocka_unit_test(grounds_take_the_colour_before_them),
		cmocka_unit_test(unknown_words_stir_the_ground_alone),
		cmocka_unit_test(what_shall_not_be_there_is_not),
		cmocka_unit_test(what_stays_forgets_what_has_gone),
		cmocka_unit_test(a_colour_nobody_said_is_not_the_grounds),
	};

	if (!read_arguments(argc, argv))
		return 2;
	return cmocka_run_group_tests(tests, load_paint, unload_paint);
}
