/* SPDX-License-Identifier: MIT */
/*
 * grammar.c - from a grammar's text to llama.cpp's sampler for it. What llama.cpp's reader would
 * take the process down for is refused here. Any thread.
 *
 * XXX llama.cpp writes a grammar that it cannot read to stderr, past its own log. And a grammar of
 * a thousand optional words makes each token take a second, during which nobody is asked whether to
 * stop: its states grow with the square. llama-server has both as well.
 */
#include "llama_engine.h"

#include <stdlib.h>
#include <string.h>

/* The reader calls itself for each bracket; a deeper grammar would take the stack's end. Far more
 * than a person writes. A guess; change freely. */
#define DEPTH_MAX 256

/* "a"{0,2000} becomes 2,000 rules, each of which may lead to all others. llama.cpp allows 2,000 to
 * any number of items; five thousand of them took more than 20 s and all memory. */
#define REPETITIONS_MAX 2000

/* The larger number of "{3}" or "{0,7}"; 0 when it is something else. */
static unsigned long repetitions(const char *brace)
{
	char *end;
	unsigned long low = strtoul(brace + 1, &end, 10);
	unsigned long high = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;

	return high > low ? high : low;
}

/* What stands in strings and comments is counted as well; nobody comes near these limits. */
static int check_size(const char *text, struct pc_error *err)
{
	unsigned long depth = 0, repeated = 0;

	for (const char *at = text; *at; at++) {
		unsigned long times = *at == '{' ? repetitions(at) : 0;

		if (times > REPETITIONS_MAX || repeated + times > REPETITIONS_MAX)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "grammar has repetitions for more than %d items",
					    REPETITIONS_MAX);
		repeated += times;
		if (*at == '(' && ++depth > DEPTH_MAX)
			return pc_error_set(err, PC_E_INVALID_REQUEST,
					    "grammar has more than %d brackets inside each other",
					    DEPTH_MAX);
		if (*at == ')' && depth > 0)
			depth--;
	}
	return 0;
}

int make_grammar(const struct llama_vocab *vocab, const char *text,
		 struct llama_sampler **ret_grammar, struct pc_error *err)
{
	*ret_grammar = NULL;
	if (!text)
		return 0;
	int rc = check_utf8(text, "grammar", err);

	if (rc)
		return rc;
	if (!*text)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "grammar is empty: it has rules, one of them for \"root\"");
	if (strlen(text) > PC_TEXT_GRAMMAR_MAX_BYTES)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "grammar has %zu bytes; %u are possible", strlen(text),
				    PC_TEXT_GRAMMAR_MAX_BYTES);
	rc = check_size(text, err);
	if (rc)
		return rc;
	forget_complaint();
	*ret_grammar = llama_sampler_init_grammar(vocab, text, "root");
	if (!*ret_grammar)
		return pc_error_set(err, PC_E_INVALID_REQUEST,
				    "grammar is not GBNF with a rule for \"root\"%s%s",
				    *last_complaint() ? ": " : "", last_complaint());
	return 0;
}
