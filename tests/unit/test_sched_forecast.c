/* SPDX-License-Identifier: MIT */
/* Scenarios of forecasts: what would become of a request (src/sched/forecast.c, explain.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "tests/unit/sched_body.h"

static struct pc_sched_forecast foresee(struct pc_sched_model *model)
{
	struct pc_ticket probe = { .model = model };
	struct pc_sched_forecast forecast;

	pc_sched_explain(body.sched, body.now_ns, &probe, &forecast);
	return forecast;
}

#define foreseen(model, expected_kind, expected_text) \
	do { \
		struct pc_sched_forecast forecast_ = foresee(model); \
		assert_int_equal(forecast_.kind, expected_kind); \
		assert_string_equal(forecast_.text, expected_text); \
	} while (0)

static void a_forecast_says_what_would_become_of_a_request(void **state)
{
	struct pc_sched_model *a = add_simple("a", 6 * GIB), *b = add_simple("b", 6 * GIB);
	struct pc_sched_model *huge = add_simple("huge", 9 * GIB);

	(void)state;
	foreseen(NULL, PC_FORECAST_REFUSED, "refused: a request must name its model");
	foreseen(huge, PC_FORECAST_REFUSED,
		 "refused: model 'huge' needs 9 GiB on cpu: 8 GiB of 8 GiB budget free");
	foreseen(a, PC_FORECAST_LOADED, "'a' is loaded into 6 GiB of free memory");
	submit(0, a);
	foreseen(a, PC_FORECAST_QUEUED,
		 "waits behind 1 request for a worker of 'a': 0 ready, 1 loading");
	foreseen(b, PC_FORECAST_WAITS,
		 "waits for memory: model 'b' needs 6 GiB on cpu: 2 GiB of 8 GiB budget free; held "
		 "by 'a' (1 worker, 6 GiB)");
	ready(1);
	release(0);
	foreseen(a, PC_FORECAST_GRANTED, "gets a free slot of 'a' at once");
	foreseen(b, PC_FORECAST_WAITS, /* 'a' is too young to go */
		 "waits for memory: model 'b' needs 6 GiB on cpu: 2 GiB of 8 GiB budget free; held "
		 "by 'a' (1 worker, 6 GiB)");
	pass(10 * SEC);
	foreseen(b, PC_FORECAST_LOADED, "'b' is loaded after 1 idle worker has gone: 'a'");
	assert_int_equal(foresee(b).evicted, 1);
	body.log[0] = '\0';
	submit(1, b);
	expect("stop 1 evicted to make room\n");
	foreseen(b, PC_FORECAST_LOADED,
		 "'b' is loaded as soon as workers that are stopping have left 6 GiB");
	cancel(1);
	gone(1);
	submit(1, a);
	failed(2, PC_E_MODEL_FILE_MISSING, "the file is gone");
	gone(2);
	assert_int_equal(foresee(a).kind, PC_FORECAST_WAITS);
	assert_non_null(strstr(foresee(a).text, "is tried again then; last: the file is gone"));
}

static void long_keys_are_cut_between_characters(void **state)
{
	char key[256] = "k"; /* one byte, then two a character: 80 bytes end inside of one */

	(void)state;
	for (size_t i = 0; i < 127; i++)
		memcpy(key + 1 + 2 * i, "\xc3\xa4", 3);

	struct pc_sched_model *a = add_simple(key, 6 * GIB), *b = add_simple("b", 6 * GIB);

	submit(0, a);
	ready(1);
	release(0);
	pass(10 * SEC);

	struct pc_sched_forecast forecast = foresee(b);

	assert_int_equal(forecast.evicted, 1);
	assert_int_equal(pc__utf8_valid_prefix(forecast.text, strlen(forecast.text)),
			 strlen(forecast.text));
	assert_true(strlen(forecast.text) < 200);
	body.log[0] = '\0';
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		scenario(a_forecast_says_what_would_become_of_a_request),
		scenario(long_keys_are_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
