/* SPDX-License-Identifier: MIT */
/*
 * load.c - from a GGUF file to an instance and back. The model and the contexts are made and freed
 * here, on the caller's thread; nothing is run here.
 *
 * XXX llama.cpp checks a file's structure and bounds, but a hostile file can still trip one of its
 * assertions, which end the process. Files from strangers belong in a worker process.
 */
#include "llama_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In a model that was loaded for text, which embeds now and then: llama.cpp keeps the logits of
 * every embedded token, 300 MB for this many in a vocabulary of 150,000. */
#define EMBED_ASIDE_TOKENS 512

#define SLOTS_MAX 64
#define THREADS_MAX 512 /* ggml's GGML_MAX_N_THREADS */

/* Any text of this length is looked at, however short the context. A guess; change freely. */
#define TEXT_MIN_LIMIT_BYTES ((size_t)1 << 20)
/* llama.cpp counts in int32. */
#define TEXT_MAX_LIMIT_BYTES ((size_t)1 << 29)

/* ---- before llama.cpp sees the file ---- */

/* The cores that this process may use, as the scheduler (taskset, a cpuset) says. */
static uint32_t usable_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (uint32_t)CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return online > 0 ? (uint32_t)online : 1;
}

/* llama.cpp says the same of a missing file, a folder and a broken one: nothing. */
static int check_file(const char *path, struct pc_error *err)
{
	char magic[4];
	struct stat st;
	/* NONBLOCK: opening a pipe would wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model file '%s'", path);
	int rc = 0;

	if (fstat(fd, &st) != 0)
		rc = pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model file '%s'", path);
	else if (!S_ISREG(st.st_mode))
		rc = pc_error_set(err, PC_E_MODEL_FILE_MISSING,
				  "model file '%s' is not a regular file", path);
	else if (read(fd, magic, sizeof(magic)) != (ssize_t)sizeof(magic) ||
		 memcmp(magic, "GGUF", sizeof(magic)) != 0)
		rc = pc_error_set(err, PC_E_MODEL_ERROR,
				  "model file '%s' is not a GGUF file: it does not begin with "
				  "'GGUF'",
				  path);
	close(fd);
	return rc;
}

static int check_spec(const struct pc_engine_spec *spec, struct pc_error *err)
{
	if (!spec->model_path)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the model's path is missing");
	if (spec->capability != PC_CAPABILITY_TEXT_TO_TEXT &&
	    spec->capability != PC_CAPABILITY_TEXT_EMBEDDING)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the llama engine serves text_to_text and text_embedding, not "
				    "capability %d",
				    (int)spec->capability);
	if (spec->slots < 1 || spec->slots > SLOTS_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%u slots: 1 to %d are possible",
				    spec->slots, SLOTS_MAX);
	return check_file(spec->model_path, err);
}

/* ---- the model ---- */

struct progress {
	const struct pc_engine_spec *spec;
	bool cancelled;
};

static bool on_progress(float fraction, void *ctx)
{
	struct progress *progress = ctx;

	if (progress->spec->progress &&
	    !progress->spec->progress(progress->spec->progress_ctx, fraction))
		progress->cancelled = true;
	return !progress->cancelled;
}

static int refuse_cancelled(const struct pc_engine_spec *spec, struct pc_error *err)
{
	return pc_error_set(err, PC_E_CANCELLED, "loading '%s' was cancelled", spec->model_path);
}

static int load_model(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
		      struct pc_error *err)
{
	struct llama_model_params params = llama_model_default_params();
	struct progress progress = { .spec = spec };

	params.progress_callback = on_progress;
	params.progress_callback_user_data = &progress;
	/* llama.cpp reads the keys and the vocabulary first, and asks nobody. */
	if (!on_progress(0, &progress))
		return refuse_cancelled(spec, err);
	forget_complaint();
	take_buffer_bytes();
	instance->model = llama_model_load_from_file(spec->model_path, params);
	if (progress.cancelled)
		return refuse_cancelled(spec, err);
	if (!instance->model)
		return pc_error_set(err, PC_E_MODEL_ERROR, "llama.cpp cannot load '%s'%s%s",
				    spec->model_path, *last_complaint() ? ": " : "",
				    last_complaint());
	instance->vocab = llama_model_get_vocab(instance->model);

	uint64_t weights = llama_model_size(instance->model), buffers = take_buffer_bytes();

	atomic_store_explicit(&instance->memory_bytes, buffers > weights ? buffers : weights,
			      memory_order_relaxed);
	return 0;
}

/*
 * A number among the model's keys, "llama.pooling_type" for ".pooling_type"; `otherwise` when it
 * is not there.
 */
static long model_key(const struct llama_model *model, const char *suffix, long otherwise)
{
	char architecture[64], key[128], value[32];

	if (llama_model_meta_val_str(model, "general.architecture", architecture,
				     sizeof(architecture)) < 0)
		return otherwise;
	snprintf(key, sizeof(key), "%s%s", architecture, suffix);
	if (llama_model_meta_val_str(model, key, value, sizeof(value)) < 0)
		return otherwise;
	return strtol(value, NULL, 10);
}

/*
 * The longest text worth looking at: no token stands for more bytes than its name in the
 * vocabulary has, so a longer one cannot fit. The floor is for tokenizers that leave blanks out.
 */
static size_t find_text_limit(const struct pc_engine_instance *instance)
{
	size_t longest = 1;
	int32_t count = llama_vocab_n_tokens(instance->vocab);

	for (llama_token token = 0; token < count; token++) {
		const char *text = llama_vocab_get_text(instance->vocab, token);
		size_t length = text ? strlen(text) : 0;

		longest = length > longest ? length : longest;
	}
	size_t limit = longest * instance->context_tokens;

	if (limit < TEXT_MIN_LIMIT_BYTES)
		return TEXT_MIN_LIMIT_BYTES;
	return limit < TEXT_MAX_LIMIT_BYTES ? limit : TEXT_MAX_LIMIT_BYTES;
}

/* What the model is good for, before memory is spent on contexts. */
static int check_capability(const struct pc_engine_instance *instance, const char *path,
			    struct pc_error *err)
{
	if (llama_vocab_n_tokens(instance->vocab) <= 0)
		return pc_error_set(err, PC_E_MODEL_ERROR, "model '%s' has no vocabulary", path);
	if (instance->capability == PC_CAPABILITY_TEXT_TO_TEXT &&
	    (!llama_model_has_decoder(instance->model) || llama_model_has_encoder(instance->model)))
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "model '%s' has an encoder: the llama engine writes text with "
				    "decoder-only models",
				    path);
	if (instance->capability == PC_CAPABILITY_TEXT_EMBEDDING && instance->embedding_dim == 0)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "model '%s' ranks texts and has no embeddings", path);
	return 0;
}

static void choose_embedding(struct pc_engine_instance *instance)
{
	instance->pooling = (enum llama_pooling_type)model_key(instance->model, ".pooling_type",
							       LLAMA_POOLING_TYPE_NONE);
	/* A model that was not made for embeddings gets the mean of its tokens' vectors. */
	if (instance->pooling == LLAMA_POOLING_TYPE_NONE)
		instance->pooling = LLAMA_POOLING_TYPE_MEAN;
	if (instance->pooling == LLAMA_POOLING_TYPE_RANK)
		return;
#ifdef HAVE_LLAMA_MODEL_N_EMBD_OUT
	instance->embedding_dim = (uint32_t)llama_model_n_embd_out(instance->model);
#else
	instance->embedding_dim = (uint32_t)llama_model_n_embd(instance->model);
#endif
	instance->embed_tokens = instance->context_tokens;
	if (instance->capability != PC_CAPABILITY_TEXT_EMBEDDING &&
	    instance->embed_tokens > EMBED_ASIDE_TOKENS)
		instance->embed_tokens = EMBED_ASIDE_TOKENS;
}

/*
 * A state that runs through all tokens cannot be cut back to the first of them, nor can a window
 * that slides over them bring back what it has left. A llama.cpp that does not tell which models
 * have one keeps nothing of any.
 */
static void choose_prefix(struct pc_engine_instance *instance)
{
#if defined(HAVE_LLAMA_MODEL_N_SWA) && defined(HAVE_LLAMA_MODEL_IS_HYBRID)
	instance->keeps_prefix = !llama_model_is_recurrent(instance->model) &&
				 !llama_model_is_hybrid(instance->model) &&
				 llama_model_n_swa(instance->model) == 0;
#else
	instance->keeps_prefix = false;
#endif
}

static void choose_sizes(struct pc_engine_instance *instance, const struct pc_engine_spec *spec)
{
	int32_t trained = llama_model_n_ctx_train(instance->model);
	uint32_t longest = trained > 0 ? (uint32_t)trained : PC_ENGINE_CONTEXT_TOKENS;
	uint32_t wanted = spec->context_tokens ? spec->context_tokens : PC_ENGINE_CONTEXT_TOKENS;
	uint32_t share = usable_cores() / spec->slots;
	uint32_t threads = spec->threads ? spec->threads : share;

	/* Past what it was trained on a model talks nonsense. */
	instance->context_tokens = wanted < longest ? wanted : longest;
	if (spec->context_tokens > longest)
		say(PC_LOG_WARN,
		    "'%s' gets a context of %u tokens, all it was trained on, not the %u asked for",
		    spec->model_path, longest, spec->context_tokens);
	instance->threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
	instance->text_max_bytes = find_text_limit(instance);
}

/* ---- contexts ---- */

/*
 * Keys and values of every token and layer in F16 (llama.cpp pads its length to 256): what a
 * context takes at least. Its compute buffers, which can be larger than a small model, are told
 * only in its log.
 */
static uint64_t cache_bytes(const struct llama_model *model, uint32_t tokens)
{
	uint64_t layers = (uint64_t)llama_model_n_layer(model);
	uint64_t heads = (uint64_t)llama_model_n_head_kv(model);
	int32_t head_count = llama_model_n_head(model);
	long usual = head_count > 0 ? llama_model_n_embd(model) / head_count : 0;
	uint64_t key = (uint64_t)model_key(model, ".attention.key_length", usual);
	uint64_t value = (uint64_t)model_key(model, ".attention.value_length", usual);

	return ((uint64_t)tokens + 255) / 256 * 256 * layers * heads * (key + value) * 2;
}

/*
 * The logits, and the vector, that are handed out for a token: one token's of a text, every token's
 * of a text that is embedded. llama.cpp makes room for one at first and for the rest when the first
 * long text comes.
 */
static uint64_t output_bytes(const struct pc_engine_instance *instance, uint32_t tokens)
{
	uint64_t vocab = (uint64_t)llama_vocab_n_tokens(instance->vocab);

	return tokens * (vocab + instance->embedding_dim) * sizeof(float);
}

static struct llama_context *make_context(struct pc_engine_instance *instance, bool embeddings,
					  struct pc_error *err)
{
	struct llama_context_params params = llama_context_default_params();

	params.n_threads = (int32_t)instance->threads;
	params.n_threads_batch = (int32_t)instance->threads;
	params.no_perf = true;
	if (embeddings) {
		/* A text is pooled in one piece: the batch holds all of it. */
		params.n_ctx = instance->embed_tokens;
		params.n_batch = instance->embed_tokens;
		params.n_ubatch = instance->embed_tokens;
		params.embeddings = true;
		params.pooling_type = instance->pooling;
	} else {
		params.n_ctx = instance->context_tokens;
		params.n_batch = BATCH_TOKENS;
		params.n_ubatch = BATCH_TOKENS;
#ifdef HAVE_LLAMA_N_OUTPUTS_MAX
		/* Only the last token of a prompt is sampled from. Without this llama.cpp plans
		 * room for the logits of a whole batch: 300 MB in a vocabulary of 150,000. */
		params.n_outputs_max = 1;
#endif
	}
	forget_complaint();
	take_buffer_bytes();
	struct llama_context *context = llama_init_from_model(instance->model, params);

	if (!context) {
		pc_error_set(err, PC_E_OUT_OF_MEMORY,
			     "llama.cpp cannot make a context of %u tokens%s%s", params.n_ctx,
			     *last_complaint() ? ": " : "", last_complaint());
		return NULL;
	}

	uint64_t least = cache_bytes(instance->model, params.n_ctx);
	uint64_t buffers = take_buffer_bytes();
	uint64_t bytes = buffers > least ? buffers : least;

	bytes += output_bytes(instance, embeddings ? params.n_ctx : 1);
	atomic_fetch_add_explicit(&instance->memory_bytes, bytes, memory_order_relaxed);
	return context;
}

int need_embed_context(struct pc_engine_instance *instance, struct slot *slot, struct pc_error *err)
{
	if (!slot->embed)
		slot->embed = make_context(instance, true, err);
	return slot->embed ? 0 : PC_E_OUT_OF_MEMORY;
}

static int make_contexts(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
			 struct pc_error *err)
{
	for (uint32_t i = 0; i < instance->slot_count; i++) {
		struct slot *slot = &instance->slots[i];

		/* The model is loaded; but of long contexts each takes its time. */
		if (spec->progress && !spec->progress(spec->progress_ctx, 1))
			return refuse_cancelled(spec, err);

		if (instance->capability == PC_CAPABILITY_TEXT_EMBEDDING) {
			if (need_embed_context(instance, slot, err))
				return PC_E_OUT_OF_MEMORY;
			continue;
		}
		slot->text = make_context(instance, false, err);
		if (!slot->text)
			return PC_E_OUT_OF_MEMORY;
	}
	return 0;
}

/* ---- the three entries ---- */

void unload(struct pc_engine_instance *instance)
{
	if (!instance)
		return;
	for (uint32_t i = 0; i < instance->slot_count; i++) {
		if (instance->slots[i].text)
			llama_free(instance->slots[i].text);
		if (instance->slots[i].embed)
			llama_free(instance->slots[i].embed);
		prefix_fini(&instance->slots[i]);
	}
	if (instance->model)
		llama_model_free(instance->model);
	pc_free(instance);
}

PC_DEFINE_AUTO(struct pc_engine_instance, unload)

static int load_spec(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		     struct pc_error *err)
{
	int rc = check_spec(spec, err);

	if (rc)
		return rc;
	pc_auto(unload) struct pc_engine_instance *instance = pc_calloc(
		1, sizeof(*instance) + spec->slots * sizeof(instance->slots[0]));

	if (!instance)
		return pc_error_oom(err);
	instance->slot_count = spec->slots;
	instance->capability = spec->capability;
	rc = load_model(instance, spec, err);
	if (rc)
		return rc;
	choose_sizes(instance, spec);
	choose_embedding(instance);
	choose_prefix(instance);
	rc = check_capability(instance, spec->model_path, err);
	if (!rc)
		rc = make_contexts(instance, spec, err);
	if (rc)
		return rc;
	*ret_instance = pc_steal(&instance);
	return 0;
}

int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
	 struct pc_error *err)
{
	struct pc_engine_spec asked;
	int rc = take_spec(spec, &asked, err);

	return rc ? rc : load_spec(&asked, ret_instance, err);
}

/*
 * "llama 1.1B Q4_K - Medium". llama.cpp knows the sizes of the models that it knows, and says "?B"
 * of the others; the count of the parameters is as good.
 */
static void describe_in_words(const struct llama_model *model, char *text, size_t size)
{
	char words[96];
	double count = (double)llama_model_n_params(model);
	const char *unit = count < 1e9 ? "M" : "B";

	if (llama_model_desc(model, words, sizeof(words)) < 0)
		words[0] = '\0';
	char *unknown = strstr(words, "?B");

	if (unknown)
		snprintf(text, size, "%.*s%.1f%s%s", (int)(unknown - words), words,
			 count < 1e9 ? count / 1e6 : count / 1e9, unit, unknown + 2);
	else
		snprintf(text, size, "%s", words);
}

void describe(const struct pc_engine_instance *instance, struct pc_engine_description *description)
{
	struct pc_engine_description all = { .size = sizeof(all) };

	all.context_tokens = instance->capability == PC_CAPABILITY_TEXT_EMBEDDING
				     ? instance->embed_tokens
				     : instance->context_tokens;
	all.embedding_dim = instance->embedding_dim;
	all.memory_bytes = atomic_load_explicit(&instance->memory_bytes, memory_order_relaxed);
	all.parameter_count = llama_model_n_params(instance->model);
	describe_in_words(instance->model, all.text, sizeof(all.text));
	give_description(&all, description);
}
