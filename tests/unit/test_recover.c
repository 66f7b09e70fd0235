/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/lifecycle/recover.c: what a daemon finds that starts after another has died,
 * with real stubs and taken claims.
 *
 *	test_recover POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "lifecycle/report.h"
#include "tests/unit/life_fixture.h"

/* What happens before the library opens a process, once; the linker puts us in between. */
static void (*before_pidfd_open)(void);

int __real_pidfd_open(pid_t pid, unsigned flags);
int __wrap_pidfd_open(pid_t pid, unsigned flags);

int __wrap_pidfd_open(pid_t pid, unsigned flags)
{
	void (*before)(void) = before_pidfd_open;

	before_pidfd_open = NULL;
	if (before)
		before();
	return __real_pidfd_open(pid, flags);
}

/* ---- who was first ---- */

static void never_claimed(void **state)
{
	struct watched *w = watched_create();

	(void)state;
	assert_int_equal(recover(w), PC_LIFE_NEVER_SPAWNED);
	assert_false(w->end.exit.known);
	forget(w);
}

/* The daemon is first, and the stub that comes late starts nobody. */
static void the_daemon_takes_the_claim(void **state)
{
	struct watched *w = watched_create();
	char *argv[4], mark[2 * PATH_MAX], script[3 * PATH_MAX];
	struct pc_stub_spec spec = script_spec(w, argv, script);
	struct stat st;

	(void)state;
	snprintf(mark, sizeof(mark), "%s", in_folder("mark"));
	snprintf(script, sizeof(script), ": >%s", mark);
	assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
	assert_int_equal(recover(w), PC_LIFE_NEVER_SPAWNED);
	assert_false(file_exists(w, ".claim"));
	assert_int_equal(recover(w), PC_LIFE_NEVER_SPAWNED);
	assert_int_equal(pc_stub_spawn(&spec, &w->stub, NULL), 0);
	settle(w);
	assert_int_equal(stat(mark, &st), -1);
	assert_int_equal(w->started, 0);
	assert_false(file_exists(w, ".status"));
	assert_false(w->end.exit.known);
	assert_string_equal(w->end.exit.reason, "no worker was started: its claim was taken back");
	forget(w);
}

/* Both at once, many times: a worker runs if and only if the daemon found it. */
static void both_want_the_claim(void **state)
{
	unsigned won = 0, lost = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		struct watched *w = start("read x <$GO");
		pid_t stub = w->stub.pid;
		enum pc_life life;

		for (volatile int spin = 0; spin < i * 20000; spin++)
			;
		daemon_dies(w);
		life = recover(w);
		if (life == PC_LIFE_NEVER_SPAWNED) {
			reap(stub);
			assert_false(file_exists(w, ".status"));
			won++;
		} else {
			assert_int_equal(life, PC_LIFE_RUNNING);
			assert_int_equal(w->stub.pid, stub);
			assert_int_equal(pc_stub_kill(&w->stub, NULL), 0);
			settle(w);
			assert_true(w->end.exit.known);
			lost++;
		}
		assert_int_equal(pc__remains_find(token), 0);
		forget(w);
	}
	print_message("the daemon was first %u times, the stub %u times\n", won, lost);
}

/* ---- it runs ---- */

static void a_running_worker_is_adopted(void **state)
{
	struct watched *w = start("echo before; echo >$GATE; read x <$GO; echo after; exit 3");
	struct pc_stub first = w->stub;
	pid_t pid;

	(void)state;
	await_gate();
	await_log(w, "before\n");
	pid = w->pid;
	daemon_dies(w);
	w->started = 0;
	w->log_length = 0;
	w->log[0] = '\0';
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	assert_int_equal(w->stub.pid, first.pid);
	assert_true(w->stub.start_ticks == first.start_ticks);
	assert_true(w->stub.pidfd_inode == first.pidfd_inode);
	assert_int_equal(w->end.worker_pid, pid);
	assert_int_equal(fcntl(w->stub.pidfd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(w->stub.report_fd, F_GETFD), FD_CLOEXEC);
	/* All from the start, once. */
	await_log(w, "before\n");
	assert_int_equal(w->started, 1);
	assert_int_equal(w->pid, pid);
	let_go();
	settle(w);
	assert_string_equal(w->log, "before\nafter\n");
	assert_int_equal(w->started, 1);
	assert_int_equal(w->lost, 0);
	assert_int_equal(w->end.exit.code, 3);
	forget(w);
}

/* What was written while nobody was there; and the state that it is in. */
static void what_happened_meanwhile_is_told(void **state)
{
	struct watched *w = start("read x <$GO; echo meanwhile; kill -STOP $$; exit 4");
	struct pollfd watch = { .events = POLLIN };

	(void)state;
	AWAIT(w, w->started);
	daemon_dies(w);
	let_go();
	/* Its parent learns of the stop before we do; the stub tells us when we ask again. */
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	AWAIT(w, w->stopped);
	assert_int_equal(w->stop_signal, SIGSTOP);
	daemon_dies(w);
	w->stopped = 0;
	w->log_length = 0;
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	AWAIT(w, w->stopped);
	await_log(w, "meanwhile\n");
	assert_string_equal(w->log, "meanwhile\n");
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	watch.fd = w->stub.report_fd;
	assert_int_equal(poll(&watch, 1, 0), 0);
	assert_int_equal(w->end.exit.signal, SIGTERM);
	forget(w);
}

static void await_log_length(struct watched *w, size_t length)
{
	while (w->log_length < length)
		assert_true(watch_once(w));
}

/* More than the ring holds, and a daemon that died with half a report in its hands: the next one
 * gets the end of it, whole. */
static void a_long_log_is_replayed_from_the_ring(void **state)
{
	struct watched *w = start("head -c 1048568 /dev/zero; echo; echo >$GATE; read x <$GO; "
				  "head -c 1048568 /dev/zero; echo 'at last'; echo >$GATE; "
				  "read x <$GO");
	char some[100];

	(void)state;
	await_gate();
	assert_int_equal(read(w->stub.report_fd, some, sizeof(some)), sizeof(some));
	daemon_dies(w);
	let_go();
	await_gate();
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	while (w->log_length < 8 || strcmp(w->log + w->log_length - 8, "at last\n") != 0)
		assert_true(watch_once(w));
	assert_int_equal(w->started, 1);
	assert_true(w->lost > 0);
	let_go();
	settle(w);
	forget(w);
}

/* The same while the stub is stopped and writes nothing: the FIFO begins within a report. */
static void a_report_that_was_read_in_half(void **state)
{
	struct watched *w = start("head -c 20000 /dev/zero; echo end; read x <$GO; exit 2");
	pid_t stub = w->stub.pid;
	char some[100];
	int status;

	(void)state;
	await_log_length(w, 20004);
	daemon_dies(w);
	w->log_length = 0;
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	for (size_t got = 0; got < sizeof(some);) {
		await_end(w->stub.report_fd);
		got += (size_t)read(w->stub.report_fd, some, sizeof(some) - got);
	}
	assert_int_equal(kill(stub, SIGSTOP), 0);
	assert_int_equal(waitpid(stub, &status, WUNTRACED), stub);
	daemon_dies(w);
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	assert_int_equal(kill(stub, SIGCONT), 0);
	await_log_length(w, 20004);
	let_go();
	settle(w);
	assert_int_equal(w->log_length, 20004);
	forget(w);
}

/* A report that the stub sends between our look into the FIFO and our signal is not for us: the
 * replay has all of it again. The stub is stopped, and we write in its place. */
static void a_report_that_crosses_the_signal(void **state)
{
	struct watched *w = start("echo up; read x <$GO; exit 2");
	struct pc_report late = { .kind = PC_REPORT_LOG, .data = "late\n", .length = 5 };
	char bytes[PIPE_BUF];
	size_t length = pc__report_encode(&late, bytes);
	pid_t stub = w->stub.pid;
	int status;

	(void)state;
	await_log(w, "up\n");
	daemon_dies(w);
	w->log_length = 0;
	w->log[0] = '\0';
	assert_int_equal(kill(stub, SIGSTOP), 0);
	assert_int_equal(waitpid(stub, &status, WUNTRACED), stub);
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	assert_int_equal(write(w->stub.report_fd, bytes, length), length);
	assert_int_equal(kill(stub, SIGCONT), 0);
	await_log(w, "up\n");
	assert_string_equal(w->log, "up\n");
	let_go();
	settle(w);
	assert_string_equal(w->log, "up\n");
	forget(w);
}

/* A third and a fourth daemon. */
static void adopted_again_and_again(void **state)
{
	struct watched *w = start("echo up; read x <$GO; exit 1");

	(void)state;
	await_log(w, "up\n");
	for (int i = 0; i < 20; i++) {
		daemon_dies(w);
		w->log_length = 0;
		w->log[0] = '\0';
		w->started = 0;
		assert_int_equal(recover(w), PC_LIFE_RUNNING);
		await_log(w, "up\n");
		assert_string_equal(w->log, "up\n");
		assert_int_equal(w->started, 1);
	}
	let_go();
	settle(w);
	assert_int_equal(w->end.exit.code, 1);
	forget(w);
}

/* The first daemon is another process, and its stub no child of ours. */
static struct watched *start_by_another_daemon(const char *script)
{
	struct watched *w = watched_create();
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char *argv[4];
		struct pc_stub_spec spec = script_spec(w, argv, script);

		if (pc_stub_claim(folder, w->id, NULL) || pc_stub_spawn(&spec, &w->stub, NULL))
			_exit(1);
		await_gate();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	return w;
}

static void a_stub_of_another_daemon(void **state)
{
	struct watched *w = start_by_another_daemon("echo up; echo >$GATE; read x <$GO; exit 6");

	(void)state;
	await_log(w, "up\n");
	assert_int_equal(pc_stub_terminate(&w->stub, NULL), 0);
	settle(w);
	assert_true(w->end.exit.known);
	assert_int_equal(w->end.exit.signal, SIGTERM);
	forget(w);
}

/* Who reaps it learns of which signal; we do not. */
static void a_killed_stub_of_another_daemon(void **state)
{
	struct watched *w = start_by_another_daemon("echo >$GATE; read x <$GO");

	(void)state;
	AWAIT(w, w->started);
	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	settle(w);
	assert_false(w->end.exit.known);
	assert_int_equal(w->end.worker_pid, w->pid);
	assert_string_equal(w->end.exit.reason,
			    "died with its stub, which ended; nobody saw its exit");
	forget(w);
}

/* ---- it is gone ---- */

static void it_ended_while_nobody_was_there(void **state)
{
	struct watched *w = start("read x <$GO; echo 'no space left'; exit 9");
	pid_t stub = w->stub.pid;

	(void)state;
	AWAIT(w, w->started);
	daemon_dies(w);
	let_go();
	reap(stub);
	assert_int_equal(recover(w), PC_LIFE_ENDED);
	assert_int_equal(w->stub.pidfd, -1);
	assert_true(w->end.exit.known);
	assert_int_equal(w->end.exit.code, 9);
	assert_string_equal(w->end.exit.reason, "exited with status 9");
	assert_string_equal(w->end.log_tail, "no space left\n");
	assert_int_equal(w->end.worker_pid, w->pid);
	forget(w);
}

static struct watched *about_to_end;

static void end_it_now(void)
{
	pid_t stub = about_to_end->stub.pid;

	let_go();
	reap(stub);
}

/* Its status said that it runs, and a moment later there is no such process: how it ended was
 * written in between. */
static void it_ends_while_it_is_looked_for(void **state)
{
	struct watched *w = start("echo up; read x <$GO; exit 9");

	(void)state;
	await_log(w, "up\n");
	daemon_dies(w);
	about_to_end = w;
	before_pidfd_open = end_it_now;
	assert_int_equal(recover(w), PC_LIFE_ENDED);
	assert_null(before_pidfd_open);
	assert_true(w->end.exit.known);
	assert_int_equal(w->end.exit.code, 9);
	assert_string_equal(w->end.log_tail, "up\n");
	forget(w);
}

/* Killed with its daemon, as an OOM killer might: the worker went with it, and its child goes
 * now. */
static void it_vanished(void **state)
{
	struct watched *w = start("sh -c 'trap \"\" TERM HUP; echo child $$; sleep 1000; :' & "
				  "echo up; wait");
	pid_t stub = w->stub.pid;
	char reason[128];
	int child, worker;

	(void)state;
	await_log(w, "up\n");
	await_log(w, "child ");
	AWAIT(w, strchr(strstr(w->log, "child "), '\n'));
	child = open_process(atoi(strstr(w->log, "child ") + 6));
	worker = open_process(w->pid);
	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	daemon_dies(w);
	await_death(worker);
	reap(stub);
	assert_int_equal(recover(w), PC_LIFE_VANISHED);
	await_death(child);
	assert_false(w->end.exit.known);
	assert_int_equal(w->end.worker_pid, w->pid);
	snprintf(reason, sizeof(reason), "died with its stub: there is no process %d any more",
		 stub);
	assert_string_equal(w->end.exit.reason, reason);
	forget(w);
}

/* Nothing but its number and start time tells of this one, which does not die with its stub. */
static struct watched *start_clinging(int *ret_worker)
{
	struct watched *w = start("exec setpriv --pdeathsig clear env -u " PC_STUB_TOKEN_VARIABLE
				  " sh -c 'echo up; exec sleep 1000'");

	await_log(w, "up\n");
	*ret_worker = open_process(w->pid);
	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	return w;
}

static void it_clings_to_life(void **state)
{
	struct pollfd over = { .events = POLLIN };
	struct watched *w = start_clinging(&over.fd);
	pid_t stub = w->stub.pid;

	(void)state;
	daemon_dies(w);
	reap(stub);
	if (recover(w) == PC_LIFE_DYING)
		await_death(w->stub.pidfd); /* its own */
	assert_int_equal(poll(&over, 1, 0), 1);
	await_death(over.fd);
	forget(w);

	w = start_clinging(&over.fd);
	settle(w);
	await_death(over.fd);
	forget(w);
}

/* The same, and nobody has reaped it yet. */
static void it_is_a_zombie(void **state)
{
	struct watched *w = start("echo up; sleep 1000");
	pid_t stub = w->stub.pid;

	(void)state;
	await_log(w, "up\n");
	assert_int_equal(pc_stub_destroy_forcibly(&w->stub, NULL), 0);
	await_end(w->stub.pidfd);
	daemon_dies(w);
	assert_int_equal(recover(w), PC_LIFE_VANISHED);
	reap(stub);
	forget(w);
}

static void no_descriptor_is_no_verdict(void **state)
{
	struct watched *w = start("echo up; read x <$GO");
	struct rlimit before, limit;
	enum pc_life life = (enum pc_life)77;
	unsigned failures = 0;

	(void)state;
	await_log(w, "up\n");
	daemon_dies(w);

	int lowest_free = dup(STDIN_FILENO);

	close(lowest_free);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int room = 0;; room++, failures++) {
		struct pc_error err = PC_ERROR_INIT;

		limit = before;
		limit.rlim_cur = (rlim_t)(lowest_free + room);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

		int rc = pc_stub_recover(folder, w->id, token, &life, &w->stub, &w->end, &err);

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (rc == 0)
			break;
		assert_int_equal(rc, PC_E_IO);
		assert_int_equal(err.sys_errno, EMFILE);
		assert_int_equal(life, 77);
	}
	assert_int_equal(life, PC_LIFE_RUNNING);
	assert_in_range(failures, 2, 5);
	let_go();
	settle(w);
	forget(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_claimed),
		cmocka_unit_test(the_daemon_takes_the_claim),
		cmocka_unit_test(both_want_the_claim),
		cmocka_unit_test(a_running_worker_is_adopted),
		cmocka_unit_test(what_happened_meanwhile_is_told),
		cmocka_unit_test(a_long_log_is_replayed_from_the_ring),
		cmocka_unit_test(a_report_that_was_read_in_half),
		cmocka_unit_test(a_report_that_crosses_the_signal),
		cmocka_unit_test(adopted_again_and_again),
		cmocka_unit_test(a_stub_of_another_daemon),
		cmocka_unit_test(a_killed_stub_of_another_daemon),
		cmocka_unit_test(it_ended_while_nobody_was_there),
		cmocka_unit_test(it_ends_while_it_is_looked_for),
		cmocka_unit_test(it_vanished),
		cmocka_unit_test(it_clings_to_life),
		cmocka_unit_test(it_is_a_zombie),
		cmocka_unit_test(no_descriptor_is_no_verdict),
	};

	if (argc != 2) {
		fputs("usage: test_recover POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
