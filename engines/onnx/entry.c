/* SPDX-License-Identifier: MIT */
/*
 * entry.c - the plug-in's one exported function: hands out the table. Runs once per process, on the
 * thread of the first pc_engine_open. A machine without ONNX Runtime still opens the plug-in;
 * load() says then what is missing.
 */
#include "onnx_engine.h"

#include <stdio.h>

static char version[32];

static struct pc_engine engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(engine),
	.name = "onnx",
	.version = version,
	.capabilities = 1u << PC_CAPABILITY_VISION | 1u << PC_CAPABILITY_IMAGE_EMBEDDING,
	.load = load,
	.unload = unload,
	.describe = describe,
	.embed_image = embed_image,
	.describe_image = describe_image,
	.cancel = cancel,
};

PC_API const struct pc_engine *pc_engine_entry(uint32_t host_abi,
					       const struct pc_engine_host *host);

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host)
{
	if (host_abi != PC_ENGINE_ABI || host->size < sizeof(*host))
		return NULL;
	runtime_init(host);
	runtime_need(NULL);
	snprintf(version, sizeof(version), "%s", runtime_version());
	return &engine;
}
