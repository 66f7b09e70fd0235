/* SPDX-License-Identifier: MIT */
/*
 * report.h - the form of a report on its way from a stub through the FIFO. Each is one write of at
 * most PIPE_BUF bytes, which a FIFO takes whole or not at all: pipe(7). Shared with pool-stub.
 */
#ifndef LIFECYCLE_REPORT_H
#define LIFECYCLE_REPORT_H

#include <poolcore/stub.h>

#include <limits.h>

/* Kind and length of what follows, both of this machine's byte order. */
#define PC__REPORT_HEAD_SIZE (2 * sizeof(uint32_t))
/* The most log that one report carries. */
#define PC__REPORT_DATA_MAX (PIPE_BUF - PC__REPORT_HEAD_SIZE)

/* A kind of the stub's and pc_stub_read's own: what follows is all from the start, because another
 * daemon asked for it. */
#define PC__REPORT_REPLAY ((enum pc_report_kind)6)

/* Writes the report's bytes; how many. `length` of a log is at most PC__REPORT_DATA_MAX. */
size_t pc__report_encode(const struct pc_report *report, char ret_bytes[PIPE_BUF]);
/*
 * Reads the report at the beginning of `bytes`, into which its data then points: how many bytes it
 * takes, 0 when it is not all there, -1 when it is none.
 */
ssize_t pc__report_decode(const char *bytes, size_t length, struct pc_report *ret_report);

#endif
