/* SPDX-License-Identifier: MIT */
/*
 * network.c - one ONNX file: a session of ONNX Runtime, what it takes and gives, and a run of it.
 * The session is shared by all slots, ONNX Runtime's Run may be called from many threads.
 *
 * XXX ONNX Runtime checks a file's structure, but it is a large program that was not made for files
 * from strangers. They belong in a worker process.
 */
#include "network.h"

#include <stdio.h>
#include <string.h>

#include "file.h"

/* ---- a session ---- */

/*
 * The images' sizes vary, so that a plan of where each result will lie (the memory pattern) fits
 * one image only. Threads that wait for work sleep; ONNX Runtime would let them spin.
 *
 * There is no arena: it would keep what the largest image took, and memory is what the pool is
 * short of. Measured with PP-OCRv4 on 40 images of up to 1200 x 1100 pixels full of text, one
 * thread, the process had 60 to 100 MB and 24.1 s of processor time without it, 220 MB and 21.0 s
 * with it.
 */
static struct ort_status *set_options(struct ort_session_options *options, uint32_t threads)
{
	struct ort_status *status = ort.SetIntraOpNumThreads(options, (int)threads);

	if (!status)
		status = ort.SetSessionGraphOptimizationLevel(options, ORT_OPTIMIZE_ALL);
	if (!status)
		status = ort.DisableMemPattern(options);
	if (!status)
		status = ort.DisableCpuMemArena(options);
	if (!status)
		status = ort.AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0");
	return status;
}

static int open_session(struct network *network, const struct network_spec *spec,
			struct pc_error *err)
{
	struct ort_session_options *options = NULL;
	struct ort_status *status = ort.CreateSessionOptions(&options);

	if (!status)
		status = set_options(options, spec->threads);
	if (!status)
		status = ort.CreateSession(ort_env, spec->file, options, &network->session);
	if (options)
		ort.ReleaseSessionOptions(options);
	return ort_check(status, PC_E_MODEL_ERROR, "ONNX Runtime cannot load it", err);
}

/* ---- names and shapes ---- */

const char *network_shape(const int64_t *dims, size_t rank, char text[96])
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < rank && i < NETWORK_MAX_RANK; i++) {
		char number[24] = "any";

		if (dims[i] >= 0)
			snprintf(number, sizeof(number), "%lld", (long long)dims[i]);
		used += (size_t)snprintf(text + used, 96 - used, "%s%s", i ? ", " : "[", number);
	}
	snprintf(text + used, 96 - used, rank > 0 ? "]" : "[]");
	return text;
}

typedef struct ort_status *(*get_name)(const struct ort_session *, size_t, struct ort_allocator *,
				       char **);

static int copy_name(const struct network *network, get_name get, size_t index, char **ret_name,
		     struct pc_error *err)
{
	char *name = NULL;
	int rc = ort_check(get(network->session, index, ort_allocator, &name), PC_E_MODEL_ERROR,
			   "ONNX Runtime knows no name", err);

	if (rc)
		return rc;
	char *copy = pc_strdup(name);

	ort_check(ort.AllocatorFree(ort_allocator, name), PC_E_INTERNAL, "", NULL);
	if (!copy)
		return pc_error_oom(err);
	*ret_name = copy;
	return 0;
}

/* Shape of a tensor of floats; `what` is "the input". MODEL_ERROR when it is no such tensor. */
static int read_shape(const struct ort_tensor_info *info, const char *what,
		      int64_t dims[NETWORK_MAX_RANK], size_t *ret_rank, struct pc_error *err)
{
	int type = 0;
	size_t rank = 0;
	struct ort_status *status = info ? ort.GetTensorElementType(info, &type) : NULL;

	if (info && !status)
		status = ort.GetDimensionsCount(info, &rank);
	if (info && !status && rank <= NETWORK_MAX_RANK)
		status = ort.GetDimensions(info, dims, rank);
	if (status)
		return ort_check(status, PC_E_MODEL_ERROR, what, err);
	if (!info || type != ORT_ELEMENT_FLOAT)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "%s is no tensor of 32-bit floats (it is of type %d)", what,
				    type);
	if (rank > NETWORK_MAX_RANK)
		return pc_error_set(err, PC_E_MODEL_ERROR, "%s has %zu dimensions; %d are the most",
				    what, rank, NETWORK_MAX_RANK);
	*ret_rank = rank;
	return 0;
}

static int read_promise(struct ort_status *status, struct ort_type_info *type, const char *what,
			int64_t dims[NETWORK_MAX_RANK], size_t *ret_rank, struct pc_error *err)
{
	const struct ort_tensor_info *info = NULL; /* a part of `type` */
	int rc = ort_check(status, PC_E_MODEL_ERROR, what, err);

	if (!rc)
		rc = ort_check(ort.CastTypeInfoToTensorInfo(type, &info), PC_E_MODEL_ERROR, what,
			       err);
	if (!rc)
		rc = read_shape(info, what, dims, ret_rank, err);
	if (type)
		ort.ReleaseTypeInfo(type);
	return rc;
}

/* ---- what it takes ---- */

static bool fits(int64_t promised, int64_t wanted)
{
	return promised < 0 || promised == wanted;
}

static int check_input(struct network *network, const struct network_spec *spec,
		       struct pc_error *err)
{
	int64_t dims[NETWORK_MAX_RANK];
	int64_t wanted[] = { 1, 3, spec->height, spec->width };
	struct ort_type_info *type = NULL;
	size_t count = 0, rank = 0;
	char is[96], should[96];
	int rc = ort_check(ort.SessionGetInputCount(network->session, &count), PC_E_MODEL_ERROR,
			   "the inputs", err);

	if (rc)
		return rc;
	if (count != 1)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "it has %zu inputs; it should have one, the image", count);
	struct ort_status *status = ort.SessionGetInputTypeInfo(network->session, 0, &type);

	rc = read_promise(status, type, "the input", dims, &rank, err);
	if (rc)
		return rc;
	bool good = rank == PC_ARRAY_LEN(wanted);

	for (size_t i = 0; good && i < PC_ARRAY_LEN(wanted); i++)
		good = fits(dims[i], wanted[i]);
	if (!good)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "its input is %s; it should take [images, channels, height, "
				    "width] as %s",
				    network_shape(dims, rank, is),
				    network_shape(wanted, 4, should));
	return copy_name(network, ort.SessionGetInputName, 0, &network->input, err);
}

/* ---- what it gives ---- */

/* Finds the output of a name, and says which there are when there is none. */
static int find_output(struct network *network, const char *wanted, size_t count, size_t *ret_index,
		       struct pc_error *err)
{
	char list[256] = "";

	for (size_t i = 0; i < count; i++) {
		size_t used = strlen(list);
		char *name = NULL;
		int rc = copy_name(network, ort.SessionGetOutputName, i, &name, err);

		if (rc)
			return rc;
		if ((count == 1 && !*wanted) || strcmp(name, wanted) == 0) {
			network->output = name;
			*ret_index = i;
			return 0;
		}
		snprintf(list + used, sizeof(list) - used, "%s'%s'", i ? ", " : "", name);
		pc_free(name);
	}
	if (!*wanted)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "it has %zu outputs, %s; the manifest has to say which", count,
				    list);
	return pc_error_set(err, PC_E_MODEL_ERROR, "it has no output '%s', but %s", wanted, list);
}

static int check_output(struct network *network, const struct network_spec *spec,
			struct pc_error *err)
{
	struct ort_type_info *type = NULL;
	size_t count = 0, index = 0;
	int rc = ort_check(ort.SessionGetOutputCount(network->session, &count), PC_E_MODEL_ERROR,
			   "the outputs", err);

	if (!rc)
		rc = find_output(network, spec->output, count, &index, err);
	if (rc)
		return rc;
	struct ort_status *status = ort.SessionGetOutputTypeInfo(network->session, index, &type);

	return read_promise(status, type, "the output", network->output_dims, &network->output_rank,
			    err);
}

int network_init(struct network *network, const struct network_spec *spec, struct pc_error *err)
{
	int rc = file_check(spec->file, spec->what, &network->file_bytes, err);

	if (rc)
		return rc;
	rc = open_session(network, spec, err);
	if (!rc)
		rc = check_input(network, spec, err);
	if (!rc)
		rc = check_output(network, spec, err);
	if (rc)
		pc_error_prefix(err, "%s '%s'", spec->what, spec->file);
	return rc;
}

void network_fini(struct network *network)
{
	if (network->session)
		ort.ReleaseSession(network->session);
	pc_free(network->input);
	pc_free(network->output);
	*network = (struct network){ .session = NULL };
}

/* ---- a run ---- */

static int read_output(struct network_output *output, struct pc_error *err)
{
	struct ort_tensor_info *info = NULL;
	void *data = NULL;
	int rc = ort_check(ort.GetTensorTypeAndShape(output->value, &info), PC_E_MODEL_ERROR,
			   "the output", err);

	if (!rc)
		rc = read_shape(info, "the output", output->dims, &output->rank, err);
	if (info)
		ort.ReleaseTensorTypeAndShapeInfo(info);
	if (!rc)
		rc = ort_check(ort.GetTensorMutableData(output->value, &data), PC_E_MODEL_ERROR,
			       "the output", err);
	output->data = data;
	return rc;
}

int network_run(const struct network *network, const struct ort_run_options *options,
		const float *planes, uint32_t width, uint32_t height,
		struct network_output *ret_output, struct pc_error *err)
{
	const int64_t dims[] = { 1, 3, height, width };
	const size_t bytes = (size_t)width * height * 3 * sizeof(float);
	const char *inputs[] = { network->input }, *outputs[] = { network->output };
	struct network_output output = { .value = NULL };
	struct ort_value *input = NULL;
	/* ONNX Runtime does not write to an input; it has no other word for it. */
	int rc = ort_check(ort.CreateTensorWithDataAsOrtValue(ort_memory, (void *)planes, bytes,
							      dims, PC_ARRAY_LEN(dims),
							      ORT_ELEMENT_FLOAT, &input),
			   PC_E_MODEL_ERROR, "the input", err);

	if (rc)
		return rc;
	const struct ort_value *values[] = { input };

	rc = ort_check(
		ort.Run(network->session, options, inputs, values, 1, outputs, 1, &output.value),
		PC_E_MODEL_ERROR, "ONNX Runtime could not compute", err);
	ort.ReleaseValue(input);
	if (!rc)
		rc = read_output(&output, err);
	if (rc) {
		network_output_fini(&output);
		return rc;
	}
	*ret_output = output;
	return 0;
}

void network_output_fini(struct network_output *output)
{
	if (output->value)
		ort.ReleaseValue(output->value);
	*output = (struct network_output){ .value = NULL };
}
