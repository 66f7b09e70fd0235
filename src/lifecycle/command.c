/* SPDX-License-Identifier: MIT */
/*
 * command.c - expands a backend's template into an argv and an environment. No shell, no quoting,
 * no splitting: an element of the template is an argument, whatever its values hold. Reads our own
 * environment (nothing in this house changes it after the start), touches nothing else. Any thread.
 */
#include <poolcore/lifecycle.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "config/string_list.h"
#include "config/template.h"

/* Linux takes no single argument or environment string longer than MAX_ARG_STRLEN, 32 pages of
 * 4 KiB with its NUL: execve(2). */
#define STRING_MAX_BYTES ((size_t)32 * 4096 - 1)

/* ---- placeholders ---- */

enum value_kind { VALUE_STRING, VALUE_PORT, VALUE_GPU, VALUE_COUNT };

struct placeholder {
	const char *name;
	enum value_kind kind;
	size_t offset; /* in struct pc_launch_values */
	bool env_only;
};

/* clang-format off */
static const struct placeholder placeholders[] = {
#define X(member, kind, env_only) \
	{ #member, VALUE_##kind, offsetof(struct pc_launch_values, member), env_only },
	PC__PLACEHOLDER_LIST(X, )
#undef X
};
/* clang-format on */

static const struct placeholder *placeholder_find(const struct pc__piece *piece)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(placeholders); i++) {
		if (pc__piece_is(piece, placeholders[i].name))
			return &placeholders[i];
	}
	return NULL;
}

/* The value as text, in `number` if it has to be written; NULL when there is none. */
static const char *placeholder_value(const struct placeholder *placeholder,
				     const struct pc_launch_values *values, char number[16])
{
	const char *field = (const char *)values + placeholder->offset;
	uint32_t count;
	uint16_t port;
	int gpu;

	switch (placeholder->kind) {
	case VALUE_STRING:
		return *(const char *const *)(const void *)field;
	case VALUE_PORT:
		memcpy(&port, field, sizeof(port));
		snprintf(number, 16, "%u", port);
		return port ? number : NULL;
	case VALUE_GPU:
		memcpy(&gpu, field, sizeof(gpu));
		snprintf(number, 16, "%d", gpu);
		return gpu < 0 ? "" : number;
	case VALUE_COUNT:
		memcpy(&count, field, sizeof(count));
		snprintf(number, 16, "%" PRIu32, count);
		return number;
	}
	return NULL;
}

bool pc_command_uses(const struct pc_backend_config *backend, const char *placeholder)
{
	return pc__backend_uses(backend, placeholder);
}

/* ---- expansion ---- */

/* One element of a template on its way to a string. */
struct expansion {
	const struct pc_launch_values *values;
	const char *where; /* "backends.llama-server.command[3]" */
	const char *template;
	bool is_program;  /* the program's name */
	bool is_argument; /* an argument of it */
	bool is_public;	  /* one of the two, and not environment */
	struct pc_error *err;
};

static int config_error(const struct expansion *x, const char *fmt, ...) PC_PRINTF(2, 3);

static int config_error(const struct expansion *x, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	pc_error_set(x->err, PC_E_INVALID_CONFIG, "%s: %s", x->where, text);
	pc_error_detail(x->err, "key", "%s", x->where);
	return PC_E_INVALID_CONFIG;
}

static int unknown_placeholder(const struct expansion *x, const struct pc__piece *piece)
{
#define X(name, kind, env_only) "{" #name "}"
	static const char known[] = PC__PLACEHOLDER_LIST(X, " ");
#undef X
	char name[64];
	struct pc__nearest nearest = PC__NEAREST_INIT(name);

	snprintf(name, sizeof(name), "%.*s", (int)(piece->length < 48 ? piece->length : 48),
		 piece->text);
	for (size_t i = 0; i < PC_ARRAY_LEN(placeholders); i++)
		pc__nearest_offer(&nearest, placeholders[i].name);
	if (nearest.best)
		return config_error(x, "unknown placeholder {%s}; did you mean {%s}? Known are %s",
				    name, nearest.best, known);
	return config_error(x, "unknown placeholder {%s}; known are %s", name, known);
}

/* Sets INVALID_ARGUMENT: what is wrong with the value of a placeholder. */
static int value_error(const struct expansion *x, const struct placeholder *placeholder,
		       const char *fmt, ...) PC_PRINTF(3, 4);

static int value_error(const struct expansion *x, const struct placeholder *placeholder,
		       const char *fmt, ...)
{
	char text[384];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	pc_error_set(x->err, PC_E_INVALID_ARGUMENT, "%s: the value of {%s} %s", x->where,
		     placeholder->name, text);
	pc_error_detail(x->err, "key", "%s", x->where);
	return PC_E_INVALID_ARGUMENT;
}

/*
 * No value of ours has control characters. One with a line end would write lines of its own into
 * what shows environments and arguments line by line: logs, ps, files that services read them from.
 */
static int refuse_control(const struct expansion *x, const struct placeholder *placeholder,
			  const char *value)
{
	for (const char *p = value; *p; p++) {
		unsigned char byte = (unsigned char)*p;

		if (byte < 0x20 || byte == 0x7f)
			return value_error(
				x, placeholder,
				"has the control character 0x%02x at its byte %zu, which "
				"no name of a model, file or worker may have",
				byte, (size_t)(p - value) + 1);
	}
	return 0;
}

/*
 * A file called "--rpc=evil.example:1" must not become an option. Behind text of the template
 * ("--model={model_path}") the same value is harmless; behind nothing but dashes ("--{model_id}")
 * any value would choose the option.
 */
static int refuse_option(const struct expansion *x, const struct placeholder *placeholder,
			 const char *value, const struct pc__buf *out)
{
	size_t dashes = out->data ? strspn(out->data, "-") : 0;

	if (!x->is_argument || !value[0] || dashes < out->length)
		return 0;
	if (out->length > 0 && placeholder->kind == VALUE_STRING)
		return config_error(x,
				    "{%s} behind nothing but '-' would choose which option it is; "
				    "write the option's name before it",
				    placeholder->name);
	if (value[0] != '-')
		return 0;
	return value_error(x, placeholder,
			   "starts with '-', so that the program would take it for an option: "
			   "'%.200s'",
			   value);
}

static int expand_placeholder(const struct expansion *x, const struct pc__piece *piece,
			      struct pc__buf *out)
{
	const struct placeholder *placeholder = placeholder_find(piece);
	char number[16];
	int rc;

	if (!placeholder)
		return unknown_placeholder(x, piece);
	if (x->is_program)
		return config_error(x,
				    "{%s} cannot name the program: which one is started is the "
				    "configuration's choice, not that of a model",
				    placeholder->name);
	if (placeholder->env_only && x->is_public)
		return config_error(x,
				    "{%s} may stand in env only: every user of the machine can "
				    "read a process's arguments",
				    placeholder->name);

	const char *value = placeholder_value(placeholder, x->values, number);

	if (!value)
		return config_error(x, "{%s} has no value for this worker", placeholder->name);
	rc = refuse_control(x, placeholder, value);
	if (!rc)
		rc = refuse_option(x, placeholder, value, out);
	if (rc)
		return rc;
	pc__buf_puts(out, value);
	return 0;
}

/* Appends the expansion to `out`; "where" of an error is the template's element. */
static int expand(const struct expansion *x, struct pc__buf *out)
{
	for (const char *cursor = x->template;;) {
		struct pc__piece piece = pc__piece_next(&cursor);
		int rc = 0;

		switch (piece.kind) {
		case PC__PIECE_END:
			break;
		case PC__PIECE_TEXT:
			pc__buf_append(out, piece.text, piece.length);
			break;
		case PC__PIECE_PLACEHOLDER:
			rc = expand_placeholder(x, &piece, out);
			break;
		case PC__PIECE_BAD_BRACE:
			rc = config_error(
				x,
				"single '%c' at character %zu; write '%c%c' for the brace "
				"itself",
				*piece.text, (size_t)(piece.text - x->template) + 1, *piece.text,
				*piece.text);
			break;
		}
		if (rc)
			return rc;
		if (out->length > STRING_MAX_BYTES)
			return pc_error_set(x->err, PC_E_INVALID_ARGUMENT,
					    "%s: longer than the %zu bytes that the system takes "
					    "for one string",
					    x->where, STRING_MAX_BYTES);
		if (piece.kind == PC__PIECE_END)
			return out->failed ? pc_error_oom(x->err) : 0;
	}
}

/* ---- argv and environment ---- */

/* The "NAME=value" of the same name, or NULL. */
static char **list_find(const struct pc_string_list *list, const char *text)
{
	size_t name_length = strcspn(text, "=") + 1;

	for (size_t i = 0; i < list->count; i++) {
		if (strncmp(list->items[i], text, name_length) == 0)
			return &list->items[i];
	}
	return NULL;
}

/* Adds "NAME=value", instead of an earlier one of that name. Takes `text`. */
static int list_set(struct pc_string_list *list, char *text, struct pc_error *err)
{
	char **earlier = text ? list_find(list, text) : NULL;

	if (!earlier)
		return pc__list_push(list, text, err);
	pc_free(*earlier);
	*earlier = text;
	return 0;
}

static int build_argv(const struct pc_backend_config *backend,
		      const struct pc_launch_values *values, struct pc_string_list *argv,
		      struct pc_error *err)
{
	for (size_t i = 0; i < backend->command.count; i++) {
		char where[128];
		struct pc__buf text = PC__BUF_INIT;
		const struct expansion x = {
			.values = values,
			.where = where,
			.template = backend->command.items[i],
			.is_program = i == 0,
			.is_argument = i > 0,
			.is_public = true,
			.err = err,
		};

		snprintf(where, sizeof(where), "backends.%.80s.command[%zu]", backend->name, i);

		int rc = expand(&x, &text);

		if (rc) {
			pc__buf_fini(&text);
			return rc;
		}
		rc = pc__list_push(argv, pc__buf_steal(&text), err);
		if (rc)
			return rc;
	}
	if (argv->count == 0 || argv->items[0][0] == '\0')
		return pc_error_set(err, PC_E_INVALID_CONFIG,
				    "backends.%.80s.command: it must begin with a program",
				    backend->name);
	return 0;
}

/* What a worker gets of our environment. Everything else may hold what is not for it (tokens,
 * proxies, LD_PRELOAD); a backend's env table can name more. */
static const char *const passed_names[] = {
	"PATH=", "HOME=", "LANG=", "LC_ALL=", "TMPDIR=", "USER=", "LD_LIBRARY_PATH=",
};

static bool is_passed(const char *variable)
{
	for (size_t i = 0; i < PC_ARRAY_LEN(passed_names); i++) {
		if (strncmp(variable, passed_names[i], strlen(passed_names[i])) == 0)
			return true;
	}
	return strncmp(variable, "POOLCORE_", strlen("POOLCORE_")) == 0 && strchr(variable, '=');
}

static int build_env(const struct pc_backend_config *backend, const struct pc_launch_values *values,
		     struct pc_string_list *env, struct pc_error *err)
{
	/* Of a name that is there twice getenv(3) sees the first, and others may see the second. */
	for (char **ours = environ; ours && *ours; ours++) {
		bool wanted = is_passed(*ours) && !list_find(env, *ours);
		int rc = wanted ? pc__list_push(env, pc_strdup(*ours), err) : 0;

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < backend->env.count; i++) {
		const char *item = backend->env.items[i], *equals = strchr(item, '=');
		char where[192];
		struct pc__buf text = PC__BUF_INIT;

		if (!equals || equals == item)
			return pc_error_set(err, PC_E_INVALID_CONFIG,
					    "backends.%.80s.env: '%.80s' is not NAME=value",
					    backend->name, item);
		snprintf(where, sizeof(where), "backends.%.80s.env.%.*s", backend->name,
			 (int)(equals - item < 80 ? equals - item : 80), item);

		const struct expansion x = {
			.values = values,
			.where = where,
			.template = equals + 1,
			.err = err,
		};

		pc__buf_append(&text, item, (size_t)(equals + 1 - item));

		int rc = expand(&x, &text);

		if (rc) {
			pc__buf_fini(&text);
			return rc;
		}
		rc = list_set(env, pc__buf_steal(&text), err);
		if (rc)
			return rc;
	}
	/* An empty environment is a list too. */
	if (!env->items) {
		env->items = pc_calloc(1, sizeof(*env->items));
		if (!env->items)
			return pc_error_oom(err);
	}
	return 0;
}

int pc_command_build(const struct pc_backend_config *backend, const struct pc_launch_values *values,
		     struct pc_string_list *ret_argv, struct pc_string_list *ret_env,
		     struct pc_error *err)
{
	struct pc_string_list argv = { .items = NULL }, env = { .items = NULL };

	if (!backend || !backend->name || !values || !ret_argv || !ret_env)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a backend with a name, its values and two lists are needed");

	int rc = build_argv(backend, values, &argv, err);

	if (!rc)
		rc = build_env(backend, values, &env, err);
	if (rc) {
		pc_string_list_free(&argv);
		pc_string_list_free(&env);
		return rc;
	}
	*ret_argv = argv;
	*ret_env = env;
	return 0;
}
