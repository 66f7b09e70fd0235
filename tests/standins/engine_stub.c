/* SPDX-License-Identifier: MIT */
/*
 * engine_stub.c - an engine plug-in for tests: no model, no arithmetic, and everything that can go
 * wrong on demand. What it does is written in the "model file", one `key=value` a line, '#' begins
 * a comment:
 *
 *     fail=CODE:text        load() fails with that error
 *     load_gate=PATH        load() waits until something is written to this FIFO
 *     load_ms=N             loading takes that long (progress is reported on the way)
 *     memory_bytes=N        what describe() says
 *     context_tokens=N      of the model (256)
 *     dim=N                 of embeddings (8); 0: it cannot embed
 *     tokens=N              the length of an answer that nothing cuts short (8)
 *     gate=PATH             each token, and each text to embed, waits for one byte from this FIFO
 *     token_ms=N            each token takes that long
 *     generate_fail=N:CODE:text   every run fails with that error after N tokens
 *     crash=N               the process kills itself after N tokens of a run
 *
 * STUB_THREAD_BOUND in the environment makes it an engine that is tied to one thread.
 *
 * The answer repeats the words of the prompt (of the last message): in their order at temperature
 * 0, otherwise in an order that the seed decides. A token is a word with the space in front of it.
 * The log says when a run begins and how it ends.
 *
 * Waiting asks stopped() every 10 ms, because the ABI has no other way to learn of it; an
 * embedding's waiting looks for a cancel(), as often.
 */
#include <poolcore/engine.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_MS 10
/* An answer is at most this long, whatever the model file asks for. */
#define ANSWER_MAX_BYTES (1 << 20)

struct pc_engine_instance {
	uint32_t slots;
	uint64_t memory_bytes;
	uint32_t context_tokens;
	uint32_t dim;
	uint32_t tokens;
	uint32_t load_ms;
	uint32_t token_ms;
	int fail_after; /* tokens; -1: never */
	int fail_code;
	int crash_after; /* tokens; -1: never */
	char fail_text[128];
	char load_gate[256];
	char gate[256];
	int gate_fd;
	atomic_int calls[64]; /* of each slot: enum call_state */
};

enum call_state { CALL_NONE, CALL_RUNNING, CALL_CANCELLED };

static const struct pc_engine_host *host;

/* ---- the model file ---- */

/* "CODE:text" into the error's parts. */
static void read_failure(struct pc_engine_instance *stub, const char *value)
{
	char name[64] = "";

	if (sscanf(value, "%63[^:]:%127[^\n]", name, stub->fail_text) >= 1)
		stub->fail_code = pc_error_from_name(name);
}

static void read_line(struct pc_engine_instance *stub, const char *key, const char *value)
{
	const struct {
		const char *key;
		uint32_t *number;
	} numbers[] = {
		{ "load_ms", &stub->load_ms },	 { "context_tokens", &stub->context_tokens },
		{ "dim", &stub->dim },		 { "tokens", &stub->tokens },
		{ "token_ms", &stub->token_ms },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(numbers); i++) {
		if (strcmp(key, numbers[i].key) == 0)
			*numbers[i].number = (uint32_t)strtoul(value, NULL, 10);
	}
	if (strcmp(key, "memory_bytes") == 0)
		stub->memory_bytes = strtoull(value, NULL, 10);
	else if (strcmp(key, "crash") == 0)
		stub->crash_after = atoi(value);
	else if (strcmp(key, "load_gate") == 0)
		snprintf(stub->load_gate, sizeof(stub->load_gate), "%s", value);
	else if (strcmp(key, "gate") == 0)
		snprintf(stub->gate, sizeof(stub->gate), "%s", value);
	else if (strcmp(key, "fail") == 0)
		read_failure(stub, value);
	else if (strcmp(key, "generate_fail") == 0) {
		stub->fail_after = atoi(value);
		read_failure(stub, value + strcspn(value, ":") + 1);
	}
}

static int read_model(struct pc_engine_instance *stub, const char *path, struct pc_error *err)
{
	FILE *file = fopen(path, "re");
	char line[512];

	if (!file)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "%s", path);
	while (fgets(line, sizeof(line), file)) {
		char *value = strchr(line, '=');

		line[strcspn(line, "#\n")] = '\0';
		if (value && value < line + strlen(line)) {
			*value++ = '\0';
			read_line(stub, line, value);
		}
	}
	fclose(file);
	return 0;
}

/* ---- load ---- */

static bool go_on(const struct pc_engine_spec *spec, float fraction)
{
	return !spec->progress || spec->progress(spec->progress_ctx, fraction);
}

/* Until something came through the gate, if there is one, and the loading time is over. */
static int wait_loaded(const struct pc_engine_instance *stub, const struct pc_engine_spec *spec,
		       struct pc_error *err)
{
	bool gated = stub->load_gate[0] != '\0';
	struct pollfd gate = { .fd = -1, .events = POLLIN };
	uint32_t passed_ms = 0;
	bool allowed = true;

	if (gated)
		gate.fd = open(stub->load_gate, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	while (allowed && (gated || passed_ms < stub->load_ms)) {
		allowed = go_on(spec, passed_ms < stub->load_ms
					      ? (float)passed_ms / (float)stub->load_ms
					      : 0.5f);
		if (poll(&gate, gated, STEP_MS) > 0)
			gated = false;
		passed_ms += STEP_MS;
	}
	if (gate.fd >= 0)
		close(gate.fd);
	if (!allowed)
		return pc_error_set(err, PC_E_CANCELLED, "loading was cancelled");
	go_on(spec, 1);
	return 0;
}

static void stub_unload(struct pc_engine_instance *stub)
{
	if (!stub)
		return;
	if (stub->gate_fd >= 0)
		close(stub->gate_fd);
	pc_free(stub);
}

static int stub_load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		     struct pc_error *err)
{
	struct pc_engine_instance *stub = pc_calloc(1, sizeof(*stub));

	if (!stub)
		return pc_error_oom(err);
	*stub = (struct pc_engine_instance){
		.slots = spec->slots,
		.memory_bytes = 1 << 20,
		.context_tokens = 256,
		.dim = 8,
		.tokens = 8,
		.fail_after = -1,
		.crash_after = -1,
		.gate_fd = -1,
	};
	if (read_model(stub, spec->model_path, err) != 0 || wait_loaded(stub, spec, err) != 0)
		goto failed;
	if (stub->fail_code && stub->fail_after < 0) {
		pc_error_set(err, stub->fail_code, "%s", stub->fail_text);
		goto failed;
	}
	if (spec->context_tokens && spec->context_tokens < stub->context_tokens)
		stub->context_tokens = spec->context_tokens;
	/* For reading and writing, so that it never comes to an end. */
	if (stub->gate[0] != '\0')
		stub->gate_fd = open(stub->gate, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	*ret_instance = stub;
	return 0;
failed:
	stub_unload(stub);
	return err->code;
}

static void stub_describe(const struct pc_engine_instance *stub,
			  struct pc_engine_description *description)
{
	struct pc_engine_description full = {
		.size = description->size,
		.context_tokens = stub->context_tokens,
		.embedding_dim = stub->dim,
		.memory_bytes = stub->memory_bytes,
		.text = "stub",
	};

	memcpy(description, &full,
	       description->size < sizeof(full) ? description->size : sizeof(full));
}

/* ---- text ---- */

/* A run: the words it draws from and the answer as it will be. */
struct run {
	char *source; /* the prompt, cut into words */
	char **words;
	size_t word_count;
	char *answer;
	size_t *token_ends; /* offsets in the answer */
	uint32_t token_count;
	bool cut_by_stop;
	uint32_t prompt_tokens;
};

static uint32_t count_words(const char *text)
{
	uint32_t count = 0;

	for (text += strspn(text, " \n"); *text; text += strspn(text, " \n")) {
		text += strcspn(text, " \n");
		count++;
	}
	return count;
}

static bool cut_words(struct run *run, const char *text)
{
	char *rest;

	run->source = pc_strdup(text);
	run->words = pc_calloc(count_words(text) + 1, sizeof(*run->words));
	if (!run->source || !run->words)
		return false;
	for (char *word = strtok_r(run->source, " \n", &rest); word;
	     word = strtok_r(NULL, " \n", &rest))
		run->words[run->word_count++] = word;
	if (run->word_count == 0)
		run->words[run->word_count++] = run->source;
	return true;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The whole answer is known in advance, which makes stop strings easy: it ends before the first. */
static bool compose(struct run *run, const struct pc_engine_instance *stub,
		    const struct pc_text_request *request)
{
	uint32_t wanted = request->max_tokens ? smaller(request->max_tokens, stub->tokens)
					      : stub->tokens;
	uint64_t random = request->seed * UINT64_C(2654435761) + 1;
	size_t length = 0;

	wanted = smaller(wanted, stub->context_tokens - run->prompt_tokens);
	run->answer = pc_calloc(1, ANSWER_MAX_BYTES);
	run->token_ends = pc_calloc(wanted + 1, sizeof(*run->token_ends));
	if (!run->answer || !run->token_ends)
		return false;
	for (uint32_t i = 0; i < wanted; i++) {
		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);

		size_t pick = request->temperature > 0 ? (size_t)(random >> 33) : i;
		int added = snprintf(run->answer + length, ANSWER_MAX_BYTES - length, "%s%s",
				     i ? " " : "", run->words[pick % run->word_count]);

		if ((size_t)added >= ANSWER_MAX_BYTES - length)
			break;
		length += (size_t)added;
		run->token_ends[run->token_count++] = length;
	}
	for (size_t i = 0; i < request->stop_count; i++) {
		char *stop = strstr(run->answer, request->stops[i]);

		if (stop) {
			*stop = '\0';
			run->cut_by_stop = true;
		}
	}
	return true;
}

static int prepare(struct run *run, const struct pc_engine_instance *stub,
		   const struct pc_text_request *request, struct pc_error *err)
{
	const char *text = request->prompt;

	if (text)
		run->prompt_tokens = count_words(text);
	for (size_t i = 0; i < request->message_count; i++) {
		text = request->messages[i].content;
		run->prompt_tokens += count_words(text);
	}
	if (run->prompt_tokens >= stub->context_tokens) {
		pc_error_set(err, PC_E_CONTEXT_EXCEEDED,
			     "the prompt has %u tokens and the context holds %u",
			     run->prompt_tokens, stub->context_tokens);
		pc_error_detail(err, "prompt_tokens", "%u", run->prompt_tokens);
		pc_error_detail(err, "context_tokens", "%u", stub->context_tokens);
		return err->code;
	}
	if (!cut_words(run, text) || !compose(run, stub, request))
		return pc_error_oom(err);
	return 0;
}

/* A byte from the gate and the token's time; false when the host asks to stop. */
static bool wait_token(const struct pc_engine_instance *stub, const struct pc_text_sink *sink)
{
	struct pollfd gate = { .fd = stub->gate_fd, .events = POLLIN };
	bool gated = stub->gate_fd >= 0;
	uint32_t passed_ms = 0;
	char byte;

	while (!sink->stopped(sink->ctx)) {
		if (!gated && passed_ms >= stub->token_ms)
			return true;
		/* Another slot may have been quicker: then the read finds nothing. */
		if (poll(&gate, gated, STEP_MS) > 0 && read(gate.fd, &byte, 1) == 1)
			gated = false;
		passed_ms += STEP_MS;
	}
	return false;
}

static int emit(const struct pc_engine_instance *stub, const struct run *run,
		const struct pc_text_sink *sink, struct pc_text_result *result,
		struct pc_error *err)
{
	size_t length = strlen(run->answer), sent = 0;

	for (uint32_t i = 0; i < run->token_count && (sent < length || i == 0); i++) {
		size_t end = run->token_ends[i] < length ? run->token_ends[i] : length;

		if ((int)i == stub->fail_after)
			return pc_error_set(err, stub->fail_code, "%s", stub->fail_text);
		if ((int)i == stub->crash_after)
			raise(SIGKILL);
		if (!wait_token(stub, sink)) {
			result->finish_reason = PC_FINISH_CANCELLED;
			return 0;
		}
		if (end > sent)
			sink->chunk(sink->ctx, run->answer + sent, end - sent);
		sent = end;
		result->completion_tokens++;
	}
	return 0;
}

static void say(uint32_t slot, const char *what, const struct pc_text_result *result)
{
	char line[128];

	snprintf(line, sizeof(line), "run %s slot=%u prompt_tokens=%u completion_tokens=%u", what,
		 slot, result->prompt_tokens, result->completion_tokens);
	host->log(PC_LOG_INFO, "stub", line);
}

static void run_fini(struct run *run)
{
	pc_free(run->source);
	pc_free(run->words);
	pc_free(run->answer);
	pc_free(run->token_ends);
}

static int stub_generate(struct pc_engine_instance *stub, uint32_t slot,
			 const struct pc_text_request *request, const struct pc_text_sink *sink,
			 struct pc_text_result *ret_result, struct pc_error *err)
{
	static const char *const ends[] = { "finished", "finished", "cancelled" };
	struct pc_text_result result = { .size = sizeof(result) };
	struct run run = { .source = NULL };
	int status = prepare(&run, stub, request, err);

	result.prompt_tokens = run.prompt_tokens;
	if (status == 0) {
		say(slot, "begins", &result);
		/* What neither a stop string nor the end of the model's wish ended was too long. */
		result.finish_reason = run.cut_by_stop || run.token_count == stub->tokens
					       ? PC_FINISH_STOP
					       : PC_FINISH_LENGTH;
		status = emit(stub, &run, sink, &result, err);
		say(slot, status ? "failed" : ends[result.finish_reason], &result);
	}
	run_fini(&run);
	if (status == 0)
		*ret_result = result;
	return status;
}

/* ---- embeddings ---- */

/* A text's vector depends on its bytes and on nothing else. */
static void embed_one(const char *text, float *vector, uint32_t dim)
{
	double norm = 0;

	for (uint32_t i = 0; i < dim; i++)
		vector[i] = 0.125f;
	for (size_t i = 0; text[i]; i++)
		vector[(i + (unsigned char)text[i]) % dim] += (float)(unsigned char)text[i] / 256;
	for (uint32_t i = 0; i < dim; i++)
		norm += (double)vector[i] * vector[i];
	for (uint32_t i = 0; i < dim; i++)
		vector[i] = (float)(vector[i] / sqrt(norm));
}

/* A byte from the gate, if there is one; false when cancel() has come first. */
static bool wait_text(const struct pc_engine_instance *stub, uint32_t slot)
{
	struct pollfd gate = { .fd = stub->gate_fd, .events = POLLIN };
	bool gated = stub->gate_fd >= 0;
	char byte;

	while (gated && atomic_load(&stub->calls[slot]) == CALL_RUNNING) {
		if (poll(&gate, 1, STEP_MS) > 0 && read(gate.fd, &byte, 1) == 1)
			gated = false;
	}
	return atomic_load(&stub->calls[slot]) == CALL_RUNNING;
}

static int embed_all(const struct pc_engine_instance *stub, uint32_t slot, const char *const *texts,
		     size_t text_count, float *vectors, uint32_t *ret_tokens, struct pc_error *err)
{
	uint32_t tokens = 0;

	for (size_t i = 0; i < text_count; i++) {
		uint32_t words = count_words(texts[i]);

		if (words > stub->context_tokens)
			return pc_error_set(err, PC_E_CONTEXT_EXCEEDED,
					    "input %zu has %u tokens and the context holds %u", i,
					    words, stub->context_tokens);
		if (!wait_text(stub, slot))
			return pc_error_set(err, PC_E_CANCELLED, "embedding was cancelled");
		embed_one(texts[i], vectors + i * stub->dim, stub->dim);
		tokens += words;
	}
	*ret_tokens = tokens;
	return 0;
}

static int stub_embed(struct pc_engine_instance *stub, uint32_t slot, const char *const *texts,
		      size_t text_count, float *vectors, uint32_t *ret_tokens, struct pc_error *err)
{
	atomic_store(&stub->calls[slot], CALL_RUNNING);
	if (stub->gate_fd >= 0)
		host->log(PC_LOG_INFO, "stub", "embedding begins");

	int status = embed_all(stub, slot, texts, text_count, vectors, ret_tokens, err);

	atomic_store(&stub->calls[slot], CALL_NONE);
	if (status == PC_E_CANCELLED)
		host->log(PC_LOG_INFO, "stub", "embedding cancelled");
	return status;
}

static void stub_cancel(struct pc_engine_instance *stub, uint32_t slot)
{
	int running = CALL_RUNNING;

	atomic_compare_exchange_strong(&stub->calls[slot], &running, CALL_CANCELLED);
}

static struct pc_engine engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(engine),
	.name = "stub",
	.version = "1",
	.capabilities = 1u << PC_CAPABILITY_TEXT_TO_TEXT | 1u << PC_CAPABILITY_TEXT_EMBEDDING,
	.load = stub_load,
	.unload = stub_unload,
	.describe = stub_describe,
	.generate = stub_generate,
	.embed_text = stub_embed,
	.cancel = stub_cancel,
};

PC_API const struct pc_engine *pc_engine_entry(uint32_t host_abi,
					       const struct pc_engine_host *lent);
const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *lent)
{
	host = lent;
	if (getenv("STUB_THREAD_BOUND"))
		engine.flags |= PC_ENGINE_THREAD_BOUND;
	return host_abi == PC_ENGINE_ABI ? &engine : NULL;
}
