/* SPDX-License-Identifier: MIT */
/*
 * log.c - llama.cpp's log, which comes in pieces of lines from any thread, becomes whole lines for
 * the host: errors as errors, everything else as debug. Never prints.
 *
 * The sizes of the buffers that llama.cpp makes are told nowhere else ("CPU KV buffer size =
 * 0.50 MiB"), so they are picked up here. A release that words it differently gives 0, and whoever
 * asks has a lower bound of his own.
 */
#include "llama_engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512

/* [const after route_log] */
static const struct pc_engine_host *log_host;

/* A line under way, per thread: llama.cpp's threads log at the same time. */
static _Thread_local struct {
	char text[LINE_MAX_BYTES];
	size_t length;
	enum ggml_log_level level;
	char complaint[LINE_MAX_BYTES];
	uint64_t buffer_bytes;
} line;

static void pick_up_size(const char *text)
{
	static const char words[] = " buffer size = ";
	const char *at = strstr(text, words);
	char *unit;

	if (!at)
		return;
	double mib = strtod(at + sizeof(words) - 1, &unit);

	/* Past 16 EiB it is no size. */
	if (strcmp(unit, " MiB") == 0 && mib > 0 && mib < 0x1p44)
		line.buffer_bytes += (uint64_t)(mib * 0x1p20);
}

static void end_line(void)
{
	bool is_error = line.level == GGML_LOG_LEVEL_ERROR;

	line.text[line.length] = '\0';
	if (line.length > 0) {
		if (is_error)
			memcpy(line.complaint, line.text, line.length + 1);
		else
			pick_up_size(line.text);
		log_host->log(is_error ? PC_LOG_ERROR : PC_LOG_DEBUG, "llama", line.text);
	}
	line.length = 0;
}

static void take_piece(enum ggml_log_level level, const char *text, void *ctx)
{
	(void)ctx;
	if (level != GGML_LOG_LEVEL_CONT)
		line.level = level;
	for (; *text; text++) {
		if (*text == '\n')
			end_line();
		else if (line.length < sizeof(line.text) - 1) /* a longer line is cut */
			line.text[line.length++] = *text;
	}
}

void route_log(const struct pc_engine_host *host)
{
	log_host = host;
	llama_log_set(take_piece, NULL);
}

void say(enum pc_log_level level, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_host->log(level, "llama", text);
}

const char *last_complaint(void)
{
	return line.complaint;
}

void forget_complaint(void)
{
	line.complaint[0] = '\0';
}

uint64_t take_buffer_bytes(void)
{
	uint64_t bytes = line.buffer_bytes;

	line.buffer_bytes = 0;
	return bytes;
}
