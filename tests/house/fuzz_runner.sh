#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fuzz_runner.sh SOURCES - proves that tests/fuzz/run.sh fails when a fuzzer does, and keeps what it
# needs: a script plays libFuzzer, and what it is to do stands in FUZZER_DOES.
set -u

run=$1/tests/fuzz/run.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
mkdir -p "$dir/sources/corpus/toy" "$dir/seeds" "$dir/build"
echo kept >"$dir/sources/corpus/toy/named"
echo seed >"$dir/seeds/seed"

cat >"$dir/build/fuzzer" <<'END'
#!/bin/sh
for argument in "$@"; do
	case $argument in
	-artifact_prefix=*) prefix=${argument#*=} ;;
	-set_cover_merge=1) FUZZER_DOES=merge ;;
	-*) ;;
	*) folder=${folder:-$argument} ;;
	esac
done
new=0123456789012345678901234567890123456789
echo '#2 INITED cov: 7 ft: 9 corp: 1/1b'
echo 'stat::number_of_executed_units: 4711'
echo 'stat::new_units_added:          3'
case $FUZZER_DOES in
pass) [ "$(cat "$folder/named" "$folder/seed" | tr '\n' ' ')" = 'kept seed ' ] && echo x >"$folder/$new" ;;
merge) echo merged >"$folder/$new" ;;
crash) echo 'it fell' && echo bad >"${prefix}crash-1" && exit 77 ;;
vanish) exit 3 ;;
esac
END
chmod +x "$dir/build/fuzzer"

# expect WHAT STATUS RESULT: what the fuzzer does, how the run ends, and its row of the table.
expect()
{
	said=$(FUZZER_DOES=$1 FUZZ_SECONDS=1 sh "$run" fuzzer toy "$dir/sources" "$dir/build" \
		-max_len=9 -- "$dir/seeds" 2>&1)
	status=$?
	row=$(cat "$dir/build/fuzz/toy.result")
	if [ "$status" -ne "$2" ] || [ "$row" != "$3" ]; then
		echo "fuzz_runner: $1: status $status, row '$row', instead of $2, '$3':"
		echo "$said"
		failed=1
	fi
}

# wants WHAT COMMAND...: a fact about what was left.
wants()
{
	what=$1
	shift
	"$@" >/dev/null 2>&1 && return
	echo "fuzz_runner: $what"
	failed=1
}

kept=$dir/sources/corpus/toy
found=$kept/0123456789012345678901234567890123456789

expect pass 0 'toy 4711 7 3 0'
wants "a run without KEEP changed the kept inputs" [ "$(ls "$kept")" = named ]

expect crash 1 'toy 4711 7 3 1'
wants "the input that failed was not kept" grep -qx bad "$dir/build/fuzz/findings/toy-crash-1"
case $said in
*"it fell"*"replay it with: $dir/build/fuzzer $dir/build/fuzz/findings/toy-crash-1"*) ;;
*) wants "how to replay a finding was not told: $said" false ;;
esac

# Without an input, too: killed, or out of time.
expect vanish 1 'toy 4711 7 3 1'

export FUZZ_KEEP=1
old=$kept/ffffffffffffffffffffffffffffffffffffffff
echo old >"$old"
expect pass 0 'toy 4711 7 3 0'
wants "what was found was not kept" grep -qx merged "$found"
wants "an input that is not needed any more was kept" [ ! -e "$old" ]
wants "an input with a name was not kept" grep -qx kept "$kept/named"
wants "a seed was kept twice" [ ! -e "$kept/seed" ]
rm "$found"
expect crash 1 'toy 4711 7 3 1'
wants "a run that failed changed the kept inputs" [ ! -e "$found" ]
exit $failed
