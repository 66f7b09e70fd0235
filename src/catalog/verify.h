/* SPDX-License-Identifier: MIT */
/* verify.h - verifies a model's file that is open already. Inside the catalog only. */
#ifndef CATALOG_VERIFY_H
#define CATALOG_VERIFY_H

#include <poolcore/verify.h>

#include "catalog/open_model.h"

/* As pc_model_verify, of a file that pc__model_open opened; it stays open, also after an error. */
int pc__verify_opened(const struct pc_model_entry *entry, const struct pc_verify_options *options,
		      const struct pc__opened *opened, struct pc_verified *ret_verified,
		      struct pc_error *err);

#endif
