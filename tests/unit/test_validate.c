/* SPDX-License-Identifier: MIT */
/* Unit tests of src/lifecycle/validate.c: each thing that stands in a spawn's way, and its
 * words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/lifecycle.h>
#include <poolcore/memory.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/gpu_fixture.h"
#include "tests/unit/model_folder.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static const char settings[] =
	"[catalog]\nfiles = [\"a.toml\"]\ncache_dir = \"cache\"\n"
	"[backends.web]\ncommand = [\"./run\", \"--port\", \"{port}\", \"{model_path}\"]\n"
	"[backends.broken]\ncommand = [\"./text\", \"{port}\"]\n"
	"[backends.lost]\ncommand = [\"no-such-program-here\", \"{port}\"]\n"
	"[backends.quiet]\ncommand = [\"./run\", \"{socket}\"]\ndevice = \"cpu\"\n";

static struct pc_gpu_inventory *gpus;

/* A machine with two GPUs: 24 GiB, 23 of them free; and 8 GiB, all free. */
static int enter(void **state)
{
	if (model_folder_enter("validate") || find_standins(state))
		return -1;
	pc_config_free(config);
	config = NULL;
	write_file("pool.toml", settings);
	/* "./x" in a command is of the working directory. */
	if (chdir(folder) || chmod(write_file("run", "#!/bin/sh\n"), 0700) ||
	    chmod(write_file("text", "text"), 0600))
		return -1;
	gpus = open_machine(TWO_GPUS);
	return pc_config_load(in_folder("pool.toml"), NULL, 0, &config, NULL);
}

static int leave(void **state)
{
	pc_gpu_inventory_close(gpus);
	remove_script(state);
	return chdir("/") || model_folder_leave();
}

static int empty(void **state)
{
	(void)state;
	model_folder_empty();
	return 0;
}

/* A model of 1 MiB whose file is there. */
static struct pc_spawn_means means_of(const char *more)
{
	char lines[512];

	snprintf(lines, sizeof(lines), "aliases = [\"alias\"]\nbackend = \"web\"\n%s", more);
	write_file("model.gguf", "GGUF");
	model("model.gguf", "", lines);
	return (struct pc_spawn_means){ .config = config, .catalog = catalog, .gpus = gpus };
}

static void refuse(const struct pc_spawn_request *request, const struct pc_spawn_means *means,
		   int code, const char *sentence)
{
	struct pc_spawn_plan plan = { .memory_bytes = 7 };
	struct pc_error err = PC_ERROR_INIT;
	int before = dup(0), after, rc;

	close(before);
	rc = pc_spawn_validate(request, means, &plan, &err);
	if (rc != code)
		fail_msg("%d, not %d: %s", rc, code, err.message);
	if (sentence[0] == '=')
		assert_string_equal(err.message, sentence + 1);
	else
		assert_contains(err.message, sentence);
	assert_int_equal(plan.memory_bytes, 7);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

static struct pc_spawn_plan planned(const struct pc_spawn_request *request,
				    const struct pc_spawn_means *means)
{
	struct pc_spawn_plan plan = { .memory_bytes = 7 };
	struct pc_error err = PC_ERROR_INIT;

	if (pc_spawn_validate(request, means, &plan, &err))
		fail_msg("%s", err.message);
	return plan;
}

/* ---- what is right ---- */

static void says_what_would_be_spawned(void **state)
{
	const struct pc_spawn_means means = means_of("device = \"gpu0\"\n");
	const struct pc_spawn_request request = { .model = "alias", .worker_id = "w-1-1" };
	struct pc_spawn_plan plan = planned(&request, &means);

	(void)state;
	assert_ptr_equal(plan.entry, pc_catalog_at(catalog, 0));
	assert_string_equal(plan.backend->name, "web");
	assert_string_equal(plan.device, "gpu0");
	assert_int_equal(plan.memory_bytes, MIB);
	assert_int_equal(plan.free_bytes, UINT64_C(25757220864) - UINT64_C(1073741824));
	assert_string_equal(plan.program, "./run");
	assert_string_equal(plan.file.path, plan.entry->path);
	assert_int_equal(pc_model_file_check(&plan.file, NULL), 0);
	pc_spawn_plan_fini(&plan);
	pc_spawn_plan_fini(&plan);
	pc_spawn_plan_fini(NULL);
}

static const char *device_for(const struct pc_spawn_request *request,
			      const struct pc_spawn_means *means)
{
	static char device[16];
	struct pc_spawn_plan plan = planned(request, means);

	snprintf(device, sizeof(device), "%s", plan.device);
	pc_spawn_plan_fini(&plan);
	return device;
}

/* The request's word, else the model's, else its backend's; "auto" is where most is free. */
static void chooses_the_device(void **state)
{
	struct pc_spawn_request request = { .model = "m" };
	struct pc_spawn_means means = means_of("device = \"gpu1\"\n");

	(void)state;
	assert_string_equal(device_for(&request, &means), "gpu1");
	request.device = "cpu";
	assert_string_equal(device_for(&request, &means), "cpu");
	request.device = "auto";
	assert_string_equal(device_for(&request, &means), "gpu0");
	means.gpus = NULL;
	assert_string_equal(device_for(&request, &means), "cpu");
	means = means_of("");
	request.device = NULL;
	assert_string_equal(device_for(&request, &means), "gpu0");
	request.backend = "quiet";
	assert_string_equal(device_for(&request, &means), "cpu");
}

/* ---- names ---- */

static void names_are_looked_at_first(void **state)
{
	const struct pc_spawn_means means = means_of("");
	struct pc_spawn_request request = { .model = "../m" };

	(void)state;
	refuse(&request, &means, PC_E_INVALID_ARGUMENT, "\"../m\" is no id of a model; one has ");
	request.model = "hf:a/b::file=../x";
	refuse(&request, &means, PC_E_INVALID_ARGUMENT,
	       "\"hf:a/b::file=../x\" is no reference to a model: its path leaves the repository; ");
	request.model = "mm";
	refuse(&request, &means, PC_E_MODEL_NOT_FOUND,
	       "=there is no model \"mm\"; did you mean \"m\"?");
	request.model = "hf:a/b::file=x";
	refuse(&request, &means, PC_E_MODEL_NOT_FOUND, "there is no model \"hf:a/b::file=x\"");
	request.model = "m";
	request.worker_id = "-w";
	refuse(&request, &means, PC_E_INVALID_ARGUMENT, "\"-w\" is no id of a worker; one has ");
	request.worker_id = "012345678901234567890123456789012345678901234567";
	refuse(&request, &means, PC_E_INVALID_ARGUMENT, "at most 47 bytes");
	request.worker_id = NULL;
	request.device = "gpu";
	refuse(&request, &means, PC_E_INVALID_ARGUMENT,
	       "=\"gpu\" is no device; use \"auto\", \"cpu\", \"gpu0\", \"gpu1\" ...");
	request.model = NULL;
	refuse(&request, &means, PC_E_INVALID_ARGUMENT, "a model's id is needed");
	refuse(NULL, &means, PC_E_INVALID_ARGUMENT, "a request, a configuration");
}

/* ---- backend and port ---- */

static void backends_and_programs(void **state)
{
	const struct pc_spawn_means means = means_of("");
	struct pc_spawn_request request = { .model = "m", .backend = "wob" };

	(void)state;
	refuse(&request, &means, PC_E_NOT_FOUND,
	       "=there is no backend \"wob\"; the configuration has pool-worker, web, broken, lost, "
	       "quiet");
	request.backend = "broken";
	refuse(&request, &means, PC_E_SPAWN_FAILED,
	       "=backend \"broken\": './text' cannot be run: Permission denied");
	request.backend = "lost";
	refuse(&request, &means, PC_E_NOT_FOUND,
	       "backend \"lost\": no program 'no-such-program-here'; looked in ");
}

static void ports(void **state)
{
	const struct pc_spawn_means means = means_of("");
	struct pc_spawn_request request = { .model = "m", .port = 80 };
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char sentence[64];

	(void)state;
	refuse(&request, &means, PC_E_INVALID_ARGUMENT,
	       "=80 is no port for a worker; use one from 1024 to 65535, or none, and a free one is "
	       "chosen");
	request.port = 65536;
	refuse(&request, &means, PC_E_INVALID_ARGUMENT, "65536 is no port for a worker");
	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	request.port = ntohs(address.sin_port);
	snprintf(sentence, sizeof(sentence), "=port %u on 127.0.0.1 is taken", request.port);
	refuse(&request, &means, PC_E_PORT_IN_USE, sentence);
	request.backend = "quiet";
	refuse(&request, &means, PC_E_INVALID_ARGUMENT,
	       "the backend \"quiet\" has no {port} in its command, so that its workers listen on a "
	       "socket; leave the port ");
	close(fd);
}

/* ---- devices and memory ---- */

static void devices_that_are_not_there(void **state)
{
	struct pc_spawn_means means = means_of("");
	struct pc_spawn_request request = { .model = "m", .device = "gpu2" };
	struct pc_gpu_inventory *divided;

	(void)state;
	refuse(&request, &means, PC_E_NOT_FOUND,
	       "=model \"m\" is to run on gpu2, which this machine does not have; it has cpu, gpu0, "
	       "gpu1: 2 GPUs, driver 550.54.14");
	divided = open_machine(TWO_GPUS "mig 0 2\n");
	means.gpus = divided;
	request.device = "gpu0";
	refuse(&request, &means, PC_E_SPAWN_FAILED,
	       "gpu0 (NVIDIA Test A) cannot be used: MIG is enabled with 2 instances");
	/* "auto" goes round it. */
	request.device = "auto";
	assert_string_equal(device_for(&request, &means), "gpu1");
	pc_gpu_inventory_close(divided);
	means.gpus = NULL;
	request.device = "gpu0";
	refuse(&request, &means, PC_E_NOT_FOUND,
	       "=model \"m\" is to run on gpu0, which this machine does not have; it has cpu");
	put_script(TWO_GPUS);
}

/* A catalog whose model takes so many MiB. */
static struct pc_spawn_means means_of_size(unsigned mib)
{
	char toml[512];

	pc_catalog_free(catalog);
	catalog = NULL;
	write_file("model.gguf", "GGUF");
	snprintf(toml, sizeof(toml),
		 "[[model]]\nid = \"m\"\nfile = \"model.gguf\"\nbackend = \"web\"\n"
		 "capability = \"text_to_text\"\nest_memory_allocation_mb = %u\n",
		 mib);
	write_file("a.toml", toml);
	assert_int_equal(pc_catalog_load(config, &catalog, NULL), 0);
	return (struct pc_spawn_means){ .config = config, .catalog = catalog, .gpus = gpus };
}

static void memory_that_is_free(void **state)
{
	struct pc_spawn_means means = means_of_size(8 * 1024);
	struct pc_spawn_request request = { .model = "m", .device = "gpu1" };
	struct pc_spawn_plan plan = planned(&request, &means);

	(void)state;
	assert_int_equal(plan.free_bytes, 8 * GIB);
	pc_spawn_plan_fini(&plan);
	means = means_of_size(8 * 1024 + 1);
	refuse(&request, &means, PC_E_INSUFFICIENT_MEMORY,
	       "a worker of model \"m\" takes 8 GiB, and gpu1 has 8 GiB in all, so that it never "
	       "fits; choose another device or a smaller model");
	means = means_of_size(23 * 1024);
	request.device = "gpu0";
	refuse(&request, &means, PC_E_INSUFFICIENT_MEMORY,
	       "takes 23 GiB; of the 24 GiB of gpu0, 23 GiB are free: end what uses the rest");
}

static void memory_that_is_reserved(void **state)
{
	struct pc_spawn_means means = means_of_size(3 * 1024);
	struct pc_spawn_request request = { .model = "m", .device = "cpu" };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_spawn_plan plan;
	struct pc_ledger *ledger;
	int device;

	(void)state;
	assert_int_equal(pc_ledger_create(&ledger, NULL), 0);
	device = pc_ledger_add_device(ledger, "cpu", 16 * GIB, 4 * GIB, NULL);
	means.ledger = ledger;
	plan = planned(&request, &means);
	assert_int_equal(plan.free_bytes, 4 * GIB);
	pc_spawn_plan_fini(&plan);
	assert_true(pc_ledger_reserve(ledger, (unsigned)device, GIB + 1));
	refuse(&request, &means, PC_E_INSUFFICIENT_MEMORY,
	       "takes 3 GiB; of the 4 GiB that may be used of cpu, 1 GiB are reserved and ");
	assert_int_equal(pc_spawn_validate(&request, &means, &plan, &err),
			 PC_E_INSUFFICIENT_MEMORY);
	assert_string_equal(pc_error_detail_get(&err, "needed_bytes"), "3221225472");
	assert_string_equal(pc_error_detail_get(&err, "free_bytes"), "3221225471");
	assert_string_equal(pc_error_detail_get(&err, "budget_bytes"), "4294967296");
	assert_string_equal(pc_error_detail_get(&err, "reserved_bytes"), "1073741825");
	assert_string_equal(pc_error_detail_get(&err, "device"), "cpu");
	/* Who has reserved it asks for no more. */
	request.memory_reserved = true;
	plan = planned(&request, &means);
	assert_int_equal(plan.free_bytes, UINT64_MAX);
	pc_spawn_plan_fini(&plan);
	/* The ledger says which devices there are. */
	request.device = "gpu0";
	refuse(&request, &means, PC_E_NOT_FOUND, "it has cpu: 2 GPUs, driver");
	request.device = "auto";
	assert_string_equal(device_for(&request, &means), "cpu");
	pc_ledger_destroy(ledger);
}

/* ---- the file ---- */

static void the_file_comes_last(void **state)
{
	const struct pc_spawn_means means = means_of("size = 9\n");
	struct pc_spawn_request request = { .model = "m", .device = "gpu7" };

	(void)state;
	refuse(&request, &means, PC_E_NOT_FOUND, "gpu7");
	request.device = NULL;
	refuse(&request, &means, PC_E_MODEL_FILE_INVALID, "has 4 bytes and the catalog says 9");
	unlink(in_folder("model.gguf"));
	refuse(&request, &means, PC_E_MODEL_FILE_MISSING, "does not exist; put it there");
}

static void out_of_memory_leaves_nothing(void **state)
{
	const struct pc_spawn_means means = means_of("");
	const struct pc_spawn_request request = { .model = "m", .device = "cpu" };

	(void)state;
	for (unsigned n = 1;; n++) {
		struct pc_spawn_plan plan = { .file = { .fd = -1 } };
		int rc;

		fail_alloc_begin(n);
		rc = pc_spawn_validate(&request, &means, &plan, NULL);
		pc_spawn_plan_fini(&plan);
		assert_int_equal(fail_alloc_live(), 0);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(says_what_would_be_spawned, empty),
		cmocka_unit_test_teardown(chooses_the_device, empty),
		cmocka_unit_test_teardown(names_are_looked_at_first, empty),
		cmocka_unit_test_teardown(backends_and_programs, empty),
		cmocka_unit_test_teardown(ports, empty),
		cmocka_unit_test_teardown(devices_that_are_not_there, empty),
		cmocka_unit_test_teardown(memory_that_is_free, empty),
		cmocka_unit_test_teardown(memory_that_is_reserved, empty),
		cmocka_unit_test_teardown(the_file_comes_last, empty),
		cmocka_unit_test_teardown(out_of_memory_leaves_nothing, empty),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
