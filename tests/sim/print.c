/* SPDX-License-Identifier: MIT */
/* print.c - a script for people: the world it makes, then its lines. */
#include <inttypes.h>

#include "sim.h"

static void print_line(const struct script *script, const struct line *line, FILE *out)
{
	fprintf(out, "%10.3f s  ", (double)(line->at_ns - 1000 * SEC) / 1e9);
	switch (line->kind) {
	case LINE_SUBMIT:
		fprintf(out, "submit to %s%s", script->keys[line->model],
			line->priority == PC_PRIORITY_BATCH ? ", batch" : "");
		if (line->timeout_ns)
			fprintf(out, ", within %.3f s", (double)line->timeout_ns / 1e9);
		if (line->affinity)
			fprintf(out, ", conversation %" PRIu64, line->affinity);
		fputc('\n', out);
		break;
	case LINE_LIMIT:
		fprintf(out, "budget of device %u becomes %" PRIu64 " MiB\n", line->device,
			line->bytes / MIB);
		break;
	case LINE_LOAD:
		fprintf(out, "operator loads %s", script->keys[line->model]);
		if (line->on_device)
			fprintf(out, " on device %u, if it may live there", line->device);
		fputc('\n', out);
		break;
	case LINE_STOP:
		fprintf(out, "operator stops a worker%s\n", line->force ? " by force" : "");
		break;
	case LINE_TICK:
		fprintf(out, "a tick that nobody asked for\n");
		break;
	case LINE_PRESSURE:
		fprintf(out, "device %u is %s\n", line->device,
			line->tight ? "tight" : "tight no more");
		break;
	case LINE_ADOPT:
		fprintf(out, "adopts a worker of %s with %" PRIu64 " MiB on device %u\n",
			script->keys[line->model], line->bytes / MIB, line->device);
		break;
	case LINE_ESTIMATE:
		fprintf(out, "the estimate of %s becomes %" PRIu64 " MiB\n",
			script->keys[line->model], line->bytes / MIB);
		break;
	case LINE_UPDATE:
		fprintf(out, "%s gets another spec%s\n", script->keys[line->model],
			line->relaunch ? ", to be launched anew" : "");
		break;
	case LINE_RETIRE:
		fprintf(out, "%s is out of service\n", script->keys[line->model]);
		break;
	case LINE_JUMP:
		fprintf(out, "the clock jumps by %.3f s\n", (double)line->jump_ns / 1e9);
		break;
	}
}

/* What is odd about a model; what is usual is left out. */
static void print_model(const struct pc_sched_model_spec *spec, FILE *out)
{
	fprintf(out,
		"  %s: %" PRIu64 " MiB on 0x%x, %u slots, %u to %u workers, %u at cold start, "
		"queue of %u",
		spec->key, spec->memory_bytes / MIB, (unsigned)spec->device_mask, spec->slots,
		spec->min_workers, spec->max_workers, spec->cold_start_workers,
		spec->queue_capacity);
	if (spec->idle_ttl_ns == 0)
		fprintf(out, ", may not idle");
	else if (spec->idle_ttl_ns == PC_TIME_NEVER)
		fprintf(out, ", may idle for ever");
	else if (spec->idle_ttl_ns != PC_IDLE_TTL_DEFAULT)
		fprintf(out, ", may idle for %.0f s", (double)spec->idle_ttl_ns / 1e9);
	if (spec->recycle_requests)
		fprintf(out, ", %" PRIu64 " requests a worker", spec->recycle_requests);
	if (spec->recycle_bytes)
		fprintf(out, ", at most %" PRIu64 " MiB a worker", spec->recycle_bytes / MIB);
	if (spec->prepare_timeout_ns)
		fprintf(out, ", %.0f s to prepare", (double)spec->prepare_timeout_ns / 1e9);
	fprintf(out, "%s%s, %.0f s to start\n", spec->pinned ? ", pinned" : "",
		spec->self_service ? ", self-service" : "", (double)spec->start_timeout_ns / 1e9);
}

/* What workers do by themselves, and the machine; only what is there. */
static void print_habits(const struct script *script, FILE *out)
{
	const struct {
		const char *what;
		unsigned percent;
	} habits[] = {
		{ "loads fail", script->load_fails }, { "loads hang", script->load_hangs },
		{ "workers die", script->dies },      { "workers measure", script->measures },
		{ "workers grow", script->grows },    { "stops hang", script->stop_hangs },
		{ "times are stale", script->stale }, { "recalls come late", script->barges },
	};

	fprintf(out, "  loads take up to %.1f s, stops %.2f s, leases %.2f s; ticks %.2f s late",
		(double)script->load_max_ns / 1e9, (double)script->stop_max_ns / 1e9,
		(double)script->lease_max_ns / 1e9, (double)script->tick_lag_ns / 1e9);
	for (size_t i = 0; i < PC_ARRAY_LEN(habits); i++) {
		if (habits[i].percent)
			fprintf(out, "; %u %% of %s", habits[i].percent, habits[i].what);
	}
	fprintf(out, "; drained %s for up to %.0f s\n",
		script->drain_early ? "at once" : "when all is quiet",
		(double)script->drain_ns / 1e9);
}

static void print_settings(const struct pc_sched_settings *settings, FILE *out)
{
	fprintf(out,
		"  timeout %.0f s, residency %.0f s, max wait %.0f s, ageing %.0f s, maintenance "
		"%.0f s, cooldown %.0f s, breaker at %u failures\n",
		(double)settings->request_timeout_ns / 1e9,
		(double)settings->min_residency_ns / 1e9, (double)settings->max_wait_ns / 1e9,
		(double)settings->batch_ageing_ns / 1e9,
		(double)settings->maintenance_interval_ns / 1e9,
		(double)settings->cooldown_idle_ns / 1e9, settings->breaker_failures);
}

void sim_print_script(const struct script *script, FILE *out)
{
	fprintf(out, "seed %" PRIu64 ": %u devices (MiB:", script->seed, script->device_count);
	for (unsigned d = 0; d < script->device_count; d++)
		fprintf(out, " %" PRIu64, script->budgets[d] / MIB);
	fprintf(out, ")\n");
	print_settings(&script->settings, out);
	print_habits(script, out);
	for (unsigned m = 0; m < script->model_count; m++) {
		struct pc_sched_model_spec spec = script->models[m];

		spec.key = script->keys[m]; /* scripts are copied */
		print_model(&spec, out);
	}
	for (unsigned i = 0; i < script->line_count; i++)
		print_line(script, &script->lines[i], out);
}
