/* SPDX-License-Identifier: MIT */
/*
 * proc.c - child processes of scenario tests. Each has a thread that reads its log into lines; the
 * test's thread waits for lines on a condition variable and for the end on a pidfd.
 */
#include "lib/proc.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/guard.h"

#define DEADLINE_MS 60000
/* Of a failed test's log, the end is what matters. */
#define PRINTED_LINES 40
/* Of a sanitizer's report, the beginning. */
#define COMPLAINT_LINES 100

struct proc {
	pid_t pid;
	int pidfd;
	int log_fd;
	bool ended;
	int status;
	pthread_t reader;
	pthread_mutex_t lock;
	pthread_cond_t news;
	char **lines;	   /* [lock] */
	size_t line_count; /* [lock] */
	bool log_ended;	   /* [lock] */
	size_t seen;	   /* lines that proc_wait_line has passed */
	struct proc *next;
};

static struct proc *all; /* the test's thread */
/* A sanitizer complained in a process that is freed already. */
static bool complained; /* the test's thread */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t test_deadline_ms(void)
{
	const char *text = getenv("TEST_DEADLINE_MS");

	return now_ms() + (text ? atoll(text) : DEADLINE_MS);
}

int test_remaining_ms(int64_t deadline_ms)
{
	int64_t left = deadline_ms - now_ms();

	return left < 0 ? 0 : (int)left;
}

/* ---- the log ---- */

static void add_line(struct proc *proc, const char *text, size_t length)
{
	if (getenv("TEST_LOG"))
		fprintf(stderr, "    %d| %.*s\n", (int)proc->pid, (int)length, text);
	pthread_mutex_lock(&proc->lock);
	proc->lines = realloc(proc->lines, (proc->line_count + 1) * sizeof(*proc->lines));
	proc->lines[proc->line_count++] = strndup(text, length);
	pthread_cond_broadcast(&proc->news);
	pthread_mutex_unlock(&proc->lock);
}

static void *read_log(void *arg)
{
	struct proc *proc = arg;
	FILE *file = fdopen(proc->log_fd, "r");
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	while ((length = getline(&line, &size, file)) > 0)
		add_line(proc, line, (size_t)length - (line[length - 1] == '\n'));
	free(line);
	fclose(file);
	pthread_mutex_lock(&proc->lock);
	proc->log_ended = true;
	pthread_cond_broadcast(&proc->news);
	pthread_mutex_unlock(&proc->lock);
	return NULL;
}

static void print_lines_locked(struct proc *proc, size_t from, size_t end)
{
	for (size_t i = from; i < end && i < proc->line_count; i++)
		fprintf(stderr, "    %d| %s\n", (int)proc->pid, proc->lines[i]);
}

static void print_log(struct proc *proc)
{
	pthread_mutex_lock(&proc->lock);
	print_lines_locked(proc,
			   proc->line_count < PRINTED_LINES ? 0 : proc->line_count - PRINTED_LINES,
			   proc->line_count);
	pthread_mutex_unlock(&proc->lock);
}

/* Waits for a further line; false at the log's end or the deadline. Called with the lock held. */
static bool wait_news_locked(struct proc *proc, int64_t deadline_ms)
{
	const struct timespec until = { deadline_ms / 1000, deadline_ms % 1000 * 1000000 };

	return !proc->log_ended &&
	       pthread_cond_timedwait(&proc->news, &proc->lock, &until) != ETIMEDOUT;
}

const char *proc_wait_line(struct proc *proc, const char *text)
{
	int64_t deadline = test_deadline_ms();
	const char *found = NULL;

	pthread_mutex_lock(&proc->lock);
	do {
		while (!found && proc->seen < proc->line_count) {
			const char *line = proc->lines[proc->seen++];

			if (strstr(line, text))
				found = line;
		}
	} while (!found && wait_news_locked(proc, deadline));
	pthread_mutex_unlock(&proc->lock);
	if (!found) {
		print_log(proc);
		fail_msg("no log line with \"%s\"", text);
	}
	return found;
}

bool proc_has_line(struct proc *proc, const char *text)
{
	bool found = false;

	pthread_mutex_lock(&proc->lock);
	for (size_t i = 0; i < proc->line_count && !found; i++)
		found = strstr(proc->lines[i], text) != NULL;
	pthread_mutex_unlock(&proc->lock);
	return found;
}

const char *proc_last_line(struct proc *proc)
{
	const char *line = "";

	proc_wait(proc);
	pthread_mutex_lock(&proc->lock);
	for (int64_t deadline = test_deadline_ms(); wait_news_locked(proc, deadline);)
		continue;
	if (proc->line_count > 0)
		line = proc->lines[proc->line_count - 1];
	pthread_mutex_unlock(&proc->lock);
	return line;
}

/* ---- the process ---- */

/* In the child of a process that has threads: system calls only. */
static void exec_child(const char *const argv[], char *const env[], int log_fd)
{
	int input = open("/dev/null", O_RDONLY);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(input, 0);
	dup2(log_fd, 1);
	dup2(log_fd, 2);
	execve(argv[0], (char *const *)(uintptr_t)argv, env);
	dprintf(2, "cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static size_t count_strings(const char *const *list)
{
	size_t count = 0;

	while (list && list[count])
		count++;
	return count;
}

/* Ours, then `extra`; of two with one name, the later counts. */
static char **join_environment(const char *const extra[])
{
	size_t ours = count_strings((const char *const *)environ), more = count_strings(extra);
	char **env = calloc(ours + more + 1, sizeof(*env));
	size_t count = 0;

	for (size_t i = 0; i < ours; i++) {
		size_t name = strcspn(environ[i], "=") + 1;
		bool replaced = false;

		for (size_t j = 0; j < more; j++)
			replaced |= strncmp(environ[i], extra[j], name) == 0;
		if (!replaced)
			env[count++] = environ[i];
	}
	for (size_t j = 0; j < more; j++)
		env[count++] = (char *)(uintptr_t)extra[j];
	return env;
}

struct proc *proc_start(const char *const argv[], const char *const env[])
{
	struct proc *proc = calloc(1, sizeof(*proc));
	char **environment = join_environment(env);
	pthread_condattr_t monotonic;
	int log[2];

	if (pipe2(log, O_CLOEXEC) != 0)
		fail_msg("pipe: %s", strerror(errno));
	proc->pid = fork();
	if (proc->pid == 0)
		exec_child(argv, environment, log[1]);
	close(log[1]);
	free(environment);
	if (proc->pid < 0)
		fail_msg("fork: %s", strerror(errno));
	proc->pidfd = (int)syscall(SYS_pidfd_open, proc->pid, 0);
	proc->log_fd = log[0];
	pthread_mutex_init(&proc->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&proc->news, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_create(&proc->reader, NULL, read_log, proc);
	proc->next = all;
	all = proc;
	return proc;
}

pid_t proc_pid(const struct proc *proc)
{
	return proc->pid;
}

void proc_signal(struct proc *proc, int signal)
{
	if (!proc->ended)
		kill(proc->pid, signal);
}

int proc_wait(struct proc *proc)
{
	struct pollfd end = { .fd = proc->pidfd, .events = POLLIN };
	int64_t deadline = test_deadline_ms();
	int got, status;

	if (proc->ended)
		return proc->status;
	do {
		got = poll(&end, 1, test_remaining_ms(deadline));
	} while (got < 0 && errno == EINTR);
	if (got != 1) {
		print_log(proc);
		fail_msg("process %d does not end", (int)proc->pid);
	}
	waitpid(proc->pid, &status, 0);
	proc->ended = true;
	proc->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return proc->status;
}

/*
 * Prints what a sanitizer has said; false when none has. A race does not end a program, and nobody
 * may look at its status. The log has ended.
 */
static bool print_complaint(struct proc *proc)
{
	for (size_t i = 0; i < proc->line_count; i++) {
		if (!strstr(proc->lines[i], "Sanitizer: ") &&
		    !strstr(proc->lines[i], "runtime error: "))
			continue;
		print_lines_locked(proc, i, i + COMPLAINT_LINES);
		return true;
	}
	return false;
}

void proc_free(struct proc *proc)
{
	if (!proc)
		return;
	for (struct proc **slot = &all; *slot; slot = &(*slot)->next) {
		if (*slot == proc) {
			*slot = proc->next;
			break;
		}
	}
	if (!proc->ended) {
		kill(proc->pid, SIGKILL);
		waitpid(proc->pid, NULL, 0);
	}
	pthread_join(proc->reader, NULL);
	complained |= print_complaint(proc);
	for (size_t i = 0; i < proc->line_count; i++)
		free(proc->lines[i]);
	free(proc->lines);
	pthread_cond_destroy(&proc->news);
	pthread_mutex_destroy(&proc->lock);
	close(proc->pidfd);
	free(proc);
}

int proc_free_all(void **state)
{
	(void)state;
	while (all)
		proc_free(all);

	int status = complained ? -1 : 0;

	complained = false;
	return status;
}

/* ---- files ---- */

/* All directories of this program are in it, so that the guard knows them by one name. */
static char home[PATH_MAX];
static pid_t home_of;

/* Stays when a test that failed has left a directory there, to be looked at. */
static void home_remove(void)
{
	if (home_of == getpid())
		rmdir(home);
}

static void home_make(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(home, sizeof(home), "%s/poolcore-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(home))
		fail_msg("mkdtemp %s: %s", home, strerror(errno));
	home_of = getpid();
	/* Handlers run in the reverse order: the guard's first. */
	atexit(home_remove);
	if (guard_start(home))
		fail_msg("no guard: %s", strerror(errno));
}

char *test_dir_make(void)
{
	static unsigned count;
	char *path;

	if (!home_of)
		home_make();
	if (asprintf(&path, "%s/%u", home, ++count) < 0 || mkdir(path, 0700))
		fail_msg("mkdir: %s", strerror(errno));
	return path;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	return remove(path);
}

void test_dir_remove(const char *path)
{
	guard_sweep(path);
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

char *test_file_write(const char *dir, const char *name, const char *text)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		fail_msg("out of memory");

	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		fail_msg("%s: %s", path, strerror(errno));
	return path;
}
