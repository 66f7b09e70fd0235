/* SPDX-License-Identifier: MIT */
/*
 * test_pace.c - when a worker that loads is asked: against servers of several habits, on a clock
 * that only the test moves. What each server writes decides what is asked of it, and the other way
 * round, so that a loop between the two would show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/clock.h>

#include "daemon/pace.h"

#define MS PC_NS_PER_MS
#define SEC PC_NS_PER_SEC
#define BEGUN (UINT64_C(7) * SEC)

/* A server that loads. Times of zero: never. */
struct habits {
	uint64_t load_ns;
	uint64_t listens_ns;  /* after its start; 0: at once */
	uint64_t answer_ns;   /* how long an answer takes */
	uint64_t line_ns;     /* it writes a line so often */
	const char *own_line; /* what it writes of a question that it answers with 503 */
	uint64_t own_ns;      /* so long after the answer */
	bool is_announced;    /* it says when it is ready */
};

struct outcome {
	unsigned asked;
	unsigned lines;	  /* of its own, not those of answers */
	uint64_t late_ns; /* from readiness to the answer that says it */
};

/* The earliest of the things that can come next. */
static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

static void hear(struct pace *pace, const char *line)
{
	if (!pace_is_own(line, "/health"))
		pace_heard(pace);
}

static struct outcome load(const struct habits *server)
{
	const uint64_t ready_ns = BEGUN + server->load_ns;
	uint64_t answer_ns = PC_TIME_NEVER, own_ns = PC_TIME_NEVER;
	uint64_t line_ns = server->line_ns ? BEGUN + server->line_ns : PC_TIME_NEVER;
	uint64_t say_ns = server->is_announced ? ready_ns : PC_TIME_NEVER;
	enum pace_answer answer = PACE_DEAF;
	struct outcome outcome = { 0 };
	bool is_yes = false;
	uint64_t now_ns = BEGUN;
	struct pace pace;

	pace_begin(&pace, BEGUN);
	for (;;) {
		uint64_t ask_ns = pace_next_ns(&pace);

		ask_ns = ask_ns > now_ns ? ask_ns : now_ns; /* what has passed is now */
		now_ns = earlier(earlier(ask_ns, answer_ns),
				 earlier(own_ns, earlier(line_ns, say_ns)));

		assert_true(now_ns < ready_ns + 10 * SEC); /* it is noticed at all */
		if (now_ns == say_ns) {
			hear(&pace, "main: model loaded");
			say_ns = PC_TIME_NEVER;
		} else if (now_ns == line_ns) {
			hear(&pace, "load_tensors: .....");
			outcome.lines += now_ns <= ready_ns;
			line_ns = now_ns < ready_ns ? now_ns + server->line_ns : PC_TIME_NEVER;
		} else if (now_ns == own_ns) {
			hear(&pace, server->own_line);
			own_ns = PC_TIME_NEVER;
		} else if (now_ns == answer_ns && is_yes) {
			outcome.late_ns = now_ns - ready_ns;
			return outcome;
		} else if (now_ns == answer_ns) {
			pace_answered(&pace, answer, now_ns);
			answer_ns = PC_TIME_NEVER;
			if (answer == PACE_LOADING && server->own_line)
				own_ns = now_ns + server->own_ns;
		} else {
			pace_asked(&pace, now_ns);
			outcome.asked++;
			answer = now_ns < BEGUN + server->listens_ns ? PACE_DEAF : PACE_LOADING;
			is_yes = now_ns >= ready_ns;
			answer_ns = now_ns + server->answer_ns;
		}
	}
}

static const uint64_t loads_ns[] = { MS,       17 * MS,	 400 * MS,  3 * SEC,
				     11 * SEC, 47 * SEC, 333 * SEC, 3600 * SEC };

#define LOADS (sizeof(loads_ns) / sizeof(loads_ns[0]))
#define ANSWER (MS / 2)

static uint64_t net_bound(uint64_t load_ns)
{
	uint64_t ns = load_ns / 100;

	ns = ns < PACE_MIN_MS * MS ? PACE_MIN_MS * MS : ns;
	return ns > PACE_MAX_MS * MS ? PACE_MAX_MS * MS : ns;
}

/* ---- the net ---- */

static void who_does_not_listen_is_asked_often(void **state)
{
	(void)state;
	for (size_t i = 0; i < LOADS; i++) {
		const struct habits server = { .load_ns = loads_ns[i],
					       .listens_ns = loads_ns[i],
					       .answer_ns = ANSWER };

		assert_true(load(&server).late_ns <= PACE_MIN_MS * MS + 2 * ANSWER);
	}
}

static void silence_is_noticed_by_the_net(void **state)
{
	uint64_t late_ns = 0;

	(void)state;
	/* So many that the end of the load falls everywhere between two questions. */
	for (uint64_t load_ns = MS; load_ns < 60 * SEC; load_ns += 93 * MS) {
		const struct habits server = { .load_ns = load_ns, .answer_ns = ANSWER };
		struct outcome outcome = load(&server);

		assert_true(outcome.late_ns <= net_bound(load_ns) + 2 * ANSWER);
		/* Every 5 ms up to 0.5 s, each distance a hundredth longer up to 25 s, four a
		 * second. */
		assert_true(outcome.asked <= 100 + 394 + load_ns / (PACE_MAX_MS * MS) + 1);
		late_ns = outcome.late_ns > late_ns ? outcome.late_ns : late_ns;
	}
	assert_true(late_ns > PACE_MAX_MS * MS * 9 / 10); /* or the loads say nothing */
}

static void what_cannot_be_asked_is_asked_later(void **state)
{
	struct pace pace;

	(void)state;
	pace_begin(&pace, BEGUN);
	assert_int_equal(pace_next_ns(&pace), BEGUN + PACE_MIN_MS * MS);
	pace_asked(&pace, BEGUN + 6 * MS);
	assert_int_equal(pace_next_ns(&pace), PC_TIME_NEVER);
	pace_answered(&pace, PACE_UNASKED, BEGUN + 6 * MS);
	assert_int_equal(pace_next_ns(&pace), BEGUN + (6 + PACE_MAX_MS) * MS);
}

/* ---- cues ---- */

static void an_announcement_is_answered_at_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < LOADS; i++) {
		const struct habits server = { .load_ns = loads_ns[i],
					       .answer_ns = ANSWER,
					       .is_announced = true };

		assert_true(load(&server).late_ns <= PACE_MIN_MS * MS + 2 * ANSWER);
	}
}

/* A line each second: always within the burst, for it is paid for ten times over. */
static void talk_does_not_make_it_late(void **state)
{
	(void)state;
	for (size_t i = 0; i < LOADS; i++) {
		struct habits server = { .load_ns = loads_ns[i],
					 .answer_ns = ANSWER,
					 .line_ns = SEC,
					 .is_announced = true };
		struct outcome silent, talking = load(&server);

		server.line_ns = 0;
		silent = load(&server);
		assert_true(talking.late_ns <= PACE_MIN_MS * MS + 2 * ANSWER);
		assert_true(talking.asked <= silent.asked + talking.lines);
	}
}

static void its_own_lines_are_no_cues(void **state)
{
	static const char *const own_lines[] = {
		"srv  log_server_r: done request: GET /health 127.0.0.1 503",
		"INFO:     127.0.0.1:52999 - \"GET /health HTTP/1.1\" 503 Service Unavailable",
	};

	(void)state;
	for (size_t i = 0; i < LOADS * 2; i++) {
		struct habits server = { .load_ns = loads_ns[i / 2],
					 .answer_ns = ANSWER,
					 .own_line = own_lines[i % 2],
					 .own_ns = MS / 10,
					 .is_announced = true };
		struct outcome logging = load(&server), silent;

		server.own_line = NULL;
		silent = load(&server);
		assert_int_equal(logging.asked, silent.asked);
		assert_int_equal(logging.late_ns, silent.late_ns);
	}
}

/* Answers that leave lines which do not name the path, and a bar of progress: ten a second. */
static void what_is_taken_for_cues_is_bounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < LOADS * 2; i++) {
		struct habits server = { .load_ns = loads_ns[i / 2],
					 .answer_ns = ANSWER,
					 .is_announced = true };
		unsigned silent = load(&server).asked;
		unsigned more = (unsigned)(PACE_BURST + server.load_ns / (PACE_PERIOD_MS * MS) + 1);
		struct outcome outcome;

		if (i % 2)
			server.own_line = "W 503 Service Unavailable";
		else
			server.line_ns = 10 * MS;
		outcome = load(&server);
		assert_true(outcome.asked <= silent + more);
		assert_true(outcome.late_ns <= PACE_PERIOD_MS * MS + 2 * ANSWER);
		assert_true(outcome.late_ns <= net_bound(server.load_ns) + 2 * ANSWER);
	}
}

static void the_end_of_a_burst_is_answered(void **state)
{
	struct pace pace;
	uint64_t now_ns = BEGUN + 30 * SEC;

	(void)state;
	pace_begin(&pace, BEGUN);
	pace_asked(&pace, now_ns);
	pace_answered(&pace, PACE_LOADING, now_ns);
	assert_int_equal(pace_next_ns(&pace), now_ns + PACE_MAX_MS * MS);

	/* The first line is answered at once, the next ones together. */
	now_ns += 100 * MS;
	pace_heard(&pace);
	assert_true(pace_next_ns(&pace) <= now_ns);
	pace_asked(&pace, now_ns);
	pace_heard(&pace);
	pace_heard(&pace);
	assert_int_equal(pace_next_ns(&pace), PC_TIME_NEVER);
	pace_answered(&pace, PACE_LOADING, now_ns + MS);
	assert_int_equal(pace_next_ns(&pace), now_ns + PACE_MIN_MS * MS);

	/* And then there is peace. */
	pace_asked(&pace, now_ns + PACE_MIN_MS * MS);
	pace_answered(&pace, PACE_LOADING, now_ns + PACE_MIN_MS * MS);
	assert_int_equal(pace_next_ns(&pace), now_ns + (PACE_MIN_MS + PACE_MAX_MS) * MS);
}

/* A timer may be a little early: what nobody has cued is the net's all the same, and free. */
static void early_questions_of_the_net_are_free(void **state)
{
	struct pace pace;
	uint64_t now_ns = BEGUN;

	(void)state;
	pace_begin(&pace, BEGUN);
	while (now_ns < BEGUN + 29 * SEC) {
		now_ns = pace_next_ns(&pace) - MS / 2;
		pace_asked(&pace, now_ns);
		pace_answered(&pace, PACE_LOADING, now_ns);
	}
	/* Into a load whose net is wide, so that only a cue can bring the next one. */
	now_ns = BEGUN + 30 * SEC;
	pace_asked(&pace, now_ns);
	pace_answered(&pace, PACE_LOADING, now_ns);
	for (int i = 0; i < PACE_BURST; i++) {
		pace_heard(&pace);
		assert_int_equal(pace_next_ns(&pace), now_ns + PACE_MIN_MS * MS);
		now_ns = pace_next_ns(&pace);
		pace_asked(&pace, now_ns);
		pace_answered(&pace, PACE_LOADING, now_ns);
	}
}

/* ---- the invariants of pace.h under random events ---- */

static uint64_t draw(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

/* When a cue of now would be answered at the latest: while it is asked, after the answer. */
static void assert_cue_is_kept(const struct pace *pace, uint64_t now_ns, uint64_t cues,
			       uint64_t first_cue_ns)
{
	uint64_t next_ns = pace_next_ns(pace);
	uint64_t bound_ns = now_ns + PACE_MIN_MS * MS;

	/* A burst that is used up holds it back, and no longer than a period. */
	if (cues >= PACE_BURST && now_ns < first_cue_ns + cues * PACE_PERIOD_MS * MS)
		bound_ns = now_ns + PACE_PERIOD_MS * MS;
	assert_true(next_ns == PC_TIME_NEVER || next_ns <= bound_ns);
}

static void random_events_break_nothing(void **state)
{
	uint64_t seed = 88172645463325252;

	(void)state;
	for (unsigned run = 0; run < 200; run++) {
		uint64_t now_ns = BEGUN, asked_ns = 0, first_cue_ns = 0, cues = 0, lines = 0;
		uint64_t gap_ns = 1 + draw(&seed, 40 * MS);
		bool is_asking = false, owes = false;
		struct pace pace;

		pace_begin(&pace, now_ns);
		for (unsigned step = 0; step < 5000; step++) {
			uint64_t next_ns = pace_next_ns(&pace);

			assert_int_equal(next_ns == PC_TIME_NEVER, is_asking);
			now_ns += draw(&seed, gap_ns);
			if (is_asking && draw(&seed, 2)) {
				pace_answered(&pace, (enum pace_answer)draw(&seed, 3), now_ns);
				is_asking = false;
			} else if (draw(&seed, 3) == 0) {
				pace_heard(&pace);
				owes = true;
				lines++;
			} else if (next_ns <= now_ns) {
				bool is_cue = next_ns < pace.net_ns;

				/* 2 and 4 */
				assert_true(now_ns >= asked_ns + PACE_MIN_MS * MS);
				cues += is_cue && now_ns < pace.net_ns;
				if (cues == 1 && first_cue_ns == 0)
					first_cue_ns = now_ns;
				if (cues > PACE_BURST)
					assert_true(now_ns >=
						    first_cue_ns + (cues - PACE_BURST) *
									   PACE_PERIOD_MS * MS);
				assert_true(cues <= lines); /* 3 */
				pace_asked(&pace, now_ns);
				asked_ns = now_ns;
				is_asking = true;
				owes = false;
			}
			if (owes) /* 1 */
				assert_cue_is_kept(&pace, now_ns, cues, first_cue_ns);
		}
	}
}

/* ---- whose line it is ---- */

static void a_line_is_its_own_when_it_names_the_path(void **state)
{
	static const struct {
		const char *line, *path;
		bool is_own;
	} cases[] = {
		{ "srv  log_server_r: done request: GET /health 127.0.0.1 503", "/health", true },
		{ "\"GET /health HTTP/1.1\" 503", "/health", true },
		{ "{\"path\":\"/health\",\"status\":503}", "/health", true },
		{ "GET /health?now=1 503", "/health", true },
		{ "GET /health", "/health", true },
		{ "the weights of /healthy are there, see /health", "/health", true },
		{ "main: model loaded", "/health", false },
		{ "", "/health", false },
		{ "loading /models/healthy.gguf", "/health", false },
		{ "loading /healthy/m.gguf", "/health", false },
		{ "loading /health/m.gguf", "/health", false },
		{ "\"GET / HTTP/1.1\" 503", "/", true },
		{ "server is listening on http://127.0.0.1:8080", "/", false },
		{ "GET /v1/models 503", "/v1/models", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (pace_is_own(cases[i].line, cases[i].path) != cases[i].is_own)
			fail_msg("\"%s\" and %s", cases[i].line, cases[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_does_not_listen_is_asked_often),
		cmocka_unit_test(silence_is_noticed_by_the_net),
		cmocka_unit_test(what_cannot_be_asked_is_asked_later),
		cmocka_unit_test(an_announcement_is_answered_at_once),
		cmocka_unit_test(talk_does_not_make_it_late),
		cmocka_unit_test(its_own_lines_are_no_cues),
		cmocka_unit_test(what_is_taken_for_cues_is_bounded),
		cmocka_unit_test(the_end_of_a_burst_is_answered),
		cmocka_unit_test(early_questions_of_the_net_are_free),
		cmocka_unit_test(random_events_break_nothing),
		cmocka_unit_test(a_line_is_its_own_when_it_names_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
