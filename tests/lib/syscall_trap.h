/* SPDX-License-Identifier: MIT */
/*
 * syscall_trap.h - whether a piece of code makes system calls: a forked child prepares, locks the
 * calling thread into a seccomp filter that lets nothing through but the exit, and runs it. The
 * first system call ends the child and is reported by its number. Threads that were started by the
 * preparation are not locked in.
 *
 * Reading the clock through the vDSO is no system call, where the machine's clock allows that.
 */
#ifndef TESTS_LIB_SYSCALL_TRAP_H
#define TESTS_LIB_SYSCALL_TRAP_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SYSCALL_TRAP_NONE = -1,	   /* it ran to its end without a system call */
	SYSCALL_TRAP_FAILED = -2,  /* the child died in another way, or said so itself */
	SYSCALL_TRAP_NO_LOCK = -3, /* this machine has no seccomp */
};

/* How the child exits; anything else is a failure. */
enum { SYSCALL_TRAP_EXIT_CLEAN = 0, SYSCALL_TRAP_EXIT_CAUGHT = 40, SYSCALL_TRAP_EXIT_NO_LOCK = 41 };

static volatile int *syscall_trap_caught; /* shared with the child */

/* Memory, zeroed, that the child's writes into are seen in; NULL when there is none. munmap is left
 * to the end. */
static inline void *syscall_trap_share(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared == MAP_FAILED ? NULL : shared;
}

/* Not _exit: before a function that does not return, AddressSanitizer makes a system call of its
 * own. */
static inline void syscall_trap_exit(int status)
{
	syscall(SYS_exit_group, status);
}

static inline void syscall_trap_on_sigsys(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	*syscall_trap_caught = info->si_syscall;
	syscall_trap_exit(SYSCALL_TRAP_EXIT_CAUGHT);
}

/* From now on the calling thread can only exit. False: the kernel would not have it. */
static inline bool syscall_trap_lock(void)
{
	static struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	};
	const struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };
	struct sigaction action = { .sa_sigaction = syscall_trap_on_sigsys,
				    .sa_flags = SA_SIGINFO };

	return sigaction(SIGSYS, &action, NULL) == 0 &&
	       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/*
 * Runs `prepare` and then, locked in, `body`, in a child. Returns the number of the first system
 * call that `body` made, or one of the above. What they find out they leave in shared memory;
 * `prepare` ends the child with _exit(1) when it cannot.
 */
static inline int syscall_trap_run(void (*prepare)(void *ctx), void (*body)(void *ctx), void *ctx)
{
	syscall_trap_caught = syscall_trap_share(sizeof(*syscall_trap_caught));
	if (!syscall_trap_caught)
		return SYSCALL_TRAP_FAILED;

	pid_t child = fork();

	if (child == 0) {
		prepare(ctx);
		if (!syscall_trap_lock())
			_exit(SYSCALL_TRAP_EXIT_NO_LOCK);
		body(ctx);
		syscall_trap_exit(SYSCALL_TRAP_EXIT_CLEAN);
	}

	int status, result = SYSCALL_TRAP_FAILED;

	while (child > 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			child = -1;
	if (child > 0 && WIFEXITED(status)) {
		if (WEXITSTATUS(status) == SYSCALL_TRAP_EXIT_CLEAN)
			result = SYSCALL_TRAP_NONE;
		else if (WEXITSTATUS(status) == SYSCALL_TRAP_EXIT_CAUGHT)
			result = *syscall_trap_caught;
		else if (WEXITSTATUS(status) == SYSCALL_TRAP_EXIT_NO_LOCK)
			result = SYSCALL_TRAP_NO_LOCK;
	}
	munmap((void *)syscall_trap_caught, sizeof(*syscall_trap_caught));
	return result;
}

#endif
