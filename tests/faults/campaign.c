/* SPDX-License-Identifier: MIT */
/* campaign.c - rounds, randomness and figures of the fault campaigns; see campaign.h. */
#include "faults/campaign.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

/* What FAULTS counts in. */
#define WHOLE 1000

double campaign_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

struct campaign campaign_begin(const char *name, unsigned usual_rounds, unsigned all_rounds)
{
	const char *faults = getenv("FAULTS"), *seed = getenv("FAULTS_SEED");
	struct campaign campaign = { .name = name, .seed = 1, .rounds = usual_rounds };

	if (faults && *faults) {
		unsigned long long rounds = strtoull(faults, NULL, 10) * all_rounds / WHOLE;

		campaign.rounds = rounds > 0 ? (unsigned)rounds : 1;
		campaign.seed = (uint64_t)time(NULL);
	}
	if (seed && *seed)
		campaign.seed = strtoull(seed, NULL, 10);
	if (campaign.seed == 0)
		campaign.seed = 1; /* 0 would stay 0 */
	print_message("%s: FAULTS_SEED=%llu, %u rounds%s%s\n", name,
		      (unsigned long long)campaign.seed, campaign.rounds,
		      faults && *faults ? ", FAULTS=" : "", faults ? faults : "");
	return campaign;
}

uint64_t campaign_next(struct campaign *campaign)
{
	uint64_t x = campaign->seed;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	campaign->seed = x;
	return x * UINT64_C(0x2545F4914F6CDD1D);
}

size_t campaign_below(struct campaign *campaign, size_t n)
{
	return (size_t)((campaign_next(campaign) >> 16) % n);
}

/* ---- figures ---- */

void figures_add(struct figures *figures, double ms)
{
	if (figures->count < FIGURES_MAX)
		figures->ms[figures->count++] = ms;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void figures_print(struct figures *figures)
{
	size_t count = figures->count;

	if (count == 0)
		return;
	qsort(figures->ms, count, sizeof(figures->ms[0]), compare);
	print_message("%s: median %.1f ms, 99 %% %.1f ms, worst %.1f ms (n = %zu)\n", figures->name,
		      figures->ms[count / 2], figures->ms[count * 99 / 100], figures->ms[count - 1],
		      count);
}
