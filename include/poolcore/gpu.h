/* SPDX-License-Identifier: MIT */
/*
 * gpu.h - which GPUs this machine has, how full they are and by whom: NVIDIA's through NVML, loaded
 * at run time and never linked, AMD's through the files of their kernel driver. It only reads. No
 * GPU is a fact to report and not an error.
 */
#ifndef POOLCORE_GPU_H
#define POOLCORE_GPU_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

/* The most GPUs of one machine; with the CPU they are as many devices as a ledger takes. The
 * largest servers sold have 16. */
#define PC_GPU_MAX 31
/* Of a GPU's processes the ones that hold most are listed. A guess at more than anybody wants. */
#define PC_GPU_PROCESS_MAX 64

enum pc_gpu_vendor {
	PC_GPU_NVIDIA = 1,
	PC_GPU_AMD = 2,
};

struct pc_gpu_process {
	int64_t pid;	    /* as the driver says it: in a container it may be the host's */
	int64_t vram_bytes; /* -1 when unknown */
};

struct pc_gpu {
	unsigned index;	       /* gpu_id on the wire; see pc_gpu_inventory_list */
	unsigned driver_index; /* its place among its vendor's: NVML's index, AMD's by address */
	enum pc_gpu_vendor vendor;
	char device[16];     /* the ledger's name for it: "gpu0" */
	char name[96];	     /* "NVIDIA GeForce RTX 4090" */
	char uuid[96];	     /* "GPU-...", empty when unknown */
	char pci_bus_id[24]; /* "0000:01:00.0", as in sysfs; empty when unknown */
	/* Why it cannot be read or used, in a sentence; empty when it can. Its figures are then the
	 * last that were known, or 0. */
	char error[256];
	bool mig_enabled;	/* it is divided, and cannot be used as a whole */
	unsigned mig_instances; /* into so many; they are not listed */
	uint64_t vram_total_bytes;
	uint64_t vram_free_bytes;
	uint64_t vram_used_bytes;     /* what the driver keeps for itself included */
	uint64_t vram_reserved_bytes; /* so much of it; 0 when unknown */
	int temperature_c;	      /* -1 when unknown, as the next two */
	int utilisation_percent;
	int power_mw;
	bool processes_known;
	unsigned process_count;
	struct pc_gpu_process processes[PC_GPU_PROCESS_MAX]; /* who holds most comes first */
};

struct pc_gpu_inventory;

/*
 * Loads the NVML library ("libnvidia-ml.so.1", or `nvml_path` when not NULL), looks at the graphics
 * devices under `root`/sys ("" or NULL for the real machine; tests have a tree of their own) and
 * takes a first inventory. What cannot be asked makes the inventory shorter, and
 * pc_gpu_inventory_note says why. Errors: OUT_OF_MEMORY.
 */
PC_API int pc_gpu_inventory_open(const char *nvml_path, const char *root,
				 struct pc_gpu_inventory **ret_inventory, struct pc_error *err);
PC_API void pc_gpu_inventory_close(struct pc_gpu_inventory *inventory);

/*
 * Asks the drivers again. May block in them for seconds: never call it on an event loop's thread.
 * GPUs may have come and gone. When NVML, which answered before, fails as a whole (IO, with its own
 * name of the failure), NVIDIA's GPUs stay with their last figures and the failure as their
 * `error`; the others are read all the same. While NVML never answered, it is looked for again and
 * that is no error. One GPU that fails while others work says so in its `error`.
 */
PC_API int pc_gpu_inventory_refresh(struct pc_gpu_inventory *inventory, struct pc_error *err);

/*
 * The GPUs as of the last refresh, by index; the array belongs to the inventory and is valid until
 * the next refresh or close. One thread at a time.
 *
 * At first the indexes are NVML's, and AMD's GPUs follow in the order of their PCI addresses. While
 * the inventory is open a GPU keeps its index, also over a time in which it is gone, and none gets
 * another's: a GPU is known by its UUID, without one by its PCI address, without both by its place.
 */
PC_API size_t pc_gpu_inventory_list(const struct pc_gpu_inventory *inventory,
				    const struct pc_gpu **ret_gpus);

/* The GPU of that index, valid as long as the list. Errors: NOT_FOUND (the sentence says which
 * there are). */
PC_API int pc_gpu_inventory_get(const struct pc_gpu_inventory *inventory, unsigned index,
				const struct pc_gpu **ret_gpu, struct pc_error *err);

/* Why the list is what it is: "2 GPUs, driver 550.54", "no NVML library
 * (libnvidia-ml.so.1: ...); 1 AMD GPU". */
PC_API const char *pc_gpu_inventory_note(const struct pc_gpu_inventory *inventory);

/* When that was: the wall clock at the end of the last refresh, in ms since 1970. */
PC_API int64_t pc_gpu_inventory_read_wall_ms(const struct pc_gpu_inventory *inventory);

/*
 * All of it as one line of JSON, the answer of GET /v2/gpus: {"gpus": [...], "note": "...",
 * "read_wall_ms": N}, the members of struct pc_gpu under their own names and null for what is
 * unknown. The text is the caller's (pc_free). Errors: OUT_OF_MEMORY.
 */
PC_API int pc_gpu_inventory_json(const struct pc_gpu_inventory *inventory, char **ret_text,
				 struct pc_error *err);

/* "nvidia", "amd"; NULL for what is no vendor. */
PC_API const char *pc_gpu_vendor_name(enum pc_gpu_vendor vendor);

PC_END_DECLS

#endif
