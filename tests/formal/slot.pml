/* SPDX-License-Identifier: MIT */
/*
 * slot.pml - the slot word of one model in the in-process pool: how a seat of a worker is taken and
 * given back without a lock, how waiters sleep and are woken, and how the scheduler takes workers
 * out of the word under the feet of both. Loads, memory, keys and the run itself are left out.
 *
 *	the word w	FREE bits, one a seat; changed by anybody, at any time
 *			WOKEN		one waiter was nudged and has not acted yet	[lock]
 *			ATTENTION	the queue is not empty				[lock]
 *			DRAINING	some worker drains				[lock]
 *	the lock	guards the queue, the workers' states, and those three bits: only its
 *			holder changes them, in the same word and thus in the same instant as the
 *			FREE bits that a release or a take depends on
 *	a claim		NONE -> WAITING <-> NUDGED, and from both once to GRANTED or REJECTED
 *
 * To be read beside src/pool/station.c. Steps, flags, claims and the numbers of invariants are the
 * same in both; where a name alone does not lead there:
 *
 *	here			in src/pool
 *	seat_take		word_take (word.h); seat_take (affinity.c) chooses which
 *	job_enter		job_enter, queue_up_locked
 *	compete			compete, grant_locked
 *	cancel			cancel_locked, job_reject_locked (a deadline); both reject_locked
 *	settle			station_settle_locked, at the end of each turn that touched a station
 *	nudge			in station_settle_locked
 *	give			give_locked
 *	decide			decide_locked
 *	release			seat_give_back (inner.h), run_jobs (worker.c)
 *	word_put		word_put (word.h)
 *	leave_to_woken		leave_to_woken, word_put_for_woken (word.h)
 *	seat_return		seat_return_locked, put_back_locked; seat_next_job gives to itself
 *	dismiss_if_left		worker_collect, dismiss_if_left (driver.c)
 *	recall			on_recall, word_take_all (word.h), then on_stop
 *	worker_close		worker_close, word_drain (word.h)
 *	worker_open		worker_open (driver.c)
 *	shutdown		the brain's: on_stop with force, on_reject
 *	queue, enqueue, leave	the brain's: pc_sched_submit, _served, _cancel
 *
 * Three things differ. ATTENTION in the program is ATTENTION or DRAINING here, so that word_put
 * looks at one bit. A worker that the brain wants to hear of (want, driver.c) counts as one that
 * drains there, though it serves: its seats come back under the lock. And a recalled worker may be
 * resumed there, which opens it again.
 *
 * Invariants, asserted whenever the lock is given up:
 *
 *	S1  ATTENTION is set exactly while the queue is not empty.
 *	S2  DRAINING is set exactly while some worker drains.
 *	S3  WOKEN is set exactly while one waiter's claim is NUDGED; never two.
 *	S4  No wake-up is lost: FREE and a queue that is not empty imply WOKEN.
 * and at every step:
 *	S5  A seat has one holder at most, and is not FREE while it has one.
 *	S6  A seat that is FREE or taken from the word belongs to a worker that serves.
 *	S7  A waiter gets one outcome.
 *	S8  Nobody is left asleep, and a drain ends: no process is blocked at the end.
 * with -DLIVE, for a fair lock and weakly fair threads:
 *	S9  A waiter does not wait for ever (ltl served).
 *
 * A step is what one atomic operation of the program does. A loop of load and compare-and-swap is
 * one step, because its failed turns change nothing and it decides on the value that it swapped.
 */

/* The size of the world; verify.sh overrides it. Waiters 0..CALLERS-1 sleep themselves, the rest
 * submit jobs. Worker 0 has SEATS_0 seats, worker 1 has SEATS_1. */
#ifndef CALLERS
#define CALLERS 2
#endif
#ifndef SUBMITTERS
#define SUBMITTERS 1
#endif
#ifndef SEATS_0
#define SEATS_0 1
#endif
#ifndef SEATS_1
#define SEATS_1 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef TURNS
#define TURNS 1 /* of the scheduler */
#endif

#define WAITERS (CALLERS + SUBMITTERS)
#define IS_JOB(waiter) ((waiter) >= CALLERS)
#define SEATS (SEATS_0 + SEATS_1)
#define WORKER_OF(seat) ((seat) >= SEATS_0)
#define BITS_0 ((1 << SEATS_0) - 1)
#define BITS_1 (((1 << SEATS_1) - 1) << SEATS_0)
#define BITS_OF(worker) ((worker) == 0 -> BITS_0 : BITS_1)

#define ALL_SEATS 15
#define WOKEN 16
#define ATTENTION 32
#define DRAINING 64
#define FREE (w & ALL_SEATS)

#define NOBODY 255 /* also: no seat */

/* verify.sh --all-reached wants every one of these said at least once. */
#define REACHED(name) c_code { static int seen; if (!seen++) puts("reached: " name); }

/* Claims, and the states of a worker; GONE is out of circulation. */
mtype = { NONE, WAITING, NUDGED, GRANTED, REJECTED };
mtype = { SERVES, DRAINS, GONE };

byte w = BITS_0 | BITS_1;
mtype claim[WAITERS] = NONE;
byte given[WAITERS] = NOBODY; /* the seat, once the claim is GRANTED */
bool asleep[WAITERS];	      /* in the kernel, in futex_wait */

byte queue[WAITERS] = NOBODY; /* [lock] */
byte queued = 0;	      /* [lock] */
mtype state[2] = SERVES;      /* [lock]; a worker without seats never does anything else */
byte held[2];		      /* [lock] seats that a draining worker still has out */
bool closed = false;	      /* [lock] */

byte cancels = CANCELS;
#ifdef LIVE
bool due = false; /* the clock says: a hand-off is due */
#endif

/* What the program does not have: who holds a seat. */
byte holder[3] = NOBODY;

/* ---- the lock ---- */

#ifdef LIVE
/* Weak fairness promises nothing to him whose lock is taken again and again, so this one has a
 * queue. */
#define TICKETS 8
byte next_ticket = 0, serving = 0;
inline lock()
{
	d_step { ticket = next_ticket; next_ticket = (next_ticket + 1) % TICKETS };
	serving == ticket
}
#define LOCK_GIVE_UP serving = (serving + 1) % TICKETS; ticket = 0
#else
bool locked = false;
inline lock()
{
	atomic { !locked -> locked = true }
}
#define LOCK_GIVE_UP locked = false
#endif

/* S1 to S4. With -DBLACK_BOX they are not looked at: a mutant must also be seen from outside, by S5
 * to S9, or the invariants would be mere definitions. */
inline check_word()
{
#ifndef BLACK_BOX
	assert((queued > 0) == ((w & ATTENTION) != 0));
	assert((state[0] == DRAINS || state[1] == DRAINS) == ((w & DRAINING) != 0));
	i = 0;
	nudged = 0;
	do
	:: i < WAITERS ->
		nudged = nudged + (claim[i] == NUDGED);
		i++
	:: else -> break
	od;
	assert(nudged == ((w & WOKEN) != 0));
	assert(!(FREE && queued > 0) || (w & WOKEN));
	nudged = 0;
#endif
	i = 0
}

inline wake()
{
	if
	:: to_wake -> d_step {
		i = 0;
		do
		:: i < WAITERS ->
			if
			:: to_wake & (1 << i) -> asleep[i] = false
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0;
		to_wake = 0
	}
	:: else
	fi
}

/* Wakes come after the lock: a system call is not made under it. One section wakes at most two
 * callers, one that was handed a seat or rejected and one that was nudged; jobs have a thread that
 * waits elsewhere. */
inline unlock()
{
	d_step { check_word(); LOCK_GIVE_UP };
	wake()
}

/* ---- seats; each is a part of one atomic step ---- */

/* Takes the lowest free seat out of the word; others are changed by the caller. */
inline word_take(who, ret_seat)
{
	ret_seat = 0;
	do
	:: w & (1 << ret_seat) -> break
	:: else -> ret_seat++
	od;
	w = w & ~(1 << ret_seat);
	assert(holder[ret_seat] == NOBODY);		/* S5 */
	assert(state[WORKER_OF(ret_seat)] == SERVES);	/* S6 */
	holder[ret_seat] = who
}

inline put_back()
{
	assert(holder[seat] == me && !(w & (1 << seat)));
	assert(state[WORKER_OF(seat)] == SERVES);
	holder[seat] = NOBODY;
	w = w | (1 << seat);
	seat = NOBODY
}

/* ---- the queue [lock] ---- */

/* With -DPRIORITY anybody may go in front; a nudged waiter need not be the head then. */
inline enqueue(who)
{
#ifdef PRIORITY
	if
	:: queue[queued] = who
	:: i = queued;
	   do
	   :: i > 0 -> queue[i] = queue[i - 1]; i--
	   :: else -> break
	   od;
	   queue[0] = who
	fi;
#else
	queue[queued] = who;
#endif
	queued++
}

inline leave(who)
{
	assert(claim[who] == WAITING || claim[who] == NUDGED);
	i = 0;
	do
	:: queue[i] == who -> break
	:: else -> i++
	od;
	do
	:: i + 1 < queued ->
		queue[i] = queue[i + 1];
		i++
	:: else -> break
	od;
	queued--;
	queue[queued] = NOBODY;
	i = 0
}

/* The claim is the last that is written to a waiter: when it says GRANTED or REJECTED, his stack
 * may be gone. */
inline decide(who, outcome)
{
	assert(claim[who] == WAITING || claim[who] == NUDGED); /* S7 */
	claim[who] = outcome;
	to_wake = to_wake | (1 << who)
}

/* The head stays queued: it may find nothing, and keeps its place then. */
inline nudge(who)
{
#ifdef MUTANT_WAKE_EARLY
	asleep[who] = false;
	claim[who] = NUDGED
#else
	assert(claim[who] == WAITING);
	claim[who] = NUDGED;
	to_wake = to_wake | (1 << who)
#endif
}

#ifdef MUTANT_ATTENTION_EARLY
#define LAST_WAITER 1
#else
#define LAST_WAITER 0
#endif
#ifdef MUTANT_JOB_FORGOTTEN
#define HANDED(waiter) false
#else
#define HANDED(waiter) IS_JOB(waiter)
#endif

/*
 * Ends each section that changed the queue or freed a seat. It re-establishes S1 and S4: jobs at the
 * head get free seats handed, a sleeping caller at the head is nudged if nobody is. Between its
 * steps FREE bits may be taken by anybody. They are set by nobody, because ATTENTION is set and who
 * releases waits for the lock; or WOKEN is set, and the woken waiter will settle in its turn.
 */
inline settle()
{
	do
	:: queued <= LAST_WAITER ->
		w = w & ~ATTENTION;
		break
	:: else ->
		atomic {
			if
			:: FREE && HANDED(queue[0]) -> /* also while WOKEN is set */
				REACHED("settle: hands a job a seat");
				head = queue[0];
				word_take(head, given[head])
			:: FREE && !IS_JOB(queue[0]) && !(w & WOKEN) ->
				REACHED("settle: nudges the head");
				w = w | WOKEN;
				head = queue[0]
			:: else
			fi
		};
		if
		:: head == NOBODY -> break
		:: head != NOBODY && IS_JOB(head) ->
			d_step { leave(head); decide(head, GRANTED); head = NOBODY }
		:: head != NOBODY && !IS_JOB(head) ->
			nudge(head);
			head = NOBODY;
			break
		fi
	od
}

/* ---- taking a seat ---- */

inline seat_take()
{
	atomic {
		if
		:: FREE && !IS_JOB(me) ->
			REACHED("seat_take: took a seat");
			word_take(me, seat)
		:: else
		fi
	}
}

/* The lock is held. Sets ATTENTION only on a word that has no FREE bit, in the same step. */
inline job_enter()
{
#ifdef MUTANT_ATTENTION_BLIND
	if
	:: atomic { FREE -> word_take(me, seat) }
	:: !FREE -> d_step { w = w | ATTENTION; claim[me] = WAITING; enqueue(me) }
	fi
#else
	atomic {
		if
		:: FREE ->
			REACHED("job_enter: took a seat");
			word_take(me, seat)
		:: else ->
			REACHED("job_enter: queues");
			w = w | ATTENTION;
			claim[me] = WAITING;
			enqueue(me)
		fi
	}
#endif
}

/*
 * A waiter that saw NUDGED. Before it has the lock, a hand-off or a shutdown may have decided its
 * claim; so the claim is read again. It looks for a FREE bit and clears WOKEN in one step, because
 * a release beside the lock relies on the one as long as it sees the other.
 */
inline compete()
{
	lock();
	if
#ifdef MUTANT_COMPETE_UNCHECKED
	:: true ->
#else
	:: claim[me] != NUDGED -> REACHED("compete: decided before it had the lock")
	:: claim[me] == NUDGED ->
#endif
#ifdef MUTANT_COMPETE_TWO_STEPS
		if
		:: atomic { FREE -> word_take(me, seat); w = w & ~WOKEN }
		:: !FREE -> w = w & ~WOKEN
		fi;
#else
		atomic {
			if
			:: FREE ->
				REACHED("compete: took a seat");
				word_take(me, seat);
				w = w & ~WOKEN
			:: else ->
				REACHED("compete: found nothing");
#ifndef MUTANT_COMPETE_KEEPS_WOKEN
				w = w & ~WOKEN
#endif
			fi
		};
#endif
		if
		:: seat != NOBODY ->
			d_step { leave(me); claim[me] = NONE };
#ifdef MUTANT_COMPETE_NO_SETTLE
			if
			:: queued == 0 -> w = w & ~ATTENTION
			:: else
			fi
#else
			settle()
#endif
		:: else -> claim[me] = WAITING
		fi
	fi;
	unlock()
}

/* A timeout or a cancellation, at any time. */
inline cancel()
{
	lock();
	if
	:: claim[me] == GRANTED || claim[me] == REJECTED ->
#ifdef MUTANT_CANCEL_DROPS_SEAT
		claim[me] = NONE
#else
		/* It came first, and is taken as if there had been no cancel. */
		REACHED("cancel: too late")
#endif
	:: claim[me] == NUDGED ->
		REACHED("cancel: was nudged");
#ifndef MUTANT_CANCEL_KEEPS_WAKE
		w = w & ~WOKEN;
#endif
		d_step { leave(me); claim[me] = NONE };
#ifdef MUTANT_CANCEL_NO_SETTLE
		if
		:: queued == 0 -> w = w & ~ATTENTION
		:: else
		fi
#else
		settle()
#endif
	:: claim[me] == WAITING ->
		REACHED("cancel: slept");
		d_step { leave(me); claim[me] = NONE };
		settle()
	fi;
	unlock()
}

/* ---- giving it back ---- */

inline gone(worker)
{
	state[worker] = GONE;
	assert(!(w & BITS_OF(worker)));
	assert(!(BITS_OF(worker) & 1) || holder[0] == NOBODY);
	assert(!(BITS_OF(worker) & 2) || holder[1] == NOBODY);
	assert(!(BITS_OF(worker) & 4) || holder[2] == NOBODY)
}

/* [lock] A draining worker of which nothing is out any more has gone. */
inline dismiss_if_left(worker)
{
	if
	:: held[worker] == 0 ->
		gone(worker);
		if
		:: state[0] != DRAINS && state[1] != DRAINS -> w = w & ~DRAINING
		:: else -> REACHED("dismiss_if_left: another one drains")
		fi
	:: else
	fi
}

/* The head may have been nudged and not have acted: the nudge ends with its claim. */
inline give()
{
	atomic {
		head = queue[0];
		if
#ifndef MUTANT_GIVE_KEEPS_WOKEN
		:: claim[head] == NUDGED ->
			REACHED("give: the head was nudged");
			w = w & ~WOKEN
#endif
		:: else -> REACHED("give: the head slept")
		fi
	};
	d_step {
		leave(head);
		given[head] = seat;
		assert(holder[seat] == me);
		holder[seat] = head;
		decide(head, GRANTED);
		head = NOBODY;
		seat = NOBODY
	};
#ifdef LIVE
	due = false
#endif
}

inline seat_return()
{
	lock();
	if
	:: state[WORKER_OF(seat)] == DRAINS -> d_step {
		REACHED("seat_return: the worker drains");
		holder[seat] = NOBODY;
		held[WORKER_OF(seat)]--;
		dismiss_if_left(WORKER_OF(seat));
		seat = NOBODY
	}
	:: else ->
		if
		:: queued > 0 && (now_due || IS_JOB(queue[0])) ->
			give();
#ifndef MUTANT_GIVE_NO_SETTLE
			settle()
#else
			if
			:: queued == 0 -> w = w & ~ATTENTION
			:: else
			fi
#endif
		:: else ->
			REACHED("seat_return: puts it back");
			d_step { put_back() };
			settle()
		fi
	fi;
	unlock()
}

inline release()
{
	/* word_put: nobody waits and nobody drains */
	atomic {
		if
		:: !(w & (ATTENTION | DRAINING)) ->
			REACHED("word_put: puts it back");
			put_back()
		:: else
		fi
	};
	if
	:: seat != NOBODY ->
#ifdef LIVE
#ifdef MUTANT_NEVER_DUE
		now_due = false;
#else
		now_due = due;
#endif
#else
		if
		:: now_due = true
		:: now_due = false
		fi;
#endif
		/* leave_to_woken: the woken waiter will find it */
		atomic {
			if
#ifdef MUTANT_WOKEN_DRAINING
			:: !now_due && (w & WOKEN) -> put_back()
#else
			:: !now_due && (w & WOKEN) && !(w & DRAINING) ->
				REACHED("leave_to_woken: puts it back");
				put_back()
#endif
			:: else
			fi
		}
	:: else
	fi;
	if
	:: seat != NOBODY -> seat_return()
	:: else
	fi
}

/* ---- who wants a seat ---- */

proctype waiter(byte me)
{
	byte seat = NOBODY, head = NOBODY, to_wake = 0, i = 0, nudged = 0, rounds = ROUNDS;
	bool now_due = false;
	bool refused = false;
#ifdef LIVE
	byte ticket = 0;
#endif

	do
	:: rounds > 0 ->
#ifdef LIVE
		rounds = rounds - IS_JOB(me); /* callers come again and again */
#else
		rounds--;
#endif
		seat_take();
		if
		:: seat == NOBODY ->
			lock();
			if
			:: closed -> REACHED("job_enter: closed"); refused = true
			:: else -> job_enter()
			fi;
			unlock()
		:: else
		fi;
		do
		:: claim[me] == NONE -> break
		:: atomic { claim[me] == GRANTED ->
			seat = given[me];
			given[me] = NOBODY;
			claim[me] = NONE;
			break
		   }
		:: atomic { claim[me] == REJECTED ->
			REACHED("waiter: rejected");
			claim[me] = NONE;
			refused = true;
			break
		   }
		:: claim[me] == NUDGED -> compete()
		:: atomic { claim[me] == WAITING -> asleep[me] = true };
			if
			:: !asleep[me]
			:: atomic { cancels > 0 ->
				cancels--;
				asleep[me] = false
			   };
			   cancel()
			fi
		od;
		if
		:: seat != NOBODY ->
			assert(holder[seat] == me); /* runs */
			release()
		:: else
		fi;
		if
		:: refused -> break
		:: else
		fi
	:: else -> break
	od;
	assert(holder[0] != me && holder[1] != me && holder[2] != me)
}

/* ---- the scheduler ---- */

/* Takes an idle worker out, all of it or nothing. */
inline recall(worker)
{
	lock();
#ifdef MUTANT_RECALL_TWO_STEPS
	if
	:: (w & BITS_OF(worker)) == BITS_OF(worker) ->
		d_step { w = w & ~BITS_OF(worker); gone(worker) }
	:: else
	fi;
#else
	d_step {
		if
		:: (w & BITS_OF(worker)) == BITS_OF(worker) ->
			REACHED("recall: took it out");
			w = w & ~BITS_OF(worker);
			gone(worker)
		:: else -> REACHED("recall: refused")
		fi
	};
#endif
	unlock()
}

/* One step: what was free is out, and what comes back from now on sees DRAINING. [lock] */
inline worker_close_locked(worker)
{
	if
	:: state[worker] == SERVES -> d_step {
		i = 0;
		do
		:: i < SEATS ->
			held[worker] = held[worker] + ((BITS_OF(worker) & ~w & (1 << i)) != 0);
			i++
		:: else -> break
		od;
		i = 0;
		state[worker] = DRAINS;
#ifdef MUTANT_CLOSE_UNMARKED
		w = w & ~BITS_OF(worker);
#else
		w = (w & ~BITS_OF(worker)) | DRAINING;
#endif
		dismiss_if_left(worker)
	}
	:: else
	fi
}

inline worker_close(worker)
{
	lock();
	worker_close_locked(worker);
	unlock()
}

inline worker_open(worker)
{
	lock();
	if
	:: !closed ->
		d_step {
			state[worker] = SERVES;
			w = w | BITS_OF(worker)
		};
#ifndef MUTANT_OPEN_NO_SETTLE
		settle()
#endif
	:: else
	fi;
	unlock()
}

/*
 * The last stage of a shutdown. Every worker drains, so that no FREE bit is left or comes again, and
 * a fast acquire needs no look at `closed`. Waiters are rejected one section each, because a list
 * of the woken would run through stacks that are gone.
 */
inline shutdown()
{
	lock();
	closed = true;
#ifdef MUTANT_SHUTDOWN_LEAVES_FREE
	d_step {
		state[0] = GONE;
		state[1] = GONE;
		w = w & ~DRAINING
	};
#else
	worker_close_locked(0);
#if SEATS_1 > 0
	worker_close_locked(1);
#endif
#endif
	do
	:: queued > 0 ->
		head = queue[0];
		if
		:: claim[head] == NUDGED ->
			REACHED("shutdown: the head was nudged");
			w = w & ~WOKEN
		:: else
		fi;
		d_step { leave(head); decide(head, REJECTED); head = NOBODY };
		settle();
		unlock();
		lock()
	:: else -> break
	od;
	unlock()
}

/* Takes a worker out in one of the two ways and puts a new one in its place, so that in the end
 * everybody can be served: whoever still sleeps then was forgotten (S8). */
active proctype scheduler()
{
	byte to_wake = 0, i = 0, nudged = 0, worker = 0, head = NOBODY, turns = TURNS;
#ifdef LIVE
	byte ticket = 0;
#endif

	atomic {
		i = 0;
		do
		:: i < WAITERS -> run waiter(i); i++
		:: else -> break
		od;
		i = 0;
		/* A cancel that could still come would hide a lost wake-up from S8. */
		if
		:: cancels > 0 -> cancels = 0
		:: true
		fi
	};
	do
	:: turns > 0 ->
		turns--;
		if
		:: worker = 0
#if SEATS_1 > 0
		:: worker = 1
#endif
		fi;
		if
		:: recall(worker)
		:: worker_close(worker);
		   state[worker] == GONE
		fi;
		if
		:: state[worker] == GONE -> worker_open(worker)
		:: else
		fi
	:: turns == 0 -> break
	od;
#ifdef SHUTDOWN
	shutdown();
	state[0] == GONE && (SEATS_1 == 0 || state[1] == GONE)
#endif
}

#ifdef LIVE
active proctype clock()
{
end:	do
	:: !due -> due = true
	od
}

ltl served { [] ((claim[0] == WAITING) -> <> (claim[0] == NONE)) }
#endif
