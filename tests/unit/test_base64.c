/* SPDX-License-Identifier: MIT */
/* Unit tests of capability/base64.h: RFC 4648's examples, every pair of a byte and a length back
 * and forth, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "capability/base64.h"
#include "tests/unit/fail_alloc.h"

static void decodes(const char *text, const void *expected, size_t length)
{
	pc_auto(pc_free) void *data = NULL;
	size_t got = 999;

	assert_int_equal(pc__base64_decode(text, strlen(text), &data, &got, NULL), 0);
	assert_int_equal(got, length);
	assert_memory_equal(data, expected, length);
}

static void refuses(const char *text, size_t length, const char *why)
{
	struct pc_error err = PC_ERROR_INIT;
	void *data = (void *)text;
	size_t got = 999;

	assert_int_equal(pc__base64_decode(text, length, &data, &got, &err), PC_E_INVALID_ARGUMENT);
	if (!strstr(err.message, why))
		fail_msg("\"%s\" is not in: %s", why, err.message);
	assert_ptr_equal(data, text);
	assert_int_equal(got, 999);
}

static void the_examples_of_the_rfc(void **state)
{
	(void)state;
	decodes("", "", 0);
	decodes("Zg==", "f", 1);
	decodes("Zm8=", "fo", 2);
	decodes("Zm9v", "foo", 3);
	decodes("Zm9vYg==", "foob", 4);
	decodes("Zm9vYmE=", "fooba", 5);
	decodes("Zm9vYmFy", "foobar", 6);
	decodes("+/+/", "\xfb\xff\xbf", 3);
	decodes("AAAA", "\0\0\0", 3);
	decodes("/w==", "\xff", 1);
}

/* The encoder of section 4, to have something to decode. */
static size_t encode(const uint8_t *data, size_t length, char *out)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t size = 0;

	for (size_t i = 0; i < length; i += 3) {
		uint32_t bits = (uint32_t)data[i] << 16;

		bits |= i + 1 < length ? (uint32_t)data[i + 1] << 8 : 0;
		bits |= i + 2 < length ? data[i + 2] : 0;
		out[size++] = alphabet[bits >> 18];
		out[size++] = alphabet[bits >> 12 & 63];
		out[size++] = i + 1 < length ? alphabet[bits >> 6 & 63] : '=';
		out[size++] = i + 2 < length ? alphabet[bits & 63] : '=';
	}
	out[size] = '\0';
	return size;
}

static void whatever_was_encoded_comes_back(void **state)
{
	uint8_t data[64];
	char text[96];

	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		for (size_t length = 0; length <= sizeof(data); length++) {
			for (size_t i = 0; i < length; i++)
				data[i] = (uint8_t)(first + 37 * i);
			assert_true(encode(data, length, text) < sizeof(text));
			decodes(text, data, length);
		}
	}
}

static void what_is_refused(void **state)
{
	(void)state;
	refuses("Z", 1, "has 1 characters");
	refuses("Zg", 2, "multiple of four");
	refuses("Zg=", 3, "multiple of four");
	refuses("Zm9v\n", 5, "multiple of four");
	refuses("====", 4, "padding ('=') at character 0");
	refuses("Z===", 4, "padding ('=') at character 1");
	refuses("Zg==Zg==", 8, "padding ('=') at character 2");
	refuses("Zm8=Zm8=", 8, "padding ('=') at character 3");
	refuses("Zm9 Zm9v", 8, "a ' ' at character 3");
	refuses("Zm9\nZm9v", 8, "a byte 0x0a at character 3");
	refuses("Zm9vZm-_", 8, "a '-' at character 6");
	refuses("Zm9v\0\0\0\0", 8, "a byte 0x00 at character 4");
	refuses("Zm9v\xc3\xa4Zm", 8, "a byte 0xc3 at character 4");
	refuses("Zh==", 4, "bits that belong to no byte (the 'h' at character 1)");
	refuses("Zm9=", 4, "bits that belong to no byte (the '9' at character 2)");
}

/* Of each of the 256 bytes in each place, 64 are characters; in the last place '=' is one more. */
static void each_byte_in_each_place(void **state)
{
	(void)state;
	for (size_t place = 0; place < 4; place++) {
		unsigned good = 0;

		for (unsigned c = 0; c < 256; c++) {
			char text[4] = { 'A', 'A', 'A', 'A' };
			void *data;
			size_t length;

			text[place] = (char)c;
			if (pc__base64_decode(text, 4, &data, &length, NULL))
				continue;
			good++;
			pc_free(data);
		}
		assert_int_equal(good, place == 3 ? 65 : 64);
	}
}

static void no_memory(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	void *data;
	size_t length;

	(void)state;
	fail_alloc_begin(1);
	assert_int_equal(pc__base64_decode("Zm9v", 4, &data, &length, &err), PC_E_OUT_OF_MEMORY);
	assert_false(fail_alloc_end());
	assert_int_equal(fail_alloc_live(), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_rfc),
		cmocka_unit_test(whatever_was_encoded_comes_back),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(each_byte_in_each_place),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
