/* SPDX-License-Identifier: MIT */
/*
 * onnxruntime.c - what a plug-in may meet in place of an ONNX Runtime that will do. As OLD: one
 * whose interface ends before the version that is asked for. As OTHER: a library that is none.
 */
#include <poolcore/base.h>

#ifdef OLD

struct api_base {
	const void *(*get_api)(uint32_t version);
	const char *(*version)(void);
};

static const void *get_api(uint32_t version)
{
	static const void *const table[8];

	return version <= 5 ? table : NULL;
}

static const char *get_version(void)
{
	return "1.5.2";
}

PC_API const struct api_base *OrtGetApiBase(void);

const struct api_base *OrtGetApiBase(void)
{
	static const struct api_base base = { get_api, get_version };

	return &base;
}

#else

PC_API int some_other_function(void);

int some_other_function(void)
{
	return 0;
}

#endif
