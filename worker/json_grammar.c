/* SPDX-License-Identifier: MIT */
/*
 * json_grammar.c - JSON (RFC 8259) as llama.cpp's GBNF. Narrower than the RFC in two places, where
 * a model that has lost its way could go on for ever: blanks between tokens are one, or a line's
 * beginning, and numbers have at most as many digits as a double tells apart.
 */
#include "json_grammar.h"

const char json_grammar[] =
	"root ::= object\n"
	"value ::= (object | array | string | number | \"true\" | \"false\" | \"null\") ws\n"
	"object ::= \"{\" ws (pair (\",\" ws pair)*)? \"}\"\n"
	"pair ::= string ws \":\" ws value\n"
	"array ::= \"[\" ws (value (\",\" ws value)*)? \"]\"\n"
	"string ::= \"\\\"\" char* \"\\\"\"\n"
	"char ::= [^\"\\\\\\x00-\\x1f\\x7f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
	"number ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? exponent?\n"
	"exponent ::= [eE] [-+]? [0-9]{1,3}\n"
	"ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";
