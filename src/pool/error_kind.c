/* SPDX-License-Identifier: MIT */
/*
 * error_kind.c - the specification's names of the pool's errors. Any thread.
 */
#include <poolcore/pool.h>

const char *pc_pool_error_kind(int code)
{
	static const struct {
		int code;
		const char *kind;
	} kinds[] = {
#define X(name, error, kind) { PC_E_##error, kind },
		PC_POOL_ERROR_LIST(X)
#undef X
		/* Details of one of the eight. */
		{ PC_E_CONTEXT_EXCEEDED, "ModelError" },
		{ PC_E_MODEL_NOT_FOUND, "ModelError" },
		{ PC_E_MODEL_FILE_MISSING, "SpawnFailed" },
		{ PC_E_MODEL_FILE_INVALID, "SpawnFailed" },
		{ PC_E_MODEL_BACKOFF, "SpawnFailed" },
		{ PC_E_WORKER_FAILED, "RecvError" },
		/* Beyond them. */
		{ PC_E_QUEUE_FULL, "QueueFull" },
		{ PC_E_CANCELLED, "Cancelled" },
		{ PC_E_INVALID_ARGUMENT, "InvalidArgument" },
	};

	for (size_t i = 0; i < PC_ARRAY_LEN(kinds); i++) {
		if (kinds[i].code == code)
			return kinds[i].kind;
	}
	return pc_error_name(code);
}
