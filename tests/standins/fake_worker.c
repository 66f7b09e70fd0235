/* SPDX-License-Identifier: MIT */
/*
 * fake_worker.c - a backend process that misbehaves on order: fake_worker FILE ADDRESS, where
 * ADDRESS is a port of 127.0.0.1 or the path of a Unix socket. GET /health is answered with 200,
 * everything else as the file says, which is read again for each request:
 *
 *     answer=normal      a name of the table `answers` below, which says what each does
 *     bytes=1048576      how long the answers are that have a length to choose
 *     code=9             the exit status of answer=exit and start=exit
 *     once=/path         the answer is given to the first request that finds no such file, and
 *                        makes it; the others get a normal one
 *     start=never_ready  /health says 503 for ever; exit: ends before it listens; gate: listens
 *                        when somebody opens the FIFO `gate` for writing; load: listens at once,
 *                        and /health says 503 until it is loaded
 *     gate=/path         that FIFO
 *     load_ms=50         it listens, or is loaded, after so long
 *     log=llama          with start=load: it writes what llama-server writes, a line for each
 *                        question and two when it is loaded
 *     bar_ms=10          with start=load: it writes a line so often until it is loaded
 *     reuse_port=1       the port is shared with whoever listens there so too
 *     health=never       /health is not answered at all
 *     mark=WORD          of the file as it was at the start: "loaded" of a normal answer, which
 *                        also has how often /health was "asked" while it loaded, and since when it
 *                        has been loaded ("ready_ms" of CLOCK_MONOTONIC)
 *     say=TEXT           a line for the log, bytes as they are
 *     show=NAME          a line for the log with that variable of the environment
 *     noise=1048576      that many bytes for the log which are no UTF-8, without a line's end
 *     ignore_term=1      SIGTERM does nothing
 *     single=1           one connection at a time, for one request; two more may wait, and the next
 *                        cannot connect
 *     cling=1            it outlives its stub, and cannot be told by its environment
 *
 * One thread per connection, blocking; what fails ends the connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 65536
/* Not so much that malloc would give it back at once. */
#define EATEN_BLOCK 65536

static char *volatile kept; /* so that it is used, and leaked on purpose */

struct behaviour {
	char answer[32];
	char start[32];
	char once[200];
	char gate[200];
	unsigned long bytes;
	int code;
	int load_ms;
	int bar_ms;
	bool logs_like_llama;
	bool ignores_term;
	bool clings;
	bool is_single;
	bool reuses_port;
	bool is_ill; /* says nothing of its health */
};

struct request {
	int fd;
	bool is_health;
	size_t body_left; /* not read yet */
};

static const char *behaviour_path;
static char loaded_mark[32];
static int listening_fd;

/* start=load */
static struct {
	pthread_mutex_t lock;
	struct behaviour behaviour; /* as it was at the start */
	bool is_loading;	    /* [lock] */
	unsigned asked;		    /* [lock] */
	double ready_ms;	    /* [lock] */
} load = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the behaviour ---- */

static void make_noise(unsigned long bytes)
{
	char block[4096];

	memset(block, 0xff, sizeof(block));
	for (; bytes > 0; bytes -= bytes < sizeof(block) ? bytes : sizeof(block))
		fwrite(block, 1, bytes < sizeof(block) ? bytes : sizeof(block), stderr);
}

static void say(const char *key, const char *value)
{
	const char *known;

	if (strcmp(key, "say") == 0) {
		fprintf(stderr, "%s\n", value);
	} else if (strcmp(key, "show") == 0) {
		known = getenv(value);
		fprintf(stderr, "%s=%s\n", value, known ? known : "(unset)");
	} else if (strcmp(key, "mark") == 0) {
		snprintf(loaded_mark, sizeof(loaded_mark), "%s", value);
	} else if (strcmp(key, "noise") == 0) {
		make_noise(strtoul(value, NULL, 10));
	}
}

static void read_line(struct behaviour *behaviour, const char *key, const char *value)
{
	if (strcmp(key, "answer") == 0)
		snprintf(behaviour->answer, sizeof(behaviour->answer), "%s", value);
	else if (strcmp(key, "start") == 0)
		snprintf(behaviour->start, sizeof(behaviour->start), "%s", value);
	else if (strcmp(key, "once") == 0)
		snprintf(behaviour->once, sizeof(behaviour->once), "%s", value);
	else if (strcmp(key, "bytes") == 0)
		behaviour->bytes = strtoul(value, NULL, 10);
	else if (strcmp(key, "code") == 0)
		behaviour->code = atoi(value);
	else if (strcmp(key, "load_ms") == 0)
		behaviour->load_ms = atoi(value);
	else if (strcmp(key, "bar_ms") == 0)
		behaviour->bar_ms = atoi(value);
	else if (strcmp(key, "log") == 0)
		behaviour->logs_like_llama = strcmp(value, "llama") == 0;
	else if (strcmp(key, "ignore_term") == 0)
		behaviour->ignores_term = true;
	else if (strcmp(key, "single") == 0)
		behaviour->is_single = true;
	else if (strcmp(key, "cling") == 0)
		behaviour->clings = true;
	else if (strcmp(key, "gate") == 0)
		snprintf(behaviour->gate, sizeof(behaviour->gate), "%s", value);
	else if (strcmp(key, "reuse_port") == 0)
		behaviour->reuses_port = true;
	else if (strcmp(key, "health") == 0)
		behaviour->is_ill = strcmp(value, "never") == 0;
}

static struct behaviour read_behaviour(bool at_start)
{
	struct behaviour behaviour = { .answer = "normal", .code = 1 };
	FILE *file = fopen(behaviour_path, "re");
	char line[4096];

	if (!file && !at_start)
		return behaviour; /* somebody deleted it */
	if (!file) {
		fprintf(stderr, "%s: %s\n", behaviour_path, strerror(errno));
		exit(1);
	}
	while (fgets(line, sizeof(line), file)) {
		char *value = strchr(line, '=');

		line[strcspn(line, "\n")] = '\0';
		if (!value)
			continue;
		*value++ = '\0';
		if (at_start)
			say(line, value);
		read_line(&behaviour, line, value);
	}
	fclose(file);
	return behaviour;
}

/* Whether this request gets the misbehaviour. */
static bool is_my_turn(const struct behaviour *behaviour)
{
	int fd;

	if (!behaviour->once[0])
		return true;
	fd = open(behaviour->once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ---- the wire ---- */

static bool put(int fd, const void *data, size_t length)
{
	const char *bytes = data;

	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		length -= (size_t)sent;
	}
	return true;
}

static bool put_text(int fd, const char *text)
{
	return put(fd, text, strlen(text));
}

static bool drop_body(struct request *request)
{
	char buffer[65536];

	while (request->body_left > 0) {
		size_t want = request->body_left < sizeof(buffer) ? request->body_left
								  : sizeof(buffer);
		ssize_t got = recv(request->fd, buffer, want, 0);

		if (got <= 0)
			return false;
		request->body_left -= (size_t)got;
	}
	return true;
}

/* Reads byte by byte, so that nothing of the body is taken; false at the end of the connection. */
static bool read_head(int fd, struct request *request)
{
	char head[HEAD_MAX];
	const char *length;
	size_t at = 0;

	do {
		if (at + 1 == sizeof(head) || recv(fd, head + at, 1, 0) != 1)
			return false;
		head[++at] = '\0';
	} while (at < 4 || memcmp(head + at - 4, "\r\n\r\n", 4) != 0);
	length = strcasestr(head, "\r\nContent-Length:");
	*request = (struct request){
		.fd = fd,
		.is_health = strncmp(head, "GET /health ", 12) == 0,
		.body_left = length ? strtoul(length + 17, NULL, 10) : 0,
	};
	return true;
}

/* ---- the answers; false: the connection is closed ---- */

typedef bool (*answer_fn)(struct request *request, const struct behaviour *behaviour);

static bool answer_normal(struct request *request, const struct behaviour *behaviour)
{
	char body[256], text[448];
	int length;

	(void)behaviour;
	pthread_mutex_lock(&load.lock);
	length = snprintf(body, sizeof(body),
			  "{\"answer\":\"normal\",\"pid\":%d,\"loaded\":\"%s\",\"asked\":%u,"
			  "\"ready_ms\":%.3f}",
			  (int)getpid(), loaded_mark, load.asked, load.ready_ms);
	pthread_mutex_unlock(&load.lock);
	snprintf(
		text, sizeof(text),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		length, body);
	return drop_body(request) && put_text(request->fd, text);
}

/* Sends a fixed text and breaks off. */
static bool break_off(struct request *request, const char *text)
{
	if (drop_body(request))
		put_text(request->fd, text);
	return false;
}

static bool answer_broken_events(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
				  "Transfer-Encoding: chunked\r\n\r\n"
				  "d\r\ndata: {\"n\":1}\r\n");
}

static bool answer_broken_events_length(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
				  "Content-Length: 4000\r\n\r\ndata: {\"n\":1}\n\n");
}

static bool answer_broken_events_gzip(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
				  "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
				  "8\r\n\x1f\x8b\x08gzip!\r\n");
}

static bool answer_broken_chunks(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				  "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\nzz\r\n");
}

static bool answer_broken_length(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				  "Content-Length: 100\r\n\r\n{\"a\"");
}

static bool answer_two_lengths(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
				  "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
}

static bool answer_garbage(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "I am no web server\r\n\r\n");
}

static bool answer_switch(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
				  "Upgrade: websocket\r\n\r\nbytes of another protocol");
}

static bool answer_hang_up(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	drop_body(request);
	return false;
}

static bool answer_exit(struct request *request, const struct behaviour *behaviour)
{
	drop_body(request);
	_exit(behaviour->code);
}

static bool answer_never(struct request *request, const struct behaviour *behaviour)
{
	char byte;

	(void)behaviour;
	drop_body(request);
	fprintf(stderr, "holding a request\n");
	while (recv(request->fd, &byte, 1, 0) > 0)
		continue;
	fprintf(stderr, "a request was cancelled\n");
	return false;
}

static bool answer_huge(struct request *request, const struct behaviour *behaviour)
{
	static char block[65536];
	char head[128];
	size_t left = behaviour->bytes;

	memset(block, 'x', sizeof(block));
	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
		 left);
	if (!drop_body(request) || !put_text(request->fd, head))
		return false;
	while (left > 0) {
		size_t part = left < sizeof(block) ? left : sizeof(block);

		if (!put(request->fd, block, part))
			return false;
		left -= part;
	}
	return true;
}

/* The whole answer before the request's body is read. */
static bool answer_early(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return put_text(request->fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				     "Content-Length: 18\r\n\r\n{\"answer\":\"early\"}") &&
	       drop_body(request);
}

/* The same, and nobody reads the body at all. */
static bool answer_early_close(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	put_text(request->fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
			      "Connection: close\r\nContent-Length: 18\r\n\r\n"
			      "{\"answer\":\"early\"}");
	return false;
}

/* A last answer: it lives on, but nobody can connect any more. */
static bool answer_deaf(struct request *request, const struct behaviour *behaviour)
{
	shutdown(listening_fd, SHUT_RDWR);
	close(listening_fd);
	answer_normal(request, behaviour);
	return false;
}

/* Every byte in a packet of its own. */
static bool answer_slow(struct request *request, const struct behaviour *behaviour)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n"
				   "9\r\n{\"answer\"\r\n08;ext=1\r\n:\"slow\"}\r\n0\r\n\r\n";

	(void)behaviour;
	if (!drop_body(request))
		return false;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		if (!put(request->fd, text + i, 1))
			return false;
	}
	return true;
}

static bool answer_continues(struct request *request, const struct behaviour *behaviour)
{
	return put_text(request->fd, "HTTP/1.1 100 Continue\r\n\r\n"
				     "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") &&
	       answer_normal(request, behaviour);
}

/* No length: the end of the connection is the end of the body. */
static bool answer_until_close(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	return break_off(request, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
				  "{\"answer\":\"until close\"}");
}

/* A second answer that nobody has asked for follows; it must not be the next one's. Whoever waits
 * for the line knows that it is on its way. */
static bool answer_twice(struct request *request, const struct behaviour *behaviour)
{
	bool sent = answer_normal(request, behaviour) &&
		    put_text(request->fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
					  "Content-Length: 20\r\n\r\n{\"answer\":\"foreign\"}");

	fprintf(stderr, "answered twice\n");
	return sent;
}

/* Promises to keep the connection and does not. */
static bool answer_then_close(struct request *request, const struct behaviour *behaviour)
{
	answer_normal(request, behaviour);
	return false;
}

/* Takes memory until it has `bytes` more, all of it written to, and answers then. */
static bool answer_eat(struct request *request, const struct behaviour *behaviour)
{
	for (unsigned long eaten = 0; eaten < behaviour->bytes; eaten += EATEN_BLOCK) {
		char *block = malloc(EATEN_BLOCK);

		if (!block)
			break;
		memset(block, 1, EATEN_BLOCK);
		__asm__ volatile("" ::"r"(block) : "memory"); /* the compiler may not know better */
	}
	return answer_normal(request, behaviour);
}

/* A head that does not end. */
static bool answer_endless_head(struct request *request, const struct behaviour *behaviour)
{
	(void)behaviour;
	if (!drop_body(request) || !put_text(request->fd, "HTTP/1.1 200 OK\r\nX-Long: "))
		return false;
	while (put(request->fd, "xxxxxxxxxxxxxxxx", 16))
		continue;
	return false;
}

/* Computes, and does nothing else, until the file `gate` is there. */
static bool answer_burn(struct request *request, const struct behaviour *behaviour)
{
	volatile unsigned long work = 0;

	while (access(behaviour->gate, F_OK) != 0) {
		for (int i = 0; i < 1000000; i++)
			work++;
	}
	return answer_normal(request, behaviour);
}

/* Keeps `bytes` more of memory for ever. */
static bool answer_grow(struct request *request, const struct behaviour *behaviour)
{
	char *more = malloc(behaviour->bytes);

	if (!more)
		return false;
	memset(more, 1, behaviour->bytes);
	kept = more;
	return answer_normal(request, behaviour);
}

/* The same, in a helper of which it is neither the parent nor the session. */
static bool answer_grow_beside(struct request *request, const struct behaviour *behaviour)
{
	int holds[2];
	char byte;
	pid_t pid;

	if (pipe(holds))
		return false;
	pid = fork();
	if (pid == 0) {
		if (setsid() < 0 || fork() != 0)
			_exit(0);
		kept = malloc(behaviour->bytes);
		if (!kept)
			_exit(1);
		memset(kept, 1, behaviour->bytes);
		if (write(holds[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(holds[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);

	bool grew = pid > 0 && read(holds[0], &byte, 1) == 1;

	close(holds[0]);
	return grew && answer_normal(request, behaviour);
}

static const struct {
	const char *name;
	answer_fn answer;
} answers[] = {
	{ "normal", answer_normal },
	{ "broken_events", answer_broken_events },
	{ "broken_events_length", answer_broken_events_length },
	{ "broken_events_gzip", answer_broken_events_gzip },
	{ "broken_chunks", answer_broken_chunks },
	{ "broken_length", answer_broken_length },
	{ "two_lengths", answer_two_lengths },
	{ "garbage", answer_garbage },
	{ "switch", answer_switch },
	{ "hang_up", answer_hang_up },
	{ "exit", answer_exit },
	{ "never", answer_never },
	{ "huge", answer_huge },
	{ "early", answer_early },
	{ "early_close", answer_early_close },
	{ "deaf", answer_deaf },
	{ "slow", answer_slow },
	{ "continues", answer_continues },
	{ "until_close", answer_until_close },
	{ "twice", answer_twice },
	{ "then_close", answer_then_close },
	{ "endless_head", answer_endless_head },
	{ "eat", answer_eat },
	{ "burn", answer_burn },
	{ "grow", answer_grow },
	{ "grow_beside", answer_grow_beside },
};

/* ---- loading while it listens ---- */

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void *draw_bar(void *arg)
{
	bool is_loading;

	(void)arg;
	do {
		poll(NULL, 0, load.behaviour.bar_ms);
		pthread_mutex_lock(&load.lock);
		is_loading = load.is_loading;
		if (is_loading)
			fprintf(stderr, "load_tensors: another block of tensors\n");
		pthread_mutex_unlock(&load.lock);
	} while (is_loading);
	return NULL;
}

/* Readiness is there before it is told, as in llama-server. */
static void *be_loaded_in_time(void *arg)
{
	(void)arg;
	poll(NULL, 0, load.behaviour.load_ms);
	pthread_mutex_lock(&load.lock);
	load.is_loading = false;
	load.ready_ms = now_ms();
	pthread_mutex_unlock(&load.lock);
	if (load.behaviour.logs_like_llama)
		fprintf(stderr, "main: model loaded\nmain: server is listening on it\n");
	return NULL;
}

static bool begin_to_load(const struct behaviour *behaviour)
{
	pthread_t loader, bar;

	load.behaviour = *behaviour;
	load.is_loading = true;
	if (pthread_create(&loader, NULL, be_loaded_in_time, NULL) ||
	    (behaviour->bar_ms && pthread_create(&bar, NULL, draw_bar, NULL)))
		return false;
	return true;
}

/* ---- serving ---- */

static bool is_still_loading(void)
{
	bool is_loading;

	pthread_mutex_lock(&load.lock);
	is_loading = load.is_loading;
	load.asked += is_loading;
	pthread_mutex_unlock(&load.lock);
	return is_loading;
}

static bool answer_loading(struct request *request)
{
	bool sent = put_text(request->fd, "HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n");

	if (load.behaviour.logs_like_llama)
		fprintf(stderr, "srv  log_server_r: done request: GET /health 127.0.0.1 503\n");
	return sent;
}

static bool answer_health(struct request *request, const struct behaviour *behaviour)
{
	if (behaviour->is_ill)
		return answer_never(request, behaviour);
	if (strcmp(behaviour->start, "never_ready") == 0 || is_still_loading())
		return answer_loading(request);
	return put_text(request->fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static bool answer(struct request *request)
{
	struct behaviour behaviour = read_behaviour(false);

	if (request->is_health)
		return answer_health(request, &behaviour);
	if (!is_my_turn(&behaviour))
		return answer_normal(request, &behaviour);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (strcmp(answers[i].name, behaviour.answer) == 0)
			return answers[i].answer(request, &behaviour);
	}
	fprintf(stderr, "there is no answer '%s'\n", behaviour.answer);
	return false;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct request request;

	while (read_head(fd, &request) && answer(&request))
		continue;
	close(fd);
	return NULL;
}

static void serve_one(int fd)
{
	struct request request;

	if (read_head(fd, &request))
		answer(&request);
	close(fd);
}

static int listen_on(const char *address, bool reuses_port, int backlog)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	struct sockaddr_in port = { .sin_family = AF_INET };
	struct sockaddr *name = (struct sockaddr *)&path;
	socklen_t length = sizeof(path);
	int on = 1, fd;

	if (address[0] == '/') {
		snprintf(path.sun_path, sizeof(path.sun_path), "%s", address);
	} else {
		port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		port.sin_port = htons((uint16_t)atoi(address));
		name = (struct sockaddr *)&port;
		length = sizeof(port);
	}
	fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (reuses_port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, name, length) || listen(fd, backlog)) {
		fprintf(stderr, "%s: %s\n", address, strerror(errno));
		exit(1);
	}
	return fd;
}

static void cling(void)
{
	char *token = getenv("POOLCORE_SPAWN_TOKEN");

	prctl(PR_SET_PDEATHSIG, 0);
	if (token)
		memset(token, 'x', strlen(token));
}

int main(int argc, char **argv)
{
	struct behaviour behaviour;

	if (argc != 3) {
		fprintf(stderr, "usage: fake_worker FILE ADDRESS\n");
		return 2;
	}
	behaviour_path = argv[1];
	behaviour = read_behaviour(true);
	if (behaviour.ignores_term)
		signal(SIGTERM, SIG_IGN);
	if (behaviour.clings)
		cling();
	if (strcmp(behaviour.start, "exit") == 0)
		return behaviour.code;
	if (strcmp(behaviour.start, "gate") == 0)
		close(open(behaviour.gate, O_RDONLY | O_CLOEXEC));
	if (strcmp(behaviour.start, "load") != 0)
		poll(NULL, 0, behaviour.load_ms);
	else if (!begin_to_load(&behaviour))
		return 1;
	listening_fd = listen_on(argv[2], behaviour.reuses_port, behaviour.is_single ? 1 : 64);
	fprintf(stderr, "listening\n");
	for (;;) {
		int connection = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC), on = 1;
		pthread_t thread;

		while (connection < 0)
			pause(); /* deaf */
		setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (behaviour.is_single) {
			serve_one(connection);
			continue;
		}
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection))
			return 1;
		pthread_detach(thread);
	}
}
