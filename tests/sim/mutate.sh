#!/bin/sh
# SPDX-License-Identifier: MIT
# mutate.sh IN SCRIPT OUT - plants a bug into a copy of a source with sed. Fails when the script
# matches nothing, so that a mutant cannot quietly become the original.
set -eu
sed -E -f "$2" "$1" >"$3"
if cmp -s "$1" "$3"; then
	rm -f "$3"
	echo "mutate.sh: $2 changes nothing in $1" >&2
	exit 1
fi
