/* SPDX-License-Identifier: MIT */
/* entry.c - the plug-in's one exported function and its table. */
#include "paint.h"

#include <png.h>

static const struct pc_engine engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(engine),
	.name = "paint",
	.version = "1 (libpng " PNG_LIBPNG_VER_STRING ")",
	.capabilities = 1u << PC_CAPABILITY_TEXT_TO_IMAGE,
	.load = load,
	.unload = unload,
	.describe = describe,
	.generate_image = generate_image, /* asks stopped(), so there is no cancel */
};

PC_API const struct pc_engine *pc_engine_entry(uint32_t host_abi,
					       const struct pc_engine_host *host);

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host)
{
	return host_abi == PC_ENGINE_ABI && host->size >= sizeof(*host) ? &engine : NULL;
}
