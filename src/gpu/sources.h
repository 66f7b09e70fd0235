/* SPDX-License-Identifier: MIT */
/*
 * sources.h - where the inventory's GPUs come from: NVML and sysfs. Inside this room only. A source
 * fills in everything about a GPU but its index and device, which inventory.c gives.
 */
#ifndef GPU_SOURCES_H
#define GPU_SOURCES_H

#include <poolcore/gpu.h>

#include "gpu/nvml.h"

/* ---- text that ends up in JSON ---- */

/* Appends to the text in out[size], and cuts between characters what does not fit. */
void pc__append(char *out, size_t size, const char *fmt, ...) PC_PRINTF(3, 4);
/* A string of a driver or the loader: ended in any case, and cut where it is not UTF-8. */
void pc__tidy(char *text, size_t size);

/* ---- processes ---- */

/* As many processes of one GPU as are asked for. A guess. */
#define PC__PROCESS_ROOM 1024

/* These are the GPU's processes: sorts them, and keeps those that hold most. */
void pc__processes_take(struct pc_gpu *gpu, struct pc_gpu_process *processes, size_t count);

/* ---- small files: sysfs.c ---- */

/* Opens the directory root/path/name (`name` may be NULL); negative when it cannot. */
int pc__directory_open(const char *root, const char *path, const char *name);
/* Reads the file at `path` below `directory`, without its last newline and cut where it is not
 * UTF-8. Returns 0 or a negative errno. */
int pc__text_read(int directory, const char *path, char *out, size_t size);
/* Reads one number that must be all of the file; `base` as for strtoull. -EINVAL: it is not. */
int pc__number_in(int directory, const char *path, int base, uint64_t *ret_number);

/* ---- NVIDIA: nvidia.c ---- */

/* The longest record of a process that any driver is known to write; see nvidia.c. */
#define PC__PROCESS_STRIDE_MAX 32

struct pc__nvidia {
	struct pc__nvml nvml;
	bool initialised; /* nvmlInit_v2 succeeded, nvmlShutdown is owed */
	_Alignas(8) unsigned char records[(PC__PROCESS_ROOM + 1) * PC__PROCESS_STRIDE_MAX];
};

/*
 * Lists the GPUs of the driver, starting it where that is needed. Fills gpus[] with at most
 * PC_GPU_MAX of the `present` ones, those that cannot be read included. Returns how many, or -1
 * with the reason in why[size].
 */
int pc__nvidia_list(struct pc__nvidia *nvidia, const char *path, struct pc_gpu gpus[PC_GPU_MAX],
		    unsigned *ret_present, char *why, size_t size);
/* The driver's version, or "of unknown version", into out[NVML_DRIVER_VERSION_SIZE]. */
void pc__nvidia_version(struct pc__nvidia *nvidia, char *out);
void pc__nvidia_fini(struct pc__nvidia *nvidia);

/* ---- AMD, and what else is on the bus: sysfs.c ---- */

/* A graphics device on the PCI bus. */
struct pc__card {
	unsigned vendor_id; /* PCI's: 0x1002 is AMD */
	unsigned device_id;
	char pci_bus_id[24];
	char directory[32]; /* under /sys/class/drm: "card0" */
};

/* More than GPUs, because a server's own console is one. What is beyond it is not looked at. */
#define PC__CARD_MAX 64

/* The devices under root/sys/class/drm, each once, by PCI address; returns how many. */
size_t pc__cards_find(const char *root, struct pc__card cards[PC__CARD_MAX]);

/*
 * Reads an AMD GPU. Returns whether it has memory of its own (or should have: then its `error` says
 * why it cannot be read). False leaves *ret_gpu as it is.
 */
bool pc__amd_read(const char *root, const struct pc__card *card, struct pc_gpu *ret_gpu);

/* The processes that compute on the AMD GPU at gpu->pci_bus_id, where its driver tells: kfd.c. */
void pc__kfd_processes(const char *root, struct pc_gpu *gpu);

#endif
