/* SPDX-License-Identifier: MIT */
/*
 * embed.c - images to vectors of length 1. Runs on the caller's thread. One image at a time, so
 * that a batch gives the same bytes as its images one by one.
 */
#include "onnx_engine.h"

#include <math.h>

/*
 * Averages an output over its positions into `sums`. The channels are the last dimension of a row
 * of vectors, and the second of a map.
 */
static void pool(const struct network_output *output, uint32_t dim, double *sums)
{
	bool is_map = output->rank == 4;
	size_t positions = output->rank == 2 ? 1
			   : is_map	     ? (size_t)(output->dims[2] * output->dims[3])
					     : (size_t)output->dims[1];

	for (uint32_t c = 0; c < dim; c++) {
		double sum = 0;

		for (size_t i = 0; i < positions; i++)
			sum += (double)output->data[is_map ? c * positions + i : i * dim + c];
		sums[c] = sum / (double)positions;
	}
}

static int normalise(const double *from, float *to, uint32_t dim, struct pc_error *err)
{
	double sum = 0;

	for (uint32_t i = 0; i < dim; i++)
		sum += from[i] * from[i];
	if (!(sum > 0) || !isfinite(sum))
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "the model gives a vector without a direction");
	double scale = 1 / sqrt(sum);

	for (uint32_t i = 0; i < dim; i++)
		to[i] = (float)(from[i] * scale);
	return 0;
}

/* That a run gave what the file promised when it was loaded. */
static int check_output(const struct pc_engine_instance *instance,
			const struct network_output *output, struct pc_error *err)
{
	bool good = output->rank == instance->embedder.output_rank && output->dims[0] == 1;
	char shape[96];

	for (size_t i = 1; i < output->rank; i++)
		good &= output->dims[i] > 0;
	if (good && output->dims[output->rank == 3 ? 2 : 1] == instance->embedding_dim)
		return 0;
	return pc_error_set(
		err, PC_E_MODEL_ERROR, "the model gave %s, which holds no vector of %u numbers",
		network_shape(output->dims, output->rank, shape), instance->embedding_dim);
}

static int embed_pixels(const struct pc_engine_instance *instance, const struct slot *slot,
			const float *planes, float *vector, struct pc_error *err)
{
	const struct manifest_embedder *manifest = &instance->manifest.embedder;
	uint32_t dim = instance->embedding_dim;
	pc_auto(pc_free) double *sums = pc_calloc(dim, sizeof(*sums));
	struct network_output output;

	if (!sums)
		return pc_error_oom(err);
	int rc = network_run(&instance->embedder, slot->options, planes, manifest->width,
			     manifest->height, &output, err);

	if (rc)
		return rc;
	rc = check_output(instance, &output, err);
	if (!rc) {
		pool(&output, dim, sums);
		rc = normalise(sums, vector, dim, err);
	}
	network_output_fini(&output);
	return rc;
}

static int embed_one(const struct pc_engine_instance *instance, const struct slot *slot,
		     const struct pc_image *file, float *vector, struct pc_error *err)
{
	const struct manifest_embedder *manifest = &instance->manifest.embedder;
	struct image image;
	int rc = image_decode(file, &image, err);

	if (rc)
		return rc;
	const struct part whole = { 0, 0, image.width, image.height };
	pc_auto(pc_free) float *planes = pc_calloc((size_t)manifest->width * manifest->height,
						   3 * sizeof(*planes));

	rc = planes ? image_to_planes(&image, &whole, &manifest->pixels, manifest->width,
				      manifest->height, planes, err)
		    : pc_error_oom(err);
	image_fini(&image);
	return rc ? rc : embed_pixels(instance, slot, planes, vector, err);
}

int embed_image(struct pc_engine_instance *instance, uint32_t number, const struct pc_image *images,
		size_t image_count, float *vectors, struct pc_error *err)
{
	struct slot *slot;

	if (instance->embedding_dim == 0)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the model reads text and has no embeddings");
	int rc = slot_begin(instance, number, &slot, err);

	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < image_count; i++) {
		/* The run's own complaint, that it was told to terminate, is nobody's business. */
		struct pc_error why = PC_ERROR_INIT;

		if (!slot_is_cancelled(slot))
			rc = embed_one(instance, slot, &images[i],
				       vectors + i * instance->embedding_dim, &why);
		if (slot_is_cancelled(slot)) {
			rc = pc_error_set(err, PC_E_CANCELLED, "cancelled at image %zu of %zu",
					  i + 1, image_count);
		} else if (rc) {
			pc_error_prefix(&why, "image %zu of %zu", i + 1, image_count);
			pc_error_detail(&why, "image_index", "%zu", i);
			if (err && !err->code)
				*err = why;
		}
	}
	slot_end(slot);
	return rc;
}
