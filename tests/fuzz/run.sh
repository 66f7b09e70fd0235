#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh PROGRAM NAME SOURCES BUILD [LIBFUZZER-ARGUMENT...] -- [SEEDS] - runs one fuzzer for
# FUZZ_SECONDS (5) on a copy of its kept inputs, SOURCES/corpus/NAME, and of the folder SEEDS. Writes
# BUILD/fuzz/NAME.result for the table of tools/fuzz and BUILD/fuzz/NAME.log; an input that fails
# goes to BUILD/fuzz/findings, and how to replay it is told. With FUZZ_KEEP=1 what was
# found is kept, as far as it is needed and no larger than 4 KiB.
set -u

name=$2 sources=$3 build=$4
case $1 in
/*) program=$1 ;;
*) program=$build/$1 ;;
esac
results=$build/fuzz
shift 4
seconds=${FUZZ_SECONDS:-5}
kept=$sources/corpus/$name
log=$results/$name.log
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

options="-max_total_time=$seconds -timeout=10 -rss_limit_mb=2048 -print_final_stats=1"
while [ "$1" != -- ]; do
	options="$options $1"
	shift
done
shift

# keep [SEEDS] - replaces what was kept by the fewest inputs that reach all edges. What somebody gave
# a name stays, and what that and the seeds reach is not kept again. (libFuzzer names by SHA-1.)
keep()
{
	found='????????????????????????????????????????'
	mkdir -p "$kept" "$dir/fewest"
	find "$kept" "$@" -type f ! -name "$found" ! -name '.*' -exec cp -t "$dir/fewest" {} +
	"$program" -set_cover_merge=1 -use_counters=0 -timeout=10 "$dir/fewest" "$dir/corpus" \
		>>"$log" 2>&1 || exit 1
	find "$kept" -type f -name "$found" -delete
	find "$dir/fewest" -type f -name "$found" -size -9 -exec cp -t "$kept" {} +
}

mkdir -p "$dir/corpus" "$dir/findings" "$results/findings"
for seeds in "$kept" "$@"; do
	[ -d "$seeds" ] && find "$seeds" -type f ! -name '.*' -exec cp -t "$dir/corpus" {} +
done

# libFuzzer ends by itself; what it cannot (a loop in a system call) has two minutes of grace.
timeout $((seconds + 120)) "$program" $options -artifact_prefix="$dir/findings/$name-" \
	"$dir/corpus" >"$log" 2>&1
status=$?

number()
{
	sed -n "$1" "$log" | tail -n 1
}

findings=$(find "$dir/findings" -type f | wc -l)
[ "$status" -eq 0 ] || [ "$findings" -gt 0 ] || findings=1
executions=$(number 's/^stat::number_of_executed_units: *//p')
edges=$(number 's/^#[0-9]*.* cov: \([0-9]*\) .*/\1/p')
added=$(number 's/^stat::new_units_added: *//p')
echo "$name ${executions:-?} ${edges:-0} ${added:-0} $findings" >"$results/$name.result"

if [ "$findings" -gt 0 ]; then
	tail -n 60 "$log"
	for input in "$dir"/findings/*; do
		[ -e "$input" ] || continue
		mv "$input" "$results/findings/"
		echo "$name: replay it with: $program $results/findings/${input##*/}"
	done
	exit 1
fi

[ -z "${FUZZ_KEEP:-}" ] || keep "$@"
