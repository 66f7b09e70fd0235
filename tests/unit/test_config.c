/* SPDX-License-Identifier: MIT */
/* Unit tests of src/config: sources and their order, every refusal with its place, showing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/config.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/settings.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

/* ---- a folder of our own, which is also HOME and the working directory ---- */

static int enter_folder(void **state)
{
	char template[] = "/tmp/poolcore-config-XXXXXX";

	(void)state;
	clearenv();
	if (!mkdtemp(template) || !realpath(template, folder) || chdir(folder) != 0)
		return -1;
	setenv("HOME", folder, 1);
	return 0;
}

static int leave_folder(void **state)
{
	static const char *const names[] = { "pool.toml", "shown.toml", "shown2.toml" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++)
		unlink(in_folder(names[i]));
	return chdir("/") || rmdir(folder);
}

/* ---- loading ---- */

static struct pc_config *load_text(const char *text)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_config *config = NULL;

	if (pc_config_load(write_file("pool.toml", text), NULL, 0, &config, &err))
		fail_msg("%s", err.message);
	assert_non_null(config);
	return config;
}

/* Refused, with nothing returned. `text` NULL: without a file. */
static void load_refused(const char *text, const struct pc_setting_override *overrides,
			 size_t count, struct pc_error *ret_err)
{
	struct pc_config *const untouched = (struct pc_config *)&folder;
	struct pc_config *config = untouched;
	const char *path = text ? write_file("pool.toml", text) : NULL;

	*ret_err = (struct pc_error)PC_ERROR_INIT;
	assert_int_equal(pc_config_load(path, overrides, count, &config, ret_err),
			 PC_E_INVALID_CONFIG);
	assert_int_equal(ret_err->code, PC_E_INVALID_CONFIG);
	assert_ptr_equal(config, untouched);
}

static void assert_list(const struct pc_string_list *list, const char *const *expected)
{
	size_t count = 0;

	for (; expected[count]; count++) {
		assert_true(count < list->count);
		assert_string_equal(list->items[count], expected[count]);
	}
	assert_int_equal(list->count, count);
	if (count)
		assert_null(list->items[count]);
}

#define assert_items(list, ...) assert_list(list, (const char *const[]){ __VA_ARGS__, NULL })

/* DESIGN.md's sample, letter by letter. */
static const char sample[] =
	"[pool]\n"
	"pool_id = \"workstation\"              # default: host name\n"
	"state_dir = \"/var/lib/pool-managerd\" # registry, logs, sockets\n"
	"request_timeout_secs = 30\n"
	"shutdown_timeout_secs = 5\n"
	"maintenance_interval_secs = 60\n"
	"cooldown_idle_minutes = 1\n"
	"queue_capacity = 1024                # per model\n"
	"\n"
	"[http]\n"
	"listen = [\"127.0.0.1:9200\"]          # also \"unix:/run/pool-managerd/http.sock\"\n"
	"token_file = \"\"                      # required for what is not loopback\n"
	"max_body_bytes = \"32MiB\"\n"
	"loops = 0                            # 0: one per core\n"
	"\n"
	"[memory]\n"
	"budget_percent = 80\n"
	"cpu = \"\"                             # \"48GiB\" overrides the percentage\n"
	"\n"
	"[catalog]\n"
	"files = [\"catalog.toml\"]\n"
	"cache_dir = \"~/.cache/rbees-pool/models\"\n"
	"\n"
	"[orchestrator]\n"
	"url = \"\"\n"
	"heartbeat_interval_secs = 15\n"
	"\n"
	"[staging]                            # model files kept in the page cache\n"
	"enabled = true\n"
	"max_bytes = \"64GiB\"\n"
	"\n"
	"[backends.llama-server]\n"
	"command = [\"llama-server\", \"--model\", \"{model_path}\", \"--host\", \"127.0.0.1\", "
	"\"--port\", \"{port}\", \"--parallel\", \"{slots}\"]\n"
	"env = { CUDA_VISIBLE_DEVICES = \"{gpu_id}\" }\n"
	"readiness = \"http:/health\"\n"
	"start_timeout_secs = 120\n"
	"stop_grace_secs = 10\n";

static void assert_common_values(const struct pc_config *config)
{
	assert_int_equal(config->pool_request_timeout_secs, 30);
	assert_int_equal(config->pool_shutdown_timeout_secs, 5);
	assert_int_equal(config->pool_maintenance_interval_secs, 60);
	assert_int_equal(config->pool_cooldown_idle_minutes, 1);
	assert_int_equal(config->pool_queue_capacity, 1024);
	assert_items(&config->http_listen, "127.0.0.1:9200");
	assert_string_equal(config->http_token_file, "");
	assert_int_equal(config->http_max_body_bytes, 32 << 20);
	assert_int_equal(config->http_loops, 0);
	assert_int_equal(config->http_max_connections, 4096);
	assert_int_equal(config->http_idle_timeout_secs, 75);
	assert_int_equal(config->memory_budget_percent, 80);
	assert_int_equal(config->memory_budget_count, 0);
	assert_items(&config->catalog_files, in_folder("catalog.toml"));
	assert_string_equal(config->catalog_cache_dir, in_folder(".cache/rbees-pool/models"));
	assert_string_equal(config->orchestrator_url, "");
	assert_int_equal(config->orchestrator_heartbeat_interval_secs, 15);
	assert_true(config->staging_enabled);
	assert_int_equal(config->staging_max_bytes, UINT64_C(64) << 30);
	assert_string_equal(config->log_level, "info");
	assert_string_equal(config->log_format, "human");
}

static void assert_pool_worker(const struct pc_config *config)
{
	const struct pc_backend_config *backend = pc_config_backend(config, "pool-worker");

	assert_non_null(backend);
	assert_string_equal(backend->name, "pool-worker");
	assert_items(&backend->command, "pool-worker", "--model", "{model_path}", "--model-id",
		     "{model_id}", "--socket", "{socket}", "--slots", "{slots}", "--context-tokens",
		     "{context_tokens}", "--capability", "{capability}", "--ready-url",
		     "{ready_url}", "--worker-id", "{worker_id}");
	assert_items(&backend->env, "POOL_WORKER_SPAWN_TOKEN={spawn_token}");
	assert_int_equal(backend->readiness, PC_READINESS_CALLBACK);
	assert_string_equal(backend->readiness_path, "");
	assert_int_equal(backend->start_timeout_secs, 120);
	assert_int_equal(backend->stop_grace_secs, 10);
	assert_string_equal(backend->model_by, "auto");
	assert_string_equal(backend->device, "cpu");
}

static void loads_the_sample(void **state)
{
	struct pc_config *config = load_text(sample);
	const struct pc_backend_config *backend = pc_config_backend(config, "llama-server");

	(void)state;
	assert_string_equal(config->path, in_folder("pool.toml"));
	assert_string_equal(config->pool_id, "workstation");
	assert_string_equal(config->pool_state_dir, "/var/lib/pool-managerd");
	assert_common_values(config);
	assert_int_equal(config->backend_count, 2);
	assert_pool_worker(config);
	assert_non_null(backend);
	assert_items(&backend->command, "llama-server", "--model", "{model_path}", "--host",
		     "127.0.0.1", "--port", "{port}", "--parallel", "{slots}");
	assert_items(&backend->env, "CUDA_VISIBLE_DEVICES={gpu_id}");
	assert_int_equal(backend->readiness, PC_READINESS_HTTP);
	assert_string_equal(backend->readiness_path, "/health");
	assert_int_equal(backend->start_timeout_secs, 120);
	assert_int_equal(backend->stop_grace_secs, 10);
	assert_string_equal(backend->model_by, "path");
	assert_string_equal(backend->device, "auto");
	assert_null(pc_config_backend(config, "llama"));
	pc_config_free(config);
}

static void defaults_need_no_file(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_config *config;

	(void)state;
	setenv("XDG_STATE_HOME", "/xdg", 1);
	assert_int_equal(pc_config_load(NULL, NULL, 0, &config, &err), 0);
	unsetenv("XDG_STATE_HOME");
	assert_null(config->path);
	assert_true(pc__is_name(config->pool_id, "._-", 64));
	assert_string_equal(config->pool_state_dir,
			    geteuid() == 0 ? "/var/lib/pool-managerd" : "/xdg/pool-managerd");
	assert_common_values(config);
	assert_int_equal(config->backend_count, 1);
	assert_pool_worker(config);
	pc_config_free(config);
	pc_config_free(NULL);
}

static void units_are_read(void **state)
{
	struct pc_config *config = load_text("[pool]\n"
					     "request_timeout_secs = \"5m\"\n"
					     "shutdown_timeout_secs = \"0\"\n"
					     "maintenance_interval_secs = \"90\"\n"
					     "cooldown_idle_minutes = 0\n"
					     "[http]\n"
					     "max_body_bytes = 2048\n"
					     "idle_timeout_secs = \"1h\"\n"
					     "[memory]\n"
					     "cpu = \"48GiB\"\n"
					     "gpu0 = 20_000_000_000\n"
					     "gpu12 = \"1.5GiB\"\n"
					     "[staging]\n"
					     "max_bytes = \"20GB\"\n");

	(void)state;
	assert_int_equal(config->pool_request_timeout_secs, 300);
	assert_int_equal(config->pool_shutdown_timeout_secs, 0);
	assert_int_equal(config->pool_maintenance_interval_secs, 90);
	assert_int_equal(config->pool_cooldown_idle_minutes, 0);
	assert_int_equal(config->http_max_body_bytes, 2048);
	assert_int_equal(config->http_idle_timeout_secs, 3600);
	assert_int_equal(config->memory_budget_count, 3);
	assert_string_equal(config->memory_budgets[0].device, "cpu");
	assert_int_equal(config->memory_budgets[0].bytes, UINT64_C(48) << 30);
	assert_string_equal(config->memory_budgets[1].device, "gpu0");
	assert_int_equal(config->memory_budgets[1].bytes, UINT64_C(20000000000));
	assert_string_equal(config->memory_budgets[2].device, "gpu12");
	assert_int_equal(config->memory_budgets[2].bytes, UINT64_C(3) << 29);
	assert_int_equal(config->staging_max_bytes, UINT64_C(20000000000));
	pc_config_free(config);
}

static void paths_become_absolute(void **state)
{
	char above[PATH_MAX + 8];
	struct pc_config *config;

	(void)state;
	config = load_text(
		"pool.state_dir = \"../run//state\"\n"
		"http.token_file = \"./token\"\n"
		"catalog.files = [\"a.toml\", \"/etc/b.toml\", \"~/c.toml\", \"x/../d\"]\n"
		"catalog.cache_dir = \"~\"\n");
	*strrchr(strcpy(above, folder), '/') = '\0';
	strcat(above, "/run//state");
	assert_string_equal(config->pool_state_dir, above);
	assert_string_equal(config->http_token_file, in_folder("token"));
	assert_string_equal(config->catalog_files.items[0], in_folder("a.toml"));
	assert_string_equal(config->catalog_files.items[1], "/etc/b.toml");
	assert_string_equal(config->catalog_files.items[2], in_folder("c.toml"));
	assert_string_equal(config->catalog_files.items[3], in_folder("x/../d"));
	assert_string_equal(config->catalog_cache_dir, folder);
	pc_config_free(config);

	/* Those of the file begin at its folder, those of the environment where we stand. */
	write_file("pool.toml", "http.token_file = \"token\"\n");
	setenv("RBEES_POOL_CATALOG_FILES", "here.toml", 1);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(pc_config_load(in_folder("pool.toml"), NULL, 0, &config, NULL), 0);
	assert_int_equal(chdir(folder), 0);
	unsetenv("RBEES_POOL_CATALOG_FILES");
	assert_string_equal(config->http_token_file, in_folder("token"));
	assert_items(&config->catalog_files, "/here.toml");
	pc_config_free(config);
}

/* ---- refusals ---- */

struct refusal {
	const char *text;
	const char *place; /* line:column */
	const char *key;
	const char *message; /* what follows "FILE:PLACE: KEY: " */
};

static void assert_refused(const struct refusal *refusal)
{
	struct pc_error err;
	char expected[4 * PATH_MAX], place[64];

	load_refused(refusal->text, NULL, 0, &err);
	snprintf(expected, sizeof(expected), "%s:%s: %s: %s", in_folder("pool.toml"),
		 refusal->place, refusal->key, refusal->message);
	assert_string_equal(err.message, expected);
	assert_string_equal(pc_error_detail_get(&err, "file"), in_folder("pool.toml"));
	snprintf(place, sizeof(place), "%s:%s", pc_error_detail_get(&err, "line"),
		 pc_error_detail_get(&err, "column"));
	assert_string_equal(place, refusal->place);
	assert_string_equal(pc_error_detail_get(&err, "key"), refusal->key);
}

#define KNOWN_PLACEHOLDERS \
	"known: model_path, model_id, worker_id, port, socket, gpu_id, gpu_uuid, slots, " \
	"context_tokens, capability, spawn_token, ready_url"

/* clang-format off */
static const struct refusal refusals[] = {
	/* ranges */
	{ "# a\n\n[pool]\nrequest_timeout_secs = -5\n", "4:24", "pool.request_timeout_secs",
	  "-5 is out of range; use 1 to 86400 seconds" },
	{ "[pool]\nrequest_timeout_secs = 0\n", "2:24", "pool.request_timeout_secs",
	  "0 is out of range; use 1 to 86400 seconds" },
	{ "[pool]\nrequest_timeout_secs = \"2d\"\n", "2:24", "pool.request_timeout_secs",
	  "\"2d\" is out of range; use 1 to 86400 seconds" },
	{ "[pool]\nrequest_timeout_secs = \"250ms\"\n", "2:24", "pool.request_timeout_secs",
	  "\"250ms\" is not a whole number of seconds" },
	{ "[pool]\nqueue_capacity = 9223372036854775807\n", "2:18", "pool.queue_capacity",
	  "9223372036854775807 is out of range; use 1 to 1000000 requests" },
	{ "http.max_body_bytes = \"5GiB\"\n", "1:23", "http.max_body_bytes",
	  "\"5GiB\" is out of range; use \"1KiB\" to \"4GiB\"" },
	{ "memory.cpu = 48\n", "1:14", "memory.cpu", "48 is out of range; use \"1MiB\" or more" },
	{ "memory.budget_percent = 101\n", "1:25", "memory.budget_percent",
	  "101 is out of range; use 1 to 100 percent" },
	/* kinds */
	{ "pool.request_timeout_secs = true\n", "1:29", "pool.request_timeout_secs",
	  "true is a boolean; an integer number of seconds or a duration like \"90s\" is expected" },
	{ "pool.request_timeout_secs = \"soon\"\n", "1:29", "pool.request_timeout_secs",
	  "\"soon\" is not understood; an integer number of seconds or a duration like \"90s\" is "
	  "expected" },
	{ "pool.cooldown_idle_minutes = \"1m\"\n", "1:30", "pool.cooldown_idle_minutes",
	  "\"1m\" is a string; an integer number of minutes is expected" },
	{ "pool.queue_capacity = 1.5\n", "1:23", "pool.queue_capacity",
	  "1.5 is a float; an integer number of requests is expected" },
	{ "pool.pool_id = 3\n", "1:16", "pool.pool_id", "3 is an integer; a string is expected" },
	{ "pool.state_dir = []\n", "1:18", "pool.state_dir",
	  "this is an array; a path in quotes is expected" },
	{ "http.listen = \"127.0.0.1:9200\"\n", "1:15", "http.listen",
	  "\"127.0.0.1:9200\" is a string; an array of strings like [\"a\", \"b\"] is expected" },
	{ "http.listen = [\n  \"127.0.0.1:9200\",\n  9201]\n", "3:3", "http.listen",
	  "9201 is an integer; a string is expected" },
	{ "catalog.files = 1\n", "1:17", "catalog.files",
	  "1 is an integer; an array of paths like [\"a\", \"b\"] is expected" },
	{ "catalog.files = [\"\"]\n", "1:18", "catalog.files", "a path in it is empty" },
	{ "http.max_body_bytes = \"32 MB\"\n", "1:23", "http.max_body_bytes",
	  "\"32 MB\" is not understood; an integer number of bytes or a size like \"32MiB\" is "
	  "expected" },
	{ "staging.enabled = \"yes\"\n", "1:19", "staging.enabled",
	  "\"yes\" is a string; true or false is expected" },
	{ "log.level = \"loud\"\n", "1:13", "log.level",
	  "\"loud\" is not understood; \"debug\", \"info\", \"warn\" or \"error\" is expected" },
	{ "log.format = 1979-05-27\n", "1:14", "log.format",
	  "this is a local date; \"human\" or \"json\" is expected" },
	/* texts */
	{ "pool.pool_id = \"\"\n", "1:16", "pool.pool_id", "it is empty; a value is needed here" },
	{ "pool.pool_id = \"my pool\"\n", "1:16", "pool.pool_id",
	  "\"my pool\" is no pool id; use letters, digits, '.', '_' and '-', beginning with a letter "
	  "or digit" },
	{ "pool.pool_id = \"a\\u0000b\"\n", "1:16", "pool.pool_id",
	  "it holds a NUL character, which no setting may" },
	{ "pool.pool_id = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n",
	  "1:16", "pool.pool_id", "it is 65 bytes long; use 1 to 64 bytes" },
	{ "catalog.cache_dir = \"~anna/models\"\n", "1:21", "catalog.cache_dir",
	  "\"~anna/models\": \"~name\" is not expanded; write \"~/...\" or an absolute path" },
	{ "orchestrator.url = \"example.org\"\n", "1:20", "orchestrator.url",
	  "\"example.org\" is no address; use \"http://HOST:PORT\" or \"https://HOST\", without "
	  "query" },
	{ "http.listen = []\n", "1:15", "http.listen", "it is empty; a value is needed here" },
	{ "http.listen = [\"127.0.0.1:9200\", \"127.0.0.1:9200\"]\n", "1:15", "http.listen",
	  "\"127.0.0.1:9200\" is there twice" },
	{ "http.listen = [\"127.0.0.1:9200\", \"0.0.0.0:9200\"]\n", "1:15", "http.listen",
	  "\"0.0.0.0:9200\" can be reached from other machines and there is no token; set "
	  "http.token_file, or listen on 127.0.0.1, [::1] or unix:/path" },
	{ "http.max_body_bytes = \"2GiB\"\n", "1:23", "http.max_body_bytes",
	  "a body of 2147483648 bytes finds no room in http.max_buffered_bytes, 1073741824; set that "
	  "to as much at least" },
	{ "orchestrator.url = \"http://:80\"\n", "1:20", "orchestrator.url",
	  "\"http://:80\" is no address; use \"http://HOST:PORT\" or \"https://HOST\", without "
	  "query" },
	{ "pool.pool_id = \"a\\nb\"\n", "1:16", "pool.pool_id",
	  "\"a?b\" is no pool id; use letters, digits, '.', '_' and '-', beginning with a letter "
	  "or digit" },
	/* A long value is cut, between characters. */
	{ "http.listen = [\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "\u00e9aaaaaa\"]\n", "1:16", "http.listen",
	  "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\": the port "
	  "is missing; use \"HOST:PORT\", \"[IPV6]:PORT\" or \"unix:/path\"" },
	/* names */
	{ "[pool]\nrequest_timeout_sec = 30\n", "2:1", "pool.request_timeout_sec",
	  "unknown key; did you mean \"request_timeout_secs\"?" },
	{ "[log]\ncolour = true\n", "2:1", "log.colour", "unknown key; known here: level, format" },
	{ "[memory]\ngpu01 = \"1GiB\"\n", "2:1", "memory.gpu01",
	  "unknown key; known here: budget_percent, and a device's name: cpu, gpu0, gpu1 ..." },
	{ "[memory]\nbudget_percents = 1\n", "2:1", "memory.budget_percents",
	  "unknown key; did you mean \"budget_percent\"?" },
	{ "[poll]\n", "1:2", "poll", "unknown section; did you mean [pool]?" },
	{ "[backend.x]\n", "1:2", "backend", "unknown section; did you mean [backends.NAME]?" },
	{ "[models]\n", "1:2", "models",
	  "unknown section; known: [pool], [health], [http], [memory], [catalog], [orchestrator], [staging], "
	  "[log], [backends.NAME]" },
	{ "listen = []\n", "1:1", "listen", "it stands outside of its section; put it under [http]" },
	{ "http = 3\n", "1:8", "http", "3 is an integer; a table of settings is expected" },
	/* backends */
	{ "backends = 1\n", "1:1", "backends", "1 is an integer; a table [backends.NAME] is expected" },
	{ "backends.x = 1\n", "1:14", "backends.x",
	  "1 is an integer; a table of settings is expected" },
	{ "[backends.\"a b\"]\n", "1:11", "backends",
	  "\"a b\" is no name for a backend; use letters, digits, '.', '_' and '-', at most 64" },
	{ "[backends.x]\n", "1:11", "backends.x.command",
	  "it is missing; give the program and its arguments, like [\"llama-server\", \"--port\", "
	  "\"{port}\"]" },
	{ "[backends.x]\ncommand = []\n", "2:11", "backends.x.command",
	  "it is empty; a value is needed here" },
	{ "[backends.x]\ncommand = [\"\", \"{port}\"]\n", "2:11", "backends.x.command",
	  "the program's name is empty" },
	{ "[backends.x]\ncommand = [\"s\", \"{prot}\"]\n", "2:17", "backends.x.command",
	  "{prot} is not a placeholder; " KNOWN_PLACEHOLDERS },
	{ "[backends.x]\ncommand = [\"s\", \"{port\"]\n", "2:17", "backends.x.command",
	  "\"{port\": a '{' is not closed; write \"{{\" for a brace" },
	{ "[backends.x]\ncommand = [\"s\", \"port}\"]\n", "2:17", "backends.x.command",
	  "\"port}\": a '}' stands alone; write \"}}\" for a brace" },
	{ "[backends.x]\ncommand = [\"/opt/{model_id}\", \"{port}\"]\n", "2:11",
	  "backends.x.command",
	  "the program's name has a placeholder; which program is started is no choice of a "
	  "model's" },
	{ "[backends.x]\ncommand = [\"s\", \"-{slots}{port}\", \"--{model_id}\"]\n", "2:35",
	  "backends.x.command",
	  "{model_id} behind nothing but '-' would choose which option it is; write the option's "
	  "name before it" },
	{ "[backends.x]\ncommand = [\"s\", \"{{port}}\"]\n", "2:11", "backends.x.command",
	  "it has neither {port} nor {socket}, so that nobody could reach the worker" },
	{ "[backends.x]\ncommand = [\"s\", \"{port}\", \"{spawn_token}\"]\n", "2:27",
	  "backends.x.command",
	  "{spawn_token} is a secret and every user can read arguments; put it into env" },
	{ "[backends.x]\ncommand = [\"s\", \"{port}\"]\nreadiness = \"callback\"\n", "2:11",
	  "backends.x.command", "readiness \"callback\" needs {ready_url} in command or env" },
	{ "[backends.x]\ncommand = [\"s\", \"{port}\", \"{ready_url}\"]\nreadiness = \"callback\"\n",
	  "2:11", "backends.x.command",
	  "readiness \"callback\" needs {spawn_token} in env, which the worker's call must carry" },
	{ "[backends.pool-worker]\nenv = {}\n", "1:11", "backends.pool-worker.command",
	  "readiness \"callback\" needs {spawn_token} in env, which the worker's call must carry" },
	{ "[backends.x]\nreadiness = \"health\"\n", "2:13", "backends.x.readiness",
	  "\"health\" is no readiness; use \"http:/PATH\" (asked until it answers 200) or "
	  "\"callback\" (the worker says it)" },
	{ "[backends.x]\nreadiness = \"http:/a b\"\n", "2:13", "backends.x.readiness",
	  "\"http:/a b\" is no readiness; use \"http:/PATH\" (asked until it answers 200) or "
	  "\"callback\" (the worker says it)" },
	{ "[backends.x]\ndevice = \"gpu\"\n", "2:10", "backends.x.device",
	  "\"gpu\" is no device; use \"auto\", \"cpu\", \"gpu0\", \"gpu1\" ..." },
	{ "[backends.x]\nenv = { 0A = \"b\" }\n", "2:14", "backends.x.env",
	  "\"0A=b\" does not begin with the name of a variable; use letters, digits and '_'" },
	{ "[backends.x]\nenv = { A = 1 }\n", "2:13", "backends.x.env",
	  "1 is an integer; a string is expected" },
	{ "[backends.x]\nenv = [\"A=1\"]\n", "2:7", "backends.x.env",
	  "this is an array; a table of strings like { NAME = \"value\" } is expected" },
	{ "[backends.x]\nenv = { A = \"{b}\" }\n", "2:13", "backends.x.env",
	  "{b} is not a placeholder; " KNOWN_PLACEHOLDERS },
	{ "[backends.x]\nstart_timeout_secs = 0\n", "2:22", "backends.x.start_timeout_secs",
	  "0 is out of range; use 1 to 86400 seconds" },
	{ "[backends.x]\ncomand = []\n", "2:1", "backends.x.comand",
	  "unknown key; did you mean \"command\"?" },
};
/* clang-format on */

static void refusals_name_place_and_cure(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(refusals); i++)
		assert_refused(&refusals[i]);
}

static void broken_toml_and_missing_files(void **state)
{
	struct pc_config *config = NULL;
	struct pc_error err;

	(void)state;
	load_refused("[pool\n", NULL, 0, &err);
	assert_string_equal(pc_error_detail_get(&err, "line"), "1");

	pc_error_clear(&err);
	unlink(in_folder("pool.toml"));
	assert_int_equal(pc_config_load(in_folder("pool.toml"), NULL, 0, &config, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_contains(err.message, in_folder("pool.toml"));
	assert_null(config);
	pc_error_clear(&err);
	assert_int_equal(pc_config_load(NULL, NULL, 0, NULL, &err), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_config_load(NULL, NULL, 1, &config, NULL), PC_E_INVALID_ARGUMENT);
	/* Who does not care for the reason may say so. */
	write_file("pool.toml", "pool = 1\n");
	assert_int_equal(pc_config_load("pool.toml", NULL, 0, &config, NULL), PC_E_INVALID_CONFIG);
}

static void listen_addresses(void **state)
{
	static const struct {
		const char *text;
		bool loopback;
		const char *wrong; /* NULL: fine */
	} cases[] = {
		{ "127.0.0.1:9200", true, NULL },
		{ "127.8.9.1:0", true, NULL },
		{ "localhost:65535", true, NULL },
		{ "[::1]:80", true, NULL },
		{ "[::ffff:127.0.0.1]:80", true, NULL },
		{ "unix:/run/pool.sock", true, NULL },
		{ "0.0.0.0:80", false, NULL },
		{ "[::]:80", false, NULL },
		{ "pool.example.org:80", false, NULL },
		{ "128.0.0.1:80", false, NULL },
		{ "9200", false, "the port is missing" },
		{ "", false, "the port is missing" },
		{ ":9200", false, "the host is missing" },
		{ "*:9200", false, "\"*\" is no host" },
		{ "127.0.0.1:", false, "does not end in a port" },
		{ "127.0.0.1:http", false, "does not end in a port" },
		{ "127.0.0.1:65536", false, "greater than 65535" },
		{ "127.0.0.1:000080", false, "greater than 65535" },
		{ "127.0.0:80", false, "IPv4 address is not valid" },
		{ "256.0.0.1:80", false, "IPv4 address is not valid" },
		{ "::1:80", false, "needs brackets" },
		{ "[::1]", false, "not closed before the port" },
		{ "[::1:80", false, "not closed before the port" },
		{ "[::g]:80", false, "no IPv6 address" },
		{ "[:80", false, "not closed before the port" },
		{ "a_b:80", false, "host name is not valid" },
		{ "http://x:80", false, "needs brackets" },
		{ "unix:run.sock", false, "must be absolute" },
		{ "unix:", false, "must be absolute" },
		{ "unix:/run/", false, "must name a file" },
	};
	char path[160] = "unix:/";

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		bool loopback = false;
		const char *wrong = pc__listen_check(cases[i].text, &loopback);

		if (cases[i].wrong) {
			assert_non_null(wrong);
			assert_contains(wrong, cases[i].wrong);
			continue;
		}
		assert_null(wrong);
		assert_int_equal(loopback, cases[i].loopback);
	}

	bool loopback;

	memset(path + 6, 'a', 106); /* with the slash 107 bytes, what sun_path holds */
	assert_null(pc__listen_check(path, &loopback));
	path[112] = 'a';
	assert_non_null(pc__listen_check(path, &loopback));
}

static void public_address_with_token(void **state)
{
	struct pc_config *config = load_text("[http]\nlisten = [\"0.0.0.0:9200\"]\n"
					     "token_file = \"token\"\n");

	(void)state;
	assert_items(&config->http_listen, "0.0.0.0:9200");
	pc_config_free(config);
}

/* ---- environment and flags ---- */

static void environment_beats_file(void **state)
{
	struct pc_config *config;

	(void)state;
	setenv("RBEES_POOL_HTTP_LISTEN", "127.0.0.1:1, unix:/tmp/s", 1);
	setenv("RBEES_POOL_POOL_REQUEST_TIMEOUT_SECS", "2m", 1);
	setenv("RBEES_POOL_POOL_QUEUE_CAPACITY", "7", 1);
	setenv("RBEES_POOL_MEMORY_GPU1", "2GiB", 1);
	setenv("RBEES_POOL_MEMORY_CPU", "", 1);
	setenv("RBEES_POOL_STAGING_ENABLED", "false", 1);
	/* Not ours to judge: no section begins like this. */
	setenv("RBEES_POOL_URL", "http://127.0.0.1:1", 1);
	setenv("RBEES_POOL_PORT_9200_TCP", "tcp://10.0.0.1:9200", 1);
	setenv("RBEES_POOL_", "", 1);
	config = load_text("pool.request_timeout_secs = 5\nmemory.cpu = \"1GiB\"\n"
			   "log.level = \"debug\"\n");
	clearenv();
	setenv("HOME", folder, 1);
	assert_items(&config->http_listen, "127.0.0.1:1", "unix:/tmp/s");
	assert_int_equal(config->pool_request_timeout_secs, 120);
	assert_int_equal(config->pool_queue_capacity, 7);
	assert_int_equal(config->memory_budget_count, 1);
	assert_string_equal(config->memory_budgets[0].device, "gpu1");
	assert_false(config->staging_enabled);
	assert_string_equal(config->log_level, "debug");
	pc_config_free(config);
}

static void assert_variable_refused(const char *name, const char *value, const char *key,
				    const char *message)
{
	struct pc_error err;
	char expected[PC_ERROR_MESSAGE_MAX];

	setenv(name, value, 1);
	load_refused(NULL, NULL, 0, &err);
	unsetenv(name);
	snprintf(expected, sizeof(expected), "%s: %s%s%s", name, key ? key : "", key ? ": " : "",
		 message);
	assert_string_equal(err.message, expected);
	if (!key)
		return;
	assert_string_equal(pc_error_detail_get(&err, "variable"), name);
	assert_string_equal(pc_error_detail_get(&err, "key"), key);
	assert_null(pc_error_detail_get(&err, "line"));
}

static void environment_refusals(void **state)
{
	(void)state;
	assert_variable_refused("RBEES_POOL_POOL_QUEUE_CAPACITY", "many", "pool.queue_capacity",
				"\"many\" is not understood; an integer number of requests is "
				"expected");
	assert_variable_refused(
		"RBEES_POOL_POOL_QUEUE_CAPACITY", "99999999999999999999", "pool.queue_capacity",
		"\"99999999999999999999\" is out of range; use 1 to 1000000 requests");
	/* One more than int64 holds, where every int64 is allowed. */
	assert_variable_refused("RBEES_POOL_STAGING_MAX_BYTES", "9223372036854775808",
				"staging.max_bytes",
				"\"9223372036854775808\" is not understood; an integer number of "
				"bytes or a size like \"32MiB\" is expected");
	assert_variable_refused("RBEES_POOL_STAGING_MAX_BYTES", "-1", "staging.max_bytes",
				"\"-1\" is out of range; use \"0B\" or more");
	assert_variable_refused("RBEES_POOL_POOL_QUEUE_CAPACITY", "0", "pool.queue_capacity",
				"\"0\" is out of range; use 1 to 1000000 requests");
	assert_variable_refused("RBEES_POOL_HTTP_LISTEM", "x", "http.listem",
				"unknown key; did you mean \"listen\"?");
	assert_variable_refused("RBEES_POOL_STAGING_ENABLED", "1", "staging.enabled",
				"\"1\" is not understood; true or false is expected");
	assert_variable_refused("RBEES_POOL_CATALOG_CACHE_DIR", "/\xff", "catalog.cache_dir",
				"it is not valid UTF-8");
	assert_variable_refused("RBEES_POOL_MEMORY_GPU0", "1", "memory.gpu0",
				"\"1\" is out of range; use \"1MiB\" or more");
	assert_variable_refused("RBEES_POOL_BACKENDS_X_COMMAND", "x", NULL,
				"backends are set in the configuration file only");
}

static void flags_beat_environment(void **state)
{
	static const struct pc_setting_override overrides[] = {
		{ "pool.queue_capacity", "3", PC_SOURCE_FLAG, NULL },
		{ "pool.queue_capacity", "4", PC_SOURCE_FLAG, "--queue" },
		{ "pool.queue_capacity", "5", PC_SOURCE_ENVIRONMENT, NULL },
		{ "memory.cpu", "3GiB", PC_SOURCE_FLAG, NULL },
	};
	struct pc_config *config;

	(void)state;
	write_file("pool.toml", "pool.queue_capacity = 1\nmemory.cpu = \"1GiB\"\n");
	setenv("RBEES_POOL_POOL_QUEUE_CAPACITY", "2", 1);
	assert_int_equal(
		pc_config_load("pool.toml", overrides, PC_ARRAY_LEN(overrides), &config, NULL), 0);
	unsetenv("RBEES_POOL_POOL_QUEUE_CAPACITY");
	assert_int_equal(config->pool_queue_capacity, 4);
	assert_int_equal(config->memory_budget_count, 1);
	assert_int_equal(config->memory_budgets[0].bytes, UINT64_C(3) << 30);
	assert_string_equal(config->path, in_folder("pool.toml"));
	pc_config_free(config);
}

static void flag_refusals(void **state)
{
	static const struct {
		struct pc_setting_override override;
		const char *message;
	} cases[] = {
		{ { "http.loops", "-1", PC_SOURCE_FLAG, "--loops" },
		  "--loops: http.loops: \"-1\" is out of range; use 0 to 256 event loops" },
		{ { "http.loops", "x", PC_SOURCE_FLAG, NULL },
		  "--http.loops: http.loops: \"x\" is not understood; an integer number of event "
		  "loops is expected" },
		{ { "http.lops", "x", PC_SOURCE_FLAG, NULL },
		  "--http.lops: http.lops: unknown key; did you mean \"loops\"?" },
		{ { "http.loops", "x", PC_SOURCE_ENVIRONMENT, NULL },
		  "RBEES_POOL_HTTP_LOOPS: http.loops: \"x\" is not understood; an integer number of "
		  "event loops is expected" },
		{ { "loops", "1", PC_SOURCE_FLAG, NULL },
		  "loops: a setting is named \"SECTION.KEY\", like \"http.listen\"" },
		{ { "htp.loops", "1", PC_SOURCE_FLAG, NULL },
		  "htp.loops: there is no section [htp]" },
		{ { "http.listen", "0.0.0.0:1", PC_SOURCE_FLAG, "--listen" },
		  "--listen: http.listen: \"0.0.0.0:1\" can be reached from other machines and there "
		  "is no token; set http.token_file, or listen on 127.0.0.1, [::1] or unix:/path" },
	};
	struct pc_error err;

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		load_refused(NULL, &cases[i].override, 1, &err);
		assert_string_equal(err.message, cases[i].message);
	}
}

/* ---- backends ---- */

static void file_overrides_the_built_in_backend(void **state)
{
	struct pc_config *config = load_text("[backends.pool-worker]\n"
					     "device = \"gpu3\"\n"
					     "stop_grace_secs = \"1m\"\n"
					     "[backends.\"v.1\"]\n"
					     "command = [\"v\", \"a{{b}}{socket}c\", \"\"]\n"
					     "readiness = \"http:/v1/models?x=1\"\n");
	const struct pc_backend_config *worker = pc_config_backend(config, "pool-worker");
	const struct pc_backend_config *other = pc_config_backend(config, "v.1");

	(void)state;
	assert_int_equal(config->backend_count, 2);
	assert_string_equal(worker->device, "gpu3");
	assert_int_equal(worker->stop_grace_secs, 60);
	assert_int_equal(worker->start_timeout_secs, 120);
	assert_string_equal(worker->command.items[0], "pool-worker");
	assert_int_equal(worker->readiness, PC_READINESS_CALLBACK);
	assert_string_equal(other->readiness_path, "/v1/models?x=1");
	assert_int_equal(other->env.count, 0);
	assert_items(&other->command, "v", "a{{b}}{socket}c", "");
	pc_config_free(config);
}

/* ---- showing ---- */

static char *show(const struct pc_config *config)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);
	struct pc_error err = PC_ERROR_INIT;

	assert_non_null(file);
	assert_int_equal(pc_config_show(config, file, &err), 0);
	fclose(file);
	return text;
}

/* Without the comments behind values: what is left is the values. */
static char *without_sources(char *text)
{
	static const char *const sources[] = { " # default", " # file ", " # environment ",
					       " # flag " };
	char *out = text;

	for (char *line = text; *line;) {
		size_t length = strcspn(line, "\n"), keep = length;

		for (size_t i = 0; i < PC_ARRAY_LEN(sources); i++) {
			char *mark = memmem(line, length, sources[i], strlen(sources[i]));

			if (mark)
				keep = (size_t)(mark - line);
		}
		memmove(out, line, keep);
		out += keep;
		*out++ = '\n';
		line += length + (line[length] == '\n');
	}
	*out = '\0';
	return text;
}

static void show_reads_back_to_the_same(void **state)
{
	static const struct pc_setting_override flag = { "log.format", "json", PC_SOURCE_FLAG,
							 "--log-format" };
	struct pc_config *config, *again;
	char *first, *second;

	(void)state;
	write_file("pool.toml", "[pool]\n"
				"state_dir = \"/a \\\"b\\\" \\\\ \\u0001 \u00e9\"\n"
				"request_timeout_secs = \"5m\"\n"
				"[http]\n"
				"listen = [\"127.0.0.1:1\", \"unix:/tmp/s\"]\n"
				"max_body_bytes = 1025\n"
				"[memory]\n"
				"gpu0 = \"20GB\"\n"
				"[orchestrator]\n"
				"url = \"https://o.example/base/\"\n"
				"[backends.\"v.1\"]\n"
				"command = [\"v\", \"--x={{}}\", \"{port}\"]\n"
				"env = { A = \"a=b\", B_2 = \"{gpu_id}\" }\n");
	setenv("RBEES_POOL_POOL_POOL_ID", "of-the-environment", 1);
	assert_int_equal(pc_config_load("pool.toml", &flag, 1, &config, NULL), 0);
	unsetenv("RBEES_POOL_POOL_POOL_ID");
	first = show(config);
	pc_config_free(config);

	assert_contains(first, "\npool_id = \"of-the-environment\" # environment "
			       "RBEES_POOL_POOL_POOL_ID\n");
	assert_contains(first, "\nformat = \"json\" # flag --log-format\n");
	assert_contains(first, "\nlevel = \"info\" # default\n");
	assert_contains(first, "\nrequest_timeout_secs = 300 # file \"");
	assert_contains(first, "/pool.toml\", line 3\n");
	assert_contains(first, "\nstate_dir = \"/a \\\"b\\\" \\\\ \\u0001 \u00e9\" # file ");
	assert_contains(first, "\nmax_body_bytes = \"1025B\" # file ");
	assert_contains(first, "\nurl = \"https://o.example/base\" # file ");
	assert_contains(first, "\ngpu0 = \"19531250KiB\" # file ");
	assert_contains(first, "\n[backends.\"v.1\"]\n");
	assert_contains(first, "\nenv = { A = \"a=b\", B_2 = \"{gpu_id}\" } # file ");
	assert_contains(first, "\nreadiness = \"callback\" # default\n");
	assert_contains(first, "\nreadiness = \"http:/health\" # default\n");

	assert_int_equal(pc_config_load(write_file("shown.toml", first), NULL, 0, &again, NULL), 0);
	second = show(again);
	pc_config_free(again);
	assert_string_equal(without_sources(second), without_sources(first));
	free(first);
	free(second);
}

static void show_of_the_defaults_reads_back(void **state)
{
	struct pc_config *config, *again;
	char *first, *second;

	(void)state;
	assert_int_equal(pc_config_load(NULL, NULL, 0, &config, NULL), 0);
	first = show(config);
	pc_config_free(config);
	assert_int_equal(pc_config_load(write_file("shown2.toml", first), NULL, 0, &again, NULL),
			 0);
	second = show(again);
	pc_config_free(again);
	assert_string_equal(without_sources(second), without_sources(first));
	free(first);
	free(second);
}

static void show_reports_a_full_disk(void **state)
{
	struct pc_config *config = load_text("");
	struct pc_error err = PC_ERROR_INIT;
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(full);
	assert_int_equal(pc_config_show(config, full, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, ENOSPC);
	fclose(full);
	pc_config_free(config);
}

static void reference_names_every_setting(void **state)
{
	char *text = NULL, line[128];
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(pc_config_write_reference(file, NULL), 0);
	fclose(file);
	for (size_t i = 0; i < pc__setting_count; i++) {
		snprintf(line, sizeof(line), "\n.BR %s \"", pc__settings[i].key);
		assert_contains(text, line);
		assert_true(strlen(pc__settings[i].description) > 10);
	}
	for (size_t i = 0; i < pc__backend_setting_count; i++) {
		snprintf(line, sizeof(line), "\n.BR %s \"", pc__backend_settings[i].key);
		assert_contains(text, line);
	}
	assert_contains(text, ".SS [http]\n");
	assert_contains(text, "Accepts 1 to 86400 seconds.\nDefault: 30.\n"
			      "Environment: RBEES_POOL_POOL_REQUEST_TIMEOUT_SECS.\n");
	assert_contains(text, "Default: the host name.\n");
	assert_contains(text, "Required.\n");
	free(text);
}

/* ---- without memory ---- */

static void every_allocation_may_fail(void **state)
{
	static const struct pc_setting_override overrides[] = {
		{ "http.listen", "127.0.0.1:1", PC_SOURCE_FLAG, "--listen" },
		{ "memory.gpu0", "", PC_SOURCE_FLAG, NULL },
		{ "memory.gpu1", "1GiB", PC_SOURCE_FLAG, NULL },
	};
	struct pc_config *config = NULL;

	(void)state;
	write_file("pool.toml",
		   "[memory]\ncpu = \"1GiB\"\ngpu0 = \"1GiB\"\n"
		   "[backends.x]\ncommand = [\"x\", \"{port}\"]\nenv = { A = \"b\" }\n");
	setenv("RBEES_POOL_CATALOG_FILES", "a,b", 1);
	for (unsigned n = 1;; n++) {
		struct pc_error err = PC_ERROR_INIT;
		int rc;

		fail_alloc_begin(n);
		rc = pc_config_load("pool.toml", overrides, PC_ARRAY_LEN(overrides), &config, &err);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			assert_true(n > 100);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		assert_null(config);
		assert_int_equal(fail_alloc_live(), 0);
	}
	unsetenv("RBEES_POOL_CATALOG_FILES");
	assert_int_equal(config->memory_budget_count, 2);

	FILE *sink = fopen("/dev/null", "w");

	for (unsigned n = 1;; n++) {
		int rc;

		fail_alloc_begin(n);
		rc = pc_config_show(config, sink, NULL);
		assert_int_equal(fail_alloc_live(), 0);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	}
	fclose(sink);
	pc_config_free(config);
}

/* Messages are made of pieces too: without memory for them it is OUT_OF_MEMORY, without a leak. */
static void every_allocation_of_a_refusal_may_fail(void **state)
{
	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(refusals); i++) {
		write_file("pool.toml", refusals[i].text);
		for (unsigned n = 1;; n++) {
			struct pc_config *config = NULL;
			struct pc_error err = PC_ERROR_INIT;
			bool done;
			int rc;

			fail_alloc_begin(n);
			rc = pc_config_load("pool.toml", NULL, 0, &config, &err);
			done = fail_alloc_end();
			assert_null(config);
			assert_int_equal(fail_alloc_live(), 0);
			/* A suggestion that is not needed in the end may fail unnoticed. */
			if (done || rc != PC_E_OUT_OF_MEMORY)
				assert_int_equal(rc, PC_E_INVALID_CONFIG);
			assert_int_equal(err.code, rc);
			if (done)
				break;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_the_sample),
		cmocka_unit_test(defaults_need_no_file),
		cmocka_unit_test(units_are_read),
		cmocka_unit_test(paths_become_absolute),
		cmocka_unit_test(refusals_name_place_and_cure),
		cmocka_unit_test(broken_toml_and_missing_files),
		cmocka_unit_test(listen_addresses),
		cmocka_unit_test(public_address_with_token),
		cmocka_unit_test(environment_beats_file),
		cmocka_unit_test(environment_refusals),
		cmocka_unit_test(flags_beat_environment),
		cmocka_unit_test(flag_refusals),
		cmocka_unit_test(file_overrides_the_built_in_backend),
		cmocka_unit_test(show_reads_back_to_the_same),
		cmocka_unit_test(show_of_the_defaults_reads_back),
		cmocka_unit_test(show_reports_a_full_disk),
		cmocka_unit_test(reference_names_every_setting),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(every_allocation_of_a_refusal_may_fail),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
