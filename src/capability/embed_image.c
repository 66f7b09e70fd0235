/* SPDX-License-Identifier: MIT */
/*
 * embed_image.c - embeds images: reads them, and asks the engine.
 */
#include "capability/embed.h"

#include "capability/image_source.h"

/* Images between two questions whether to stop; an image costs as much as a long text. A guess;
 * change freely. */
#define IMAGES_PER_PIECE 8

static int ask_engine(const struct pc_run *run, const void *inputs, size_t first, size_t count,
		      float *rows, uint32_t *ret_tokens, struct pc_error *said)
{
	const struct pc_image *images = inputs;

	*ret_tokens = 0;
	return run->lease.engine->embed_image(run->lease.instance, run->lease.slot, images + first,
					      count, rows, said);
}

static bool has_function(const struct pc_engine *engine)
{
	return PC_ENGINE_HAS(engine, embed_image);
}

static void release(void *owned)
{
	pc__images_free(owned);
}

static const struct pc__embedding_kind kind = {
	.piece = IMAGES_PER_PIECE,
	.embed = ask_engine,
	.index_detail = "image_index",
	.function = "embed_image",
	.has_function = has_function,
	.release = release,
};

static int prepare(struct pc_model *model, const struct pc_image_batch *batch, bool copy,
		   struct pc__embedding *ret_embedding, struct pc_error *err)
{
	struct pc__images *images;
	int rc = pc__call_check(model, PC_CAPABILITY_IMAGE_EMBEDDING, err);

	if (!rc)
		rc = pc__call_need(model, batch != NULL, "batch", err);
	if (!rc)
		rc = pc__call_need(model, batch->count == 0 || batch->images, "image", err);
	if (rc)
		return rc;
	rc = pc__images_read(batch->images, batch->count, copy, &images, err);
	if (rc) {
		pc_error_prefix(err, "'%s'", pc_model_key(model));
		return rc;
	}
	*ret_embedding = (struct pc__embedding){ .kind = &kind,
						 .model = model,
						 .inputs = images->images,
						 .count = images->count,
						 .owned = images };
	return 0;
}

int pc_embed_images(struct pc_model *model, const struct pc_image_batch *batch,
		    const struct pc_request_options *options, struct pc_vectors *ret_vectors,
		    struct pc_error *err)
{
	struct pc__embedding embedding;
	int rc = prepare(model, batch, false, &embedding, err);

	return rc ? rc : pc__embedding_call(&embedding, options, ret_vectors, err);
}

int pc_embed_image(struct pc_model *model, const struct pc_image_source *image,
		   const struct pc_request_options *options, struct pc_vectors *ret_vectors,
		   struct pc_error *err)
{
	struct pc_image_batch batch = { .images = image, .count = 1 };

	return pc_embed_images(model, &batch, options, ret_vectors, err);
}

int pc_embed_images_async(struct pc_model *model, const struct pc_image_batch *batch,
			  const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			  pc_done_fn done, void *ctx, struct pc_error *err)
{
	struct pc__embedding embedding;
	int rc = prepare(model, batch, true, &embedding, err);

	return rc ? rc : pc__embedding_submit(&embedding, options, ret_vectors, done, ctx, err);
}
