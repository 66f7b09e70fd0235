/* SPDX-License-Identifier: MIT */
/*
 * alphabet.h - what a recognizer's classes stand for, and how its answer becomes text. Arithmetic
 * and one file; knows nothing of ONNX Runtime.
 */
#ifndef ONNX_ALPHABET_H
#define ONNX_ALPHABET_H

#include <poolcore/engine.h>

/* Class 0 is "nothing new here", class 1 the dictionary's first line, and so on. */
struct alphabet {
	char *text;	    /* the dictionary's lines, each ended by NUL; pc_free */
	const char **words; /* of each class; pc_free */
	size_t count;	    /* of classes */
};

/*
 * Reads a dictionary: UTF-8, a line for each class from 1 on; `space`: one more class behind the
 * last line is the blank between words. MODEL_FILE_MISSING, MODEL_ERROR (names the line),
 * OUT_OF_MEMORY.
 */
int alphabet_read(const char *path, bool space, struct alphabet *ret_alphabet,
		  struct pc_error *err);
void alphabet_fini(struct alphabet *alphabet);

/* Text that grows. */
struct text {
	char *data; /* ended by NUL once something was added; pc_free */
	size_t length, room;
};

int text_add(struct text *text, const char *bytes, size_t length, struct pc_error *err);

/*
 * Adds what `steps` rows of alphabet->count probabilities say: at each step the likeliest class,
 * repetitions once, class 0 left out (Graves and others, ICML 2006, "best path"). *ret_confidence
 * is the mean probability of what was added, 0 when that is nothing. OUT_OF_MEMORY.
 */
int alphabet_decode(const struct alphabet *alphabet, const float *probabilities, size_t steps,
		    struct text *text, float *ret_confidence, struct pc_error *err);

#endif
