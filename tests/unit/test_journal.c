/* SPDX-License-Identifier: MIT */
/* Unit tests of daemon/journal.c: a pipe that nobody reads. A write that waits would hang the
 * test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/journal.h"

struct stage {
	struct journal journal;
	int reader;
	unsigned written; /* lines that were logged */
	char *text;	  /* what was read, all of it */
	size_t length;
};

static void stage_init(struct stage *stage, pc_log_hook sink)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	*stage = (struct stage){
		.journal = { .sink = sink,
			     .file = fdopen(ends[1], "w"),
			     .lock = PTHREAD_MUTEX_INITIALIZER },
		.reader = ends[0],
		.text = calloc(1, 1),
	};
	assert_non_null(stage->journal.file);
	pc_log_set(journal_write, &stage->journal, PC_LOG_DEBUG);
}

static void stage_fini(struct stage *stage)
{
	pc_log_set(NULL, NULL, PC_LOG_DEBUG);
	fclose(stage->journal.file);
	if (stage->reader >= 0)
		close(stage->reader);
	free(stage->text);
}

/* Logs until a line is lost, and `more` after it. */
static void fill(struct stage *stage, unsigned more)
{
	while (stage->journal.lost_lines < 1 + more) {
		stage->written++;
		pc_log(PC_LOG_INFO, "m", PC_NO_FIELDS, "line %u.", stage->written);
	}
}

static void drain(struct stage *stage)
{
	ssize_t got;

	do {
		stage->text = realloc(stage->text, stage->length + 4097);
		assert_non_null(stage->text);
		got = read(stage->reader, stage->text + stage->length, 4096);
		stage->length += got > 0 ? (size_t)got : 0;
		stage->text[stage->length] = '\0';
	} while (got > 0);
}

static unsigned count(const char *text, const char *what)
{
	unsigned found = 0;

	while ((text = strstr(text, what))) {
		text++;
		found++;
	}
	return found;
}

static void nobody_waits_for_a_reader(void **state)
{
	struct stage stage;

	(void)state;
	stage_init(&stage, pc_log_sink_human);
	fill(&stage, 6);
	drain(&stage);
	/* Whole lines, and none of those that were lost. */
	assert_int_equal(count(stage.text, "\n"), stage.written - 7);
	assert_int_equal(count(stage.text, " m line "), stage.written - 7);
	assert_int_equal(stage.text[stage.length - 1], '\n');

	pc_log(PC_LOG_INFO, "m", PC_NO_FIELDS, "again");
	stage.length = 0;
	drain(&stage);
	assert_non_null(strstr(stage.text, " warn  log 7 lines are missing here: nobody read them "
					   "in time\n"));
	assert_non_null(strstr(stage.text, " info  m again\n"));
	pc_log(PC_LOG_INFO, "m", PC_NO_FIELDS, "and again");
	stage.length = 0;
	drain(&stage);
	assert_int_equal(count(stage.text, "missing"), 0);
	stage_fini(&stage);
}

/* Room for the word on the lost lines, and for no more: what follows is lost anew. */
static void there_may_be_little_room(void **state)
{
	char page[PIPE_BUF];
	struct stage stage;

	(void)state;
	stage_init(&stage, pc_log_sink_json);
	/* The smallest pipe has one page; what one write leaves of it no other may begin in. */
	assert_true(fcntl(fileno(stage.journal.file), F_SETPIPE_SZ, PIPE_BUF) >= PIPE_BUF);
	memset(page, '-', sizeof(page));
	assert_int_equal(write(fileno(stage.journal.file), page, sizeof(page)), sizeof(page));
	fill(&stage, 0);
	drain(&stage);
	pc_log(PC_LOG_INFO, "m", PC_NO_FIELDS, "again");
	assert_int_equal(stage.journal.lost_lines, 1);
	stage.length = 0;
	drain(&stage);
	assert_int_equal(count(stage.text, "1 lines are missing here"), 1);
	assert_int_equal(count(stage.text, "again"), 0);
	stage_fini(&stage);
}

/* Not lost for want of room: the write meets the error itself. */
static void a_reader_that_left_is_no_reason_to_wait(void **state)
{
	struct stage stage;

	(void)state;
	stage_init(&stage, pc_log_sink_human);
	close(stage.reader);
	stage.reader = -1;
	for (unsigned i = 0; i < 3; i++)
		pc_log(PC_LOG_INFO, "m", PC_NO_FIELDS, "line");
	assert_int_equal(stage.journal.lost_lines, 0);
	stage_fini(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_for_a_reader),
		cmocka_unit_test(there_may_be_little_room),
		cmocka_unit_test(a_reader_that_left_is_no_reason_to_wait),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
