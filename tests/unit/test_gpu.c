/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/gpu/inventory.c: which GPUs are listed and under which index, while they come,
 * go and fail. What is read of one: test_gpu_nvidia.c and test_gpu_sysfs.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <poolcore/gpu.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/gpu_fixture.h"

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

static void one_gpu_is_got_by_its_index(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS);
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_gpu *gpu = NULL;

	(void)state;
	assert_int_equal(pc_gpu_inventory_get(inventory, 1, &gpu, &err), 0);
	assert_string_equal(gpu->name, "NVIDIA Test B");
	assert_int_equal(pc_gpu_inventory_get(inventory, 7, &gpu, &err), PC_E_NOT_FOUND);
	assert_string_equal(gpu->name, "NVIDIA Test B");
	assert_string_equal(err.message, "there is no gpu7; there is gpu0, gpu1");
	assert_string_equal(pc_error_detail_get(&err, "gpu_id"), "7");
	pc_gpu_inventory_close(inventory);

	inventory = open_machine("driver 1\n");
	pc_error_clear(&err);
	assert_int_equal(pc_gpu_inventory_get(inventory, 0, &gpu, &err), PC_E_NOT_FOUND);
	assert_string_equal(err.message, "there is no gpu0; there is none");
	pc_gpu_inventory_close(inventory);
}

static void vendors_have_names(void **state)
{
	(void)state;
	assert_string_equal(pc_gpu_vendor_name(PC_GPU_NVIDIA), "nvidia");
	assert_string_equal(pc_gpu_vendor_name(PC_GPU_AMD), "amd");
	assert_null(pc_gpu_vendor_name((enum pc_gpu_vendor)0));
	assert_null(pc_gpu_vendor_name((enum pc_gpu_vendor)3));
}

static void more_gpus_than_there_is_room_for(void **state)
{
	char text[8192] = "driver 1\n";

	(void)state;
	for (int i = 0; i < PC_GPU_MAX + 1; i++)
		sprintf(strchr(text, '\0'), "gpu A|U%d|1|0|1|1\n", i);
	expect_note(text, PC_GPU_MAX,
		    "31 of 32 GPUs, driver 1; 1 more than the 31 that can be are not used");
	/* And more complaints than the note holds: it is cut, not overrun. */
	strcat(text, "fail nvmlDeviceGetMemoryInfo 15\n");

	struct pc_gpu_inventory *inventory = open_machine(text);

	assert_int_equal(strlen(pc_gpu_inventory_note(inventory)), 1023);
	pc_gpu_inventory_close(inventory);
}

#define CARD_A "gpu Card A|GPU-1111|1000|10|45|12|0000:01:00|1\n"
#define CARD_B "gpu Card B|GPU-2222|2000|20|45|12|0000:02:00|1\n"
#define CARD_C "gpu Card C|GPU-3333|3000|30|45|12|0000:03:00|1\n"

/* "gpu0=Card A gpu1=Card B", in the order of the list. */
static void expect_list(struct pc_gpu_inventory *inventory, const char *text, const char *expected)
{
	char list[4096] = "";
	const struct pc_gpu *gpus;
	size_t count;

	put_script(text);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	count = pc_gpu_inventory_list(inventory, &gpus);
	for (size_t i = 0; i < count; i++) {
		char device[16];

		snprintf(device, sizeof(device), "gpu%u", gpus[i].index);
		assert_string_equal(gpus[i].device, device);
		sprintf(strchr(list, '\0'), "%s%s=%s", i ? " " : "", device, gpus[i].name);
	}
	assert_string_equal(list, expected);
}

static void a_gpu_keeps_its_index(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(CARD_A CARD_B);
	const struct pc_gpu *gpus;

	(void)state;
	expect_list(inventory, CARD_B, "gpu1=Card B"); /* A is pulled out */
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_int_equal(gpus[0].driver_index, 0);
	expect_list(inventory, CARD_C CARD_B, "gpu1=Card B gpu2=Card C");
	expect_list(inventory, CARD_C CARD_B CARD_A, "gpu0=Card A gpu1=Card B gpu2=Card C");
	expect_list(inventory, "driver 1\n", "");
	expect_list(inventory, CARD_A, "gpu0=Card A");
	/* Another card in the same slot is another card. */
	expect_list(inventory, "gpu New|GPU-4444|1|0|1|1|0000:01:00|1\n", "gpu3=New");
	pc_gpu_inventory_close(inventory);
}

static void a_gpu_without_a_uuid_is_known_by_its_address(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(CARD_A CARD_B);
	const struct pc_gpu *gpus;

	(void)state;
	expect_list(inventory, CARD_B "fail nvmlDeviceGetUUID 999\n", "gpu1=Card B");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_string_equal(gpus[0].uuid, "GPU-2222");
	pc_gpu_inventory_close(inventory);
}

/* One that falls off the bus is still counted, but its handle cannot be had any more. */
static void a_lost_gpu_is_still_the_same(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(CARD_A CARD_B);
	const struct pc_gpu *gpus;

	(void)state;
	expect_list(inventory, CARD_A CARD_B "fail nvmlDeviceGetHandleByIndex_v2 15 0\n",
		    "gpu0=Card A gpu1=Card B");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_string_equal(gpus[0].uuid, "GPU-1111");
	assert_string_equal(gpus[0].pci_bus_id, "0000:01:00.0");
	assert_non_null(strstr(gpus[0].error, "NVML_ERROR_GPU_IS_LOST"));
	assert_int_equal(gpus[0].vram_total_bytes, 1000); /* as it was */
	assert_int_equal(gpus[0].vram_used_bytes, 10);
	assert_int_equal(gpus[0].temperature_c, -1);
	expect_list(inventory, CARD_A CARD_B, "gpu0=Card A gpu1=Card B");
	assert_string_equal(gpus[0].error, "");
	pc_gpu_inventory_close(inventory);

	/* It may have been so from the start. */
	inventory = open_machine(CARD_A CARD_B "fail nvmlDeviceGetHandleByIndex_v2 15 0\n");
	expect_list(inventory, CARD_A CARD_B "fail nvmlDeviceGetHandleByIndex_v2 15 0\n",
		    "gpu0=NVIDIA GPU gpu1=Card B");
	expect_list(inventory, CARD_A CARD_B, "gpu0=Card A gpu1=Card B");
	pc_gpu_inventory_close(inventory);
}

/* Who is known for certain is not kept from an index by who only stands in the place. */
static void a_place_is_the_weakest_mark(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(CARD_A CARD_B);

	(void)state;
	expect_list(inventory, CARD_C CARD_A "fail nvmlDeviceGetHandleByIndex_v2 15 0\n",
		    "gpu0=Card A gpu2=NVIDIA GPU");
	pc_gpu_inventory_close(inventory);
}

static void no_gpu_is_listed_twice(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(CARD_A CARD_A CARD_B);
	const struct pc_gpu *gpus;

	(void)state;
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	expect_list(inventory, CARD_A CARD_B CARD_A, "gpu0=Card A gpu1=Card B");
	expect_list(inventory, CARD_A CARD_B CARD_C CARD_C, "gpu0=Card A gpu1=Card B gpu2=Card C");
	pc_gpu_inventory_close(inventory);
}

/* Indexes are never given anew, so they can run out. */
static void indexes_end(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine("driver 1\n");
	const struct pc_gpu *gpus;
	char text[64];

	(void)state;
	for (int i = 0; i < PC_GPU_MAX; i++) {
		snprintf(text, sizeof(text), "gpu A|U%d|1|0|1|1\n", i);
		put_script(text);
		assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
		assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
		assert_int_equal(gpus[0].index, i);
	}
	put_script("driver 1\n" CARD_A);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 0);
	assert_string_equal(pc_gpu_inventory_note(inventory),
			    "0 of 1 GPU, driver 1; 1 more than the 31 that can be are not used");
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
	assert_int_equal(gpus[0].vram_used_bytes, 1073741824);
	assert_string_equal(gpus[0].error,
			    "nvmlDeviceGetCount_v2: NVML_ERROR_GPU_IS_LOST (GPU is lost); it fell "
			    "off the bus; a reboot usually brings it back");
	assert_string_equal(gpus[1].error, gpus[0].error);
	assert_string_equal(pc_gpu_inventory_note(inventory), gpus[0].error);

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
	assert_string_equal(gpus[0].device, "gpu2");
	assert_string_equal(gpus[0].error, "");
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
		ret = pc_gpu_inventory_open(standin, NO_SYSFS, &inventory, &err);
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

static void every_failed_allocation_of_its_json_is_reported(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(TWO_GPUS "process 0 7 8\nmig 1 1\n");
	unsigned n = 0;

	(void)state;
	/* What jansson takes can be refused too. */
	json_set_alloc_funcs(pc_malloc, pc_free);
	for (bool all = false; !all;) {
		struct pc_error err = PC_ERROR_INIT;
		char *text = NULL;

		fail_alloc_begin(++n);

		int rc = pc_gpu_inventory_json(inventory, &text, &err);

		all = fail_alloc_end();
		assert_int_equal(rc, all ? 0 : PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, rc);
		assert_true(all == (text != NULL));
		assert_int_equal(fail_alloc_live(), text ? 1 : 0);
		pc_free(text);
	}
	assert_true(n > 20);
	json_set_alloc_funcs(malloc, free);
	pc_gpu_inventory_close(inventory);
}

static void its_json_has_null_for_what_is_unknown(void **state)
{
	struct pc_gpu_inventory *inventory = open_machine(
		"gpu A|U|9|4|-|-\nfail nvmlDeviceGetUUID 3\nmig 0 2\n"
		"fail nvmlDeviceGetComputeRunningProcesses_v3 4\n"
		"fail nvmlDeviceGetComputeRunningProcesses_v2 4\n"
		"fail nvmlDeviceGetComputeRunningProcesses 4\n");
	char expected[1024];
	char *text;

	(void)state;
	snprintf(expected, sizeof(expected),
		 "{\"gpus\":[{\"gpu_id\":0,\"device\":\"gpu0\",\"vendor\":\"nvidia\","
		 "\"driver_index\":0,\"name\":\"A\",\"uuid\":null,\"pci_bus_id\":null,"
		 "\"error\":\"MIG is enabled with 2 instances, which are not used; disable it to "
		 "use the GPU as a whole (nvidia-smi -mig 0)\",\"mig_instances\":2,"
		 "\"vram_total_bytes\":9,\"vram_free_bytes\":5,\"vram_used_bytes\":4,"
		 "\"vram_reserved_bytes\":0,\"temperature_c\":null,"
		 "\"utilisation_percent\":null,\"power_mw\":null,\"processes\":null}],"
		 "\"note\":\"%s\",\"read_wall_ms\":%lld}",
		 pc_gpu_inventory_note(inventory),
		 (long long)pc_gpu_inventory_read_wall_ms(inventory));
	assert_int_equal(pc_gpu_inventory_json(inventory, &text, NULL), 0);
	assert_string_equal(text, expected);
	pc_free(text);
	pc_gpu_inventory_close(inventory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpus_are_listed),
		cmocka_unit_test(a_driver_without_gpus_is_a_fact),
		cmocka_unit_test(one_gpu_is_got_by_its_index),
		cmocka_unit_test(vendors_have_names),
		cmocka_unit_test(more_gpus_than_there_is_room_for),
		cmocka_unit_test(a_gpu_keeps_its_index),
		cmocka_unit_test(a_gpu_without_a_uuid_is_known_by_its_address),
		cmocka_unit_test(a_lost_gpu_is_still_the_same),
		cmocka_unit_test(a_place_is_the_weakest_mark),
		cmocka_unit_test(no_gpu_is_listed_twice),
		cmocka_unit_test(indexes_end),
		cmocka_unit_test(a_refresh_sees_what_changed),
		cmocka_unit_test(a_failed_refresh_keeps_the_last_list),
		cmocka_unit_test(a_driver_may_be_loaded_later),
		cmocka_unit_test(every_failed_allocation_is_reported),
		cmocka_unit_test(every_failed_allocation_of_its_json_is_reported),
		cmocka_unit_test(its_json_has_null_for_what_is_unknown),
	};

	return cmocka_run_group_tests(tests, find_standins, remove_script);
}
