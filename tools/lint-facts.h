/* SPDX-License-Identifier: MIT */
/*
 * lint-facts.h - what clang's analyzer has to know about functions whose bodies it does not see.
 * tools/lint includes it in front of every file; nothing else does.
 */
#include <poolcore/error.h>

/*
 * pc_error_set and its kin return the code that they are given, which is never 0. Without that the
 * analyzer follows "return pc_error_set(...)" as if it had succeeded, into outputs never written.
 */
#define pc_error_set(err, code, ...) ((void)pc_error_set(err, code, __VA_ARGS__), (code))
#define pc_error_sys(err, code, sys_errno, ...) \
	((void)pc_error_sys(err, code, sys_errno, __VA_ARGS__), (code))
#define pc_error_oom(err) ((void)pc_error_oom(err), PC_E_OUT_OF_MEMORY)
