/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/registry/sqlite_aside.c: a damaged file keeps every byte, whatever stands in
 * the way of taking it out of the way. rename(2) is wrapped, so that the disk can be full at any of
 * its calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/registry_fixture.h"

static unsigned renames, full_at; /* 0: never */

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

int __wrap_rename(const char *from, const char *to)
{
	if (++renames == full_at) {
		errno = ENOSPC;
		return -1;
	}
	return __real_rename(from, to);
}

static uint64_t stopped_clock(void *ctx)
{
	return *(const uint64_t *)ctx;
}

static uint64_t now = 1000 * PC_NS_PER_SEC;

static int setup(void **state)
{
	full_at = 0;
	pc_clock_set_source(stopped_clock, &now);
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	return folder_setup(state);
}

static void part(char path[400], const char *stem, const char *suffix)
{
	assert_in_range(snprintf(path, 400, "%s%s", stem, suffix), 1, 399);
}

static void expect_bytes(const char *stem, const char *suffix, const char *expected)
{
	char path[400], bytes[64];
	size_t length;

	part(path, stem, suffix);
	length = read_whole(path, bytes, sizeof(bytes) - 1);
	bytes[length] = '\0';
	assert_string_equal(bytes, expected);
}

static void put(const char *stem, const char *suffix, const char *text)
{
	char path[400];

	part(path, stem, suffix);
	write_whole(path, text, strlen(text));
}

static unsigned count_files(const char *pattern)
{
	char path[400];
	glob_t found;
	unsigned count = 0;

	part(path, folder, pattern);
	if (glob(path, 0, NULL, &found) == 0) {
		count = (unsigned)found.gl_pathc;
		globfree(&found);
	}
	return count;
}

static void open_and_close(void)
{
	pc_registry_close(open_sqlite_or_fail());
}

/* With a clock that stands, all of them in one second. */
static void many_in_one_second(void **state)
{
	char kept_as[5][400];

	(void)state;
	for (int i = 0; i < 5; i++) {
		char text[32];

		snprintf(text, sizeof(text), "rubbish %d", i);
		put(db_path, "", text);
		open_and_close();
		part(kept_as[i], logged.kept_as, "");
	}
	for (int i = 0; i < 5; i++) {
		char text[32];

		snprintf(text, sizeof(text), "rubbish %d", i);
		expect_bytes(kept_as[i], "", text);
	}
	assert_int_equal(count_files("/registry.db.corrupt-*"), 5);
}

/* A name is free only if a log and a link of that name are not there either. */
static void occupied_names(void **state)
{
	char first[400], second[400];

	(void)state;
	put(db_path, "", "rubbish");
	open_and_close();
	part(first, logged.kept_as, "");
	assert_int_equal(unlink(first), 0);
	put(first, "-wal", "the log of an earlier one");
	part(second, first, "-2");
	assert_int_equal(symlink("nowhere", second), 0);

	put(db_path, "", "more rubbish");
	put(db_path, "-wal", "its log");
	open_and_close();
	expect_bytes(first, "-wal", "the log of an earlier one");
	expect_bytes(first, "-3", "more rubbish");
	expect_bytes(first, "-3-wal", "its log");
	assert_int_equal(access(first, F_OK), -1);
	assert_int_equal(count_files("/nowhere"), 0);
}

static void no_name_is_left(void **state)
{
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	char stem[400], suffix[16];

	(void)state;
	put(db_path, "", "rubbish");
	open_and_close();
	part(stem, logged.kept_as, "");
	for (int n = 2; n < 1000; n++) {
		snprintf(suffix, sizeof(suffix), "-%d", n);
		put(stem, suffix, "kept");
	}
	put(db_path, "", "too much rubbish");
	assert_int_equal(open_sqlite(&registry, &err), PC_E_IO);
	assert_non_null(strstr(err.message, "is damaged, and so were 999 before it"));
	expect_bytes(db_path, "", "too much rubbish");
	expect_bytes(stem, "-999", "kept");
}

/* The disk is full at each of the renames: everything stays where it was, and it is said. */
static void disk_is_full(void **state)
{
	unsigned refused = 0;

	(void)state;
	for (full_at = 1;; full_at++) {
		struct pc_registry *registry = NULL;
		struct pc_error err = PC_ERROR_INIT;

		put(db_path, "", "rubbish");
		put(db_path, "-wal", "its log");
		put(db_path, "-shm", "its index, which SQLite makes anew from the log");
		renames = 0;
		memset(&logged, 0, sizeof(logged));
		if (open_sqlite(&registry, &err) == 0) {
			assert_true(renames < full_at);
			pc_registry_close(registry);
			break;
		}
		assert_int_equal(err.code, PC_E_IO);
		assert_int_equal(err.sys_errno, ENOSPC);
		assert_non_null(strstr(err.message, "is damaged and cannot be renamed to '"));
		assert_int_equal(logged.count, 0);
		expect_bytes(db_path, "", "rubbish");
		expect_bytes(db_path, "-wal", "its log");
		assert_int_equal(count_files("/registry.db-shm"), 1);
		assert_int_equal(count_files("/*"), 3);
		refused++;
	}
	assert_int_equal(refused, 3);
	assert_int_equal(logged.count, 1);
	expect_bytes(logged.kept_as, "", "rubbish");
	expect_bytes(logged.kept_as, "-wal", "its log");
	assert_int_equal(count_files("/registry.db.corrupt-*-shm"), 1);
}

/* In a child without rights, because root may write everywhere. */
static void expect_io_error_without_rights(mode_t mode, const char *message)
{
	int status;
	pid_t pid;

	if (getuid() == 0)
		assert_int_equal(chown(folder, 65534, 65534) | chown(db_path, 65534, 65534), 0);
	assert_int_equal(chmod(folder, mode), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct pc_registry *registry;
		struct pc_error err = PC_ERROR_INIT;

		if (getuid() == 0 && setuid(65534))
			_exit(1);
		if (open_sqlite(&registry, &err) != PC_E_IO || err.sys_errno != EACCES)
			_exit(2);
		_exit(strstr(err.message, message) && strstr(err.message, "Permission denied") ? 0
											       : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(folder, 0700), 0);
	expect_bytes(db_path, "", "rubbish");
	assert_int_equal(count_files("/*"), 1);
}

static void folders_without_rights(void **state)
{
	(void)state;
	put(db_path, "", "rubbish");
	expect_io_error_without_rights(0500, "is damaged and cannot be set aside as");
	expect_io_error_without_rights(0000, "cannot create the registry");
	expect_io_error_without_rights(0200, "cannot create the registry");
}

#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, folder_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HERE(many_in_one_second), HERE(occupied_names),		HERE(no_name_is_left),
		HERE(disk_is_full),	  HERE(folders_without_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
