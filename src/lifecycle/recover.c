/* SPDX-License-Identifier: MIT */
/*
 * recover.c - what became of a worker: after its stub has ended (settle), or when another daemon
 * left its record (recover), which may mean that it still runs and is taken over. It decides
 * nothing about records or memory. Any thread; it may wait for the disk, and for a killed worker.
 *
 * The order of the steps is modelled, see life.c.
 */
#include <poolcore/lifecycle.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/exit_text.h"
#include "lifecycle/life.h"
#include "lifecycle/procfs.h"
#include "lifecycle/remains.h"
#include "lifecycle/status.h"

/* How long it is waited for a worker that was killed while it is recovered. One that has little
 * memory to free is gone by then, and simply so. A guess. */
#define WORKER_END_MS 100

/* ---- settle ---- */

/* How the stub itself ended. */
static struct pc_worker_exit stub_exit(const struct pc_stub *stub)
{
	struct pc_worker_exit how = { .code = -1, .reason = "ended" };
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PIDFD, (id_t)stub->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) {
		how.known = true;
		pc__exit_describe(&info, &how);
	}
	return how;
}

/*
 * A worker dies with its stub, but takes its time; and one that has cleared its parent-death signal
 * and hidden its environment lives on. The pidfd of one that was still there, or -1.
 */
static int kill_worker(const struct pc__life_status *status)
{
	int pidfd;

	if (status->worker_pid <= 1 ||
	    pc_process_open((pid_t)status->worker_pid, (uint64_t)status->worker_start_ticks,
			    status->boot_id, &pidfd, NULL))
		return -1;
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	return pidfd;
}

static void close_pidfd(int pidfd)
{
	if (pidfd >= 0)
		close(pidfd);
}

static void explain_missing(const struct pc_worker_exit *stub, const struct pc__finding *finding,
			    bool has_started, struct pc_stub_end *ret_end)
{
	if (has_started) /* somebody cleared the state directory */
		pc__end_unknown(ret_end, 0, "ended; nobody knows how, for somebody removed %s",
				finding->path);
	else if (stub->known && stub->code == PC__STUB_CLAIM_LOST)
		pc__end_unknown(ret_end, 0, "no worker was started: its claim was taken back");
	else
		pc__end_unknown(ret_end, 0, "no worker was started: its stub %s%s%s",
				stub->signal ? "was " : "", stub->reason,
				stub->code == PC__STUB_FAILED ? ", see its log" : "");
}

static void explain_running(const struct pc_worker_exit *stub, pid_t worker,
			    struct pc_stub_end *ret_end)
{
	if (stub->known && stub->code == PC__STUB_FAILED)
		pc__end_unknown(ret_end, worker,
				"ended; its stub could not write down how, see its "
				"log");
	else
		pc__end_unknown(ret_end, worker,
				"died with its stub, which %s%s; nobody saw its exit",
				stub->signal ? "was " : "", stub->reason);
}

int pc_stub_settle(struct pc_stub *stub, const char *life_dir, const char *worker_id,
		   const char *spawn_token, struct pc_stub_end *ret_end, struct pc_error *err)
{
	struct pc__finding finding;

	if (!stub || stub->pidfd < 0 || !spawn_token || !ret_end)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an open stub, its token, and room for its end are needed");
	if (!pc_stub_has_ended(stub))
		return pc_error_set(err, PC_E_CONFLICT, "stub %d of worker %s still runs",
				    stub->pid, worker_id ? worker_id : "?");

	/* Before the stub is reaped, so that after an error all is as it was. */
	int rc = pc__status_read(life_dir, worker_id, spawn_token, &finding, err);

	if (rc)
		return rc;

	struct pc_worker_exit how = stub_exit(stub);

	if (finding.belief == STATUS_BELIEVED && finding.status.ended) {
		pc__end_from_status(&finding.status, ret_end);
		return 0;
	}
	if (finding.belief == STATUS_BELIEVED)
		close_pidfd(kill_worker(&finding.status));
	pc__remains_kill(stub->pid, spawn_token);
	switch (finding.belief) {
	case STATUS_MISSING:
		explain_missing(&how, &finding, stub->has_started, ret_end);
		break;
	case STATUS_BELIEVED:
		explain_running(&how, (pid_t)finding.status.worker_pid, ret_end);
		break;
	case STATUS_DOUBTED:
		pc__end_unknown(ret_end, 0, "its stub %s%s; '%s': %s", how.signal ? "was " : "",
				how.reason, finding.path, finding.why);
		break;
	}
	return 0;
}

/* ---- recover ---- */

/* A record whose worker is being looked for. */
struct recovery {
	const char *life_dir, *worker_id, *spawn_token;
	struct pc__finding finding;
	enum pc_life life;
	struct pc_stub stub;
	struct pc_stub_end end;
};

/* Whether the claim was there and is taken now. */
static int take_claim(struct recovery *r, bool *ret_taken, struct pc_error *err)
{
	char path[PATH_MAX];
	int rc = pc__life_path(path, r->life_dir, r->worker_id, PC__LIFE_CLAIM, err);

	if (rc)
		return rc;
	*ret_taken = unlink(path) == 0;
	if (!*ret_taken && errno != ENOENT)
		return pc_error_sys(err, PC_E_IO, errno, "cannot take the claim '%s'", path);
	return 0;
}

static int recover_doubted(struct recovery *r, struct pc_error *err)
{
	pid_t carrier = pc__remains_find(r->spawn_token);

	if (carrier)
		return pc_error_set(err, PC_E_CONFLICT,
				    "worker %s: '%s' cannot be believed (%s), and process %d has "
				    "the worker's token; it was left alone. When it has ended, "
				    "the worker can be recovered",
				    r->worker_id, r->finding.path, r->finding.why, carrier);
	r->life = PC_LIFE_VANISHED;
	pc__end_unknown(&r->end, 0, "is gone; '%s': %s", r->finding.path, r->finding.why);
	return 0;
}

/* The stub is gone. Only now is the status final: it may have been written since we read it. */
static int recover_gone(struct recovery *r, const char *why, struct pc_error *err)
{
	int rc = pc__status_read(r->life_dir, r->worker_id, r->spawn_token, &r->finding, err);

	if (rc)
		return rc;
	if (r->finding.belief == STATUS_DOUBTED)
		return recover_doubted(r, err);
	if (r->finding.belief == STATUS_BELIEVED && r->finding.status.ended) {
		r->life = PC_LIFE_ENDED;
		pc__end_from_status(&r->finding.status, &r->end);
		return 0;
	}
	r->life = PC_LIFE_VANISHED;
	pc__end_unknown(&r->end, (pid_t)r->finding.status.worker_pid, "died with its stub: %s",
			why);
	return 0;
}

static bool ends_soon(int pidfd)
{
	struct pollfd over = { .fd = pidfd, .events = POLLIN };

	return poll(&over, 1, WORKER_END_MS) == 1;
}

/* The same, of this boot: the worker may still be there, and what it left. Its memory is back only
 * when it is gone itself. */
static int recover_killed(struct recovery *r, const char *why, struct pc_error *err)
{
	int rc = recover_gone(r, why, err), pidfd;

	if (rc || r->life != PC_LIFE_VANISHED)
		return rc;
	pidfd = kill_worker(&r->finding.status);
	pc__remains_kill((pid_t)r->finding.status.stub_pid, r->spawn_token);
	if (pidfd < 0 || ends_soon(pidfd)) {
		close_pidfd(pidfd);
		return 0;
	}
	pc_stub_close(&r->stub);
	r->stub.pidfd = pidfd;
	r->life = PC_LIFE_DYING;
	return 0;
}

/*
 * What an earlier daemon did not read is still in the FIFO and may begin within a report. Each
 * write is whole, so where the FIFO is empty the next report begins. The bound is for a worker that
 * writes faster than we read, whose log is given up rather than our time: a guess.
 */
static void drain(struct pc_stub *stub)
{
	size_t total = 0;

	for (;;) {
		ssize_t got = read(stub->report_fd, stub->partial, sizeof(stub->partial));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return;
		total += (size_t)got;
		if (total > (size_t)16 << 20) {
			stub->reports_broken = true;
			return;
		}
	}
}

/* Adopts a stub whose identity is proven. */
static int adopt(struct recovery *r, struct pc_error *err)
{
	char fifo[PATH_MAX];
	int rc = pc__life_path(fifo, r->life_dir, r->worker_id, PC__LIFE_LOG, err);

	if (rc)
		return rc;
	r->stub.report_fd = pc__life_fifo_open(fifo);
	if (r->stub.report_fd < 0)
		return pc_error_sys(err, PC_E_IO, errno, "worker %s runs, but has no log '%s'",
				    r->worker_id, fifo);
	drain(&r->stub);
	r->stub.awaits_replay = true;
	rc = pc__stub_signal(&r->stub, SIGUSR1, NULL);
	if (rc == PC_E_NOT_FOUND)
		return recover_killed(r, "it has ended just now", err);
	if (rc)
		return pc_error_set(err, rc, "cannot tell stub %d that we are its daemon",
				    r->stub.pid);
	r->life = PC_LIFE_RUNNING;
	r->end = (struct pc_stub_end){
		.exit = { .code = -1 },
		.worker_pid = (pid_t)r->finding.status.worker_pid,
	};
	return 0;
}

/*
 * The pidfd is opened first and compared afterwards; why that proves it is in stub.c. The inode
 * says the same once more, where the kernel has it: ticks of 10 ms are coarse.
 */
static int identify(struct recovery *r, struct pc_error *err)
{
	const struct pc__life_status *status = &r->finding.status;
	struct pc__proc_stat stat;
	char why[128];

	r->stub.pid = (pid_t)status->stub_pid;
	r->stub.pidfd = pidfd_open(r->stub.pid, PIDFD_NONBLOCK);
	if (r->stub.pidfd < 0 && errno != ESRCH && errno != EINVAL)
		return pc_error_sys(err, PC_E_IO, errno, "cannot open stub %d of worker %s",
				    r->stub.pid, r->worker_id);
	if (r->stub.pidfd < 0) {
		snprintf(why, sizeof(why), "there is no process %d any more", r->stub.pid);
		return recover_killed(r, why, err);
	}

	int rc = pc__proc_stat_read(r->stub.pid, &stat);

	if (rc && rc != -ESRCH)
		return pc_error_sys(err, PC_E_IO, -rc, "cannot read the start time of stub %d",
				    r->stub.pid);
	r->stub.start_ticks = rc ? 0 : stat.start_ticks;
	r->stub.pidfd_inode = pc__pidfd_inode(r->stub.pidfd);
	if (rc || r->stub.start_ticks != (uint64_t)status->stub_start_ticks ||
	    (r->stub.pidfd_inode && status->stub_pidfd_inode &&
	     r->stub.pidfd_inode != (uint64_t)status->stub_pidfd_inode)) {
		snprintf(why, sizeof(why), "process %d is another one now", r->stub.pid);
		return recover_killed(r, why, err);
	}
	if (pc_stub_has_ended(&r->stub)) {
		snprintf(why, sizeof(why), "process %d has ended", r->stub.pid);
		return recover_killed(r, why, err);
	}
	return adopt(r, err);
}

static int recover(struct recovery *r, struct pc_error *err)
{
	bool taken;
	int rc = take_claim(r, &taken, err);

	if (!rc && !taken)
		rc = pc__status_read(r->life_dir, r->worker_id, r->spawn_token, &r->finding, err);
	if (rc)
		return rc;
	if (taken || r->finding.belief == STATUS_MISSING) {
		r->life = PC_LIFE_NEVER_SPAWNED;
		pc__end_unknown(&r->end, 0, "no worker was started before the daemon ended");
		return 0;
	}
	if (r->finding.belief == STATUS_DOUBTED)
		return recover_doubted(r, err);
	if (r->finding.status.ended)
		return recover_gone(r, "", err);
	if (strcmp(r->finding.status.boot_id, pc_boot_id()) != 0)
		return recover_gone(r, "the machine was started anew", err);
	return identify(r, err);
}

int pc_stub_recover(const char *life_dir, const char *worker_id, const char *spawn_token,
		    enum pc_life *ret_life, struct pc_stub *ret_stub, struct pc_stub_end *ret_end,
		    struct pc_error *err)
{
	struct recovery r = {
		.life_dir = life_dir,
		.worker_id = worker_id,
		.spawn_token = spawn_token,
		.stub = { .pidfd = -1, .report_fd = -1 },
	};

	if (!pc__life_token_is_valid(spawn_token) || !ret_life || !ret_stub || !ret_end)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a spawn token, and room for what is found, are needed");

	int rc = recover(&r, err);

	if (!rc && (r.life == PC_LIFE_RUNNING || r.life == PC_LIFE_DYING))
		*ret_stub = r.stub;
	else
		pc_stub_close(&r.stub);
	if (rc)
		return rc;
	*ret_life = r.life;
	*ret_end = r.end;
	return 0;
}
