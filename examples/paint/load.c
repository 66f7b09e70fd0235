/* SPDX-License-Identifier: MIT */
/*
 * load.c - from a file of words to an instance and back. Runs on the host's thread; nothing is
 * painted here.
 */
#include "paint.h"

#include <stdio.h>
#include <string.h>

#define SLOTS_MAX 64 /* poolcore/engine.h */

static int check_spec(const struct pc_engine_spec *spec, struct pc_error *err)
{
	if (spec->size < sizeof(*spec) || !spec->model_path)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the model's path is missing");
	if (spec->capability != PC_CAPABILITY_TEXT_TO_IMAGE)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the paint engine serves text_to_image, not %s",
				    pc_capability_name(spec->capability));
	if (spec->slots < 1 || spec->slots > SLOTS_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%u slots: 1 to %d are possible",
				    spec->slots, SLOTS_MAX);
	return 0;
}

static bool go_on(const struct pc_engine_spec *spec, float fraction)
{
	return !spec->progress || spec->progress(spec->progress_ctx, fraction);
}

void unload(struct pc_engine_instance *instance)
{
	if (!instance)
		return;
	vocabulary_fini(&instance->vocabulary);
	pc_free(instance);
}

PC_DEFINE_AUTO(struct pc_engine_instance, unload)

int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
	 struct pc_error *err)
{
	int rc = check_spec(spec, err);

	if (rc)
		return rc;
	pc_auto(unload) struct pc_engine_instance *instance = pc_calloc(1, sizeof(*instance));

	if (!instance)
		return pc_error_oom(err);
	instance->slot_count = spec->slots;
	if (go_on(spec, 0))
		rc = vocabulary_read(spec->model_path, &instance->vocabulary, err);
	else
		rc = PC_E_CANCELLED;
	if (!rc && !go_on(spec, 1))
		rc = PC_E_CANCELLED;
	if (rc == PC_E_CANCELLED)
		pc_error_set(err, rc, "loading '%s' was cancelled", spec->model_path);
	if (rc)
		return rc;
	atomic_store_explicit(&instance->memory_bytes,
			      sizeof(*instance) + instance->vocabulary.word_count *
							  sizeof(*instance->vocabulary.words),
			      memory_order_relaxed);
	*ret_instance = pc_steal(&instance);
	return 0;
}

void describe(const struct pc_engine_instance *instance, struct pc_engine_description *description)
{
	struct pc_engine_description all = { .size = description->size };

	all.memory_bytes = atomic_load_explicit(&instance->memory_bytes, memory_order_relaxed);
	all.parameter_count = instance->vocabulary.word_count;
	snprintf(all.text, sizeof(all.text), "paint, %zu words (%zu shapes, %zu colours)",
		 instance->vocabulary.word_count, instance->vocabulary.kind_counts[WORD_SHAPE],
		 instance->vocabulary.kind_counts[WORD_COLOUR]);
	memcpy(description, &all,
	       description->size < sizeof(all) ? description->size : sizeof(all));
}
