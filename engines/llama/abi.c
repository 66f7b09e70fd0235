/* SPDX-License-Identifier: MIT */
/*
 * abi.c - the structures of engine.h between a host of one version and a plug-in of another. A
 * host may know fewer members than we do, or more; no other file looks at a host's structure
 * before it went through here. Pure; any thread.
 */
#include "llama_engine.h"

#include <string.h>

/* The size that a structure had in ABI 1's first version, whose last member this is. */
#define FIRST_SIZE(type, last) (offsetof(struct type, last) + sizeof(((struct type *)0)->last))

/* See engine.h: a member that is appended must not lie in what is padding today. */
#define NO_PADDING(type, last) \
	_Static_assert(sizeof(struct type) == FIRST_SIZE(type, last), #type " ends in padding")

NO_PADDING(pc_engine_spec, progress_ctx);
NO_PADDING(pc_engine_description, text);
NO_PADDING(pc_text_request, grammar);
NO_PADDING(pc_text_result, cached_tokens);
NO_PADDING(pc_text_sink, ctx);
NO_PADDING(pc_engine_host, log);

static int check_size(uint32_t size, size_t first_size, const char *what, struct pc_error *err)
{
	if (size >= first_size)
		return 0;
	return pc_error_set(err, PC_E_INVALID_ARGUMENT,
			    "%s has a size of %u bytes; it has had %zu from the first", what, size,
			    first_size);
}

/* `to` holds the defaults and its own size, which comes first in every structure and stays. */
static int take(void *to, uint32_t to_size, const void *from, uint32_t from_size, size_t first_size,
		const char *what, struct pc_error *err)
{
	int rc = check_size(from_size, first_size, what, err);

	if (rc)
		return rc;
	memcpy(to, from, from_size < to_size ? from_size : to_size);
	memcpy(to, &to_size, sizeof(to_size));
	return 0;
}

int take_spec(const struct pc_engine_spec *from, struct pc_engine_spec *to, struct pc_error *err)
{
	*to = (struct pc_engine_spec){ .size = sizeof(*to) };
	return take(to, sizeof(*to), from, from->size, FIRST_SIZE(pc_engine_spec, progress_ctx),
		    "the spec", err);
}

int take_request(const struct pc_text_request *from, struct pc_text_request *to,
		 struct pc_error *err)
{
	*to = (struct pc_text_request){ .size = sizeof(*to) };
	return take(to, sizeof(*to), from, from->size, FIRST_SIZE(pc_text_request, stop_count),
		    "the request", err);
}

int take_sink(const struct pc_text_sink *from, struct pc_text_sink *to, struct pc_error *err)
{
	*to = (struct pc_text_sink){ .size = sizeof(*to) };

	int rc = take(to, sizeof(*to), from, from->size, FIRST_SIZE(pc_text_sink, ctx), "the sink",
		      err);

	if (!rc && !to->chunk)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the sink has no chunk()");
	return rc;
}

int check_result(const struct pc_text_result *result, struct pc_error *err)
{
	return check_size(result->size, FIRST_SIZE(pc_text_result, completion_tokens), "the result",
			  err);
}

static void give(const void *from, uint32_t from_size, void *to, uint32_t to_size)
{
	memcpy(to, from, to_size < from_size ? to_size : from_size);
	if (to_size >= sizeof(to_size))
		memcpy(to, &to_size, sizeof(to_size));
}

void give_result(const struct pc_text_result *from, struct pc_text_result *to)
{
	give(from, sizeof(*from), to, to->size);
}

void give_description(const struct pc_engine_description *from, struct pc_engine_description *to)
{
	give(from, sizeof(*from), to, to->size);
}

bool host_is_complete(const struct pc_engine_host *host)
{
	return host && host->size >= FIRST_SIZE(pc_engine_host, log) && host->log;
}
