/* SPDX-License-Identifier: MIT */
/*
 * load.c - from a model's folder to an instance and back: reads the manifest, loads the networks it
 * names, and checks that they are what it says. Runs on the caller's thread; runs no network.
 */
#include "onnx_engine.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

#define SLOTS_MAX 64
#define THREADS_MAX 256 /* a guess; change freely */

/* The cores that this process may use, as the scheduler (taskset, a cpuset) says. */
static uint32_t usable_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return (uint32_t)CPU_COUNT(&set);
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return online > 0 ? (uint32_t)online : 1;
}

/*
 * The threads that work on one run at most. All slots share their helpers, and the caller of each
 * works along: with all slots busy this makes as many threads as the slots were promised together.
 */
static uint32_t choose_threads(const struct pc_engine_spec *spec)
{
	uint32_t each = spec->threads ? spec->threads : usable_cores() / spec->slots;

	each = each < 1 ? 1 : each > THREADS_MAX ? THREADS_MAX : each;
	uint32_t all = spec->slots * (each - 1) + 1;

	return all > THREADS_MAX ? THREADS_MAX : all;
}

static int check_folder(const char *path, struct pc_error *err)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno, "model folder '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "model '%s' is a file; the onnx engine wants a folder with a "
				    "file '" MANIFEST_NAME "' in it",
				    path);
	return 0;
}

static int check_spec(const struct pc_engine_spec *spec, struct pc_error *err)
{
	if (spec->size < sizeof(*spec) || !spec->model_path)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the model's path is missing");
	if (spec->capability != PC_CAPABILITY_VISION &&
	    spec->capability != PC_CAPABILITY_IMAGE_EMBEDDING)
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "the onnx engine serves vision and image_embedding, not "
				    "capability %d",
				    (int)spec->capability);
	if (spec->slots < 1 || spec->slots > SLOTS_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "%u slots: 1 to %d are possible",
				    spec->slots, SLOTS_MAX);
	return check_folder(spec->model_path, err);
}

/* Asks the host whether to go on. */
static int report(const struct pc_engine_spec *spec, float fraction, struct pc_error *err)
{
	if (!spec->progress || spec->progress(spec->progress_ctx, fraction))
		return 0;
	return pc_error_set(err, PC_E_CANCELLED, "loading '%s' was cancelled", spec->model_path);
}

/* ---- the networks ---- */

/* Loads the network whose file the manifest names. */
static int load_network(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
			const char *name, struct network_spec wanted, struct network *network,
			struct pc_error *err)
{
	pc_auto(pc_free) char *path = NULL;
	int rc = file_path(spec->model_path, name, &path, err);

	if (rc)
		return rc;
	wanted.file = path;
	wanted.threads = choose_threads(spec);
	rc = network_init(network, &wanted, err);
	instance->memory_bytes += network->file_bytes;
	return rc;
}

/* That a detector gives one map for each image. */
static int check_detector(const struct pc_engine_instance *instance, struct pc_error *err)
{
	const struct network *network = &instance->detector;
	const int64_t *dims = network->output_dims;
	char shape[96];

	if (network->output_rank == 4 && (dims[1] == 1 || dims[1] < 0))
		return 0;
	return pc_error_set(err, PC_E_MODEL_ERROR,
			    "detector '%s' gives %s; it should give one map of probabilities, "
			    "[1, 1, any, any]",
			    instance->manifest.detector.file,
			    network_shape(dims, network->output_rank, shape));
}

/* That a recognizer has as many classes as its dictionary has lines. */
static int check_recognizer(const struct pc_engine_instance *instance, struct pc_error *err)
{
	const struct manifest_recognizer *manifest = &instance->manifest.recognizer;
	const struct network *network = &instance->recognizer;
	const int64_t *dims = network->output_dims;
	size_t classes = instance->alphabet.count;
	char shape[96];

	if (network->output_rank != 3)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "recognizer '%s' gives %s; it should give the probabilities of "
				    "classes, [1, any, %zu]",
				    manifest->file,
				    network_shape(dims, network->output_rank, shape), classes);
	if (dims[2] >= 0 && (size_t)dims[2] != classes)
		return pc_error_set(err, PC_E_MODEL_ERROR,
				    "recognizer '%s' has %lld classes; dictionary '%s' has %zu "
				    "lines, which with the empty class%s makes %zu",
				    manifest->file, (long long)dims[2], manifest->dictionary,
				    classes - 1 - manifest->space,
				    manifest->space ? " and the blank" : "", classes);
	return 0;
}

static int load_text_reader(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
			    struct pc_error *err)
{
	const struct manifest *manifest = &instance->manifest;
	const struct network_spec detector = {
		.what = "detector", .output = "", .height = NETWORK_ANY, .width = NETWORK_ANY
	};
	const struct network_spec recognizer = { .what = "recognizer",
						 .output = "",
						 .height = manifest->recognizer.height,
						 .width = NETWORK_ANY };
	pc_auto(pc_free) char *dictionary = NULL;
	int rc = file_path(spec->model_path, manifest->recognizer.dictionary, &dictionary, err);

	if (!rc)
		rc = alphabet_read(dictionary, manifest->recognizer.space, &instance->alphabet,
				   err);
	if (!rc)
		rc = load_network(instance, spec, manifest->detector.file, detector,
				  &instance->detector, err);
	if (!rc)
		rc = check_detector(instance, err);
	if (!rc)
		rc = report(spec, 0.5f, err);
	if (!rc)
		rc = load_network(instance, spec, manifest->recognizer.file, recognizer,
				  &instance->recognizer, err);
	return rc ? rc : check_recognizer(instance, err);
}

/*
 * The length of an embedder's vectors: its output is one vector, a row of them, or a map of them
 * ([1, length], [1, any, length], [1, length, any, any]).
 */
static int find_embedding_dim(struct pc_engine_instance *instance, struct pc_error *err)
{
	const struct network *network = &instance->embedder;
	size_t rank = network->output_rank;
	int64_t dim = rank == 2 || rank == 4 ? network->output_dims[1]
		      : rank == 3	     ? network->output_dims[2]
					     : 0;
	char shape[96];

	if (dim > 0 && dim <= INT32_MAX) {
		instance->embedding_dim = (uint32_t)dim;
		return 0;
	}
	return pc_error_set(err, PC_E_MODEL_ERROR,
			    "embedder '%s' gives %s; it should give [1, length], [1, any, length] "
			    "or [1, length, any, any] with a length that is fixed",
			    instance->manifest.embedder.file,
			    network_shape(network->output_dims, rank, shape));
}

static int load_embedder(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
			 struct pc_error *err)
{
	const struct manifest_embedder *manifest = &instance->manifest.embedder;
	const struct network_spec embedder = { .what = "embedder",
					       .output = manifest->output,
					       .height = manifest->height,
					       .width = manifest->width };
	int rc = load_network(instance, spec, manifest->file, embedder, &instance->embedder, err);

	return rc ? rc : find_embedding_dim(instance, err);
}

/* ---- the three entries ---- */

static int read_manifest(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
			 struct pc_error *err)
{
	pc_auto(pc_free) char *path = NULL;
	bool wants_reader = spec->capability == PC_CAPABILITY_VISION;
	int rc = file_path(spec->model_path, MANIFEST_NAME, &path, err);

	if (!rc)
		rc = manifest_read(path, &instance->manifest, err);
	if (rc)
		return rc;
	if (wants_reader != (instance->manifest.kind == MANIFEST_TEXT_READER))
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "model '%s' is %s, which does not serve %s", spec->model_path,
				    wants_reader ? "an embedder" : "a text_reader",
				    pc_capability_name(spec->capability));
	return 0;
}

static int load_model(struct pc_engine_instance *instance, const struct pc_engine_spec *spec,
		      struct pc_error *err)
{
	int rc = read_manifest(instance, spec, err);

	if (!rc)
		rc = report(spec, 0, err);
	if (!rc)
		rc = instance->manifest.kind == MANIFEST_TEXT_READER
			     ? load_text_reader(instance, spec, err)
			     : load_embedder(instance, spec, err);
	for (; !rc && instance->slot_count < spec->slots; instance->slot_count++)
		rc = slot_init(&instance->slots[instance->slot_count], err);
	return rc ? rc : report(spec, 1, err);
}

void unload(struct pc_engine_instance *instance)
{
	if (!instance)
		return;
	for (uint32_t i = 0; i < instance->slot_count; i++)
		slot_fini(&instance->slots[i]);
	network_fini(&instance->detector);
	network_fini(&instance->recognizer);
	network_fini(&instance->embedder);
	alphabet_fini(&instance->alphabet);
	pc_free(instance);
}

PC_DEFINE_AUTO(struct pc_engine_instance, unload)

int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
	 struct pc_error *err)
{
	int rc = check_spec(spec, err);

	if (!rc)
		rc = runtime_need(err);
	if (rc)
		return rc;
	pc_auto(unload) struct pc_engine_instance *instance = pc_calloc(
		1, sizeof(*instance) + spec->slots * sizeof(instance->slots[0]));

	if (!instance)
		return pc_error_oom(err);
	rc = load_model(instance, spec, err);
	if (rc)
		return rc;
	*ret_instance = pc_steal(&instance);
	return 0;
}

void describe(const struct pc_engine_instance *instance, struct pc_engine_description *description)
{
	struct pc_engine_description all = { .size = description->size };
	const struct manifest *manifest = &instance->manifest;

	all.embedding_dim = instance->embedding_dim;
	/* The files' weights. ONNX Runtime does not tell what it makes of them, and what a run
	 * takes depends on its image, so this is a lower bound. */
	all.memory_bytes = instance->memory_bytes;
	snprintf(all.text, sizeof(all.text), "%s, %s on ONNX Runtime %s",
		 *manifest->name ? manifest->name : "unnamed",
		 manifest->kind == MANIFEST_TEXT_READER ? "text reader" : "image embedder",
		 runtime_version());
	memcpy(description, &all,
	       description->size < sizeof(all) ? description->size : sizeof(all));
}
