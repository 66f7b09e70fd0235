/* SPDX-License-Identifier: MIT */
/*
 * chance.c - numbers that look like chance and are decided by a seed. splitmix64 (Steele, Lea,
 * Flood: "Fast splittable pseudorandom number generators", 2014). Pure; any thread.
 */
#include "paint.h"

static uint64_t stir(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t chance_bits(struct chance *chance)
{
	chance->state += UINT64_C(0x9e3779b97f4a7c15);
	return stir(chance->state);
}

float chance_between(struct chance *chance, float low, float high)
{
	/* 24 bits are all that a float between 0 and 1 holds. */
	return low + (high - low) * (float)(chance_bits(chance) >> 40) / (float)(1 << 24);
}

uint64_t chance_mix(uint64_t a, uint64_t b)
{
	return stir(stir(a + UINT64_C(0x9e3779b97f4a7c15)) ^ b);
}
