/* SPDX-License-Identifier: MIT */
/* remains.h - finds processes by the spawn token in their environment. Inside the library only. */
#ifndef LIFECYCLE_REMAINS_H
#define LIFECYCLE_REMAINS_H

#include <sys/types.h>

/* A process that carries the token, or 0. It is not signalled. */
pid_t pc__remains_find(const char *token);
/* Kills the processes of a session that carry the token; how many times it did. */
unsigned pc__remains_kill(pid_t session, const char *token);

#endif
