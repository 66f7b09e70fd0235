/* SPDX-License-Identifier: MIT */
/*
 * gpu_fixture.h - a machine with the NVIDIA GPUs that a test wants: the stand-in of tests/standins,
 * told by a script what to answer. find_standins and remove_script are a group's setup and
 * teardown. Include cmocka first. One thread only.
 */
#ifndef TESTS_UNIT_GPU_FIXTURE_H
#define TESTS_UNIT_GPU_FIXTURE_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolcore/gpu.h>

static char standin[PATH_MAX], standin_bare[PATH_MAX];
static char script[64];

/* The machine's own graphics devices stay out of these tests. */
#define NO_SYSFS "/nonexistent"

static inline void put_script(const char *text)
{
	FILE *file = fopen(script, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static inline struct pc_gpu_inventory *open_machine(const char *text)
{
	struct pc_gpu_inventory *inventory = NULL;
	struct pc_error err = PC_ERROR_INIT;

	put_script(text);
	if (pc_gpu_inventory_open(standin, NO_SYSFS, &inventory, &err))
		fail_msg("%s", err.message);
	return inventory;
}

static inline void expect_note(const char *text, size_t count, const char *note)
{
	struct pc_gpu_inventory *inventory = open_machine(text);
	const struct pc_gpu *gpus;

	assert_string_equal(pc_gpu_inventory_note(inventory), note);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), count);
	pc_gpu_inventory_close(inventory);
}

#define TWO_GPUS \
	"driver 550.54.14\n" \
	"gpu NVIDIA Test A|GPU-1111|25757220864|1073741824|45|12\n" \
	"gpu NVIDIA Test B|GPU-2222|8589934592|0|30|0\n"

static inline int find_standins(void **state)
{
	char self[PATH_MAX - 64];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd;

	(void)state;
	if (length < 0)
		return -1;
	self[length] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(standin, sizeof(standin), "%s/../standins/libnvidia-ml.so.1", self);
	snprintf(standin_bare, sizeof(standin_bare), "%s/../standins/libnvidia-ml-bare.so.1", self);
	strcpy(script, "/tmp/pc-test-gpu-XXXXXX");
	fd = mkstemp(script);
	if (fd < 0)
		return -1;
	close(fd);
	return setenv("POOLCORE_NVML_SCRIPT", script, 1);
}

static inline int remove_script(void **state)
{
	(void)state;
	return unlink(script);
}

#endif
