/* SPDX-License-Identifier: MIT */
/* json_grammar.h - the grammar behind OpenAI's response_format "json_object". */
#ifndef WORKER_JSON_GRAMMAR_H
#define WORKER_JSON_GRAMMAR_H

/* GBNF; its sentences are the objects of RFC 8259. */
extern const char json_grammar[];

#endif
