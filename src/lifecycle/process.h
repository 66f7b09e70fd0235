/* SPDX-License-Identifier: MIT */
/* process.h - parts of process.c that its test reaches for. Inside the library only. */
#ifndef LIFECYCLE_PROCESS_H
#define LIFECYCLE_PROCESS_H

#include <poolcore/lifecycle.h>

/* pc_process_signal as it works on kernels older than 6.9; 0 or a negative errno. */
int pc__process_signal_by_number(const struct pc_process *process, int signal);

#endif
