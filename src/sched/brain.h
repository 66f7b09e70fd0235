/* SPDX-License-Identifier: MIT */
/*
 * brain.h - the brain's state, for the files of this room only. The drawings of the state machines
 * and the numbered invariants stand at the top of sched.c.
 *
 * Everything is owned by the body's lock (see poolcore/sched.h); there is nothing atomic here.
 */
#ifndef SCHED_BRAIN_H
#define SCHED_BRAIN_H

#include <assert.h>

#include <poolcore/memory.h>
#include <poolcore/sched.h>

#include "sched/set.h"

/* Where a ticket waits: see the order note in queue.c. */
enum lane { LANE_INTERACTIVE, LANE_BATCH, LANE_PATIENT, LANES };

enum ticket_state { TICKET_OVER, TICKET_WAITING, TICKET_GRANTED };

enum worker_state {
	WORKER_SPAWNING,
	WORKER_READY,
	WORKER_DRAINING, /* gets no more leases; stop follows when the last one ends */
	WORKER_STOPPING, /* stop was sent */
	WORKER_GONE,	 /* only its leases are left */
	WORKER_STATES,
};

/* Whom a model may evict: the residents, or when it has waited for long, everybody. */
enum victim_kind { VICTIM_RESIDENT, VICTIM_ANY, VICTIM_KINDS };

struct pc_sched_worker {
	struct pc_link by_id;	   /* sched->workers, until it is gone */
	struct pc_link free_place; /* model->free: ready with a free slot, best choice first */
	struct pc_link idle_place; /* device->idle: least recently used first */
	struct pc_link rest_place; /* model->resting: see there */
	struct pc_sched_model *model;
	uint64_t id;
	enum worker_state state;
	enum pc_stop_reason stop_reason;
	bool forced;  /* stop was sent with force */
	bool leaving; /* in device->leaving_bytes: stop was sent, and nothing holds it up */
	bool stuck;   /* stop was sent, and the body cannot end it */
	unsigned device;
	uint32_t slots; /* it was launched with; of a ready one those of the spec */
	uint32_t leases;
	uint32_t lent;	 /* self-service: slots that were leased when the body last looked */
	bool wanted;	 /* ... and the body will say when they no longer are */
	bool launched;	 /* spawning: it is prepared, and loads */
	bool may_go;	 /* its model can do without it: see the floor note in room.c */
	uint64_t looked; /* sched->event when the body last looked */
	uint64_t evictable[VICTIM_KINDS]; /* bytes, sums over all below idle_place */
	uint64_t reserved_bytes;
	uint64_t grown_bytes; /* what it took when it last grew; 0: it has not */
	uint64_t served;
	uint64_t start_deadline_ns;
	uint64_t spawned_ns;
	uint64_t ready_ns;
	uint64_t last_used_ns;
	uint64_t last_use; /* sched->uses at its last lease or return: breaks ties of the time */
	struct pc_sched_worker *next_victim; /* while room is being made */

	/* What few events touch. */
	struct pc_link by_state;    /* model->workers[state], likewise */
	struct pc_link young_place; /* sched->young: it is not resident for long enough yet */
	struct pc_link busy_place;  /* model->busy: see there */
	struct pc_link start_place; /* sched->starting: by start_deadline_ns */
	struct pc_link due_place;   /* model->due: has served or grown as much as one shall */
	struct pc_link
		floor_place; /* holding->spare or ->kept, when idle and its model has a floor */
};

/* What a model's workers hold on one device, stopping ones too. */
struct holding {
	struct pc_link by_size; /* device->holders: the largest first */
	const struct pc_sched_model *model;
	uint32_t workers;
	uint64_t bytes;
	uint64_t since; /* the worker that was its first here: breaks ties */
	/* Its idle workers here, if it has a floor: those that may go, and those that may not. */
	struct pc__set spare, kept;
};

/* Why a model stands in the line; the first go first. */
enum urgency { COLD, GROWS, BELOW_FLOOR };

/* What a model in the line asks of a device: see the line note. */
enum bid {
	BID_SPAWN,     /* room is promised to it: that it is free now */
	BID_WAIT,      /* that it is coming */
	BID_EVICT,     /* ... or would be if resident idle workers of others went */
	BID_EVICT_ANY, /* ... or young ones too, for it has waited for long */
	BIDS,
	BID_NONE = BIDS, /* nothing: its body is about to serve all who wait */
};

/* A model's place in the line of one device. */
struct standing {
	struct pc_link place;
	const struct pc_sched_model *model;
	uint64_t promised;    /* on this device, to all below place */
	uint64_t least[BIDS]; /* of all below: what is needed and promised to those before */
};

struct pc_sched_model {
	struct pc_link by_want;	    /* sched->wanting: needs a worker that does not fit yet */
	struct pc_link by_deadline; /* sched->deadlines: the earliest of its waiting tickets */
	struct pc_link by_rest;	    /* sched->cooling: its cooldown ends, or has begun anew since */
	struct pc_sched *sched;
	struct pc_sched_model_spec spec; /* spec.key is ours */
	uint64_t need_bytes; /* spec.memory_bytes, or more once a worker has measured more */

	struct pc__set lanes[LANES]; /* waiting tickets */
	struct pc__set patient;	     /* those of LANE_PATIENT, by deadline */
	uint32_t waiting;
	struct pc__set free;
	struct pc__set resting; /* idle workers by their last use: see has_to_rest */
	struct pc__set due;	/* for recycling, by id */
	/* Self-service: workers that were in use when last heard of, and about which the body was
	 * not asked to say when they no longer are. */
	struct pc__set busy;
	struct holding *holdings; /* one per device; allocated before the first spawn */
	uint32_t in_state[WORKER_STATES];
	uint32_t leases;
	uint64_t want_since_ns; /* while it stands in the line */
	bool load_asked;	/* an operator wants one worker and there was no room yet */
	uint32_t load_mask;	/* ... on one of these devices, while no request waits */
	uint32_t line_mask;	/* the devices in whose lines it stands */
	enum bid bid;
	bool about_to_serve;	    /* its body had slots for all who wait when last asked */
	struct standing *standings; /* one per device */
	int promised_on;	    /* device, or -1 */
	uint64_t promised_bytes;
	bool room_is_coming; /* what is promised is free, or will be when all who stop have gone */
	int relies_on;	     /* a device that is large enough for its first worker, or -1 */
	bool keep_floor;     /* loaded by request or operator: min_workers are kept */
	bool retired;	     /* takes no new requests; see change.c */
	uint64_t last_busy_ns;	/* when a lease last ended or a worker became ready */
	uint64_t lease_mean_ns; /* moving average of how long leases last, for Retry-After */

	uint32_t failures_in_row; /* until a worker that has loaded since the last one answers */
	uint64_t failed_ns;	  /* when the last one was */
	uint64_t retry_ns;	  /* no spawn before; 0 when not backing off */
	struct pc_error *failure; /* the last cause; allocated before the first spawn */

	/* What few events touch. */
	struct pc_link by_order;    /* sched->models */
	struct pc_link by_hash;	    /* sched->models_by_hash */
	struct pc_link by_evictor;  /* sched->evictors, with the same place, if its bid says so */
	struct pc_link by_promise;  /* device->promises, likewise */
	struct pc_link by_patience; /* sched->impatient: when waiting becomes waiting for long */
	struct pc_link by_need;	    /* device->relying */
	struct pc_link by_doubt; /* sched->doubtful: grows, though its body may have free slots */
	struct pc_link by_retry; /* sched->retries: its back-off ends */
	struct pc_link by_busy;	 /* sched->askable: has workers in busy that may be evicted */
	struct pc__set workers[WORKER_GONE]; /* in each state, by device and id */
};

struct device {
	struct pc__set idle;
	struct pc__set holders;
	uint64_t leaving_bytes;	 /* reserved by workers that are about to be gone */
	uint64_t relaxed_ns;	 /* when its memory was last found to be tight no more */
	struct pc__set line;	 /* standings of models that want a worker */
	struct pc__set promises; /* models by their places in the line: see room_is_coming */
	struct pc__set relying;	 /* models by what they need, the largest first: see relies_on */
};

/* Conversations and the workers that know them: a cache, direct-mapped;
 * wrong entries do no harm. */
enum { AFFINITY_ENTRIES = 4096 };
struct affinity_entry {
	uint64_t key;
	uint64_t worker_id;
};

struct pc_sched {
	struct pc_sched_settings settings;
	struct pc_sched_driver driver;
	void *driver_ctx;
	struct pc_ledger *ledger;
	unsigned device_count;
	struct device devices[PC_DEVICE_MAX];

	uint64_t now_ns; /* the latest time any event brought */
	uint64_t event;	 /* counts them */
	bool inside;	 /* an event function runs */

	struct pc__set models; /* by order of registration */
	struct pc__set models_by_hash;
	struct pc__set workers;	  /* not gone, by id */
	struct pc__set starting;  /* spawning workers by the end of their start timeout */
	struct pc__set deadlines; /* models by the earliest deadline of their waiting tickets */
	struct pc__set retries;	  /* models by the end of their back-off */
	struct pc__set wanting;	  /* models that want a worker, the most urgent first */
	struct pc__set young;	  /* ready workers younger than min_residency, by age */
	struct pc__set askable;	  /* models: see by_busy */
	struct pc__set evictors;  /* those of them that would make others go */
	struct pc__set impatient; /* those of them that will have waited for long, by when */
	struct pc__set doubtful;  /* those of them that grow by self-service, as they were asked */
	struct pc__set cooling;	  /* models that may have idled for long enough: see maintain */
	struct affinity_entry *affinity;

	uint64_t last_worker_id;
	uint64_t last_sequence; /* of tickets and of wants */
	uint64_t uses;
	uint64_t random;
	uint64_t leases; /* of gone workers too */

	uint32_t self_service_models;
	uint32_t tight_mask;	 /* devices whose memory is tight */
	bool room_changed;	 /* settle_room has something to look at */
	int newly_idle;		 /* idle workers gained since the last event, less those lost */
	bool pressed;		 /* some device is over its budget */
	uint64_t recheck_ns;	 /* when to look at the wanting models again anyway */
	uint64_t maintenance_ns; /* PC_TIME_NEVER while there is no worker */
	bool draining;
	bool drained;	   /* the drain's deadline has passed */
	uint64_t drain_ns; /* PC_TIME_NEVER when not draining, and after it has passed */

	struct pc_sched_counters counters;
};

/* ---- small questions ---- */

static inline uint32_t pc__live_workers(const struct pc_sched_model *model)
{
	return model->in_state[WORKER_SPAWNING] + model->in_state[WORKER_READY];
}

static inline bool pc__is_cold(const struct pc_sched_model *model)
{
	return pc__live_workers(model) == 0;
}

/* Its first worker is asked for, by a request or an operator. */
static inline bool pc__is_asked_for(const struct pc_sched_model *model)
{
	return pc__is_cold(model) && (model->waiting > 0 || model->load_asked);
}

static inline bool pc__is_backing_off(const struct pc_sched_model *model)
{
	return model->retry_ns > model->sched->now_ns;
}

/* Its workers failed so often that requests are refused during its back-off (open), and that one
 * worker at a time is tried after it (half open), until somebody was answered. */
static inline bool pc__has_tripped(const struct pc_sched_model *model)
{
	return model->failures_in_row >= model->sched->settings.breaker_failures;
}

static inline bool pc__is_breaker_open(const struct pc_sched_model *model)
{
	return pc__has_tripped(model) && pc__is_backing_off(model);
}

/* It has served or grown as much as one shall. */
static inline bool pc__is_due_for_recycling(const struct pc_sched_worker *worker)
{
	const struct pc_sched_model_spec *spec = &worker->model->spec;
	bool served_enough = spec->recycle_requests && worker->served >= spec->recycle_requests;
	bool grown_enough = spec->recycle_bytes && worker->grown_bytes > spec->recycle_bytes;

	return worker->state == WORKER_READY && (served_enough || grown_enough);
}

/* ---- sched.c: the frame of every event ---- */

/* An event begins: its time, and that no other one runs. */
void pc__enter(struct pc_sched *sched, uint64_t now_ns);
/* It ends: room is seen to. Returns the next deadline. */
uint64_t pc__leave(struct pc_sched *sched);
/* What follows for a model that the event touched: slots, workers that may go, room. */
void pc__serve(struct pc_sched_model *model);

/* ---- queue.c: tickets ---- */

void pc__admit(struct pc_sched_model *model, struct pc_ticket *ticket);
/* Takes a waiting ticket out of its queue, in state `over`; tells nobody. */
void pc__withdraw(struct pc_ticket *ticket);
/* Hands free slots to waiting tickets until one of them runs out (invariant I4). */
void pc__dispatch(struct pc_sched_model *model);
/* Ends a lease; the worker may be gone already. */
void pc__return_lease(struct pc_ticket *ticket, enum pc_outcome outcome);
void pc__reject(struct pc_sched *sched, struct pc_ticket *ticket, const struct pc_error *err);
void pc__reject_waiting(struct pc_sched_model *model, const struct pc_error *err);
/* Ends those whose deadline has passed. */
void pc__expire_waiting(struct pc_sched_model *model);
/* The ticket whose turn it is, or NULL. */
struct pc_ticket *pc__first_waiting(const struct pc_sched_model *model);
/* What a submitted ticket starts with: when it came, and until when it waits. */
void pc__stamp(const struct pc_sched *sched, struct pc_ticket *ticket);
/* Why this ticket may not even wait: 0, or the error that says so. Counts nothing. */
int pc__refuse(const struct pc_sched_model *model, const struct pc_ticket *ticket,
	       struct pc_error *err);
/* How many would go before it, whether it waits already or not. */
uint32_t pc__count_ahead(const struct pc_sched_model *model, const struct pc_ticket *ticket);

/* ---- worker.c: workers ---- */

/* Spawns a worker on a device if it can be reserved and recorded. */
bool pc__spawn(struct pc_sched_model *model, unsigned device);
/* Takes in a worker that is loaded already; NULL when there is no memory, of either kind. */
struct pc_sched_worker *pc__adopt(struct pc_sched_model *model, unsigned device, uint64_t bytes,
				  bool loaded);
/* ... one that goes; NULL when it cannot be recorded. */
struct pc_sched_worker *pc__adopt_leaving(struct pc_sched_model *model, unsigned device,
					  uint64_t bytes, enum pc_stop_reason why);
/* Nobody is to wait for the memory of one that is stopping. */
void pc__worker_stuck(struct pc_sched_worker *worker);
void pc__worker_launched(struct pc_sched_worker *worker);
void pc__worker_ready(struct pc_sched_worker *worker, uint64_t measured_bytes);
/* Asks the body how a self-service worker is used, and files it accordingly. */
void pc__look(struct pc_sched_worker *worker, bool wanted);
void pc__worker_changed(struct pc_sched_worker *worker, uint64_t measured_bytes);
/* Whether it would not be missed: nobody has it and, if the body hands it out, nobody gets it. */
bool pc__recall(struct pc_sched_worker *worker);
/* Takes a recall back: the body hands it out again. */
void pc__resume(const struct pc_sched_worker *worker);
/*
 * Lets it go: at once, or when its leases are over unless `force`. Again with force: insists. A
 * self-service worker that goes because it idles is recalled first; false when that fails.
 */
bool pc__retire(struct pc_sched_worker *worker, enum pc_stop_reason why, bool force);
/* For workers that are recalled, or need not be. */
void pc__retire_recalled(struct pc_sched_worker *worker, enum pc_stop_reason why);
/* It broke: retires it by force if need be, and the model backs off. */
void pc__worker_broke(struct pc_sched_worker *worker, enum pc_stop_reason why,
		      const struct pc_error *cause);
void pc__worker_gone(struct pc_sched_worker *worker, const struct pc_error *cause);
void pc__expire_starting(struct pc_sched *sched);

/* ---- worker_sets.c: the sets a worker is in, and who is first in them ---- */

struct pc_sched_worker *pc__find_worker(const struct pc_sched *sched, uint64_t id);
/* The first of a model, by id, that is in this state on one of these devices, or NULL. */
struct pc_sched_worker *pc__first_on(const struct pc_sched_model *model, enum worker_state state,
				     uint32_t device_mask);
/* ... on any. */
struct pc_sched_worker *pc__first_in_state(const struct pc_sched_model *model,
					   enum worker_state state);
/* The first that is spawning or ready. */
struct pc_sched_worker *pc__first_live(const struct pc_sched_model *model);
/* Of the model's idle workers, or NULL. */
struct pc_sched_worker *pc__least_recently_used(const struct pc_sched_model *model);
/* Puts the worker into exactly the sets that its state and its leases call for. */
void pc__file_worker(struct pc_sched_worker *worker);
/* Requests wait for the model, or no longer: its idle workers, where the body hands out slots. */
void pc__note_waiting(struct pc_sched_model *model);
/* Those whose residency has become long enough. */
void pc__let_settle(struct pc_sched *sched);
/* Into the set of its state, or out of it and of those that only this state has. */
void pc__enter_state(struct pc_sched_worker *worker);
void pc__leave_state(struct pc_sched_worker *worker);

/* ---- failure.c: back-off and breaker ---- */

/* It has answered, which ends its model's row of failures. */
void pc__note_answer(const struct pc_sched_worker *worker);
/* No spawn for a while, because of this; NULL, or no code: nobody knows why. */
void pc__back_off(struct pc_sched_model *model, const struct pc_error *cause);
/* What becomes of those who wait, when the last worker of their model has broken. */
void pc__tell_waiting(struct pc_sched_model *model, bool while_loading);

/* ---- need.c: which model needs a worker, and how it stands in the line ---- */

/* Whether the model should have one more worker than it has or is getting (rules 1, 2, 3). */
bool pc__needs_worker(const struct pc_sched_model *model);
/*
 * Puts the model into the line for room, or takes it out, as it needs. settle_room sees to the line
 * before the event function returns.
 */
void pc__review_need(struct pc_sched_model *model);
/* What its next worker needs, from the next event on. */
void pc__set_need(struct pc_sched_model *model, uint64_t bytes);

/* What place.c asks of those in the line. */
enum urgency pc__urgency_of(const struct pc_sched_model *model);
uint64_t pc__in_line_since_ns(const struct pc_sched_model *model);
uint64_t pc__in_line_ns(const struct pc_sched_model *model);
bool pc__has_waited_long(const struct pc_sched_model *model);
bool pc__may_evict(const struct pc_sched_model *model);
bool pc__is_about_to_serve(const struct pc_sched_model *model);
void pc__join_line(struct pc_sched_model *model);
void pc__quit_line(struct pc_sched_model *model);
void pc__review_bid(struct pc_sched_model *model);
void pc__review_patience(struct pc_sched_model *model, uint64_t at_ns);
void pc__bid_anew(struct pc_sched_model *model);

/* ---- place.c: which model gets a worker, where, and who makes room ---- */

bool pc__could_ever_fit(const struct pc_sched_model *model);
void pc__settle_room(struct pc_sched *sched);
/* The allowed device with the most bytes free of its budget. */
unsigned pc__best_device(const struct pc_sched_model *model);

/* Some device that is large enough for it, though maybe not empty enough; -1 when none is. */
int pc__large_enough_device(const struct pc_sched_model *model);

/* ---- line.c: who stands in the line, and what is promised to whom ---- */

/* Its place is (key, tie), in the lines of these devices. */
void pc__enter_line(struct pc_sched_model *model, uint32_t device_mask, uint64_t key, uint64_t tie);
void pc__leave_line(struct pc_sched_model *model);
void pc__set_bid(struct pc_sched_model *model, enum bid bid);
/* Keeps what the model needs on a device from those behind it, until it leaves the line. */
void pc__promise(struct pc_sched_model *model, unsigned device, bool room_is_coming);
void pc__take_back_promise(struct pc_sched_model *model);
/* What is promised to those before a place. */
uint64_t pc__promised_before(const struct pc_sched *sched, unsigned device, uint64_t key,
			     uint64_t tie);
/* A model whose promise is one too many if no more is coming than this, or NULL. */
struct pc_sched_model *pc__last_unkept(const struct pc_sched *sched, unsigned device,
				       uint64_t coming_bytes);
/* The first place, not before this one, of a model whose bid for the device is within its limit. */
struct pc_link *pc__first_helped(const struct pc_sched *sched, unsigned device, uint64_t key,
				 uint64_t tie, const uint64_t limits[BIDS]);
/* While it stands in line for its first worker; -1: on none. */
void pc__rely_on(struct pc_sched_model *model, int device);
/* It needs so much from now on, and has no promise for that. In the line or not. */
void pc__resize_bid(struct pc_sched_model *model, uint64_t need_bytes);
/* The sums of device->line. */
void pc__sum_standing(struct pc_link *link);

/* ---- room.c: who makes room ---- */

/* On one device, least recently used last; none when together they would not free enough. */
struct pc__victims {
	struct pc_sched_worker *list; /* through next_victim */
	uint32_t count;
	int device; /* -1: none */
};
/*
 * The fewest idle workers that free what is lacking on one of the devices (0: not on this one).
 * The body is asked about them, and about whoever might be idle too, so they are so indeed.
 */
struct pc__victims pc__choose_victims(struct pc_sched *sched, enum victim_kind kind,
				      const uint64_t lacking[PC_DEVICE_MAX]);
/* Stops victims; returns the device where that frees what is lacking, or -1. */
int pc__evict_for(struct pc_sched *sched, enum victim_kind kind,
		  const uint64_t lacking[PC_DEVICE_MAX]);
/* Rule 11: the least recently used idle worker of a device goes; false when there is none. */
bool pc__relieve_one(struct pc_sched *sched, unsigned device);
/* ... until no device is over its budget, or none idles there. */
void pc__relieve_all(struct pc_sched *sched);
/* Its idle workers, or how many workers it has, have changed. See the floor note. */
void pc__review_floor(struct pc_sched_model *model);
void pc__file_above_floor(struct pc_sched_worker *worker);
/* min_workers may have become another; to be filed anew. */
void pc__forget_floor(struct pc_sched_worker *worker);
/* The sums of device->idle. */
void pc__sum_evictable(struct pc_link *link);
/* Asks the body about the model's workers in busy, which leaves none of them there. */
void pc__ask_busy(struct pc_sched_model *model);
/* ... of all models of which some may be evicted. */
void pc__ask_all_busy(struct pc_sched *sched);

/* ---- idle.c: workers that nobody uses ---- */

/* A model that may not idle at all: its workers go as soon as their last lease is over. */
void pc__stop_used(struct pc_sched_model *model);
/* Sees to it that maintenance visits the model when its cooldown may be over. */
void pc__review_cooling(struct pc_sched_model *model);
/* The default cooldown is another; visits those that cool down. */
void pc__set_cooldown(struct pc_sched *sched, uint64_t cooldown_idle_ns);
/* Rule 8, when its interval is over. */
void pc__maintain(struct pc_sched *sched);

/* ---- explain.c: sentences ---- */

void pc__explain_memory(const struct pc_sched_model *model, struct pc_error *err);
/* The same for a worker of this size on this device. */
void pc__explain_device(const struct pc_sched_model *model, unsigned device, uint64_t needed_bytes,
			struct pc_error *err);
void pc__explain_timeout(const struct pc_ticket *ticket, struct pc_error *err);
void pc__explain_queue_full(const struct pc_sched_model *model, struct pc_error *err);
void pc__explain_backoff(const struct pc_sched_model *model, struct pc_error *err);
void pc__explain_load_failure(const struct pc_sched_model *model, struct pc_error *err);
void pc__explain_overdue(const struct pc_sched_worker *worker, struct pc_error *err);
void pc__explain_shutdown(const struct pc_sched_model *model, struct pc_error *err);
void pc__explain_retired(const struct pc_sched_model *model, struct pc_error *err);

/* ---- change.c: another spec, out of service ---- */

int pc__check_update(const struct pc_sched_model *model, const struct pc_sched_model_spec *spec,
		     struct pc_error *err);
/* With a spec that was checked. What follows (slots, room) is the event's to see to. */
void pc__update_model(struct pc_sched_model *model, const struct pc_sched_model_spec *spec,
		      bool relaunch);
void pc__retire_model(struct pc_sched_model *model);

/* ---- model.c ---- */

int pc__check_spec(const struct pc_sched *sched, const struct pc_sched_model_spec *spec,
		   struct pc_error *err);
void pc__free_models(struct pc_sched *sched);

#endif
