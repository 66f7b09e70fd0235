/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - reads /proc (and pidfds): a process's identity, this boot's, and the memory of a
 * process with its children. It signals nobody and keeps nothing but the boot id. Any thread.
 */
#include "lifecycle/procfs.h"

#include <poolcore/lifecycle.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Reads a small file whole (what does not fit is cut) and terminates it; its length or -errno. */
static ssize_t read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (length < size - 1) {
		ssize_t got = read(fd, text + length, size - 1 - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) { /* ESRCH: the process went between open and read */
			int failure = errno;

			close(fd);
			return -failure;
		}
		if (got == 0)
			break;
		length += (size_t)got;
	}
	close(fd);
	text[length] = '\0';
	return (ssize_t)length;
}

/* ---- identity ---- */

/* Behind `count` blanks; NULL when there are fewer. */
static const char *skip_fields(const char *p, int count)
{
	while (p && count-- > 0) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p;
}

/* A number with a blank behind it. */
static bool parse_field(const char *p, uint64_t *ret_value)
{
	char *end;

	errno = 0;

	unsigned long long value = strtoull(p, &end, 10);

	if (errno || end == p || *end != ' ')
		return false;
	*ret_value = value;
	return true;
}

/* Field 2 is the program's own name and may hold anything, even ") Z 1", so the fields are counted
 * from the last parenthesis. */
int pc__proc_stat_parse(const char *text, struct pc__proc_stat *ret_stat)
{
	struct pc__proc_stat stat = { .state = '?' };
	const char *p = strrchr(text, ')');
	uint64_t user, system;

	if (!p || sscanf(p + 1, " %c %d %d %d %*d %*d %u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
			 &stat.state, &stat.parent, &stat.group, &stat.session, &stat.flags, &user,
			 &system) != 7)
		return -EINVAL;
	stat.cpu_ticks = user + system;
	p = skip_fields(p + 1, 20);
	if (!p || !parse_field(p, &stat.start_ticks))
		return -EINVAL;
	/* These are no reason to refuse a text that ends before them. */
	p = skip_fields(p, 28);
	if (p && parse_field(p, &stat.env_start))
		parse_field(skip_fields(p, 1), &stat.env_end);
	*ret_stat = stat;
	return 0;
}

int pc__proc_stat_read(pid_t pid, struct pc__proc_stat *ret_stat)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);

	ssize_t length = read_text(path, text, sizeof(text));

	return length < 0 ? (int)length : pc__proc_stat_parse(text, ret_stat);
}

/* PID_FS_MAGIC of <linux/magic.h>; older headers lack it. */
#define PIDFS_MAGIC 0x50494446

uint64_t pc__pidfd_inode(int pidfd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(pidfd, &fs) || fs.f_type != PIDFS_MAGIC || fstat(pidfd, &st))
		return 0;
	return st.st_ino;
}

/*
 * A dying process closes its descriptors some time before its parent can collect it: peers see its
 * sockets close while its pidfd is still silent. It carries PF_EXITING (include/linux/sched.h) from
 * the beginning of its exit.
 */
bool pc_process_is_ending(pid_t pid)
{
	const uint32_t pf_exiting = 0x4;
	struct pc__proc_stat stat;
	int rc = pc__proc_stat_read(pid, &stat);

	/* Any other failure is ours (no descriptor left) and says nothing about the process. */
	if (rc)
		return rc == -ESRCH;
	return stat.state == 'Z' || stat.state == 'X' || (stat.flags & pf_exiting);
}

static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;
static char boot_id[40]; /* [const after boot_id_once] */

static void boot_id_read(void)
{
	char text[64];

	if (read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text)) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	snprintf(boot_id, sizeof(boot_id), "%.*s", (int)sizeof(boot_id) - 1, text);
}

const char *pc_boot_id(void)
{
	pthread_once(&boot_id_once, boot_id_read);
	return boot_id;
}

/* ---- a process and its children ---- */

/* A worker with more processes than this is counted in part. A guess: a vLLM server has one per GPU
 * and a few helpers. */
#define FAMILY_MAX 256

struct family {
	size_t count;
	pid_t pids[FAMILY_MAX];
};

static uint64_t status_kib(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

/* Field names are those of proc_pid_status(5). They are searched with the newline in front, so that
 * a program named "RssAnon:" changes nothing. */
static uint64_t memory_of_one(pid_t pid)
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_text(path, text, sizeof(text)) < 0)
		return 0;
	return (status_kib(text, "\nRssAnon:") + status_kib(text, "\nVmSwap:")) * 1024;
}

static void family_add(struct family *family, pid_t pid)
{
	for (size_t i = 0; i < family->count; i++) {
		if (family->pids[i] == pid) /* it got another parent while we looked */
			return;
	}
	if (family->count < FAMILY_MAX)
		family->pids[family->count++] = pid;
}

/* Children are listed by the thread that made them; kernels without
 * CONFIG_PROC_CHILDREN list none. */
static void family_add_children(struct family *family, pid_t pid)
{
	char path[64], text[4096];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);

	DIR *tasks = opendir(path);

	if (!tasks)
		return;
	while ((entry = readdir(tasks))) {
		char *next = text, *end;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", pid, entry->d_name);
		if (read_text(path, text, sizeof(text)) <= 0)
			continue;
		/* Each number is followed by a space; one that was cut is not. */
		for (long child = strtol(next, &end, 10); end != next && *end == ' ';
		     child = strtol(next, &end, 10)) {
			family_add(family, (pid_t)child);
			next = end + 1;
		}
	}
	closedir(tasks);
}

/* The process, and those below it. */
static bool find_family(pid_t pid, struct family *family)
{
	struct pc__proc_stat stat;

	if (pid <= 0 || pc__proc_stat_read(pid, &stat))
		return false;
	family->count = 1;
	family->pids[0] = pid;
	for (size_t i = 0; i < family->count; i++)
		family_add_children(family, family->pids[i]);
	return true;
}

uint64_t pc_process_memory(pid_t pid)
{
	struct family family;
	uint64_t bytes = 0;

	if (!find_family(pid, &family))
		return 0;
	for (size_t i = 0; i < family.count; i++)
		bytes += memory_of_one(family.pids[i]);
	return bytes;
}

uint64_t pc_process_cpu_ticks(pid_t pid)
{
	struct pc__proc_stat stat;
	struct family family;
	uint64_t ticks = 0;

	if (!find_family(pid, &family))
		return 0;
	for (size_t i = 0; i < family.count; i++) {
		if (pc__proc_stat_read(family.pids[i], &stat) == 0)
			ticks += stat.cpu_ticks;
	}
	return ticks;
}
