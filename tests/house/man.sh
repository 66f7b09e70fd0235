#!/bin/sh
# SPDX-License-Identifier: MIT
#
# man.sh PAGE [PROGRAM] - formats a manual page and wants no complaint. With PROGRAM, the page must
# name every option and every command that `PROGRAM --help` names. What the reference of pool.toml(5)
# lists as placeholders must be told of.
set -u

page=$1
program=${2-}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

if command -v groff >/dev/null; then
	LC_ALL=C.UTF-8 groff -man -ww -Tutf8 -rLL=100n "$page" >"$work/text" 2>"$work/said"
	if [ -s "$work/said" ]; then
		cat "$work/said"
		failed=1
	fi
else
	echo "man: no groff here, the form is not checked"
fi
# Without formatting: what is left of \- and of font changes does not matter for words.
sed 's/\\f.//g; s/\\-/-/g' "$page" >"$work/plain"
grep -q REFERENCE "$work/plain" && { echo "man: $page: its reference is missing"; failed=1; }

# The reference lists the placeholders of commands; the page tells of each.
for word in $(sed -n 's/.*placeholders in braces: \([a-z_, ]*\).*/\1/p' "$work/plain" | tr , ' '); do
	grep -qF "{$word}" "$work/plain" && continue
	echo "man: ${page##*/} does not say what {$word} is"
	failed=1
done

if [ -n "$program" ]; then
	"$program" --help >"$work/help" || { echo "man: $program --help failed"; exit 1; }
	grep -oE '(^| )--[a-z][a-z-]*' "$work/help" | tr -d ' ' >"$work/words"
	# Commands: between "Commands:" and the next empty line, the words before the first argument.
	sed -n '/^Commands:/,/^$/ s/^  \([a-z][a-z]*\).*/\1/p' "$work/help" >>"$work/words"
	[ -s "$work/words" ] || { echo "man: $program --help names no option"; failed=1; }
	while IFS= read -r word; do
		grep -qF -e "$word" "$work/plain" && continue
		echo "man: ${page##*/} does not say anything about $word"
		failed=1
	done <"$work/words"
fi
exit $failed
