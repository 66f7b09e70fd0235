/* SPDX-License-Identifier: MIT */
/*
 * embed.c - vectors of two texts and how near they are, in ten lines.
 *
 *   cc embed.c $(pkg-config --cflags --libs poolcore) -o embed && ./embed MODEL.gguf
 */
#include <stdio.h>

#include <poolcore/capability.h>

int main(int argc, char **argv)
{
	const struct pc_model_spec spec = { .key = "embedder",
					    .capability = PC_CAPABILITY_TEXT_EMBEDDING,
					    .est_memory_allocation_mb = 256,
					    .engine_name = "llama",
					    .model_path = argc > 1 ? argv[1] : "model.gguf" };
	const char *texts[] = { "The tide comes in.", "The sea rises." };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_vectors vectors = { 0 };
	struct pc_model *model;
	struct pc_pool *pool;
	float cosine = 0;

	if (pc_text_embedding_pool_create(NULL, &pool, &err) ||
	    pc_pool_add_model(pool, &spec, &model, &err) ||
	    pc_embed_texts(model, &(struct pc_text_batch){ .texts = texts, .count = 2 }, NULL,
			   &vectors, &err))
		return fprintf(stderr, "embed: %s\n", err.message), 1;
	for (uint32_t i = 0; i < vectors.dim; i++)
		cosine += pc_vectors_row(&vectors, 0)[i] * pc_vectors_row(&vectors, 1)[i];
	printf("%u dimensions, cosine %.3f\n", vectors.dim, cosine);
	pc_vectors_fini(&vectors);
	pc_pool_destroy(pool);
	return 0;
}
