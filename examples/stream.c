/* SPDX-License-Identifier: MIT */
/*
 * stream.c - an answer, printed as it is made and stopped by Ctrl-C.
 *
 *   cc stream.c $(pkg-config --cflags --libs poolcore) -o stream
 *   ./stream MODEL.gguf "Tell me something about the sea."
 */
#define _GNU_SOURCE 1 /* ppoll */
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include <poolcore/capability.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* Until there is something to read, or Ctrl-C: also while the model loads. */
static void wait_for_more(struct pc_text_stream *stream)
{
	struct pollfd readable = { .fd = pc_text_stream_fd(stream, NULL), .events = POLLIN };
	sigset_t none;

	sigemptyset(&none);
	/* The signal comes in here and nowhere else: none is missed between a look and a sleep. */
	if (ppoll(&readable, 1, NULL, &none) < 0 && interrupted)
		pc_text_stream_cancel(stream);
}

/* Prints everything; 0, or the error that ended it. */
static int print_answer(struct pc_text_stream *stream, struct pc_error *err)
{
	const char *chunk;
	size_t length;
	int rc;

	for (;;) {
		rc = pc_text_stream_try_next(stream, &chunk, &length, err);
		if (rc == PC_STREAM_WOULD_BLOCK) {
			wait_for_more(stream);
			continue;
		}
		if (rc != PC_STREAM_CHUNK)
			break;
		fwrite(chunk, 1, length, stdout);
		fflush(stdout);
	}
	putchar('\n');
	return rc;
}

/* For this thread, and for all that the pool starts: they inherit it. */
static void keep_interrupts_for_ppoll(void)
{
	sigset_t interrupts;

	sigemptyset(&interrupts);
	sigaddset(&interrupts, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupts, NULL);
	signal(SIGINT, on_interrupt);
}

int main(int argc, char **argv)
{
	const struct pc_model_spec spec = { .key = "writer",
					    .capability = PC_CAPABILITY_TEXT_TO_TEXT,
					    .est_memory_allocation_mb = 256,
					    .engine_name = "llama",
					    .model_path = argc > 1 ? argv[1] : "model.gguf" };
	const struct pc_text_request request = { .prompt = argc > 2 ? argv[2] : "Once",
						 .max_tokens = 64,
						 .temperature = 0.8f,
						 .seed = 1 };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_text_stream *stream;
	struct pc_text_result result = { 0 };
	struct pc_model *model;
	struct pc_pool *pool;
	int rc;

	keep_interrupts_for_ppoll();
	if (pc_text_to_text_pool_create(NULL, &pool, &err) ||
	    pc_pool_add_model(pool, &spec, &model, &err) ||
	    pc_text_stream_open(model, &request, NULL, &stream, &err))
		return fprintf(stderr, "stream: %s\n", err.message), 1;
	rc = print_answer(stream, &err);
	if (rc == 0 && pc_text_stream_result(stream, &result, &err) == 0)
		printf("(%u tokens)\n", result.completion_tokens);
	pc_text_stream_close(stream);
	pc_pool_destroy(pool);
	if (rc && err.code != PC_E_CANCELLED)
		fprintf(stderr, "stream: %s\n", err.message);
	return rc != 0;
}
