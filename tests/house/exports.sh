#!/bin/sh
# SPDX-License-Identifier: MIT
#
# exports.sh ROOT LIBRARY | exports.sh --self-test UPDATE_MAP - fails unless three lists of public
# symbols are one: what include/poolcore/*.h declares with PC_API, what src/poolcore.map exports and
# what the shared library defines. --self-test makes small libraries that differ in each way.
set -u

# compare WANTED_BY FILE MISSING_FROM FILE: names what the first has and the second has not.
compare()
{
	LC_ALL=C comm -23 "$2" "$4" | while IFS= read -r symbol; do
		echo "exports: $symbol is $1 but not $3"
	done
}

# check ROOT LIBRARY UPDATE_MAP
check()
(
	work=$(mktemp -d) || exit 1
	trap 'rm -rf "$work"' EXIT
	"$3" --list "$1" >"$work/declared" || exit 1
	# Between "global:" and "local:", one symbol a line; a pattern stands for itself and differs.
	sed -n '/^global:/,/^local:/ s/^[[:space:]]\{1,\}\(.*\);$/\1/p' "$1/src/poolcore.map" >"$work/listed"
	LC_ALL=C sort -c "$work/listed" 2>/dev/null || echo "exports: src/poolcore.map is not sorted" >"$work/said"
	LC_ALL=C sort -u -o "$work/listed" "$work/listed"
	# Versioned symbols only: the version's own name is an absolute symbol, and no export.
	nm -D --defined-only "$2" >"$work/nm" || exit 1
	awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' "$work/nm" | LC_ALL=C sort -u >"$work/defined"
	[ -s "$work/declared" ] || echo "exports: no PC_API found in $1/include/poolcore" >>"$work/said"
	{
		compare "declared in include/poolcore" "$work/declared" "in src/poolcore.map" "$work/listed"
		compare "in src/poolcore.map" "$work/listed" "declared in include/poolcore" "$work/declared"
		compare "declared in include/poolcore" "$work/declared" "defined in the library" "$work/defined"
		compare "defined in the library" "$work/defined" "declared in include/poolcore" "$work/declared"
	} >>"$work/said"
	[ -s "$work/said" ] || exit 0
	cat "$work/said"
	echo "exports: tools/update-map writes src/poolcore.map anew from the headers"
	exit 1
)

# expect WANT: checks the planted tree; WANT is a part of what must be said, or "fine".
expect()
{
	cc -shared -fPIC -o "$tree/lib.so" "$tree/lib.c" \
		-Wl,--version-script="$tree/src/poolcore.map" || exit 1
	said=$(check "$tree" "$tree/lib.so" "$update_map")
	verdict=$?
	if [ "$1" = fine ]; then
		[ $verdict -eq 0 ] && [ -z "$said" ] && return
	else
		case $verdict:$said in 1:*"$1"*update-map*) return ;; esac
	fi
	echo "exports: self-test: wanted '$1', got $verdict '$said'"
	failed=1
}

self_test()
{
	update_map=$1
	command -v cc >/dev/null || { echo "no cc"; exit 77; }
	tree=$(mktemp -d)
	trap 'rm -rf "$tree"' EXIT
	failed=0
	mkdir -p "$tree/include/poolcore" "$tree/src"
	cat >"$tree/include/poolcore/x.h" <<-END
		PC_API int pc_b(int (*hook)(void),
				int x);
		PC_API const char *pc_a(void); /* and why */
		PC_API extern const char pc_table[4];
		int pc__private(void);
	END
	code='int pc_b(void) { return 1; } int pc_a(void) { return 2; } char pc_table[4]; int pc__private(void) { return 3; }'
	echo "$code" >"$tree/lib.c"
	"$update_map" "$tree"
	expect fine
	echo 'int pc_b(void) { return 1; } char pc_table[4];' >"$tree/lib.c"
	expect 'pc_a is declared in include/poolcore but not defined in the library'
	echo "$code" >"$tree/lib.c"
	sed -i '/pc_table;/d' "$tree/src/poolcore.map"
	expect 'pc_table is declared in include/poolcore but not in src/poolcore.map'
	"$update_map" "$tree"
	sed -i 's/pc_b;/pc_*;/' "$tree/src/poolcore.map"
	expect 'pc__private is defined in the library but not declared'
	expect 'pc_* is in src/poolcore.map but not declared'
	"$update_map" "$tree"
	expect fine
	sed -i '/pc_b;/d; s/pc_table;/&\n\tpc_b;/' "$tree/src/poolcore.map"
	expect 'is not sorted'
	exit $failed
}

if [ $# -ne 2 ]; then
	echo "usage: exports.sh ROOT LIBRARY | exports.sh --self-test UPDATE_MAP" >&2
	exit 2
elif [ "$1" = --self-test ]; then
	self_test "$2"
else
	check "$1" "$2" "$1/tools/update-map"
fi
