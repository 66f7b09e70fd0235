/* SPDX-License-Identifier: MIT */
/* Unit tests of src/catalog/edit.c, edit_text.c and new_file.c: what changes, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poolcore/catalog.h>
#include <poolcore/catalog_edit.h>
#include <poolcore/config.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/folder.h"

static struct pc_config *config;
static struct pc_catalog_edit *edit;

static int enter_folder(void **state)
{
	char template[] = "/tmp/poolcore-edit-XXXXXX";

	(void)state;
	clearenv();
	if (!mkdtemp(template) || !realpath(template, folder))
		return -1;
	write_file("b.toml", "[[model]]\nid = \"other\"\nfile = \"o.gguf\"\naliases = [\"taken\"]\n"
			     "capability = \"vision\"\nest_memory_allocation_mb = 1\n");
	write_file("a.toml", "");
	write_file("pool.toml", "[catalog]\nfiles = [\"a.toml\", \"b.toml\"]\n");
	return pc_config_load(in_folder("pool.toml"), NULL, 0, &config, NULL);
}

static int leave_folder(void **state)
{
	static const char *const names[] = { "a.toml", "b.toml", "pool.toml" };

	(void)state;
	pc_config_free(config);
	for (size_t i = 0; i < PC_ARRAY_LEN(names); i++)
		unlink(in_folder(names[i]));
	/* Also: no test left a file behind. */
	return rmdir(folder);
}

static int close_edit(void **state)
{
	(void)state;
	pc_catalog_edit_close(edit);
	edit = NULL;
	return 0;
}

static void open_text(const char *text)
{
	struct pc_error err = PC_ERROR_INIT;

	close_edit(NULL);
	if (pc_catalog_edit_open(config, write_file("a.toml", text), &edit, &err))
		fail_msg("%s", err.message);
}

/* The file as it is on the disk. */
static void assert_file(const char *text)
{
	static char found[16384];
	FILE *file = fopen(in_folder("a.toml"), "r");
	size_t length;

	assert_non_null(file);
	length = fread(found, 1, sizeof(found) - 1, file);
	fclose(file);
	found[length] = '\0';
	assert_string_equal(found, text);
}

/* What every model must say, without its id. */
#define REST "file = \"m.gguf\"\ncapability = \"text_to_text\"\nest_memory_allocation_mb = 1\n"

static void set(const char *id, const char *key, const char *value)
{
	struct pc_error err = PC_ERROR_INIT;

	if (pc_catalog_edit_set(edit, id, key, value, &err))
		fail_msg("%s", err.message);
}

/* ---- changes ---- */

#define BEFORE \
	"# The models of this house.\n" \
	"\n" \
	"  # The small one.\n" \
	"[[ model ]]   # first\n" \
	"id='a'\n" \
	"sha256 = \"\"          # not known yet\n" \
	"\t file   =   \"\"\"m.gguf\"\"\"  # odd, and ours\n" \
	"capability = \"text_to_text\"\n" \
	"# in between\n" \
	"est_memory_allocation_mb = 1_200 # measured\n"
#define BETWEEN "\n# The large one.\n"
#define AFTER \
	"[[model]]\nid = \"b\"\nttl = \"5m\"\naliases = [\n  \"x\", # one\n]\n" REST "# the end"

static void sets_one_value_and_nothing_else(void **state)
{
	(void)state;
	open_text(BEFORE BETWEEN AFTER);
	set("a", "est_memory_allocation_mb", "1300");
	set("a", "slots", "4");
	set("b", "ttl", "90s");
	set("b", "aliases", "y,z");
	assert_string_equal(pc_catalog_edit_text(edit),
			    "# The models of this house.\n"
			    "\n"
			    "  # The small one.\n"
			    "[[ model ]]   # first\n"
			    "id='a'\n"
			    "sha256 = \"\"          # not known yet\n"
			    "\t file   =   \"\"\"m.gguf\"\"\"  # odd, and ours\n"
			    "capability = \"text_to_text\"\n"
			    "# in between\n"
			    "est_memory_allocation_mb = 1300 # measured\n"
			    "slots = 4\n" BETWEEN
			    "[[model]]\nid = \"b\"\nttl = \"90s\"\naliases = [\"y\", \"z\"]\n" REST
			    "# the end");
	/* Until it is saved nothing has happened. */
	assert_file(BEFORE BETWEEN AFTER);
	assert_int_equal(pc_catalog_edit_save(edit, NULL), 0);
	assert_file(pc_catalog_edit_text(edit));
}

static void writes_each_kind_as_toml(void **state)
{
	static const struct {
		const char *key, *said, *line;
	} cases[] = {
		{ "name", "say \"hi\"\\", "name = \"say \\\"hi\\\"\\\\\"\n" },
		{ "size", "668788096", "size = 668788096\n" },
		{ "size", "4GiB", "size = \"4GiB\"\n" },
		{ "ttl", "-1s", "ttl = \"-1s\"\n" },
		{ "pinned", "true", "pinned = true\n" },
		{ "aliases", "", "aliases = []\n" },
		{ "sha256", "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		  "sha256 = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n" },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		open_text("[[model]]\nid = \"a\"\n" REST);
		set("a", cases[i].key, cases[i].said);
		assert_contains(pc_catalog_edit_text(edit), cases[i].line);
		/* It is read again as it was said. */
		set("a", cases[i].key, cases[i].said);
	}
}

static void keeps_the_form_of_lines(void **state)
{
	(void)state;
	/* Indented, with CR LF, and without a last line break. */
	open_text("[[model]]\r\n  id = \"a\"\r\n  file = \"m\"\r\n  capability = \"vision\"\r\n"
		  "  est_memory_allocation_mb = 1");
	set("a", "slots", "2");
	set("a", "pinned", "true");
	assert_string_equal(pc_catalog_edit_text(edit),
			    "[[model]]\r\n  id = \"a\"\r\n  file = \"m\"\r\n"
			    "  capability = \"vision\"\r\n  est_memory_allocation_mb = 1\r\n"
			    "  slots = 2\r\n  pinned = true");
	/* A table in one line, with a byte order mark in front. */
	open_text("\xef\xbb\xbfmodel = [ { id = \"a\", file = \"m\", capability = \"vision\", "
		  "est_memory_allocation_mb = 1 } ] # all\n");
	set("a", "slots", "2");
	set("a", "file", "n");
	assert_string_equal(pc_catalog_edit_text(edit),
			    "\xef\xbb\xbfmodel = [ { id = \"a\", file = \"n\", capability = "
			    "\"vision\", est_memory_allocation_mb = 1, slots = 2 } ] # all\n");
}

static const struct pc_model_setting whole[] = {
	{ "id", "new" },
	{ "file", "n.gguf" },
	{ "capability", "vision" },
	{ "est_memory_allocation_mb", "7" },
};

#define NEW \
	"[[model]]\nid = \"new\"\nfile = \"n.gguf\"\ncapability = \"vision\"\n" \
	"est_memory_allocation_mb = 7\n"

static void adds_a_model_at_the_end(void **state)
{
	static const struct {
		const char *before, *after;
	} cases[] = {
		{ "", NEW },
		{ "# empty", "# empty\n\n" NEW },
		{ "# empty\n\n", "# empty\n\n" NEW },
		{ "[[model]]\nid = \"a\"\n" REST, "[[model]]\nid = \"a\"\n" REST "\n" NEW },
	};

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		open_text(cases[i].before);
		assert_int_equal(pc_catalog_edit_add(edit, whole, PC_ARRAY_LEN(whole), NULL), 0);
		assert_string_equal(pc_catalog_edit_text(edit), cases[i].after);
	}
}

static void removes_a_model_and_not_its_neighbours(void **state)
{
	(void)state;
	open_text(BEFORE BETWEEN AFTER);
	assert_int_equal(pc_catalog_edit_remove(edit, "a", NULL), 0);
	assert_string_equal(pc_catalog_edit_text(edit), "# The models of this house.\n"
							"\n"
							"  # The small one.\n"
							"# The large one.\n" AFTER);
	open_text(BEFORE BETWEEN AFTER);
	assert_int_equal(pc_catalog_edit_remove(edit, "b", NULL), 0);
	assert_string_equal(pc_catalog_edit_text(edit), BEFORE BETWEEN "# the end");
	/* What was added is removed again. */
	open_text(BEFORE);
	assert_int_equal(pc_catalog_edit_add(edit, whole, PC_ARRAY_LEN(whole), NULL), 0);
	assert_int_equal(pc_catalog_edit_remove(edit, "new", NULL), 0);
	assert_string_equal(pc_catalog_edit_text(edit), BEFORE "\n");
}

/* ---- refusals ---- */

static void assert_refused(int rc, const struct pc_error *err, int code, const char *message)
{
	assert_int_equal(rc, code);
	assert_int_equal(err->code, code);
	assert_contains(err->message, message);
	/* Nothing has changed. */
	assert_string_equal(pc_catalog_edit_text(edit), BEFORE BETWEEN AFTER);
}

static void refuses_what_would_not_load(void **state)
{
	static const struct {
		const char *id, *key, *value;
		int code;
		const char *message;
	} cases[] = {
		{ "c", "slots", "1", PC_E_MODEL_NOT_FOUND,
		  "there is no model with the id \"c\" in" },
		{ "other", "slots", "1", PC_E_MODEL_NOT_FOUND, "\"other\"" },
		{ "a", "slots", "65", PC_E_INVALID_CONFIG, "the new value: model.slots: " },
		{ "a", "slotz", "1", PC_E_INVALID_CONFIG, "did you mean \"slots\"?" },
		{ "a", "backend", "none", PC_E_INVALID_CONFIG,
		  "the changed file would not be valid: " },
		{ "a", "id", "b", PC_E_INVALID_CONFIG, "\"b\" is taken" },
		{ "a", "id", "taken", PC_E_INVALID_CONFIG, "\"taken\" is taken" },
		{ "a", "name", "\xff", PC_E_INVALID_CONFIG, "UTF-8" },
	};
	struct pc_error err;

	(void)state;
	open_text(BEFORE BETWEEN AFTER);
	for (size_t i = 0; i < PC_ARRAY_LEN(cases); i++) {
		pc_error_clear(&err);
		assert_refused(
			pc_catalog_edit_set(edit, cases[i].id, cases[i].key, cases[i].value, &err),
			&err, cases[i].code, cases[i].message);
	}
	pc_error_clear(&err);
	assert_refused(pc_catalog_edit_remove(edit, "c", &err), &err, PC_E_MODEL_NOT_FOUND,
		       "\"c\"");
	pc_error_clear(&err);
	assert_refused(pc_catalog_edit_add(edit, whole, 3, &err), &err, PC_E_INVALID_CONFIG,
		       "est_memory_allocation_mb: it is missing");
	assert_int_equal(pc_catalog_edit_set(edit, "a", "slots", NULL, NULL),
			 PC_E_INVALID_ARGUMENT);
	assert_int_equal(pc_catalog_edit_save(NULL, NULL), PC_E_INVALID_ARGUMENT);
}

static void inline_models_come_and_go_by_hand(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	open_text("model = [ { id = \"a\", file = \"m\", capability = \"vision\", "
		  "est_memory_allocation_mb = 1 } ]\n");
	assert_int_equal(pc_catalog_edit_remove(edit, "a", &err), PC_E_UNSUPPORTED);
	assert_contains(err.message, "write them as [[model]] tables");
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_edit_add(edit, whole, PC_ARRAY_LEN(whole), &err),
			 PC_E_UNSUPPORTED);
}

/* ---- saving ---- */

static void keeps_mode_and_links(void **state)
{
	const char *text = "[[model]]\nid = \"a\"\n" REST "slots = 3\n";
	char link[PATH_MAX];
	struct stat facts;

	(void)state;
	write_file("a.toml", "[[model]]\nid = \"a\"\n" REST);
	assert_int_equal(chmod(in_folder("a.toml"), 0640), 0);
	snprintf(link, sizeof(link), "%.4000s", in_folder("link.toml"));
	assert_int_equal(symlink("a.toml", link), 0);
	close_edit(NULL);
	/* The configuration names a.toml, not the link: a model of both would be there twice. */
	assert_int_equal(pc_catalog_edit_open(config, link, &edit, NULL), PC_E_INVALID_CONFIG);
	unlink(link);
	assert_int_equal(rename(in_folder("a.toml"), link), 0);
	assert_int_equal(symlink("link.toml", in_folder("a.toml")), 0);
	assert_int_equal(pc_catalog_edit_open(config, in_folder("a.toml"), &edit, NULL), 0);
	set("a", "slots", "3");
	assert_int_equal(pc_catalog_edit_save(edit, NULL), 0);
	assert_int_equal(lstat(in_folder("a.toml"), &facts), 0);
	assert_true(S_ISLNK(facts.st_mode));
	assert_int_equal(stat(link, &facts), 0);
	assert_int_equal(facts.st_mode & 07777, 0640);
	assert_file(text);
	unlink(link);
	unlink(in_folder("a.toml"));
}

static void does_not_overwrite_what_others_wrote(void **state)
{
	struct pc_error err = PC_ERROR_INIT;

	(void)state;
	open_text("[[model]]\nid = \"a\"\n" REST);
	set("a", "slots", "3");
	write_file("a.toml", "# theirs\n");
	assert_int_equal(pc_catalog_edit_save(edit, &err), PC_E_CONFLICT);
	assert_contains(err.message, "has changed since it was read; nothing was saved");
	assert_file("# theirs\n");
	/* Our own saving is no change by others. */
	open_text("[[model]]\nid = \"a\"\n" REST);
	set("a", "slots", "3");
	assert_int_equal(pc_catalog_edit_save(edit, NULL), 0);
	set("a", "slots", "4");
	assert_int_equal(pc_catalog_edit_save(edit, NULL), 0);
	assert_file("[[model]]\nid = \"a\"\n" REST "slots = 4\n");
	unlink(in_folder("a.toml"));
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_edit_save(edit, &err), PC_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	close_edit(NULL);
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_edit_open(config, in_folder("a.toml"), &edit, &err), PC_E_IO);
}

static int change_and_save(struct pc_error *err)
{
	int rc = pc_catalog_edit_open(config, in_folder("a.toml"), &edit, err);

	if (rc == 0)
		rc = pc_catalog_edit_set(edit, "a", "slots", "3", err);
	if (rc == 0)
		rc = pc_catalog_edit_add(edit, whole, PC_ARRAY_LEN(whole), err);
	if (rc == 0)
		rc = pc_catalog_edit_remove(edit, "new", err);
	if (rc == 0)
		rc = pc_catalog_edit_save(edit, err);
	close_edit(NULL);
	return rc;
}

/* A disk that takes no more, or a folder that nobody may write to: which file it was about is
 * said. */
static void says_what_could_not_be_saved(void **state)
{
	struct rlimit limit, none = { 0, 0 };
	struct pc_error err = PC_ERROR_INIT;
	char expected[2 * PATH_MAX + 128];
	int rc;

	(void)state;
	open_text("[[model]]\nid = \"a\"\nfile = \"f\"\ncapability = \"vision\"\n"
		  "est_memory_allocation_mb = 1\n");
	set("a", "slots", "2");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none.rlim_max = limit.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	rc = pc_catalog_edit_save(edit, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(rc, PC_E_IO);
	snprintf(expected, sizeof(expected), "saving '%s': cannot write the new file: %s",
		 in_folder("a.toml"), strerror(EFBIG));
	assert_string_equal(err.message, expected);
	assert_int_equal(err.sys_errno, EFBIG);
	/* The limit is gone, and so is the failure: nothing was left half done. */
	pc_error_clear(&err);
	assert_int_equal(pc_catalog_edit_save(edit, &err), 0);
}

static void every_allocation_may_fail(void **state)
{
	const char *before = "[[model]]\nid = \"a\"\n" REST;

	(void)state;
	for (unsigned n = 1;; n++) {
		struct pc_error err = PC_ERROR_INIT;
		int rc;

		write_file("a.toml", before);
		fail_alloc_begin(n);
		rc = change_and_save(&err);
		if (fail_alloc_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, PC_E_OUT_OF_MEMORY);
		assert_int_equal(fail_alloc_live(), 0);
		assert_file(before);
	}
	assert_file("[[model]]\nid = \"a\"\n" REST "slots = 3\n\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(sets_one_value_and_nothing_else, close_edit),
		cmocka_unit_test_teardown(writes_each_kind_as_toml, close_edit),
		cmocka_unit_test_teardown(keeps_the_form_of_lines, close_edit),
		cmocka_unit_test_teardown(adds_a_model_at_the_end, close_edit),
		cmocka_unit_test_teardown(removes_a_model_and_not_its_neighbours, close_edit),
		cmocka_unit_test_teardown(refuses_what_would_not_load, close_edit),
		cmocka_unit_test_teardown(inline_models_come_and_go_by_hand, close_edit),
		cmocka_unit_test_teardown(keeps_mode_and_links, close_edit),
		cmocka_unit_test_teardown(does_not_overwrite_what_others_wrote, close_edit),
		cmocka_unit_test_teardown(says_what_could_not_be_saved, close_edit),
		cmocka_unit_test_teardown(every_allocation_may_fail, close_edit),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
