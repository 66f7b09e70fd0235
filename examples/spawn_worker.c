/* SPDX-License-Identifier: MIT */
/*
 * spawn_worker.c - what a daemon does to run a worker, on the library alone: load the configuration
 * and the catalog, open the registry, look at the GPUs, see whether the worker could run at all,
 * write it down, start it, wait until it has loaded its model, show its record, stop it, and note
 * how it ended.
 *
 *   cc spawn_worker.c $(pkg-config --cflags --libs poolcore) -o spawn_worker
 *   ./spawn_worker pool.toml MODEL [DEVICE]
 *
 * The model's backend must listen on a port and say so: readiness = "http:/health". One worker at a
 * time is enough here; a daemon watches the descriptors of many in its event loop, and begins with
 * pc_stub_recover for the records that it finds.
 */
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/gpu.h>
#include <poolcore/lifecycle.h>
#include <poolcore/registry.h>
#include <poolcore/stub.h>

#include <arpa/inet.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between two questions to a worker that loads. */
#define PROBE_INTERVAL_MS 50

struct manager {
	struct pc_config *config;
	struct pc_catalog *catalog;
	struct pc_gpu_inventory *gpus;
	struct pc_registry *registry;
	char life_dir[PATH_MAX]; /* where stubs keep their files */

	struct pc_spawn_plan plan;
	struct pc_worker_info worker; /* as the registry has it */
	struct pc_stub stub;
};

/* ---- opening ---- */

static int open_state(struct manager *manager, struct pc_error *err)
{
	const char *state_dir = manager->config->pool_state_dir;
	char path[PATH_MAX];

	/* Both may be there already; if they cannot be made, opening says why. */
	mkdir(state_dir, 0700);
	if ((size_t)snprintf(path, sizeof(path), "%s/registry.db", state_dir) >= sizeof(path) ||
	    (size_t)snprintf(manager->life_dir, sizeof(manager->life_dir), "%s/workers",
			     state_dir) >= sizeof(manager->life_dir))
		return pc_error_set(err, PC_E_INVALID_CONFIG, "pool.state_dir is too long");
	mkdir(manager->life_dir, 0700);
	return pc_registry_open_sqlite(path, &manager->registry, err);
}

static int open_manager(struct manager *manager, const char *config_path, struct pc_error *err)
{
	int rc;

	if ((rc = pc_config_load(config_path, NULL, 0, &manager->config, err)) ||
	    (rc = pc_catalog_load(manager->config, &manager->catalog, err)) ||
	    (rc = open_state(manager, err)) ||
	    (rc = pc_gpu_inventory_open(NULL, NULL, &manager->gpus, err)))
		return rc;
	return 0;
}

static void close_manager(struct manager *manager)
{
	pc_spawn_plan_fini(&manager->plan);
	pc_gpu_inventory_close(manager->gpus);
	pc_registry_close(manager->registry);
	pc_catalog_free(manager->catalog);
	pc_config_free(manager->config);
}

static void list_gpus(const struct manager *manager)
{
	const struct pc_gpu *gpus;
	size_t count = pc_gpu_inventory_list(manager->gpus, &gpus);

	printf("%zu GPUs\n", count);
	for (size_t i = 0; i < count; i++)
		printf("  %s: %s, %" PRIu64 " of %" PRIu64 " MiB free%s%s\n", gpus[i].device,
		       gpus[i].name, gpus[i].vram_free_bytes >> 20, gpus[i].vram_total_bytes >> 20,
		       gpus[i].error[0] ? "; " : "", gpus[i].error);
}

/* ---- spawning ---- */

static int validate(struct manager *manager, const char *model, const char *device,
		    struct pc_error *err)
{
	const struct pc_spawn_request request = { .model = model, .device = device };
	const struct pc_spawn_means means = {
		.config = manager->config,
		.catalog = manager->catalog,
		.gpus = manager->gpus,
	};
	int rc = pc_spawn_validate(&request, &means, &manager->plan, err);

	if (rc)
		return rc;
	if (manager->plan.backend->readiness != PC_READINESS_HTTP ||
	    !pc_command_uses(manager->plan.backend, "port"))
		return pc_error_set(err, PC_E_UNSUPPORTED,
				    "backend '%s' does not listen on a {port} and tell by "
				    "readiness = \"http:/...\" that it has loaded",
				    manager->plan.backend->name);
	printf("'%s' would take %" PRIu64 " MiB of %s with %s\n", manager->plan.entry->id,
	       manager->plan.memory_bytes >> 20, manager->plan.device, manager->plan.program);
	return 0;
}

/* Everything the next daemon would need, if this one died now. */
static int fill_record(struct manager *manager, struct pc_error *err)
{
	const struct pc_spawn_plan *plan = &manager->plan;
	struct pc_worker_info *worker = &manager->worker;
	int rc;

	*worker = (struct pc_worker_info){ .gpu_id = -1, .status = PC_WORKER_SPAWNING };
	if ((rc = pc_token_make(worker->spawn_token, err)) ||
	    (rc = pc_port_pick(&worker->port, err)))
		return rc;
	/* An id is never used again. */
	snprintf(worker->worker_id, sizeof(worker->worker_id), "w-%.8s-%d-%" PRIu64, pc_boot_id(),
		 (int)getpid(), pc_clock_now_ns());
	snprintf(worker->backend, sizeof(worker->backend), "%s", plan->backend->name);
	snprintf(worker->model_ref, sizeof(worker->model_ref), "%s", plan->entry->model_ref);
	snprintf(worker->model_id, sizeof(worker->model_id), "%s", plan->entry->id);
	snprintf(worker->device, sizeof(worker->device), "%s", plan->device);
	sscanf(plan->device, "gpu%d", &worker->gpu_id);
	snprintf(worker->boot_id, sizeof(worker->boot_id), "%s", pc_boot_id());
	worker->slots = plan->entry->slots;
	worker->reserved_bytes = plan->memory_bytes;
	worker->spawned_wall_ms = worker->updated_wall_ms = pc_clock_wall_ms();
	return 0;
}

static int build_command(const struct manager *manager, const char *model_path,
			 struct pc_string_list *ret_argv, struct pc_string_list *ret_env,
			 struct pc_error *err)
{
	const struct pc_worker_info *worker = &manager->worker;
	const struct pc_model_entry *entry = manager->plan.entry;
	const struct pc_gpu *gpu = NULL;
	struct pc_launch_values values = {
		.model_path = model_path,
		.model_id = entry->id,
		.worker_id = worker->worker_id,
		.port = worker->port,
		.gpu_id = worker->gpu_id,
		.gpu_uuid = "",
		.slots = entry->slots,
		.context_tokens = entry->context_tokens,
		.capability = pc_capability_name(entry->capability),
		.spawn_token = worker->spawn_token,
	};

	if (worker->gpu_id >= 0) {
		int rc = pc_gpu_inventory_get(manager->gpus, (unsigned)worker->gpu_id, &gpu, err);

		if (rc)
			return rc;
		values.gpu_uuid = gpu->uuid;
	}
	return pc_command_build(manager->plan.backend, &values, ret_argv, ret_env, err);
}

static int start_stub(struct manager *manager, struct pc_error *err)
{
	struct pc_string_list argv = { NULL, 0 }, env = { NULL, 0 };
	struct pc_hand_over hand_over;
	char *stub_program = NULL;
	int rc;

	if ((rc = pc_program_find("pool-stub", &stub_program, err)) ||
	    (rc = pc_model_hand_over(manager->plan.backend, &manager->plan.file, &hand_over,
				     err)) ||
	    (rc = build_command(manager, hand_over.model_path, &argv, &env, err)))
		goto out;

	const struct pc_stub_spec spec = {
		.life_dir = manager->life_dir,
		.worker_id = manager->worker.worker_id,
		.spawn_token = manager->worker.spawn_token,
		.stub_program = stub_program,
		.program = manager->plan.program,
		.argv = argv.items,
		.env = env.items,
		.model_fd = hand_over.fd,
	};

	rc = pc_stub_spawn(&spec, &manager->stub, err);
out:
	pc_string_list_free(&argv);
	pc_string_list_free(&env);
	pc_free(stub_program);
	return rc;
}

/* The record, the claim, the process: in this order no death of ours loses a worker. */
static int spawn(struct manager *manager, struct pc_error *err)
{
	const char *worker_id = manager->worker.worker_id;
	int rc;

	if ((rc = fill_record(manager, err)) ||
	    (rc = pc_registry_register(manager->registry, &manager->worker, err)))
		return rc;
	rc = pc_stub_claim(manager->life_dir, worker_id, err);
	if (!rc) {
		rc = start_stub(manager, err);
		if (rc)
			pc_stub_forget(manager->life_dir, worker_id, NULL);
	}
	if (rc) {
		pc_registry_unregister(manager->registry, worker_id, NULL);
		return rc;
	}
	manager->worker.stub_pid = manager->stub.pid;
	manager->worker.pidfd_inode = manager->stub.pidfd_inode;
	printf("%s starts on port %u\n", worker_id, (unsigned)manager->worker.port);
	return 0;
}

/* ---- waiting ---- */

static void on_report(void *ctx, const struct pc_report *report)
{
	struct pc_worker_info *worker = ctx;

	if (report->kind == PC_REPORT_STARTED) {
		worker->pid = report->pid;
		worker->start_ticks = report->start_ticks;
	} else if (report->kind == PC_REPORT_LOG) {
		fwrite(report->data, 1, report->length, stderr);
	}
}

/* Whether GET http://127.0.0.1:port/path is answered with 200. */
static bool is_healthy(uint16_t port, const char *path)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons(port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = 2 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[64] = "";
	FILE *stream;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	stream = connect(fd, (const struct sockaddr *)&address, sizeof(address)) ? NULL
										 : fdopen(fd, "r");
	if (!stream) {
		close(fd);
		return false;
	}
	dprintf(fd, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n", path,
		(unsigned)port);
	if (!fgets(line, sizeof(line), stream))
		line[0] = '\0';
	fclose(stream);
	return strncmp(line, "HTTP/1.1 200", 12) == 0;
}

/* Waits until something happens to the stub, for at most so long; true when it has ended. */
static bool watch(struct manager *manager, int timeout_ms)
{
	struct pollfd fds[] = { { .fd = manager->stub.pidfd, .events = POLLIN },
				{ .fd = manager->stub.report_fd, .events = POLLIN } };

	poll(fds, PC_ARRAY_LEN(fds), timeout_ms);
	pc_stub_read(&manager->stub, on_report, &manager->worker);
	return pc_stub_has_ended(&manager->stub);
}

static int wait_ready(struct manager *manager, struct pc_error *err)
{
	const struct pc_backend_config *backend = manager->plan.backend;
	uint64_t deadline_ns = pc_clock_now_ns() + backend->start_timeout_secs * PC_NS_PER_SEC;

	while (!is_healthy(manager->worker.port, backend->readiness_path)) {
		if (watch(manager, PROBE_INTERVAL_MS))
			return pc_error_set(err, PC_E_SPAWN_FAILED,
					    "the worker ended before it was ready");
		if (pc_clock_now_ns() > deadline_ns)
			return pc_error_set(err, PC_E_TIMEOUT,
					    "the worker was not ready after %" PRIu64 " s",
					    backend->start_timeout_secs);
	}
	watch(manager, 0);
	manager->worker.status = PC_WORKER_READY;
	manager->worker.measured_bytes = pc_process_memory(manager->worker.pid);
	manager->worker.updated_wall_ms = pc_clock_wall_ms();
	return pc_registry_update(manager->registry, &manager->worker, err);
}

static int show_workers(const struct manager *manager, struct pc_error *err)
{
	struct pc_worker_info *workers = NULL;
	size_t count;
	int rc = pc_registry_list(manager->registry, &workers, &count, err);

	for (size_t i = 0; !rc && i < count; i++)
		printf("%s is %s: model %s, backend %s, device %s, port %u, pid %d, %" PRIu32
		       " slots\n",
		       workers[i].worker_id, pc_worker_status_name(workers[i].status),
		       workers[i].model_id, workers[i].backend, workers[i].device,
		       (unsigned)workers[i].port, (int)workers[i].pid, workers[i].slots);
	pc_free(workers);
	return rc;
}

/* ---- stopping ---- */

/* Asks, and after the grace insists. */
static void end_process(struct manager *manager)
{
	uint64_t grace_ns = manager->plan.backend->stop_grace_secs * PC_NS_PER_SEC;
	uint64_t deadline_ns = pc_clock_now_ns() + grace_ns;
	bool ended = watch(manager, 0);

	if (!ended)
		pc_stub_terminate(&manager->stub, NULL);
	while (!ended && pc_clock_now_ns() < deadline_ns)
		ended = watch(manager, PROBE_INTERVAL_MS);
	if (!ended)
		pc_stub_kill(&manager->stub, NULL);
	while (!ended)
		ended = watch(manager, -1);
}

static int stop(struct manager *manager, struct pc_error *err)
{
	const char *worker_id = manager->worker.worker_id;
	struct pc_stub_end end;
	int rc;

	end_process(manager);
	/* How it ended is known for certain; the record goes and that is noted, in one step. */
	if (!(rc = pc_stub_settle(&manager->stub, manager->life_dir, worker_id,
				  manager->worker.spawn_token, &end, err)) &&
	    !(rc = pc_registry_end(manager->registry, worker_id, &end.exit, err)))
		rc = pc_stub_forget(manager->life_dir, worker_id, err);
	pc_stub_close(&manager->stub);
	if (!rc)
		printf("%s has ended: %s\n", worker_id, end.exit.reason);
	return rc;
}

int main(int argc, char **argv)
{
	struct manager manager = { .plan.file.fd = -1, .stub.pidfd = -1 };
	struct pc_error err = PC_ERROR_INIT;
	int rc;

	if (argc < 3)
		return fprintf(stderr, "usage: spawn_worker pool.toml MODEL [DEVICE]\n"), 2;
	setvbuf(stdout, NULL, _IOLBF, 0); /* in order with the worker's log, into a pipe too */
	rc = open_manager(&manager, argv[1], &err);
	if (!rc) {
		list_gpus(&manager);
		rc = validate(&manager, argv[2], argc > 3 ? argv[3] : NULL, &err);
	}
	if (!rc)
		rc = spawn(&manager, &err);
	if (!rc) {
		rc = wait_ready(&manager, &err);
		if (!rc)
			rc = show_workers(&manager, &err);
		/* Also when it was not ready in time; the first error is the one that is told. */
		rc = stop(&manager, &err) || rc;
	}
	close_manager(&manager);
	if (rc)
		fprintf(stderr, "spawn_worker: %s: %s\n", pc_error_name(err.code), err.message);
	return rc != 0;
}
