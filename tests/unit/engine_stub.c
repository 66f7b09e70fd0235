/* SPDX-License-Identifier: MIT */
/*
 * engine_stub.c - a plug-in that loads nothing, for test_engine.c. Built once per STUB_... macro,
 * each a different way to be wrong; without one it is a good engine.
 */
#include <poolcore/engine.h>

static const struct pc_engine_host *the_host;

static int load(const struct pc_engine_spec *spec, struct pc_engine_instance **ret_instance,
		struct pc_error *err)
{
	(void)ret_instance;
	the_host->log(PC_LOG_INFO, "stub", spec->model_path);
	return pc_error_set(err, PC_E_UNSUPPORTED, "a stub loads nothing");
}

__attribute__((unused)) static void unload(struct pc_engine_instance *instance)
{
	(void)instance;
}

static void describe(const struct pc_engine_instance *instance,
		     struct pc_engine_description *description)
{
	(void)instance;
	description->context_tokens = 7;
}

__attribute__((unused)) static int generate(struct pc_engine_instance *instance, uint32_t slot,
					    const struct pc_text_request *request,
					    const struct pc_text_sink *sink,
					    struct pc_text_result *ret_result, struct pc_error *err)
{
	(void)instance, (void)slot, (void)request, (void)sink, (void)ret_result;
	return pc_error_set(err, PC_E_UNSUPPORTED, "a stub says nothing");
}

__attribute__((unused)) static const struct pc_engine engine = {
#ifdef STUB_WRONG_ABI
	.abi = PC_ENGINE_ABI + 1,
#else
	.abi = PC_ENGINE_ABI,
#endif
#if defined(STUB_SHORT_TABLE)
	.size = 8,
#elif defined(STUB_OLD_TABLE)
	.size = offsetof(struct pc_engine, embed_text), /* and yet it promises to embed */
#else
	.size = sizeof(engine),
#endif
	.name = "stub",
	.version = "1",
#ifdef STUB_OLD_TABLE
	.capabilities = 1u << PC_CAPABILITY_TEXT_EMBEDDING,
#else
	.capabilities = 1u << PC_CAPABILITY_TEXT_TO_TEXT,
#endif
	.load = load,
#ifndef STUB_NO_UNLOAD
	.unload = unload,
#endif
	.describe = describe,
#ifndef STUB_NO_GENERATE
	.generate = generate,
#endif
};

#ifndef STUB_NO_ENTRY
PC_API const struct pc_engine *pc_engine_entry(uint32_t host_abi,
					       const struct pc_engine_host *host);

const struct pc_engine *pc_engine_entry(uint32_t host_abi, const struct pc_engine_host *host)
{
	(void)host_abi;
	the_host = host;
#ifdef STUB_REFUSES
	return NULL;
#else
	return &engine;
#endif
}
#else
PC_API const struct pc_engine *not_the_entry(void);

const struct pc_engine *not_the_entry(void)
{
	return &engine;
}
#endif
