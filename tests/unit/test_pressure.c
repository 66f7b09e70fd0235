/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/memory/pressure.c: which of several files is believed, what counts as no
 * pressure information, and what becomes of files that the kernel would not write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <poolcore/memory.h>

#include "tests/unit/tree.h"

#define MACHINE "/proc/pressure/memory"
#define V2_MOUNT "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"

/* As the kernel writes it. */
static void put_pressure(const char *path, const char *some, const char *full)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "some avg10=%s avg60=0.17 avg300=1.11 total=58761459\n"
		 "full avg10=%s avg60=0.00 avg300=0.13 total=11761459\n",
		 some, full);
	put(path, text);
}

static void put_group(const char *cgroup, const char *mountinfo)
{
	put("/proc/self/cgroup", cgroup);
	put("/proc/self/mountinfo", mountinfo);
}

static struct pc_memory_pressure read_or_fail(void)
{
	struct pc_memory_pressure pressure;
	struct pc_error err = PC_ERROR_INIT;

	memset(&pressure, 0x77, sizeof(pressure));
	if (pc_memory_pressure_read(tree, &pressure, &err))
		fail_msg("%s", err.message);
	return pressure;
}

static void expect_stall(const struct pc_memory_stall *stall, uint32_t avg10_bp, const char *file)
{
	assert_string_equal(stall->file, file);
	assert_int_equal(stall->avg10_bp, avg10_bp);
}

static void expect_none(void)
{
	static const struct pc_memory_stall zero;
	struct pc_memory_pressure pressure = read_or_fail();

	assert_false(pressure.available);
	assert_memory_equal(&pressure.some, &zero, sizeof(zero));
	assert_memory_equal(&pressure.full, &zero, sizeof(zero));
}

/* Reading must fail, say so, and leave the result alone. */
static void expect_failure(const char *file, const char *key)
{
	struct pc_memory_pressure pressure, before;
	struct pc_error err = PC_ERROR_INIT;
	char message[256], full[128];

	memset(&before, 0x77, sizeof(before));
	memset(&pressure, 0x77, sizeof(pressure));
	snprintf(full, sizeof(full), "%s%s", tree, file);
	snprintf(message, sizeof(message), "%s: no line '%s avg10=N.NN ... total=N'", full, key);
	assert_int_equal(pc_memory_pressure_read(tree, &pressure, &err), PC_E_IO);
	assert_string_equal(err.message, message);
	assert_string_equal(pc_error_detail_get(&err, "file"), full);
	assert_string_equal(pc_error_detail_get(&err, "key"), key);
	assert_memory_equal(&pressure, &before, sizeof(before));
	assert_int_equal(pc_memory_pressure_read(tree, &pressure, NULL), PC_E_IO);
}

/* ---- which file ---- */

static void the_machine_alone_is_read(void **state)
{
	(void)state;
	put_pressure(MACHINE, "12.34", "5.06");

	struct pc_memory_pressure pressure = read_or_fail();

	assert_true(pressure.available);
	expect_stall(&pressure.some, 1234, MACHINE);
	expect_stall(&pressure.full, 506, MACHINE);
	assert_true(pressure.some.total_us == 58761459);
	assert_true(pressure.full.total_us == 11761459);
}

static void the_highest_of_all_files_counts(void **state)
{
	/* Own group, its parent, the top, the machine; then who wins. */
	static const struct {
		const char *some[4], *full[4];
		unsigned some_at, full_at;
	} rows[] = {
		{ { "3.00", "2.00", "1.00", "0.50" }, { "1.00", "0.50", "0.00", "0.00" }, 0, 0 },
		{ { "1.00", "2.00", "3.00", "0.50" }, { "0.10", "0.20", "0.30", "0.40" }, 2, 3 },
		{ { "1.00", "2.00", "1.00", "0.50" }, { "9.99", "0.20", "10.00", "0.40" }, 1, 2 },
		{ { "0.00", "0.00", "0.00", "100.00" }, { "0.00", "0.01", "0.00", "0.00" }, 3, 1 },
		/* Of equal ones the nearest. */
		{ { "5.00", "5.00", "5.00", "5.00" }, { "0.00", "0.00", "0.00", "0.00" }, 0, 0 },
		{ { "0.00", "5.00", "5.00", "5.00" }, { "0.00", "0.00", "2.00", "2.00" }, 1, 2 },
	};
	static const char *const files[] = {
		"/sys/fs/cgroup/user.slice/pool.service/memory.pressure",
		"/sys/fs/cgroup/user.slice/memory.pressure",
		"/sys/fs/cgroup/memory.pressure",
		MACHINE,
	};

	(void)state;
	put_group("0::/user.slice/pool.service\n", V2_MOUNT);
	put_pressure("/sys/fs/cgroup/other.slice/memory.pressure", "99.00", "99.00");
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		for (size_t at = 0; at < PC_ARRAY_LEN(files); at++)
			put_pressure(files[at], rows[i].some[at], rows[i].full[at]);

		struct pc_memory_pressure pressure = read_or_fail();

		assert_string_equal(pressure.some.file, files[rows[i].some_at]);
		assert_string_equal(pressure.full.file, files[rows[i].full_at]);
	}
}

static void a_group_without_a_file_leaves_the_others(void **state)
{
	(void)state;
	put_group("0::/a/b\n", V2_MOUNT);
	put_pressure("/sys/fs/cgroup/a/memory.pressure", "7.00", "0.00");

	struct pc_memory_pressure pressure = read_or_fail();

	assert_true(pressure.available);
	expect_stall(&pressure.some, 700, "/sys/fs/cgroup/a/memory.pressure");
	/* Nothing stalled fully: the file that says so is still named. */
	expect_stall(&pressure.full, 0, "/sys/fs/cgroup/a/memory.pressure");
}

static void groups_of_version_1_are_not_asked(void **state)
{
	(void)state;
	put_group("4:memory:/app\n", V1_MOUNT);
	put("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1000\n");
	put_pressure("/sys/fs/cgroup/memory/app/memory.pressure", "50.00", "50.00");
	expect_none();
}

static void long_files_are_named_in_part(void **state)
{
	char cgroup[600] = "0::", path[700] = "/sys/fs/cgroup";

	(void)state;
	for (int i = 0; i < 4; i++) {
		char part[128];

		snprintf(part, sizeof(part), "/%0100d", i);
		strcat(cgroup, part);
		strcat(path, part);
	}
	strcat(cgroup, "\n");
	strcat(path, "/memory.pressure");
	put_group(cgroup, V2_MOUNT);
	put_pressure(path, "1.00", "0.00");

	struct pc_memory_pressure pressure = read_or_fail();

	assert_int_equal(pressure.some.avg10_bp, 100);
	assert_int_equal(strlen(pressure.some.file), sizeof(pressure.some.file) - 1);
	assert_memory_equal(pressure.some.file, path, sizeof(pressure.some.file) - 1);
}

/* ---- no information ---- */

static void none_is_no_error(void **state)
{
	(void)state;
	expect_none();
	put_group("0::/app\n", V2_MOUNT);
	expect_none();
	/* Masked with /dev/null, and with a folder, which opens but cannot be read. */
	put(MACHINE, "");
	expect_none();
	put("/sys/fs/cgroup/app/memory.pressure/x", "");
	expect_none();
}

static void a_file_in_the_way_is_no_error(void **state)
{
	(void)state;
	put("/proc/pressure", "not a folder");
	expect_none();
}

static void bad_arguments(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_memory_pressure_read(tree, NULL, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a result is needed");
}

/* A lack of descriptors is ours, and must not look like a machine at ease. */
static void a_lack_of_descriptors_is_an_error(void **state)
{
	struct pc_memory_pressure pressure = { .available = false };
	struct pc_error err = PC_ERROR_INIT;
	struct rlimit before, none;

	(void)state;
	put_pressure(MACHINE, "12.34", "5.06");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	int rc = pc_memory_pressure_read(tree, &pressure, &err);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(rc, PC_E_IO);
	assert_int_equal(err.sys_errno, EMFILE);
	assert_non_null(strstr(pc_error_detail_get(&err, "file"), MACHINE));
	assert_false(pressure.available);
}

/* ---- foreign bytes ---- */

static void numbers_are_read_strictly(void **state)
{
	static const struct {
		const char *avg10, *total;
		bool good;
	} rows[] = {
		{ "0.00", "0", true },
		{ "100.00", "18446744073709551615", true },
		{ "100.01", "0", false },
		{ "101.00", "0", false },
		{ "99999999999999999999.00", "0", false },
		{ "18446744073709551615.00", "0", false },
		{ "-1.00", "0", false },
		{ "+1.00", "0", false },
		{ "1", "0", false },
		{ "1.", "0", false },
		{ "1.2", "0", false },
		{ "1.234", "0", false },
		{ "1.2x", "0", false },
		{ ".50", "0", false },
		{ "1.-1", "0", false },
		{ "1,50", "0", false },
		{ "nan", "0", false },
		{ "0x1.00", "0", false },
		{ "", "0", false },
		{ "1.00", "", false },
		{ "1.00", "-5", false },
		{ "1.00", "18446744073709551616", false },
		{ "1.00", "5us", false },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		for (int full = 0; full < 2; full++) {
			char text[256];

			snprintf(text, sizeof(text),
				 "some avg10=%s avg60=0.00 avg300=0.00 total=%s\n"
				 "full avg10=%s avg60=0.00 avg300=0.00 total=%s\n",
				 full ? "0.00" : rows[i].avg10, full ? "0" : rows[i].total,
				 full ? rows[i].avg10 : "0.00", full ? rows[i].total : "0");
			put(MACHINE, text);
			if (rows[i].good)
				assert_true(read_or_fail().available);
			else
				expect_failure(MACHINE, full ? "full" : "some");
		}
	}
}

static void lines_may_be_missing_or_more(void **state)
{
	static const struct {
		const char *text, *missing; /* or NULL: it is read */
	} rows[] = {
		{ "some avg10=1.00 total=5\n", "full" },
		{ "full avg10=1.00 total=5\n", "some" },
		{ "\n", "some" },
		{ "some\nfull\n", "some" },
		{ "some avg60=1.00 total=5\nfull avg10=1.00 total=5\n", "some" },
		{ "some avg10=1.00\nfull avg10=1.00 total=5\n", "some" },
		{ "something avg10=1.00 total=5\nfull avg10=1.00 total=5\n", "some" },
		{ " some avg10=1.00 total=5\nfull avg10=1.00 total=5\n", "some" },
		{ "SOME avg10=1.00 total=5\nfull avg10=1.00 total=5\n", "some" },
		{ "full avg10=0.00 total=5\nsome avg10=1.00 total=5\n", NULL },
		{ "some total=5 avg10=1.00\nfull total=5 avg10=0.00", NULL },
		{ "none avg10=9.00 total=5\nsome avg10=1.00 new=x total=5\n\n"
		  "full avg10=0.00 total=5 avg900=\nmore\n",
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		put(MACHINE, rows[i].text);
		if (rows[i].missing) {
			expect_failure(MACHINE, rows[i].missing);
			continue;
		}

		struct pc_memory_pressure pressure = read_or_fail();

		expect_stall(&pressure.some, 100, MACHINE);
		expect_stall(&pressure.full, 0, MACHINE);
		assert_true(pressure.some.total_us == 5);
	}
}

/* One bad file is told, with its own name, however many others are good or bad as well. */
static void the_first_bad_file_is_named(void **state)
{
	(void)state;
	put_group("0::/a/b\n", V2_MOUNT);
	put_pressure("/sys/fs/cgroup/a/b/memory.pressure", "1.00", "0.00");
	put("/sys/fs/cgroup/a/memory.pressure", "some\n");
	put("/sys/fs/cgroup/memory.pressure", "some avg10=1.00 total=5\n");
	put_pressure(MACHINE, "1.00", "0.00");
	expect_failure("/sys/fs/cgroup/a/memory.pressure", "some");
}

/* A cut total is still a number: a line can be read some bytes before it ends. */
static void files_cut_anywhere_are_survived(void **state)
{
	static const char text[] = "some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\n"
				   "full avg10=0.07 avg60=0.00 avg300=0.13 total=11761459\n";
	size_t some_readable = (size_t)(strstr(text, "total=5") - text) + strlen("total=5");
	size_t full_readable = (size_t)(strstr(text, "total=1") - text) + strlen("total=1");

	(void)state;
	for (size_t length = 0; length <= strlen(text); length++) {
		put_bytes(MACHINE, text, length);
		if (length == 0)
			expect_none();
		else if (length < some_readable)
			expect_failure(MACHINE, "some");
		else if (length < full_readable)
			expect_failure(MACHINE, "full");
		else
			assert_int_equal(read_or_fail().full.avg10_bp, 7);
	}
}

static void junk_is_refused(void **state)
{
	static char junk[40000];
	uint32_t random = 1;

	(void)state;
	for (int round = 0; round < 200; round++) {
		size_t length = 1 + (size_t)round * (sizeof(junk) - 1) / 199;

		for (size_t i = 0; i < length; i++) {
			random = random * 1664525 + 1013904223;
			junk[i] = (char)(random >> 24);
		}
		/* A line that begins well. */
		if (length > 20)
			memcpy(junk + length / 2, "\nsome avg10=", 12);
		put_bytes(MACHINE, junk, length);
		expect_failure(MACHINE, "some");
	}
	/* One line that is longer than any buffer is not nothing. */
	memset(junk, 'x', sizeof(junk));
	put_bytes(MACHINE, junk, sizeof(junk));
	expect_failure(MACHINE, "some");
}

static void this_machine_can_be_read(void **state)
{
	struct pc_memory_pressure pressure;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	if (pc_memory_pressure_read(NULL, &pressure, &err))
		fail_msg("%s", err.message);
	assert_true(pressure.available == (pressure.some.file[0] != '\0'));
	assert_true(pressure.available == (pressure.full.file[0] != '\0'));
	assert_in_range(pressure.some.avg10_bp, 0, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_TREE(the_machine_alone_is_read),
		IN_TREE(the_highest_of_all_files_counts),
		IN_TREE(a_group_without_a_file_leaves_the_others),
		IN_TREE(groups_of_version_1_are_not_asked),
		IN_TREE(long_files_are_named_in_part),
		IN_TREE(none_is_no_error),
		IN_TREE(a_file_in_the_way_is_no_error),
		IN_TREE(bad_arguments),
		IN_TREE(a_lack_of_descriptors_is_an_error),
		IN_TREE(numbers_are_read_strictly),
		IN_TREE(lines_may_be_missing_or_more),
		IN_TREE(the_first_bad_file_is_named),
		IN_TREE(files_cut_anywhere_are_survived),
		IN_TREE(junk_is_refused),
		cmocka_unit_test(this_machine_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
