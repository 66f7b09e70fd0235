/* SPDX-License-Identifier: MIT */
/*
 * gguf_parts.c - a model that is split into several GGUF files, as one: llama.cpp's gguf-split
 * writes them. The first says what the model is and may hold no tensor at all; the others say which
 * part they are and hold tensors. A header is gguf.c's. It allocates nothing. Runs on the caller's
 * thread.
 */
#include "catalog/gguf_part.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The only names that llama.cpp gives parts, and looks for (llama_split_path): numbers from 1. */
#define TAIL "-%05u-of-%05u.gguf"
#define TAIL_MAX 40

static void print_tail(uint32_t number, uint32_t count, char out[TAIL_MAX])
{
	snprintf(out, TAIL_MAX, TAIL, number + 1, count);
}

/* How much of the path stands before the tail, which is that of the first part; or -1. */
static int stem_of(const char *path, uint32_t count)
{
	size_t length = strlen(path), wanted;
	char tail[TAIL_MAX];

	print_tail(0, count, tail);
	wanted = strlen(tail);
	if (length < wanted || length >= PATH_MAX || strcmp(path + length - wanted, tail) != 0)
		return -1;
	return (int)(length - wanted);
}

static int check_first(const char *path, const struct pc_gguf_info *first, struct pc_error *err)
{
	char tail[TAIL_MAX];

	print_tail(0, first->split_count, tail);
	if (first->split_number > 0)
		return pc_error_set(
			err, PC_E_MODEL_FILE_INVALID,
			"it is part %u of %u of a model; name the first part, whose name "
			"ends in %s",
			first->split_number + 1, first->split_count, tail);
	if (stem_of(path, first->split_count) >= 0)
		return 0;
	return pc_error_set(
		err, PC_E_MODEL_FILE_INVALID,
		"it is the first of %u parts of a model, which llama.cpp finds by their "
		"names; its own has to end in %s",
		first->split_count, tail);
}

/* Reads one of the other parts, and checks that it is the one that its name says. */
static int read_part(const char *path, uint32_t number, uint32_t count, struct pc_gguf_info *part,
		     uint64_t parameters_of[PC__GGUF_TYPES], struct pc_error *err)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), rc;

	if (fd < 0)
		return pc_error_sys(err, PC_E_MODEL_FILE_MISSING, errno,
				    "part %u of %u of the model cannot be opened", number + 1,
				    count);
	rc = pc__gguf_read_part(fd, part, parameters_of, err);
	close(fd);
	if (rc)
		return rc;
	if (part->split_number == number && part->split_count == count)
		return 0;
	return pc_error_set(
		err, PC_E_MODEL_FILE_INVALID,
		"it says that it is part %u of %u, and by its name it is part %u of %u; "
		"it belongs to another model, or was renamed",
		part->split_number + 1, part->split_count, number + 1, count);
}

/* The sums stay far below 64 bits: each part's are bounded by its size. */
static void add_part(struct pc_gguf_info *info, uint64_t all_of[PC__GGUF_TYPES],
		     const struct pc_gguf_info *part, const uint64_t parameters_of[PC__GGUF_TYPES])
{
	info->parameters += part->parameters;
	info->tensor_count += part->tensor_count;
	info->tensor_bytes += part->tensor_bytes;
	for (uint32_t i = 0; i < PC__GGUF_TYPES; i++)
		all_of[i] += parameters_of[i];
}

static int add_others(const char *path, struct pc_gguf_info *info, uint64_t all_of[PC__GGUF_TYPES],
		      struct pc_error *err)
{
	int stem = stem_of(path, info->split_count), rc = 0;
	uint64_t parameters_of[PC__GGUF_TYPES];
	char other[PATH_MAX + TAIL_MAX], tail[TAIL_MAX];
	struct pc_gguf_info part;

	for (uint32_t number = 1; rc == 0 && number < info->split_count; number++) {
		print_tail(number, info->split_count, tail);
		snprintf(other, sizeof(other), "%.*s%s", stem, path, tail);
		rc = read_part(other, number, info->split_count, &part, parameters_of, err);
		if (rc == 0)
			add_part(info, all_of, &part, parameters_of);
		else
			pc_error_prefix(err, "%s", other);
	}
	return rc;
}

int pc_gguf_read_model(int fd, const char *path, struct pc_gguf_info *ret_info,
		       struct pc_error *err)
{
	uint64_t all_of[PC__GGUF_TYPES];
	struct pc_gguf_info info;
	int rc;

	if (!path || !ret_info)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "the file's path and a place for what it says are needed");
	rc = pc__gguf_read_part(fd, &info, all_of, err);
	if (rc == 0 && (info.split_count > 1 || info.split_number > 0)) {
		rc = check_first(path, &info, err);
		if (rc == 0)
			rc = add_others(path, &info, all_of, err);
		if (rc == 0)
			pc__gguf_weigh(&info, all_of);
	}
	if (rc == 0)
		*ret_info = info;
	return rc;
}
