/* SPDX-License-Identifier: MIT */
/* stub.h - the parts of pool-stub. One thread, one loop (main.c), no memory but what is here. */
#ifndef STUB_STUB_H
#define STUB_STUB_H

#include <poolcore/stub.h>
#include <poolcore/types.h>

#include <limits.h>
#include <sys/types.h>

#include "lifecycle/life_file.h"

/* ---- options.c ---- */

struct options {
	const char *life_dir, *worker_id, *program, *cgroup;
	const char *token;   /* of the environment */
	uint64_t open_files; /* 0: unchanged */
	bool has_model_fd;
	char **argv;
};

/* Reads the command line. Returns false when it was answered or is wrong; *ret_status is then how
 * to end. */
bool options_parse(int argc, char **argv, struct options *ret_options, int *ret_status);

/* ---- log.c ---- */

/* Kept for a daemon that comes later. A guess: the last few hundred lines. */
#define LOG_RING_BYTES ((size_t)64 * 1024)

/* The end of what the worker wrote, and the FIFO on which it goes to a daemon. Positions count the
 * bytes since the start; `head` - LOG_RING_BYTES and later are in the ring. */
struct log {
	int dir_fd;
	char fifo_name[PC__LIFE_NAME_SIZE];
	int fifo;      /* -1: nobody reads */
	uint64_t head; /* where the next byte goes */
	uint64_t sent; /* what comes next for the reader */
	/* What is said before the log. */
	bool owes_replay, owes_started, owes_job;
	pid_t worker; /* 0: has not started */
	uint64_t worker_start_ticks;
	int stop_signal; /* the worker is stopped by it; 0: it is not */
	char ring[LOG_RING_BYTES];
};

/* Opens the FIFO if somebody reads. */
void log_init(struct log *log, int dir_fd, const char *worker_id);
/* Another daemon reads: all from the start, as far as it was kept. */
void log_replay(struct log *log);
void log_append(struct log *log, const char *data, size_t length);
/* A line of our own in the worker's log. */
void log_say(struct log *log, const char *fmt, ...) PC_PRINTF(2, 3);
void log_started(struct log *log, pid_t worker, uint64_t start_ticks);
/* The worker was stopped by a signal, or goes on (0). */
void log_stopped(struct log *log, int signal);
/* Reports what the reader takes now. True when something is left, and worth a wait for POLLOUT. */
bool log_flush(struct log *log);
/* The last bytes, from the beginning of a line if there is one; how many. */
size_t log_tail(const struct log *log, char *tail, size_t size);

/* ---- record.c ---- */

/* Writes our identity into the claim and makes it the status. 0, or how the stub ends. `dir_fd` is
 * the life directory. */
int record_claim(int dir_fd, const struct options *options, struct pc__life_status *status,
		 struct log *log);
/* Writes the status anew; false (and a line in the log) when that failed and the old one stands. */
bool record_write(int dir_fd, const struct options *options, const struct pc__life_status *status,
		  struct log *log);

/* ---- launch.c ---- */

/* What the worker's process says when it does not become the program. */
struct launch_failure {
	int what; /* of enum launch_step */
	int sys_errno;
};

struct launch {
	pid_t pid;
	int output_fd; /* what it writes */
	int exec_fd;   /* end of file: the program runs; else a struct launch_failure */
};

/* Starts the worker's process. 0 or errno, when there is none. */
int launch_start(const struct options *options, struct launch *ret_launch);
/* A sentence for a failure. */
void launch_describe(const struct options *options, const struct launch_failure *failure,
		     char *reason, size_t size);

/* ---- below.c ---- */

/* Kills every child, and whoever else is in the worker's control group. Their children become ours
 * when they die, with a SIGCHLD each, and are for the next call. */
void below_kill(const struct options *options);

/* ---- oom.c ---- */

/* The counter of processes that the kernel killed for want of memory. */
struct oom {
	char path[PATH_MAX]; /* "": there is none */
	bool is_own;	     /* of the worker's control group, not of ours */
	uint64_t before;
};

void oom_init(struct oom *oom, const char *cgroup);
/* Whether it counted since. */
bool oom_happened(const struct oom *oom);

#endif
