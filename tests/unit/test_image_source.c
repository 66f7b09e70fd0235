/* SPDX-License-Identifier: MIT */
/* Unit tests of capability/image_source.h: where images come from, and what is wrong with some. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capability/image_source.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

static struct pc__images *reads(const struct pc_image_source *sources, size_t count, bool copy)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__images *images = NULL;

	if (pc__images_read(sources, count, copy, &images, &err))
		fail_msg("%s", err.message);
	assert_int_equal(images->count, count);
	return images;
}

/* One image of these bytes. */
static void gives(struct pc_image_source source, const char *expected)
{
	struct pc__images *images = reads(&source, 1, false);

	assert_int_equal(images->images[0].length, strlen(expected));
	assert_memory_equal(images->images[0].data, expected, strlen(expected));
	pc__images_free(images);
}

static void refuses(struct pc_image_source source, int code, const char *why)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc__images *images = (struct pc__images *)&source;

	assert_int_equal(pc__images_read(&source, 1, false, &images, &err), code);
	assert_int_equal(err.code, code);
	assert_contains(err.message, "the image: ");
	assert_contains(err.message, why);
	assert_string_equal(pc_error_detail_get(&err, "image_index"), "0");
	assert_ptr_equal(images, &source);
}

/* ---- files ---- */

static void a_file(void **state)
{
	char large[2 * PATH_MAX];

	(void)state;
	gives(pc_image_from_path(write_file("a.png", "pixels")), "pixels");
	refuses(pc_image_from_path(write_file("empty.png", "")), PC_E_INVALID_ARGUMENT,
		"it is empty");
	refuses(pc_image_from_path(in_folder("missing.png")), PC_E_NOT_FOUND,
		"missing.png': No such file or directory");
	refuses(pc_image_from_path(in_folder("a.png/b.png")), PC_E_NOT_FOUND, "cannot open");
	refuses(pc_image_from_path(folder), PC_E_INVALID_ARGUMENT, "is not a regular file");
	refuses(pc_image_from_path("/dev/zero"), PC_E_INVALID_ARGUMENT,
		"'/dev/zero' is not a regular file");
	refuses(pc_image_from_path(""), PC_E_INVALID_ARGUMENT, "its path is empty");
	refuses(pc_image_from_path(NULL), PC_E_INVALID_ARGUMENT, "its path is NULL");

	snprintf(large, sizeof(large), "%s", write_file("large.png", "x"));
	assert_int_equal(truncate(large, (off_t)PC_IMAGE_MAX_BYTES + 1), 0);
	refuses(pc_image_from_path(large), PC_E_PAYLOAD_TOO_LARGE,
		"large.png' is larger than the 64 MiB of an image");
}

static void a_pipe_is_not_waited_for(void **state)
{
	char pipe_path[2 * PATH_MAX];

	(void)state;
	snprintf(pipe_path, sizeof(pipe_path), "%s", in_folder("pipe.png"));
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	refuses(pc_image_from_path(pipe_path), PC_E_INVALID_ARGUMENT, "is not a regular file");
}

/* ---- bytes ---- */

static void bytes_are_borrowed_or_copied(void **state)
{
	static const char bytes[] = "pixels";
	struct pc_image_source source = pc_image_from_bytes(bytes, 6);
	struct pc__images *images;

	(void)state;
	gives(source, "pixels");
	images = reads(&source, 1, false);
	assert_ptr_equal(images->images[0].data, bytes);
	assert_int_equal(images->held_bytes, 0);
	pc__images_free(images);
	images = reads(&source, 1, true);
	assert_ptr_not_equal(images->images[0].data, bytes);
	assert_memory_equal(images->images[0].data, bytes, 6);
	assert_int_equal(images->held_bytes, 6);
	pc__images_free(images);
	refuses(pc_image_from_bytes(bytes, 0), PC_E_INVALID_ARGUMENT, "it is empty");
	refuses(pc_image_from_bytes(NULL, 6), PC_E_INVALID_ARGUMENT, "it is empty");
	refuses(pc_image_from_bytes(bytes, (size_t)PC_IMAGE_MAX_BYTES + 1), PC_E_PAYLOAD_TOO_LARGE,
		"it is larger than the 64 MiB");
}

/* ---- base64 and data: ---- */

static void base64_texts(void **state)
{
	(void)state;
	gives(pc_image_from_base64("cGl4ZWxz"), "pixels");
	gives(pc_image_from_base64("data:image/png;base64,cGl4ZWxz"), "pixels");
	gives(pc_image_from_base64("data:;base64,cGl4ZWxz"), "pixels");
	gives(pc_image_from_base64("DATA:image/png;name=a;BASE64,cGl4ZWxz"), "pixels");
	gives(pc_image_from_url("data:image/png;base64,cGl4ZWxz", NULL), "pixels");
	refuses(pc_image_from_base64(NULL), PC_E_INVALID_ARGUMENT, "its base64 text is NULL");
	refuses(pc_image_from_base64(""), PC_E_INVALID_ARGUMENT, "it is empty");
	refuses(pc_image_from_base64("data:image/png;base64,"), PC_E_INVALID_ARGUMENT,
		"it is empty");
	refuses(pc_image_from_base64("data:image/png;base64"), PC_E_INVALID_ARGUMENT, "no comma");
	refuses(pc_image_from_base64("data:image/png,pixels"), PC_E_INVALID_ARGUMENT,
		"is not in base64");
	refuses(pc_image_from_base64("data:base64,cGl4ZWxz"), PC_E_INVALID_ARGUMENT,
		"is not in base64");
	refuses(pc_image_from_base64("cGl4 ZWxz"), PC_E_INVALID_ARGUMENT, "multiple of four");
	refuses(pc_image_from_base64("cGl4 WxzIQo="), PC_E_INVALID_ARGUMENT,
		"a ' ' at character 4");
}

static void a_text_that_is_too_long_is_not_decoded(void **state)
{
	size_t length = (size_t)PC_IMAGE_MAX_BYTES / 3 * 4 + 2048;
	char *text = malloc(length + 1);

	(void)state;
	assert_non_null(text);
	memset(text, 'A', length);
	text[length] = '\0';
	refuses(pc_image_from_base64(text), PC_E_PAYLOAD_TOO_LARGE, "what its base64 text holds");
	/* Short enough to be looked at, and still too large an image. */
	text[length - 1024] = '\0';
	text[length - 1024 - (length - 1024) % 4] = '\0';
	refuses(pc_image_from_base64(text), PC_E_PAYLOAD_TOO_LARGE, "it is larger than");
	free(text);
}

/* ---- URLs ---- */

static struct {
	int rc;
	const char *data;
	const char *said;
	char url[64];
} server;

static int fetch(void *ctx, const char *url, void **ret_data, size_t *ret_length,
		 struct pc_error *err)
{
	assert_ptr_equal(ctx, &server);
	snprintf(server.url, sizeof(server.url), "%s", url);
	if (server.rc)
		return server.said ? pc_error_set(err, server.rc, "%s", server.said) : server.rc;
	if (server.data) {
		*ret_data = pc_strdup(server.data);
		if (!*ret_data)
			return pc_error_oom(err);
		*ret_length = strlen(server.data);
	}
	return 0;
}

static const struct pc_image_fetcher fetcher = { fetch, &server };

static void a_url_goes_to_the_fetcher(void **state)
{
	struct pc_image_source source = pc_image_from_url("https://x.test/a.png", &fetcher);

	(void)state;
	memset(&server, 0, sizeof(server));
	server.data = "pixels";
	gives(source, "pixels");
	assert_string_equal(server.url, "https://x.test/a.png");

	server.data = "";
	refuses(source, PC_E_INVALID_ARGUMENT, "it is empty");
	server.data = NULL;
	refuses(source, PC_E_INVALID_ARGUMENT, "it is empty");

	server.rc = PC_E_TIMEOUT;
	server.said = "x.test does not answer";
	refuses(source, PC_E_TIMEOUT, "its URL cannot be fetched: x.test does not answer");
	server.said = NULL;
	refuses(source, PC_E_TIMEOUT, pc_error_text(PC_E_TIMEOUT));
	server.rc = 404;
	refuses(source, PC_E_IO, "its URL cannot be fetched");
}

static void a_url_without_a_fetcher(void **state)
{
	static const struct pc_image_fetcher none = { NULL, NULL };

	(void)state;
	refuses(pc_image_from_url("https://x.test/a.png", NULL), PC_E_INVALID_ARGUMENT,
		"no fetcher was given");
	refuses(pc_image_from_url("https://x.test/a.png", &none), PC_E_INVALID_ARGUMENT,
		"no fetcher was given");
	refuses(pc_image_from_url("", &fetcher), PC_E_INVALID_ARGUMENT, "its URL is empty");
	refuses(pc_image_from_url(NULL, &fetcher), PC_E_INVALID_ARGUMENT, "its URL is NULL");
}

/* ---- batches ---- */

static void a_zeroed_source_is_refused(void **state)
{
	struct pc_image_source source = { .kind = PC_IMAGE_NONE };

	(void)state;
	refuses(source, PC_E_INVALID_ARGUMENT, "a path, bytes, base64 or a URL");
	source.kind = (enum pc_image_source_kind)77;
	refuses(source, PC_E_INVALID_ARGUMENT, "no kind (77)");
}

static void a_batch_keeps_its_order_and_names_the_bad_one(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_image_source sources[3];
	struct pc__images *images;

	(void)state;
	sources[0] = pc_image_from_bytes("one", 3);
	sources[1] = pc_image_from_path(write_file("two.png", "two"));
	sources[2] = pc_image_from_base64("dGhyZWU=");
	images = reads(sources, 3, false);
	assert_memory_equal(images->images[0].data, "one", 3);
	assert_memory_equal(images->images[1].data, "two", 3);
	assert_memory_equal(images->images[2].data, "three", 5);
	assert_int_equal(images->held_bytes, 8);
	pc__images_free(images);
	pc__images_free(reads(sources, 0, false));

	sources[2] = pc_image_from_base64("?");
	assert_int_equal(pc__images_read(sources, 3, true, &images, &err), PC_E_INVALID_ARGUMENT);
	assert_contains(err.message, "image 2: the base64");
	assert_string_equal(pc_error_detail_get(&err, "image_index"), "2");
	assert_int_equal(pc__images_read(sources, SIZE_MAX / 8, true, &images, NULL),
			 PC_E_OUT_OF_MEMORY);
}

static void a_batch_has_a_limit(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_image_source sources[5];
	struct pc__images *images;
	/* Pages that nobody wrote to: they take no memory until they are copied. */
	void *zeros = mmap(NULL, PC_IMAGE_MAX_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(zeros, MAP_FAILED);
	for (size_t i = 0; i < PC_ARRAY_LEN(sources); i++)
		sources[i] = pc_image_from_bytes(zeros, PC_IMAGE_MAX_BYTES);
	pc__images_free(reads(sources, 5, false));
	assert_int_equal(pc__images_read(sources, 5, true, &images, &err), PC_E_PAYLOAD_TOO_LARGE);
	assert_contains(err.message, "image 4: up to here the batch has more than 256 MiB");
	munmap(zeros, PC_IMAGE_MAX_BYTES);
}

static void no_memory(void **state)
{
	struct pc_image_source sources[4];
	struct pc__images *images;

	(void)state;
	memset(&server, 0, sizeof(server));
	server.data = "four";
	sources[0] = pc_image_from_bytes("one", 3);
	sources[1] = pc_image_from_path(write_file("two.png", "two"));
	sources[2] = pc_image_from_base64("dGhyZWU=");
	sources[3] = pc_image_from_url("x:four", &fetcher);
	for (unsigned n = 1;; n++) {
		fail_alloc_begin(n);

		int rc = pc__images_read(sources, 4, true, &images, NULL);

		if (!rc)
			pc__images_free(images);
		bool tried_all = fail_alloc_end();

		assert_int_equal(fail_alloc_live(), 0);
		if (tried_all) {
			assert_int_equal(rc, 0);
			assert_int_equal(n, 6);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	}
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/test-image-source-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = { "a.png", "empty.png", "large.png", "pipe.png",
					     "two.png" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++)
		unlink(in_folder(names[i]));
	return rmdir(folder);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file),
		cmocka_unit_test(a_pipe_is_not_waited_for),
		cmocka_unit_test(bytes_are_borrowed_or_copied),
		cmocka_unit_test(base64_texts),
		cmocka_unit_test(a_text_that_is_too_long_is_not_decoded),
		cmocka_unit_test(a_url_goes_to_the_fetcher),
		cmocka_unit_test(a_url_without_a_fetcher),
		cmocka_unit_test(a_zeroed_source_is_refused),
		cmocka_unit_test(a_batch_keeps_its_order_and_names_the_bad_one),
		cmocka_unit_test(a_batch_has_a_limit),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests_name("image_source", tests, make_folder, remove_folder);
}
