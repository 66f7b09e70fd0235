/* SPDX-License-Identifier: MIT */
/*
 * life_file.c - names of a worker's files, and the text of its status file, which is lines of
 * "name=value" in a fixed order, the end of the worker's log, and the word "end":
 *
 *	pool-stub 1
 *	boot_id=...
 *	...
 *	tail_length=6
 *	hello
 *
 *	end
 *
 * Somebody may look at it with cat(1), nobody should write it by hand. Any thread; C library only.
 */
#include "lifecycle/life_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static const char *const endings[PC__LIFE_FILES] = {
	[PC__LIFE_CLAIM] = ".claim",
	[PC__LIFE_STATUS] = ".status",
	[PC__LIFE_LOG] = ".log",
	[PC__LIFE_STATUS_NEW] = ".status.new",
};

/* isalnum(3) would ask the locale. */
static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_word(const char *text, size_t max, const char *also)
{
	size_t length = 0;

	while (text[length] && (is_alphanumeric(text[length]) || strchr(also, text[length])))
		length++;
	return length > 0 && length <= max && text[length] == '\0';
}

bool pc__life_id_is_valid(const char *id)
{
	return id && id[0] != '.' && id[0] != '-' && is_word(id, PC__LIFE_ID_MAX, "._-");
}

bool pc__life_token_is_valid(const char *token)
{
	return token && is_word(token, PC__LIFE_TOKEN_MAX, "");
}

void pc__life_name(enum pc__life_file file, const char *id, char ret_name[PC__LIFE_NAME_SIZE])
{
	snprintf(ret_name, PC__LIFE_NAME_SIZE, "%s%s", id, endings[file]);
}

bool pc__life_name_parse(const char *name, char ret_id[PC__LIFE_ID_MAX + 1])
{
	size_t length = strlen(name);

	for (size_t i = 0; i < PC_ARRAY_LEN(endings); i++) {
		size_t ending = strlen(endings[i]);
		char id[PC__LIFE_ID_MAX + 1];

		if (length <= ending || length - ending > PC__LIFE_ID_MAX ||
		    strcmp(name + length - ending, endings[i]) != 0)
			continue;
		memcpy(id, name, length - ending);
		id[length - ending] = '\0';
		if (!pc__life_id_is_valid(id))
			return false;
		memcpy(ret_id, id, length - ending + 1);
		return true;
	}
	return false;
}

/* ---- the status ---- */

#define FIRST_LINE "pool-stub 1\n"
#define LAST_LINE "\nend\n"

enum field_kind { FIELD_TEXT, FIELD_NUMBER };

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;	  /* in struct pc__life_status */
	int64_t min, max; /* of a number; of a text's length */
};

#define TEXT(member, min) \
	{ \
#member, FIELD_TEXT, offsetof(struct pc__life_status, member), min, \
			sizeof(((struct pc__life_status *)NULL)->member) - 1 \
	}
#define NUMBER(member, min, max) \
	{ \
#member, FIELD_NUMBER, offsetof(struct pc__life_status, member), min, max \
	}

/* In the order of the lines. A process id of 1 is nobody's that we started. */
static const struct field fields[] = {
	TEXT(boot_id, 1),
	TEXT(token, 1),
	NUMBER(stub_pid, 2, INT32_MAX),
	NUMBER(stub_start_ticks, 0, INT64_MAX),
	NUMBER(stub_pidfd_inode, 0, INT64_MAX),
	NUMBER(worker_pid, 0, INT32_MAX),
	NUMBER(worker_start_ticks, 0, INT64_MAX),
	NUMBER(ended, 0, 1),
	NUMBER(code, -1, 255),
	NUMBER(signal, 0, 127),
	NUMBER(wall_ms, 0, INT64_MAX),
	NUMBER(spawn_errno, 0, 4095),
	NUMBER(oom_killed, 0, 1),
	TEXT(reason, 0),
	NUMBER(tail_length, 0, sizeof(((struct pc__life_status *)NULL)->tail)),
};

static bool is_printable(char c)
{
	return (unsigned char)c >= 0x20 && c != 0x7f;
}

size_t pc__life_format(const struct pc__life_status *status, char text[PC__LIFE_STATUS_MAX])
{
	size_t length = sizeof(FIRST_LINE) - 1;

	memcpy(text, FIRST_LINE, length);
	for (size_t i = 0; i < PC_ARRAY_LEN(fields); i++) {
		const char *value = (const char *)status + fields[i].offset;
		size_t room = PC__LIFE_STATUS_MAX - length;
		int64_t number;

		if (fields[i].kind == FIELD_NUMBER) {
			memcpy(&number, value, sizeof(number));
			length += (size_t)snprintf(text + length, room, "%s=%" PRId64 "\n",
						   fields[i].name, number);
			continue;
		}
		length += (size_t)snprintf(text + length, room, "%s=", fields[i].name);
		for (; *value; value++)
			text[length++] = is_printable(*value) ? *value : '?';
		text[length++] = '\n';
	}
	memcpy(text + length, status->tail, (size_t)status->tail_length);
	length += (size_t)status->tail_length;
	memcpy(text + length, LAST_LINE, sizeof(LAST_LINE) - 1);
	return length + sizeof(LAST_LINE) - 1;
}

/* One line on its way into a field; false when it is not what the field may hold. */
static bool field_parse(const struct field *field, const char *value, size_t length,
			struct pc__life_status *status)
{
	char *into = (char *)status + field->offset, text[32], again[32];
	int64_t number;

	if (field->kind == FIELD_TEXT) {
		if ((int64_t)length < field->min || (int64_t)length > field->max)
			return false;
		for (size_t i = 0; i < length; i++) {
			if (!is_printable(value[i]))
				return false;
		}
		memcpy(into, value, length);
		into[length] = '\0';
		return true;
	}
	if (length == 0 || length >= sizeof(text))
		return false;
	memcpy(text, value, length);
	text[length] = '\0';
	number = strtoll(text, NULL, 10);
	/* Only the one spelling that we write: no "007", no "+1", no NUL, nothing past the
	 * range. */
	if ((size_t)snprintf(again, sizeof(again), "%" PRId64, number) != length ||
	    memcmp(text, again, length) != 0 || number < field->min || number > field->max)
		return false;
	memcpy(into, &number, sizeof(number));
	return true;
}

/* What each alone cannot tell. */
static const char *contradiction(const struct pc__life_status *status)
{
	if (!status->ended &&
	    (status->code || status->signal || status->wall_ms || status->spawn_errno ||
	     status->oom_killed || status->reason[0] || status->tail_length))
		return "it says how the worker ended, and that it has not";
	if (status->ended && !status->reason[0])
		return "it says that the worker ended, and not how";
	if (status->ended && (status->code == -1) != (status->signal != 0))
		return "an exit status and a signal exclude each other";
	return NULL;
}

int pc__life_parse(const char *text, size_t length, struct pc__life_status *ret_status,
		   char ret_why[160])
{
	struct pc__life_status status = { .ended = 0 };
	const char *p = text, *end = text + length, *complaint;
	size_t tail;

	if (length < strlen(FIRST_LINE) || memcmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0) {
		snprintf(ret_why, 160, "it does not begin with \"pool-stub 1\"%s",
			 length == 0 ? "; it is empty" : "");
		return -1;
	}
	p += strlen(FIRST_LINE);
	for (size_t i = 0; i < PC_ARRAY_LEN(fields); i++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t name = strlen(fields[i].name);

		if (!newline || (size_t)(newline - p) <= name || p[name] != '=' ||
		    memcmp(p, fields[i].name, name) != 0 ||
		    !field_parse(&fields[i], p + name + 1, (size_t)(newline - p) - name - 1,
				 &status)) {
			snprintf(ret_why, 160, "line %zu should be %s=%s%s", i + 2, fields[i].name,
				 fields[i].kind == FIELD_NUMBER ? "a number" : "a text",
				 newline ? "" : ", and is cut off");
			return -1;
		}
		p = newline + 1;
	}
	tail = (size_t)status.tail_length;
	if ((size_t)(end - p) != tail + strlen(LAST_LINE) ||
	    memcmp(p + tail, LAST_LINE, strlen(LAST_LINE)) != 0) {
		snprintf(ret_why, 160,
			 "the log's end, of %zu bytes, and the word \"end\" are not "
			 "all of the rest",
			 tail);
		return -1;
	}
	memcpy(status.tail, p, tail);
	complaint = contradiction(&status);
	if (complaint) {
		snprintf(ret_why, 160, "%s", complaint);
		return -1;
	}
	*ret_status = status;
	return 0;
}
