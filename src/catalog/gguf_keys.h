/* SPDX-License-Identifier: MIT */
/* gguf_keys.h - what the keys of a GGUF header say. Inside the catalog only. */
#ifndef CATALOG_GGUF_KEYS_H
#define CATALOG_GGUF_KEYS_H

#include "catalog/gguf_scan.h"

/* What one takes at least: its length, its type and one byte. */
#define PC__GGUF_KEY_LEAST_BYTES 13

/* What the keys say, and what follows from it where they do not; 0 or "": nothing. */
struct gguf_facts {
	char architecture[64];
	char name[128];
	char type[32];
	bool has_file_type;
	uint32_t file_type, alignment, split_count, split_number;
	uint32_t context_tokens, layers, embedding_length, feed_forward_length;
	uint32_t heads, kv_heads, key_length, value_length;
	uint32_t vocabulary, tokens, sliding_window, attention_interval, recurrent;
	uint64_t kv_heads_total; /* of all layers */
};

/* Reads so many keys from where the scan stands, and moves it behind them. `facts` is zeroed. */
int pc__gguf_keys_read(struct gguf_scan *scan, uint64_t count, struct gguf_facts *facts);

#endif
