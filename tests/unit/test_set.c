/* SPDX-License-Identifier: MIT */
/* Unit tests of src/sched/set.c: order, rank and balance against a plain sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/set.h"

enum { LINKS = 500, ROUNDS = 20000 };

static uint64_t state_of_chance = 7;

static uint64_t chance(void)
{
	state_of_chance = state_of_chance * UINT64_C(6364136223846793005) + 1442695040888963407;
	return state_of_chance >> 33;
}

/* The depth of a subtree; checks its pointers, order, weights and balance on the way. */
static unsigned check_subtree(const struct pc_link *link, const struct pc_link *up)
{
	if (!link)
		return 0;
	assert_ptr_equal(link->up, up);

	unsigned left = check_subtree(link->left, link), right = check_subtree(link->right, link);
	uint32_t wl = link->left ? link->left->weight : 0;
	uint32_t wr = link->right ? link->right->weight : 0;

	assert_int_equal(link->weight, wl + wr + 1);
	assert_true(3 * (wl + 1) >= wr + 1 && 3 * (wr + 1) >= wl + 1);
	return 1 + (left > right ? left : right);
}

static int by_key(const void *a, const void *b)
{
	const struct pc_link *const *x = a, *const *y = b;

	if ((*x)->key != (*y)->key)
		return (*x)->key < (*y)->key ? -1 : 1;
	return ((*x)->tie > (*y)->tie) - ((*x)->tie < (*y)->tie);
}

static void check_against_array(const struct pc__set *set, struct pc_link *links)
{
	struct pc_link *sorted[LINKS], *link = set->first;
	uint32_t count = 0;

	for (int i = 0; i < LINKS; i++) {
		if (pc__linked(&links[i]))
			sorted[count++] = &links[i];
	}
	qsort(sorted, count, sizeof(sorted[0]), by_key);
	assert_int_equal(pc__set_count(set), count);
	for (uint32_t i = 0; i < count; i++) {
		assert_ptr_equal(link, sorted[i]);
		assert_int_equal(pc__set_rank(link), i);
		assert_ptr_equal(pc__set_at_least(set, link->key, link->tie), link);
		assert_ptr_equal(pc__set_before(set, link->key, link->tie),
				 i ? sorted[i - 1] : NULL);
		link = pc__set_next(link);
	}
	assert_null(link);
	assert_ptr_equal(pc__set_last(set), count ? sorted[count - 1] : NULL);
	assert_true(check_subtree(set->root, NULL) <= 22); /* 500 links, at most log(4/3) deep */
}

static void random_changes_keep_order_and_balance(void **state)
{
	static struct pc_link links[LINKS];
	struct pc__set set = { .root = NULL };

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct pc_link *link = &links[chance() % LINKS];
		bool member = chance() % 3 != 0;

		pc__set_place(&set, link, member, chance() % 40, (uint64_t)(link - links));
		assert_int_equal(pc__linked(link), member);
		if (round % 97 == 0)
			check_against_array(&set, links);
	}
	for (int i = 0; i < LINKS; i++)
		pc__set_remove(&set, &links[i]);
	assert_null(set.root);
	assert_null(set.first);
}

/* ---- sums ---- */

struct weighed {
	struct pc_link link;
	uint64_t bytes, below;
};

static uint64_t below(struct pc_link *link)
{
	return link ? pc__container_of(link, struct weighed, link)->below : 0;
}

static void sum_up(struct pc_link *link)
{
	struct weighed *weighed = pc__container_of(link, struct weighed, link);

	weighed->below = below(link->left) + weighed->bytes + below(link->right);
}

static uint64_t check_sums(struct pc_link *link)
{
	if (!link)
		return 0;

	uint64_t sum = pc__container_of(link, struct weighed, link)->bytes +
		       check_sums(link->left) + check_sums(link->right);

	assert_int_equal(below(link), sum);
	return sum;
}

static void change_and_sum_up(bool lazy)
{
	static struct weighed all[LINKS];
	struct pc__set set = { .sum = sum_up, .lazy = lazy };

	memset(all, 0, sizeof(all));
	for (int round = 0; round < ROUNDS; round++) {
		struct weighed *weighed = &all[chance() % LINKS];

		if (chance() % 2) {
			pc__set_place(&set, &weighed->link, chance() % 3 != 0, chance() % 40,
				      (uint64_t)(weighed - all));
		} else {
			weighed->bytes = chance() % 1000;
			pc__set_sum(&set, &weighed->link);
		}
		if (round % 97 == 0) {
			if (lazy)
				pc__set_freshen(&set);
			check_sums(set.root);
		}
	}
}

static void sums_follow_every_change(void **state)
{
	(void)state;
	change_and_sum_up(false);
}

static void lazy_sums_are_right_when_they_are_read(void **state)
{
	(void)state;
	change_and_sum_up(true);
}

static void rising_and_falling_keys_stay_balanced(void **state)
{
	static struct pc_link links[LINKS];
	struct pc__set set = { .root = NULL };

	(void)state;
	memset(links, 0, sizeof(links));
	for (int i = 0; i < LINKS; i++)
		pc__set_insert(&set, &links[i], (uint64_t)i, 0);
	check_against_array(&set, links);
	for (int i = 0; i < LINKS / 2; i++) /* a queue: first in, first out */
		pc__set_remove(&set, set.first);
	check_against_array(&set, links);
	for (int i = 0; i < LINKS / 2; i++)
		pc__set_insert(&set, &links[i], (uint64_t)(LINKS * 2 - i), 0);
	check_against_array(&set, links);
	assert_null(pc__set_at_least(&set, LINKS * 3, 0));
}

static void an_empty_set_answers(void **state)
{
	struct pc_link alone = { .weight = 0 };
	struct pc__set set = { .root = NULL };

	(void)state;
	assert_int_equal(pc__set_count(&set), 0);
	assert_null(pc__set_last(&set));
	assert_null(pc__set_at_least(&set, 0, 0));
	assert_null(pc__set_before(&set, UINT64_MAX, UINT64_MAX));
	pc__set_remove(&set, &alone);
	pc__set_insert(&set, &alone, 1, 2);
	assert_null(pc__set_next(&alone));
	assert_int_equal(pc__set_rank(&alone), 0);
	pc__set_remove(&set, &alone);
	assert_false(pc__linked(&alone));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_keep_order_and_balance),
		cmocka_unit_test(sums_follow_every_change),
		cmocka_unit_test(lazy_sums_are_right_when_they_are_read),
		cmocka_unit_test(rising_and_falling_keys_stay_balanced),
		cmocka_unit_test(an_empty_set_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
