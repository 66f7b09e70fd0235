/* SPDX-License-Identifier: MIT */
/*
 * onnx_engine.h - what the files of the onnx plug-in that make an engine of it share. Nothing of it
 * leaves the plug-in.
 *
 * One instance is one model folder. Its networks are shared by all slots, since ONNX Runtime runs
 * one session on many threads; what a slot has of its own is the handle by which its call can be
 * cancelled.
 *
 * A model's folder holds a manifest (manifest.h, docs/engines/onnx.md) that says what the model is:
 *   text_reader   vision: a detector finds lines of text, a recognizer reads them
 *   embedder      image_embedding: one network whose features are averaged to a vector
 */
#ifndef ONNX_ENGINE_H
#define ONNX_ENGINE_H

#include "alphabet.h"
#include "manifest.h"
#include "network.h"

#include <pthread.h>

struct slot {
	pthread_mutex_t lock;
	struct ort_run_options *options; /* [const after load]; its flag: [lock] */
	bool running;			 /* [lock] a call is on this slot */
	bool cancelled;			 /* [lock] and was asked to end */
};

struct pc_engine_instance {
	struct manifest manifest;
	struct network detector, recognizer; /* of a text_reader */
	struct alphabet alphabet;
	struct network embedder; /* of an embedder */
	uint32_t embedding_dim;	 /* 0: cannot embed */
	uint64_t memory_bytes;
	uint32_t slot_count;
	struct slot slots[];
};

/* ---- load.c ---- */

int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
	 struct pc_error *err);
void unload(struct pc_engine_instance *instance);
void describe(const struct pc_engine_instance *instance, struct pc_engine_description *description);

/* ---- slot.c ---- */

/* Makes and frees a slot; slot_fini is right for a slot of zeros too. OUT_OF_MEMORY. */
int slot_init(struct slot *slot, struct pc_error *err);
void slot_fini(struct slot *slot);

/*
 * Around each call: what cancel() asked before slot_begin concerns it no more. INVALID_ARGUMENT: no
 * such slot.
 */
int slot_begin(struct pc_engine_instance *instance, uint32_t number, struct slot **ret_slot,
	       struct pc_error *err);
bool slot_is_cancelled(struct slot *slot);
void slot_end(struct slot *slot);

void cancel(struct pc_engine_instance *instance, uint32_t slot);

/* ---- read.c, embed.c ---- */

int describe_image(struct pc_engine_instance *instance, uint32_t slot,
		   const struct pc_vision_request *request, const struct pc_text_sink *sink,
		   struct pc_text_result *ret_result, struct pc_error *err);
int embed_image(struct pc_engine_instance *instance, uint32_t slot, const struct pc_image *images,
		size_t image_count, float *vectors, struct pc_error *err);

#endif
