/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/gpu: what the inventory makes of a driver's answers and failures. The driver is
 * the stand-in of tests/standins, told by a script what to answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poolcore/gpu.h>

#include "gpu/nvml.h"
#include "tests/unit/fail_alloc.h"

static char standin[PATH_MAX], standin_bare[PATH_MAX];
static char script[64];

/* ---- the machine ---- */

static void put_script(const char *text)
{
	FILE *file = fopen(script, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static struct pc_gpu_inventory *open_machine(const char *text)
{
	struct pc_gpu_inventory *inventory = NULL;
	struct pc_error err = PC_ERROR_INIT;

	put_script(text);
	if (pc_gpu_inventory_open(standin, &inventory, &err))
		fail_msg("%s", err.message);
	return inventory;
}

static void expect_note(const char *text, size_t count, const char *note)
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

/* ---- tests ---- */

static void gpus_are_listed(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS);
	const struct pc_gpu *gpus;

	(void)state;
	assert_string_equal(pc_gpu_inventory_note(inventory), "2 GPUs, driver 550.54.14");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_int_equal(gpus[0].index, 0);
	assert_string_equal(gpus[0].name, "NVIDIA Test A");
	assert_string_equal(gpus[0].uuid, "GPU-1111");
	assert_string_equal(gpus[0].device, "gpu0");
	assert_true(gpus[0].vram_total_bytes == UINT64_C(25757220864));
	assert_true(gpus[0].vram_used_bytes == UINT64_C(1073741824));
	assert_true(gpus[0].vram_free_bytes == UINT64_C(24683479040));
	assert_int_equal(gpus[0].temperature_c, 45);
	assert_int_equal(gpus[0].utilisation_percent, 12);
	assert_int_equal(gpus[1].index, 1);
	assert_string_equal(gpus[1].device, "gpu1");
	assert_true(gpus[1].vram_free_bytes == UINT64_C(8589934592));
	pc_gpu_inventory_close(inventory);
	pc_gpu_inventory_close(NULL);
}

static void a_driver_without_gpus_is_a_fact(void **state)
{
	(void)state;
	expect_note("driver 535.1\n", 0, "0 GPUs, driver 535.1");
	expect_note("gpu A|U|1|0|1|1\n", 1, "1 GPU, driver of unknown version");
	expect_note(TWO_GPUS "fail nvmlSystemGetDriverVersion 999\n", 2,
		    "2 GPUs, driver of unknown version");
}

static void a_missing_library_is_a_fact(void **state)
{
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_open("/nonexistent/libnvidia-ml.so.1", &inventory, NULL),
			 0);
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "no NVML library (/nonexistent/libnvidia-ml.so.1: cannot open shared "
			    "object file: No such file or directory)");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 0);
	pc_gpu_inventory_close(inventory);
	/* Notes end up in JSON: what is not UTF-8 ends them. */
	assert_int_equal(pc_gpu_inventory_open("/nonexistent/\xff.so", &inventory, NULL), 0);
	assert_string_equal(pc_gpu_inventory_note(inventory), "no NVML library (/nonexistent/");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	pc_gpu_inventory_close(inventory);
}

static void another_library_is_not_taken_for_it(void **state)
{
	struct pc_gpu_inventory *inventory;

	(void)state;
	assert_int_equal(pc_gpu_inventory_open("libm.so.6", &inventory, NULL), 0);
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "no NVML library (libm.so.6 has no function nvmlInit_v2)");
	pc_gpu_inventory_close(inventory);
}

static void the_default_library_may_be_absent(void **state)
{
	struct pc_gpu_inventory *inventory;

	(void)state;
	assert_int_equal(pc_gpu_inventory_open(NULL, &inventory, NULL), 0);
	assert_true(pc_gpu_inventory_note(inventory)[0] != '\0');
	pc_gpu_inventory_close(inventory);
}

static void each_failure_to_start_is_named(void **state)
{
	(void)state;
	expect_note("fail nvmlInit_v2 9\n", 0,
		    "nvmlInit_v2: NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded); the NVIDIA "
		    "kernel driver is not loaded");
	expect_note("fail nvmlInit_v2 4\n", 0,
		    "nvmlInit_v2: NVML_ERROR_NO_PERMISSION (Insufficient Permissions); this user "
		    "may not open the GPU; see the rights of /dev/nvidia*");
	expect_note("fail nvmlInit_v2 18\n", 0,
		    "nvmlInit_v2: NVML_ERROR_LIB_RM_VERSION_MISMATCH (Driver/library version "
		    "mismatch); library and kernel driver are of different versions; an update "
		    "needs a reboot");
	expect_note("fail nvmlInit_v2 999\n", 0, "nvmlInit_v2: NVML_ERROR_UNKNOWN (Unknown Error)");
	expect_note("fail nvmlInit_v2 4711\n", 0, "nvmlInit_v2: NVML error 4711 (Unknown Error)");
	expect_note(TWO_GPUS "fail nvmlDeviceGetCount_v2 999\n", 0,
		    "nvmlDeviceGetCount_v2: NVML_ERROR_UNKNOWN (Unknown Error)");
}

static void one_failing_gpu_is_skipped(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS
							  "fail nvmlDeviceGetMemoryInfo 15 0\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_string_equal(gpus[0].device, "gpu1");
	assert_int_equal(gpus[0].index, 1);
	assert_string_equal(gpus[0].uuid, "GPU-2222");
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "1 of 2 GPUs, driver 550.54.14; gpu0: nvmlDeviceGetMemoryInfo: "
			    "NVML_ERROR_GPU_IS_LOST (GPU is lost); it fell off the bus; a reboot "
			    "usually brings it back");
	pc_gpu_inventory_close(inventory);
	expect_note(TWO_GPUS "fail nvmlDeviceGetHandleByIndex_v2 999\n", 0,
		    "0 of 2 GPUs, driver 550.54.14; gpu0: nvmlDeviceGetHandleByIndex_v2: "
		    "NVML_ERROR_UNKNOWN (Unknown Error); gpu1: nvmlDeviceGetHandleByIndex_v2: "
		    "NVML_ERROR_UNKNOWN (Unknown Error)");
}

static void what_is_nice_to_know_may_be_missing(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(
		"gpu A|U|100|10|-|-\ngpu B|V|100|10|5000|101\ngpu C|W|9|0|0|100\n"
		"fail nvmlDeviceGetName 999 0\nfail nvmlDeviceGetUUID 3 0\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 3);
	assert_string_equal(gpus[0].name, "NVIDIA GPU");
	assert_string_equal(gpus[0].uuid, "");
	assert_int_equal(gpus[0].temperature_c, -1);
	assert_int_equal(gpus[0].utilisation_percent, -1);
	assert_int_equal(gpus[1].temperature_c, -1); /* not believable */
	assert_int_equal(gpus[1].utilisation_percent, -1);
	assert_int_equal(gpus[2].temperature_c, 0);
	assert_int_equal(gpus[2].utilisation_percent, 100);
	pc_gpu_inventory_close(inventory);
}

static void a_library_with_the_necessary_alone_is_enough(void **state)
{
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;

	(void)state;
	put_script(TWO_GPUS "fail nvmlDeviceGetMemoryInfo 18 1\n");
	assert_int_equal(pc_gpu_inventory_open(standin_bare, &inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_string_equal(gpus[0].name, "NVIDIA GPU");
	assert_string_equal(gpus[0].uuid, "");
	assert_true(gpus[0].vram_total_bytes == UINT64_C(25757220864));
	assert_int_equal(gpus[0].temperature_c, -1);
	assert_int_equal(gpus[0].utilisation_percent, -1);
	assert_string_equal(
		pc_gpu_inventory_note(inventory),
		"1 of 2 GPUs, driver of unknown version; gpu1: "
		"nvmlDeviceGetMemoryInfo: NVML_ERROR_LIB_RM_VERSION_MISMATCH; library "
		"and kernel driver are of different versions; an update needs a reboot");
	pc_gpu_inventory_close(inventory);
}

static void odd_names_are_made_presentable(void **state)
{
	char long_name[200], text[400];
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;

	(void)state;
	memset(long_name, 'n', sizeof(long_name));
	long_name[95] = '\0'; /* the longest that NVML promises */
	snprintf(text, sizeof(text),
		 "gpu %s|U|1|0|1|1\ngpu A\xff"
		 "B|\x80|1|0|1|1\n",
		 long_name);
	inventory = open_machine(text);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_string_equal(gpus[0].name, long_name);
	assert_string_equal(gpus[1].name, "A");
	assert_string_equal(gpus[1].uuid, "");
	pc_gpu_inventory_close(inventory);
}

static void more_gpus_than_there_is_room_for(void **state)
{
	char text[8192] = "driver 1\n";

	(void)state;
	for (int i = 0; i < 65; i++)
		strcat(text, "gpu A|U|1|0|1|1\n");
	expect_note(text, 64, "64 of 65 GPUs, driver 1; those after gpu63 are not used");
	/* And more complaints than the note holds: it is cut, not overrun. */
	strcat(text, "fail nvmlDeviceGetMemoryInfo 15\n");

	struct pc_gpu_inventory *inventory = open_machine(text);

	assert_int_equal(strlen(pc_gpu_inventory_note(inventory)), 511);
	pc_gpu_inventory_close(inventory);
}

static void a_refresh_sees_what_changed(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS);
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_gpu *gpus;

	(void)state;
	put_script("driver 550.54.14\ngpu NVIDIA Test A|GPU-1111|25757220864|2147483648|61|99\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, &err), 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_true(gpus[0].vram_used_bytes == UINT64_C(2147483648));
	assert_int_equal(gpus[0].temperature_c, 61);
	assert_string_equal(pc_gpu_inventory_note(inventory), "1 GPU, driver 550.54.14");
	pc_gpu_inventory_close(inventory);
}

static void a_failed_refresh_keeps_the_last_list(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS);
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_gpu *gpus;

	(void)state;
	put_script("fail nvmlDeviceGetCount_v2 15\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, &err), PC_E_IO);
	assert_string_equal(err.message,
			    "the GPUs cannot be asked: nvmlDeviceGetCount_v2: "
			    "NVML_ERROR_GPU_IS_LOST (GPU is lost); it fell off the bus; a reboot "
			    "usually brings it back");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_string_equal(gpus[1].uuid, "GPU-2222");
	assert_string_equal(pc_gpu_inventory_note(inventory), "2 GPUs, driver 550.54.14");

	/* NVML was shut down by that; it is started anew, fails at that, and then comes back. */
	put_script("fail nvmlInit_v2 18\n");
	pc_error_clear(&err);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, &err), PC_E_IO);
	assert_non_null(strstr(err.message, "nvmlInit_v2: NVML_ERROR_LIB_RM_VERSION_MISMATCH"));
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	put_script("driver 560.1\ngpu C|GPU-3333|7|0|1|1\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_string_equal(gpus[0].uuid, "GPU-3333");
	pc_gpu_inventory_close(inventory);
}

static void a_driver_may_be_loaded_later(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine("fail nvmlInit_v2 9\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 0);
	put_script(TWO_GPUS);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	pc_gpu_inventory_close(inventory);
}

/* An initialisation of ours that is not shut down again would keep the driver loaded. */
static void every_initialisation_is_returned(void **state)
{
	struct pc_gpu_inventory *inventory;
	struct pc__nvml nvml;
	char why[128];

	(void)state;
	assert_int_equal(pc__nvml_load(&nvml, standin, why, sizeof(why)), 0);
	inventory = open_machine(TWO_GPUS);
	put_script("fail nvmlDeviceGetCount_v2 999\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), PC_E_IO);
	put_script(TWO_GPUS);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	pc_gpu_inventory_close(inventory);
	assert_int_equal(nvml.shutdown(), NVML_ERROR_UNINITIALIZED);
	pc__nvml_unload(&nvml);
}

static void a_short_buffer_cuts_the_description(void **state)
{
	const struct pc__nvml nvml = { .library = NULL };
	char out[20];

	(void)state;
	pc__nvml_describe(&nvml, "nvmlInit_v2", NVML_ERROR_NO_PERMISSION, out, sizeof(out));
	assert_string_equal(out, "nvmlInit_v2: NVML_E");
}

/* ---- allocation failures ---- */

static void every_failed_allocation_is_reported(void **state)
{
	unsigned n = 0;
	int ret;

	(void)state;
	put_script(TWO_GPUS);
	do {
		struct pc_gpu_inventory *inventory = NULL;
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin(++n);
		ret = pc_gpu_inventory_open(standin, &inventory, &err);
		if (ret) {
			assert_int_equal(ret, PC_E_OUT_OF_MEMORY);
			assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
			assert_null(inventory);
		} else {
			pc_gpu_inventory_close(inventory);
		}
		fail_alloc_end();
		assert_int_equal(fail_alloc_live(), 0);
	} while (ret);
	assert_true(n > 1);
}

static int find_standins(void **state)
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

static int remove_script(void **state)
{
	(void)state;
	return unlink(script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpus_are_listed),
		cmocka_unit_test(a_driver_without_gpus_is_a_fact),
		cmocka_unit_test(a_missing_library_is_a_fact),
		cmocka_unit_test(another_library_is_not_taken_for_it),
		cmocka_unit_test(the_default_library_may_be_absent),
		cmocka_unit_test(each_failure_to_start_is_named),
		cmocka_unit_test(one_failing_gpu_is_skipped),
		cmocka_unit_test(what_is_nice_to_know_may_be_missing),
		cmocka_unit_test(a_library_with_the_necessary_alone_is_enough),
		cmocka_unit_test(odd_names_are_made_presentable),
		cmocka_unit_test(more_gpus_than_there_is_room_for),
		cmocka_unit_test(a_refresh_sees_what_changed),
		cmocka_unit_test(a_failed_refresh_keeps_the_last_list),
		cmocka_unit_test(a_driver_may_be_loaded_later),
		cmocka_unit_test(every_initialisation_is_returned),
		cmocka_unit_test(a_short_buffer_cuts_the_description),
		cmocka_unit_test(every_failed_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, find_standins, remove_script);
}
