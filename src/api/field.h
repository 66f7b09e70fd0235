/* SPDX-License-Identifier: MIT */
/*
 * field.h - how a type of the wire is described: one table of its fields, from which reading,
 * writing, checking and freeing derive. Inside src/api, and for its tests.
 */
#ifndef API_FIELD_H
#define API_FIELD_H

#include <poolcore/api.h>

#include "api/json_reader.h"

enum pc__api_kind {
	PC__API_TEXT,	/* const char * */
	PC__API_BOOL,	/* bool */
	PC__API_NUMBER, /* a whole number, of any width */
	PC__API_WORD,	/* an enum, from 0 */
	PC__API_OBJECT, /* a struct of `type`; an optional one has a bool `beside` it */
	PC__API_LIST,	/* a pointer to structs of `type`, their count `beside` it */
	PC__API_TEXTS,	/* a pointer to const char *, likewise */
	PC__API_MAP,	/* a pointer to struct pc_api_detail, likewise: any keys, strings */
};

struct pc__api_words {
	const char *const *words;
	size_t count;
};

struct pc__api_field {
	const char *name;
	enum pc__api_kind kind;
	bool optional;	/* it may be missing or null, and is then `none`, or NULL */
	bool is_signed; /* of a number */
	size_t size;	/* of the member */
	size_t offset;
	size_t beside;
	int64_t low, high; /* of a number; bytes of a text; elements of a list */
	int64_t none;	   /* of a number */
	int64_t text_high; /* bytes of each text of PC__API_TEXTS and PC__API_MAP */
	const struct pc__api_type *type;
	const struct pc__api_words *words;
};

struct pc__api_type {
	const char *name; /* for messages: "start request" */
	size_t size;
	const struct pc__api_field *fields;
	size_t field_count; /* at most 64 */
	bool strict;	    /* a request: what is not known is refused, what is none left out */
	size_t text_max;    /* bytes of the whole text */
	/* What no single field can say; NULL: nothing. */
	int (*check)(const void *value, const struct pc__json_place *place, struct pc_error *err);
};

/* ---- rows ---- */

#define PC__API_AT(struct_, member_) \
	.name = #member_, .size = sizeof(((struct struct_ *)0)->member_), \
	.offset = offsetof(struct struct_, member_)

#define PC__API_ROW_TEXT(struct_, member_, low_, high_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_TEXT, .low = (low_), .high = (high_) \
	}
#define PC__API_ROW_OPTIONAL_TEXT(struct_, member_, low_, high_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_TEXT, .optional = true, \
					      .low = (low_), .high = (high_) \
	}
#define PC__API_ROW_BOOL(struct_, member_, optional_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_BOOL, .optional = (optional_) \
	}
#define PC__API_IS_SIGNED(struct_, member_) \
	((__typeof__(((struct struct_ *)0)->member_))-1 < \
	 (__typeof__(((struct struct_ *)0)->member_))1)
#define PC__API_ROW_NUMBER(struct_, member_, low_, high_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_NUMBER, \
					      .is_signed = PC__API_IS_SIGNED(struct_, member_), \
					      .low = (low_), .high = (high_) \
	}
#define PC__API_ROW_OPTIONAL_NUMBER(struct_, member_, low_, high_, none_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_NUMBER, .optional = true, \
					      .is_signed = PC__API_IS_SIGNED(struct_, member_), \
					      .low = (low_), .high = (high_), .none = (none_) \
	}
#define PC__API_ROW_WORD(struct_, member_, words_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_WORD, .words = (words_) \
	}
#define PC__API_ROW_OBJECT(struct_, member_, type_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_OBJECT, .type = (type_) \
	}
#define PC__API_ROW_OPTIONAL_OBJECT(struct_, member_, type_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_OBJECT, .optional = true, \
					      .type = (type_), \
					      .beside = offsetof(struct struct_, has_##member_) \
	}
#define PC__API_ROW_LIST(struct_, member_, count_, type_, high_) \
	{ \
		PC__API_AT(struct_, member_), .kind = PC__API_LIST, .type = (type_), \
					      .high = (high_), \
					      .beside = offsetof(struct struct_, count_) \
	}

/* ---- what derives from them ---- */

/* Makes every member "none". */
void pc__api_init(const struct pc__api_type *type, void *value);
/* Frees the lists. */
void pc__api_fini(const struct pc__api_type *type, void *value);
/* `memory` holds the strings afterwards. Whatever was made is freed after an error. */
int pc__api_parse(const struct pc__api_type *type, const char *text, size_t length, void *value,
		  void **memory, struct pc_error *err);
int pc__api_validate(const struct pc__api_type *type, const void *value, struct pc_error *err);
int pc__api_write(const struct pc__api_type *type, const void *value, char **ret_text,
		  struct pc_error *err);
/* As snprintf: the length that the whole text has, and as much of it as fits. */
size_t pc__api_format(const struct pc__api_type *type, const void *value, char *buf, size_t size);

/* ---- what these share ---- */

/* The member of `value` that the field describes. */
void *pc__api_member(const struct pc__api_field *field, const void *value);
/* A list's count, where it stands. */
size_t *pc__api_count(const struct pc__api_field *field, const void *value);
/* How many bytes from one element of a list to the next. */
size_t pc__api_element_size(const struct pc__api_field *field);
/* False when it is larger than int64_t holds. */
bool pc__api_load_number(const struct pc__api_field *field, const void *value, int64_t *ret_number);
void pc__api_store_number(const struct pc__api_field *field, void *value, int64_t number);
/* Whether an optional field has nothing to say. */
bool pc__api_is_none(const struct pc__api_field *field, const void *value);

/*
 * "'workers[3].port' must be a whole number from 1 to 65535, or null", and ", not FOUND" when that
 * is not NULL. INVALID_REQUEST.
 */
int pc__api_refuse(const struct pc__api_field *field, const struct pc__json_place *place,
		   const char *found, struct pc_error *err);
/* A sentence about a place: "'workers[3].port' " and what follows. INVALID_REQUEST. */
int pc__api_complain(const struct pc__json_place *place, struct pc_error *err, const char *fmt, ...)
	PC_PRINTF(3, 4);

/* Makes the public functions of a type. */
#define PC__API_FUNCTIONS(name_) \
	int name_##_parse(const char *text, size_t length, struct name_ *ret_value, \
			  struct pc_error *err) \
	{ \
		struct name_ value; \
		int rc = pc__api_parse(&pc__table_##name_, text, length, &value, &value.memory, \
				       err); \
\
		if (!rc) \
			*ret_value = value; \
		return rc; \
	} \
\
	PC__API_FUNCTIONS_BUT_PARSE(name_)

#define PC__API_FUNCTIONS_BUT_PARSE(name_) \
	int name_##_validate(const struct name_ *value, struct pc_error *err) \
	{ \
		return pc__api_validate((&pc__table_##name_), value, err); \
	} \
\
	int name_##_write(const struct name_ *value, char **ret_text, struct pc_error *err) \
	{ \
		return pc__api_write((&pc__table_##name_), value, ret_text, err); \
	} \
\
	void name_##_free(struct name_ *value) \
	{ \
		if (!value) \
			return; \
		pc__api_fini((&pc__table_##name_), value); \
		pc_free(value->memory); \
		pc__api_init((&pc__table_##name_), value); \
	}

/* The tables, for the tests that walk over them. */
#define PC__API_TYPES(X) \
	X(pc_worker_spawn_request) \
	X(pc_worker_stop_request) \
	X(pc_worker_ready_report) \
	X(pc_worker_record) \
	X(pc_worker_spawn_response) \
	X(pc_worker_list) \
	X(pc_model_list) \
	X(pc_pool_status_response) \
	X(pc_heartbeat) \
	X(pc_api_error)

#define X(name) extern const struct pc__api_type pc__table_##name;
PC__API_TYPES(X)
#undef X

#endif
