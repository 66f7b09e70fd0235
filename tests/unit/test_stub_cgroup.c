/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of pool-stub with real control groups, where this machine lets us make them: the
 * worker joins, the kernel's killing for want of memory is told, and everything in the group dies
 * with the worker. Without them the tests are skipped and say why.
 *
 *	test_stub_cgroup POOL-STUB
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stub_fixture.h"

/* Enough for a shell and, in one test, for ourselves; soon full. */
#define MEMORY_LIMIT "67108864"

static bool write_text(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);

	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return is_written;
}

/* Our own group of a controller ("memory", or "" for version 2); false when there is none. */
static bool own_group(const char *controller, const char *mount, char group[PATH_MAX])
{
	FILE *file = fopen("/proc/self/cgroup", "r");
	char line[PATH_MAX], wanted[32];
	bool found = false;

	snprintf(wanted, sizeof(wanted), ":%s:", controller);
	while (file && !found && fgets(line, sizeof(line), file)) {
		char *path = strstr(line, wanted);

		if (!path)
			continue;
		path += strlen(wanted);
		path[strcspn(path, "\n")] = '\0';
		if (strcmp(path, "/") == 0)
			*path = '\0';
		found = snprintf(group, PATH_MAX, "%s%.3000s", mount, path) < PATH_MAX;
	}
	if (file)
		fclose(file);
	return found;
}

/* Makes a group below `parent`, with a limit of memory if `limit` names the file; or false. */
static bool make_group(const char *parent, const char *limit, char group[PATH_MAX])
{
	if (snprintf(group, PATH_MAX, "%.3000s/poolcore-test-%d", parent, getpid()) >= PATH_MAX ||
	    mkdir(group, 0755))
		return false;
	if (!limit || write_text(group, limit, MEMORY_LIMIT))
		return true;
	rmdir(group);
	return false;
}

/* A group with a limit, of version 1 or 2. The second place is where systemd delegates. */
static bool make_memory_group(char group[PATH_MAX], char parent[PATH_MAX])
{
	return (own_group("memory", "/sys/fs/cgroup/memory", parent) &&
		make_group(parent, "memory.limit_in_bytes", group)) ||
	       (own_group("", "/sys/fs/cgroup", parent) && make_group(parent, "memory.max", group));
}

static void skip_without_group(void)
{
	print_message("no control group can be made here: %s\n", strerror(errno));
	skip();
}

static struct watched *start_in(const char *group, const char *script)
{
	struct watched *w = watched_create();
	char *argv[4];
	struct pc_stub_spec spec = script_spec(w, argv, script);

	spec.cgroup = group;
	return start_spec(w, &spec);
}

/* tail(1) keeps a line until it ends. */
static void out_of_memory_in_its_own_group(void **state)
{
	static const struct {
		const char *script, *reason;
	} cases[] = {
		{ "exec tail -n 1 </dev/zero", "killed by SIGKILL, out of memory" },
		{ "tail -n 1 </dev/zero; exit 3",
		  "exited with status 3; one of its processes was killed, out of memory" },
		{ "exit 4", "exited with status 4" },
	};
	char group[PATH_MAX], parent[PATH_MAX];

	(void)state;
	if (!make_memory_group(group, parent))
		skip_without_group();
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		struct watched *w = start_in(group, cases[i].script);

		settle(w);
		assert_string_equal(w->end.exit.reason, cases[i].reason);
		assert_int_equal(w->end.oom_killed, strstr(cases[i].reason, "memory") != NULL);
		assert_true(w->end.exit.known);
		forget(w);
	}
	assert_int_equal(rmdir(group), 0);
}

/* A stub in a group that others share can only guess. It is us who would be in there with it; the
 * kernel takes the worker, whose score is raised. */
static void out_of_memory_in_a_shared_group(void **state)
{
	char group[PATH_MAX], parent[PATH_MAX];

	(void)state;
	if (!make_memory_group(group, parent))
		skip_without_group();
	if (!write_text(group, "cgroup.procs", "0")) {
		rmdir(group);
		skip_without_group();
	}

	struct watched *w = start("exec tail -n 1 </dev/zero");

	settle(w);
	assert_true(write_text(parent, "cgroup.procs", "0"));
	assert_int_equal(rmdir(group), 0);
	assert_contains(w->end.exit.reason, "killed by SIGKILL, perhaps out of memory: the kernel "
					    "killed a process in /");
	assert_false(w->end.oom_killed);
	forget(w);
}

/* Whatever is in the worker's group goes with it, be it a child of somebody else. */
static void the_group_dies_with_the_worker(void **state)
{
	char group[PATH_MAX], number[32], kill_file[PATH_MAX + 16];
	bool is_made = make_group("/sys/fs/cgroup/unified", NULL, group) ||
		       make_group("/sys/fs/cgroup", NULL, group);

	(void)state;
	if (!is_made)
		skip_without_group();
	snprintf(kill_file, sizeof(kill_file), "%s/cgroup.kill", group);
	if (access(kill_file, W_OK)) {
		rmdir(group);
		print_message("this kernel, or its version 1 of control groups, has no "
			      "cgroup.kill\n");
		skip();
	}

	pid_t guest = fork();

	assert_true(guest >= 0);
	if (guest == 0) {
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(126);
	}
	snprintf(number, sizeof(number), "%d", guest);
	assert_true(write_text(group, "cgroup.procs", number));

	struct watched *w = start_in(group, "sleep 1000 & read x <$GO; exit 5");
	int status;

	let_go();
	while (watch_once(w))
		;
	assert_int_equal(waitpid(guest, &status, 0), guest);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(rmdir(group), 0);
	settle(w);
	assert_int_equal(w->end.exit.code, 5);
	forget(w);
}

static void a_group_that_is_missing(void **state)
{
	struct watched *w = start_in("/nowhere/group", "exit 0");

	(void)state;
	settle(w);
	assert_string_equal(w->end.exit.reason, "cannot join the control group '/nowhere/group': "
						"No such file or directory");
	assert_int_equal(w->end.spawn_errno, ENOENT);
	assert_int_equal(w->started, 0);
	forget(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(out_of_memory_in_its_own_group),
		cmocka_unit_test(out_of_memory_in_a_shared_group),
		cmocka_unit_test(the_group_dies_with_the_worker),
		cmocka_unit_test(a_group_that_is_missing),
	};

	if (argc != 2) {
		fputs("usage: test_stub_cgroup POOL-STUB\n", stderr);
		return 2;
	}
	stub_program = argv[1];
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
