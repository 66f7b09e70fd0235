/* SPDX-License-Identifier: MIT */
/* Unit tests of http/api_error.c: the body is valid JSON at every size,
 * whatever the error holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "http/api_error.h"
#include "http/http.h"

/* What the responding half handed to the server. */
static struct {
	int status;
	char fields[256];
	char body[API_ERROR_BODY_MAX];
} sent;

const char *http_correlation_id(const struct http_exchange *exchange)
{
	(void)exchange;
	return "abc-1";
}

void http_respond(struct http_exchange *exchange, int status, const struct http_field *fields,
		  const char *body, size_t length)
{
	(void)exchange;
	sent.status = status;
	sent.fields[0] = '\0';
	for (; fields->name; fields++) {
		strcat(sent.fields, fields->name);
		strcat(sent.fields, "=");
		strcat(sent.fields, fields->value);
		strcat(sent.fields, ";");
	}
	memcpy(sent.body, body, length + 1);
}

static json_t *error_of(const char *body)
{
	json_error_t where;
	json_t *root = json_loads(body, JSON_REJECT_DUPLICATES, &where);

	if (!root)
		fail_msg("not JSON: %s in %s", where.text, body);

	json_t *error = json_incref(json_object_get(root, "error"));

	json_decref(root);
	return error;
}

static const char *text_of(json_t *error, const char *key)
{
	return json_string_value(json_object_get(error, key));
}

static void shape(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char body[API_ERROR_BODY_MAX];

	(void)state;
	pc_error_set(&err, PC_E_CONTEXT_EXCEEDED, "the prompt has %d tokens", 812);
	pc_error_detail(&err, "prompt_tokens", "812");
	pc_error_detail(&err, "param", "messages");

	size_t length = api_error_body(&err, "id-1", NULL, body, sizeof(body));

	assert_int_equal(length, strlen(body));
	assert_string_equal(body,
			    "{\"error\":{\"message\":\"the prompt has 812 tokens\","
			    "\"type\":\"invalid_request_error\",\"param\":\"messages\","
			    "\"code\":\"CONTEXT_EXCEEDED\",\"details\":{\"prompt_tokens\":\"812\"},"
			    "\"correlation_id\":\"id-1\",\"http_status\":400,"
			    "\"retriable\":false}}");
}

static void hostile_text_is_escaped(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char body[API_ERROR_BODY_MAX];

	(void)state;
	pc_error_set(&err, PC_E_INVALID_REQUEST,
		     "a\"b\\c\nd\x01"
		     "e\xff\xc3 \xc3\xa9 \xed\xa0\x80");
	pc_error_detail(&err, "k\"", "v\"\\");
	api_error_body(&err, NULL, "p\"", body, sizeof(body));

	json_t *error = error_of(body);

	assert_string_equal(text_of(error, "message"), "a\"b\\c\nd\x01"
						       "e\xef\xbf\xbd\xef\xbf\xbd \xc3\xa9 "
						       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	assert_string_equal(text_of(error, "param"), "p\"");
	assert_true(json_is_null(json_object_get(error, "correlation_id")));
	assert_string_equal(text_of(json_object_get(error, "details"), "k\""), "v\"\\");
	json_decref(error);
}

/* Every buffer size from nothing to plenty gives valid JSON, never a byte past the buffer, and no
 * size gives less than a smaller one. */
static void valid_at_every_size(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char body[API_ERROR_BODY_MAX];
	size_t before = 0;

	(void)state;
	pc_error_set(&err, PC_E_INSUFFICIENT_MEMORY, "needs \"8 GiB\", \xe2\x82\xac\xe2\x82\xac");
	for (int i = 0; i < PC_ERROR_DETAILS_MAX; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		pc_error_detail(&err, key, "value \"%d\"", i);
	}
	for (size_t size = 0; size < 1024; size++) {
		memset(body, '#', sizeof(body));

		size_t length = api_error_body(&err, "id", NULL, body, size);

		assert_int_equal(body[size], '#');
		assert_true(length >= before || before < 64);
		before = length;
		if (length == 0)
			continue;
		assert_true(length < size);
		assert_int_equal(strlen(body), length);

		json_t *error = error_of(body);

		assert_string_equal(text_of(error, "code"), "INSUFFICIENT_MEMORY");
		json_decref(error);
	}

	json_t *error = error_of(body);

	assert_int_equal(json_object_size(json_object_get(error, "details")), PC_ERROR_DETAILS_MAX);
	json_decref(error);
}

static void an_unset_error_is_internal(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char body[512];

	(void)state;
	api_error_body(&err, NULL, NULL, body, sizeof(body));

	json_t *error = error_of(body);

	assert_string_equal(text_of(error, "code"), "INTERNAL");
	assert_string_equal(text_of(error, "type"), "server_error");
	json_decref(error);
}

static void responses_carry_their_headers(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	pc_error_set(&err, PC_E_QUEUE_FULL, "full");
	api_respond_error(NULL, &err);
	assert_int_equal(sent.status, 503);
	assert_string_equal(sent.fields, "Content-Type=application/json;Retry-After=1;");
	assert_non_null(strstr(sent.body, "\"correlation_id\":\"abc-1\""));

	pc_error_detail(&err, "retry_after_secs", "7");
	api_respond_error(NULL, &err);
	assert_string_equal(sent.fields, "Content-Type=application/json;Retry-After=7;");

	pc_error_clear(&err);
	pc_error_set(&err, PC_E_MODEL_FILE_MISSING, "gone");
	api_respond_error(NULL, &err);
	assert_int_equal(sent.status, 503);
	assert_string_equal(sent.fields, "Content-Type=application/json;");

	pc_error_clear(&err);
	pc_error_set(&err, PC_E_METHOD_NOT_ALLOWED, "no");
	pc_error_detail(&err, "allow", "GET, HEAD");
	api_respond_error(NULL, &err);
	assert_int_equal(sent.status, 405);
	assert_string_equal(sent.fields, "Content-Type=application/json;Allow=GET, HEAD;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape),
		cmocka_unit_test(hostile_text_is_escaped),
		cmocka_unit_test(valid_at_every_size),
		cmocka_unit_test(an_unset_error_is_internal),
		cmocka_unit_test(responses_carry_their_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
