/* SPDX-License-Identifier: MIT */
/* Unit tests of src/catalog/model_ref.c: ids and references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/model_ref.h>

#include <stdio.h>
#include <string.h>

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void takes_references_apart(void **state)
{
	static const struct {
		const char *text;
		enum pc_model_ref_kind kind;
		const char *repo, *revision, *file;
	} cases[] = {
		{ "hf:a/b::file=c.gguf", PC_MODEL_REF_HUB, "a/b", "", "c.gguf" },
		{ "hf:Org.x/n_a-1@main::file=d/e f.gguf", PC_MODEL_REF_HUB, "Org.x/n_a-1", "main",
		  "d/e f.gguf" },
		{ "hf:a/b@refs/pr/1::file=c", PC_MODEL_REF_HUB, "a/b", "refs/pr/1", "c" },
		{ "hf:a/b::file=c::file=d@e", PC_MODEL_REF_HUB, "a/b", "", "c::file=d@e" },
		{ "hf:a/b::file=.hidden/..x/100%.gguf", PC_MODEL_REF_HUB, "a/b", "",
		  ".hidden/..x/100%.gguf" },
		{ "hf:a/b::file=\xc3\xa9/\xe6\xa8\xa1\xf0\x9f\x98\x80", PC_MODEL_REF_HUB, "a/b", "",
		  "\xc3\xa9/\xe6\xa8\xa1\xf0\x9f\x98\x80" },
		{ "file:/m.gguf", PC_MODEL_REF_FILE, "", "", "/m.gguf" },
		/* An administrator's own disk has what it has. */
		{ "file:/a b/-c/%41\\.", PC_MODEL_REF_FILE, "", "", "/a b/-c/%41\\." },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_error err = PC_ERROR_INIT;
		struct pc_model_ref ref;

		if (pc_model_ref_parse(cases[i].text, &ref, &err))
			fail_msg("%s", err.message);
		assert_int_equal(ref.kind, cases[i].kind);
		assert_string_equal(ref.repo, cases[i].repo);
		assert_string_equal(ref.revision, cases[i].revision);
		assert_string_equal(ref.file, cases[i].file);
	}
}

#define CURE \
	"; write \"hf:ORG/NAME::file=PATH\", with \"@REVISION\" behind the name if need be, or " \
	"\"file:/ABSOLUTE/PATH\""
#define NO_REPO "behind \"hf:\" stands no repository, like \"org/name\""
#define NO_REVISION \
	"behind '@' stands no revision: letters, digits, '.', '_', '-' and single '/', beginning " \
	"with a letter or digit"
#define LEAVES "its path leaves the repository; use a relative path without \"..\""
#define BLANK "its path has a part that begins or ends with a blank, or ends with a dot"
#define MOVES "its path has a part that is empty, \".\" or \"..\"; write the path without it"
#define BEGINS "it begins with neither \"hf:\" nor \"file:\""

static void refuses_with_a_reason(void **state)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{ "", BEGINS },
		{ "HF:a/b::file=c", BEGINS },
		{ "http://a/b", BEGINS },
		{ " file:/x", BEGINS },
		{ "hf:a/b", "\"::file=\" is missing" },
		{ "hf:a/b::FILE=c", "\"::file=\" is missing" },
		{ "hf:::file=c", NO_REPO },
		{ "hf:a::file=c", NO_REPO },
		{ "hf:a/b/c::file=c", NO_REPO },
		{ "hf:a/..::file=c", NO_REPO },
		{ "hf:-a/b::file=c", NO_REPO },
		{ "hf:a/b%2f::file=c", NO_REPO },
		{ "hf:" A64 "/" A64 "::file=c", NO_REPO },
		{ "hf:a/b@::file=c", NO_REVISION },
		{ "hf:a/b@..::file=c", NO_REVISION },
		{ "hf:a/b@a//b::file=c", NO_REVISION },
		{ "hf:a/b@a/::file=c", NO_REVISION },
		{ "hf:a/b@/a::file=c", NO_REVISION },
		{ "hf:a/b@-a::file=c", NO_REVISION },
		{ "hf:a/b@a@b::file=c", NO_REVISION },
		{ "hf:a/b@" A64 A64 "a::file=c", NO_REVISION },
		{ "hf:a/b::file=", LEAVES },
		{ "hf:a/b::file=/c", LEAVES },
		{ "hf:a/b::file=..", LEAVES },
		{ "hf:a/b::file=c/../../d", LEAVES },
		{ "hf:a/b::file=./c", LEAVES },
		{ "hf:a/b::file=c/", LEAVES },
		{ "hf:a/b::file=c//d", LEAVES },
		{ "hf:a/b::file=-c", "its path has a part that begins with '-', as options do" },
		{ "hf:a/b::file=c./d", BLANK },
		{ "hf:a/b::file=c ", BLANK },
		{ "hf:a/b::file= c", BLANK },
		{ "hf:a/b::file=c\\d",
		  "its path has a backslash; parts of a path are separated by '/'" },
		{ "hf:a/b::file=%2e%2E/d",
		  "its path has an encoded character; nothing is decoded, write it as it is" },
		{ "hf:a/b::file=" A64 A64 A64 A64,
		  "its path has a part of more than 255 bytes, which no disk takes" },
		{ "file:", "its path is not absolute; begin it with '/'" },
		{ "file:x", "its path is not absolute; begin it with '/'" },
		{ "file:~/x", "its path is not absolute; begin it with '/'" },
		{ "file:/", MOVES },
		{ "file://x", MOVES },
		{ "file:/x/../y", MOVES },
		{ "file:/x/.", MOVES },
		{ "file:/x/", MOVES },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_model_ref ref = { .kind = 7 };
		struct pc_error err = PC_ERROR_INIT;
		char expected[1024];

		snprintf(expected, sizeof(expected), " is no reference to a model: %s" CURE,
			 cases[i].reason);
		assert_int_equal(pc_model_ref_parse(cases[i].text, &ref, &err),
				 PC_E_INVALID_ARGUMENT);
		assert_non_null(strstr(err.message, " is no"));
		assert_string_equal(strstr(err.message, " is no"), expected);
		assert_int_equal(ref.kind, 7);
	}
	assert_int_equal(pc_model_ref_parse(NULL, NULL, NULL), PC_E_INVALID_ARGUMENT);
}

/* What is quoted of it shows, whatever it was. */
static void what_does_not_show_is_pictured(void **state)
{
	static const struct {
		const char *bytes;
		const char *reason;
	} cases[] = {
		{ "\x01", "U+0001" },
		{ "\x1b[2J", "U+001B" },
		{ "\x7f", "U+007F" },
		{ "\xc2\x85", "U+0085" },
		{ "\xe2\x80\xae", "U+202E" },
		{ "\xe2\x81\xa6", "U+2066" },
		{ "\xe2\x80\x8b", "U+200B" },
		{ "\xef\xbb\xbf", "U+FEFF" },
		{ "\xf3\xa0\x81\x81", "U+E0041" },
		{ "\xc0\xae", "is not UTF-8" },
		{ "\xed\xa0\x80", "is not UTF-8" },
		{ "\xff", "is not UTF-8" },
		{ "\xe2\x80", "is not UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		static const char *const forms[] = { "hf:a/b::file=x%sy", "file:/x%sy" };

		for (size_t form = 0; form < PC_ARRAY_LEN(forms); form++) {
			struct pc_error err = PC_ERROR_INIT;
			struct pc_model_ref ref;
			char text[64];

			snprintf(text, sizeof(text), forms[form], cases[i].bytes);
			assert_int_equal(pc_model_ref_parse(text, &ref, &err),
					 PC_E_INVALID_ARGUMENT);
			assert_non_null(strstr(err.message, cases[i].reason));
			assert_null(strstr(err.message, cases[i].bytes));
			assert_non_null(strstr(err.message, "x?"));
		}
	}
}

static void ids(void **state)
{
	static const char *const good[] = { "a", "a.b_c-d", "org/name", "0/1", "a.", "a..b" };
	static const char *const bad[] = { "",	   ".a",  "-a",	 "a/",	      "/a",	  "a/b/c",
					   "a/.b", "a b", "a:b", "a\xc3\xa9", A64 A64 "a" };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(good); i++)
		assert_int_equal(pc_model_id_check(good[i], NULL), 0);
	assert_int_equal(pc_model_id_check(A64 A64, NULL), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(bad); i++)
		assert_int_equal(pc_model_id_check(bad[i], NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_model_id_check(NULL, NULL), PC_E_INVALID_ARGUMENT);
	pc_model_id_check("../x", &err);
	assert_string_equal(err.message,
			    "\"../x\" is no id of a model; one has letters, digits, '.', '_' and "
			    "'-', at most one '/', begins with a letter or digit and has at most "
			    "128 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_references_apart),
		cmocka_unit_test(refuses_with_a_reason),
		cmocka_unit_test(what_does_not_show_is_pictured),
		cmocka_unit_test(ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
