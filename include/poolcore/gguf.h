/* SPDX-License-Identifier: MIT */
/*
 * gguf.h - what the header of a GGUF file says about a model, and the memory that a worker of it
 * would take. The file's data are not read; nothing is loaded.
 *
 * The format is ggml's (docs/gguf.md of that project), versions 2 and 3, little endian.
 */
#ifndef POOLCORE_GGUF_H
#define POOLCORE_GGUF_H

#include <poolcore/error.h>

PC_BEGIN_DECLS

/* Texts are UTF-8, cut where they are longer; numbers that the file does not say are 0. */
struct pc_gguf_info {
	uint32_t version;
	char architecture[64]; /* "llama" */
	char name[128];	       /* or "" */
	const char *file_type; /* "Q4_K_M", static; "" when the file does not say or it is new */
	const char *most_type; /* of the tensors that hold most parameters: "q4_K", static */
	uint32_t most_percent; /* of all parameters */
	uint32_t split_count;  /* more than 1: the model is in that many files in all */
	uint64_t parameters;   /* of this file, as all below */
	uint64_t tensor_count;
	uint64_t tensor_bytes;
	uint64_t metadata_count;
	uint64_t data_offset; /* where the tensors begin */
	uint32_t context_tokens;
	uint32_t layers;
	uint32_t embedding_length;
	uint32_t feed_forward_length; /* where it differs by layer, the largest; so for heads */
	uint32_t heads;
	uint32_t kv_heads;
	uint64_t kv_heads_total; /* over all layers */
	uint32_t key_length;	 /* of one head */
	uint32_t value_length;
	uint32_t vocabulary;
	uint32_t sliding_window; /* tokens that some layers look back at most */
	bool recurrent;		 /* it also keeps a state that does not grow with the context */
	char type[32];		 /* "model", "adapter", "mmproj" ...; "" when it is not said */
	uint32_t split_number;	 /* which of those files it is; 0: the first, or the only one. The
				    others say nothing of the model but its tensors */
};

/*
 * Reads the header through an open regular file; the descriptor's offset is neither used nor
 * moved. Allocates nothing. Every count, length and offset is checked against the file's size
 * before anything is done with it. Errors: MODEL_FILE_INVALID with what is wrong, the byte (also
 * as the detail "byte") and what would be right; UNSUPPORTED (another version, byte order or
 * tensor type); IO; INVALID_ARGUMENT. Any thread; blocks on a slow disk.
 */
PC_API int pc_gguf_read(int fd, struct pc_gguf_info *ret_info, struct pc_error *err);

/*
 * The same of a model that may be split: the figures of all its parts together. `fd` is the file at
 * `path`, the first part; the others are found as llama.cpp finds them, beside it and named like
 * it, "NAME-00001-of-00003.gguf". What goes wrong with one of those has its path in front. Errors:
 * as above; MODEL_FILE_MISSING when a part is not there or not readable; MODEL_FILE_INVALID too for
 * another part than the first (and which one that is), another name, or a part of another model.
 */
PC_API int pc_gguf_read_model(int fd, const char *path, struct pc_gguf_info *ret_info,
			      struct pc_error *err);

/* How a worker would use the model. Zero is one slot of the model's own context. */
struct pc_gguf_use {
	uint32_t context_tokens; /* of each slot; 0: the model's own */
	uint32_t slots;		 /* 0: 1 */
	const char *cache_type;	 /* of keys and values: "f16", "q8_0" ...; NULL: "f16" */
	bool flash_attention;	 /* no attention scores are kept */
};

struct pc_gguf_memory {
	uint64_t weights_bytes;
	uint64_t cache_bytes;
	uint64_t compute_bytes;
	uint64_t total_bytes;
	char sentence[512]; /* each addend, and how it was got */
};

/*
 * Estimates the memory of one worker: all tensors, keys and values of every token, head and layer
 * (its length rounded up to 256, as llama.cpp does), and a guess of the buffers that llama.cpp
 * computes in. Windows that slide are counted whole, so that it errs on the large side; a recurrent
 * state is not counted. Errors: INVALID_ARGUMENT (an unknown cache type, sizes past 64 bits). Any
 * thread.
 */
PC_API int pc_gguf_estimate(const struct pc_gguf_info *info, const struct pc_gguf_use *use,
			    struct pc_gguf_memory *ret_memory, struct pc_error *err);

PC_END_DECLS

#endif
