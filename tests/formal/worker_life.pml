/* SPDX-License-Identifier: MIT */
/*
 * worker_life.pml - a worker process's life against the death of the daemon, which may be killed
 * between any two steps and starts anew. The machine goes on (after a reboot the boot id differs and
 * nothing of the earlier life runs). Loading, requests and the log are left out.
 *
 *	on disk	record	the registry's row; written before everything else, deleted last
 *		claim	a file named by the worker's id; made by the daemon before it spawns. The
 *			stub writes its identity into it and renames it to the status file; a
 *			daemon that recovers unlinks it. The one that finds it has won: a stub
 *			that loses starts no worker, a daemon that loses finds a status file,
 *			complete, because it came by the same rename.
 *		status	{pid, start time} of the stub, and in the end the worker's exit (written
 *			beside it and renamed over it)
 *
 *	daemon	spawn	reserve, record, claim, spawn, own
 *		recover	reserve for all records; for each: take the claim; else the status; else
 *			nothing was ever spawned. Whoever runs, or may be there yet though its stub
 *			is gone, is owned from then on, like one that was spawned; whether it serves
 *			or is stopped is decided afterwards
 *		own	a pidfd of the stub whose start time was compared after it was opened
 *		settle	the stub is gone: read the status again, wait for the memory, record the
 *			exit and delete the record in one transaction, give the reservation back,
 *			remove the files
 *		hear	a report of readiness whose nonce is the record's: write it down, answer
 *	worker	reports until it is answered
 *	stub	parent of the worker, which dies with it (a parent-death signal). The daemon
 *		signals the stub alone, and the stub its child, whose number cannot pass to a
 *		stranger before the stub itself has reaped it.
 *
 * Properties:
 *	L1  A signal reaches the stub that it is meant for, or nobody.
 *	L2  Memory is never overcommitted, counted on the device and not in the ledger.
 *	L3  While the daemon decides, its ledger covers every worker that holds memory.
 *	L4  A stub has one owner at most.
 *	L5  In the end no worker, memory or file is left that no record names; no process hangs.
 *	L6  The exit of a worker becomes known, unless its stub was killed.
 *	L7  A worker that runs, or whose memory is not back, has a record.
 * with -DPATIENT, where workers report, do not end by themselves, and are stopped only when ready:
 *	L8  Ready is who ran; and every report is heard, whoever was dead when it came.
 */

/* The size of the world; verify.sh overrides it. */
#ifndef WORKERS
#define WORKERS 2 /* ids, never used again */
#endif
#ifndef CAPACITY
#define CAPACITY 1 /* workers that fit into memory */
#endif
#ifndef CRASHES
#define CRASHES 2 /* of the daemon */
#endif
#ifndef KILLS
#define KILLS 1 /* of stubs, by somebody else */
#endif
#ifndef STRANGERS
#define STRANGERS 1
#endif
#define PIDS 2

#define NOBODY 0
#define STRANGER 99
#define STUB(worker) (1 + (worker))

mtype = { MISSING, RUNNING, ENDED };	 /* a status file */
mtype = { NOT_TOLD, NEVER_RAN, EXIT_KNOWN, EXIT_UNKNOWN }; /* what the registry tells afterwards */

#define REACHED(name) c_code { static int seen; if (!seen++) puts("reached: " name); }

/* On disk. */
byte next_id = 0;
bool record[WORKERS];
bool claim[WORKERS];
mtype status[WORKERS] = MISSING;
byte status_pid[WORKERS], status_born[WORKERS];
bool ready[WORKERS]; /* in the record */
mtype told[WORKERS] = NOT_TOLD;

/* In the kernel: who has a number, and since when. Births are counted, so that equal ones mean the
 * same process. */
byte births = 0;
byte holder[PIDS] = NOBODY;
byte born[PIDS];
bool alive[WORKERS];  /* the worker itself */
bool memory[WORKERS]; /* on the device; comes back some time after its end */
bool term[WORKERS], quit[WORKERS];
bool stub_killed[WORKERS];
bool reporting[WORKERS]; /* a report with the right nonce; has not been answered */

/* In the daemon: lost when it dies. */
bool deciding = false; /* it has read the registry */
bool reserved[WORKERS], owned[WORKERS], stopping[WORKERS], forced[WORKERS];
bool lost[WORKERS]; /* its stub was gone before we came, and how it ended is not known */
byte pidfd_pid[WORKERS], pidfd_born[WORKERS];

/* What only the checks know. */
bool crash = false, kill_stub[WORKERS], ran[WORKERS];
byte crashes = CRASHES, kills = KILLS, strangers = STRANGERS;

#if WORKERS == 1
#define COUNT(array) (array[0])
#elif WORKERS == 2
#define COUNT(array) (array[0] + array[1])
#else
#define COUNT(array) (array[0] + array[1] + array[2])
#endif

#if !defined(PATIENT)
#define REPORTS false /* readiness is another subject; it would double the states */
#elif defined(MUTANT_REPORTED_ONCE)
#define REPORTS deciding /* ... to whoever is there */
#else
#define REPORTS true
#endif

/* ---- the stub ---- */

proctype stub(byte worker, pid_number)
{
	bool won = false;

	{
		atomic {
			if
			:: claim[worker] ->
				claim[worker] = false;
				won = true;
#ifndef MUTANT_CLAIM_TWO_STEPS
				status[worker] = RUNNING;
				status_pid[worker] = pid_number;
				status_born[worker] = born[pid_number];
#endif
				skip
			:: else ->
				REACHED("stub: lost the claim");
#ifdef MUTANT_NO_CLAIM
				won = true;
				status[worker] = RUNNING;
				status_pid[worker] = pid_number;
				status_born[worker] = born[pid_number];
#endif
				skip
			fi
		};
		if
		:: won ->
#ifdef MUTANT_CLAIM_TWO_STEPS
			d_step {
				status[worker] = RUNNING;
				status_pid[worker] = pid_number;
				status_born[worker] = born[pid_number]
			};
#endif
			d_step {
				alive[worker] = true;
				memory[worker] = true;
				ran[worker] = true;
				reporting[worker] = REPORTS;
				assert(COUNT(memory) <= CAPACITY) /* L2 */
			};
			do
#ifndef PATIENT
			:: atomic { alive[worker] -> alive[worker] = false }
#endif
			:: atomic { alive[worker] && term[worker] ->
				term[worker] = false;
				/* it obeys, or does not */
				if
				:: alive[worker] = false
				:: skip
				fi
			   }
			:: atomic { alive[worker] && quit[worker] -> alive[worker] = false }
			:: !alive[worker] -> break
			od;
#ifndef MUTANT_EXIT_NOT_RECORDED
			status[worker] = ENDED;
#endif
			skip
		:: else
		fi
	} unless {
		atomic { kill_stub[worker] ->
			REACHED("stub: killed");
			stub_killed[worker] = true
		}
	};
	holder[pid_number] = NOBODY
}

/* ---- the daemon ---- */

/* The pidfd means the process that had the number when it was opened. */
inline signal_stub(which, request)
{
	d_step {
		if
		:: holder[pidfd_pid[which]] != NOBODY && born[pidfd_pid[which]] == pidfd_born[which] ->
			assert(holder[pidfd_pid[which]] == STUB(which)); /* L1 */
			request = true
		:: else
		fi
	}
}

#define STUB_IS_GONE(which) (holder[pidfd_pid[which]] == NOBODY || born[pidfd_pid[which]] != pidfd_born[which])

/* One transaction: what is told of it, and the end of its record. Then nothing of it is left. */
inline forget(which, tell)
{
#ifdef MUTANT_STATUS_REMOVED_FIRST
	status[which] = MISSING;
#endif
	d_step {
		record[which] = false;
		told[which] = tell
	};
#ifdef MUTANT_RECORD_DELETED_EARLY
	!memory[which];
#endif
	d_step {
		reserved[which] = false;
		owned[which] = false;
		lost[which] = false
	};
	claim[which] = false;
	status[which] = MISSING
}

/* The stub is gone, and the worker with it. Only now is the status final. */
inline settle(which)
{
	looked = (lost[which] -> RUNNING : status[which]);
#ifndef MUTANT_RECORD_DELETED_EARLY
	!memory[which];
#endif
	if
	:: looked == ENDED -> forget(which, EXIT_KNOWN)
	:: else -> forget(which, EXIT_UNKNOWN)
	fi
}

inline spawn(which)
{
	d_step {
		which = next_id;
		next_id++;
		reserved[which] = true
	};
#ifndef MUTANT_RECORD_AFTER_SPAWN
	record[which] = true;
#endif
	claim[which] = true;
	if
	:: atomic {
		if
		:: holder[0] == NOBODY -> pid_number = 0
		:: holder[1] == NOBODY -> pid_number = 1
		fi;
		births++;
		holder[pid_number] = STUB(which);
		born[pid_number] = births;
		run stub(which, pid_number);
		/* Our own child, not reaped: the number is its own. */
		pidfd_pid[which] = pid_number;
		pidfd_born[which] = births;
		owned[which] = true
	   };
#ifdef MUTANT_RECORD_AFTER_SPAWN
	   record[which] = true
#endif
	:: REACHED("spawn: failed");
	   forget(which, NEVER_RAN)
	fi
}

inline adopt(which)
{
	d_step {
		assert(!owned[which]); /* L4 */
		owned[which] = true
	}
}

/* A stub of that identity, or one that is gone. The order is open, then compare: in the other one
 * the number may change hands in between. */
inline identify(which)
{
	d_step { at = status_pid[which]; expected = status_born[which] };
#ifdef MUTANT_COMPARED_BEFORE_OPENED
	found = (holder[at] != NOBODY && born[at] == expected);
#endif
	d_step {
		pidfd_pid[which] = at;
		pidfd_born[which] = (holder[at] == NOBODY -> 0 : born[at])
	};
#ifdef MUTANT_START_TIME_IGNORED
	found = (pidfd_born[which] != 0);
#endif
#if !defined(MUTANT_COMPARED_BEFORE_OPENED) && !defined(MUTANT_START_TIME_IGNORED)
	found = (pidfd_born[which] != 0 && holder[at] != NOBODY && born[at] == expected);
#endif
	if
	:: found -> REACHED("recover: adopted"); adopt(which)
	:: else ->
		REACHED("recover: gone or another process");
		/* Only now is the status final. */
#ifdef MUTANT_STATUS_NOT_READ_AGAIN
		looked = seen;
#else
		looked = status[which];
#endif
		if
		:: looked == ENDED -> settle(which)
		:: else ->
			/* The worker may be there yet, and its memory: it is owned until that is
			 * back, with no stub to be signalled. */
			d_step { pidfd_born[which] = 0; lost[which] = true };
			adopt(which)
		fi
	fi
}

inline recover_one(which)
{
	won = false;
	seen = MISSING;
#ifdef MUTANT_LOOKED_BEFORE_CLAIM
	seen = status[which];
#endif
#ifndef MUTANT_NO_CLAIM
	atomic {
		if
		:: claim[which] && seen == MISSING ->
			claim[which] = false;
			won = true
		:: else
		fi
	};
#endif
#ifndef MUTANT_LOOKED_BEFORE_CLAIM
	seen = status[which];
#endif
	if
	:: won -> REACHED("recover: took the claim"); forget(which, NEVER_RAN)
	:: !won && seen == MISSING ->
		REACHED("recover: was never spawned");
		forget(which, NEVER_RAN)
	:: !won && seen == ENDED -> REACHED("recover: ended meanwhile"); settle(which)
	:: !won && seen == RUNNING -> identify(which)
	fi
}

inline recover()
{
#ifndef MUTANT_LEDGER_LATE
	/* Before anything is decided. */
	d_step {
		i = 0;
		do
		:: i < WORKERS -> reserved[i] = record[i]; i++
		:: else -> break
		od
	};
	deciding = true;
#endif
	i = 0;
	do
	:: i < WORKERS ->
		if
		:: record[i] -> recover_one(i)
		:: else ->
			/* The last daemon was killed after it had deleted the record. */
			if
			:: status[i] != MISSING || claim[i] ->
				REACHED("recover: swept");
				d_step { status[i] = MISSING; claim[i] = false }
			:: else
			fi
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	seen = MISSING;
	deciding = true
}

#ifdef PATIENT
#define MAY_STOP(worker) (ready[worker])
#else
#define MAY_STOP(worker) true
#endif
#ifdef MUTANT_NONCE_IGNORED
#define HEARD(worker) (!ready[worker]) /* somebody said so */
#else
#define HEARD(worker) (!ready[worker] && alive[worker] && reporting[worker])
#endif

/* What may happen with each worker that the daemon owns. */
#define TEND(worker) \
	:: atomic { owned[worker] && HEARD(worker) -> \
		REACHED("serve: ready"); \
		assert(ran[worker]); /* L8 */ \
		ready[worker] = true; \
		reporting[worker] = false } \
	:: owned[worker] && !stopping[worker] && MAY_STOP(worker) -> \
		stopping[worker] = true; \
		signal_stub(worker, term[worker]) \
	:: owned[worker] && stopping[worker] && !forced[worker] -> \
		forced[worker] = true; \
		signal_stub(worker, quit[worker]) \
	:: owned[worker] && STUB_IS_GONE(worker) -> settle(worker)

inline serve()
{
	do
	:: next_id < WORKERS && COUNT(reserved) < CAPACITY -> spawn(i); i = 0
	:: next_id == WORKERS && COUNT(record) == 0 -> break
	TEND(0)
#if WORKERS > 1
	TEND(1)
#endif
	od
}

active proctype daemon()
{
	byte i, at, expected, pid_number;
	bool won, found;
	mtype seen = MISSING, looked = MISSING;

start:	{
		recover();
		serve();
		timeout;
		i = 0;
		do
		:: i < WORKERS ->
			/* L5 and L6 */
			assert(!alive[i] && !memory[i] && status[i] == MISSING && !claim[i]);
			assert(!ran[i] || stub_killed[i] || told[i] == EXIT_KNOWN);
			assert(told[i] != NEVER_RAN || !ran[i]);
			i++
		:: else -> break
		od
	} unless {
		d_step { crash ->
			crash = false;
			deciding = false;
			i = 0;
			do
			:: i < WORKERS ->
				reserved[i] = false;
				owned[i] = false;
				lost[i] = false;
#ifdef MUTANT_REPORTED_ONCE
				reporting[i] = false;
#endif
				stopping[i] = false;
				forced[i] = false;
				pidfd_pid[i] = 0;
				pidfd_born[i] = 0;
				i++
			:: else -> break
			od;
			i = 0;
			at = 0;
			expected = 0;
			pid_number = 0;
			won = false;
			found = false;
			seen = MISSING;
			looked = MISSING
		};
		goto start
	}
}

/* ---- everybody else ---- */

#ifdef MUTANT_NO_DEATH_SIGNAL
#define DEATH_SIGNAL false
#else
#define DEATH_SIGNAL true
#endif

#define FATE(worker) \
	:: d_step { memory[worker] && !alive[worker] -> memory[worker] = false } \
	:: d_step { kills > 0 && !kill_stub[worker] -> kills--; kill_stub[worker] = true } \
	:: d_step { DEATH_SIGNAL && alive[worker] && stub_killed[worker] -> alive[worker] = false } \
	:: d_step { deciding && memory[worker] && !reserved[worker] -> assert(false) } /* L3 */ \
	:: d_step { memory[worker] && !record[worker] -> assert(false) } /* L7 */

#define TRADE(number) \
	:: d_step { strangers > 0 && holder[number] == NOBODY -> \
		strangers--; births++; holder[number] = STRANGER; born[number] = births } \
	:: d_step { holder[number] == STRANGER -> holder[number] = NOBODY }

/* The kernel, strangers that get any free number, and whoever kills. */
active proctype world()
{
end:	do
	FATE(0)
#if WORKERS > 1
	FATE(1)
#endif
	TRADE(0)
	TRADE(1)
	:: d_step { crashes > 0 && !crash -> crashes--; crash = true }
	od
}
