/* SPDX-License-Identifier: MIT */
/*
 * paint.h - what the files of the paint plug-in share. Nothing of it leaves the plug-in.
 *
 * A picture is made in these steps, each in a file of its own:
 *
 *	words.c    the model file becomes a vocabulary                     (once, in load)
 *	scene.c    a prompt becomes things with a shape, a colour, a place
 *	target.c   the things become pixels: what the picture should look like
 *	strokes.c  a blank sheet comes nearer to that, step by step
 *	png.c      the sheet becomes a PNG file
 *
 * The vocabulary is all that calls share, and nobody writes to it after load, so nothing takes a
 * lock. All chance comes from a request's seed.
 */
#ifndef PAINT_H
#define PAINT_H

#include <poolcore/engine.h>

#include <stdatomic.h>

#define SIDE_MAX 2048

struct rgb {
	uint8_t red, green, blue;
};

/* ---- words.c ---- */

#define WORD_MAX_BYTES 31
#define POINTS_MAX 16

enum word_kind {
	WORD_SHAPE,
	WORD_COLOUR,
	WORD_SIZE,
	WORD_COUNT,
	WORD_PLACE,
	WORD_GROUND,
};

enum place {
	PLACE_NONE,
	PLACE_ABOVE,
	PLACE_BELOW,
	PLACE_LEFT,
	PLACE_RIGHT,
	PLACE_BESIDE,
	PLACE_INSIDE,
	PLACE_CENTRE,
};

struct point {
	float x, y;
};

/* An outline in a box from -1,-1 (top left) to 1,1. */
struct shape {
	uint32_t point_count;		 /* of a polygon; 0: an ellipse */
	struct point points[POINTS_MAX]; /* an ellipse has its two radii in the first */
};

struct word {
	char text[WORD_MAX_BYTES + 1];
	enum word_kind kind;
	uint32_t line; /* of the model file, from 1 */
	union {
		struct shape shape;
		struct rgb colour; /* of a WORD_GROUND too: the one it has unless another is said */
		float factor;
		uint32_t count;
		enum place place;
	};
};

struct vocabulary {
	struct word *words; /* sorted by text */
	size_t word_count;
	size_t kind_counts[WORD_GROUND + 1];
};

/*
 * Reads a model file; the vocabulary is the caller's to vocabulary_fini. MODEL_FILE_MISSING,
 * MODEL_ERROR (names file and line, and says what would be right), OUT_OF_MEMORY.
 */
int vocabulary_read(const char *path, struct vocabulary *ret_vocabulary, struct pc_error *err);
void vocabulary_fini(struct vocabulary *vocabulary);

/* NULL when it is in no line of the model file. `text` is in lower case. */
const struct word *vocabulary_find(const struct vocabulary *vocabulary, const char *text);

/*
 * The next word of a text, in lower case: letters, digits, '-' and every byte that is not ASCII. A
 * longer word is cut. False at the end of the text.
 */
bool next_word(const char **text, char ret_word[WORD_MAX_BYTES + 1]);

/* ---- chance.c ---- */

/* A stream of numbers that its first value decides (splitmix64). */
struct chance {
	uint64_t state;
};

uint64_t chance_bits(struct chance *chance);
/* Even in [low, high). */
float chance_between(struct chance *chance, float low, float high);
/* Mixes two numbers into one that depends on every bit of both. */
uint64_t chance_mix(uint64_t a, uint64_t b);

/* ---- scene.c ---- */

#define THINGS_MAX 256

/* One outline on the sheet, in pixels. */
struct thing {
	const struct shape *shape;
	struct rgb colour;
	struct point centre;
	float radius; /* half a side of the box that holds it */
};

/* Things are painted in their order: large ones first, so that none hides under a larger one. */
struct scene {
	uint32_t width, height;
	struct rgb ground;
	uint64_t grain; /* decides the ground's texture: the seed and the words that nobody knows */
	uint32_t thing_count;
	struct thing things[THINGS_MAX];
};

/* What a prompt means. INVALID_REQUEST: more things than fit. */
int scene_compose(const struct vocabulary *vocabulary, const struct pc_image_request *request,
		  uint32_t width, uint32_t height, struct scene *ret_scene, struct pc_error *err);

/* ---- target.c ---- */

/* Paints the scene, smooth edges and all, into width * height pixels, row-major. */
void target_fill(const struct scene *scene, struct rgb *pixels);

/* ---- strokes.c ---- */

struct easel {
	uint32_t width, height, steps;
	float guidance;
	struct chance chance;
	const struct rgb *target;
	struct rgb *sheet; /* the same size */
	/* The sum of the squared differences between the two: it never rises. */
	uint64_t error;
};

/* Makes the sheet blank; the other members are set. */
void easel_begin(struct easel *easel);

/*
 * Does one step, counted from 1. `stopped` (not NULL) is asked between rows of strokes; when it
 * says true the step ends early, and so does this, with false.
 */
bool easel_step(struct easel *easel, uint32_t step, bool (*stopped)(void *ctx), void *ctx);

/* ---- png.c ---- */

/*
 * Encodes the pixels and hands the file on in pieces while it is encoded. OUT_OF_MEMORY, or
 * MODEL_ERROR with libpng's own words.
 */
int png_encode(const struct rgb *pixels, uint32_t width, uint32_t height,
	       const struct pc_image_sink *sink, struct pc_error *err);

/* ---- load.c, generate.c ---- */

struct pc_engine_instance {
	struct vocabulary vocabulary; /* [const after load] */
	uint32_t slot_count;
	_Atomic uint64_t memory_bytes; /* relaxed: a figure for people and ledgers */
};

int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
	 struct pc_error *err);
void unload(struct pc_engine_instance *instance);
void describe(const struct pc_engine_instance *instance, struct pc_engine_description *description);
int generate_image(struct pc_engine_instance *instance, uint32_t slot,
		   const struct pc_image_request *request, const struct pc_image_sink *sink,
		   struct pc_image_result *ret_result, struct pc_error *err);

#endif
