/* SPDX-License-Identifier: MIT */
/* devices.c - the devices of this machine and how much of each may be reserved. See devices.h. */
#include "daemon/devices.h"

#include <poolcore/config.h>
#include <poolcore/gpu.h>
#include <poolcore/log.h>
#include <poolcore/memory.h>
#include <poolcore/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/gpus.h"

static uint64_t budget_of(const struct pc_config *config, const char *device, uint64_t total_bytes)
{
	for (size_t i = 0; i < config->memory_budget_count; i++) {
		if (strcmp(config->memory_budgets[i].device, device) == 0)
			return config->memory_budgets[i].bytes;
	}
	return (uint64_t)((unsigned __int128)total_bytes * config->memory_budget_percent / 100);
}

/* The same, if the device has that much. */
static int check_budget(const struct pc_config *config, const char *device, uint64_t total_bytes,
			uint64_t *ret_budget, struct pc_error *err)
{
	uint64_t budget = budget_of(config, device, total_bytes);

	if (budget > total_bytes) {
		char wanted[32], there[32];

		pc_error_set(err, PC_E_INVALID_CONFIG, "memory.%s: %s is more than the device's %s",
			     device, pc_format_size(budget, wanted),
			     pc_format_size(total_bytes, there));
		pc_error_detail(err, "key", "memory.%s", device);
		return PC_E_INVALID_CONFIG;
	}
	*ret_budget = budget;
	return 0;
}

static int add_device(struct daemon *daemon, const char *device, uint64_t total_bytes,
		      struct pc_error *err)
{
	uint64_t budget;
	int rc = check_budget(daemon->generation->config, device, total_bytes, &budget, err);

	if (rc)
		return rc;
	return pc_ledger_add_device(daemon->ledger, device, total_bytes, budget, err) < 0
		       ? PC_E_INVALID_CONFIG
		       : 0;
}

static void warn_of_absent(const struct daemon *daemon, const struct pc_config *config)
{
	for (size_t i = 0; i < config->memory_budget_count; i++) {
		const char *device = config->memory_budgets[i].device;

		if (pc_ledger_find(daemon->ledger, device) < 0)
			pc_log(PC_LOG_WARN, "memory", PC_FIELDS({ "device", device }),
			       "a budget is set for a device that is not there");
	}
}

int devices_open(struct daemon *daemon, struct pc_error *err)
{
	struct pc_memory_facts facts;
	const struct pc_gpu *gpus;
	int rc = pc_memory_facts_read("", &facts, err);

	if (!rc)
		rc = gpus_open(daemon, &daemon->gpus, err);
	if (!rc)
		rc = pc_ledger_create(&daemon->ledger, err);
	if (!rc)
		rc = add_device(daemon, "cpu", facts.total_bytes, err);
	if (rc)
		return rc;

	size_t count = pc_gpu_inventory_list(gpus_first(daemon->gpus), &gpus);

	/* One that cannot be read is no place to put a model; the note says what is wrong with
	 * it. */
	_Static_assert(PC_GPU_MAX < PC_DEVICE_MAX, "with the CPU, all GPUs fit the ledger");
	for (size_t i = 0; i < count && !rc; i++) {
		if (!gpus[i].error[0] && gpus[i].vram_total_bytes > 0)
			rc = add_device(daemon, gpus[i].device, gpus[i].vram_total_bytes, err);
	}
	warn_of_absent(daemon, daemon->generation->config);
	return rc;
}

int devices_budgets(const struct daemon *daemon, const struct pc_config *config,
		    uint64_t ret_budgets[PC_DEVICE_MAX], struct pc_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger) && !rc; i++) {
		struct pc_device_account account;

		pc_ledger_account(daemon->ledger, i, &account);
		rc = check_budget(config, account.name, account.total_bytes, &ret_budgets[i], err);
	}
	if (!rc)
		warn_of_absent(daemon, config);
	return rc;
}

void devices_log(const struct daemon *daemon)
{
	for (unsigned i = 0; i < pc_ledger_device_count(daemon->ledger); i++) {
		struct pc_device_account account;
		char budget[32], total[32];

		pc_ledger_account(daemon->ledger, i, &account);
		snprintf(budget, sizeof(budget), "%" PRIu64, account.budget_bytes >> 20);
		snprintf(total, sizeof(total), "%" PRIu64, account.total_bytes >> 20);
		pc_log(PC_LOG_INFO, "memory",
		       PC_FIELDS({ "device", account.name }, { "budget_mb", budget },
				 { "total_mb", total }),
		       "device");
	}
	pc_log(PC_LOG_INFO, "gpu", PC_NO_FIELDS, "%s",
	       pc_gpu_inventory_note(gpus_first(daemon->gpus)));
}
