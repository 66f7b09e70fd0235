/* SPDX-License-Identifier: MIT */
/*
 * puppet.h - an engine in this program for tests of what stands above engines. It has every
 * capability and does what the text that it is given says; where a test has to do something in the
 * middle of a call, the call waits at a gate.
 *
 * The first word of a prompt or text is the order (see the table of each function); whatever is no
 * order is answered in the usual way. Include cmocka first.
 */
#ifndef TESTS_UNIT_PUPPET_H
#define TESTS_UNIT_PUPPET_H

#include <poolcore/capability.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pc_engine_instance {
	bool flat; /* its vectors have no dimensions */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned at_gate;	 /* [lock] calls that have come to the gate, ever */
	unsigned let_in;	 /* [lock] calls that may pass it, ever */
	unsigned loads;		 /* [lock] */
	unsigned calls;		 /* [lock] of the engine's functions */
	size_t largest;		 /* [lock] number of inputs in one call */
	struct pc_cancel *fires; /* what "fire" fires */
} puppet = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static inline void puppet_reset(void)
{
	pthread_mutex_lock(&puppet.lock);
	puppet.at_gate = puppet.let_in = puppet.loads = puppet.calls = 0;
	puppet.largest = 0;
	puppet.fires = NULL;
	pthread_mutex_unlock(&puppet.lock);
}

/* Waits until `count` calls have come to the gate since the reset. */
static inline void puppet_await_gate(unsigned count)
{
	pthread_mutex_lock(&puppet.lock);
	while (puppet.at_gate < count)
		pthread_cond_wait(&puppet.moved, &puppet.lock);
	pthread_mutex_unlock(&puppet.lock);
}

static inline void puppet_open_gate(unsigned count)
{
	pthread_mutex_lock(&puppet.lock);
	puppet.let_in += count;
	pthread_cond_broadcast(&puppet.moved);
	pthread_mutex_unlock(&puppet.lock);
}

static inline unsigned puppet_calls(void)
{
	pthread_mutex_lock(&puppet.lock);
	unsigned calls = puppet.calls;
	pthread_mutex_unlock(&puppet.lock);
	return calls;
}

/* ---- the engine's side ---- */

static void puppet_wait_at_gate(void)
{
	pthread_mutex_lock(&puppet.lock);
	unsigned ticket = ++puppet.at_gate;

	pthread_cond_broadcast(&puppet.moved);
	while (puppet.let_in < ticket)
		pthread_cond_wait(&puppet.moved, &puppet.lock);
	pthread_mutex_unlock(&puppet.lock);
}

static void puppet_count_call(size_t inputs)
{
	pthread_mutex_lock(&puppet.lock);
	puppet.calls++;
	if (inputs > puppet.largest)
		puppet.largest = inputs;
	pthread_mutex_unlock(&puppet.lock);
}

static bool puppet_is(const char *text, const char *order)
{
	size_t length = strlen(order);

	return strncmp(text, order, length) == 0 && (!text[length] || text[length] == ' ');
}

static unsigned puppet_number(const char *text)
{
	const char *space = strchr(text, ' ');

	return space ? (unsigned)strtoul(space, NULL, 10) : 0;
}

static int puppet_load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		       struct pc_error *err)
{
	struct pc_engine_instance *instance = malloc(sizeof(*instance));

	pthread_mutex_lock(&puppet.lock);
	puppet.loads++;
	pthread_mutex_unlock(&puppet.lock);
	if (!instance)
		return pc_error_oom(err);
	instance->flat = strcmp(spec->model_path, "flat") == 0;
	*ret_instance = instance;
	return 0;
}

static void puppet_unload(struct pc_engine_instance *instance)
{
	free(instance);
}

static void puppet_describe(const struct pc_engine_instance *instance,
			    struct pc_engine_description *description)
{
	description->embedding_dim = instance->flat ? 0 : 4;
}

/* Orders that every function knows: what it returns without having done anything. */
static bool puppet_misbehaves(const char *text, int *ret_rc, struct pc_error *err)
{
	if (puppet_is(text, "fail")) {
		*ret_rc = pc_error_set(err, PC_E_MODEL_ERROR, "the puppet was told to fail");
		pc_error_detail(err, "strings", "4");
	} else if (puppet_is(text, "silent"))
		*ret_rc = PC_E_MODEL_ERROR;
	else if (puppet_is(text, "cannot"))
		*ret_rc = pc_error_set(err, PC_E_UNSUPPORTED, "the puppet cannot do this");
	else if (puppet_is(text, "seven"))
		*ret_rc = 7;
	else if (puppet_is(text, "desert"))
		*ret_rc = PC_E_CANCELLED;
	else
		return false;
	return true;
}

/* A vector that is not of length 1 and tells the text's length: (length, 1, 0, 0). */
static int puppet_embed_text(struct pc_engine_instance *instance, uint32_t slot,
			     const char *const *texts, size_t text_count, float *vectors,
			     uint32_t *ret_tokens, struct pc_error *err)
{
	int rc;

	(void)instance;
	(void)slot;
	puppet_count_call(text_count);
	for (size_t i = 0; i < text_count; i++) {
		float *vector = vectors + 4 * i;

		if (puppet_misbehaves(texts[i], &rc, err))
			return rc;
		if (puppet_is(texts[i], "gate"))
			puppet_wait_at_gate();
		if (puppet_is(texts[i], "fire"))
			pc_cancel_fire(puppet.fires);
		if (puppet_is(texts[i], "lengthy")) {
			pc_error_set(err, PC_E_CONTEXT_EXCEEDED, "the puppet holds less");
			pc_error_detail(err, "text_index", "%zu", i);
			return PC_E_CONTEXT_EXCEEDED;
		}
		memset(vector, 0, 4 * sizeof(*vector));
		if (puppet_is(texts[i], "nowhere"))
			continue;
		vector[0] = (float)strlen(texts[i]);
		vector[1] = puppet_is(texts[i], "nan") ? (float)strtod("nan", NULL) : 1;
	}
	*ret_tokens = (uint32_t)text_count * 10;
	return 0;
}

/* The same with the image's bytes; "bad" is none that it can read. */
static int puppet_embed_image(struct pc_engine_instance *instance, uint32_t slot,
			      const struct pc_image *images, size_t image_count, float *vectors,
			      struct pc_error *err)
{
	(void)instance;
	(void)slot;
	puppet_count_call(image_count);
	for (size_t i = 0; i < image_count; i++) {
		float *vector = vectors + 4 * i;

		if (images[i].length == 3 && memcmp(images[i].data, "bad", 3) == 0) {
			pc_error_set(err, PC_E_INVALID_REQUEST, "not an image of a known kind");
			pc_error_detail(err, "image_index", "%zu", i);
			return PC_E_INVALID_REQUEST;
		}
		memset(vector, 0, 4 * sizeof(*vector));
		vector[0] = (float)images[i].length;
		vector[1] = 1;
	}
	return 0;
}

static void puppet_say(const struct pc_text_sink *sink, const char *text)
{
	sink->chunk(sink->ctx, text, strlen(text));
}

/* "0 1 2 ... " until `count` or until it is stopped. */
static bool puppet_count_up(const struct pc_text_sink *sink, unsigned count)
{
	char text[16];

	for (unsigned i = 0; i < count; i++) {
		if (sink->stopped(sink->ctx))
			return false;
		snprintf(text, sizeof(text), "%u ", i);
		puppet_say(sink, text);
	}
	return true;
}

/* `chunks` times a megabyte of euro signs, in one chunk each. */
static bool puppet_flood(const struct pc_text_sink *sink, unsigned chunks)
{
	size_t length = 3 * 350000;
	char *text = malloc(length);
	bool go_on = text;

	for (size_t i = 0; text && i < length; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	for (unsigned i = 0; go_on && i < chunks; i++) {
		sink->chunk(sink->ctx, text, length);
		go_on = !sink->stopped(sink->ctx);
	}
	free(text);
	return go_on;
}

/*
 * count N: "0 1 2 ..."; break N: the same and then an error; gate N: waits, and then count;
 * endless; deaf N: as count, without asking whether it should stop; flood N; mute: says nothing
 * until it is stopped; leave: says that it was stopped; everything else: an echo.
 */
static int puppet_speak(const char *prompt, const struct pc_text_sink *sink,
			struct pc_text_result *ret_result, struct pc_error *err)
{
	unsigned number = puppet_number(prompt);
	bool finished = true;
	int rc;

	puppet_count_call(1);
	if (puppet_misbehaves(prompt, &rc, err))
		return rc;
	if (puppet_is(prompt, "gate"))
		puppet_wait_at_gate();
	if (puppet_is(prompt, "count") || puppet_is(prompt, "gate")) {
		finished = puppet_count_up(sink, number);
	} else if (puppet_is(prompt, "break")) {
		puppet_count_up(sink, number);
		return pc_error_set(err, PC_E_MODEL_ERROR, "the puppet broke at %u", number);
	} else if (puppet_is(prompt, "endless")) {
		finished = puppet_count_up(sink, UINT32_MAX);
	} else if (puppet_is(prompt, "deaf")) {
		for (unsigned i = 0; i < number; i++)
			puppet_say(sink, "deaf ");
	} else if (puppet_is(prompt, "flood")) {
		finished = puppet_flood(sink, number);
	} else if (puppet_is(prompt, "mute")) {
		while (!sink->stopped(sink->ctx))
			;
		finished = false;
	} else if (puppet_is(prompt, "leave")) {
		finished = false;
	} else if (puppet_is(prompt, "nothing")) {
		sink->chunk(sink->ctx, "", 0);
	} else {
		puppet_say(sink, prompt);
	}
	ret_result->finish_reason = finished ? PC_FINISH_STOP : PC_FINISH_CANCELLED;
	ret_result->prompt_tokens = 3;
	ret_result->completion_tokens = number;
	ret_result->cached_tokens = 2;
	return 0;
}

/* A chat is answered with its roles, contents and stop strings; "sampling" with what it got, and
 * so is "wishes", after it was at the gate. */
static int puppet_generate(struct pc_engine_instance *instance, uint32_t slot,
			   const struct pc_text_request *request, const struct pc_text_sink *sink,
			   struct pc_text_result *ret_result, struct pc_error *err)
{
	char text[128];

	(void)instance;
	(void)slot;
	if (request->prompt && puppet_is(request->prompt, "sampling")) {
		snprintf(text, sizeof(text), "size %s max %u temperature %g top_p %g seed %u",
			 request->size == sizeof(*request) ? "ok" : "wrong", request->max_tokens,
			 (double)request->temperature, (double)request->top_p, request->seed);
		puppet_say(sink, text);
		return 0;
	}
	if (request->prompt && puppet_is(request->prompt, "wishes")) {
		puppet_wait_at_gate();
		snprintf(text, sizeof(text), "top_k %u bias %d:%g of %zu grammar %s",
			 request->top_k, request->logit_biases ? request->logit_biases[0].token : 0,
			 request->logit_biases ? (double)request->logit_biases[0].bias : 0,
			 request->logit_bias_count, request->grammar ? request->grammar : "none");
		puppet_say(sink, text);
		return 0;
	}
	if (request->prompt)
		return puppet_speak(request->prompt, sink, ret_result, err);
	if (request->message_count > 0 && puppet_is(request->messages[0].content, "gate"))
		puppet_wait_at_gate();
	for (size_t i = 0; i < request->message_count; i++) {
		puppet_say(sink, request->messages[i].role);
		puppet_say(sink, ":");
		puppet_say(sink, request->messages[i].content);
		puppet_say(sink, ";");
	}
	for (size_t i = 0; i < request->stop_count; i++)
		puppet_say(sink, request->stops[i]);
	return 0;
}

/* Says what the image is and then what puppet_speak makes of the prompt. */
static int puppet_describe_image(struct pc_engine_instance *instance, uint32_t slot,
				 const struct pc_vision_request *request,
				 const struct pc_text_sink *sink, struct pc_text_result *ret_result,
				 struct pc_error *err)
{
	(void)instance;
	(void)slot;
	if (puppet_is(request->prompt, "gate"))
		puppet_wait_at_gate();
	sink->chunk(sink->ctx, request->image.data, request->image.length);
	puppet_say(sink, ": ");
	return puppet_speak(puppet_is(request->prompt, "gate") ? "count 1" : request->prompt, sink,
			    ret_result, err);
}

/* Two chunks, "P5 " and the prompt, after as many steps as were asked for. "nothing" paints none,
 * "mural" N megabytes. */
static int puppet_paint(struct pc_engine_instance *instance, uint32_t slot,
			const struct pc_image_request *request, const struct pc_image_sink *sink,
			struct pc_image_result *ret_result, struct pc_error *err)
{
	uint32_t step = 0;
	int rc;

	(void)instance;
	(void)slot;
	puppet_count_call(1);
	if (puppet_misbehaves(request->prompt, &rc, err))
		return rc;
	if (puppet_is(request->prompt, "gate"))
		puppet_wait_at_gate();
	for (bool go_on = true; go_on && step < request->steps; go_on = !sink->stopped(sink->ctx))
		sink->progress(sink->ctx, ++step, request->steps);
	ret_result->steps = step;
	ret_result->width = request->width;
	ret_result->height = request->height;
	memset(ret_result->media_type, 'x', sizeof(ret_result->media_type));
	memcpy(ret_result->media_type, "image/x-test", 13);
	ret_result->finish_reason = PC_FINISH_CANCELLED;
	if (step < request->steps || puppet_is(request->prompt, "leave") ||
	    sink->stopped(sink->ctx))
		return 0;
	ret_result->finish_reason = PC_FINISH_STOP;
	if (puppet_is(request->prompt, "nothing"))
		return 0;
	if (puppet_is(request->prompt, "unterminated"))
		memset(ret_result->media_type, 'x', sizeof(ret_result->media_type));
	if (puppet_is(request->prompt, "mural")) {
		char *megabyte = calloc(1, 1u << 20);

		for (unsigned i = 0; megabyte && i < puppet_number(request->prompt); i++)
			sink->chunk(sink->ctx, megabyte, 1u << 20);
		free(megabyte);
		return 0;
	}
	sink->chunk(sink->ctx, "P5 ", 3);
	sink->chunk(sink->ctx, request->prompt, strlen(request->prompt));
	if (request->negative_prompt)
		sink->chunk(sink->ctx, request->negative_prompt, strlen(request->negative_prompt));
	return 0;
}

static const struct pc_engine puppet_engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(puppet_engine),
	.name = "puppet",
	.version = "1",
	.capabilities = 31,
	.load = puppet_load,
	.unload = puppet_unload,
	.describe = puppet_describe,
	.generate = puppet_generate,
	.embed_text = puppet_embed_text,
	.embed_image = puppet_embed_image,
	.describe_image = puppet_describe_image,
	.generate_image = puppet_paint,
	.text_request_size = sizeof(struct pc_text_request),
};

/* ---- a pool of puppets ---- */

static const struct pc_task_prefix puppet_tasks[] = {
	{ "query", "q: " },
	{ "document", "document: " },
};

/* One worker of one slot, whose model has the key and is of the capability. */
static inline struct pc_model *puppet_model_of(struct pc_pool *pool, const char *key,
					       enum pc_capability capability, const char *path,
					       const struct pc_engine *engine)
{
	struct pc_model_spec spec = {
		.key = key,
		.capability = capability,
		.est_memory_allocation_mb = 1,
		.engine = engine,
		.model_path = path,
		.max_workers = 1,
		.tasks = capability == PC_CAPABILITY_TEXT_EMBEDDING ? puppet_tasks : NULL,
		.task_count = capability == PC_CAPABILITY_TEXT_EMBEDDING ? 2 : 0,
	};
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model *model = NULL;

	if (pc_pool_add_model(pool, &spec, &model, &err))
		fail_msg("%s", err.message);
	return model;
}

static inline struct pc_model *puppet_model(struct pc_pool *pool, const char *key,
					    enum pc_capability capability, const char *path)
{
	return puppet_model_of(pool, key, capability, path, &puppet_engine);
}

static inline void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

#endif
