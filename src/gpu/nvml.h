/* SPDX-License-Identifier: MIT */
/*
 * nvml.h - the part of NVIDIA's management library that the inventory asks, found at run time.
 * Inside this room only. Nothing of NVIDIA's header is needed to build: the ABI is written down
 * here.
 *
 * Source of every signature, structure, number and buffer size: NVML API Reference Guide, vR590
 * (docs.nvidia.com/deploy/nvml-api), chapters "Initialization and Cleanup", "System Queries",
 * "Device Queries", "Device Structs", "Device Enums" (nvmlReturn_t), "Multi Instance GPU
 * Management" and "Constants".
 */
#ifndef GPU_NVML_H
#define GPU_NVML_H

#include <poolcore/base.h>

/* NVML_DEVICE_NAME_V2_BUFFER_SIZE, NVML_DEVICE_UUID_V2_BUFFER_SIZE,
 * NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE */
#define NVML_NAME_SIZE 96
#define NVML_UUID_SIZE 96
#define NVML_DRIVER_VERSION_SIZE 80

#define NVML_TEMPERATURE_GPU 0
#define NVML_DEVICE_MIG_ENABLE 1
#define NVML_VALUE_NOT_AVAILABLE (~0ULL) /* of a process's memory */

/* The values of nvmlReturn_t that are told apart here. */
enum {
	NVML_SUCCESS = 0,
	NVML_ERROR_UNINITIALIZED = 1,
	NVML_ERROR_INVALID_ARGUMENT = 2,
	NVML_ERROR_NOT_SUPPORTED = 3,
	NVML_ERROR_NO_PERMISSION = 4,
	NVML_ERROR_NOT_FOUND = 6,
	NVML_ERROR_INSUFFICIENT_SIZE = 7,
	NVML_ERROR_DRIVER_NOT_LOADED = 9,
	NVML_ERROR_TIMEOUT = 10,
	NVML_ERROR_LIBRARY_NOT_FOUND = 12,
	NVML_ERROR_FUNCTION_NOT_FOUND = 13,
	NVML_ERROR_GPU_IS_LOST = 15,
	NVML_ERROR_RESET_REQUIRED = 16,
	NVML_ERROR_OPERATING_SYSTEM = 17,
	NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
	NVML_ERROR_IN_USE = 19,
	NVML_ERROR_MEMORY = 20,
	NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
	NVML_ERROR_NOT_READY = 27,
	NVML_ERROR_UNKNOWN = 999,
};

struct nvml_memory { /* nvmlMemory_t */
	unsigned long long total;
	unsigned long long free;
	unsigned long long used; /* what the driver keeps for itself included */
};

struct nvml_memory_v2 {	      /* nvmlMemory_v2_t */
	unsigned int version; /* NVML_MEMORY_V2 */
	unsigned long long total;
	unsigned long long reserved;
	unsigned long long free;
	unsigned long long used; /* whether `reserved` is in it depends on the driver */
};

/* NVML_STRUCT_VERSION(Memory, 2) */
#define NVML_MEMORY_V2 ((unsigned int)sizeof(struct nvml_memory_v2) | 2u << 24)

struct nvml_pci { /* nvmlPciInfo_t, of _v3 */
	char bus_id_legacy[16];
	unsigned int domain;
	unsigned int bus;
	unsigned int device;
	unsigned int device_id;
	unsigned int subsystem_id;
	char bus_id[32];
};

/* nvmlProcessInfo_v1_t. Later versions append to it; how much is read off, see nvidia.c. */
struct nvml_process {
	unsigned int pid;
	unsigned long long used;
};

struct nvml_utilisation { /* nvmlUtilization_t, percent */
	unsigned int gpu;
	unsigned int memory;
};

struct nvml_device; /* what an nvmlDevice_t points to; never looked into */

/* nvmlDeviceGetComputeRunningProcesses_v3, _v2, and without a suffix. */
#define NVML_PROCESS_VERSIONS 3

/* The functions, all zero while no library is loaded. Those after device_memory may be NULL. */
struct pc__nvml {
	void *library;
	int (*init)(void);
	int (*shutdown)(void);
	int (*device_count)(unsigned int *ret_count);
	int (*device_handle)(unsigned int index, struct nvml_device **ret_device);
	int (*device_memory)(struct nvml_device *device, struct nvml_memory *ret_memory);

	int (*device_memory_v2)(struct nvml_device *, struct nvml_memory_v2 *);
	int (*device_name)(struct nvml_device *, char *, unsigned int);
	int (*device_uuid)(struct nvml_device *, char *, unsigned int);
	int (*device_pci)(struct nvml_device *, struct nvml_pci *);
	int (*device_temperature)(struct nvml_device *, int, unsigned int *);
	int (*device_utilisation)(struct nvml_device *, struct nvml_utilisation *);
	int (*device_power)(struct nvml_device *, unsigned int *ret_milliwatt);
	/* *count: room for so many records, and how many there are */
	int (*device_processes[NVML_PROCESS_VERSIONS])(struct nvml_device *, unsigned int *count,
						       void *records);
	int (*mig_mode)(struct nvml_device *, unsigned int *ret_now, unsigned int *ret_pending);
	int (*mig_max)(struct nvml_device *, unsigned int *ret_count);
	int (*mig_handle)(struct nvml_device *, unsigned int, struct nvml_device **);
	int (*driver_version)(char *, unsigned int);
	const char *(*error_string)(int);
};

/*
 * Loads the library at `path` (a file, or a name that the loader searches). On failure returns -1,
 * leaves *nvml zeroed, and puts the reason into why[size].
 */
int pc__nvml_load(struct pc__nvml *nvml, const char *path, char *why, size_t size);
void pc__nvml_unload(struct pc__nvml *nvml);

/*
 * "nvmlInit_v2: NVML_ERROR_NO_PERMISSION (Insufficient Permissions); ..." into out[size]: the
 * function, NVML's name of the code, NVML's own text where it has one, and what it means here where
 * we know.
 */
void pc__nvml_describe(const struct pc__nvml *nvml, const char *function, int code, char *out,
		       size_t size);

#endif
