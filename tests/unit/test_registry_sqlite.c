/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/registry: what SQLite alone promises (files, damage, schema, death of a
 * writer).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/text.h"
#include "registry/sqlite_file.h"
#include "tests/unit/registry_fixture.h"

static void sqlite_persists(void **state)
{
	struct pc_worker_info expected = worker_make("w-1-1", 1), stored;

	(void)state;
	make_registry(3);

	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(count_workers(registry), 3);
	assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, NULL), 0);
	assert_same_worker(&expected, &stored);
	pc_registry_close(registry);
}

static void assert_mode_0600(const char *suffix)
{
	char path[320];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", db_path, suffix);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void sqlite_is_private(void **state)
{
	static const mode_t umasks[] = { 0, 022, 0777 };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(umasks); i++) {
		mode_t before = umask(umasks[i]);
		struct pc_registry *registry = open_sqlite_or_fail();
		struct pc_worker_info worker = worker_make("w-1-1", 1);

		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
		umask(before);
		assert_mode_0600("");
		assert_mode_0600("-wal");
		assert_mode_0600("-shm");
		pc_registry_close(registry);
		unlink(db_path);
	}

	make_registry(1);
	chmod(db_path, 0644);
	pc_registry_close(open_sqlite_or_fail());
	assert_mode_0600("");
}

static void sqlite_is_durable(void **state)
{
	struct pc_registry *registry;
	sqlite3 *db;
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	registry = open_sqlite_or_fail();
	pc_registry_close(registry);
	assert_int_equal(pc__sqlite_open(db_path, &db, &err), 0);
	assert_int_equal(raw_number(db, "PRAGMA synchronous"), 2);
	assert_int_equal(raw_number(db, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
	assert_int_equal(raw_number(db, "PRAGMA application_id"), PC__SQLITE_APPLICATION_ID);
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 4);
	sqlite3_close(db);
}

/* Opens a damaged file: it is kept byte for byte under another name and a usable one is there. */
static void expect_set_aside(const char *bytes, size_t length)
{
	static char kept[1 << 17];
	struct pc_worker_info worker = worker_make("w-2-1", 1);

	write_whole(db_path, bytes, length);
	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);

	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(logged.count, 1);
	assert_int_equal(logged.level, PC_LOG_ERROR);
	assert_string_equal(logged.subject, "registry");
	assert_string_equal(logged.path, db_path);
	assert_non_null(strstr(logged.kept_as, "/registry.db.corrupt-2"));
	assert_true(logged.reason[0] != '\0');
	assert_int_equal(pc__utf8_valid_prefix(logged.reason, sizeof(logged.reason)),
			 sizeof(logged.reason));
	assert_int_equal(read_whole(logged.kept_as, kept, sizeof(kept)), length);
	assert_memory_equal(kept, bytes, length);
	assert_int_equal(count_workers(registry), 0);
	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	pc_registry_close(registry);

	/* And it stays in use. */
	registry = open_sqlite_or_fail();
	assert_int_equal(logged.count, 1);
	assert_int_equal(count_workers(registry), 1);
	pc_registry_close(registry);
	unlink(db_path);
}

static void sqlite_damaged_files(void **state)
{
	static char good[1 << 17], bad[1 << 17];
	size_t length;
	char *name;

	(void)state;
	make_registry(40);
	length = read_whole(db_path, good, sizeof(good));
	assert_in_range(length, 3 * 4096, sizeof(good) - 1);
	unlink(db_path);

	/* No database at all. */
	memset(bad, 'x', 140);
	expect_set_aside(bad, 140);
	/* Truncated: in the header, in the first page, between pages, in the last page. */
	expect_set_aside(good, 50);
	expect_set_aside(good, 1000);
	expect_set_aside(good, 4096);
	expect_set_aside(good, length - 4096);
	expect_set_aside(good, length - 100);
	/* A page of rubbish in the middle, and the schema's own page. */
	memcpy(bad, good, length);
	memset(bad + 4096, 0x5a, 4096);
	expect_set_aside(bad, length);
	memcpy(bad, good, length);
	memset(bad + 100, 0x5a, 3000);
	expect_set_aside(bad, length);
	/* A version that never was: its byte in the header is the sign
	 * (sqlite.org/fileformat.html). */
	memcpy(bad, good, length);
	bad[60] = (char)0xff;
	expect_set_aside(bad, length);
	assert_string_equal(logged.reason, "there is no schema -16777212");
	/* A name that is no text, which SQLite quotes. */
	memcpy(bad, good, length);
	name = memmem(bad, 4096, "tableworker", strlen("tableworker"));
	assert_non_null(name);
	memset(name + strlen("table"), 0xff, strlen("worker"));
	expect_set_aside(bad, length);
	assert_non_null(strstr(logged.reason, "??????"));
}

/* The log of a damaged file must not be played into the new one. */
static void sqlite_damaged_with_log(void **state)
{
	static char file[1 << 17], log[1 << 17], kept[1 << 17];
	struct pc_worker_info worker = worker_make("w-2-1", 1);
	size_t file_length, log_length;
	char wal_path[320], kept_path[440];

	(void)state;
	snprintf(wal_path, sizeof(wal_path), "%s-wal", db_path);
	make_registry(40);

	/* As the machine's death leaves them: a file, and a log with good pages in it. */
	struct pc_registry *registry = open_sqlite_or_fail();

	assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	file_length = read_whole(db_path, file, sizeof(file));
	log_length = read_whole(wal_path, log, sizeof(log));
	assert_true(log_length > 4096);
	pc_registry_close(registry);
	memset(file + 4096, 0x5a, file_length - 4096);
	write_whole(db_path, file, file_length);
	write_whole(wal_path, log, log_length);

	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	registry = open_sqlite_or_fail();
	assert_int_equal(logged.count, 1);
	assert_int_equal(count_workers(registry), 0);
	pc_registry_close(registry);
	snprintf(kept_path, sizeof(kept_path), "%s-wal", logged.kept_as);
	assert_int_equal(read_whole(kept_path, kept, sizeof(kept)), log_length);
	assert_memory_equal(kept, log, log_length);
}

/* Opening must fail with UNSUPPORTED and leave the file as it is. */
static void expect_refused(const char *message)
{
	static char before[1 << 17], after[1 << 17];
	size_t length = read_whole(db_path, before, sizeof(before));
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	struct stat one, other;

	assert_int_equal(stat(db_path, &one), 0);
	assert_int_equal(open_sqlite(&registry, &err), PC_E_UNSUPPORTED);
	assert_int_equal(open_sqlite(&registry, NULL), PC_E_UNSUPPORTED);
	assert_null(registry);
	assert_string_equal(err.message, message);
	assert_int_equal(read_whole(db_path, after, sizeof(after)), length);
	assert_memory_equal(before, after, length);
	assert_int_equal(stat(db_path, &other), 0);
	assert_int_equal(one.st_mode, other.st_mode);
	assert_int_equal(one.st_ino, other.st_ino);
}

static void sqlite_newer_schema(void **state)
{
	char message[640];

	(void)state;
	make_registry(2);
	raw_run("PRAGMA user_version = 5");
	snprintf(message, sizeof(message),
		 "the registry '%s' has schema 5, of a newer version; this one knows up to 4",
		 db_path);
	expect_refused(message);
}

static void sqlite_foreign_files(void **state)
{
	char message[640];

	(void)state;
	raw_run("CREATE TABLE diary (day TEXT, entry TEXT)");
	chmod(db_path, 0644);
	snprintf(message, sizeof(message),
		 "'%s' is a database of another program (application id 0x00000000); give the "
		 "registry a file of its own",
		 db_path);
	expect_refused(message);
	raw_run("PRAGMA application_id = 0x47504b47");
	snprintf(message, sizeof(message),
		 "'%s' is a database of another program (application id 0x47504b47); give the "
		 "registry a file of its own",
		 db_path);
	expect_refused(message);
}

/* A stranger's file may compute: a view that never ends, a trigger that undoes what we write. */
static void sqlite_files_with_programs(void **state)
{
	static const char *const programs[] = {
		"CREATE TRIGGER undo AFTER INSERT ON worker BEGIN DELETE FROM worker; END",
		"CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
		"FROM n) SELECT * FROM n",
		"CREATE VIRTUAL TABLE found USING fts5(text)",
		"ALTER TABLE worker RENAME TO other; CREATE VIEW worker AS SELECT * FROM other",
	};
	char message[640];

	(void)state;
	snprintf(message, sizeof(message),
		 "the registry '%s' has triggers, views or virtual tables, and no registry has "
		 "any; drop them, or move the file away",
		 db_path);
	for (size_t i = 0; i < PC_ARRAY_LEN(programs); i++) {
		make_registry(2);
		raw_run(programs[i]);
		expect_refused(message);
		unlink(db_path);
	}
}

/* A file from before the first schema, the empty one of a crash at birth, is a new registry. */
static void sqlite_empty_file(void **state)
{
	(void)state;
	write_whole(db_path, "", 0);
	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	make_registry(1);
	assert_int_equal(logged.count, 0);
}

static void sqlite_migrations(void **state)
{
	/* The first three are good; the fourth goes with the fifth, which is not. */
	static const char *const steps[] = {
		"CREATE TABLE worker (worker_id TEXT PRIMARY KEY NOT NULL)",
		"ALTER TABLE worker ADD COLUMN note TEXT NOT NULL DEFAULT 'old'",
		"CREATE TABLE fleet (pool_id TEXT); INSERT INTO fleet VALUES ('here')",
		"CREATE TABLE more (x)",
		"CREATE TABLE fleet (again)",
	};
	struct pc_error err = PC_ERROR_INIT;
	sqlite3 *db = raw_open();

	(void)state;
	/* The first version, with data, as an older program left it. */
	assert_int_equal(pc__sqlite_migrate(db, steps, 1, &err), 0);
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 1);
	raw_exec(db, "INSERT INTO worker VALUES ('w-1-1')");

	assert_int_equal(pc__sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 3);
	assert_int_equal(raw_number(db, "PRAGMA application_id"), PC__SQLITE_APPLICATION_ID);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM worker WHERE note = 'old'"), 1);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM fleet"), 1);

	/* Nothing to do is done silently. */
	assert_int_equal(pc__sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM fleet"), 1);

	/* All steps or none. */
	assert_int_equal(pc__sqlite_migrate(db, steps, 5, &err), PC_E_IO);
	assert_string_equal(err.message, "migrating the schema from 4 to 5: 'CREATE TABLE fleet "
					 "(again)': table fleet already exists");
	assert_int_equal(raw_number(db, "PRAGMA user_version"), 3);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'more'"),
			 0);
	sqlite3_close(db);
}

/*
 * registry/schema-N.db is a file that the program with schema N wrote: two workers, from 2 on a
 * measurement, from 3 on a departed worker, from 4 on what the first worker was launched with. Who
 * appends a step to the schema adds the file of the new version, written by it.
 */
static bool place_old_file(int version)
{
	static char bytes[1 << 17];
	char path[512];

	snprintf(path, sizeof(path), REGISTRY_FILES "/schema-%d.db", version);
	if (access(path, F_OK))
		return false;
	write_whole(db_path, bytes, read_whole(path, bytes, sizeof(bytes)));
	return true;
}

static void expect_old_workers(struct pc_registry *registry, int version)
{
	struct pc_worker_info *workers;
	size_t count;

	assert_int_equal(pc_registry_list(registry, &workers, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(workers[0].worker_id, "w-1-1");
	assert_string_equal(workers[0].backend, "llama-server");
	assert_string_equal(workers[0].model_ref, "file:/m.gguf");
	assert_string_equal(workers[0].spawn_token, "token");
	assert_int_equal(workers[0].status, PC_WORKER_READY);
	assert_int_equal(workers[0].pid, 42);
	assert_int_equal(workers[0].port, 8080);
	assert_int_equal(workers[0].measured_bytes, 200);
	assert_int_equal(workers[0].stub_pid, 0);
	assert_int_equal(workers[0].pidfd_inode, 0);
	assert_int_equal(workers[0].slots, 0);
	assert_int_equal(strlen(workers[0].definition), version >= 4 ? PC_DEFINITION_MAX - 1 : 0);
	assert_string_equal(workers[1].socket, "/run/w.sock");
	assert_int_equal(workers[1].gpu_id, -1);
	assert_int_equal(workers[1].last_exit.signal, SIGKILL);
	pc_free(workers);
	if (version >= 2)
		expect_measured(registry, "tiny", "llama-server", "gpu0", 500, 400, 2);
}

static void expect_old_departed(struct pc_registry *registry, int version)
{
	struct pc_departed_worker *departed;
	size_t count;

	assert_int_equal(pc_registry_list_departed(registry, "tiny", &departed, &count, NULL), 0);
	assert_int_equal(count, version >= 3);
	if (count) {
		assert_string_equal(departed->worker_id, "w-1-3");
		assert_int_equal(departed->exit.signal, SIGSEGV);
	}
	pc_free(departed);
}

/* All of the schema as text. */
static void read_schema(char *out, size_t size)
{
	sqlite3 *db = raw_open();
	sqlite3_stmt *statement;

	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT group_concat(sql, ';') FROM (SELECT sql FROM "
					    "sqlite_schema ORDER BY name)",
					    -1, &statement, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	snprintf(out, size, "%s", (const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

static void sqlite_old_files_are_migrated(void **state)
{
	static char fresh[8192], migrated[8192];
	int current, version;
	sqlite3 *db;

	(void)state;
	make_registry(1);
	read_schema(fresh, sizeof(fresh));
	db = raw_open();
	current = raw_number(db, "PRAGMA user_version");
	sqlite3_close(db);
	unlink(db_path);
	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);

	for (version = 1; place_old_file(version); version++) {
		/* Twice: migrated, and found migrated. */
		for (int round = 0; round < 2; round++) {
			struct pc_registry *registry = open_sqlite_or_fail();

			expect_old_workers(registry, version);
			expect_old_departed(registry, version);
			pc_registry_close(registry);
		}
		read_schema(migrated, sizeof(migrated));
		assert_string_equal(migrated, fresh);

		/* And it takes what the new version has to say. */
		struct pc_registry *registry = open_sqlite_or_fail();
		struct pc_worker_info worker = worker_make("w-2-1", 5), stored;
		struct pc_worker_exit exit = { .known = true };

		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
		assert_int_equal(pc_registry_get(registry, "w-2-1", &stored, NULL), 0);
		assert_same_worker(&worker, &stored);
		assert_int_equal(pc_registry_end(registry, "w-1-1", &exit, NULL), 0);
		remember(registry, "new", "llama-server", "gpu0", 200);
		pc_registry_close(registry);
		unlink(db_path);
	}
	assert_int_equal(logged.count, 0);
	/* The present version has its file too. */
	assert_int_equal(version, current + 1);
}

/* An old file that cannot be migrated stays the old file. */
static void sqlite_failed_migration_changes_nothing(void **state)
{
	struct pc_registry *registry = NULL;
	struct pc_error err = PC_ERROR_INIT;
	char expected[512];

	(void)state;
	assert_true(place_old_file(1));
	raw_run("CREATE INDEX measured_memory_turn ON worker (pid)");
	assert_int_equal(open_sqlite(&registry, &err), PC_E_IO);
	assert_null(registry);
	snprintf(expected, sizeof(expected),
		 "the registry '%s': migrating the schema from 1 to 2: ", db_path);
	assert_ptr_equal(strstr(err.message, expected), err.message);
	assert_non_null(strstr(err.message, "index measured_memory_turn already exists"));

	sqlite3 *db = raw_open();

	assert_int_equal(raw_number(db, "PRAGMA user_version"), 1);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = "
					"'measured_memory'"),
			 0);
	assert_int_equal(raw_number(db, "SELECT count(*) FROM worker"), 2);
	sqlite3_close(db);
}

/* A row that cannot be ours is told of by name, hides no other, and can be thrown away. */
static void sqlite_edited_rows(void **state)
{
	static const struct {
		const char *set, *column;
	} edits[] = {
		{ "status = 'asleep'", "status" },
		{ "status = x'7265616479'", "status" },
		{ "port = 65536", "port" },
		{ "port = -1", "port" },
		{ "port = '80 and more'", "port" },
		{ "port = 80.5", "port" },
		{ "device = 'a name that is too long for it'", "device" },
		{ "device = x'637075'", "device" },
		{ "device = 'cpu' || char(0) || 'x'", "device" },
		{ "pid = -1", "pid" },
		{ "pid = 4294967297", "pid" },
		{ "stub_pid = -1", "stub_pid" },
		{ "gpu_id = -2", "gpu_id" },
		{ "slots = 4294967296", "slots" },
		{ "exit_known = 2", "exit_known" },
		{ "exit_code = 2147483648", "exit_code" },
		{ "start_ticks = 1e300", "start_ticks" },
		{ "exit_reason = zeroblob(0)", "exit_reason" },
	};
	struct pc_registry *registry;

	(void)state;
	make_registry(3);
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	registry = open_sqlite_or_fail();
	for (size_t i = 0; i < PC_ARRAY_LEN(edits); i++) {
		struct pc_worker_info stored = { .pid = -77 }, worker = worker_make("w-1-1", 1);
		struct pc_error err = PC_ERROR_INIT;
		char sql[128], message[128];

		snprintf(sql, sizeof(sql), "UPDATE worker SET %s WHERE worker_id = 'w-1-1'",
			 edits[i].set);
		snprintf(message, sizeof(message),
			 "the registry's row of worker 'w-1-1' holds no valid %s", edits[i].column);
		raw_run(sql);
		assert_int_equal(pc_registry_get(registry, "w-1-1", &stored, &err), PC_E_IO);
		assert_string_equal(err.message, message);
		assert_int_equal(stored.pid, -77);
		assert_int_equal(pc_registry_update(registry, &worker, NULL), PC_E_IO);

		memset(&logged, 0, sizeof(logged));
		assert_int_equal(count_workers(registry), 2);
		assert_int_equal(logged.count, 1);
		assert_int_equal(logged.level, PC_LOG_ERROR);
		assert_string_equal(logged.reason, message);

		assert_int_equal(pc_registry_unregister(registry, "w-1-1", NULL), 0);
		assert_int_equal(pc_registry_register(registry, &worker, NULL), 0);
	}
	pc_registry_close(registry);
}

/* A file full of rubbish fills no log: eight rows are named, the others counted. */
static void sqlite_many_edited_rows(void **state)
{
	struct pc_registry *registry;

	(void)state;
	make_registry(20);
	raw_run("UPDATE worker SET port = -1");
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	registry = open_sqlite_or_fail();
	memset(&logged, 0, sizeof(logged));
	assert_int_equal(count_workers(registry), 0);
	assert_int_equal(logged.count, 9);
	assert_string_equal(logged.message,
			    "rows are not valid: 12 more left out, and kept in the file");
	pc_registry_close(registry);
}

static void sqlite_edited_ids(void **state)
{
	static const char *const ids[] = {
		"''",
		"x'772d312d31'",
		"'w' || char(0) || 'x'",
		"zeroblob(100)",
		"'w-' || hex(zeroblob(100))",
		"cast(x'77ff' || zeroblob(0) as blob)",
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(ids); i++) {
		struct pc_registry *registry;
		char sql[128];

		make_registry(2);
		snprintf(sql, sizeof(sql),
			 "UPDATE worker SET worker_id = %s WHERE worker_id = 'w-1-1'", ids[i]);
		raw_run(sql);
		pc_log_set(log_hook, NULL, PC_LOG_WARN);
		registry = open_sqlite_or_fail();
		memset(&logged, 0, sizeof(logged));
		assert_int_equal(count_workers(registry), 1);
		assert_int_equal(logged.count, 1);
		assert_non_null(strstr(logged.reason, "holds no valid worker_id"));
		pc_registry_close(registry);
		unlink(db_path);
	}
}

static void sqlite_edited_departed(void **state)
{
	struct pc_worker_exit exit = { .known = true };
	struct pc_departed_worker *departed;
	struct pc_registry *registry;
	size_t count;

	(void)state;
	make_registry(3);
	registry = open_sqlite_or_fail();
	/* One that is not valid when it ends, and one that is edited afterwards. */
	raw_run("UPDATE worker SET model_id = x'00' WHERE worker_id = 'w-1-0'");
	assert_int_equal(pc_registry_end(registry, "w-1-0", &exit, NULL), 0);
	assert_int_equal(pc_registry_end(registry, "w-1-1", &exit, NULL), 0);
	assert_int_equal(pc_registry_end(registry, "w-1-2", &exit, NULL), 0);
	raw_run("UPDATE departed SET exit_signal = 'KILL' WHERE worker_id = 'w-1-1'");

	memset(&logged, 0, sizeof(logged));
	pc_log_set(log_hook, NULL, PC_LOG_WARN);
	assert_int_equal(pc_registry_list_departed(registry, NULL, &departed, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(departed->worker_id, "w-1-2");
	pc_free(departed);
	assert_int_equal(logged.count, 2);
	assert_string_equal(logged.reason, "the registry's row of departed worker 'w-1-0' holds "
					   "no valid model_id");
	pc_registry_close(registry);
}

/* In a child without rights, because root may write everywhere. */
static void sqlite_unwritable_folder(void **state)
{
	(void)state;
	assert_int_equal(chmod(folder, 0555), 0);

	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct pc_registry *registry;
		struct pc_error err = PC_ERROR_INIT;
		char expected[640];

		if (getuid() == 0 && setuid(65534))
			_exit(1);
		snprintf(expected, sizeof(expected),
			 "cannot create the registry '%s': Permission denied", db_path);
		if (open_sqlite(&registry, &err) != PC_E_IO)
			_exit(2);
		if (strcmp(err.message, expected) != 0 || err.sys_errno != EACCES)
			_exit(3);
		_exit(0);
	}

	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(folder, 0755), 0);
}

static void sqlite_bad_paths(void **state)
{
	struct pc_registry *registry;
	struct pc_error err = PC_ERROR_INIT;
	static char longest[5000];
	char path[400], expected[640];

	(void)state;
	snprintf(path, sizeof(path), "%s/nowhere/registry.db", folder);
	snprintf(expected, sizeof(expected),
		 "cannot create the registry '%s': No such file or directory", path);
	assert_int_equal(pc_registry_open_sqlite(path, &registry, &err), PC_E_IO);
	assert_string_equal(err.message, expected);

	pc_error_clear(&err);
	snprintf(expected, sizeof(expected), "the registry '%s' is not a regular file", folder);
	assert_int_equal(pc_registry_open_sqlite(folder, &registry, &err), PC_E_IO);
	assert_string_equal(err.message, expected);

	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(pc_registry_open_sqlite(longest, &registry, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_open_sqlite("", &registry, NULL), PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_registry_open_sqlite(NULL, &registry, NULL), PC_E_INVALID_ARGUMENT);
}

/* Names that SQLite gives a meaning are only names here. */
static void sqlite_odd_names(void **state)
{
	static const char *const names[] = { ":memory:", "file:x?mode=memory" };
	char *before = getcwd(NULL, 0);

	(void)state;
	assert_int_equal(chdir(folder), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++) {
		struct pc_registry *registry;
		struct stat st;

		assert_int_equal(pc_registry_open_sqlite(names[i], &registry, NULL), 0);
		pc_registry_close(registry);
		assert_int_equal(stat(names[i], &st), 0);
		assert_true(st.st_size > 0);
	}
	assert_int_equal(chdir(before), 0);
	free(before);
}

/* ---- death of a writer ---- */

enum { KILLS = 50 };

struct ack {
	int generation, number;
	bool updated; /* or registered */
};

static void write_until_killed(int generation, int acks)
{
	struct pc_registry *registry;

	if (open_sqlite(&registry, NULL))
		_exit(1);
	for (int number = 0;; number++) {
		struct ack ack = { .generation = generation, .number = number };
		char id[32];

		snprintf(id, sizeof(id), "w-%d-%d", generation, number);

		struct pc_worker_info worker = worker_make(id, number);

		if (pc_registry_register(registry, &worker, NULL) ||
		    write(acks, &ack, sizeof(ack)) != sizeof(ack))
			_exit(2);
		worker.status = PC_WORKER_READY;
		ack.updated = true;
		if (pc_registry_update(registry, &worker, NULL) ||
		    write(acks, &ack, sizeof(ack)) != sizeof(ack))
			_exit(3);
	}
}

/*
 * A child writes and says what was acknowledged; it is killed in whatever it does after a number of
 * acknowledgements that varies. Each of them must be found afterwards.
 */
static void sqlite_survives_kill(void **state)
{
	unsigned random = 12345, checked = 0;

	(void)state;
	for (int generation = 0; generation < KILLS; generation++) {
		int acks[2], status;
		struct ack ack, last = { .number = -1 };

		assert_int_equal(pipe2(acks, O_CLOEXEC), 0);

		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			close(acks[0]);
			write_until_killed(generation, acks[1]);
		}
		close(acks[1]);
		random = random * 1103515245 + 12345;
		/* None: it may die while it opens the file. */
		for (unsigned left = random >> 16 & 15; left > 0; left--) {
			assert_int_equal(read(acks[0], &ack, sizeof(ack)), sizeof(ack));
			last = ack;
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		while (read(acks[0], &ack, sizeof(ack)) == sizeof(ack))
			last = ack;
		close(acks[0]);

		struct pc_registry *registry = open_sqlite_or_fail();

		for (int number = 0; number <= last.number; number++) {
			struct pc_worker_info stored;
			char id[32];

			snprintf(id, sizeof(id), "w-%d-%d", generation, number);
			assert_int_equal(pc_registry_get(registry, id, &stored, NULL), 0);
			if (number < last.number || last.updated)
				assert_int_equal(stored.status, PC_WORKER_READY);
			checked++;
		}
		pc_registry_close(registry);
	}
	assert_in_range(checked, KILLS, 100000);

	/* No file was ever taken for a damaged one. */
	char pattern[400];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s.corrupt-*", db_path);
	assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SQLITE(sqlite_persists),
		SQLITE(sqlite_is_private),
		SQLITE(sqlite_is_durable),
		SQLITE(sqlite_damaged_files),
		SQLITE(sqlite_damaged_with_log),
		SQLITE(sqlite_newer_schema),
		SQLITE(sqlite_foreign_files),
		SQLITE(sqlite_files_with_programs),
		SQLITE(sqlite_empty_file),
		SQLITE(sqlite_migrations),
		SQLITE(sqlite_old_files_are_migrated),
		SQLITE(sqlite_failed_migration_changes_nothing),
		SQLITE(sqlite_edited_rows),
		SQLITE(sqlite_many_edited_rows),
		SQLITE(sqlite_edited_ids),
		SQLITE(sqlite_edited_departed),
		SQLITE(sqlite_unwritable_folder),
		SQLITE(sqlite_bad_paths),
		SQLITE(sqlite_odd_names),
		SQLITE(sqlite_survives_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
