/* SPDX-License-Identifier: MIT */
/*
 * text.h - what programs ask about strings too: is this UTF-8, which known name was meant, and how
 * a size or a duration is said to a person.
 */
#ifndef POOLCORE_TEXT_H
#define POOLCORE_TEXT_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

/* The length of the longest well-formed UTF-8 prefix of `length` bytes. Any thread. */
PC_API size_t pc_utf8_valid_prefix(const char *text, size_t length);

/*
 * The one of `count` names that is nearest to `word`, for "did you mean"; NULL when none is near
 * enough to have been meant: one slip in a word of up to 3 letters, two in one of up to 7, three in
 * a longer one. NULL names are skipped. Any thread.
 */
PC_API const char *pc_nearest_name(const char *word, const char *const *names, size_t count);

/*
 * "1.5 GiB", "300 MiB", "17 bytes"; "250 ms", "5 s", "2 min" into `out`, which is returned. For
 * sentences; JSON carries the plain number. Any thread.
 */
PC_API const char *pc_format_size(uint64_t bytes, char out[32]);
PC_API const char *pc_format_duration(uint64_t ns, char out[32]);

PC_END_DECLS

#endif
