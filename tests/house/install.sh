#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install.sh BUILD ENGINES - installs a build folder into a temporary one, wants the right files
# there, builds a program against the installed library with nothing but pkg-config, and lets it open
# each of ENGINES (names separated by spaces) from the installed tree, and the engine template, which
# is built by the command that it gives itself.
set -u

build=$1
engines=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
root=$work/root
failed=0

fail()
{
	echo "install: $*"
	failed=1
}

meson install -C "$build" --no-rebuild --quiet --destdir "$root" >"$work/log" 2>&1 || {
	cat "$work/log"
	exit 1
}
pc=$(find "$root" -name poolcore.pc)
[ -n "$pc" ] || { fail "poolcore.pc is missing"; exit 1; }
prefix=$(sed -n 's/^prefix=//p' "$pc")
tree=$root$prefix

# Every file once: what must be there, and nothing that no pattern here knows.
cat >"$work/wanted" <<'END'
bin/pool-managerd
bin/pool-stub
bin/pool-worker
bin/rbees-pool
include/poolcore/*.h
lib*/libpoolcore.a
lib*/libpoolcore.so
lib*/libpoolcore.so.0
lib*/pkgconfig/poolcore.pc
share/man/man1/pool-stub.1
share/man/man1/pool-worker.1
share/man/man1/rbees-pool.1
share/man/man5/catalog.toml.5
share/man/man5/pool.toml.5
share/man/man8/pool-managerd.8
share/doc/pool-core/LICENSE
END
for engine in $engines; do
	echo "lib*/poolcore/engines/libpoolcore-$engine.so" >>"$work/wanted"
done
(cd "$tree" && find . ! -type d | sed 's|^\./||' | LC_ALL=C sort) >"$work/found"
while IFS= read -r pattern; do
	# The patterns' stars also span the folder of a multiarch lib.
	expression=$(echo "$pattern" | sed 's|[.]|\\.|g; s|\*|.*|g')
	grep -qx "$expression" "$work/found" || fail "$pattern is not installed"
	echo "$expression" >>"$work/known"
done <"$work/wanted"
# An engine brings its own libraries in a folder of its name.
echo 'lib.*/poolcore/engines/[a-z]*/.*' >>"$work/known"
grep -vxf "$work/known" "$work/found" >"$work/strange" && fail "nobody expects $(cat "$work/strange")"
for header in $(cd "$(dirname "$0")/../../include/poolcore" && ls ./*.h); do
	[ -f "$tree/include/poolcore/$header" ] || fail "the header $header is not installed"
done
find "$root" -type f ! -perm -444 | grep . && fail "... cannot be read by everybody"

# A stranger's engine: the command is the one in the template's own comment.
template=$(cd "$(dirname "$0")/../../examples/engine-template" && pwd)/template.c
recipe=$(sed -n '/^ \*\tcc /,/[^\\]$/s/^ \*\t*//p' "$template")
case $recipe in
'cc '*libpoolcore-template.so*pkg-config*) ;;
*) fail "$template gives no command to build it: '$recipe'" ;;
esac
cp "$template" "$work"
sed "s|^prefix=.*|prefix=$tree|" "$pc" >"$work/poolcore.pc"
(
	# shellcheck disable=SC2086
	cc() { command ${CC:-cc} -Wall -Wextra -Werror "$@"; }
	cd "$work" && export PKG_CONFIG_PATH="$work" && eval "$recipe"
) || fail "the template does not build with: $recipe"

# A stranger's program: it knows the prefix, and nothing of the repository.
cat >"$work/user.c" <<'END'
#include <poolcore/engine.h>
#include <poolcore/version.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct pc_error err = PC_ERROR_INIT;
	const struct pc_engine *engine = NULL;

	if (strcmp(pc_version(), argv[1]) != 0) {
		printf("the library says it is %s, pkg-config %s\n", pc_version(), argv[1]);
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		if (pc_engine_open(argv[i], &engine, &err)) {
			printf("%s: %s\n", argv[i], err.message);
			return 1;
		}
		printf("%s: %s %s\n", argv[i], engine->name, engine->version);
		/* An engine that looks for its library when it is opened says so. */
		if (strcmp(engine->version, "not found") == 0)
			return 1;
	}
	return 0;
}
END
libdir=$(dirname "$(find "$root" -name libpoolcore.so)")
export PKG_CONFIG_PATH="${pc%/*}"
flags=$(pkg-config --define-variable=prefix="$tree" --cflags --libs poolcore) || exit 1
version=$(pkg-config --modversion poolcore)
# shellcheck disable=SC2086
if ${CC:-cc} -std=c17 -Wall -Werror -o "$tree/bin/user" "$work/user.c" $flags; then
	# From bin/ of the moved tree: engines are found beside the program that runs. The folder of
	# the build, where they also are, is out of reach: it is in no search path.
	# shellcheck disable=SC2086
	(cd / && LD_LIBRARY_PATH=$libdir "$tree/bin/user" "$version" $engines \
		"$work/libpoolcore-template.so") ||
		fail "a program against the installed tree does not run"
else
	fail "a program against the installed tree does not build with: $flags"
fi
for program in pool-managerd pool-stub pool-worker rbees-pool; do
	[ -x "$tree/bin/$program" ] || continue
	said=$("$tree/bin/$program" --version) || fail "$program --version fails"
	case $said in *" $version"*) ;; *) fail "$program says '$said', the library is $version" ;; esac
done
exit $failed
