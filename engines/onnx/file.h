/* SPDX-License-Identifier: MIT */
/*
 * file.h - the files of a model's folder: their paths, whether they are there, what is in the short
 * ones.
 */
#ifndef ONNX_FILE_H
#define ONNX_FILE_H

#include <poolcore/engine.h>

/* "folder/name"; the caller's to pc_free. OUT_OF_MEMORY. */
int file_path(const char *folder, const char *name, char **ret_path, struct pc_error *err);

/*
 * Wants a regular file that can be read; `what` names it in the sentence. MODEL_FILE_MISSING.
 */
int file_check(const char *path, const char *what, uint64_t *ret_bytes, struct pc_error *err);

/*
 * The whole of a file of up to `max` bytes, with a NUL behind them; the caller's to pc_free.
 * MODEL_FILE_MISSING, MODEL_ERROR (too long), OUT_OF_MEMORY.
 */
int file_read(const char *path, const char *what, size_t max, char **ret_data, size_t *ret_length,
	      struct pc_error *err);

#endif
