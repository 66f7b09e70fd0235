/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of daemon/port_owner.c with real processes and sockets. A listener is a child that
 * listens, writes a byte, and stays until it is killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poolcore/base.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/port_owner.h"
#include "fail_alloc.h"

enum where { LOOPBACK, ANY, LOOPBACK_2, ANY6, MAPPED6, LOOPBACK6 };

struct listener {
	pid_t pid;
	int fd; /* our end */
};

static union {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
} name;

/* Fills `name`; returns its length. */
static socklen_t address(enum where where, uint16_t port)
{
	static const char *const texts[] = { "127.0.0.1", "0.0.0.0",	      "127.0.0.2",
					     "::",	  "::ffff:127.0.0.1", "::1" };

	memset(&name, 0, sizeof(name));
	if (where < ANY6) {
		name.in.sin_family = AF_INET;
		name.in.sin_port = htons(port);
		inet_pton(AF_INET, texts[where], &name.in.sin_addr);
		return sizeof(name.in);
	}
	name.in6.sin6_family = AF_INET6;
	name.in6.sin6_port = htons(port);
	inet_pton(AF_INET6, texts[where], &name.in6.sin6_addr);
	return sizeof(name.in6);
}

/* A listening socket that may share its port. -1: there is no IPv6 here. */
static int open_socket(enum where where, uint16_t port)
{
	socklen_t length = address(where, port);
	int on = 1, off = 0;
	int fd = socket(name.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (where >= ANY6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &name.any, length) || listen(fd, 8)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* In the child. With a depth, it is the last of so many generations of children that listens, each
 * out of the session of the one before if they are strays. */
static void be_listener(int socket, int fd, unsigned depth, bool strays)
{
	const char byte = 'r';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (depth > 0 && fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (strays)
			setsid();
		depth--;
	}
	if (depth > 0)
		close(socket);
	else if (write(fd, &byte, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Starts a listener in a session of its own, `depth` generations below the leader. */
static struct listener start(int socket, unsigned depth, bool strays)
{
	struct listener listener;
	int pair[2];
	char byte;

	assert_true(socket >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	listener.pid = fork();
	if (listener.pid == 0) {
		close(pair[0]);
		setsid();
		be_listener(socket, pair[1], depth, strays);
	}
	assert_true(listener.pid > 0);
	close(pair[1]);
	close(socket);
	listener.fd = pair[0];
	assert_int_equal(read(listener.fd, &byte, 1), 1);
	return listener;
}

static void stop(struct listener *listener)
{
	kill(-listener->pid, SIGKILL); /* strays go with their parents */
	close(listener->fd);
	assert_int_equal(waitpid(listener->pid, NULL, 0), listener->pid);
}

static uint16_t port_of(int socket)
{
	struct sockaddr_in6 own;
	socklen_t length = sizeof(own);

	assert_int_equal(getsockname(socket, (struct sockaddr *)&own, &length), 0);
	return ntohs(own.sin6_port); /* where sin_port is */
}

static void assert_owned(uint16_t port, pid_t leader)
{
	struct pc_error err = PC_ERROR_INIT;

	if (port_owner_check(port, leader, &err))
		fail_msg("%s", err.message);
}

static void assert_refused(uint16_t port, pid_t leader, pid_t stranger)
{
	struct pc_error err = PC_ERROR_INIT;
	char text[128];

	assert_int_equal(port_owner_check(port, leader, &err), PC_E_PORT_IN_USE);
	snprintf(text, sizeof(text), "process %d listens on port %u and is not the worker's",
		 (int)stranger, port);
	assert_string_equal(err.message, text);
	snprintf(text, sizeof(text), "%d", (int)stranger);
	assert_string_equal(pc_error_detail_get(&err, "pid"), text);
	snprintf(text, sizeof(text), "%u", port);
	assert_string_equal(pc_error_detail_get(&err, "port"), text);
}

/* ---- tests ---- */

static void a_worker_owns_its_port_wherever_it_listens(void **state)
{
	static const enum where places[] = { LOOPBACK, ANY, ANY6, MAPPED6 };

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int socket = open_socket(places[i], 0);

		if (socket < 0 && places[i] >= ANY6)
			continue; /* no IPv6 */

		uint16_t port = port_of(socket);
		struct listener worker = start(socket, 0, false);

		assert_owned(port, worker.pid);
		stop(&worker);
	}
}

static void its_children_are_the_worker_too(void **state)
{
	(void)state;
	for (unsigned depth = 0; depth < 4; depth++) {
		for (int strays = 0; strays < 2; strays++) {
			int socket = open_socket(LOOPBACK, 0);
			uint16_t port = port_of(socket);
			struct listener worker = start(socket, depth, strays);

			assert_owned(port, worker.pid);
			stop(&worker);
		}
	}
}

/* The one in the middle has ended, so that only the session says whose the last one is. */
static void an_orphan_in_its_session_is_the_worker_too(void **state)
{
	int socket = open_socket(LOOPBACK, 0);
	uint16_t port = port_of(socket);
	struct listener worker;
	int pair[2], middle;
	char byte = 'r';

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	worker = (struct listener){ .pid = fork(), .fd = pair[0] };
	if (worker.pid == 0) {
		setsid();
		middle = fork();
		if (middle == 0 && fork() == 0) {
			alarm(60); /* it listens, and nobody else ends it when the test fails */
		} else if (middle == 0) {
			_exit(0);
		} else {
			close(socket);
			waitpid(middle, NULL, 0);
			if (write(pair[1], &byte, 1) != 1)
				_exit(1);
		}
		for (;;)
			pause();
	}
	close(socket);
	assert_int_equal(read(worker.fd, &byte, 1), 1);
	assert_owned(port, worker.pid);
	stop(&worker);
	close(pair[1]);
}

static void nobody_listens(void **state)
{
	int here = open_socket(LOOPBACK, 0), beside = open_socket(LOOPBACK_2, port_of(here));
	uint16_t port = port_of(here);
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	close(here);
	/* Neither of these gets a connection to 127.0.0.1. */
	if (beside < 0)
		fail_msg("cannot listen on 127.0.0.2:%u", port);

	int far = open_socket(LOOPBACK6, port);

	assert_int_equal(port_owner_check(port, getpid(), &err), PC_E_NOT_FOUND);
	assert_non_null(strstr(err.message, "nobody listens"));
	close(beside);
	if (far >= 0)
		close(far);
}

static void a_stranger_shares_the_port(void **state)
{
	static const enum where places[] = { LOOPBACK, ANY, ANY6, MAPPED6 };

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int theirs = open_socket(places[i], 0);

		if (theirs < 0 && places[i] >= ANY6)
			continue; /* no IPv6 */

		uint16_t port = port_of(theirs);
		struct listener stranger = start(theirs, 0, false);
		struct listener worker = start(open_socket(LOOPBACK, port), 1, false);

		assert_refused(port, worker.pid, stranger.pid);
		stop(&stranger);
		assert_owned(port, worker.pid);
		stop(&worker);
	}
}

static void one_that_is_gone_owns_nothing(void **state)
{
	int socket = open_socket(LOOPBACK, 0);
	uint16_t port = port_of(socket);
	struct listener other = start(socket, 0, false);
	pid_t gone = fork();

	(void)state;
	if (gone == 0)
		_exit(0);
	assert_int_equal(waitpid(gone, NULL, 0), gone);
	assert_refused(port, gone, other.pid);
	stop(&other);
}

static void memory_fails(void **state)
{
	int socket = open_socket(LOOPBACK, 0);
	uint16_t port = port_of(socket);
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		fail_alloc_begin(n);

		int rc = port_owner_check(port, getpid(), NULL);

		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
	}
	assert_true(n > 2);
	close(socket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worker_owns_its_port_wherever_it_listens),
		cmocka_unit_test(its_children_are_the_worker_too),
		cmocka_unit_test(an_orphan_in_its_session_is_the_worker_too),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(a_stranger_shares_the_port),
		cmocka_unit_test(one_that_is_gone_owns_nothing),
		cmocka_unit_test(memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
