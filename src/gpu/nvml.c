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
#define SYMBOL(name, member, required) { name, offsetof(struct pc__nvml, member), required }
static const struct symbol symbols[] = {
	SYMBOL("nvmlInit_v2",                             init,                true),
	SYMBOL("nvmlShutdown",                            shutdown,            true),
	SYMBOL("nvmlDeviceGetCount_v2",                   device_count,        true),
	SYMBOL("nvmlDeviceGetHandleByIndex_v2",           device_handle,       true),
	SYMBOL("nvmlDeviceGetMemoryInfo",                 device_memory,       true),
	SYMBOL("nvmlDeviceGetMemoryInfo_v2",              device_memory_v2,    false),
	SYMBOL("nvmlDeviceGetName",                       device_name,         false),
	SYMBOL("nvmlDeviceGetUUID",                       device_uuid,         false),
	SYMBOL("nvmlDeviceGetPciInfo_v3",                 device_pci,          false),
	SYMBOL("nvmlDeviceGetTemperature",                device_temperature,  false),
	SYMBOL("nvmlDeviceGetUtilizationRates",           device_utilisation,  false),
	SYMBOL("nvmlDeviceGetPowerUsage",                 device_power,        false),
	SYMBOL("nvmlDeviceGetComputeRunningProcesses_v3", device_processes[0], false),
	SYMBOL("nvmlDeviceGetComputeRunningProcesses_v2", device_processes[1], false),
	SYMBOL("nvmlDeviceGetComputeRunningProcesses",    device_processes[2], false),
	SYMBOL("nvmlDeviceGetMigMode",                    mig_mode,            false),
	SYMBOL("nvmlDeviceGetMaxMigDeviceCount",          mig_max,             false),
	SYMBOL("nvmlDeviceGetMigDeviceHandleByIndex",     mig_handle,          false),
	SYMBOL("nvmlSystemGetDriverVersion",              driver_version,      false),
	SYMBOL("nvmlErrorString",                         error_string,        false),
};
#undef SYMBOL

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
	CODE(NVML_ERROR_NOT_FOUND, ""),
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
	CODE(NVML_ERROR_IN_USE, "another program is reconfiguring it"),
	CODE(NVML_ERROR_MEMORY, "the driver is out of memory"),
	CODE(NVML_ERROR_ARGUMENT_VERSION_MISMATCH, ""),
	CODE(NVML_ERROR_NOT_READY, "it is being reset or started"),
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
