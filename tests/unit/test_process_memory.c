/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/memory/process_memory.c: the four lines of /proc/PID/status, in trees of the
 * test's own and of real processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <poolcore/memory.h>

#include "tests/unit/tree.h"

#define MIB (UINT64_C(1) << 20)

static const char *const keys[] = { "RssAnon", "RssFile", "RssShmem", "VmSwap" };

/* As the kernel writes them, with lines before, between and after. */
static const char status[] = "Name:\tRssAnon: 9 kB\nUmask:\t0022\nState:\tS (sleeping)\n"
			     "VmRSS:\t    4628 kB\nRssAnon:\t    1024 kB\nRssFile:\t    2048 kB\n"
			     "RssShmem:\t       4 kB\nVmData:\t     360 kB\nVmSwap:\t       8 kB\n"
			     "HugetlbPages:\t       0 kB\nThreads:\t1\n";

static void expect_failure(pid_t pid, const char *path, const char *message_tail, const char *key)
{
	struct pc_memory_process process = { .rss_anon_bytes = 77, .swap_bytes = 78 };
	struct pc_error err = PC_ERROR_INIT;
	char message[256], file[128];

	snprintf(file, sizeof(file), "%s%s", tree, path);
	snprintf(message, sizeof(message), "%s: %s", file, message_tail);
	assert_int_equal(pc_memory_process_read(tree, pid, &process, &err), PC_E_IO);
	assert_string_equal(err.message, message);
	assert_string_equal(pc_error_detail_get(&err, "file"), file);
	if (key)
		assert_string_equal(pc_error_detail_get(&err, "key"), key);
	assert_true(process.rss_anon_bytes == 77 && process.swap_bytes == 78);
	assert_int_equal(pc_memory_process_read(tree, pid, &process, NULL), PC_E_IO);
}

static void expect_missing(const char *key)
{
	char tail[64];

	snprintf(tail, sizeof(tail), "no line '%s: N kB'", key);
	expect_failure(7, "/proc/7/status", tail, key);
}

static struct pc_memory_process read_or_fail(const char *root, pid_t pid)
{
	struct pc_memory_process process;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_memory_process_read(root, pid, &process, &err))
		fail_msg("%s", err.message);
	return process;
}

/* ---- trees ---- */

static void the_four_lines_are_read(void **state)
{
	static const char *const paths[] = { "/proc/self/status", "/proc/7/status" };
	static const pid_t pids[] = { 0, 7 };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(paths); i++) {
		put(paths[i], status);

		struct pc_memory_process process = read_or_fail(tree, pids[i]);

		assert_true(process.rss_anon_bytes == MIB);
		assert_true(process.rss_file_bytes == 2 * MIB);
		assert_true(process.rss_shmem_bytes == 4096);
		assert_true(process.swap_bytes == 8192);
	}
}

static void a_missing_file_is_an_error(void **state)
{
	struct pc_memory_process process;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	expect_failure(7, "/proc/7/status", "No such file or directory", NULL);
	expect_failure(0, "/proc/self/status", "No such file or directory", NULL);
	pc_memory_process_read(tree, 7, &process, &err);
	assert_int_equal(err.sys_errno, ENOENT);
	/* It opens, but reading fails. */
	put("/proc/7/status/x", "");
	expect_failure(7, "/proc/7/status", "Is a directory", NULL);
}

static void each_missing_line_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(keys); i++) {
		char text[sizeof(status)], wanted[16];

		memcpy(text, status, sizeof(status));
		snprintf(wanted, sizeof(wanted), "\n%s:", keys[i]);
		strstr(text, wanted)[1] = 'x';
		put("/proc/7/status", text);
		expect_missing(keys[i]);
	}
	put("/proc/7/status", "");
	expect_missing("RssAnon");
}

static void numbers_are_read_strictly(void **state)
{
	static const struct {
		const char *value;
		uint64_t bytes; /* UINT64_MAX: refused */
	} rows[] = {
		{ "\t       0 kB", 0 },
		{ "5 kB", 5 * 1024 },
		{ "\t18014398509481983 kB", UINT64_MAX - 1023 }, /* 2^54 - 1 */
		{ "\t18014398509481984 kB", UINT64_MAX },
		{ "\t18446744073709551615 kB", UINT64_MAX },
		{ "\t99999999999999999999999 kB", UINT64_MAX },
		{ "\t-5 kB", UINT64_MAX },
		{ "\t+5 kB", UINT64_MAX },
		{ "\t5", UINT64_MAX },
		{ "\t5 MB", UINT64_MAX },
		{ "\t5kB", UINT64_MAX },
		{ "\t5  kB", UINT64_MAX },
		{ "\t5 kB ", UINT64_MAX },
		{ "\t5 kBx", UINT64_MAX },
		{ "\t5 6 kB", UINT64_MAX },
		{ "\t0x5 kB", UINT64_MAX },
		{ "\t kB", UINT64_MAX },
		{ "", UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(rows); i++) {
		char text[256];

		snprintf(text, sizeof(text),
			 "RssAnon:\t1 kB\nRssFile:\t2 kB\nRssShmem:\t3 kB\nVmSwap:%s\n",
			 rows[i].value);
		put("/proc/7/status", text);
		if (rows[i].bytes == UINT64_MAX)
			expect_missing("VmSwap");
		else
			assert_true(read_or_fail(tree, 7).swap_bytes == rows[i].bytes);
	}
}

static void files_cut_anywhere_are_survived(void **state)
{
	(void)state;
	for (size_t length = 0; length < sizeof(status); length++) {
		const char *missing = NULL;

		/* Whole is a line with its unit, even without its newline. */
		for (size_t i = 0; i < PC_ARRAY_LEN(keys) && !missing; i++) {
			char wanted[16];

			snprintf(wanted, sizeof(wanted), "\n%s:", keys[i]);

			const char *line = strstr(status, wanted) + 1;

			if (line + strcspn(line, "\n") > status + length)
				missing = keys[i];
		}
		put_bytes("/proc/7/status", status, length);
		if (missing)
			expect_missing(missing);
		else
			assert_true(read_or_fail(tree, 7).swap_bytes == 8192);
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
		if (length > 20)
			memcpy(junk + length / 2, "\nRssAnon:\t", 10);
		put_bytes("/proc/7/status", junk, length);
		expect_missing("RssAnon");
	}
}

static void bad_arguments(void **state)
{
	struct pc_memory_process process;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_memory_process_read(tree, -1, &process, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a process id (0: our own) and a result are needed");
	assert_int_equal(pc_memory_process_read(tree, 0, NULL, NULL), PC_E_INVALID_ARGUMENT);
}

/* ---- real processes ---- */

static uint64_t held(const struct pc_memory_process *process)
{
	return process->rss_anon_bytes + process->swap_bytes;
}

/* What is filled counts as ours; what is mapped from a file does not, but is seen. */
static void a_load_is_the_difference(void **state)
{
	const size_t size = 32 * MIB;
	struct pc_memory_process before, filled, mapped;
	char path[128];

	(void)state;
	before = read_or_fail(NULL, 0);

	char *ours = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(ours != MAP_FAILED);
	memset(ours, 1, size);
	filled = read_or_fail(NULL, getpid());
	assert_true(held(&filled) >= held(&before) + size);

	put("/weights", "");
	snprintf(path, sizeof(path), "%s/weights", tree);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	for (size_t done = 0; done < size; done += MIB)
		assert_int_equal(write(fd, ours, MIB), MIB);

	const char *weights = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);

	assert_true(weights != MAP_FAILED);
	mapped = read_or_fail("", 0);
	/* On a tmpfs they count as shared memory. */
	assert_true(mapped.rss_file_bytes + mapped.rss_shmem_bytes >=
		    filled.rss_file_bytes + filled.rss_shmem_bytes + size);
	assert_true(held(&mapped) < held(&filled) + size / 2);
	munmap((void *)(uintptr_t)weights, size);
	munmap(ours, size);
	close(fd);
}

static void ended_processes_are_errors(void **state)
{
	struct pc_memory_process process;
	struct pc_error err = PC_ERROR_INIT;
	siginfo_t info;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	/* It has ended and is not collected: its file is there, without the lines. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(pc_memory_process_read(NULL, pid, &process, &err), PC_E_IO);
	assert_string_equal(pc_error_detail_get(&err, "key"), "RssAnon");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	pc_error_clear(&err);
	assert_int_equal(pc_memory_process_read(NULL, pid, &process, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_TREE(the_four_lines_are_read),
		IN_TREE(a_missing_file_is_an_error),
		IN_TREE(each_missing_line_is_named),
		IN_TREE(numbers_are_read_strictly),
		IN_TREE(files_cut_anywhere_are_survived),
		IN_TREE(junk_is_refused),
		IN_TREE(bad_arguments),
		IN_TREE(a_load_is_the_difference),
		cmocka_unit_test(ended_processes_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
