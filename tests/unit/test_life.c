/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/lifecycle/life.c: a worker's files are made and removed.
 *
 *	test_life POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/life_fixture.h"

/* ---- the claim ---- */

static void a_claim_is_made_once(void **state)
{
	struct watched *w = watched_create();
	struct pc_error err = PC_ERROR_INIT;
	struct stat st;

	(void)state;
	assert_int_equal(pc_stub_claim(folder, w->id, &err), 0);
	assert_int_equal(stat(path_of(w, ".claim"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(stat(path_of(w, ".log"), &st), 0);
	assert_int_equal(st.st_mode, S_IFIFO | 0600);
	assert_int_equal(pc_stub_claim(folder, w->id, &err), PC_E_ALREADY_EXISTS);
	assert_contains(err.message, "cannot make '");
	/* Not undone by the one that came second. */
	assert_true(file_exists(w, ".claim"));
	assert_true(file_exists(w, ".log"));
	assert_int_equal(unlink(path_of(w, ".log")), 0);
	assert_int_equal(pc_stub_claim(folder, w->id, NULL), PC_E_ALREADY_EXISTS);
	assert_false(file_exists(w, ".log"));
	forget(w);
}

static void no_directory(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char long_path[PATH_MAX + 1];

	(void)state;
	assert_int_equal(pc_stub_claim("/nowhere", "w", &err), PC_E_IO);
	assert_string_equal(err.message, "cannot make '/nowhere/w.log': No such file or directory");
	assert_int_equal(pc_stub_claim(NULL, "w", NULL), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_stub_claim(folder, "a/b", &err), PC_E_INVALID_ARGUMENT);
	assert_contains(err.message, "'a/b' is no worker id");
	memset(long_path, 'x', PATH_MAX);
	long_path[PATH_MAX] = '\0';
	assert_int_equal(pc_stub_claim(long_path, "w", NULL), PC_E_INVALID_ARGUMENT);
	pc_error_clear(&err);
	assert_int_equal(pc_stub_sweep("/nowhere", NULL, NULL, NULL), PC_E_INVALID_ARGUMENT);
}

/* As nobody, if we are root, whom no mode stops. */
static void a_read_only_directory(void **state)
{
	struct watched *w = watched_create();
	struct pc_error err = PC_ERROR_INIT;
	enum pc_life life;

	(void)state;
	assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
	assert_int_equal(chmod(folder, 0555), 0);
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(pc_stub_claim(folder, "other", &err), PC_E_IO);
	assert_int_equal(err.sys_errno, EACCES);
	pc_error_clear(&err);
	/* The claim cannot be taken, so there is no verdict. */
	assert_int_equal(pc_stub_recover(folder, w->id, token, &life, &w->stub, &w->end, &err),
			 PC_E_IO);
	assert_contains(err.message, "cannot take the claim '");
	pc_error_clear(&err);
	assert_int_equal(pc_stub_forget(folder, w->id, &err), PC_E_IO);
	assert_contains(err.message, "cannot remove '");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(folder, 0700), 0);
	forget(w);
}

/* ---- removal ---- */

static void forget_is_idempotent(void **state)
{
	struct watched *w = start("exit 0");

	(void)state;
	settle(w);
	write_bytes(path_of(w, ".status.new"), "x", 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pc_stub_forget(folder, w->id, NULL), 0);
		assert_false(file_exists(w, ".claim"));
		assert_false(file_exists(w, ".status"));
		assert_false(file_exists(w, ".status.new"));
		assert_false(file_exists(w, ".log"));
	}
	assert_int_equal(pc_stub_forget(folder, "..", NULL), PC_E_INVALID_ARGUMENT);
	forget(w);
}

static bool is_kept(void *ctx, const char *worker_id)
{
	(*(unsigned *)ctx)++;
	return strcmp(worker_id, "kept") == 0;
}

static void sweep_removes_what_nobody_knows(void **state)
{
	static const struct {
		const char *name;
		bool stays;
	} files[] = {
		{ "kept.claim", true },	 { "kept.status", true },
		{ "kept.log", true },	 { "kept.status.new", true },
		{ "gone.claim", false }, { "gone.status", false },
		{ "gone.log", false },	 { "gone.status.new", false },
		{ "a.b.claim", false },	 { "notes.txt", true },
		{ ".claim", true },	 { ".hidden.claim", true },
		{ "claim", true },	 { "kept.claim.old", true },
	};
	struct pc_error err = PC_ERROR_INIT;
	struct stat st;
	unsigned asked = 0;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(files); i++)
		write_file(files[i].name, "x");
	assert_int_equal(pc_stub_sweep(folder, is_kept, &asked, &err), 0);
	assert_int_equal(asked, 9);
	for (size_t i = 0; i < PC_ARRAY_LEN(files); i++) {
		assert_int_equal(stat(in_folder(files[i].name), &st) == 0, files[i].stays);
		unlink(in_folder(files[i].name));
	}
	assert_int_equal(mkdir(in_folder("dir.claim"), 0700), 0);
	assert_int_equal(pc_stub_sweep(folder, is_kept, &asked, &err), PC_E_IO);
	assert_contains(err.message, "dir.claim'");
	assert_int_equal(rmdir(in_folder("dir.claim")), 0);
	pc_error_clear(&err);
	assert_int_equal(pc_stub_sweep("/nowhere", is_kept, &asked, &err), PC_E_IO);
	assert_contains(err.message, "cannot read the life directory '/nowhere'");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_claim_is_made_once),
		cmocka_unit_test(no_directory),
		cmocka_unit_test(a_read_only_directory),
		cmocka_unit_test(forget_is_idempotent),
		cmocka_unit_test(sweep_removes_what_nobody_knows),
	};

	if (argc != 2) {
		fputs("usage: test_life POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
