/* SPDX-License-Identifier: MIT */
/*
 * fuzz_json_member.c - the member scanner must say the same however its input is cut, and accept
 * only what jansson accepts, with the same model, but for the exceptions that are named below.
 */
#include <string.h>

#include <jansson.h>

#include "http/json_member.h"
#include "tests/fuzz/fuzz.h"

static void scan(struct json_scanner *scanner, const char *data, size_t size, size_t step)
{
	json_scanner_init(scanner);
	for (size_t at = 0; at < size; at += step)
		json_scanner_feed(scanner, data + at, size - at < step ? size - at : step);
	json_scanner_end(scanner);
}

static void compare(const struct json_scanner *scanner, json_t *root)
{
	json_t *model = json_object_get(root, "model");
	json_t *stream = json_object_get(root, "stream");

	check(scanner->has_model == (model != NULL));
	check(scanner->model_is_string == json_is_string(model));
	if (model && json_is_string(model))
		check(strcmp(scanner->model, json_string_value(model)) == 0);
	check(scanner->has_stream == (stream && json_is_boolean(stream)));
	if (scanner->has_stream)
		check(scanner->stream == json_is_true(stream));
}

/* What jansson refuses and we pass on: what is not Unicode, escaped surrogates without their half
 * among it, which have no code of their own; numbers past a double; NULs in names of members. */
static bool refuses_more(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_invalid_utf8:
	case json_error_numeric_overflow:
	case json_error_null_byte_in_key:
		return true;
	default:
		return strncmp(error->text, "invalid Unicode", strlen("invalid Unicode")) == 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct json_scanner whole, cut;
	json_error_t error;
	const char *text;
	size_t step;
	json_t *root;

	if (size == 0)
		return 0;
	step = 1 + bytes[0] % 40;
	text = (const char *)bytes + 1;
	size--;
	scan(&whole, text, size, size ? size : 1);
	scan(&cut, text, size, step);
	check(whole.state == cut.state && whole.error_offset == cut.error_offset &&
	      whole.error == cut.error && whole.has_model == cut.has_model &&
	      whole.model_is_string == cut.model_is_string && whole.stream == cut.stream &&
	      (!whole.model_is_string || strcmp(whole.model, cut.model) == 0));

	/* A NUL is no JSON wherever it stands; jansson passes over one that follows a number. */
	if (memchr(text, '\0', size)) {
		check(whole.state == JSON_SCAN_INVALID);
		return 0;
	}
	root = json_loadb(text, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	if (root && json_is_object(root) && whole.state == JSON_SCAN_DONE)
		compare(&whole, root);
	else if (root && json_is_object(root))
		/* We refuse more: members named twice, long names, NULs. */
		check(strstr(whole.error, "twice") || strstr(whole.error, "511 bytes") ||
		      strstr(whole.error, "NUL") || strstr(whole.error, "512 deep"));
	else if (!root && whole.state == JSON_SCAN_DONE)
		check(refuses_more(&error));
	json_decref(root);
	return 0;
}
