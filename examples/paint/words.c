/* SPDX-License-Identifier: MIT */
/*
 * words.c - the model file: lines that give meanings to words (words.paint says how they look),
 * read into one sorted table. Runs on the thread of load(); finding a word is for any thread.
 */
#include "paint.h"

#include <poolcore/text.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Guesses; change freely. */
#define FILE_MAX_BYTES ((size_t)1 << 20)
#define WORDS_MAX 10000
#define COUNT_MAX 64

static const char blanks[] = " \t\r";

/* A file under way. */
struct reader {
	const char *path;
	uint32_t line;
	struct vocabulary *vocabulary;
	size_t room; /* words that fit into the vocabulary's memory */
	struct pc_error *err;
};

static int complain(struct reader *reader, const char *fmt, ...) PC_PRINTF(2, 3);

static int complain(struct reader *reader, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return pc_error_set(reader->err, PC_E_MODEL_ERROR, "%s line %u: %s", reader->path,
			    reader->line, text);
}

/* ---- values ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * A decimal number at the beginning of *text, which then begins behind it. strtod would take the
 * host's language for what separates the decimals.
 */
static bool take_number(const char **text, float low, float high, float *ret_number)
{
	const char *at = *text + strspn(*text, blanks);
	bool is_negative = *at == '-';
	double number = 0, unit = 1;
	size_t digits = 0;

	for (at += is_negative; is_digit(*at); at++, digits++)
		number = number * 10 + (*at - '0');
	if (*at == '.') {
		for (at++; is_digit(*at); at++, digits++)
			number += (unit /= 10) * (*at - '0');
	}
	float rounded = (float)(is_negative ? -number : number);

	if (digits == 0 || !(rounded >= low && rounded <= high))
		return false;
	*text = at;
	*ret_number = rounded;
	return true;
}

static bool is_at_end(const char *text)
{
	return text[strspn(text, blanks)] == '\0';
}

static bool take_polygon(const char *text, struct shape *shape)
{
	while (!is_at_end(text)) {
		struct point *point = &shape->points[shape->point_count];

		if (shape->point_count == POINTS_MAX || !take_number(&text, -1, 1, &point->x) ||
		    *text++ != ',' || !take_number(&text, -1, 1, &point->y) ||
		    strspn(text, blanks) + is_at_end(text) == 0)
			return false;
		shape->point_count++;
	}
	return shape->point_count >= 3;
}

static bool parse_shape(const char *text, struct word *word)
{
	static const char ellipse[] = "ellipse ", polygon[] = "polygon ";
	struct point *radii = &word->shape.points[0];

	if (strncmp(text, polygon, strlen(polygon)) == 0)
		return take_polygon(text + strlen(polygon), &word->shape);
	if (strncmp(text, ellipse, strlen(ellipse)) != 0)
		return false;
	text += strlen(ellipse);
	return take_number(&text, 0.05f, 1, &radii->x) && take_number(&text, 0.05f, 1, &radii->y) &&
	       is_at_end(text);
}

static bool parse_colour(const char *text, struct word *word)
{
	static const char digits[] = "0123456789abcdefABCDEF";

	if (text[0] != '#' || strspn(text + 1, digits) != 6 || !is_at_end(text + 7))
		return false;
	unsigned long number = strtoul(text + 1, NULL, 16);

	word->colour = (struct rgb){ (uint8_t)(number >> 16), (uint8_t)(number >> 8),
				     (uint8_t)number };
	return true;
}

static bool parse_size(const char *text, struct word *word)
{
	return take_number(&text, 0.1f, 1.3f, &word->factor) && is_at_end(text);
}

static bool parse_count(const char *text, struct word *word)
{
	float number;

	if (!take_number(&text, 1, COUNT_MAX, &number) || !is_at_end(text))
		return false;
	word->count = (uint32_t)number;
	return (float)word->count == number;
}

static bool parse_place(const char *text, struct word *word)
{
	static const char *const names[] = {
		[PLACE_ABOVE] = "above",   [PLACE_BELOW] = "below",   [PLACE_LEFT] = "left",
		[PLACE_RIGHT] = "right",   [PLACE_BESIDE] = "beside", [PLACE_INSIDE] = "inside",
		[PLACE_CENTRE] = "centre",
	};
	size_t length = strcspn(text, blanks);

	for (size_t i = PLACE_NONE + 1; i < PC_ARRAY_LEN(names); i++) {
		if (strlen(names[i]) == length && strncmp(text, names[i], length) == 0) {
			word->place = (enum place)i;
			return is_at_end(text + length);
		}
	}
	return false;
}

/* ---- lines ---- */

static const struct {
	const char *name;
	bool (*parse)(const char *text, struct word *word);
	const char *right; /* what a value may be */
} kinds[] = {
	[WORD_SHAPE] = { "shape", parse_shape,
			 "'ellipse RX RY' with radii from 0.05 to 1, or 'polygon X,Y X,Y ...' with "
			 "3 to 16 corners between -1 and 1" },
	[WORD_COLOUR] = { "colour", parse_colour, "'#' and six hexadecimal digits, as in #d02828" },
	[WORD_SIZE] = { "size", parse_size, "a number from 0.1 to 1.3" },
	[WORD_COUNT] = { "count", parse_count, "a whole number from 1 to 64" },
	[WORD_PLACE] = { "place", parse_place,
			 "one of above, below, left, right, beside, inside, centre" },
	[WORD_GROUND] = { "ground", parse_colour, "'#' and six hexadecimal digits, as in #f2ead8" },
};

static int find_kind(struct reader *reader, const char *name, enum word_kind *ret_kind)
{
	const char *names[PC_ARRAY_LEN(kinds)];

	for (size_t i = 0; i < PC_ARRAY_LEN(kinds); i++) {
		names[i] = kinds[i].name;
		if (strcmp(names[i], name) == 0) {
			*ret_kind = (enum word_kind)i;
			return 0;
		}
	}
	const char *nearest = pc_nearest_name(name, names, PC_ARRAY_LEN(names));

	if (nearest)
		return complain(reader, "unknown kind '%.40s'; did you mean '%s'?", name, nearest);
	return complain(reader,
			"unknown kind '%.40s'; a line begins with one of shape, colour, size, "
			"count, place, ground",
			name);
}

static int add_word(struct reader *reader, const struct word *word)
{
	struct vocabulary *vocabulary = reader->vocabulary;

	if (vocabulary->word_count == WORDS_MAX)
		return complain(reader, "one word more than the %d that are possible", WORDS_MAX);
	if (vocabulary->word_count == reader->room) {
		size_t room = reader->room * 2 + 64;
		struct word *words = pc_realloc(vocabulary->words, room * sizeof(*words));

		if (!words)
			return pc_error_oom(reader->err);
		vocabulary->words = words;
		reader->room = room;
	}
	vocabulary->words[vocabulary->word_count++] = *word;
	vocabulary->kind_counts[word->kind]++;
	return 0;
}

/* The words of a line: `names` is what stands between its kind and the '='. */
static int read_names(struct reader *reader, char *names, struct word *word)
{
	char *rest;
	int rc = 0;

	for (char *name = strtok_r(names, blanks, &rest); name && !rc;
	     name = strtok_r(NULL, blanks, &rest)) {
		const char *text = name;

		if (strlen(name) > WORD_MAX_BYTES)
			return complain(reader, "'%.60s' has %zu bytes; a word has up to %d", name,
					strlen(name), WORD_MAX_BYTES);
		if (!next_word(&text, word->text) || *text != '\0' ||
		    strlen(word->text) != strlen(name))
			return complain(reader,
					"'%s' is not a word: letters, digits and '-' make one",
					name);
		rc = add_word(reader, word);
	}
	return rc;
}

static int read_line(struct reader *reader, char *line)
{
	struct word word = { .line = reader->line };
	char *value = strchr(line, '='), *names;

	if (is_at_end(line) || line[strspn(line, blanks)] == '#')
		return 0;
	if (!value)
		return complain(reader, "there is no '='; a line is KIND WORDS = VALUE");
	*value++ = '\0';
	value += strspn(value, blanks);

	char *kind = strtok_r(line, blanks, &names);
	int rc = kind ? find_kind(reader, kind, &word.kind)
		      : complain(reader, "nothing before the '='; a line is KIND WORDS = VALUE");

	if (rc)
		return rc;
	if (is_at_end(names))
		return complain(reader, "no word before the '='; a line is KIND WORDS = VALUE");
	if (!kinds[word.kind].parse(value, &word))
		return complain(reader, "'%.80s' is not a value for %s: it is %s", value, kind,
				kinds[word.kind].right);
	return read_names(reader, names, &word);
}

/* ---- the whole ---- */

static int compare_words(const void *left, const void *right)
{
	const struct word *a = left, *b = right;
	int order = strcmp(a->text, b->text);

	return order ? order : (a->line > b->line) - (a->line < b->line);
}

/* Sorts, and refuses what would make words mean two things or pictures be empty. */
static int finish(struct reader *reader)
{
	struct vocabulary *vocabulary = reader->vocabulary;
	static const enum word_kind needed[] = { WORD_SHAPE, WORD_COLOUR };

	for (size_t i = 0; i < PC_ARRAY_LEN(needed); i++) {
		if (vocabulary->kind_counts[needed[i]] == 0)
			return pc_error_set(reader->err, PC_E_MODEL_ERROR,
					    "%s has no line that begins with '%s'; one is the "
					    "least that painting takes",
					    reader->path, kinds[needed[i]].name);
	}
	qsort(vocabulary->words, vocabulary->word_count, sizeof(*vocabulary->words), compare_words);
	for (size_t i = 1; i < vocabulary->word_count; i++) {
		const struct word *first = &vocabulary->words[i - 1], *word = first + 1;

		reader->line = word->line;
		if (strcmp(first->text, word->text) == 0)
			return complain(reader,
					"'%s' has a meaning already, in line %u; a word has one",
					word->text, first->line);
	}
	return 0;
}

static int read_lines(struct reader *reader, char *text)
{
	for (char *line = text; line;) {
		char *end = strchr(line, '\n');

		if (end)
			*end++ = '\0';
		reader->line++;
		int rc = read_line(reader, line);

		if (rc)
			return rc;
		line = end;
	}
	return finish(reader);
}

/* The file's bytes and a NUL behind them, for the caller to pc_free. */
static int read_file(int fd, const char *path, char **ret_text, struct pc_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model file '%s'", path);
	if (!S_ISREG(st.st_mode))
		return pc_error_set(err, PC_E_MODEL_FILE_MISSING,
				    "model file '%s' is not a regular file", path);
	if ((uint64_t)st.st_size > FILE_MAX_BYTES)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "model file '%s' has %lld bytes; %zu are the most for words "
				    "to paint from",
				    path, (long long)st.st_size, FILE_MAX_BYTES);

	size_t length = 0, size = (size_t)st.st_size;
	pc_auto(pc_free) char *text = pc_malloc(size + 1);

	if (!text)
		return pc_error_oom(err);
	while (length < size) {
		ssize_t got = read(fd, text + length, size - length);

		if (got < 0 && errno != EINTR)
			return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model file '%s'",
					    path);
		if (got == 0) /* it became shorter */
			break;
		length += got > 0 ? (size_t)got : 0;
	}
	if (memchr(text, '\0', length) || pc_utf8_valid_prefix(text, length) != length)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "model file '%s' is not a text in UTF-8 with words to paint "
				    "from",
				    path);
	text[length] = '\0';
	*ret_text = pc_steal(&text);
	return 0;
}

int vocabulary_read(const char *path, struct vocabulary *ret_vocabulary, struct pc_error *err)
{
	/* NONBLOCK: opening a pipe would wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model file '%s'", path);
	pc_auto(pc_free) char *text = NULL;
	struct vocabulary vocabulary = { .words = NULL };
	struct reader reader = { .path = path, .vocabulary = &vocabulary, .err = err };
	int rc = read_file(fd, path, &text, err);

	close(fd);
	if (!rc)
		rc = read_lines(&reader, text);
	if (rc) {
		vocabulary_fini(&vocabulary);
		return rc;
	}
	*ret_vocabulary = vocabulary;
	return 0;
}

void vocabulary_fini(struct vocabulary *vocabulary)
{
	pc_free(vocabulary->words);
	vocabulary->words = NULL;
}

static int compare_text(const void *text, const void *word)
{
	return strcmp(text, ((const struct word *)word)->text);
}

const struct word *vocabulary_find(const struct vocabulary *vocabulary, const char *text)
{
	return bsearch(text, vocabulary->words, vocabulary->word_count, sizeof(*vocabulary->words),
		       compare_text);
}

static bool is_of_word(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c >= 0x80;
}

bool next_word(const char **text, char ret_word[WORD_MAX_BYTES + 1])
{
	size_t length = 0;

	while (**text && !is_of_word((unsigned char)**text))
		++*text;
	for (; is_of_word((unsigned char)**text); ++*text) {
		char c = **text;

		if (length < WORD_MAX_BYTES)
			ret_word[length++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	ret_word[length] = '\0';
	return length > 0;
}
