/* SPDX-License-Identifier: MIT */
/*
 * reload.c - another configuration while the daemon serves. See reload.h.
 *
 *	signal, request --> asked --> the thread: read, check, compare, install --> log, answers
 *
 * The thread reads and compares without any lock but its own, which it never holds meanwhile; what
 * the installing does under the body's lock stands in install.c. A request that waits is in one of
 * three lists: `waiting` for the next reload to begin, `running` with it, `ended` until its loop
 * has answered it. It is taken out of whichever it is in when its client leaves.
 */
#include "daemon/reload.h"

#include <poolcore/log.h>
#include <poolcore/memory.h>

#include <assert.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/body.h"
#include "daemon/daemon.h"
#include "daemon/devices.h"
#include "daemon/generation.h"
#include "daemon/loop.h"
#include "daemon/request.h"
#include "daemon/state.h"
#include "http/api_error.h"

/* A request that waits for a report. Each has a copy of it, because each goes its own way. */
struct reload_wait {
	struct reload_wait *next;
	struct request *request;
	char *report; /* NULL: the error says why */
	struct pc_error error;
};

struct reload {
	struct daemon *daemon;
	pthread_t thread;
	bool running_thread; /* loop 0's */
	uv_signal_t hangup;

	pthread_mutex_t lock;
	pthread_cond_t changed;	     /* asked or closing */
	bool asked;		     /* [lock] */
	bool closing;		     /* [lock] */
	struct reload_wait *waiting; /* [lock] */
	struct reload_wait *running; /* [lock] */
	struct reload_wait *ended;   /* [lock] */
	atomic_uint ended_count; /* [release by the thread, acquire by loops: there are answers] */
};

/* ---- the report ---- */

struct report {
	json_t *changed;
	json_t *added;
	json_t *removed;
	json_t *needs_restart;
};

static void add_name(json_t *list, const char *before, const char *name)
{
	json_array_append_new(list, json_sprintf("%s%s", before, name));
}

static void note_change(void *ctx, const struct pc_config_change *change)
{
	const struct report *report = ctx;

	if (change->effect == PC_EFFECT_RESTART)
		add_name(report->needs_restart, "", change->name);
	else if (change->kind == PC_CHANGE_ADDED)
		add_name(report->added, "", change->name);
	else if (change->kind == PC_CHANGE_REMOVED)
		add_name(report->removed, "", change->name);
	else
		add_name(report->changed, "", change->name);
}

static void note_models(const struct report *report, const struct generation *old,
			const struct generation *next)
{
	for (size_t i = 0; i < next->model_count; i++) {
		const struct pc_model_entry *entry = next->models[i].entry;
		const struct model *before = generation_find(old, entry->id);

		if (!before)
			add_name(report->added, "model ", entry->id);
		else if (pc_model_entry_compare(before->entry, entry))
			add_name(report->changed, "model ", entry->id);
	}
	for (size_t i = 0; i < old->model_count; i++) {
		const char *id = old->models[i].entry->id;

		if (!generation_find(next, id))
			add_name(report->removed, "model ", id);
	}
}

static bool has_name(const json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *other = json_string_value(json_array_get(list, i));

		if (other && strcmp(other, name) == 0)
			return true;
	}
	return false;
}

/* The file's name may be the same, and what a restart would read from it not. */
static void note_token(const struct report *report, const struct daemon *daemon, const char *path)
{
	static const char name[] = "http.token_file";

	if (!has_name(report->needs_restart, name) && !state_token_is_current(daemon, path))
		add_name(report->needs_restart, "", name);
}

static void report_init(struct report *report)
{
	*report = (struct report){ json_array(), json_array(), json_array(), json_array() };
}

static void report_fini(struct report *report)
{
	json_decref(report->changed);
	json_decref(report->added);
	json_decref(report->removed);
	json_decref(report->needs_restart);
}

/* free(3) it; NULL: no memory. */
static char *report_text(const struct report *report)
{
	json_t *object = json_pack("{s:O, s:O, s:O, s:O}", "changed", report->changed, "added",
				   report->added, "removed", report->removed, "needs_restart",
				   report->needs_restart);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

/* ---- one reload ---- */

/* Reads settings and catalogs as the program's start did; what needs a restart stays as it is. */
static int read_next(const struct daemon *daemon, const struct generation *old,
		     struct report *report, struct generation **ret_next, struct pc_error *err)
{
	struct pc_config *config = NULL;
	struct pc_catalog *catalog = NULL;
	int rc = pc_config_load(daemon->config_path, daemon->overrides, daemon->override_count,
				&config, err);

	if (rc)
		return rc;
	pc_config_diff(old->config, config, note_change, report);
	rc = pc_config_keep(config, old->config, err);
	if (!rc)
		rc = pc_catalog_load(config, &catalog, err);
	if (!rc)
		rc = generation_create(config, catalog, ret_next, err);
	if (rc) {
		pc_catalog_free(catalog);
		pc_config_free(config);
	}
	return rc;
}

/* *ret_text is free(3)d by the caller. */
static int reload_once(struct daemon *daemon, char **ret_text, struct pc_error *err)
{
	struct generation *old = body_generation(daemon), *next = NULL;
	uint64_t budgets[PC_DEVICE_MAX];
	struct report report;
	char *text = NULL;
	int rc;

	report_init(&report);
	rc = read_next(daemon, old, &report, &next, err);
	if (!rc)
		rc = devices_budgets(daemon, next->config, budgets, err);
	if (!rc) {
		note_models(&report, old, next);
		note_token(&report, daemon, next->config->http_token_file);
		text = report_text(&report);
		rc = text ? body_install(daemon, next, budgets, err) : pc_error_oom(err);
	}
	if (!rc)
		pc_log_set_level(
			(enum pc_log_level)pc_log_level_from_name(next->config->log_level));
	report_fini(&report);
	generation_unref(next);
	generation_unref(old);
	if (rc)
		free(text);
	else
		*ret_text = text;
	return rc;
}

static void log_outcome(const char *text, const struct pc_error *err)
{
	if (text) {
		pc_log(PC_LOG_INFO, "reload", PC_NO_FIELDS, "%s", text);
	} else {
		pc_log_error(PC_LOG_ERROR, "reload", err);
		pc_log(PC_LOG_WARN, "reload", PC_NO_FIELDS,
		       "the configuration was not read; the one in force stays");
	}
}

/* ---- the thread ---- */

static void push_all_locked(struct reload_wait **list, struct reload_wait *waits)
{
	while (*list)
		list = &(*list)->next;
	*list = waits;
}

/* Waits for something to do; false: it ends. */
static bool begin(struct reload *reload)
{
	bool go_on;

	pthread_mutex_lock(&reload->lock);
	while (!reload->asked && !reload->closing)
		pthread_cond_wait(&reload->changed, &reload->lock);
	go_on = !reload->closing;
	reload->asked = false;
	if (go_on) {
		reload->running = reload->waiting;
		reload->waiting = NULL;
	}
	pthread_mutex_unlock(&reload->lock);
	return go_on;
}

static void give(struct reload_wait *wait, const char *text, const struct pc_error *err)
{
	wait->report = text ? pc_strdup(text) : NULL;
	if (!text)
		wait->error = *err;
	else if (!wait->report)
		pc_error_oom(&wait->error);
}

static void finish(struct reload *reload, const char *text, const struct pc_error *err)
{
	unsigned count = 0;

	pthread_mutex_lock(&reload->lock);
	for (struct reload_wait *wait = reload->running; wait; wait = wait->next, count++)
		give(wait, text, err);
	push_all_locked(&reload->ended, reload->running);
	reload->running = NULL;
	atomic_fetch_add_explicit(&reload->ended_count, count, memory_order_release);
	pthread_mutex_unlock(&reload->lock);
	if (count > 0)
		body_wake_loops(reload->daemon);
}

static void *reload_main(void *ctx)
{
	struct reload *reload = ctx;

	while (begin(reload)) {
		struct pc_error err = PC_ERROR_INIT;
		char *text = NULL;

		reload_once(reload->daemon, &text, &err);
		log_outcome(text, &err);
		finish(reload, text, &err);
		free(text);
	}
	return NULL;
}

static void ask(struct reload *reload, struct reload_wait *wait)
{
	pthread_mutex_lock(&reload->lock);
	if (wait)
		push_all_locked(&reload->waiting, wait);
	reload->asked = true;
	pthread_cond_signal(&reload->changed);
	pthread_mutex_unlock(&reload->lock);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	(void)number;
	ask(handle->data, NULL);
}

/* ---- requests ---- */

void reload_handle(struct request *request, const char *argument)
{
	struct reload_wait *wait = pc_calloc(1, sizeof(*wait));
	struct pc_error err = PC_ERROR_INIT;

	(void)argument;
	if (!wait) {
		pc_error_oom(&err);
		api_respond_error(request->exchange, &err);
		return;
	}
	wait->request = request;
	request->reload = wait;
	ask(request->daemon->reload, wait);
}

static bool take_locked(struct reload_wait **list, const struct reload_wait *wait)
{
	for (; *list; list = &(*list)->next) {
		if (*list != wait)
			continue;
		*list = wait->next;
		return true;
	}
	return false;
}

static void free_wait(struct reload_wait *wait)
{
	pc_free(wait->report);
	pc_free(wait);
}

void reload_forget(struct request *request)
{
	struct reload *reload = request->daemon->reload;
	struct reload_wait *wait = request->reload;

	if (!wait)
		return;
	request->reload = NULL;
	pthread_mutex_lock(&reload->lock);
	if (!take_locked(&reload->waiting, wait) && !take_locked(&reload->running, wait)) {
		bool found = take_locked(&reload->ended, wait);

		assert(found);
		(void)found;
		atomic_fetch_sub_explicit(&reload->ended_count, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&reload->lock);
	free_wait(wait);
}

static struct reload_wait *next_ended(struct reload *reload, const struct loop *loop)
{
	struct reload_wait *wait;

	pthread_mutex_lock(&reload->lock);
	for (wait = reload->ended; wait && wait->request->loop != loop; wait = wait->next)
		;
	if (wait) {
		take_locked(&reload->ended, wait);
		atomic_fetch_sub_explicit(&reload->ended_count, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&reload->lock);
	return wait;
}

static void answer(struct reload_wait *wait)
{
	static const struct http_field json_fields[] = {
		{ "Content-Type", "application/json" },
		{ NULL, NULL },
	};
	struct request *request = wait->request;

	request->reload = NULL; /* it may be gone when it is answered */
	if (wait->report)
		http_respond(request->exchange, 200, json_fields, wait->report,
			     strlen(wait->report));
	else
		api_respond_error(request->exchange, &wait->error);
	free_wait(wait);
}

void reload_deliver(struct reload *reload, struct loop *loop)
{
	struct reload_wait *wait;

	if (!reload || atomic_load_explicit(&reload->ended_count, memory_order_acquire) == 0)
		return;
	while ((wait = next_ended(reload, loop)))
		answer(wait);
}

/* ---- birth and end ---- */

int reload_create(struct daemon *daemon, struct reload **ret_reload, struct pc_error *err)
{
	struct reload *reload = pc_calloc(1, sizeof(*reload));
	int rc;

	if (!reload)
		return pc_error_oom(err);
	reload->daemon = daemon;
	pthread_mutex_init(&reload->lock, NULL);
	pthread_cond_init(&reload->changed, NULL);
	uv_signal_init(&daemon->loops[0].uv, &reload->hangup);
	reload->hangup.data = reload;
	uv_signal_start(&reload->hangup, on_hangup, SIGHUP);
	*ret_reload = reload;
	rc = pthread_create(&reload->thread, NULL, reload_main, reload);
	if (rc)
		return pc_error_sys(err, PC_E_OUT_OF_MEMORY, rc,
				    "cannot start the thread that reloads");
	reload->running_thread = true;
	return 0;
}

static void end_thread(struct reload *reload)
{
	if (!reload->running_thread)
		return;
	pthread_mutex_lock(&reload->lock);
	reload->closing = true;
	pthread_cond_signal(&reload->changed);
	pthread_mutex_unlock(&reload->lock);
	pthread_join(reload->thread, NULL);
	reload->running_thread = false;
}

void reload_close(struct reload *reload)
{
	if (!reload)
		return;
	end_thread(reload);
	uv_close((uv_handle_t *)&reload->hangup, NULL);
	/* libuv has put the default action back, which would end us before our time. */
	signal(SIGHUP, SIG_IGN);
}

void reload_free(struct reload *reload)
{
	if (!reload)
		return;
	end_thread(reload);
	pthread_cond_destroy(&reload->changed);
	pthread_mutex_destroy(&reload->lock);
	pc_free(reload);
}
