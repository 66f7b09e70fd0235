/* SPDX-License-Identifier: MIT */
/*
 * nvml.c - finds NVML and its functions in the running process and puts its error codes into words.
 * It calls none of them but nvmlErrorString; inventory.c does. The thread that owns the inventory.
 */
#include "gpu/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct symbol {
	const char *name;
	size_t offset; /* of the pointer in struct pc__nvml */
	bool required;
};

/* The versioned names: without their suffix NVML exports the behaviour of 2012. */
/* clang-format off */
static const struct symbol symbols[] = {
	{ "nvmlInit_v2",                   offsetof(struct pc__nvml, init),               true },
	{ "nvmlShutdown",                  offsetof(struct pc__nvml, shutdown),           true },
	{ "nvmlDeviceGetCount_v2",         offsetof(struct pc__nvml, device_count),       true },
	{ "nvmlDeviceGetHandleByIndex_v2", offsetof(struct pc__nvml, device_handle),      true },
	{ "nvmlDeviceGetMemoryInfo",       offsetof(struct pc__nvml, device_memory),      true },
	{ "nvmlDeviceGetName",             offsetof(struct pc__nvml, device_name),        false },
	{ "nvmlDeviceGetUUID",             offsetof(struct pc__nvml, device_uuid),        false },
	{ "nvmlDeviceGetTemperature",      offsetof(struct pc__nvml, device_temperature), false },
	{ "nvmlDeviceGetUtilizationRates", offsetof(struct pc__nvml, device_utilisation), false },
	{ "nvmlSystemGetDriverVersion",    offsetof(struct pc__nvml, driver_version),     false },
	{ "nvmlErrorString",               offsetof(struct pc__nvml, error_string),       false },
};

struct code_fact {
	int code;
	const char *name;
	const char *meaning; /* what to do about it, or "" */
};

#define CODE(name, meaning) { name, #name, meaning }
static const struct code_fact code_facts[] = {
	CODE(NVML_ERROR_UNINITIALIZED, ""),
	CODE(NVML_ERROR_INVALID_ARGUMENT, ""),
	CODE(NVML_ERROR_NOT_SUPPORTED, "this GPU does not report it"),
	CODE(NVML_ERROR_NO_PERMISSION, "this user may not open the GPU; see the rights of /dev/nvidia*"),
	CODE(NVML_ERROR_INSUFFICIENT_SIZE, ""),
	CODE(NVML_ERROR_DRIVER_NOT_LOADED, "the NVIDIA kernel driver is not loaded"),
	CODE(NVML_ERROR_TIMEOUT, ""),
	CODE(NVML_ERROR_LIBRARY_NOT_FOUND, "a library that the driver needs is missing"),
	CODE(NVML_ERROR_FUNCTION_NOT_FOUND, ""),
	CODE(NVML_ERROR_GPU_IS_LOST, "it fell off the bus; a reboot usually brings it back"),
	CODE(NVML_ERROR_RESET_REQUIRED, "it must be reset (nvidia-smi --gpu-reset)"),
	CODE(NVML_ERROR_OPERATING_SYSTEM, "the system or a device cgroup blocks the GPU"),
	CODE(NVML_ERROR_LIB_RM_VERSION_MISMATCH,
	     "library and kernel driver are of different versions; an update needs a reboot"),
	CODE(NVML_ERROR_UNKNOWN, ""),
};
#undef CODE
/* clang-format on */

int pc__nvml_load(struct pc__nvml *nvml, const char *path, char *why, size_t size)
{
	*nvml = (struct pc__nvml){ .library = dlopen(path, RTLD_NOW | RTLD_LOCAL) };
	if (!nvml->library) {
		/* The loader's text begins with the name of the file that it could not open. */
		snprintf(why, size, "no NVML library (%s)", dlerror());
		return -1;
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(symbols); i++) {
		void *address = dlsym(nvml->library, symbols[i].name);

		if (!address && symbols[i].required) {
			snprintf(why, size, "no NVML library (%s has no function %s)", path,
				 symbols[i].name);
			pc__nvml_unload(nvml);
			return -1;
		}
		/* POSIX lets a function's address be held in a void *; C has no cast for it. */
		memcpy((char *)nvml + symbols[i].offset, &address, sizeof(address));
	}
	return 0;
}

void pc__nvml_unload(struct pc__nvml *nvml)
{
	if (nvml->library)
		dlclose(nvml->library);
	*nvml = (struct pc__nvml){ .library = NULL };
}

void pc__nvml_describe(const struct pc__nvml *nvml, const char *function, int code, char *out,
		       size_t size)
{
	const struct code_fact *fact = NULL;
	const char *text = nvml->error_string ? nvml->error_string(code) : NULL;
	char number[32];

	for (size_t i = 0; i < PC_ARRAY_LEN(code_facts); i++) {
		if (code_facts[i].code == code)
			fact = &code_facts[i];
	}
	snprintf(number, sizeof(number), "NVML error %d", code);

	int length = snprintf(out, size, "%s: %s%s%s%s%s%s", function, fact ? fact->name : number,
			      text ? " (" : "", text ? text : "", text ? ")" : "",
			      fact && fact->meaning[0] ? "; " : "", fact ? fact->meaning : "");

	if (length < 0)
		out[0] = '\0';
	else if ((size_t)length >= size)
		out[pc__utf8_cut(out, size - 1)] = '\0';
}
