/* SPDX-License-Identifier: MIT */
/*
 * main.c - pool-worker: puts the server, the worker and the readiness callback on one loop, and
 * takes them down again.
 *
 *     SERVING --signal--> DRAINING --no connection left--> STOPPING --all closed--> loop ends
 *        \--------------loading failed-----------------------^
 *
 * SERVING    the address is bound first, so that a taken port fails at once; /health answers while
 *            the model loads.
 * DRAINING   nothing new is accepted; running requests have DRAIN_MS, then they are cancelled and
 *            have SEND_MS to reach their clients, then connections are cut.
 * STOPPING   the threads end, the model is unloaded. If that takes longer than STOP_MS, an engine
 *            hangs, and the process ends without it.
 *
 * A worker does not end when the daemon that spawned it does: the next daemon adopts it. A second
 * signal ends the process at once. All of this runs on the loop.
 */
#include <poolcore/api.h>
#include <poolcore/clock.h>
#include <poolcore/log.h>

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/http.h"
#include "options.h"
#include "ready.h"
#include "routes.h"
#include "worker.h"

/* Guesses, but for the first, which is the pool's shutdown timeout; change freely. */
#define DRAIN_MS 5000
#define SEND_MS 1000
#define STOP_MS 5000
/* As much as the daemon lets through by default. */
#define MAX_BODY_BYTES (32u << 20)

enum phase { SERVING, DRAINING, STOPPING };

struct program {
	struct options options;
	char model_id[128];
	char address[128]; /* in force: "127.0.0.1:41023", "unix:/path" */
	uv_loop_t loop;
	uv_signal_t signals[2];
	uv_timer_t deadline;
	struct http_server *server;
	struct worker *worker;
	struct routes routes;
	struct ready *ready;
	enum phase phase;
	struct pc_error failure; /* why the exit status is 1 */
};

/* ---- stopping ---- */

static void remove_socket(const struct program *program)
{
	if (program->options.socket)
		unlink(program->options.socket);
}

static void end_now(const struct program *program, int status)
{
	remove_socket(program);
	_exit(status);
}

static void on_stop_deadline(uv_timer_t *timer)
{
	pc_log(PC_LOG_ERROR, "worker", PC_NO_FIELDS,
	       "the engine does not come to an end within %d s; leaving it", STOP_MS / 1000);
	end_now(timer->data, EXIT_FAILURE);
}

static void stop(struct program *program)
{
	if (program->phase == STOPPING)
		return;
	program->phase = STOPPING;
	uv_timer_start(&program->deadline, on_stop_deadline, STOP_MS, 0);
	ready_close(program->ready);
	program->ready = NULL;
	http_server_close(program->server, NULL, NULL);
	worker_stop(program->worker);
}

/* Clients that neither read their answer nor finish their request. */
static void on_send_deadline(uv_timer_t *timer)
{
	struct program *program = timer->data;
	char count[32];

	snprintf(count, sizeof(count), "%zu", http_server_connection_count(program->server));
	pc_log(PC_LOG_WARN, "worker", PC_FIELDS({ "connections", count }),
	       "clients do not let go; cutting them off");
	stop(program);
}

static void on_drain_deadline(uv_timer_t *timer)
{
	struct program *program = timer->data;

	pc_log(PC_LOG_WARN, "worker", PC_NO_FIELDS,
	       "requests still run after %d s; cancelling them", DRAIN_MS / 1000);
	worker_cancel_all(program->worker, PC_E_SHUTTING_DOWN);
	uv_timer_start(timer, on_send_deadline, SEND_MS, 0);
}

static void on_empty(void *ctx)
{
	stop(ctx);
}

static void drain(struct program *program)
{
	program->phase = DRAINING;
	program->routes.draining = true;
	uv_timer_start(&program->deadline, on_drain_deadline, DRAIN_MS, 0);
	http_server_drain(program->server, on_empty, program);
}

static void on_signal(uv_signal_t *handle, int signal)
{
	struct program *program = handle->data;

	if (program->phase != SERVING) {
		pc_log(PC_LOG_WARN, "worker", PC_FIELDS({ "signal", strsignal(signal) }),
		       "second signal, ending at once");
		end_now(program, 128 + signal);
	}
	pc_log(PC_LOG_INFO, "worker", PC_FIELDS({ "signal", strsignal(signal) }),
	       "stopping: finishing what runs");
	drain(program);
}

/* ---- what the worker says ---- */

/* NULL when memory is short, or a name is not UTF-8. */
static char *ready_body(const struct program *program, uint64_t memory_bytes, struct pc_error *err)
{
	const char *token = getenv("POOL_WORKER_SPAWN_TOKEN");
	char path[PATH_MAX], ref[PATH_MAX + 8], uri[160], *body = NULL;
	const struct pc_worker_ready_report report = {
		.worker_id = program->options.worker_id,
		.model_ref = ref,
		.vram_bytes = memory_bytes,
		.uri = uri,
		.spawn_token = token ? token : "",
	};

	snprintf(ref, sizeof(ref), "file:%s",
		 realpath(program->options.model, path) ? path : program->options.model);
	snprintf(uri, sizeof(uri), "%s%s", program->options.socket ? "" : "http://",
		 program->address);
	pc_worker_ready_report_write(&report, &body, err);
	return body;
}

static void on_ready(void *ctx)
{
	struct program *program = ctx;
	struct worker_figures figures;
	char memory[32], milliseconds[32];

	worker_figures(program->worker, &figures);
	snprintf(memory, sizeof(memory), "%llu", (unsigned long long)figures.memory_bytes);
	snprintf(milliseconds, sizeof(milliseconds), "%llu", (unsigned long long)figures.load_ms);
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "model", program->model_id }, { "description", figures.model.text },
			 { "memory_bytes", memory }, { "load_ms", milliseconds }),
	       "ready");
	if (!program->ready || program->phase != SERVING)
		return;

	struct pc_error err = PC_ERROR_INIT;
	char *body = ready_body(program, figures.memory_bytes, &err);

	if (body)
		ready_send(program->ready, body, strlen(body));
	else
		pc_log(PC_LOG_ERROR, "worker", PC_NO_FIELDS, "readiness not delivered: %s",
		       err.message);
}

static void on_failed(void *ctx, const struct pc_error *err)
{
	struct program *program = ctx;

	if (program->phase == SERVING)
		program->failure = *err;
	stop(program);
}

static void on_stopped(void *ctx)
{
	struct program *program = ctx;

	/* The rest of the handles: with them the loop runs out. */
	stop(program);
	for (size_t i = 0; i < PC_ARRAY_LEN(program->signals); i++)
		uv_close((uv_handle_t *)&program->signals[i], NULL);
	uv_close((uv_handle_t *)&program->deadline, NULL);
}

/* ---- starting ---- */

/* "tinyllama-1.1b" of "/models/tinyllama-1.1b.gguf". */
static void name_model(struct program *program)
{
	const char *path = program->options.model, *name = strrchr(path, '/');

	if (program->options.model_id) {
		snprintf(program->model_id, sizeof(program->model_id), "%s",
			 program->options.model_id);
		return;
	}
	snprintf(program->model_id, sizeof(program->model_id), "%s", name ? name + 1 : path);

	char *suffix = strstr(program->model_id, ".gguf");

	if (suffix && suffix[strlen(".gguf")] == '\0')
		*suffix = '\0';
}

static int listen_on(struct program *program, struct pc_error *err)
{
	struct http_limits limits;
	char address[128];
	int fd, status;

	if (program->options.socket) {
		if (strlen(program->options.socket) > 107)
			return pc_error_set(err, PC_E_INVALID_ARGUMENT,
					    "--socket '%s' is longer than the 107 bytes that a "
					    "Unix socket's path may have",
					    program->options.socket);
		snprintf(address, sizeof(address), "unix:%s", program->options.socket);
	} else {
		snprintf(address, sizeof(address), "127.0.0.1:%u", program->options.port);
	}
	http_limits_init(&limits);
	limits.max_body_bytes = MAX_BODY_BYTES;
	if (http_listen_open(address, &fd, program->address, err) != 0)
		return err->code;
	status = http_server_create(&program->loop, &routes_handlers, &program->routes, &limits,
				    &program->server, err);
	if (status == 0)
		status = http_server_listen(program->server, fd, err);
	close(fd); /* the server has its own */
	return status;
}

static void init_handles(struct program *program)
{
	static const int numbers[] = { SIGTERM, SIGINT };

	for (size_t i = 0; i < PC_ARRAY_LEN(numbers); i++) {
		uv_signal_init(&program->loop, &program->signals[i]);
		program->signals[i].data = program;
		uv_signal_start(&program->signals[i], on_signal, numbers[i]);
	}
	uv_timer_init(&program->loop, &program->deadline);
	program->deadline.data = program;
}

static int start(struct program *program, struct pc_error *err)
{
	static const struct worker_handlers handlers = {
		.on_ready = on_ready,
		.on_failed = on_failed,
		.on_stopped = on_stopped,
	};
	const struct worker_options worker_options = {
		.engine = program->options.engine,
		.model_path = program->options.model,
		.capability = program->options.capability,
		.slots = program->options.slots,
		.context_tokens = program->options.context_tokens,
		.threads = program->options.threads,
	};

	program->routes = (struct routes){
		.model_id = program->model_id,
		.capability = program->options.capability,
		.started = pc_clock_wall_ms() / 1000,
	};
	if (listen_on(program, err) != 0)
		return err->code;
	if (program->options.ready_url &&
	    ready_create(&program->loop, program->options.ready_url, &program->ready, err) != 0)
		return err->code;
	init_handles(program);
	pc_log(PC_LOG_INFO, "worker",
	       PC_FIELDS({ "address", program->address }, { "model", program->model_id },
			 { "engine", program->options.engine }),
	       "listening, loading the model");
	if (worker_start(&program->loop, &worker_options, &handlers, program, &program->worker,
			 err) != 0)
		return err->code;
	program->routes.worker = program->worker;
	return 0;
}

static int fail(const struct pc_error *err)
{
	pc_log_error(PC_LOG_ERROR, "worker", err);
	return EXIT_FAILURE;
}

static int run(struct program *program)
{
	struct pc_error err = PC_ERROR_INIT;

	name_model(program);
	if (uv_loop_init(&program->loop) != 0) {
		pc_error_oom(&err);
		return fail(&err);
	}
	if (start(program, &err) != 0) {
		/* A socket that another server answers on is not ours to remove. */
		if (program->address[0])
			remove_socket(program);
		return fail(&err);
	}
	uv_run(&program->loop, UV_RUN_DEFAULT);
	remove_socket(program);
	worker_destroy(program->worker);
	uv_loop_close(&program->loop);
	if (program->failure.code)
		return fail(&program->failure);
	pc_log(PC_LOG_INFO, "worker", PC_NO_FIELDS, "stopped");
	return EXIT_SUCCESS;
}

static int usage(const struct pc_error *err)
{
	/* One line: the daemon tells a request why its worker ended by the last one. */
	fprintf(stderr, "pool-worker: %s; see 'pool-worker --help'\n", err->message);
	return 2;
}

int main(int argc, char **argv)
{
	static struct program program;
	struct pc_error err = PC_ERROR_INIT;

	/* What jansson allocates goes through our door too. */
	json_set_alloc_funcs(pc_malloc, pc_free);
	if (options_parse(argc, argv, &program.options, &err) != 0)
		return usage(&err);
	if (program.options.help) {
		options_print_help(stdout);
		return EXIT_SUCCESS;
	}
	if (program.options.version) {
		puts("pool-worker " PC_VERSION);
		return EXIT_SUCCESS;
	}
	if (program.options.ready_url && ready_url_check(program.options.ready_url, &err) != 0)
		return usage(&err);
	pc_log_set(program.options.log_json ? pc_log_sink_json : pc_log_sink_human, stderr,
		   PC_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	return run(&program);
}
