/* SPDX-License-Identifier: MIT */
/*
 * toml.c - the grammar of TOML 1.0.0: lines, headers, keys, arrays and inline tables; and the
 * files it is read from. Words are toml_scan.c's, the tree is toml_tree.c's. Runs on the caller's
 * thread and keeps nothing between documents.
 *
 * Who may add to a table (specification, "Keys", "Table", "Inline Table", "Array of Tables"):
 *
 *	                     [a] and [[a]] as the      a as an earlier      a as an earlier
 *	table a was made by  last part of a header     part of a header     part of a dotted key
 *	a header's way       [a] yes, now it is        yes                  yes, now it is dotted
 *	[a]                  no, defined already       yes                  no
 *	[[a]]                [[a]] appends             yes, the last one    no
 *	a dotted key         no                        yes                  yes
 *	{ ... } or [ ... ]   no                        no                   no
 */
#include "base/toml_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int parse_value(struct toml_scan *scan, unsigned depth, struct pc__toml_value **ret_value);

/* ---- the tree under construction ---- */

static int new_value(struct toml_scan *scan, enum pc__toml_kind kind, struct pc__toml_pos pos,
		     unsigned depth, struct pc__toml_value **ret_value)
{
	if (depth > PC__TOML_MAX_DEPTH)
		return pc__toml_fail_pos(scan, pos, "nested too deeply; %d levels are allowed",
					 PC__TOML_MAX_DEPTH);

	struct pc__toml_value *value = pc__toml_new(scan->doc, kind, pos, depth);

	if (!value)
		return pc_error_oom(scan->err);
	*ret_value = value;
	return 0;
}

static int add_entry(struct toml_scan *scan, struct pc__toml_value *table,
		     const struct toml_key *key, struct pc__toml_value *value)
{
	const struct pc__toml_entry entry = { key->text, key->length, key->pos, value };

	return pc__toml_table_add(scan->doc, table, &entry) ? pc_error_oom(scan->err) : 0;
}

/* A new table under a key that the parent does not have yet. */
static int add_table(struct toml_scan *scan, struct pc__toml_value *parent,
		     const struct toml_key *key, enum toml_origin origin,
		     struct pc__toml_value **ret_table)
{
	struct pc__toml_value *table = NULL;
	int rc = new_value(scan, PC__TOML_TABLE, key->pos, parent->depth + 1, &table);

	if (rc)
		return rc;
	/* The analyzer cannot see that the refusals in new_value are not 0. */
	table->table.origin = origin; /* NOLINT(clang-analyzer-core.NullDereference) */
	rc = add_entry(scan, parent, key, table);
	if (rc)
		return rc;
	*ret_table = table;
	return 0;
}

/* The tree is constant for its readers; here it is still being made. */
static struct pc__toml_value *lookup(const struct pc__toml_value *table, const struct toml_key *key)
{
	const struct pc__toml_entry *entry = pc__toml_find(table, key->text, key->length);

	return entry ? (struct pc__toml_value *)entry->value : NULL;
}

static int fail_defined(struct toml_scan *scan, const struct toml_key *key,
			const struct pc__toml_value *earlier)
{
	char shown[80];

	return pc__toml_fail_pos(
		scan, key->pos,
		"'%s' is defined already, as %s %s on line %u; every key is defined once",
		pc__toml_shown(key, shown),
		strchr("aio", *pc__toml_kind_name(earlier->kind)) ? "an" : "a",
		pc__toml_kind_name(earlier->kind), earlier->pos.line);
}

static int fail_closed(struct toml_scan *scan, const struct toml_key *key,
		       const struct pc__toml_value *closed)
{
	char shown[80];

	return pc__toml_fail_pos(
		scan, key->pos,
		"'%s' is an %s written as one value on line %u; nothing can be added "
		"to it from outside",
		pc__toml_shown(key, shown),
		closed->kind == PC__TOML_ARRAY ? "array" : "inline table", closed->pos.line);
}

static int fail_no_table(struct toml_scan *scan, const struct toml_key *key,
			 const struct pc__toml_value *value)
{
	char shown[80];

	return pc__toml_fail_pos(
		scan, key->pos, "'%s' cannot hold keys, it is the %s defined on line %u",
		pc__toml_shown(key, shown), pc__toml_kind_name(value->kind), value->pos.line);
}

/* From `table` into the one that an earlier part of a header names. */
static int enter_by_header(struct toml_scan *scan, struct pc__toml_value **table,
			   const struct toml_key *key)
{
	struct pc__toml_value *next = lookup(*table, key);

	if (!next)
		return add_table(scan, *table, key, TOML_IMPLICIT, table);
	if (next->kind == PC__TOML_ARRAY && next->array.of_tables)
		next = next->array.items[next->array.length - 1];
	if (next->kind == PC__TOML_ARRAY ||
	    (next->kind == PC__TOML_TABLE && next->table.origin == TOML_INLINE))
		return fail_closed(scan, key, next);
	if (next->kind != PC__TOML_TABLE)
		return fail_no_table(scan, key, next);
	*table = next;
	return 0;
}

/* From `table` into the one that an earlier part of a dotted key names. */
static int enter_by_dot(struct toml_scan *scan, struct pc__toml_value **table,
			const struct toml_key *key)
{
	struct pc__toml_value *next = lookup(*table, key);
	char shown[80];

	if (!next)
		return add_table(scan, *table, key, TOML_DOTTED, table);
	if (next->kind == PC__TOML_ARRAY && next->array.of_tables)
		return pc__toml_fail_pos(
			scan, key->pos,
			"'%s' is the array of tables begun on line %u; only [[...]] "
			"adds to it",
			pc__toml_shown(key, shown), next->pos.line);
	if (next->kind == PC__TOML_ARRAY ||
	    (next->kind == PC__TOML_TABLE && next->table.origin == TOML_INLINE))
		return fail_closed(scan, key, next);
	if (next->kind != PC__TOML_TABLE)
		return fail_no_table(scan, key, next);
	if (next->table.origin == TOML_HEADER)
		return pc__toml_fail_pos(
			scan, key->pos,
			"'%s' has its own header on line %u; a dotted key cannot add "
			"to it from elsewhere",
			pc__toml_shown(key, shown), next->pos.line);
	next->table.origin = TOML_DOTTED;
	*table = next;
	return 0;
}

/* ---- keys and their values ---- */

/*
 * key = value, where the key may be dotted: a.b.c = value. `table` is where the key is relative
 * to.
 */
static int parse_key_value(struct toml_scan *scan, struct pc__toml_value *table)
{
	struct pc__toml_value *value = NULL;
	struct toml_key key;
	char shown[80], found[32];
	int rc;

	for (;;) {
		rc = pc__toml_scan_key(scan, &key);
		if (rc)
			return rc;
		pc__toml_skip_space(scan);
		if (scan->p == scan->end || *scan->p != '.')
			break;
		scan->p++;
		pc__toml_skip_space(scan);
		rc = enter_by_dot(scan, &table, &key);
		if (rc)
			return rc;
	}
	if (scan->p == scan->end || *scan->p != '=')
		return pc__toml_fail(scan, scan->p, "expected '=' behind the key '%s', found %s",
				     pc__toml_shown(&key, shown), pc__toml_found(scan, found));
	scan->p++;
	pc__toml_skip_space(scan);

	const struct pc__toml_value *earlier = lookup(table, &key);

	if (earlier)
		return fail_defined(scan, &key, earlier);
	rc = parse_value(scan, table->depth + 1, &value);
	return rc ? rc : add_entry(scan, table, &key, value);
}

/* Between the items of an array: white space, line breaks and comments. */
static void skip_blank(struct toml_scan *scan)
{
	do {
		pc__toml_skip_space(scan);
		pc__toml_skip_comment(scan);
	} while (pc__toml_skip_newline(scan));
}

static bool take(struct toml_scan *scan, char c)
{
	if (scan->p == scan->end || *scan->p != c)
		return false;
	scan->p++;
	return true;
}

static int parse_array(struct toml_scan *scan, struct pc__toml_value *array)
{
	struct pc__toml_value *item;
	char found[32];
	int rc;

	scan->p++;
	skip_blank(scan);
	while (!take(scan, ']')) {
		rc = parse_value(scan, array->depth + 1, &item);
		if (rc)
			return rc;
		if (pc__toml_array_add(scan->doc, array, item))
			return pc_error_oom(scan->err);
		skip_blank(scan);
		if (take(scan, ','))
			skip_blank(scan);
		else if (scan->p == scan->end || *scan->p != ']')
			return pc__toml_fail(
				scan, scan->p,
				"expected ',' or ']' in the array begun on line %u, found "
				"%s",
				array->pos.line, pc__toml_found(scan, found));
	}
	return 0;
}

static int parse_inline_table(struct toml_scan *scan, struct pc__toml_value *table)
{
	char found[32];
	int rc;

	table->table.origin = TOML_INLINE;
	scan->p++;
	pc__toml_skip_space(scan);
	if (take(scan, '}'))
		return 0;
	for (;;) {
		rc = parse_key_value(scan, table);
		if (rc)
			return rc;
		pc__toml_skip_space(scan);
		if (take(scan, '}'))
			return 0;
		if (!take(scan, ','))
			return pc__toml_fail(
				scan, scan->p,
				"expected ',' or '}' in the inline table, found %s; it "
				"ends on the line it begins on",
				pc__toml_found(scan, found));
		pc__toml_skip_space(scan);
		if (scan->p < scan->end && *scan->p == '}')
			return pc__toml_fail(scan, scan->p,
					     "an inline table has no comma behind its last value");
	}
}

static size_t offset_of(const struct toml_scan *scan, const char *at)
{
	return (size_t)(at - scan->text);
}

/* Nesting is bounded by new_value, and so is this recursion. */
static int parse_value(struct toml_scan *scan, unsigned depth, struct pc__toml_value **ret_value)
{
	struct pc__toml_pos pos = pc__toml_scan_pos(scan, scan->p);
	char first = scan->p < scan->end ? *scan->p : '\0';
	size_t begin = offset_of(scan, scan->p);
	struct pc__toml_value *value = NULL;
	int rc = new_value(scan, PC__TOML_STRING, pos, depth, &value);

	if (rc)
		return rc;
	switch (first) {
	case '"':
	case '\'':
		rc = pc__toml_scan_string(scan, &value->string);
		break;
	case '[':
		value->kind = PC__TOML_ARRAY;
		rc = parse_array(scan, value);
		break;
	case '{':
		value->kind = PC__TOML_TABLE;
		rc = parse_inline_table(scan, value);
		break;
	default:
		rc = pc__toml_scan_scalar(scan, value);
		break;
	}
	if (rc)
		return rc;
	value->span = (struct pc__toml_span){ begin, offset_of(scan, scan->p) };
	*ret_value = value;
	return 0;
}

/* ---- lines ---- */

/* [key], the last part of the header: the table that the following lines fill. */
static int open_table(struct toml_scan *scan, struct pc__toml_value *parent,
		      const struct toml_key *key, struct pc__toml_value **ret_table)
{
	struct pc__toml_value *table = lookup(parent, key);

	if (!table)
		return add_table(scan, parent, key, TOML_HEADER, ret_table);
	if (table->kind != PC__TOML_TABLE || table->table.origin != TOML_IMPLICIT)
		return fail_defined(scan, key, table);
	table->table.origin = TOML_HEADER;
	table->pos = key->pos;
	*ret_table = table;
	return 0;
}

/* [[key]]: one more table at the end of an array. */
static int append_table(struct toml_scan *scan, struct pc__toml_value *parent,
			const struct toml_key *key, struct pc__toml_value **ret_table)
{
	struct pc__toml_value *array = lookup(parent, key);
	struct pc__toml_value *table = NULL;
	int rc;

	if (!array) {
		rc = new_value(scan, PC__TOML_ARRAY, key->pos, parent->depth + 1, &array);
		if (!rc)
			rc = add_entry(scan, parent, key, array);
		if (rc)
			return rc;
		array->array.of_tables = true;
	}
	if (array->kind == PC__TOML_ARRAY && !array->array.of_tables)
		return fail_closed(scan, key, array);
	if (array->kind != PC__TOML_ARRAY)
		return fail_defined(scan, key, array);
	rc = new_value(scan, PC__TOML_TABLE, key->pos, array->depth + 1, &table);
	if (rc)
		return rc;
	table->table.origin = TOML_HEADER;
	if (pc__toml_array_add(scan->doc, array, table))
		return pc_error_oom(scan->err);
	*ret_table = table;
	return 0;
}

/* [a.b.c] or [[a.b.c]]. */
static int parse_header(struct toml_scan *scan, struct pc__toml_value **ret_table)
{
	struct pc__toml_value *table = scan->doc->root;
	size_t begin = offset_of(scan, scan->p);
	struct toml_key key;
	char found[32];
	int rc;

	scan->p++;

	bool of_array = take(scan, '[');

	for (;;) {
		pc__toml_skip_space(scan);
		rc = pc__toml_scan_key(scan, &key);
		if (rc)
			return rc;
		pc__toml_skip_space(scan);
		if (!take(scan, '.'))
			break;
		rc = enter_by_header(scan, &table, &key);
		if (rc)
			return rc;
	}
	if (!take(scan, ']') || (of_array && !take(scan, ']')))
		return pc__toml_fail(scan, scan->p, "expected '.' or '%s' in the header, found %s",
				     of_array ? "]]" : "]", pc__toml_found(scan, found));
	rc = of_array ? append_table(scan, table, &key, ret_table)
		      : open_table(scan, table, &key, ret_table);
	if (rc == 0)
		(*ret_table)->span = (struct pc__toml_span){ begin, offset_of(scan, scan->p) };
	return rc;
}

static int parse_document(struct toml_scan *scan)
{
	struct pc__toml_value *table = scan->doc->root;
	char found[32];
	int rc;

	for (;;) {
		skip_blank(scan);
		if (scan->p == scan->end)
			return 0;
		if (*scan->p == '[')
			rc = parse_header(scan, &table);
		else
			rc = parse_key_value(scan, table);
		if (rc)
			return rc;
		pc__toml_skip_space(scan);
		pc__toml_skip_comment(scan);
		if (scan->p < scan->end && *scan->p != '\n' && *scan->p != '\r')
			return pc__toml_fail(scan, scan->p,
					     "expected the end of the line, found %s",
					     pc__toml_found(scan, found));
	}
}

/* ---- documents ---- */

int pc__toml_parse(const char *name, const char *text, size_t length, struct pc__toml_doc **ret_doc,
		   struct pc_error *err)
{
	pc_auto(pc__toml_destroy) struct pc__toml_doc *doc = pc__toml_create(name);
	struct toml_scan scan;

	if (!doc)
		return pc_error_oom(err);

	int rc = pc__toml_scan_init(&scan, doc, text, length, err);

	if (!rc)
		rc = parse_document(&scan);
	pc__toml_scan_fini(&scan);
	if (!rc)
		*ret_doc = pc_steal(&doc);
	return rc;
}

/* Reads to the end, or to one byte past what a document may have. */
static int read_all(int fd, const char *path, struct pc__buf *buf, struct pc_error *err)
{
	char block[16384];

	while (buf->length <= PC__TOML_MAX_BYTES) {
		ssize_t got = read(fd, block, sizeof(block));

		if (got == 0)
			break;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return pc_error_sys(err, PC_E_IO, errno, "cannot read '%s'", path);
		pc__buf_append(buf, block, (size_t)got);
		if (buf->failed)
			return pc_error_oom(err);
	}
	return 0;
}

int pc__toml_read_text(const char *path, struct pc__buf *text, struct pc_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return pc_error_sys(err, PC_E_IO, errno, "cannot open '%s'", path);

	int rc = read_all(fd, path, text, err);

	close(fd);
	return rc;
}

int pc__toml_read_file(const char *path, struct pc__toml_doc **ret_doc, struct pc_error *err)
{
	struct pc__buf buf = PC__BUF_INIT;
	int rc = pc__toml_read_text(path, &buf, err);

	if (!rc)
		rc = pc__toml_parse(path, buf.data ? buf.data : "", buf.length, ret_doc, err);
	pc__buf_fini(&buf);
	return rc;
}
