/* SPDX-License-Identifier: MIT */
/*
 * stub.h - worker processes that outlive the daemon. Between the daemon and each worker stands a
 * small program, pool-stub(1): the worker's parent, which stays when the daemon goes, keeps the end
 * of the worker's log, and writes down how the worker ended. A worker WID has these files in the
 * life directory (mode 0700, the caller's):
 *
 *	WID.claim	made before the spawn. The stub writes its identity into it and renames it
 *			to WID.status; a daemon that recovers removes it. Who finds it has won.
 *	WID.status	who the stub and the worker are, and in the end how the worker ended
 *	WID.log		a FIFO, on which the stub reports to whoever reads
 *	WID.status.new	a status that is being written
 *
 * The order of a life: record the worker, pc_stub_claim, pc_stub_spawn, read reports while its
 * descriptors say so, and after pidfd says that it has ended pc_stub_read once more,
 * pc_stub_settle, note the end and delete the record in one transaction, pc_stub_forget,
 * pc_stub_close. A daemon that starts calls pc_stub_recover for each record, and then
 * pc_stub_sweep. That no worker is lost, run twice or hit by a signal that is not for it, wherever
 * the daemon is killed in between, is proven in tests/formal/worker_life.pml.
 *
 * Nothing here waits or polls, but for the disk, for a process that was just killed, and for one
 * that is in the middle of an exec while it is looked for. A `struct pc_stub` belongs to one thread
 * at a time; different ones may be used from different threads. Linux 5.10, as lifecycle.h.
 */
#ifndef POOLCORE_STUB_H
#define POOLCORE_STUB_H

#include <poolcore/error.h>
#include <poolcore/types.h>

#include <sys/types.h>

PC_BEGIN_DECLS

/* The descriptor on which a worker finds its model, if it was given one. */
#define PC_STUB_MODEL_FD 3

/* The stub's and the worker's environment has the spawn token under this name. */
#define PC_STUB_TOKEN_VARIABLE "POOLCORE_SPAWN_TOKEN"

/* What to start. All strings are the caller's and not kept. */
struct pc_stub_spec {
	const char *life_dir;	  /* an existing directory, best an absolute path */
	const char *worker_id;	  /* 1 to 128 of A-Z a-z 0-9 . _ -, the first one no dot or dash */
	const char *spawn_token;  /* the nonce: 1 to 64 of A-Z a-z 0-9 */
	const char *stub_program; /* path of pool-stub, as pc_program_find finds it */
	const char *program;	  /* path of the worker's program */
	char *const *argv;	  /* of the worker, ended by NULL; argv[0] is not `program` */
	char *const *env;	  /* of stub and worker; the token is added */
	/* A directory of cgroup v2, or of v1's memory controller, that the worker joins; NULL:
	 * none. Its own: whatever is in it when the worker has ended is killed. */
	const char *cgroup;
	int model_fd;	     /* inherited by the worker as PC_STUB_MODEL_FD; -1: none */
	uint64_t open_files; /* the worker's soft limit of RLIMIT_NOFILE; 0: unchanged */
};

/* A stub that runs, or has ended and was not settled. Descriptors are close-on-exec and
 * non-blocking; -1 when closed. */
struct pc_stub {
	pid_t pid;
	int pidfd;     /* readable when the stub has ended, and the worker with it */
	int report_fd; /* readable when there is something for pc_stub_read; no end of file */
	uint64_t start_ticks;  /* field 22 of /proc/PID/stat */
	uint64_t pidfd_inode;  /* unique per process and boot since Linux 6.9; 0: unknown */
	bool has_started;      /* it reported that the worker's program runs */
	bool reports_broken;   /* what came was no report; all that follows is thrown away */
	bool awaits_replay;    /* what comes before the stub begins anew was for another daemon */
	size_t partial_length; /* of a report that is not here whole yet */
	char partial[8192];
};

/*
 * Makes WID.claim and WID.log, mode 0600. It may wait for the disk: not for an event loop's thread.
 * Nothing is left after an error. Errors: INVALID_ARGUMENT (worker id), ALREADY_EXISTS, IO (no such
 * directory, read-only, disk full).
 */
PC_API int pc_stub_claim(const char *life_dir, const char *worker_id, struct pc_error *err);

/*
 * Spawns the stub with posix_spawn, whose cost does not grow with our size, in a session of its own
 * and with no descriptor of ours but the model's; the stub starts the worker. That the worker could
 * not be started is told by its end (pc_stub_end.spawn_errno), not here. After an error no process
 * is left; WID's files are, for pc_stub_forget. Errors: INVALID_ARGUMENT, SPAWN_FAILED with errno,
 * OUT_OF_MEMORY.
 */
PC_API int pc_stub_spawn(const struct pc_stub_spec *spec, struct pc_stub *ret_stub,
			 struct pc_error *err);

/* ---- reports ---- */

enum pc_report_kind {
	PC_REPORT_STARTED = 1, /* the worker's program runs: pid, start_ticks */
	PC_REPORT_LOG = 2,     /* bytes of its standard output and error: data, length */
	PC_REPORT_LOST = 3,    /* lost_bytes of log were overwritten before anybody took them */
	PC_REPORT_STOPPED = 4, /* by `signal`, as SIGSTOP and SIGTTIN do */
	PC_REPORT_CONTINUED = 5,
};

/* One report. Pointers are valid during the call that brings it. */
struct pc_report {
	enum pc_report_kind kind;
	pid_t pid;	      /* STARTED */
	uint64_t start_ticks; /* STARTED */
	const char *data;     /* LOG; not terminated, any bytes, cut anywhere */
	size_t length;	      /* LOG */
	uint64_t lost_bytes;  /* LOST */
	int signal;	      /* STOPPED */
};
typedef void (*pc_report_fn)(void *ctx, const struct pc_report *report);

/*
 * Hands over the reports that are there, in order, at most 256 KiB of them: report_fd stays
 * readable when there are more. `on_report` must not close the stub. Returns 0, also when there is
 * nothing. Errors: IO (what came is no report; told once, then what comes is thrown away, so that a
 * loop that polls report_fd does not spin; the worker is not affected), INVALID_ARGUMENT.
 */
PC_API int pc_stub_read(struct pc_stub *stub, pc_report_fn on_report, void *ctx);

/* ---- signals ---- */

/*
 * These go to the stub alone, by its pidfd, and never to a stranger. terminate: the stub sends TERM
 * and CONT to the worker's process group. kill: it kills everything below it, sessions of their own
 * or not. destroy_forcibly: for a stub that does not end after that; it is killed itself and takes
 * its worker with it, and how that ended stays unknown. Errors: NOT_FOUND (it has ended),
 * INVALID_ARGUMENT, IO.
 */
PC_API int pc_stub_terminate(const struct pc_stub *stub, struct pc_error *err);
PC_API int pc_stub_kill(const struct pc_stub *stub, struct pc_error *err);
PC_API int pc_stub_destroy_forcibly(const struct pc_stub *stub, struct pc_error *err);

/* Whether pidfd says that it has ended. False for a closed one. */
PC_API bool pc_stub_has_ended(const struct pc_stub *stub);

/* ---- the end ---- */

/* How a worker ended. Fields that nobody knows are 0. */
struct pc_stub_end {
	struct pc_worker_exit exit; /* known is false when the stub was killed; reason says so */
	pid_t worker_pid;
	int spawn_errno;     /* the program could not be started; exit.reason says why. 0: it ran */
	bool oom_killed;     /* the kernel killed a process of its own control group */
	char log_tail[2048]; /* the last whole lines of its log, terminated, without NULs */
};

/*
 * Collects a stub that has ended: reaps it if it is our child, and reads its status, which is final
 * now. If the stub was killed, the worker is dying by its parent-death signal; what that leaves
 * behind is killed here: the processes of the stub's session that carry the spawn token in their
 * environment, through pidfds that were opened before both were looked at. A status that cannot be
 * believed is an end that is not known, and exit.reason names the file and what is wrong with it.
 * The files stay. Errors: CONFLICT (it still runs), IO (the status cannot be read, for example for
 * want of descriptors; settle again), INVALID_ARGUMENT.
 */
PC_API int pc_stub_settle(struct pc_stub *stub, const char *life_dir, const char *worker_id,
			  const char *spawn_token, struct pc_stub_end *ret_end,
			  struct pc_error *err);

/* Closes the descriptors; nobody is signalled. NULL is allowed. */
PC_API void pc_stub_close(struct pc_stub *stub);

/* ---- recovery ---- */

enum pc_life {
	PC_LIFE_NEVER_SPAWNED = 0, /* and never will be, the claim is taken */
	PC_LIFE_RUNNING = 1,	   /* adopted: ret_stub; the worker may not have started yet */
	PC_LIFE_ENDED = 2,	   /* ret_end tells how */
	PC_LIFE_VANISHED = 3, /* was running and is gone; ret_end->exit.reason says what is known */
	PC_LIFE_DYING = 4,    /* its stub has vanished, and it was killed, but is not gone yet */
};

/*
 * Finds out what became of a worker whose record an earlier daemon left behind. RUNNING: the pidfd
 * was opened first, then boot id, start time, pidfd inode (if both are known) and token were
 * compared; the stub was told by SIGUSR1 to report again from the start:
 * STARTED, STOPPED if it is, the log that it kept. ret_end->worker_pid is the worker's, or 0 before
 * it started. VANISHED: what a killed stub left was killed as in pc_stub_settle. DYING: the same,
 * but the worker frees its memory yet, or hangs in a driver; ret_stub->pidfd is the worker's own
 * here, readable when it is gone, and nothing else of ret_stub is to be used but the stub's pid.
 *
 * A status that cannot be believed (cut off, edited, another token) signals nobody. If no process
 * carries the token, no stub lives, and the verdict is VANISHED with the reason; if one does, it is
 * an error that names file and process, nothing is changed, and the record should be kept, because
 * the worker may hold memory. Errors: CONFLICT (that one), IO (ask again), INVALID_ARGUMENT. It may
 * wait for the disk. Outputs are written on success only; ret_stub only for RUNNING and DYING.
 */
PC_API int pc_stub_recover(const char *life_dir, const char *worker_id, const char *spawn_token,
			   enum pc_life *ret_life, struct pc_stub *ret_stub,
			   struct pc_stub_end *ret_end, struct pc_error *err);

/* Removes the worker's files. None there is no error. May wait for the disk. Errors:
 * INVALID_ARGUMENT, IO (what can be removed is, nevertheless). */
PC_API int pc_stub_forget(const char *life_dir, const char *worker_id, struct pc_error *err);

/*
 * Removes the files of workers that `is_known` denies, once all records were recovered. Files of
 * other names are not touched. May wait for the disk. Errors: INVALID_ARGUMENT, IO (the first one;
 * what can be removed is, nevertheless).
 */
PC_API int pc_stub_sweep(const char *life_dir, bool (*is_known)(void *ctx, const char *worker_id),
			 void *ctx, struct pc_error *err);

PC_END_DECLS

#endif
