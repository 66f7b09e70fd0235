/* SPDX-License-Identifier: MIT */
/*
 * fuzz_gguf.c - throws bytes at the GGUF reader, and estimates what it accepts.
 */
#include <poolcore/gguf.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static void estimate(const struct pc_gguf_info *info)
{
	const struct pc_gguf_use use = { .slots = 64, .cache_type = "q4_0" };
	struct pc_gguf_memory memory = { .total_bytes = 0 };
	int rc = pc_gguf_estimate(info, &use, &memory, NULL);

	check(rc == 0 || rc == PC_E_INVALID_ARGUMENT);
	check(memory.weights_bytes <= memory.total_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct pc_gguf_info info = { .version = 0 };
	struct pc_error err = PC_ERROR_INIT;
	int rc;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	check(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	rc = pc_gguf_read(fd, &info, &err);
	check(err.code == rc);
	if (rc) {
		check(rc == PC_E_MODEL_FILE_INVALID || rc == PC_E_UNSUPPORTED);
		check(info.version == 0 && pc_error_detail_get(&err, "byte"));
		return 0;
	}
	check(info.version == 2 || info.version == 3);
	check(info.tensor_bytes <= size && info.data_offset <= size + 4294967296);
	check(memchr(info.architecture, '\0', sizeof(info.architecture)));
	/* Only the first part of a split model says what it is. */
	check(info.architecture[0] || info.split_number > 0);
	check(memchr(info.name, '\0', sizeof(info.name)));
	check(memchr(info.type, '\0', sizeof(info.type)));
	estimate(&info);
	return 0;
}
