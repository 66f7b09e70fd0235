/* SPDX-License-Identifier: MIT */
/* version.c - which library this is. */
#include <poolcore/version.h>

const char *pc_version(void)
{
	return PC_VERSION;
}
