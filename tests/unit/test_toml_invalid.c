/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of what the TOML reader refuses: one row per case, with the place that it must name
 * and a part of the sentence. The cases follow the sections of the specification.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/toml.h"

struct invalid {
	const char *text;
	unsigned line, column;
	const char *says;
};

/* clang-format off */
static const struct invalid characters[] = {
	{ "a = 1 # \xff",                   1,  9, "byte 0xFF is not UTF-8" },
	{ "a = '\xc3'",                     1,  6, "byte 0xC3 is not UTF-8" },
	{ "a = '\xed\xa0\x80'",             1,  6, "byte 0xED is not UTF-8" },
	{ "a = '\xf4\x90\x80\x80'",         1,  6, "byte 0xF4 is not UTF-8" },
	{ "a = '\xc0\x80'",                 1,  6, "byte 0xC0 is not UTF-8" },
	{ "\xff\xfe" "a",                   1,  1, "UTF-16" },
	{ "\xfe\xff" "a",                   1,  1, "UTF-16" },
	{ "a = 1\rb = 2",                   1,  6, "carriage return without a line feed" },
	{ "# x\ry\n",                       1,  4, "carriage return without a line feed" },
	{ "a = '''\r'''",                   1,  8, "carriage return without a line feed" },
	{ "a = \"\"\"\rx\"\"\"",            1,  8, "carriage return without a line feed" },
	{ "a = 1\r",                        1,  6, "carriage return without a line feed" },
	{ "a = 1\r\r\n",                    1,  6, "carriage return without a line feed" },
	{ "a = \"\x01\"",                   1,  6, "control character U+0001" },
	{ "a = '\x1f'",                     1,  6, "control character U+001F" },
	{ "a = '''\n\n\x08'''",             3,  1, "control character U+0008" },
	{ "a = 1 # \x7f",                   1,  9, "control character U+007F" },
	{ "# \x0c",                         1,  3, "control character U+000C" },
	{ "\x0b" "a = 1",                   1,  1, "control character U+000B" },
	{ "a = 1\n\xef\xbb\xbf" "b = 2",    2,  1, "found '\xef\xbb\xbf' (U+FEFF)" },
	{ "a = \xe3\x80\x80" "1",           1,  5, "(U+3000)" },
};

static const struct invalid lines[] = {
	{ "a",                              1,  2, "expected '=' behind the key 'a', found the end of the file" },
	{ "a\n= 1",                         1,  2, "expected '=' behind the key 'a', found a line break" },
	{ "a = \n1",                        1,  5, "expected a value, found a line break" },
	{ "a = # 1",                        1,  5, "expected a value, found '#'" },
	{ "a =",                            1,  4, "expected a value, found the end of the file" },
	{ "a == 1",                         1,  4, "expected a value, found '='" },
	{ "a = b = 1",                      1,  5, "'b' is not a value" },
	{ "a = 1 b = 2",                    1,  7, "expected the end of the line, found 'b'" },
	{ "a = 'x' 'y'",                    1,  9, "expected the end of the line" },
	{ "a = [1] 2",                      1,  9, "expected the end of the line" },
	{ "a = {} 2",                       1,  8, "expected the end of the line" },
	{ "[a] b = 1",                      1,  5, "expected the end of the line" },
	{ "[a] [b]",                        1,  5, "expected the end of the line" },
	{ "1",                              1,  2, "expected '='" },
	{ "'x'",                            1,  4, "expected '='" },
	{ ";",                              1,  1, "expected a key, found ';'" },
};

static const struct invalid keys[] = {
	{ "= 1",                            1,  1, "expected a key, found '='" },
	{ "a b = 1",                        1,  3, "expected '=' behind the key 'a', found 'b'" },
	{ "a! = 1",                         1,  2, "found '!'" },
	{ "\xce\xbc = 1",                   1,  1, "found '\xce\xbc' (U+03BC)" },
	{ "a# = 1",                         1,  2, "found '#'" },
	{ "\\u00c0 = 1",                    1,  1, "found '\\'" },
	{ ".a = 1",                         1,  1, "found '.'" },
	{ "a. = 1",                         1,  4, "expected a key, found '='" },
	{ "a..b = 1",                       1,  3, "expected a key, found '.'" },
	{ "a.\nb = 1",                      1,  3, "expected a key, found a line break" },
	{ "a = 1.b = 2",                    1,  7, "expected a digit" },
	{ "'a'b = 1",                       1,  4, "expected '='" },
	{ "\"a",                            1,  1, "not closed on its line" },
	{ "\"a\nb\" = 1",                   1,  1, "not closed on its line" },
	{ "\"\"\"a\"\"\" = 1",              1,  1, "a key cannot be a multi-line string" },
	{ "'''a''' = 1",                    1,  1, "a key cannot be a multi-line string" },
	{ "a = 1\na = 2",                   2,  1, "'a' is defined already, as an integer on line 1" },
	{ "a = 1\n'a' = 2",                 2,  1, "defined already" },
	{ "a = 1\n\"\\u0061\" = 2",         2,  1, "defined already" },
	{ "a.b = 1\na.b = 2",               2,  3, "'b' is defined already" },
	{ "a = 1\na.b = 2",                 2,  1, "'a' cannot hold keys, it is the integer defined on line 1" },
	{ "a.b = 1\na = 2",                 2,  1, "'a' is defined already, as a table on line 1" },
	{ "a.b = 1\na.b.c = 2",             2,  3, "'b' cannot hold keys" },
	{ "'' = 1\n\"\" = 2",               2,  1, "'' is defined already" },
};

static const struct invalid strings[] = {
	{ "a = \"x",                        1,  5, "not closed on its line; close it with \"" },
	{ "a = 'x",                         1,  5, "not closed on its line; close it with '" },
	{ "a = \"x\n\"",                    1,  5, "not closed on its line" },
	{ "a = 'x\r\n'",                    1,  5, "not closed on its line" },
	{ "a = \"x'",                       1,  5, "not closed on its line" },
	{ "a = \"x\\\"",                    1,  5, "not closed on its line" },
	{ "a = \"x\\",                      1,  5, "not closed on its line" },
	{ "\n a = \"\"\"x\ny",              2,  6, "not closed; close it with \"\"\"" },
	{ "a = '''x\ny''",                  1,  5, "not closed; close it with '''" },
	{ "a = \"\"\"x\\",                  1,  5, "not closed" },
	{ "a = \"\"\"x\\\"\"\"",            1,  5, "not closed" },
	{ "a = \"\"\"\"\"\"\"\"\"\"\"",     1, 13, "expected the end of the line" },
	{ "a = '''x''''''",                 1, 14, "expected the end of the line" },
	{ "a = \"\\a\"",                    1,  6, "no escape begins with a backslash and 'a'" },
	{ "a = \"\\e\"",                    1,  6, "no escape begins with a backslash and 'e'" },
	{ "a = \"\\x41\"",                  1,  6, "no escape begins with a backslash and 'x'" },
	{ "a = \"\\/\"",                    1,  6, "no escape begins with a backslash and '/'" },
	{ "a = \"C:\\Temp\"",               1,  8, "'single quotes' take a backslash as it is" },
	{ "a = \"\\ \"",                    1,  6, "no escape" },
	{ "a = \"\\\n\"",                   1,  6, "a backslash and a line break" },
	{ "a = \"\"\"\nx \\ y\"\"\"",       2,  3, "no escape begins with a backslash and ' '" },
	{ "a = \"\\u12\"",                  1,  6, "\\u needs 4 hexadecimal digits, found 2" },
	{ "a = \"\\u12G4\"",                1,  6, "\\u needs 4 hexadecimal digits, found 2" },
	{ "a = \"\\U0001F60\"",             1,  6, "\\U needs 8 hexadecimal digits, found 7" },
	{ "a = \"\\u\"",                    1,  6, "found 0" },
	{ "a = \"\\uD800\"",                1,  6, "U+D800 is not a Unicode scalar value" },
	{ "a = \"\\uDFFF\"",                1,  6, "U+DFFF is not a Unicode scalar value" },
	{ "a = \"\\U00110000\"",            1,  6, "U+110000 is not a Unicode scalar value" },
	{ "a = \"\"\"\\UFFFFFFFF\"\"\"",    1,  8, "U+FFFFFFFF is not a Unicode scalar value" },
	{ "a = value",                      1,  5, "'value' is not a value; strings stand in quotes" },
};

static const struct invalid numbers[] = {
	{ "a = 01",                         1,  5, "a decimal number has no leading zero, '01' has one" },
	{ "a = -01",                        1,  6, "no leading zero" },
	{ "a = 00",                         1,  5, "no leading zero" },
	{ "a = 0_0",                        1,  5, "no leading zero" },
	{ "a = 01.5",                       1,  5, "no leading zero" },
	{ "a = 00e1",                       1,  5, "no leading zero" },
	{ "a = _1",                         1,  5, "'_' in a number stands between two digits" },
	{ "a = 1_",                         1,  6, "'_' in a number" },
	{ "a = 1__2",                       1,  6, "'_' in a number" },
	{ "a = 0x_1",                       1,  7, "'_' in a number" },
	{ "a = 0b1_",                       1,  8, "'_' in a number" },
	{ "a = 1._5",                       1,  7, "'_' in a number" },
	{ "a = 1_.5",                       1,  6, "'_' in a number" },
	{ "a = 1e_5",                       1,  7, "'_' in a number" },
	{ "a = 1e5_",                       1,  8, "'_' in a number" },
	{ "a = 0X1",                        1,  6, "'X' does not belong in the number '0X1'" },
	{ "a = 0O1",                        1,  6, "'O' does not belong" },
	{ "a = 0B1",                        1,  6, "'B' does not belong" },
	{ "a = 0x",                         1,  7, "expected a digit" },
	{ "a = 0xg",                        1,  7, "expected a digit" },
	{ "a = 0o8",                        1,  7, "expected a digit" },
	{ "a = 0b12",                       1,  8, "'2' does not belong" },
	{ "a = +0x1",                       1,  5, "a number with the prefix 0x has no sign" },
	{ "a = -0b1",                       1,  5, "a number with the prefix 0b has no sign" },
	{ "a = 9223372036854775808",        1,  5, "does not fit in 64 bits" },
	{ "a = -9223372036854775809",       1,  5, "does not fit in 64 bits" },
	{ "a = 0x8000000000000000",         1,  5, "does not fit in 64 bits" },
	{ "a = ++1",                        1,  5, "'++1' is not a value" },
	{ "a = -",                          1,  5, "'-' is not a value" },
	{ "a = 1-2",                        1,  6, "'-' does not belong" },
	{ "a = 1a",                         1,  6, "'a' does not belong" },
	{ "a = .5",                         1,  5, "expected a digit" },
	{ "a = +.5",                        1,  6, "expected a digit" },
	{ "a = 5.",                         1,  7, "expected a digit" },
	{ "a = 5.e1",                       1,  7, "expected a digit" },
	{ "a = 1.2.3",                      1,  8, "'.' does not belong" },
	{ "a = 1e",                         1,  7, "expected a digit" },
	{ "a = 1e+",                        1,  8, "expected a digit" },
	{ "a = 1ee1",                       1,  7, "expected a digit" },
	{ "a = 1e2.5",                      1,  8, "'.' does not belong" },
	{ "a = 1e999",                      1,  5, "too large for a 64-bit float" },
	{ "a = Inf",                        1,  5, "'Inf' is not a value" },
	{ "a = NaN",                        1,  5, "'NaN' is not a value" },
	{ "a = infinity",                   1,  5, "'infinity' is not a value" },
	{ "a = ++inf",                      1,  5, "'++inf' is not a value" },
	{ "a = True",                       1,  5, "'True' is not a value; strings stand in quotes, booleans are true and false" },
	{ "a = TRUE",                       1,  5, "is not a value" },
	{ "a = tru",                        1,  5, "is not a value" },
	{ "a = falsey",                     1,  5, "is not a value" },
	{ "a = 1 # x\nb = 0x1.8",           2,  8, "'.' does not belong" },
};

static const struct invalid dates[] = {
	{ "a = 2023-02-29",                 1, 13, "2023-02 has no day 29; days are 01 to 28" },
	{ "a = 1900-02-29",                 1, 13, "1900-02 has no day 29" },
	{ "a = 2000-02-30",                 1, 13, "2000-02 has no day 30; days are 01 to 29" },
	{ "a = 2023-04-31",                 1, 13, "days are 01 to 30" },
	{ "a = 2023-01-00",                 1, 13, "has no day 00" },
	{ "a = 2023-00-01",                 1, 10, "there is no month 00" },
	{ "a = 2023-13-01",                 1, 10, "there is no month 13; months are 01 to 12" },
	{ "a = 2023-1-01",                  1,  5, "'2023-1-01' is not a date" },
	{ "a = 2023-01-1",                  1,  5, "is not a date" },
	{ "a = 2023-01",                    1,  5, "is not a date" },
	{ "a = 202-01-01",                  1,  8, "'-' does not belong in the number" },
	{ "a = 20230-01-01",                1, 10, "'-' does not belong in the number" },
	{ "a = 2023-01-01T",                1, 16, "has no time of day" },
	{ "a = 2023-01-01 1",               1, 16, "has no time of day" },
	{ "a = 2023-01-01x07:00:00",        1, 15, "a time follows after T or one space" },
	{ "a = 2023-01-0107:00:00",         1, 15, "a time follows after T or one space" },
	{ "a = 2023-01-01  07:00:00",       1, 17, "expected the end of the line" },
	{ "a = 2023-01-01T07:00",           1, 16, "has no time of day" },
	{ "a = 2023-01-01T7:00:00",         1, 16, "has no time of day" },
	{ "a = 2023-01-01T07:00:00.",       1, 25, "expected a digit behind the point" },
	{ "a = 2023-01-01T07:00:00.Z",      1, 25, "expected a digit behind the point" },
	{ "a = 2023-01-01T24:00:00Z",       1, 16, "there is no hour 24" },
	{ "a = 2023-01-01T23:60:00Z",       1, 19, "there is no minute 60" },
	{ "a = 2023-01-01T23:59:61Z",       1, 22, "there is no second 61" },
	{ "a = 2023-01-01T07:00:00Zx",      1, 25, "'x' does not belong in the date or time" },
	{ "a = 2023-01-01T07:00:00+1:00",   1, 24, "expected an offset" },
	{ "a = 2023-01-01T07:00:00+0100",   1, 24, "expected an offset" },
	{ "a = 2023-01-01T07:00:00-24:00",  1, 24, "expected an offset from Z or -23:59 to +23:59" },
	{ "a = 2023-01-01T07:00:00+00:60",  1, 24, "expected an offset" },
	{ "a = 2023-01-01T07:00:00+",       1, 24, "expected an offset" },
	{ "a = 2023-01-01Z",                1, 15, "'Z' does not belong behind a date" },
	{ "a = 07:00",                      1,  5, "has no time of day" },
	{ "a = 7:00:00",                    1,  6, "':' does not belong in the number" },
	{ "a = 07:00:00Z",                  1, 13, "'Z' does not belong in the date or time" },
	{ "a = 24:00:00",                   1,  5, "there is no hour 24" },
	{ "a = 07:00:00.1.2",               1, 15, "'.' does not belong" },
};

static const struct invalid arrays[] = {
	{ "a = [",                          1,  6, "expected a value, found the end of the file" },
	{ "a = [1",                         1,  7, "expected ',' or ']' in the array begun on line 1, found the end of the file" },
	{ "a = [\n1,\n2\n3]",               4,  1, "expected ',' or ']' in the array begun on line 1, found '3'" },
	{ "a = [,]",                        1,  6, "expected a value, found ','" },
	{ "a = [1,,2]",                     1,  8, "expected a value, found ','" },
	{ "a = [1 # ]\n",                   2,  1, "found the end of the file" },
	{ "a = [1, x]",                     1,  9, "'x' is not a value" },
	{ "a = [b = 1]",                    1,  6, "'b' is not a value" },
	{ "a = [1]]",                       1,  8, "expected the end of the line, found ']'" },
	{ "a = [1}",                        1,  7, "found '}'" },
};

static const struct invalid inline_tables[] = {
	{ "a = {",                          1,  6, "expected a key, found the end of the file" },
	{ "a = { b = 1",                    1, 12, "expected ',' or '}' in the inline table" },
	{ "a = { b = 1\n}",                 1, 12, "found a line break; it ends on the line it begins on" },
	{ "a = {\nb = 1 }",                 1,  6, "expected a key, found a line break" },
	{ "a = { b = 1,\nc = 2 }",          1, 13, "expected a key, found a line break" },
	{ "a = { b = 1, }",                 1, 14, "an inline table has no comma behind its last value" },
	{ "a = { , }",                      1,  7, "expected a key, found ','" },
	{ "a = { b = 1,, c = 2 }",          1, 13, "expected a key, found ','" },
	{ "a = { b = 1 c = 2 }",            1, 13, "expected ',' or '}'" },
	{ "a = { b = 1 # }",                1, 13, "found '#'" },
	{ "a = { b }",                      1,  9, "expected '='" },
	{ "a = { b = 1, b = 2 }",           1, 14, "'b' is defined already" },
	{ "a = { b = 1, b.c = 2 }",         1, 14, "'b' cannot hold keys" },
	{ "a = { b.c = 1, b = 2 }",         1, 16, "'b' is defined already" },
	{ "a = { b = {}, b.c = 2 }",        1, 15, "'b' is an inline table written as one value on line 1" },
	{ "a = { b.c = {}, b.c.d = 2 }",    1, 19, "'c' is an inline table" },
	{ "a = {}\na.b = 1",                2,  1, "'a' is an inline table written as one value on line 1; nothing can be added to it from outside" },
	{ "a = {}\n[a]",                    2,  2, "'a' is defined already" },
	{ "a = {}\n[a.b]",                  2,  2, "'a' is an inline table" },
	{ "a = {}\n[[a.b]]",                2,  3, "'a' is an inline table" },
	{ "a = { b = { c = 1 } }\n[a.b]",   2,  2, "'a' is an inline table" },
	{ "[t]\na = { b.c = 1 }\na.b.d = 1", 3,  1, "'a' is an inline table" },
	{ "[t]\na = 1\n[u]\nt.a = {}\n[t.a.b]", 5, 4, "'a' cannot hold keys" },
};

static const struct invalid tables[] = {
	{ "[",                              1,  2, "expected a key, found the end of the file" },
	{ "[]",                             1,  2, "expected a key, found ']'" },
	{ "[a",                             1,  3, "expected '.' or ']' in the header, found the end of the file" },
	{ "[a\n]",                          1,  3, "found a line break" },
	{ "[a b]",                          1,  4, "expected '.' or ']' in the header, found 'b'" },
	{ "[a=1]",                          1,  3, "found '='" },
	{ "[a.]",                           1,  4, "expected a key, found ']'" },
	{ "[.a]",                           1,  2, "expected a key, found '.'" },
	{ "[a..b]",                         1,  4, "expected a key, found '.'" },
	{ "[a]]",                           1,  4, "expected the end of the line" },
	{ "[[a]",                           1,  5, "expected '.' or ']]' in the header" },
	{ "[[a] ]",                         1,  5, "expected '.' or ']]' in the header, found ' '" },
	{ "[ [a]]",                         1,  3, "expected a key, found '['" },
	{ "[[]]",                           1,  3, "expected a key, found ']'" },
	{ "[[[a]]]",                        1,  3, "expected a key, found '['" },
	{ "[\"\"\"a\"\"\"]",                1,  2, "a key cannot be a multi-line string" },
	{ "[a]\n[a]",                       2,  2, "'a' is defined already, as a table on line 1; every key is defined once" },
	{ "[a]\n[b]\n['a']",                3,  2, "defined already" },
	{ "[a.b]\n[a]\n[a]",                3,  2, "'a' is defined already, as a table on line 2" },
	{ "[a.b]\n[a]\nb = 1",              3,  1, "'b' is defined already" },
	{ "a = 1\n[a]",                     2,  2, "'a' is defined already, as an integer on line 1" },
	{ "a = 1\n[a.b]",                   2,  2, "'a' cannot hold keys, it is the integer defined on line 1" },
	{ "a = []\n[a.b]",                  2,  2, "'a' is an array written as one value" },
	{ "[a]\nb.c = 1\n[a.b]",            3,  4, "'b' is defined already" },
	{ "[a]\nb.c.d = 1\n[a.b.c]",        3,  6, "'c' is defined already" },
	{ "[a.b]\n[a]\nb.c = 1",            3,  1, "'b' has its own header on line 1" },
	{ "[a.b.c]\n[a]\nb.c.d = 1",        3,  3, "'c' has its own header on line 1" },
	{ "[a.b.c]\n[a]\nb.d = 1\n[a.b]",   4,  4, "'b' is defined already" },
};

static const struct invalid arrays_of_tables[] = {
	{ "a = []\n[[a]]",                  2,  3, "'a' is an array written as one value on line 1" },
	{ "a = [{}]\n[a.b]",                2,  2, "'a' is an array written as one value on line 1" },
	{ "a = [{}]\na.b = 1",              2,  1, "'a' is an array written as one value on line 1" },
	{ "a = 1\n[[a]]",                   2,  3, "'a' is defined already, as an integer" },
	{ "[a]\n[[a]]",                     2,  3, "'a' is defined already, as a table" },
	{ "[a.b]\n[[a]]",                   2,  3, "'a' is defined already, as a table" },
	{ "[[a]]\n[a]",                     2,  2, "'a' is defined already, as an array" },
	{ "[[a]]\nb = 1\n[[a.b]]",          3,  5, "'b' is defined already" },
	{ "[[a.b]]\n[a]\nb.c = 1",          3,  1, "'b' is the array of tables begun on line 1; only [[...]] adds to it" },
	{ "[[a.b]]\n[a]\nb = 1",            3,  1, "'b' is defined already" },
	{ "[[a]]\nb.c = 1\n[[a.b]]",        3,  5, "'b' is defined already" },
	{ "[[a]]\n[a.b]\n[a.b]",            3,  4, "'b' is defined already" },
	{ "[[a]]\n[[a.b]]\n[a.b]",          3,  4, "'b' is defined already, as an array on line 2" },
};
/* clang-format on */

static void refuse_all(const struct invalid *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct invalid *c = &cases[i];
		struct pc_error err = PC_ERROR_INIT;
		struct pc__toml_doc *doc = NULL;
		size_t length = strlen(c->text);
		char place[32];
		/* In a block of its own size, so that a sanitizer sees a step past the end. */
		char *copy = malloc(length ? length : 1);

		assert_non_null(copy);
		memcpy(copy, c->text, length);

		int rc = pc__toml_parse("t", copy, length, &doc, &err);

		free(copy);
		if (!rc) {
			pc__toml_destroy(doc);
			fail_msg("accepted: %s", c->text);
		}
		assert_int_equal(rc, PC_E_INVALID_CONFIG);
		assert_null(doc);
		snprintf(place, sizeof(place), "t:%u:%u: ", c->line, c->column);
		if (strncmp(err.message, place, strlen(place)) != 0 ||
		    !strstr(err.message, c->says))
			fail_msg("%s\nsays     %s\nexpected %s...%s", c->text, err.message, place,
				 c->says);
	}
}

#define REFUSES(group) \
	static void refuses_##group(void **state) \
	{ \
		(void)state; \
		refuse_all(group, PC_ARRAY_LEN(group)); \
	}

REFUSES(characters)
REFUSES(lines)
REFUSES(keys)
REFUSES(strings)
REFUSES(numbers)
REFUSES(dates)
REFUSES(arrays)
REFUSES(inline_tables)
REFUSES(tables)
REFUSES(arrays_of_tables)

/* A NUL is refused wherever it stands; the tables above cannot hold one. */
static void refuses_nul(void **state)
{
	static const char *const places[] = { "@", "a@ = 1", "a = 1 # @", "a = '@'",
					      "a = \"\"\"@\"\"\"" };

	(void)state;
	for (size_t i = 0; i < PC_ARRAY_LEN(places); i++) {
		struct pc_error err = PC_ERROR_INIT;
		struct pc__toml_doc *doc = NULL;
		size_t length = strlen(places[i]);
		char text[32];
		char place[16];

		memcpy(text, places[i], length + 1);

		char *at = strchr(text, '@');

		*at = '\0';
		assert_int_equal(pc__toml_parse("t", text, length, &doc, &err),
				 PC_E_INVALID_CONFIG);
		snprintf(place, sizeof(place), "t:1:%d: ", (int)(at - text) + 1);
		assert_memory_equal(err.message, place, strlen(place));
		assert_non_null(strstr(err.message, "control character U+0000"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_characters), cmocka_unit_test(refuses_lines),
		cmocka_unit_test(refuses_keys),	      cmocka_unit_test(refuses_strings),
		cmocka_unit_test(refuses_numbers),    cmocka_unit_test(refuses_dates),
		cmocka_unit_test(refuses_arrays),     cmocka_unit_test(refuses_inline_tables),
		cmocka_unit_test(refuses_tables),     cmocka_unit_test(refuses_arrays_of_tables),
		cmocka_unit_test(refuses_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
