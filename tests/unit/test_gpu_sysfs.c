/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/gpu/sysfs.c and kfd.c: what is read out of small trees that look like
 * /sys/class/drm of machines with AMD's GPUs, with others, with none, and with damage. Where a test
 * wants NVIDIA's too, they are the stand-in's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <poolcore/gpu.h>

#include "tests/unit/gpu_fixture.h"
#include "tests/unit/tree.h"

#define NO_LIBRARY "/nonexistent.so"
#define NO_LIBRARY_NOTE \
	"no NVML library (/nonexistent.so: cannot open shared object file: No such file or " \
	"directory)"

/* ---- the machine ---- */

/* A file of a node: put_node("card0", "vendor", "0x1002\n"). */
static void put_node(const char *node, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/class/drm/%s/device/%s", node, file);
	put(path, text);
}

static void put_device(const char *node, const char *address, const char *vendor)
{
	char text[256];

	snprintf(text, sizeof(text), "DRIVER=x\nPCI_CLASS=30000\nPCI_SLOT_NAME=%s\nMODALIAS=y\n",
		 address);
	put_node(node, "uevent", text);
	put_node(node, "vendor", vendor);
	put_node(node, "device", "0x73bf\n");
}

static void put_amd(const char *node, const char *address, const char *used)
{
	put_device(node, address, "0x1002\n");
	put_node(node, "mem_info_vram_total", "17163091968\n");
	put_node(node, "mem_info_vram_used", used);
}

static void put_full_amd(void)
{
	put_amd("card1", "0000:03:00.0", "1163091968\n");
	put_node("card1", "product_name", "AMD Instinct MI100\n");
	put_node("card1", "unique_id", "692c1e5ac4f5b2a3\n");
	put_node("card1", "gpu_busy_percent", "37\n");
	put_node("card1", "hwmon/hwmon4/temp1_input", "51999\n");
	put_node("card1", "hwmon/hwmon4/power1_average", "120500000\n");
}

/* Takes a file of the tree away. */
static int put_away(const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", tree, path);
	return unlink(full);
}

static struct pc_gpu_inventory *open_tree(const char *nvml)
{
	struct pc_gpu_inventory *inventory = NULL;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_gpu_inventory_open(nvml, tree, &inventory, &err))
		fail_msg("%s", err.message);
	return inventory;
}

static void expect_tree(size_t count, const char *note)
{
	struct pc_gpu_inventory *inventory = open_tree(NO_LIBRARY);
	char expected[1024];
	const struct pc_gpu *gpus;

	snprintf(expected, sizeof(expected), "%s%s", NO_LIBRARY_NOTE, note);
	assert_string_equal(pc_gpu_inventory_note(inventory), expected);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), count);
	pc_gpu_inventory_close(inventory);
}

/* The only GPU of the tree, which is AMD's. */
static struct pc_gpu only_gpu(void)
{
	struct pc_gpu_inventory *inventory = open_tree(NO_LIBRARY);
	const struct pc_gpu *gpus;
	struct pc_gpu gpu;

	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	gpu = gpus[0];
	pc_gpu_inventory_close(inventory);
	assert_int_equal(gpu.vendor, PC_GPU_AMD);
	return gpu;
}

/* ---- what there is ---- */

static void a_gpu_tells_all_of_itself(void **state)
{
	struct pc_gpu gpu;

	(void)state;
	put_full_amd();
	gpu = only_gpu();
	assert_int_equal(gpu.index, 0);
	assert_string_equal(gpu.device, "gpu0");
	assert_string_equal(gpu.name, "AMD Instinct MI100");
	assert_string_equal(gpu.uuid, "GPU-692c1e5ac4f5b2a3");
	assert_string_equal(gpu.pci_bus_id, "0000:03:00.0");
	assert_string_equal(gpu.error, "");
	assert_true(gpu.vram_total_bytes == UINT64_C(17163091968));
	assert_true(gpu.vram_used_bytes == UINT64_C(1163091968));
	assert_true(gpu.vram_free_bytes == UINT64_C(16000000000));
	assert_true(gpu.vram_reserved_bytes == 0);
	assert_int_equal(gpu.temperature_c, 51);
	assert_int_equal(gpu.utilisation_percent, 37);
	assert_int_equal(gpu.power_mw, 120500);
	assert_false(gpu.processes_known);
	expect_tree(1, "; 1 AMD GPU");
}

static void the_necessary_alone_is_enough(void **state)
{
	struct pc_gpu gpu;

	(void)state;
	put_amd("card0", "0000:03:00.0", "0\n");
	gpu = only_gpu();
	assert_string_equal(gpu.name, "AMD GPU 73bf");
	assert_string_equal(gpu.uuid, "");
	assert_string_equal(gpu.error, "");
	assert_int_equal(gpu.temperature_c, -1);
	assert_int_equal(gpu.utilisation_percent, -1);
	assert_int_equal(gpu.power_mw, -1);
	/* Files that are there and say nothing that can be believed. */
	put_node("card0", "product_name", "\n");
	put_node("card0", "unique_id", "0\n");
	put_node("card0", "gpu_busy_percent", "101\n");
	put_node("card0", "hwmon/other/temp1_input", "1000\n");
	put_node("card0", "hwmon/hwmon0/temp1_input", "-5000\n");
	put_node("card0", "hwmon/hwmon0/power1_average", "much\n");
	gpu = only_gpu();
	assert_string_equal(gpu.name, "AMD GPU 73bf");
	assert_string_equal(gpu.uuid, "");
	assert_int_equal(gpu.temperature_c, -1);
	assert_int_equal(gpu.utilisation_percent, -1);
	assert_int_equal(gpu.power_mw, -1);
}

static void newer_cards_tell_their_power_otherwise(void **state)
{
	(void)state;
	put_full_amd();
	put_node("card1", "hwmon/hwmon4/power1_input", "99000000\n");
	assert_int_equal(only_gpu().power_mw, 120500);
	assert_int_equal(put_away("/sys/class/drm/card1/device/hwmon/hwmon4/power1_average"), 0);
	assert_int_equal(only_gpu().power_mw, 99000);
}

static void names_are_made_presentable(void **state)
{
	char name[200];

	(void)state;
	put_full_amd();
	put_node("card1", "product_name",
		 "A\xff"
		 "B\n");
	assert_string_equal(only_gpu().name, "A");
	memset(name, 'n', sizeof(name));
	name[199] = '\0';
	put_node("card1", "product_name", name);
	name[95] = '\0';
	assert_string_equal(only_gpu().name, name);
}

/* ---- processes ---- */

/* A node of the compute driver: a CPU has the number 0. */
static void put_kfd_node(int node, const char *number, const char *properties)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/kfd/kfd/topology/nodes/%d/gpu_id", node);
	put(path, number);
	snprintf(path, sizeof(path), "/sys/class/kfd/kfd/topology/nodes/%d/properties", node);
	put(path, properties);
}

static void put_kfd_process(const char *pid, const char *file, const char *bytes)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/kfd/kfd/proc/%s/%s", pid, file);
	put(path, bytes);
}

/* 0000:03:00.0 is 3 << 8, and 0001:0a:00.1 is 10 << 8 | 1 in domain 1. */
static void put_kfd(void)
{
	put_kfd_node(0, "0\n", "cpu_cores_count 16\nlocation_id 768\ndomain 0\n");
	put_kfd_node(1, "9881\n", "cpu_cores_count 0\nlocation_id 2561\ndomain 1\n");
	put_kfd_node(2, "54321\n", "simd_count 240\nlocation_id 768\ndomain 0\n");
	put_kfd_process("4711", "vram_54321", "5000\n");
	put_kfd_process("4711", "vram_9881", "77\n");
	put_kfd_process("4711", "sdma_54321", "99\n");
	put_kfd_process("200", "vram_54321", "0\n"); /* it has only opened the driver */
	put_kfd_process("300", "vram_54321", "9000\n");
	put_kfd_process("400", "vram_54321", "odd\n");
	put_kfd_process("odd", "vram_54321", "1\n");
}

static void processes_are_those_of_the_compute_driver(void **state)
{
	struct pc_gpu gpu;

	(void)state;
	put_full_amd();
	put_kfd();
	gpu = only_gpu();
	assert_true(gpu.processes_known);
	assert_int_equal(gpu.process_count, 2);
	assert_int_equal(gpu.processes[0].pid, 300);
	assert_int_equal(gpu.processes[0].vram_bytes, 9000);
	assert_int_equal(gpu.processes[1].pid, 4711);
	assert_int_equal(gpu.processes[1].vram_bytes, 5000);

	/* The same of a GPU in another domain. */
	assert_int_equal(remove_tree(NULL), 0);
	assert_int_equal(mkdir(tree, 0700), 0);
	put_amd("card0", "0001:0a:00.1", "5\n");
	put_kfd();
	gpu = only_gpu();
	assert_int_equal(gpu.process_count, 1);
	assert_int_equal(gpu.processes[0].vram_bytes, 77);
}

static void processes_may_be_unknown(void **state)
{
	(void)state;
	put_full_amd();
	put_kfd();
	/* Of two nodes neither is this GPU; then none can be read. */
	put_kfd_node(2, "54321\n", "simd_count 240\nlocation_id 769\ndomain 0\n");
	assert_false(only_gpu().processes_known);
	put_kfd_node(2, "54321\n", "simd_count 240\nxlocation_id 768\n");
	assert_false(only_gpu().processes_known);
	/* Older kernels name no domain. */
	put_kfd_node(2, "54321\n", "location_id 768\n");
	assert_true(only_gpu().processes_known);
	put_kfd_node(2, "odd\n", "location_id 768\n");
	assert_false(only_gpu().processes_known);
}

/* ---- which of the nodes are GPUs ---- */

static void a_machine_without_graphics(void **state)
{
	(void)state;
	expect_tree(0, "");
	put("/sys/class/drm/version", "drm 1.1.0 20060810\n");
	expect_tree(0, "");
}

static void a_device_with_two_nodes_is_one(void **state)
{
	(void)state;
	put_full_amd();
	put_amd("renderD128", "0000:03:00.0", "5\n");
	assert_int_equal(only_gpu().temperature_c, 51);
	/* A node for computing alone will do. */
	put_amd("renderD129", "0000:04:00.0", "5\n");
	expect_tree(2, "; 2 AMD GPUs");

	struct pc_gpu_inventory *inventory = open_tree(NO_LIBRARY);
	const struct pc_gpu *gpus;

	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 2);
	assert_int_equal(gpus[1].driver_index, 1);
	pc_gpu_inventory_close(inventory);
}

static void what_is_no_gpu_of_its_own_is_left_out(void **state)
{
	(void)state;
	put_full_amd();
	put_amd("card1-DP-1", "0000:05:00.0", "5\n"); /* a connector */
	put_amd("card", "0000:06:00.0", "5\n");
	put_amd("controlD64", "0000:07:00.0", "5\n");
	put_node("card7", "uevent", "DRIVER=vgem\n"); /* a virtual one */
	put_node("card7", "vendor", "0x1002\n");
	put_device("card8", "0000:08:00.0", "0x1af4\n"); /* virtio's */
	put_device("card9", "0000:09:00.0", "odd\n");
	put_device("card10", "elsewhere", "0x1002\n");
	expect_tree(1, "; 1 AMD GPU");
}

static void gpus_without_memory_of_their_own_are_named(void **state)
{
	(void)state;
	put_device("card0", "0000:00:02.0", "0x8086\n");
	put_device("card1", "0000:05:00.0", "0x1002\n");
	put_device("card2", "0000:01:00.0", "0x10de\n");
	expect_tree(0, "; Intel GPU 0000:00:02.0 is not used, it tells of no memory of its own"
		       "; NVIDIA GPU 0000:01:00.0 is there, but not for NVML"
		       "; AMD GPU 0000:05:00.0 is not used, it tells of no memory of its own");
}

/* ---- what cannot be read ---- */

static void unreadable_memory_is_said(void **state)
{
	static const char *const no_numbers[] = { "",	  "\n",	   "x\n",
						  "-5\n", "5 6\n", "99999999999999999999999\n" };
	struct pc_gpu gpu;

	(void)state;
	put_full_amd();
	for (size_t i = 0; i < PC_ARRAY_LEN(no_numbers); i++) {
		put_node("card1", "mem_info_vram_total", no_numbers[i]);
		gpu = only_gpu();
		assert_string_equal(gpu.error,
				    "mem_info_vram_total of 0000:03:00.0: not a number of bytes");
		assert_true(gpu.vram_total_bytes == 0);
		assert_string_equal(gpu.name, "AMD Instinct MI100");
	}
	put_node("card1", "mem_info_vram_total", "1000\n");
	assert_int_equal(put_away("/sys/class/drm/card1/device/mem_info_vram_used"), 0);
	gpu = only_gpu();
	assert_string_equal(gpu.error,
			    "mem_info_vram_used of 0000:03:00.0: No such file or directory");
	assert_true(gpu.vram_total_bytes == 0);
	expect_tree(1, "; 0 of 1 AMD GPU; gpu0: mem_info_vram_used of 0000:03:00.0: No such file "
		       "or directory");
	/* The two are not read at the same moment. */
	put_node("card1", "mem_info_vram_used", "1001\n");
	gpu = only_gpu();
	assert_string_equal(gpu.error, "");
	assert_true(gpu.vram_used_bytes == 1000 && gpu.vram_free_bytes == 0);
}

static void one_that_cannot_be_read_any_more_keeps_its_figures(void **state)
{
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;

	(void)state;
	put_full_amd();
	inventory = open_tree(NO_LIBRARY);
	put_node("card1", "mem_info_vram_used", "gone\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_true(gpus[0].error[0] != '\0');
	assert_true(gpus[0].vram_used_bytes == UINT64_C(1163091968));
	assert_int_equal(gpus[0].temperature_c, -1);
	pc_gpu_inventory_close(inventory);
}

/* ---- together ---- */

static void nvidia_comes_first_and_then_amd_by_address(void **state)
{
	static const char *const devices[] = { "gpu0", "gpu1", "gpu2", "gpu3" };
	static const char *const addresses[] = { "0000:21:00.0", "0000:01:00.0", "0000:03:00.0",
						 "0000:0a:00.0" };
	struct pc_gpu_inventory *inventory;
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_gpu *gpus;

	(void)state;
	put_full_amd();
	put_amd("card0", "0000:0a:00.0", "7\n");
	put_device("card5", "0000:01:00.0", "0x10de\n"); /* NVML has it too */
	put_device("card6", "0000:21:00.0", "0x10de\n");
	put_script("driver 5\ngpu A|GPU-1|9|0|1|1|0000:21:00|1\n"
		   "gpu B|GPU-2|9|0|1|1|0000:01:00|1\n");
	inventory = open_tree(standin);
	assert_string_equal(pc_gpu_inventory_note(inventory), "2 GPUs, driver 5; 2 AMD GPUs");
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(gpus[i].device, devices[i]);
		assert_string_equal(gpus[i].pci_bus_id, addresses[i]);
		assert_int_equal(gpus[i].driver_index, i % 2);
	}

	/* One vendor's trouble is not the other's. */
	put_script("fail nvmlDeviceGetCount_v2 999\n");
	put_node("card0", "mem_info_vram_used", "8\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, &err), PC_E_IO);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 4);
	assert_true(gpus[0].error[0] && gpus[1].error[0] && !gpus[2].error[0] && !gpus[3].error[0]);
	assert_true(gpus[3].vram_used_bytes == 8);
	assert_string_equal(
		pc_gpu_inventory_note(inventory),
		"nvmlDeviceGetCount_v2: NVML_ERROR_UNKNOWN (Unknown Error); 2 AMD GPUs");
	pc_gpu_inventory_close(inventory);
}

static void a_gpu_that_comes_later_gets_the_next_index(void **state)
{
	struct pc_gpu_inventory *inventory;
	const struct pc_gpu *gpus;

	(void)state;
	put_full_amd();
	put_script("fail nvmlInit_v2 9\n");
	inventory = open_tree(standin);
	put_script("driver 5\ngpu A|GPU-1|9|0|1|1|0000:21:00|1\n");
	put_amd("card0", "0000:02:00.0", "7\n");
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 3);
	assert_string_equal(gpus[0].pci_bus_id, "0000:03:00.0");
	assert_int_equal(gpus[0].driver_index, 1);
	assert_string_equal(gpus[1].pci_bus_id, "0000:21:00.0");
	assert_string_equal(gpus[2].pci_bus_id, "0000:02:00.0");
	assert_int_equal(remove_tree(NULL), 0);
	assert_int_equal(mkdir(tree, 0700), 0);
	assert_int_equal(pc_gpu_inventory_refresh(inventory, NULL), 0);
	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), 1);
	assert_string_equal(gpus[0].device, "gpu1");
	pc_gpu_inventory_close(inventory);
}

static void more_cards_than_indexes(void **state)
{
	char node[16], address[32];

	(void)state;
	for (int i = 0; i < PC_GPU_MAX + 2; i++) {
		snprintf(node, sizeof(node), "card%d", i);
		snprintf(address, sizeof(address), "0000:%02x:00.0", i + 1);
		put_amd(node, address, "1\n");
	}
	put_script("driver 5\ngpu A|GPU-1|9|0|1|1|0000:f1:00|1\n");

	struct pc_gpu_inventory *inventory = open_tree(standin);
	const struct pc_gpu *gpus;

	assert_int_equal(pc_gpu_inventory_list(inventory, &gpus), PC_GPU_MAX);
	assert_int_equal(gpus[PC_GPU_MAX - 1].index, PC_GPU_MAX - 1);
	assert_non_null(strstr(pc_gpu_inventory_note(inventory),
			       "1 GPU, driver 5; 30 AMD GPUs; 1 more than the 31 that can be"));
	pc_gpu_inventory_close(inventory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_TREE(a_gpu_tells_all_of_itself),
		IN_TREE(the_necessary_alone_is_enough),
		IN_TREE(newer_cards_tell_their_power_otherwise),
		IN_TREE(names_are_made_presentable),
		IN_TREE(processes_are_those_of_the_compute_driver),
		IN_TREE(processes_may_be_unknown),
		IN_TREE(a_machine_without_graphics),
		IN_TREE(a_device_with_two_nodes_is_one),
		IN_TREE(what_is_no_gpu_of_its_own_is_left_out),
		IN_TREE(gpus_without_memory_of_their_own_are_named),
		IN_TREE(unreadable_memory_is_said),
		IN_TREE(one_that_cannot_be_read_any_more_keeps_its_figures),
		IN_TREE(nvidia_comes_first_and_then_amd_by_address),
		IN_TREE(a_gpu_that_comes_later_gets_the_next_index),
		IN_TREE(more_cards_than_indexes),
	};

	return cmocka_run_group_tests(tests, find_standins, remove_script);
}
