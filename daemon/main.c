/* SPDX-License-Identifier: MIT */
/*
 * main.c - pool-managerd: reads its configuration, listens, puts the rooms together, runs, and
 * takes them apart.
 *
 * How it ends is told in shutdown.c.
 */
#include <poolcore/catalog.h>
#include <poolcore/clock.h>
#include <poolcore/config.h>
#include <poolcore/log.h>
#include <poolcore/memory.h>
#include <poolcore/registry.h>
#include <poolcore/version.h>

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/adopt.h"
#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/devices.h"
#include "daemon/generation.h"
#include "daemon/gpus.h"
#include "daemon/journal.h"
#include "daemon/loop.h"
#include "daemon/options.h"
#include "daemon/reload.h"
#include "daemon/shutdown.h"
#include "daemon/state.h"
#include "daemon/supervisor.h"
#include "daemon/tally.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LEFT_BEHIND = 3 };

#define LISTEN_MAX 16
/* How long an address may be in use before that is an error. Guesses. */
#define LISTEN_PATIENCE_MS 1000
#define LISTEN_RETRY_MS 5
/* What the daemon has open before it serves anybody: registry, log, loops, listeners. */
#define DESCRIPTORS_OWN 48

/* ---- listening ---- */

struct listeners {
	int fds[LISTEN_MAX];
	size_t count;
};

static bool is_loopback(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 || strncmp(address, "127.", 4) == 0 ||
	       strncmp(address, "[::1]:", 6) == 0 || strncmp(address, "localhost:", 10) == 0;
}

/* Where workers report: the first TCP address, else the first Unix socket. */
static void choose_ready_url(struct daemon *daemon, const char *address)
{
	static const char path[] = "/v2/internal/workers/ready";
	const char *port = strrchr(address, ':');

	if (strncmp(daemon->ready_url, "http:", 5) == 0)
		return;
	if (strncmp(address, "unix:", 5) == 0) {
		if (!daemon->ready_url[0])
			snprintf(daemon->ready_url, sizeof(daemon->ready_url), "%s:%s", address,
				 path);
		return;
	}
	/* Who listens on every address is reached on loopback. */
	if (strncmp(address, "0.0.0.0:", 8) == 0)
		snprintf(daemon->ready_url, sizeof(daemon->ready_url), "http://127.0.0.1%s%s", port,
			 path);
	else if (strncmp(address, "[::]:", 5) == 0)
		snprintf(daemon->ready_url, sizeof(daemon->ready_url), "http://[::1]%s%s", port,
			 path);
	else
		snprintf(daemon->ready_url, sizeof(daemon->ready_url), "http://%s%s", address,
			 path);
}

/*
 * A stub that is being spawned has a copy of each of its daemon's descriptors until it executes, so
 * that a daemon which was killed just then still listens, for as long as the scheduler keeps the
 * stub waiting. There is no event for its end. Whoever else has the port keeps it longer.
 */
static int listen_patiently(const char *address, int *ret_fd, char ret_address[128],
			    struct pc_error *err)
{
	uint64_t deadline_ns = pc_clock_now_ns() + LISTEN_PATIENCE_MS * PC_NS_PER_MS;
	struct pc_error why = PC_ERROR_INIT;

	while (http_listen_open(address, ret_fd, ret_address, &why)) {
		if (why.code != PC_E_PORT_IN_USE || pc_clock_now_ns() >= deadline_ns) {
			if (err)
				*err = why;
			return why.code;
		}
		pc_error_clear(&why);
		poll(NULL, 0, LISTEN_RETRY_MS);
	}
	return 0;
}

static int open_listeners(struct daemon *daemon, struct listeners *listeners, struct pc_error *err)
{
	const struct pc_string_list *addresses = &daemon->generation->config->http_listen;

	daemon->loopback_only = true;
	for (size_t i = 0; i < addresses->count; i++) {
		char address[128];
		int rc;

		if (listeners->count == LISTEN_MAX)
			return pc_error_set(err, PC_E_INVALID_CONFIG,
					    "http.listen: at most %d addresses", LISTEN_MAX);
		rc = listen_patiently(addresses->items[i], &listeners->fds[listeners->count],
				      address, err);
		if (rc)
			return rc;
		listeners->count = daemon->listening = i + 1;
		if (i == 0)
			snprintf(daemon->address, sizeof(daemon->address), "%s", address);
		daemon->loopback_only &= is_loopback(address);
		choose_ready_url(daemon, address);
		pc_log(PC_LOG_INFO, "http", PC_FIELDS({ "address", address }), "listening");
	}
	return 0;
}

static void close_listeners(struct listeners *listeners)
{
	while (listeners->count > 0)
		close(listeners->fds[--listeners->count]);
}

static void unlink_sockets(const struct daemon *daemon)
{
	const struct pc_string_list *addresses = &daemon->generation->config->http_listen;

	for (size_t i = 0; i < daemon->listening; i++) {
		if (strncmp(addresses->items[i], "unix:", 5) == 0)
			unlink(addresses->items[i] + 5);
	}
}

static int open_loops(struct daemon *daemon, const struct listeners *listeners,
		      struct pc_error *err)
{
	size_t count = daemon->generation->config->http_loops;
	int rc = 0;

	if (count == 0) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);

		count = cores > 0 ? (size_t)cores : 1;
	}
	daemon->loops = pc_calloc(count, sizeof(*daemon->loops));
	if (!daemon->loops)
		return pc_error_oom(err);
	daemon->loop_count = count;
	for (unsigned i = 0; i < count && !rc; i++)
		rc = loop_init(&daemon->loops[i], daemon, i, listeners->fds, listeners->count, err);
	return rc;
}

/* ---- running ---- */

/*
 * Every connection is a descriptor, and so is every upstream call, and two are every worker's.
 * Clients get at most half of what there is beyond the few that are always open, so that they
 * cannot keep workers from being started.
 */
static void share_out_descriptors(struct daemon *daemon)
{
	struct rlimit limit;
	uint64_t most;

	daemon->max_connections = daemon->generation->config->http_max_connections;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	daemon->open_files = limit.rlim_cur;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	most = limit.rlim_cur > DESCRIPTORS_OWN ? (limit.rlim_cur - DESCRIPTORS_OWN) / 2 : 1;
	if (daemon->max_connections > most) {
		char text[24];

		snprintf(text, sizeof(text), "%" PRIu64, most);
		pc_log(PC_LOG_WARN, "http", PC_FIELDS({ "max_connections", text }),
		       "the limit of open files allows fewer connections than "
		       "http.max_connections; raise it with ulimit -n or LimitNOFILE=");
		daemon->max_connections = most;
	}
}

static int open_rooms(struct daemon *daemon, int *ret_lock_fd, struct pc_error *err)
{
	struct listeners listeners = { .count = 0 };
	int rc = state_read_token(daemon, err);

	if (!rc)
		rc = state_open(daemon, ret_lock_fd, err);
	if (!rc)
		rc = open_listeners(daemon, &listeners, err);
	if (!rc)
		rc = open_loops(daemon, &listeners, err);
	if (!rc)
		rc = body_create(daemon, &daemon->body, err);
	if (!rc)
		rc = supervisor_create(daemon, &daemon->supervisor, err);
	if (!rc)
		rc = adopt_workers(daemon, err);
	if (!rc)
		rc = tally_create(daemon->registry, &daemon->tally, err);
	if (!rc)
		rc = shutdown_create(daemon, &daemon->shutdown, err);
	if (!rc)
		rc = gpus_start(daemon->gpus, err);
	if (!rc)
		rc = reload_create(daemon, &daemon->reload, err);
	/* The loops have duplicates. Were these left open, the kernel would go on accepting during
	 * a drain. */
	close_listeners(&listeners);
	return rc;
}

static void free_daemon(struct daemon *daemon)
{
	gpus_stop(daemon->gpus);
	reload_free(daemon->reload);
	shutdown_free(daemon->shutdown);
	supervisor_free(daemon->supervisor);
	body_destroy(daemon->body);
	tally_destroy(daemon->tally);
	pc_registry_close(daemon->registry);
	pc_ledger_destroy(daemon->ledger);
	gpus_free(daemon->gpus);
	pc_free(daemon->loops);
	pc_free(daemon->runtime_dir);
	pc_free(daemon->life_dir);
	pc_free(daemon->verified_dir);
	pc_free(daemon->cgroup);
	pc_free(daemon->stub_program);
	pc_free(daemon->token);
	generation_unref(daemon->generation);
}

/* From here on the loops run until the shutdown closes them, even when one of them could not start.
 */
static int run_loops(struct daemon *daemon, struct pc_error *err)
{
	struct generation *generation = body_generation(daemon);
	char models[24];
	int rc = 0;

	for (size_t i = 1; i < daemon->loop_count && !rc; i++)
		rc = loop_start(&daemon->loops[i], err);
	snprintf(models, sizeof(models), "%zu", generation->model_count);
	if (rc)
		shutdown_now(daemon->shutdown);
	else
		pc_log(PC_LOG_INFO, "daemon",
		       PC_FIELDS({ "version", PC_VERSION },
				 { "pool_id", generation->config->pool_id }, { "models", models },
				 { "address", daemon->address }),
		       "serving");
	generation_unref(generation);
	uv_run(&daemon->loops[0].uv, UV_RUN_DEFAULT);
	for (size_t i = daemon->loop_count; i-- > 0;)
		loop_fini(&daemon->loops[i]);
	return rc;
}

static int run(struct daemon *daemon, struct pc_error *err)
{
	int lock_fd = -1;
	int rc;

	daemon->max_body_bytes = daemon->generation->config->http_max_body_bytes;
	daemon->max_buffered_bytes = daemon->generation->config->http_max_buffered_bytes;
	share_out_descriptors(daemon);
	signal(SIGPIPE, SIG_IGN);
	daemon->started_ns = pc_clock_now_ns();
	daemon->started_wall_ms = pc_clock_wall_ms();
	devices_log(daemon);
	rc = open_rooms(daemon, &lock_fd, err);
	if (!rc) {
		rc = run_loops(daemon, err);
		pc_log(PC_LOG_INFO, "daemon", PC_NO_FIELDS, "stopped");
	}
	unlink_sockets(daemon);
	if (daemon->runtime_dir)
		rmdir(daemon->runtime_dir); /* empty by now; not so is its own business */
	if (lock_fd >= 0)
		close(lock_fd);
	return rc;
}

static int report(const struct pc_error *err)
{
	fprintf(stderr, "pool-managerd: %s\n", err->message);
	return err->code == PC_E_INVALID_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

/* Without a state directory: a daemon may well be running in it. */
static int check(struct daemon *daemon, const struct options *options, struct pc_error *err)
{
	if (state_read_token(daemon, err))
		return report(err);
	printf("%s: ok (models: %zu, backends: %zu)\n",
	       options->config ? options->config : "built-in configuration",
	       pc_catalog_count(daemon->generation->catalog),
	       daemon->generation->config->backend_count);
	return EXIT_OK;
}

static int usage(const struct pc_error *err)
{
	fprintf(stderr, "pool-managerd: %s\nTry 'pool-managerd --help'.\n", err->message);
	return EXIT_USAGE;
}

static void start_log(const struct pc_config *config)
{
	static struct journal journal = { .lock = PTHREAD_MUTEX_INITIALIZER };

	journal.file = stderr;
	journal.sink = strcmp(config->log_format, "json") == 0 ? pc_log_sink_json
							       : pc_log_sink_human;
	pc_log_set(journal_write, &journal,
		   (enum pc_log_level)pc_log_level_from_name(config->log_level));
}

/* What the program was told, read and checked; only then is there a log. */
static int read_configuration(const struct options *options, struct generation **ret_generation,
			      struct pc_error *err)
{
	struct pc_config *config = NULL;
	struct pc_catalog *catalog = NULL;
	int rc = pc_config_load(options->config, options->overrides, options->override_count,
				&config, err);

	if (rc)
		return rc;
	start_log(config);
	rc = pc_catalog_load(config, &catalog, err);
	if (!rc)
		rc = generation_create(config, catalog, ret_generation, err);
	if (rc) {
		pc_catalog_free(catalog);
		pc_config_free(config);
	}
	return rc;
}

static int start(const struct options *options)
{
	struct pc_error err = PC_ERROR_INIT;
	struct daemon daemon = {
		.config_path = options->config,
		.overrides = options->overrides,
		.override_count = options->override_count,
	};
	int status;

	if (read_configuration(options, &daemon.generation, &err))
		return report(&err);
	if (devices_open(&daemon, &err))
		status = report(&err);
	else if (options->check)
		status = check(&daemon, options, &err);
	else
		status = run(&daemon, &err)   ? report(&err)
			 : daemon.left_behind ? EXIT_LEFT_BEHIND
					      : EXIT_OK;
	free_daemon(&daemon);
	return status;
}

/* Where one of the three was closed, the next file to be opened would have its number: our log went
 * into the lock of the state directory. */
static void hold_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR); /* a stub gets its own, whatever is inherited */
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	hold_standard_descriptors();

	struct options options = { .config = NULL };
	struct pc_error err = PC_ERROR_INIT;
	int status = EXIT_OK;

	if (options_parse(argc, argv, &options, &err))
		status = usage(&err);
	else if (options.help)
		options_print_help(stdout);
	else if (options.version)
		printf("pool-managerd %s\n", pc_version());
	else
		status = start(&options);
	options_fini(&options);
	return status;
}
