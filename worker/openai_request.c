/* SPDX-License-Identifier: MIT */
/*
 * openai_request.c - decodes request bodies from one table of fields per route. What one field
 * holds is openai_field.c's and openai_sampling.c's where it is not here. It neither runs anything
 * nor knows HTTP. Runs on the loop.
 *
 * A field is one of three kinds: USED; IGNORED, because it changes nothing that the client can see
 * here; or NEUTRAL, accepted only at the values at which it asks for nothing, because an answer
 * that silently lacks what was asked for is worse than a refusal. null always means "not given", as
 * OpenAI's own clients send it. What is in no table is refused by name.
 */
#include "openai_field.h"
#include "json_grammar.h"

#include <poolcore/text.h>

#include <stdio.h>
#include <string.h>

/* OpenAI's default for /v1/completions; chat has none. */
#define COMPLETION_DEFAULT_MAX_TOKENS 16

/* ---- fields of their own kind ---- */

/* A count, or -1 as llama.cpp and LM Studio write "as long as it gets". */
static int take_max_tokens(struct openai_request *request, const struct field *field, json_t *value,
			   struct pc_error *err)
{
	if (json_integer_value(value) != -1)
		return take_count(request, field, value, err);
	*(uint32_t *)member_of(request, field) = INT32_MAX;
	return 0;
}

static int take_stream_options(struct openai_request *request, const struct field *field,
			       json_t *value, struct pc_error *err)
{
	const char *key;
	json_t *option;

	if (!json_is_object(value))
		return REFUSE(err, field->name, "'%s' must be an object, not %s", field->name,
			      kind_of(value));
	json_object_foreach(value, key, option)
	{
		bool known = strcmp(key, "include_usage") == 0;

		/* Obfuscation pads events against eavesdroppers who see only lengths. */
		if (!known && strcmp(key, "include_obfuscation") != 0)
			return REFUSE(err, field->name,
				      "'%s' has an unknown member '%.64s'; include_usage is known",
				      field->name, key);
		if (!json_is_boolean(option) && !json_is_null(option))
			return REFUSE(err, field->name, "'%s.%s' must be true or false, not %s",
				      field->name, key, kind_of(option));
		if (known)
			request->include_usage = json_is_true(option);
	}
	return 0;
}

static int take_prompt(struct openai_request *request, const struct field *field, json_t *value,
		       struct pc_error *err)
{
	json_t *text = json_is_array(value) ? json_array_get(value, 0) : value;

	if (json_is_array(value) && json_array_size(value) != 1)
		return REFUSE(err, field->name,
			      "'%s' must hold exactly one string, not %zu items: send one request "
			      "for each",
			      field->name, json_array_size(value));
	if (!json_is_string(text))
		return REFUSE(err, field->name,
			      "'%s' must be a string or an array of one string, not %s%s (token "
			      "numbers are not supported)",
			      field->name, json_is_array(value) ? "one that holds " : "",
			      kind_of(text));
	request->text.prompt = json_string_value(text);
	return 0;
}

static int take_input(struct openai_request *request, const struct field *field, json_t *value,
		      struct pc_error *err)
{
	size_t count = json_is_array(value) ? json_array_size(value) : 1;

	if (count < 1 || count > OPENAI_MAX_INPUTS)
		return REFUSE(err, field->name, "'%s' must hold 1 to %d strings, not %zu",
			      field->name, OPENAI_MAX_INPUTS, count);
	request->inputs = pc_calloc(count, sizeof(*request->inputs));
	if (!request->inputs)
		return pc_error_oom(err);
	for (size_t i = 0; i < count; i++) {
		json_t *item = json_is_array(value) ? json_array_get(value, i) : value;

		if (!json_is_string(item))
			return REFUSE(err, field->name,
				      "'%s' must be a string or an array of strings, not %s%s "
				      "(token numbers are not supported)",
				      field->name, json_is_array(value) ? "one that holds " : "",
				      kind_of(item));
		if (json_string_length(item) == 0)
			return REFUSE(err, field->name,
				      "'%s' must not hold an empty string (item %zu)", field->name,
				      i);
		request->inputs[i] = json_string_value(item);
	}
	request->input_count = count;
	return 0;
}

static int take_encoding(struct openai_request *request, const struct field *field, json_t *value,
			 struct pc_error *err)
{
	const char *name = json_is_string(value) ? json_string_value(value) : "";

	request->base64 = strcmp(name, "base64") == 0;
	if (!request->base64 && strcmp(name, "float") != 0)
		return REFUSE(err, field->name, "'%s' must be \"float\" or \"base64\"",
			      field->name);
	return 0;
}

/* ---- messages ---- */

/* Roles and what the engine calls them: "developer" is what newer clients call "system". */
static const char *engine_role(const char *role)
{
	static const char *const roles[][2] = {
		{ "system", "system" },
		{ "developer", "system" },
		{ "user", "user" },
		{ "assistant", "assistant" },
	};

	for (size_t i = 0; role && i < PC_ARRAY_LEN(roles); i++) {
		if (strcmp(role, roles[i][0]) == 0)
			return roles[i][1];
	}
	return NULL;
}

/* An array of text parts becomes one string, which replaces the array in the body's tree. */
static int join_parts(json_t *message, json_t *parts, const char *param, struct pc_error *err)
{
	pc_auto(pc_free) char *joined = NULL;
	size_t length = 0, i;
	json_t *part;

	if (json_array_size(parts) == 0)
		return REFUSE(err, param, "%s holds no text", param);
	json_array_foreach(parts, i, part)
	{
		json_t *text = json_object_get(part, "text");
		const char *type = json_string_value(json_object_get(part, "type"));

		if (!type || (strcmp(type, "text") == 0 && !json_is_string(text)))
			return REFUSE(err, param,
				      "%s[%zu] must be an object like {\"type\":\"text\",\"text\":"
				      "\"...\"}",
				      param, i);
		if (strcmp(type, "text") != 0)
			return REFUSE(
				err, param,
				"%s[%zu] is of type \"%.32s\"; this model reads \"text\" only",
				param, i, type);

		char *grown = pc_realloc(joined, length + json_string_length(text) + 1);

		if (!grown)
			return pc_error_oom(err);
		joined = grown;
		memcpy(joined + length, json_string_value(text), json_string_length(text) + 1);
		length += json_string_length(text);
	}
	if (json_object_set_new(message, "content", json_stringn(joined, length)) != 0)
		return pc_error_oom(err);
	return 0;
}

/*
 * A history carries what clients keep in it for themselves and what other servers have answered
 * (ids, reasoning, annotations), so that members which are not known are no mistake here: vLLM
 * refused them once and had to stop (vllm-project/vllm pull request 10463). What would be lost is
 * refused.
 */
static int check_message_keys(json_t *message, size_t index, struct pc_error *err)
{
	static const char *const empty[] = { "audio", "tool_calls", "function_call", "images" };
	char param[64];

	snprintf(param, sizeof(param), "messages[%zu]", index);
	for (size_t i = 0; i < PC_ARRAY_LEN(empty); i++) {
		const json_t *value = json_object_get(message, empty[i]);

		if (value && !json_is_null(value) &&
		    !(json_is_array(value) && json_array_size(value) == 0))
			return REFUSE(err, param, "%s.%s is not supported by this worker", param,
				      empty[i]);
	}
	return 0;
}

static int take_message(struct openai_request *request, size_t index, json_t *message,
			struct pc_error *err)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	json_t *content = json_object_get(message, "content");
	char param[64];

	snprintf(param, sizeof(param), "messages[%zu]", index);
	if (!json_is_object(message))
		return REFUSE(err, param, "%s must be an object, not %s", param, kind_of(message));
	if (check_message_keys(message, index, err) != 0)
		return err->code;
	if (!engine_role(role))
		return REFUSE(err, param,
			      "%s.role must be \"system\", \"developer\", \"user\" or "
			      "\"assistant\"%s%.32s%s",
			      param, role ? ", not \"" : "", role ? role : "", role ? "\"" : "");
	snprintf(param, sizeof(param), "messages[%zu].content", index);
	if (json_is_array(content)) {
		if (join_parts(message, content, param, err) != 0)
			return err->code;
		content = json_object_get(message, "content");
	}

	/* An assistant that said nothing has null, or no content at all. */
	bool silent = (!content || json_is_null(content)) && strcmp(role, "assistant") == 0;

	if (!json_is_string(content) && !silent)
		return REFUSE(err, param, "%s must be a string or an array of text parts%s%s",
			      param, content ? ", not " : "; it is missing",
			      content ? kind_of(content) : "");
	request->messages[index] = (struct pc_chat_message){
		.role = engine_role(role),
		.content = silent ? "" : json_string_value(content),
	};
	return 0;
}

static int take_messages(struct openai_request *request, const struct field *field, json_t *value,
			 struct pc_error *err)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return REFUSE(err, field->name, "'%s' must be an array, not %s", field->name,
			      kind_of(value));
	if (count < 1 || count > OPENAI_MAX_MESSAGES)
		return REFUSE(err, field->name, "'%s' must hold 1 to %d messages, not %zu",
			      field->name, OPENAI_MAX_MESSAGES, count);
	request->messages = pc_calloc(count, sizeof(*request->messages));
	if (!request->messages)
		return pc_error_oom(err);
	for (size_t i = 0; i < count; i++) {
		if (take_message(request, i, json_array_get(value, i), err) != 0)
			return err->code;
	}
	request->text.messages = request->messages;
	request->text.message_count = count;
	return 0;
}

/* ---- the tables ---- */

/* clang-format off */
#define USED(field_name, function, ...) { .name = (field_name), .take = (function), __VA_ARGS__ }
#define INTO(member)                    .offset = offsetof(struct openai_request, member)
#define NEUTRAL(field_name, values)     { .name = (field_name), .neutral = (values) }
#define IGNORED(field_name)             { .name = (field_name) }

#define FIELDS_OF_ALL \
	USED("model", take_string, INTO(model)), \
	IGNORED("user")

#define FIELDS_OF_TEXT \
	USED("max_tokens",  take_max_tokens, INTO(max_tokens), .min = 1, .max = INT32_MAX), \
	USED("temperature", take_float, INTO(text.temperature), .min = 0, .max = 2), \
	USED("top_p",       take_float, INTO(text.top_p), .min = 0, .max = 1), \
	USED("seed",        take_seed), \
	USED("stop",        take_stop), \
	USED("stream",      take_bool, INTO(stream)), \
	USED("stream_options", take_stream_options), \
	USED("presence_penalty",  take_float, INTO(text.presence_penalty), .min = -2, .max = 2), \
	USED("frequency_penalty", take_float, INTO(text.frequency_penalty), .min = -2, .max = 2), \
	USED("logit_bias",        take_logit_bias), \
	NEUTRAL("n",              "[1]"), \
	/* Of llama.cpp, vLLM and Ollama, whose users' clients send them to whoever serves. */ \
	USED("top_k",          take_top_k, INTO(text.top_k), .min = 0, .max = INT32_MAX), \
	USED("min_p",          take_float, INTO(text.min_p), .min = 0, .max = 1), \
	USED("repeat_penalty", take_float, INTO(text.repeat_penalty), .min = 0.1, .max = 10), \
	USED("repeat_last_n",  take_repeat_last_n, INTO(text.repeat_window), .min = 0, \
	     .max = INT32_MAX), \
	USED("grammar",        take_grammar, INTO(text.grammar)), \
	NEUTRAL("typical_p",   "[1]"), \
	/* vLLM's looks at all of prompt and answer: another wish than repeat_penalty. */ \
	NEUTRAL("repetition_penalty", "[1]"), \
	NEUTRAL("options",            "[{}]"), \
	IGNORED("keep_alive"), \
	IGNORED("cache_prompt")

static const struct field chat_fields[] = {
	FIELDS_OF_ALL,
	FIELDS_OF_TEXT,
	USED("messages", take_messages),
	USED("max_completion_tokens", take_max_tokens, INTO(max_completion_tokens), .min = 1,
	     .max = INT32_MAX),
	NEUTRAL("logprobs",           "[false]"),
	NEUTRAL("top_logprobs",       "[0]"),
	NEUTRAL("tools",              "[[]]"),
	NEUTRAL("tool_choice",        "[\"none\",\"auto\"]"),
	NEUTRAL("functions",          "[[]]"),
	NEUTRAL("function_call",      "[\"none\",\"auto\"]"),
	USED("response_format", take_response_format),
	NEUTRAL("modalities",         "[[\"text\"]]"),
	NEUTRAL("audio",              "[]"),
	NEUTRAL("web_search_options", "[]"),
	NEUTRAL("chat_template_kwargs", "[{}]"),
	/* Wishes that a model without such a choice cannot follow. */
	IGNORED("reasoning_effort"),
	IGNORED("verbosity"),
	/* A prediction only makes an answer faster; the others are for OpenAI's own records. */
	IGNORED("prediction"),
	IGNORED("metadata"),
	IGNORED("store"),
	IGNORED("service_tier"),
	IGNORED("parallel_tool_calls"),
	IGNORED("safety_identifier"),
	IGNORED("prompt_cache_key"),
	IGNORED("prompt_cache_retention"),
};

static const struct field completion_fields[] = {
	FIELDS_OF_ALL,
	FIELDS_OF_TEXT,
	USED("prompt", take_prompt),
	NEUTRAL("best_of",  "[1]"),
	NEUTRAL("echo",     "[false]"),
	NEUTRAL("logprobs", "[]"),
	NEUTRAL("suffix",   "[\"\"]"),
};

static const struct field embedding_fields[] = {
	FIELDS_OF_ALL,
	USED("input",           take_input),
	USED("encoding_format", take_encoding),
	USED("dimensions",      take_count, INTO(dimensions), .min = 1, .max = INT32_MAX),
};

static const struct {
	const struct field *fields;
	size_t count;
	const char *required;
} routes[] = {
	[OPENAI_CHAT]       = { chat_fields, PC_ARRAY_LEN(chat_fields), "messages" },
	[OPENAI_COMPLETION] = { completion_fields, PC_ARRAY_LEN(completion_fields), "prompt" },
	[OPENAI_EMBEDDING]  = { embedding_fields, PC_ARRAY_LEN(embedding_fields), "input" },
};
/* clang-format on */

static const struct field *find_field(enum openai_route route, const char *name)
{
	for (size_t i = 0; i < routes[route].count; i++) {
		if (strcmp(routes[route].fields[i].name, name) == 0)
			return &routes[route].fields[i];
	}
	return NULL;
}

static int refuse_unknown(enum openai_route route, const char *name, struct pc_error *err)
{
	const char *names[64];
	size_t count = routes[route].count;

	_Static_assert(PC_ARRAY_LEN(chat_fields) <= PC_ARRAY_LEN(names), "names[] is too short");
	for (size_t i = 0; i < count; i++)
		names[i] = routes[route].fields[i].name;

	const char *nearest = pc_nearest_name(name, names, count);

	return REFUSE(err, name, "unknown field '%.64s'%s%s%s", name,
		      nearest ? "; did you mean '" : "", nearest ? nearest : "",
		      nearest ? "'?" : "");
}

static int check_neutral(const struct field *field, json_t *value, struct pc_error *err)
{
	json_t *accepted = json_loads(field->neutral, 0, NULL), *item;
	bool found = false;
	size_t i;

	if (!accepted)
		return pc_error_oom(err);
	json_array_foreach(accepted, i, item)
	{
		/* 0 and 0.0 are one number, which json_equal denies. */
		found |= json_equal(item, value) ||
			 (json_is_number(item) && json_is_number(value) &&
			  json_number_value(item) == json_number_value(value));
	}
	json_decref(accepted);
	if (found)
		return 0;
	if (strcmp(field->neutral, "[]") == 0)
		return REFUSE(err, field->name, "'%s' is not supported by this worker",
			      field->name);
	return REFUSE(err, field->name, "'%s' is supported only at its neutral value (one of %s)",
		      field->name, field->neutral);
}

static int take_field(struct openai_request *request, const char *name, json_t *value,
		      struct pc_error *err)
{
	const struct field *field = find_field(request->route, name);

	if (json_is_null(value))
		return 0;
	if (!field)
		return refuse_unknown(request->route, name, err);
	if (field->take)
		return field->take(request, field, value, err);
	return field->neutral ? check_neutral(field, value, err) : 0;
}

/* What concerns more than one field. */
static int check_whole(struct openai_request *request, struct pc_error *err)
{
	const char *required = routes[request->route].required;
	const json_t *value = json_object_get(request->body, required);

	if (!value || json_is_null(value))
		return REFUSE(err, required, "'%s' is missing", required);
	if (request->max_tokens && request->max_completion_tokens &&
	    request->max_tokens != request->max_completion_tokens)
		return REFUSE(err, "max_tokens",
			      "'max_tokens' (%u) and 'max_completion_tokens' (%u) contradict each "
			      "other: send the second only",
			      request->max_tokens, request->max_completion_tokens);
	if (request->json_only && request->text.grammar)
		return REFUSE(err, "grammar",
			      "'grammar' and 'response_format' contradict each other: send one");
	if (request->json_only)
		request->text.grammar = json_grammar;
	/* What asks for nothing is as if it had not been said: an engine may not know the field. */
	if (request->no_repeating || request->text.repeat_penalty == 1)
		request->text.repeat_penalty = 0;
	if (request->text.repeat_penalty == 0)
		request->text.repeat_window = 0;
	/* Nothing but the likeliest token, which is what engines call temperature 0. */
	if (request->text.top_p == 0) {
		request->text.top_p = 1;
		request->text.temperature = 0;
	}
	request->text.max_tokens = request->max_tokens ? request->max_tokens
						       : request->max_completion_tokens;
	if (request->route == OPENAI_COMPLETION && !request->text.max_tokens)
		request->text.max_tokens = COMPLETION_DEFAULT_MAX_TOKENS;
	return 0;
}

static int parse(const char *body, size_t length, json_t **ret_root, struct pc_error *err)
{
	json_error_t where;

	if (length == 0)
		return pc_error_set(err, PC_E_INVALID_JSON, "the body is empty");

	json_t *root = json_loadb(body, length, JSON_REJECT_DUPLICATES, &where);

	/* XXX: jansson reports some of its failed allocations without a word, and those of its
	 * lexer as a syntax error, so a process without memory may call good JSON bad. */
	if (!root && (where.text[0] == '\0' || json_error_code(&where) == json_error_out_of_memory))
		return pc_error_oom(err);
	if (!root) {
		pc_error_set(err, PC_E_INVALID_JSON, "line %d, column %d: %s", where.line,
			     where.column, where.text);
		pc_error_detail(err, "line", "%d", where.line);
		pc_error_detail(err, "column", "%d", where.column);
		return err->code;
	}
	if (!json_is_object(root)) {
		pc_error_set(err, PC_E_INVALID_REQUEST, "the body must be an object, not %s",
			     kind_of(root));
		json_decref(root);
		return err->code;
	}
	*ret_root = root;
	return 0;
}

static int decode(struct openai_request *request, const char *body, size_t length,
		  struct pc_error *err)
{
	const char *name;
	json_t *value;

	if (parse(body, length, &request->body, err) != 0)
		return err->code;
	json_object_foreach(request->body, name, value)
	{
		if (take_field(request, name, value, err) != 0)
			return err->code;
	}
	return check_whole(request, err);
}

int openai_request_decode(enum openai_route route, const char *body, size_t length,
			  struct openai_request *request, struct pc_error *err)
{
	struct pc_error own = PC_ERROR_INIT;

	*request = (struct openai_request){
		.route = route,
		.text = { .size = sizeof(request->text), .temperature = 1, .top_p = 1 },
	};
	if (decode(request, body, length, &own) != 0) {
		openai_request_fini(request);
		if (err && !err->code)
			*err = own;
		return own.code;
	}
	return 0;
}

void openai_request_fini(struct openai_request *request)
{
	json_decref(request->body);
	pc_free(request->messages);
	pc_free(request->inputs);
	pc_free(request->biases);
	*request = (struct openai_request){ .body = NULL };
}
