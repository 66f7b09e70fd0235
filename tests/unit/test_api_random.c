/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/api over all types, from their tables: values drawn from thousands of seeds go
 * to JSON and back; every field is removed, mistyped and put out of its range; texts are damaged
 * byte by byte, and jansson is asked whether they are JSON; every allocation is refused once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/api_values.h"
#include "tests/unit/fail_alloc.h"

static const struct {
	const char *name;
	const struct pc__api_type *type;
} all_types[] = {
#define X(name) { #name, &pc__table_##name },
	PC__API_TYPES(X)
#undef X
};

static struct api_draw draw;

static int begin(void **state)
{
	(void)state;
	api_draw_init(&draw);
	return 0;
}

static int end(void **state)
{
	(void)state;
	api_draw_fini(&draw);
	return 0;
}

/* ---- the tables themselves ---- */

static bool tells(const struct pc__api_field *field)
{
	switch (field->kind) {
	case PC__API_TEXT:
		return field->low >= 0 && field->low <= field->high &&
		       field->high <= PC_API_TEXT_MAX;
	case PC__API_NUMBER:
		return field->low <= field->high && field->size <= 8;
	case PC__API_WORD:
		return field->words->count > 1 && field->size == sizeof(int);
	case PC__API_LIST:
	case PC__API_TEXTS:
	case PC__API_MAP:
		return field->high > 0 && field->size == sizeof(void *);
	default:
		return true;
	}
}

static void check_table(const struct pc__api_type *type)
{
	assert_true(type->field_count > 0 && type->field_count <= 64);
	for (size_t i = 0; i < type->field_count; i++) {
		const struct pc__api_field *field = &type->fields[i];

		assert_true(tells(field));
		assert_true(field->offset + field->size <= type->size);
		for (size_t other = 0; other < i; other++)
			assert_string_not_equal(field->name, type->fields[other].name);
		for (size_t word = 0; field->words && word < field->words->count; word++)
			assert_non_null(field->words->words[word]);
		if (field->type)
			check_table(field->type);
	}
}

static void tables_make_sense(void **state)
{
	(void)state;
	for (size_t t = 0; t < PC_ARRAY_LEN(all_types); t++) {
		assert_true(all_types[t].type->size <= sizeof(union api_value));
		check_table(all_types[t].type);
	}
}

/* ---- there and back ---- */

/* The canonical text of the value of a seed; free it. */
static char *draw_json(const struct pc__api_type *type, uint64_t seed)
{
	struct pc_error err = PC_ERROR_INIT;
	union api_value value;
	char *text;

	api_draw_value(&draw, seed, type, &value);
	if (pc__api_write(type, &value, &text, &err))
		fail_msg("%s", err.message);
	pc__api_fini(type, &value);
	return text;
}

static void round_trip(const struct pc__api_type *type, uint64_t seed)
{
	pc_auto(pc_free) char *text = NULL, *again = NULL;
	union api_value value, second;
	struct pc_error err = PC_ERROR_INIT;
	json_t *tree;
	void *memory;

	api_draw_value(&draw, seed, type, &value);
	assert_int_equal(pc__api_write(type, &value, &text, &err), 0);
	if (pc__api_parse(type, text, strlen(text), &second, &memory, &err))
		fail_msg("seed %llu: %s in %s", (unsigned long long)seed, err.message, text);
	if (!api_values_equal(type, &value, &second))
		fail_msg("seed %llu: another value from %s", (unsigned long long)seed, text);
	assert_int_equal(pc__api_write(type, &second, &again, &err), 0);
	assert_string_equal(text, again);
	tree = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(tree);
	json_decref(tree);
	pc__api_fini(type, &value);
	pc__api_fini(type, &second);
	pc_free(memory);
}

static void values_come_back(void **state)
{
	(void)state;
	for (size_t t = 0; t < PC_ARRAY_LEN(all_types); t++) {
		for (uint64_t seed = 1; seed <= 2000; seed++)
			round_trip(all_types[t].type, seed);
	}
}

/* ---- each field, wrong in each way ---- */

struct patient {
	const struct pc__api_type *root;
	json_t *tree;
	char path[512]; /* of the field that is about to be damaged */
	unsigned refused;
};

/* The tree's text must be refused, for the field. */
static void refused_for(struct patient *patient, const char *how)
{
	char *text = json_dumps(patient->tree, JSON_COMPACT);
	struct pc_error err = PC_ERROR_INIT;
	union api_value value;
	const char *param;
	void *memory;

	assert_non_null(text);
	if (pc__api_parse(patient->root, text, strlen(text), &value, &memory, &err) !=
	    PC_E_INVALID_REQUEST)
		fail_msg("%s, %s: taken, or %s", patient->path, how, err.message);
	param = pc_error_detail_get(&err, "param");
	assert_non_null(param);
	if (strcmp(param, patient->path) != 0)
		fail_msg("%s, %s: refused for %s", patient->path, how, param);
	assert_non_null(strstr(err.message, param));
	patient->refused++;
	free(text);
}

/* Puts `damage` (its reference is taken) into the place of the field, and back again. */
static void try_damage(struct patient *patient, json_t *object, const char *name, json_t *damage,
		       const char *how)
{
	json_t *kept = json_incref(json_object_get(object, name));

	if (damage)
		json_object_set_new(object, name, damage);
	else
		json_object_del(object, name);
	refused_for(patient, how);
	json_object_set_new(object, name, kept);
}

static json_t *text_of_length(int64_t length)
{
	char *text = malloc((size_t)length + 1);
	json_t *value;

	assert_non_null(text);
	memset(text, 'x', (size_t)length);
	text[length] = '\0';
	value = json_string(text);
	free(text);
	return value;
}

static void try_out_of_range(struct patient *patient, const struct pc__api_field *field,
			     json_t *object)
{
	const char *name = field->name;

	switch (field->kind) {
	case PC__API_TEXT:
		try_damage(patient, object, name, text_of_length(field->high + 1), "too long");
		if (field->low > 0)
			try_damage(patient, object, name, text_of_length(field->low - 1),
				   "too short");
		break;
	case PC__API_NUMBER:
		try_damage(patient, object, name, json_integer(field->low - 1), "too small");
		if (field->high < INT64_MAX)
			try_damage(patient, object, name, json_integer(field->high + 1),
				   "too large");
		try_damage(patient, object, name, json_real(1.5), "a fraction");
		break;
	case PC__API_WORD:
		try_damage(patient, object, name, json_string("nonsense"), "another word");
		break;
	default:
		break;
	}
}

/* A value of every kind but that of the field. */
static void try_other_kinds(struct patient *patient, const struct pc__api_field *field,
			    json_t *object)
{
	json_t *own = json_object_get(object, field->name);
	json_t *others[] = {
		json_string("text"), json_integer(1), json_true(), json_object(), json_array(),
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(others); i++) {
		bool same = json_typeof(others[i]) == json_typeof(own) ||
			    (json_is_boolean(others[i]) && json_is_boolean(own));

		if (same)
			json_decref(others[i]);
		else
			try_damage(patient, object, field->name, others[i], "another kind");
	}
	if (!field->optional)
		try_damage(patient, object, field->name, json_null(), "null");
}

static void damage_object(struct patient *patient, const struct pc__api_type *type, json_t *object,
			  const char *path);

static void damage_field(struct patient *patient, const struct pc__api_field *field, json_t *object,
			 const char *path)
{
	json_t *value = json_object_get(object, field->name);
	char here[256], inside[300];

	snprintf(here, sizeof(here), "%s%s%s", path, path[0] ? "." : "", field->name);
	strcpy(patient->path, here);
	if (!value) {
		assert_true(field->optional);
		return;
	}
	if (!field->optional)
		try_damage(patient, object, field->name, NULL, "removed");
	if (json_is_null(value))
		return;
	try_other_kinds(patient, field, object);
	try_out_of_range(patient, field, object);
	if (field->kind == PC__API_OBJECT)
		damage_object(patient, field->type, value, here);
	for (size_t i = 0; field->kind == PC__API_LIST && i < json_array_size(value); i++) {
		snprintf(inside, sizeof(inside), "%s[%zu]", here, i);
		damage_object(patient, field->type, json_array_get(value, i), inside);
	}
}

static void damage_object(struct patient *patient, const struct pc__api_type *type, json_t *object,
			  const char *path)
{
	for (size_t i = 0; i < type->field_count; i++)
		damage_field(patient, &type->fields[i], object, path);
	if (!type->strict)
		return;
	strcpy(patient->path, "newer");
	json_object_set_new(object, "newer", json_true());
	refused_for(patient, "unknown");
	json_object_del(object, "newer");
}

static void every_damage_is_named(void **state)
{
	(void)state;
	for (size_t t = 0; t < PC_ARRAY_LEN(all_types); t++) {
		struct patient patient = { .root = all_types[t].type };

		for (uint64_t seed = 1; seed <= 12; seed++) {
			char *text = draw_json(patient.root, seed);

			patient.tree = json_loads(text, 0, NULL);
			damage_object(&patient, patient.root, patient.tree, "");
			json_decref(patient.tree);
			pc_free(text);
		}
		/* Two fields, four ways each: no type has less. */
		assert_true(patient.refused >= 12 * 8);
	}
}

/* ---- damaged texts ---- */

/* Flips, drops, doubles or swaps bytes, mostly where JSON has its own. */
static size_t damage_text(char *text, size_t length)
{
	static const char marks[] = "{}[]\",:\\u0eE.-+ntf \n\xff\x01";
	unsigned wounds = 1 + (unsigned)(api_draw_number(&draw) % 3);

	for (unsigned i = 0; i < wounds && length > 1; i++) {
		size_t at = api_draw_number(&draw) % length;

		switch (api_draw_number(&draw) % 4) {
		case 0:
			text[at] = marks[api_draw_number(&draw) % (sizeof(marks) - 1)];
			break;
		case 1:
			memmove(text + at, text + at + 1, length - at - 1);
			length--;
			break;
		case 2:
			length = at + 1;
			break;
		default:
			text[at] = (char)(text[at] ^ (1 << api_draw_number(&draw) % 8));
			break;
		}
	}
	return length;
}

/* What we take is JSON, and what we call no JSON is none: jansson is the judge. */
static void jansson_agrees(const struct pc__api_type *type, const char *text, size_t length)
{
	json_t *tree = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
				  NULL);
	const char *wrong;
	int code;

	wrong = api_round_trip(type, text, length, &code);
	if (wrong)
		fail_msg("%s: %.*s", wrong, (int)length, text);
	/* In an unknown field a name may stand twice and a number be larger than a double. */
	if (code == 0 && type->strict && !tree)
		fail_msg("taken, and no JSON: %.*s", (int)length, text);
	if (code == PC_E_INVALID_JSON && tree)
		fail_msg("JSON, and not taken for it: %.*s", (int)length, text);
	json_decref(tree);
}

static void damaged_texts_are_judged_rightly(void **state)
{
	unsigned taken = 0;

	(void)state;
	for (size_t t = 0; t < PC_ARRAY_LEN(all_types); t++) {
		for (uint64_t seed = 1; seed <= 3000; seed++) {
			char *text = draw_json(all_types[t].type, seed % 50 + 1);
			union api_value value;
			void *memory;

			draw.state = seed;

			size_t length = damage_text(text, strlen(text));

			jansson_agrees(all_types[t].type, text, length);
			if (!pc__api_parse(all_types[t].type, text, length, &value, &memory,
					   NULL)) {
				taken++;
				pc__api_fini(all_types[t].type, &value);
				pc_free(memory);
			}
			pc_free(text);
		}
	}
	/* A letter in a string does no harm: the test saw both. */
	assert_in_range(taken, 100, 20000);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
	(void)state;
	for (size_t t = 0; t < PC_ARRAY_LEN(all_types); t++) {
		const struct pc__api_type *type = all_types[t].type;
		char *text = draw_json(type, 7);
		unsigned n = 1;

		for (;; n++) {
			struct pc_error err = PC_ERROR_INIT;
			union api_value value;
			char *again = NULL;
			void *memory = NULL;
			int rc;

			fail_alloc_begin(n);
			rc = pc__api_parse(type, text, strlen(text), &value, &memory, &err);
			if (!rc) {
				rc = pc__api_write(type, &value, &again, &err);
				pc__api_fini(type, &value);
				pc_free(memory);
				pc_free(again);
			}
			if (fail_alloc_end()) {
				assert_int_equal(rc, 0);
				break;
			}
			assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
			assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
			assert_int_equal(fail_alloc_live(), 0);
		}
		/* The copy of the text, and the text that is written. */
		assert_true(n > 2);
		pc_free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_make_sense),
		cmocka_unit_test(values_come_back),
		cmocka_unit_test(every_damage_is_named),
		cmocka_unit_test(damaged_texts_are_judged_rightly),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
