/* SPDX-License-Identifier: MIT */
/*
 * pace.h - when a worker that loads is asked whether it has loaded. A state machine without clock
 * and I/O: it is told what happens and when, and says when to ask next.
 *
 *	pace_begin ──► waiting ── pace_asked ──► asking
 *	                  ▲ │ pace_heard           │ │ pace_heard
 *	                  └─┴──── pace_answered ───┴─┘
 *
 * Two things make it ask. The net, whatever the worker does: every PACE_MIN_MS while nobody
 * listens, then so often that readiness is noticed within a hundredth of the load, at most
 * PACE_MAX_MS late. And cues: a worker that has become ready says so in its log, so that a line of
 * output is a reason to ask at once.
 *
 * What holds of cues:
 *
 * 1. The last line of a burst is followed by a question: one that is heard while the worker is
 *    asked counts again when the answer is there.
 * 2. Questions are PACE_MIN_MS apart, however many lines come between them.
 * 3. A line brings one question at most. So cues alone never write more into a log than the worker
 *    itself, if an answer is one line there; and an answer that is no cue brings none.
 * 4. Of n questions that cues bring, the last comes (n - PACE_BURST) * PACE_PERIOD_MS after the
 *    first or later: a bar of progress, or answers that are taken for cues, cost ten a second.
 *
 * How late the readiness is noticed of a worker that says it when it is so: PACE_MIN_MS and an
 * answer's time, unless its output has used up the burst: then PACE_PERIOD_MS, and never more than
 * without cues. One that says it before it is so, or not at all, is noticed by the net.
 */
#ifndef DAEMON_PACE_H
#define DAEMON_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* All figures are guesses; change freely. */
#define PACE_MIN_MS 5
#define PACE_MAX_MS 250
#define PACE_PERIOD_MS 100
/* What llama-server says of a model in the second before it serves comes in fewer bursts. */
#define PACE_BURST 40

enum pace_answer {
	PACE_DEAF,    /* nobody listens, or what answers is no HTTP */
	PACE_LOADING, /* it answers, but not with 200 */
	PACE_UNASKED, /* it could not be asked: no memory, no descriptor */
};

/* Read by nobody but pace.c. */
struct pace {
	uint64_t begun_ns;
	uint64_t asked_ns; /* when the last question began */
	uint64_t net_ns;   /* when it is asked whatever it says */
	uint64_t paid_ns;  /* each cue pays for a period; until when they have paid */
	bool is_asking;
	bool is_cued; /* a line has come since it was asked */
};

/* The load begins; nobody has been asked. */
void pace_begin(struct pace *pace, uint64_t now_ns);
void pace_asked(struct pace *pace, uint64_t now_ns);
void pace_answered(struct pace *pace, enum pace_answer answer, uint64_t now_ns);
/* It wrote a line that is not its answer's own (pace_is_own). */
void pace_heard(struct pace *pace);
/* When to ask; may have passed. PC_TIME_NEVER while it is being asked. */
uint64_t pace_next_ns(const struct pace *pace);

/*
 * Whether a line tells of the question itself: servers write down whom they have answered, and a
 * cue of that would be the next one's cause. Such a line names the path that was asked, whatever
 * else stands in it. llama-server: "srv  log_server_r: done request: GET /health 127.0.0.1 503"
 * (nothing at all since February 2026); uvicorn: 'INFO:     127.0.0.1:52999 - "GET /health
 * HTTP/1.1" 503'.
 */
bool pace_is_own(const char *line, const char *path);

#endif
