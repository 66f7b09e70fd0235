/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of pool-stub and of the daemon's side of it, while both live: real stubs with small
 * workers in shell, their exits, what they are given, and what a spawn fails with. Beside it stand
 * test_stub_log.c and test_stub_signals.c. What is left of a life when one of the two dies is in
 * test_recover.c.
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
#include "stub_fixture.h"

static int count_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
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
