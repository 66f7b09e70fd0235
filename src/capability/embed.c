/* SPDX-License-Identifier: MIT */
/*
 * embed.c - runs an embedding: asks the instance how long its vectors are, makes room for them,
 * hands the inputs over in pieces and asks between two of them whether it should stop.
 *
 * It runs on the caller's thread or on a worker's, as the pool decides; nothing here is shared.
 */
#include "capability/embed.h"

#include <math.h>
#include <stdlib.h>

/* How far a vector's length may be from 1 before it is put right; single precision's noise over
 * some thousand components is a hundredth of it. */
#define UNIT_TOLERANCE 1e-4

struct job {
	struct pc__embedding embedding;
	struct pc_vectors vectors; /* the run's; empty unless it succeeded */
	/* Asynchronous ones only. */
	struct pc_vectors *ret_vectors;
	pc_done_fn done;
	void *ctx;
};

void pc_vectors_fini(struct pc_vectors *vectors)
{
	if (!vectors)
		return;
	pc_free(vectors->data);
	*vectors = (struct pc_vectors){ .data = NULL };
}

/* ---- the run ---- */

static int make_room(struct job *job, const struct pc_run *run, struct pc_error *err)
{
	struct pc_engine_description description = { .size = sizeof(description) };
	size_t floats;

	run->lease.engine->describe(run->lease.instance, &description);
	if (description.embedding_dim == 0)
		return pc__call_refuse(job->embedding.model, err, PC_E_MODEL_ERROR,
				       "the engine says that its vectors have no dimensions");
	if (__builtin_mul_overflow(job->embedding.count, description.embedding_dim, &floats))
		return pc__call_oom(job->embedding.model, err);
	job->vectors = (struct pc_vectors){
		.rows = job->embedding.count,
		.dim = description.embedding_dim,
		.data = pc_calloc(floats, sizeof(float)),
	};
	return job->vectors.data ? 0 : pc__call_oom(job->embedding.model, err);
}

/* Engines promise vectors of length 1 and callers compare by dot product, so what is off is put
 * right here, and what cannot be (nothing was written, a division by zero) is the model's error. */
static int make_unit(const struct job *job, size_t row, struct pc_error *err)
{
	float *vector = job->vectors.data + row * job->vectors.dim;
	double square = 0;

	for (uint32_t i = 0; i < job->vectors.dim; i++)
		square += (double)vector[i] * (double)vector[i];
	if (!isfinite(square) || square <= 0)
		return pc__call_refuse(job->embedding.model, err, PC_E_MODEL_ERROR,
				       "the engine's vector %zu has no direction: %s", row,
				       isfinite(square) ? "it is all zeros"
							: "it is not of numbers");

	double length = sqrt(square);

	if (fabs(length - 1) <= UNIT_TOLERANCE)
		return 0;
	for (uint32_t i = 0; i < job->vectors.dim; i++)
		vector[i] = (float)((double)vector[i] / length);
	return 0;
}

/* The engine counts within its piece, the caller in the batch. */
static void count_in_batch(struct pc_error *said, const char *detail, size_t first)
{
	const char *index = pc_error_detail_get(said, detail);

	if (index)
		pc_error_detail(said, detail, "%zu", first + strtoul(index, NULL, 10));
}

static int run_piece(struct job *job, const struct pc_run *run, size_t first, size_t count,
		     struct pc_error *err)
{
	const struct pc__embedding *embedding = &job->embedding;
	float *rows = job->vectors.data + first * job->vectors.dim;
	uint32_t tokens = 0;
	struct pc_error said;

	if (pc_run_should_stop(run))
		return pc_run_stop_error(run, err);
	pc_error_clear(&said);

	int rc = embedding->kind->embed(run, embedding->inputs, first, count, rows, &tokens, &said);

	count_in_batch(&said, embedding->kind->index_detail, first);
	rc = pc__call_end(run, rc, &said, err);
	for (size_t row = first; !rc && row < first + count; row++)
		rc = make_unit(job, row, err);
	job->vectors.tokens += tokens;
	return rc;
}

static int run_job(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	struct job *job = ctx;
	const struct pc__embedding_kind *kind = job->embedding.kind;
	size_t left = job->embedding.count;

	if (!kind->has_function(run->lease.engine))
		return pc__call_unsupported(run, kind->function, err);

	int rc = make_room(job, run, err);

	while (!rc && left > 0) {
		size_t count = left < kind->piece ? left : kind->piece;

		rc = run_piece(job, run, job->embedding.count - left, count, err);
		left -= count;
	}
	if (rc)
		pc_vectors_fini(&job->vectors);
	return rc;
}

/* ---- the two forms ---- */

int pc__embedding_call(const struct pc__embedding *embedding,
		       const struct pc_request_options *options, struct pc_vectors *ret_vectors,
		       struct pc_error *err)
{
	struct job job = { .embedding = *embedding };
	int rc = pc__call_need(embedding->model, ret_vectors != NULL, "place for the vectors", err);

	if (!rc && embedding->count > 0)
		rc = pc_pool_call(embedding->model, options, run_job, &job, err);
	if (rc)
		pc_vectors_fini(&job.vectors);
	else
		*ret_vectors = job.vectors;
	embedding->kind->release(embedding->owned);
	return rc;
}

static void job_free(struct job *job)
{
	pc_vectors_fini(&job->vectors);
	job->embedding.kind->release(job->embedding.owned);
	pc_free(job);
}

static void job_done(void *ctx, const struct pc_error *err)
{
	struct job *job = ctx;
	pc_done_fn done = job->done;
	void *done_ctx = job->ctx;

	if (err->code == 0) {
		*job->ret_vectors = job->vectors;
		job->vectors.data = NULL;
	}
	/* First, because whoever hears that it is over may end the program. */
	job_free(job);
	done(done_ctx, err);
}

int pc__embedding_submit(const struct pc__embedding *embedding,
			 const struct pc_request_options *options, struct pc_vectors *ret_vectors,
			 pc_done_fn done, void *ctx, struct pc_error *err)
{
	struct job *job = NULL;
	struct pc_error fine;
	int rc = pc__call_need(embedding->model, ret_vectors != NULL, "place for the vectors", err);

	if (!rc)
		rc = pc__call_need(embedding->model, done != NULL, "done callback", err);
	if (!rc && !(job = pc_malloc(sizeof(*job))))
		rc = pc__call_oom(embedding->model, err);
	if (rc) {
		embedding->kind->release(embedding->owned);
		return rc;
	}
	*job = (struct job){
		.embedding = *embedding, .ret_vectors = ret_vectors, .done = done, .ctx = ctx
	};
	if (embedding->count == 0) {
		pc_error_clear(&fine);
		job_done(job, &fine);
		return 0;
	}
	rc = pc_pool_submit(embedding->model, options, run_job, job_done, job, err);
	if (rc)
		job_free(job);
	return rc;
}
