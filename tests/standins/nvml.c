/* SPDX-License-Identifier: MIT */
/*
 * nvml.c - a library that answers as NVIDIA's management library does, for machines without its
 * hardware. It speaks the real ABI (written down here on its own, so that a mistake in
 * src/gpu/nvml.h shows), and says what the text file named in POOLCORE_NVML_SCRIPT tells it. The
 * file is read again at each call, so that GPUs come and go, fill up and fail under a running
 * program.
 *
 *     # comment
 *     driver 550.54.14
 *     gpu NVIDIA Test A|GPU-1111|25757220864|1073741824|45|12     name|uuid|total|used|celsius|percent
 *     gpu NVIDIA Test B|GPU-2222|8589934592|0|30|0|0000:01:00|35000           ...|domain:bus:device|mW
 *     reserved 1 400000000                              so much of gpu 1's used bytes is the driver's
 *     process 1 4711 1073741824                         on gpu 1; "-" for bytes: not available
 *     stride 32                      records of ...Processes_v3, as drivers 535.43 to 535.86 had them
 *     mig 0 2                                           gpu 0 is divided, into two
 *     hang nvmlDeviceGetCount_v2 /tmp/gate              that function waits for a byte of that FIFO
 *     fail nvmlInit_v2 9                                that function returns that code
 *     fail nvmlDeviceGetMemoryInfo 15 1                 only for the GPU of index 1
 *
 * Without a file there is no driver (code 9). Temperature, utilisation, address or power "-" is not
 * supported (code 3). A handle of a GPU that is no longer there is lost (code 15).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define GPU_MAX 80
#define FAIL_MAX 32
#define PROCESS_MAX 2000

enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	GPU_IS_LOST = 15,
	VERSION_MISMATCH = 25,
};

typedef struct nvmlDevice_st {
	char name[200];
	char uuid[200];
	unsigned long long total, used;
	char temperature[16], utilisation[16], pci[32], power[16]; /* a number, or "-" */
	unsigned long long reserved;
	int mig_instances; /* -1: not divided */
} * nvmlDevice_t;

typedef struct {
	unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
	unsigned int version;
	unsigned long long total, reserved, free, used;
} nvmlMemory_v2_t;

typedef struct {
	unsigned int gpu, memory;
} nvmlUtilization_t;

typedef struct {
	char busIdLegacy[16];
	unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
	char busId[32];
} nvmlPciInfo_t;

/* The longest of its forms: _v1 ends after usedGpuMemory, _v2 before the last member. */
typedef struct {
	unsigned int pid;
	unsigned long long usedGpuMemory;
	unsigned int gpuInstanceId, computeInstanceId;
	unsigned long long usedGpuCcProtectedMemory;
} nvmlProcessInfo_t;

static struct nvmlDevice_st gpus[GPU_MAX];
static unsigned int gpu_count;
static char driver[200];
static struct {
	char function[64];
	int code;
	int index; /* -1: for every GPU */
} fails[FAIL_MAX];
static int fail_count;
static struct {
	unsigned int gpu, pid;
	unsigned long long used;
} processes[PROCESS_MAX];
static unsigned int process_count;
static unsigned int stride;
static char hanging[64], gate[512];
static int references;

static int read_gpu(const char *line)
{
	struct nvmlDevice_st *gpu = &gpus[gpu_count];

	if (gpu_count == GPU_MAX)
		return 0;
	strcpy(gpu->pci, "-");
	strcpy(gpu->power, "-");
	gpu->reserved = 0;
	gpu->mig_instances = -1;
	if (sscanf(line, "gpu %199[^|]|%199[^|]|%llu|%llu|%15[^|]|%15[^|\n]|%31[^|]|%15[^\n]",
		   gpu->name, gpu->uuid, &gpu->total, &gpu->used, gpu->temperature,
		   gpu->utilisation, gpu->pci, gpu->power) < 6)
		return 0;
	gpu_count++;
	return 1;
}

static void read_process(unsigned int gpu, unsigned int pid, const char *bytes)
{
	if (process_count == PROCESS_MAX)
		return;
	processes[process_count].gpu = gpu;
	processes[process_count].pid = pid;
	processes[process_count].used = bytes[0] == '-' ? ~0ULL : strtoull(bytes, NULL, 10);
	process_count++;
}

static void read_line(const char *line)
{
	unsigned int gpu, pid;
	unsigned long long bytes;
	char word[32];
	int index = -1, number;

	if (read_gpu(line) || sscanf(line, "driver %199[^\n]", driver) == 1 ||
	    sscanf(line, "stride %u", &stride) == 1 ||
	    sscanf(line, "hang %63s %511s", hanging, gate) == 2)
		return;
	if (sscanf(line, "reserved %u %llu", &gpu, &bytes) == 2 && gpu < gpu_count)
		gpus[gpu].reserved = bytes;
	else if (sscanf(line, "mig %u %d", &gpu, &number) == 2 && gpu < gpu_count)
		gpus[gpu].mig_instances = number;
	else if (sscanf(line, "process %u %u %31s", &gpu, &pid, word) == 3)
		read_process(gpu, pid, word);
	else if (fail_count < FAIL_MAX &&
		 sscanf(line, "fail %63s %d %d", fails[fail_count].function,
			&fails[fail_count].code, &index) >= 2)
		fails[fail_count++].index = index;
}

static int read_script(void)
{
	const char *path = getenv("POOLCORE_NVML_SCRIPT");
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[1024];

	gpu_count = 0;
	fail_count = 0;
	process_count = 0;
	stride = 24;
	hanging[0] = '\0';
	driver[0] = '\0';
	if (!file)
		return DRIVER_NOT_LOADED;
	while (fgets(line, sizeof(line), file))
		read_line(line);
	fclose(file);
	return SUCCESS;
}

static void hang(void)
{
	FILE *file = fopen(gate, "re");

	if (file) {
		fgetc(file);
		fclose(file);
	}
}

/* The code that the script has for a function, and for the GPU where the call concerns one. */
static int scripted(const char *function, nvmlDevice_t device)
{
	int index = device ? (int)(device - gpus) : -1;

	if (strcmp(function, "nvmlInit_v2") != 0 && references == 0)
		return UNINITIALIZED;
	if (read_script() != SUCCESS)
		return DRIVER_NOT_LOADED;
	if (strcmp(hanging, function) == 0)
		hang();
	for (int i = 0; i < fail_count; i++) {
		if (strcmp(fails[i].function, function) == 0 &&
		    (fails[i].index == -1 || fails[i].index == index))
			return fails[i].code;
	}
	return index >= (int)gpu_count ? GPU_IS_LOST : SUCCESS;
}

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlInit_v2(void)
{
	int code = scripted("nvmlInit_v2", NULL);

	if (code == SUCCESS)
		references++;
	return code;
}

EXPORT int nvmlShutdown(void);
EXPORT int nvmlShutdown(void)
{
	if (references == 0)
		return UNINITIALIZED;
	references--;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned int *count);
EXPORT int nvmlDeviceGetCount_v2(unsigned int *count)
{
	int code = scripted("nvmlDeviceGetCount_v2", NULL);

	if (code == SUCCESS)
		*count = gpu_count;
	return code;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	int code;

	if (!device || index >= GPU_MAX)
		return references ? INVALID_ARGUMENT : UNINITIALIZED;
	code = scripted("nvmlDeviceGetHandleByIndex_v2", &gpus[index]);
	if (code != UNINITIALIZED && index >= gpu_count)
		return INVALID_ARGUMENT;
	if (code == SUCCESS)
		*device = &gpus[index];
	return code;
}

EXPORT int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory);
EXPORT int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
	int code = scripted("nvmlDeviceGetMemoryInfo", device);

	if (code == SUCCESS)
		*memory = (nvmlMemory_t){ .total = device->total,
					  .free = device->total - device->used,
					  .used = device->used };
	return code;
}

#ifndef BARE

/* NVML's rule for strings: they fit with their NUL, or nothing is written. */
static int give_text(const char *text, char *out, unsigned int length)
{
	if (!out)
		return INVALID_ARGUMENT;
	if (strlen(text) >= length)
		return INSUFFICIENT_SIZE;
	strcpy(out, text);
	return SUCCESS;
}

EXPORT int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length);
EXPORT int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
	int code = scripted("nvmlDeviceGetName", device);

	return code == SUCCESS ? give_text(device->name, name, length) : code;
}

EXPORT int nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length);
EXPORT int nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
	int code = scripted("nvmlDeviceGetUUID", device);

	return code == SUCCESS ? give_text(device->uuid, uuid, length) : code;
}

EXPORT int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius);
EXPORT int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius)
{
	int code = scripted("nvmlDeviceGetTemperature", device);

	if (code != SUCCESS)
		return code;
	if (sensor != 0)
		return INVALID_ARGUMENT;
	return sscanf(device->temperature, "%u", celsius) == 1 ? SUCCESS : NOT_SUPPORTED;
}

EXPORT int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates);
EXPORT int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates)
{
	int code = scripted("nvmlDeviceGetUtilizationRates", device);

	if (code != SUCCESS)
		return code;
	rates->memory = 77; /* so that a reader of the wrong member is found out */
	return sscanf(device->utilisation, "%u", &rates->gpu) == 1 ? SUCCESS : NOT_SUPPORTED;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory);
EXPORT int nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	int code = scripted("nvmlDeviceGetMemoryInfo_v2", device);

	if (code != SUCCESS)
		return code;
	if (memory->version != (sizeof(*memory) | 2u << 24))
		return VERSION_MISMATCH;
	memory->total = device->total;
	memory->reserved = device->reserved;
	memory->free = device->total - device->used;
	memory->used = device->used - device->reserved;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci);
EXPORT int nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	int code = scripted("nvmlDeviceGetPciInfo_v3", device);

	if (code != SUCCESS)
		return code;
	memset(pci, 0xee, sizeof(*pci));
	if (sscanf(device->pci, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device) != 3)
		return NOT_SUPPORTED;
	snprintf(pci->busId, sizeof(pci->busId), "%08X:%02X:%02X.0", pci->domain, pci->bus,
		 pci->device);
	return SUCCESS;
}

EXPORT int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatt);
EXPORT int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatt)
{
	int code = scripted("nvmlDeviceGetPowerUsage", device);

	if (code != SUCCESS)
		return code;
	return sscanf(device->power, "%u", milliwatt) == 1 ? SUCCESS : NOT_SUPPORTED;
}

/* Writes records of `length` bytes, as far as there is room, which `count` says in records. */
static int give_processes(const char *function, nvmlDevice_t device, unsigned int *count,
			  char *records, size_t length)
{
	unsigned int room = *count, there = 0;
	int code = scripted(function, device);

	if (code != SUCCESS)
		return code;
	for (unsigned int i = 0; i < process_count; i++)
		there += processes[i].gpu == (unsigned int)(device - gpus);
	*count = there;
	if (there > room)
		return INSUFFICIENT_SIZE;
	for (unsigned int i = 0; i < process_count; i++) {
		nvmlProcessInfo_t record = { .pid = processes[i].pid,
					     .usedGpuMemory = processes[i].used,
					     .gpuInstanceId = ~0u,
					     .computeInstanceId = ~0u };

		if (processes[i].gpu != (unsigned int)(device - gpus))
			continue;
		memcpy(records, &record, length);
		records += length;
	}
	return SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t, unsigned int *, void *);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
						   void *records)
{
	read_script();
	return give_processes("nvmlDeviceGetComputeRunningProcesses_v3", device, count, records,
			      stride);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t, unsigned int *, void *);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device, unsigned int *count,
						   void *records)
{
	return give_processes("nvmlDeviceGetComputeRunningProcesses_v2", device, count, records,
			      24);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t, unsigned int *, void *);
EXPORT int nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned int *count,
						void *records)
{
	return give_processes("nvmlDeviceGetComputeRunningProcesses", device, count, records, 16);
}

EXPORT int nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending);
EXPORT int nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending)
{
	int code = scripted("nvmlDeviceGetMigMode", device);

	if (code == SUCCESS)
		*now = *pending = device->mig_instances >= 0;
	return code;
}

/* As many as could be made; there may be fewer. */
EXPORT int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count);
EXPORT int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
	int code = scripted("nvmlDeviceGetMaxMigDeviceCount", device);

	if (code == SUCCESS)
		*count = device->mig_instances >= 0 ? 7 : 0;
	return code;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t, unsigned int, nvmlDevice_t *);
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index,
					       nvmlDevice_t *instance)
{
	int code = scripted("nvmlDeviceGetMigDeviceHandleByIndex", device);

	if (code != SUCCESS)
		return code;
	if (index >= 7)
		return INVALID_ARGUMENT;
	if ((int)index >= device->mig_instances)
		return NOT_FOUND;
	*instance = device; /* only ever counted */
	return SUCCESS;
}

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned int length);
EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	int code = scripted("nvmlSystemGetDriverVersion", NULL);

	return code == SUCCESS ? give_text(driver, version, length) : code;
}

EXPORT const char *nvmlErrorString(int code);
EXPORT const char *nvmlErrorString(int code)
{
	switch (code) {
	case SUCCESS:
		return "Success";
	case NOT_SUPPORTED:
		return "Not Supported";
	case 4:
		return "Insufficient Permissions";
	case DRIVER_NOT_LOADED:
		return "Driver Not Loaded";
	case GPU_IS_LOST:
		return "GPU is lost";
	case 18:
		return "Driver/library version mismatch";
	default:
		return "Unknown Error";
	}
}

#endif
