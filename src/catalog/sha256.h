/* SPDX-License-Identifier: MIT */
/* sha256.h - SHA-256 (FIPS 180-4) of what comes in pieces. Inside the catalog only. */
#ifndef CATALOG_SHA256_H
#define CATALOG_SHA256_H

#include <poolcore/error.h>

#define PC__SHA256_TEXT 65 /* lower-case hexadecimal, with its NUL */

struct pc__sha256;

int pc__sha256_create(struct pc__sha256 **ret_sum, struct pc_error *err);
int pc__sha256_add(struct pc__sha256 *sum, const void *data, size_t length, struct pc_error *err);
/* The sum of all that was added; then it is only destroyed. */
int pc__sha256_finish(struct pc__sha256 *sum, char out[PC__SHA256_TEXT], struct pc_error *err);
void pc__sha256_destroy(struct pc__sha256 *sum); /* NULL is allowed */

/* Of one piece. */
int pc__sha256_of(const void *data, size_t length, char out[PC__SHA256_TEXT], struct pc_error *err);

#endif
