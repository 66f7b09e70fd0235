/* SPDX-License-Identifier: MIT */
/*
 * stub_fixture.h - workers under a real pool-stub, for the tests of both. The test is the daemon:
 * it spawns, reads what is reported into a `struct watched`, and settles. Waits end with an event;
 * the 20 s only turn a hang into a failure. Include cmocka first.
 */
#ifndef TESTS_UNIT_STUB_FIXTURE_H
#define TESTS_UNIT_STUB_FIXTURE_H

#include <poolcore/lifecycle.h>
#include <poolcore/stub.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "lifecycle/procfs.h"
#include "lifecycle/remains.h"
#include "tests/lib/guard.h"

static const char *stub_program; /* of the command line */
/* Of all workers of this program, and of no other test that runs beside it: waiting until nobody
 * carries it must not wait for theirs. */
static char token[33];

/* A worker, and what was reported of it. */
struct watched {
	char id[32];
	struct pc_stub stub;
	struct pc_stub_end end;
	unsigned started, stopped, continued;
	pid_t pid;
	uint64_t start_ticks;
	int stop_signal;
	uint64_t lost;
	size_t log_length;
	char log[4 << 20];
};

static inline void note_report(void *ctx, const struct pc_report *report)
{
	struct watched *w = ctx;

	switch (report->kind) {
	case PC_REPORT_STARTED:
		w->started++;
		w->pid = report->pid;
		w->start_ticks = report->start_ticks;
		break;
	case PC_REPORT_LOG:
		assert_true(report->length > 0);
		assert_true(w->log_length + report->length < sizeof(w->log));
		memcpy(w->log + w->log_length, report->data, report->length);
		w->log_length += report->length;
		w->log[w->log_length] = '\0';
		break;
	case PC_REPORT_LOST:
		w->lost += report->lost_bytes;
		break;
	case PC_REPORT_STOPPED:
		w->stopped++;
		w->stop_signal = report->signal;
		break;
	case PC_REPORT_CONTINUED:
		w->continued++;
		break;
	}
}

/* Waits for one event of the stub and takes what there is; false when the stub has ended. */
static inline bool watch_once(struct watched *w)
{
	struct pollfd watches[] = {
		{ .fd = w->stub.report_fd, .events = POLLIN },
		{ .fd = w->stub.pidfd, .events = POLLIN },
	};

	assert_true(poll(watches, 2, 20000) > 0);
	assert_int_equal(pc_stub_read(&w->stub, note_report, w), 0);
	return !watches[1].revents || watches[0].revents;
}

static inline void await_log(struct watched *w, const char *text)
{
	while (!strstr(w->log, text)) {
		if (!watch_once(w))
			fail_msg("the stub ended before '%s' came: %s", text, w->log);
	}
}

#define AWAIT(w, condition) \
	do { \
		while (!(condition)) \
			assert_true(watch_once(w)); \
	} while (0)

static inline void await_end(int pidfd)
{
	struct pollfd watch = { .fd = pidfd, .events = POLLIN };

	assert_int_equal(poll(&watch, 1, 20000), 1);
}

/* Opens a process that is known to live, to see it die. */
static inline int open_process(pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);

	if (pidfd < 0)
		fail_msg("process %d: %s", pid, strerror(errno));
	return pidfd;
}

static inline void await_death(int pidfd)
{
	await_end(pidfd);
	close(pidfd);
}

/* Waits until nobody carries the token. */
static inline void await_nobody(void)
{
	pid_t pid;

	while ((pid = pc__remains_find(token))) {
		int pidfd = pidfd_open(pid, 0);

		if (pidfd >= 0)
			await_death(pidfd);
	}
}

static inline struct watched *watched_create(void)
{
	static unsigned number;
	struct watched *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	snprintf(w->id, sizeof(w->id), "worker-%u", number++);
	w->stub.pidfd = w->stub.report_fd = -1;
	return w;
}

/* Two FIFOs besides the log's: a worker says that it is so far with `echo >$GATE`, and waits with
 * `read x <$GO`. */
static int gate_fd, go_fd;
static char gate_variable[2 * PATH_MAX + 16], go_variable[2 * PATH_MAX + 16];
static char *const fixture_env[] = { "PATH=/usr/bin:/bin", gate_variable, go_variable, NULL };

static inline int open_gate(const char *name, char *variable)
{
	const char *path = in_folder(name);

	snprintf(variable, sizeof(gate_variable), "%s=%s", name, path);
	assert_int_equal(mkfifo(path, 0600), 0);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline void await_gate(void)
{
	char said[16];

	await_end(gate_fd);
	assert_true(read(gate_fd, said, sizeof(said)) > 0);
}

static inline void let_go(void)
{
	assert_int_equal(write(go_fd, "\n", 1), 1);
}

/* The spec of a shell script; change what the test is about. `argv` has room for four. */
static inline struct pc_stub_spec script_spec(const struct watched *w, char **argv,
					      const char *script)
{
	argv[0] = "sh";
	argv[1] = "-c";
	argv[2] = (char *)script;
	argv[3] = NULL;
	return (struct pc_stub_spec){
		.life_dir = folder,
		.worker_id = w->id,
		.spawn_token = token,
		.stub_program = stub_program,
		.program = "/bin/sh",
		.argv = argv,
		.env = fixture_env,
		.model_fd = -1,
	};
}

static inline struct watched *start_spec(struct watched *w, const struct pc_stub_spec *spec)
{
	struct pc_error err = PC_ERROR_INIT;

	if (pc_stub_claim(folder, w->id, &err) || pc_stub_spawn(spec, &w->stub, &err))
		fail_msg("%s", err.message);
	assert_true(w->stub.pid > 1);
	return w;
}

static inline struct watched *start(const char *script)
{
	struct watched *w = watched_create();
	char *argv[4];
	struct pc_stub_spec spec = script_spec(w, argv, script);

	return start_spec(w, &spec);
}

static inline bool file_exists(const struct watched *w, const char *ending)
{
	char name[64];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", w->id, ending);
	return lstat(in_folder(name), &st) == 0;
}

/* Takes all that is reported until the stub has ended, and how the worker did. The worker's files
 * and `w` stay. */
static inline void settle(struct watched *w)
{
	struct pc_error err = PC_ERROR_INIT;

	while (watch_once(w))
		;
	assert_true(pc_stub_has_ended(&w->stub));
	if (pc_stub_settle(&w->stub, folder, w->id, token, &w->end, &err))
		fail_msg("%s", err.message);
	/* It was reaped, if it was ours. */
	assert_int_equal(waitpid(w->stub.pid, NULL, WNOHANG), -1);
}

static inline void forget(struct watched *w)
{
	struct pc_error err = PC_ERROR_INIT;

	if (pc_stub_forget(folder, w->id, &err))
		fail_msg("%s", err.message);
	pc_stub_close(&w->stub);
	await_nobody();
	free(w);
}

static inline int make_folder(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	assert_int_equal(pc_token_make(token, NULL), 0);
	snprintf(folder, sizeof(folder), "%s/poolcore-stub-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(guard_start(folder), 0);
	gate_fd = open_gate("GATE", gate_variable);
	go_fd = open_gate("GO", go_variable);
	return 0;
}

/* Fails when a test left a file there. */
static inline int remove_folder(void **state)
{
	(void)state;
	close(gate_fd);
	close(go_fd);
	unlink(in_folder("GATE"));
	unlink(in_folder("GO"));
	return rmdir(folder);
}

#endif
