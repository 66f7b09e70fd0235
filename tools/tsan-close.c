/* SPDX-License-Identifier: MIT */
/*
 * tsan-close.c - lets ThreadSanitizer see what libuv closes. Only builds with -Db_sanitize=thread
 * have it, in every program that links libuv; it stands in tools/ beside what else exists for a
 * checker's sake, belongs to no program and includes no header of this tree. Any thread runs it.
 *
 * libuv closes descriptors with syscall(SYS_close, fd), so as not to be a cancellation point. The
 * sanitizer watches close() and not syscall(): it goes on to believe that the number belongs to
 * what one loop opened, and reports a race when another thread got the number by a call that it
 * does not watch either (pidfd_open) and polls or closes it. Defined here, syscall() is found by
 * the dynamic linker before the C library's: closing becomes close(), all else is passed on.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef long syscall_function(long number, ...);

/*
 * Looked up by the first to need it; all who come at once find the same. A constructor would be
 * too late for the libraries, whose constructors run before those of the program.
 */
static syscall_function *next(void)
{
	/* [relaxed on both sides: the address of a function publishes nothing] */
	static syscall_function *_Atomic found;
	syscall_function *function = atomic_load_explicit(&found, memory_order_relaxed);

	if (!function) {
		function = (syscall_function *)dlsym(RTLD_NEXT, "syscall");
		if (!function)
			abort();
		atomic_store_explicit(&found, function, memory_order_relaxed);
	}
	return function;
}

/* Takes six arguments whatever the number needs, as the C library's own does. */
__attribute__((visibility("default"))) long syscall(long number, ...)
{
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_close)
		return close((int)arguments[0]);
	return next()(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
		      arguments[5]);
}
