/* SPDX-License-Identifier: MIT */
/*
 * set.h - ordered sets: the one container of the brain.
 *
 * A set keeps links in the order of (key, tie), smallest first. The links live inside what they
 * order (a ticket, a worker, a model), so that nothing is ever allocated for membership, and an
 * object is in as many sets as it has links. A zeroed link is in no set. Everything below is
 * logarithmic at worst, except first, last, count and linked, which are constant or a single
 * descent.
 *
 * A set may carry sums: then every object knows something about all that hangs below its link, such
 * as the bytes of those workers together, and a search for the first that something holds for is a
 * descent as well. Sums that are read after each change are made with it. Those that are read
 * rarely, of a set that changes with every lease, are `lazy`: a change only marks the links above
 * it, and pc__set_freshen makes the sums of those that are marked before somebody reads them. So
 * each change has its logarithm, once, and the cost falls to whoever makes room, not to each lease.
 */
#ifndef SCHED_SET_H
#define SCHED_SET_H

#include <poolcore/sched.h>

/* test_sched_steps counts the links that are visited, here and by descents elsewhere. */
#ifdef PC__COUNT_STEPS
extern uint64_t pc__steps;
#define pc__step() ((void)pc__steps++)
#else
#define pc__step() ((void)0)
#endif

struct pc__set {
	struct pc_link *root;
	struct pc_link *first; /* NULL when empty */
	/* Makes the sums of the object around a link from its own and from those of the two below
	 * it; NULL in sets without. */
	void (*sum)(struct pc_link *link);
	bool lazy;
};

/* The object around a link. */
#define pc__container_of(link, type, member) ((type *)((char *)(link)-offsetof(type, member)))

static inline bool pc__linked(const struct pc_link *link)
{
	return link->weight != 0;
}

static inline uint32_t pc__set_count(const struct pc__set *set)
{
	return set->root ? set->root->weight : 0;
}

/* (key, tie) must differ from every other in the set; the link must be in none. */
void pc__set_insert(struct pc__set *set, struct pc_link *link, uint64_t key, uint64_t tie);
/* Does nothing to a link that is in no set. */
void pc__set_remove(struct pc__set *set, struct pc_link *link);
/* Makes membership and position what they should be, and moves nothing when they are so already. */
static inline void pc__set_place(struct pc__set *set, struct pc_link *link, bool member,
				 uint64_t key, uint64_t tie)
{
	if (member ? pc__linked(link) && link->key == key && link->tie == tie : !pc__linked(link))
		return;
	pc__set_remove(set, link);
	if (member)
		pc__set_insert(set, link, key, tie);
}

/* Something that goes into the sums has changed in the object around a link, linked or not. */
void pc__set_sum(const struct pc__set *set, struct pc_link *link);
/* Before the sums of a lazy set are read. */
void pc__set_freshen(const struct pc__set *set);

struct pc_link *pc__set_last(const struct pc__set *set);
struct pc_link *pc__set_next(const struct pc_link *link);
/* The first link that is not before (key, tie), or NULL. */
struct pc_link *pc__set_at_least(const struct pc__set *set, uint64_t key, uint64_t tie);
/* The last link that is before (key, tie), or NULL. */
struct pc_link *pc__set_before(const struct pc__set *set, uint64_t key, uint64_t tie);
/* How many links of its set stand before this one. */
uint32_t pc__set_rank(const struct pc_link *link);

#endif
