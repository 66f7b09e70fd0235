/* SPDX-License-Identifier: MIT */
/*
 * text_answer.c - collects the text of a call into one answer, for a caller who waits and for one
 * who does not.
 */
#include "capability/text_call.h"

#include "base/text.h"

struct collection {
	struct pc__text_call call;
	struct pc__buf text;
	bool too_long;
	struct pc_text_answer answer; /* the run's; empty unless it succeeded */
	/* Asynchronous ones only. */
	struct pc_text_answer *ret_answer;
	pc_done_fn done;
	void *ctx;
};

void pc_text_answer_fini(struct pc_text_answer *answer)
{
	if (!answer)
		return;
	pc_free(answer->text);
	*answer = (struct pc_text_answer){ .text = NULL };
}

static bool collect(void *ctx, const char *text, size_t length)
{
	struct collection *collection = ctx;

	if (length > PC_ANSWER_MAX_BYTES - collection->text.length)
		collection->too_long = true;
	else
		pc__buf_append(&collection->text, text, length);
	return !collection->too_long && !collection->text.failed;
}

static int make_answer(struct collection *collection, struct pc_error *err)
{
	const struct pc_text_result *result = &collection->call.result;
	struct pc_text_answer *answer = &collection->answer;
	char size[32];

	if (collection->too_long)
		return pc__call_refuse(collection->call.model, err, PC_E_MODEL_ERROR,
				       "the answer has no end: it is longer than %s",
				       pc_format_size(PC_ANSWER_MAX_BYTES, size));
	*answer = (struct pc_text_answer){
		.length = collection->text.length,
		.finish_reason = result->finish_reason,
		.prompt_tokens = result->prompt_tokens,
		.completion_tokens = result->completion_tokens,
		.cached_tokens = result->cached_tokens,
	};
	/* Not in the list above, whose order is nobody's: this empties the buffer. */
	answer->text = pc__buf_steal(&collection->text);
	return answer->text ? 0 : pc__call_oom(collection->call.model, err);
}

static int run_collection(void *ctx, const struct pc_run *run, struct pc_error *err)
{
	struct collection *collection = ctx;
	int rc;

	collection->call.on_chunk = collect;
	collection->call.ctx = collection;
	rc = pc__text_call_run(&collection->call, run, err);
	return rc ? rc : make_answer(collection, err);
}

static void collection_fini(struct collection *collection)
{
	pc_text_answer_fini(&collection->answer);
	pc__buf_fini(&collection->text);
	pc__text_call_fini(&collection->call);
}

/* The answer goes to its place, and is no longer the collection's. */
static void hand_over(struct collection *collection, struct pc_text_answer *ret_answer)
{
	*ret_answer = collection->answer;
	collection->answer.text = NULL;
}

int pc__text_call_collect(struct pc__text_call *call, const struct pc_request_options *options,
			  struct pc_text_answer *ret_answer, struct pc_error *err)
{
	struct collection collection = { .call = *call };
	int rc = pc__call_need(call->model, ret_answer != NULL, "place for the answer", err);

	if (!rc)
		rc = pc_pool_call(call->model, options, run_collection, &collection, err);
	if (!rc)
		hand_over(&collection, ret_answer);
	collection_fini(&collection);
	return rc;
}

static void collection_free(struct collection *collection)
{
	collection_fini(collection);
	pc_free(collection);
}

static void collection_done(void *ctx, const struct pc_error *err)
{
	struct collection *collection = ctx;
	pc_done_fn done = collection->done;
	void *done_ctx = collection->ctx;

	if (err->code == 0)
		hand_over(collection, collection->ret_answer);
	/* First, because whoever hears that it is over may end the program. */
	collection_free(collection);
	done(done_ctx, err);
}

int pc__text_call_collect_async(struct pc__text_call *call,
				const struct pc_request_options *options,
				struct pc_text_answer *ret_answer, pc_done_fn done, void *ctx,
				struct pc_error *err)
{
	struct collection *collection = NULL;
	int rc = pc__call_need(call->model, ret_answer != NULL, "place for the answer", err);

	if (!rc)
		rc = pc__call_need(call->model, done != NULL, "done callback", err);
	if (!rc && !(collection = pc_malloc(sizeof(*collection))))
		rc = pc__call_oom(call->model, err);
	if (rc) {
		pc__text_call_fini(call);
		return rc;
	}
	*collection = (struct collection){
		.call = *call, .ret_answer = ret_answer, .done = done, .ctx = ctx
	};
	rc = pc_pool_submit(call->model, options, run_collection, collection_done, collection, err);
	if (rc)
		collection_free(collection);
	return rc;
}
