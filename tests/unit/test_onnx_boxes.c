/* SPDX-License-Identifier: MIT */
/*
 * Maps of probabilities, drawn with characters, to boxes in the order of reading.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engines/onnx/boxes.h"
#include "fail_alloc.h"

static const struct box_rules rules = { .threshold = 0.3f, .box_threshold = 0.6f };

/* 'a' to 'j' are 0.1 to 1.0, anything else is 0. Rows of equal length. */
static struct boxes find(const char *const *rows, size_t count, const struct box_rules *by,
			 uint32_t width, uint32_t height)
{
	size_t length = strlen(rows[0]);
	float *map = calloc(length * count, sizeof(*map));
	struct boxes boxes = { .data = NULL };

	assert_non_null(map);
	for (size_t i = 0; i < length * count; i++) {
		char c = rows[i / length][i % length];

		map[i] = c >= 'a' && c <= 'j' ? (float)(c - 'a' + 1) / 10 : 0;
	}
	assert_int_equal(
		find_boxes(map, (uint32_t)length, (uint32_t)count, by, width, height, &boxes, NULL),
		0);
	free(map);
	return boxes;
}

static void check_box(const struct box *box, uint32_t row, uint32_t left, uint32_t top,
		      uint32_t width, uint32_t height)
{
	assert_int_equal(box->row, row);
	assert_int_equal(box->part.left, left);
	assert_int_equal(box->part.top, top);
	assert_int_equal(box->part.width, width);
	assert_int_equal(box->part.height, height);
}

static void pieces_become_boxes(void **state)
{
	static const char *const rows[] = {
		"............", /* touches at a corner: one piece */
		".jjj........", /*                              */
		".jjj....jjj.", /*                              */
		".jjjjj..jjj.", /*                              */
		"......j.jjj.", /*                              */
		"............",
	};

	(void)state;
	struct boxes boxes = find(rows, 6, &rules, 12, 6);

	assert_int_equal(boxes.count, 2);
	check_box(&boxes.data[0], 0, 1, 1, 6, 4);
	check_box(&boxes.data[1], 0, 8, 2, 3, 3);
	pc_free(boxes.data);
}

static void noise_is_dropped(void **state)
{
	static const char *const rows[] = {
		"jj..eee..ccc..hhh",
		"jj..eee..ccc..hdh", /* 0.5 is too low a mean, 0.3 is no text at all */
		"jj..eee..ccc..hhh",
	};

	(void)state;
	struct boxes boxes = find(rows, 3, &rules, 17, 3);

	assert_int_equal(boxes.count, 1);
	check_box(&boxes.data[0], 0, 14, 0, 3, 3);
	pc_free(boxes.data);

	static const char *const empty[] = { "...", "..." };

	boxes = find(empty, 2, &rules, 30, 20);
	assert_int_equal(boxes.count, 0);
	pc_free(boxes.data);
}

static void boxes_are_grown_and_stretched_and_stay_inside(void **state)
{
	struct box_rules by = rules;
	static const char *const rows[] = {
		"................", "................", "..jjjjjjjjjj....", "..jjjjjjjjjj....",
		"..jjjjjjjjjj....", "..jjjjjjjjjj....", "................", "................",
	};

	(void)state;
	by.unclip = 0.7f; /* 10 * 4 * 0.7 / 28 = 1 on every side */
	struct boxes boxes = find(rows, 8, &by, 32, 80);

	assert_int_equal(boxes.count, 1);
	check_box(&boxes.data[0], 0, 2, 10, 24, 60);
	pc_free(boxes.data);

	by.unclip = 10;
	boxes = find(rows, 8, &by, 5, 3);
	check_box(&boxes.data[0], 0, 0, 0, 5, 3);
	pc_free(boxes.data);
}

static void boxes_are_read_row_by_row(void **state)
{
	/* The second of a row stands a little higher than the first; a headline beside small print
	 * takes only what its middle reaches. */
	static const char *const rows[] = {
		".................", ".......jjj.......", ".jjj...jjj.......", ".jjj...jjj.......",
		".jjj.............", ".................", "...........jjj...", "jjjjj......jjj...",
		"jjjjj......jjj...", "jjjjj............", "jjjjj......jjj...", "jjjjj......jjj...",
		"jjjjj......jjj...", "jjjjj............", "jjjjj......jjj...", "...........jjj...",
		"...........jjj...",
	};

	(void)state;
	struct boxes boxes = find(rows, PC_ARRAY_LEN(rows), &rules, 17, 17);

	assert_int_equal(boxes.count, 6);
	check_box(&boxes.data[0], 0, 1, 2, 3, 3);
	check_box(&boxes.data[1], 0, 7, 1, 3, 3);
	check_box(&boxes.data[2], 1, 11, 6, 3, 3);
	check_box(&boxes.data[3], 2, 0, 7, 5, 8);
	check_box(&boxes.data[4], 2, 11, 10, 3, 3);
	check_box(&boxes.data[5], 3, 11, 14, 3, 3);
	pc_free(boxes.data);
}

/* Many pieces make the list grow; the whole map as one piece fills the queue. */
static void a_map_may_be_full(void **state)
{
	enum { SIDE = 200 };
	static float map[SIDE * SIDE];
	struct boxes boxes = { .data = NULL };

	(void)state;
	for (size_t i = 0; i < SIDE * SIDE; i++)
		map[i] = i % SIDE % 4 == 3 || i / SIDE % 4 == 3 ? 0 : 1;
	assert_int_equal(find_boxes(map, SIDE, SIDE, &rules, SIDE, SIDE, &boxes, NULL), 0);
	assert_int_equal(boxes.count, SIDE / 4 * SIDE / 4);
	for (size_t i = 0; i < boxes.count; i++)
		check_box(&boxes.data[i], (uint32_t)i / (SIDE / 4), i % (SIDE / 4) * 4,
			  (uint32_t)i / (SIDE / 4) * 4, 3, 3);
	pc_free(boxes.data);

	for (size_t i = 0; i < SIDE * SIDE; i++)
		map[i] = 1;
	assert_int_equal(find_boxes(map, SIDE, SIDE, &rules, SIDE, SIDE, &boxes, NULL), 0);
	assert_int_equal(boxes.count, 1);
	check_box(&boxes.data[0], 0, 0, 0, SIDE, SIDE);
	pc_free(boxes.data);
}

static void a_failing_allocation_is_reported(void **state)
{
	enum { SIDE = 60 };
	static float map[SIDE * SIDE];
	unsigned n = 1;

	(void)state;
	for (size_t i = 0; i < SIDE * SIDE; i++)
		map[i] = i % SIDE % 4 == 3 || i / SIDE % 4 == 3 ? 0 : 1;
	for (;; n++) {
		struct boxes boxes = { .data = NULL };
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin(n);
		int rc = find_boxes(map, SIDE, SIDE, &rules, SIDE, SIDE, &boxes, &err);

		pc_free(boxes.data);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	}
	assert_true(n > 4); /* two maps, and a list that grew twice */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_become_boxes),
		cmocka_unit_test(noise_is_dropped),
		cmocka_unit_test(boxes_are_grown_and_stretched_and_stay_inside),
		cmocka_unit_test(boxes_are_read_row_by_row),
		cmocka_unit_test(a_map_may_be_full),
		cmocka_unit_test(a_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
