/* SPDX-License-Identifier: MIT */
/* version.h - the version of the headers; the library reports its own with pc_version(). */
#ifndef POOLCORE_VERSION_H
#define POOLCORE_VERSION_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

#define PC_VERSION "0.1.0"

/* The version of the library that is linked, "0.1.0". A static string. */
PC_API const char *pc_version(void);

PC_END_DECLS

#endif
