/* SPDX-License-Identifier: MIT */
/*
 * template.c - the engine plug-in to copy. It is small and it works: its "model file" is any plain
 * text, and it goes on from a prompt's last word with words that follow each other in that text,
 * until a sentence ends. Replace learn() and next_word() by a real model; what is around them is
 * what poolcore/engine.h asks of every engine, and the comments say where.
 *
 * Built outside of this repository, against an installed library, by this one command:
 *
 *	cc -shared -fPIC -fvisibility=hidden -O2 -o libpoolcore-template.so template.c \
 *		$(pkg-config --cflags --libs poolcore)
 *
 * A host finds it as "template" when its folder is in POOLCORE_ENGINE_PATH, or by a path with a
 * '/'. The host makes one call per slot at a time, and calls different slots from different threads
 * at once: what slots share is only read after load(), so there is no lock here. A real engine also
 * has something for each slot (its key-value cache), made in load().
 */
#include <poolcore/engine.h>
#include <poolcore/text.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Guesses; change freely. Every token looks at the whole text. */
#define TEXT_MAX_BYTES ((size_t)1 << 20)
#define WORD_MAX_BYTES 64
#define STOP_MAX_BYTES 256
#define CONTEXT_MAX_TOKENS 4096
#define SLOTS_MAX 64 /* poolcore/engine.h */

static const char blanks[] = " \t\r\n";

/* The ABI leaves this structure to the plug-in. One per load(): keep nothing in globals. */
struct pc_engine_instance {
	uint32_t slot_count, context_tokens;
	uint64_t memory_bytes;
	char *text;	    /* [const after load] what `words` point into */
	const char **words; /* [const after load] in the order of the text */
	size_t word_count;
};

/* ---- load, unload, describe ---- */

/* An error is a code and a sentence: what was wrong, where, what would be right. */
static int read_text(const char *path, char *text, struct pc_error *err)
{
	FILE *file = fopen(path, "rbe");

	if (!file)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model file '%s'", path);
	size_t length = fread(text, 1, TEXT_MAX_BYTES + 1, file);
	int failed = ferror(file) ? errno : 0;

	fclose(file);
	if (failed)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, failed, "model file '%s'", path);
	if (length > TEXT_MAX_BYTES)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "model file '%s' is longer than the %zu bytes that are read",
				    path, TEXT_MAX_BYTES);
	text[length] = '\0';
	if (strlen(text) != length || pc_utf8_valid_prefix(text, length) != length)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "model file '%s' is not a plain text in UTF-8", path);
	return 0;
}

/* Cuts the text into its words. */
static int learn(struct pc_engine_instance *instance, const char *path, struct pc_error *err)
{
	size_t bytes = strlen(instance->text) + 1;
	char *rest;

	/* Memory comes through pc_malloc, is checked, and goes back on every way out. */
	instance->words = pc_calloc(bytes / 2 + 1, sizeof(*instance->words));
	if (!instance->words)
		return pc_error_oom(err);
	instance->memory_bytes += (bytes / 2 + 1) * sizeof(*instance->words);
	for (char *word = strtok_r(instance->text, blanks, &rest); word;
	     word = strtok_r(NULL, blanks, &rest)) {
		instance->words[instance->word_count++] = word;
		if (strlen(word) > WORD_MAX_BYTES)
			return pc_error_set(err, PC_E_MODEL_ERROR,
					    "model file '%s': word %zu has %zu bytes; %d are the "
					    "most",
					    path, instance->word_count, strlen(word),
					    WORD_MAX_BYTES);
	}
	if (instance->word_count == 0)
		return pc_error_set(err, PC_E_MODEL_ERROR, "model file '%s' has no word in it",
				    path);
	return 0;
}

/* Takes NULL and what load() has left half-built. No call runs on the instance any more. */
static void unload(struct pc_engine_instance *instance)
{
	if (!instance)
		return;
	pc_free(instance->words);
	pc_free(instance->text);
	pc_free(instance);
}

PC_DEFINE_AUTO(struct pc_engine_instance, unload)

/* `spec` and its strings end with this call: copy what is needed later. */
static int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		struct pc_error *err)
{
	/* `size` says how much of a structure the host knows; what is past it must not be read. */
	if (spec->size < sizeof(*spec) || !spec->model_path)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the model's path is missing");
	if (spec->capability != PC_CAPABILITY_TEXT_TO_TEXT)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the template engine serves text_to_text, not %s",
				    pc_capability_name(spec->capability));
	if (spec->slots < 1 || spec->slots > SLOTS_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%u slots: 1 to %d are possible",
				    spec->slots, SLOTS_MAX);
	pc_auto(unload) struct pc_engine_instance *instance = pc_calloc(1, sizeof(*instance));

	if (!instance || !(instance->text = pc_malloc(TEXT_MAX_BYTES + 1)))
		return pc_error_oom(err);
	instance->memory_bytes = sizeof(*instance) + TEXT_MAX_BYTES + 1;
	instance->slot_count = spec->slots;
	/* 0 leaves it to the engine, which also caps what it is asked for. */
	instance->context_tokens = spec->context_tokens;
	if (spec->context_tokens == 0 || spec->context_tokens > CONTEXT_MAX_TOKENS)
		instance->context_tokens = CONTEXT_MAX_TOKENS;
	int rc = read_text(spec->model_path, instance->text, err);

	/* A load says how far it is, so that the host can show it and call it off. */
	if (!rc && spec->progress && !spec->progress(spec->progress_ctx, 0.5f))
		rc = pc_error_set(err, PC_E_CANCELLED, "loading '%s' was cancelled",
				  spec->model_path);
	if (!rc)
		rc = learn(instance, spec->model_path, err);
	if (rc)
		return rc;
	*ret_instance = pc_steal(&instance); /* outputs are written on success only */
	return 0;
}

/* The host may be older or newer: fill what its `size` has room for, and leave `size` alone. */
static void describe(const struct pc_engine_instance *instance,
		     struct pc_engine_description *description)
{
	struct pc_engine_description all = { .size = description->size };

	all.context_tokens = instance->context_tokens;
	all.memory_bytes = instance->memory_bytes; /* the host compares it with what it reserved */
	all.parameter_count = instance->word_count;
	snprintf(all.text, sizeof(all.text), "template, %zu words", instance->word_count);
	memcpy(description, &all,
	       description->size < sizeof(all) ? description->size : sizeof(all));
}

/* ---- generate ---- */

/* One answer under way. It lives on the stack: nothing of a request stays in the instance. */
struct run {
	const struct pc_text_request *request;
	const struct pc_text_sink *sink;
	uint32_t prompt_tokens, completion_tokens;
	uint64_t random;
	size_t stop_bytes; /* of the longest stop string */
	size_t length;	   /* of `held`: text that the host does not have yet */
	char held[STOP_MAX_BYTES + WORD_MAX_BYTES + 2];
};

static int check_request(const struct pc_text_request *request, const struct pc_text_sink *sink,
			 const struct pc_text_result *result, struct pc_error *err)
{
	if (request->size < sizeof(*request) || sink->size < sizeof(*sink) || !sink->chunk ||
	    result->size < sizeof(*result) || (!request->prompt && request->message_count == 0))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the request, its sink or its result is incomplete");
	if (!(request->temperature >= 0 && request->temperature <= 2))
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "temperature is %g; it is a number from 0 to 2",
				    (double)request->temperature);
	if (request->stop_count > PC_TEXT_MAX_STOPS)
		return pc_error_set(err, PC_E_INVALID_REQUEST, "%zu stop strings; %d are possible",
				    request->stop_count, PC_TEXT_MAX_STOPS);
	for (size_t i = 0; i < request->stop_count; i++) {
		if (strlen(request->stops[i]) > STOP_MAX_BYTES)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "stop string %zu has %zu bytes; %d are possible", i + 1,
					    strlen(request->stops[i]), STOP_MAX_BYTES);
	}
	return 0;
}

/* Counts the prompt's words and finds the last one, which points into the text. */
static int read_prompt(const struct pc_engine_instance *instance, struct run *run,
		       const char **ret_last, size_t *ret_length, struct pc_error *err)
{
	const struct pc_text_request *request = run->request;
	/* A real engine makes one text of all messages, with the model's chat template. */
	const char *text = request->prompt ? request->prompt
					   : request->messages[request->message_count - 1].content;

	if (pc_utf8_valid_prefix(text, strlen(text)) != strlen(text))
		return pc_error_set(err, PC_E_INVALID_REQUEST, "the prompt is not UTF-8");
	*ret_last = text;
	*ret_length = 0;
	for (text += strspn(text, blanks); *text; text += strspn(text, blanks)) {
		*ret_last = text;
		*ret_length = strcspn(text, blanks);
		text += *ret_length;
		run->prompt_tokens++;
	}
	if (run->prompt_tokens < instance->context_tokens)
		return 0;
	pc_error_set(err, PC_E_CONTEXT_EXCEEDED,
		     "the prompt has %u tokens and the context holds %u", run->prompt_tokens,
		     instance->context_tokens);
	/* The two details that the ABI names for this error. */
	pc_error_detail(err, "prompt_tokens", "%u", run->prompt_tokens);
	pc_error_detail(err, "context_tokens", "%u", instance->context_tokens);
	return PC_E_CONTEXT_EXCEEDED;
}

/* The seed decides every number: same seed, same request, same answer. */
static uint64_t draw(struct run *run, uint64_t below)
{
	/* Knuth's MMIX generator; its high bits are the good ones. */
	run->random = run->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (run->random >> 33) % below;
}

/*
 * What follows a word: at temperature 0 what follows it first in the text, otherwise what follows
 * it anywhere, each place as likely. (A model with probabilities applies temperature and top_p
 * here.) A word that the text does not have is followed by any.
 */
static const char *next_word(const struct pc_engine_instance *instance, struct run *run,
			     const char *word, size_t length)
{
	bool greedy = run->request->temperature == 0;
	const char *next = NULL;
	uint64_t places = 0;

	assert(instance->word_count >
	       0); /* for our own mistakes; learn() has refused the input's */
	for (size_t i = 0; i < instance->word_count && !(greedy && next); i++) {
		if (strncmp(instance->words[i], word, length) == 0 &&
		    instance->words[i][length] == '\0' && draw(run, ++places) == 0)
			next = instance->words[(i + 1) % instance->word_count];
	}
	return next ? next : instance->words[draw(run, instance->word_count)];
}

/* Where the first stop string begins in what is held; NULL: there is none. */
static const char *find_stop(const struct run *run)
{
	const char *first = NULL;

	for (size_t i = 0; i < run->request->stop_count; i++) {
		const char *stop = run->request->stops[i];
		const char *at = *stop ? strstr(run->held, stop) : NULL;

		if (at && (!first || at < first))
			first = at;
	}
	return first;
}

/* Hands on the first `length` bytes, less a character that they cut: chunks are whole UTF-8. */
static void say(struct run *run, size_t length)
{
	const char *end = run->held + length;

	while (end > run->held && ((unsigned char)*end & 0xc0) == 0x80)
		end--;
	length = (size_t)(end - run->held);
	if (length > 0)
		run->sink->chunk(run->sink->ctx, run->held, length);
	run->length -= length;
	memmove(run->held, run->held + length, run->length + 1);
}

/*
 * Takes one word of the answer and says what is certain. The host must never see a part of a stop
 * string, so as much as one may begin in is held back. False when the answer is complete.
 */
static bool add_word(struct run *run, const char *word)
{
	/* In a chat the blank before the first word belongs to nothing. */
	const char *gap = run->request->prompt || run->completion_tokens > 0 ? " " : "";
	size_t room = sizeof(run->held) - run->length;

	run->length += (size_t)snprintf(run->held + run->length, room, "%s%s", gap, word);
	run->completion_tokens++;
	const char *stop = find_stop(run);

	if (stop) { /* the answer ends before it */
		say(run, (size_t)(stop - run->held));
		run->length = 0;
	} else if (run->length >= run->stop_bytes) {
		say(run, run->length - (run->stop_bytes > 0 ? run->stop_bytes - 1 : 0));
	}
	return !stop && !strchr(".!?", word[strlen(word) - 1]);
}

static enum pc_finish_reason write_answer(const struct pc_engine_instance *instance,
					  struct run *run, const char *word, size_t length)
{
	uint32_t most = instance->context_tokens - run->prompt_tokens;
	bool goes_on = true;

	if (run->request->max_tokens > 0 && run->request->max_tokens < most)
		most = run->request->max_tokens;
	while (goes_on && run->completion_tokens < most) {
		/* Asked at least once per token and per piece of the prompt; true ends the run. */
		if (run->sink->stopped && run->sink->stopped(run->sink->ctx))
			return PC_FINISH_CANCELLED;
		word = next_word(instance, run, word, length);
		length = strlen(word);
		goes_on = add_word(run, word);
	}
	say(run, run->length);
	return goes_on ? PC_FINISH_LENGTH : PC_FINISH_STOP;
}

static int generate(struct pc_engine_instance *instance, uint32_t slot,
		    const struct pc_text_request *request, const struct pc_text_sink *sink,
		    struct pc_text_result *ret_result, struct pc_error *err)
{
	struct run run = { .request = request, .sink = sink };
	const char *word = "";
	size_t length = 0;
	int rc = check_request(request, sink, ret_result, err);

	if (!rc && slot >= instance->slot_count)
		rc = pc_error_set(err, PC_E_INVALID_ARGUMENT, "slot %u of %u", slot,
				  instance->slot_count);
	if (!rc)
		rc = read_prompt(instance, &run, &word, &length, err);
	if (rc)
		return rc;
	run.random = request->seed;
	for (size_t i = 0; i < request->stop_count; i++) {
		if (strlen(request->stops[i]) > run.stop_bytes)
			run.stop_bytes = strlen(request->stops[i]);
	}
	/* Its `size` stays the host's. */
	ret_result->finish_reason = write_answer(instance, &run, word, length);
	ret_result->prompt_tokens = run.prompt_tokens;
	ret_result->completion_tokens = run.completion_tokens;
	return 0;
}

/* ---- the table and the way in ---- */

static const struct pc_engine engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(engine),
	.name = "template", /* the file is libpoolcore-template.so */
	.version = "1",
	.capabilities = 1u << PC_CAPABILITY_TEXT_TO_TEXT,
	/* PC_ENGINE_THREAD_BOUND when a model must stay on the thread that loaded it, at the price
	 * of one call at a time. Nothing here is tied to a thread. */
	.flags = 0,
	.load = load,
	.unload = unload,
	.describe = describe,
	.generate = generate,
	/* `cancel` is for calls without a stopped(), such as embed_text: it sets an atomic flag of
	 * the slot, which the running call looks at and the next one clears as it begins. */
	.cancel = NULL,
};

/* The one exported symbol. NULL refuses the host; the loader then says so. */
PC_API const struct pc_engine *pc_engine_entry(uint32_t host_abi,
					       const struct pc_engine_host *host);

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host)
{
	if (host_abi != PC_ENGINE_ABI || host->size < sizeof(*host))
		return NULL;
	/* Who has something to say keeps `host`: host->log(PC_LOG_WARN, "template", "a line"). */
	return &engine;
}
