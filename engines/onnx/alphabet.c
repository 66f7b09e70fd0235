/* SPDX-License-Identifier: MIT */
/*
 * alphabet.c - a recognizer's dictionary, and the way from its probabilities to text.
 */
#include "alphabet.h"

#include <string.h>

#include <poolcore/text.h>

#include "file.h"

/* All of Unicode, a character a line, is smaller. */
#define DICTIONARY_MAX_BYTES ((size_t)8 << 20)

static size_t count_lines(const char *text, size_t length)
{
	size_t lines = length > 0 && text[length - 1] != '\n';

	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	return lines;
}

/* Ends each of the lines with NUL, and notes where they begin. */
static void cut_lines(char *text, const char **words, size_t lines)
{
	for (size_t i = 0; i < lines; i++) {
		char *end = strchrnul(text, '\n');

		if (end > text && end[-1] == '\r')
			end[-1] = '\0';
		*end = '\0';
		words[i] = text;
		text = end + 1;
	}
}

static int check_text(const char *path, const char *text, size_t length, struct pc_error *err)
{
	size_t valid = pc_utf8_valid_prefix(text, length);
	unsigned line = 1;

	if (valid == length && !memchr(text, '\0', length))
		return 0;
	if (valid == length)
		valid = strlen(text);
	for (size_t i = 0; i < valid; i++)
		line += text[i] == '\n';
	return pc_error_set(err, PC_E_MODEL_ERROR,
			    "dictionary '%s', line %u: this is not text in UTF-8", path, line);
}

int alphabet_read(const char *path, bool space, struct alphabet *ret_alphabet, struct pc_error *err)
{
	struct alphabet alphabet = { .text = NULL };
	size_t length;
	int rc = file_read(path, "dictionary", DICTIONARY_MAX_BYTES, &alphabet.text, &length, err);

	if (!rc)
		rc = check_text(path, alphabet.text, length, err);
	if (rc)
		goto out;
	size_t lines = count_lines(alphabet.text, length);

	if (lines == 0) {
		rc = pc_error_set(err, PC_E_MODEL_ERROR, "dictionary '%s' is empty", path);
		goto out;
	}
	alphabet.count = 1 + lines + space;
	alphabet.words = pc_calloc(alphabet.count, sizeof(*alphabet.words));
	if (!alphabet.words) {
		rc = pc_error_oom(err);
		goto out;
	}
	alphabet.words[0] = "";
	cut_lines(alphabet.text, alphabet.words + 1, lines);
	if (space)
		alphabet.words[1 + lines] = " ";
	*ret_alphabet = alphabet;
	return 0;
out:
	alphabet_fini(&alphabet);
	return rc;
}

void alphabet_fini(struct alphabet *alphabet)
{
	pc_free(alphabet->text);
	pc_free(alphabet->words);
	*alphabet = (struct alphabet){ .text = NULL };
}

int text_add(struct text *text, const char *bytes, size_t length, struct pc_error *err)
{
	if (text->room - text->length <= length) {
		size_t room = (text->length + length) * 2 + 64;
		char *data = pc_realloc(text->data, room);

		if (!data)
			return pc_error_oom(err);
		text->data = data;
		text->room = room;
	}
	memcpy(text->data + text->length, bytes, length);
	text->length += length;
	text->data[text->length] = '\0';
	return 0;
}

/* What is not a number is never the likeliest. */
static size_t likeliest(const float *probabilities, size_t count)
{
	size_t best = 0;

	for (size_t i = 1; i < count; i++) {
		if (probabilities[i] > probabilities[best])
			best = i;
	}
	return best;
}

int alphabet_decode(const struct alphabet *alphabet, const float *probabilities, size_t steps,
		    struct text *text, float *ret_confidence, struct pc_error *err)
{
	size_t before = 0, added = 0;
	float sum = 0;

	for (size_t i = 0; i < steps; i++) {
		const float *step = probabilities + i * alphabet->count;
		size_t class = likeliest(step, alphabet->count);

		if (class != 0 && class != before) {
			const char *word = alphabet->words[class];
			int rc = text_add(text, word, strlen(word), err);

			if (rc)
				return rc;
			sum += step[class];
			added++;
		}
		before = class;
	}
	*ret_confidence = added ? sum / (float)added : 0;
	return 0;
}
