/* SPDX-License-Identifier: MIT */
/* Unit tests of src/lifecycle: templates, finding programs, ports and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/lifecycle.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fail_alloc.h"

#define LIST(...) \
	{ \
		.items = (char *[]){ __VA_ARGS__, NULL }, \
		.count = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) \
	}

static const struct pc_launch_values full = {
	.model_path = "/models/tiny.gguf",
	.model_id = "tiny",
	.worker_id = "w-1-1",
	.port = 8801,
	.socket = "/run/w-1-1.sock",
	.gpu_id = 1,
	.gpu_uuid = "GPU-1111",
	.slots = 4,
	.context_tokens = 2048,
	.capability = "text_to_text",
	.spawn_token = "00112233445566778899aabbccddeeff",
	.ready_url = "http://127.0.0.1:9200/v2/internal/workers/ready",
};

static const char *env_of(const struct pc_string_list *env, const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], name, length) == 0 && env->items[i][length] == '=')
			return env->items[i] + length + 1;
	}
	return NULL;
}

/* Expands one argument behind the program's name; the result is freed by the caller. */
static int expand_one(char *template, const struct pc_launch_values *values, char **ret_text,
		      struct pc_error *err)
{
	const struct pc_backend_config backend = {
		.name = "b",
		.command = LIST("prog", template),
	};
	struct pc_string_list argv = { .items = NULL }, env = { .items = NULL };
	int rc = pc_command_build(&backend, values, &argv, &env, err);

	if (rc) {
		assert_null(argv.items);
		assert_null(env.items);
		return rc;
	}
	assert_int_equal(argv.count, 2);
	assert_string_equal(argv.items[0], "prog");
	assert_null(argv.items[2]);
	assert_null(env.items[env.count]);
	*ret_text = strdup(argv.items[1]);
	pc_string_list_free(&argv);
	pc_string_list_free(&env);
	assert_null(argv.items);
	return 0;
}

static void expect(char *template, const struct pc_launch_values *values, const char *expected)
{
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL;

	assert_int_equal(expand_one(template, values, &text, &err), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void expect_error(char *template, const struct pc_launch_values *values, int code,
			 const char *message)
{
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL;

	assert_int_equal(expand_one(template, values, &text, &err), code);
	assert_string_equal(err.message, message);
	assert_null(text);
}

static void every_placeholder(void **state)
{
	(void)state;
	expect("{model_path}", &full, "/models/tiny.gguf");
	expect("{model_id}", &full, "tiny");
	expect("{worker_id}", &full, "w-1-1");
	expect("{port}", &full, "8801");
	expect("{socket}", &full, "/run/w-1-1.sock");
	expect("{gpu_id}", &full, "1");
	expect("{gpu_uuid}", &full, "GPU-1111");
	expect("{slots}", &full, "4");
	expect("{context_tokens}", &full, "2048");
	expect("{capability}", &full, "text_to_text");
	expect("{ready_url}", &full, "http://127.0.0.1:9200/v2/internal/workers/ready");
	expect("--listen=127.0.0.1:{port}/{model_id}", &full, "--listen=127.0.0.1:8801/tiny");
	expect("{model_id}{port}{slots}", &full, "tiny88014");
	expect("", &full, "");
	expect("plain", &full, "plain");
}

static void braces(void **state)
{
	(void)state;
	expect("{{port}}", &full, "{port}");
	expect("{{{port}}}", &full, "{8801}");
	expect("{{}}", &full, "{}");
	expect("{{\"n\":{slots}}}", &full, "{\"n\":4}");
	expect_error("a}b", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: single '}' at character 2; write '}}' for the brace "
		     "itself");
	expect_error("ab{port", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: single '{' at character 3; write '{{' for the brace "
		     "itself");
	expect_error("{po{rt}", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: single '{' at character 1; write '{{' for the brace "
		     "itself");
	expect_error("{", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: single '{' at character 1; write '{{' for the brace "
		     "itself");
}

#define KNOWN \
	"{model_path} {model_id} {worker_id} {port} {socket} {gpu_id} {gpu_uuid} {slots} " \
	"{context_tokens} {capability} {spawn_token} {ready_url}"

static void unknown_placeholders(void **state)
{
	struct pc_error err = PC_ERROR_INIT;
	char *text = NULL;
	char huge[4096];

	(void)state;
	expect_error("{modelpath}", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: unknown placeholder {modelpath}; did you mean "
		     "{model_path}? Known are " KNOWN);
	expect_error("{temperature}", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: unknown placeholder {temperature}; known are " KNOWN);
	expect_error("{}", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: unknown placeholder {}; known are " KNOWN);
	expect_error("{PORTS}", &full, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: unknown placeholder {PORTS}; known are " KNOWN);

	memset(huge, 'x', sizeof(huge));
	huge[0] = '{';
	huge[sizeof(huge) - 2] = '}';
	huge[sizeof(huge) - 1] = '\0';
	assert_int_equal(expand_one(huge, &full, &text, &err), PC_E_INVALID_CONFIG);
	assert_string_equal(pc_error_detail_get(&err, "key"), "backends.b.command[1]");
}

static void absent_values(void **state)
{
	static const struct pc_launch_values none = { .gpu_id = -1 };
	static const struct pc_launch_values on_cpu = { .gpu_id = -1, .gpu_uuid = "" };

	(void)state;
	expect("uuid={gpu_uuid}", &on_cpu, "uuid=");
	expect_error("{gpu_uuid}", &none, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: {gpu_uuid} has no value for this worker");
	expect("{gpu_id}", &none, "");
	expect("gpu={gpu_id}", &none, "gpu=");
	expect("{slots}", &none, "0");
	expect_error("{port}", &none, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: {port} has no value for this worker");
	expect_error("{socket}", &none, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: {socket} has no value for this worker");
	expect_error("{model_path}", &none, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: {model_path} has no value for this worker");
}

static void values_stay_one_argument(void **state)
{
	static const char *const hostile[] = {
		"a b",		 "\"quoted\" 'too'", "$(reboot) `reboot` $HOME;&|>",
		"back\\slash\\", "{port}",	     "}{",
		"*?[a-z]",	 "/m/\xff\xfe.gg",   "\xc3\xa9\xe2\x82\xac",
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(hostile); i++) {
		struct pc_launch_values values = full;

		values.model_path = hostile[i];
		expect("{model_path}", &values, hostile[i]);
	}
}

static void values_do_not_become_options(void **state)
{
	struct pc_launch_values values = full;

	(void)state;
	values.model_path = "--rpc=evil:1";
	expect_error(
		"{model_path}", &values, PC_E_INVALID_ARGUMENT,
		"backends.b.command[1]: the value of {model_path} starts with '-', so that the "
		"program would take it for an option: '--rpc=evil:1'");
	values.model_path = "-";
	expect_error(
		"{model_path}.gguf", &values, PC_E_INVALID_ARGUMENT,
		"backends.b.command[1]: the value of {model_path} starts with '-', so that the "
		"program would take it for an option: '-'");
	/* Behind an empty value it would be the first character too. */
	values.gpu_id = -1;
	expect_error(
		"{gpu_id}{model_path}", &values, PC_E_INVALID_ARGUMENT,
		"backends.b.command[1]: the value of {model_path} starts with '-', so that the "
		"program would take it for an option: '-'");
	expect("--model={model_path}", &values, "--model=-");
	expect("./{model_path}", &values, "./-");
	expect("{model_id}{model_path}", &values, "tiny-");
	expect("-{slots}", &values, "-4");
}

/* Nor may one, however harmless, say which option it is. */
static void values_do_not_choose_options(void **state)
{
	struct pc_launch_values values = full;

	(void)state;
	values.gpu_uuid = "";
	expect_error("--{model_id}", &values, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: {model_id} behind nothing but '-' would choose which "
		     "option it is; write the option's name before it");
	expect_error("-{model_id}=1", &values, PC_E_INVALID_CONFIG,
		     "backends.b.command[1]: {model_id} behind nothing but '-' would choose which "
		     "option it is; write the option's name before it");
	expect_error(
		"{gpu_uuid}-{gpu_uuid}-{model_path}", &values, PC_E_INVALID_CONFIG,
		"backends.b.command[1]: {model_path} behind nothing but '-' would choose which "
		"option it is; write the option's name before it");
	expect("-m{model_id}", &values, "-mtiny");
	expect("--{gpu_uuid}", &values, "--");
}

static void control_characters_go_nowhere(void **state)
{
	const struct pc_backend_config backend = {
		.name = "b",
		.command = LIST("prog"),
		.env = LIST("NAME={model_id}"),
	};
	char value[8], message[256];

	(void)state;
	for (int byte = 1; byte <= 0x80; byte++) {
		struct pc_launch_values values = full;
		struct pc_string_list argv = { .items = NULL }, env = { .items = NULL };
		struct pc_error err = PC_ERROR_INIT;
		bool is_control = byte < 0x20 || byte == 0x7f;

		snprintf(value, sizeof(value), "ab%cX=1", byte);
		snprintf(message, sizeof(message),
			 "backends.b.env.NAME: the value of {model_id} has the control character "
			 "0x%02x at its byte 3, which no name of a model, file or worker may have",
			 (unsigned)byte);
		values.model_id = value;
		assert_int_equal(pc_command_build(&backend, &values, &argv, &env, &err),
				 is_control ? PC_E_INVALID_ARGUMENT : 0);
		if (is_control) {
			assert_string_equal(err.message, message);
			continue;
		}
		assert_string_equal(env_of(&env, "NAME"), value);
		pc_string_list_free(&argv);
		pc_string_list_free(&env);
	}
	expect_error("--x={model_path}", &(struct pc_launch_values){ .model_path = "/m\n--rpc" },
		     PC_E_INVALID_ARGUMENT,
		     "backends.b.command[1]: the value of {model_path} has the control character "
		     "0x0a at its byte 3, which no name of a model, file or worker may have");
}

static void no_value_names_the_program(void **state)
{
	const struct pc_backend_config backend = { .name = "b",
						   .command = LIST("/opt/{model_id}/server") };
	struct pc_string_list argv = { .items = NULL }, env = { .items = NULL };
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_command_build(&backend, &full, &argv, &env, &err), PC_E_INVALID_CONFIG);
	assert_string_equal(err.message,
			    "backends.b.command[0]: {model_id} cannot name the program: which one "
			    "is started is the configuration's choice, not that of a model");
	assert_null(argv.items);
}

static void secrets_stay_out_of_arguments(void **state)
{
	(void)state;
	expect_error(
		"--token={spawn_token}", &full, PC_E_INVALID_CONFIG,
		"backends.b.command[1]: {spawn_token} may stand in env only: every user of the "
		"machine can read a process's arguments");
}

static void long_values(void **state)
{
	const size_t most = (size_t)32 * 4096 - 1;
	char *value = malloc(most + 2);
	struct pc_launch_values values = full;

	(void)state;
	memset(value, 'm', most);
	value[most] = '\0';
	values.model_path = value;
	expect("{model_path}", &values, value);
	expect_error(
		"x{model_path}", &values, PC_E_INVALID_ARGUMENT,
		"backends.b.command[1]: longer than the 131071 bytes that the system takes for "
		"one string");
	free(value);
}

static void commands_without_a_program(void **state)
{
	struct pc_backend_config backend = { .name = "empty" };
	struct pc_string_list argv, env;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	assert_int_equal(pc_command_build(&backend, &full, &argv, &env, &err), PC_E_INVALID_CONFIG);
	assert_string_equal(err.message, "backends.empty.command: it must begin with a program");
	backend.command = (struct pc_string_list)LIST("");
	assert_int_equal(pc_command_build(&backend, &full, &argv, &env, NULL), PC_E_INVALID_CONFIG);
	assert_int_equal(pc_command_build(NULL, &full, &argv, &env, NULL), PC_E_INVALID_ARGUMENT);
}

static void environment(void **state)
{
	const struct pc_backend_config backend = {
		.name = "b",
		.command = LIST("prog"),
		.env = LIST("CUDA_VISIBLE_DEVICES={gpu_id}", "TOKEN={spawn_token}", "LANG=C.UTF-8",
			    "EMPTY=", "OPTION={model_path}", "TWICE=1", "TWICE=a=b"),
	};
	struct pc_launch_values values = full;
	struct pc_string_list argv, env;
	struct pc_error err = PC_ERROR_INIT;
	size_t langs = 0;

	(void)state;
	values.model_path = "-harmless here";
	setenv("LANG", "xx_XX", 1);
	setenv("POOLCORE_DEBUG", "1", 1);
	setenv("POOLCORE", "not ours", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	setenv("LD_PRELOAD_X", "x", 1);
	setenv("PATHOLOGY", "x", 1);
	assert_int_equal(pc_command_build(&backend, &values, &argv, &env, &err), 0);
	assert_string_equal(env_of(&env, "PATH"), getenv("PATH"));
	assert_string_equal(env_of(&env, "CUDA_VISIBLE_DEVICES"), "1");
	assert_string_equal(env_of(&env, "TOKEN"), full.spawn_token);
	assert_string_equal(env_of(&env, "LANG"), "C.UTF-8");
	assert_string_equal(env_of(&env, "EMPTY"), "");
	assert_string_equal(env_of(&env, "OPTION"), "-harmless here");
	assert_string_equal(env_of(&env, "TWICE"), "a=b");
	assert_string_equal(env_of(&env, "POOLCORE_DEBUG"), "1");
	assert_null(env_of(&env, "POOLCORE"));
	assert_null(env_of(&env, "AWS_SECRET_ACCESS_KEY"));
	assert_null(env_of(&env, "LD_PRELOAD_X"));
	assert_null(env_of(&env, "PATHOLOGY"));
	for (size_t i = 0; i < env.count; i++)
		langs += strncmp(env.items[i], "LANG=", 5) == 0;
	assert_int_equal(langs, 1);
	assert_null(env.items[env.count]);
	pc_string_list_free(&argv);
	pc_string_list_free(&env);
}

/* Whoever started us may have put a name in twice; the worker must not see another one than we. */
static void a_name_is_passed_once(void **state)
{
	static char *twice[] = { "PATH=/first", "USER=me", "PATH=/second", "POOLCORE_X=1", NULL };
	const struct pc_backend_config backend = {
		.name = "b",
		.command = LIST("prog"),
		.env = LIST("USER=you"),
	};
	struct pc_string_list argv, env;
	char **ours = environ;

	(void)state;
	environ = twice;

	int rc = pc_command_build(&backend, &full, &argv, &env, NULL);

	environ = ours;
	assert_int_equal(rc, 0);
	assert_int_equal(env.count, 3);
	assert_string_equal(env.items[0], "PATH=/first");
	assert_string_equal(env.items[1], "USER=you");
	assert_string_equal(env.items[2], "POOLCORE_X=1");
	pc_string_list_free(&argv);
	pc_string_list_free(&env);
}

static void environment_errors(void **state)
{
	static const struct {
		const char *item, *message;
	} cases[] = {
		{ "NOEQUALS", "backends.b.env: 'NOEQUALS' is not NAME=value" },
		{ "=value", "backends.b.env: '=value' is not NAME=value" },
		{ "A={prot}", "backends.b.env.A: unknown placeholder {prot}; did you mean {port}? "
			      "Known are " KNOWN },
		{ "A=x}", "backends.b.env.A: single '}' at character 2; write '}}' for the brace "
			  "itself" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		const struct pc_backend_config backend = {
			.name = "b",
			.command = LIST("prog"),
			.env = LIST((char *)cases[i].item),
		};
		struct pc_string_list argv = { .items = NULL }, env = { .items = NULL };
		struct pc_error err = PC_ERROR_INIT;

		assert_int_equal(pc_command_build(&backend, &full, &argv, &env, &err),
				 PC_E_INVALID_CONFIG);
		assert_string_equal(err.message, cases[i].message);
		assert_null(argv.items);
	}
}

static void uses(void **state)
{
	const struct pc_backend_config backend = {
		.name = "b",
		.command = LIST("prog", "--listen=:{port}", "{{slots}}", "bad } {model_id}"),
		.env = LIST("GPU={gpu_id}", "{socket}=x"),
	};

	(void)state;
	assert_true(pc_command_uses(&backend, "port"));
	assert_true(pc_command_uses(&backend, "gpu_id"));
	assert_false(pc_command_uses(&backend, "slots"));
	assert_false(pc_command_uses(&backend, "socket"));
	assert_false(pc_command_uses(&backend, "por"));
	assert_false(pc_command_uses(&backend, "model_id"));
}

static void every_allocation_may_fail(void **state)
{
	const struct pc_backend_config backend = {
		.name = "b",
		.command = LIST("prog", "{model_path}", "--port={port}", "", "{{"),
		.env = LIST("A={gpu_id}", "LANG=C", "A=again"),
	};
	unsigned refused = 0;

	(void)state;
	for (unsigned n = 1;; n++) {
		struct pc_string_list argv = { .items = NULL }, env = { .items = NULL };
		struct pc_error err = PC_ERROR_INIT;

		fail_alloc_begin(n);

		int rc = pc_command_build(&backend, &full, &argv, &env, &err);

		if (rc == 0) {
			pc_string_list_free(&argv);
			pc_string_list_free(&env);
		}
		assert_int_equal(fail_alloc_live(), 0);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(err.code, PC_E_OUT_OF_MEMORY);
		assert_null(argv.items);
		refused++;
	}
	assert_in_range(refused, 10, 1000);
}

/* ---- programs ---- */

/* A folder for one test, with a file in it; both are removed by folder_remove. */
struct folder {
	char path[PATH_MAX];
	char file[PATH_MAX + 32];
};

static void folder_make(struct folder *folder, const char *name, mode_t mode)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder->path, sizeof(folder->path), "%s/poolcore-program-XXXXXX",
		 tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder->path));
	snprintf(folder->file, sizeof(folder->file), "%s/%s", folder->path, name);

	int fd = open(folder->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	close(fd);
	assert_int_equal(chmod(folder->file, mode), 0);
}

static void folder_remove(struct folder *folder)
{
	unlink(folder->file);
	rmdir(folder->path);
}

static void programs_on_the_path(void **state)
{
	struct folder plain, program;
	struct pc_error err = PC_ERROR_INIT;
	char path[3 * PATH_MAX], *found = NULL, *before = strdup(getenv("PATH"));

	(void)state;
	folder_make(&plain, "pc-test-program", 0600);
	folder_make(&program, "pc-test-program", 0700);

	/* The first that can be run wins; relative and empty elements are passed over. */
	snprintf(path, sizeof(path), ":.:/nowhere:%s:%s:", plain.path, program.path);
	setenv("PATH", path, 1);
	assert_int_equal(pc_program_find("pc-test-program", &found, &err), 0);
	assert_string_equal(found, program.file);
	pc_free(found);

	setenv("PATH", plain.path, 1);
	assert_int_equal(pc_program_find("pc-test-program", &found, &err), PC_E_SPAWN_FAILED);
	assert_non_null(strstr(err.message, plain.file));
	assert_non_null(strstr(err.message, "cannot be run: Permission denied"));

	pc_error_clear(&err);
	setenv("PATH", "/nowhere:/bin", 1);
	assert_int_equal(pc_program_find("pc-test-program", &found, &err), PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "no program 'pc-test-program'; looked in /"));
	assert_non_null(strstr(err.message, ", /nowhere, /bin"));

	unsetenv("PATH");
	assert_int_equal(pc_program_find("sh", &found, NULL), 0);
	assert_string_equal(found, "/bin/sh");
	pc_free(found);
	setenv("PATH", before, 1);
	free(before);
	folder_remove(&plain);
	folder_remove(&program);
}

static void programs_next_to_ours(void **state)
{
	char own[PATH_MAX], *found = NULL;
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);

	(void)state;
	assert_true(length > 0);
	own[length] = '\0';
	assert_int_equal(pc_program_find(strrchr(own, '/') + 1, &found, NULL), 0);
	assert_string_equal(found, own);
	pc_free(found);
}

static void programs_by_path(void **state)
{
	struct folder plain;
	struct pc_error err = PC_ERROR_INIT;
	char *found = NULL;

	(void)state;
	folder_make(&plain, "plain", 0600);
	assert_int_equal(pc_program_find("/bin/sh", &found, &err), 0);
	assert_string_equal(found, "/bin/sh");
	pc_free(found);
	assert_int_equal(pc_program_find("/nowhere/sh", &found, &err), PC_E_NOT_FOUND);
	assert_string_equal(err.message, "no program '/nowhere/sh': No such file or directory");
	pc_error_clear(&err);
	assert_int_equal(pc_program_find("/bin/", &found, &err), PC_E_SPAWN_FAILED);
	assert_string_equal(err.message, "'/bin/' cannot be run: Is a directory");
	pc_error_clear(&err);
	assert_int_equal(pc_program_find(plain.file, &found, &err), PC_E_SPAWN_FAILED);
	assert_int_equal(pc_program_find("", &found, NULL), PC_E_NOT_FOUND);
	assert_int_equal(pc_program_find(NULL, &found, NULL), PC_E_NOT_FOUND);
	folder_remove(&plain);
}

static void program_allocations_may_fail(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		char *found = NULL;

		fail_alloc_begin(n);

		int rc = pc_program_find("sh", &found, NULL);

		pc_free(found);
		assert_int_equal(fail_alloc_live(), 0);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
	}
}

/* ---- ports and tokens ---- */

static void ports(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	struct pc_error err = PC_ERROR_INIT;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint16_t port = 0;
	char message[64];

	(void)state;
	assert_int_equal(pc_port_pick(&port, &err), 0);
	assert_in_range(port, 1024, 65535);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	port = ntohs(address.sin_port);
	assert_int_equal(pc_port_check(port, &err), PC_E_PORT_IN_USE);
	snprintf(message, sizeof(message), "port %u on 127.0.0.1 is taken", port);
	assert_string_equal(err.message, message);
	assert_non_null(pc_error_detail_get(&err, "port"));
	close(listener);
	assert_int_equal(pc_port_check(port, NULL), 0);

	pc_error_clear(&err);
	assert_int_equal(pc_port_check(0, &err), PC_E_INVALID_ARGUMENT);
	assert_string_equal(err.message, "a port is 1 to 65535, not 0");
}

static void tokens(void **state)
{
	char one[33], other[33];

	(void)state;
	assert_int_equal(pc_token_make(one, NULL), 0);
	assert_int_equal(pc_token_make(other, NULL), 0);
	assert_int_equal(strspn(one, "0123456789abcdef"), 32);
	assert_int_equal(strlen(one), 32);
	assert_string_not_equal(one, other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_placeholder),
		cmocka_unit_test(braces),
		cmocka_unit_test(unknown_placeholders),
		cmocka_unit_test(absent_values),
		cmocka_unit_test(values_stay_one_argument),
		cmocka_unit_test(values_do_not_become_options),
		cmocka_unit_test(values_do_not_choose_options),
		cmocka_unit_test(control_characters_go_nowhere),
		cmocka_unit_test(no_value_names_the_program),
		cmocka_unit_test(a_name_is_passed_once),
		cmocka_unit_test(secrets_stay_out_of_arguments),
		cmocka_unit_test(long_values),
		cmocka_unit_test(commands_without_a_program),
		cmocka_unit_test(environment),
		cmocka_unit_test(environment_errors),
		cmocka_unit_test(uses),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(programs_on_the_path),
		cmocka_unit_test(programs_next_to_ours),
		cmocka_unit_test(programs_by_path),
		cmocka_unit_test(program_allocations_may_fail),
		cmocka_unit_test(ports),
		cmocka_unit_test(tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
