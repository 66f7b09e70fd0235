/* SPDX-License-Identifier: MIT */
/*
 * network.h - one ONNX file that takes images: loaded, checked against what its manifest says of
 * it, and run. Knows nothing of what its numbers mean.
 */
#ifndef ONNX_NETWORK_H
#define ONNX_NETWORK_H

#include "runtime.h"

#define NETWORK_MAX_RANK 4

/* A length that may be any. */
#define NETWORK_ANY (-1)

struct network {
	struct ort_session *session;
	char *input, *output; /* their names; pc_free */
	/* As the file promises them; NETWORK_ANY where it leaves a length open. */
	int64_t output_dims[NETWORK_MAX_RANK];
	size_t output_rank;
	uint64_t file_bytes;
};

/* What a network must be like. */
struct network_spec {
	const char *what;   /* "detector", for sentences */
	const char *file;   /* its path */
	const char *output; /* name of the output; "" the only one */
	uint32_t threads;
	int64_t height, width; /* of the images that it will get; NETWORK_ANY: they vary */
};

/*
 * Loads a network: it must have one input of floats, [images, 3 channels, height, width], and the
 * output must be floats of up to 4 dimensions. MODEL_FILE_MISSING, MODEL_ERROR, OUT_OF_MEMORY;
 * *network may be partly filled after an error, and network_fini is right in any case.
 */
int network_init(struct network *network, const struct network_spec *spec, struct pc_error *err);
void network_fini(struct network *network);

/* What a run gave. */
struct network_output {
	struct ort_value *value;
	const float *data; /* row-major; valid until network_output_fini */
	int64_t dims[NETWORK_MAX_RANK];
	size_t rank;
};

/*
 * Runs one image, three planes of height * width floats. `options` may be told to terminate by
 * another thread; the run then ends with an error. MODEL_ERROR. Threads may run one network at the
 * same time.
 */
int network_run(const struct network *network, const struct ort_run_options *options,
		const float *planes, uint32_t width, uint32_t height,
		struct network_output *ret_output, struct pc_error *err);
void network_output_fini(struct network_output *output);

/* "[1, 3, any, 48]" into `text`, for sentences. */
const char *network_shape(const int64_t *dims, size_t rank, char text[96]);

#endif
