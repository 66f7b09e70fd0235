/* SPDX-License-Identifier: MIT */
/*
 * completions.c - ended calls for programs with a loop of their own: a queue, and an eventfd that
 * is readable while it holds any. Posted from any thread, taken by one at a time.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <poolcore/pool.h>

struct pc_completions {
	pthread_mutex_t lock;
	struct pc_completion *first, **end; /* [lock] */
	int fd;				    /* [const] */
};

int pc_completions_create(struct pc_completions **ret_queue, struct pc_error *err)
{
	struct pc_completions *queue = ret_queue ? pc_calloc(1, sizeof(*queue)) : NULL;

	if (!ret_queue)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "a queue needs a place for itself");
	if (!queue)
		return pc_error_oom(err);
	queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->fd < 0) {
		pc_free(queue);
		return pc_error_sys(err, PC_E_IO, errno, "an eventfd for a queue of completions");
	}
	pthread_mutex_init(&queue->lock, NULL);
	queue->end = &queue->first;
	*ret_queue = queue;
	return 0;
}

int pc_completions_fd(const struct pc_completions *queue)
{
	return queue->fd;
}

/* Makes the descriptor readable, or not. Neither can block or fail: its count is 0 or 1. */
static void show(int fd, bool readable)
{
	uint64_t one = 1;
	ssize_t done = readable ? write(fd, &one, sizeof(one)) : read(fd, &one, sizeof(one));

	(void)done;
}

void pc_completion_post(void *completion, const struct pc_error *err)
{
	struct pc_completion *ended = completion;
	struct pc_completions *queue = ended->queue;

	ended->err = *err;
	ended->next = NULL;
	pthread_mutex_lock(&queue->lock);
	if (!queue->first)
		show(queue->fd, true);
	*queue->end = ended;
	queue->end = &ended->next;
	pthread_mutex_unlock(&queue->lock);
}

struct pc_completion *pc_completions_next(struct pc_completions *queue)
{
	pthread_mutex_lock(&queue->lock);

	struct pc_completion *first = queue->first;

	if (first) {
		queue->first = first->next;
		if (!queue->first) {
			queue->end = &queue->first;
			show(queue->fd, false);
		}
	}
	pthread_mutex_unlock(&queue->lock);
	return first;
}

void pc_completions_destroy(struct pc_completions *queue)
{
	if (!queue)
		return;
	close(queue->fd);
	pthread_mutex_destroy(&queue->lock);
	pc_free(queue);
}
