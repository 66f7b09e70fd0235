/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of src/catalog/verify.c, record.c, beneath.c and sha256.c, through pc_model_file_open.
 * The files are not called *.gguf, as they are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/model_file.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "catalog/beneath.h"
#include "catalog/record.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/model_folder.h"

/* FIPS 180-2, appendix B.1; and of a million 'a', B.3. */
#define SUM_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SUM_MILLION "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
#define SUM_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static int enter_folder(void **state)
{
	(void)state;
	return model_folder_enter("verify");
}

static int leave_folder(void **state)
{
	(void)state;
	return model_folder_leave();
}

static int empty_folder(void **state)
{
	(void)state;
	model_folder_empty();
	unlink(in_folder("model.bin"));
	return 0;
}

/* What was found of it; it is closed again. */
static struct pc_model_file verify_with(const struct pc_model_entry *entry,
					struct pc_verify_options options)
{
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model_file done;

	options.hash_all = true;
	if (pc_model_file_open(entry, &options, &done, &err))
		fail_msg("%s", err.message);
	pc_model_file_close(&done);
	return done;
}

static struct pc_model_file verify(const struct pc_model_entry *entry, bool rehash)
{
	struct pc_verify_options options = { .record_dir = records, .rehash = rehash };

	return verify_with(entry, options);
}

static int refuse(const struct pc_model_entry *entry, struct pc_verify_options options,
		  struct pc_error *err)
{
	struct pc_model_file done = { .fd = -7 };
	int before = dup(0), after, rc;

	close(before);
	pc_error_clear(err);
	options.hash_all = true;
	rc = pc_model_file_open(entry, &options, &done, err);
	assert_int_equal(err->code, rc);
	assert_int_equal(done.fd, -7);
	/* Nothing was left open: the same number is free. */
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	return rc;
}

/* ---- sums ---- */

static void sums_are_the_standards(void **state)
{
	static char million[1000000];
	char sum[PC__SHA256_TEXT];

	(void)state;
	memset(million, 'a', sizeof(million));
	assert_int_equal(pc__sha256_of("abc", 3, sum, NULL), 0);
	assert_string_equal(sum, SUM_ABC);
	assert_int_equal(pc__sha256_of(million, sizeof(million), sum, NULL), 0);
	assert_string_equal(sum, SUM_MILLION);
	assert_int_equal(pc__sha256_of("", 0, sum, NULL), 0);
	assert_string_equal(sum, SUM_NOTHING);
}

static void hands_over_the_file_that_it_hashed(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "",
						   "size = 3\nsha256 = \"" SUM_ABC "\"\n");
	struct pc_verify_options options = { .record_dir = NULL };
	struct pc_error err = PC_ERROR_INIT;
	struct pc_model_file done;
	struct stat facts;
	char text[4] = "";

	(void)state;
	write_file("model.bin", "abc");
	assert_int_equal(pc_model_file_open(entry, &options, &done, &err), 0);
	assert_string_equal(done.sha256, SUM_ABC);
	assert_false(done.from_record);
	assert_string_equal(done.note, "");
	assert_int_equal(stat(entry->path, &facts), 0);
	assert_int_equal(done.identity.inode, facts.st_ino);
	assert_int_equal(done.identity.size_bytes, 3);
	assert_int_equal(read(done.fd, text, 3), 3);
	assert_string_equal(text, "abc");
	assert_int_equal(fcntl(done.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pc_model_file_check(&done, &err), 0);
	/* Another file takes its place. */
	settle(entry->path);
	write_file("other", "abc");
	assert_int_equal(rename(in_folder("other"), entry->path), 0);
	assert_int_equal(pc_model_file_check(&done, &err), PC_E_MODEL_FILE_INVALID);
	pc_model_file_close(&done);
}

/* ---- records ---- */

static bool never(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	(void)ctx;
	fail_msg("hashed %ju of %ju bytes", (uintmax_t)done_bytes, (uintmax_t)total_bytes);
	return false;
}

static void does_not_hash_what_has_not_changed(void **state)
{
	struct pc_verify_options options = { .record_dir = records, .progress = never };
	const struct pc_model_entry *entry = model("model.bin", "", "");
	struct pc_model_file done;
	struct stat facts;

	(void)state;
	settle(write_file("model.bin", "abc"));
	done = verify(entry, false);
	assert_false(done.from_record);
	done = verify_with(entry, options);
	assert_true(done.from_record);
	assert_string_equal(done.sha256, SUM_ABC);
	assert_false(verify(entry, true).from_record);
	assert_int_equal(stat(records, &facts), 0);
	assert_int_equal(facts.st_mode & 07777, 0700);
}

/* The same size, and the time set back: only the ctime tells. */
static void hashes_what_was_changed_behind_its_back(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	struct stat facts;
	struct timespec times[2];

	(void)state;
	settle(write_file("model.bin", "abd"));
	assert_int_equal(stat(entry->path, &facts), 0);
	verify(entry, false);
	write_file("model.bin", "abc");
	times[0] = facts.st_atim;
	times[1] = facts.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, entry->path, times, 0), 0);
	assert_string_equal(verify(entry, false).sha256, SUM_ABC);
}

/* However quickly one change follows another, a record never answers for the wrong one. */
static void a_quick_writer_is_never_missed(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	char text[8], sum[PC__SHA256_TEXT];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "%03d", i);
		write_file("model.bin", text);
		assert_int_equal(pc__sha256_of(text, 3, sum, NULL), 0);
		assert_string_equal(verify(entry, false).sha256, sum);
	}
}

/* What the clock shows after the file was opened, and so after it was asked for the tick. */
static bool look_at_clock(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	(void)done_bytes;
	(void)total_bytes;
	return clock_gettime(CLOCK_REALTIME_COARSE, ctx) == 0;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/*
 * A further change in the same tick would leave no trace. The clock may tick while this looks; then
 * it looks again. The mode is what changes, as it waits for no disk.
 */
static void a_file_of_this_tick_gets_no_record(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	struct timespec tick;
	struct pc_verify_options options = { .record_dir = records,
					     .progress = look_at_clock,
					     .ctx = &tick };
	struct pc_model_file done;
	struct stat facts;

	(void)state;
	write_file("model.bin", "abc");
	do {
		tree_remove(in_folder("state"));
		assert_int_equal(chmod(entry->path, 0600), 0);
		assert_int_equal(stat(entry->path, &facts), 0);
		done = verify_with(entry, options);
	} while (is_later(&tick, &facts.st_ctim));
	assert_int_equal(access(records, F_OK), -1);
	assert_string_equal(done.note, "");
}

/* The path of the one record. */
static const char *record_path(void)
{
	static char path[2 * PATH_MAX];
	DIR *dir = opendir(records);
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *item; (item = readdir(dir)) != NULL;) {
		if (item->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", records, item->d_name);
		count++;
	}
	closedir(dir);
	assert_int_equal(count, 1);
	return path;
}

static void a_damaged_record_is_reported_and_replaced(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	char line[512], damaged[512], sum[PC__SHA256_TEXT];
	struct pc_error why;
	struct pc_model_file done;
	struct stat facts;
	const char *path;
	ssize_t length;
	int fd;

	(void)state;
	settle(write_file("model.bin", "abc"));
	done = verify(entry, false);
	path = record_path();
	fd = open(path, O_RDWR | O_CLOEXEC);
	length = read(fd, line, sizeof(line));
	close(fd);
	assert_int_equal(stat(path, &facts), 0);
	assert_int_equal(facts.st_mode & 07777, 0600);
	for (ssize_t at = 0; at < length + 3; at++) {
		/* Each byte is another one; then the last is missing, and all but two or one
		 * are. */
		size_t size = (size_t)(at < length    ? length
				       : at == length ? length - 1
						      : length + 3 - at);

		memcpy(damaged, line, sizeof(line));
		if (at < length)
			damaged[at] ^= 1;
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(write(fd, damaged, size), size);
		close(fd);
		/* Asked directly: a record that is written anew waits for the disk. */
		pc_error_clear(&why);
		assert_false(pc__record_find(records, &done.identity, sum, &why));
		assert_contains(why.message, "is damaged");
	}
	done = verify(entry, false);
	assert_false(done.from_record);
	assert_string_equal(done.sha256, SUM_ABC);
	assert_contains(done.note, "is damaged");
	assert_true(verify(entry, false).from_record);
}

static void a_record_that_others_may_write_is_not_believed(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	struct pc_model_file done;
	char path[2 * PATH_MAX];

	(void)state;
	settle(write_file("model.bin", "abc"));
	verify(entry, false);
	assert_int_equal(chmod(record_path(), 0620), 0);
	done = verify(entry, false);
	assert_false(done.from_record);
	assert_contains(done.note, "not ours alone to write");
	assert_true(verify(entry, false).from_record);
	/* Nor is one behind a symbolic link. */
	snprintf(path, sizeof(path), "%s", record_path());
	assert_int_equal(rename(path, in_folder("elsewhere")), 0);
	assert_int_equal(symlink(in_folder("elsewhere"), path), 0);
	done = verify(entry, false);
	assert_false(done.from_record);
	assert_contains(done.note, "cannot be opened");
	unlink(in_folder("elsewhere"));
}

static void a_record_that_cannot_be_kept_is_no_failure(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	struct pc_verify_options options = { .rehash = false };
	struct pc_model_file done;
	char file[PATH_MAX];

	(void)state;
	snprintf(file, sizeof(file), "%.4000s", in_folder("pool.toml"));
	options.record_dir = file;
	settle(write_file("model.bin", "abc"));
	done = verify_with(entry, options);
	assert_string_equal(done.sha256, SUM_ABC);
	assert_contains(done.note, "cannot be opened");
}

/* ---- refusals ---- */

static void refuses_another_file(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "",
						   "sha256 = \"" SUM_MILLION "\"\n");
	struct pc_verify_options options = { .record_dir = records };
	struct pc_error err;

	(void)state;
	settle(write_file("model.bin", "abc"));
	/* Hashed, then from the record. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(refuse(entry, options, &err), PC_E_MODEL_FILE_INVALID);
		assert_contains(err.message,
				"has the SHA-256 " SUM_ABC " and the catalog says " SUM_MILLION
				"; put the right one there, or correct");
		assert_string_equal(pc_error_detail_get(&err, "sha256"), SUM_ABC);
		assert_string_equal(pc_error_detail_get(&err, "expected_sha256"), SUM_MILLION);
	}
	entry = model("model.bin", "", "size = 4\n");
	assert_int_equal(refuse(entry, options, &err), PC_E_MODEL_FILE_INVALID);
	assert_contains(err.message, "has 3 bytes and the catalog says 4");
	unlink(entry->path);
	assert_int_equal(refuse(entry, options, &err), PC_E_MODEL_FILE_MISSING);
	assert_int_equal(refuse(NULL, options, &err), PC_E_INVALID_ARGUMENT);
}

/* What the progress does to the file, once. */
struct meddling {
	const char *path;
	enum { CANCEL, WRITE, CUT } how;
};

static bool meddle(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
	const struct meddling *meddling = ctx;
	int fd;

	assert_int_equal(total_bytes, 3 << 20);
	if (meddling->how == CANCEL)
		return false;
	if (done_bytes > 1 << 20)
		return true;
	fd = open(meddling->path, O_WRONLY | O_CLOEXEC);
	if (meddling->how == WRITE)
		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	else
		assert_int_equal(ftruncate(fd, 2 << 20), 0);
	close(fd);
	return true;
}

static void notices_what_happens_meanwhile(void **state)
{
	const struct pc_model_entry *entry = model("model.bin", "", "");
	struct meddling meddling = { .path = entry->path };
	struct pc_verify_options options = { .record_dir = records,
					     .progress = meddle,
					     .ctx = &meddling };
	struct pc_error err;

	(void)state;
	write_file("model.bin", "abc");
	assert_int_equal(truncate(entry->path, 3 << 20), 0);
	settle(entry->path);
	meddling.how = CANCEL;
	assert_int_equal(refuse(entry, options, &err), PC_E_CANCELLED);
	assert_contains(err.message, "cancelled after 1048576 of 3145728 bytes");
	meddling.how = WRITE;
	assert_int_equal(refuse(entry, options, &err), PC_E_MODEL_FILE_INVALID);
	assert_contains(err.message, "changed while it was read");
	settle(entry->path);
	meddling.how = CUT;
	assert_int_equal(refuse(entry, options, &err), PC_E_MODEL_FILE_INVALID);
	assert_contains(err.message, "changed while it was read");
	/* None of them left a record. */
	assert_int_equal(access(records, F_OK), -1);
}

static void links_stay_in_the_cache(void **state)
{
	const struct pc_model_entry *entry = model("x.bin", "org/name", "");
	struct pc_verify_options options = { .record_dir = NULL };
	struct pc_model_file done;
	struct pc_error err;

	(void)state;
	write_file("secret", "abc");
	write_file("cache/blob", "abc");
	assert_int_equal(symlink("../../../secret", entry->path), 0);
	assert_int_equal(refuse(entry, options, &err), PC_E_MODEL_FILE_INVALID);
	assert_contains(err.message, "leads out of the cache's folder by a symbolic link");
	/* Inside is the usual layout of a hub's cache. */
	unlink(entry->path);
	assert_int_equal(symlink("../../blob", entry->path), 0);
	done = verify_with(entry, options);
	assert_string_equal(done.sha256, SUM_ABC);
	unlink(entry->path);
	unlink(in_folder("cache/blob"));
	/* A model without a repository is where the administrator says. */
	entry = model("link.bin", "", "");
	assert_int_equal(symlink("secret", entry->path), 0);
	done = verify_with(entry, options);
	unlink(entry->path);
	unlink(in_folder("secret"));
}

static void without_openat2_no_link_is_followed(void **state)
{
	static const struct {
		const char *path;
		int sys_errno;
	} cases[] = {
		{ "org/name/real", 0 },	     { "org/link/real", EXDEV }, { "org/name/link", EXDEV },
		{ "../pool.toml", EXDEV },   { "org/..", EXDEV },	 { "/etc/passwd", EXDEV },
		{ "org/name/none", ENOENT }, { "org/none/x", ENOENT },
	};
	int root = open(in_folder("cache"), O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	write_file("cache/org/name/real", "abc");
	assert_int_equal(symlink("real", in_folder("cache/org/name/link")), 0);
	assert_int_equal(symlink("name", in_folder("cache/org/link")), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		int fd = pc__open_beneath_stepwise(root, cases[i].path, O_RDONLY);

		if (cases[i].sys_errno == 0)
			assert_true(fd >= 0);
		else
			assert_true(fd == -1 && errno == cases[i].sys_errno);
		if (fd >= 0)
			close(fd);
	}
	close(root);
}

static void survives_a_lack_of_memory(void **state)
{
	const struct pc_model_entry *entry = model("x.bin", "org/name", "");
	struct pc_verify_options options = { .record_dir = records, .hash_all = true };

	(void)state;
	write_file("cache/org/name/x.bin", "abc");
	for (unsigned n = 1;; n++) {
		struct pc_model_file done = { .fd = -1 };
		struct pc_error err = PC_ERROR_INIT;
		int rc;

		fail_alloc_begin(n);
		rc = pc_model_file_open(entry, &options, &done, &err);
		pc_model_file_close(&done);
		if (fail_alloc_end())
			break;
		/* The folder's name is the system's affair, the block ours. */
		assert_true(rc == PC_E_OUT_OF_MEMORY || (rc == PC_E_IO && err.sys_errno == ENOMEM));
		assert_int_equal(fail_alloc_live(), 0);
		assert_true(n < 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_the_standards),
		cmocka_unit_test_teardown(hands_over_the_file_that_it_hashed, empty_folder),
		cmocka_unit_test_teardown(does_not_hash_what_has_not_changed, empty_folder),
		cmocka_unit_test_teardown(hashes_what_was_changed_behind_its_back, empty_folder),
		cmocka_unit_test_teardown(a_quick_writer_is_never_missed, empty_folder),
		cmocka_unit_test_teardown(a_file_of_this_tick_gets_no_record, empty_folder),
		cmocka_unit_test_teardown(a_damaged_record_is_reported_and_replaced, empty_folder),
		cmocka_unit_test_teardown(a_record_that_others_may_write_is_not_believed,
					  empty_folder),
		cmocka_unit_test_teardown(a_record_that_cannot_be_kept_is_no_failure, empty_folder),
		cmocka_unit_test_teardown(refuses_another_file, empty_folder),
		cmocka_unit_test_teardown(notices_what_happens_meanwhile, empty_folder),
		cmocka_unit_test_teardown(links_stay_in_the_cache, empty_folder),
		cmocka_unit_test(without_openat2_no_link_is_followed),
		cmocka_unit_test_teardown(survives_a_lack_of_memory, empty_folder),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
