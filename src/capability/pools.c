/* SPDX-License-Identifier: MIT */
/*
 * pools.c - a constructor of a pool for each capability, out of one table. Any thread.
 */
#include <poolcore/capability.h>

/* clang-format off */
#define POOL_LIST(X) \
	X(text_embedding,  TEXT_EMBEDDING) \
	X(image_embedding, IMAGE_EMBEDDING) \
	X(text_to_text,    TEXT_TO_TEXT) \
	X(vision,          VISION) \
	X(text_to_image,   TEXT_TO_IMAGE)
/* clang-format on */

static int create(enum pc_capability capability, const struct pc_pool_config *config,
		  struct pc_pool **ret_pool, struct pc_error *err)
{
	struct pc_pool_config narrowed;

	if (config)
		narrowed = *config;
	else
		pc_pool_config_init(&narrowed);
	narrowed.capabilities = 1u << capability;
	return pc_pool_create(&narrowed, ret_pool, err);
}

#define X(name, capability) \
	int pc_##name##_pool_create(const struct pc_pool_config *config, \
				    struct pc_pool **ret_pool, struct pc_error *err) \
	{ \
		return create(PC_CAPABILITY_##capability, config, ret_pool, err); \
	}
POOL_LIST(X)
#undef X
