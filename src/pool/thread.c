/* SPDX-License-Identifier: MIT */
/*
 * thread.c - starts the pool's threads. Signals are the program's affair: they are handled on
 * threads that it knows, and no system call of an engine is interrupted by one. Threads that an
 * engine starts inherit that. Any thread.
 */
#include "pool/inner.h"

#include <signal.h>

int thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	int failed = pthread_create(ret_thread, NULL, run, arg);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}
