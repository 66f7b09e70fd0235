/* SPDX-License-Identifier: MIT */
/*
 * life_file.h - the files of a worker's life: their names, and the text of a status file. Shared by
 * the library and pool-stub. Nothing here allocates, opens or signals.
 */
#ifndef LIFECYCLE_LIFE_FILE_H
#define LIFECYCLE_LIFE_FILE_H

#include <poolcore/base.h>

#include <sys/types.h>

enum pc__life_file {
	PC__LIFE_CLAIM,
	PC__LIFE_STATUS,
	PC__LIFE_LOG,
	PC__LIFE_STATUS_NEW, /* the stub's, before it is renamed */
	PC__LIFE_FILES
};

#define PC__LIFE_ID_MAX 128
#define PC__LIFE_TOKEN_MAX 64
/* Room for an id, the longest ending, and the NUL. */
#define PC__LIFE_NAME_SIZE (PC__LIFE_ID_MAX + 16)

/* What may be part of a file's name: no slash, and no name that begins with a dot or a dash. */
bool pc__life_id_is_valid(const char *id);
/* What may be a token: letters and digits. */
bool pc__life_token_is_valid(const char *token);
void pc__life_name(enum pc__life_file file, const char *id, char ret_name[PC__LIFE_NAME_SIZE]);
/* Which worker's file a name is; false when it is no such file. */
bool pc__life_name_parse(const char *name, char ret_id[PC__LIFE_ID_MAX + 1]);

/* What a status file says. */
struct pc__life_status {
	/* The stub. */
	char boot_id[40];
	char token[PC__LIFE_TOKEN_MAX + 1];
	int64_t stub_pid;
	int64_t stub_start_ticks;
	int64_t stub_pidfd_inode; /* 0: the kernel has none that are unique */
	/* The worker; 0 before it was started. */
	int64_t worker_pid;
	int64_t worker_start_ticks;
	/* Its end; all 0 and empty while it runs. */
	int64_t ended;
	int64_t code; /* -1: by a signal */
	int64_t signal;
	int64_t wall_ms;
	int64_t spawn_errno;
	int64_t oom_killed;
	char reason[192];
	int64_t tail_length;
	char tail[2047]; /* any bytes */
};

/* The longest text of a status. */
#define PC__LIFE_STATUS_MAX 4096

/* Writes the text of a status; its length. Control characters of `reason` become '?'. */
size_t pc__life_format(const struct pc__life_status *status, char text[PC__LIFE_STATUS_MAX]);
/*
 * Reads it again; 0, or -1 with a sentence about what is wrong and in which line. Accepts only what
 * pc__life_format could have written, to the last byte, so that a text that was cut off is noticed.
 */
int pc__life_parse(const char *text, size_t length, struct pc__life_status *ret_status,
		   char ret_why[160]);

/* How pool-stub ends. Its parent learns it, if it still has that parent. */
enum pc__stub_exit {
	PC__STUB_DONE = 0,	 /* the worker's end is in the status */
	PC__STUB_USAGE = 2,	 /* a wrong command line */
	PC__STUB_CLAIM_LOST = 3, /* there was no claim any more: no worker was started */
	PC__STUB_FAILED = 4,	 /* it could not write claim or status; its log says why */
};

#endif
