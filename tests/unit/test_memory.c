/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/memory/facts.c, limits.c, cgroup.c and procfs.c: what is read out of small
 * trees that look like /proc and /sys/fs/cgroup of machines with version 2, version 1, both and
 * neither.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <poolcore/memory.h>

#include "tests/unit/tree.h"

#define MIB (UINT64_C(1) << 20)

/* 1000 MiB, of which 900 are available. */
static void put_meminfo(void)
{
	put("/proc/meminfo", "MemTotal:        1024000 kB\nMemFree:          500000 kB\n"
			     "MemAvailable:     921600 kB\nBuffers:            1000 kB\n");
}

#define V2_MOUNT "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"

static void put_group(const char *cgroup, const char *mountinfo)
{
	put_meminfo();
	put("/proc/self/cgroup", cgroup);
	put("/proc/self/mountinfo", mountinfo);
}

static void expect(uint64_t total_mib, uint64_t available_mib, const char *limited_by)
{
	struct pc_memory_facts facts;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_memory_facts_read(tree, &facts, &err))
		fail_msg("%s", err.message);
	assert_string_equal(facts.limited_by, limited_by);
	assert_true(facts.physical_bytes == 1000 * MIB);
	if (facts.total_bytes != total_mib * MIB || facts.available_bytes != available_mib * MIB)
		fail_msg("total %lu MiB, available %lu MiB",
			 (unsigned long)(facts.total_bytes / MIB),
			 (unsigned long)(facts.available_bytes / MIB));
}

static void expect_failure(const char *message_tail, const char *key)
{
	struct pc_memory_facts facts = { .total_bytes = 77 };
	struct pc_error err = PC_ERROR_INIT;
	char message[256];

	snprintf(message, sizeof(message), "%s/proc/meminfo: %s", tree, message_tail);
	assert_int_equal(pc_memory_facts_read(tree, &facts, &err), PC_E_IO);
	assert_int_equal(err.code, PC_E_IO);
	assert_string_equal(err.message, message);
	assert_true(facts.total_bytes == 77);
	if (key)
		assert_string_equal(pc_error_detail_get(&err, "key"), key);
	assert_int_equal(pc_memory_facts_read(tree, &facts, NULL), PC_E_IO);
}

/* ---- /proc/meminfo ---- */

static void without_groups_the_machine_is_the_limit(void **state)
{
	(void)state;
	put_meminfo();
	expect(1000, 900, "MemTotal");
	put("/proc/self/cgroup", "");
	put("/proc/self/mountinfo", "");
	expect(1000, 900, "MemTotal");
}

static void a_missing_meminfo_is_an_error(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_memory_facts facts;

	(void)state;
	expect_failure("No such file or directory", NULL);
	pc_memory_facts_read(tree, &facts, &err);
	assert_int_equal(err.sys_errno, 2);
}

static void a_malformed_meminfo_is_an_error(void **state)
{
	static const char *const without_total[] = {
		"",
		"\n\n",
		"MemAvailable: 5 kB\n",
		"MemTotal: kB\nMemAvailable: 5 kB\n",
		"MemTotal: 0 kB\nMemAvailable: 0 kB\n",
		"MemTotal: -5 kB\nMemAvailable: 5 kB\n",
		"MemTotal: 5x kB\nMemAvailable: 5 kB\n",
		"MemTotal: 5 MB\nMemAvailable: 5 kB\n",
		"MemTotal: 5 6 kB\nMemAvailable: 5 kB\n",
		"MemTotalX: 5 kB\nMemAvailable: 5 kB\n",
		"MemTotal: 99999999999999999999 kB\nMemAvailable: 5 kB\n",
		"MemTotal: 18446744073709551615 kB\nMemAvailable: 5 kB\n",
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(without_total); i++) {
		put("/proc/meminfo", without_total[i]);
		expect_failure("no line 'MemTotal: N kB'", "MemTotal");
	}
	put("/proc/meminfo", "MemTotal: 1024 kB\nMemFree: 5 kB\n");
	expect_failure("no line 'MemAvailable: N kB'", "MemAvailable");
}

static void odd_but_readable_meminfos_are_read(void **state)
{
	(void)state;
	put("/proc/meminfo", "MemAvailable:\t1024000 kB\nMemTotal:1024000 kB"); /* no newline */
	expect(1000, 1000, "MemTotal");
	put("/proc/meminfo", "MemAvailable: 9024000 kB\nMemTotal: 1024000 kB\n");
	expect(1000, 1000, "MemTotal"); /* never more available than there is */
	put("/proc/meminfo", "MemAvailable: 0 kB\nMemTotal: 1024000 kB\n");
	expect(1000, 0, "MemTotal");
}

static void overlong_lines_are_skipped(void **state)
{
	static const char tail[] = "\nMemTotal: 1024000 kB\nMemAvailable: 921600 kB\n";
	static char text[100000 + sizeof(tail)];

	(void)state;
	/* Around the buffer's size, and several times as long. */
	for (size_t length = 16380; length < 100000; length += length < 16390 ? 1 : 27000) {
		memset(text, 'x', length);
		strcpy(text + length, tail);
		put("/proc/meminfo", text);
		expect(1000, 900, "MemTotal");
	}
	memset(text, 'x', 50000);
	put_bytes("/proc/meminfo", text, 50000);
	expect_failure("no line 'MemTotal: N kB'", "MemTotal");
	memset(text, '\0', 50000);
	put_bytes("/proc/meminfo", text, 50000);
	expect_failure("no line 'MemTotal: N kB'", "MemTotal");
}

/* ---- version 2 ---- */

static void the_own_group_limits(void **state)
{
	(void)state;
	put_group("0::/app\n", V2_MOUNT);
	put("/sys/fs/cgroup/app/memory.max", "419430400\n"); /* 400 MiB */
	expect(400, 400, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.current", "314572800\n"); /* 300 */
	expect(400, 100, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.stat", "anon 1\ninactive_file 104857600\nactive_file 7\n");
	expect(400, 200, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.stat", "inactive_file 419430400\n"); /* more than is used */
	expect(400, 400, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.stat", "");
	put("/sys/fs/cgroup/app/memory.current", "524288000\n"); /* more than the limit */
	expect(400, 0, "/sys/fs/cgroup/app");
}

static void the_smallest_ancestor_limits(void **state)
{
	(void)state;
	put_group("0::/user.slice/pool.service/inner\n", V2_MOUNT);
	put("/sys/fs/cgroup/user.slice/pool.service/inner/memory.max", "max\n");
	put("/sys/fs/cgroup/user.slice/pool.service/memory.max", "629145600\n"); /* 600 */
	put("/sys/fs/cgroup/user.slice/memory.max", "209715200\n");		 /* 200 */
	expect(200, 200, "/sys/fs/cgroup/user.slice");
	/* The group that limits the total need not be the one with the least room. */
	put("/sys/fs/cgroup/user.slice/pool.service/memory.current", "576716800\n"); /* 550 */
	expect(200, 50, "/sys/fs/cgroup/user.slice");
	put("/sys/fs/cgroup/user.slice/memory.current", "178257920\n"); /* 170 */
	expect(200, 30, "/sys/fs/cgroup/user.slice");
}

static void memory_high_limits_too(void **state)
{
	(void)state;
	put_group("0::/app\n", V2_MOUNT);
	put("/sys/fs/cgroup/app/memory.max", "max\n");
	put("/sys/fs/cgroup/app/memory.high", "314572800\n");
	expect(300, 300, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.max", "209715200\n");
	expect(200, 200, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.high", "max\n");
	expect(200, 200, "/sys/fs/cgroup/app");
}

static void the_mount_point_itself_may_be_a_container(void **state)
{
	(void)state;
	put_group("0::/\n", V2_MOUNT);
	put("/sys/fs/cgroup/memory.max", "524288000\n");
	put("/sys/fs/memory.max", "1048576\n"); /* not a group: above the mount point */
	expect(500, 500, "/sys/fs/cgroup");
}

static void limits_above_the_machine_only_bound_the_room(void **state)
{
	(void)state;
	put_group("0::/app\n", V2_MOUNT);
	put("/sys/fs/cgroup/app/memory.max", "1258291200\n");	  /* 1200 */
	put("/sys/fs/cgroup/app/memory.current", "1153433600\n"); /* 1100 */
	expect(1000, 100, "MemTotal");
}

static void malformed_limits_are_no_limits(void **state)
{
	static const char *const contents[] = {
		"max",
		"max\n",
		"",
		"\n",
		"-1\n",
		"12abc\n",
		"0x10\n",
		"99999999999999999999999\n",
		"18446744073709551615\n",
	};

	(void)state;
	put_group("0::/app\n", V2_MOUNT);
	for (size_t i = 0; i < PC_ARRAY_LEN(contents); i++) {
		put("/sys/fs/cgroup/app/memory.max", contents[i]);
		expect(1000, 900, "MemTotal");
	}
	put("/sys/fs/cgroup/app/memory.max", "0\n"); /* that one is a limit */
	expect(0, 0, "/sys/fs/cgroup/app");
	put("/sys/fs/cgroup/app/memory.max", "104857600"); /* no newline */
	put("/sys/fs/cgroup/app/memory.current", "garbage\n");
	put("/sys/fs/cgroup/app/memory.stat",
	    "inactive_file\ninactive_file x\n\n inactive_file 5\n");
	expect(100, 100, "/sys/fs/cgroup/app");
}

static void a_removed_group_leaves_its_ancestors(void **state)
{
	(void)state;
	put_group("0::/user.slice/gone.scope (deleted)\n", V2_MOUNT);
	put("/sys/fs/cgroup/user.slice/memory.max", "314572800\n");
	expect(300, 300, "/sys/fs/cgroup/user.slice");
}

static void mount_points_with_odd_names_are_understood(void **state)
{
	(void)state;
	put_group("0::/my app: one\n",
		  "31 23 0:28 / /mnt/c\\040g\\134x\\011y rw - cgroup2 cgroup2 rw\n");
	put("/mnt/c g\\x\ty/my app: one/memory.max", "419430400\n");
	expect(400, 400, "/mnt/c g\\x\ty/my app: one");
	/* Escapes that are none are taken as they stand. */
	put_group("0::/\n", "31 23 0:28 / /mnt/a\\04 rw - cgroup2 cgroup2 rw\n");
	put("/mnt/a\\04/memory.max", "209715200\n");
	expect(200, 200, "/mnt/a\\04");
}

static void optional_mount_tags_are_skipped(void **state)
{
	(void)state;
	put_group("0::/app\n",
		  "31 23 0:28 / /cg rw shared:9 master:2 propagate_from:3 - cgroup2 none rw\n");
	put("/cg/app/memory.max", "419430400\n");
	expect(400, 400, "/cg/app");
}

static void a_mount_of_a_part_shows_that_part(void **state)
{
	(void)state;
	put_group("0::/docker/abc/init.scope\n",
		  "31 23 0:28 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	put("/sys/fs/cgroup/memory.max", "524288000\n");
	put("/sys/fs/cgroup/init.scope/memory.max", "419430400\n");
	expect(400, 400, "/sys/fs/cgroup/init.scope");
	/* "/docker/abcdef" is not below "/docker/abc", but nothing else is
	 * mounted: its top counts. */
	put("/proc/self/cgroup", "0::/docker/abcdef\n");
	expect(500, 500, "/sys/fs/cgroup");
}

static void a_group_outside_the_namespace_does_not_climb_out(void **state)
{
	(void)state;
	put_group("0::/../../other\n", V2_MOUNT);
	put("/sys/other/memory.max", "1048576\n");
	put("/sys/fs/other/memory.max", "1048576\n");
	put("/sys/fs/cgroup/memory.max", "524288000\n");
	expect(500, 500, "/sys/fs/cgroup");
	put_group("0::/a/..\n", V2_MOUNT);
	expect(500, 500, "/sys/fs/cgroup");
	put_group("0::/a..b/..c\n", V2_MOUNT); /* these are names */
	put("/sys/fs/cgroup/a..b/..c/memory.max", "419430400\n");
	expect(400, 400, "/sys/fs/cgroup/a..b/..c");
}

static void of_several_mounts_all_that_show_us_count(void **state)
{
	(void)state;
	put_group("0::/a/b\n", "31 23 0:28 /a/b /inner rw - cgroup2 cgroup2 rw\n"
			       "32 23 0:28 /other /strange rw - cgroup2 cgroup2 rw\n"
			       "33 23 0:28 / /outer rw - cgroup2 cgroup2 rw\n");
	put("/inner/memory.max", "max\n");
	put("/strange/memory.max", "1048576\n"); /* not ours */
	put("/outer/a/memory.max", "314572800\n");
	expect(300, 300, "/outer/a");
}

static void long_directories_are_named_in_part(void **state)
{
	char cgroup[600] = "0::", path[700] = "/sys/fs/cgroup";
	struct pc_memory_facts facts;

	(void)state;
	for (int i = 0; i < 4; i++) {
		char part[128];

		snprintf(part, sizeof(part), "/%0100d", i);
		strcat(cgroup, part);
		strcat(path, part);
	}
	strcat(cgroup, "\n");
	put_group(cgroup, V2_MOUNT);
	strcat(path, "/memory.max");
	put(path, "314572800\n");
	assert_int_equal(pc_memory_facts_read(tree, &facts, NULL), 0);
	assert_true(facts.total_bytes == 300 * MIB);
	assert_int_equal(strlen(facts.limited_by), sizeof(facts.limited_by) - 1);
	assert_memory_equal(facts.limited_by, path, sizeof(facts.limited_by) - 1);
}

/* ---- version 1 and both ---- */

static void version_1_limits(void **state)
{
	(void)state;
	put_group("5:cpu,cpuacct:/app\n4:memory:/jobs/app\n1:name=systemd:/x\n", V1_MOUNT);
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "524288000\n");
	put("/sys/fs/cgroup/memory/jobs/app/memory.limit_in_bytes", "9223372036854771712\n");
	expect(500, 500, "/sys/fs/cgroup/memory/jobs");
	put("/sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "419430400\n");
	put("/sys/fs/cgroup/memory/jobs/memory.stat",
	    "inactive_file 209715200\ntotal_inactive_file 104857600\n");
	expect(500, 200, "/sys/fs/cgroup/memory/jobs");
}

static void unlimited_version_1_is_no_limit(void **state)
{
	(void)state;
	put_group("4:memory:/\n", V1_MOUNT);
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n");
	put("/sys/fs/cgroup/memory/memory.stat", "hierarchical_memory_limit 9223372036854771712\n");
	expect(1000, 900, "MemTotal");
}

static void hidden_ancestors_of_version_1_are_heard_of(void **state)
{
	(void)state;
	put_group("4:memory:/docker/abc\n", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw "
					    "- cgroup cgroup rw,memory\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "629145600\n");
	put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
	put("/sys/fs/cgroup/memory/memory.stat", "hierarchical_memory_limit 314572800\n");
	expect(300, 200, "/sys/fs/cgroup/memory");
}

static void groups_above_a_flat_one_do_not_limit(void **state)
{
	(void)state;
	put_group("4:memory:/flat/app\n", V1_MOUNT);
	put("/sys/fs/cgroup/memory/flat/memory.limit_in_bytes", "104857600\n");
	put("/sys/fs/cgroup/memory/flat/app/memory.limit_in_bytes", "524288000\n");
	put("/sys/fs/cgroup/memory/flat/memory.use_hierarchy", "0\n");
	expect(500, 500, "/sys/fs/cgroup/memory/flat/app");
	put("/sys/fs/cgroup/memory/flat/memory.use_hierarchy", "1\n");
	expect(100, 100, "/sys/fs/cgroup/memory/flat");
}

static void a_controller_named_otherwise_is_not_memory(void **state)
{
	(void)state;
	put_group("4:memory2,xmemory:/app\n3:name=memory:/app\n",
		  "35 31 0:32 / /cg rw - cgroup cgroup rw,memory\n");
	put("/cg/app/memory.limit_in_bytes", "104857600\n");
	expect(1000, 900, "MemTotal");
	put_group("4:hugetlb,memory,pids:/app\n",
		  "35 31 0:32 / /cg rw - cgroup cgroup rw,xattr,hugetlb,memory,pids\n");
	expect(100, 100, "/cg/app");
}

static void hybrid_machines_take_the_smaller(void **state)
{
	(void)state;
	put_group("4:memory:/app\n0::/scope\n",
		  "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" V1_MOUNT);
	put("/sys/fs/cgroup/unified/scope/cgroup.procs", "1\n"); /* no memory controller here */
	put("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "419430400\n");
	expect(400, 400, "/sys/fs/cgroup/memory/app");
	put("/sys/fs/cgroup/unified/scope/memory.max", "209715200\n");
	expect(200, 200, "/sys/fs/cgroup/unified/scope");
}

/* ---- nonsense ---- */

static void malformed_proc_files_are_no_error(void **state)
{
	static const char *const groups[] = {
		"",	":",	 "::",	      "0",	  "0:",	       "0::",
		"0::x", "0:x:/", "4:memory:", "4:memory", ":memory:x", "\n\n0\n::/\n",
	};
	static const char *const mounts[] = {
		"",
		"-",
		" - ",
		" - cgroup2 x rw",
		"31 23 0:28 / - cgroup2 cgroup2 rw",
		"31 23 0:28 / /cg rw - cgroup2",
		"31 23 0:28 / /cg rw - cgroup2 x",
		"31 23 0:28 / /cg rw cgroup2 x rw",
		"31 23 0:28 / /cg rw - ext4 x rw",
		"\n\n\\\n\\0\n\\04\n",
	};

	(void)state;
	put("/cg/memory.max", "1048576\n");
	for (size_t i = 0; i < PC_ARRAY_LEN(groups); i++) {
		put_group(groups[i], "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw\n" V1_MOUNT);
		expect(1000, 900, "MemTotal");
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(mounts); i++) {
		put_group("0::/app\n4:memory:/app\n", mounts[i]);
		expect(1000, 900, "MemTotal");
	}
}

static void very_long_paths_are_survived(void **state)
{
	static char cgroup[20000], mountinfo[20000];

	(void)state;
	/* As long as a line may be, longer than a path may be, and just short of that. */
	for (size_t length = 4000; length < 16300; length += length < 4200 ? 13 : 1500) {
		memset(cgroup, 'a', sizeof(cgroup));
		memcpy(cgroup, "0::/", 4);
		strcpy(cgroup + length, "\n");
		put_group(cgroup, V2_MOUNT);
		put("/sys/fs/cgroup/memory.max", "524288000\n");
		if (length < 4090)
			expect(500, 500, "/sys/fs/cgroup"); /* nothing there, but its parent is */
		memcpy(mountinfo, "1 2 3:4 / /", 11);
		memset(mountinfo + 11, 'm', length);
		strcpy(mountinfo + length, " rw - cgroup2 cgroup2 rw\n" V2_MOUNT);
		put_group("0::/\n", mountinfo);
		expect(500, 500, "/sys/fs/cgroup");
	}
}

static void a_whole_file_system_of_groups_may_be_mounted_at_the_root(void **state)
{
	(void)state;
	put_group("0::/\n", "31 23 0:28 / / rw - cgroup2 cgroup2 rw\n");
	put("/memory.max", "314572800\n");
	expect(300, 300, "/");
}

static void this_machine_can_be_read(void **state)
{
	struct pc_memory_facts facts, again;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	if (pc_memory_facts_read("", &facts, &err))
		fail_msg("%s", err.message);
	assert_true(facts.total_bytes > 0 && facts.total_bytes <= facts.physical_bytes);
	assert_true(facts.available_bytes <= facts.total_bytes);
	assert_int_equal(pc_memory_facts_read(NULL, &again, NULL), 0);
	assert_true(again.physical_bytes == facts.physical_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_TREE(without_groups_the_machine_is_the_limit),
		IN_TREE(a_missing_meminfo_is_an_error),
		IN_TREE(a_malformed_meminfo_is_an_error),
		IN_TREE(odd_but_readable_meminfos_are_read),
		IN_TREE(overlong_lines_are_skipped),
		IN_TREE(the_own_group_limits),
		IN_TREE(the_smallest_ancestor_limits),
		IN_TREE(memory_high_limits_too),
		IN_TREE(the_mount_point_itself_may_be_a_container),
		IN_TREE(limits_above_the_machine_only_bound_the_room),
		IN_TREE(malformed_limits_are_no_limits),
		IN_TREE(a_removed_group_leaves_its_ancestors),
		IN_TREE(mount_points_with_odd_names_are_understood),
		IN_TREE(optional_mount_tags_are_skipped),
		IN_TREE(a_mount_of_a_part_shows_that_part),
		IN_TREE(a_group_outside_the_namespace_does_not_climb_out),
		IN_TREE(of_several_mounts_all_that_show_us_count),
		IN_TREE(long_directories_are_named_in_part),
		IN_TREE(version_1_limits),
		IN_TREE(unlimited_version_1_is_no_limit),
		IN_TREE(hidden_ancestors_of_version_1_are_heard_of),
		IN_TREE(groups_above_a_flat_one_do_not_limit),
		IN_TREE(a_controller_named_otherwise_is_not_memory),
		IN_TREE(hybrid_machines_take_the_smaller),
		IN_TREE(malformed_proc_files_are_no_error),
		IN_TREE(very_long_paths_are_survived),
		IN_TREE(a_whole_file_system_of_groups_may_be_mounted_at_the_root),
		cmocka_unit_test(this_machine_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
