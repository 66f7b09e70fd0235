/* SPDX-License-Identifier: MIT */
/*
 * clock_stepper.c - preloaded into a program, it sets the program's wall clock and nothing else:
 * CLOCK_REALTIME is ahead of the kernel's by as many nanoseconds as the first eight bytes of the
 * file CLOCK_STEP_FILE say at that moment. CLOCK_MONOTONIC and its kin are the kernel's, as after
 * an operator's clock_settime(2). Needs no privilege.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SEC 1000000000

#define EXPORT __attribute__((visibility("default")))

static _Atomic int64_t *ahead_ns;

__attribute__((constructor)) static void map_file(void)
{
	const char *path = getenv("CLOCK_STEP_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *map = fd >= 0 ? mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0)
			    : MAP_FAILED;

	if (map == MAP_FAILED)
		_exit(99); /* a test without its clock proves nothing */
	ahead_ns = map;
	close(fd);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	long rc = syscall(SYS_clock_gettime, clock, ret_time);

	if (rc == 0 && ahead_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		int64_t ahead = atomic_load_explicit(ahead_ns, memory_order_relaxed);

		ret_time->tv_sec += ahead / NS_PER_SEC;
		ret_time->tv_nsec += ahead % NS_PER_SEC;
		if (ret_time->tv_nsec < 0) {
			ret_time->tv_nsec += NS_PER_SEC;
			ret_time->tv_sec--;
		} else if (ret_time->tv_nsec >= NS_PER_SEC) {
			ret_time->tv_nsec -= NS_PER_SEC;
			ret_time->tv_sec++;
		}
	}
	return (int)rc;
}

EXPORT int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return -1;
	ret_time->tv_sec = now.tv_sec;
	ret_time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

EXPORT time_t time(time_t *ret_time)
{
	struct timespec now = { 0, 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret_time)
		*ret_time = now.tv_sec;
	return now.tv_sec;
}

EXPORT int timespec_get(struct timespec *ret_time, int base)
{
	return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, ret_time) == 0 ? base : 0;
}
