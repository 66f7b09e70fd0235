/* SPDX-License-Identifier: MIT */
/*
 * port_owner.c - see port_owner.h. The kernel's tables of sockets give the inodes of those that
 * listen, and a process has a socket open if a link in its /proc/PID/fd names the inode. What is
 * looked for is not a list of all owners but whether one of the worker's processes is among them:
 * a socket that it shares by inheritance is its own.
 *
 * Any thread; nothing is kept.
 */
#include "daemon/port_owner.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Processes of one worker that listen on its port, each with a socket of its own. A guess. */
#define LISTENERS_MAX 256
/* enum of the kernel's include/net/tcp_states.h, as /proc/net/tcp prints it */
#define STATE_LISTEN 0x0A

struct search {
	uint16_t port;
	pid_t leader;
	uint64_t
		inodes[LISTENERS_MAX]; /* of sockets that nobody of the worker's was seen to hold */
	size_t inode_count;
	pid_t *pids; /* of all processes */
	size_t pid_count;
	pid_t *family; /* the worker's that were found so far, as many as there are pids at most */
	size_t family_count;
};

/* ---- who listens ---- */

/*
 * proc_net_tcp(5): addresses are printed as the words they are in memory, so that each word reads
 * back as it is in a struct sockaddr.
 */
static bool can_get_ours(const char *address)
{
	uint32_t word[4] = { 0 };

	if (sscanf(address, "%8" SCNx32 "%8" SCNx32 "%8" SCNx32 "%8" SCNx32, &word[0], &word[1],
		   &word[2], &word[3]) == 4) {
		if (word[0] || word[1])
			return false;
		if (word[2] == 0)
			return word[3] == 0;
		return word[2] == htonl(0xffff) &&
		       (word[3] == htonl(INADDR_LOOPBACK) || word[3] == htonl(INADDR_ANY));
	}
	return word[0] == htonl(INADDR_LOOPBACK) || word[0] == htonl(INADDR_ANY);
}

/* The file has listening sockets first; behind them may be thousands of connections. */
static int read_listeners(struct search *search, const char *path, struct pc_error *err)
{
	FILE *file = fopen(path, "re");
	char line[512], address[40];
	unsigned port, state;
	uint64_t inode;

	if (!file && errno == ENOENT)
		return 0; /* a kernel without IPv6 */
	if (!file)
		return pc_error_sys(err, PC_E_IO, errno, "%s", path);
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0'; /* the heading */
	while (fgets(line, sizeof(line), file) &&
	       sscanf(line, " %*d: %39[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*s %*s %" SCNu64,
		      address, &port, &state, &inode) == 4 &&
	       state == STATE_LISTEN) {
		if (port != search->port || !can_get_ours(address))
			continue;
		if (search->inode_count == LISTENERS_MAX) {
			fclose(file);
			return pc_error_set(err, PC_E_PORT_IN_USE,
					    "more than %d sockets listen on port %u", LISTENERS_MAX,
					    port);
		}
		search->inodes[search->inode_count++] = inode;
	}
	fclose(file);
	return 0;
}

/* ---- whose they are ---- */

/* Whether the name in /proc/PID/fd is a link to one of the sockets; which one. */
static bool names_socket(const struct search *search, int dir_fd, const char *name, size_t *ret_at)
{
	char target[64];
	uint64_t inode;
	ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

	if (length <= 0)
		return false;
	target[length] = '\0';
	if (sscanf(target, "socket:[%" SCNu64 "]", &inode) != 1)
		return false;
	for (size_t i = 0; i < search->inode_count; i++) {
		if (search->inodes[i] == inode) {
			*ret_at = i;
			return true;
		}
	}
	return false;
}

/* Whether the process has one of the sockets open; those that it has are found if it is one of the
 * worker's. One that cannot be looked into has none that we can see. */
static bool look_into(struct search *search, pid_t pid, bool is_ours)
{
	char path[32];
	struct dirent *entry;
	bool holds = false;
	DIR *dir;
	size_t at;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && search->inode_count > 0 && (entry = readdir(dir))) {
		if (!names_socket(search, dirfd(dir), entry->d_name, &at))
			continue;
		holds = true;
		if (!is_ours)
			break;
		search->inodes[at] = search->inodes[--search->inode_count];
	}
	if (dir)
		closedir(dir);
	return holds;
}

/* Fields 4 and 6 of /proc/PID/stat; the name in field 2 may hold anything, a ')' too. */
static bool read_kinship(pid_t pid, pid_t *ret_parent, pid_t *ret_session)
{
	char path[32], text[512];
	const char *rest;
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = '\0';
	rest = strrchr(text, ')');
	return rest && sscanf(rest, ") %*c %d %*d %d", ret_parent, ret_session) == 2;
}

static bool is_family(const struct search *search, pid_t pid)
{
	for (size_t i = 0; i < search->family_count; i++) {
		if (search->family[i] == pid)
			return true;
	}
	return false;
}

/*
 * Looks at the processes from `leader` on, and then at those before it: a worker's are usually
 * among the first. A child may have a lower number than its parent, so that the round is repeated
 * as long as it finds anybody.
 */
static void look_at_family(struct search *search)
{
	size_t first = 0, before;

	while (first < search->pid_count && search->pids[first] < search->leader)
		first++;
	do {
		before = search->family_count;
		for (size_t i = 0; i < search->pid_count && search->inode_count > 0; i++) {
			pid_t pid = search->pids[(first + i) % search->pid_count];
			pid_t parent, session;

			if (is_family(search, pid) || !read_kinship(pid, &parent, &session))
				continue;
			if (pid != search->leader && session != search->leader &&
			    !is_family(search, parent))
				continue;
			search->family[search->family_count++] = pid;
			look_into(search, pid, true);
		}
	} while (search->inode_count > 0 && search->family_count > before);
}

static int list_processes(struct search *search, struct pc_error *err)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	size_t room = 0;

	if (!dir)
		return pc_error_sys(err, PC_E_IO, errno, "/proc");
	while ((entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);

		if (pid <= 0)
			continue;
		if (search->pid_count == room) {
			pid_t *more;

			room = room ? room * 2 : 512;
			more = pc_realloc(search->pids, room * sizeof(*more));
			if (!more) {
				closedir(dir);
				return pc_error_oom(err);
			}
			search->pids = more;
		}
		search->pids[search->pid_count++] = pid;
	}
	closedir(dir);
	search->family = pc_malloc((search->pid_count + 1) * sizeof(*search->family));
	return search->family ? 0 : pc_error_oom(err);
}

/* ---- the answer ---- */

/* Names the stranger, if we may look into it. */
static int refuse(struct search *search, struct pc_error *err)
{
	pid_t stranger = 0;

	for (size_t i = 0; i < search->pid_count && !stranger; i++) {
		if (!is_family(search, search->pids[i]) &&
		    look_into(search, search->pids[i], false))
			stranger = search->pids[i];
	}
	if (stranger)
		pc_error_set(err, PC_E_PORT_IN_USE,
			     "process %d listens on port %u and is not the worker's", (int)stranger,
			     search->port);
	else
		pc_error_set(err, PC_E_PORT_IN_USE,
			     "somebody listens on port %u who is not the worker", search->port);
	pc_error_detail(err, "port", "%u", search->port);
	if (stranger)
		pc_error_detail(err, "pid", "%d", (int)stranger);
	return PC_E_PORT_IN_USE;
}

int port_owner_check(uint16_t port, pid_t leader, struct pc_error *err)
{
	struct search search = { .port = port, .leader = leader };
	int rc = read_listeners(&search, "/proc/net/tcp", err);

	if (!rc)
		rc = read_listeners(&search, "/proc/net/tcp6", err);
	if (!rc && search.inode_count == 0)
		rc = pc_error_set(err, PC_E_NOT_FOUND, "nobody listens on port %u of 127.0.0.1",
				  port);
	if (!rc)
		rc = list_processes(&search, err);
	if (!rc) {
		look_at_family(&search);
		if (search.inode_count > 0)
			rc = refuse(&search, err);
	}
	pc_free(search.pids);
	pc_free(search.family);
	return rc;
}
