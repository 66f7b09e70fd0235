/* SPDX-License-Identifier: MIT */
/*
 * cli_fixture.c - see cli_fixture.h. The program's path comes from RBEES_POOL, the golden files'
 * folder from GOLDEN_DIR; meson sets both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scenario/cli_fixture.h"

static pid_t running; /* one at a time */

static char *read_all(const char *path)
{
	FILE *file = fopen(path, "r"), *out;
	char *text = NULL;
	size_t size = 0;
	int c;

	if (!file)
		return NULL;
	out = open_memstream(&text, &size);
	while ((c = getc(file)) != EOF)
		putc(c, out);
	fclose(out);
	fclose(file);
	return text;
}

/* ---- running ---- */

static char *path_in(struct rig *rig, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", rig->dir, name) > 0);
	return path;
}

static int open_input(struct rig *rig, const struct call *call)
{
	char *path = path_in(rig, "stdin");
	size_t length = call->input_length ? call->input_length
					   : strlen(call->input ? call->input : "");
	FILE *file = fopen(path, "w");
	int fd;

	assert_non_null(file);
	if (length > 0)
		assert_int_equal(fwrite(call->input, 1, length, file), length);
	fclose(file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	return fd;
}

static void set_environment(struct rig *rig, const struct call *call)
{
	char url[160];

	snprintf(url, sizeof(url), "%s", call->url ? call->url : rig->address);
	setenv("RBEES_POOL_URL", url, 1);
	unsetenv("RBEES_POOL_TOKEN");
	unsetenv("NO_COLOR");
	setenv("TERM", "xterm", 1);
	for (size_t i = 0; call->env[i]; i++)
		putenv((char *)(uintptr_t)call->env[i]);
}

/* The test has one thread at most that reads a log; nothing here takes a lock of the C library but
 * malloc's, which fork(2) renews. */
static void exec_cli(struct rig *rig, const struct call *call, int in, int out, int err)
{
	const char *argv[ARGUMENTS_MAX + 2] = { getenv("RBEES_POOL") };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A shell's background may have switched them off. */
	signal(SIGINT, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	memcpy(argv + 1, call->args, sizeof(call->args));
	set_environment(rig, call);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

struct cli_child cli_start(struct rig *rig, const struct call *call)
{
	struct cli_child child = { .out_path = path_in(rig, "stdout"),
				   .err_path = path_in(rig, "stderr") };
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
	int out = open(child.out_path, flags, 0600), err = open(child.err_path, flags, 0600);
	int in = open_input(rig, call);

	assert_true(in >= 0 && out >= 0 && err >= 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0)
		exec_cli(rig, call, call->in_fd ? call->in_fd : in,
			 call->out_fd ? call->out_fd : out, call->err_fd ? call->err_fd : err);
	child.pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);
	running = child.pid;
	close(in);
	close(out);
	close(err);
	return child;
}

struct cli_result cli_finish(struct cli_child *child)
{
	struct pollfd end = { .fd = child->pidfd, .events = POLLIN };
	struct cli_result result;
	int64_t deadline = test_deadline_ms();
	int got, status;

	do {
		got = poll(&end, 1, test_remaining_ms(deadline));
	} while (got < 0 && errno == EINTR);
	if (got != 1)
		fail_msg("rbees-pool does not end");
	waitpid(child->pid, &status, 0);
	running = 0;
	close(child->pidfd);
	result.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	result.out = read_all(child->out_path);
	result.err = read_all(child->err_path);
	if (strstr(result.err, "Sanitizer: ") || strstr(result.err, "runtime error: "))
		fail_msg("%s", result.err);
	free(child->out_path);
	free(child->err_path);
	return result;
}

struct cli_result cli_call(struct rig *rig, const struct call *call)
{
	struct cli_child child = cli_start(rig, call);

	return cli_finish(&child);
}

void cli_result_free(struct cli_result *result)
{
	free(result->out);
	free(result->err);
}

int cli_free_all(void **state)
{
	(void)state;
	if (running) {
		kill(running, SIGKILL);
		waitpid(running, NULL, 0);
		running = 0;
	}
	return 0;
}

/* ---- transcripts ---- */

void transcript_begin(struct transcript *transcript, struct rig *rig)
{
	*transcript = (struct transcript){ .rig = rig };
	transcript->out = open_memstream(&transcript->text, &transcript->length);
	assert_non_null(transcript->out);
}

/* As a shell would have it. */
static void write_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_./:=";
	bool printable = true;

	for (const char *c = word; *c; c++)
		printable &= *c >= ' ' && *c <= '~';
	if (*word && word[strspn(word, plain)] == '\0') {
		fprintf(out, " %s", word);
	} else if (printable) {
		fprintf(out, " '%s'", word);
	} else {
		fputs(" $'", out);
		for (const char *c = word; *c; c++)
			fprintf(out, *c >= ' ' && *c <= '~' ? "%c" : "\\x%02x", (unsigned char)*c);
		fputs("'", out);
	}
}

void transcript_add(struct transcript *transcript, const struct call *call)
{
	struct cli_result result = cli_call(transcript->rig, call);
	FILE *out = transcript->out;

	fputs("$", out);
	for (size_t i = 0; call->env[i]; i++)
		write_word(out, call->env[i]);
	fputs(" rbees-pool", out);
	for (size_t i = 0; call->args[i]; i++)
		write_word(out, call->args[i]);
	fprintf(out, "\n%s%s[%d]\n\n", result.out, result.err, result.status);
	cli_result_free(&result);
}

/* Replaces every match of an extended regular expression; frees `text`. */
static char *replace(char *text, const char *pattern, const char *word)
{
	char *result = NULL, *at = text;
	size_t size = 0;
	FILE *out = open_memstream(&result, &size);
	regmatch_t match;
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NEWLINE), 0);
	while (regexec(&regex, at, 1, &match, at == text ? 0 : REG_NOTBOL) == 0) {
		fwrite(at, 1, (size_t)match.rm_so, out);
		fputs(word, out);
		at += match.rm_eo;
	}
	fputs(at, out);
	fclose(out);
	regfree(&regex);
	free(text);
	return result;
}

static char *normalise(char *text, struct rig *rig)
{
	text = replace(text, rig->dir, "DIR");
	if (rig->address[0])
		text = replace(text, rig->address, "ADDRESS");
	text = replace(text, "w-[0-9a-f]+-[0-9]+", "WORKER-ID");
	text = replace(text, "up [0-9.]+ (us|ms|s|min)", "up TIME");
	/* The last columns of ps, and what this machine has. */
	text = replace(text, "([0-9.]+ (ms|s|min)|-) +[0-9]+$", "  IDLE  PID");
	text = replace(text, "[0-9.]+ [GT]iB +[0-9.]+ [GT]iB$", "  BUDGET  TOTAL");
	text = replace(text, "cpu +[0-9.]+ MiB", "cpu  MEMORY");
	return replace(text, "  +", "  ");
}

void transcript_end(struct transcript *transcript, const char *name)
{
	char path[512], *golden;

	fclose(transcript->out);
	transcript->text = normalise(transcript->text, transcript->rig);
	snprintf(path, sizeof(path), "%s/%s.txt", getenv("GOLDEN_DIR"), name);
	if (getenv("UPDATE")) {
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		fputs(transcript->text, file);
		fclose(file);
	}
	golden = read_all(path);
	if (!golden)
		fail_msg("%s is missing; UPDATE=1 writes it", path);
	if (strcmp(golden, transcript->text) != 0) {
		print_error("%s", transcript->text);
		fail_msg("this is not what %s says; look at it, then UPDATE=1 rewrites it", path);
	}
	free(golden);
	free(transcript->text);
}
