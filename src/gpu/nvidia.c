/* SPDX-License-Identifier: MIT */
/*
 * nvidia.c - asks NVML about NVIDIA's GPUs. It reads and changes nothing. The thread that owns the
 * inventory.
 *
 * The library is loaded and initialised by the first list. Where that fails, each list tries again:
 * a driver may be installed or loaded later. When a driver stops answering as a whole, NVML is shut
 * down and unloaded, and the next list starts anew: after an update of the driver neither the old
 * initialisation nor the old library ever works again.
 *
 * Records of processes. NVML writes them into an array of ours, and how long one is has been
 * changed under one and the same function name: drivers 535.43 to 535.86 wrote 32 bytes where
 * those before and after write 24 (NVIDIA's nvml.h of these releases), and without a suffix they
 * have 16. So the array is filled with a pattern first, room is left for the longest, and the
 * length is read off from how far the driver wrote.
 */
#include <stdio.h>
#include <string.h>

#include "gpu/sources.h"

/* ---- the driver ---- */

static void stop_nvml(struct pc__nvidia *nvidia)
{
	if (nvidia->initialised)
		nvidia->nvml.shutdown();
	nvidia->initialised = false;
	pc__nvml_unload(&nvidia->nvml);
}

/* Loads and initialises what is not yet. Returns 0, or -1 with the reason in why[size]. */
static int start_nvml(struct pc__nvidia *nvidia, const char *path, char *why, size_t size)
{
	if (!nvidia->nvml.library && pc__nvml_load(&nvidia->nvml, path, why, size))
		return -1;
	if (nvidia->initialised)
		return 0;

	int code = nvidia->nvml.init();

	if (code != NVML_SUCCESS) {
		pc__nvml_describe(&nvidia->nvml, "nvmlInit_v2", code, why, size);
		stop_nvml(nvidia);
		return -1;
	}
	nvidia->initialised = true;
	return 0;
}

/* ---- processes ---- */

#define PATTERN 0xa5

/* The length of a record, of which `count` were written; 0 when it is none that is known. */
static size_t record_stride(const struct pc__nvidia *nvidia, unsigned count)
{
	static const size_t strides[] = { 16, 24, PC__PROCESS_STRIDE_MAX };
	size_t written = sizeof(nvidia->records);

	_Static_assert(sizeof(struct nvml_process) == 16, "the shortest record");
	while (written > 0 && nvidia->records[written - 1] == PATTERN)
		written--;
	for (size_t i = 0; i < PC_ARRAY_LEN(strides); i++) {
		if (written <= count * strides[i])
			return strides[i];
	}
	return 0;
}

/* Asks the newest function first: an older one may leave out what it has no words for, and an old
 * driver has the newest under a newer library not at all. Returns how many, or -1. */
static int ask_processes(struct pc__nvidia *nvidia, struct nvml_device *device)
{
	for (size_t i = 0; i < NVML_PROCESS_VERSIONS; i++) {
		unsigned int count = PC__PROCESS_ROOM;

		if (!nvidia->nvml.device_processes[i])
			continue;
		memset(nvidia->records, PATTERN, sizeof(nvidia->records));
		if (nvidia->nvml.device_processes[i](device, &count, nvidia->records) ==
			    NVML_SUCCESS &&
		    count <= PC__PROCESS_ROOM)
			return (int)count;
	}
	return -1;
}

static void read_processes(struct pc__nvidia *nvidia, struct nvml_device *device,
			   struct pc_gpu *gpu)
{
	struct pc_gpu_process processes[PC__PROCESS_ROOM];
	int count = ask_processes(nvidia, device);
	size_t stride = count > 0 ? record_stride(nvidia, (unsigned)count) : 0;

	if (count < 0 || (count > 0 && stride == 0))
		return;
	for (int i = 0; i < count; i++) {
		struct nvml_process record;

		memcpy(&record, nvidia->records + (size_t)i * stride, sizeof(record));
		processes[i].pid = record.pid;
		processes[i].vram_bytes = record.used == NVML_VALUE_NOT_AVAILABLE ||
							  record.used > INT64_MAX
						  ? -1
						  : (int64_t)record.used;
	}
	pc__processes_take(gpu, processes, (size_t)count);
}

/* ---- one GPU ---- */

/* Who it is; what is not told stays empty. */
static void read_identity(const struct pc__nvml *nvml, struct nvml_device *device,
			  struct pc_gpu *gpu)
{
	struct nvml_pci pci = { .domain = 0 };

	_Static_assert(sizeof(gpu->name) >= NVML_NAME_SIZE, "NVML's names fit");
	_Static_assert(sizeof(gpu->uuid) >= NVML_UUID_SIZE, "NVML's identifiers fit");

	if (!nvml->device_name || nvml->device_name(device, gpu->name, sizeof(gpu->name)))
		gpu->name[0] = '\0';
	if (!nvml->device_uuid || nvml->device_uuid(device, gpu->uuid, sizeof(gpu->uuid)))
		gpu->uuid[0] = '\0';
	/* The kernel's spelling of it; NVML's own has a longer domain and capital letters. */
	if (nvml->device_pci && nvml->device_pci(device, &pci) == NVML_SUCCESS)
		snprintf(gpu->pci_bus_id, sizeof(gpu->pci_bus_id), "%04x:%02x:%02x.0", pci.domain,
			 pci.bus & 0xff, pci.device & 0x1f);
	pc__tidy(gpu->name, sizeof(gpu->name));
	pc__tidy(gpu->uuid, sizeof(gpu->uuid));
}

/* What is worth knowing, though a GPU is of use without it. */
static void read_condition(const struct pc__nvml *nvml, struct nvml_device *device,
			   struct pc_gpu *gpu)
{
	struct nvml_utilisation utilisation = { 0 };
	unsigned int celsius = 0, milliwatt = 0;

	if (nvml->device_temperature &&
	    nvml->device_temperature(device, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS &&
	    celsius < 1000)
		gpu->temperature_c = (int)celsius;
	if (nvml->device_utilisation &&
	    nvml->device_utilisation(device, &utilisation) == NVML_SUCCESS &&
	    utilisation.gpu <= 100)
		gpu->utilisation_percent = (int)utilisation.gpu;
	if (nvml->device_power && nvml->device_power(device, &milliwatt) == NVML_SUCCESS &&
	    milliwatt <= INT32_MAX)
		gpu->power_mw = (int)milliwatt;
}

/* The totals are those of the first version of the function: whether the second counts what is
 * reserved as used has differed between drivers. */
static int read_memory(const struct pc__nvml *nvml, struct nvml_device *device, struct pc_gpu *gpu)
{
	struct nvml_memory memory = { 0 };
	struct nvml_memory_v2 parts = { .version = NVML_MEMORY_V2 };
	int code = nvml->device_memory(device, &memory);

	if (code != NVML_SUCCESS)
		return code;
	gpu->vram_total_bytes = memory.total;
	gpu->vram_free_bytes = memory.free;
	gpu->vram_used_bytes = memory.used;
	if (nvml->device_memory_v2 && nvml->device_memory_v2(device, &parts) == NVML_SUCCESS &&
	    parts.reserved <= memory.used)
		gpu->vram_reserved_bytes = parts.reserved;
	return NVML_SUCCESS;
}

/* A divided GPU gives no process more than one part of it, and CUDA shows it none of the others. */
static void read_mig(const struct pc__nvml *nvml, struct nvml_device *device, struct pc_gpu *gpu)
{
	unsigned int now = 0, pending = 0, most = 0;

	if (!nvml->mig_mode || nvml->mig_mode(device, &now, &pending) != NVML_SUCCESS ||
	    now != NVML_DEVICE_MIG_ENABLE)
		return;
	gpu->mig_enabled = true;
	if (nvml->mig_max && nvml->mig_max(device, &most) != NVML_SUCCESS)
		most = 0;
	/* The bound is a guess, against a driver's nonsense; the largest GPUs have 7. */
	for (unsigned i = 0; nvml->mig_handle && i < most && i < 64; i++) {
		struct nvml_device *instance = NULL;

		gpu->mig_instances += nvml->mig_handle(device, i, &instance) == NVML_SUCCESS;
	}
	snprintf(gpu->error, sizeof(gpu->error),
		 "MIG is enabled with %u instance%s, which are not used; disable it to use the GPU "
		 "as a whole (nvidia-smi -mig 0)",
		 gpu->mig_instances, gpu->mig_instances == 1 ? "" : "s");
}

static void read_gpu(struct pc__nvidia *nvidia, unsigned index, struct pc_gpu *gpu)
{
	const char *function = "nvmlDeviceGetHandleByIndex_v2";
	const struct pc__nvml *nvml = &nvidia->nvml;
	struct nvml_device *device = NULL;
	int code = nvml->device_handle(index, &device);

	*gpu = (struct pc_gpu){ .vendor = PC_GPU_NVIDIA,
				.driver_index = index,
				.temperature_c = -1,
				.utilisation_percent = -1,
				.power_mw = -1 };
	if (code == NVML_SUCCESS) {
		read_identity(nvml, device, gpu);
		function = "nvmlDeviceGetMemoryInfo";
		code = read_memory(nvml, device, gpu);
	}
	if (code != NVML_SUCCESS) {
		pc__nvml_describe(nvml, function, code, gpu->error, sizeof(gpu->error));
		pc__tidy(gpu->error, sizeof(gpu->error));
		return;
	}
	read_condition(nvml, device, gpu);
	read_processes(nvidia, device, gpu);
	read_mig(nvml, device, gpu);
}

/* ---- all of them ---- */

int pc__nvidia_list(struct pc__nvidia *nvidia, const char *path, struct pc_gpu gpus[PC_GPU_MAX],
		    unsigned *ret_present, char *why, size_t size)
{
	unsigned int present = 0;
	unsigned count = 0;

	if (start_nvml(nvidia, path, why, size))
		return -1;

	int code = nvidia->nvml.device_count(&present);

	if (code != NVML_SUCCESS) {
		pc__nvml_describe(&nvidia->nvml, "nvmlDeviceGetCount_v2", code, why, size);
		stop_nvml(nvidia);
		return -1;
	}
	for (; count < present && count < PC_GPU_MAX; count++)
		read_gpu(nvidia, count, &gpus[count]);
	*ret_present = present;
	return (int)count;
}

void pc__nvidia_version(struct pc__nvidia *nvidia, char *out)
{
	out[0] = '\0';
	if (!nvidia->nvml.driver_version ||
	    nvidia->nvml.driver_version(out, NVML_DRIVER_VERSION_SIZE) != NVML_SUCCESS)
		out[0] = '\0';
	pc__tidy(out, NVML_DRIVER_VERSION_SIZE);
	if (!out[0])
		snprintf(out, NVML_DRIVER_VERSION_SIZE, "of unknown version");
}

void pc__nvidia_fini(struct pc__nvidia *nvidia)
{
	stop_nvml(nvidia);
}
