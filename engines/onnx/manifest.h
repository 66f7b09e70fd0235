/* SPDX-License-Identifier: MIT */
/*
 * manifest.h - what a model's folder says of itself. The engine has no line for any model: which
 * files there are, how they want their pixels and what their numbers mean stands in the file
 * `model.manifest` of the folder, in the form that docs/engines/onnx.md describes.
 */
#ifndef ONNX_MANIFEST_H
#define ONNX_MANIFEST_H

#include "boxes.h"
#include "image.h"

#define MANIFEST_NAME "model.manifest"
#define MANIFEST_NAME_MAX 128 /* bytes of a file's name, or of an output's */

enum manifest_kind {
	MANIFEST_TEXT_READER,
	MANIFEST_EMBEDDER,
};

/* Finds where text stands. */
struct manifest_detector {
	char file[MANIFEST_NAME_MAX];
	struct pixels pixels;
	uint32_t longest_side; /* images are shrunk to it, never grown */
	uint32_t multiple_of;  /* what both sides have to be */
	struct box_rules rules;
};

/* Reads one line of text. */
struct manifest_recognizer {
	char file[MANIFEST_NAME_MAX];
	char dictionary[MANIFEST_NAME_MAX];
	struct pixels pixels;
	uint32_t height, max_width; /* a line is scaled to this height; a longer one is squeezed */
	float min_confidence;
	bool space; /* one more class behind the dictionary's: the blank */
};

/* Turns an image into a vector. */
struct manifest_embedder {
	char file[MANIFEST_NAME_MAX];
	char output[MANIFEST_NAME_MAX]; /* "": the only one */
	struct pixels pixels;
	uint32_t width, height;
};

struct manifest {
	enum manifest_kind kind;
	char name[64]; /* for people */
	struct manifest_detector detector;
	struct manifest_recognizer recognizer;
	struct manifest_embedder embedder;
};

/*
 * Reads a manifest. MODEL_FILE_MISSING, MODEL_ERROR (names the file, the line, and what would be
 * right), OUT_OF_MEMORY.
 */
int manifest_read(const char *path, struct manifest *ret_manifest, struct pc_error *err);

#endif
