/* SPDX-License-Identifier: MIT */
/*
 * shutdown.c - the end of the daemon. Loop 0's thread.
 *
 *	SERVING --signal--> DRAINING --quiet--> CLOSING --loops end--> (main goes on)
 *
 * DRAINING: no new connections; what waits and runs may go on until pool.shutdown_timeout_secs
 * have passed. Then the brain rejects the rest and has every worker killed. A second signal is a
 * deadline that has passed.
 *
 * Quiet is when the brain has neither tickets nor workers, no process is left, and every loop has
 * sent its last byte. Nobody who does not do his part can hold up the end. FAREWELL_MS after the
 * deadline a connection is cut off whose client does not read, and who checks a model's file on a
 * disk that does not answer is left to it. A worker that cannot be killed, which is known some
 * KILL_PATIENCE_MS after it was, does not count: it is left behind as by a crash, and the exit
 * status tells.
 *
 * Whatever may make it quiet wakes loop 0, which calls shutdown_step: the brain's last ticket or
 * worker (body.c), the last process (process.c, process_end.c), a loop's last connection (loop.c),
 * and the timer here.
 */
#include "daemon/shutdown.h"

#include <poolcore/clock.h>
#include <poolcore/config.h>
#include <poolcore/log.h>

#include <signal.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/generation.h"
#include "daemon/gpus.h"
#include "daemon/loop.h"
#include "daemon/reload.h"
#include "daemon/supervisor.h"

/* After the deadline: for clients to take the error that ends their stream. A guess; change freely.
 */
#define FAREWELL_MS 1000

static const int signal_numbers[] = { SIGTERM, SIGINT };

enum shutdown_phase { SERVING, DRAINING, CLOSING };

struct shutdown {
	struct daemon *daemon;
	enum shutdown_phase phase;
	bool hurried;	 /* the deadline has passed, or a second signal came */
	uint64_t cut_ns; /* when the last connections are cut off; known once hurried */
	uv_signal_t signals[PC_ARRAY_LEN(signal_numbers)];
	uv_timer_t timer;
};

static void close_all(struct shutdown *shutdown)
{
	struct daemon *daemon = shutdown->daemon;

	shutdown->phase = CLOSING;
	daemon->left_behind = supervisor_leave_behind(daemon->supervisor);
	gpus_stop(daemon->gpus);
	reload_close(daemon->reload);
	supervisor_close(daemon->supervisor);
	body_wish_loops(daemon, LOOP_CLOSE);
	for (size_t i = 0; i < PC_ARRAY_LEN(signal_numbers); i++) {
		uv_close((uv_handle_t *)&shutdown->signals[i], NULL);
		/* libuv has put the default action back; what is left to do takes no time and is
		 * not to be cut short. */
		signal(signal_numbers[i], SIG_IGN);
	}
	uv_close((uv_handle_t *)&shutdown->timer, NULL);
}

static bool is_quiet(const struct shutdown *shutdown)
{
	struct daemon *daemon = shutdown->daemon;

	if (!supervisor_is_idle(daemon->supervisor))
		return false;
	if (body_is_drained(daemon) && body_loops_are_empty(daemon))
		return true;
	return shutdown->hurried && pc_clock_now_ns() >= shutdown->cut_ns;
}

void shutdown_step(struct shutdown *shutdown)
{
	if (shutdown && shutdown->phase == DRAINING && is_quiet(shutdown))
		close_all(shutdown);
}

static void on_farewell_over(uv_timer_t *timer)
{
	struct shutdown *shutdown = timer->data;

	supervisor_abandon(shutdown->daemon->supervisor);
	shutdown_step(shutdown);
}

static void hurry(struct shutdown *shutdown)
{
	uint64_t now = pc_clock_now_ns();

	shutdown->hurried = true;
	shutdown->cut_ns = now + FAREWELL_MS * PC_NS_PER_MS;
	body_drain(shutdown->daemon, now);
	supervisor_run_orders(shutdown->daemon->supervisor);
	/* One millisecond more than the farewell, for the timer counts whole ones. */
	uv_timer_start(&shutdown->timer, on_farewell_over, FAREWELL_MS + 1, 0);
	shutdown_step(shutdown);
}

static void on_deadline(uv_timer_t *timer)
{
	pc_log(PC_LOG_WARN, "daemon", PC_NO_FIELDS,
	       "the shutdown timeout has passed; cutting off what still runs");
	hurry(timer->data);
}

static uint64_t timeout_in_force(struct daemon *daemon)
{
	struct generation *generation = body_generation(daemon);
	uint64_t timeout_secs = generation->config->pool_shutdown_timeout_secs;

	generation_unref(generation);
	return timeout_secs;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct shutdown *shutdown = handle->data;
	struct daemon *daemon = shutdown->daemon;
	uint64_t timeout_secs = timeout_in_force(daemon);
	const char *name = sigabbrev_np(number);

	if (shutdown->phase == DRAINING) {
		pc_log(PC_LOG_WARN, "daemon", PC_FIELDS({ "signal", name }),
		       "second signal; killing the workers");
		hurry(shutdown);
	}
	if (shutdown->phase != SERVING)
		return;
	pc_log(PC_LOG_INFO, "daemon", PC_FIELDS({ "signal", name }), "shutting down");
	shutdown->phase = DRAINING;
	body_wish_loops(daemon, LOOP_DRAIN);
	body_drain(daemon, pc_time_add(pc_clock_now_ns(), timeout_secs * PC_NS_PER_SEC));
	uv_timer_start(&shutdown->timer, on_deadline, timeout_secs * 1000, 0);
}

int shutdown_create(struct daemon *daemon, struct shutdown **ret_shutdown, struct pc_error *err)
{
	struct shutdown *shutdown = pc_calloc(1, sizeof(*shutdown));
	uv_loop_t *loop = &daemon->loops[0].uv;

	if (!shutdown)
		return pc_error_oom(err);
	shutdown->daemon = daemon;
	uv_timer_init(loop, &shutdown->timer);
	shutdown->timer.data = shutdown;
	for (size_t i = 0; i < PC_ARRAY_LEN(signal_numbers); i++) {
		uv_signal_init(loop, &shutdown->signals[i]);
		shutdown->signals[i].data = shutdown;
		uv_signal_start(&shutdown->signals[i], on_signal, signal_numbers[i]);
	}
	*ret_shutdown = shutdown;
	return 0;
}

void shutdown_now(struct shutdown *shutdown)
{
	if (shutdown->phase == CLOSING)
		return;
	supervisor_leave(shutdown->daemon->supervisor);
	close_all(shutdown);
}

void shutdown_free(struct shutdown *shutdown)
{
	pc_free(shutdown);
}
