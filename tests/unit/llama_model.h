/* SPDX-License-Identifier: MIT */
/*
 * llama_model.h - what the tests of the llama plug-in share: the demonstration model, loaded
 * through pc_engine_open, a sink that keeps what it hears, and requests that must succeed. A test's
 * arguments are the folder of the plug-in and the model's file.
 */
#ifndef TESTS_UNIT_LLAMA_MODEL_H
#define TESTS_UNIT_LLAMA_MODEL_H

#include <poolcore/engine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 2

static const char *model_path;
static const struct pc_engine *engine;
static struct pc_engine_instance *model; /* text_to_text, SLOTS slots */

static inline struct pc_engine_spec spec_of(const char *path)
{
	return (struct pc_engine_spec){
		.size = sizeof(struct pc_engine_spec),
		.capability = PC_CAPABILITY_TEXT_TO_TEXT,
		.model_path = path,
		.slots = SLOTS,
		.threads = 1,
	};
}

static inline int load_model(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_engine_spec spec = spec_of(model_path);

	(void)state;
	if (pc_engine_open("llama", &engine, &err) || engine->load(&spec, &model, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	return 0;
}

static inline int unload_model(void **state)
{
	(void)state;
	engine->unload(model);
	engine->unload(NULL);
	return 0;
}

/* ---- a sink that keeps what it gets ---- */

struct heard {
	char text[65536];
	size_t length;
	unsigned chunks;
	unsigned asked;
	unsigned stop_after; /* chunks; 0: never */
	bool broken;	     /* a chunk was empty or cut a character */
};

static inline bool is_whole_utf8(const char *text, size_t length)
{
	for (size_t i = 0; i < length;) {
		unsigned char c = (unsigned char)text[i];
		size_t size = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : 4;

		if ((c >> 6) == 2 || i + size > length)
			return false;
		i += size;
	}
	return true;
}

static inline void hear(void *ctx, const char *text, size_t length)
{
	struct heard *heard = ctx;

	if (length == 0 || !is_whole_utf8(text, length))
		heard->broken = true;
	if (heard->length + length < sizeof(heard->text)) {
		memcpy(heard->text + heard->length, text, length);
		heard->length += length;
		heard->text[heard->length] = '\0';
	}
	heard->chunks++;
}

static inline bool has_enough(void *ctx)
{
	struct heard *heard = ctx;

	heard->asked++;
	return heard->stop_after && heard->chunks >= heard->stop_after;
}

static inline struct pc_text_sink sink_to(struct heard *heard)
{
	return (struct pc_text_sink){
		.size = sizeof(struct pc_text_sink),
		.chunk = hear,
		.stopped = has_enough,
		.ctx = heard,
	};
}

static inline struct pc_text_request ask(const char *prompt)
{
	return (struct pc_text_request){
		.size = sizeof(struct pc_text_request),
		.prompt = prompt,
		.max_tokens = 64,
		.temperature = 0.8f,
		.top_p = 0.95f,
		.seed = 7,
	};
}

static inline int run(uint32_t slot, const struct pc_text_request *request, struct heard *heard,
		      struct pc_text_result *result, struct pc_error *err)
{
	struct pc_text_sink sink = sink_to(heard);

	result->size = sizeof(*result);
	return engine->generate(model, slot, request, &sink, result, err);
}

/* Runs a request that must succeed; the text is in a static buffer per call. */
static inline struct pc_text_result answer(const struct pc_text_request *request,
					   struct heard *heard)
{
	struct pc_text_result result = { .size = sizeof(result) };
	struct pc_error err = PC_ERROR_INIT;

	memset(heard, 0, sizeof(*heard));
	if (run(0, request, heard, &result, &err))
		fail_msg("%s", err.message);
	assert_false(heard->broken);
	return result;
}

static struct heard heard, again; /* too large for a stack */

/* ---- texts and files ---- */

static inline char *repeat(const char *word, size_t count)
{
	size_t length = strlen(word);
	char *text = calloc(count, length + 1);

	assert_non_null(text);
	for (size_t i = 0; i < count; i++)
		memcpy(text + i * length, word, length);
	return text;
}

/*
 * A copy of the model with one place overwritten: at `offset`, from the end when it is negative,
 * or where `find` is.
 */
static inline struct pc_engine_instance *load_changed(const char *find, long offset,
						      const char *bytes, size_t length)
{
	static char data[20 << 20];
	char path[4096];
	struct pc_engine_spec spec = spec_of(path);
	struct pc_engine_instance *instance = NULL;
	struct pc_error err = PC_ERROR_INIT;

	FILE *from = fopen(model_path, "r");
	snprintf(path, sizeof(path), "%s.%d.changed", model_path, (int)getpid());
	FILE *to = fopen(path, "w");

	assert_true(from && to);
	size_t size = fread(data, 1, sizeof(data), from);
	char *at = find ? memmem(data, size, find, strlen(find)) : data + size + offset;

	assert_true(size > 0 && size < sizeof(data) && at);
	memcpy(at, bytes, length);
	assert_int_equal(fwrite(data, 1, size, to), size);
	fclose(from);
	fclose(to);
	if (engine->load(&spec, &instance, &err))
		fail_msg("%s", err.message);
	unlink(path);
	return instance;
}

/* For main(): whether the arguments are not as they should be. */
static inline bool with_model(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s ENGINE_FOLDER MODEL\n", argv[0]);
		return true;
	}
	setenv("POOLCORE_ENGINE_PATH", argv[1], 1);
	model_path = argv[2];
	return false;
}

#endif
