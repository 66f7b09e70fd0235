/* SPDX-License-Identifier: MIT */
/*
 * test_stuck.c - a worker that does not die even by SIGKILL. The daemon ends without it and says
 * so, the next one starts with it on its books, and all other models are served meanwhile.
 *
 * Such a worker is made in two ways. A real one hangs in the kernel: it opens a file on a file
 * system whose server (this test) has taken the request and does not answer it, which not even
 * SIGKILL breaks off (fs/fuse/dev.c, request_wait_answer). Only root may mount, and not everywhere;
 * so the other way is a daemon whose kills do not arrive (failpoint.h), in front of a worker that
 * does not heed SIGTERM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults/fixture.h"

#define MIB (1 << 20)
/* The exit status of a daemon that left one behind; see pool-managerd(8). */
#define LEFT_BEHIND 3

enum kind {
	IN_THE_KERNEL,	     /* it hangs there while it loads */
	WITH_KILLS_WITHHELD, /* it serves, and does not heed SIGTERM */
	WITH_SOUND_KILLS,    /* the same */
};

struct stage {
	struct rig rig;
	enum kind kind;
	int server; /* of the file system; -1: there is none */
	char mounted[256];
	pid_t pid;
	char id[64];
};

static struct stage stage; /* the running test's; its teardown finds it after a failure too */

/* ---- a file system that takes requests and does not answer ---- */

static void read_request(struct fuse_in_header *ret_header)
{
	struct pollfd there = { .fd = stage.server, .events = POLLIN };
	char request[FUSE_MIN_READ_BUFFER];
	ssize_t length;

	assert_int_equal(poll(&there, 1, test_remaining_ms(test_deadline_ms())), 1);
	length = read(stage.server, request, sizeof(request));
	assert_true(length >= (ssize_t)sizeof(*ret_header));
	memcpy(ret_header, request, sizeof(*ret_header));
}

/* The greeting is answered; nobody's request comes before. */
static void greet(void)
{
	struct {
		struct fuse_out_header head;
		struct fuse_init_out init;
	} answer;
	struct fuse_in_header header;

	read_request(&header);
	assert_int_equal(header.opcode, FUSE_INIT);
	memset(&answer, 0, sizeof(answer));
	answer.head.len = sizeof(answer);
	answer.head.unique = header.unique;
	answer.init.major = FUSE_KERNEL_VERSION;
	answer.init.minor = FUSE_KERNEL_MINOR_VERSION;
	answer.init.max_write = 4096;
	assert_int_equal(write(stage.server, &answer, sizeof(answer)), sizeof(answer));
}

/* Below the rig's folder, and for us and our children alone, so that it goes with us. False where
 * it cannot be. */
static bool mount_it(void)
{
	char options[96];

	stage.server = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (stage.server < 0 || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	snprintf(stage.mounted, sizeof(stage.mounted), "%s/device", stage.rig.dir);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 stage.server);
	assert_int_equal(mkdir(stage.mounted, 0700), 0);
	if (mount("device", stage.mounted, "fuse", MS_NOSUID | MS_NODEV, options)) {
		stage.mounted[0] = '\0';
		return false;
	}
	greet();
	return true;
}

/* Whoever waits for it gets an error. */
static void unmount_it(void)
{
	if (stage.server >= 0)
		close(stage.server);
	if (stage.mounted[0])
		umount2(stage.mounted, MNT_DETACH);
	stage.server = -1;
	stage.mounted[0] = '\0';
}

/* ---- a stuck worker ---- */

static void set_up(enum kind kind)
{
	const char *daemon = kind == WITH_KILLS_WITHHELD ? "POOL_MANAGERD_FAULTY"
							 : "POOL_MANAGERD_SOUND";
	char behaviour[320] = "answer=normal\nignore_term=1";

	stage = (struct stage){ .kind = kind, .server = -1 };
	fault_rig_init(&stage.rig, "", "[memory]\ncpu = \"64MiB\"");
	if (kind == IN_THE_KERNEL && !mount_it()) {
		print_message("no file system of our own can be mounted here\n");
		skip();
	}
	if (kind == IN_THE_KERNEL)
		snprintf(behaviour, sizeof(behaviour), "start=gate\ngate=%s/gate", stage.mounted);
	if (kind == WITH_KILLS_WITHHELD)
		setenv("POOL_WITHHOLD_KILLS", "1", 1);
	setenv("POOL_MANAGERD", getenv(daemon), 1);
	rig_model(&stage.rig, "stuck", behaviour,
		  "backend = \"fake\"\nttl = \"2h\"\nest_memory_allocation_mb = 40");
	rig_model(&stage.rig, "m", "answer=normal", "backend = \"fake\"\nttl = \"2h\"");
	rig_model(&stage.rig, "n", "answer=normal", "backend = \"fake\"\nttl = \"2h\"");
	rig_start(&stage.rig);
}

static void start_it(void)
{
	struct fuse_in_header header;

	stage.pid = fault_start_worker(&stage.rig, "stuck", stage.id);
	if (stage.kind != IN_THE_KERNEL) {
		fault_wait_status(&stage.rig, stage.id, "ready");
		return;
	}
	read_request(&header);
	assert_int_equal(header.opcode, FUSE_LOOKUP);
}

static void assert_it_is_there(void)
{
	assert_int_equal(kill(stage.pid, 0), 0);
}

/* Nobody here is its parent. */
static void kill_and_await(pid_t pid)
{
	int pidfd = pidfd_open(pid, 0);
	struct pollfd over = { .fd = pidfd, .events = POLLIN };

	assert_true(pidfd >= 0);
	assert_int_equal(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
	assert_int_equal(poll(&over, 1, test_remaining_ms(test_deadline_ms())), 1);
	close(pidfd);
}

static void kill_daemon(void)
{
	proc_signal(stage.rig.daemon, SIGKILL);
	proc_wait(stage.rig.daemon);
	proc_free(stage.rig.daemon);
	stage.rig.daemon = NULL;
}

/* The driver lets go of it; one that serves is killed past its daemon. */
static void release_it(void)
{
	int pidfd = pidfd_open(stage.pid, 0);
	struct pollfd over = { .fd = pidfd, .events = POLLIN };

	assert_true(pidfd >= 0);
	unmount_it();
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	assert_int_equal(poll(&over, 1, test_remaining_ms(test_deadline_ms())), 1);
	close(pidfd);
}

/* It is on the books, by its name and with its memory, and does nothing any more. */
static void assert_it_is_known(json_int_t others_mib)
{
	json_t *worker = fault_worker(&stage.rig, stage.id);

	assert_string_equal(json_string_value(json_object_get(worker, "status")), "stopping");
	assert_int_equal(json_integer_value(json_object_get(worker, "pid")), stage.pid);
	json_decref(worker);
	assert_int_equal(rig_reserved(&stage.rig), (40 + others_mib) * MIB);
}

/* How it ended, as the registry tells it. */
static void assert_its_end_is_told(const char *part)
{
	json_t *list = rig_get(&stage.rig, "/v2/departed");
	json_t *last = json_array_get(json_object_get(list, "departed"), 0);
	const char *reason = json_string_value(
		json_object_get(json_object_get(last, "exit"), "reason"));

	assert_string_equal(json_string_value(json_object_get(last, "worker_id")), stage.id);
	if (!strstr(reason, part))
		fail_msg("it ended so: %s", reason);
	json_decref(list);
}

static void finish(void)
{
	assert_int_equal(rig_stop(&stage.rig), 0);
	assert_int_equal(fault_processes(&stage.rig), 0);
}

/* ---- scenarios ---- */

/* A second signal has all workers killed. */
static void end_the_daemon_without_it(void)
{
	proc_signal(stage.rig.daemon, SIGTERM);
	proc_wait_line(stage.rig.daemon, "shutting down");
	proc_signal(stage.rig.daemon, SIGTERM);
	proc_wait_line(stage.rig.daemon, "it does not die even by SIGKILL; is a driver stuck?");
	proc_wait_line(stage.rig.daemon, "is left behind");
	assert_int_equal(proc_wait(stage.rig.daemon), LEFT_BEHIND);
	assert_true(proc_has_line(stage.rig.daemon, stage.id));
	proc_free(stage.rig.daemon);
	stage.rig.daemon = NULL;
	assert_it_is_there();
}

static void play(enum kind kind)
{
	set_up(kind);
	start_it();
	fault_chat_ok(&stage.rig, "m");
	end_the_daemon_without_it();

	/* The next one serves at once, and knows of it. */
	rig_start(&stage.rig);
	assert_it_is_there();
	assert_it_is_known(0);
	fault_chat_ok(&stage.rig, "m");
	assert_it_is_known(16);
	if (kind == WITH_KILLS_WITHHELD) {
		/* Its memory is waited for, until it is known that this may be for ever: then "m"
		 * makes room. */
		fault_chat_ok(&stage.rig, "n");
		assert_true(proc_has_line(stage.rig.daemon, "it does not die even by SIGKILL"));
		assert_it_is_known(16);
	}
	assert_it_is_there();
	/* It ends the usual way, when it does. */
	release_it();
	rig_wait_workers(&stage.rig, 1);
	assert_int_equal(rig_reserved(&stage.rig), 16 * MIB);
	/* By the signal that it could not heed, or by the last one. */
	assert_its_end_is_told("stopped: requested");
	finish();
}

static void a_real_one_is_left_behind_and_found_again(void **state)
{
	(void)state;
	play(IN_THE_KERNEL);
}

static void one_that_no_kill_reaches_is_left_behind_and_found_again(void **state)
{
	(void)state;
	play(WITH_KILLS_WITHHELD);
}

/* Its stub, too, was killed with the daemon: only the record and the number tell of it. */
static void one_without_a_stub_is_found_again(void **state)
{
	pid_t stub;

	(void)state;
	set_up(IN_THE_KERNEL);
	start_it();
	stub = getsid(stage.pid);
	kill_daemon();
	kill_and_await(stub);

	rig_start(&stage.rig);
	assert_true(proc_has_line(stage.rig.daemon, "it was killed, and is not gone yet"));
	assert_it_is_there();
	assert_it_is_known(0);
	fault_chat_ok(&stage.rig, "m");
	assert_it_is_known(16);
	/* And by the one after that. */
	kill_daemon();
	rig_start(&stage.rig);
	assert_it_is_known(16);
	release_it();
	rig_wait_workers(&stage.rig, 1);
	assert_int_equal(rig_reserved(&stage.rig), 16 * MIB);
	assert_its_end_is_told("died with its stub");
	finish();
}

/* It is the stub that hangs, and its worker that does not heed SIGTERM: both can be ended. */
static void a_stub_that_hangs_is_ended_with_its_worker(void **state)
{
	(void)state;
	set_up(WITH_SOUND_KILLS);
	start_it();
	assert_int_equal(kill(getsid(stage.pid), SIGSTOP), 0);
	fault_stop_worker(&stage.rig, stage.id);
	rig_wait_workers(&stage.rig, 0);
	assert_int_equal(rig_reserved(&stage.rig), 0);
	assert_false(proc_has_line(stage.rig.daemon, "it does not die even by SIGKILL"));
	finish();
}

static sqlite3 *hold_registry(void)
{
	char path[300];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/state/registry.db", stage.rig.dir);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static void wait_until_its_end_is_known(void)
{
	int64_t deadline = test_deadline_ms();
	bool known;

	do {
		json_t *worker = fault_worker(&stage.rig, stage.id);

		known = json_is_object(json_object_get(worker, "last_exit"));
		json_decref(worker);
		if (!known && test_remaining_ms(deadline) == 0)
			fail_msg("nobody has seen how worker %s ended", stage.id);
	} while (!known);
}

/* Who dies after all is waited for again: its record goes, and nobody says that it was left. */
static void one_that_dies_after_all_is_not_left_behind(void **state)
{
	sqlite3 *db;

	(void)state;
	set_up(WITH_KILLS_WITHHELD);
	start_it();
	fault_stop_worker(&stage.rig, stage.id);
	proc_wait_line(stage.rig.daemon, "it does not die even by SIGKILL");
	db = hold_registry();
	release_it();
	wait_until_its_end_is_known();
	proc_signal(stage.rig.daemon, SIGTERM);
	proc_wait_line(stage.rig.daemon, "shutting down");
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(proc_wait(stage.rig.daemon), 0);
	assert_false(proc_has_line(stage.rig.daemon, "is left behind"));
}

static int clean_up(void **state)
{
	unsetenv("POOL_WITHHOLD_KILLS");
	unmount_it();
	client_close_all();
	/* Daemons first: they would take the end of their workers for deaths. */
	int status = proc_free_all(state);

	stage.rig.daemon = NULL;
	rig_fini(&stage.rig);
	return status;
}

#define SCENARIO(name) cmocka_unit_test_teardown(name, clean_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENARIO(one_that_no_kill_reaches_is_left_behind_and_found_again),
		SCENARIO(a_real_one_is_left_behind_and_found_again),
		SCENARIO(one_without_a_stub_is_found_again),
		SCENARIO(a_stub_that_hangs_is_ended_with_its_worker),
		SCENARIO(one_that_dies_after_all_is_not_left_behind),
	};

	setenv("POOL_MANAGERD_SOUND", getenv("POOL_MANAGERD"), 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
