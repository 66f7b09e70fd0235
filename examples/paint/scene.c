/* SPDX-License-Identifier: MIT */
/*
 * scene.c - what a prompt means: which things are on the sheet, where, how large, in which colour.
 * It reads words, not sentences. Pure; any thread.
 *
 * A shape's word closes a group; the colour, size and count that were said before it are its own.
 * "A above B" puts the group A above the group B. A place with no group behind it ("a star on the
 * left", "at the top of a blue sky") or before it is the group's place on the sheet. A ground's
 * word takes the colour before it. What nobody knows goes into the ground's texture.
 *
 * Groups stand in the cells of a grid that is as small as they allow; one unit of size holds for
 * all of them, so that a small thing is smaller than a large one wherever they are. The seed moves
 * things inside their cells, never out of them.
 */
#include "paint.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Guesses; change freely. */
#define GROUPS_MAX 32
#define COUNT_MAX 64
#define NEST_FACTOR 0.45f /* the size of what is inside something */
#define RADIUS 0.36f	  /* of a thing of size 1 in a box of side 1 */
#define RADIUS_VARIES 0.06f
#define COLOUR_VARIES 8
#define STRAY 0.6f /* the part of the free way to its cell's border that a thing may go */

enum { X, Y };

struct group {
	const struct word *shape, *colour, *size;
	uint32_t count;
	enum place place; /* where it puts the group before it: A above B */
	enum place spot;  /* on the sheet */
	int cell[2];
	float nest; /* factor by which it is smaller, being inside others */
};

struct composer {
	const struct vocabulary *vocabulary;
	uint64_t seed;
	struct group next; /* what was said of the group whose shape is still to come */
	const struct word *ground, *ground_colour;
	uint64_t grain;
	size_t group_count;
	struct group groups[GROUPS_MAX];
	int spare[2];	     /* where the grid has an empty neighbour for a lone cell: -1, 0, 1 */
	int low[2], high[2]; /* the grid */
	struct pc_error *err;
};

/* Where "A place B" puts A, as seen from B; y grows downwards. */
static const struct {
	int axis, step;
} ways[] = {
	[PLACE_NONE] = { X, -1 }, [PLACE_ABOVE] = { Y, -1 }, [PLACE_BELOW] = { Y, 1 },
	[PLACE_LEFT] = { X, -1 }, [PLACE_RIGHT] = { X, 1 },  [PLACE_BESIDE] = { X, -1 },
};

/* ---- words ---- */

static int close_group(struct composer *composer, const struct word *shape)
{
	struct group *next = &composer->next;

	if (composer->group_count == GROUPS_MAX)
		return pc_error_set(composer->err, PC_E_INVALID_REQUEST,
				    "the prompt names more than the %d groups of shapes that fit",
				    GROUPS_MAX);
	next->shape = shape;
	next->nest = 1;
	if (next->count == 0)
		next->count = 1;
	if (composer->group_count == 0 && next->spot == PLACE_NONE) {
		next->spot = next->place;
		next->place = PLACE_NONE;
	}
	composer->groups[composer->group_count++] = *next;
	*next = (struct group){ .count = 0 };
	return 0;
}

/* The place that was said belongs to the group before: none came behind it. */
static void give_place(struct composer *composer)
{
	if (composer->group_count > 0 && composer->next.place != PLACE_NONE)
		composer->groups[composer->group_count - 1].spot = composer->next.place;
}

static void take_ground(struct composer *composer, const struct word *word)
{
	if (!composer->ground) { /* "a meadow under a blue sky" is a meadow */
		composer->ground = word;
		composer->ground_colour = composer->next.colour;
	}
	give_place(composer);
	/* "In the middle of a blue sky a star": what was said of places is for the first group. */
	if (composer->group_count > 0)
		composer->next.place = composer->next.spot = PLACE_NONE;
	composer->next.colour = composer->next.size = NULL;
	composer->next.count = 0;
}

static void take_place(struct composer *composer, enum place place)
{
	if (place != PLACE_CENTRE)
		composer->next.place = place;
	else if (composer->group_count > 0)
		composer->groups[composer->group_count - 1].spot = place;
	else
		composer->next.spot = place;
}

static int take_count(struct composer *composer, const char *digits)
{
	unsigned long count = strtoul(digits, NULL, 10);

	if (count < 1 || count > COUNT_MAX)
		return pc_error_set(composer->err, PC_E_INVALID_REQUEST,
				    "the prompt asks for %s of a thing; 1 to %d are possible",
				    digits, COUNT_MAX);
	composer->next.count = (uint32_t)count;
	return 0;
}

static void take_unknown(struct composer *composer, const char *text)
{
	for (; *text; text++)
		composer->grain = chance_mix(composer->grain, (unsigned char)*text);
}

static int take_word(struct composer *composer, const char *text)
{
	const struct word *word = vocabulary_find(composer->vocabulary, text);

	if (!word && text[strspn(text, "0123456789")] == '\0')
		return take_count(composer, text);
	if (!word) {
		take_unknown(composer, text);
		return 0;
	}
	switch (word->kind) {
	case WORD_SHAPE:
		return close_group(composer, word);
	case WORD_COLOUR:
		composer->next.colour = word;
		break;
	case WORD_SIZE:
		composer->next.size = word;
		break;
	case WORD_COUNT:
		composer->next.count = word->count;
		break;
	case WORD_PLACE:
		take_place(composer, word->place);
		break;
	case WORD_GROUND:
		take_ground(composer, word);
		break;
	}
	return 0;
}

static int read_prompt(struct composer *composer, const char *prompt)
{
	char word[WORD_MAX_BYTES + 1];

	while (next_word(&prompt, word)) {
		int rc = take_word(composer, word);

		if (rc)
			return rc;
	}
	give_place(composer);
	/* "A circle in red": said behind it. */
	if (composer->group_count > 0 && !composer->groups[composer->group_count - 1].colour)
		composer->groups[composer->group_count - 1].colour = composer->next.colour;
	return 0;
}

/* Whether it is the same word or another name for it. */
static bool is_same(const struct word *a, const struct word *b)
{
	return a && b && a->line == b->line;
}

/* Takes away what shall not be there: groups of a shape or a colour that is named. */
static void read_negative(struct composer *composer, const char *prompt)
{
	char text[WORD_MAX_BYTES + 1];

	while (prompt && next_word(&prompt, text)) {
		const struct word *word = vocabulary_find(composer->vocabulary, text);
		size_t kept = 0;
		bool is_orphan = false; /* the group before it has gone */

		for (size_t i = 0; i < composer->group_count; i++) {
			struct group group = composer->groups[i];

			if (is_orphan)
				group.place = PLACE_NONE;
			is_orphan = is_same(group.shape, word) || is_same(group.colour, word);
			if (!is_orphan)
				composer->groups[kept++] = group;
		}
		composer->group_count = kept;
	}
}

/* ---- colours ---- */

/* One of the vocabulary's for a group that nobody gave one: not the ground's. */
static const struct word *draw_colour(const struct composer *composer, struct chance *chance,
				      struct rgb ground)
{
	const struct vocabulary *vocabulary = composer->vocabulary;
	size_t left = chance_bits(chance) % vocabulary->kind_counts[WORD_COLOUR];
	const struct word *colour = NULL;

	/* Twice around, for a ground of the last colour. */
	for (size_t i = 0; i < 2 * vocabulary->word_count; i++) {
		const struct word *word = &vocabulary->words[i % vocabulary->word_count];

		if (word->kind != WORD_COLOUR)
			continue;
		colour = word;
		if (left > 0)
			left--;
		else if (memcmp(&word->colour, &ground, sizeof(ground)) != 0)
			break;
	}
	return colour;
}

static uint8_t vary(struct chance *chance, uint8_t level)
{
	float varied = (float)level + chance_between(chance, -COLOUR_VARIES, COLOUR_VARIES);

	return (uint8_t)(varied < 0 ? 0 : varied > 255 ? 255 : varied);
}

static void choose_colours(struct composer *composer, struct scene *scene)
{
	struct chance chance = { .state = chance_mix(composer->seed, 'c') };

	scene->ground = (struct rgb){ 0xf4, 0xf0, 0xe6 };
	if (composer->ground_colour)
		scene->ground = composer->ground_colour->colour;
	else if (composer->ground)
		scene->ground = composer->ground->colour;
	for (size_t i = 0; i < composer->group_count; i++) {
		if (!composer->groups[i].colour)
			composer->groups[i].colour = draw_colour(composer, &chance, scene->ground);
	}
}

/* ---- cells ---- */

static bool is_in_cell(const struct group *group, const int cell[2])
{
	return group->cell[X] == cell[X] && group->cell[Y] == cell[Y];
}

static bool is_taken(const struct composer *composer, size_t before, const int cell[2])
{
	for (size_t i = 0; i < before; i++) {
		if (is_in_cell(&composer->groups[i], cell))
			return true;
	}
	return false;
}

/* A cell for each group, as it stands to the one before. */
static void choose_cells(struct composer *composer)
{
	for (size_t i = 1; i < composer->group_count; i++) {
		struct group *group = &composer->groups[i];

		memcpy(group->cell, composer->groups[i - 1].cell, sizeof(group->cell));
		for (size_t k = 0; k < i && group->place == PLACE_INSIDE; k++) {
			if (is_in_cell(&composer->groups[k], group->cell))
				composer->groups[k].nest *= NEST_FACTOR;
		}
		while (group->place != PLACE_INSIDE && is_taken(composer, i, group->cell))
			group->cell[ways[group->place].axis] -= ways[group->place].step;
	}
}

/*
 * Moves what is in a group's cell beyond all others, towards the side of the sheet where it shall
 * be; alone it gets an empty neighbour instead.
 */
static void move_to_spot(struct composer *composer, const struct group *group)
{
	int axis = ways[group->spot].axis, step = ways[group->spot].step;
	int from[2] = { group->cell[X], group->cell[Y] }, to = from[axis];
	bool is_alone = true;

	for (size_t i = 0; i < composer->group_count; i++) {
		const struct group *other = &composer->groups[i];

		if (is_in_cell(other, from))
			continue;
		is_alone = false;
		if ((other->cell[axis] - to) * step >= 0)
			to = other->cell[axis] + step;
	}
	if (is_alone) {
		composer->spare[axis] = -step;
		return;
	}
	for (size_t i = 0; i < composer->group_count; i++) {
		if (is_in_cell(&composer->groups[i], from))
			composer->groups[i].cell[axis] = to;
	}
}

static void make_grid(struct composer *composer)
{
	choose_cells(composer);
	for (size_t i = 0; i < composer->group_count; i++) {
		enum place spot = composer->groups[i].spot;

		if (spot >= PLACE_ABOVE && spot <= PLACE_RIGHT)
			move_to_spot(composer, &composer->groups[i]);
	}
	for (int axis = X; axis <= Y; axis++) {
		composer->low[axis] = INT_MAX;
		composer->high[axis] = INT_MIN;
		for (size_t i = 0; i < composer->group_count; i++) {
			int at = composer->groups[i].cell[axis];

			composer->low[axis] = at < composer->low[axis] ? at : composer->low[axis];
			composer->high[axis] = at > composer->high[axis] ? at
									 : composer->high[axis];
		}
		composer->low[axis] -= composer->spare[axis] < 0;
		composer->high[axis] += composer->spare[axis] > 0;
	}
}

/* ---- things ---- */

/* The boxes that the things of a group stand in, side by side in the group's cell. */
struct boxes {
	float cell[2]; /* size */
	uint32_t columns, rows;
	float box[2]; /* size */
};

static struct boxes cut_cell(const struct composer *composer, const struct scene *scene,
			     uint32_t count)
{
	struct boxes boxes;

	boxes.cell[X] = (float)scene->width / (float)(composer->high[X] - composer->low[X] + 1);
	boxes.cell[Y] = (float)scene->height / (float)(composer->high[Y] - composer->low[Y] + 1);
	boxes.columns = (uint32_t)ceilf(sqrtf((float)count * boxes.cell[X] / boxes.cell[Y]));
	boxes.columns = boxes.columns > count ? count : boxes.columns;
	boxes.rows = (count + boxes.columns - 1) / boxes.columns;
	boxes.box[X] = boxes.cell[X] / (float)boxes.columns;
	boxes.box[Y] = boxes.cell[Y] / (float)boxes.rows;
	return boxes;
}

/* The side of the smallest box: the unit of all sizes. */
static float find_unit(const struct composer *composer, const struct scene *scene)
{
	float unit = SIDE_MAX;

	for (size_t i = 0; i < composer->group_count; i++) {
		struct boxes boxes = cut_cell(composer, scene, composer->groups[i].count);

		unit = fminf(unit, fminf(boxes.box[X], boxes.box[Y]));
	}
	return unit;
}

static float radius_of(const struct group *group, float unit)
{
	return RADIUS * unit * group->nest * (group->size ? group->size->factor : 1);
}

/* The largest radius that a thing in this cell may have; 0 ways to go for what shall be central. */
static float find_reach(const struct composer *composer, const int cell[2], float unit)
{
	float reach = 0;

	for (size_t i = 0; i < composer->group_count; i++) {
		const struct group *group = &composer->groups[i];

		if (!is_in_cell(group, cell))
			continue;
		if (group->spot == PLACE_CENTRE)
			return SIDE_MAX;
		reach = fmaxf(reach, radius_of(group, unit) * (1 + RADIUS_VARIES));
	}
	return reach;
}

static void add_thing(struct scene *scene, const struct thing *thing)
{
	uint32_t at = scene->thing_count++;

	for (; at > 0 && scene->things[at - 1].radius < thing->radius; at--)
		scene->things[at] = scene->things[at - 1];
	scene->things[at] = *thing;
}

static void add_group(const struct composer *composer, const struct group *group, float unit,
		      struct scene *scene)
{
	struct boxes boxes = cut_cell(composer, scene, group->count);
	float reach = find_reach(composer, group->cell, unit);
	/* What is inside another thing moves with it: their cell decides, not their order. */
	uint64_t cell = ((uint64_t)(uint32_t)(group->cell[X] + GROUPS_MAX) << 32) +
			(uint32_t)(group->cell[Y] + GROUPS_MAX);

	for (uint32_t i = 0; i < group->count; i++) {
		struct chance chance = { .state = chance_mix(composer->seed, cell * 64 + i) };
		const uint32_t box[2] = { i % boxes.columns, i / boxes.columns };
		float at[2];

		for (int axis = X; axis <= Y; axis++) {
			float way = fmaxf(0, boxes.box[axis] / 2 - reach) * STRAY;

			at[axis] = (float)(group->cell[axis] - composer->low[axis]) *
					   boxes.cell[axis] +
				   ((float)box[axis] + 0.5f) * boxes.box[axis] +
				   chance_between(&chance, -way, way);
		}
		const struct rgb *colour = &group->colour->colour;
		struct thing thing = {
			.shape = &group->shape->shape,
			.centre = { at[X], at[Y] },
			.radius = radius_of(group, unit) *
				  (1 + chance_between(&chance, -RADIUS_VARIES, RADIUS_VARIES)),
		};

		thing.colour.red = vary(&chance, colour->red);
		thing.colour.green = vary(&chance, colour->green);
		thing.colour.blue = vary(&chance, colour->blue);
		add_thing(scene, &thing);
	}
}

int scene_compose(const struct vocabulary *vocabulary, const struct pc_image_request *request,
		  uint32_t width, uint32_t height, struct scene *ret_scene, struct pc_error *err)
{
	struct composer composer = {
		.vocabulary = vocabulary,
		.seed = request->seed,
		.grain = request->seed,
		.err = err,
	};
	uint32_t count = 0;
	int rc = read_prompt(&composer, request->prompt);

	if (rc)
		return rc;
	read_negative(&composer, request->negative_prompt);
	for (size_t i = 0; i < composer.group_count; i++)
		count += composer.groups[i].count;
	if (count > THINGS_MAX)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "the prompt asks for %u things; %d are the most", count,
				    THINGS_MAX);
	ret_scene->width = width;
	ret_scene->height = height;
	ret_scene->grain = composer.grain;
	ret_scene->thing_count = 0;
	choose_colours(&composer, ret_scene);
	if (composer.group_count == 0) /* the ground alone is a picture too */
		return 0;
	make_grid(&composer);
	float unit = find_unit(&composer, ret_scene);

	for (size_t i = 0; i < composer.group_count; i++)
		add_group(&composer, &composer.groups[i], unit, ret_scene);
	return 0;
}
