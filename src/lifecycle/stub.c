/* SPDX-License-Identifier: MIT */
/*
 * stub.c - the daemon's side of pool-stub while both live: spawns it, reads its reports, signals
 * it. What the files say when one of the two has died is recover.c. A `struct pc_stub` belongs to
 * one thread at a time.
 *
 * Note: the stub's first moments
 *
 * The stub is born with every signal blocked, and takes those that are for it from a descriptor. So
 * a TERM that comes before it has reached main() is not lost and does not kill it either: it is
 * forwarded once there is a worker.
 *
 * Note: who is meant by a number
 *
 * A process id is a number that somebody else gets when its holder is gone. The kernel keeps it
 * taken while any process uses it as its id, its group's or its session's; and a process keeps its
 * id until its parent has reaped it. From this follows:
 *
 * - After posix_spawn the stub is our child and not reaped, dead or alive, until pc_stub_settle
 *   does it. So pidfd_open(pid) and /proc/PID/stat right after the spawn mean our child. (A program
 *   that ignores SIGCHLD gives this up; the spawn then fails with a text that says so, or loses an
 *   exit.)
 * - A pidfd means one process for ever. Signals through it cannot reach a stranger.
 * - An adopted stub is somebody else's child (init's), who reaps it at any moment. Its pidfd is
 *   opened first and compared with the record afterwards, and the order proves the identity. Say
 *   the pidfd means X, and the start time read afterwards is that of S, the recorded stub. Were X
 *   another process, X would have held the number when the pidfd was opened and S would have got it
 *   after that; but S was recorded before. So X is S.
 * - The worker is the stub's child, and its group has its number. Only the stub signals it by
 *   number, and only before it has reaped it.
 */
#include <poolcore/stub.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/exit_text.h"
#include "lifecycle/life.h"
#include "lifecycle/procfs.h"
#include "lifecycle/remains.h"
#include "lifecycle/report.h"

/* A slow loop's turn; see pc_stub_read. */
#define READ_MAX_BYTES ((size_t)256 * 1024)

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- the stub's command ---- */

/* What the stub is executed with: pointers into the spec and into this. */
struct command {
	char **argv;
	char **env;
	char open_files[24];
	char token[sizeof(PC_STUB_TOKEN_VARIABLE) + PC__LIFE_TOKEN_MAX + 2];
};

static size_t count_strings(char *const *list)
{
	size_t count = 0;

	while (list[count])
		count++;
	return count;
}

static void command_fini(struct command *command)
{
	pc_free(command->argv);
	pc_free(command->env);
}

static void fill_argv(struct command *command, const struct pc_stub_spec *spec)
{
	char **p = command->argv;

	*p++ = "pool-stub";
	*p++ = "--life-dir";
	*p++ = (char *)spec->life_dir;
	*p++ = "--worker-id";
	*p++ = (char *)spec->worker_id;
	if (spec->cgroup) {
		*p++ = "--cgroup";
		*p++ = (char *)spec->cgroup;
	}
	if (spec->open_files) {
		snprintf(command->open_files, sizeof(command->open_files), "%" PRIu64,
			 spec->open_files);
		*p++ = "--open-files";
		*p++ = command->open_files;
	}
	if (spec->model_fd >= 0)
		*p++ = "--model-fd";
	*p++ = "--program";
	*p++ = (char *)spec->program;
	*p++ = "--";
	for (char *const *argument = spec->argv; *argument; argument++)
		*p++ = *argument;
	*p = NULL;
}

/* The token comes first, where those find it soonest who look for it. */
static void fill_env(struct command *command, const struct pc_stub_spec *spec)
{
	char **p = command->env;
	size_t name = strlen(PC_STUB_TOKEN_VARIABLE "=");

	snprintf(command->token, sizeof(command->token), "%s=%s", PC_STUB_TOKEN_VARIABLE,
		 spec->spawn_token);
	*p++ = command->token;
	for (char *const *variable = spec->env; *variable; variable++) {
		if (strncmp(*variable, command->token, name) != 0)
			*p++ = *variable;
	}
	*p = NULL;
}

static int command_init(struct command *command, const struct pc_stub_spec *spec,
			struct pc_error *err)
{
	/* At most 13 strings of our own, and the NULL. */
	command->argv = pc_calloc(count_strings(spec->argv) + 14, sizeof(char *));
	command->env = pc_calloc(count_strings(spec->env) + 2, sizeof(char *));
	if (!command->argv || !command->env) {
		command_fini(command);
		return pc_error_oom(err);
	}
	fill_argv(command, spec);
	fill_env(command, spec);
	return 0;
}

/* ---- spawn ---- */

/*
 * What the child does before exec, in this order: the model's descriptor is moved before 0, 1 and 2
 * are made, because it may be one of them. Nothing of ours stays open, so that nobody who waits for
 * the end of our output waits for the worker's.
 */
static int fill_actions(posix_spawn_file_actions_t *actions, int model_fd)
{
	bool has_model = model_fd >= 0;
	int failure = 0;

	if (has_model)
		failure = posix_spawn_file_actions_adddup2(actions, model_fd, PC_STUB_MODEL_FD);
	if (!failure)
		failure = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null",
							   O_RDONLY, 0);
	if (!failure)
		failure = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null",
							   O_WRONLY, 0);
	if (!failure)
		failure = posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO);
	if (!failure)
		failure = posix_spawn_file_actions_addclosefrom_np(
			actions, has_model ? PC_STUB_MODEL_FD + 1 : PC_STUB_MODEL_FD);
	return failure;
}

static int fill_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all;

	sigfillset(&all);

	int failure = posix_spawnattr_setflags(
		attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);

	if (!failure)
		failure = posix_spawnattr_setsigdefault(attributes, &all);
	if (!failure)
		failure = posix_spawnattr_setsigmask(attributes, &all);
	return failure;
}

/* Returns errno; glibc reports a failed exec of the stub here too. */
static int spawn(pid_t *ret_pid, const struct pc_stub_spec *spec, const struct command *command)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int failure = posix_spawn_file_actions_init(&actions);

	if (failure)
		return failure;
	failure = posix_spawnattr_init(&attributes);
	if (!failure) {
		failure = fill_actions(&actions, spec->model_fd);
		if (!failure)
			failure = fill_attributes(&attributes);
		if (!failure)
			failure = posix_spawn(ret_pid, spec->stub_program, &actions, &attributes,
					      command->argv, command->env);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return failure;
}

/* The pidfd and the identity of the new child. Returns errno. */
static int take_hold(struct pc_stub *stub)
{
	struct pc__proc_stat stat;

	stub->pidfd = pidfd_open(stub->pid, PIDFD_NONBLOCK);
	if (stub->pidfd < 0)
		return errno;

	int rc = pc__proc_stat_read(stub->pid, &stat);

	if (rc)
		return -rc;
	stub->start_ticks = stat.start_ticks;
	stub->pidfd_inode = pc__pidfd_inode(stub->pidfd);
	return 0;
}

/* Ends a stub that could not be taken hold of (no descriptor left): without the claim it starts
 * nobody, and a worker that it has started dies with it. Waits for a process that was just killed.
 */
static void abandon(struct pc_stub *stub, const struct pc_stub_spec *spec)
{
	char claim[PATH_MAX];

	if (pc__life_path(claim, spec->life_dir, spec->worker_id, PC__LIFE_CLAIM, NULL) == 0)
		unlink(claim);
	kill(stub->pid, SIGKILL);
	while (waitpid(stub->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pc__remains_kill(stub->pid, spec->spawn_token);
}

static int check_spec(const struct pc_stub_spec *spec, struct pc_error *err)
{
	if (!spec || !spec->life_dir || !spec->stub_program || !spec->program || !spec->argv ||
	    !spec->argv[0] || !spec->env)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a life directory, the stub, a program, its arguments and an "
				    "environment are needed");
	if (!pc__life_token_is_valid(spec->spawn_token))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a spawn token of 1 to %d letters and digits is needed",
				    PC__LIFE_TOKEN_MAX);
	return 0;
}

/* The FIFO is open before the stub is born, which so finds a reader there. */
static int start(struct pc_stub *stub, const struct pc_stub_spec *spec, struct pc_error *err)
{
	struct command command = { .argv = NULL };
	char fifo[PATH_MAX];
	int rc = pc__life_path(fifo, spec->life_dir, spec->worker_id, PC__LIFE_LOG, err);

	if (rc)
		return rc;
	stub->report_fd = pc__life_fifo_open(fifo);
	if (stub->report_fd < 0)
		return pc_error_sys(err, PC_E_SPAWN_FAILED, errno,
				    "cannot start worker %s: no log '%s'", spec->worker_id, fifo);
	rc = command_init(&command, spec, err);
	if (rc)
		return rc;

	int failure = spawn(&stub->pid, spec, &command);

	command_fini(&command);
	if (failure) {
		pc_error_sys(err, PC_E_SPAWN_FAILED, failure,
			     "cannot start worker %s: its stub '%s' does not start%s",
			     spec->worker_id, spec->stub_program,
			     pc__spawn_hint(spec->stub_program, failure));
		pc_error_detail(err, "program", "%s", spec->stub_program);
		return PC_E_SPAWN_FAILED;
	}
	failure = take_hold(stub);
	if (failure) {
		abandon(stub, spec);
		return pc_error_sys(err, PC_E_SPAWN_FAILED, failure,
				    "started the stub of worker %s but cannot watch it%s, so it "
				    "was killed",
				    spec->worker_id,
				    failure == ESRCH ? " (is SIGCHLD ignored?)" : "");
	}
	return 0;
}

int pc_stub_spawn(const struct pc_stub_spec *spec, struct pc_stub *ret_stub, struct pc_error *err)
{
	struct pc_stub stub = { .pidfd = -1, .report_fd = -1 };
	int rc = check_spec(spec, err);

	if (rc)
		return rc;
	if (!ret_stub)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "nowhere to put the stub");
	rc = start(&stub, spec, err);
	if (rc) {
		pc_stub_close(&stub);
		return rc;
	}
	*ret_stub = stub;
	return 0;
}

void pc_stub_close(struct pc_stub *stub)
{
	if (!stub)
		return;
	close_fd(&stub->pidfd);
	close_fd(&stub->report_fd);
}

/* ---- reports ---- */

/* Hands over the whole reports in the buffer and keeps the rest; -1 when there is none to be
 * understood. */
static int hand_over(struct pc_stub *stub, pc_report_fn on_report, void *ctx)
{
	struct pc_report report;
	size_t at = 0;
	ssize_t taken;

	while ((taken = pc__report_decode(stub->partial + at, stub->partial_length - at, &report)) >
	       0) {
		at += (size_t)taken;
		stub->has_started |= report.kind == PC_REPORT_STARTED;
		if (report.kind == PC__REPORT_REPLAY)
			stub->awaits_replay = false;
		else if (!stub->awaits_replay)
			on_report(ctx, &report);
	}
	stub->partial_length -= at;
	memmove(stub->partial, stub->partial + at, stub->partial_length);
	return taken < 0 ? -1 : 0;
}

int pc_stub_read(struct pc_stub *stub, pc_report_fn on_report, void *ctx)
{
	if (!stub || stub->report_fd < 0 || !on_report)
		return PC_E_INVALID_ARGUMENT;
	for (size_t total = 0; total < READ_MAX_BYTES;) {
		ssize_t got = read(stub->report_fd, stub->partial + stub->partial_length,
				   sizeof(stub->partial) - stub->partial_length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 && errno != EAGAIN ? PC_E_IO : 0;
		total += (size_t)got;
		if (stub->reports_broken)
			continue; /* over and over into the same room */
		stub->partial_length += (size_t)got;
		if (hand_over(stub, on_report, ctx)) {
			stub->reports_broken = true;
			stub->partial_length = 0;
			return PC_E_IO;
		}
	}
	return 0;
}

/* ---- signals ---- */

int pc__stub_signal(const struct pc_stub *stub, int signal, struct pc_error *err)
{
	if (!stub || stub->pidfd < 0)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "an open stub is needed");
	if (pidfd_send_signal(stub->pidfd, signal, NULL, 0) == 0)
		return 0;
	if (errno == ESRCH)
		return pc_error_set(err, PC_E_NOT_FOUND, "stub %d has ended", stub->pid);
	return pc_error_sys(err, PC_E_IO, errno, "cannot send signal %d to stub %d", signal,
			    stub->pid);
}

int pc_stub_terminate(const struct pc_stub *stub, struct pc_error *err)
{
	return pc__stub_signal(stub, SIGTERM, err);
}

int pc_stub_kill(const struct pc_stub *stub, struct pc_error *err)
{
	return pc__stub_signal(stub, SIGUSR2, err);
}

int pc_stub_destroy_forcibly(const struct pc_stub *stub, struct pc_error *err)
{
	return pc__stub_signal(stub, SIGKILL, err);
}

bool pc_stub_has_ended(const struct pc_stub *stub)
{
	struct pollfd watch = { .fd = stub ? stub->pidfd : -1, .events = POLLIN };

	return watch.fd >= 0 && poll(&watch, 1, 0) == 1;
}
