/* SPDX-License-Identifier: MIT */
/* gguf_tensors.h - the sums of a GGUF header's tensors. Inside the catalog only. */
#ifndef CATALOG_GGUF_TENSORS_H
#define CATALOG_GGUF_TENSORS_H

#include "catalog/gguf_scan.h"
#include "catalog/gguf_types.h"

/* What one takes at least: its name, number of dimensions, type and offset. */
#define PC__GGUF_TENSOR_LEAST_BYTES 24

struct gguf_tensors {
	uint64_t parameters, bytes;
	uint64_t parameters_of[PC__GGUF_TYPES];
	uint64_t data_offset; /* in the file */
};

/*
 * Reads so many tensors' descriptions from where the scan stands, and checks that the file has all
 * of their bytes behind them. `sums` is zeroed.
 */
int pc__gguf_tensors_read(struct gguf_scan *scan, uint64_t count, uint32_t alignment,
			  struct gguf_tensors *sums);

#endif
