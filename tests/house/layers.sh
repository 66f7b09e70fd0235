#!/bin/sh
# SPDX-License-Identifier: MIT
#
# layers.sh ROOT | layers.sh --self-test - fails when a file includes what does not stand below it.
# The rules are the three tables here and nothing else; docs/ARCHITECTURE.md has the picture.
# What is in no table is refused too, so that a new room or header gets its place first.
# --self-test plants includes in a folder of its own and wants each judged rightly.
set -u

# Room, layer, and what it may include beside lower layers of the library and its own folder: a
# room, or single files of one. Programs (layer 5) get no private header of the library unless it
# is named here.
rooms='
src/base        0
src/api         1
src/gpu         1
src/memory      1
src/config      1
src/catalog     1  src/config/schema.h src/config/path.h include/poolcore/config.h
src/registry    2
src/lifecycle   2
src/engine      2
src/sched       3
src/pool        4
src/capability  4  src/pool include/poolcore/pool.h
http            5
daemon          5  http
worker          5  http
cli             5
stub            5  src/lifecycle
engines         5
examples        5
tools           5  src/base
'

# Public header, and the room that implements it: the header stands where that room stands.
# types.h is the exception: enums and plain structs that every room speaks, with nothing below.
headers='
alloc      src/base
api        src/api
base       src/base
catalog    src/catalog
catalog_edit src/catalog
clock      src/base
config     src/config
capability src/capability
engine     src/engine
error      src/base
gguf       src/catalog
gpu        src/gpu
lifecycle  src/lifecycle
log        src/base
memory     src/memory
model_file src/catalog
model_ref  src/catalog
pool       src/pool
registry   src/registry
sched      src/sched
stub       src/lifecycle
text       src/base
types      src/base
version    src/base
'

# Third-party header, and who may use it. Every other <header> counts as the system's.
# The library holds no HTTP and no event loop; only the registry knows SQL.
third_party='
uv.h            http daemon worker
llhttp.h        http
curl/curl.h     src/registry daemon cli examples
jansson.h       src http daemon worker cli tools
sqlite3.h       src/registry
openssl/evp.h   src/catalog
ncurses.h       cli
llama.h         engines
ggml.h          engines
ggml-backend.h  engines
gguf.h          engines
png.h           engines examples
jpeglib.h       engines
'

# Reads `FILE:LINE:#include …` lines and prints those that break a rule.
judge()
{
	ROOMS=$rooms HEADERS=$headers THIRD_PARTY=$third_party awk '
	function table(text, into,    lines, words, n, i, j) {
		n = split(text, lines, "\n")
		for (i = 1; i <= n; i++)
			if (split(lines[i], words, " ")) {
				into[words[1]] = words[2]
				for (j = 3; words[j] != ""; j++)
					into[words[1], words[j]] = 1
				delete words
			}
	}
	# Third-party headers have nothing but a list.
	function lists(text, into,    lines, words, n, m, i, j) {
		n = split(text, lines, "\n")
		for (i = 1; i <= n; i++) {
			m = split(lines[i], words, " ")
			for (j = 1; j <= m; j++)
				into[words[1], j > 1 ? words[j] : ""] = 1
		}
	}
	function room_of(path,    parts, n) {
		n = split(path, parts, "/")
		if (n > 2 && (parts[1] "/" parts[2]) in layer)
			return parts[1] "/" parts[2]
		if (parts[1] == "include" && n == 3)
			return owner[substr(parts[3], 1, length(parts[3]) - 2)]
		return parts[1] in layer ? parts[1] : ""
	}
	function exists(path,    line, found) {
		found = (getline line < path) >= 0
		close(path)
		return found
	}
	# Where the included text is: a path from the root, or "" for a header of the system.
	function resolve(name, file,    folder) {
		if (name ~ /^poolcore\//)
			return "include/" name
		folder = file
		sub(/[^\/]*$/, "", folder)
		if (name ~ /\.\./)
			return "?" name
		if (exists(folder name))
			return folder name
		if (exists("src/" name))
			return "src/" name
		if (exists(name))
			return name
		# Generated headers are in no source folder, but named after one.
		if (room_of("src/" name) != "" && name ~ /\//)
			return "src/" name
		return name ~ /\// && room_of(name) != "" ? name : ""
	}
	function complain(why) {
		print file ":" line ": " why
		bad = 1
	}
	BEGIN {
		table(ENVIRON["ROOMS"], layer)
		table(ENVIRON["HEADERS"], owner)
		lists(ENVIRON["THIRD_PARTY"], vendor)
	}
	{
		colon = index($0, ":")
		file = substr($0, 1, colon - 1)
		rest = substr($0, colon + 1)
		line = rest + 0
		if (!match(rest, /[<"][^>"]*[>"]/)) {
			complain("an include that this test cannot read: " rest)
			next
		}
		name = substr(rest, RSTART + 1, RLENGTH - 2)
		quoted = substr(rest, RSTART, 1) == "\""
		room = room_of(file)
		if (room == "") {
			complain("this file is in no room that tests/house/layers.sh knows")
			next
		}
		target = resolve(name, file)
		if (target ~ /^\?/) {
			complain("name " name " from the root or from src/, without ..")
			next
		}
		if (target == "") {
			split(room, top, "/")
			if ((name, "") in vendor && !((name, room) in vendor) && !((name, top[1]) in vendor))
				complain(room " may not use <" name ">")
			else if (quoted)
				complain("\"" name "\" is no header of this tree")
			next
		}
		other = room_of(target)
		public = target ~ /^include\//
		if (other == "")
			complain(name " is in no room that tests/house/layers.sh knows")
		else if (other == room || (room, other) in layer || (room, target) in layer)
			;
		else if (layer[other] > layer[room])
			complain(room " (layer " layer[room] ") includes " name " from above (" other ", layer " layer[other] ")")
		else if (layer[other] == layer[room])
			complain(room " includes " name " from beside it (" other ", layer " layer[other] ")")
		else if (layer[room] == 5 && !public)
			complain(room " is a program and may use the library only through <poolcore/...>, not " name)
	}
	END {
		if (NR == 0) {
			print "layers: not one include found; is this the root of the tree?"
			bad = 1
		}
		exit bad
	}'
}

check()
(
	cd "$1" || exit 1
	find include src http daemon worker stub cli engines examples tools -name '*.[ch]' 2>/dev/null | sort |
		xargs grep -nE '^[[:space:]]*#[[:space:]]*include' /dev/null | judge
)

# plant WANT FILE INCLUDE: judges one tree of one file. WANT is a part of the complaint, or "fine".
plant()
{
	planted=$((planted + 1))
	rm -rf "$work/tree"
	mkdir -p "$work/tree/$(dirname "$2")" "$work/tree/src/base" "$work/tree/src/sched" \
		"$work/tree/src/config" "$work/tree/http"
	for header in src/base/toml.h src/sched/brain.h src/config/schema.h src/config/settings.h \
		http/http.h; do
		echo '/* empty */' >"$work/tree/$header"
	done
	printf '/* line 1 */\n%s\n' "$3" >"$work/tree/$2"
	said=$(check "$work/tree")
	verdict=$?
	if [ "$1" = fine ]; then
		[ $verdict -eq 0 ] && [ -z "$said" ] && return
	else
		case $verdict:$said in 1:"$2:2: "*"$1"*) return ;; esac
	fi
	echo "layers: self-test: '$3' in $2: wanted '$1', got $verdict '$said'"
	failed=1
}

self_test()
{
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	failed=0 planted=0
	plant 'from above (src/sched' src/base/bad.c '#include <poolcore/sched.h>'
	plant 'from above (src/sched' src/base/bad.c '#include "sched/brain.h"'
	plant 'from above (src/sched' src/gpu/bad.h '  #  include "sched/brain.h" /* hidden */'
	plant 'from above (src/sched' src/lifecycle/bad.c '#include <sched/brain.h>'
	plant 'from above (src/sched' include/poolcore/error.h '#include <poolcore/sched.h>'
	plant 'from above (http' src/pool/bad.c '#include "http/http.h"'
	plant 'from beside it (src/memory' src/gpu/bad.c '#include <poolcore/memory.h>'
	plant 'from beside it (src/config' src/catalog/bad.c '#include "config/settings.h"'
	plant 'from beside it (http' cli/bad.c '#include "http/http.h"'
	plant 'from beside it (daemon' worker/bad.c '#include "daemon/daemon.h"'
	plant 'is a program' daemon/bad.c '#include "sched/brain.h"'
	plant 'is a program' http/bad.c '#include "base/toml.h"'
	plant 'is a program' stub/bad.c '#include "base/toml.h"'
	plant 'in no room' src/base/bad.c '#include <poolcore/unheard.h>'
	plant 'in no room' src/attic/bad.c '#include <stdio.h>'
	plant 'without ..' src/base/bad.c '#include "../sched/brain.h"'
	plant 'may not use <uv.h>' src/lifecycle/bad.c '#include <uv.h>'
	plant 'may not use <llhttp.h>' daemon/bad.c '#include <llhttp.h>'
	plant 'may not use <png.h>' worker/bad.c '#include <png.h>'
	plant 'no header of this tree' src/base/bad.c '#include "nowhere.h"'
	plant 'cannot read' src/base/bad.c '#include HEADER'
	plant fine src/sched/good.c '#include <poolcore/memory.h>'
	plant fine src/sched/good.c '#include "base/toml.h"'
	plant fine src/sched/good.c '#include "brain.h"'
	plant fine src/catalog/good.c '#include "config/schema.h"'
	plant fine daemon/good.c '#include "http/http.h"'
	plant fine daemon/good.c '#include <poolcore/sched.h>'
	plant fine http/good.c '#include <llhttp.h>'
	plant fine examples/good.c '#include <png.h>'
	plant fine tools/good.c '#include "base/toml.h"'
	plant fine src/base/good.c '#include <sys/types.h>'
	plant fine src/capability/good.c '#include "capability/generated.h"'
	[ $failed -eq 0 ] && echo "$planted planted includes judged rightly"
	exit $failed
}

case ${1-} in
--self-test) self_test ;;
'') echo "usage: layers.sh ROOT | layers.sh --self-test" >&2; exit 2 ;;
*) check "$1" ;;
esac
