/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - the rooms of pool-managerd and what they share.
 *
 *	main.c        configuration, start and end
 *	options.c     the command line
 *	devices.c     the ledger's devices and their budgets
 *	state.c       the state directory: lock, registry, sockets, token
 *	loop.c        one event loop per core: its server, its upstream connections, its inbox
 *	body.c        the daemon as a body of the brain: the lock, the actions
 *	body_requests.c, body_workers.c, body_operator.c
 *	              its events of requests and workers, and what an operator asks of it
 *	generation.c  one reading of the configuration
 *	install.c     puts one in force, inside the body
 *	reload.c      reads another one, on a thread of its own
 *	roster.c      the records of workers, inside the body
 *	snapshot.c    copies of what the body knows
 *	supervisor.c  all worker processes, on loop 0
 *	process.c     one of them, while it runs
 *	process_begin.c
 *	              how it comes to run
 *	process_stop.c, process_end.c
 *	              how it is stopped, and its end
 *	survivor.c    a worker that outlives its stub, or its kill
 *	filecheck.c   its model's file, verified and watched on a thread of its own
 *	launch.c      how it is started
 *	probe.c       one question to it
 *	readiness.c   when it is loaded
 *	pace.c          and how often it is asked that
 *	health.c      whether it is still well
 *	port_owner.c  whether it is the one that listens on its port
 *	cgroup.c      a control group for each
 *	adopt.c       the workers of an earlier daemon
 *	tally.c       how the last workers ended
 *	clerk.c       the thread that waits for the disk: registry, files of workers
 *	gpus.c        the thread that waits for the drivers of GPUs
 *	logbook.c     the last lines of each worker
 *	journal.c     the daemon's own log, which waits for no reader
 *	shutdown.c    how it ends
 *	failpoint.c   where a test may have it die
 *	routes.c      the table of routes and what every request passes first
 *	request.c     one request from its head to its end, and its body while it is read
 *	gateway.c     /v1: find the model, lease, forward, stream back, release
 *	control.c     /v2, /health, /metrics
 *	render.c      what the control API shows, as JSON
 *
 * Threads: loop 0 runs on the main thread and owns the processes; the others only serve HTTP. What
 * all of them share is the body, behind one short lock.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <poolcore/catalog.h>
#include <poolcore/config.h>
#include <poolcore/error.h>

struct body;
struct generation;
struct gpus;
struct loop;
struct pc_ledger;
struct pc_registry;
struct reload;
struct shutdown;
struct supervisor;
struct tally;

/* [const after start], except where a member says otherwise */
struct daemon {
	/* What a reload starts from: the program's arguments. */
	const char *config_path; /* or NULL */
	const struct pc_setting_override *overrides;
	size_t override_count;
	/* [body lock] once loops run: then ask body_generation. */
	struct generation *generation;
	struct pc_ledger *ledger;
	struct pc_registry *registry;
	struct tally *tally;
	struct gpus *gpus;
	struct body *body;
	struct supervisor *supervisor;
	struct shutdown *shutdown;
	struct reload *reload;

	struct loop *loops;
	size_t loop_count;

	char instance[8];	  /* random, part of every worker id: an id is never used twice */
	char *runtime_dir;	  /* sockets of workers */
	char *life_dir;		  /* what stubs write about workers, see stub.h */
	char *verified_dir;	  /* records of verified files, see model_file.h */
	char *cgroup;		  /* pool.cgroup */
	char *stub_program;	  /* path of pool-stub */
	uint64_t open_files;	  /* the soft limit that we were started with, for workers */
	char *token;		  /* what clients must present, or NULL */
	char ready_url[192];	  /* where workers report that they are loaded */
	char address[128];	  /* the first address in force, for people */
	bool loopback_only;	  /* then the Host header must name this machine */
	size_t listening;	  /* how many of http.listen are ours */
	uint64_t max_connections; /* of all loops; within what RLIMIT_NOFILE allows */
	unsigned left_behind;	  /* loop 0's: workers that could not be ended with us */
	uint64_t max_body_bytes;  /* those of http.* that held at the start */
	uint64_t max_buffered_bytes;
	/* What long bodies of requests take. [relaxed: a figure that orders nothing] */
	_Atomic uint64_t buffered_bytes;
	uint64_t started_ns;
	int64_t started_wall_ms;
};

#endif
