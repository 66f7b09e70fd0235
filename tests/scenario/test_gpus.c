/* SPDX-License-Identifier: MIT */
/*
 * Scenarios with GPUs: what the daemon and the command line show of them while they fill up, fail,
 * come and go, and what becomes of the memory that workers hold there. The driver is the stand-in
 * of tests/standins. The machine's own AMD GPUs, where it has some, follow those of a test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario/cli_fixture.h"

#define GIB (INT64_C(1) << 30)
#define CARD_A "gpu Card A|GPU-1111|8589934592|1073741824|45|12|0000:01:00|71500\n"
#define CARD_B "gpu Card B|GPU-2222|8589934592|0|-|-|0000:02:00|-\n"
#define DRIVER "driver 550.54.14\n"

/* ---- the machine ---- */

/* In one step: the driver may be asked at any time. */
static void put_machine(struct rig *rig, const char *text)
{
	char *fresh = test_file_write(rig->dir, "nvml.new", text);
	char path[512];

	snprintf(path, sizeof(path), "%s/nvml.txt", rig->dir);
	assert_int_equal(rename(fresh, path), 0);
	setenv("POOLCORE_NVML_SCRIPT", path, 1);
	setenv("LD_LIBRARY_PATH", getenv("NVML_STANDIN_DIR"), 1);
	free(fresh);
}

static void begin(struct rig *rig, const char *text)
{
	rig_init(rig);
	rig_backend(rig, "gpu", "{port}",
		    "readiness = \"http:/health\"\nenv = { CUDA_VISIBLE_DEVICES = \"{gpu_id}\" }");
	rig_model(rig, "m", "show=CUDA_VISIBLE_DEVICES",
		  "backend = \"gpu\"\ndevice = \"gpu1\"\nest_memory_allocation_mb = 1024");
	put_machine(rig, text);
	rig_start(rig);
}

static int clean_up(void **state)
{
	unsetenv("POOLCORE_NVML_SCRIPT");
	unsetenv("LD_LIBRARY_PATH");
	client_close_all();
	return cli_free_all(state) | proc_free_all(state);
}

/* The GPU of that device in an answer, or NULL. */
static json_t *find_gpu(json_t *answer, const char *device)
{
	json_t *gpu;
	size_t i;

	json_array_foreach(json_object_get(answer, "gpus"), i, gpu)
	{
		if (strcmp(json_string_value(json_object_get(gpu, "device")), device) == 0)
			return gpu;
	}
	return NULL;
}

/* Asks the daemon until a GPU's member has the value as JSON ("null", "5", "\"x\""); a device that
 * is not there has none, for which "gone" stands. */
static void wait_gpu(struct rig *rig, const char *device, const char *member, const char *value)
{
	int64_t deadline = test_deadline_ms();
	bool same = false;

	while (!same) {
		json_t *answer = rig_get(rig, "/v2/gpus");
		json_t *gpu = find_gpu(answer, device);
		char *text = gpu ? json_dumps(json_object_get(gpu, member), JSON_ENCODE_ANY)
				 : strdup("gone");

		same = text && strcmp(text, value) == 0;
		if (!same && test_remaining_ms(deadline) == 0)
			fail_msg("%s.%s is %s, not %s", device, member, text, value);
		free(text);
		json_decref(answer);
	}
}

static json_int_t device_member(struct rig *rig, const char *name, const char *member)
{
	json_t *answer = rig_get(rig, "/v2/state"), *device;
	json_int_t found = -1;
	size_t i;

	json_array_foreach(json_object_get(answer, "devices"), i, device)
	{
		if (strcmp(json_string_value(json_object_get(device, "device")), name) == 0)
			found = json_integer_value(json_object_get(device, member));
	}
	json_decref(answer);
	return found;
}

static void wait_reserved(struct rig *rig, const char *device, json_int_t bytes)
{
	int64_t deadline = test_deadline_ms();
	json_int_t reserved;

	while ((reserved = device_member(rig, device, "reserved_bytes")) != bytes) {
		json_decref(rig_get(rig, "/v2/gpus")); /* which has the GPUs read again */
		if (test_remaining_ms(deadline) == 0)
			fail_msg("%s has %lld reserved, not %lld", device, (long long)reserved,
				 (long long)bytes);
	}
}

static int chat(struct rig *rig, const char *model)
{
	json_t *answer = NULL;
	int status = client_call(rig->address, "POST", "/v1/chat/completions",
				 chat_body(model, false), &answer);

	json_decref(answer);
	return status;
}

/* ---- what is shown ---- */

/* The text with runs of spaces as two. */
static char *squeeze(const char *text)
{
	char *out = calloc(1, strlen(text) + 1), *at = out;

	assert_non_null(out);
	for (; *text; text++) {
		if (strncmp(text, "   ", 3) != 0)
			*at++ = *text;
	}
	return out;
}

static void assert_shows(const char *text, const char *part)
{
	char *squeezed = squeeze(text);

	if (!strstr(squeezed, part))
		fail_msg("no '%s' in: %s", part, squeezed);
	free(squeezed);
}

static const char *const shown[] = {
	"DEVICE  NAME  USED  TOTAL  LOAD  HEAT  POWER  PROCESSES  ADDRESS  USABLE\n"
	"gpu0  Card A  1 GiB  8 GiB  12 %  45 °C  71.5 W  2  0000:01:00.0  yes\n"
	"gpu1  Card B  0 bytes  8 GiB  -  -  -  0  0000:02:00.0  no\n",
	"\n\nDEVICE  PID  USED\n"
	"gpu0  1999999999  1 MiB\n"
	"gpu0  1999999998  -\n",
	"\n\n1 of 2 GPUs, driver 550.54.14",
	"; gpu1: MIG is enabled with 3 instances, which are not used; disable it to use the GPU as "
	"a whole (nvidia-smi -mig 0)",
};

/* The daemon and the command line read the same; the one who asks cannot tell who has read it. */
static void gpus_are_shown_with_a_daemon_and_without(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig, DRIVER CARD_A CARD_B "mig 1 3\nprocess 0 1999999999 1048576\n"
					 "process 0 1999999998 -\n");
	for (int with_daemon = 1; with_daemon >= 0; with_daemon--) {
		if (!with_daemon)
			assert_int_equal(rig_stop(&rig), 0);
		result = RUN(&rig, "gpu", "list");
		assert_int_equal(result.status, 0);
		for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
			assert_shows(result.out, shown[i]);
		assert_string_equal(result.err, with_daemon
							? ""
							: "rbees-pool: no daemon answers; this is "
							  "what this machine has\n");
		cli_result_free(&result);
	}
	rig_fini(&rig);
}

/* A GPU that never told its memory has not "0 bytes" of it. */
static void what_a_gpu_does_not_tell_is_a_dash(void **state)
{
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig, DRIVER CARD_A CARD_B "fail nvmlDeviceGetMemoryInfo 15 1\n");
	result = RUN(&rig, "gpu", "list");
	assert_int_equal(result.status, 0);
	assert_shows(result.out, "gpu1  Card B  -  -  -  -  -  -  0000:02:00.0  no\n");
	cli_result_free(&result);
	rig_fini(&rig);
}

static void all_of_a_gpu_is_in_the_answer(void **state)
{
	static const char *const expected =
		"{\"gpu_id\": 0, \"device\": \"gpu0\", \"vendor\": \"nvidia\", \"driver_index\": "
		"0, \"name\": \"Card A\", \"uuid\": \"GPU-1111\", \"pci_bus_id\": "
		"\"0000:01:00.0\", \"error\": null, \"mig_instances\": null, "
		"\"vram_total_bytes\": 8589934592, \"vram_free_bytes\": 7516192768, "
		"\"vram_used_bytes\": 1073741824, \"vram_reserved_bytes\": 400, "
		"\"temperature_c\": 45, \"utilisation_percent\": 12, \"power_mw\": 71500, "
		"\"processes\": [{\"pid\": 1999999999, \"vram_bytes\": null}]}";
	json_t *answer;
	struct rig rig;
	char *text;

	(void)state;
	begin(&rig, DRIVER CARD_A "process 0 1999999999 -\nreserved 0 400\n");
	answer = rig_get(&rig, "/v2/gpus");
	text = json_dumps(find_gpu(answer, "gpu0"), 0);
	assert_string_equal(text, expected);
	assert_true(json_integer_value(json_object_get(answer, "read_wall_ms")) > 0);
	assert_int_equal(strncmp(json_string_value(json_object_get(answer, "note")),
				 "1 GPU, driver 550.54.14", 23),
			 0);
	free(text);
	json_decref(answer);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

static void what_is_wrong_with_a_driver_is_said(void **state)
{
	static const char *const failures[][2] = {
		{ "fail nvmlInit_v2 18\n",
		  "nvmlInit_v2: NVML_ERROR_LIB_RM_VERSION_MISMATCH (Driver/library version "
		  "mismatch); library and kernel driver are of different versions; an update needs "
		  "a reboot" },
		{ "fail nvmlInit_v2 9\n", "nvmlInit_v2: NVML_ERROR_DRIVER_NOT_LOADED (Driver Not "
					  "Loaded); the NVIDIA kernel driver is not loaded" },
		{ "fail nvmlInit_v2 4\n",
		  "NVML_ERROR_NO_PERMISSION (Insufficient Permissions); this user may not open the "
		  "GPU; see the rights of /dev/nvidia*" },
		{ DRIVER, "0 GPUs, driver 550.54.14" },
	};
	struct cli_result result;
	struct rig rig;

	(void)state;
	begin(&rig, DRIVER);
	assert_int_equal(rig_stop(&rig), 0);
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		put_machine(&rig, failures[i][0]);
		result = RUN(&rig, "gpu", "list");
		assert_int_equal(result.status, 0);
		assert_shows(result.out, failures[i][1]);
		cli_result_free(&result);
	}
	rig_fini(&rig);
}

/* ---- where a worker starts ---- */

static int start(struct rig *rig, const char *more, json_t **ret_answer)
{
	char body[128];

	*ret_answer = NULL;
	snprintf(body, sizeof(body), "{\"model\":\"m\"%s}", more);
	return client_call(rig->address, "POST", "/v2/workers/start", body, ret_answer);
}

static void a_worker_starts_on_the_gpu_that_was_asked_for(void **state)
{
	static const char *const refused[][2] = {
		{ ",\"gpu_id\":0", "model 'm' may run on gpu1, not on gpu0" },
		{ ",\"gpu_id\":7", "there is no gpu7; this machine has cpu, gpu0, gpu1" },
		{ ",\"backend\":\"stub\"", "model 'm' runs on backend 'gpu', not on 'stub'" },
	};
	json_t *answer;
	struct rig rig;

	(void)state;
	begin(&rig, DRIVER CARD_A CARD_B);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const char *said;

		assert_int_equal(start(&rig, refused[i][0], &answer), 400);
		said = json_string_value(
			json_object_get(json_object_get(answer, "error"), "message"));
		assert_string_equal(said, refused[i][1]);
		json_decref(answer);
	}
	assert_int_equal(rig_workers(&rig, NULL, NULL), 0);
	assert_int_equal(start(&rig, ",\"gpu_id\":1,\"backend\":\"gpu\"", &answer), 202);
	assert_int_equal(json_integer_value(json_object_get(answer, "gpu_id")), 1);
	assert_string_equal(json_string_value(json_object_get(answer, "device")), "gpu1");
	json_decref(answer);
	rig_wait_model(&rig, "m", "spawning", 0);
	assert_int_equal(rig_workers(&rig, NULL, NULL), 1);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

/* ---- what changes ---- */

static void gpus_change_under_a_running_daemon(void **state)
{
	struct rig rig;

	(void)state;
	begin(&rig, DRIVER CARD_A CARD_B);
	wait_gpu(&rig, "gpu0", "temperature_c", "45");
	put_machine(&rig, DRIVER "gpu Card A|GPU-1111|8589934592|8589934592|91|100\n" CARD_B);
	wait_gpu(&rig, "gpu0", "vram_free_bytes", "0");
	wait_gpu(&rig, "gpu0", "temperature_c", "91");
	put_machine(&rig, DRIVER CARD_A CARD_B "fail nvmlDeviceGetHandleByIndex_v2 15 0\n");
	wait_gpu(&rig, "gpu0", "error",
		 "\"nvmlDeviceGetHandleByIndex_v2: NVML_ERROR_GPU_IS_LOST (GPU is lost); it fell "
		 "off the bus; a reboot usually brings it back\"");
	wait_gpu(&rig, "gpu0", "name", "\"Card A\"");
	put_machine(&rig, DRIVER CARD_B);
	wait_gpu(&rig, "gpu0", "name", "gone");
	wait_gpu(&rig, "gpu1", "name", "\"Card B\"");
	put_machine(&rig, "fail nvmlDeviceGetCount_v2 999\n");
	wait_gpu(&rig, "gpu1", "error",
		 "\"nvmlDeviceGetCount_v2: NVML_ERROR_UNKNOWN (Unknown Error)\"");
	proc_wait_line(rig.daemon, "nvmlDeviceGetCount_v2: NVML_ERROR_UNKNOWN");
	put_machine(&rig, DRIVER CARD_B CARD_A);
	wait_gpu(&rig, "gpu0", "name", "\"Card A\"");
	wait_gpu(&rig, "gpu1", "error", "null");
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

/* Neither a request nor the end of the daemon waits for a driver. */
static void a_driver_that_hangs_holds_up_nothing(void **state)
{
	char text[1024];
	struct rig rig;
	char *gate;
	int fd;

	(void)state;
	begin(&rig, DRIVER CARD_A CARD_B);
	gate = rig_gate(&rig, "gate");
	snprintf(text, sizeof(text), DRIVER CARD_A CARD_B "hang nvmlDeviceGetCount_v2 %s\n", gate);
	put_machine(&rig, text);
	json_decref(rig_get(&rig, "/v2/gpus"));
	fd = rig_gate_open(gate); /* which returns when it hangs */
	wait_gpu(&rig, "gpu1", "name", "\"Card B\"");
	assert_int_equal(chat(&rig, "m"), 200);
	assert_int_equal(rig_stop(&rig), 0);
	close(fd);
	free(gate);
	rig_fini(&rig);
}

/* ---- who holds what ---- */

/* The estimate was too low: the ledger learns it from the driver, and nobody else gets the rest. */
static void a_reservation_grows_to_what_the_driver_says(void **state)
{
	char text[512], id[64];
	struct rig rig;
	pid_t pid;

	(void)state;
	begin(&rig, DRIVER CARD_A CARD_B);
	assert_int_equal(chat(&rig, "m"), 200);
	assert_int_equal(device_member(&rig, "gpu1", "reserved_bytes"), GIB);
	assert_int_equal(rig_workers(&rig, &pid, id), 1);

	/* Others' processes, and its own on another GPU, change nothing. */
	snprintf(text, sizeof(text),
		 DRIVER CARD_A CARD_B "process 0 %d 5368709120\nprocess 1 1 5368709120\n"
				      "process 1 %d 3221225472\n",
		 (int)pid, (int)pid);
	put_machine(&rig, text);
	wait_reserved(&rig, "gpu1", 3 * GIB);
	assert_int_equal(device_member(&rig, "gpu0", "reserved_bytes"), 0);

	/* It never shrinks while the worker lives, and goes with it. */
	put_machine(&rig, DRIVER CARD_A "gpu Card B|GPU-2222|8589934592|7|-|-|0000:02:00|-\n");
	wait_gpu(&rig, "gpu1", "vram_used_bytes", "7");
	assert_int_equal(device_member(&rig, "gpu1", "reserved_bytes"), 3 * GIB);
	snprintf(text, sizeof(text), "{\"worker_id\":\"%s\"}", id);
	assert_int_equal(client_call(rig.address, "POST", "/v2/workers/stop", text, NULL), 202);
	rig_wait_workers(&rig, 0);
	assert_int_equal(device_member(&rig, "gpu1", "reserved_bytes"), 0);
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

/* Among many GPUs, CUDA's numbers need not be NVML's, and ROCm counts its own only: the UUID is
 * what all mean the same by. */
static void a_worker_is_told_the_uuid_of_its_gpu(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_backend(&rig, "gpu", "{port}",
		    "readiness = \"http:/health\"\n"
		    "env = { CUDA_VISIBLE_DEVICES = \"{gpu_uuid}\" }");
	rig_model(&rig, "m", "show=CUDA_VISIBLE_DEVICES", "backend = \"gpu\"\ndevice = \"gpu1\"");
	rig_model(&rig, "nameless", "", "backend = \"gpu\"\ndevice = \"gpu0\"");
	rig_model(&rig, "on-cpu", "show=CUDA_VISIBLE_DEVICES",
		  "backend = \"gpu\"\ndevice = \"cpu\"");
	put_machine(&rig, DRIVER CARD_A CARD_B "fail nvmlDeviceGetUUID 999 0\n");
	rig_start(&rig);
	assert_int_equal(chat(&rig, "m"), 200);
	proc_wait_line(rig.daemon, "CUDA_VISIBLE_DEVICES=GPU-2222");
	assert_int_equal(chat(&rig, "on-cpu"), 200);
	assert_int_equal(chat(&rig, "nameless"), 503);
	proc_wait_line(rig.daemon, "{gpu_uuid} has no value for this worker");
	assert_int_equal(rig_stop(&rig), 0);
	rig_fini(&rig);
}

/* A worker that cannot have the GPU is not started there. */
static void a_gpu_that_cannot_be_used_is_no_device(void **state)
{
	static const char *const broken[] = {
		DRIVER CARD_A CARD_B "fail nvmlDeviceGetMemoryInfo 15 1\n",
		DRIVER CARD_A CARD_B "mig 1 2\n",
	};
	struct rig rig;

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		begin(&rig, broken[i]);
		assert_int_equal(chat(&rig, "m"), 503);
		assert_int_equal(device_member(&rig, "gpu0", "total_bytes"), 8 * GIB);
		assert_int_equal(device_member(&rig, "gpu1", "total_bytes"), -1);
		assert_true(device_member(&rig, "cpu", "total_bytes") > 0);
		assert_int_equal(rig_stop(&rig), 0);
		rig_fini(&rig);
	}
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(gpus_are_shown_with_a_daemon_and_without),
		SCENARIO(what_a_gpu_does_not_tell_is_a_dash),
		SCENARIO(all_of_a_gpu_is_in_the_answer),
		SCENARIO(what_is_wrong_with_a_driver_is_said),
		SCENARIO(a_worker_starts_on_the_gpu_that_was_asked_for),
		SCENARIO(gpus_change_under_a_running_daemon),
		SCENARIO(a_driver_that_hangs_holds_up_nothing),
		SCENARIO(a_reservation_grows_to_what_the_driver_says),
		SCENARIO(a_worker_is_told_the_uuid_of_its_gpu),
		SCENARIO(a_gpu_that_cannot_be_used_is_no_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
