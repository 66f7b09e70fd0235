/* SPDX-License-Identifier: MIT */
/*
 * judge.c - whether memory is short, from readings that others took (facts.c, pressure.c), and the
 * sentence that says why. Pure functions; what is done about it is the governor's. Any thread.
 */
#include <poolcore/memory.h>
#include <poolcore/text.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is short, joined with "and". Too long a sentence is cut; PC_MEMORY_WHY_MAX sees to it that
 * none is. */
struct reasons {
	char text[PC_MEMORY_WHY_MAX];
	size_t length;
};

static void PC_PRINTF(2, 3) add_reason(struct reasons *reasons, const char *fmt, ...)
{
	size_t room = sizeof(reasons->text) - reasons->length;
	int length = reasons->length ? snprintf(reasons->text + reasons->length, room, " and ") : 0;
	va_list args;

	assert(length >= 0 && (size_t)length < room);
	reasons->length += (size_t)length;
	room -= (size_t)length;
	va_start(args, fmt);
	length = vsnprintf(reasons->text + reasons->length, room, fmt, args);
	va_end(args);
	if (length > 0)
		reasons->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* "42.00 %" */
static const char *format_average(uint32_t bp, char out[32])
{
	snprintf(out, 32, "%u.%02u %%", bp / 100, bp % 100);
	return out;
}

/* "20 %", "12.50 %": a person wrote this one. */
static const char *format_bound(uint32_t bp, char out[32])
{
	if (bp % 100)
		return format_average(bp, out);
	snprintf(out, 32, "%u %%", bp / 100);
	return out;
}

static void judge_available(const struct pc_memory_facts *facts, uint64_t reserve, bool was_tight,
			    struct reasons *reasons)
{
	uint64_t available = facts->available_bytes, above = 0, margin;
	char has[32], wanted[32], kept[32];

	if (available < reserve) {
		add_reason(reasons, "available %s is under the reserve of %s",
			   pc_format_size(available, has), pc_format_size(reserve, kept));
		return;
	}
	if (!was_tight)
		return;
	if (facts->total_bytes > reserve)
		above = facts->total_bytes - reserve;
	margin = reserve / 4 < above / 2 ? reserve / 4 : above / 2;
	if (available - reserve < margin)
		add_reason(reasons, "available %s is not back at %s yet (the reserve is %s)",
			   pc_format_size(available, has), pc_format_size(reserve + margin, wanted),
			   pc_format_size(reserve, kept));
}

static void judge_stall(const char *kind, const struct pc_memory_stall *stall, uint32_t bound_bp,
			bool was_tight, struct reasons *reasons)
{
	char has[32], wanted[32], bound[32];

	if (bound_bp == 0)
		return;
	if (stall->avg10_bp > bound_bp)
		add_reason(reasons, "%s avg10 %s in %.255s is over %s", kind,
			   format_average(stall->avg10_bp, has), stall->file,
			   format_bound(bound_bp, bound));
	else if (was_tight && stall->avg10_bp > bound_bp / 2)
		add_reason(reasons, "%s avg10 %s in %.255s is not back at %s yet (the bound is %s)",
			   kind, format_average(stall->avg10_bp, has), stall->file,
			   format_bound(bound_bp / 2, wanted), format_bound(bound_bp, bound));
}

static void describe_calm(const struct pc_memory_facts *facts,
			  const struct pc_memory_pressure *pressure,
			  const struct pc_memory_limits *limits, char why[PC_MEMORY_WHY_MAX])
{
	char has[32], kept[32], some[32], full[32];
	int length = snprintf(why, PC_MEMORY_WHY_MAX, "available %s, reserve %s",
			      pc_format_size(facts->available_bytes, has),
			      pc_format_size(limits->reserve_bytes, kept));

	if (pressure)
		snprintf(why + length, PC_MEMORY_WHY_MAX - (size_t)length,
			 ", some avg10 %s, full avg10 %s",
			 format_average(pressure->some.avg10_bp, some),
			 format_average(pressure->full.avg10_bp, full));
}

enum pc_memory_state pc_memory_judge(const struct pc_memory_facts *facts,
				     const struct pc_memory_pressure *pressure,
				     const struct pc_memory_limits *limits,
				     enum pc_memory_state before, char why[PC_MEMORY_WHY_MAX])
{
	bool was_tight = before == PC_MEMORY_TIGHT;
	struct reasons reasons = { .length = 0 };

	assert(facts && limits);
	if (pressure && !pressure->available)
		pressure = NULL;
	judge_available(facts, limits->reserve_bytes, was_tight, &reasons);
	if (pressure) {
		judge_stall("some", &pressure->some, limits->some_avg10_bp, was_tight, &reasons);
		judge_stall("full", &pressure->full, limits->full_avg10_bp, was_tight, &reasons);
	}
	if (why && reasons.length)
		memcpy(why, reasons.text, reasons.length + 1);
	else if (why)
		describe_calm(facts, pressure, limits, why);
	return reasons.length ? PC_MEMORY_TIGHT : PC_MEMORY_CALM;
}
