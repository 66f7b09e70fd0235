/* SPDX-License-Identifier: MIT */
/*
 * process.h - one worker's process, for the files that share its life: process.c (while it runs),
 * process_begin.c, process_stop.c and process_end.c, launch.c (how it is started), readiness.c (when
 * it is loaded), health.c (whether it is still well), adopt.c (one of an earlier daemon) and
 * supervisor.c (all of them). Everything here is loop 0's.
 */
#ifndef DAEMON_PROCESS_H
#define DAEMON_PROCESS_H

#include <poolcore/sched.h>
#include <poolcore/stub.h>

#include <uv.h>

#include "daemon/clerk.h"
#include "daemon/pace.h"
#include "http/http.h"

/* After everything below a stub was told to die: until more is done about it, and then between
 * complaints. A dying process frees its memory first, which takes a large one a second or so. A
 * guess. */
#define KILL_PATIENCE_MS 10000

struct filecheck;
struct launch_plan;
struct pc_hand_over;
struct process;
struct supervisor;
struct worker;

/* The answer's status; 0: none came, and `why` says so. */
typedef void (*probe_answered)(struct process *process, int status, const struct pc_error *why);

/* What a look at its model's file has found: 0, or a code and `err` says it all. */
typedef void (*filecheck_done)(struct process *process, int rc, struct pc_error *err);

enum process_state {
	PREPARING, /* its model's file is verified, and its record written */
	STARTING,  /* its stub runs, and it loads */
	LOADED,	   /* so it says; its model's file is looked at again */
	SERVING,   /* it is ready */
	STOPPING,  /* it was told to end */
	ENDING,	   /* its stub has ended; its memory and its record go */
};

struct process {
	struct supervisor *supervisor;
	struct worker *worker; /* NULL once it is gone, for then its record may be forgotten */
	struct process *next;
	enum process_state state;
	struct filecheck *filecheck; /* its model's file, until it is loaded */
	struct launch_plan *plan;    /* until it is launched */
	struct pc_stub stub;
	uint64_t launched_ns;
	bool registered; /* the registry holds its record */

	bool ready_early;     /* it is loaded, but its stub has not said yet that it runs */
	uint64_t ready_bytes; /* what it says that it takes */

	bool stop_ordered;
	enum pc_stop_reason stop_reason;
	bool was_loading;	/* ENDING: before that */
	bool killed;		/* everything below the stub was told to die */
	bool worker_was_killed; /* and the worker past it, */
	bool stub_was_killed;	/* or else the stub */
	bool stuck;		/* nothing of that helped: nobody waits for it, until it dies */
	struct pc_error fault;	/* why it was given up while it ran; code 0: it was not */
	bool death_told;	/* ENDING: the brain knows */
	struct pc_error death;	/* ENDING: how it ended, for those who waited for it */

	uv_poll_t exit_watch;
	uv_poll_t report_watch;
	uv_timer_t timer; /* the next readiness probe, the grace's end, the wait for memory */
	uv_timer_t health_timer;
	unsigned handles; /* not closed yet */

	struct pace pace;	 /* of the questions whether it has loaded */
	struct http_call *probe; /* of readiness or health, at most one */
	probe_answered on_probed;

	unsigned misses;     /* health probes in a row without an answer */
	uint64_t cpu_ticks;  /* what it had used when it was asked last */
	uint64_t cpu_before; /* and the time before that */
	bool stands_still;   /* stopped by a signal */

	int survivor_pidfd; /* the worker itself, when its stub is gone first, or hangs */
	bool survivor_sought;
	uint64_t memory_reading;     /* ENDING: of the GPUs, that counts */
	uint64_t memory_deadline_ns; /* ENDING: when the wait for the driver is over */
};

/* ---- process_begin.c ---- */

/* The brain ordered a worker. Whatever fails is told to the body. */
void process_begin(struct supervisor *supervisor, struct worker *worker);
/*
 * A worker of an earlier daemon, which the brain knows by now; takes the stub over. It is SERVING
 * when it was `loaded`. Errors: SPAWN_FAILED (it cannot be watched; the stub is still the
 * caller's), OUT_OF_MEMORY.
 */
int process_adopt(struct supervisor *supervisor, struct worker *worker, const struct pc_stub *stub,
		  bool loaded, struct pc_error *err);
/* The same for one that is not to go on; the order to stop it follows. Errors: as above. */
int process_adopt_leaving(struct supervisor *supervisor, struct worker *worker,
			  const struct pc_stub *stub, enum pc_stop_reason why,
			  struct pc_error *err);
/* ... that was killed, and whose stub has gone before it: what pc_stub_recover found
 * (PC_LIFE_DYING). Takes stub->pidfd over. Errors: OUT_OF_MEMORY. */
int process_adopt_dying(struct supervisor *supervisor, struct worker *worker,
			const struct pc_stub *stub, const struct pc_stub_end *end,
			struct pc_error *err);
/* The program ends: it is gone now if it only waits for its model's file. */
void process_abandon(struct process *process);

/* ---- process.c ---- */

/* It is loaded, a probe or the worker itself says; `reported_bytes` 0: it did not say how large it
 * is. Late and repeated news change nothing. */
void process_become_ready(struct process *process, uint64_t reported_bytes);
/* Has its record written as it is now. */
void process_write_record(struct process *process);
/* Lets go of one that is stuck, as a daemon does that dies: its record and its files stay. */
void process_leave_behind(struct process *process);
/* Lets go of it; it runs on. */
void process_leave(struct process *process);
/* It has been launched, and was not told to stop. */
bool process_is_running(const struct process *process);
/* For messages. */
const char *process_name(const struct process *process);
const char *process_model(const struct process *process);
uv_loop_t *process_loop(const struct process *process);
struct daemon *process_daemon(const struct process *process);

/* Only for process_begin.c and process_end.c. A process that cannot be watched must not live. Error:
 * SPAWN_FAILED. */
void process_make_timers(struct process *process);
int process_watch(struct process *process, struct pc_error *err);
void process_close_handles(struct process *process);
void process_log_line(void *ctx, const char *text);
struct clerk_job *process_new_job(struct process *process, enum clerk_task task,
				  void (*done)(struct clerk_job *job));
void process_log_failed_write(const struct clerk_job *job);

/* ---- survivor.c ---- */

void survivor_init(struct process *process);
/* It is known already, by this pidfd. */
void survivor_take(struct process *process, int pidfd);
/* Its stub has ended, or should have: whether the worker is still there, perhaps, and has its
 * memory. Kills it. */
bool survivor_lives(struct process *process);
void survivor_close(struct process *process);

/* ---- filecheck.c: what loop 0 must not wait for; `done` follows, unless it is left ---- */

/* Opens and verifies its model's file. Errors: OUT_OF_MEMORY, SPAWN_FAILED (no thread); of `done`:
 * those of pc_model_file_open and pc_model_hand_over. */
int filecheck_begin(struct process *process, filecheck_done done, struct pc_error *err);
/* How the worker gets the file: as the last look at it found. */
const struct pc_hand_over *filecheck_hand_over(const struct process *process);
/* Before it is spawned: is the file still what was verified? Errors of `done`: those of
 * pc_model_hand_over. */
void filecheck_look(struct process *process, filecheck_done done);
/* It has loaded: is the file still what was verified? Closes it. False: no file was verified here,
 * and nothing follows. Error of `done`: MODEL_FILE_INVALID. */
bool filecheck_look_again(struct process *process, filecheck_done done);
/* The worker is not wanted any more: the check need not come to its end. */
void filecheck_hurry(struct process *process);
/* Whether `done` is to follow; for long, if the file's disk does not answer. */
bool filecheck_is_busy(const struct process *process);
/* Lets go of the file, which its thread closes as soon as the disk answers. */
void filecheck_leave(struct process *process);

/* ---- process_stop.c ---- */

/* The brain ordered it, perhaps again with more force. */
void process_stop(struct process *process, enum pc_stop_reason why, bool force);
/* It runs, but is of no use: the brain is told the cause, and everything of it is killed. */
void process_give_up(struct process *process, const struct pc_error *cause);

/* ---- process_end.c ---- */

/* Its stub has ended: all that follows. */
void process_settle(struct process *process);
/* There is no process (any more): only a record may have to go. */
void process_be_stillborn(struct process *process, const struct pc_error *cause);
/* The same for one whose stub was gone before we came; `end` has what is known of it. */
void process_await_survivor(struct process *process, const struct pc_stub_end *end);
/* Everything was done to end it, and it is there: complains, also when it is said again. */
void process_note_stuck(struct process *process);

/* ---- supervisor.c ---- */

struct daemon *supervisor_daemon(const struct supervisor *supervisor);
struct clerk *supervisor_clerk(const struct supervisor *supervisor);
void supervisor_add(struct supervisor *supervisor, struct process *process);
void supervisor_remove(struct supervisor *supervisor, struct process *process);
/* Whether another worker was promised this port. */
bool supervisor_promised_port(const struct supervisor *supervisor, uint16_t port);

/* ---- launch.c ---- */

/* Decides where it will listen and what it will be started with. */
int launch_plan(struct process *process, struct pc_error *err);
/* Starts it, once its record and its claim are written. The plan is spent. */
int launch(struct process *process, struct pc_error *err);
void launch_plan_free(struct launch_plan *plan);

/* ---- probe.c ---- */

/* Asks the worker; `answered` follows, unless it is ended. Errors: those of http_call_start. */
int probe_begin(struct process *process, const char *path, uint64_t timeout_ms,
		probe_answered answered);
void probe_end(struct process *process);

/* ---- readiness.c ---- */

/* Asks it until it is loaded, if its backend is to be asked. */
void readiness_begin(struct process *process);
/* It wrote a line, which may tell that it is loaded. */
void readiness_heard(struct process *process, const char *line);
void readiness_end(struct process *process);

/* ---- health.c ---- */

/* From its readiness on. */
void health_begin(struct process *process);
void health_end(struct process *process);
/* A signal stopped it, or continued it. */
void health_note_stopped(struct process *process, int signal);
void health_note_continued(struct process *process);

#endif
