/* SPDX-License-Identifier: MIT */
/*
 * test_callbacks.c - thousands of reports of readiness that are wrong, late, repeated, foreign or
 * no reports at all. Each gets the answer that says what is wrong with it, and nothing changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

#define READY_PATH "/v2/internal/workers/ready"
#define CALLERS 4

struct party {
	char id[64];
	char token[64];
};

struct stage {
	struct rig rig;
	struct campaign campaign;
	struct party waiting;  /* has not reported yet */
	struct party serving;  /* has */
	struct party departed; /* is gone */
};

/*
 * One kind of report: its answer, and the body with %1$s for a worker's id, %2$s for its token,
 * %3$s for another worker's token and %4$u for a random number.
 */
enum subject { WAITING, SERVING, DEPARTED };

static const struct kind {
	enum subject subject;
	int status;
	const char *code; /* NULL: 204 has none */
	const char *body;
} kinds[] = {
	/* wrong */
	{ WAITING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':'%4$032u'}" },
	{ WAITING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':''}" },
	{ WAITING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':'%2$.31s'}" },
	{ WAITING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':'%2$s0'}" },
	{ WAITING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':' %2$s'}" },
	{ WAITING, 401, "UNAUTHORIZED",
	  "{'worker_id':'%1$s','spawn_token':'%4$u','vram_bytes':9223372036854775807}" },
	{ SERVING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':'%4$032u'}" },
	/* foreign: another worker's token, a worker that never was */
	{ WAITING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':'%3$s'}" },
	{ SERVING, 401, "UNAUTHORIZED", "{'worker_id':'%1$s','spawn_token':'%3$s'}" },
	{ WAITING, 404, "WORKER_NOT_FOUND", "{'worker_id':'w-%4$u','spawn_token':'%2$s'}" },
	{ WAITING, 404, "WORKER_NOT_FOUND", "{'worker_id':'%1$s%4$u','spawn_token':'%2$s'}" },
	{ WAITING, 400, "INVALID_REQUEST", "{'worker_id':'','spawn_token':'%2$s'}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%4$09999u','spawn_token':'%2$s','uri':'%4$09999u'}" },
	/* late: it is gone */
	{ DEPARTED, 404, "WORKER_NOT_FOUND", "{'worker_id':'%1$s','spawn_token':'%2$s'}" },
	{ DEPARTED, 404, "WORKER_NOT_FOUND", "{'worker_id':'%1$s','spawn_token':'%4$032u'}" },
	/* repeated: right, and known already */
	{ SERVING, 204, NULL, "{'worker_id':'%1$s','spawn_token':'%2$s'}" },
	{ SERVING, 204, NULL,
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':9223372036854775807}" },
	{ SERVING, 204, NULL,
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':%4$u,'uri':'http://192.0.2.1/'}" },
	/* numbers that are none, or too large */
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':-1}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':1.5}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':'%4$u'}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':true}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':99999999999999999999}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','vram_bytes':1e999}" },
	/* what is not said as it should be */
	{ WAITING, 400, "INVALID_REQUEST", "{'worker_id':'%1$s'}" },
	{ WAITING, 400, "INVALID_REQUEST", "{'spawn_token':'%2$s'}" },
	{ WAITING, 400, "INVALID_REQUEST", "{'worker_id':7,'spawn_token':'%2$s'}" },
	{ WAITING, 400, "INVALID_REQUEST", "{'worker_id':'%1$s','spawn_token':['%2$s']}" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','status':'ready'}" },
	{ WAITING, 400, "INVALID_REQUEST", "[{'worker_id':'%1$s','spawn_token':'%2$s'}]" },
	{ WAITING, 400, "INVALID_REQUEST",
	  "{'worker_id':'%1$s','spawn_token':'%2$s','spawn_token':'%4$u'}" },
	{ WAITING, 400, "INVALID_REQUEST", "{'worker_id':'%1$s\\u0000','spawn_token':'%2$s'}" },
	/* no JSON */
	{ WAITING, 400, "INVALID_JSON", "" },
	{ WAITING, 400, "INVALID_JSON", "{'worker_id':'%1$s','spawn_token':'%2$s'" },
	{ WAITING, 400, "INVALID_JSON", "{'worker_id':'%1$s','spawn_token':'%2$s'}}" },
	{ WAITING, 400, "INVALID_JSON", "worker_id=%1$s&spawn_token=%2$s" },
	{ WAITING, 400, "INVALID_JSON", "{'worker_id':'\xff%1$s','spawn_token':'%2$s'}" },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- the stage ---- */

static void cast(struct stage *stage, struct party *party, const char *model)
{
	pid_t pid = fault_start_worker(&stage->rig, model, party->id);
	char *token = NULL;
	int64_t deadline = test_deadline_ms();

	/* Until it executes its program, its environment is its parent's. */
	while (!(token = fault_environ(pid, "FAKE_TOKEN"))) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("worker %s was given no token", party->id);
	}
	assert_int_equal(snprintf(party->token, sizeof(party->token), "%s", token), 32);
	free(token);
}

static int report(struct stage *stage, const struct party *party, const char *more)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"worker_id\":\"%s\",\"spawn_token\":\"%s\"%s}", party->id,
		 party->token, more);

	struct client *client = client_open(stage->rig.address);

	client_request(client, "POST", READY_PATH, NULL, body);

	int status = client_status(client);

	client_close(client);
	return status;
}

static void set_stage(struct stage *stage)
{
	struct rig *rig = &stage->rig;

	fault_rig_init(rig, "", "[memory]\ncpu = \"1GiB\"");
	rig_model(rig, "waiting", "answer=normal", "backend = \"silent\"");
	rig_model(rig, "serving", "answer=normal", "backend = \"silent\"");
	rig_model(rig, "departed", "answer=normal", "backend = \"silent\"");
	rig_start(rig);
	cast(stage, &stage->waiting, "waiting");
	cast(stage, &stage->serving, "serving");
	cast(stage, &stage->departed, "departed");
	assert_int_equal(report(stage, &stage->serving, ""), 204);
	fault_wait_status(rig, stage->serving.id, "ready");
	fault_stop_worker(rig, stage->departed.id);
	fault_wait_status(rig, stage->departed.id, "stopped");
}

/* ---- the reports ---- */

static const char *fill(const struct stage *stage, const struct kind *kind, unsigned number)
{
	static char body[65536];
	const struct party *const parties[] = { &stage->waiting, &stage->serving,
						&stage->departed };
	const struct party *party = parties[kind->subject];
	const struct party *other = kind->subject == WAITING ? &stage->serving : &stage->waiting;

	snprintf(body, sizeof(body), kind->body, party->id, party->token, other->token, number);
	for (char *at = body; *at; at++) {
		if (*at == '\'')
			*at = '"';
	}
	return body;
}

static void judge(struct client *client, const struct kind *kind, const char *body)
{
	int status = client_status(client);
	size_t length;

	if (status != kind->status)
		fail_msg("%d, not %d, for %.300s", status, kind->status, body);
	if (!kind->code) {
		free(client_body(client, &length));
		assert_int_equal(length, 0);
		return;
	}

	json_t *answer = client_json(client);

	if (strcmp(error_code(answer), kind->code) != 0)
		fail_msg("%s, not %s, for %.300s", error_code(answer), kind->code, body);
	json_decref(answer);
}

/* Everything of the state that a report could change, as text; free(3) it. */
static char *state_text(struct rig *rig)
{
	json_t *state = rig_get(rig, "/v2/state");
	json_t *worker;
	size_t i;

	json_array_foreach(json_object_get(state, "workers"), i, worker)
	{
		json_object_del(worker, "idle_ms");
	}

	json_t *facts = json_pack(
		"{s:O, s:O, s:O}", "workers", json_object_get(state, "workers"), "counters",
		json_object_get(state, "counters"), "reserved",
		json_object_get(json_array_get(json_object_get(state, "devices"), 0),
				"reserved_bytes"));
	char *text = json_dumps(facts, JSON_SORT_KEYS | JSON_INDENT(1));

	assert_non_null(text);
	json_decref(facts);
	json_decref(state);
	return text;
}

static void send_reports(struct stage *stage)
{
	struct client *callers[CALLERS];
	unsigned long answers[KINDS] = { 0 };

	for (size_t i = 0; i < CALLERS; i++)
		callers[i] = client_open(stage->rig.address);
	for (unsigned i = 0; i < stage->campaign.rounds; i++) {
		/* Each kind once, and then as it comes. */
		size_t which = i < KINDS ? i : campaign_below(&stage->campaign, KINDS);
		struct client *client = callers[campaign_below(&stage->campaign, CALLERS)];
		const char *body = fill(stage, &kinds[which],
					(unsigned)campaign_below(&stage->campaign, 1000000));

		client_request(client, "POST", READY_PATH, NULL, body);
		judge(client, &kinds[which], body);
		answers[which]++;
	}
	for (size_t i = 0; i < CALLERS; i++)
		client_close(callers[i]);
	for (size_t i = 0; i < KINDS; i++)
		assert_true(answers[i] > 0);
}

static void wrong_reports_change_nothing(void **state)
{
	struct stage stage = { .campaign = campaign_begin("ready callbacks", 10000, 10000) };
	struct rig *rig = &stage.rig;
	char *before, *after;
	size_t descriptors;

	(void)state;
	set_stage(&stage);
	before = state_text(rig);
	descriptors = fault_descriptors(rig);
	send_reports(&stage);
	after = state_text(rig);
	assert_string_equal(before, after);
	fault_wait_descriptors(rig, descriptors);
	free(before);
	free(after);

	/* After all this the right one is believed. */
	assert_int_equal(report(&stage, &stage.waiting, ",\"vram_bytes\":33554432"), 204);
	fault_wait_status(rig, stage.waiting.id, "ready");
	assert_int_equal(rig_reserved(rig), (16 + 32) << 20);
	fault_chat_ok(rig, "waiting");
	fault_chat_ok(rig, "serving");
	assert_int_equal(rig_counter(rig, "spawned"), 3);
	fault_assert_books(rig);
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(wrong_reports_change_nothing, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
