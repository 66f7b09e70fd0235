/* SPDX-License-Identifier: MIT */
/*
 * Hostile names: two thousand ids, file names and references from a seed, and files that are not
 * what they seem. Each is refused with the right code, and no file outside the cache is opened: the
 * files that they mean are there, with a model's bytes in them, and the kernel is asked (inotify)
 * whether anybody opened one or looked into their folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/model_file.h>
#include <poolcore/model_ref.h>
#include <poolcore/text.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/model_folder.h"

#define NAMES 2000
#define TEXT_MAX 8192

static const struct pc_verify_options no_records;
static int watch_fd = -1;

/* ---- the decoys ---- */

static int enter_folder(void **state)
{
	(void)state;
	if (model_folder_enter("hostile"))
		return -1;
	mkdir(in_folder("outside"), 0700);
	write_file("outside/secret.gguf", "GGUF secret");
	watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return inotify_add_watch(watch_fd, in_folder("outside"), IN_OPEN | IN_ACCESS) < 0 ? -1 : 0;
}

static int leave_folder(void **state)
{
	(void)state;
	close(watch_fd);
	return model_folder_leave();
}

static bool decoy_was_opened(void)
{
	char events[4096];
	bool any = false;

	while (read(watch_fd, events, sizeof(events)) > 0)
		any = true;
	assert_int_equal(errno, EAGAIN);
	return any;
}

/* The watch works: what follows can fail. */
static void an_open_is_noticed(void **state)
{
	(void)state;
	assert_false(decoy_was_opened());
	close(open(in_folder("outside/secret.gguf"), O_RDONLY | O_CLOEXEC));
	assert_true(decoy_was_opened());
	close(open(in_folder("outside"), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	assert_true(decoy_was_opened());
}

/* ---- names ---- */

static uint64_t seed = 20261126;

/* splitmix64 (Steele, Lea, Flood, 2014). */
static unsigned below(unsigned bound)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (unsigned)((z ^ z >> 31) % bound);
}

static const char *one_of(const char *const *words, size_t count)
{
	return words[below((unsigned)count)];
}

#define ONE_OF(...) \
	one_of((const char *const[]){ __VA_ARGS__ }, \
	       PC_ARRAY_LEN(((const char *const[]){ __VA_ARGS__ })))

static void add(char *text, const char *more)
{
	size_t length = strlen(text);

	assert_true(length + strlen(more) < TEXT_MAX);
	memcpy(text + length, more, strlen(more) + 1);
}

/* Some harmless letters: as many as make no difference. */
static void add_harmless(char *text)
{
	char word[] = "aB3_.-xyz";
	size_t length = 1 + below(sizeof(word) - 1);

	word[length] = '\0';
	add(text, word);
}

static void add_times(char *text, const char *more, unsigned times)
{
	while (times-- > 0)
		add(text, more);
}

static void climb(char *text)
{
	add_times(text, "../", 1 + below(8));
	add(text, "outside/secret.gguf");
}

static void climb_later(char *text)
{
	add_harmless(text);
	add(text, "/");
	add_times(text, "../", 2 + below(8));
	add(text, ONE_OF("secret.gguf", "outside/secret.gguf", "etc/passwd", ".."));
}

static void stand_still(char *text)
{
	add_harmless(text);
	add(text, ONE_OF("//", "/./", "/.", "/", "/..", "//../"));
	if (text[strlen(text) - 1] == '/' && below(2))
		add(text, "/");
}

static void be_absolute(char *text)
{
	add(text, in_folder("outside/secret.gguf"));
}

static void name_the_kernels(char *text)
{
	add(text, ONE_OF("/proc/self/mem", "/proc/kcore", "/proc/self/environ", "/dev/mem",
			 "/dev/zero", "/dev/stdin", "/sys/kernel/notes", "/proc/self/fd/0",
			 "/dev/fd/3", "/proc/1/cwd/etc/shadow"));
}

static void climb_like_windows(char *text)
{
	add_times(text, "..\\", 1 + below(8));
	add(text, ONE_OF("secret.gguf", "outside\\secret.gguf", "C:\\x"));
}

static void encode(char *text)
{
	add_times(text,
		  ONE_OF("%2e%2e%2f", "%2E%2E/", "..%2f", "%252e%252e%252f", "..%5c",
			 "%c0%ae%c0%ae/", "%00"),
		  1 + below(4));
	add(text, "secret.gguf");
}

static void encode_overlong(char *text)
{
	add_times(text,
		  ONE_OF("\xc0\xae\xc0\xae/", "\xe0\x80\xae\xe0\x80\xae/", "..\xc0\xaf",
			 "\xf0\x80\x80\xae/", "\xc1\x9c"),
		  1 + below(4));
	add(text, "secret.gguf");
}

static void be_no_text(char *text)
{
	add_harmless(text);
	add(text, ONE_OF("\xff", "\xfe\xff", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x80", "\x80",
			 "\xf8\x88\x80\x80\x80"));
	if (below(2))
		add_harmless(text);
}

static void look_like_an_option(char *text)
{
	add(text, ONE_OF("-", "--", "-rf", "--rpc=evil.example:1", "--model"));
	add_harmless(text);
}

static void be_long(char *text)
{
	add_times(text, "0123456789abcdef", 16 + below(200));
	if (below(2)) {
		add(text, "/");
		add_times(text, "aaaaaaaaaaaaaaa/", below(200));
		add(text, "x");
	}
}

static void control(char *text)
{
	char byte[2] = { (char)(1 + below(0x1f)), '\0' };

	add_harmless(text);
	add(text, below(8) ? byte : "\x7f");
	add_harmless(text);
}

static void turn_text(char *text)
{
	add_harmless(text);
	add(text, ONE_OF("\xe2\x80\xae", "\xe2\x80\xad", "\xe2\x81\xa6", "\xe2\x81\xa9", "\xd8\x9c",
			 "\xe2\x80\x8f", "\xe2\x80\xaa", "\xe2\x80\x8b", "\xef\xbb\xbf",
			 "\xe2\x80\xa8", "\xf3\xa0\x81\xa1", "\xc2\x9b"));
	add_harmless(text);
}

static void end_in_nothing(char *text)
{
	add_harmless(text);
	add(text, ONE_OF(" ", "  ", ". ", "./x ", " ."));
}

static void begin_with_nothing(char *text)
{
	add(text, " ");
	add_harmless(text);
}

static void be_nothing(char *text)
{
	add(text, ONE_OF("", ".", "..", "/", "../", "./", "//", "~/../.."));
}

static void (*const kinds[])(char *text) = {
	climb,	    climb_later,     stand_still, be_absolute,	       name_the_kernels,
	encode,	    encode_overlong, be_no_text,  look_like_an_option, climb_like_windows,
	be_long,    control,	     turn_text,	  end_in_nothing,      begin_with_nothing,
	be_nothing,
};

/* The text as a basic string of TOML; what is not UTF-8 stays, and is for the reader to refuse. */
static void print_toml(const char *text, char *out)
{
	*out++ = '"';
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte < 0x20 || byte == 0x7f)
			out += sprintf(out, "\\u%04x", byte);
		else if (byte == '"' || byte == '\\')
			out += sprintf(out, "\\%c", byte);
		else
			*out++ = *text;
	}
	strcpy(out, "\"");
}

/* A catalog with `value`, TOML, in one of its places, is refused as it stands. */
static void refuse_in_catalog(const char *place, const char *value)
{
	static char toml[8 * TEXT_MAX];
	struct pc_catalog *loaded = NULL;
	struct pc_error err = PC_ERROR_INIT;

	int length = snprintf(
		toml, sizeof(toml),
		"[[model]]\nid = %s\nrepo = %s\nfile = %s\naliases = [%s]\nrevision = %s\n"
		"capability = \"text_to_text\"\nest_memory_allocation_mb = 1\n",
		strcmp(place, "id") == 0 ? value : "\"m\"",
		strcmp(place, "repo") == 0 ? value : "\"org/name\"",
		strcmp(place, "file") == 0 ? value : "\"x.gguf\"",
		strcmp(place, "alias") == 0 ? value : "",
		strcmp(place, "revision") == 0 ? value : "\"main\"");

	assert_in_range(length, 1, sizeof(toml) - 1);
	/* Some file systems wait for the disk when a file is cut short and written anew. */
	unlink(in_folder("a.toml"));
	write_file("a.toml", toml);
	if (pc_catalog_load(config, &loaded, &err) != PC_E_INVALID_CONFIG)
		fail_msg("%s = %s was not refused: %d %s", place, value, err.code, err.message);
	assert_null(loaded);
}

static void refuse_in_reference(const char *fmt, const char *text)
{
	static char ref_text[2 * TEXT_MAX];
	struct pc_model_ref ref = { .kind = 7 };
	struct pc_error err = PC_ERROR_INIT;

	snprintf(ref_text, sizeof(ref_text), fmt, text);
	if (pc_model_ref_parse(ref_text, &ref, &err) != PC_E_INVALID_ARGUMENT)
		fail_msg("%s was not refused", ref_text);
	assert_int_equal(ref.kind, 7);
	/* Whoever reads of it sees all of it. */
	assert_int_equal(pc_utf8_valid_prefix(err.message, strlen(err.message)),
			 strlen(err.message));
	for (const char *p = err.message; *p; p++)
		assert_false((unsigned char)*p < 0x20 || *p == 0x7f);
}

/*
 * What would be opened if no rule of text were there: an entry with the name as its file, past the
 * catalog. The kernel refuses the way out then.
 */
static void refuse_to_open(const char *text)
{
	static char path[2 * TEXT_MAX];
	struct pc_model_entry entry = { .id = "m",
					.repo = "org/name",
					.revision = "",
					.sha256 = "",
					.source_file = "f",
					.file = text,
					.path = path,
					.model_ref = "r" };
	struct pc_model_file file = { .fd = -7 };
	struct pc_error err = PC_ERROR_INIT;
	int rc;

	snprintf(path, sizeof(path), "%s/org/name/%s", config->catalog_cache_dir, text);
	rc = pc_model_file_open(&entry, &no_records, &file, &err);
	if (rc != PC_E_MODEL_FILE_INVALID && rc != PC_E_MODEL_FILE_MISSING)
		fail_msg("%s: %d %s", text, rc, err.message);
	assert_int_equal(file.fd, -7);
}

static void every_name_is_refused_everywhere(void **state)
{
	static char text[TEXT_MAX], value[4 * TEXT_MAX];
	const struct pc_model_entry *entry = NULL, *real = model("real.gguf", "org/name", "");

	(void)state;
	assert_non_null(real);
	for (unsigned i = 0; i < NAMES; i++) {
		text[0] = '\0';
		kinds[i % PC_ARRAY_LEN(kinds)](text);
		print_toml(text, value);
		assert_int_equal(pc_model_id_check(text, NULL), PC_E_INVALID_ARGUMENT);
		assert_int_equal(pc_catalog_get(catalog, text, &entry, NULL), PC_E_MODEL_NOT_FOUND);
		refuse_in_catalog("id", value);
		refuse_in_catalog("alias", value);
		refuse_in_catalog("file", value);
		/* No repository or revision is what "" means there. */
		if (text[0]) {
			refuse_in_catalog("repo", value);
			refuse_in_catalog("revision", value);
		}
		refuse_in_reference("hf:org/name::file=%s", text);
		refuse_in_reference("hf:%s::file=x.gguf", text);
		refuse_in_reference("hf:org/name@%s::file=x.gguf", text);
		refuse_in_reference("%s", text);
		refuse_to_open(text);
		if (decoy_was_opened())
			fail_msg("a file outside was opened for %s", value);
	}
}

/* NUL ends a text for C, so that what is behind it would be overlooked; TOML can write it. */
static void what_a_nul_hides_is_refused(void **state)
{
	static const char *const places[] = { "id", "alias", "file", "repo", "revision" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(places); i++) {
		refuse_in_catalog(places[i], "\"x\\u0000/../../secret\"");
		refuse_in_catalog(places[i], "\"org/name\\u0000\"");
		refuse_in_catalog(places[i], "\"\\u0000\"");
	}
}

/* ---- files ---- */

static void refuse_file(const struct pc_model_entry *entry, const char *part)
{
	struct pc_model_file file = { .fd = -7 };
	struct pc_error err = PC_ERROR_INIT;

	assert_int_equal(pc_model_file_open(entry, &no_records, &file, &err),
			 PC_E_MODEL_FILE_INVALID);
	assert_contains(err.message, part);
	assert_int_equal(pc_model_entry_check_file(entry, NULL), PC_E_MODEL_FILE_INVALID);
	assert_int_equal(file.fd, -7);
	assert_false(decoy_was_opened());
}

/* Each way out of the cache by a link: the file, a folder on its way, a chain, the kernel's. */
static void links_out_of_the_cache(void **state)
{
	static const struct {
		const char *target, *file;
	} links[] = {
		{ "../../../outside/secret.gguf", "link" },
		{ "../../../outside", "link/secret.gguf" },
		{ "/", "link/etc/passwd" },
		{ "link2", "link" },
		{ "/proc/self/cwd", "link/etc/passwd" },
		{ "/proc/self/root", "link/etc/passwd" },
		{ "../../../cache/../outside/secret.gguf", "link" },
		{ "../../..", "link/outside/secret.gguf" },
	};
	char link[PATH_MAX], second[PATH_MAX], absolute[PATH_MAX];

	(void)state;
	snprintf(link, sizeof(link), "%.4000s", in_folder("cache/org/name/link"));
	snprintf(second, sizeof(second), "%.4000s", in_folder("cache/org/name/link2"));
	snprintf(absolute, sizeof(absolute), "%.4000s", in_folder("outside/secret.gguf"));
	assert_int_equal(symlink(absolute, second), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(links); i++) {
		assert_int_equal(symlink(links[i].target, link), 0);
		refuse_file(model(links[i].file, "org/name", ""),
			    "leads out of the cache's folder by a symbolic link");
		assert_int_equal(unlink(link), 0);
	}
	unlink(second);
}

static void make_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

/* In the cache and by the administrator's own path; nothing of it waits, rewinds or blocks. */
static void things_that_are_no_files(void **state)
{
	static const char *const names[] = { "fifo.gguf", "socket.gguf", "folder.gguf" };
	static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/tty", "/dev/stdin",
					       "/dev/fd" };
	static const char *const kernels[] = { "/proc/self/mem", "/proc/self/environ",
					       "/proc/version", "/proc/sys/kernel/hostname" };
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(mkfifo(in_folder("cache/org/name/fifo.gguf"), 0600), 0);
	make_socket(in_folder("cache/org/name/socket.gguf"));
	assert_int_equal(mkdir(in_folder("cache/org/name/folder.gguf"), 0700), 0);
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++) {
		refuse_file(model(names[i], "org/name", ""), "is not a regular file");
		snprintf(path, sizeof(path), "cache/org/name/%s", names[i]);
		refuse_file(model(path, "", ""), "is not a regular file");
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(devices); i++) {
		struct stat facts;

		if (stat(devices[i], &facts) == 0 && !S_ISREG(facts.st_mode))
			refuse_file(model(devices[i], "", ""), "is not a regular file");
	}
	for (size_t i = 0; i < PC_ARRAY_LEN(kernels); i++) {
		if (access(kernels[i], F_OK) == 0)
			refuse_file(model(kernels[i], "", ""), "is one of the kernel's");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_is_noticed),
		cmocka_unit_test(every_name_is_refused_everywhere),
		cmocka_unit_test(what_a_nul_hides_is_refused),
		cmocka_unit_test(links_out_of_the_cache),
		cmocka_unit_test(things_that_are_no_files),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
