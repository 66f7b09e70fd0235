#!/bin/sh
# SPDX-License-Identifier: MIT
#
# headers.sh INCLUDE_DIR | headers.sh --self-test - compiles each public header alone, and twice in a
# row, as ISO C17 and as C++17, with warnings as errors. CC and CXX choose the compilers; without
# a C++ compiler that half is left out and named. --self-test wants bad headers refused.
set -u

warnings='-Wall -Wextra -Wpedantic -Wstrict-prototypes -Wundef -Werror'
# `__extension__ ({ ... })` is in macros only; nothing else in the headers goes beyond the standards.
cc=${CC:-cc}
cxx=${CXX:-c++}

# compile HEADER COMPILER...
compile()
{
	header=$1
	shift
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
		"$@" -fsyntax-only -I "$dir" - || { echo "headers: <$header> as $language" >&2; failed=1; }
}

check()
{
	dir=$1 failed=0 count=0
	for path in "$dir"/poolcore/*.h; do
		header=poolcore/${path##*/}
		count=$((count + 1))
		language=C17
		# shellcheck disable=SC2086
		compile "$header" $cc -std=c17 $warnings -x c
		if command -v "${cxx%% *}" >/dev/null; then
			language=C++17
			compile "$header" $cxx -std=c++17 ${warnings%%-Wstrict*}-Werror -x c++
		fi
	done
	command -v "${cxx%% *}" >/dev/null || echo "headers: no C++ compiler, that half is left out"
	echo "$count headers"
	return $failed
}

# refused TEXT: a header of that text must not pass.
refused()
{
	echo "$1" >"$work/poolcore/bad.h"
	if check "$work" >"$work/said" 2>&1; then
		echo "headers: self-test: passed: $1"
		wrong=1
	fi
}

self_test()
{
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/poolcore"
	wrong=0
	refused 'size_t pc_needs_stddef(void);'
	refused 'struct pc_twice { int x; };'
	refused 'static inline int pc_unused(int x) { return 0; }'
	refused 'int pc_any();'
	if command -v "${cxx%% *}" >/dev/null; then
		refused 'int pc_word(int class);'
	fi
	echo 'int pc_fine(int x);' >"$work/poolcore/bad.h"
	check "$work" || wrong=1
	exit $wrong
}

case ${1-} in
--self-test) self_test ;;
'') echo "usage: headers.sh INCLUDE_DIR | headers.sh --self-test" >&2; exit 2 ;;
*) check "$1" ;;
esac
