/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of the log that pool-stub keeps of its worker, and of the reports in which it arrives.
 *
 *	test_stub_log POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lifecycle/report.h"
#include "stub_fixture.h"

/* Reads on until the log ends so. */
static void await_log_end(struct watched *w, const char *text)
{
	size_t length = strlen(text);

	while (w->log_length < length || strcmp(w->log + w->log_length - length, text) != 0)
		assert_true(watch_once(w));
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

/* The worker never waits for a reader: the newest stays, and what is told as lost is exactly what
 * is missing. */
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

static void write_report(int fd, const struct pc_report *report)
{
	char bytes[PIPE_BUF];
	size_t length = pc__report_encode(report, bytes);

	assert_int_equal(write(fd, bytes, length), length);
}

/* What an adopted stub had said to an earlier daemon is not for us. */
static void reports_before_the_replay(void **state)
{
	static struct watched w;
	const struct pc_report reports[] = {
		{ .kind = PC_REPORT_STARTED, .pid = 77 },
		{ .kind = PC_REPORT_LOG, .data = "old", .length = 3 },
		{ .kind = PC__REPORT_REPLAY },
		{ .kind = PC_REPORT_STARTED, .pid = 78 },
		{ .kind = PC_REPORT_LOG, .data = "new", .length = 3 },
		/* A second one changes nothing. */
		{ .kind = PC__REPORT_REPLAY },
		{ .kind = PC_REPORT_LOG, .data = "er", .length = 2 },
	};
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
	w.stub = (struct pc_stub){ .pidfd = -1, .report_fd = ends[0], .awaits_replay = true };
	for (size_t i = 0; i < PC_ARRAY_LEN(reports); i++)
		write_report(ends[1], &reports[i]);
	assert_int_equal(pc_stub_read(&w.stub, note_report, &w), 0);
	assert_int_equal(w.started, 1);
	assert_int_equal(w.pid, 78);
	assert_string_equal(w.log, "newer");
	close(ends[1]);
	pc_stub_close(&w.stub);
}

/* More than the stub reads in one turn of its loop, which finds the worker dead in the same turn:
 * its pipe is made larger and it dies while the stub is stopped. */
static void what_was_written_last(void **state)
{
	struct watched *w = start("echo up; read x <$GO; head -c 300000 /dev/zero; "
				  "echo 'the end'; exit 5");
	char path[64];
	int output, status;

	(void)state;
	await_log(w, "up\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/1", w->pid);
	output = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fcntl(output, F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
	close(output);

	int worker = open_process(w->pid);

	assert_int_equal(kill(w->stub.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(w->stub.pid, &status, WUNTRACED), w->stub.pid);
	let_go();
	await_death(worker);
	assert_int_equal(kill(w->stub.pid, SIGCONT), 0);
	settle(w);
	assert_int_equal(w->end.exit.code, 5);
	assert_string_equal(w->end.log_tail + strlen(w->end.log_tail) - 8, "the end\n");
	forget(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_comes_as_it_is_written),
		cmocka_unit_test(a_log_that_nobody_reads_in_time),
		cmocka_unit_test(an_end_that_nobody_hears),
		cmocka_unit_test(a_slow_reader_misses_nothing),
		cmocka_unit_test(where_the_tail_begins),
		cmocka_unit_test(output_that_is_closed_early),
		cmocka_unit_test(reports_that_are_none),
		cmocka_unit_test(reports_cut_in_two),
		cmocka_unit_test(reports_before_the_replay),
		cmocka_unit_test(what_was_written_last),
	};

	if (argc != 2) {
		fputs("usage: test_stub_log POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
