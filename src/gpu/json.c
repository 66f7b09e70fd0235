/* SPDX-License-Identifier: MIT */
/*
 * json.c - the inventory as the control API and the command line show it, so that both show the
 * same. It reads no GPU. The thread that owns the inventory.
 */
#include <poolcore/gpu.h>

#include <jansson.h>

/* Negative is unknown, which is null. */
static json_t *known(int64_t value)
{
	return value < 0 ? json_null() : json_integer((json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *bytes(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *processes_value(const struct pc_gpu *gpu)
{
	json_t *list = gpu->processes_known ? json_array() : json_null();

	for (unsigned i = 0; list && i < gpu->process_count; i++) {
		const struct pc_gpu_process *process = &gpu->processes[i];
		json_t *value = json_pack("{s:o, s:o}", "pid", known(process->pid), "vram_bytes",
					  known(process->vram_bytes));

		if (json_array_append_new(list, value)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* NULL when memory is out: json_pack takes no value that could not be made. */
static json_t *gpu_value(const struct pc_gpu *gpu)
{
	return json_pack(
		"{s:o, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
		"s:o}",
		"gpu_id", known(gpu->index), "device", gpu->device, "vendor",
		pc_gpu_vendor_name(gpu->vendor), "driver_index", known(gpu->driver_index), "name",
		gpu->name, "uuid", text_or_null(gpu->uuid), "pci_bus_id",
		text_or_null(gpu->pci_bus_id), "error", text_or_null(gpu->error), "mig_instances",
		known(gpu->mig_enabled ? (int64_t)gpu->mig_instances : -1), "vram_total_bytes",
		bytes(gpu->vram_total_bytes), "vram_free_bytes", bytes(gpu->vram_free_bytes),
		"vram_used_bytes", bytes(gpu->vram_used_bytes), "vram_reserved_bytes",
		bytes(gpu->vram_reserved_bytes), "temperature_c", known(gpu->temperature_c),
		"utilisation_percent", known(gpu->utilisation_percent), "power_mw",
		known(gpu->power_mw), "processes", processes_value(gpu));
}

static json_t *list_value(const struct pc_gpu_inventory *inventory)
{
	const struct pc_gpu *gpus;
	size_t count = pc_gpu_inventory_list(inventory, &gpus);
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++) {
		if (json_array_append_new(list, gpu_value(&gpus[i]))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

int pc_gpu_inventory_json(const struct pc_gpu_inventory *inventory, char **ret_text,
			  struct pc_error *err)
{
	json_t *value = json_pack("{s:o, s:s, s:I}", "gpus", list_value(inventory), "note",
				  pc_gpu_inventory_note(inventory), "read_wall_ms",
				  (json_int_t)pc_gpu_inventory_read_wall_ms(inventory));
	size_t length = value ? json_dumpb(value, NULL, 0, JSON_COMPACT) : 0;
	char *text = length ? pc_malloc(length + 1) : NULL;

	/* What jansson allocates is freed as its user has set it; the text is ours. */
	if (text && json_dumpb(value, text, length, JSON_COMPACT) != length) {
		pc_free(text);
		text = NULL;
	}
	json_decref(value);
	if (!text)
		return pc_error_oom(err);
	text[length] = '\0';
	*ret_text = text;
	return 0;
}
