/* SPDX-License-Identifier: MIT */
/*
 * test_options.c - pool-managerd's command line: what each option becomes, and the sentence for
 * each way to get one wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "daemon/options.h"
#include "fail_alloc.h"

#define ARGS_MAX (OVERRIDES_MAX + 8)

/* Up to a NULL; getopt permutes what it is given. */
static int parse(const char *const words[], struct options *options, struct pc_error *err)
{
	char *argv[ARGS_MAX + 2] = { (char *)"pool-managerd" };
	int argc = 1;

	for (; words[argc - 1]; argc++)
		argv[argc] = (char *)words[argc - 1];
	*options = (struct options){ .config = NULL };
	return options_parse(argc, argv, options, err);
}

static void assert_override(const struct options *options, size_t at, const char *name,
			    const char *key, const char *value)
{
	assert_true(at < options->override_count);
	assert_string_equal(options->overrides[at].name, name);
	assert_string_equal(options->overrides[at].key, key);
	assert_string_equal(options->overrides[at].value, value);
	assert_int_equal(options->overrides[at].source, PC_SOURCE_FLAG);
}

static void options_become_settings(void **state)
{
	static const char *const words[] = { "-c",     "a.toml", "--listen=unix:/s", "-d",
					     "/state", "--set",	 "log.level=a=b",    "--log-level",
					     "debug",  "-Fjson", "--check",	     NULL };
	struct options options;

	(void)state;
	assert_int_equal(parse(words, &options, NULL), 0);
	assert_string_equal(options.config, "a.toml");
	assert_true(options.check);
	assert_false(options.help || options.version);
	assert_int_equal(options.override_count, 5);
	assert_override(&options, 0, "--listen", "http.listen", "unix:/s");
	assert_override(&options, 1, "--state-dir", "pool.state_dir", "/state");
	assert_override(&options, 2, "--set", "log.level", "a=b");
	assert_override(&options, 3, "--log-level", "log.level", "debug");
	assert_override(&options, 4, "--log-format", "log.format", "json");
	options_fini(&options);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *words[3];
		const char *sentence;
	} cases[] = {
		{ { "--foo" }, "unknown option '--foo'" },
		{ { "--foo=1" }, "unknown option '--foo=1'" },
		{ { "-x" }, "unknown option '-x'" },
		{ { "-kx" }, "unknown option '-x'" },
		{ { "--config" }, "--config needs a value: --config FILE" },
		{ { "-l" }, "--listen needs a value: --listen ADDRESS" },
		{ { "--check=yes" }, "--check takes no value" },
		{ { "--set", "pool" },
		  "--set takes KEY=VALUE, like pool.request_timeout_secs=60, not 'pool'" },
		{ { "--set", "=1" },
		  "--set takes KEY=VALUE, like pool.request_timeout_secs=60, not '=1'" },
		{ { "pool.toml" },
		  "unexpected argument 'pool.toml'; a configuration is named with "
		  "--config" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_error err = PC_ERROR_INIT;
		struct options options;

		assert_int_equal(parse(cases[i].words, &options, &err), PC_E_INVALID_ARGUMENT);
		assert_string_equal(err.message, cases[i].sentence);
		options_fini(&options);
	}
}

static void overrides_have_a_limit(void **state)
{
	const char *words[ARGS_MAX + 1] = { NULL };
	struct pc_error err = PC_ERROR_INIT;
	struct options options;

	(void)state;
	for (size_t i = 0; i < OVERRIDES_MAX; i++)
		words[i] = "--set=http.loops=1";
	assert_int_equal(parse(words, &options, &err), 0);
	assert_int_equal(options.override_count, OVERRIDES_MAX);
	options_fini(&options);
	words[OVERRIDES_MAX] = "--listen=unix:/s";
	assert_int_equal(parse(words, &options, &err), PC_E_INVALID_ARGUMENT);
	assert_non_null(strstr(err.message, "more than 64 settings"));
	options_fini(&options);
	words[OVERRIDES_MAX] = "--set=http.loops=2";
	assert_int_equal(parse(words, &options, NULL), PC_E_INVALID_ARGUMENT);
	options_fini(&options);
}

static void want_of_memory_leaks_nothing(void **state)
{
	static const char *const words[] = { "--set=a.b=1", "--set=c.d=2", NULL };

	(void)state;
	for (unsigned n = 1;; n++) {
		struct options options;
		int rc;

		fail_alloc_begin(n);
		rc = parse(words, &options, NULL);
		options_fini(&options);
		if (fail_alloc_end())
			break;
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_become_settings),
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(overrides_have_a_limit),
		cmocka_unit_test(want_of_memory_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
