/* SPDX-License-Identifier: MIT */
/*
 * log.c - the log hook and its two sinks. Formats into the stack, never allocates, holds no lock:
 * a record reaches the file in one write, and the C library locks the stream.
 */
#include <poolcore/log.h>

#include <poolcore/clock.h>
#include <poolcore/error.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

/* A line longer than this is cut; a message may take 1 KiB of it. */
#define LINE_MAX_BYTES 4096
#define MESSAGE_MAX_BYTES 1024

static const char *const level_names[] = {
	[PC_LOG_DEBUG] = "debug",
	[PC_LOG_INFO] = "info",
	[PC_LOG_WARN] = "warn",
	[PC_LOG_ERROR] = "error",
};

/* [set before threads start] */
static pc_log_hook hook_fn;
static void *hook_ctx;
/* [relaxed: it may change at any time, and orders nothing] */
static _Atomic enum pc_log_level hook_lowest;

void pc_log_set(pc_log_hook hook, void *ctx, enum pc_log_level lowest)
{
	hook_fn = hook;
	hook_ctx = ctx;
	pc_log_set_level(lowest);
}

void pc_log_set_level(enum pc_log_level lowest)
{
	atomic_store_explicit(&hook_lowest, lowest, memory_order_relaxed);
}

bool pc_log_enabled(enum pc_log_level level)
{
	return hook_fn && level >= atomic_load_explicit(&hook_lowest, memory_order_relaxed);
}

void pc_log(enum pc_log_level level, const char *subject, const struct pc_log_field *fields,
	    size_t field_count, const char *fmt, ...)
{
	char message[MESSAGE_MAX_BYTES];
	va_list args;

	if (!pc_log_enabled(level))
		return;
	va_start(args, fmt);
	int length = vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	if (length < 0)
		return;
	if ((size_t)length >= sizeof(message))
		message[pc__utf8_cut(message, sizeof(message) - 1)] = '\0';

	const struct pc_log_record record = {
		.level = level,
		.wall_ms = pc_clock_wall_ms(),
		.subject = subject,
		.message = message,
		.fields = fields,
		.field_count = field_count,
	};

	hook_fn(hook_ctx, &record);
}

void pc_log_error(enum pc_log_level level, const char *subject, const struct pc_error *err)
{
	struct pc_log_field fields[PC_ERROR_DETAILS_MAX + 1];
	size_t count = 0;

	fields[count++] = (struct pc_log_field){ "code", pc_error_name(err->code) };
	for (unsigned i = 0; i < err->detail_count; i++) {
		fields[count++] = (struct pc_log_field){ err->details[i].key,
							 err->details[i].value };
	}
	pc_log(level, subject, fields, count, "%s", err->message);
}

const char *pc_log_level_name(enum pc_log_level level)
{
	return (size_t)level < PC_ARRAY_LEN(level_names) ? level_names[level] : "unknown";
}

int pc_log_level_from_name(const char *name)
{
	for (size_t i = 0; name && i < PC_ARRAY_LEN(level_names); i++) {
		if (strcmp(level_names[i], name) == 0)
			return (int)i;
	}
	return -1;
}

/* ---- sinks ---- */

/*
 * A line being built. A piece that does not fit is left out whole, and so is whatever comes after
 * it: a line may end early, but has no holes. Room for its end is always kept.
 */
struct line {
	char text[LINE_MAX_BYTES];
	size_t length;
	bool full;
};

#define LINE_TAIL 2 /* `}` and the newline */

static void line_put(struct line *line, const char *text, size_t length)
{
	if (length > sizeof(line->text) - LINE_TAIL - line->length)
		line->full = true;
	if (line->full)
		return;
	memcpy(line->text + line->length, text, length);
	line->length += length;
}

static void line_puts(struct line *line, const char *text)
{
	line_put(line, text, strlen(text));
}

static void line_put_time(struct line *line, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm utc;
	char text[64];

	gmtime_r(&seconds, &utc);

	size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);

	length += (size_t)snprintf(text + length, sizeof(text) - length, ".%03dZ",
				   (int)(wall_ms % 1000));
	line_put(line, text, length);
}

/* The length of the UTF-8 sequence at `text`, or 0 where there is none. */
static size_t sequence_length(const char *text)
{
	size_t rest = strnlen(text, 4);

	for (size_t length = 1; length <= rest; length++) {
		if (pc__utf8_valid_prefix(text, length) == length)
			return length;
	}
	return 0;
}

/*
 * Characters that would break the line or, where it is quoted, the quoting, are escaped as JSON
 * does it; so are all control characters, U+0080 to U+009F among them, for a terminal obeys them.
 * What is not UTF-8 is shown as U+FFFD.
 */
static void line_put_escaped(struct line *line, const char *text, bool quoted)
{
	while (*text) {
		unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];
		size_t step = sequence_length(text);
		char escape[8];

		if (step == 0) {
			line_puts(line, "\xef\xbf\xbd");
			text++;
			continue;
		}
		if (quoted && (c == '"' || c == '\\'))
			snprintf(escape, sizeof(escape), "\\%c", c);
		else if (c == '\n')
			snprintf(escape, sizeof(escape), "\\n");
		else if (c < 0x20 || c == 0x7f)
			snprintf(escape, sizeof(escape), "\\u%04x", c);
		else if (c == 0xc2 && next < 0xa0)
			snprintf(escape, sizeof(escape), "\\u%04x", next);
		else
			escape[0] = '\0';

		if (escape[0])
			line_puts(line, escape);
		else
			line_put(line, text, step);
		text += step;
	}
}

static void line_write(struct line *line, const char *tail, FILE *file)
{
	size_t length = strlen(tail);

	memcpy(line->text + line->length, tail, length);
	fwrite(line->text, 1, line->length + length, file);
	fflush(file);
}

static bool needs_quotes(const char *value)
{
	return value[0] == '\0' || strpbrk(value, " \"\\=\n\t") != NULL;
}

void pc_log_sink_human(void *ctx, const struct pc_log_record *record)
{
	struct line line = { .length = 0 };

	line_put_time(&line, record->wall_ms);
	line_puts(&line, " ");
	line_puts(&line, pc_log_level_name(record->level));
	line_puts(&line, record->level == PC_LOG_INFO || record->level == PC_LOG_WARN ? "  " : " ");
	line_puts(&line, record->subject);
	line_puts(&line, " ");
	line_put_escaped(&line, record->message, false);
	for (size_t i = 0; i < record->field_count; i++) {
		const char *value = record->fields[i].value ? record->fields[i].value : "";
		bool quoted = needs_quotes(value);

		line_puts(&line, " ");
		line_puts(&line, record->fields[i].key);
		line_puts(&line, quoted ? "=\"" : "=");
		line_put_escaped(&line, value, quoted);
		line_puts(&line, quoted ? "\"" : "");
	}
	line_write(&line, "\n", ctx);
}

static void line_put_member(struct line *line, const char *key, const char *value)
{
	line_puts(line, line->length == 1 ? "\"" : ",\"");
	line_put_escaped(line, key, true);
	line_puts(line, "\":\"");
	line_put_escaped(line, value ? value : "", true);
	line_puts(line, "\"");
}

/* A member that does not fit is left out whole, so that the line stays valid JSON. */
static void line_put_member_whole(struct line *line, const char *key, const char *value)
{
	size_t before = line->length;

	line_put_member(line, key, value);
	if (line->full) {
		line->length = before;
		line->full = false;
	}
}

void pc_log_sink_json(void *ctx, const struct pc_log_record *record)
{
	struct line line = { .length = 0 };

	line_puts(&line, "{\"ts\":\"");
	line_put_time(&line, record->wall_ms);
	line_puts(&line, "\"");
	line_put_member(&line, "level", pc_log_level_name(record->level));
	line_put_member(&line, "subject", record->subject);
	line_put_member_whole(&line, "message", record->message);
	for (size_t i = 0; i < record->field_count; i++)
		line_put_member_whole(&line, record->fields[i].key, record->fields[i].value);
	line_write(&line, "}\n", ctx);
}
