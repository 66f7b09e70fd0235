/* SPDX-License-Identifier: MIT */
/*
 * metrics.c - figures: histograms in powers of two of microseconds, and the sums over workers.
 * Relaxed throughout: figures order nothing.
 */
#include "pool/inner.h"

static unsigned bucket_of(uint64_t us)
{
	unsigned bucket = us ? 64 - (unsigned)__builtin_clzll(us) : 0;

	return bucket < PC_HISTOGRAM_BUCKETS ? bucket : PC_HISTOGRAM_BUCKETS - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	uint64_t us = ns / PC_NS_PER_US;
	uint64_t max_us = atomic_load_explicit(&histogram->max_us, memory_order_relaxed);

	atomic_fetch_add_explicit(&histogram->buckets[bucket_of(us)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->sum_us, us, memory_order_relaxed);
	while (us > max_us &&
	       !atomic_compare_exchange_weak_explicit(&histogram->max_us, &max_us, us,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

static struct pc_histogram copy(const struct histogram *histogram)
{
	struct pc_histogram copied = {
		.sum_us = atomic_load_explicit(&histogram->sum_us, memory_order_relaxed),
		.max_us = atomic_load_explicit(&histogram->max_us, memory_order_relaxed),
	};

	for (unsigned i = 0; i < PC_HISTOGRAM_BUCKETS; i++) {
		copied.buckets[i] = atomic_load_explicit(&histogram->buckets[i],
							 memory_order_relaxed);
		copied.count += copied.buckets[i];
	}
	return copied;
}

uint64_t pc_histogram_quantile_us(const struct pc_histogram *histogram, double share)
{
	uint64_t seen = 0;

	for (unsigned i = 0; i < PC_HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > 0 && (double)seen >= share * (double)histogram->count)
			return UINT64_C(1) << i;
	}
	return 0;
}

void figures_note_run(struct station *station, uint64_t ns)
{
	uint64_t usual_ns = atomic_load_explicit(&station->usual_run_ns, memory_order_relaxed);
	uint64_t step_ns = usual_ns / 8 + 1;

	histogram_add(&station->pool->figures.run_time, ns);
	/* Two that write at once lose one of two similar samples. */
	if (usual_ns == 0)
		usual_ns = ns + 1;
	else
		usual_ns = ns > usual_ns ? usual_ns + step_ns : usual_ns - (usual_ns - ns) / 8;
	atomic_store_explicit(&station->usual_run_ns, usual_ns, memory_order_relaxed);
}

/* [lock] */
static void add_workers(const struct pc_pool *pool, struct pc_pool_metrics *metrics)
{
	for (struct pc_link *link = pool->workers.first; link; link = pc__set_next(link)) {
		const struct worker *worker = pc__container_of(link, struct worker, by_id);

		for (uint32_t i = 0; i < worker->seat_count; i++)
			metrics->total_requests += atomic_load_explicit(&worker->seats[i].served,
									memory_order_relaxed) +
						   atomic_load_explicit(&worker->seats[i].errors,
									memory_order_relaxed);
		metrics->workers += worker->stage <= STAGE_OPEN;
	}
}

void pc_pool_get_metrics(struct pc_pool *pool, struct pc_pool_metrics *ret_metrics)
{
	const struct figures *figures = &pool->figures;
	struct pc_pool_metrics metrics = { .workers = 0 };
	struct pc_sched_counters counters;
	struct turn turn;

	turn_begin(pool, &turn);
	pc_sched_get_counters(pool->sched, &counters);
	metrics.total_timeouts = figures->timeouts;
	metrics.total_errors = figures->errors;
	metrics.total_cancelled = figures->cancelled;
	/* Refused ones had no seat, whose counters they could be in. */
	metrics.total_requests = figures->refused;
	add_workers(pool, &metrics);
	for (const struct station *station = pool->stations; station; station = station->next) {
		struct pc_sched_model_view view;

		pc_sched_get_model(station->brain, &view);
		metrics.waiting += view.waiting;
		metrics.total_requests += station->gone_served + station->gone_errors;
	}
	turn_end(&turn);
	metrics.workers_spawned = counters.spawned;
	metrics.workers_evicted = counters.evicted;
	metrics.workers_failed = counters.failed_workers;
	metrics.workers_recycled = counters.recycled;
	metrics.queue_wait = copy(&figures->queue_wait);
	metrics.load_time = copy(&figures->load_time);
	metrics.run_time = copy(&figures->run_time);
	*ret_metrics = metrics;
}
