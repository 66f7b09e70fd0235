/* SPDX-License-Identifier: MIT */
/*
 * entry.c - the plug-in's one exported function: starts llama.cpp and hands out the table. Runs
 * once per process, on the thread of the first pc_engine_open.
 */
#include "llama_engine.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <ggml-backend.h>

static struct pc_engine engine = {
	.abi = PC_ENGINE_ABI,
	.size = sizeof(engine),
	.name = "llama",
	.version = "unknown",
	.capabilities = 1u << PC_CAPABILITY_TEXT_TO_TEXT | 1u << PC_CAPABILITY_TEXT_EMBEDDING,
	.load = load,
	.unload = unload,
	.describe = describe,
	.generate = generate,
	.embed_text = embed_text,
	.cancel = cancel,
	.text_request_size = sizeof(struct pc_text_request),
};

/*
 * llama.cpp's compute backends are libraries of their own, one per kind of processor, of which it
 * picks the best. Left alone it looks beside the program; they are beside libggml. A llama.cpp
 * that was built with its backends inside has some already and finds no others there.
 */
static void load_backends(void)
{
	char folder[PATH_MAX];
	Dl_info info;

	if (!dladdr((void *)ggml_backend_load_all_from_path, &info) || !info.dli_fname)
		return;
	const char *slash = strrchr(info.dli_fname, '/');

	if (!slash || (size_t)(slash - info.dli_fname) >= sizeof(folder))
		return;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - info.dli_fname), info.dli_fname);
	ggml_backend_load_all_from_path(folder);
	if (ggml_backend_dev_count() == 0)
		ggml_backend_load_all();
}

PC_API const struct pc_engine *pc_engine_entry(uint32_t host_abi,
					       const struct pc_engine_host *host);

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host)
{
	if (host_abi != PC_ENGINE_ABI || !host_is_complete(host))
		return NULL;
	route_log(host);
	load_backends();
	llama_backend_init();
#ifdef HAVE_LLAMA_VERSION
	engine.version = llama_version();
#endif
	return &engine;
}
