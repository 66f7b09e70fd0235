/* SPDX-License-Identifier: MIT */
/*
 * measure.c - what models really take, remembered in the registry, so that the next estimate is a
 * measurement. It waits for the disk: never under a lock. Any thread.
 */
#include <stdio.h>

#include "pool/inner.h"

/*
 * Slots and context make the memory; a measurement of other settings says nothing. False when the
 * name would be too long to be remembered by.
 */
static bool name_settings(const struct pc_model *model, char name[PC_MEASURED_KEY_MAX])
{
	int length = snprintf(name, PC_MEASURED_KEY_MAX, "%s slots=%u context=%u", model->text,
			      model->slots, model->context_tokens);

	return length > 0 && length < PC_MEASURED_KEY_MAX;
}

static const char *device_of(const struct pc_model *model, struct pc_device_account *account)
{
	pc_ledger_account(model->pool->ledger, model->device, account);
	return account->name;
}

uint64_t measured_recall(const struct pc_model *model, const struct pc_engine *engine)
{
	struct pc_registry *registry = model->pool->config.registry;
	struct pc_measured_memory measured;
	struct pc_device_account account;
	struct pc_error err = PC_ERROR_INIT;
	char name[PC_MEASURED_KEY_MAX];

	if (!registry || !name_settings(model, name))
		return 0;
	if (pc_registry_recall_memory(registry, name, engine->name, device_of(model, &account),
				      &measured, &err) == 0)
		return measured.highest_bytes;
	if (err.code != PC_E_NOT_FOUND)
		pc_log_error(PC_LOG_WARN, "memory", &err);
	return 0;
}

void measured_remember(const struct station *station, uint64_t bytes)
{
	const struct pc_model *model = station->model;
	struct pc_device_account account;
	struct pc_error err = PC_ERROR_INIT;
	char name[PC_MEASURED_KEY_MAX];

	if (!model->pool->config.registry || bytes == 0 || !name_settings(model, name))
		return;
	if (pc_registry_remember_memory(model->pool->config.registry, name, station->engine->name,
					device_of(model, &account), bytes, &err))
		pc_log_error(PC_LOG_WARN, "memory", &err);
}
