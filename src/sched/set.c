/* SPDX-License-Identifier: MIT */
/*
 * set.c - ordered sets as weight-balanced trees. No allocation, no recursion, no callbacks.
 *
 * Every link knows how many links its subtree holds (weight), which balances the tree and answers
 * "how many are ahead of me" as well. The balance is that of Hirai and Yamamoto, "Balancing
 * weight-balanced trees", Journal of Functional Programming 21 (2011): with the parameters (3, 2)
 * one single or double rotation per level restores it after any insertion or removal, and the
 * depth stays logarithmic.
 *
 * Where a set carries sums, they are made anew from below wherever the weights change, on the way
 * up and in rotations.
 */
#include "sched/set.h"

#include <assert.h>

enum { DELTA = 3, GAMMA = 2 };

static uint32_t weight_of(const struct pc_link *link)
{
	return link ? link->weight : 0;
}

static bool is_before(const struct pc_link *a, const struct pc_link *b)
{
	return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void reweigh(const struct pc__set *set, struct pc_link *link)
{
	link->weight = 1 + weight_of(link->left) + weight_of(link->right);
	if (set->lazy)
		link->stale = true;
	else if (set->sum)
		set->sum(link);
}

/* Puts `heir` (may be NULL) where `link` hangs; link's own pointers stay. */
static void replace(struct pc__set *set, const struct pc_link *link, struct pc_link *heir)
{
	if (!link->up)
		set->root = heir;
	else if (link->up->left == link)
		link->up->left = heir;
	else
		link->up->right = heir;
	if (heir)
		heir->up = link->up;
}

static void rotate_left(struct pc__set *set, struct pc_link *link)
{
	struct pc_link *riser = link->right;

	replace(set, link, riser);
	link->right = riser->left;
	if (link->right)
		link->right->up = link;
	riser->left = link;
	link->up = riser;
	reweigh(set, link);
	reweigh(set, riser);
}

static void rotate_right(struct pc__set *set, struct pc_link *link)
{
	struct pc_link *riser = link->left;

	replace(set, link, riser);
	link->left = riser->right;
	if (link->left)
		link->left->up = link;
	riser->right = link;
	link->up = riser;
	reweigh(set, link);
	reweigh(set, riser);
}

static bool outweighs(uint32_t a, uint32_t b)
{
	return a + 1 > DELTA * (b + 1);
}

/* Balances `link`, one of whose sides has become too heavy; returns what stands in its place. */
static struct pc_link *balance(struct pc__set *set, struct pc_link *link)
{
	struct pc_link *left = link->left, *right = link->right;

	if (outweighs(weight_of(right), weight_of(left))) {
		if (weight_of(right->left) + 1 >= GAMMA * (weight_of(right->right) + 1))
			rotate_right(set, right);
		rotate_left(set, link);
	} else {
		if (weight_of(left->right) + 1 >= GAMMA * (weight_of(left->left) + 1))
			rotate_left(set, left);
		rotate_right(set, link);
	}
	return link->up;
}

/*
 * Tells everybody from `link` up that a subtree, now of weight `below`, has gained or lost one.
 * What hangs on the other side follows from the weights, so that only the path is read: with
 * 100,000 links the siblings would cost a cache miss each.
 */
static inline void climb_with(struct pc__set *set, struct pc_link *link, uint32_t below, int change,
			      bool lazy, void (*sum)(struct pc_link *link))
{
	for (; link; below = link->weight, link = link->up) {
		pc__step();
		link->weight += (uint32_t)change;
		if (lazy)
			link->stale = true;
		else if (sum)
			sum(link);

		uint32_t beside = link->weight - 1 - below;

		if (outweighs(below, beside) || outweighs(beside, below))
			link = balance(set, link);
	}
}

/* Most sets have no sums, and should not pay for those that do. */
static void climb(struct pc__set *set, struct pc_link *link, uint32_t below, int change)
{
	if (set->lazy)
		climb_with(set, link, below, change, true, NULL);
	else if (set->sum)
		climb_with(set, link, below, change, false, set->sum);
	else
		climb_with(set, link, below, change, false, NULL);
}

void pc__set_sum(const struct pc__set *set, struct pc_link *link)
{
	if (!pc__linked(link))
		return;
	/* Above one that is stale all are. */
	for (; link && !(set->lazy && link->stale); link = link->up) {
		pc__step();
		if (set->lazy)
			link->stale = true;
		else
			set->sum(link);
	}
}

static void freshen_below(const struct pc__set *set, struct pc_link *link)
{
	if (!link || !link->stale)
		return;
	pc__step();
	freshen_below(set, link->left);
	freshen_below(set, link->right);
	link->stale = false;
	set->sum(link);
}

void pc__set_freshen(const struct pc__set *set)
{
	freshen_below(set, set->root);
}

void pc__set_insert(struct pc__set *set, struct pc_link *link, uint64_t key, uint64_t tie)
{
	struct pc_link **slot = &set->root, *up = NULL;

	assert(!pc__linked(link));
	*link = (struct pc_link){ .key = key, .tie = tie, .weight = 1, .stale = set->lazy };
	while (*slot) {
		pc__step();
		up = *slot;
		slot = is_before(link, up) ? &up->left : &up->right;
	}
	link->up = up;
	*slot = link;
	if (!set->first || is_before(link, set->first))
		set->first = link;
	if (set->sum && !set->lazy)
		set->sum(link);
	climb(set, up, 1, +1);
}

void pc__set_remove(struct pc__set *set, struct pc_link *link)
{
	struct pc_link *lighter, *child; /* who has lost one, and what hangs there now */

	if (!pc__linked(link))
		return;
	if (set->first == link)
		set->first = pc__set_next(link);
	if (!link->left || !link->right) {
		lighter = link->up;
		child = link->left ? link->left : link->right;
		replace(set, link, child);
	} else {
		/* The successor has no left child: it leaves its place and takes this one. */
		struct pc_link *heir = link->right;

		while (heir->left) {
			pc__step();
			heir = heir->left;
		}
		lighter = heir->up == link ? heir : heir->up;
		child = heir->right;
		replace(set, heir, child);
		replace(set, link, heir);
		heir->left = link->left;
		heir->left->up = heir;
		heir->right = link->right;
		if (heir->right)
			heir->right->up = heir;
		heir->weight = link->weight;
	}
	climb(set, lighter, weight_of(child), -1);
	*link = (struct pc_link){ .weight = 0 };
}

struct pc_link *pc__set_last(const struct pc__set *set)
{
	struct pc_link *link = set->root;

	while (link && link->right) {
		pc__step();
		link = link->right;
	}
	return link;
}

struct pc_link *pc__set_next(const struct pc_link *link)
{
	pc__step();
	if (link->right) {
		for (link = link->right; link->left; link = link->left)
			pc__step();
		return (struct pc_link *)link;
	}
	while (link->up && link->up->right == link) {
		pc__step();
		link = link->up;
	}
	return link->up;
}

struct pc_link *pc__set_at_least(const struct pc__set *set, uint64_t key, uint64_t tie)
{
	const struct pc_link wanted = { .key = key, .tie = tie };
	struct pc_link *found = NULL;

	for (struct pc_link *link = set->root; link;) {
		pc__step();
		if (is_before(link, &wanted)) {
			link = link->right;
		} else {
			found = link;
			link = link->left;
		}
	}
	return found;
}

struct pc_link *pc__set_before(const struct pc__set *set, uint64_t key, uint64_t tie)
{
	const struct pc_link wanted = { .key = key, .tie = tie };
	struct pc_link *found = NULL;

	for (struct pc_link *link = set->root; link;) {
		pc__step();
		if (is_before(link, &wanted)) {
			found = link;
			link = link->right;
		} else {
			link = link->left;
		}
	}
	return found;
}

uint32_t pc__set_rank(const struct pc_link *link)
{
	uint32_t before = weight_of(link->left);

	for (; link->up; link = link->up) {
		pc__step();
		if (link->up->right == link)
			before += 1 + weight_of(link->up->left);
	}
	return before;
}
