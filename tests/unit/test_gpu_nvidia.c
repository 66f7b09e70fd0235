/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/gpu/nvidia.c and nvml.c: what is made of NVML's answers, of old libraries and
 * new ones, and of each failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <poolcore/gpu.h>

#include "gpu/nvml.h"
#include "tests/unit/gpu_fixture.h"

static void a_missing_library_is_a_fact(void **state)
{
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(
		pc_gpu_inventory_open("/nonexistent/libnvidia-ml.so.1", NO_SYSFS, &inventory, NULL),
		0);
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "no NVML library (/nonexistent/libnvidia-ml.so.1: cannot open shared "
			    "object file: No such file or directory)");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 0);
	pc_gpu_inventory_close(inventory);
	/* Notes end up in JSON: what is not UTF-8 ends them. */
	assert_int_equal(pc_gpu_inventory_open("/nonexistent/\xff.so", NO_SYSFS, &inventory, NULL),
			 0);
	assert_string_equal(pc_gpu_inventory_note(inventory), "no NVML library (/nonexistent/");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	pc_gpu_inventory_close(inventory);
}

static void another_library_is_not_taken_for_it(void **state)
{
	struct pc_gpu_inventory *inventory;

	(void)state;
	assert_int_equal(pc_gpu_inventory_open("libm.so.6", NO_SYSFS, &inventory, NULL), 0);
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "no NVML library (libm.so.6 has no function nvmlInit_v2)");
	pc_gpu_inventory_close(inventory);
}

static void the_default_library_may_be_absent(void **state)
{
	struct pc_gpu_inventory *inventory;

	(void)state;
	assert_int_equal(pc_gpu_inventory_open(NULL, NULL, &inventory, NULL), 0);
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

static void one_failing_gpu_says_so(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS
							  "fail nvmlDeviceGetMemoryInfo 15 0\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_string_equal(gpus[0].device, "gpu0");
	assert_string_equal(gpus[0].name, "NVIDIA Test A");
	assert_string_equal(gpus[0].error,
			    "nvmlDeviceGetMemoryInfo: NVML_ERROR_GPU_IS_LOST (GPU is lost); it "
			    "fell off the bus; a reboot usually brings it back");
	assert_int_equal(gpus[0].vram_total_bytes, 0);
	assert_string_equal(gpus[1].device, "gpu1");
	assert_int_equal(gpus[1].index, 1);
	assert_string_equal(gpus[1].uuid, "GPU-2222");
	assert_string_equal(gpus[1].error, "");
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "1 of 2 GPUs, driver 550.54.14; gpu0: nvmlDeviceGetMemoryInfo: "
			    "NVML_ERROR_GPU_IS_LOST (GPU is lost); it fell off the bus; a reboot "
			    "usually brings it back");
	pc_gpu_inventory_close(inventory);
	expect_note(TWO_GPUS "fail nvmlDeviceGetHandleByIndex_v2 999\n", 2,
		    "0 of 2 GPUs, driver 550.54.14; gpu0: nvmlDeviceGetHandleByIndex_v2: "
		    "NVML_ERROR_UNKNOWN (Unknown Error); gpu1: nvmlDeviceGetHandleByIndex_v2: "
		    "NVML_ERROR_UNKNOWN (Unknown Error)");
}

static void a_gpu_may_be_forbidden_or_without_memory_of_its_own(void **state)
{
	(void)state;
	expect_note(TWO_GPUS "fail nvmlDeviceGetHandleByIndex_v2 4 1\n", 2,
		    "1 of 2 GPUs, driver 550.54.14; gpu1: nvmlDeviceGetHandleByIndex_v2: "
		    "NVML_ERROR_NO_PERMISSION (Insufficient Permissions); this user may not open "
		    "the GPU; see the rights of /dev/nvidia*");
	expect_note(TWO_GPUS "fail nvmlDeviceGetMemoryInfo 3 1\n", 2,
		    "1 of 2 GPUs, driver 550.54.14; gpu1: nvmlDeviceGetMemoryInfo: "
		    "NVML_ERROR_NOT_SUPPORTED (Not Supported); this GPU does not report it");
}

static void a_gpu_tells_all_of_itself(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(
		"driver 550.54.14\n"
		"gpu Card A|GPU-1111|25757220864|1073741824|45|12|0000:01:00|71500\n"
		"gpu Card B|GPU-2222|8589934592|0|30|0|10002:af:1f|-\n"
		"reserved 0 400000000\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_int_equal(gpus[0].vendor, PC_GPU_NVIDIA);
	assert_string_equal(gpus[0].pci_bus_id, "0000:01:00.0");
	assert_int_equal(gpus[0].power_mw, 71500);
	assert_int_equal(gpus[0].vram_reserved_bytes, 400000000);
	assert_int_equal(gpus[0].vram_used_bytes, 1073741824);
	assert_false(gpus[0].mig_enabled);
	assert_string_equal(gpus[0].error, "");
	assert_string_equal(gpus[1].pci_bus_id, "10002:af:1f.0");
	assert_int_equal(gpus[1].power_mw, -1);
	assert_int_equal(gpus[1].driver_index, 1);
	/* An old driver under a new library has the function, and it fails. */
	put_script("gpu Card A|GPU-1111|25757220864|1073741824|45|12|0000:01:00|71500\n"
		   "reserved 0 400000000\nfail nvmlDeviceGetMemoryInfo_v2 13\n"
		   "fail nvmlDeviceGetPciInfo_v3 13\nfail nvmlDeviceGetPowerUsage 3\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_int_equal(gpus[0].vram_reserved_bytes, 0);
	assert_int_equal(gpus[0].power_mw, -1);
	assert_string_equal(gpus[0].pci_bus_id, "0000:01:00.0"); /* known from before */
	pc_gpu_inventory_close(inventory);
}

static void a_divided_gpu_is_marked(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS "mig 0 2\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_true(gpus[0].mig_enabled);
	assert_int_equal(gpus[0].mig_instances, 2);
	assert_int_equal(gpus[0].vram_used_bytes, 1073741824);
	assert_string_equal(gpus[0].error,
			    "MIG is enabled with 2 instances, which are not used; disable it to "
			    "use the GPU as a whole (nvidia-smi -mig 0)");
	assert_false(gpus[1].mig_enabled);
	assert_string_equal(gpus[1].error, "");
	put_script(TWO_GPUS "mig 1 1\nfail nvmlDeviceGetMigMode 3 0\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_string_equal(gpus[0].error, "");
	assert_non_null(strstr(gpus[1].error, "with 1 instance, which"));
	put_script(TWO_GPUS "mig 1 1\nfail nvmlDeviceGetMaxMigDeviceCount 999\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_non_null(strstr(gpus[1].error, "with 0 instances"));
	pc_gpu_inventory_close(inventory);
}

#define PROCESSES \
	TWO_GPUS "process 1 100 5000\nprocess 1 4000000000 7000\nprocess 0 300 9000\n" \
		 "process 1 200 -\nprocess 1 150 7000\n"

static void expect_processes(const struct pc_gpu_inventory *inventory)
{
	static const struct pc_gpu_process expected[] = {
		{ 150, 7000 }, { 4000000000, 7000 }, { 100, 5000 }, { 200, -1 }
	};
	const struct pc_gpu *gpus;

	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_true(gpus[0].processes_known);
	assert_int_equal(gpus[0].process_count, 1);
	assert_int_equal(gpus[0].processes[0].pid, 300);
	assert_int_equal(gpus[0].processes[0].vram_bytes, 9000);
	assert_true(gpus[1].processes_known);
	assert_int_equal(gpus[1].process_count, PC_ARRAY_LEN(expected));
	for (size_t i = 0; i < PC_ARRAY_LEN(expected); i++) {
		assert_true(gpus[1].processes[i].pid == expected[i].pid);
		assert_true(gpus[1].processes[i].vram_bytes == expected[i].vram_bytes);
	}
}

/* The newest function that works is believed, with records of whatever length it has. */
static void processes_are_read_from_every_driver(void **state)
{
	static const char *const drivers[] = {
		PROCESSES,
		PROCESSES "stride 32\n",
		PROCESSES "stride 16\n",
		PROCESSES "fail nvmlDeviceGetComputeRunningProcesses_v3 13\n",
		PROCESSES "fail nvmlDeviceGetComputeRunningProcesses_v3 13\n"
			  "fail nvmlDeviceGetComputeRunningProcesses_v2 13\n",
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(drivers); i++) {
		struct pc_gpu_inventory *inventory = open_machine(drivers[i]);

		expect_processes(inventory);
		pc_gpu_inventory_close(inventory);
	}
}

static void processes_may_be_unknown(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(
		PROCESSES "fail nvmlDeviceGetComputeRunningProcesses_v3 4\n"
			  "fail nvmlDeviceGetComputeRunningProcesses_v2 4\n"
			  "fail nvmlDeviceGetComputeRunningProcesses 4\n");
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_false(gpus[1].processes_known);
	assert_int_equal(gpus[1].process_count, 0);
	assert_string_equal(gpus[1].error, "");
	put_script(TWO_GPUS);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_true(gpus[1].processes_known);
	assert_int_equal(gpus[1].process_count, 0);
	pc_gpu_inventory_close(inventory);
}

static void of_many_processes_the_largest_are_listed(void **state)
{
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;
	char text[64 * 1100];
	int length = snprintf(text, sizeof(text), TWO_GPUS);

	(void)state;
	for (int i = 1; i <= 1024; i++)
		length += snprintf(text + length, sizeof(text) - (size_t)length,
				   "process 0 %d %d\n", i, i * 10);
	inventory = open_machine(text);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_int_equal(gpus[0].process_count, PC_GPU_PROCESS_MAX);
	assert_int_equal(gpus[0].processes[0].pid, 1024);
	assert_int_equal(gpus[0].processes[PC_GPU_PROCESS_MAX - 1].pid, 1024 - 63);
	strcat(text, "process 0 5000 1\n");
	put_script(text);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_false(gpus[0].processes_known);
	pc_gpu_inventory_close(inventory);
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
	assert_int_equal(pc_gpu_inventory_open(standin_bare, NO_SYSFS, &inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_string_equal(gpus[0].name, "NVIDIA GPU");
	assert_string_equal(gpus[0].uuid, "");
	assert_true(gpus[0].vram_total_bytes == UINT64_C(25757220864));
	assert_int_equal(gpus[0].temperature_c, -1);
	assert_int_equal(gpus[0].utilisation_percent, -1);
	assert_int_equal(gpus[0].power_mw, -1);
	assert_false(gpus[0].processes_known);
	assert_string_equal(gpus[0].pci_bus_id, "");
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

/* Puts a new file in the place of `to`, as a package does: what is mapped stays as it was. */
static void install(const char *from, const char *to)
{
	char beside[PATH_MAX + 8], block[65536];
	FILE *in = fopen(from, "rbe"), *out;
	size_t got;

	snprintf(beside, sizeof(beside), "%s.new", to);
	out = fopen(beside, "wbe");
	assert_non_null(in);
	assert_non_null(out);
	while ((got = fread(block, 1, sizeof(block), in)) > 0)
		assert_int_equal(fwrite(block, 1, got, out), got);
	fclose(in);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(rename(beside, to), 0);
}

/* The kernel's part of an update is loaded at once, the library of before is in our memory: only
 * the new one will ever get an answer. Which one it is shows by what it can tell. */
static void an_updated_library_is_loaded(void **state)
{
	char place[] = "/tmp/pc-test-nvml-XXXXXX", path[PATH_MAX];
	struct pc_gpu_inventory *inventory;

	(void)state;
	assert_non_null(mkdtemp(place));
	snprintf(path, sizeof(path), "%s/libnvidia-ml.so.1", place);
	install(standin_bare, path);
	put_script("fail nvmlInit_v2 18\n");
	assert_int_equal(pc_gpu_inventory_open(path, NO_SYSFS, &inventory, NULL), 0);
	install(standin, path);
	put_script(TWO_GPUS);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_string_equal(pc_gpu_inventory_note(inventory), "2 GPUs, driver 550.54.14");
	/* Also when it had answered before. */
	install(standin_bare, path);
	put_script("fail nvmlDeviceGetCount_v2 18\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), PC_E_IO);
	put_script(TWO_GPUS);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_string_equal(pc_gpu_inventory_note(inventory), "2 GPUs, driver of unknown version");
	pc_gpu_inventory_close(inventory);
	unlink(path);
	rmdir(place);
}

static void a_short_buffer_cuts_the_description(void **state)
{
	const struct pc__nvml nvml = { .library = NULL };
	char out[20];

	(void)state;
	pc__nvml_describe(&nvml, "nvmlInit_v2", NVML_ERROR_NO_PERMISSION, out, sizeof(out));
	assert_string_equal(out, "nvmlInit_v2: NVML_E");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_missing_library_is_a_fact),
		cmocka_unit_test(another_library_is_not_taken_for_it),
		cmocka_unit_test(the_default_library_may_be_absent),
		cmocka_unit_test(each_failure_to_start_is_named),
		cmocka_unit_test(one_failing_gpu_says_so),
		cmocka_unit_test(a_gpu_may_be_forbidden_or_without_memory_of_its_own),
		cmocka_unit_test(a_gpu_tells_all_of_itself),
		cmocka_unit_test(a_divided_gpu_is_marked),
		cmocka_unit_test(processes_are_read_from_every_driver),
		cmocka_unit_test(processes_may_be_unknown),
		cmocka_unit_test(of_many_processes_the_largest_are_listed),
		cmocka_unit_test(what_is_nice_to_know_may_be_missing),
		cmocka_unit_test(a_library_with_the_necessary_alone_is_enough),
		cmocka_unit_test(an_updated_library_is_loaded),
		cmocka_unit_test(odd_names_are_made_presentable),
		cmocka_unit_test(every_initialisation_is_returned),
		cmocka_unit_test(a_short_buffer_cuts_the_description),
	};

	return cmocka_run_group_tests(tests, find_standins, remove_script);
}
