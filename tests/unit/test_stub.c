/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of pool-stub and of the daemon's side of it, while both live: real stubs with small
 * workers in shell. What is left of a life when one of the two dies is test_life.c.
 *
 *	test_stub POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/clock.h>

#include <dirent.h>
#include <sys/resource.h>

#include "fail_alloc.h"
#include "lifecycle/report.h"
#include "stub_fixture.h"

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Reads on until the log ends so. */
static void await_log_end(struct watched *w, const char *text)
{
	size_t length = strlen(text);

	while (w->log_length < length || strcmp(w->log + w->log_length - length, text) != 0)
		assert_true(watch_once(w));
}

/* ---- exits ---- */

static void exits(void **state)
{
	static const struct {
		const char *script;
		int code;
		int signal;
		const char *reason;
		const char *tail;
	} cases[] = {
		{ "exit 0", 0, 0, "exited with status 0", "" },
		{ "echo why; exit 3", 3, 0, "exited with status 3", "why\n" },
		{ "printf 'a\\nb' >&2; exit 255", 255, 0, "exited with status 255", "a\nb" },
		{ "kill -TERM $$", -1, SIGTERM, "killed by SIGTERM", "" },
		{ "kill -KILL $$", -1, SIGKILL, "killed by SIGKILL", "" },
		{ "kill -SEGV $$", -1, SIGSEGV, "killed by SIGSEGV", "" },
		{ "kill -40 $$", -1, 40, "killed by signal 40", "" },
		{ "printf 'a\\0b'", 0, 0, "exited with status 0", "a?b" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		int64_t before = pc_clock_wall_ms();
		struct watched *w = start(cases[i].script);

		settle(w);
		assert_true(w->end.exit.known);
		assert_int_equal(w->end.exit.code, cases[i].code);
		assert_int_equal(w->end.exit.signal, cases[i].signal);
		assert_string_equal(w->end.exit.reason, cases[i].reason);
		assert_string_equal(w->end.log_tail, cases[i].tail);
		assert_true(w->end.exit.wall_ms >= before);
		assert_true(w->end.exit.wall_ms <= pc_clock_wall_ms());
		assert_int_equal(w->end.spawn_errno, 0);
		assert_false(w->end.oom_killed);
		assert_int_equal(w->started, 1);
		assert_int_equal(w->end.worker_pid, w->pid);
		forget(w);
	}
}

/* Limits are soft, so that one who looks for the error may raise them. What a core is called is the
 * machine's business. */
static void a_core_is_told(void **state)
{
	struct rlimit limit;
	struct dirent *entry;

	(void)state;
	getrlimit(RLIMIT_CORE, &limit);
	if (limit.rlim_max == 0) {
		print_message("the hard limit of cores is 0 here\n");
		skip();
	}
	assert_int_equal(mkdir(in_folder("cores"), 0700), 0);

	struct watched *w = start("cd \"${GATE%/*}/cores\" && ulimit -c && ulimit -c unlimited && "
				  "kill -SEGV $$");

	settle(w);
	assert_string_equal(w->end.log_tail, "0\n");
	assert_string_equal(w->end.exit.reason, "killed by SIGSEGV (core dumped)");
	forget(w);

	DIR *cores = opendir(in_folder("cores"));

	assert_non_null(cores);
	while ((entry = readdir(cores)))
		unlinkat(dirfd(cores), entry->d_name, 0);
	closedir(cores);
	assert_int_equal(rmdir(in_folder("cores")), 0);
}

struct bad_program {
	const char *name, *content;
	mode_t mode;
	int failure;
	const char *hint;
};

static void programs_that_do_not_start(void **state)
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

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct watched *w = watched_create();
		char *argv[4], path[2 * PATH_MAX], reason[3 * PATH_MAX];
		struct pc_stub_spec spec = script_spec(w, argv, "");

		snprintf(path, sizeof(path), "%s", in_folder(cases[i].name));
		if (cases[i].content) {
			write_file(cases[i].name, cases[i].content);
			chmod(path, cases[i].mode);
		}
		spec.program = path;
		start_spec(w, &spec);
		settle(w);
		snprintf(reason, sizeof(reason), "cannot start '%s'%s: %s", path, cases[i].hint,
			 strerror(cases[i].failure));
		assert_string_equal(w->end.exit.reason, reason);
		assert_true(w->end.exit.known);
		assert_int_equal(w->end.exit.code, 127);
		assert_int_equal(w->end.spawn_errno, cases[i].failure);
		assert_int_equal(w->started, 0);
		if (cases[i].content)
			unlink(path);
		forget(w);
	}
}

/* ---- what the worker gets ---- */

/* Also with careless descriptors of ours, without close-on-exec. */
static void descriptors(void **state)
{
	int careless = open("/dev/zero", O_RDONLY);
	int high = fcntl(careless, F_DUPFD, 700);
	struct watched *w = start("cat; ls -l /proc/self/fd");

	(void)state;
	settle(w);
	assert_contains(w->log, " 0 -> /dev/null\n");
	assert_contains(w->log, " 1 -> pipe:");
	assert_contains(w->log, " 2 -> pipe:");
	assert_contains(w->log, " 3 -> /proc/"); /* the folder that ls reads */
	assert_null(strstr(w->log, " 4 -> "));
	assert_null(strstr(w->log, "/dev/zero"));
	forget(w);
	close(high);
	close(careless);
}

static void the_model_is_descriptor_3(void **state)
{
	struct watched *w = watched_create();
	char *argv[4], path[2 * PATH_MAX];
	struct pc_stub_spec spec = script_spec(w, argv, "cat <&3; ls /proc/self/fd");

	(void)state;
	snprintf(path, sizeof(path), "%s", write_file("model", "weights\n"));
	spec.model_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(spec.model_fd >= 0);
	start_spec(w, &spec);
	settle(w);
	assert_string_equal(w->log, "weights\n0\n1\n2\n3\n4\n");
	close(spec.model_fd);
	unlink(path);
	forget(w);
}

/* The one that it has already, where dup2 has nothing to do. */
static void a_model_that_is_descriptor_3_already(void **state)
{
	(void)state;

	struct watched *w = watched_create();
	char *argv[4], path[2 * PATH_MAX];
	struct pc_stub_spec spec = script_spec(w, argv, "cat <&3");
	int was_3 = fcntl(3, F_DUPFD_CLOEXEC, 100), model;

	snprintf(path, sizeof(path), "%s", write_file("model", "weights\n"));
	model = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(dup3(model, 3, O_CLOEXEC), 3);
	spec.model_fd = 3;
	start_spec(w, &spec);
	settle(w);
	assert_string_equal(w->log, "weights\n");
	if (was_3 >= 0)
		dup2(was_3, 3);
	else
		close(3);
	close(was_3);
	close(model);
	unlink(path);
	forget(w);
}

static void signals_are_default(void **state)
{
	sigset_t blocked, before;
	unsigned long long mask = 1, ignored = 1;

	(void)state;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);

	struct watched *w = start("exec grep -E '^Sig(Blk|Ign)' /proc/self/status");

	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	settle(w);
	assert_int_equal(sscanf(w->log, "SigBlk:\t%llx\nSigIgn:\t%llx\n", &mask, &ignored), 2);
	assert_int_equal(mask, 0);
	/* glibc's posix_spawn leaves its two internal signals, 32 and 33, ignored. */
	assert_int_equal(ignored & ~0x180000000ULL, 0);
	forget(w);
}

static void limits_and_environment(void **state)
{
	struct watched *w = watched_create();
	char *argv[4] = { NULL };
	struct pc_stub_spec spec = script_spec(
		w, argv,
		"echo \"$A $POOLCORE_SPAWN_TOKEN\"; ulimit -n; ulimit -c; "
		"cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status");
	char *const env[] = { "POOLCORE_SPAWN_TOKEN=another", "A=x y", NULL };
	char expected[128];

	(void)state;
	spec.env = env;
	spec.open_files = 64;
	start_spec(w, &spec);
	settle(w);
	snprintf(expected, sizeof(expected), "x y %s\n64\n0\n500\nNoNewPrivs:\t1\n", token);
	assert_string_equal(w->log, expected);
	forget(w);
}

/* The token is a secret and arguments are public. */
static void the_token_is_no_argument(void **state)
{
	struct watched *w = start("cat /proc/$PPID/cmdline; kill -STOP $$");

	(void)state;
	AWAIT(w, w->stopped);
	assert_int_equal(memcmp(w->log, "pool-stub", 10), 0);
	assert_null(memmem(w->log, w->log_length, token, strlen(token)));
	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	forget(w);
}

static void session_and_group(void **state)
{
	struct watched *w = start("echo up; sleep 1000");
	struct pc__proc_stat stub, worker;

	(void)state;
	await_log(w, "up\n");
	assert_int_equal(pc__proc_stat_read(w->stub.pid, &stub), 0);
	assert_int_equal(pc__proc_stat_read(w->pid, &worker), 0);
	assert_int_equal(stub.parent, getpid());
	assert_int_equal(stub.session, w->stub.pid);
	assert_true(stub.start_ticks == w->stub.start_ticks);
	assert_int_equal(worker.parent, w->stub.pid);
	assert_int_equal(worker.session, w->stub.pid);
	assert_int_equal(worker.group, w->pid);
	assert_true(worker.start_ticks == w->start_ticks);
	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	assert_string_equal(w->end.exit.reason, "killed by SIGKILL");
	forget(w);
}

/* ---- the log ---- */

static void the_log_comes_as_it_is_written(void **state)
{
	struct watched *w = start("echo out; echo err >&2; kill -STOP $$; echo more");

	(void)state;
	AWAIT(w, w->stopped);
	assert_string_equal(w->log, "out\nerr\n");
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	forget(w);
}

/* The worker never waits for a reader: the newest stays, and what is told as lost is exactly what is
 * missing. */
static void a_log_that_nobody_reads_in_time(void **state)
{
	const size_t total = (size_t)3 << 20;
	struct watched *w = start("head -c 3145720 /dev/zero; echo 'the end'; echo >$GATE; "
				  "read x <$GO");

	(void)state;
	await_gate();
	await_log_end(w, "the end\n");
	assert_true(w->lost > total / 2);
	assert_int_equal(w->log_length + w->lost, total);
	let_go();
	settle(w);
	forget(w);
}

/* Nor does the end wait for one. */
static void an_end_that_nobody_hears(void **state)
{
	struct watched *w = start("head -c 3145720 /dev/zero; echo 'the end'; exit 7");

	(void)state;
	await_end(w->stub.pidfd);
	settle(w);
	assert_int_equal(w->end.exit.code, 7);
	assert_string_equal(w->end.log_tail + strlen(w->end.log_tail) - 8, "the end\n");
	forget(w);
}

/* What does not fit into the FIFO waits in the ring for a slow reader, who gets all of it, once. */
static void a_slow_reader_misses_nothing(void **state)
{
	struct watched *w = start("i=10000; while [ $i -lt 24000 ]; do echo $i; i=$((i+1)); done; "
				  "echo >$GATE; read x <$GO");
	char line[16];

	(void)state;
	await_gate();
	await_log_end(w, "23999\n");
	assert_int_equal(w->lost, 0);
	assert_int_equal(w->log_length, 14000 * 6);
	for (int i = 0; i < 14000; i++) {
		snprintf(line, sizeof(line), "%d\n", 10000 + i);
		assert_memory_equal(w->log + (size_t)6 * (size_t)i, line, 6);
	}
	let_go();
	settle(w);
	forget(w);
}

/* A tail begins with a whole line, or at least with a whole character. */
static void where_the_tail_begins(void **state)
{
	static const struct {
		const char *script;
		size_t length;
		const char *begins;
	} cases[] = {
		{ "i=1000; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done", 2045, "2591\n" },
		/* 1100 characters of two bytes; 2047 is odd. */
		{ "i=0; while [ $i -lt 1100 ]; do printf '\\303\\251'; i=$((i+1)); done", 2046,
		  "\303\251\303\251" },
		{ "head -c 5000 /dev/zero | tr '\\0' x; echo", 2047, "xxx" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct watched *w = start(cases[i].script);

		settle(w);
		assert_int_equal(strlen(w->end.log_tail), cases[i].length);
		assert_int_equal(strncmp(w->end.log_tail, cases[i].begins, strlen(cases[i].begins)),
				 0);
		forget(w);
	}
}

/* The worker's output ends before the worker does, or is held by somebody for longer. */
static void output_that_is_closed_early(void **state)
{
	struct watched *w = start("echo last; exec >&- 2>&-; echo >$GATE; read x <$GO; exit 4");

	(void)state;
	await_gate();
	await_log(w, "last\n");
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 4);
	assert_string_equal(w->end.log_tail, "last\n");
	forget(w);
}

/* Told once; then the loop that polls has peace, and the worker is not affected. */
static void reports_that_are_none(void **state)
{
	struct watched *w = start("read x <$GO; exit 6");
	struct pollfd watch = { .events = POLLIN };

	(void)state;
	AWAIT(w, w->started);
	assert_int_equal(write(w->stub.report_fd, "nonsense that is no report", 26), 26);
	assert_int_equal(pc_stub_read(&w->stub, note_report, w), PC_E_IO);
	assert_int_equal(write(w->stub.report_fd, "more", 4), 4);
	assert_int_equal(pc_stub_read(&w->stub, note_report, w), 0);
	watch.fd = w->stub.report_fd;
	assert_int_equal(poll(&watch, 1, 0), 0);
	let_go();
	await_end(w->stub.pidfd);
	settle(w);
	assert_int_equal(w->end.exit.code, 6);
	forget(w);
}

/* A report may come in two parts. */
static void reports_cut_in_two(void **state)
{
	static struct watched w;
	struct pc_report report = { .kind = PC_REPORT_LOG, .data = "hello", .length = 5 };
	char bytes[PIPE_BUF];
	size_t length = pc__report_encode(&report, bytes);
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	w.stub = (struct pc_stub){ .pidfd = -1, .report_fd = ends[0] };
	for (size_t cut = 0; cut <= length; cut++) {
		w.log_length = 0;
		assert_int_equal(write(ends[1], bytes, cut), cut);
		assert_int_equal(pc_stub_read(&w.stub, note_report, &w), 0);
		assert_int_equal(w.log_length, cut == length ? 5 : 0);
		assert_int_equal(write(ends[1], bytes + cut, length - cut), length - cut);
		assert_int_equal(pc_stub_read(&w.stub, note_report, &w), 0);
		assert_int_equal(w.log_length, 5);
		assert_string_equal(w.log, "hello");
	}
	close(ends[1]);
	pc_stub_close(&w.stub);
	assert_int_equal(pc_stub_read(&w.stub, note_report, &w), PC_E_INVALID_ARGUMENT);
}

/* ---- signals ---- */

static void term_reaches_the_group(void **state)
{
	struct watched *w = start("trap 'echo parent' TERM; sh -c 'echo >$GATE; exec sleep 1000'; "
				  "echo child $?; exit 9");

	(void)state;
	await_gate();
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	assert_contains(w->log, "parent\n");
	assert_contains(w->log, "child 143\n");
	assert_int_equal(w->end.exit.code, 9);
	forget(w);
}

static void term_may_be_ignored(void **state)
{
	struct watched *w = start("trap 'echo caught' TERM; echo up; "
				  "while :; do sleep 1000 & wait; done");

	(void)state;
	await_log(w, "up\n");
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	await_log(w, "caught\n");
	assert_false(pc_stub_has_ended(&w->stub));
	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	assert_int_equal(w->end.exit.signal, SIGKILL);
	forget(w);
}

static void term_wakes_a_stopped_one(void **state)
{
	struct watched *w = start("trap 'echo woke; exit 5' TERM; kill -STOP $$; exit 1");

	(void)state;
	AWAIT(w, w->stopped);
	assert_int_equal(w->stop_signal, SIGSTOP);
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	assert_string_equal(w->log, "woke\n");
	assert_int_equal(w->end.exit.code, 5);
	forget(w);
}

static void a_stop_and_its_end_are_told(void **state)
{
	struct watched *w = start("kill -STOP $$; read x <$GO; exit 3");

	(void)state;
	AWAIT(w, w->stopped);
	assert_int_equal(w->continued, 0);
	assert_int_equal(kill(w->pid, SIGCONT), 0);
	AWAIT(w, w->continued);
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 3);
	forget(w);
}

/* Before the stub has reached main(): it was born with all signals blocked. */
static void term_that_comes_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct watched *w = start("read x <$GO");

		assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
		settle(w);
		assert_true(w->end.exit.known);
		assert_int_equal(w->end.exit.signal, SIGTERM);
		forget(w);
	}
}

/* Nothing that a terminal or a service manager sends to whole groups ends the stub. */
static void other_signals_do_not_end_it(void **state)
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1, SIGTSTP
	};
	struct watched *w = start("echo up; read x <$GO; exit 8");

	(void)state;
	await_log(w, "up\n");
	for (size_t i = 0; i < PC_ARRAY_LEN(signals); i++)
		assert_int_equal(kill(w->stub.pid, signals[i]), 0);
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 8);
	forget(w);
}

/* ---- everything below ---- */

/* One in a session of its own, whose parent has gone and which ignores what can be ignored. Its
 * number is the second word of the line. */
#define HERMIT \
	"sh -c 'setsid sh -c \"trap \\\"\\\" TERM HUP INT; echo hermit \\$\\$; sleep 1000; " \
	"sleep 1000\" & echo >$GATE; read x <$GO'; "

static pid_t hermit_of(struct watched *w)
{
	await_log(w, "hermit ");
	AWAIT(w, strchr(strstr(w->log, "hermit "), '\n'));
	return atoi(strstr(w->log, "hermit ") + strlen("hermit "));
}

static void orphans_become_the_stubs(void **state)
{
	struct watched *w = start(HERMIT "echo orphaned; sleep 1000");
	struct pc__proc_stat stat;

	(void)state;
	await_gate();

	pid_t hermit = hermit_of(w);

	let_go();
	await_log(w, "orphaned\n");
	assert_int_equal(pc__proc_stat_read(hermit, &stat), 0);
	assert_int_equal(stat.parent, w->stub.pid);
	assert_int_not_equal(stat.session, w->stub.pid);
	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	forget(w);
}

static void kill_reaches_every_session(void **state)
{
	struct watched *w = start("(" HERMIT ") & trap '' TERM; wait; sleep 1000");

	(void)state;
	await_gate();

	int hermit = open_process(hermit_of(w));

	assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
	settle(w);
	/* The stub does not end before them. */
	assert_int_equal(poll(&(struct pollfd){ .fd = hermit, .events = POLLIN }, 1, 0), 1);
	close(hermit);
	assert_int_equal(w->end.exit.signal, SIGKILL);
	forget(w);
}

static void an_exit_takes_the_rest_with_it(void **state)
{
	struct watched *w = start("(" HERMIT ") & read x <$GO; exit 2");

	(void)state;
	await_gate();

	int hermit = open_process(hermit_of(w));

	let_go();
	let_go();
	settle(w);
	assert_int_equal(poll(&(struct pollfd){ .fd = hermit, .events = POLLIN }, 1, 0), 1);
	close(hermit);
	assert_int_equal(w->end.exit.code, 2);
	forget(w);
}

/* A helper that leaves while the worker lives is no concern of the worker's end. */
static void orphans_are_reaped(void **state)
{
	struct watched *w = start("sh -c 'sh -c \"read x <$GO\" & echo $! '; echo up; read x <$GO");
	struct pc__proc_stat stat;

	(void)state;
	await_log(w, "up\n");

	pid_t orphan = atoi(w->log);
	int pidfd = open_process(orphan);

	let_go();
	let_go();
	await_end(pidfd);
	close(pidfd);
	settle(w);
	assert_int_equal(pc__proc_stat_read(orphan, &stat), -ESRCH);
	forget(w);
}

/* ---- the stub is killed ---- */

/* The worker dies by its parent-death signal, and settle kills its children. */
static void a_killed_stub_leaves_nobody(void **state)
{
	struct watched *w = start("sh -c 'trap \"\" TERM HUP; echo child $$; sleep 1000; :' & "
				  "echo up; wait");

	(void)state;
	await_log(w, "up\n");
	await_log(w, "child ");
	AWAIT(w, strchr(strstr(w->log, "child "), '\n'));

	int child = open_process(atoi(strstr(w->log, "child ") + 6)), worker = open_process(w->pid);

	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	await_end(w->stub.pidfd);
	await_death(worker);
	/* It has lost its parents, and lives. */
	assert_int_equal(poll(&(struct pollfd){ .fd = child, .events = POLLIN }, 1, 0), 0);
	settle(w);
	await_death(child);
	assert_false(w->end.exit.known);
	assert_int_equal(w->end.exit.code, -1);
	assert_int_equal(w->end.exit.signal, 0);
	assert_int_equal(w->end.worker_pid, w->pid);
	assert_string_equal(w->end.exit.reason,
			    "died with its stub, which was killed by SIGKILL; nobody saw its exit");
	forget(w);
}

/* Killed at whatever moment of its start: no worker survives. */
static void a_stub_killed_early_leaves_nobody(void **state)
{
	(void)state;
	for (long spins = 0; spins < 2000000; spins = spins * 5 / 4 + 1000) {
		struct watched *w = start("while :; do sleep 1000; done");

		for (volatile long i = 0; i < spins; i++)
			;
		assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
		settle(w);
		assert_false(w->end.exit.known);
		await_nobody();
		forget(w);
	}
}

/* ---- the command line ---- */

/* Runs the stub by hand; its exit status. */
static int run_stub(const char *with_token, char *const arguments[])
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO);
		unsetenv(PC_STUB_TOKEN_VARIABLE);
		if (with_token)
			setenv(PC_STUB_TOKEN_VARIABLE, with_token, 1);
		execv(stub_program, arguments);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define STUB_COMMAND(...) ((char *const[]){ "pool-stub", "--life-dir", folder, __VA_ARGS__, NULL })

static void command_lines(void **state)
{
	(void)state;
	assert_int_equal(run_stub(token, STUB_COMMAND("--worker-id", "w", "--program", "/bin/true",
						      "--", "true")),
			 3); /* there is no claim */
	assert_int_equal(run_stub(NULL, STUB_COMMAND("--worker-id", "w", "--program", "/bin/true",
						     "--", "true")),
			 2);
	assert_int_equal(run_stub("no token", STUB_COMMAND("--worker-id", "w", "--program",
							   "/bin/true", "--", "true")),
			 2);
	assert_int_equal(run_stub(token, STUB_COMMAND("--program", "/bin/true", "--", "true")), 2);
	assert_int_equal(run_stub(token, STUB_COMMAND("--worker-id", "../w", "--program",
						      "/bin/true", "--", "true")),
			 2);
	assert_int_equal(run_stub(token, STUB_COMMAND("--worker-id", "w", "--", "true")), 2);
	assert_int_equal(run_stub(token, STUB_COMMAND("--worker-id", "w", "--program", "x")), 2);
	assert_int_equal(run_stub(token, STUB_COMMAND("--worker-id", "w", "--program", "x",
						      "--open-files", "-1", "--", "true")),
			 2);
	assert_int_equal(run_stub(token, STUB_COMMAND("--unheard-of")), 2);
}

/* ---- failures of the spawn ---- */

static void nobody_is_left(int fds)
{
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_stub_that_is_missing(void **state)
{
	struct watched *w = watched_create();
	char *argv[4];
	struct pc_stub_spec spec = script_spec(w, argv, "exit 0");
	struct pc_error err = PC_ERROR_INIT;
	int fds = count_fds();

	(void)state;
	spec.stub_program = "/nowhere/pool-stub";
	assert_int_equal(pc_stub_claim(folder, w->id, &err), 0);
	assert_int_equal(pc_stub_spawn(&spec, &w->stub, &err), PC_E_SPAWN_FAILED);
	assert_contains(err.message, "its stub '/nowhere/pool-stub' does not start: No such file");
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(pc_error_detail_get(&err, "program"), "/nowhere/pool-stub");
	nobody_is_left(fds);
	forget(w);
}

static void a_spawn_without_a_claim(void **state)
{
	struct watched *w = watched_create();
	char *argv[4];
	struct pc_stub_spec spec = script_spec(w, argv, "exit 0");
	struct pc_error err = PC_ERROR_INIT;
	int fds = count_fds();

	(void)state;
	assert_int_equal(pc_stub_spawn(&spec, &w->stub, &err), PC_E_SPAWN_FAILED);
	assert_contains(err.message, "no log '");
	assert_int_equal(err.sys_errno, ENOENT);
	nobody_is_left(fds);
	forget(w);
}

static void arguments_too_long(void **state)
{
	const size_t size = (size_t)1 << 20;
	struct watched *w = watched_create();
	char *argv[4], *huge = malloc(size);
	struct pc_stub_spec spec = script_spec(w, argv, huge);
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	memset(huge, 'x', size);
	huge[size - 1] = '\0';
	assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
	assert_int_equal(pc_stub_spawn(&spec, &w->stub, &err), PC_E_SPAWN_FAILED);
	assert_contains(err.message, "(its arguments and environment are too long)");
	free(huge);
	forget(w);
}

static void wrong_arguments(void **state)
{
	struct watched *w = watched_create();
	char *argv[4];
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
#define REFUSED(member, value) \
	do { \
		struct pc_stub_spec spec = script_spec(w, argv, "exit 0"); \
		spec.member = value; \
		assert_int_equal(pc_stub_spawn(&spec, &w->stub, NULL), PC_E_INVALID_ARGUMENT); \
	} while (0)
	REFUSED(life_dir, NULL);
	REFUSED(life_dir, "");
	REFUSED(worker_id, NULL);
	REFUSED(worker_id, "");
	REFUSED(worker_id, "../w");
	REFUSED(worker_id, ".w");
	REFUSED(worker_id, "-w");
	REFUSED(worker_id, "a/b");
	REFUSED(spawn_token, NULL);
	REFUSED(spawn_token, "");
	REFUSED(spawn_token, "no blanks");
	REFUSED(stub_program, NULL);
	REFUSED(program, NULL);
	REFUSED(argv, NULL);
	REFUSED(argv, argv + 3);
	REFUSED(env, NULL);
	assert_int_equal(pc_stub_spawn(NULL, &w->stub, &err), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_stub_kill(NULL, NULL), PC_E_INVALID_ARGUMENT);
	assert_false(pc_stub_has_ended(&w->stub));
	assert_false(pc_stub_has_ended(NULL));
	pc_stub_close(NULL);
	forget(w);
}

static void signals_after_the_end(void **state)
{
	struct watched *w = start("exit 0");
	struct pc_error err = PC_ERROR_INIT;
	char message[64];

	(void)state;
	settle(w);
	assert_int_equal(pc_stub_terminate(&w->stub, &err), PC_E_NOT_FOUND);
	snprintf(message, sizeof(message), "stub %d has ended", w->stub.pid);
	assert_string_equal(err.message, message);
	forget(w);
}

/* With room for 0, 1, 2 ... more descriptors each step fails in its turn, and nothing is left: no
 * descriptor, no process. Most of all no worker of a stub that could not be watched. */
static void out_of_descriptors(void **state)
{
	struct rlimit before, limit;
	int open_now = count_fds(), failures = 0, lowest_free = dup(STDIN_FILENO);

	(void)state;
	close(lowest_free);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int room = 0;; room++) {
		struct watched *w = watched_create();
		char *argv[4];
		struct pc_stub_spec spec = script_spec(w, argv, "sleep 1000");
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
		limit = before;
		limit.rlim_cur = (rlim_t)(lowest_free + room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

		int rc = pc_stub_spawn(&spec, &w->stub, &err);

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (rc == 0) {
			assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
			settle(w);
			forget(w);
			break;
		}
		assert_int_equal(rc, PC_E_SPAWN_FAILED);
		assert_int_equal(err.sys_errno, EMFILE);
		nobody_is_left(open_now);
		forget(w);
		failures++;
	}
	assert_in_range(failures, 2, 10);
}

static void out_of_memory(void **state)
{
	struct pc_error err;

	(void)state;
	for (unsigned n = 1;; n++) {
		struct watched *w = watched_create();
		char *argv[4];
		struct pc_stub_spec spec = script_spec(w, argv, "exit 0");
		int fds = count_fds();

		pc_error_clear(&err);
		assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
		fail_alloc_begin(n);

		int rc = pc_stub_spawn(&spec, &w->stub, &err);

		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			settle(w);
			forget(w);
			assert_true(n > 2);
			return;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
		nobody_is_left(fds);
		forget(w);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits),
		cmocka_unit_test(a_core_is_told),
		cmocka_unit_test(programs_that_do_not_start),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(the_model_is_descriptor_3),
		cmocka_unit_test(a_model_that_is_descriptor_3_already),
		cmocka_unit_test(signals_are_default),
		cmocka_unit_test(limits_and_environment),
		cmocka_unit_test(the_token_is_no_argument),
		cmocka_unit_test(session_and_group),
		cmocka_unit_test(the_log_comes_as_it_is_written),
		cmocka_unit_test(a_log_that_nobody_reads_in_time),
		cmocka_unit_test(an_end_that_nobody_hears),
		cmocka_unit_test(a_slow_reader_misses_nothing),
		cmocka_unit_test(where_the_tail_begins),
		cmocka_unit_test(output_that_is_closed_early),
		cmocka_unit_test(reports_that_are_none),
		cmocka_unit_test(reports_cut_in_two),
		cmocka_unit_test(term_reaches_the_group),
		cmocka_unit_test(term_may_be_ignored),
		cmocka_unit_test(term_wakes_a_stopped_one),
		cmocka_unit_test(a_stop_and_its_end_are_told),
		cmocka_unit_test(term_that_comes_at_once),
		cmocka_unit_test(other_signals_do_not_end_it),
		cmocka_unit_test(orphans_become_the_stubs),
		cmocka_unit_test(kill_reaches_every_session),
		cmocka_unit_test(an_exit_takes_the_rest_with_it),
		cmocka_unit_test(orphans_are_reaped),
		cmocka_unit_test(a_killed_stub_leaves_nobody),
		cmocka_unit_test(a_stub_killed_early_leaves_nobody),
		cmocka_unit_test(command_lines),
		cmocka_unit_test(a_stub_that_is_missing),
		cmocka_unit_test(a_spawn_without_a_claim),
		cmocka_unit_test(arguments_too_long),
		cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(signals_after_the_end),
		cmocka_unit_test(out_of_descriptors),
		cmocka_unit_test(out_of_memory),
	};

	if (argc != 2) {
		fputs("usage: test_stub POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
