/* SPDX-License-Identifier: MIT */
/* check.h - whether the catalog would load with one file changed. Inside the catalog only. */
#ifndef CATALOG_CHECK_H
#define CATALOG_CHECK_H

#include <poolcore/catalog.h>

#include "base/toml.h"

/*
 * Loads all files of the catalog, `path` from `doc` instead of from the disk (behind the others
 * when the configuration does not name it), and forgets them. Errors: those of pc_catalog_load.
 */
int pc__catalog_check(const struct pc_config *config, const char *path,
		      const struct pc__toml_doc *doc, struct pc_error *err);

#endif
