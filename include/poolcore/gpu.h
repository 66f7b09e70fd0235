/* SPDX-License-Identifier: MIT */
/*
 * gpu.h - which GPUs this machine has and how full they are: NVIDIA through NVML, loaded at run
 * time, never linked. No GPU is a fact to report and not an error.
 */
#ifndef POOLCORE_GPU_H
#define POOLCORE_GPU_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

struct pc_gpu {
	unsigned index;	 /* gpu_id on the wire: 0, 1, ... in the driver's order */
	char name[96];	 /* "NVIDIA GeForce RTX 4090" */
	char uuid[96];	 /* "GPU-...", empty when unknown */
	char device[16]; /* the ledger's name for it: "gpu0" */
	uint64_t vram_total_bytes;
	uint64_t vram_free_bytes;
	uint64_t vram_used_bytes;
	int temperature_c;	 /* -1 when unknown */
	int utilisation_percent; /* -1 when unknown */
};

struct pc_gpu_inventory;

/*
 * Loads the NVML library ("libnvidia-ml.so.1", or `nvml_path` when not NULL) and takes a first
 * inventory. Where there is no library or no driver the inventory is empty and
 * pc_gpu_inventory_note says why. Errors: OUT_OF_MEMORY.
 */
PC_API int pc_gpu_inventory_open(const char *nvml_path, struct pc_gpu_inventory **ret_inventory,
				 struct pc_error *err);
PC_API void pc_gpu_inventory_close(struct pc_gpu_inventory *inventory);

/*
 * Asks the driver again. May block in the driver for seconds: never call it on an event loop's
 * thread. On an error (IO, with NVML's own name of it) the last good inventory and its note stay.
 * While there never was a driver that answered, it looks for one again and returns 0. One GPU that
 * fails while others work is left out, and the note says so.
 */
PC_API int pc_gpu_inventory_refresh(struct pc_gpu_inventory *inventory, struct pc_error *err);

/*
 * The GPUs as of the last refresh; the array belongs to the inventory and is valid until the next
 * refresh or close. One thread at a time.
 */
PC_API size_t pc_gpu_inventory_list(const struct pc_gpu_inventory *inventory,
				    const struct pc_gpu **ret_gpus);

/* Why the list is what it is: "2 GPUs, driver 550.54", "no NVML library
 * (libnvidia-ml.so.1: ...)". */
PC_API const char *pc_gpu_inventory_note(const struct pc_gpu_inventory *inventory);

PC_END_DECLS

#endif
