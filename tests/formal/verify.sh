#!/bin/sh
# SPDX-License-Identifier: MIT
#
# verify.sh [--live] [--all-reached] MODEL [-DNAME[=VALUE]]...
# verify.sh [--live] --expect KIND MODEL [-DNAME[=VALUE]]...
# verify.sh --self-test
#
# Lets spin look at every state of a Promela model. The first form passes if the search was complete
# and found no error, the second if it found one of KIND: assertion, end (a process that is blocked
# for ever) or cycle (somebody waits for ever). --live defines LIVE and looks for cycles under weak
# fairness instead of for blocked processes. --all-reached wants each REACHED("name") of the model to
# have been reached, so that a model cannot pass by doing nothing. A MUTANT_X that the model does not
# know is an error. An unexpected error is shown step by step. CC chooses the compiler; without spin
# the answer is 77, "skipped". --self-test plants models and wants each judged rightly.
set -u

# Beyond these a search is incomplete, which is a failure; the largest here takes half of them.
memory_mb=2000
depth=100000
live_depth=3000000
cc=${CC:-cc}
optimize=-O2
hash_bits=24

say()
{
	echo "verify: $*"
}

die()
{
	say "$*"
	exit 1
}

usage()
{
	sed -n '/^# verify\.sh/s/^# //p' "$0" >&2
	exit 2
}

# Makes the verifier `pan` in the current folder.
build()
{
	for define in "$@"; do
		case $define in
		-DMUTANT_*)
			grep -q "\<${define#-D}\>" "$model" || die "$model has no ${define#-D}"
			;;
		esac
	done
	if ! spin -a "$@" ${live:+-DLIVE} "$model" >spin.log 2>&1 || [ ! -f pan.c ]; then
		cat spin.log
		die "spin does not understand $model"
	fi
	# What spin generates is not written for our warnings.
	$cc $optimize -w -DMEMLIM=$memory_mb ${live:--DSAFETY} -o pan pan.c ||
		die "the verifier does not build"
}

# Prints the names that the model says can be reached and that were not.
unreached()
{
	sed -n 's/.*REACHED("\([^"]*\)").*/\1/p' "$model" | LC_ALL=C sort -u >names
	sed -n 's/^reached: //p' said | LC_ALL=C sort -u >reached
	[ -s names ] || echo "(the model has no REACHED at all)"
	LC_ALL=C comm -23 names reached
}

judge()
{
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' said)
	states=$(sed -n 's/^ *\([0-9e.+]*\) states, stored.*/\1/p' said)
	if [ -z "$errors" ] || [ -z "$states" ]; then
		cat said
		die "the search broke off"
	fi
	case $(grep '^pan:1:' said) in
	*'assertion violated'*) found=assertion ;;
	*'invalid end state'*) found=end ;;
	*'acceptance cycle'*) found=cycle ;;
	'') found= ;;
	*) found=other ;;
	esac
	first=$(sed -n 's/^pan:1: //p' said)

	if [ -n "$expect" ]; then
		[ "$found" = "$expect" ] ||
			die "wanted an error of kind '$expect', got '${first:-none}' in $states states"
		say "caught in $states states: $first"
		return
	fi
	if [ "$errors" != 0 ]; then
		./pan -r ./*.trail 2>&1 | grep -v 'reached: ' | sed "s|$model|${model##*/}|" |
			tail -n 300
		die "$first"
	fi
	if grep -E 'max search depth too small|Search not completed|out of memory|reached -DMEMLIM' said; then
		die "the search is not complete: $states states"
	fi
	if [ -n "$all_reached" ]; then
		unreached >left
		[ -s left ] && { cat left; die "these were never reached"; }
	fi
	say "no error in $states states"
}

verify()
(
	live='' expect='' all_reached=''
	while :; do
		case ${1-} in
		--live) live=-DNFAIR=3 ;;
		--all-reached) all_reached=yes ;;
		# Where an error waits, getting ready takes longer than the search.
		--expect) expect=${2-} optimize=-O0 hash_bits=22; shift ;;
		-*) usage ;;
		*) break ;;
		esac
		shift
	done
	[ $# -ge 1 ] || usage
	case $expect in '' | assertion | end | cycle) ;; *) usage ;; esac
	model=$(readlink -f "$1")
	[ -f "$model" ] || die "there is no model $1"
	shift
	work=$(mktemp -d) || exit 1
	trap 'rm -rf "$work"' EXIT
	cd "$work" || exit 1
	build "$@"
	if [ -n "$live" ]; then
		./pan -a -f -m$live_depth -w$hash_bits >said 2>&1
	else
		./pan -m$depth -w$hash_bits >said 2>&1
	fi
	judge
)

# plant WANT TEXT ARGUMENT...: a model of that text must get the verdict WANT, 0 or 1.
plant()
{
	want=$1
	printf '%s\n' '#define REACHED(name) c_code { puts("reached: " name); }' "$2" \
		>"$folder/planted.pml"
	shift 2
	# shellcheck disable=SC2086
	said=$(verify "$@" "$folder/planted.pml" $extra 2>&1)
	got=$?
	[ $got -eq "$want" ] && return
	say "self-test: wanted $want, got $got from '$*' with:"
	cat "$folder/planted.pml"
	echo "$said"
	wrong=1
}

self_test()
{
	folder=$(mktemp -d) || exit 1
	trap 'rm -rf "$folder"' EXIT
	wrong=0 extra='' optimize=-O0 hash_bits=22
	fine='byte x; active proctype p() { x = 1; REACHED("one"); assert(x == 1) }'
	false='byte x; active proctype p() { x = 1; assert(x == 0) }'
	blocked='byte x; active proctype p() { x == 1 }'
	cycle='byte x; active proctype p() { do :: x = 1 - x od } ltl l { <> [] (x == 1) }'
	plant 0 "$fine" --all-reached
	plant 1 "$fine" --expect assertion
	plant 1 "$false"
	plant 0 "$false" --expect assertion
	plant 1 "$false" --expect end
	plant 1 "$blocked"
	plant 0 "$blocked" --expect end
	plant 1 "$cycle" --live
	plant 0 "$cycle" --live --expect cycle
	plant 1 'active proctype p() { if :: false -> REACHED("two") :: else fi }' --all-reached
	plant 1 'active proctype p() { skip }' --all-reached
	plant 1 'active proctype p() { nonsense'
	plant 1 'active proctype p() { nonsense' --expect assertion
	extra=-DMUTANT_NOBODY
	plant 1 "$false" --expect assertion
	extra=''
	memory_mb=100
	plant 1 'int x, y; active [2] proctype p() { do :: x = y + 1 :: y = x + 1 od }'
	memory_mb=2000
	depth=10
	plant 1 'byte x; active proctype p() { do :: x < 100 -> x++ :: else -> break od }'
	exit $wrong
}

command -v spin >/dev/null || { echo "no spin"; exit 77; }
command -v "${cc%% *}" >/dev/null || { echo "no $cc"; exit 77; }
case ${1-} in
--self-test) self_test ;;
*) verify "$@" ;;
esac
