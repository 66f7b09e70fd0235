/* SPDX-License-Identifier: MIT */
/*
 * text.h - the two questions about strings that programs ask too: is this UTF-8, and which known
 * name was meant.
 */
#ifndef POOLCORE_TEXT_H
#define POOLCORE_TEXT_H

#include <poolcore/base.h>

PC_BEGIN_DECLS

/* The length of the longest well-formed UTF-8 prefix of `length` bytes. Any thread. */
PC_API size_t pc_utf8_valid_prefix(const char *text, size_t length);

/*
 * The one of `count` names that is nearest to `word`, for "did you mean"; NULL when none is near
 * enough to have been meant (more than a third of its letters, and at least two, would have to
 * change). NULL names are skipped. Any thread.
 */
PC_API const char *pc_nearest_name(const char *word, const char *const *names, size_t count);

PC_END_DECLS

#endif
