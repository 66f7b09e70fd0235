/* SPDX-License-Identifier: MIT */
/* Unit tests of worker/openai_response.c and buffer.c: the shapes, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "worker/openai_response.h"
#include "tests/unit/fail_alloc.h"

static struct openai_reply reply_of(enum openai_route route, bool include_usage)
{
	return (struct openai_reply){
		.route = route,
		.id = "id-1",
		.created = 17,
		.model = "m\"",
		.include_usage = include_usage,
	};
}

static const struct pc_text_result result = {
	.finish_reason = PC_FINISH_LENGTH,
	.prompt_tokens = 3,
	.cached_tokens = 2,
	.completion_tokens = 4,
};

#define HEAD(object) \
	"{\"id\":\"id-1\",\"object\":\"" object "\",\"created\":17,\"model\":\"m\\\"\","
#define USAGE \
	"\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7," \
	"\"prompt_tokens_details\":{\"cached_tokens\":2}}"

static void assert_written(struct buffer *out, const char *expected)
{
	assert_false(out->failed);
	assert_string_equal(out->data, expected);
	assert_int_equal(out->length, strlen(expected));
	buffer_fini(out);
}

static void whole_answers(void **state)
{
	struct openai_reply chat = reply_of(OPENAI_CHAT, false);
	struct openai_reply completion = reply_of(OPENAI_COMPLETION, false);
	struct buffer out = { .data = NULL };

	(void)state;
	openai_write_answer(&out, &chat, "a\nb", 3, &result);
	assert_written(
		&out,
		HEAD("chat.completion") "\"choices\":[{\"index\":0,\"message\":"
					"{\"role\":\"assistant\",\"content\":\"a\\nb\",\"refusal\":null},"
					"\"logprobs\":null,\"finish_reason\":\"length\"}]," USAGE
					"}");
	openai_write_answer(&out, &completion, "", 0, &result);
	assert_written(
		&out,
		HEAD("text_completion") "\"choices\":[{\"text\":\"\",\"index\":0,"
					"\"logprobs\":null,\"finish_reason\":\"length\"}]," USAGE
					"}");
}

#define CHUNK "data: " HEAD("chat.completion.chunk") "\"choices\":["
#define NO_FINISH ",\"logprobs\":null,\"finish_reason\":null}]"

static void chat_stream(void **state)
{
	struct openai_reply reply = reply_of(OPENAI_CHAT, true);
	struct buffer out = { .data = NULL };

	(void)state;
	openai_write_begin(&out, &reply);
	openai_write_text(&out, &reply, "hi", 2);
	openai_write_finish(&out, &reply, &result);
	assert_written(&out, CHUNK
		       "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\","
		       "\"refusal\":null}" NO_FINISH ",\"usage\":null}\n\n" CHUNK
		       "{\"index\":0,\"delta\":{\"content\":\"hi\"}" NO_FINISH
		       ",\"usage\":null}\n\n" CHUNK "{\"index\":0,\"delta\":{},\"logprobs\":null,"
		       "\"finish_reason\":\"length\"}],\"usage\":null}\n\n" CHUNK "]," USAGE "}\n\n"
		       "data: [DONE]\n\n");
}

static void completion_stream(void **state)
{
	struct openai_reply reply = reply_of(OPENAI_COMPLETION, false);
	struct buffer out = { .data = NULL };

	(void)state;
	openai_write_begin(&out, &reply);
	openai_write_text(&out, &reply, "hi", 2);
	openai_write_finish(&out, &reply, &result);
	assert_written(
		&out,
		"data: " HEAD(
			"text_completion") "\"choices\":[{\"text\":\"hi\","
					   "\"index\":0" NO_FINISH "}\n\n"
					   "data: " HEAD(
						   "text_completion") "\"choices\":[{\"text\":\"\","
								      "\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n"
								      "data: [DONE]\n\n");
}

static void embedding_list(void **state)
{
	static const float row[] = { 0.5f, -1, 0.1f };
	struct openai_reply reply = reply_of(OPENAI_EMBEDDING, false);
	struct buffer out = { .data = NULL };

	(void)state;
	openai_write_list_head(&out);
	openai_write_row(&out, 0, row, 3, false);
	openai_write_row(&out, 1, row, 3, true);
	openai_write_list_tail(&out, &reply, 9);
	assert_written(&out,
		       "{\"object\":\"list\",\"data\":["
		       "{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,-1,0.100000001]},"
		       "{\"object\":\"embedding\",\"index\":1,\"embedding\":\"AAAAPwAAgL/NzMw9\"}],"
		       "\"model\":\"m\\\"\",\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}");
}

static void ids_differ(void **state)
{
	struct openai_request request = { .route = OPENAI_CHAT };
	struct openai_reply a, b;

	(void)state;
	openai_reply_init(&a, &request, "own");
	openai_reply_init(&b, &request, "own");
	assert_int_equal(strlen(a.id), strlen("chatcmpl-") + 24);
	assert_memory_equal(a.id, "chatcmpl-", 9);
	assert_string_not_equal(a.id, b.id);
	assert_string_equal(a.model, "own");
	request.model = "asked";
	request.route = OPENAI_COMPLETION;
	openai_reply_init(&a, &request, "own");
	assert_memory_equal(a.id, "cmpl-", 5);
	assert_string_equal(a.model, "asked");
}

/* ---- buffer ---- */

static void json_strings(void **state)
{
	static const char text[] = "q\" b\\ \b\t\n\f\r \x01\x7f \xc3\xa9 \xff \xe2\x82";
	struct buffer out = { .data = NULL };

	(void)state;
	buffer_put_json(&out, text, sizeof(text) - 1);
	assert_written(&out, "\"q\\\" b\\\\ \\b\\t\\n\\f\\r \\u0001\\u007f \xc3\xa9 \xef\xbf\xbd "
			     "\xef\xbf\xbd\xef\xbf\xbd\"");
	buffer_put_json(&out, "a\0b", 3);
	assert_written(&out, "\"a\\u0000b\"");
}

/* RFC 4648 section 10. */
static void base64(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct buffer out = { .data = NULL };

		buffer_put_base64(&out, cases[i][0], strlen(cases[i][0]));
		assert_written(&out, cases[i][1]);
	}
}

static void a_failed_buffer_stays_failed(void **state)
{
	struct buffer out = { .data = NULL };

	(void)state;
	fail_alloc_begin(1);
	buffer_puts(&out, "x");
	assert_true(out.failed);
	fail_alloc_end();
	buffer_puts(&out, "x");
	buffer_printf(&out, "%d", 1);
	buffer_puts_json(&out, "x");
	buffer_put_base64(&out, "x", 1);
	assert_true(out.failed);
	assert_int_equal(out.length, 0);
	buffer_clear(&out);
	buffer_puts(&out, "y");
	assert_written(&out, "y");
}

static void buffers_grow(void **state)
{
	struct buffer out = { .data = NULL };

	(void)state;
	for (int i = 0; i < 1000; i++)
		buffer_printf(&out, "%03d,", i);
	assert_int_equal(out.length, 4000);
	assert_memory_equal(out.data + 3996, "999,", 5);
	buffer_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_answers),
		cmocka_unit_test(chat_stream),
		cmocka_unit_test(completion_stream),
		cmocka_unit_test(embedding_list),
		cmocka_unit_test(ids_differ),
		cmocka_unit_test(json_strings),
		cmocka_unit_test(base64),
		cmocka_unit_test(a_failed_buffer_stays_failed),
		cmocka_unit_test(buffers_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
