/* SPDX-License-Identifier: MIT */
/*
 * manifest.c - reads a model's manifest: lines of `key = value`, blank lines, and comments, whose
 * first character is '#'. One table has every key with its kind, its range and its place.
 */
#include "manifest.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/text.h>

#include "file.h"

#define MANIFEST_MAX_BYTES ((size_t)64 << 10)

enum value_type {
	VALUE_KIND,    /* one of kind_names */
	VALUE_TEXT,    /* `max` bytes of room */
	VALUE_FILE,    /* the same; a name in the folder of the manifest */
	VALUE_NUMBER,  /* uint32_t */
	VALUE_FLOAT,   /* float */
	VALUE_MEANS,   /* three floats */
	VALUE_SPREADS, /* three floats, none of them 0 */
	VALUE_ORDER,   /* bool: bgr */
	VALUE_YES_NO,  /* bool */
};

enum {
	READER = 1u << MANIFEST_TEXT_READER,
	EMBEDDER = 1u << MANIFEST_EMBEDDER,
	BOTH = READER | EMBEDDER,
};

static const char *const kind_names[] = {
	[MANIFEST_TEXT_READER] = "text_reader",
	[MANIFEST_EMBEDDER] = "embedder",
};

static const struct key {
	const char *name;
	enum value_type type;
	unsigned kinds;
	bool required;
	size_t offset;
	double min, max; /* of numbers; of text, its room */
} keys[] = {
#define KEY(name, type, kinds, required, member, min, max) \
	{ \
		name, VALUE_##type, kinds, required, offsetof(struct manifest, member), min, max \
	}
#define NAME(name, type, kinds, required, member) \
	KEY(name, type, kinds, required, member, 0, sizeof(((struct manifest *)NULL)->member))
	/* clang-format off */
	KEY("kind", KIND, BOTH, true, kind, 0, 0),
	NAME("name", TEXT, BOTH, false, name),
	NAME("detector_file", FILE, READER, true, detector.file),
	KEY("detector_channels", ORDER, READER, false, detector.pixels.bgr, 0, 0),
	KEY("detector_mean", MEANS, READER, false, detector.pixels.mean, -1000, 1000),
	KEY("detector_std", SPREADS, READER, false, detector.pixels.std, -1000, 1000),
	KEY("detector_longest_side", NUMBER, READER, false, detector.longest_side, 32, 4096),
	KEY("detector_multiple_of", NUMBER, READER, false, detector.multiple_of, 1, 128),
	KEY("detector_threshold", FLOAT, READER, false, detector.rules.threshold, 0, 1),
	KEY("detector_box_threshold", FLOAT, READER, false, detector.rules.box_threshold, 0, 1),
	KEY("detector_unclip", FLOAT, READER, false, detector.rules.unclip, 0, 10),
	NAME("recognizer_file", FILE, READER, true, recognizer.file),
	NAME("recognizer_dictionary", FILE, READER, true, recognizer.dictionary),
	KEY("recognizer_channels", ORDER, READER, false, recognizer.pixels.bgr, 0, 0),
	KEY("recognizer_mean", MEANS, READER, false, recognizer.pixels.mean, -1000, 1000),
	KEY("recognizer_std", SPREADS, READER, false, recognizer.pixels.std, -1000, 1000),
	KEY("recognizer_height", NUMBER, READER, false, recognizer.height, 8, 512),
	KEY("recognizer_max_width", NUMBER, READER, false, recognizer.max_width, 64, 16384),
	KEY("recognizer_min_confidence", FLOAT, READER, false, recognizer.min_confidence, 0, 1),
	KEY("recognizer_space", YES_NO, READER, false, recognizer.space, 0, 0),
	NAME("embedder_file", FILE, EMBEDDER, true, embedder.file),
	NAME("embedder_output", TEXT, EMBEDDER, false, embedder.output),
	KEY("embedder_channels", ORDER, EMBEDDER, false, embedder.pixels.bgr, 0, 0),
	KEY("embedder_mean", MEANS, EMBEDDER, false, embedder.pixels.mean, -1000, 1000),
	KEY("embedder_std", SPREADS, EMBEDDER, false, embedder.pixels.std, -1000, 1000),
	KEY("embedder_width", NUMBER, EMBEDDER, true, embedder.width, 8, 4096),
	KEY("embedder_height", NUMBER, EMBEDDER, true, embedder.height, 8, 4096),
/* clang-format on */
#undef NAME
#undef KEY
};

/* Pixels from 0 to 1; the rest are what PaddleOCR uses for its models. */
static const struct manifest defaults = {
	.detector = {
		.pixels = { .std = { 1, 1, 1 } },
		.longest_side = 960,
		.multiple_of = 32,
		.rules = { .threshold = 0.3f, .box_threshold = 0.6f, .unclip = 1.5f },
	},
	.recognizer = {
		.pixels = { .std = { 1, 1, 1 } },
		.height = 48,
		.max_width = 3200,
		.min_confidence = 0.5f,
	},
	.embedder = { .pixels = { .std = { 1, 1, 1 } } },
};

struct reading {
	const char *path;
	struct manifest *manifest;
	unsigned line;
	unsigned lines[PC_ARRAY_LEN(keys)]; /* where each key stood; 0: nowhere */
	struct pc_error *err;
};

#define REFUSE(reading, fmt, ...) \
	pc_error_set((reading)->err, PC_E_MODEL_ERROR, "%s:%u: " fmt, (reading)->path, \
		     (reading)->line, __VA_ARGS__)

/* ---- values ---- */

/* Which of two words it is; -1: neither. */
static int which(const char *value, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(value, words[i]) == 0)
			return (int)i;
	}
	return -1;
}

static int take_word(struct reading *reading, const struct key *key, const char *value, void *place)
{
	static const char *const orders[] = { "rgb", "bgr" }, *const answers[] = { "no", "yes" };
	bool is_order = key->type == VALUE_ORDER, is_kind = key->type == VALUE_KIND;
	const char *const *words = is_kind ? kind_names : is_order ? orders : answers;
	int number = which(value, words, 2);

	if (number < 0)
		return REFUSE(reading, "%s is '%.40s'; it is '%s' or '%s'", key->name, value,
			      words[0], words[1]);
	if (is_kind)
		*(enum manifest_kind *)place = (enum manifest_kind)number;
	else
		*(bool *)place = number == 1;
	return 0;
}

static int take_text(struct reading *reading, const struct key *key, const char *value, void *place)
{
	size_t length = strlen(value), room = (size_t)key->max;

	if (length >= room)
		return REFUSE(reading, "%s has %zu bytes; %zu are the most", key->name, length,
			      room - 1);
	if (key->type == VALUE_FILE &&
	    (strchr(value, '/') || strcmp(value, ".") == 0 || strcmp(value, "..") == 0))
		return REFUSE(reading,
			      "%s is '%.80s'; it is the name of a file in the folder of the "
			      "manifest, without a '/'",
			      key->name, value);
	memcpy(place, value, length + 1);
	return 0;
}

/* A number at the beginning of *text, which moves behind it. */
static bool next_number(const char **text, double *ret_number)
{
	/* strtod takes the locale's decimal point; files are the same everywhere. */
	locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	char *end;

	if (!plain)
		return false;
	double number = strtod_l(*text, &end, plain);

	freelocale(plain);
	if (end == *text || !isfinite(number))
		return false;
	*text = end;
	*ret_number = number;
	return true;
}

static int take_numbers(struct reading *reading, const struct key *key, const char *value,
			void *place)
{
	bool is_whole = key->type == VALUE_NUMBER, is_spread = key->type == VALUE_SPREADS;
	size_t count = is_spread || key->type == VALUE_MEANS ? 3 : 1;
	const char *rest = value;
	double numbers[3] = { 0, 0, 0 };
	bool good = true;

	for (size_t i = 0; good && i < count; i++)
		good = next_number(&rest, &numbers[i]) && numbers[i] >= key->min &&
		       numbers[i] <= key->max && !(is_whole && numbers[i] != floor(numbers[i])) &&
		       !(is_spread && (float)numbers[i] == 0);
	if (!good || *rest)
		return REFUSE(reading, "%s is '%.60s'; it is %s from %g to %g%s", key->name, value,
			      is_whole	   ? "a whole number"
			      : count == 3 ? "three numbers, separated by blanks,"
					   : "a number",
			      key->min, key->max, is_spread ? ", but not 0" : "");
	for (size_t i = 0; !is_whole && i < count; i++)
		((float *)place)[i] = (float)numbers[i];
	if (is_whole)
		*(uint32_t *)place = (uint32_t)numbers[0];
	return 0;
}

static int take_value(struct reading *reading, const struct key *key, const char *value)
{
	void *place = (char *)reading->manifest + key->offset;

	if (!*value)
		return REFUSE(reading, "%s has no value", key->name);
	switch (key->type) {
	case VALUE_KIND:
	case VALUE_ORDER:
	case VALUE_YES_NO:
		return take_word(reading, key, value, place);
	case VALUE_TEXT:
	case VALUE_FILE:
		return take_text(reading, key, value, place);
	case VALUE_NUMBER:
	case VALUE_FLOAT:
	case VALUE_MEANS:
	case VALUE_SPREADS:
		break;
	}
	return take_numbers(reading, key, value, place);
}

/* ---- lines ---- */

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
	text += strspn(text, " \t\r");
	size_t length = strlen(text);

	while (length > 0 && strchr(" \t\r", text[length - 1]))
		length--;
	text[length] = '\0';
	return text;
}

static int refuse_key(struct reading *reading, const char *name)
{
	const char *names[PC_ARRAY_LEN(keys)];

	for (size_t i = 0; i < PC_ARRAY_LEN(keys); i++)
		names[i] = keys[i].name;
	const char *near = pc_nearest_name(name, names, PC_ARRAY_LEN(names));

	return REFUSE(reading, "unknown key '%.60s'%s%s%s", name, near ? "; did you mean '" : "",
		      near ? near : "", near ? "'?" : "");
}

static int take_line(struct reading *reading, char *line)
{
	char *equals = strchr(line, '=');

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	if (!equals)
		return REFUSE(reading, "'%.60s' has no '='; a line is 'key = value'", line);
	*equals = '\0';
	line = trim(line);
	for (size_t i = 0; i < PC_ARRAY_LEN(keys); i++) {
		if (strcmp(line, keys[i].name) != 0)
			continue;
		if (reading->lines[i])
			return REFUSE(reading, "%s stands in line %u already", keys[i].name,
				      reading->lines[i]);
		reading->lines[i] = reading->line;
		return take_value(reading, &keys[i], trim(equals + 1));
	}
	return refuse_key(reading, line);
}

/* Once all keys are known: what the kind must have, and what it has no use for. */
static int check_keys(struct reading *reading)
{
	const char *kind = kind_names[reading->manifest->kind];

	for (size_t i = 0; i < PC_ARRAY_LEN(keys); i++) {
		const struct key *key = &keys[i];
		bool belongs = key->kinds >> reading->manifest->kind & 1;

		reading->line = reading->lines[i];
		if (reading->line && !belongs)
			return REFUSE(reading, "a model of the kind '%s' has no %s", kind,
				      key->name);
		/* The kind comes first, so that the others are measured by a real one. */
		if (!reading->line && belongs && key->required && key->type == VALUE_KIND)
			return pc_error_set(reading->err, PC_E_MODEL_ERROR,
					    "%s: the line 'kind = %s' or 'kind = %s' is missing",
					    reading->path, kind_names[0], kind_names[1]);
		if (!reading->line && belongs && key->required)
			return pc_error_set(reading->err, PC_E_MODEL_ERROR,
					    "%s: %s is missing; a model of the kind '%s' needs it",
					    reading->path, key->name, kind);
	}
	return 0;
}

static int check_text(const char *path, const char *text, size_t length, struct pc_error *err)
{
	size_t valid = pc_utf8_valid_prefix(text, length);
	unsigned line = 1;

	valid = valid < strlen(text) ? valid : strlen(text);
	for (size_t i = 0; i < valid; i++)
		line += text[i] == '\n';
	return valid == length ? 0
			       : pc_error_set(err, PC_E_MODEL_ERROR,
					      "%s:%u: this is not text in UTF-8", path, line);
}

int manifest_read(const char *path, struct manifest *ret_manifest, struct pc_error *err)
{
	struct manifest manifest = defaults;
	struct reading reading = { .path = path, .manifest = &manifest, .err = err };
	pc_auto(pc_free) char *text = NULL;
	size_t length;
	int rc = file_read(path, "manifest", MANIFEST_MAX_BYTES, &text, &length, err);

	if (!rc)
		rc = check_text(path, text, length, err);
	if (rc)
		return rc;
	for (char *line = text, *next; !rc && line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		reading.line++;
		rc = take_line(&reading, line);
	}
	if (!rc)
		rc = check_keys(&reading);
	if (!rc)
		*ret_manifest = manifest;
	return rc;
}
