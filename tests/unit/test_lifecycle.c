/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/lifecycle with real processes: spawning, output, signals, exits, identity and
 * memory. They wait on descriptors; the 20 s of `await` only turn a hang into a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/process.h"
#include "lifecycle/procfs.h"

static char *const no_env[] = { NULL };

static void await(int fd)
{
	struct pollfd watch = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&watch, 1, 20000), 1);
}

static struct pc_process start(const char *script)
{
	char *const argv[] = { "sh", "-c", (char *)script, NULL };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_process process;

	if (pc_process_spawn("/bin/sh", argv, no_env, &process, &err))
		fail_msg("%s", err.message);
	assert_true(process.pid > 1);
	assert_true(process.pidfd >= 0);
	assert_true(process.log_fd >= 0);
	return process;
}

/* Reads the output up to the end of file, or up to a newline when `line` is set. */
static void read_output(int fd, char *text, size_t size, bool line)
{
	size_t length = 0;

	for (;;) {
		await(fd);

		ssize_t got = read(fd, text + length, line ? 1 : size - 1 - length);

		assert_true(got >= 0);
		length += (size_t)got;
		text[length] = '\0';
		if (got == 0 || (line && text[length - 1] == '\n'))
			return;
		assert_true(length < size - 1);
	}
}

/* Waits for the end, reaps, checks that no zombie is left, closes. */
static struct pc_worker_exit finish(struct pc_process *process)
{
	struct pc_worker_exit how = { .code = 12345 };
	struct pc__proc_stat stat;

	await(process->pidfd);
	assert_true(pc_process_reap(process, &how));
	assert_int_equal(pc__proc_stat_read(process->pid, &stat), -ESRCH);
	assert_int_equal(waitpid(process->pid, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	pc_process_close(process);
	assert_int_equal(process->pidfd, -1);
	assert_int_equal(process->log_fd, -1);
	return how;
}

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* ---- exits ---- */

static void exit_codes(void **state)
{
	static const struct {
		const char *script;
		int code;
		int signal;
		const char *reason;
	} cases[] = {
		{ "exit 0", 0, 0, "exited with status 0" },
		{ "exit 3", 3, 0, "exited with status 3" },
		{ "exit 255", 255, 0, "exited with status 255" },
		{ "kill -TERM $$", -1, SIGTERM, "killed by SIGTERM" },
		{ "kill -KILL $$", -1, SIGKILL, "killed by SIGKILL" },
		{ "kill -40 $$", -1, 40, "killed by signal 40" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct pc_process process = start(cases[i].script);
		int64_t before = pc_clock_wall_ms();
		struct pc_worker_exit how = finish(&process);

		assert_true(how.known);
		assert_int_equal(how.code, cases[i].code);
		assert_int_equal(how.signal, cases[i].signal);
		assert_string_equal(how.reason, cases[i].reason);
		assert_true(how.wall_ms >= before);
	}
}

static void nothing_to_reap_while_it_runs(void **state)
{
	struct pc_process process = start("echo up; exec sleep 1000");
	struct pc_worker_exit how = { .code = 12345 };
	char text[64];

	(void)state;
	read_output(process.log_fd, text, sizeof(text), true);
	assert_false(pc_process_reap(&process, &how));
	assert_int_equal(how.code, 12345);
	assert_int_equal(pc_process_signal(&process, 0, NULL), 0);
	assert_int_equal(pc_process_signal(&process, SIGKILL, NULL), 0);
	assert_int_equal(finish(&process).signal, SIGKILL);
	assert_false(pc_process_reap(&process, &how));
}

/* ---- what the child gets ---- */

static void output_is_captured(void **state)
{
	struct pc_process process = start("echo one; echo two >&2; printf three; exit 5");
	char text[256];

	(void)state;
	read_output(process.log_fd, text, sizeof(text), false);
	assert_string_equal(text, "one\ntwo\nthree");
	assert_int_equal(finish(&process).code, 5);
}

static void descriptors_are_ours_alone(void **state)
{
	struct pc_process process = start("cat; ls -l /proc/self/fd; echo end");
	char text[2048];

	(void)state;
	assert_int_equal(fcntl(process.pidfd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(process.log_fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(process.pidfd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(process.log_fd, F_GETFL) & O_NONBLOCK);
	read_output(process.log_fd, text, sizeof(text), false);
	assert_non_null(strstr(text, " 0 -> /dev/null\n"));
	assert_non_null(strstr(text, " 1 -> pipe:"));
	assert_non_null(strstr(text, " 2 -> pipe:"));
	assert_non_null(strstr(text, "end\n"));
	finish(&process);
}

/* Also the careless ones, without close-on-exec. */
static void no_descriptor_leaks(void **state)
{
	int careless = open("/dev/zero", O_RDONLY);
	int high = fcntl(careless, F_DUPFD, 700);
	struct pc_process process = start("ls /proc/self/fd");
	char text[256];

	(void)state;
	read_output(process.log_fd, text, sizeof(text), false);
	assert_string_equal(text, "0\n1\n2\n3\n"); /* 3 is the folder that ls reads */
	finish(&process);
	close(high);
	close(careless);
}

/* A daemon that was started with 0, 1 and 2 closed gets the pipe there. */
static void low_descriptors_may_be_closed(void **state)
{
	(void)state;

	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char *const argv[] = { "sh", "-c", "echo out; echo err >&2; cat; exit 7", NULL };
		struct pollfd watch = { .events = POLLIN };
		struct pc_process process;
		struct pc_worker_exit how = { .code = 0 };
		char text[64] = "";
		ssize_t length = 0, got;

		for (int fd = 0; fd < 3; fd++)
			close(fd);
		if (pc_process_spawn("/bin/sh", argv, no_env, &process, NULL))
			_exit(1);
		watch.fd = process.pidfd;
		if (poll(&watch, 1, 20000) != 1 || !pc_process_reap(&process, &how))
			_exit(2);
		while ((got = read(process.log_fd, text + length, sizeof(text) - 1)) > 0)
			length += got;
		if (strcmp(text, "out\nerr\n") != 0)
			_exit(3);
		_exit(how.code == 7 ? 0 : 4);
	}

	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void signals_are_default(void **state)
{
	sigset_t blocked, before;
	char text[512];

	(void)state;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);

	struct pc_process process = start("exec grep -E '^Sig(Blk|Ign)' /proc/self/status");

	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	read_output(process.log_fd, text, sizeof(text), false);
	/* glibc's posix_spawn leaves its two internal signals, 32 and 33, ignored; nobody sends
	 * them to a process. */
	unsigned long long mask = 1, ignored = 1;

	assert_int_equal(sscanf(text, "SigBlk:\t%llx\nSigIgn:\t%llx\n", &mask, &ignored), 2);
	assert_int_equal(mask, 0);
	assert_int_equal(ignored & ~0x180000000ULL, 0);
	finish(&process);
}

static void session_group_and_environment(void **state)
{
	char *const argv[] = { "sh", "-c", "echo \"$0 $1 $A\"; sleep 1000", "zero", "a  b", NULL };
	char *const env[] = { "A=x y", NULL };
	struct pc_process process;
	struct pc__proc_stat stat;
	char text[64];

	(void)state;
	assert_int_equal(pc_process_spawn("/bin/sh", argv, env, &process, NULL), 0);
	read_output(process.log_fd, text, sizeof(text), true);
	assert_string_equal(text, "zero a  b x y\n");
	assert_int_equal(pc__proc_stat_read(process.pid, &stat), 0);
	assert_int_equal(stat.session, process.pid);
	assert_int_equal(stat.group, process.pid);
	assert_int_equal(stat.parent, getpid());
	assert_true(stat.start_ticks == process.start_ticks);
	assert_true(process.start_ticks > 0);
	assert_int_equal(pc_process_signal(&process, SIGKILL, NULL), 0);
	finish(&process);
}

/* ---- signals ---- */

typedef int (*signal_fn)(const struct pc_process *process, int signal);

static int signal_as_now(const struct pc_process *process, int signal)
{
	return pc_process_signal(process, signal, NULL);
}

/* The newest way and the one for kernels before 6.9. */
static const signal_fn ways[] = { signal_as_now, pc__process_signal_by_number };

static void term_may_be_ignored(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(ways); i++) {
		struct pc_process process = start(
			"trap 'echo caught' TERM; echo up; while :; do sleep 1000 & wait; done");
		struct pc_worker_exit how;
		char text[64];

		read_output(process.log_fd, text, sizeof(text), true);
		assert_string_equal(text, "up\n");
		assert_int_equal(ways[i](&process, SIGTERM), 0);
		read_output(process.log_fd, text, sizeof(text), true);
		assert_string_equal(text, "caught\n");
		assert_false(pc_process_reap(&process, &how));
		assert_int_equal(ways[i](&process, SIGKILL), 0);
		how = finish(&process);
		assert_int_equal(how.signal, SIGKILL);
	}
}

/* The end of file of the log is the proof: every process of the group held it. */
static void grandchildren_die_with_the_group(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(ways); i++) {
		struct pc_process process = start(
			"(trap '' TERM HUP; sleep 1000; sleep 1000) & echo up; wait");
		char text[64];

		read_output(process.log_fd, text, sizeof(text), true);
		assert_int_equal(ways[i](&process, SIGKILL), 0);
		read_output(process.log_fd, text, sizeof(text), false);
		assert_int_equal(finish(&process).signal, SIGKILL);
	}
}

/* A leader that ended leaves a child behind; the signal reaches it as long as the leader waits to
 * be reaped. */
static void the_group_outlives_its_leader(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(ways); i++) {
		struct pc_process process = start("(trap '' HUP; exec sleep 1000) & exit 9");
		char text[64];

		await(process.pidfd);
		assert_int_equal(ways[i](&process, SIGKILL), 0);
		read_output(process.log_fd, text, sizeof(text), false);
		assert_int_equal(finish(&process).code, 9);
	}
}

static void reaping_sweeps_the_group(void **state)
{
	struct pc_process process = start("(trap '' HUP TERM; exec sleep 1000) & exit 9");
	struct pc_worker_exit how;
	char text[64];

	(void)state;
	await(process.pidfd);
	assert_true(pc_process_reap(&process, &how));
	assert_int_equal(how.code, 9);
	read_output(process.log_fd, text, sizeof(text), false);
	pc_process_close(&process);
}

static void nobody_is_signalled_after_the_reaping(void **state)
{
	struct pc_process process = start("exit 0");
	struct pc_worker_exit how;
	struct pc_error err = PC_ERROR_INIT;
	char message[64];

	(void)state;
	await(process.pidfd);
	/* Ended and not reaped is no error: it holds its number. */
	assert_int_equal(pc_process_signal(&process, SIGTERM, &err), 0);
	assert_true(pc_process_reap(&process, &how));
	assert_int_equal(pc_process_signal(&process, SIGTERM, &err), PC_E_NOT_FOUND);
	snprintf(message, sizeof(message), "process %d has ended", process.pid);
	assert_string_equal(err.message, message);
	assert_int_equal(pc__process_signal_by_number(&process, SIGTERM), -ESRCH);
	pc_process_close(&process);
	assert_int_equal(pc_process_signal(&process, SIGTERM, NULL), PC_E_INVALID_ARGUMENT);
}

static void wrong_signals(void **state)
{
	struct pc_process process = start("exec sleep 1000");
	const struct pc_process everybody = { .pid = 1, .pidfd = process.pidfd };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_process_signal(&process, 1000, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "1000 is no signal");
	assert_int_equal(pc_process_signal(&process, -1, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_process_signal(&everybody, SIGKILL, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_process_signal(&process, SIGKILL, NULL), 0);
	finish(&process);
}

/* ---- failures ---- */

struct bad_program {
	const char *name, *content;
	mode_t mode;
	int failure;
	const char *hint;
};

static void spawn_failures(void **state)
{
	static const struct bad_program cases[] = {
		{ "missing", NULL, 0, ENOENT, "" },
		{ "plain", "#!/bin/sh\n", 0600, EACCES, "" },
		{ "format", "just text", 0700, ENOEXEC,
		  " (neither a binary for this machine nor a script that starts with #!)" },
		{ "interpreter", "#!/nowhere/sh\n", 0700, ENOENT,
		  " (it is there, but its interpreter or loader is not)" },
		{ "", NULL, 0, EACCES, " (it is a directory)" },
	};
	const char *tmp = getenv("TMPDIR");
	char folder[256];
	int before = count_fds();

	(void)state;
	snprintf(folder, sizeof(folder), "%s/poolcore-spawn-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		char path[320], message[PC_ERROR_MESSAGE_MAX];
		char *const argv[] = { path, NULL };
		struct pc_process process = { .pid = -77 };
		struct pc_error err = PC_ERROR_INIT;

		snprintf(path, sizeof(path), "%s/%s", folder, cases[i].name);
		if (cases[i].content) {
			FILE *file = fopen(path, "w");

			assert_non_null(file);
			fputs(cases[i].content, file);
			fclose(file);
			chmod(path, cases[i].mode);
		}
		assert_int_equal(pc_process_spawn(path, argv, no_env, &process, &err),
				 PC_E_SPAWN_FAILED);
		snprintf(message, sizeof(message), "cannot start '%s'%s: %s", path, cases[i].hint,
			 strerror(cases[i].failure));
		assert_string_equal(err.message, message);
		assert_int_equal(err.sys_errno, cases[i].failure);
		assert_string_equal(pc_error_detail_get(&err, "program"), path);
		assert_int_equal(process.pid, -77);
		if (cases[i].content)
			unlink(path);
	}
	rmdir(folder);
	assert_int_equal(count_fds(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void arguments_too_long(void **state)
{
	const size_t size = (size_t)1 << 20;
	char *huge = malloc(size);
	char *const argv[] = { "sh", huge, NULL };
	struct pc_process process;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(huge, 'x', size);
	huge[size - 1] = '\0';
	assert_int_equal(pc_process_spawn("/bin/sh", argv, no_env, &process, &err),
			 PC_E_SPAWN_FAILED);
	assert_string_equal(err.message, "cannot start '/bin/sh' (its arguments and environment "
					 "are too long): Argument list too long");
	free(huge);
	assert_int_equal(pc_process_spawn("/bin/sh", argv + 2, no_env, &process, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_process_spawn(NULL, argv, no_env, &process, NULL),
			 PC_E_INVALID_ARGUMENT);
}

/* With room for 0, 1, 2 ... more descriptors each step of the spawn fails in its turn, and nothing
 * is left: no descriptor, no child. */
static void out_of_descriptors(void **state)
{
	char *const argv[] = { "true", NULL };
	struct rlimit before, limit;
	int open_now = count_fds(), failures = 0, lowest_free = dup(STDIN_FILENO);

	(void)state;
	close(lowest_free);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int room = 0;; room++) {
		struct pc_process process;
		struct pc_error err = PC_ERROR_INIT;

		limit = before;
		limit.rlim_cur = (rlim_t)(lowest_free + room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

		int rc = pc_process_spawn("/bin/true", argv, no_env, &process, &err);

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (rc == 0) {
			finish(&process);
			break;
		}
		assert_int_equal(rc, PC_E_SPAWN_FAILED);
		assert_int_equal(err.sys_errno, EMFILE);
		assert_int_equal(count_fds(), open_now);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
		failures++;
	}
	assert_in_range(failures, 3, 10);
}

/* ---- identity ---- */

static void boot_id(void **state)
{
	(void)state;
	assert_int_equal(strlen(pc_boot_id()), 36);
	assert_ptr_equal(pc_boot_id(), pc_boot_id());
}

static void stat_texts(void **state)
{
	static const char good[] = "7 (a) Z 9 (b) S 1 7 8 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 "
				   "18446744073709551615 5 6";
	static const char longer[] =
		"7 (a) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 "
		"31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52\n";
	struct pc__proc_stat stat;

	(void)state;
	assert_int_equal(pc__proc_stat_parse(good, &stat), 0);
	assert_int_equal(stat.state, 'S');
	assert_int_equal(stat.parent, 1);
	assert_int_equal(stat.group, 7);
	assert_int_equal(stat.session, 8);
	assert_true(stat.start_ticks == UINT64_MAX);
	assert_true(stat.env_start == 0);
	assert_int_equal(pc__proc_stat_parse(longer, &stat), 0);
	assert_true(stat.start_ticks == 22);
	assert_true(stat.env_start == 50);
	assert_true(stat.env_end == 51);
	assert_int_equal(pc__proc_stat_parse("", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_parse("7 (a) S 1 2", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_parse("7 (a) S 1 2 3 4 5", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_parse("7 a S 1 2 3 4 5", &stat), -EINVAL);
	assert_int_equal(pc__proc_stat_read(INT_MAX, &stat), -ESRCH);
}

static void identity_is_proved(void **state)
{
	struct pc_process process = start("exec sleep 1000"), again = { .pid = -77 };
	struct pc_error err = PC_ERROR_INIT;
	char message[160];

	(void)state;
	assert_int_equal(
		pc_process_open(process.pid, process.start_ticks + 1, pc_boot_id(), &again, &err),
		PC_E_NOT_FOUND);
	snprintf(message, sizeof(message),
		 "process %d is another one: started at tick %llu, recorded %llu", process.pid,
		 (unsigned long long)process.start_ticks,
		 (unsigned long long)process.start_ticks + 1);
	assert_string_equal(err.message, message);

	pc_error_clear(&err);
	assert_int_equal(pc_process_open(process.pid, process.start_ticks,
					 "00000000-0000-4000-8000-000000000000", &again, &err),
			 PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "was started before the machine was"));
	assert_int_equal(pc_process_open(process.pid, process.start_ticks, "", &again, NULL),
			 PC_E_NOT_FOUND);
	assert_int_equal(pc_process_open(process.pid, process.start_ticks, NULL, &again, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_process_open(0, 1, pc_boot_id(), &again, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(again.pid, -77);

	assert_int_equal(
		pc_process_open(process.pid, process.start_ticks, pc_boot_id(), &again, &err), 0);
	assert_int_equal(again.pid, process.pid);
	assert_int_equal(again.log_fd, -1);
	assert_int_equal(fcntl(again.pidfd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pc_process_signal(&again, SIGKILL, NULL), 0);
	pc_process_close(&again);
	finish(&process);

	pc_error_clear(&err);
	assert_int_equal(
		pc_process_open(process.pid, process.start_ticks, pc_boot_id(), &again, &err),
		PC_E_NOT_FOUND);
	snprintf(message, sizeof(message), "cannot open process %d: No such process", process.pid);
	assert_string_equal(err.message, message);
}

/*
 * A daemon spawns a worker and dies; we, its parent, are the next daemon and init in one: we adopt
 * the worker (a grandchild that a subreaper inherits would be a child and have a status, so that
 * the parent here stays alive, waiting on a pipe, and reaps).
 */
static void adopted_processes(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(ways); i++) {
		int told[2], stay[2];
		struct pc_process worker, adopted;
		struct pc_worker_exit how = { .code = 0 };
		char byte;

		assert_int_equal(pipe2(told, O_CLOEXEC), 0);
		assert_int_equal(pipe2(stay, O_CLOEXEC), 0);

		pid_t daemon = fork();

		assert_true(daemon >= 0);
		if (daemon == 0) {
			char *const argv[] = { "sh", "-c", "sleep 1000 & wait", NULL };

			close(stay[1]);
			if (pc_process_spawn("/bin/sh", argv, no_env, &worker, NULL) ||
			    write(told[1], &worker, sizeof(worker)) != sizeof(worker))
				_exit(1);
			_exit(read(stay[0], &byte, 1) == 0 ? 0 : 2);
		}
		assert_int_equal(read(told[0], &worker, sizeof(worker)), sizeof(worker));
		assert_int_equal(pc_process_open(worker.pid, worker.start_ticks, pc_boot_id(),
						 &adopted, NULL),
				 0);
		assert_false(pc_process_reap(&adopted, &how));
		assert_int_equal(ways[i](&adopted, SIGTERM), 0);
		await(adopted.pidfd);
		/* Ended: only the exact way may still touch the group. */
		assert_int_equal(pc__process_signal_by_number(&adopted, SIGKILL), -ESRCH);
		assert_true(pc_process_reap(&adopted, &how));
		assert_false(how.known);
		assert_int_equal(how.code, -1);
		assert_int_equal(how.signal, 0);
		assert_string_equal(how.reason, "ended; its status went to its parent");
		pc_process_close(&adopted);
		close(stay[1]);
		close(stay[0]);
		close(told[0]);
		close(told[1]);

		int status;

		assert_int_equal(waitpid(daemon, &status, 0), daemon);
		assert_int_equal(status, 0);
	}
}

/* Without a descriptor /proc cannot be read, and nobody is taken for dead because of that. */
static void unknown_is_not_ending(void **state)
{
	struct rlimit limit, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_false(pc_process_is_ending(getpid()));
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

	bool ending = pc_process_is_ending(getpid());

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_false(ending);

	struct pc_process process = start("exit 0");
	pid_t pid = process.pid;

	await(process.pidfd);
	assert_true(pc_process_is_ending(pid)); /* a zombie */
	finish(&process);
	assert_true(pc_process_is_ending(pid));
}

/* ---- memory ---- */

/* A variable of 8 MB in the shell, and another in its child. */
static void memory_counts_children(void **state)
{
	static const char fill[] = "x=$(head -c 8000000 /dev/zero | tr '\\0' x); ";
	char script[512], text[64];
	uint64_t alone, both;

	(void)state;
	/* The colon keeps the shell from becoming the sleep. */
	snprintf(script, sizeof(script), "%s echo up; sleep 1000; :", fill);

	struct pc_process process = start(script);

	read_output(process.log_fd, text, sizeof(text), true);
	alone = pc_process_memory(process.pid);
	assert_true(alone >= 8000000);
	pc_process_signal(&process, SIGKILL, NULL);
	finish(&process);

	snprintf(script, sizeof(script), "%s (%s echo up; sleep 1000; :) & wait", fill, fill);
	process = start(script);
	read_output(process.log_fd, text, sizeof(text), true);
	both = pc_process_memory(process.pid);
	if (access("/proc/thread-self/children", R_OK) == 0)
		assert_true(both >= 16000000);
	pc_process_signal(&process, SIGKILL, NULL);
	finish(&process);

	assert_int_equal(pc_process_memory(process.pid), 0);
	assert_int_equal(pc_process_memory(0), 0);
	assert_int_equal(pc_process_memory(-5), 0);
	assert_true(pc_process_memory(getpid()) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(nothing_to_reap_while_it_runs),
		cmocka_unit_test(output_is_captured),
		cmocka_unit_test(descriptors_are_ours_alone),
		cmocka_unit_test(no_descriptor_leaks),
		cmocka_unit_test(low_descriptors_may_be_closed),
		cmocka_unit_test(signals_are_default),
		cmocka_unit_test(session_group_and_environment),
		cmocka_unit_test(term_may_be_ignored),
		cmocka_unit_test(grandchildren_die_with_the_group),
		cmocka_unit_test(the_group_outlives_its_leader),
		cmocka_unit_test(reaping_sweeps_the_group),
		cmocka_unit_test(nobody_is_signalled_after_the_reaping),
		cmocka_unit_test(wrong_signals),
		cmocka_unit_test(spawn_failures),
		cmocka_unit_test(arguments_too_long),
		cmocka_unit_test(out_of_descriptors),
		cmocka_unit_test(boot_id),
		cmocka_unit_test(stat_texts),
		cmocka_unit_test(identity_is_proved),
		cmocka_unit_test(adopted_processes),
		cmocka_unit_test(unknown_is_not_ending),
		cmocka_unit_test(memory_counts_children),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
