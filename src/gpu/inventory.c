/* SPDX-License-Identifier: MIT */
/*
 * inventory.c - the list of GPUs, which of them is which, and why the list is as it is. It watches
 * nothing by itself: a list is as old as the last refresh. It belongs to one thread at a time, and
 * that is never a loop's, because a driver may take seconds to answer.
 *
 * Which is which. The ledger, the configuration and workers name a GPU by its index, so an index
 * must not come to mean another card when one is pulled out, or falls off the bus and is no longer
 * counted. The inventory keeps the identity of each index that it has given. A GPU that is found is
 * looked up there: by its UUID, without one by its PCI address, and when either side has neither
 * (its handle cannot be had, a library without these functions) by its vendor and its place. Only
 * what is not found gets a new index, the next that nobody ever had.
 */
#include <poolcore/clock.h>
#include <poolcore/gpu.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "gpu/sources.h"

#define NVML_DEFAULT_PATH "libnvidia-ml.so.1"

/* Who has an index; the index is the place in the array. */
struct identity {
	enum pc_gpu_vendor vendor;
	unsigned driver_index;
	char name[96];
	char uuid[96];
	char pci_bus_id[24];
};

/* A list while it is taken. */
struct listing {
	size_t count;
	struct pc_gpu gpus[2 * PC_GPU_MAX]; /* so many of each source */
	unsigned nvidia_present;
	bool nvidia_answers;
	char why[512]; /* it does not */
	size_t card_count;
	struct pc__card cards[PC__CARD_MAX];
};

/* Instead of an index, and greater than each. */
enum {
	NOT_YET = PC_GPU_MAX,
	TWICE,	  /* it is in the listing before */
	HOMELESS, /* all indexes are given */
};

struct pc_gpu_inventory {
	char *nvml_path;
	char *root;
	struct pc__nvidia nvidia;
	bool nvidia_answered; /* once; its failures are errors from then on */
	size_t identity_count;
	struct identity identities[PC_GPU_MAX];
	struct listing next;
	size_t count;
	struct pc_gpu gpus[PC_GPU_MAX];
	int64_t read_wall_ms;
	char note[1024];
};

/* ---- text ---- */

void pc__append(char *out, size_t size, const char *fmt, ...)
{
	size_t used = strlen(out);
	va_list args;

	va_start(args, fmt);
	int length = vsnprintf(out + used, size - used, fmt, args);
	va_end(args);
	if (length >= 0 && (size_t)length >= size - used)
		out[pc__utf8_cut(out, size - 1)] = '\0';
}

void pc__tidy(char *text, size_t size)
{
	text[size - 1] = '\0';
	text[pc__utf8_valid_prefix(text, strlen(text))] = '\0';
}

static const struct {
	unsigned pci_vendor;
	enum pc_gpu_vendor vendor; /* 0: named in the note only */
	const char *name;	   /* on the wire */
	const char *title;
} vendors[] = {
	{ 0x10de, PC_GPU_NVIDIA, "nvidia", "NVIDIA" },
	{ 0x1002, PC_GPU_AMD, "amd", "AMD" },
	{ 0x8086, 0, NULL, "Intel" },
};

const char *pc_gpu_vendor_name(enum pc_gpu_vendor vendor)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(vendors); i++) {
		if (vendors[i].name && vendors[i].vendor == vendor)
			return vendors[i].name;
	}
	return NULL;
}

/* ---- processes ---- */

/* Who holds most comes first; unknown is least. */
static int compare_processes(const void *a, const void *b)
{
	const struct pc_gpu_process *left = a, *right = b;

	if (left->vram_bytes != right->vram_bytes)
		return left->vram_bytes < right->vram_bytes ? 1 : -1;
	return (left->pid > right->pid) - (left->pid < right->pid);
}

void pc__processes_take(struct pc_gpu *gpu, struct pc_gpu_process *processes, size_t count)
{
	qsort(processes, count, sizeof(processes[0]), compare_processes);
	gpu->processes_known = true;
	gpu->process_count = count < PC_GPU_PROCESS_MAX ? (unsigned)count : PC_GPU_PROCESS_MAX;
	memcpy(gpu->processes, processes, gpu->process_count * sizeof(processes[0]));
}

/* ---- which is which ---- */

static bool is_identified(const char *uuid, const char *pci_bus_id)
{
	return uuid[0] || pci_bus_id[0];
}

/* Whether the GPU is the one that was identified; false also where nobody can tell. */
static bool is_same(const struct identity *identity, const struct pc_gpu *gpu)
{
	if (identity->vendor != gpu->vendor)
		return false;
	if (identity->uuid[0] && gpu->uuid[0])
		return strcmp(identity->uuid, gpu->uuid) == 0;
	return identity->pci_bus_id[0] && strcmp(identity->pci_bus_id, gpu->pci_bus_id) == 0;
}

/* Whether it stands where that one stood, and one of the two has no better mark. */
static bool is_same_place(const struct identity *identity, const struct pc_gpu *gpu)
{
	return identity->vendor == gpu->vendor && identity->driver_index == gpu->driver_index &&
	       (!is_identified(identity->uuid, identity->pci_bus_id) ||
		!is_identified(gpu->uuid, gpu->pci_bus_id));
}

/* The GPU has this index. What it does not tell this time is known from before. */
static void take_index(struct pc_gpu_inventory *inventory, unsigned index, struct pc_gpu *gpu)
{
	struct identity *identity = &inventory->identities[index];

	if (!gpu->name[0])
		memcpy(gpu->name, identity->name, sizeof(gpu->name));
	if (!gpu->name[0])
		snprintf(gpu->name, sizeof(gpu->name), "%s GPU",
			 gpu->vendor == PC_GPU_NVIDIA ? "NVIDIA" : "AMD");
	if (!gpu->uuid[0])
		memcpy(gpu->uuid, identity->uuid, sizeof(gpu->uuid));
	if (!gpu->pci_bus_id[0])
		memcpy(gpu->pci_bus_id, identity->pci_bus_id, sizeof(gpu->pci_bus_id));
	identity->vendor = gpu->vendor;
	identity->driver_index = gpu->driver_index;
	memcpy(identity->name, gpu->name, sizeof(gpu->name));
	memcpy(identity->uuid, gpu->uuid, sizeof(gpu->uuid));
	memcpy(identity->pci_bus_id, gpu->pci_bus_id, sizeof(gpu->pci_bus_id));
	gpu->index = index;
	snprintf(gpu->device, sizeof(gpu->device), "gpu%u", index);
}

/* The index of the GPU among those given, or NOT_YET. */
static unsigned find_index(const struct pc_gpu_inventory *inventory, const struct pc_gpu *gpu)
{
	for (unsigned i = 0; i < inventory->identity_count; i++) {
		if (is_same(&inventory->identities[i], gpu))
			return i;
	}
	return NOT_YET;
}

static unsigned find_place(const struct pc_gpu_inventory *inventory, const bool *taken,
			   const struct pc_gpu *gpu)
{
	for (unsigned i = 0; i < inventory->identity_count; i++) {
		if (!taken[i] && is_same_place(&inventory->identities[i], gpu))
			return i;
	}
	return NOT_YET;
}

static int compare_indexes(const void *a, const void *b)
{
	const struct pc_gpu *left = a, *right = b;

	return (left->index > right->index) - (left->index < right->index);
}

/* In what order marks are tried, so that a card that is known for certain is never kept from its
 * index by one that only stands in its place. */
enum round { BY_MARK, BY_PLACE, AS_NEW, ROUNDS };

static unsigned choose_index(struct pc_gpu_inventory *inventory, const bool *taken,
			     const struct pc_gpu *gpu, enum round round)
{
	unsigned index = round == BY_PLACE ? find_place(inventory, taken, gpu)
					   : find_index(inventory, gpu);

	if (index != NOT_YET)
		return taken[index] ? TWICE : index;
	if (round != AS_NEW)
		return NOT_YET;
	if (inventory->identity_count == PC_GPU_MAX)
		return HOMELESS;
	return (unsigned)inventory->identity_count++;
}

/* Gives each GPU of the listing its index and sorts by it; what has none is dropped. Returns how
 * many were dropped because all indexes are given. */
static size_t give_indexes(struct pc_gpu_inventory *inventory)
{
	struct listing *next = &inventory->next;
	bool taken[PC_GPU_MAX] = { false };
	size_t homeless = 0;

	for (size_t i = 0; i < next->count; i++)
		next->gpus[i].index = NOT_YET;
	for (enum round round = BY_MARK; round < ROUNDS; round++) {
		for (size_t i = 0; i < next->count; i++) {
			struct pc_gpu *gpu = &next->gpus[i];

			if (gpu->index != NOT_YET)
				continue;
			gpu->index = choose_index(inventory, taken, gpu, round);
			if (gpu->index >= PC_GPU_MAX)
				continue;
			taken[gpu->index] = true;
			take_index(inventory, gpu->index, gpu);
		}
	}
	qsort(next->gpus, next->count, sizeof(next->gpus[0]), compare_indexes);
	while (next->count > 0 && next->gpus[next->count - 1].index >= PC_GPU_MAX)
		homeless += next->gpus[--next->count].index == HOMELESS;
	return homeless;
}

/* ---- taking a list ---- */

/* The driver does not answer, which it did before: its GPUs stay as they were last seen. */
static void keep_nvidia(struct pc_gpu_inventory *inventory)
{
	struct listing *next = &inventory->next;

	for (size_t i = 0; i < inventory->count; i++) {
		const struct pc_gpu *gpu = &inventory->gpus[i];
		struct pc_gpu *kept = &next->gpus[next->count];

		if (gpu->vendor != PC_GPU_NVIDIA)
			continue;
		*kept = *gpu;
		kept->error[0] = '\0';
		pc__append(kept->error, sizeof(kept->error), "%s", next->why);
		next->count++;
	}
}

static void list_nvidia(struct pc_gpu_inventory *inventory)
{
	struct listing *next = &inventory->next;
	int count = pc__nvidia_list(&inventory->nvidia, inventory->nvml_path, next->gpus,
				    &next->nvidia_present, next->why, sizeof(next->why));

	next->nvidia_answers = count >= 0;
	if (count >= 0) {
		next->count = (size_t)count;
		inventory->nvidia_answered = true;
	} else {
		pc__tidy(next->why, sizeof(next->why));
		keep_nvidia(inventory);
	}
}

static void list_amd(struct pc_gpu_inventory *inventory)
{
	struct listing *next = &inventory->next;
	unsigned count = 0;

	for (size_t i = 0; i < next->card_count && count < PC_GPU_MAX; i++) {
		struct pc_gpu *gpu = &next->gpus[next->count];

		if (next->cards[i].vendor_id != 0x1002 ||
		    !pc__amd_read(inventory->root, &next->cards[i], gpu))
			continue;
		gpu->driver_index = count++;
		next->count++;
	}
}

/* A GPU that cannot be read keeps the figures that it had. */
static void keep_figures(const struct pc_gpu_inventory *inventory, struct pc_gpu *gpu)
{
	const struct pc_gpu *before;

	if (!gpu->error[0] || gpu->vram_total_bytes ||
	    pc_gpu_inventory_get(inventory, gpu->index, &before, NULL))
		return;
	gpu->vram_total_bytes = before->vram_total_bytes;
	gpu->vram_free_bytes = before->vram_free_bytes;
	gpu->vram_used_bytes = before->vram_used_bytes;
	gpu->vram_reserved_bytes = before->vram_reserved_bytes;
}

/* ---- the note ---- */

static size_t count_of(const struct pc_gpu_inventory *inventory, enum pc_gpu_vendor vendor,
		       bool broken_too)
{
	size_t count = 0;

	for (size_t i = 0; i < inventory->count; i++) {
		const struct pc_gpu *gpu = &inventory->gpus[i];

		count += gpu->vendor == vendor && (broken_too || !gpu->error[0]);
	}
	return count;
}

/* "2 GPUs", "1 of 2 AMD GPUs". */
static void note_count(char *note, size_t size, size_t usable, size_t present, const char *title)
{
	if (usable != present)
		pc__append(note, size, "%zu of ", usable);
	pc__append(note, size, "%zu %sGPU%s", present, title, present == 1 ? "" : "s");
}

/* Whether the list has the device at that address; true also where that cannot be told. */
static bool is_listed(const struct pc_gpu_inventory *inventory, enum pc_gpu_vendor vendor,
		      const char *pci_bus_id)
{
	for (size_t i = 0; i < inventory->count; i++) {
		const struct pc_gpu *gpu = &inventory->gpus[i];

		if (gpu->vendor == vendor &&
		    (!gpu->pci_bus_id[0] || strcmp(gpu->pci_bus_id, pci_bus_id) == 0))
			return true;
	}
	return false;
}

/* The devices that the kernel shows and the list has not, of vendors whose GPUs compute. */
static void note_unlisted(const struct pc_gpu_inventory *inventory, char *note, size_t size)
{
	const struct listing *next = &inventory->next;

	for (size_t i = 0; i < next->card_count; i++) {
		const struct pc__card *card = &next->cards[i];

		for (size_t k = 0; k < PC_ARRAY_LEN(vendors); k++) {
			if (vendors[k].pci_vendor != card->vendor_id ||
			    is_listed(inventory, vendors[k].vendor, card->pci_bus_id))
				continue;
			pc__append(note, size, "; %s GPU %s %s", vendors[k].title, card->pci_bus_id,
				   vendors[k].vendor == PC_GPU_NVIDIA
					   ? "is there, but not for NVML"
					   : "is not used, it tells of no memory of its own");
		}
	}
}

/* "2 GPUs, driver 550.54", "1 of 2 GPUs, driver 550.54; gpu1: nvml...: NVML_ERROR_...". */
static void write_note(struct pc_gpu_inventory *inventory, size_t homeless)
{
	const struct listing *next = &inventory->next;
	size_t amd = count_of(inventory, PC_GPU_AMD, true);
	char version[NVML_DRIVER_VERSION_SIZE];
	size_t size = sizeof(inventory->note);
	char *note = inventory->note;

	note[0] = '\0';
	if (next->nvidia_answers) {
		pc__nvidia_version(&inventory->nvidia, version);
		note_count(note, size, count_of(inventory, PC_GPU_NVIDIA, false),
			   next->nvidia_present, "");
		pc__append(note, size, ", driver %s", version);
	} else {
		pc__append(note, size, "%s", next->why);
	}
	if (amd) {
		pc__append(note, size, "; ");
		note_count(note, size, count_of(inventory, PC_GPU_AMD, false), amd, "AMD ");
	}
	for (size_t i = 0; i < inventory->count; i++) {
		const struct pc_gpu *gpu = &inventory->gpus[i];

		if (gpu->error[0] && (next->nvidia_answers || gpu->vendor != PC_GPU_NVIDIA))
			pc__append(note, size, "; %s: %s", gpu->device, gpu->error);
	}
	if (next->nvidia_present > PC_GPU_MAX)
		homeless += next->nvidia_present - PC_GPU_MAX;
	if (homeless)
		pc__append(note, size, "; %zu more than the %d that can be are not used", homeless,
			   PC_GPU_MAX);
	note_unlisted(inventory, note, size);
	pc__tidy(note, size);
}

/* ---- the interface ---- */

int pc_gpu_inventory_refresh(struct pc_gpu_inventory *inventory, struct pc_error *err)
{
	struct listing *next = &inventory->next;
	bool answered = inventory->nvidia_answered;

	next->count = 0;
	next->nvidia_present = 0;
	list_nvidia(inventory);
	next->card_count = pc__cards_find(inventory->root, next->cards);
	list_amd(inventory);

	size_t homeless = give_indexes(inventory);

	for (size_t i = 0; i < next->count; i++)
		keep_figures(inventory, &next->gpus[i]);
	inventory->count = next->count;
	memcpy(inventory->gpus, next->gpus, next->count * sizeof(next->gpus[0]));
	inventory->read_wall_ms = pc_clock_wall_ms();
	write_note(inventory, homeless);
	if (answered && !next->nvidia_answers)
		return pc_error_set(err, PC_E_IO, "the GPUs cannot be asked: %s", next->why);
	/* While there never was a driver that answered it is no error: a machine without GPUs. */
	return 0;
}

int pc_gpu_inventory_open(const char *nvml_path, const char *root,
			  struct pc_gpu_inventory **ret_inventory, struct pc_error *err)
{
	struct pc_gpu_inventory *inventory = pc_calloc(1, sizeof(*inventory));

	if (!inventory)
		return pc_error_oom(err);
	inventory->nvml_path = pc_strdup(nvml_path ? nvml_path : NVML_DEFAULT_PATH);
	inventory->root = pc_strdup(root ? root : "");
	if (!inventory->nvml_path || !inventory->root) {
		pc_gpu_inventory_close(inventory);
		return pc_error_oom(err);
	}
	pc_gpu_inventory_refresh(inventory, NULL);
	*ret_inventory = inventory;
	return 0;
}

void pc_gpu_inventory_close(struct pc_gpu_inventory *inventory)
{
	if (!inventory)
		return;
	pc__nvidia_fini(&inventory->nvidia);
	pc_free(inventory->nvml_path);
	pc_free(inventory->root);
	pc_free(inventory);
}

size_t pc_gpu_inventory_list(const struct pc_gpu_inventory *inventory,
			     const struct pc_gpu **ret_gpus)
{
	*ret_gpus = inventory->gpus;
	return inventory->count;
}

int pc_gpu_inventory_get(const struct pc_gpu_inventory *inventory, unsigned index,
			 const struct pc_gpu **ret_gpu, struct pc_error *err)
{
	char there[300] = "";

	for (size_t i = 0; i < inventory->count; i++) {
		if (inventory->gpus[i].index == index) {
			*ret_gpu = &inventory->gpus[i];
			return 0;
		}
		pc__append(there, sizeof(there), "%s%s", i ? ", " : "", inventory->gpus[i].device);
	}
	pc_error_set(err, PC_E_NOT_FOUND, "there is no gpu%u; there is %s", index,
		     there[0] ? there : "none");
	pc_error_detail(err, "gpu_id", "%u", index);
	return PC_E_NOT_FOUND;
}

const char *pc_gpu_inventory_note(const struct pc_gpu_inventory *inventory)
{
	return inventory->note;
}

int64_t pc_gpu_inventory_read_wall_ms(const struct pc_gpu_inventory *inventory)
{
	return inventory->read_wall_ms;
}
