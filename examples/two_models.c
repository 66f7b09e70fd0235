/* SPDX-License-Identifier: MIT */
/*
 * two_models.c - two models that do not fit into memory together, asked in turn: the pool says
 * beforehand what it will do, unloads the one that idles, and loads the other.
 *
 *   cc two_models.c $(pkg-config --cflags --libs poolcore) -o two_models && ./two_models MODEL.gguf
 */
#include <stdio.h>

#include <poolcore/capability.h>

enum { BUDGET_MB = 300, MODEL_MB = 200 };

static struct pc_model *add(struct pc_pool *pool, const char *key, const char *path)
{
	const struct pc_model_spec spec = { .key = key,
					    .capability = PC_CAPABILITY_TEXT_TO_TEXT,
					    .est_memory_allocation_mb = MODEL_MB,
					    .engine_name = "llama",
					    .model_path = path,
					    .max_workers = 1 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model *model = NULL;

	if (pc_pool_add_model(pool, &spec, &model, &err))
		fprintf(stderr, "two_models: %s\n", err.message);
	return model;
}

static int ask(struct pc_pool *pool, struct pc_model *model)
{
	const struct pc_text_request request = {
		.prompt = "The sea", .max_tokens = 8, .temperature = 0.8f, .seed = 1
	};
	struct pc_error err = PC_ERROR_INIT;
	struct pc_explanation explanation;
	struct pc_text_answer answer;

	pc_pool_explain(model, &explanation);
	printf("%s: %s\n", pc_model_key(model), explanation.text);
	if (pc_generate_text(model, &request, NULL, &answer, &err)) {
		fprintf(stderr, "two_models: %s: %s\n", pc_pool_error_kind(err.code), err.message);
		return 1;
	}
	printf("    The sea%s   (%llu of %llu MiB reserved)\n", answer.text,
	       (unsigned long long)pc_pool_total_memory_mb(pool),
	       (unsigned long long)pc_pool_budget_mb(pool));
	pc_text_answer_fini(&answer);
	return 0;
}

int main(int argc, char **argv)
{
	/* These load in a moment, so that it may be short what keeps models from being thrown out
	 * as soon as they are loaded. */
	const struct pc_pool_config config = { .budget_bytes = (uint64_t)BUDGET_MB << 20,
					       .min_residency_ms = 1 };
	const char *path = argc > 1 ? argv[1] : "model.gguf";
	struct pc_error err = PC_ERROR_INIT;
	struct pc_pool *pool;
	int failed = 0;

	if (pc_text_to_text_pool_create(&config, &pool, &err))
		return fprintf(stderr, "two_models: %s\n", err.message), 1;

	struct pc_model *day = add(pool, "day", path), *night = add(pool, "night", path);

	if (!day || !night)
		return 1;
	for (int i = 0; i < 2 && !failed; i++)
		failed = ask(pool, day) || ask(pool, night);

	struct pc_pool_metrics metrics;

	pc_pool_get_metrics(pool, &metrics);
	printf("%llu requests, %llu workers loaded, %llu evicted\n",
	       (unsigned long long)metrics.total_requests,
	       (unsigned long long)metrics.workers_spawned,
	       (unsigned long long)metrics.workers_evicted);
	pc_pool_destroy(pool);
	return failed;
}
