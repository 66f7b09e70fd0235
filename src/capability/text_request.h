/* SPDX-License-Identifier: MIT */
/* text_request.h - reads a request for text: checks it, and copies it where it has to last. Inside
 * the library only. */
#ifndef CAPABILITY_TEXT_REQUEST_H
#define CAPABILITY_TEXT_REQUEST_H

#include "capability/call.h"

/*
 * Reads `request` into `ret_request`, with its size of this version and defaults filled in. `copy`:
 * all that it points to is copied into one block, *ret_block, for pc_free; otherwise it stays the
 * caller's and *ret_block is not written. Errors: INVALID_ARGUMENT, OUT_OF_MEMORY, with the model.
 */
int pc__text_request_read(const struct pc_model *model, const struct pc_text_request *request,
			  bool copy, struct pc_text_request *ret_request, void **ret_block,
			  struct pc_error *err);

#endif
