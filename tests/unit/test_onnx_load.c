/* SPDX-License-Identifier: MIT */
/*
 * Model folders that are not what their manifest says, and memory that is not there. The sources of
 * the plug-in are linked here, so that its allocations can be refused. Argument: the folder of the
 * models; $POOLCORE_ONNXRUNTIME names the runtime.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include <poolcore/engine.h>

#include "draw.h"
#include "fail_alloc.h"
#include "folder.h"

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host);

static const char *models;
static const struct pc_engine *engine;
static struct pc_engine_instance *instance;

/* The files that a test may name in its manifest. */
static const char *const links[][2] = {
	{ "d.onnx", "text-reader/detector.onnx" },
	{ "r.onnx", "text-reader/recognizer.onnx" },
	{ "words", "text-reader/dictionary.txt" },
	{ "f.onnx", "image-embedder/features.onnx" },
};

#define READER(detector, recognizer, words) \
	"kind = text_reader\nrecognizer_space = yes\n" \
	"detector_file = " detector "\nrecognizer_file = " recognizer \
	"\nrecognizer_dictionary = " words "\n"
#define EMBEDDER(file, more) "kind = embedder\nembedder_width = 64\nembedder_file = " file "\n" more

static void take_line(enum pc_log_level level, const char *subject, const char *line)
{
	(void)level, (void)subject, (void)line;
}

static struct pc_engine_spec spec_of(enum pc_capability capability, const char *path)
{
	return (struct pc_engine_spec){ .size = sizeof(struct pc_engine_spec),
					.capability = capability,
					.model_path = path,
					.slots = 1,
					.threads = 1 };
}

static void refuse_spec(const struct pc_engine_spec *spec, int code, const char *part)
{
	struct pc_error err = PC_ERROR_INIT;

	instance = NULL;
	assert_int_equal(engine->load(spec, &instance, &err), code);
	assert_contains(err.message, part);
	assert_null(instance);
}

/* ---- specs ---- */

static void a_bad_spec_is_refused(void **state)
{
	struct pc_engine_spec spec = spec_of(PC_CAPABILITY_TEXT_TO_TEXT, folder);

	(void)state;
	refuse_spec(&spec, PC_E_UNSUPPORTED, "serves vision and image_embedding, not capability 2");
	spec.capability = PC_CAPABILITY_VISION;
	spec.slots = 0;
	refuse_spec(&spec, PC_E_INVALID_ARGUMENT, "0 slots: 1 to 64 are possible");
	spec.slots = 65;
	refuse_spec(&spec, PC_E_INVALID_ARGUMENT, "65 slots: 1 to 64 are possible");
	spec.slots = 1;
	spec.model_path = NULL;
	refuse_spec(&spec, PC_E_INVALID_ARGUMENT, "the model's path is missing");
	spec.model_path = "/nowhere";
	refuse_spec(&spec, PC_E_MODEL_FILE_MISSING, "model folder '/nowhere': No such file");
	spec.model_path = in_folder("words");
	refuse_spec(&spec, PC_E_MODEL_ERROR,
		    "is a file; the onnx engine wants a folder with a file 'model.manifest'");
	spec.model_path = folder;
	unlink(in_folder("model.manifest"));
	refuse_spec(&spec, PC_E_MODEL_FILE_MISSING, "model.manifest': No such file");
	spec.size = 4;
	refuse_spec(&spec, PC_E_INVALID_ARGUMENT, "the model's path is missing");
}

/* ---- networks that are not what the manifest says ---- */

static void folders_that_contradict_themselves_are_refused(void **state)
{
	static const struct {
		enum pc_capability capability;
		const char *manifest;
		int code;
		const char *part;
	} cases[] = {
		{ PC_CAPABILITY_VISION, "kind = text_reader\n", PC_E_MODEL_ERROR,
		  "model.manifest: detector_file is missing" },
		{ PC_CAPABILITY_VISION, EMBEDDER("f.onnx", "embedder_height = 64\n"),
		  PC_E_UNSUPPORTED, "is an embedder, which does not serve vision" },
		{ PC_CAPABILITY_IMAGE_EMBEDDING, READER("d.onnx", "r.onnx", "words"),
		  PC_E_UNSUPPORTED, "is a text_reader, which does not serve image_embedding" },
		{ PC_CAPABILITY_VISION, READER("none.onnx", "r.onnx", "words"),
		  PC_E_MODEL_FILE_MISSING, "none.onnx': No such file" },
		{ PC_CAPABILITY_VISION, READER("d.onnx", "r.onnx", "none"), PC_E_MODEL_FILE_MISSING,
		  "dictionary '" },
		{ PC_CAPABILITY_VISION, READER("words", "r.onnx", "words"), PC_E_MODEL_ERROR,
		  "words': ONNX Runtime cannot load it: " },
		{ PC_CAPABILITY_VISION, READER("r.onnx", "r.onnx", "words"), PC_E_MODEL_ERROR,
		  "r.onnx': its input is [any, 3, 48, any]; it should take [images, channels, "
		  "height, width] as [1, 3, any, any]" },
		{ PC_CAPABILITY_VISION, READER("f.onnx", "r.onnx", "words"), PC_E_MODEL_ERROR,
		  "f.onnx': it has 2 outputs, 'sigmoid_0.tmp_0', 'p2o.Add.215'; the manifest has "
		  "to say which" },
		{ PC_CAPABILITY_VISION, READER("d.onnx", "d.onnx", "words"), PC_E_MODEL_ERROR,
		  "recognizer 'd.onnx' gives [any, 1, any, any]; it should give the "
		  "probabilities of classes, [1, any, 6625]" },
		{ PC_CAPABILITY_VISION, READER("d.onnx", "r.onnx", "few"), PC_E_MODEL_ERROR,
		  "recognizer 'r.onnx' has 6625 classes; dictionary 'few' has 2 lines, which "
		  "with the empty class and the blank makes 4" },
		{ PC_CAPABILITY_VISION,
		  READER("d.onnx", "r.onnx", "words") "recognizer_height = 32\n", PC_E_MODEL_ERROR,
		  "its input is [any, 3, 48, any]; it should take [images, "
		  "channels, height, width] as [1, 3, 32, any]" },
		{ PC_CAPABILITY_IMAGE_EMBEDDING,
		  EMBEDDER("f.onnx", "embedder_height = 64\nembedder_output = p2o\n"),
		  PC_E_MODEL_ERROR,
		  "it has no output 'p2o', but 'sigmoid_0.tmp_0', 'p2o.Add.215'" },
	};
	char few[] = "a\nb\n";

	(void)state;
	write_file("few", few);
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_engine_spec spec = spec_of(cases[i].capability, folder);

		write_file("model.manifest", cases[i].manifest);
		refuse_spec(&spec, cases[i].code, cases[i].part);
	}
}

/* Damage in the middle of a file: refused, or loaded with other weights; never worse. */
static void a_cut_network_is_refused(void **state)
{
	struct pc_engine_spec spec = spec_of(PC_CAPABILITY_IMAGE_EMBEDDING, folder);
	FILE *from = fopen(in_folder("d.onnx"), "r"), *to = fopen(in_folder("cut.onnx"), "w");
	char data[5000];

	(void)state;
	assert_non_null(from);
	assert_non_null(to);
	assert_int_equal(fread(data, 1, sizeof(data), from), sizeof(data));
	assert_int_equal(fwrite(data, 1, sizeof(data), to), sizeof(data));
	fclose(from);
	fclose(to);
	write_file("model.manifest", EMBEDDER("cut.onnx", "embedder_height = 64\n"));
	refuse_spec(&spec, PC_E_MODEL_ERROR, "cut.onnx': ONNX Runtime cannot load it: ");
}

/* ---- loading ---- */

/* A row of vectors instead of a map: the recognizer, whose 6625 classes are averaged over time. */
static void a_row_of_vectors_is_averaged_too(void **state)
{
	struct pc_engine_spec spec = spec_of(PC_CAPABILITY_IMAGE_EMBEDDING, folder);
	struct pc_engine_description d = { .size = sizeof(d) };
	struct canvas canvas = canvas_create(64, 48, 0x808080);
	struct pc_image file = canvas_png(&canvas);
	static float vector[6625];
	struct pc_error err = PC_ERROR_INIT;
	double sum = 0;

	(void)state;
	write_file("model.manifest", EMBEDDER("r.onnx", "embedder_height = 48\n"));
	if (engine->load(&spec, &instance, &err))
		fail_msg("%s", err.message);
	engine->describe(instance, &d);
	assert_int_equal(d.embedding_dim, 6625);
	assert_contains(d.text, "unnamed, image embedder on ONNX Runtime ");
	assert_int_equal(engine->embed_image(instance, 0, &file, 1, vector, &err), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(vector); i++)
		sum += (double)vector[i] * (double)vector[i];
	assert_float_equal(sum, 1, 1e-5);
	/* The class for "nothing" has nearly all of the probability in an empty image. */
	assert_true(vector[0] > 0.9f);
	engine->unload(instance);
	file_destroy(&file);
	canvas_destroy(&canvas);
}

struct watch {
	unsigned calls, stop_at;
	float last;
};

static bool watch_progress(void *ctx, float fraction)
{
	struct watch *watch = ctx;

	assert_true(fraction >= watch->last && fraction <= 1);
	watch->last = fraction;
	return ++watch->calls != watch->stop_at;
}

static void loading_reports_and_can_be_cancelled(void **state)
{
	struct pc_engine_spec spec = spec_of(PC_CAPABILITY_VISION, folder);
	struct watch watch = { .stop_at = 0 };

	(void)state;
	write_file("model.manifest", READER("d.onnx", "r.onnx", "words"));
	spec.progress = watch_progress;
	spec.progress_ctx = &watch;
	assert_int_equal(engine->load(&spec, &instance, NULL), 0);
	engine->unload(instance);
	assert_true(watch.calls >= 3);
	assert_float_equal(watch.last, 1, 0);
	unsigned calls = watch.calls;

	for (unsigned stop_at = 1; stop_at <= calls; stop_at++) {
		watch = (struct watch){ .stop_at = stop_at };
		refuse_spec(&spec, PC_E_CANCELLED, "was cancelled");
		assert_int_equal(watch.calls, stop_at);
	}
}

/* ---- memory ---- */

static void take_chunk(void *ctx, const char *text, size_t length)
{
	(void)text;
	*(size_t *)ctx += length;
}

/* One call on the instance that is loaded. */
static int call_model(enum pc_capability capability, const struct pc_image *file,
		      struct pc_error *err)
{
	static float vector[384];
	size_t heard = 0;
	struct pc_vision_request request = { .size = sizeof(request), .image = *file };
	struct pc_text_sink sink = { sizeof(sink), take_chunk, NULL, &heard };
	struct pc_text_result result = { .size = sizeof(result) };

	if (capability != PC_CAPABILITY_VISION)
		return engine->embed_image(instance, 0, file, 1, vector, err);
	int rc = engine->describe_image(instance, 0, &request, &sink, &result, err);

	/* An answer that got lost would be worse than an error. */
	if (!rc)
		assert_int_equal(heard, sizeof("POOL\nWARM") - 1);
	return rc;
}

/* Loads, or calls, with the nth allocation refused, and it alone: who swallows the error would go
 * on. False once there is no nth. */
static bool refuse_allocation(unsigned n, const struct pc_engine_spec *spec,
			      const struct pc_image *file)
{
	struct pc_error err = PC_ERROR_INIT;

	fail_alloc_begin_once(n);
	int rc = file ? call_model(spec->capability, file, &err)
		      : engine->load(spec, &instance, &err);

	if (fail_alloc_end()) {
		if (rc)
			fail_msg("%s", err.message);
		return false;
	}
	assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	assert_int_equal(fail_alloc_live(), 0);
	return true;
}

static void refuse_each_allocation(enum pc_capability capability)
{
	struct pc_engine_spec spec = spec_of(capability, folder);
	struct canvas canvas = canvas_create(150, 130, 0xffffff);
	unsigned loading = 1, calling = 1;

	canvas_write(&canvas, 20, 20, 4, 0, "POOL");
	canvas_write(&canvas, 20, 75, 4, 0, "WARM");
	struct pc_image file = canvas_png(&canvas);

	while (refuse_allocation(loading, &spec, NULL))
		loading++;
	while (refuse_allocation(calling, &spec, &file))
		calling++;
	engine->unload(instance);
	assert_true(loading > 5);
	assert_true(calling > 5);
	file_destroy(&file);
	canvas_destroy(&canvas);
}

static void every_failing_allocation_is_reported(void **state)
{
	(void)state;
	write_file("model.manifest",
		   READER("d.onnx", "r.onnx",
			  "words") "detector_channels = bgr\ndetector_mean = 0.485 0.456 0.406\n"
				   "detector_std = 0.229 0.224 0.225\nrecognizer_channels = bgr\n"
				   "recognizer_mean = 0.5 0.5 0.5\nrecognizer_std = 0.5 0.5 0.5\n");
	refuse_each_allocation(PC_CAPABILITY_VISION);
	write_file("model.manifest", EMBEDDER("f.onnx", "embedder_height = 64\n"
							"embedder_output = p2o.Add.215\n"));
	refuse_each_allocation(PC_CAPABILITY_IMAGE_EMBEDDING);
}

static int make_folder(void **state)
{
	static char target[2 * PATH_MAX];

	(void)state;
	strcpy(folder, "/tmp/test-onnx-load-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	for (size_t i = 0; i < PC_ARRAY_LEN(links); i++) {
		snprintf(target, sizeof(target), "%s/%s", models, links[i][1]);
		if (symlink(target, in_folder(links[i][0])))
			return -1;
	}
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(links); i++)
		unlink(in_folder(links[i][0]));
	unlink(in_folder("few"));
	unlink(in_folder("cut.onnx"));
	unlink(in_folder("model.manifest"));
	return rmdir(folder);
}

int main(int argc, char **argv)
{
	static const struct pc_engine_host host = { sizeof(host), take_line };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bad_spec_is_refused),
		cmocka_unit_test(folders_that_contradict_themselves_are_refused),
		cmocka_unit_test(a_cut_network_is_refused),
		cmocka_unit_test(a_row_of_vectors_is_averaged_too),
		cmocka_unit_test(loading_reports_and_can_be_cancelled),
		cmocka_unit_test(every_failing_allocation_is_reported),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s MODELS_FOLDER\n", argv[0]);
		return 2;
	}
	models = argv[1];
	engine = pc_engine_entry(PC_ENGINE_ABI, &host);
	return engine ? cmocka_run_group_tests(tests, make_folder, remove_folder) : 1;
}
