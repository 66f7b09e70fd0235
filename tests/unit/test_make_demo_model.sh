#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_make_demo_model.sh MAKE_DEMO_MODEL - the demonstration model's maker as a program: what it
# reads, what it refuses, and that nothing half-written stays. What the model says is test_llama_engine's.
set -u
maker=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

# expect STATUS WORDS ARGUMENT...: runs the maker, compares its exit status, looks for WORDS.
expect()
{
	status=$1 words=$2
	shift 2
	"$maker" "$@" >out 2>&1
	got=$?
	if [ $got -ne "$status" ] ||
		{ [ -n "$words" ] && ! grep -qF -- "$words" out; }; then
		echo "not ok: $* -> $got: $(cat out); expected $status and '$words'"
		failed=1
	fi
}

# check WORDS COMMAND...: the command must succeed.
check()
{
	what=$1
	shift
	"$@" || { echo "not ok: $what"; failed=1; }
}

mkdir texts
{
	# 200 words of three letters, in pieces of ten.
	for a in a b c d e f g h i j k l m n o p q r s t; do
		for b in a b c d e f g h i j; do
			printf '%s ' "x$a$b"
		done
		printf '.\n\t\t-- Somebody %s\n%%\n' "$a"
	done
} >texts/one
printf 'no end in sight' >texts/two
echo 'never read zebra' >texts/index.dat
ln -s one texts/link

expect 0 '' --vocab 128 --output a.gguf texts
expect 0 '' --vocab 128 --output b.gguf texts/one texts/two
check 'the same texts give the same bytes; indexes and links are not read' cmp a.gguf b.gguf
check 'it is a GGUF file' [ "$(head -c 4 a.gguf)" = GGUF ]
check 'whoever said it is not in it' sh -c '! grep -q Somebody a.gguf'

cp a.gguf keep
expect 1 "cannot open 'none': No such file" --output a.gguf none
expect 1 'different words; a vocabulary of 2048 takes' --output a.gguf texts
expect 1 "'/dev/zero' is not a plain file" --output a.gguf /dev/zero
check 'a run that fails leaves the old file' cmp a.gguf keep
expect 1 "cannot create 'no/such/x.gguf." --vocab 128 --output no/such/x.gguf texts

expect 2 '--output is missing' texts
expect 2 'no texts are named' --output a.gguf
expect 2 'unknown option --colour' --colour red
expect 2 'a value is missing after --vocab' --vocab
for vocab in 0 63 65 8224 1e3 -64 ''; do
	expect 2 'not a size of a vocabulary' --vocab "$vocab" --output a.gguf texts
done
expect 0 'usage:' --help
check 'nothing unfinished is left' [ -z "$(ls | grep tmp)" ]
[ $failed -eq 0 ] && echo ok
exit $failed
