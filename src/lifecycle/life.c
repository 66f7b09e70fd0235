/* SPDX-License-Identifier: MIT */
/*
 * life.c - a worker's files: makes them before the spawn, reads from them what became of a worker
 * while no daemon was there or after its stub has ended, and removes them. It decides nothing about
 * records or memory. Any thread; it may wait for the disk.
 *
 * The protocol, its order of steps and what each is good for are in tests/formal/worker_life.pml:
 * claim() there is pc_stub_claim, recover_one() is pc_stub_recover with identify(), settle() begins
 * with pc_stub_settle. Whoever changes the order here changes it there first.
 *
 * Note: a status that cannot be believed
 *
 * The stub renames whole files, so a status that is cut off or does not name the record's token was
 * made by a full disk after a power failure, or by hand. Its numbers may be anybody's, and nobody is
 * signalled. But whether a worker holds memory must still be answered, and that a stub lives can be
 * seen otherwise: it carries the token in its environment. If nobody does, the worker is gone, for
 * it dies with its stub. If somebody does, only a person can say what is right, and the record stays.
 */
#include "lifecycle/life.h"

#include <poolcore/clock.h>
#include <poolcore/lifecycle.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/exit_text.h"
#include "lifecycle/procfs.h"
#include "lifecycle/remains.h"

/* How long a worker that was killed may take to free its memory while it is recovered. A guess. */
#define WORKER_END_MS 10000

int pc__life_path(char ret_path[PATH_MAX], const char *life_dir, const char *worker_id,
		  enum pc__life_file file, struct pc_error *err)
{
	char name[PC__LIFE_NAME_SIZE];

	if (!life_dir || !life_dir[0])
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a life directory is needed");
	if (!pc__life_id_is_valid(worker_id))
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "'%.140s' is no worker id: 1 to %d letters, digits, '.', '_' "
				    "and '-' are, with no '.' or '-' at the beginning",
				    worker_id ? worker_id : "", PC__LIFE_ID_MAX);
	pc__life_name(file, worker_id, name);

	int length = snprintf(ret_path, PATH_MAX, "%s/%s", life_dir, name);

	if (length < 0 || length >= PATH_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the life directory's path is too long: %.200s...", life_dir);
	return 0;
}

int pc__life_fifo_open(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

/* ---- claim ---- */

static int cannot_make(struct pc_error *err, const char *path, int failure)
{
	return pc_error_sys(err, failure == EEXIST ? PC_E_ALREADY_EXISTS : PC_E_IO, failure,
			    "cannot make '%s'", path);
}

/* Returns errno. The room for the stub's identity is taken here, so that a full disk is an error of
 * ours and not the stub's. */
static int claim_create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return errno;

	bool is_full = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PC__LIFE_STATUS_MAX) &&
		       (errno == ENOSPC || errno == EDQUOT);
	int failure = is_full ? errno : 0;

	close(fd);
	if (failure)
		unlink(path);
	return failure;
}

int pc_stub_claim(const char *life_dir, const char *worker_id, struct pc_error *err)
{
	char claim[PATH_MAX], fifo[PATH_MAX];
	int rc = pc__life_path(claim, life_dir, worker_id, PC__LIFE_CLAIM, err);

	if (!rc)
		rc = pc__life_path(fifo, life_dir, worker_id, PC__LIFE_LOG, err);
	if (rc)
		return rc;
	/* The claim last: where it is, all is. */
	if (mkfifo(fifo, 0600))
		return cannot_make(err, fifo, errno);

	int failure = claim_create(claim);

	if (failure) {
		unlink(fifo);
		return cannot_make(err, claim, failure);
	}
	return 0;
}

/* ---- the status ---- */

enum belief { STATUS_MISSING, STATUS_BELIEVED, STATUS_DOUBTED };

/* A status as it was found. */
struct finding {
	enum belief belief;
	char path[PATH_MAX];
	char why[160]; /* it is doubted */
	struct pc__life_status status;
};

/* Reads up to `size` bytes; how many, or -1 with errno. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	size_t length = 0;
	ssize_t got = 1;

	if (fd < 0)
		return -1;
	while (got > 0 && length < size) {
		got = read(fd, text + length, size - length);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			length += (size_t)got;
	}

	int failure = errno;

	close(fd);
	errno = failure;
	return got < 0 ? -1 : (ssize_t)length;
}

static int status_read(const char *life_dir, const char *worker_id, const char *spawn_token,
		       struct finding *finding, struct pc_error *err)
{
	char text[PC__LIFE_STATUS_MAX + 1];
	int rc = pc__life_path(finding->path, life_dir, worker_id, PC__LIFE_STATUS, err);

	if (rc)
		return rc;

	ssize_t length = read_file(finding->path, text, sizeof(text));

	if (length < 0 && errno == ENOENT) {
		finding->belief = STATUS_MISSING;
		return 0;
	}
	if (length < 0)
		return pc_error_sys(err, PC_E_IO, errno, "cannot read '%s'", finding->path);
	finding->belief = STATUS_DOUBTED;
	if (pc__life_parse(text, (size_t)length, &finding->status, finding->why))
		return 0;
	if (strcmp(finding->status.token, spawn_token) != 0) {
		snprintf(finding->why, sizeof(finding->why),
			 "its token is not the one of this worker's record");
		return 0;
	}
	finding->belief = STATUS_BELIEVED;
	return 0;
}

/* The log's end as a string. */
static void copy_tail(const struct pc__life_status *status, char ret_tail[2048])
{
	size_t length = (size_t)status->tail_length;

	for (size_t i = 0; i < length; i++)
		ret_tail[i] = status->tail[i] ? status->tail[i] : '?';
	ret_tail[length] = '\0';
}

static void end_from_status(const struct pc__life_status *status, struct pc_stub_end *ret_end)
{
	struct pc_stub_end end = {
		.exit = {
			.known = true,
			.code = (int)status->code,
			.signal = (int)status->signal,
			.wall_ms = status->wall_ms,
		},
		.worker_pid = (pid_t)status->worker_pid,
		.spawn_errno = (int)status->spawn_errno,
		.oom_killed = status->oom_killed,
	};

	snprintf(end.exit.reason, sizeof(end.exit.reason), "%s", status->reason);
	copy_tail(status, end.log_tail);
	*ret_end = end;
}

static void end_unknown(struct pc_stub_end *ret_end, pid_t worker, const char *fmt, ...)
	PC_PRINTF(3, 4);

static void end_unknown(struct pc_stub_end *ret_end, pid_t worker, const char *fmt, ...)
{
	struct pc_stub_end end = {
		.exit = { .code = -1, .wall_ms = pc_clock_wall_ms() },
		.worker_pid = worker,
	};
	va_list args;

	va_start(args, fmt);
	vsnprintf(end.exit.reason, sizeof(end.exit.reason), fmt, args);
	va_end(args);
	*ret_end = end;
}

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

static void explain_missing(const struct pc_worker_exit *stub, const struct finding *finding,
			    bool has_started, struct pc_stub_end *ret_end)
{
	if (has_started) /* somebody cleared the state directory */
		end_unknown(ret_end, 0, "ended; nobody knows how, for somebody removed %s",
			    finding->path);
	else if (stub->known && stub->code == PC__STUB_CLAIM_LOST)
		end_unknown(ret_end, 0, "no worker was started: its claim was taken back");
	else
		end_unknown(ret_end, 0, "no worker was started: its stub %s%s%s",
			    stub->signal ? "was " : "", stub->reason,
			    stub->code == PC__STUB_FAILED ? ", see its log" : "");
}

static void explain_running(const struct pc_worker_exit *stub, pid_t worker,
			    struct pc_stub_end *ret_end)
{
	if (stub->known && stub->code == PC__STUB_FAILED)
		end_unknown(ret_end, worker,
			    "ended; its stub could not write down how, see its "
			    "log");
	else
		end_unknown(ret_end, worker, "died with its stub, which %s%s; nobody saw its exit",
			    stub->signal ? "was " : "", stub->reason);
}

int pc_stub_settle(struct pc_stub *stub, const char *life_dir, const char *worker_id,
		   const char *spawn_token, struct pc_stub_end *ret_end, struct pc_error *err)
{
	struct finding finding;

	if (!stub || stub->pidfd < 0 || !spawn_token || !ret_end)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "an open stub, its token, and room for its end are needed");
	if (!pc_stub_has_ended(stub))
		return pc_error_set(err, PC_E_CONFLICT, "stub %d of worker %s still runs",
				    stub->pid, worker_id ? worker_id : "?");

	/* Before the stub is reaped, so that after an error all is as it was. */
	int rc = status_read(life_dir, worker_id, spawn_token, &finding, err);

	if (rc)
		return rc;

	struct pc_worker_exit how = stub_exit(stub);

	if (finding.belief == STATUS_BELIEVED && finding.status.ended) {
		end_from_status(&finding.status, ret_end);
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
		end_unknown(ret_end, 0, "its stub %s%s; '%s': %s", how.signal ? "was " : "",
			    how.reason, finding.path, finding.why);
		break;
	}
	return 0;
}

/* ---- recover ---- */

/* A record whose worker is being looked for. */
struct recovery {
	const char *life_dir, *worker_id, *spawn_token;
	struct finding finding;
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
	end_unknown(&r->end, 0, "is gone; '%s': %s", r->finding.path, r->finding.why);
	return 0;
}

/* The stub is gone. Only now is the status final: it may have been written since we read it. */
static int recover_gone(struct recovery *r, const char *why, struct pc_error *err)
{
	int rc = status_read(r->life_dir, r->worker_id, r->spawn_token, &r->finding, err);

	if (rc)
		return rc;
	if (r->finding.belief == STATUS_DOUBTED)
		return recover_doubted(r, err);
	if (r->finding.belief == STATUS_BELIEVED && r->finding.status.ended) {
		r->life = PC_LIFE_ENDED;
		end_from_status(&r->finding.status, &r->end);
		return 0;
	}
	r->life = PC_LIFE_VANISHED;
	end_unknown(&r->end, (pid_t)r->finding.status.worker_pid, "died with its stub: %s", why);
	return 0;
}

/* Its memory is back only when the worker is gone itself. */
static int wait_for_worker(const struct recovery *r, int pidfd, struct pc_error *err)
{
	struct pollfd over = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0 || poll(&over, 1, WORKER_END_MS) == 1)
		return 0;
	return pc_error_set(err, PC_E_CONFLICT,
			    "process %d of worker %s does not die even by SIGKILL; is a driver "
			    "stuck? When it has ended, the worker can be recovered",
			    (int)r->finding.status.worker_pid, r->worker_id);
}

/* The same, of this boot: the worker may still be there, and what it left. */
static int recover_killed(struct recovery *r, const char *why, struct pc_error *err)
{
	int rc = recover_gone(r, why, err), pidfd;

	if (rc || r->life != PC_LIFE_VANISHED)
		return rc;
	pidfd = kill_worker(&r->finding.status);
	pc__remains_kill((pid_t)r->finding.status.stub_pid, r->spawn_token);
	rc = wait_for_worker(r, pidfd, err);
	close_pidfd(pidfd);
	return rc;
}

/*
 * What an earlier daemon did not read is still in the FIFO and may begin within a report. Each write
 * is whole, so where the FIFO is empty the next report begins. The bound is for a worker that writes
 * faster than we read, whose log is given up rather than our time: a guess.
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
		rc = status_read(r->life_dir, r->worker_id, r->spawn_token, &r->finding, err);
	if (rc)
		return rc;
	if (taken || r->finding.belief == STATUS_MISSING) {
		r->life = PC_LIFE_NEVER_SPAWNED;
		end_unknown(&r->end, 0, "no worker was started before the daemon ended");
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

	if (rc || r.life != PC_LIFE_RUNNING)
		pc_stub_close(&r.stub);
	else
		*ret_stub = r.stub;
	if (rc)
		return rc;
	*ret_life = r.life;
	*ret_end = r.end;
	return 0;
}

/* ---- removal ---- */

static int remove_path(const char *path, struct pc_error *err)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	return pc_error_sys(err, PC_E_IO, errno, "cannot remove '%s'", path);
}

int pc_stub_forget(const char *life_dir, const char *worker_id, struct pc_error *err)
{
	int first = 0;

	/* In the order of the enumeration: the claim goes first. */
	for (int file = 0; file < PC__LIFE_FILES; file++) {
		char path[PATH_MAX];
		int rc = pc__life_path(path, life_dir, worker_id, (enum pc__life_file)file, err);

		if (rc)
			return rc;
		rc = remove_path(path, err);
		first = first ? first : rc;
	}
	return first;
}

int pc_stub_sweep(const char *life_dir, bool (*is_known)(void *ctx, const char *worker_id),
		  void *ctx, struct pc_error *err)
{
	struct dirent *entry;
	int first = 0;

	if (!life_dir || !is_known)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "a life directory and who is known are needed");

	DIR *dir = opendir(life_dir);

	if (!dir)
		return pc_error_sys(err, PC_E_IO, errno, "cannot read the life directory '%s'",
				    life_dir);
	while ((entry = readdir(dir))) {
		char id[PC__LIFE_ID_MAX + 1];

		if (!pc__life_name_parse(entry->d_name, id) || is_known(ctx, id))
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		pc_error_sys(err, PC_E_IO, errno, "cannot remove '%s/%s'", life_dir, entry->d_name);
		first = PC_E_IO;
	}
	closedir(dir);
	return first;
}
