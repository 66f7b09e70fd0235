/* SPDX-License-Identifier: MIT */
/*
 * memory.h - how much memory there is and how short it is, what a process holds, how much may be
 * promised, and to whom it is promised.
 *
 * The ledger is the one place where memory is reserved. A reservation is checked and taken in one
 * atomic step, so that no two callers can both be given the last gigabyte (invariant I1).
 */
#ifndef POOLCORE_MEMORY_H
#define POOLCORE_MEMORY_H

#include <poolcore/error.h>

#include <sys/types.h>

PC_BEGIN_DECLS

#define PC_DEVICE_MAX 32      /* devices of one machine, cpu included */
#define PC_DEVICE_NAME_MAX 16 /* "cpu", "gpu0", with its NUL */

/* ---- facts ---- */

struct pc_memory_facts {
	uint64_t total_bytes;	  /* min(MemTotal, every cgroup limit above us) */
	uint64_t available_bytes; /* min(MemAvailable, room under every cgroup limit above us) */
	uint64_t physical_bytes;  /* MemTotal alone */
	char limited_by[256]; /* "MemTotal", or the cgroup directory whose limit is the smallest */
};

/*
 * Reads /proc/meminfo, /proc/self/cgroup and the cgroup files (v1 memory.limit_in_bytes, v2
 * memory.max and memory.high, of our own group and each ancestor). `root` is put in front of every
 * path, "" or NULL for the real machine; tests point it at a tree of their own. A missing cgroup
 * file system is no error. Errors: IO when /proc/meminfo cannot be read or parsed (details: file,
 * key). Never allocates. Any thread.
 */
PC_API int pc_memory_facts_read(const char *root, struct pc_memory_facts *ret_facts,
				struct pc_error *err);

/* ---- pressure ---- */

/*
 * How much of the time tasks stood still because memory had to be reclaimed or brought back first
 * (Linux Documentation/accounting/psi.rst).
 */
struct pc_memory_stall {
	uint32_t avg10_bp; /* share of the last 10 s or so in hundredths of a percent, 0..10000 */
	uint64_t total_us; /* stalled since that group (or the machine) exists; as `file` says */
	char file[256];	   /* whose figure is the highest, without `root`; "": none was read */
};

struct pc_memory_pressure {
	bool available;		     /* false: no figure could be had, the rest is zero */
	struct pc_memory_stall some; /* at least one task stood still */
	struct pc_memory_stall full; /* all that were not idle did, at the same time */
};

/*
 * Reads the pressure on memory (PSI): memory.pressure of our own control group of version 2 and of
 * each ancestor that is shown, and /proc/pressure/memory. `some` and `full` are each the highest
 * avg10 of them, of equal ones the nearest to us; they may come from different files, and from
 * others the next time, so that two readings of total_us compare only where `file` is the same.
 *
 * No figure is no error but `available` false: a kernel before 4.20, without CONFIG_PSI or started
 * with psi=0, a container that may not read the files or has them masked with /dev/null. `root` is
 * put in front of every path, as in pc_memory_facts_read.
 *
 * Errors: INVALID_ARGUMENT; IO when a file holds something else (details: file, key), or when the
 * process has no descriptor left to open it with. Never allocates. Any thread.
 */
PC_API int pc_memory_pressure_read(const char *root, struct pc_memory_pressure *ret_pressure,
				   struct pc_error *err);

/* ---- what a process holds ---- */

struct pc_memory_process {
	uint64_t rss_anon_bytes;  /* RssAnon: its own pages, that only swap could take */
	uint64_t rss_file_bytes;  /* RssFile: mapped files, weights among them; can be dropped */
	uint64_t rss_shmem_bytes; /* RssShmem: tmpfs too; counted by each who maps it */
	uint64_t swap_bytes;	  /* VmSwap: its own pages that are in swap already */
};

/*
 * Reads /proc/PID/status; `pid` 0: our own. The difference of rss_anon_bytes + swap_bytes around a
 * load is what the load takes that cannot be dropped. Weights that are mapped count as
 * rss_file_bytes: they are page cache, which the kernel takes back when others need it and which
 * pc_memory_facts counts as available. A load on one thread is measured together with whatever the
 * others do meanwhile.
 *
 * Errors: INVALID_ARGUMENT (pid negative); IO (details: file, key) when the file cannot be read,
 * sys_errno ENOENT or ESRCH when there is no such process, or lacks one of the four lines. Those of
 * kernel threads and of processes that have ended lack all. Kernels have them since 4.5. Never
 * allocates. Any thread.
 */
PC_API int pc_memory_process_read(const char *root, pid_t pid,
				  struct pc_memory_process *ret_process, struct pc_error *err);

/* ---- is it short? ---- */

enum pc_memory_state {
	PC_MEMORY_CALM = 0,
	PC_MEMORY_TIGHT = 1, /* stop growing, evict who is idle */
};

/* Where it becomes short. 0: that figure is not looked at. */
struct pc_memory_limits {
	uint64_t reserve_bytes; /* of available memory, to keep free */
	uint32_t some_avg10_bp; /* bound of pressure.some.avg10_bp; 2000 is 20 % */
	uint32_t full_avg10_bp;
};

#define PC_MEMORY_WHY_MAX 1024 /* two files of 255 bytes, and some 270 of words and figures */

/*
 * Judges two readings; `pressure` is NULL or not available when there is none, `facts` and `limits`
 * must be there (asserted). Becomes TIGHT when available memory is under the reserve or an average
 * is over its bound; a figure that is exactly there is not.
 *
 * `before` is the last judgement, PC_MEMORY_CALM at first: who was TIGHT stays so until every
 * figure is clearly better. Available memory must have passed the reserve by a quarter of it, or by
 * half of what the total leaves above it if that is less, so that a large reserve has a way back
 * too; an average must have fallen to half its bound. The quarter and the halves are guesses;
 * change freely. (The kernel's average over 10 s needs some 7 s to fall by half when nothing
 * stalls.)
 *
 * `why` (or NULL) is filled with one line without a full stop: what is short and where, joined with
 * "and", or the figures when all is calm. Pure: no clock, no file, no allocation. Any thread.
 */
PC_API enum pc_memory_state pc_memory_judge(const struct pc_memory_facts *facts,
					    const struct pc_memory_pressure *pressure,
					    const struct pc_memory_limits *limits,
					    enum pc_memory_state before,
					    char why[PC_MEMORY_WHY_MAX]);

/* ---- the ledger ---- */

struct pc_ledger;

struct pc_device_account {
	char name[PC_DEVICE_NAME_MAX];
	uint64_t total_bytes;	 /* what the device has */
	uint64_t budget_bytes;	 /* how much of it may be reserved */
	uint64_t reserved_bytes; /* how much of that is */
};

/* Errors: OUT_OF_MEMORY. pc_ledger_destroy accepts NULL; nobody may use the ledger any more. */
PC_API int pc_ledger_create(struct pc_ledger **ret_ledger, struct pc_error *err);
PC_API void pc_ledger_destroy(struct pc_ledger *ledger);

/*
 * Adds a device before the ledger is shared. Returns its index (0, 1, ...) or a negative error:
 * ALREADY_EXISTS, INVALID_ARGUMENT (name empty or too long, budget above total, more than
 * PC_DEVICE_MAX devices).
 */
PC_API int pc_ledger_add_device(struct pc_ledger *ledger, const char *name, uint64_t total_bytes,
				uint64_t budget_bytes, struct pc_error *err);

PC_API unsigned pc_ledger_device_count(const struct pc_ledger *ledger);
/* The index of a device, or -1. */
PC_API int pc_ledger_find(const struct pc_ledger *ledger, const char *name);
/* A snapshot of one account; `device` must exist. reserved_bytes is exact, though stale at once.
 * Any thread. */
PC_API void pc_ledger_account(const struct pc_ledger *ledger, unsigned device,
			      struct pc_device_account *ret_account);

/* Takes `bytes` of the device's budget if they fit, in one atomic step. Any thread, lock-free. */
PC_API bool pc_ledger_reserve(struct pc_ledger *ledger, unsigned device, uint64_t bytes);
/* Gives them back. More than is reserved is our own bug and asserted. Any thread. */
PC_API void pc_ledger_release(struct pc_ledger *ledger, unsigned device, uint64_t bytes);
/*
 * Changes a reservation from `from_bytes` to `to_bytes` (what the worker turned out to use). Unlike
 * reserve it always succeeds, because the memory is in use already; returns whether the sum is
 * still within budget. `from_bytes` must be reserved and the sum must not pass 2^64: who believes a
 * worker's figure bounds it first (asserted).
 */
PC_API bool pc_ledger_true_up(struct pc_ledger *ledger, unsigned device, uint64_t from_bytes,
			      uint64_t to_bytes);
/*
 * Changes a device's budget (a limit was lowered, or the operator said so). Reservations stay; once
 * it has returned, none is granted beyond the new budget. Any thread.
 */
PC_API void pc_ledger_set_budget(struct pc_ledger *ledger, unsigned device, uint64_t budget_bytes);

PC_END_DECLS

#endif
