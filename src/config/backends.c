/* SPDX-License-Identifier: MIT */
/*
 * backends.c - [backends.NAME]: the table of their settings, the built-in one, and the checks of
 * command templates. It expands no template (src/lifecycle does) and looks for no program. Runs
 * where the configuration is loaded.
 */
#include "config/settings.h"

#include <poolcore/types.h>

#include "config/template.h"

#define BACKEND_NAME_MAX 64

/* Overridable by the file like any other; its `env` keeps the token out of the arguments. */
const char pc__builtin_backends[] =
	"[pool-worker]\n"
	"command = [\"pool-worker\", \"--model\", \"{model_path}\", \"--model-id\", \"{model_id}\","
	" \"--socket\", \"{socket}\", \"--slots\", \"{slots}\","
	" \"--context-tokens\", \"{context_tokens}\", \"--capability\", \"{capability}\","
	" \"--ready-url\", \"{ready_url}\", \"--worker-id\", \"{worker_id}\"]\n"
	"env = { POOL_WORKER_SPAWN_TOKEN = \"{spawn_token}\" }\n"
	"readiness = \"callback\"\n"
	"health = \"http:/health\"\n"
	"start_timeout_secs = 120\n"
	"stop_grace_secs = 10\n"
	"device = \"cpu\"\n"
	"model_by = \"auto\"\n";

/* ---- templates ---- */

static bool is_known(const struct pc__piece *piece)
{
#define X(name, kind, env_only) pc__piece_is(piece, #name)
	return PC__PLACEHOLDER_LIST(X, ||);
#undef X
}

static bool is_secret(const struct pc__piece *piece)
{
#define X(name, kind, env_only) ((env_only) && pc__piece_is(piece, #name))
	return PC__PLACEHOLDER_LIST(X, ||);
#undef X
}

static int bad_brace(const struct pc__reading *reading, const char *text, char brace,
		     struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	return pc__setting_error(reading, err, "%s: %s", pc__quoted(text, shown),
				 brace == '}' ? "a '}' stands alone; write \"}}\" for a brace"
					      : "a '{' is not closed; write \"{{\" for a brace");
}

/* Numbers are harmless there: "-{slots}". */
static bool is_text(const struct pc__piece *piece)
{
	enum { STRING, PORT, GPU, COUNT };
#define X(name, kind, env_only) ((kind) == STRING && pc__piece_is(piece, #name))
	return PC__PLACEHOLDER_LIST(X, ||);
#undef X
}

static int check_template(const struct pc__reading *reading, const char *text, bool is_argument,
			  struct pc_error *err)
{
	const char *cursor = text;

	for (;;) {
		struct pc__piece piece = pc__piece_next(&cursor);

		if (piece.kind == PC__PIECE_END)
			return 0;
		if (piece.kind == PC__PIECE_BAD_BRACE)
			return bad_brace(reading, text, *piece.text, err);
		if (piece.kind != PC__PIECE_PLACEHOLDER)
			continue;
		if (!is_known(&piece))
			return pc__setting_error(
				reading, err,
				"{%.*s} is not a placeholder; known: " PC__PLACEHOLDER_NAMES,
				(int)(piece.length < 40 ? piece.length : 40), piece.text);
		if (is_argument && is_secret(&piece))
			return pc__setting_error(
				reading, err,
				"{%.*s} is a secret and every user can read arguments; put it "
				"into env",
				(int)piece.length, piece.text);
	}
}

/* ---- one string of a backend ---- */

static int refine_argument(const struct pc__reading *reading, void *object, char **text,
			   struct pc_error *err)
{
	struct pc__piece piece;

	(void)object;
	if (pc__template_names_option(*text, &piece) && is_text(&piece))
		return pc__setting_error(reading, err,
					 "{%.*s} behind nothing but '-' would choose which option "
					 "it is; write the option's name before it",
					 (int)piece.length, piece.text);
	return check_template(reading, *text, true, err);
}

/* POSIX, 8.1: names consist of letters, digits and '_', and do not begin with a digit. */
static int refine_variable(const struct pc__reading *reading, void *object, char **text,
			   struct pc_error *err)
{
	static const char allowed[] =
		"0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t length = strspn(*text, allowed);
	char shown[PC__QUOTED_MAX];

	(void)object;
	if (length == 0 || (*text)[length] != '=' || strchr("0123456789", (*text)[0]))
		return pc__setting_error(reading, err,
					 "%s does not begin with the name of a variable; use "
					 "letters, digits and '_'",
					 pc__quoted(*text, shown));
	return check_template(reading, *text + length + 1, false, err);
}

/* "http:/path", where the path has neither blanks nor control characters. */
static bool is_http_path(const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p <= ' ' || *p == 0x7f)
			return false;
	}
	return strncmp(text, "http:/", 6) == 0;
}

/* Takes "http:/path" apart; the row's member keeps the path. */
static int refine_readiness(const struct pc__reading *reading, void *object, char **text,
			    struct pc_error *err)
{
	struct pc_backend_config *backend = object;
	bool http = is_http_path(*text);
	char shown[PC__QUOTED_MAX];

	if (!http && strcmp(*text, "callback") != 0)
		return pc__setting_error(
			reading, err,
			"%s is no readiness; use \"http:/PATH\" (asked until it answers "
			"200) or \"callback\" (the worker says it)",
			pc__quoted(*text, shown));
	backend->readiness = http ? PC_READINESS_HTTP : PC_READINESS_CALLBACK;
	if (http)
		memmove(*text, *text + 5, strlen(*text + 5) + 1);
	else
		(*text)[0] = '\0';
	return 0;
}

static int refine_health(const struct pc__reading *reading, void *object, char **text,
			 struct pc_error *err)
{
	char shown[PC__QUOTED_MAX];

	(void)object;
	if (is_http_path(*text) || strcmp(*text, "readiness") == 0 || strcmp(*text, "none") == 0)
		return 0;
	return pc__setting_error(reading, err,
				 "%s is no way to ask; use \"http:/PATH\" (200: it is well), "
				 "\"readiness\" (the same path as there) or \"none\"",
				 pc__quoted(*text, shown));
}

static void print_readiness(const void *object, struct pc__buf *out)
{
	const struct pc_backend_config *backend = object;
	struct pc__buf text = PC__BUF_INIT;

	if (backend->readiness == PC_READINESS_CALLBACK)
		pc__buf_puts(&text, "callback");
	else
		pc__buf_printf(&text, "http:%s", backend->readiness_path);

	pc_auto(pc_free) char *joined = pc__buf_steal(&text);

	if (joined)
		pc__print_toml_string(out, joined);
	else
		out->failed = true;
}

/* ---- the table ---- */

#define AT(member) offsetof(struct pc_backend_config, member)

static const char *const ways_to_models[] = { "path", "descriptor", "auto", NULL };

/* clang-format off */
const struct pc__setting pc__backend_settings[] = {
	{ "backends", "command", PC__SETTING_STRING_LIST, AT(command),
	  .effect = PC_EFFECT_WORKERS,
	  .min = 1, .max = 256, .required = true, .refine = refine_argument,
	  .description = "The program and its arguments, one element each and never a shell, with "
			 "placeholders in braces: " PC__PLACEHOLDER_NAMES },
	{ "backends", "env", PC__SETTING_STRING_TABLE, AT(env),
	  .effect = PC_EFFECT_WORKERS,
	  .max = 256, .fallback = "", .refine = refine_variable, .secret = true,
	  .description = "Variables of the worker's environment, with the same placeholders" },
	{ "backends", "readiness", PC__SETTING_STRING, AT(readiness_path),
	  .effect = PC_EFFECT_WORKERS,
	  .min = 1, .max = 1024, .fallback = "http:/health", .refine = refine_readiness,
	  .print = print_readiness,
	  .description = "How a worker shows that it has loaded: \"http:/PATH\" is asked until it "
			 "answers 200, at once whenever it has written a line; \"callback\": the "
			 "worker calls {ready_url}" },
	{ "backends", "health", PC__SETTING_STRING, AT(health),
	  .min = 1, .max = 1024, .fallback = "readiness", .refine = refine_health,
	  .description = "How a loaded worker is asked whether it is well: \"http:/PATH\", "
			 "\"readiness\" (as there, if that is asked) or \"none\"; see [health]" },
	{ "backends", "start_timeout_secs", PC__SETTING_SECONDS, AT(start_timeout_secs),
	  .min = 1, .max = 86400, .fallback = "120", .unit = "seconds",
	  .description = "How long a worker may take from its launch until it is ready; the "
			 "verification of its model's file comes before" },
	{ "backends", "stop_grace_secs", PC__SETTING_SECONDS, AT(stop_grace_secs),
	  .min = 0, .max = 3600, .fallback = "10", .unit = "seconds",
	  .description = "How long a worker may take to stop after TERM, before KILL" },
	{ "backends", "device", PC__SETTING_STRING, AT(device),
	  .effect = PC_EFFECT_WORKERS, .min = 1, .fallback = "auto", .refine = pc__refine_device,
	  .description = "Whose memory its workers take: \"auto\" (a GPU if there is one), \"cpu\", "
			 "\"gpu0\" ...; a model's device overrides it" },
	{ "backends", "model_by", PC__SETTING_WORD, AT(model_by),
	  .fallback = "path", .words = ways_to_models,
	  .description = "What {model_path} is: the file's \"path\"; \"descriptor\": /proc/self/fd/3, where "
			 "the worker finds the very file open that was checked; \"auto\": a descriptor "
			 "for a model of one GGUF file, else the path" },
};
/* clang-format on */

const size_t pc__backend_setting_count = PC_ARRAY_LEN(pc__backend_settings);
_Static_assert(PC_ARRAY_LEN(pc__backend_settings) <= PC__BACKEND_SETTINGS_MAX,
	       "raise PC__BACKEND_SETTINGS_MAX");

/* ---- one backend ---- */

/* Finds the backend, or appends one with every default. */
static int open_backend(struct pc__config *config, const char *name, size_t *ret_index,
			struct pc_error *err)
{
	struct pc_config *pub = &config->pub;
	struct pc__reading reading = { .scope = "backends", .folder = "/" };
	struct pc_backend_config *backend;

	for (size_t i = 0; i < pub->backend_count; i++) {
		if (strcmp(pub->backends[i].name, name) == 0) {
			*ret_index = i;
			return 0;
		}
	}
	/* pc__backends_read has made room for it. */
	backend = &pub->backends[pub->backend_count];
	backend->name = pc_strdup(name);
	if (!backend->name)
		return pc_error_oom(err);
	*ret_index = pub->backend_count++;
	for (size_t i = 0; i < pc__backend_setting_count; i++) {
		int rc;

		reading.row = &pc__backend_settings[i];
		if (!reading.row->fallback)
			continue;
		rc = pc__setting_read_text(&reading, reading.row->fallback, backend, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* What one key alone cannot show. `place` is the backend's own. */
static int check_backend(struct pc__config *config, size_t index, const struct pc__reading *place,
			 struct pc_error *err)
{
	const struct pc_backend_config *backend = &config->pub.backends[index];
	struct pc__reading reading = *place;

	reading.row = pc__setting_find(pc__backend_settings, pc__backend_setting_count, NULL,
				       "command");
	if (backend->command.count == 0)
		return pc__setting_error(&reading, err,
					 "it is missing; give the program and its arguments, like "
					 "[\"llama-server\", \"--port\", \"{port}\"]");
	if (backend->command.items[0][0] == '\0')
		return pc__setting_error(&reading, err, "the program's name is empty");
	if (!pc__template_is_constant(backend->command.items[0]))
		return pc__setting_error(&reading, err,
					 "the program's name has a placeholder; which program is "
					 "started is no choice of a model's");
	if (!pc__backend_uses(backend, "port") && !pc__backend_uses(backend, "socket"))
		return pc__setting_error(&reading, err,
					 "it has neither {port} nor {socket}, so that nobody could "
					 "reach the worker");
	if (backend->readiness != PC_READINESS_CALLBACK)
		return 0;
	if (!pc__backend_uses(backend, "ready_url"))
		return pc__setting_error(&reading, err,
					 "readiness \"callback\" needs {ready_url} in command or "
					 "env");
	if (!pc__env_uses(&backend->env, "spawn_token"))
		return pc__setting_error(&reading, err,
					 "readiness \"callback\" needs {spawn_token} in env, which "
					 "the worker's call must carry");
	return 0;
}

static int read_backend(struct pc__config *config, const struct pc__reading *reading,
			const struct pc__toml_entry *entry, struct pc_error *err)
{
	char scope[BACKEND_NAME_MAX + sizeof("backends.")];
	struct pc__reading inner = *reading, place;
	char shown[PC__QUOTED_MAX];
	size_t index = 0;
	int rc;

	inner.row = NULL;
	inner.source.pos = entry->pos;
	if (strlen(entry->key) != entry->key_length ||
	    !pc__is_name(entry->key, "._-", BACKEND_NAME_MAX))
		return pc__setting_error(&inner, err,
					 "%s is no name for a backend; use letters, digits, "
					 "'.', '_' and '-', at most %d",
					 pc__quoted(entry->key, shown), BACKEND_NAME_MAX);
	snprintf(scope, sizeof(scope), "backends.%s", entry->key);
	inner.scope = scope;
	if (pc__toml_kind(entry->value) != PC__TOML_TABLE) {
		inner.source.pos = pc__toml_pos(entry->value);
		return pc__setting_wrong_kind(&inner, entry->value, "a table of settings", err);
	}
	place = inner;
	rc = open_backend(config, entry->key, &index, err);
	for (size_t i = 0; rc == 0 && i < pc__toml_table_size(entry->value); i++) {
		const struct pc__toml_entry *item = pc__toml_table_entry(entry->value, i);
		const struct pc__setting *row = pc__setting_find(
			pc__backend_settings, pc__backend_setting_count, NULL, item->key);

		inner.row = row;
		inner.source.pos = item->pos;
		if (!row || strlen(item->key) != item->key_length)
			return pc__setting_unknown(&inner, item->key, pc__backend_settings,
						   pc__backend_setting_count, "backends", err);
		inner.source.pos = pc__toml_pos(item->value);
		if (strcmp(row->key, "command") == 0)
			place.source.pos = inner.source.pos;
		rc = pc__setting_read_toml(&inner, item->value, &config->pub.backends[index], err);
		config->backend_sources[index].rows[row - pc__backend_settings] = inner.source;
	}
	return rc ? rc : check_backend(config, index, &place, err);
}

static int reserve(struct pc__config *config, size_t more, struct pc_error *err)
{
	struct pc_config *pub = &config->pub;
	size_t capacity = pub->backend_count + more;
	struct pc_backend_config *backends;
	struct pc__backend_sources *sources;

	backends = pc_realloc(pub->backends, capacity * sizeof(*backends));
	if (!backends)
		return pc_error_oom(err);
	pub->backends = backends;
	sources = pc_realloc(config->backend_sources, capacity * sizeof(*sources));
	if (!sources)
		return pc_error_oom(err);
	config->backend_sources = sources;
	memset(backends + pub->backend_count, 0, more * sizeof(*backends));
	memset(sources + pub->backend_count, 0, more * sizeof(*sources));
	return 0;
}

int pc__backends_read(struct pc__config *config, const struct pc__reading *reading,
		      const struct pc__toml_value *table, struct pc_error *err)
{
	size_t count = pc__toml_table_size(table);
	int rc;

	if (pc__toml_kind(table) != PC__TOML_TABLE)
		return pc__setting_wrong_kind(reading, table, "a table [backends.NAME]", err);
	rc = reserve(config, count, err);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = read_backend(config, reading, pc__toml_table_entry(table, i), err);
	return rc;
}

void pc__backends_fini(struct pc__config *config)
{
	struct pc_config *pub = &config->pub;

	for (size_t i = 0; i < pub->backend_count; i++) {
		pc_free(pub->backends[i].name);
		pc__settings_fini(pc__backend_settings, pc__backend_setting_count,
				  &pub->backends[i]);
	}
	pc_free(pub->backends);
	pc_free(config->backend_sources);
}
