/* SPDX-License-Identifier: MIT */
/* Unit tests of src/engine/engine.c, with the plug-ins of engine_stub.c beside this program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolcore/engine.h>

static char folder[PATH_MAX]; /* of this program */

static int find_folder(void **state)
{
	(void)state;
	ssize_t length = readlink("/proc/self/exe", folder, sizeof(folder) - 1);

	if (length <= 0)
		return -1;
	folder[length] = '\0';
	*strrchr(folder, '/') = '\0';
	return setenv("POOLCORE_ENGINE_PATH", folder, 1);
}

/* Opens a stub that must be refused and returns the error. */
static struct pc_error refused(const char *name)
{
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_engine *engine = (const struct pc_engine *)&err; /* a value to keep */

	assert_int_not_equal(pc_engine_open(name, &engine, &err), 0);
	assert_ptr_equal(engine, &err); /* outputs are written on success only */
	return err;
}

static void a_good_engine_opens_once(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_engine *engine = NULL, *again = NULL;
	char path[PATH_MAX + 64];

	(void)state;
	assert_int_equal(pc_engine_open("stub-good", &engine, &err), 0);
	assert_string_equal(engine->name, "stub");
	assert_int_equal(pc_engine_open("stub-good", &again, &err), 0);
	assert_ptr_equal(again, engine);

	snprintf(path, sizeof(path), "%s/libpoolcore-stub-good.so", folder);
	again = NULL;
	assert_int_equal(pc_engine_open(path, &again, &err), 0);
	assert_ptr_equal(again, engine);
	assert_int_equal(err.code, 0);
}

static char logged[256];

static void keep_record(void *ctx, const struct pc_log_record *record)
{
	(void)ctx;
	snprintf(logged, sizeof(logged), "%s %s %s", pc_log_level_name(record->level),
		 record->subject, record->message);
}

static void the_hosts_log_is_the_librarys(void **state)
{
	const struct pc_engine *engine = NULL;
	const struct pc_engine_spec spec = { .size = sizeof(spec), .model_path = "100%s.gguf" };
	struct pc_engine_instance *instance = NULL;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_engine_open("stub-good", &engine, NULL), 0);
	pc_log_set(keep_record, NULL, PC_LOG_DEBUG);
	assert_int_equal(engine->load(&spec, &instance, &err), PC_E_UNSUPPORTED);
	pc_log_set(NULL, NULL, PC_LOG_DEBUG);
	assert_string_equal(logged, "info stub 100%s.gguf");
}

static void missing_ones_say_where_it_looked(void **state)
{
	struct pc_error err;
	char path[PATH_MAX + 64];

	(void)state;
	err = refused("no-such");
	assert_int_equal(err.code, PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "no engine 'no-such': libpoolcore-no-such.so is in"));
	assert_non_null(strstr(err.message, "/../engines"));

	snprintf(path, sizeof(path), "%s/none.so", folder);
	err = refused(path);
	assert_int_equal(err.code, PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "No such file"));
}

static void names_are_names(void **state)
{
	static const char *const bad[] = {
		"",
		"..",
		"a b",
		"stub.good",
		"st\nub",
		"100%",
		"a-name-of-sixty-five-bytes-is-one-byte-longer-than-a-name-may-be_",
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(bad); i++) {
		struct pc_error err = refused(bad[i]);

		assert_int_equal(err.code, PC_E_INVALID_ARGUMENT);
	}
	assert_int_equal(pc_engine_open(NULL, NULL, NULL), PC_E_INVALID_ARGUMENT);
}

static void wrong_ones_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *name, *reason;
	} rows[] = {
		{ "stub-wrong-abi", "speaks ABI 2, this host speaks 1" },
		{ "stub-refuses", "does not work with this host (ABI 1)" },
		{ "stub-no-entry", "does not export pc_engine_entry" },
		{ "stub-no-generate", "has no generate, which text_to_text needs" },
		{ "stub-no-unload", "has no load, unload or describe" },
		{ "stub-short-table", "has a table of 8 bytes" },
		{ "stub-old-table", "has no embed_text, which text_embedding needs" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		/* Twice: a refusal leaves nothing behind that the next one stumbles over. */
		for (int turn = 0; turn < 2; turn++) {
			struct pc_error err = refused(rows[i].name);

			assert_int_equal(err.code, PC_E_UNSUPPORTED);
			if (!strstr(err.message, rows[i].reason))
				fail_msg("%s: %s", rows[i].name, err.message);
		}
	}
}

static void a_file_that_is_no_library_is_refused(void **state)
{
	char path[PATH_MAX + 64];
	struct pc_error err;

	(void)state;
	snprintf(path, sizeof(path), "%s/libpoolcore-stub-text.so", folder);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs("this is text\n", file);
	fclose(file);
	err = refused("stub-text");
	unlink(path);
	assert_int_equal(err.code, PC_E_UNSUPPORTED);
	assert_non_null(strstr(err.message, "does not load"));
}

static void the_path_is_a_list(void **state)
{
	char list[PATH_MAX + 64];
	const struct pc_engine *engine = NULL;

	(void)state;
	snprintf(list, sizeof(list), ":/nonexistent::%s:", folder);
	setenv("POOLCORE_ENGINE_PATH", list, 1);
	assert_int_equal(pc_engine_open("stub-good", &engine, NULL), 0);

	setenv("POOLCORE_ENGINE_PATH", "/nonexistent", 1);
	struct pc_error err = refused("stub-good");

	assert_non_null(strstr(err.message, "none of /nonexistent, "));
	unsetenv("POOLCORE_ENGINE_PATH");
	refused("stub-good");
	setenv("POOLCORE_ENGINE_PATH", folder, 1);
}

static void *open_good(void *ctx)
{
	const struct pc_engine *engine = NULL;

	(void)ctx;
	return pc_engine_open("stub-good", &engine, NULL) ? NULL : (void *)engine;
}

static void threads_open_the_same(void **state)
{
	pthread_t threads[8];
	void *first = open_good(NULL);

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, open_good, NULL), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(threads); i++) {
		void *engine = NULL;

		pthread_join(threads[i], &engine);
		assert_ptr_equal(engine, first);
	}
	assert_non_null(first);
}

static void wishes_that_an_engine_does_not_know_are_refused(void **state)
{
	const struct pc_engine older = { .abi = PC_ENGINE_ABI,
					 .size = offsetof(struct pc_engine, text_request_size),
					 .name = "older" };
	const struct pc_engine newer = { .abi = PC_ENGINE_ABI,
					 .size = sizeof(newer),
					 .name = "newer",
					 .text_request_size = sizeof(struct pc_text_request) };
	struct pc_text_request request = { .size = sizeof(request),
					   .prompt = "x",
					   .temperature = 1 };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_engine_check_text_request(&older, &request, &err), 0);
	request.top_k = 5;
	assert_int_equal(pc_engine_check_text_request(&newer, &request, &err), 0);
	assert_int_equal(pc_engine_check_text_request(&older, &request, &err),
			 PC_E_INVALID_REQUEST);
	assert_non_null(strstr(err.message, "'older'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_open_the_same),
		cmocka_unit_test(a_good_engine_opens_once),
		cmocka_unit_test(the_hosts_log_is_the_librarys),
		cmocka_unit_test(missing_ones_say_where_it_looked),
		cmocka_unit_test(wishes_that_an_engine_does_not_know_are_refused),
		cmocka_unit_test(names_are_names),
		cmocka_unit_test(wrong_ones_are_refused_with_the_reason),
		cmocka_unit_test(a_file_that_is_no_library_is_refused),
		cmocka_unit_test(the_path_is_a_list),
	};

	return cmocka_run_group_tests(tests, find_folder, NULL);
}
