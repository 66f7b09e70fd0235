/* SPDX-License-Identifier: MIT */
/*
 * oom.c - looks at the kernel's counter of processes that it killed for want of memory: "oom_kill"
 * in memory.events of cgroup v2, or in memory.oom_control of v1's memory controller. With a control
 * group of the worker's own it speaks of the worker; that of the group we live in is a hint.
 */
#include "stub/stub.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a small file of /proc or a control group; false when there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return false;
	length = read(fd, text, size - 1);
	close(fd);
	if (length < 0)
		return false;
	text[length] = '\0';
	return true;
}

/* -1 when it has no such line. */
static int64_t read_counter(const char *path)
{
	static const char key[] = "oom_kill ";
	char text[1024];

	if (!path[0] || !read_text(path, text, sizeof(text)))
		return -1;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, strlen(key)) == 0)
			return strtoll(line + strlen(key), NULL, 10);
	}
	return -1;
}

/* Takes the path if there is a counter. */
static bool try_path(struct oom *oom, const char *folder, const char *group, const char *file)
{
	int64_t count;

	if (snprintf(oom->path, sizeof(oom->path), "%s%s/%s", folder, group, file) <
	    (int)sizeof(oom->path)) {
		count = read_counter(oom->path);
		if (count >= 0) {
			oom->before = (uint64_t)count;
			return true;
		}
	}
	oom->path[0] = '\0';
	return false;
}

/* Lines of /proc/self/cgroup are "N:controllers:/path", see cgroups(7); the places of the mounts
 * are those of systemd. */
static void find_our_own(struct oom *oom)
{
	char text[4096], *rest, *line;

	if (!read_text("/proc/self/cgroup", text, sizeof(text)))
		return;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		if (strcmp(controllers, ":memory") == 0 &&
		    try_path(oom, "/sys/fs/cgroup/memory", group, "memory.oom_control"))
			return;
		if (strcmp(controllers, ":") == 0 &&
		    (try_path(oom, "/sys/fs/cgroup", group, "memory.events") ||
		     try_path(oom, "/sys/fs/cgroup/unified", group, "memory.events")))
			return;
	}
}

void oom_init(struct oom *oom, const char *cgroup)
{
	*oom = (struct oom){ .is_own = cgroup != NULL };
	if (!cgroup)
		find_our_own(oom);
	else if (!try_path(oom, cgroup, "", "memory.events"))
		try_path(oom, cgroup, "", "memory.oom_control");
}

bool oom_happened(const struct oom *oom)
{
	int64_t now = read_counter(oom->path);

	return now >= 0 && (uint64_t)now > oom->before;
}
