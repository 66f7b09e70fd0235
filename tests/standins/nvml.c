/* SPDX-License-Identifier: MIT */
/*
 * nvml.c - a library that answers as NVIDIA's management library does, for machines without its
 * hardware. It speaks the real ABI (written down here on its own, so that a mistake in
 * src/gpu/nvml.h shows), and says what the text file named in POOLCORE_NVML_SCRIPT tells it. The
 * file is read again at each nvmlInit_v2 and each nvmlDeviceGetCount_v2, so a test may change the
 * machine under a running program.
 *
 *     # comment
 *     driver 550.54.14
 *     gpu NVIDIA Test A|GPU-1111|25757220864|1073741824|45|12 name|uuid|total|used|celsius|percent
 *     fail nvmlInit_v2 9                                          that function returns that code
 *     fail nvmlDeviceGetMemoryInfo 15 1                           only for the GPU of index 1
 *
 * Without a file there is no driver (code 9). Temperature or utilisation "-" is not supported (code
 * 3).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define GPU_MAX 80
#define FAIL_MAX 32

enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
};

typedef struct nvmlDevice_st {
	char name[200];
	char uuid[200];
	unsigned long long total, used;
	char temperature[16], utilisation[16]; /* a number, or "-" */
} * nvmlDevice_t;

typedef struct {
	unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
	unsigned int gpu, memory;
} nvmlUtilization_t;

static struct nvmlDevice_st gpus[GPU_MAX];
static unsigned int gpu_count;
static char driver[200];
static struct {
	char function[64];
	int code;
	int index; /* -1: for every GPU */
} fails[FAIL_MAX];
static int fail_count;
static int references;

static void read_line(const char *line)
{
	struct nvmlDevice_st *gpu = &gpus[gpu_count];
	int index = -1;

	if (sscanf(line, "driver %199[^\n]", driver) == 1)
		return;
	if (gpu_count < GPU_MAX &&
	    sscanf(line, "gpu %199[^|]|%199[^|]|%llu|%llu|%15[^|]|%15[^\n]", gpu->name, gpu->uuid,
		   &gpu->total, &gpu->used, gpu->temperature, gpu->utilisation) == 6) {
		gpu_count++;
		return;
	}
	if (fail_count < FAIL_MAX && sscanf(line, "fail %63s %d %d", fails[fail_count].function,
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
	driver[0] = '\0';
	if (!file)
		return DRIVER_NOT_LOADED;
	while (fgets(line, sizeof(line), file))
		read_line(line);
	fclose(file);
	return SUCCESS;
}

/* The code that the script has for a function, and for the GPU where the call concerns one. */
static int scripted(const char *function, nvmlDevice_t device)
{
	int index = device ? (int)(device - gpus) : -1;

	if (strcmp(function, "nvmlInit_v2") != 0 && references == 0)
		return UNINITIALIZED;
	for (int i = 0; i < fail_count; i++) {
		if (strcmp(fails[i].function, function) == 0 &&
		    (fails[i].index == -1 || fails[i].index == index))
			return fails[i].code;
	}
	return SUCCESS;
}

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlInit_v2(void)
{
	int code = read_script();

	if (code == SUCCESS)
		code = scripted("nvmlInit_v2", NULL);
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
	int code;

	if (references > 0)
		read_script();
	code = scripted("nvmlDeviceGetCount_v2", NULL);
	if (code == SUCCESS)
		*count = gpu_count;
	return code;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	int code;

	if (index >= gpu_count || !device)
		return references ? INVALID_ARGUMENT : UNINITIALIZED;
	code = scripted("nvmlDeviceGetHandleByIndex_v2", &gpus[index]);
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
	case 15:
		return "GPU is lost";
	case 18:
		return "Driver/library version mismatch";
	default:
		return "Unknown Error";
	}
}

#endif
