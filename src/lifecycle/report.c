/* SPDX-License-Identifier: MIT */
/* report.c - writes and reads the bytes of a report. Any thread; C library only. */
#include "lifecycle/report.h"

#include <string.h>

/* What a kind carries: this many numbers of 64 bits, or log. */
static const struct {
	bool is_known;
	bool is_log;
	size_t numbers;
} kinds[] = {
	[PC_REPORT_STARTED] = { .is_known = true, .numbers = 2 },
	[PC_REPORT_LOG] = { .is_known = true, .is_log = true },
	[PC_REPORT_LOST] = { .is_known = true, .numbers = 1 },
	[PC_REPORT_STOPPED] = { .is_known = true, .numbers = 1 },
	[PC_REPORT_CONTINUED] = { .is_known = true, .numbers = 0 },
	[PC__REPORT_REPLAY] = { .is_known = true, .numbers = 0 },
};

size_t pc__report_encode(const struct pc_report *report, char ret_bytes[PIPE_BUF])
{
	uint64_t numbers[2] = { 0, 0 };
	uint32_t head[2] = { report->kind, 0 };
	const void *body = numbers;

	switch (report->kind) {
	case PC_REPORT_STARTED:
		numbers[0] = (uint64_t)report->pid;
		numbers[1] = report->start_ticks;
		break;
	case PC_REPORT_LOST:
		numbers[0] = report->lost_bytes;
		break;
	case PC_REPORT_STOPPED:
		numbers[0] = (uint64_t)report->signal;
		break;
	case PC_REPORT_LOG:
		body = report->data;
		break;
	default:
		break;
	}
	head[1] = (uint32_t)(kinds[report->kind].is_log ? report->length
							: kinds[report->kind].numbers * 8);
	memcpy(ret_bytes, head, sizeof(head));
	memcpy(ret_bytes + sizeof(head), body, head[1]);
	return sizeof(head) + head[1];
}

ssize_t pc__report_decode(const char *bytes, size_t length, struct pc_report *ret_report)
{
	struct pc_report report = { .length = 0 };
	uint64_t numbers[2] = { 0, 0 };
	uint32_t head[2];

	if (length < sizeof(head))
		return 0;
	memcpy(head, bytes, sizeof(head));
	if (head[0] >= PC_ARRAY_LEN(kinds) || !kinds[head[0]].is_known)
		return -1;
	if (kinds[head[0]].is_log ? head[1] == 0 || head[1] > PC__REPORT_DATA_MAX
				  : head[1] != kinds[head[0]].numbers * 8)
		return -1;
	if (length - sizeof(head) < head[1])
		return 0;
	report.kind = (enum pc_report_kind)head[0];
	if (kinds[head[0]].is_log) {
		report.data = bytes + sizeof(head);
		report.length = head[1];
	} else {
		memcpy(numbers, bytes + sizeof(head), head[1]);
	}
	if ((report.kind == PC_REPORT_STARTED && (numbers[0] < 2 || numbers[0] > INT32_MAX)) ||
	    (report.kind == PC_REPORT_STOPPED && (numbers[0] < 1 || numbers[0] > 127)))
		return -1;
	switch (report.kind) {
	case PC_REPORT_STARTED:
		report.pid = (pid_t)numbers[0];
		report.start_ticks = numbers[1];
		break;
	case PC_REPORT_LOST:
		report.lost_bytes = numbers[0];
		break;
	case PC_REPORT_STOPPED:
		report.signal = (int)numbers[0];
		break;
	default:
		break;
	}
	*ret_report = report;
	return (ssize_t)(sizeof(head) + head[1]);
}
