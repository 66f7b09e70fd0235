#!/bin/sh
# SPDX-License-Identifier: MIT
# golden.sh DECODER DIRECTORY: decodes every DIRECTORY/*.toml and compares with the .json beside it.
# With UPDATE=1 it writes the .json instead; read the difference before committing it.
decoder=$1
directory=$2
failed=0
actual=$(mktemp) || exit 1
trap 'rm -f "$actual"' EXIT

for toml in "$directory"/*.toml; do
	json=${toml%.toml}.json
	if ! "$decoder" <"$toml" >"$actual"; then
		echo "refused: $toml"
		failed=1
	elif [ -n "$UPDATE" ]; then
		cp "$actual" "$json"
	elif ! diff -u "$json" "$actual"; then
		failed=1
	fi
done
exit $failed
