/* SPDX-License-Identifier: MIT */
/*
 * test_port_strangers.c - somebody else listens on the port that a worker was promised: before the
 * worker does, or beside it with SO_REUSEPORT. He says that he is well when he is asked, and would
 * get our users' prompts. He gets none: a worker counts as ready only when its port is its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/campaign.h"
#include "faults/fixture.h"

/* Prompts while the stranger is there. */
#define CALLERS 6

struct heard {
	atomic_uint probes;
	atomic_uint prompts;
};

static struct heard *heard; /* shared with the stranger */

/* ---- the stranger ---- */

static void answer(int fd)
{
	static const char well[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				   "Content-Length: 21\r\nConnection: close\r\n\r\n"
				   "{\"answer\":\"stranger\"}";
	char head[16384];
	ssize_t got = recv(fd, head, sizeof(head), 0);

	if (got > 4) {
		atomic_fetch_add(memcmp(head, "GET ", 4) == 0 ? &heard->probes : &heard->prompts,
				 1);
		if (send(fd, well, sizeof(well) - 1, MSG_NOSIGNAL) < 0)
			_exit(1);
	}
	close(fd);
}

/* Listens on the port; returns when he does. */
static pid_t start_stranger(uint16_t port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	pid_t pid;

	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(fd, 64), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		for (;;)
			answer(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
	}
	assert_true(pid > 0);
	close(fd);
	return pid;
}

static void end_stranger(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- the rounds ---- */

struct stage {
	struct rig rig;
	struct campaign campaign;
	char *gate;
};

/* A worker that has its port and does not listen yet. */
static uint16_t start_late_worker(struct stage *stage, char id[64])
{
	json_t *worker;
	uint16_t port;

	fault_start_worker(&stage->rig, "m", id);
	worker = fault_worker(&stage->rig, id);
	port = (uint16_t)json_integer_value(json_object_get(worker, "port"));
	json_decref(worker);
	assert_true(port > 0);
	return port;
}

static void send_prompts(struct stage *stage, struct client *callers[CALLERS])
{
	for (size_t i = 0; i < CALLERS; i++) {
		callers[i] = client_open(stage->rig.address);
		client_request(callers[i], "POST", "/v1/chat/completions", NULL,
			       chat_body("m", false));
	}
}

/* Each was answered by a worker of ours or refused, and by nobody else. */
static void judge_answers(struct client *callers[CALLERS])
{
	for (size_t i = 0; i < CALLERS; i++) {
		int status = client_status(callers[i]);
		json_t *body = client_json(callers[i]);

		if (status == 200)
			assert_string_equal(json_string_value(json_object_get(body, "answer")),
					    "normal");
		else
			assert_int_equal(status, 503);
		json_decref(body);
		client_close(callers[i]);
	}
}

static void wait_for_probe(void)
{
	int64_t deadline = test_deadline_ms();

	while (atomic_load(&heard->probes) == 0) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("nobody asked the stranger how he is");
	}
}

static void wait_until_served(struct rig *rig)
{
	int64_t deadline = test_deadline_ms();

	while (fault_chat(rig, "m", NULL) != 200) {
		if (test_remaining_ms(deadline) == 0)
			fail_msg("the model is served no more");
	}
}

static void play_round(struct stage *stage, bool shares)
{
	struct client *callers[CALLERS];
	char behaviour[400], id[64];
	uint16_t port;
	pid_t stranger;
	int gate_fd;

	snprintf(behaviour, sizeof(behaviour), "start=gate\ngate=%s\n%s", stage->gate,
		 shares ? "reuse_port=1\n" : "");
	fault_behaviour(&stage->rig, "m", behaviour);
	atomic_store(&heard->probes, 0);
	port = start_late_worker(stage, id);
	stranger = start_stranger(port);
	send_prompts(stage, callers);
	/* He is asked and says that he is well; the worker comes after him. */
	wait_for_probe();
	fault_behaviour(&stage->rig, "m", shares ? "reuse_port=1" : "answer=normal");
	/* For reading too, as the worker may have been ended already. */
	gate_fd = open(stage->gate, O_RDWR | O_CLOEXEC);
	assert_true(gate_fd >= 0);
	judge_answers(callers);
	end_stranger(stranger);
	wait_until_served(&stage->rig);
	close(gate_fd);
	assert_int_equal(atomic_load(&heard->prompts), 0);
	rig_workers(&stage->rig, NULL, id);
	fault_stop_worker(&stage->rig, id);
	rig_wait_workers(&stage->rig, 0);
}

static void a_stranger_gets_no_prompt(void **state)
{
	struct stage stage = { .campaign = campaign_begin("strangers on ports", 2, 200) };
	struct rig *rig = &stage.rig;

	(void)state;
	heard = mmap(NULL, sizeof(*heard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_true(heard != MAP_FAILED);
	fault_rig_init(rig, "", "");
	rig_model(rig, "m", "answer=normal", "backend = \"fake_port\"");
	stage.gate = rig_gate(rig, "gate");
	rig_start(rig);
	for (unsigned round = 0; round < stage.campaign.rounds; round++)
		play_round(&stage, round % 2);
	fault_assert_books(rig);
	assert_int_equal(rig_stop(rig), 0);
	rig_fini(rig);
	free(stage.gate);
	munmap(heard, sizeof(*heard));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_stranger_gets_no_prompt, rig_clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
