/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/lifecycle/status.c: files that are forged, broken, or cannot be written, and
 * whom a daemon spares because of it.
 *
 *	test_status POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lifecycle/life_file.h"
#include "tests/unit/life_fixture.h"

/* A status file that says that this process is the stub, which it is not. */
static void forge(const struct watched *w, const struct pc__life_status *status)
{
	char text[PC__LIFE_STATUS_MAX];
	size_t length = pc__life_format(status, text);

	write_bytes(path_of(w, ".status"), text, length);
}

/* Somebody who would die of any signal that we send, and what a status says of it. */
static pid_t start_stranger(struct pc__life_status *status)
{
	struct pc__proc_stat stat;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(126);
	}
	assert_int_equal(pc__proc_stat_read(pid, &stat), 0);

	int pidfd = open_process(pid);

	*status = (struct pc__life_status){
		.stub_pid = pid,
		.stub_start_ticks = (int64_t)stat.start_ticks,
		.stub_pidfd_inode = (int64_t)pc__pidfd_inode(pidfd),
	};
	close(pidfd);
	snprintf(status->token, sizeof(status->token), "%s", token);
	snprintf(status->boot_id, sizeof(status->boot_id), "%s", pc_boot_id());
	return pid;
}

/* It was sent no signal: it lives, and has none pending. */
static void end_stranger(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void a_number_that_somebody_else_has(void **state)
{
	struct pc__life_status status;
	pid_t stranger = start_stranger(&status);
	struct watched *w = watched_create();
	char reason[128];

	(void)state;
	assert_int_equal(mkfifo(path_of(w, ".log"), 0600), 0);
	status.stub_start_ticks--;
	forge(w, &status);
	assert_int_equal(recover(w), PC_LIFE_VANISHED);
	snprintf(reason, sizeof(reason), "died with its stub: process %d is another one now",
		 stranger);
	assert_string_equal(w->end.exit.reason, reason);
	status.stub_start_ticks++;
	if (status.stub_pidfd_inode) { /* born in the same tick */
		status.stub_pidfd_inode++;
		forge(w, &status);
		assert_int_equal(recover(w), PC_LIFE_VANISHED);
		status.stub_pidfd_inode--;
	}
	strcpy(status.boot_id, "00000000-0000-0000-0000-000000000000");
	forge(w, &status);
	assert_int_equal(recover(w), PC_LIFE_VANISHED);
	assert_string_equal(w->end.exit.reason, "died with its stub: the machine was started anew");
	end_stranger(stranger);
	forget(w);
}

static void a_token_that_is_another(void **state)
{
	struct pc__life_status status;
	pid_t stranger = start_stranger(&status);
	struct watched *w = watched_create();

	(void)state;
	strcpy(status.token, "another");
	forge(w, &status);
	assert_int_equal(recover(w), PC_LIFE_VANISHED);
	assert_contains(w->end.exit.reason, "its token is not the one");
	end_stranger(stranger);
	forget(w);
}

/* Nobody is signalled, and as long as somebody has the token there is no verdict. */
static void a_status_that_is_broken(void **state)
{
	static const char *const texts[] = {
		"",
		"pool-stub 1\n",
		"pool-stub 2\nboot_id=x\n",
		"hello, world",
		"pool-stub 1\nboot_id=x\ntoken=y\nstub_pid=1\n",
	};
	struct watched *w = start("echo up; read x <$GO; exit 2");
	char good[PC__LIFE_STATUS_MAX], expected[64];
	struct pc_error err;
	enum pc_life life;

	(void)state;
	await_log(w, "up\n");

	int fd = open(path_of(w, ".status"), O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, good, sizeof(good));

	assert_true(length > 0);
	close(fd);
	for (size_t i = 0; i < PC_ARRAY_LEN(texts); i++) {
		struct pc_stub untouched = { .pidfd = -5 };

		write_bytes(path_of(w, ".status"), texts[i], strlen(texts[i]));
		pc_error_clear(&err);
		assert_int_equal(
			pc_stub_recover(folder, w->id, token, &life, &untouched, &w->end, &err),
			PC_E_CONFLICT);
		assert_contains(err.message, path_of(w, ".status"));
		assert_contains(err.message, "cannot be believed (");
		snprintf(expected, sizeof(expected), "process %d has", w->stub.pid);
		if (!strstr(err.message, expected)) {
			snprintf(expected, sizeof(expected), "process %d has", w->pid);
			assert_contains(err.message, expected);
		}
		assert_int_equal(untouched.pidfd, -5);
	}
	/* Repaired, it is believed again. */
	write_bytes(path_of(w, ".status"), good, (size_t)length);
	daemon_dies(w);
	assert_int_equal(recover(w), PC_LIFE_RUNNING);
	write_bytes(path_of(w, ".status"), "", 0);
	let_go();
	/* Whatever happens to the status: the end is written over it. */
	settle(w);
	assert_int_equal(w->end.exit.code, 2);
	/* Nobody has the token any more. */
	write_bytes(path_of(w, ".status"), good, (size_t)length - 1);
	assert_int_equal(recover(w), PC_LIFE_VANISHED);
	assert_contains(w->end.exit.reason, "is gone; '");
	forget(w);
}

static void a_status_that_is_broken_in_the_end(void **state)
{
	struct watched *w = start("exit 2");

	(void)state;
	await_end(w->stub.pidfd);
	write_bytes(path_of(w, ".status"), "nonsense", 8);
	settle(w);
	assert_false(w->end.exit.known);
	assert_contains(w->end.exit.reason, "its stub exited with status 0; '");
	forget(w);
}

/* The last word fits only without the log's end, or not at all. The stub has the limit from us. */
static void a_status_that_cannot_be_written(void **state)
{
	struct watched *w = start("echo up; read x <$GO; exit 2");

	(void)state;
	await_log(w, "up\n");
	/* A directory in the way of the new status. */
	assert_int_equal(mkdir(path_of(w, ".status.new"), 0700), 0);
	let_go();
	settle(w);
	assert_int_equal(rmdir(path_of(w, ".status.new")), 0);
	assert_false(w->end.exit.known);
	assert_string_equal(w->end.exit.reason,
			    "ended; its stub could not write down how, see its log");
	assert_contains(w->log, "pool-stub: cannot write ");
	forget(w);
}

/* What a worker wrote cannot be unwritten: it was there, whoever cleared the folder meanwhile. */
static void a_status_that_was_removed(void **state)
{
	struct watched *w = start("echo up; read x <$GO; exit 2");

	(void)state;
	await_log(w, "up\n");
	assert_int_equal(unlink(path_of(w, ".status")), 0);
	assert_int_equal(mkdir(path_of(w, ".status.new"), 0700), 0);
	let_go();
	settle(w);
	assert_int_equal(rmdir(path_of(w, ".status.new")), 0);
	assert_false(w->end.exit.known);
	assert_contains(w->end.exit.reason, "ended; nobody knows how, for somebody removed ");
	assert_contains(w->end.exit.reason, ".status");
	forget(w);
}

static void a_claim_that_cannot_be_taken(void **state)
{
	struct watched *w = watched_create();
	char *argv[4];
	struct pc_stub_spec spec = script_spec(w, argv, "exit 0");

	(void)state;
	assert_int_equal(pc_stub_claim(folder, w->id, NULL), 0);
	assert_int_equal(mkdir(path_of(w, ".status"), 0700), 0);
	assert_int_equal(pc_stub_spawn(&spec, &w->stub, NULL), 0);
	while (watch_once(w))
		;
	assert_int_equal(rmdir(path_of(w, ".status")), 0);
	settle(w);
	assert_contains(w->log, "pool-stub: cannot take the claim ");
	assert_int_equal(w->started, 0);
	assert_string_equal(w->end.exit.reason, "no worker was started: its stub exited with "
						"status 4, see its log");
	forget(w);
}

static void settle_is_for_the_end(void **state)
{
	struct watched *w = start("read x <$GO");
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_stub_settle(&w->stub, folder, w->id, token, &w->end, &err),
			 PC_E_CONFLICT);
	assert_contains(err.message, "still runs");
	assert_int_equal(pc_stub_settle(NULL, folder, w->id, token, &w->end, NULL),
			 PC_E_INVALID_ARGUMENT);
	let_go();
	settle(w);
	forget(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_that_somebody_else_has),
		cmocka_unit_test(a_token_that_is_another),
		cmocka_unit_test(a_status_that_is_broken),
		cmocka_unit_test(a_status_that_is_broken_in_the_end),
		cmocka_unit_test(a_status_that_cannot_be_written),
		cmocka_unit_test(a_status_that_was_removed),
		cmocka_unit_test(a_claim_that_cannot_be_taken),
		cmocka_unit_test(settle_is_for_the_end),
	};

	if (argc != 2) {
		fputs("usage: test_status POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
