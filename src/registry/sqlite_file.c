/* SPDX-License-Identifier: MIT */
/*
 * sqlite_file.c - opens the registry's file in good order: creates it for us alone, refuses one
 * that is not ours or newer than we are, sets a damaged one aside, and brings an older one up to
 * date. It knows the schema and no row. Runs on the thread that opens the registry.
 *
 * What may be at the path, and what becomes of it:
 *
 *	nothing, or an empty file	a new registry
 *	a registry of this version	used
 *	an older one			migrated, in one transaction
 *	a newer one			refused (UNSUPPORTED), not one byte changed
 *	a database of somebody else	refused (UNSUPPORTED), not one byte changed
 *	damaged, or no database		renamed to PATH.corrupt-<time>, reported, and a new registry
 */
#include "registry/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "registry/sqlite_aside.h"

/* How long the log may get before it is written into the file. A guess; change freely. */
#define WAL_PAGES_MAX 64
/* How long a call waits for another process (an operator's sqlite3, the CLI) to let go. A guess;
 * change freely. */
#define BUSY_TIMEOUT_MS 5000

/* History: never edit a step that was released, append one. */
static const char *const schema_steps[] = {
	"CREATE TABLE worker ("
	"  worker_id TEXT PRIMARY KEY NOT NULL,"
	"  backend TEXT NOT NULL,"
	"  model_ref TEXT NOT NULL,"
	"  model_id TEXT NOT NULL,"
	"  device TEXT NOT NULL,"
	"  gpu_id INTEGER NOT NULL,"
	"  port INTEGER NOT NULL,"
	"  socket TEXT NOT NULL,"
	"  status TEXT NOT NULL,"
	"  pid INTEGER NOT NULL,"
	"  start_ticks INTEGER NOT NULL,"
	"  boot_id TEXT NOT NULL,"
	"  spawn_token TEXT NOT NULL,"
	"  spawned_wall_ms INTEGER NOT NULL,"
	"  updated_wall_ms INTEGER NOT NULL,"
	"  reserved_bytes INTEGER NOT NULL,"
	"  measured_bytes INTEGER NOT NULL,"
	"  exit_known INTEGER NOT NULL,"
	"  exit_code INTEGER NOT NULL,"
	"  exit_signal INTEGER NOT NULL,"
	"  exit_wall_ms INTEGER NOT NULL,"
	"  exit_reason TEXT NOT NULL"
	") WITHOUT ROWID",

	"CREATE TABLE measured_memory ("
	"  model TEXT NOT NULL,"
	"  engine TEXT NOT NULL,"
	"  device TEXT NOT NULL,"
	"  highest_bytes INTEGER NOT NULL,"
	"  last_bytes INTEGER NOT NULL,"
	"  measurements INTEGER NOT NULL,"
	"  last_wall_ms INTEGER NOT NULL,"
	"  turn INTEGER NOT NULL,"
	"  PRIMARY KEY (model, engine, device)"
	") WITHOUT ROWID;"
	"CREATE INDEX measured_memory_turn ON measured_memory (turn)",

	/* Workers of before have no stub, and how many slots they had is not known. */
	"ALTER TABLE worker ADD COLUMN stub_pid INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE worker ADD COLUMN pidfd_inode INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE worker ADD COLUMN slots INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE departed ("
	"  turn INTEGER PRIMARY KEY,"
	"  worker_id TEXT NOT NULL,"
	"  model_id TEXT NOT NULL,"
	"  backend TEXT NOT NULL,"
	"  device TEXT NOT NULL,"
	"  exit_known INTEGER NOT NULL,"
	"  exit_code INTEGER NOT NULL,"
	"  exit_signal INTEGER NOT NULL,"
	"  exit_wall_ms INTEGER NOT NULL,"
	"  exit_reason TEXT NOT NULL,"
	"  wall_ms INTEGER NOT NULL"
	")",

	/* Nobody knows what workers of before were launched with. */
	"ALTER TABLE worker ADD COLUMN definition TEXT NOT NULL DEFAULT ''",
};

#define SCHEMA_VERSION ((int)PC_ARRAY_LEN(schema_steps))

int pc__sqlite_error(struct pc_error *err, sqlite3 *db, const char *fmt, ...)
{
	char context[256], reason[PC_ERROR_MESSAGE_MAX];
	va_list args;

	if (sqlite3_errcode(db) == SQLITE_NOMEM)
		return pc_error_oom(err);
	va_start(args, fmt);
	vsnprintf(context, sizeof(context), fmt, args);
	va_end(args);
	/* SQLite quotes names out of the file. */
	snprintf(reason, sizeof(reason), "%s", sqlite3_errmsg(db));
	pc__utf8_repair(reason);
	pc_error_set(err, PC_E_IO, "%s: %s", context, reason);
	pc_error_detail(err, "sqlite_code", "%d", sqlite3_extended_errcode(db));
	return PC_E_IO;
}

int pc__sqlite_begin(sqlite3 *db, const char *task, const char *subject, struct pc_error *err)
{
	return sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL)
		       ? pc__sqlite_error(err, db, "cannot %s '%s'", task, subject)
		       : 0;
}

int pc__sqlite_finish(sqlite3 *db, int rc, const char *task, const char *subject,
		      struct pc_error *err)
{
	if (!rc && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL))
		rc = pc__sqlite_error(err, db, "cannot %s '%s'", task, subject);
	if (rc)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int execute(sqlite3 *db, const char *sql, struct pc_error *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) ? pc__sqlite_error(err, db, "'%.40s'", sql)
						       : 0;
}

/* The first column of the first row, as a number and as text ("" when it is NULL). Returns SQLite's
 * code, SQLITE_ROW when there is a row. */
static int query(sqlite3 *db, const char *sql, sqlite3_int64 *ret_number, char *ret_text,
		 size_t text_size)
{
	sqlite3_stmt *statement;
	int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

	if (rc)
		return rc;
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		const unsigned char *text = sqlite3_column_text(statement, 0);

		*ret_number = sqlite3_column_int64(statement, 0);
		if (ret_text)
			snprintf(ret_text, text_size, "%s", text ? (const char *)text : "");
	}
	/* finalize repeats the error of step for errmsg. */
	sqlite3_finalize(statement);
	return rc;
}

/* ---- the file ---- */

/*
 * Sees to it that there is a file which only we can read; it holds the workers' tokens. SQLite
 * gives -wal and -shm the same mode. An existing file is looked at by name and never opened here:
 * closing any descriptor of a file drops all locks that this process holds on it, those of an open
 * connection too (fcntl(2), "Record locking").
 */
static int prepare_file(const char *path, struct pc_error *err)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0) {
		(void)fchmod(fd, 0600); /* whatever the umask took away */
		close(fd);
		pc__sqlite_sync_folder_of(path);
		return 0;
	}
	if (errno != EEXIST)
		return pc_error_sys(err, PC_E_IO, errno, "cannot create the registry '%s'", path);
	if (stat(path, &st))
		return pc_error_sys(err, PC_E_IO, errno, "cannot open the registry '%s'", path);
	if (!S_ISREG(st.st_mode))
		return pc_error_set(err, PC_E_IO, "the registry '%s' is not a regular file", path);
	return 0;
}

/* Closes a file of ours that was left open to others (a restored copy, a careless tool). Only after
 * it has proved to be ours. */
static int restrict_mode(const char *path, struct pc_error *err)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };

	for (size_t i = 0; i < PC_ARRAY_LEN(suffixes); i++) {
		char part[PATH_MAX];
		struct stat st;

		snprintf(part, sizeof(part), "%s%s", path, suffixes[i]);
		if (stat(part, &st) == 0 && (st.st_mode & 077) && chmod(part, 0600))
			return pc_error_sys(
				err, PC_E_IO, errno,
				"others may read '%s' of the registry, and its mode cannot be "
				"set to 0600",
				part);
	}
	return 0;
}

/* ---- what is in it ---- */

enum verdict {
	VERDICT_USE,
	VERDICT_REFUSE, /* err says why */
	VERDICT_DAMAGED,
};

static bool is_damage(int sqlite_code)
{
	int primary = sqlite_code & 0xff;

	return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

struct header {
	sqlite3_int64 application_id, version, table_count;
	sqlite3_int64 program_count; /* parts of the schema that compute something */
};

/* Judges the header before anything is written. */
static enum verdict judge_header(const char *path, const struct header *header,
				 struct pc_error *err)
{
	bool blank = header->application_id == 0 && header->version == 0 &&
		     header->table_count == 0;

	if (!blank && header->application_id != PC__SQLITE_APPLICATION_ID) {
		pc_error_set(
			err, PC_E_UNSUPPORTED,
			"'%s' is a database of another program (application id 0x%08llx); give "
			"the registry a file of its own",
			path, (unsigned long long)header->application_id & 0xffffffff);
		return VERDICT_REFUSE;
	}
	if (header->version > SCHEMA_VERSION) {
		pc_error_set(
			err, PC_E_UNSUPPORTED,
			"the registry '%s' has schema %lld, of a newer version; this one knows "
			"up to %d",
			path, (long long)header->version, SCHEMA_VERSION);
		pc_error_detail(err, "schema_version", "%lld", (long long)header->version);
		return VERDICT_REFUSE;
	}
	/* They would run in our statements, and need not end. */
	if (header->program_count > 0) {
		pc_error_set(err, PC_E_UNSUPPORTED,
			     "the registry '%s' has triggers, views or virtual tables, and no "
			     "registry has any; drop them, or move the file away",
			     path);
		return VERDICT_REFUSE;
	}
	return VERDICT_USE;
}

/*
 * Whether the file ends before its last page does. SQLite reads the rest of that page as zeros and
 * finds nothing wrong with them. With a write-ahead log beside it a short file is in order: the
 * page is in the log, and the checkpoint that was interrupted will be repeated.
 */
static bool is_cut_short(sqlite3 *db, const char *path)
{
	sqlite3_int64 page_bytes = 0, pages = 0;
	char wal[PATH_MAX];
	struct stat st;

	snprintf(wal, sizeof(wal), "%s-wal", path);
	if (stat(wal, &st) == 0 && st.st_size > 0)
		return false;
	return query(db, "PRAGMA page_size", &page_bytes, NULL, 0) == SQLITE_ROW &&
	       query(db, "PRAGMA page_count", &pages, NULL, 0) == SQLITE_ROW &&
	       stat(path, &st) == 0 && st.st_size < pages * page_bytes;
}

/* `reason` is filled for VERDICT_DAMAGED. */
static enum verdict judge(sqlite3 *db, const char *path, char *reason, size_t reason_size,
			  struct pc_error *err)
{
	struct header header = { .version = 0 };
	sqlite3_int64 ignored;
	char answer[256] = "";
	int rc = query(db, "PRAGMA application_id", &header.application_id, NULL, 0);

	if (rc == SQLITE_ROW)
		rc = query(db, "PRAGMA user_version", &header.version, NULL, 0);
	if (rc == SQLITE_ROW)
		rc = query(db, "SELECT count(*) FROM sqlite_schema", &header.table_count, NULL, 0);
	if (rc == SQLITE_ROW)
		rc = query(db,
			   "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')"
			   " OR sql LIKE 'CREATE VIRTUAL%'",
			   &header.program_count, NULL, 0);
	if (rc == SQLITE_ROW && judge_header(path, &header, err) == VERDICT_REFUSE)
		return VERDICT_REFUSE;
	if (rc == SQLITE_ROW && header.version < 0) {
		snprintf(reason, reason_size, "there is no schema %lld", (long long)header.version);
		return VERDICT_DAMAGED;
	}
	if (rc == SQLITE_ROW)
		rc = query(db, "PRAGMA quick_check(1)", &ignored, answer, sizeof(answer));
	if (rc == SQLITE_ROW && strcmp(answer, "ok") == 0) {
		if (!is_cut_short(db, path))
			return VERDICT_USE;
		snprintf(answer, sizeof(answer), "the file ends within its last page");
	}
	if (rc != SQLITE_ROW && !is_damage(rc)) {
		pc__sqlite_error(err, db, "cannot read the registry '%s'", path);
		return VERDICT_REFUSE;
	}
	snprintf(reason, reason_size, "%s", rc == SQLITE_ROW ? answer : sqlite3_errmsg(db));
	pc__utf8_repair(reason);
	return VERDICT_DAMAGED;
}

static int migrate_locked(sqlite3 *db, const char *const steps[], int step_count,
			  struct pc_error *err)
{
	sqlite3_int64 version = 0;
	char sql[96];
	int rc = 0;

	if (query(db, "PRAGMA user_version", &version, NULL, 0) != SQLITE_ROW)
		return pc__sqlite_error(err, db, "cannot read the schema's version");
	if (version == step_count)
		return 0;
	for (sqlite3_int64 at = version; !rc && at < step_count; at++) {
		rc = execute(db, steps[at], err);
		if (rc)
			pc_error_prefix(err, "migrating the schema from %lld to %lld",
					(long long)at, (long long)at + 1);
	}
	if (rc)
		return rc;
	/* Pragmas take no bound values. */
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; PRAGMA application_id = %d",
		 step_count, PC__SQLITE_APPLICATION_ID);
	return execute(db, sql, err);
}

int pc__sqlite_migrate(sqlite3 *db, const char *const steps[], int step_count, struct pc_error *err)
{
	int rc = execute(db, "BEGIN IMMEDIATE", err);

	if (rc)
		return rc;
	rc = migrate_locked(db, steps, step_count, err);
	if (!rc)
		rc = execute(db, "COMMIT", err);
	if (rc)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* ---- opening ---- */

/* A commit is on the disk when it returns: FULL syncs the log at each one
 * (sqlite.org/pragma.html). */
static int set_durability(sqlite3 *db, const char *path, struct pc_error *err)
{
	sqlite3_int64 ignored;
	char mode[16] = "";

	if (query(db, "PRAGMA journal_mode = WAL", &ignored, mode, sizeof(mode)) != SQLITE_ROW)
		return pc__sqlite_error(err, db, "cannot write the registry '%s'", path);
	if (strcmp(mode, "wal") != 0)
		return pc_error_set(err, PC_E_IO,
				    "the registry '%s' needs a file system with shared memory: WAL "
				    "is not possible here",
				    path);
	/* SQLite's own 1000 pages are 4 MB of log for a registry of a few: on a small disk the log
	 * alone fills it, and then nothing can be moved out of it. */
	sqlite3_wal_autocheckpoint(db, WAL_PAGES_MAX);
	return execute(db, "PRAGMA synchronous = FULL", err);
}

static int open_connection(const char *path, sqlite3 **ret_db, struct pc_error *err)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
		int rc = db ? pc__sqlite_error(err, db, "cannot open the registry '%s'", path)
			    : pc_error_oom(err);

		sqlite3_close(db);
		return rc;
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
	/* A file that we come to refuse must not be changed by our closing it. */
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	/* Whoever wrote it: sqlite.org/security.html, "Untrusted SQLite Database Files". */
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_exec(db, "PRAGMA cell_size_check = ON", NULL, NULL, NULL);
	*ret_db = db;
	return 0;
}

static int open_once(const char *path, sqlite3 **ret_db, bool *ret_damaged, char *reason,
		     size_t reason_size, struct pc_error *err)
{
	sqlite3 *db = NULL;
	int rc = prepare_file(path, err);

	*ret_damaged = false;
	if (!rc)
		rc = open_connection(path, &db, err);
	if (rc)
		return rc;
	switch (judge(db, path, reason, reason_size, err)) {
	case VERDICT_USE:
		rc = restrict_mode(path, err);
		if (!rc)
			rc = set_durability(db, path, err);
		if (!rc) {
			/* Also where another process has it locked. */
			rc = pc__sqlite_migrate(db, schema_steps, SCHEMA_VERSION, err);
			if (rc)
				pc_error_prefix(err, "the registry '%s'", path);
		}
		break;
	case VERDICT_REFUSE:
		rc = err && err->code ? err->code : PC_E_IO;
		break;
	case VERDICT_DAMAGED:
		*ret_damaged = true;
		rc = PC_E_IO;
		break;
	}
	if (rc) {
		sqlite3_close(db);
		return rc;
	}
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	*ret_db = db;
	return 0;
}

int pc__sqlite_open(const char *path, sqlite3 **ret_db, struct pc_error *err)
{
	struct pc_error own = PC_ERROR_INIT;
	char reason[256] = "";
	bool damaged;

	/* Room for ".corrupt-20261122T031011Z-999-wal". */
	if (strlen(path) > PATH_MAX - 48)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT, "the registry's path is too long");
	/* The codes of refusals are read back from the error, so there has to be one. */
	if (!err)
		err = &own;

	int rc = open_once(path, ret_db, &damaged, reason, sizeof(reason), err);

	if (!damaged)
		return rc;
	rc = pc__sqlite_set_aside(path, reason, err);
	if (!rc)
		rc = open_once(path, ret_db, &damaged, reason, sizeof(reason), err);
	return rc && damaged
		       ? pc_error_set(err, PC_E_IO, "the new registry '%s' is damaged too: %s",
				      path, reason)
		       : rc;
}
