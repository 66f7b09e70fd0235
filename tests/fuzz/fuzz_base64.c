/* SPDX-License-Identifier: MIT */
/*
 * fuzz_base64.c - throws text at the base64 decoder, alone and behind a data: URL. What it accepts
 * is encoded again and has to be the same text: no two texts decode to one content.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "capability/base64.h"
#include "capability/image_source.h"
#include "tests/fuzz/fuzz.h"

static void check_same(const uint8_t *data, size_t length, const char *text)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < length; i += 3, text += 4) {
		bool two = i + 1 < length, three = i + 2 < length;
		uint32_t bits = (uint32_t)data[i] << 16 | (two ? (uint32_t)data[i + 1] << 8 : 0) |
				(three ? data[i + 2] : 0u);

		check(text[0] == alphabet[bits >> 18] && text[1] == alphabet[bits >> 12 & 63]);
		check(text[2] == (two ? alphabet[bits >> 6 & 63] : '='));
		check(text[3] == (three ? alphabet[bits & 63] : '='));
	}
}

static void decode(const char *text, size_t length)
{
	struct pc_error err = PC_ERROR_INIT;
	void *data = NULL;
	size_t size = 0;
	int rc = pc__base64_decode(text, length, &data, &size, &err);

	check(err.code == rc);
	check((data != NULL) == (rc == 0));
	if (rc) {
		check(rc == PC_E_INVALID_ARGUMENT);
		check(pc__utf8_valid_prefix(err.message, strlen(err.message)) ==
		      strlen(err.message));
	} else {
		check(size <= pc__base64_bound(length) && (size + 2) / 3 * 4 == length);
		check_same(data, size, text);
	}
	pc_free(data);
}

static void read_source(struct pc_image_source source)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__images *images = NULL;
	int rc = pc__images_read(&source, 1, false, &images, &err);

	check(err.code == rc);
	check((images != NULL) == (rc == 0));
	check(rc == 0 || rc == PC_E_INVALID_ARGUMENT);
	check(rc != 0 || images->images[0].length > 0);
	pc__images_free(images);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] = "data:image/png;base64,";
	char *text = malloc(sizeof(head) + size);

	check(text != NULL);
	memcpy(text, head, sizeof(head) - 1);
	if (size)
		memcpy(text + sizeof(head) - 1, data, size);
	text[sizeof(head) - 1 + size] = '\0';
	decode(text + sizeof(head) - 1, size);
	read_source(pc_image_from_base64(text + sizeof(head) - 1));
	read_source(pc_image_from_url(text, NULL));
	/* The fuzzer's own head of a data: URL. */
	memcpy(text + sizeof(head) - 1 - 5, "data:", 5);
	read_source(pc_image_from_base64(text + sizeof(head) - 1 - 5));
	free(text);
	return 0;
}
