/* SPDX-License-Identifier: MIT */
/* Unit tests of worker/openai_request.c with openai_field.c and openai_sampling.c: what is
 * understood, and how the rest is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/json_grammar.h"
#include "worker/openai_request.h"
#include "tests/unit/fail_alloc.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static struct openai_request decoded(enum openai_route route, const char *body)
{
	static struct openai_request request;
	struct pc_error err = PC_ERROR_INIT;

	if (openai_request_decode(route, body, strlen(body), &request, &err) != 0)
		fail_msg("%s: %s", body, err.message);
	return request;
}

static void chat_defaults(void **state)
{
	struct openai_request request = decoded(OPENAI_CHAT, "{" HI "}");

	(void)state;
	assert_null(request.model);
	assert_false(request.stream);
	assert_false(request.include_usage);
	assert_false(request.has_seed);
	assert_int_equal(request.text.size, sizeof(request.text));
	assert_null(request.text.prompt);
	assert_int_equal(request.text.message_count, 1);
	assert_string_equal(request.text.messages[0].role, "user");
	assert_string_equal(request.text.messages[0].content, "hi");
	assert_int_equal(request.text.max_tokens, 0);
	assert_true(request.text.temperature == 1);
	assert_true(request.text.top_p == 1);
	assert_int_equal(request.text.stop_count, 0);
	openai_request_fini(&request);
}

static void chat_with_everything(void **state)
{
	struct openai_request request = decoded(
		OPENAI_CHAT,
		"{\"model\":\"m\",\"messages\":["
		"{\"role\":\"developer\",\"content\":\"be brief\"},"
		"{\"role\":\"user\",\"name\":\"ann\",\"content\":[{\"type\":\"text\",\"text\":\"a \"},"
		"{\"type\":\"text\",\"text\":\"\xc3\xa9\"}]},"
		"{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null,\"tool_calls\":[]}],"
		"\"max_completion_tokens\":7,\"max_tokens\":7,\"temperature\":0,\"top_p\":0.5,"
		"\"seed\":-1,\"stop\":[\"x\",\"yy\"],\"stream\":true,"
		"\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":false},"
		"\"n\":1,\"presence_penalty\":0.0,\"frequency_penalty\":0,\"logit_bias\":{},"
		"\"logprobs\":false,\"tools\":[],\"tool_choice\":\"auto\",\"user\":\"u\","
		"\"response_format\":{\"type\":\"text\"},\"metadata\":{\"a\":\"b\"},\"store\":true,"
		"\"audio\":null}");

	(void)state;
	assert_string_equal(request.model, "m");
	assert_int_equal(request.text.message_count, 3);
	assert_string_equal(request.text.messages[0].role, "system");
	assert_string_equal(request.text.messages[1].content, "a \xc3\xa9");
	assert_string_equal(request.text.messages[2].content, "");
	assert_int_equal(request.text.max_tokens, 7);
	assert_true(request.text.temperature == 0);
	assert_true(request.text.top_p == 0.5f);
	assert_true(request.has_seed);
	assert_int_equal(request.text.seed, 0); /* all ones folded on all ones */
	assert_int_equal(request.text.stop_count, 2);
	assert_string_equal(request.text.stops[1], "yy");
	assert_true(request.stream);
	assert_true(request.include_usage);
	openai_request_fini(&request);
}

static void seeds_fold_without_losing_small_ones(void **state)
{
	struct openai_request request = decoded(OPENAI_CHAT, "{" HI ",\"seed\":4242}");

	(void)state;
	assert_int_equal(request.text.seed, 4242);
	openai_request_fini(&request);
	request = decoded(OPENAI_CHAT, "{" HI ",\"seed\":4294967296}");
	assert_int_equal(request.text.seed, 1);
	openai_request_fini(&request);
}

static void completions(void **state)
{
	struct openai_request request = decoded(
		OPENAI_COMPLETION, "{\"prompt\":\"once\",\"stop\":\"end\",\"best_of\":1,"
				   "\"suffix\":\"\",\"logprobs\":null,\"echo\":false}");

	(void)state;
	assert_string_equal(request.text.prompt, "once");
	assert_null(request.text.messages);
	assert_int_equal(request.text.max_tokens, 16);
	assert_int_equal(request.text.stop_count, 1);
	assert_string_equal(request.text.stops[0], "end");
	openai_request_fini(&request);
	request = decoded(OPENAI_COMPLETION, "{\"prompt\":[\"one\"],\"max_tokens\":3}");
	assert_string_equal(request.text.prompt, "one");
	assert_int_equal(request.text.max_tokens, 3);
	openai_request_fini(&request);
}

static void embeddings(void **state)
{
	struct openai_request request = decoded(
		OPENAI_EMBEDDING, "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\","
				  "\"dimensions\":8,\"model\":\"e\",\"user\":\"x\"}");

	(void)state;
	assert_int_equal(request.input_count, 2);
	assert_string_equal(request.inputs[1], "b");
	assert_true(request.base64);
	assert_int_equal(request.dimensions, 8);
	openai_request_fini(&request);
	request = decoded(OPENAI_EMBEDDING, "{\"input\":\"a\",\"encoding_format\":\"float\"}");
	assert_int_equal(request.input_count, 1);
	assert_false(request.base64);
	openai_request_fini(&request);
}

/*
 * What popular clients send though it asks for nothing that this worker could not give: each of
 * these is added to a body, and must change neither its meaning nor its status.
 */
static const char *const harmless[] = {
	"\"max_tokens\":null",
	"\"stop\":null",
	"\"stop\":[]",
	"\"stop\":\"\"",
	"\"stop\":[\"\"]",
	"\"stream\":null",
	"\"stream_options\":null",
	"\"stream_options\":{\"include_usage\":true}",
	"\"temperature\":1",
	"\"temperature\":1.0",
	"\"temperature\":null",
	"\"top_p\":1",
	"\"n\":null",
	"\"n\":1",
	"\"seed\":null",
	"\"tools\":null",
	"\"tools\":[]",
	"\"tool_choice\":\"none\"",
	"\"parallel_tool_calls\":true",
	"\"response_format\":{\"type\":\"text\"}",
	"\"logit_bias\":{}",
	"\"logprobs\":false",
	"\"user\":\"u\"",
	"\"metadata\":{\"a\":\"b\"}",
	"\"store\":false",
	"\"service_tier\":\"auto\"",
	"\"reasoning_effort\":\"medium\"",
	"\"verbosity\":\"low\"",
	"\"safety_identifier\":\"x\"",
	"\"prompt_cache_key\":\"x\"",
	"\"keep_alive\":\"5m\"",
	"\"options\":{}",
	"\"cache_prompt\":true",
	"\"top_k\":0",
	"\"top_k\":-1",
	"\"min_p\":0",
	"\"repetition_penalty\":1.0",
	"\"repeat_penalty\":1",
	"\"repeat_last_n\":256",
	"\"grammar\":\"\"",
	"\"presence_penalty\":0",
	"\"frequency_penalty\":0.0",
	"\"chat_template_kwargs\":{}",
	"\"what_nobody_knows\":null",
};

/* Whether a member is set that an older engine does not know. */
static bool asks_for_more(const struct pc_text_request *text)
{
	static const struct pc_text_request nothing;
	const size_t first = offsetof(struct pc_text_request, top_k);

	return memcmp((const char *)text + first, (const char *)&nothing + first,
		      sizeof(nothing) - first) != 0;
}

static void harmless_fields_are_accepted(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(harmless); i++) {
		char body[256];
		struct openai_request request;

		snprintf(body, sizeof(body), "{" HI ",%s}", harmless[i]);
		request = decoded(OPENAI_CHAT, body);
		assert_false(request.stream);
		assert_false(request.has_seed);
		assert_int_equal(request.text.stop_count, 0);
		assert_int_equal(request.text.max_tokens, 0);
		assert_true(request.text.temperature == 1);
		assert_true(request.text.top_p == 1);
		assert_false(asks_for_more(&request.text));
		openai_request_fini(&request);
	}
}

/* Histories carry what the client or another server's answer has put into them. */
static void messages_may_carry_more(void **state)
{
	struct openai_request request = decoded(
		OPENAI_CHAT,
		"{\"messages\":["
		"{\"role\":\"user\",\"content\":\"a\",\"id\":7,\"opts\":{\"visible\":true}},"
		"{\"role\":\"assistant\",\"content\":null,\"parsed\":null,\"function_call\":null},"
		"{\"role\":\"assistant\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\","
		"\"cache_control\":{\"type\":\"ephemeral\"}}]}]}");

	(void)state;
	assert_int_equal(request.text.message_count, 4);
	assert_string_equal(request.text.messages[0].content, "a");
	for (size_t i = 1; i < 4; i++)
		assert_string_equal(request.text.messages[i].content, "");
	openai_request_fini(&request);
}

static void sampling(void **state)
{
	struct openai_request request = decoded(
		OPENAI_COMPLETION,
		"{\"prompt\":\"x\",\"top_k\":40,\"min_p\":0.05,\"repeat_penalty\":1.1,"
		"\"repeat_last_n\":256,\"presence_penalty\":-1.5,\"frequency_penalty\":2,"
		"\"logit_bias\":{\"50256\":-100,\"7\":0.5},\"grammar\":\"root ::= [a-z]\"}");

	(void)state;
	assert_true(asks_for_more(&request.text));
	assert_int_equal(request.text.top_k, 40);
	assert_true(request.text.min_p == 0.05f);
	assert_true(request.text.repeat_penalty == 1.1f);
	assert_int_equal(request.text.repeat_window, 256);
	assert_true(request.text.presence_penalty == -1.5f);
	assert_true(request.text.frequency_penalty == 2);
	assert_int_equal(request.text.logit_bias_count, 2);
	assert_int_equal(request.text.logit_biases[0].token, 50256);
	assert_true(request.text.logit_biases[0].bias == -100);
	assert_int_equal(request.text.logit_biases[1].token, 7);
	assert_true(request.text.logit_biases[1].bias == 0.5f);
	assert_string_equal(request.text.grammar, "root ::= [a-z]");
	openai_request_fini(&request);
}

static void llama_servers_special_values(void **state)
{
	struct openai_request request = decoded(
		OPENAI_CHAT, "{" HI ",\"repeat_last_n\":-1,\"repeat_penalty\":2}");

	(void)state;
	assert_int_equal(request.text.repeat_window, INT32_MAX);
	assert_true(request.text.repeat_penalty == 2);
	openai_request_fini(&request);
	/* A window of nothing is no penalty, whichever field comes first. */
	request = decoded(OPENAI_CHAT, "{" HI ",\"repeat_last_n\":0,\"repeat_penalty\":2}");
	assert_false(asks_for_more(&request.text));
	openai_request_fini(&request);
}

static void json_answers(void **state)
{
	struct openai_request request = decoded(
		OPENAI_CHAT, "{" HI ",\"response_format\":{\"type\":\"json_object\"}}");

	(void)state;
	assert_string_equal(request.text.grammar, json_grammar);
	openai_request_fini(&request);
}

static void numbers_in_every_dress(void **state)
{
	struct openai_request request = decoded(
		OPENAI_CHAT, "{" HI ",\"max_tokens\":100.0,\"seed\":7.0,\"temperature\":2,"
			     "\"stop\":[\"\",\"x\",\"\"]}");

	(void)state;
	assert_int_equal(request.text.max_tokens, 100);
	assert_int_equal(request.text.seed, 7);
	assert_int_equal(request.text.stop_count, 1);
	assert_string_equal(request.text.stops[0], "x");
	openai_request_fini(&request);
	/* -1 is how llama.cpp's and LM Studio's users write "as long as it gets". */
	request = decoded(OPENAI_COMPLETION, "{\"prompt\":\"x\",\"max_tokens\":-1}");
	assert_int_equal(request.text.max_tokens, INT32_MAX);
	openai_request_fini(&request);
	/* Of nothing but the likeliest token there is one. */
	request = decoded(OPENAI_CHAT, "{" HI ",\"top_p\":0}");
	assert_true(request.text.temperature == 0);
	assert_true(request.text.top_p == 1);
	openai_request_fini(&request);
}

/* ---- refusals ---- */

struct refusal {
	enum openai_route route;
	const char *body;
	int code;
	const char *param; /* NULL: none */
	const char *says;
};

/* clang-format off */
static const struct refusal refusals[] = {
	{ OPENAI_CHAT, "", PC_E_INVALID_JSON, NULL, "the body is empty" },
	{ OPENAI_CHAT, "{", PC_E_INVALID_JSON, NULL, "line 1, column 1: " },
	{ OPENAI_CHAT, "{\n  \"a\": tru }", PC_E_INVALID_JSON, NULL, "line 2, column " },
	{ OPENAI_CHAT, "{\"a\":1,\"a\":2}", PC_E_INVALID_JSON, NULL, "duplicate object key" },
	{ OPENAI_CHAT, "{\"model\":\"\xff\"}", PC_E_INVALID_JSON, NULL, "unable to decode byte 0xff" },
	{ OPENAI_CHAT, "{\"model\":\"a\\u0000b\"}", PC_E_INVALID_JSON, NULL, "u0000" },
	{ OPENAI_CHAT, "{} x", PC_E_INVALID_JSON, NULL, "end of file expected" },
	{ OPENAI_CHAT, "[]", PC_E_INVALID_REQUEST, NULL, "the body must be an object, not an array" },
	{ OPENAI_CHAT, "{}", PC_E_INVALID_REQUEST, "messages", "'messages' is missing" },
	{ OPENAI_CHAT, "{\"messages\":null}", PC_E_INVALID_REQUEST, "messages", "'messages' is missing" },
	{ OPENAI_CHAT, "{\"messages\":[]}", PC_E_INVALID_REQUEST, "messages",
	  "'messages' must hold 1 to 4096 messages, not 0" },
	{ OPENAI_CHAT, "{\"messages\":\"hi\"}", PC_E_INVALID_REQUEST, "messages",
	  "'messages' must be an array, not a string" },
	{ OPENAI_CHAT, "{\"messages\":[\"hi\"]}", PC_E_INVALID_REQUEST, "messages[0]",
	  "messages[0] must be an object, not a string" },
	{ OPENAI_CHAT, "{\"messages\":[{\"content\":\"hi\"}]}", PC_E_INVALID_REQUEST, "messages[0]",
	  "messages[0].role must be \"system\", \"developer\", \"user\" or \"assistant\"" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"tool\",\"content\":\"hi\"}]}", PC_E_INVALID_REQUEST,
	  "messages[0]", "not \"tool\"" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\"}]}", PC_E_INVALID_REQUEST,
	  "messages[0].content", "it is missing" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":null}]}", PC_E_INVALID_REQUEST,
	  "messages[0].content", "not null" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"contents\":\"x\"}]}", PC_E_INVALID_REQUEST,
	  "messages[0].content", "it is missing" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"images\":[\"eA==\"]}]}",
	  PC_E_INVALID_REQUEST, "messages[0]", "messages[0].images is not supported" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{}]}]}",
	  PC_E_INVALID_REQUEST, "messages[0]", "messages[0].tool_calls is not supported" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
	  "\"image_url\":{\"url\":\"x\"}}]}]}", PC_E_INVALID_REQUEST, "messages[0].content",
	  "messages[0].content[0] is of type \"image_url\"; this model reads \"text\" only" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
	  PC_E_INVALID_REQUEST, "messages[0].content", "must be an object like" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[3]}]}",
	  PC_E_INVALID_REQUEST, "messages[0].content", "must be an object like" },
	{ OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
	  PC_E_INVALID_REQUEST, "messages[0].content", "holds no text" },
	{ OPENAI_CHAT, "{" HI ",\"temprature\":1}", PC_E_INVALID_REQUEST, "temprature",
	  "unknown field 'temprature'; did you mean 'temperature'?" },
	{ OPENAI_CHAT, "{" HI ",\"grammar_of_mine\":1}", PC_E_INVALID_REQUEST, "grammar_of_mine",
	  "unknown field 'grammar_of_mine'" },
	{ OPENAI_CHAT, "{" HI ",\"prompt\":\"x\"}", PC_E_INVALID_REQUEST, "prompt", "unknown field 'prompt'" },
	{ OPENAI_CHAT, "{" HI ",\"model\":3}", PC_E_INVALID_REQUEST, "model",
	  "'model' must be a string, not a number" },
	{ OPENAI_CHAT, "{" HI ",\"temperature\":2.1}", PC_E_INVALID_REQUEST, "temperature",
	  "'temperature' must be at least 0 and at most 2, not 2.1" },
	{ OPENAI_CHAT, "{" HI ",\"temperature\":\"1\"}", PC_E_INVALID_REQUEST, "temperature",
	  "'temperature' must be a number, not a string" },
	{ OPENAI_CHAT, "{" HI ",\"top_p\":-0.1}", PC_E_INVALID_REQUEST, "top_p",
	  "'top_p' must be at least 0 and at most 1, not -0.1" },
	{ OPENAI_CHAT, "{" HI ",\"max_tokens\":0}", PC_E_INVALID_REQUEST, "max_tokens",
	  "'max_tokens' must be from 1 to 2147483647, not 0" },
	{ OPENAI_CHAT, "{" HI ",\"max_tokens\":1e300}", PC_E_INVALID_REQUEST, "max_tokens",
	  "'max_tokens' must be a whole number, not a fraction" },
	{ OPENAI_CHAT, "{" HI ",\"top_k\":-2}", PC_E_INVALID_REQUEST, "top_k",
	  "'top_k' must be from 0 to 2147483647, not -2" },
	{ OPENAI_CHAT, "{" HI ",\"min_p\":1.5}", PC_E_INVALID_REQUEST, "min_p",
	  "'min_p' must be at least 0 and at most 1, not 1.5" },
	{ OPENAI_CHAT, "{" HI ",\"repeat_penalty\":0}", PC_E_INVALID_REQUEST, "repeat_penalty",
	  "'repeat_penalty' must be at least 0.1 and at most 10, not 0" },
	{ OPENAI_CHAT, "{" HI ",\"repeat_last_n\":-2}", PC_E_INVALID_REQUEST, "repeat_last_n",
	  "'repeat_last_n' must be from 0 to 2147483647, not -2" },
	{ OPENAI_CHAT, "{" HI ",\"repetition_penalty\":1.1}", PC_E_INVALID_REQUEST,
	  "repetition_penalty", "neutral value" },
	{ OPENAI_CHAT, "{" HI ",\"frequency_penalty\":\"1\"}", PC_E_INVALID_REQUEST,
	  "frequency_penalty", "'frequency_penalty' must be a number, not a string" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":[[1,2]]}", PC_E_INVALID_REQUEST, "logit_bias",
	  "'logit_bias' must be an object, not an array" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"the\":1}}", PC_E_INVALID_REQUEST, "logit_bias",
	  "'logit_bias' has the member 'the'; it must be a token's number" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"-1\":1}}", PC_E_INVALID_REQUEST, "logit_bias",
	  "has the member '-1'" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"\":1}}", PC_E_INVALID_REQUEST, "logit_bias",
	  "has the member ''" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"2147483648\":1}}", PC_E_INVALID_REQUEST, "logit_bias",
	  "has the member '2147483648'" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"99999999999999999999\":1}}", PC_E_INVALID_REQUEST,
	  "logit_bias", "has the member '99999999999999999999'" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"7\":101}}", PC_E_INVALID_REQUEST, "logit_bias",
	  "'logit_bias.7' must be a number from -100 to 100" },
	{ OPENAI_CHAT, "{" HI ",\"logit_bias\":{\"7\":false}}", PC_E_INVALID_REQUEST, "logit_bias",
	  "'logit_bias.7' must be a number from -100 to 100" },
	{ OPENAI_CHAT, "{" HI ",\"grammar\":{}}", PC_E_INVALID_REQUEST, "grammar",
	  "'grammar' must be a string, not an object" },
	{ OPENAI_CHAT, "{" HI ",\"grammar\":\"x\",\"response_format\":{\"type\":\"json_object\"}}",
	  PC_E_INVALID_REQUEST, "grammar", "'grammar' and 'response_format' contradict each other" },
	{ OPENAI_CHAT, "{" HI ",\"options\":{\"num_ctx\":8192}}", PC_E_INVALID_REQUEST, "options",
	  "neutral value" },
	{ OPENAI_CHAT, "{" HI ",\"max_tokens\":1.5}", PC_E_INVALID_REQUEST, "max_tokens",
	  "'max_tokens' must be a whole number, not a fraction" },
	{ OPENAI_CHAT, "{" HI ",\"max_tokens\":1,\"max_completion_tokens\":2}", PC_E_INVALID_REQUEST,
	  "max_tokens", "contradict each other" },
	{ OPENAI_CHAT, "{" HI ",\"seed\":\"x\"}", PC_E_INVALID_REQUEST, "seed",
	  "'seed' must be a whole number, not a string" },
	{ OPENAI_CHAT, "{" HI ",\"stop\":[1]}", PC_E_INVALID_REQUEST, "stop",
	  "'stop' must be a string or an array of strings, not one that holds a number" },
	{ OPENAI_CHAT, "{" HI ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
	  "\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}", PC_E_INVALID_REQUEST, "stop",
	  "'stop' holds 17 strings; 16 are the most" },
	{ OPENAI_CHAT, "{" HI ",\"stream\":1}", PC_E_INVALID_REQUEST, "stream",
	  "'stream' must be true or false, not a number" },
	{ OPENAI_CHAT, "{" HI ",\"stream\":true,\"stream_options\":{\"x\":1}}", PC_E_INVALID_REQUEST,
	  "stream_options", "unknown member 'x'" },
	{ OPENAI_CHAT, "{" HI ",\"stream\":true,\"stream_options\":{\"include_usage\":1}}",
	  PC_E_INVALID_REQUEST, "stream_options", "must be true or false" },
	{ OPENAI_CHAT, "{" HI ",\"n\":2}", PC_E_INVALID_REQUEST, "n",
	  "'n' is supported only at its neutral value (one of [1])" },
	{ OPENAI_CHAT, "{" HI ",\"presence_penalty\":2.5}", PC_E_INVALID_REQUEST, "presence_penalty",
	  "'presence_penalty' must be at least -2 and at most 2, not 2.5" },
	{ OPENAI_CHAT, "{" HI ",\"tools\":[{\"type\":\"function\"}]}", PC_E_INVALID_REQUEST, "tools",
	  "'tools' is supported only" },
	{ OPENAI_CHAT, "{" HI ",\"response_format\":{\"type\":\"json_schema\"}}", PC_E_INVALID_REQUEST,
	  "response_format", "'response_format.type' must be \"text\" or \"json_object\", not \"json_schema\"" },
	{ OPENAI_CHAT, "{" HI ",\"response_format\":\"json\"}", PC_E_INVALID_REQUEST,
	  "response_format", "must be an object like" },
	{ OPENAI_CHAT, "{" HI ",\"logprobs\":true}", PC_E_INVALID_REQUEST, "logprobs", "[false]" },
	{ OPENAI_CHAT, "{" HI ",\"audio\":{}}", PC_E_INVALID_REQUEST, "audio",
	  "'audio' is not supported by this worker" },
	{ OPENAI_COMPLETION, "{\"prompt\":[]}", PC_E_INVALID_REQUEST, "prompt", "exactly one string, not 0" },
	{ OPENAI_COMPLETION, "{\"prompt\":[\"a\",\"b\"]}", PC_E_INVALID_REQUEST, "prompt",
	  "exactly one string, not 2" },
	{ OPENAI_COMPLETION, "{\"prompt\":[1]}", PC_E_INVALID_REQUEST, "prompt", "token numbers" },
	{ OPENAI_COMPLETION, "{}", PC_E_INVALID_REQUEST, "prompt", "'prompt' is missing" },
	{ OPENAI_EMBEDDING, "{\"input\":[]}", PC_E_INVALID_REQUEST, "input", "1 to 2048 strings, not 0" },
	{ OPENAI_EMBEDDING, "{\"input\":\"\"}", PC_E_INVALID_REQUEST, "input", "empty string (item 0)" },
	{ OPENAI_EMBEDDING, "{\"input\":[[1,2]]}", PC_E_INVALID_REQUEST, "input", "token numbers" },
	{ OPENAI_EMBEDDING, "{\"input\":\"a\",\"encoding_format\":\"hex\"}", PC_E_INVALID_REQUEST,
	  "encoding_format", "\"float\" or \"base64\"" },
	{ OPENAI_EMBEDDING, "{\"input\":\"a\",\"stream\":true}", PC_E_INVALID_REQUEST, "stream",
	  "unknown field 'stream'" },
};
/* clang-format on */

static void bad_requests_are_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(refusals); i++) {
		const struct refusal *refusal = &refusals[i];
		struct pc_error err = PC_ERROR_INIT;
		struct openai_request request;
		int status = openai_request_decode(refusal->route, refusal->body,
						   strlen(refusal->body), &request, &err);
		const char *param = pc_error_detail_get(&err, "param");

		if (status != refusal->code || !strstr(err.message, refusal->says))
			fail_msg("%s: %s \"%s\"", refusal->body, pc_error_name(status),
				 err.message);
		if (refusal->param)
			assert_string_equal(param, refusal->param);
		else
			assert_null(param);
	}
}

/* Bodies cut short anywhere are refused and leave nothing behind (ASan watches). */
static void every_prefix_is_survived(void **state)
{
	static const char body[] =
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
		"\"text\":\"a\\u00e9\"}]}],\"stop\":[\"x\"],\"seed\":1e3}";

	(void)state;
	for (size_t length = 0; length < sizeof(body) - 1; length++) {
		struct openai_request request;
		char *cut = malloc(length + 1); /* so that a read past the end is seen */

		memcpy(cut, body, length);
		assert_int_equal(openai_request_decode(OPENAI_CHAT, cut, length, &request, NULL),
				 PC_E_INVALID_JSON);
		free(cut);
	}
}

/* ---- failing allocations ---- */

static void *json_alloc(size_t size)
{
	return pc_malloc(size);
}

/* INVALID_JSON is what jansson's lexer makes of a failed allocation. */
static void each_allocation_may_fail(void **state)
{
	static const char chat[] =
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
		"\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}],\"n\":1,"
		"\"logit_bias\":{\"1\":2}}";
	static const char embed[] = "{\"input\":[\"a\",\"b\"]}";
	int status = -1;
	unsigned n;

	(void)state;
	json_set_alloc_funcs(json_alloc, pc_free);
	for (int round = 0; round < 2; round++) {
		for (n = 1, status = -1; status != 0; n++) {
			struct openai_request request;
			struct pc_error err = PC_ERROR_INIT;
			const char *body = round ? embed : chat;

			fail_alloc_begin_once(n);
			status = openai_request_decode(round ? OPENAI_EMBEDDING : OPENAI_CHAT, body,
						       strlen(body), &request, &err);
			if (status == 0)
				openai_request_fini(&request);
			else if (status != PC_E_OUT_OF_MEMORY && status != PC_E_INVALID_JSON)
				fail_msg("allocation %u: %s", n, err.message);
			fail_alloc_end();
			assert_int_equal(fail_alloc_live(), 0);
		}
		assert_true(n > 5);
	}
	json_set_alloc_funcs(malloc, free);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chat_defaults),
		cmocka_unit_test(chat_with_everything),
		cmocka_unit_test(seeds_fold_without_losing_small_ones),
		cmocka_unit_test(completions),
		cmocka_unit_test(embeddings),
		cmocka_unit_test(harmless_fields_are_accepted),
		cmocka_unit_test(messages_may_carry_more),
		cmocka_unit_test(sampling),
		cmocka_unit_test(llama_servers_special_values),
		cmocka_unit_test(json_answers),
		cmocka_unit_test(numbers_in_every_dress),
		cmocka_unit_test(bad_requests_are_refused_by_name),
		cmocka_unit_test(every_prefix_is_survived),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
