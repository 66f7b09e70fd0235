/* SPDX-License-Identifier: MIT */
/*
 * exit_text.c - says in words how a process ended, and why a program could not be started. Any
 * thread; C library only.
 */
#include "lifecycle/exit_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void pc__exit_describe(const siginfo_t *info, struct pc_worker_exit *how)
{
	if (info->si_code == CLD_EXITED) {
		how->code = info->si_status;
		how->signal = 0;
		snprintf(how->reason, sizeof(how->reason), "exited with status %d", how->code);
		return;
	}

	const char *name = sigabbrev_np(info->si_status);
	const char *core = info->si_code == CLD_DUMPED ? " (core dumped)" : "";

	how->code = -1;
	how->signal = info->si_status;
	if (name)
		snprintf(how->reason, sizeof(how->reason), "killed by SIG%s%s", name, core);
	else
		snprintf(how->reason, sizeof(how->reason), "killed by signal %d%s", how->signal,
			 core);
}

const char *pc__spawn_hint(const char *program, int failure)
{
	struct stat st;

	if (failure == EACCES && stat(program, &st) == 0 && S_ISDIR(st.st_mode))
		return " (it is a directory)";
	if (failure == ENOEXEC)
		return " (neither a binary for this machine nor a script that starts with #!)";
	if (failure == ENOENT && stat(program, &st) == 0)
		return " (it is there, but its interpreter or loader is not)";
	if (failure == E2BIG)
		return " (its arguments and environment are too long)";
	return "";
}
