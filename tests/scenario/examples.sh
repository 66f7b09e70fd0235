#!/bin/sh
# SPDX-License-Identifier: MIT
#
# examples.sh BUILD DEMO_MODEL - runs the programs of examples/ as their comments say, and wants each
# to say what it is there to show.
set -u

build=$1
model=$2
failed=0
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# wants NAME PATTERN ARGS...: the program ends well and prints lines that match.
wants()
{
	name=$1 pattern=$2
	shift 2
	if ! "$build/examples/example-$name" "$@" >"$said" 2>&1 </dev/null; then
		echo "examples: $name failed:"
	elif ! tr '\n' '~' <"$said" | grep -qE "$pattern"; then
		echo "examples: $name does not say '$pattern':"
	else
		return
	fi
	cat "$said"
	failed=1
}

wants embed '^[0-9]+ dimensions, cosine -?[01]\.[0-9]{3}~$' "$model"
wants stream '^.+~\([0-9]+ tokens\)~$' "$model" "The sea"
wants own_engine '^12 squared is 144~31 squared is 961~and INVALID_REQUEST: 1000 is not in the table~$'
# How long a worker has been there, and so whether it may go at once, depends on the machine.
wants two_models "~night: ('night' is loaded after 1 idle worker has gone: 'day'|waits for memory: .* held by 'day').*4 requests, 4 workers loaded, 3 evicted~\$" "$model"

# What is wrong is said, and the exit code is one of failure.
if "$build/examples/example-embed" /nowhere.gguf >"$said" 2>&1 || ! grep -q "/nowhere.gguf" "$said"; then
	echo "examples: embed does not complain of a missing model:"
	cat "$said"
	failed=1
fi
exit $failed
