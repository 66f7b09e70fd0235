/* SPDX-License-Identifier: MIT */
/*
 * fuzz_status.c - a status file must be what pc__life_format would write again, to the byte, or be
 * refused with a reason; and what is read as reports must be taken apart the same however it is
 * cut. The first byte chooses which of the two the rest is. Run it as fuzz_toml.c says, with
 * tests/fuzz/corpus/status.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/life_file.h"
#include "lifecycle/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void try_status(const char *text, size_t size)
{
	static struct pc__life_status status;
	char again[PC__LIFE_STATUS_MAX], why[160] = "";

	if (pc__life_parse(text, size, &status, why)) {
		check(why[0] && memchr(why, '\0', sizeof(why)));
		return;
	}
	check(pc__life_format(&status, again) == size);
	check(memcmp(again, text, size) == 0);
}

static void try_reports(const char *bytes, size_t size)
{
	struct pc_report report;
	char again[PIPE_BUF];

	for (size_t at = 0; at < size;) {
		ssize_t taken = pc__report_decode(bytes + at, size - at, &report);

		if (taken <= 0)
			return;
		check((size_t)taken <= size - at);
		/* Less of it is never another report. */
		for (ssize_t cut = 0; cut < taken; cut++) {
			struct pc_report part;

			check(pc__report_decode(bytes + at, (size_t)cut, &part) == 0);
		}
		check(pc__report_encode(&report, again) == (size_t)taken);
		check(memcmp(again, bytes + at, (size_t)taken) == 0);
		at += (size_t)taken;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	if (bytes[0] == 'r')
		try_reports((const char *)bytes + 1, size - 1);
	else
		try_status((const char *)bytes + 1, size - 1);
	return 0;
}
