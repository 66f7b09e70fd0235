/* SPDX-License-Identifier: MIT */
/*
 * inventory.c - the list of GPUs and why it is as it is. It watches nothing by itself: a list is as
 * old as the last refresh. It belongs to one thread at a time, and that is never a loop's, because
 * a driver may take seconds to answer.
 *
 * The library is loaded and initialised when the inventory is opened. Where that fails, each
 * refresh tries again: a driver may be installed or loaded later. When a driver stops answering as
 * a whole, NVML is shut down, and the next refresh starts it anew: after an update of the driver an
 * old initialisation never works again.
 */
#include <poolcore/gpu.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "gpu/nvml.h"

#define NVML_DEFAULT_PATH "libnvidia-ml.so.1"

/* A guess at more than anybody has; the largest servers sold have 16 GPUs. What is beyond it is not
 * listed. */
#define GPU_MAX 64

struct pc_gpu_inventory {
	char *nvml_path;
	struct pc__nvml nvml;
	bool initialised; /* nvmlInit_v2 succeeded, nvmlShutdown is owed */
	bool taken;	  /* a list was taken once; failures are errors from then on */
	size_t count;
	struct pc_gpu gpus[GPU_MAX];
	char note[512];
};

/* ---- text ---- */

static void append(char *out, size_t size, const char *fmt, ...) PC_PRINTF(3, 4);

/* Appends to the text in out[size], and cuts between characters what does not fit. */
static void append(char *out, size_t size, const char *fmt, ...)
{
	size_t used = strlen(out);
	va_list args;

	va_start(args, fmt);
	int length = vsnprintf(out + used, size - used, fmt, args);
	va_end(args);
	if (length >= 0 && (size_t)length >= size - used)
		out[pc__utf8_cut(out, size - 1)] = '\0';
}

/* A string of the driver or the loader, which is to end up in JSON: ended in any case, and
 * cut where it is not UTF-8. */
static void tidy(char *text, size_t size)
{
	text[size - 1] = '\0';
	text[pc__utf8_valid_prefix(text, strlen(text))] = '\0';
}

/* ---- one GPU ---- */

/* Asks for everything about one GPU. Returns NVML_SUCCESS, or the code of what cannot be done
 * without. */
static int read_gpu(const struct pc__nvml *nvml, unsigned index, struct pc_gpu *ret_gpu,
		    const char **ret_function)
{
	struct pc_gpu gpu = { .index = index, .temperature_c = -1, .utilisation_percent = -1 };
	struct nvml_device *device = NULL;
	struct nvml_memory memory = { 0 };
	struct nvml_utilisation utilisation = { 0 };
	unsigned int celsius = 0;
	int code;

	_Static_assert(sizeof(gpu.name) >= NVML_NAME_SIZE, "NVML's names fit");
	_Static_assert(sizeof(gpu.uuid) >= NVML_UUID_SIZE, "NVML's identifiers fit");

	*ret_function = "nvmlDeviceGetHandleByIndex_v2";
	code = nvml->device_handle(index, &device);
	if (code != NVML_SUCCESS)
		return code;
	*ret_function = "nvmlDeviceGetMemoryInfo";
	code = nvml->device_memory(device, &memory);
	if (code != NVML_SUCCESS)
		return code;

	/* The rest is worth knowing, but a GPU is of use without it. */
	if (!nvml->device_name || nvml->device_name(device, gpu.name, sizeof(gpu.name)))
		snprintf(gpu.name, sizeof(gpu.name), "NVIDIA GPU");
	if (!nvml->device_uuid || nvml->device_uuid(device, gpu.uuid, sizeof(gpu.uuid)))
		gpu.uuid[0] = '\0';
	if (nvml->device_temperature &&
	    nvml->device_temperature(device, NVML_TEMPERATURE_GPU, &celsius) == NVML_SUCCESS &&
	    celsius < 1000)
		gpu.temperature_c = (int)celsius;
	if (nvml->device_utilisation &&
	    nvml->device_utilisation(device, &utilisation) == NVML_SUCCESS &&
	    utilisation.gpu <= 100)
		gpu.utilisation_percent = (int)utilisation.gpu;
	tidy(gpu.name, sizeof(gpu.name));
	tidy(gpu.uuid, sizeof(gpu.uuid));
	snprintf(gpu.device, sizeof(gpu.device), "gpu%u", index);
	gpu.vram_total_bytes = memory.total;
	gpu.vram_free_bytes = memory.free;
	gpu.vram_used_bytes = memory.used;
	*ret_gpu = gpu;
	return NVML_SUCCESS;
}

/* ---- all of them ---- */

static void stop_nvml(struct pc_gpu_inventory *inventory)
{
	if (inventory->initialised)
		inventory->nvml.shutdown();
	inventory->initialised = false;
}

/* Loads and initialises what is not yet. Returns 0, or -1 with the reason in why[size]. */
static int start_nvml(struct pc_gpu_inventory *inventory, char *why, size_t size)
{
	if (!inventory->nvml.library &&
	    pc__nvml_load(&inventory->nvml, inventory->nvml_path, why, size))
		return -1;
	if (inventory->initialised)
		return 0;

	int code = inventory->nvml.init();

	if (code != NVML_SUCCESS) {
		pc__nvml_describe(&inventory->nvml, "nvmlInit_v2", code, why, size);
		return -1;
	}
	inventory->initialised = true;
	return 0;
}

/* "2 GPUs, driver 550.54", "1 of 2 GPUs, driver 550.54; gpu1: nvml...: NVML_ERROR_...". */
static void write_note(struct pc_gpu_inventory *inventory, unsigned present, const char *skipped)
{
	char version[NVML_DRIVER_VERSION_SIZE] = "";
	char *note = inventory->note;
	size_t size = sizeof(inventory->note);

	if (!inventory->nvml.driver_version ||
	    inventory->nvml.driver_version(version, sizeof(version)) != NVML_SUCCESS)
		version[0] = '\0';
	tidy(version, sizeof(version));
	note[0] = '\0';
	if (inventory->count != present)
		append(note, size, "%zu of ", inventory->count);
	append(note, size, "%u GPU%s", present, present == 1 ? "" : "s");
	append(note, size, ", driver %s", version[0] ? version : "of unknown version");
	append(note, size, "%s", skipped);
	tidy(note, size);
}

/* Takes a list. Returns 0, or -1 with the reason in why[size] and the old list in place. */
static int take_inventory(struct pc_gpu_inventory *inventory, char *why, size_t size)
{
	struct pc_gpu gpus[GPU_MAX];
	char skipped[sizeof(inventory->note)] = "";
	unsigned int present = 0;
	size_t count = 0;

	if (start_nvml(inventory, why, size))
		return -1;

	int code = inventory->nvml.device_count(&present);

	if (code != NVML_SUCCESS) {
		pc__nvml_describe(&inventory->nvml, "nvmlDeviceGetCount_v2", code, why, size);
		stop_nvml(inventory);
		return -1;
	}
	for (unsigned i = 0; i < present && i < GPU_MAX; i++) {
		const char *function;
		char reason[256];

		code = read_gpu(&inventory->nvml, i, &gpus[count], &function);
		if (code == NVML_SUCCESS) {
			count++;
			continue;
		}
		pc__nvml_describe(&inventory->nvml, function, code, reason, sizeof(reason));
		append(skipped, sizeof(skipped), "; gpu%u: %s", i, reason);
	}
	if (present > GPU_MAX)
		append(skipped, sizeof(skipped), "; those after gpu%d are not used", GPU_MAX - 1);
	memcpy(inventory->gpus, gpus, count * sizeof(gpus[0]));
	inventory->count = count;
	inventory->taken = true;
	write_note(inventory, present, skipped);
	return 0;
}

int pc_gpu_inventory_refresh(struct pc_gpu_inventory *inventory, struct pc_error *err)
{
	char why[sizeof(inventory->note)];

	if (take_inventory(inventory, why, sizeof(why)) == 0)
		return 0;
	tidy(why, sizeof(why));
	if (inventory->taken)
		return pc_error_set(err, PC_E_IO, "the GPUs cannot be asked: %s", why);
	/* There never was a driver that answered: no error, a machine without GPUs. */
	memcpy(inventory->note, why, sizeof(why));
	return 0;
}

int pc_gpu_inventory_open(const char *nvml_path, struct pc_gpu_inventory **ret_inventory,
			  struct pc_error *err)
{
	struct pc_gpu_inventory *inventory = pc_calloc(1, sizeof(*inventory));

	if (!inventory)
		return pc_error_oom(err);
	inventory->nvml_path = pc_strdup(nvml_path ? nvml_path : NVML_DEFAULT_PATH);
	if (!inventory->nvml_path) {
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
	stop_nvml(inventory);
	pc__nvml_unload(&inventory->nvml);
	pc_free(inventory->nvml_path);
	pc_free(inventory);
}

size_t pc_gpu_inventory_list(const struct pc_gpu_inventory *inventory,
			     const struct pc_gpu **ret_gpus)
{
	*ret_gpus = inventory->gpus;
	return inventory->count;
}

const char *pc_gpu_inventory_note(const struct pc_gpu_inventory *inventory)
{
	return inventory->note;
}
