/* SPDX-License-Identifier: MIT */
/*
 * life_fixture.h - what a daemon finds that starts after another has died. The test is both
 * daemons: it closes what the first one held, and recovers as the second. Include cmocka first.
 */
#ifndef TESTS_UNIT_LIFE_FIXTURE_H
#define TESTS_UNIT_LIFE_FIXTURE_H

#include "stub_fixture.h"

static inline const char *path_of(const struct watched *w, const char *ending)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", w->id, ending);
	return in_folder(name);
}

/* What the next daemon finds. */
static inline enum pc_life recover(struct watched *w)
{
	enum pc_life life = (enum pc_life)77;
	struct pc_error err = PC_ERROR_INIT;

	if (pc_stub_recover(folder, w->id, token, &life, &w->stub, &w->end, &err))
		fail_msg("%s", err.message);
	return life;
}

/* The daemon dies: it reads no more. Its child stays its child, which changes nothing here. */
static inline void daemon_dies(struct watched *w)
{
	pc_stub_close(&w->stub);
}

/* Reaps a stub that no `struct pc_stub` stands for, as init would. */
static inline void reap(pid_t stub)
{
	assert_int_equal(waitpid(stub, NULL, 0), stub);
}

static inline void write_bytes(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	close(fd);
}

#endif
