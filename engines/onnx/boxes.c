/* SPDX-License-Identifier: MIT */
/*
 * boxes.c - the second half of a text detector of the kind "differentiable binarization" (Liao and
 * others, AAAI 2020): the network says for each pixel how likely it belongs to the core of a line
 * of text; here these pixels become boxes.
 *
 * Pixels over the threshold that touch, diagonals included, are one piece. A piece whose mean
 * probability is too low is dropped. The network was taught to mark lines shrunk by
 * area * (1 - r^2) / perimeter on every side; each box is grown back by the paper's
 * area * unclip / perimeter.
 */
#include "boxes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Narrower or lower pieces are noise: two pixels of the map are no letter. */
#define PIECE_MIN_SIDE 3

/* Pixels that belong together; right and bottom are inside. */
struct piece {
	uint32_t left, top, right, bottom;
	size_t count;
	double sum;
};

struct search {
	const float *map;
	uint32_t width, height;
	float threshold;
	uint8_t *seen;	 /* of each pixel: it belongs to a piece that was found */
	uint32_t *queue; /* pixels of the piece under way; each is in it at most once */
};

static bool is_new(const struct search *search, uint32_t at)
{
	return !search->seen[at] && search->map[at] > search->threshold;
}

/* Puts the neighbours of a pixel that belong to its piece into the queue. */
static size_t queue_neighbours(struct search *search, uint32_t at, size_t length)
{
	uint32_t x = at % search->width, y = at / search->width;
	uint32_t left = x > 0 ? x - 1 : 0, right = x + 1 < search->width ? x + 1 : x;
	uint32_t top = y > 0 ? y - 1 : 0, bottom = y + 1 < search->height ? y + 1 : y;

	for (uint32_t j = top; j <= bottom; j++) {
		for (uint32_t i = left; i <= right; i++) {
			uint32_t neighbour = j * search->width + i;

			if (!is_new(search, neighbour))
				continue;
			search->seen[neighbour] = 1;
			search->queue[length++] = neighbour;
		}
	}
	return length;
}

static struct piece gather(struct search *search, uint32_t start)
{
	struct piece piece = { .left = search->width, .top = search->height };
	size_t length = 1;

	search->queue[0] = start;
	search->seen[start] = 1;
	for (size_t i = 0; i < length; i++) {
		uint32_t at = search->queue[i];
		uint32_t x = at % search->width, y = at / search->width;

		piece.left = x < piece.left ? x : piece.left;
		piece.right = x > piece.right ? x : piece.right;
		piece.top = y < piece.top ? y : piece.top;
		piece.bottom = y > piece.bottom ? y : piece.bottom;
		piece.sum += search->map[at];
		length = queue_neighbours(search, at, length);
	}
	piece.count = length;
	return piece;
}

static bool is_text(const struct piece *piece, const struct box_rules *rules)
{
	return piece->right - piece->left + 1 >= PIECE_MIN_SIDE &&
	       piece->bottom - piece->top + 1 >= PIECE_MIN_SIDE &&
	       piece->sum / (double)piece->count >= (double)rules->box_threshold;
}

/* ---- from the map to the image ---- */

/* From `low` to `high` (outside), of `from`, on a side of `to`: whole pixels, none outside. */
static void stretch(double low, double high, uint32_t from, uint32_t to, uint32_t *ret_first,
		    uint32_t *ret_size)
{
	double scale = (double)to / from;
	double first = low * scale, end = high * scale + 0.999;

	first = first > 0 ? first : 0;
	end = end < to ? end : to;
	*ret_first = (uint32_t)first < to ? (uint32_t)first : to - 1;
	*ret_size = (uint32_t)end > *ret_first ? (uint32_t)end - *ret_first : 1;
}

static struct box box_of(const struct piece *piece, const struct search *search, float unclip,
			 uint32_t image_width, uint32_t image_height)
{
	double width = piece->right - piece->left + 1.0, height = piece->bottom - piece->top + 1.0;
	double grow = width * height * (double)unclip / (2 * (width + height));
	struct box box = { .row = 0 };

	stretch(piece->left - grow, piece->right + 1 + grow, search->width, image_width,
		&box.part.left, &box.part.width);
	stretch(piece->top - grow, piece->bottom + 1 + grow, search->height, image_height,
		&box.part.top, &box.part.height);
	return box;
}

static int add_box(struct boxes *boxes, size_t *room, const struct box *box, struct pc_error *err)
{
	if (boxes->count == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct box *data = pc_realloc(boxes->data, more * sizeof(*data));

		if (!data)
			return pc_error_oom(err);
		boxes->data = data;
		*room = more;
	}
	boxes->data[boxes->count++] = *box;
	return 0;
}

/* ---- the order of reading ---- */

/* Twice the height of the middle: halves need no fraction. */
static uint32_t middle(const struct box *box)
{
	return box->part.top * 2 + box->part.height;
}

static int by_height(const void *a, const void *b)
{
	uint32_t left = middle(a), right = middle(b);

	return (left > right) - (left < right);
}

static int by_place(const void *a, const void *b)
{
	const struct box *left = a, *right = b;

	if (left->row != right->row)
		return left->row < right->row ? -1 : 1;
	return (left->part.left > right->part.left) - (left->part.left < right->part.left);
}

/*
 * A box stands in the row of the box above it when its middle is nearer to that one's than half the
 * lower of the two is high: a headline takes no small print into its row.
 */
static void sort_for_reading(struct boxes *boxes)
{
	const struct box *first = boxes->data; /* of the row */
	uint32_t row = 0;

	if (boxes->count == 0)
		return;
	qsort(boxes->data, boxes->count, sizeof(*boxes->data), by_height);
	for (size_t i = 0; i < boxes->count; i++) {
		struct box *box = &boxes->data[i];
		uint32_t lower = box->part.height < first->part.height ? box->part.height
								       : first->part.height;

		if (middle(box) - middle(first) > lower) {
			first = box;
			row++;
		}
		box->row = row;
	}
	qsort(boxes->data, boxes->count, sizeof(*boxes->data), by_place);
}

int find_boxes(const float *map, uint32_t width, uint32_t height, const struct box_rules *rules,
	       uint32_t image_width, uint32_t image_height, struct boxes *ret_boxes,
	       struct pc_error *err)
{
	assert(width > 0 && height > 0 && (uint64_t)width * height <= UINT32_MAX);

	size_t pixels = (size_t)width * height, room = 0;
	pc_auto(pc_free) uint8_t *seen = pc_calloc(pixels, sizeof(*seen));
	pc_auto(pc_free) uint32_t *queue = pc_calloc(pixels, sizeof(*queue));
	struct boxes boxes = { .data = NULL };

	if (!seen || !queue)
		return pc_error_oom(err);

	struct search search = { map, width, height, rules->threshold, seen, queue };

	for (uint32_t at = 0; at < pixels; at++) {
		if (!is_new(&search, at))
			continue;
		struct piece piece = gather(&search, at);

		if (!is_text(&piece, rules))
			continue;
		struct box box = box_of(&piece, &search, rules->unclip, image_width, image_height);
		int rc = add_box(&boxes, &room, &box, err);

		if (rc) {
			pc_free(boxes.data);
			return rc;
		}
	}
	sort_for_reading(&boxes);
	*ret_boxes = boxes;
	return 0;
}
