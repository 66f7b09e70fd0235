/* SPDX-License-Identifier: MIT */
/*
 * log.h - the log hook. The library never prints: it calls the hook, which does nothing until a
 * program sets one. Two sinks come with it, a human line and a JSON line.
 *
 * One call, one event: subject, verb, reason, then fields. Never a prompt, a token or a secret.
 */
#ifndef POOLCORE_LOG_H
#define POOLCORE_LOG_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

struct pc_error;

enum pc_log_level { PC_LOG_DEBUG, PC_LOG_INFO, PC_LOG_WARN, PC_LOG_ERROR };

struct pc_log_field {
	const char *key;
	const char *value; /* NULL is shown as "" */
};

struct pc_log_record {
	enum pc_log_level level;
	int64_t wall_ms;
	const char *subject; /* the component: "worker", "gateway", "sched" */
	const char *message;
	const struct pc_log_field *fields; /* field_count of them */
	size_t field_count;
};

typedef void (*pc_log_hook)(void *ctx, const struct pc_log_record *record);

/*
 * Sets the hook and the lowest level that reaches it. The record is valid during the call only.
 * The hook is called from any thread and must not call back into the library.
 * Set it before threads start, or while none of them logs.
 */
PC_API void pc_log_set(pc_log_hook hook, void *ctx, enum pc_log_level lowest);
/* Another lowest level. Any thread, at any time. */
PC_API void pc_log_set_level(enum pc_log_level lowest);
PC_API bool pc_log_enabled(enum pc_log_level level);

/*
 * Logs one event. The message is formatted into a fixed buffer of 1 KiB and cut at its end.
 * PC_FIELDS builds the field list: pc_log(PC_LOG_INFO, "worker", PC_FIELDS({"id", id}), "ready").
 */
PC_API void pc_log(enum pc_log_level level, const char *subject, const struct pc_log_field *fields,
		   size_t field_count, const char *fmt, ...) PC_PRINTF(5, 6);

#define PC_NO_FIELDS NULL, 0
#define PC_FIELDS(...) \
	(const struct pc_log_field[]){ __VA_ARGS__ }, \
		sizeof((const struct pc_log_field[]){ __VA_ARGS__ }) / sizeof(struct pc_log_field)

/* Logs an error that has been handled here, with its code and details as fields. */
PC_API void pc_log_error(enum pc_log_level level, const char *subject, const struct pc_error *err);

/*
 * Sinks for pc_log_set; ctx is the FILE * to write to. Each record is one write of one line.
 * human: 2026-11-22T03:10:11.042Z info  worker ready id=w3 model=tiny load_ms=412
 * json:  {"ts":"...","level":"info","subject":"worker","message":"ready","id":"w3",...}
 */
PC_API void pc_log_sink_human(void *ctx, const struct pc_log_record *record);
PC_API void pc_log_sink_json(void *ctx, const struct pc_log_record *record);

PC_API const char *pc_log_level_name(enum pc_log_level level);
/* "debug", "info", "warn", "error" -> level; -1 when it is none of them. */
PC_API int pc_log_level_from_name(const char *name);

PC_END_DECLS

#endif
