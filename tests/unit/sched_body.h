/* SPDX-License-Identifier: MIT */
/*
 * sched_body.h - a scripted body for scenarios of the brain: it writes down every action as a line,
 * and a scenario tells events and compares the lines. Times are of a clock that only the script
 * moves. There are two devices: cpu with a budget of 8 GiB, and gpu0 with 4.
 *
 * Include cmocka first.
 */
#ifndef TESTS_UNIT_SCHED_BODY_H
#define TESTS_UNIT_SCHED_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include <poolcore/memory.h>
#include <poolcore/sched.h>

#define GIB (UINT64_C(1) << 30)
#define SEC PC_NS_PER_SEC

enum { TICKETS = 64, WORKERS = 16 };

struct sched_body {
	struct pc_ledger *ledger;
	struct pc_sched *sched;
	uint64_t now_ns;
	uint64_t next_ns; /* what the last event returned */
	char log[16384];
	const char *order_owner; /* of the last spawn */
	uint32_t order_slots;
	struct pc_error last_error;
	struct pc_ticket tickets[TICKETS];
	struct pc_worker_use uses[WORKERS]; /* of self-service workers, by id */
	uint64_t taken; /* a worker that somebody takes just before it is recalled */
};

extern struct sched_body body;
extern const struct pc_sched_driver driver;

/* Adds to the log. */
__attribute__((format(printf, 1, 2))) void note(const char *fmt, ...);

/* This and no more has been noted since the last time. */
#define expect(text) \
	do { \
		assert_string_equal(body.log, text); \
		body.log[0] = '\0'; \
	} while (0)

/* ---- events, short ---- */

/* With a timeout of 0 the brain's own counts. */
void submit_with(int ticket, struct pc_sched_model *model, enum pc_priority priority,
		 uint64_t timeout_ns, uint64_t affinity);
void submit(int ticket, struct pc_sched_model *model);
void release(int ticket);
void cancel(int ticket);
void served(int ticket);
void launched(uint64_t worker);
void ready(uint64_t worker);
void changed(uint64_t worker, uint64_t bytes);
void failed(uint64_t worker, int code, const char *text);
void gone(uint64_t worker);
void update(struct pc_sched_model *model, const struct pc_sched_model_spec *spec, bool relaunch);
void retire(struct pc_sched_model *model);
/* Lets time pass, ticking whenever the brain asked for it. */
void pass(uint64_t ns);

/* ---- models ---- */

/* One worker of one slot at the most, on cpu. */
struct pc_sched_model_spec spec_of(const char *key, uint64_t memory_bytes);
/* The same with two slots, and "first" for an owner. */
struct pc_sched_model_spec owned_spec_of(const char *key, uint64_t memory_bytes);
struct pc_sched_model *add(const struct pc_sched_model_spec *spec);
struct pc_sched_model *add_simple(const char *key, uint64_t memory_bytes);
/* A model with a ready worker 1, of which ticket 0 has a slot if `leased`. */
struct pc_sched_model *serve_one(const struct pc_sched_model_spec *spec, bool leased);

struct pc_sched_model_view view_of(const struct pc_sched_model *model);
uint64_t reserved(unsigned device);

/* Of each scenario. The teardown wants every byte back. */
int sched_body_setup(void **state);
int sched_body_teardown(void **state);
#define scenario(name) cmocka_unit_test_setup_teardown(name, sched_body_setup, sched_body_teardown)

#endif
